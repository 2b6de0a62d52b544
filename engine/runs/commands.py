"""What the interpreter asks for and what it is told: commands out, a view of the world in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from engine.domain import Event, Person
from engine.runs.state import Record
from engine.store.lookups import Lookups
from engine.workflow.expressions import Scope
from engine.workflow.model import Step, Workflow

#: Event type of an answer to a question; `data.question` is the effect's identity.
ANSWERED = "chat.answered"
#: Outputs of one step, or of a workflow, as JSON.
MAX_OUTPUT = 256 * 1024


@dataclass(frozen=True, slots=True)
class Perform:
    """Do an effect.

    `inputs` are rendered for a new one. They are None for a further attempt, which sends the stored ones. `earlier`
    says that it is one of an earlier round whose result is not known: what became of it is to be found out first.
    """

    path: str
    step: Step
    identity: str
    attempt: int
    inputs: Mapping[str, Any] | None = None
    earlier: bool = False
    checked: Any = None  #: what the view made of the inputs when it held them against the action's
    counted: tuple[Counted, ...] = ()  #: the people whose daily limit it counts to
    letter: Letter | None = None  #: it is not sent, and waits for a digest


@dataclass(frozen=True, slots=True)
class Counted:
    """Somebody who gets a message: at most `most` have gone out to them since an instant, this one included."""

    person: str
    most: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that waits to be folded, with others for the same place, into one."""

    place: str
    connection: str
    person: Person | None  #: None for a channel
    channel: str | None
    text: str
    due: datetime
    because: Literal["digest", "limit"]
    open: bool  #: whether there was something to do about the run's subject
    during: str | None = None


@dataclass(frozen=True, slots=True)
class Courtesy:
    """What an effect owes to the people it goes to, where it may not simply go out."""

    held: Held | None = None
    unsent: str | None = None  #: why it is not sent at all
    letter: Letter | None = None
    counted: tuple[Counted, ...] = ()
    spared: tuple[str, ...] = ()  #: ids of those among several who get no message


@dataclass(frozen=True, slots=True)
class Waiting:
    """A letter as it lies in the outbox: its row, and the run that wrote it."""

    id: int
    letter: Letter
    run: int
    round: int
    path: str
    action: str
    subject_type: str | None
    subject: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Heading:
    """A subject as a digest shows it: its key and its title, as plain text, and where it is found."""

    key: str
    title: str | None
    url: str | None


@dataclass(frozen=True, slots=True)
class Take:
    """What a digest does with the letters of its place: those it sends, those it drops and why, those it leaves."""

    place: str
    taken: tuple[Waiting, ...] = ()
    dropped: tuple[tuple[Waiting, str], ...] = ()
    left: tuple[tuple[Waiting, datetime], ...] = ()  #: and when they are looked at again


@dataclass(frozen=True, slots=True)
class Called:
    """A workflow as a run calls it: the file as it is now, what it is given, and the id of what it is about."""

    workflow: Workflow
    inputs: Mapping[str, Any]
    subject: str | None
    dry: bool = False  #: whether nothing of it goes out
    slot: str | None = None  #: what its run shares with those that it may not go on beside


@dataclass(frozen=True, slots=True)
class Call:
    """Have the run of a call begin, or go on where it is there already."""

    path: str
    identity: str  #: also the key of that run
    workflow: str
    called: Called | None  #: for a new run or round; None where the one that is there goes on


@dataclass(frozen=True, slots=True)
class Close:
    """An effect that was waited for has ended: with `outputs` by its answer, else because nobody waits any more.

    `state` is what its row says then, where that is not done or failed.
    """

    path: str
    identity: str
    attempt: int
    outputs: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    state: str | None = None


@dataclass(frozen=True, slots=True)
class LookUp:
    """Ask a vendor, and record the answer at `path`."""

    path: str
    name: str
    args: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Listen:
    """Wake the run when `due` has come, or when an event of a type arrives whose `field` has `value`.

    `kind` is timer, event, deadline, pause (until a person ends it), connection (until the one called `value` works)
    or effect (the result of an effect of another run, whose identity is `value`).
    """

    path: str
    kind: str
    due: datetime | None = None
    event_type: str | None = None
    field: str | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Unlisten:
    """Forget what was listened for at a path, and under it."""

    path: str


@dataclass(frozen=True, slots=True)
class Examined:
    """Every event up to `cursor` was looked at for the wait at `path`."""

    path: str
    cursor: int


@dataclass(frozen=True, slots=True)
class Refresh:
    """Read a subject from its provider again before anything goes out about it; by default the run's own."""

    subject_type: str | None = None
    subject: str | None = None

    @property
    def path(self) -> str:
        """Under which a reading that failed rests."""
        return f"!refresh/{self.subject_type}/{self.subject}" if self.subject else "!refresh"


@dataclass(frozen=True, slots=True)
class Judged:
    """A run that waited for its turn begins, or does not: the verdict about the event of its round."""

    kind: Literal["start", "condition_false"]
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class End:
    """The run is over."""

    state: Literal["finished", "failed", "stopped", "cancelled"]
    reason: str | None = None
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """Why an effect does not go out now, and until when; None stands for until somebody lets it, or its connection.

    `code` is a stable name of the reason: connection-held, rate-limited, closed, paused, daily-limit, muted.
    """

    until: datetime | None
    code: str
    why: str
    connection: str | None = None  #: that it waits for

    def told(self, step: str) -> dict[str, Any]:
        """Give it as the record of a step has it."""
        about = {"connection": self.connection} if self.connection is not None else {}
        return {"message": self.why, "step": step, "code": self.code, **about}


Command = Perform | Call | Close | LookUp | Listen | Unlisten | Examined | Refresh | Take | Judged | End


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `advance` decided."""

    records: tuple[Record, ...]
    commands: tuple[Command, ...]

    def asks_for(self, kind: type[Command]) -> bool:
        """Whether there is a command of a kind."""
        return any(type(command) is kind for command in self.commands)


@dataclass(frozen=True, slots=True)
class KnownEffect:
    """An effect of this or another run under an identity."""

    state: str
    run: int
    outputs: Mapping[str, Any] | None
    connection: str | None = None


@dataclass(frozen=True, slots=True)
class KnownCall:
    """The run of a call. `state` is `going` until it ends."""

    run: str
    state: str
    outputs: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    reason: str | None = None
    ended_by_caller: bool = False


class View(Protocol):
    """The world as committed when a step is decided."""

    @property
    def now(self) -> datetime: ...
    @property
    def world(self) -> Lookups: ...
    @property
    def event(self) -> Event:
        """The event that started the run."""

    @property
    def subject(self) -> Any | None: ...
    @property
    def subject_changed_by_run(self) -> bool:
        """Whether the newest change of the subject was caused by this run."""

    @property
    def stale(self) -> bool:
        """Whether the subject must be read again from its provider before an effect goes out."""

    @property
    def newest_event(self) -> int: ...
    @property
    def owner(self) -> Person | None: ...
    def effect(self, identity: str) -> KnownEffect | None: ...
    def check_connection(self, step: Step, name: str) -> None:
        """Raise `StepError` where there is no such connection, or it does not do what the step's action needs."""

    @property
    def former_names(self) -> Sequence[str]:
        """The names that the run's workflow had before it was renamed."""

    def call(self, workflow: str, key: str) -> KnownCall | None:
        """Give how far the run of a call has come."""

    def callee(self, step: Step, inputs: Mapping[str, Any]) -> Called:
        """Give the workflow that a step calls; raises `StepError` where it may not be called, or not so."""

    def held(self, step: Step, path: str) -> Held | None:
        """Give what holds back an effect, whatever it says and whoever it goes to; None where it may go out.

        Raises `ValueError` where that would be for ever.
        """

    def held_for(self, step: Step, path: str, inputs: Any) -> Held | None:
        """Give what holds back an effect because of whom it goes to; `inputs` are as `check_inputs` gave them."""

    def intended(self, step: Step, identity: str) -> Any:
        """Give the stored inputs of an effect, as `check_inputs` gave them."""

    def courtesy(self, step: Step, identity: str, inputs: Any) -> Courtesy:
        """Give what a message owes to the people it goes to; `inputs` are as `check_inputs` gave them."""

    def courtesy_again(self, identity: str, inputs: Any) -> Courtesy:
        """Give the same of a further attempt, which is sent as it was written or held."""

    def letters(self, place: str) -> Sequence[Waiting]:
        """Give what waits to be told at a place, oldest first, and what this run has taken and not sent."""

    def moved_on(self, waiting: Waiting) -> str | None:
        """Give why a letter is no longer of any use; None where it is."""

    def closed_for(self, waiting: Waiting) -> datetime | None:
        """Give until when a letter has to wait for the hours of its workflow's `during`."""

    def reread(self, subject_type: str, subject: str) -> Refresh | datetime | None:
        """Give what reads a subject again that is not fresh, or until when that rests because it failed."""

    def heading(self, waiting: Waiting) -> Heading | None:
        """Give what a letter is about, as its reader may be shown it."""

    def events(self, event_type: str, after: int, subjects: Sequence[str] = ()) -> Sequence[tuple[int, Event]]:
        """Give the events of a type after a row, oldest first; where subjects are named, those about one of them."""

    def made_here(self, event: Event) -> bool:
        """Whether the event's subject is one that this run made."""

    def check_inputs(self, step: Step, inputs: Mapping[str, Any]) -> Any:
        """Hold rendered inputs against the action's; raises `StepError` with the fault.

        What it gives goes with the command, so that whoever performs it need not do the same again.
        """

    def render_template(self, name: str, scope: Scope, data: Mapping[str, Any]) -> str: ...

    @property
    def told_by_caller(self) -> bool:
        """Whether a failure of this run is one of a run that waits for it, which tells the same owner."""

    def notice(self) -> Step | None:
        """The step that tells the owner of a failure, where there is a chat to tell it in."""


class StepError(Exception):
    """A step cannot go on; `code` is a stable name of the kind."""

    def __init__(self, message: str, code: str = "step-failed") -> None:
        super().__init__(message)
        self.code = code
