"""Try the connections: what a person wants to know after setting one up, or when nothing goes out on it."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import Field

from engine.application import Application
from engine.config.connections import ConnectionConfig, is_secret
from engine.domain import Person
from engine.faults import masked
from engine.operations.base import Done, Inputs, NotFound
from engine.plugins import ActionError, ConnectionBroken, RetryLater
from engine.problems import did_you_mean

#: How long one connection is tried, in seconds.
LONGEST = 30.0


class CheckConnections(Inputs):
    """Which connections to try."""

    connection: str | None = Field(default=None, description="Only this one, also where it needs no account.")


async def check_connections(application: Application, actor: Person, params: CheckConnections) -> Done:
    """Try each configured connection with a harmless read; nothing is changed anywhere.

    `connections` has an entry for each: `name provider serves problem advice webhooks unsigned held`. A problem is a
    sentence or null, and so is the advice what to do about it; webhooks are the path that they are posted to or null,
    unsigned the options of which one must be set for anything to come in and none is, and held how many effects wait
    until it works.
    """
    known = application.config.connections
    if params.connection is not None and params.connection not in known:
        hint = did_you_mean(params.connection, known, "connections")
        raise NotFound(f"no connection is called '{params.connection}'; {hint}")
    wanted = [
        one for name, one in known.items() if (name == params.connection if params.connection else not one.by_default)
    ]
    await application.renew()
    known = application.config.connections
    wanted = [known[one.name] for one in wanted]
    problems = await asyncio.gather(*(_problem(application, one) for one in wanted))
    lines = [_line(application, one, problem) for one, problem in zip(wanted, problems, strict=True)]
    wrong = sum(problem is not None for problem in problems)
    return Done(f"{wrong} of {len(lines)} connections have a problem", {"connections": lines})


def _line(application: Application, one: ConnectionConfig, problem: str | None) -> dict[str, Any]:
    declared = application.catalogue.providers.get(one.provider)
    waiting = application.reader.execute(
        "SELECT count(*) AS n FROM waits WHERE kind = 'connection' AND value = ?", (one.name,)
    ).fetchone()
    return {
        "name": one.name,
        "provider": one.provider,
        "serves": list(declared.serves) if declared is not None else [],
        "problem": problem,
        "advice": _advice(one) if problem is not None else None,
        "webhooks": f"/hooks/{one.name}" if one.name in application.sources else None,
        "unsigned": _unsigned(one),
        "held": waiting["n"] if one.name in application.hub.connections.held else 0,
    }


def _advice(one: ConnectionConfig) -> str:
    page = f"docs/integrations/{one.provider.partition('_')[0]}.md says where everything is from"
    if one.disabled is None:
        return f"mend it, then 'hotwash doctor {one.name}' again; {page}"
    where = "write that file" if "the file" in one.disabled else "fill in .hotwash/env, or set it in the environment"
    return f"{where}, then 'hotwash doctor {one.name}' again; {page}"


def _unsigned(one: ConnectionConfig) -> list[str]:
    """Give the option that webhooks are signed with and what could stand for it, where all of them are left out."""
    if one.source_options is None:
        return []
    options = one.source_options
    secret = [name for name, field in type(options).model_fields.items() if is_secret(field.annotation)]
    return secret if not any(getattr(options, name) for name in secret) else []


async def _problem(application: Application, one: ConnectionConfig) -> str | None:
    if one.disabled is not None:
        return f"it is off: {one.disabled}"
    parts = application.providers.get(one.name), application.sources.get(one.name)
    checks = [part.check for part in parts if part is not None and hasattr(part, "check")]
    if not checks:
        return None
    connections = application.hub.connections
    try:
        async with asyncio.timeout(LONGEST):
            found: str | None = None
            for check in checks:
                found = found if found is not None else await check()
        await connections.let_in(one.name)
    except ConnectionBroken as error:
        await connections.refused(one.name, error)
        return f"the service refuses the credentials, or what they may do: {error}"
    except (ActionError, RetryLater) as error:
        return str(error)
    except TimeoutError:
        return f"it gave no answer within {LONGEST:g} seconds"
    except Exception as error:  # noqa: BLE001  whatever a vendor's client raises is the answer
        return masked(f"{type(error).__name__}: {error}")
    return masked(found) if found is not None else None
