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
from engine.plugins import (
    OURSELVES,
    Action,
    ActionError,
    ConnectionBroken,
    Context,
    Effect,
    EffectClass,
    RetryLater,
    effect_class,
)
from engine.runs import operating
from engine.runs.operating import Asked
from engine.store.codec import digest, loads
from engine.store.lookups import PUBLIC, subject_of

T = TypeVar("T")

#: What a bad reference is answered with names at most so many of what there is.
MOST_NAMED = 8

#: Whoever asks something of a vendor is answered after so many seconds, although it goes on.
PATIENCE = 45.0

_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class OperationError(ValueError):
    """An operation was not done, and nothing was changed; the text says why in a sentence."""


class NotFound(OperationError):
    """What it names is not there; the text says what is."""


class Refused(OperationError):
    """What it names is there, and is not in a state in which this can be done."""


class NotYet(OperationError):
    """It is written down and has not happened; the text says what becomes of it. Asked for again it happens twice."""


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
    zone: str
    provider: Any = None  #: of the action's capability
    incident: None = None

    incidents = tickets = property(lambda self: self.provider)


async def act_as(application: Application, actor: Person, name: str, **inputs: Any) -> tuple[Any, bool]:
    """Have an action that writes only rows of our own do for a person what it does in a workflow.

    Raises:
        Refused: the action will not do it; nothing was written.
        StorageUnavailable: nothing was written.
    """
    return await act(application, actor, name, _acting(application, name, inputs))


def _acting(
    application: Application, name: str, inputs: Mapping[str, Any], provider: Any = None
) -> Callable[[Effect], Awaitable[Any]]:
    action, people = application.catalogue.actions[name], application.hub.directory.people
    params = action.params.model_validate(dict(inputs), context={"people": people})
    now, zone = application.clock.now(), application.config.timezone

    async def call(effect: Effect) -> Any:
        return await action.function(params, cast(Context, _Acting(effect, people, now, zone, provider)))

    return call


# --- what a connection is asked for ----------------------------------------------------------------------------------


async def make(
    application: Application, actor: Person, name: str, inputs: Mapping[str, Any], once: str | None
) -> tuple[Any, bool]:
    """Have something made, by the action of that name, at the connection that `use:` names for it.

    Gives what was made, and whether it was not there before: asked for again under the name `once`, it is.

    Raises:
        Refused: the service will not do it; nothing was written.
        NotYet: it is written down, and has not happened.
        StorageUnavailable: nothing was written.
    """
    action = application.catalogue.actions[name]
    try:
        connection, provider = application.hub.serve(str(action.capability), None)
    except ActionError as error:
        raise Refused(str(error)) from None
    if _is_ours(provider, action):
        return await act_once(application, actor, name, once, _acting(application, name, inputs, provider))
    return await _ask(application, actor, Asked(name, connection, inputs), once)


async def change(
    application: Application,
    actor: Person,
    name: str,
    kind: str,
    ref: str,
    inputs: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]],
) -> tuple[Any, bool]:
    """Have an incident or a ticket changed, by the action of that name, at the connection that keeps it.

    Gives it as it is then, and whether anything changed. What is asked of a vendor keeps nobody else waiting.

    Args:
        application: the engine.
        actor: who asks for it.
        name: the action's.
        kind: `incident` or `ticket`; what the action calls it.
        ref: its id or its key.
        inputs: the action's other inputs, or what gives them for the record as it is, or refuses.

    Raises:
        NotFound: nothing is called that.
        Refused: it cannot be done as things are, or the service will not do it; nothing was written.
        NotYet: it is written down, and has not happened.
        StorageUnavailable: nothing was written.
    """
    action = application.catalogue.actions[name]
    async with application.operating:
        kept = find_subject(application, kind, ref, str(action.method))
        given = {kind: kept.record.id, **(inputs(kept.record) if callable(inputs) else inputs)}
        if _is_ours(kept.provider, action):
            return await act(application, actor, name, _acting(application, name, given, kept.provider))
    return await _ask(application, actor, Asked(name, kept.connection, given, kind, kept.record.id))


def _is_ours(provider: Any, action: Action) -> bool:
    return effect_class(getattr(provider, str(action.method), None)) is EffectClass.OWN_ROWS


async def _ask(application: Application, actor: Person, asked: Asked, once: str | None = None) -> tuple[Any, bool]:
    """Ask a vendor by a run of its own, and give what came of it."""
    hub = application.hub
    key = f"{asked.action}/{digest(once) if once is not None else secrets.token_hex(8)}"
    now = application.clock.now()
    number, new = await hub.journal.transact(lambda tx: operating.begin(tx, hub, asked, key, actor, now))
    hub.events_written()
    hub.attended.add(number)
    try:
        await application.dispatcher.bring(number, PATIENCE)
    finally:
        hub.attended.discard(number)
    row = application.reader.execute(
        "SELECT r.uid, r.state, r.error AS ended, e.result, e.error, e.state AS effect FROM runs r"
        " LEFT JOIN effects e ON e.run = r.id AND e.path = ? WHERE r.id = ?",
        (asked.action, number),
    ).fetchone()
    if row["state"] == "finished" and row["effect"] in ("done", "dry_run"):
        return loads(row["result"])["record"], new
    raise _undone(application, asked, number, row)


def _undone(application: Application, asked: Asked, number: int, row: sqlite3.Row) -> OperationError:
    """Say how it stands with what was asked of a vendor and has not happened."""
    last = application.reader.execute(
        "SELECT data FROM steps WHERE run = ? AND path = ? AND json_extract(data, '$.error') IS NOT NULL"
        " ORDER BY id DESC LIMIT 1",
        (number, asked.action),
    ).fetchone()
    error = loads(row["ended"]) or (loads(last["data"])["error"] if last is not None else {})
    why = str(error.get("message") or f"'{asked.connection}' has not answered yet")
    if row["state"] in ("failed", "stopped", "cancelled"):
        return Refused(why)
    if row["state"] == "finished":  # passed over by somebody who decided so
        return Refused(f"{row['uid']} asked for it before, and it was passed over")
    if row["state"] == "needs_decision":
        return NotYet(
            f"it is not known whether it happened: {why}; look whether it did, then"
            f" 'hotwash runs decide {row['uid']} done|repeat|skip'"
        )
    return NotYet(f"not done yet: {why}; it is written down, is done when it can be, and need not be asked for again:"
                  f" 'hotwash runs show {row['uid']}'")  # fmt: skip
