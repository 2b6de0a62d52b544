"""The jobs that several vendors do, as protocols. A provider serves a capability by having its methods.

Every method that changes something takes the `effect` it belongs to. The provider declares for each such method, with
one of the marks of `engine.plugins` (`native`, `findable`, `idempotent`, `at_most_once`, `own_rows`), whether it may
be repeated; `effect.token` is what it hands to its service as the effect's identity. Texts are Markdown with the
values in it escaped already: a provider turns them into what its service shows. Instants are aware, in UTC.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from engine.calendars import Duration
from engine.domain import (
    Document,
    Entry,
    Incident,
    Meeting,
    Person,
    Review,
    Service,
    StatusEntry,
    StatusUpdate,
    Team,
    Ticket,
)


@dataclass(frozen=True, slots=True)
class Fact:
    """What a source, a poll or an effect says happened.

    `fields` is the part of the subject's state that the sender speaks about, by field name of its record. The engine
    compares it with the stored state and derives the transitions; `type` is what the sender itself calls it, which
    counts for a subject never seen before. `id` is the delivery's id: a second one with the same id changes nothing.
    """

    type: str
    time: datetime
    subject_type: str | None = None
    subject: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    actor: Person | None = None
    id: str | None = None
    own: bool = False  #: done by one of our own accounts
    engine: bool = False  #: speaks about the fields that the engine owns
    note: Entry | None = None  #: a line for the incident's timeline


@dataclass(slots=True)
class Effect:
    """One performance of an action, with its durable identity.

    `id` is printable: `postmortem/pager:PCPZE64/1/doc`. `token` is a short text derived from it, safe in file names,
    ids and labels: providers put it where they find it again. `saved` and `emitted` are committed together with the
    result.
    """

    id: str
    token: str
    at: datetime  #: when the intent was written
    workflow: str
    run: str
    subject_type: str | None = None
    subject: str | None = None
    attempt: int = 1
    actor: Person | None = None  #: set where a person acts through us
    inputs: Mapping[str, Any] = field(default_factory=dict)  #: as stored, where a provider is to look for it
    incident: str | None = None  #: likewise, the id of the incident that the run is about
    controls: Incident | None = None  #: what people shall be able to act on from a message, where the chat has buttons
    saved: list[tuple[str, str, Mapping[str, Any] | None]] = field(default_factory=list)
    emitted: list[tuple[str, Fact]] = field(default_factory=list)

    def save(self, connection: str, key: str, row: Mapping[str, Any] | None) -> None:
        """Keep a row of the provider's own (JSON values); None deletes it."""
        self.saved.append((connection, key, row))

    def emit(self, connection: str, fact: Fact) -> None:
        """Say that something happened at `connection`."""
        self.emitted.append((connection, fact))


@dataclass(frozen=True, slots=True)
class Message:
    """A message as the chat knows it; as an action's outputs, also what became of one that was not sent at once."""

    id: str | None
    url: str | None = None
    digested: bool = field(
        default=False, metadata={"doc": "Whether it waits for a digest; `id` and `url` are null then."}
    )
    muted: bool = field(
        default=False, metadata={"doc": "Whether nobody got it, because they have muted what it is about."}
    )


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of the chat. `id` is what other actions take for it: it stays when the channel is renamed."""

    id: str = field(metadata={"doc": "What other actions take for it; it stays when the channel is renamed."})
    name: str = field(metadata={"doc": "Its name, as the chat's rules let it be."})
    url: str | None = field(default=None, metadata={"doc": "Where it is."})
    private: bool = field(default=False, metadata={"doc": "Whether only those invited see it."})
    incident: str | None = field(default=None, metadata={"doc": "Id of the incident whose channel it was opened as."})


@dataclass(frozen=True, slots=True)
class Invited:
    """Who is in a channel now, of those that were to be, and whom the chat does not know or does not let in."""

    invited: tuple[Person, ...] = field(default=(), metadata={"doc": "Who is in it now, also from before."})
    left_out: tuple[Person, ...] = field(default=(), metadata={"doc": "Whom the chat does not know, or let in."})


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that somebody added to a message; its content is not read."""

    name: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A message that was written in a channel, by whomever. `text` is plain; people stand in it by their names."""

    id: str  #: as `Message.id` has it
    at: datetime
    text: str
    by: Person | None = None
    thread: str | None = None  #: id of the message it answers
    edited_at: datetime | None = None
    files: tuple[Attachment, ...] = ()
    reactions: Mapping[str, tuple[Person, ...]] = field(default_factory=dict)  #: who reacted, by the emoji's name
    own: bool = False  #: whether we wrote it
    pinned: bool = False  #: to its channel
    kind: str = "message"  #: else what the chat says happened: `channel_join`, `channel_topic`, …


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a document. `rows` hold the cells' text, each as long as `header`; `line` is where it stands."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    line: int | None = None


#: How people head the columns of a report's action item table. `who` and `when` head timelines too: they are not here.
ACTION_ITEM_COLUMNS: Mapping[str, str] = {
    "what": "what|action|action item|action items|task|to do|todo|follow up",
    "owner": "owner|owners|owned by|assignee|assigned to",
    "due": "due|due date|due by|due on|deadline|target date",
    "ticket": "ticket|tickets|issue|issues|ticket link|tracking ticket",
}


def find_column(header: Sequence[str], column: str) -> int | None:
    """Give the index of the first header that says `column`, whose spellings are separated by `|`; else None.

    Case, Markdown emphasis, hyphens and repeated spaces do not count.
    """
    spellings = {_folded(word) for word in column.split("|")}
    return next((index for index, text in enumerate(header) if _folded(text) in spellings), None)


def _folded(header: str) -> str:
    words = header.casefold().replace("-", " ").replace("_", " ").translate({ord(sign): None for sign in "*`~:"})
    return " ".join(words.split())


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened at a vendor since a cursor, and the cursor for the next look."""

    facts: Sequence[Fact]
    cursor: str


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of time, its end exclusive."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class TicketDraft:
    """What a new ticket shall hold."""

    title: str
    description: str = ""
    project: str | None = None
    labels: tuple[str, ...] = ()
    service: str | None = None
    team: str | None = None
    assignee: Person | None = None
    due: datetime | None = None
    incident: str | None = None  #: the incident's id
    document: str | None = None  #: the document's id
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Where:
    """The part of a ticket filter that every tracker understands. None does not filter."""

    labels: tuple[str, ...] = ()  #: all of them
    done: bool | None = None
    project: str | None = None
    team: str | None = None
    assignee: str | None = None
    idle_since: datetime | None = None  #: nobody touched it after this instant; who cannot tell gives more


@dataclass(frozen=True, slots=True)
class Response:
    """What came back over HTTP. `body` is the JSON value where there is one, else the text."""

    status: int
    body: Any = None
    retry_after: float | None = None  #: seconds the service asks us to wait
    credentials: bool = True  #: whether the connection's own headers went with the request


class Documents(Protocol):
    """Keep documents that people write together."""

    async def create(
        self,
        title: str,
        text: str,
        *,
        template: str | None,
        incident: str | None,
        share_with: Sequence[Person],
        private: bool = False,
        effect: Effect,
    ) -> Document:
        """Make a document of Markdown `text`. Where it is `private`, only those concerned may come to see it."""

    async def append(self, document: str, text: str, *, heading: str | None, effect: Effect) -> Document:
        """Add Markdown at the end, or at the end of the section under `heading`."""

    async def comment(self, document: str, text: str, *, effect: Effect) -> Document:
        """Say something about it to those who work on it, beside what it says itself."""

    async def publish(self, document: str, *, effect: Effect) -> Document:
        """Make it no longer a draft."""

    async def get(self, document: str) -> Document | None:
        """Give a document by its id."""

    async def table(self, document: str, columns: Sequence[str]) -> Table | None:
        """Give the first table whose header has all of `columns`, found as `find_column` does."""

    async def set_cells(
        self, document: str, columns: Sequence[str], column: str, cells: Mapping[int, str], *, effect: Effect
    ) -> Document:
        """Write cells of the table that `table` finds for `columns`: row index to the new Markdown of `column`.

        A table without `column` gets it as its last one, headed by the first of its spellings.
        """

    async def changes(self, cursor: str | None) -> Changes:
        """Give what changed since `cursor`; None stands for the very first look, which takes stock."""

    def watch(self) -> AsyncIterator[None]:
        """Yield whenever `changes` may have something. A provider without it is asked every few minutes."""


class Chat(Protocol):
    """Talk to people."""

    async def post(self, channel: str | None, text: str, *, thread: str | None, effect: Effect) -> Message:
        """Post to a channel; None is the connection's own."""

    async def direct(self, person: Person, text: str, *, effect: Effect) -> Message:
        """Write to one person."""

    async def ask(self, people: Sequence[Person], text: str, choices: Mapping[str, str], *, effect: Effect) -> Message:
        """Ask people to pick one of `choices` (name to label). The answer comes in as an event of its own."""

    async def ephemeral(self, channel: str | None, person: Person, text: str, *, effect: Effect) -> Message:
        """Show one person a message in a channel that nobody else sees. It has no id: it cannot be named later."""

    async def update(self, message: str, text: str, *, effect: Effect) -> Message:
        """Give a message of our own another text."""

    async def pin(self, message: str, *, effect: Effect) -> Message:
        """Pin a message to its channel. One that is pinned already stays so."""

    async def create_channel(self, name: str, *, private: bool, incident: str | None, effect: Effect) -> Channel:
        """Open a channel whose name is made of `name`, another one than every channel that there is.

        A provider has the incident with the id `incident` say that it is its channel (`plugins.tell_incident`)
        wherever it gives a channel for such an effect, `find` included.
        """

    async def rename_channel(self, channel: str, name: str, *, effect: Effect) -> Channel:
        """Give a channel a name that is made of `name`."""

    async def archive_channel(self, channel: str, *, effect: Effect) -> Channel:
        """Close a channel: it can be read, and nobody writes in it any more. One that is closed already stays so."""

    async def set_topic(self, channel: str, topic: str, *, effect: Effect) -> Channel:
        """Set the line that stands above a channel, plain text; a longer one than the chat takes is cut."""

    async def invite(self, channel: str, people: Sequence[Person], *, effect: Effect) -> Invited:
        """Invite people to a channel. Nobody is asked twice, and nobody unknown holds up the others."""

    async def bookmark(self, channel: str, title: str, url: str, *, effect: Effect) -> Channel:
        """Keep a link above a channel, in the place of one with the same title."""

    def history(self, channel: str, since: datetime) -> AsyncIterator[Said]:
        """Yield what was written in a channel since an instant, in threads too, in no particular order."""


class Tickets(Protocol):
    """Keep tickets. Tickets are named by their id or their key."""

    async def create(self, draft: TicketDraft, *, effect: Effect) -> Ticket: ...

    async def update(self, ticket: str, changes: Mapping[str, Any], *, effect: Effect) -> Ticket:
        """Set fields: title, description, labels, assignee, due, team, service, project.

        `status` names a status of the tracker's own, or the step that leads to it.
        """

    async def comment(self, ticket: str, text: str, *, effect: Effect) -> Ticket: ...

    async def link(self, ticket: str, other: str, relation: str, *, effect: Effect) -> Ticket:
        """Link a ticket to another, by what the tracker calls it, such as `blocks`. A link that is there stays."""

    async def close(self, ticket: str, *, comment: str | None, effect: Effect) -> Ticket: ...

    async def reopen(self, ticket: str, *, comment: str | None, effect: Effect) -> Ticket: ...

    async def get(self, ticket: str) -> Ticket | None:
        """Read it fresh from the tracker."""

    async def search(self, where: Where, query: str | None) -> Sequence[Ticket]:
        """Give the tickets that fit `where`, and `query` in the tracker's own language where it has one."""

    async def changes(self, cursor: str | None) -> Changes:
        """Give what changed since `cursor`."""


class Calendar(Protocol):
    """Look into people's calendars and invite them."""

    async def busy(
        self, people: Sequence[Person], start: datetime, end: datetime, *, without: str | None = None
    ) -> Mapping[str, Sequence[Interval] | None]:
        """Give by person id when they are busy between two instants; None for somebody whose calendar is not found.

        The time of the review `without` does not count: it is about to be moved.
        """

    async def create(
        self,
        title: str,
        start: datetime,
        end: datetime,
        *,
        attendees: Sequence[Person],
        optional: Sequence[Person],
        description: str,
        timezone: str,
        incident: str | None,
        private: bool = False,
        effect: Effect,
    ) -> Review:
        """Book it and invite: `attendees`, who must come, and `optional`, who may stay away.

        Where it is `private`, others who look into a calendar see no more than that somebody is busy.
        """

    async def reschedule(self, review: str, start: datetime, end: datetime, *, timezone: str, effect: Effect) -> Review:
        """Move a review to another time and tell everybody invited; one that was called off is on again."""

    async def cancel(self, review: str, *, reason: str | None, effect: Effect) -> Review:
        """Call a review off and tell everybody invited. One that is called off stays so."""

    async def get(self, review: str) -> Review | None:
        """Give a review by its id, as the calendar has it now."""


class Incidents(Protocol):
    """Keep incidents."""

    async def declare(
        self,
        title: str,
        *,
        severity: str | None,
        services: Sequence[str],
        labels: Sequence[str],
        drill: bool,
        private: bool,
        summary: str | None,
        started_at: datetime | None,
        effect: Effect,
    ) -> Incident: ...

    async def update(self, incident: str, changes: Mapping[str, Any], *, effect: Effect) -> Incident:
        """Set fields that the source owns: title, severity, labels, services, status."""

    async def note(self, incident: str, text: str, *, effect: Effect) -> str | None:
        """Add a note for the people who work on it there; give the id of its entry where it comes back with one."""

    async def log(self, incident: str) -> Sequence[Entry]:
        """Give what was written down about it there, beside its changes of state: each entry with its time and id."""

    async def get(self, incident: str) -> Incident | None:
        """Read it fresh."""


class StatusPages(Protocol):
    """Tell those outside how things are.

    A provider has the incident say what its entry is (`plugins.tell_incident`) wherever it gives an entry for an
    effect, `find` included.
    """

    async def create(self, title: str, update: StatusUpdate, *, incident: str | None, effect: Effect) -> StatusEntry:
        """Open an entry with its first message."""

    async def update(self, entry: str, update: StatusUpdate, *, effect: Effect) -> StatusEntry:
        """Add a message. One that resolves puts every component of the entry back to operational.

        To resolve what is resolved already changes nothing.
        """

    async def get(self, entry: str) -> StatusEntry | None:
        """Give an entry by its id."""


class Meetings(Protocol):
    """Open video calls that people join by a link.

    A provider has the incident say what its meeting is (`plugins.tell_incident`) wherever it gives one for an effect,
    `find` included.
    """

    async def create(
        self, title: str, *, people: Sequence[Person], incident: str | None, private: bool = False, effect: Effect
    ) -> Meeting:
        """Open a meeting that can be joined at once; `people` are invited where the service invites.

        Where it is `private`, what it is about is shown to none but those invited.
        """

    async def end(self, meeting: str, *, effect: Effect) -> Meeting:
        """End a meeting as far as the service lets it be ended. One that was ended stays so."""

    async def get(self, meeting: str) -> Meeting | None:
        """Give a meeting by its id."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Who is on call in a rotation: from when, and up to when as planned."""

    rotation: str
    person: Person | None
    start: datetime | None = None
    end: datetime | None = None
    firm: bool = False  #: whether nobody can change that while the engine runs


class OnCall(Protocol):
    """Know who is on call."""

    async def on_call(self, target: str | None, at: datetime) -> Person | None:
        """Give who is on call for a service, rotation or team at an instant.

        None or an unserved target gives the rotation `default`, else None.
        """

    async def shifts(self, at: datetime) -> Sequence[Shift]:
        """Give the shift of every rotation at an instant, each rotation once."""


class People(Protocol):
    """Know people, teams and services. Answers come from memory, so its methods are plain."""

    def person(self, key: str) -> Person | None:
        """Give a person by roster key, e-mail address, or `SYSTEM:ID`."""

    def team(self, key: str) -> Team | None: ...

    def service(self, key: str) -> Service | None: ...

    def people(self) -> Sequence[Person]: ...

    def teams(self) -> Sequence[Team]: ...

    def services(self) -> Sequence[Service]: ...

    def join(self, person: Person) -> Person:
        """Give the roster's entry for somebody a vendor named, by e-mail, else by `ids`; else the same person."""


class Http(Protocol):
    """Send HTTP requests."""

    async def request(
        self,
        method: str,
        *,
        url: str | None,
        path: str | None,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        body: Any,
        timeout: Duration | None,
        effect: Effect,
    ) -> Response: ...


#: Capability by the name that `use:` has for it.
CAPABILITIES: Mapping[str, type[Any]] = {
    "document": Documents,
    "chat": Chat,
    "ticket": Tickets,
    "calendar": Calendar,
    "incident": Incidents,
    "status_page": StatusPages,
    "meeting": Meetings,
    "on_call": OnCall,
    "people": People,
    "http": Http,
}

#: Which provider serves a capability that `use:` leaves out; each needs no account.
DEFAULT_PROVIDERS: Mapping[str, str] = {
    "document": "markdown",
    "chat": "console",
    "ticket": "local",
    "calendar": "ics",
    "incident": "local",
    "status_page": "static",
    "meeting": "jitsi",
    "on_call": "roster",
    "people": "roster",
    "http": "http",
}
