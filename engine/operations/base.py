"""What every operation is made of: its inputs, what it gives back, how it refuses, and how it finds things."""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from engine.application import Application
from engine.capabilities import People
from engine.domain import Person
from engine.plugins import OURSELVES, ActionError, ConnectionBroken, Context, Effect, RetryLater
from engine.store.codec import digest, loads
from engine.store.lookups import PUBLIC, subject_of

T = TypeVar("T")

#: What a bad reference is answered with names at most so many of what there is.
MOST_NAMED = 8

_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class OperationError(ValueError):
    """An operation was not done, and nothing was changed; the text says why in a sentence."""


class NotFound(OperationError):
    """What it names is not there; the text says what is."""


class Refused(OperationError):
    """What it names is there, and is not in a state in which this can be done."""


class BadInput(OperationError):
    """An input is missing, unknown or not of its kind."""


class Inputs(BaseModel):
    """Base of an operation's inputs. Unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def _somebody(value: Any) -> str | Person:
    if isinstance(value, Person) or (isinstance(value, str) and 1 <= len(value.strip()) <= 300):
        return value
    raise ValueError("must be a roster key or an e-mail address")


#: Somebody: a roster key, an e-mail address, or whom a source knows.
Somebody = Annotated[str | Person, PlainValidator(_somebody)]
#: A name for what is asked for: asked again under the same, it is not done twice.
Once = Annotated[str | None, Field(max_length=500, description="A name for this: asked again, it is not done twice.")]


@dataclass(frozen=True, slots=True)
class Done:
    """What came of an operation: a sentence for people, and the records that it is about, by name."""

    message: str
    data: Mapping[str, Any] = field(default_factory=dict)


def read_inputs(model: type[Inputs], inputs: Mapping[str, Any]) -> Any:
    """Give an operation's inputs.

    Raises:
        BadInput: one is missing, unknown or not of its kind.
    """
    try:
        return model.model_validate(dict(inputs))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            text = f"there is no input '{name}'; there are {', '.join(model.model_fields)}"
        elif fault["type"] == "missing":
            text = f"the input '{name}' is missing"
        else:
            said = fault["msg"].removeprefix("Value error, ")
            text = f"'{name}': {said[:1].lower()}{said[1:]}" if name else said
        raise BadInput(text) from None


# --- people ----------------------------------------------------------------------------------------------------------


def actor_of(application: Application, user: str) -> Person:
    """Give who acts, by the name of a user of the operating system: the roster's entry, else that name alone.

    The roster knows users by their key or by `ids: {os: NAME}`.

    Raises:
        BadInput: the name is empty or longer than a name is.
    """
    name = _UNSHOWN.sub(" ", user).strip()
    if not 1 <= len(name) <= 200:
        raise BadInput("'actor' must be a name of 1 to 200 characters")
    people = application.hub.directory.people
    known = (people.person(key) for key in (name, f"os:{name}", name.lower()))
    return next((person for person in known if person is not None), Person(f"os:{name}", name))


def person_of(application: Application, ref: str | Person) -> Person:
    """Give somebody of the roster; somebody whom a source knows may not be in it.

    Raises:
        NotFound: nobody there is called that.
    """
    people = application.hub.directory.people
    if isinstance(ref, Person):
        return people.join(ref)
    found = people.person(ref)
    if found is None:
        raise NotFound(f"nobody in the roster is called '{ref}'; {_named([one.id for one in people.people()])}")
    return found


# --- incidents and tickets -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """A subject, the connection that keeps it, and its provider."""

    connection: str
    provider: Any
    record: Any


def find_subject(application: Application, kind: str, ref: str, method: str) -> Kept:
    """Find an incident or a ticket by its id or its key, whatever the key's case.

    Args:
        application: the engine.
        kind: `incident` or `ticket`.
        ref: the id or the key.
        method: what its provider must be able to do.

    Raises:
        NotFound: nothing is called that.
        Refused: several are, or the connection that keeps it cannot do this.
    """
    row = find_kept(application, kind, ref)
    provider = application.providers.get(row["connection"])
    if not hasattr(provider, method):
        why = application.disabled.get(row["connection"])
        text = f"'{row['id']}' is kept by connection '{row['connection']}'"
        raise Refused(f"{text}, which is off: {why}" if why else f"{text}, which only tells us of it: change it there")
    return Kept(row["connection"], provider, subject_of(kind, json.loads(row["state"])))


def find_kept(application: Application, kind: str | None, ref: str) -> sqlite3.Row:
    """Find the row of a subject by its id or its key, whatever the key's case: `type id connection state`.

    Without a `kind` it may be a subject of any type.

    Raises:
        NotFound: nothing is called that.
        Refused: several are.
    """
    wanted = ref.strip()
    rows: list[sqlite3.Row] = application.reader.execute(
        "SELECT type, id, connection, state FROM subjects WHERE type = coalesce(?, type)"
        " AND (id = ? OR upper(id) = ? OR upper(key) = ?)",
        (kind, wanted, wanted.upper(), wanted.upper()),
    ).fetchall()
    rows = [row for row in rows if row["id"] == wanted] or rows
    if not rows:
        raise NotFound(f"no {kind or 'subject'} is called '{ref}'; {_named(_newest(application, kind))}")
    if len(rows) > 1:
        ids = ", ".join(row["id"] for row in rows)
        raise Refused(f"several are called '{ref}': name one of {ids}")
    return rows[0]


def _newest(application: Application, kind: str | None) -> list[str]:
    rows = application.reader.execute(
        f"SELECT key, id FROM subjects WHERE type = coalesce(?, type) AND {PUBLIC}"
        " ORDER BY first_seen DESC, rowid DESC LIMIT ?",
        (kind, MOST_NAMED + 1),
    )
    return [row["key"] or row["id"] for row in rows]


def _named(names: Sequence[str]) -> str:
    if not names:
        return "there are none yet"
    more = ", …" if len(names) > MOST_NAMED else ""
    return f"there are {', '.join(names[:MOST_NAMED])}{more}" if len(names) > 1 else f"there is {names[0]}"


async def act(
    application: Application, actor: Person, what: str, call: Callable[[Effect], Awaitable[T]]
) -> tuple[T, bool]:
    """Have a provider do something for a person, and commit what it writes and says, all at once.

    Gives the provider's result, and whether anything changed.

    Raises:
        Refused: the provider will not or cannot do it; nothing was written.
        StorageUnavailable: nothing was written.
    """
    uid = f"{what}/{secrets.token_hex(8)}"
    effect = Effect(uid, digest(uid), application.clock.now(), workflow="", run="", actor=actor)
    try:
        result = await call(effect)
    except (ActionError, RetryLater, ConnectionBroken) as error:
        raise Refused(str(error)) from None
    if not effect.emitted and not effect.saved:
        return result, False
    await application.intake.commit(effect.emitted, effect.saved)
    return result, True


async def act_once(
    application: Application, actor: Person, what: str, once: str | None, call: Callable[[Effect], Awaitable[T]]
) -> tuple[T, bool]:
    """Do as `act` does, but only the first time that it is asked for under the name `once`; then give what came of it.

    Raises:
        Refused: the provider will not or cannot do it; nothing was written.
        StorageUnavailable: nothing was written.
    """
    if once is None:
        return await act(application, actor, what, call)
    key = f"once/{digest(what, once)}"

    async def keep(effect: Effect) -> T:
        result = await call(effect)
        effect.save(OURSELVES, key, {"result": result, "at": effect.at.isoformat()})
        return result

    async with application.operating:
        row = application.reader.execute(
            "SELECT data FROM rows WHERE connection = ? AND key = ?", (OURSELVES, key)
        ).fetchone()
        if row is not None:
            return loads(row["data"])["result"], False
        return await act(application, actor, what, keep)


@dataclass(frozen=True, slots=True)
class _Acting:
    """What an action may use that writes only rows of our own, about the records that it is given."""

    effect: Effect
    people: People
    now: datetime
    incident: None = None


async def act_as(application: Application, actor: Person, name: str, **inputs: Any) -> tuple[Any, bool]:
    """Have an action that writes only rows of our own do for a person what it does in a workflow.

    Raises:
        Refused: the action will not do it; nothing was written.
        StorageUnavailable: nothing was written.
    """
    action, people = application.catalogue.actions[name], application.hub.directory.people
    params = action.params.model_validate(inputs, context={"people": people})
    now = application.clock.now()
    return await act(
        application, actor, name, lambda effect: action.function(params, cast(Context, _Acting(effect, people, now)))
    )
