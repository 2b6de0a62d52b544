"""What the interpreter asks for and what it is told: commands out, a view of the world in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from engine.domain import Event, Person
from engine.runs.state import Record
from engine.store.lookups import Lookups
from engine.workflow.expressions import Scope
from engine.workflow.model import Step

#: Event type of an answer to a question; `data.question` is the effect's identity.
ANSWERED = "chat.answered"


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


@dataclass(frozen=True, slots=True)
class Close:
    """An effect that was waited for has ended: with `outputs` by its answer, else because nobody waits any more."""

    path: str
    identity: str
    attempt: int
    outputs: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class LookUp:
    """Ask a vendor, and record the answer at `path`."""

    path: str
    name: str
    args: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Listen:
    """Wake the run when `due` has come, or when an event of a type arrives whose `field` has `value`.

    `kind` is timer, event, deadline, pause (until a person ends it) or effect (the result of an effect of another run,
    whose identity is `value`).
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
    """Read the subject from its provider again before anything goes out."""


@dataclass(frozen=True, slots=True)
class End:
    """The run is over."""

    state: Literal["finished", "failed", "stopped"]
    reason: str | None = None
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """Why an effect does not go out now, and until when; None stands for until somebody lets it.

    `code` is a stable name of the reason: connection-held, rate-limited, closed, paused.
    """

    until: datetime | None
    code: str
    why: str


Command = Perform | Close | LookUp | Listen | Unlisten | Examined | Refresh | End


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
    def held(self, step: Step, path: str) -> Held | None:
        """Give what holds back an effect, whatever it says and whoever it goes to; None where it may go out.

        Raises `ValueError` where that would be for ever.
        """

    def held_for(self, step: Step, path: str, inputs: Any) -> Held | None:
        """Give what holds back an effect because of whom it goes to; `inputs` are as `check_inputs` gave them."""

    def intended(self, step: Step, identity: str) -> Any:
        """Give the stored inputs of an effect, as `check_inputs` gave them."""

    def events(self, event_type: str, after: int, subjects: Sequence[str] = ()) -> Sequence[tuple[int, Event]]:
        """Give the events of a type after a row, oldest first; where subjects are named, those about one of them."""

    def made_here(self, event: Event) -> bool:
        """Whether the event's subject is one that this run made."""

    def check_inputs(self, step: Step, inputs: Mapping[str, Any]) -> Any:
        """Hold rendered inputs against the action's; raises `StepError` with the fault.

        What it gives goes with the command, so that whoever performs it need not do the same again.
        """

    def render_template(self, name: str, scope: Scope, data: Mapping[str, Any]) -> str: ...

    def notice(self) -> Step | None:
        """The step that tells the owner of a failure, where there is a chat to tell it in."""


class StepError(Exception):
    """A step cannot go on; `code` is a stable name of the kind."""

    def __init__(self, message: str, code: str = "step-failed") -> None:
        super().__init__(message)
        self.code = code
