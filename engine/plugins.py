"""All that an author of actions, triggers, providers and sources imports. This module is the plugin documentation.

A decorator marks a function or class and gives back a frozen declaration; importing a module registers nothing. The
built-in ones are written out in `actions/__init__.py` and `triggers/__init__.py`; others come through the entry point
group `hotwash.plugins` (a module, or a list of declarations) or from the project's `plugins/` folder.

Retries, time-outs, rate limits, dry runs and the effect journal belong to the executor: no action mentions them.
An action fails by raising: `ActionError` for a failure that trying again will not mend, `RetryLater` for one that it
may, `ConnectionBroken` where the credentials are refused. Anything else that it raises is reported, and retried unless
the effect must not be repeated.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationInfo, WithJsonSchema

from engine import calendars, capabilities, domain
from engine.capabilities import Effect, Fact
from engine.clock import Clock
from engine.domain import Event, outputs_of
from engine.faults import ActionError, ConnectionBroken, RetryLater, fault, retry_after

__all__ = [
    "OURSELVES",
    "Action",
    "ActionError",
    "Catalogue",
    "Check",
    "Connection",
    "ConnectionBroken",
    "Context",
    "DeclaredClass",
    "Declined",
    "Desk",
    "Discreet",
    "DocumentRef",
    "Done",
    "Due",
    "Duration",
    "Effect",
    "EffectClass",
    "Fact",
    "Field",
    "IncidentRef",
    "Instant",
    "Late",
    "Look",
    "MeetingRef",
    "Options",
    "Params",
    "Pending",
    "Person",
    "Provider",
    "Received",
    "Record",
    "RetryLater",
    "ReviewRef",
    "Secret",
    "Source",
    "StatusEntryRef",
    "Storage",
    "Template",
    "Text",
    "TicketFilter",
    "TicketRef",
    "Trigger",
    "Unauthorized",
    "about_to_send",
    "action",
    "at_most_once",
    "fault",
    "findable",
    "idempotent",
    "native",
    "own_rows",
    "provider",
    "retry_after",
    "source",
    "tell_incident",
    "tell_origin",
    "trigger",
]


# --- inputs ----------------------------------------------------------------------------------------------------------


class Params(BaseModel):
    """Base of an action's or a trigger's inputs. Unknown ones are refused; the docstring holds an `Example:`."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


def _as_written(value: Any) -> Any:
    """Take the YAML word `no` for what it says where a reader made it false."""
    return "no" if value is False else value


class Discreet(Params):
    """Base of the inputs of a trigger whose subjects may be private: those start only workflows that ask for them.

    A ticket, a document or a review of a private incident is as private as that.
    """

    private: Annotated[Literal["no", "only", "both"], BeforeValidator(_as_written)] = Field(
        default="no", description="Whether what is private starts this workflow: no, only that, or both."
    )

    def asks_for(self, private: bool) -> bool:
        """Whether it wants a subject that is private, or one that is not."""
        return self.private == "both" or private == (self.private == "only")


class Options(BaseModel):
    """Base of a provider's options under `connections:`. Unknown ones are refused; secrets are `Secret`."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Secret(str):
    """A text that is never shown: its `repr` and its JSON are stars. Compare it in constant time."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(
            cls,
            core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda _: "***"),
        )


def _people(info: ValidationInfo) -> capabilities.People | None:
    return (info.context or {}).get("people")


def _person(value: Any, info: ValidationInfo) -> domain.Person:
    people = _people(info)
    if isinstance(value, domain.Person):
        return people.join(value) if people else value
    if isinstance(value, str) and value:
        found = people.person(value) if people else None
        if found is not None:
            return found
        if people is None:
            return domain.Person(value, value)
        raise ValueError(f"nobody in the roster is called '{value}'")
    raise ValueError(f"must be a person: a roster key, an e-mail address or an expression, not {_shown(value)}")


def _reference(record: type[Any], what: str) -> Callable[[Any], Any]:
    def validate(value: Any) -> Any:
        if isinstance(value, record) or (isinstance(value, str) and value.strip()):
            return value
        raise ValueError(f"must be {what}: its id, its key or an expression, not {_shown(value)}")

    return validate


def _duration(value: Any) -> calendars.Duration:
    if isinstance(value, calendars.Duration):
        return value
    if isinstance(value, str):
        return calendars.parse_duration(value)
    raise ValueError(f"must be a duration such as 7d or 3bd, not {_shown(value)}")


def _instant(value: Any) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"must be an instant such as 2026-03-02T09:00:00+01:00, not '{value}'") from None
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    raise ValueError(f"must be an instant with a time zone, not {_shown(value)}")


def _shown(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


@dataclass(frozen=True, slots=True)
class RenderedTemplate:
    """A template as an action gets it: its name, and the text that came of it, rendered before the intent."""

    name: str
    text: str


def _template(value: Any) -> RenderedTemplate:
    if isinstance(value, RenderedTemplate):
        return value
    if isinstance(value, Mapping):
        return RenderedTemplate(str(value["name"]), str(value["text"]))
    return RenderedTemplate(str(value), "")


#: Somebody: a person from an expression, a roster key or an e-mail address.
Person = Annotated[domain.Person, PlainValidator(_person), WithJsonSchema({"type": "string", "x-kind": "person"})]
#: An incident, a ticket, a document, a review, an entry of a status page, a meeting: the record itself, or its id or
#: key.
IncidentRef = Annotated[
    domain.Incident | str,
    PlainValidator(_reference(domain.Incident, "an incident")),
    WithJsonSchema({"type": "string", "x-kind": "incident"}),
]
TicketRef = Annotated[
    domain.Ticket | str,
    PlainValidator(_reference(domain.Ticket, "a ticket")),
    WithJsonSchema({"type": "string", "x-kind": "ticket"}),
]
DocumentRef = Annotated[
    domain.Document | str,
    PlainValidator(_reference(domain.Document, "a document")),
    WithJsonSchema({"type": "string", "x-kind": "document"}),
]
ReviewRef = Annotated[
    domain.Review | str,
    PlainValidator(_reference(domain.Review, "a review")),
    WithJsonSchema({"type": "string", "x-kind": "review"}),
]
StatusEntryRef = Annotated[
    domain.StatusEntry | str,
    PlainValidator(_reference(domain.StatusEntry, "an entry of a status page")),
    WithJsonSchema({"type": "string", "x-kind": "status_entry"}),
]
MeetingRef = Annotated[
    domain.Meeting | str,
    PlainValidator(_reference(domain.Meeting, "a meeting")),
    WithJsonSchema({"type": "string", "x-kind": "meeting"}),
]
#: A length of time, such as 45m or 5bd.
Duration = Annotated[
    calendars.Duration, PlainValidator(_duration), WithJsonSchema({"type": "string", "x-kind": "duration"})
]
#: A point in time, with its zone.
Instant = Annotated[datetime, PlainValidator(_instant), WithJsonSchema({"type": "string", "x-kind": "instant"})]
#: The name of a file under `templates:`, without its ending. The action gets it rendered.
Template = Annotated[
    RenderedTemplate, PlainValidator(_template), WithJsonSchema({"type": "string", "x-kind": "template"})
]
#: Markdown for people. Values in it are escaped; `template:` with `data:` may stand in its place.
Text = Annotated[str, BeforeValidator(lambda v: v), WithJsonSchema({"type": "string", "x-kind": "markdown"})]


class TicketFilter(Params):
    """Which tickets: those that fit everything it names. Every tracker understands it.

    Example:
        on:
          ticket.closed:
            where: {labels: [postmortem], team: sre}
    """

    labels: list[str] = Field(default=[], description="Labels it must have, all of them.")
    done: bool | None = Field(default=None, description="Whether it is closed.")
    project: str | None = Field(default=None, description="The project it is filed under.")
    team: str | None = Field(default=None, description="The team it belongs to; else its assignee's.")
    assignee: str | None = Field(default=None, description="Who works on it: a roster key or an e-mail address.")

    def as_where(self, *, done: bool | None = None) -> capabilities.Where:
        """Give it as trackers take it; `done` stands in where the filter says nothing about it."""
        return capabilities.Where(
            labels=tuple(self.labels),
            done=done if self.done is None else self.done,
            project=self.project,
            team=self.team,
            assignee=self.assignee,
        )


# --- effects ---------------------------------------------------------------------------------------------------------


class EffectClass(enum.StrEnum):
    """May this side effect be repeated (PROMISES 1.4)."""

    NATIVE = "native"  #: the service takes our id
    FINDABLE = "findable"  #: we look before we make again
    IDEMPOTENT = "idempotent"  #: setting a value: may be sent again
    AT_MOST_ONCE = "at_most_once"  #: never sent twice unless a person says so
    OWN_ROWS = "own_rows"  #: only rows in our own database, committed with the result
    READ = "read"  #: changes nothing


_F = TypeVar("_F", bound=Callable[..., Any])


def _marked(kind: EffectClass, method: _F, **more: Any) -> _F:
    method.__effect_class__ = kind  # type: ignore[attr-defined]
    method.__effect_options__ = more  # type: ignore[attr-defined]
    return method


def native(method: _F) -> _F:
    """Mark a provider method whose service takes our id."""
    return _marked(EffectClass.NATIVE, method)


def findable(*, visible_after: str) -> Callable[[_F], _F]:
    """Mark a provider method whose effects the provider's `find(effect)` finds, at most `visible_after` later."""
    seconds = calendars.parse_duration(visible_after).seconds
    return lambda method: _marked(EffectClass.FINDABLE, method, visible_after=seconds)


def idempotent(method: _F) -> _F:
    """Mark a provider method that sets a value."""
    return _marked(EffectClass.IDEMPOTENT, method)


def at_most_once(method: _F) -> _F:
    """Mark a provider method that must not be repeated unasked."""
    return _marked(EffectClass.AT_MOST_ONCE, method)


def own_rows(method: _F) -> _F:
    """Mark a provider method that only saves rows and emits facts through its effect."""
    return _marked(EffectClass.OWN_ROWS, method)


def effect_class(method: Any) -> EffectClass:
    """Give the class a provider method declares; one that declares none must not be repeated."""
    return getattr(method, "__effect_class__", EffectClass.AT_MOST_ONCE)


class NotSent(BaseException):
    """A request of a dry run, in the place of sending it. No handler of a vendor's errors takes it for one."""

    def __init__(self, method: str, target: str, body: Any) -> None:
        super().__init__(f"{method} {target}")
        self.method, self.target, self.body = method, target, body


#: Whether what is being done now is only thought of.
_thinking: ContextVar[bool] = ContextVar("thinking", default=False)


@contextmanager
def thinking() -> Iterator[None]:
    """Let `about_to_send` end what is done inside, before anything is changed anywhere."""
    token = _thinking.set(True)
    try:
        yield
    finally:
        _thinking.reset(token)


def about_to_send(method: str, target: str, body: Any = None) -> None:
    """Say that a request that changes something is sent next: a dry run shows it and goes no further.

    A vendor's client calls it in the one place where it sends, for all that is no mere reading. A provider whose every
    change goes out that way says so with `announces = True`; only such a one is asked in a dry run.

    Args:
        method: POST, PUT, …
        target: path and query, or the name of the method in the vendor's words.
        body: what is sent, as JSON or text; never credentials.
    """
    if _thinking.get():
        raise NotSent(method, target, body)


@dataclass(frozen=True, slots=True)
class Pending:
    """An action gives this back when its outputs come later, by an event that names the effect."""

    outputs: Mapping[str, Any] = field(default_factory=dict)


class Storage(Protocol):
    """A provider's own rows, read as committed, and the subjects it keeps. Rows are written through an `Effect`.

    Rows that nobody needs after a while are removed where the provider's class says so: `forgets = {"message/": "at"}`
    maps the beginning of their keys to the field with the instant, as ISO 8601, from which they age. A row without it
    stays.
    """

    def get(self, key: str) -> Mapping[str, Any] | None:
        """Give one row."""

    def rows(self, prefix: str = "") -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Give the rows whose key begins with `prefix`, by key."""

    def next(self, counter: str) -> int:
        """Give the next number of a counter, from 1; never the same twice, with gaps."""

    def subject(self, subject_type: str, ref: str) -> Any | None:
        """Give a subject of this connection by id or key, as its record."""

    def subjects(self, subject_type: str) -> Sequence[Any]:
        """Give every subject of this connection, newest first."""

    def scan(
        self, subject_type: str, *, done: bool | None = None, idle_since: datetime | None = None
    ) -> AsyncIterator[Any]:
        """Give the subjects of this connection by id, a few at a time: between them others have their turn.

        Args:
            subject_type: `ticket`, `incident`, …
            done: only those that are done, or are not.
            idle_since: only those that were made, and last touched by a person, no later than this instant.
        """


class Context(Protocol):
    """What an action may use beside its inputs."""

    @property
    def effect(self) -> Effect: ...
    @property
    def now(self) -> datetime: ...
    @property
    def incident(self) -> domain.Incident | None:
        """The incident the run is about, or that its subject belongs to."""

    @property
    def documents(self) -> capabilities.Documents: ...
    @property
    def chat(self) -> capabilities.Chat: ...
    @property
    def tickets(self) -> capabilities.Tickets: ...
    @property
    def calendar(self) -> capabilities.Calendar: ...
    @property
    def incidents(self) -> capabilities.Incidents: ...
    @property
    def status_page(self) -> capabilities.StatusPages: ...
    @property
    def meetings(self) -> capabilities.Meetings: ...
    @property
    def on_call(self) -> capabilities.OnCall: ...
    @property
    def people(self) -> capabilities.People: ...
    @property
    def http(self) -> capabilities.Http: ...
    @property
    def owner(self) -> domain.Person | None:
        """The workflow's owner; of a team, its lead."""

    @property
    def zone(self) -> str:
        """IANA name of the zone that times are shown in."""

    def is_private(self, incident: str) -> bool:
        """Whether the incident of this id may only be seen by those concerned."""

    def hours_of(self, person: domain.Person | None) -> calendars.Calendar:
        """Give somebody's working hours, in their own time zone; None gives the project's."""


ActionFunction = Callable[[Any, Context], Any]

#: An effect class, or how it follows from an action's inputs (`http.request`: from the method). None leaves it to the
#: provider.
DeclaredClass = EffectClass | Callable[[Any], EffectClass | None]

#: The connection that an action names when it emits a fact of the engine's own.
OURSELVES = "hotwash"


def tell_incident(record: domain.StatusEntry | domain.Meeting | capabilities.Channel, effect: Effect) -> None:
    """Have an incident say, in the commit of the effect's result, what its status page entry, meeting or channel is."""
    if record.incident is None:
        return
    match record:
        case domain.StatusEntry():
            fields: Mapping[str, Any] = {"status_page": record}
        case domain.Meeting():
            fields = {"meeting": record}
        case capabilities.Channel():
            fields = {"channel": record.id}
    fact = Fact(
        "incident.updated",
        effect.at,
        subject_type="incident",
        subject=record.incident,
        fields=fields,
        actor=effect.actor,
        own=effect.actor is None,
        engine=True,
    )
    effect.emit(OURSELVES, fact)


@dataclass(frozen=True, slots=True)
class Action:
    """What `uses:` names."""

    name: str
    params: type[Params]
    function: ActionFunction
    returns: Any
    lasts: bool
    capability: str | None
    method: str | None
    pending: bool = False
    own_class: DeclaredClass | None = None  #: where set, it wins over what the provider declares
    plugin: str = "built in"

    def class_of(self, params: Any) -> EffectClass | None:
        """Give the effect class that the action itself declares for these inputs; None leaves it to the provider."""
        return self.own_class(params) if callable(self.own_class) else self.own_class

    @property
    def outputs(self) -> Mapping[str, domain.Field]:
        """The fields that later steps may read, beside `failed` and `error`."""
        return outputs_of(self.returns)

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.params) or ""


def action(
    name: str,
    params: type[Params],
    *,
    returns: Any,
    lasts: bool,
    via: str | None = "",
    pending: bool = False,
    effect: DeclaredClass | None = None,
) -> Callable[[ActionFunction], Action]:
    """Declare an action.

    Args:
        name: as written after `uses:`.
        params: its inputs.
        returns: a record or dataclass: its fields are the step's outputs.
        lasts: whether what it does outlives a round (document, ticket, calendar event, assignment) or passes (message).
        via: `CAPABILITY.METHOD` that it performs, whose provider declares the effect class; by default its own name.
            None for an action without a capability, which then declares `effect` itself.
        pending: its outputs come later, by an answer.
        effect: the effect class of an action without a capability, or a function that gives it for its inputs.
    """
    capability, _, method = (name if via == "" else via or "").partition(".")

    def declare(function: ActionFunction) -> Action:
        return Action(name, params, function, returns, lasts, capability or None, method or None, pending, effect)

    return declare


def tell_origin(ticket: domain.Ticket, effect: Effect) -> None:
    """Have a new ticket say, in the commit of the effect's result, what it comes of.

    Those fields are the engine's: what a provider says of them counts only where nothing was heard of the ticket yet,
    and its tracker's webhook may be quicker than the answer to the request that filed it.
    """
    known = {"incident": ticket.incident, "document": ticket.document}
    origin = {name: value for name, value in known.items() if value is not None}
    if not origin:
        return
    own = effect.actor is None
    fact = Fact("ticket.updated", effect.at, "ticket", ticket.id, origin, actor=effect.actor, own=own, engine=True)
    effect.emit(OURSELVES, fact)


# --- triggers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Due:
    """An occasion that a check found: the event to write and what identifies it."""

    fact: Fact
    key: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found, and when it is worth looking again.

    `cursor` is a JSON value that the next look is given; it is kept in the commit of the events. `next` is None where
    nothing can be found before an event that stirs the trigger.
    """

    found: Sequence[Due] = ()
    next: datetime | None = None
    cursor: Any = None


class Check(Protocol):
    """What a trigger's due check, or its look, may use."""

    @property
    def now(self) -> datetime: ...
    @property
    def due(self) -> datetime:
        """The instant the check was due at."""

    @property
    def cursor(self) -> Any:
        """What the look before this one left; None for the very first, and for a check."""

    @property
    def zone(self) -> str: ...
    @property
    def tickets(self) -> capabilities.Tickets:
        """The tickets of the trigger's `connection`, else of the connection that `use:` names."""

    @property
    def on_call(self) -> capabilities.OnCall: ...
    @property
    def people(self) -> capabilities.People: ...
    @property
    def calendar(self) -> calendars.Calendar:
        """The project's working hours, in which `5bd` is counted."""

    def open_incidents(self) -> AsyncIterator[domain.Incident]:
        """Give the incidents that are open, whoever keeps them, as they are known."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """What `on:` names.

    `state` names the state that `for:` waits in, and `left_by` the events that leave it. `key` gives the default of
    `once_per`; None stands for the event's id. A trigger with `next_due` is looked at when that instant comes: `check`
    then gives the occasions, oldest due instant first in `Check.due`. `next_due` is asked with the instant of the first
    load, then with each instant it gave, up to the first that lies ahead: so `every` counts from the first load.
    What a check finds starts only the workflow it was looked for.

    Where the times follow from what there is (an incident goes quiet, a shift ends), `look` stands in for both: it is
    called when the trigger is loaded, then when the look before said, and by the instant that `stirs` gives for an
    event whose type is in `stirred_by`. A look must leave out nothing that it would have found earlier, and may find
    again what it found: each occasion becomes one event. With `watches`, one look at what `use:` names speaks for every
    workflow; it is called whether or not one listens, with None for inputs.
    """

    name: str
    params: type[Params]
    subject: str | None
    event: str
    data: Mapping[str, domain.Field]
    left_by: tuple[str, ...] = ()
    matches: Callable[[Any, Event], bool] | None = None
    key: Callable[[Any, Event], tuple[Any, ...]] | None = None
    next_due: Callable[[Any, datetime, str], datetime | None] | None = None
    check: Callable[[Any, Check], Awaitable[Sequence[Due]]] | None = None
    limit: Callable[[Any], int | None] | None = None
    own_may_start: bool = False
    plugin: str = "built in"
    folds: bool = False  #: an occasion is folded into a run for the same subject that is still going
    look: Callable[[Any, Check], Awaitable[Look]] | None = None
    stirred_by: tuple[str, ...] = ()
    stirs: Callable[[Any, Event, calendars.Calendar], datetime] | None = None
    watches: str | None = None  #: `CAPABILITY.METHOD` that its look asks
    asks: str | None = None  #: the capability that its check asks, at the trigger's `connection` where it names one

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.params) or ""

    @property
    def finds(self) -> bool:
        """Whether there are its events only where a workflow listens, each found for one by the inputs there."""
        return self.check is not None or (self.look is not None and self.watches is None)


def trigger(
    name: str,
    params: type[Params],
    *,
    subject: str | None,
    data: Mapping[str, domain.Field] | None = None,
    left_by: Sequence[str] = (),
    key: Callable[[Any, Event], tuple[Any, ...]] | None = None,
    next_due: Callable[[Any, datetime, str], datetime | None] | None = None,
    check: Callable[[Any, Check], Awaitable[Sequence[Due]]] | None = None,
    limit: Callable[[Any], int | None] | None = None,
    own_may_start: bool = False,
    folds: bool = False,
    look: Callable[[Any, Check], Awaitable[Look]] | None = None,
    stirred_by: Sequence[str] = (),
    stirs: Callable[[Any, Event, calendars.Calendar], datetime] | None = None,
    watches: str | None = None,
    asks: str | None = None,
) -> Callable[[Callable[[Any, Event], bool]], Trigger]:
    """Declare a trigger by the function that says whether an event of its type fits its inputs.

    Args:
        name: as written under `on:`; also the type of the event it listens to.
        params: its inputs.
        subject: the type of subject its events are about.
        data: the fields of `event.data`, where they are known.
        left_by: for a trigger that names a state and takes `for`: the events that leave the state.
        key: the default of `once_per`.
        next_due: for a trigger that is looked at by the clock: inputs, an instant, the zone → the next instant after.
        check: what to do when that instant comes.
        limit: how many runs one check, or one look, may start at most.
        own_may_start: whether events of our own accounts start workflows without `own: true`.
        folds: whether an occasion is folded into a run for the same subject that is still going.
        look: in place of `next_due` and `check`, what to do when the look before said so.
        stirred_by: types of events after which there may be something to find earlier than that.
        stirs: inputs, such an event, the project's hours → the instant by which to look.
        watches: `CAPABILITY.METHOD` that the look asks; its events are for every workflow.
        asks: the capability that the check asks: each check takes a turn at that connection's rate.
    """

    def declare(matches: Callable[[Any, Event], bool]) -> Trigger:
        return Trigger(
            name,
            params,
            subject,
            name,
            data or {},
            tuple(left_by),
            matches,
            key,
            next_due,
            check,
            limit,
            own_may_start,
            folds=folds,
            look=look,
            stirred_by=tuple(stirred_by),
            stirs=stirs,
            watches=watches,
            asks=asks,
        )

    return declare


# --- providers and sources -------------------------------------------------------------------------------------------


class Connection(Protocol):
    """What a provider or source is given at start, beside its options."""

    @property
    def name(self) -> str:
        """The connection's name: part of every subject's id (`pager:PCPZE64`), and the webhook's path."""

    @property
    def folder(self) -> Path:
        """The project's folder; relative paths in options are relative to it."""

    @property
    def clock(self) -> Clock: ...
    @property
    def storage(self) -> Storage: ...
    @property
    def people(self) -> capabilities.People: ...
    @property
    def roster(self) -> domain.Roster:
        """The people file as read."""

    @property
    def record(self) -> Record:
        """What is known of incidents, whoever keeps them."""

    @property
    def zone(self) -> str: ...
    def known(self, subject_type: str, ref: str) -> Any | None:
        """Give what the engine knows of a subject, whichever connection keeps it, as its record."""

    def say(self, text: str) -> None:
        """Show a line to whoever watches the engine run (the console)."""

    def hides(self, effect: Effect) -> bool:
        """Whether such a line must not say what an effect says: its run is about something private."""


class Record(Protocol):
    """What is known of incidents, as committed. Whoever asks must not show what is private to everybody."""

    def incident(self, ref: str) -> domain.Incident | None:
        """Give an incident by its id or its key, whatever the key's case; None also where several are called that."""

    def incident_in(self, channel: str) -> domain.Incident | None:
        """Give the incident whose `channel` this is; of several the newest, one that is open before the others."""

    def followed(self, since: datetime) -> Sequence[domain.Incident]:
        """Give the incidents with a channel that are open, or were resolved after an instant."""

    def timeline(self, incident: domain.Incident) -> Sequence[domain.Entry]:
        """Give what happened, in order, as people are told."""

    def captured(self, incident: str, entry: str | None = None) -> Sequence[domain.Entry]:
        """Give what was captured for an incident, each entry as it is now; all of it, or the one with an id."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One vendor's way of doing one or more capabilities."""

    name: str
    options: type[Options]
    build: Callable[[Any, Connection], Any]
    serves: tuple[str, ...]
    cls: Any
    rate: str | None = None
    plugin: str = "built in"

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.cls) or ""


def provider(
    name: str, options: type[Options], *, serves: Sequence[str], rate: str | None = None
) -> Callable[[type[Any]], Provider]:
    """Declare a provider by its class, built with `(options, connection)`.

    A provider may have `async check() -> str | None` (for `doctor`: what is wrong), `async astart()` and
    `async aclose()`, for the beginning and the end of the engine's life, and `read(raw)`, what its vendor's JSON means,
    which the vendor's source uses. `get` reads a subject again: `owns`, where it is
    there, names the fields that the vendor speaks about, and `readable` says whether it can be asked at all.

    `announces = True` says that whatever it changes anywhere is told to `about_to_send` first: then a dry run asks it
    what it would send.

    Args:
        name: as written after `provider:`.
        options: its options under `connections:`.
        serves: the capabilities it serves.
        rate: the vendor's documented limit, such as 960/min, which holds where a connection sets no `rate` of its own.
    """
    return lambda cls: Provider(name, options, cls, tuple(serves), cls, rate)


class Unauthorized(Exception):
    """A webhook whose signature or token is missing or wrong; the text says which, never the expected value."""


class Declined(Exception):
    """What somebody asked for was not done; the text says why, in a sentence for them."""


class Done(Protocol):
    """What came of an operation: a sentence for people, and the records that it is about, by name."""

    @property
    def message(self) -> str: ...
    @property
    def data(self) -> Mapping[str, Any]: ...


class Desk(Protocol):
    """What a source may have the engine do for the person who asks for it."""

    async def perform(self, operation: str, actor: domain.Person, **inputs: Any) -> Done:
        """Do what `hotwash` and the HTTP API do under this name; an input of None is left out.

        Raises:
            Declined: it was not done, and nothing was changed.
        """


@dataclass(frozen=True, slots=True)
class Received:
    """What a webhook said: facts, and the body to answer with. `ignored` says why there are none.

    `work` is what has to be found out or done first: it gives what was received then. A source with a `patience`, in
    seconds, is answered within that time: by `late` where there is one, else by asking to send it again.
    """

    facts: Sequence[Fact] = ()
    ignored: str | None = None
    response: Mapping[str, Any] | None = None
    work: Callable[[Desk], Awaitable[Received]] | None = None
    late: Late | None = None


@dataclass(frozen=True, slots=True)
class Late:
    """What a sender is answered when the work takes longer than it waits, and how it hears of the result."""

    response: Mapping[str, Any]
    tell: Callable[[Received], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Source:
    """The inbound adapter of one vendor.

    Its class is built with `(options, connection, provider)`, the connection's provider or None, and has:
    `authenticate(headers, body, now)`, which raises `Unauthorized`; `read(headers, body, now) -> Received`, which
    raises ValueError with a sentence where the payload is not what the vendor documents; `sign(body, now) -> headers`.
    Header names are lower case. `headers` lists those that may be stored. It may have `patience`, the seconds that its
    vendor waits for an answer, and `async astart(take)` and `async aclose()`, for deliveries that it fetches itself:
    `take(received)` does with them what is done with a webhook, and gives the body to answer with.
    """

    name: str
    options: type[Options]
    build: Callable[[Any, Connection, Any], Any]
    cls: Any
    headers: tuple[str, ...] = ()
    plugin: str = "built in"

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.cls) or ""


def source(name: str, options: type[Options], *, headers: Sequence[str] = ()) -> Callable[[type[Any]], Source]:
    """Declare a source by its class. It serves the connections whose `provider:` has its name.

    A source may have `async check() -> str | None` (for `doctor`: what keeps things from coming in).
    """
    return lambda cls: Source(name, options, cls, cls, tuple(headers))


# --- the catalogue ---------------------------------------------------------------------------------------------------

Declaration = Action | Trigger | Provider | Source


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All that workflows and connections may name."""

    actions: Mapping[str, Action]
    triggers: Mapping[str, Trigger]
    providers: Mapping[str, Provider]
    sources: Mapping[str, Source]

    @classmethod
    def collect(cls, declarations: Iterable[tuple[str, Declaration]]) -> Catalogue:
        """Put declarations, each with the plugin it comes from, into one catalogue.

        Raises:
            ValueError: two plugins declare the same name, or an action's function does not take `(params, ctx)`.
        """
        tables: dict[type, dict[str, Any]] = {Action: {}, Trigger: {}, Provider: {}, Source: {}}
        for plugin, item in declarations:
            table = tables.get(type(item))
            if table is None:
                raise ValueError(f"{plugin}: {item!r} is no action, trigger, provider or source")
            if item.name in table:
                kind = type(item).__name__.lower()
                raise ValueError(f"{kind} '{item.name}' is declared by {table[item.name].plugin} and by {plugin}")
            if isinstance(item, Action) and len(inspect.signature(item.function).parameters) != 2:
                raise ValueError(f"{plugin}: the function of action '{item.name}' must take (params, ctx)")
            table[item.name] = replace(item, plugin=plugin)
        return cls(tables[Action], tables[Trigger], tables[Provider], tables[Source])


Severity = Literal["error", "warning"]
