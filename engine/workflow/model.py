"""A workflow as the engine runs it: what `check` makes of a file that has no mistakes.

A *tree* is the value of an input as written: mappings, lists and constants, with a compiled `Text` where the file has
`${{ … }}`. A length of time is a `Duration`, or a `Text` where the file has an expression.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.calendars import Duration
from engine.domain import SUBJECTS, Kind
from engine.plugins import Action, Params, Trigger
from engine.problems import Span
from engine.workflow.expressions import Expression, Text

Tree = Any
Length = Duration | Text


@dataclass(frozen=True, slots=True)
class TriggerUse:
    """One entry under `on:`."""

    trigger: Trigger
    params: Params
    span: Span
    settle: Duration | None = None  #: `for` on a trigger that names a state
    own: bool = False
    connection: str | None = None

    @property
    def name(self) -> str:
        return self.trigger.name


@dataclass(frozen=True, slots=True)
class Input:
    """One entry under `inputs:`. `default` is typed (a duration is a `Duration`); people and teams are names."""

    name: str
    type: str
    of: str | None = None  #: the type of a list's items
    required: bool = False
    default: Any = None
    options: tuple[str, ...] = ()
    description: str = ""

    @property
    def kind(self) -> Kind:
        """What an expression gets."""
        return f"list[{_kind_of(self.of)}]" if self.type == "list" else _kind_of(self.type)

    @property
    def is_subject(self) -> bool:
        """Whether a run is about what it names."""
        return self.name == self.type and self.name in SUBJECTS


def _kind_of(type_: str | None) -> Kind:
    return {"choice": "text", "connection": "text", None: "any"}.get(type_, type_ or "any")


@dataclass(frozen=True, slots=True)
class Output:
    """One entry under `outputs:`: what a workflow that calls this one gets of it."""

    name: str
    tree: Tree
    kind: Kind


@dataclass(frozen=True, slots=True)
class Until:
    """What ends a wait or a repeat early: a condition on current state, or events with a condition each.

    An event without a condition means one about the run's own subject.
    """

    condition: Expression | None = None
    events: tuple[tuple[str, Expression | None], ...] = ()
    found: frozenset[str] = frozenset()  #: of those, the ones that count only where they were found for this workflow


@dataclass(frozen=True, slots=True)
class Wait:
    length: Length | None = None  #: `for`
    at: Expression | None = None
    until: Until | None = None


@dataclass(frozen=True, slots=True)
class Repeat:
    max: int
    every: Length | None = None
    until: Until | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """How often an effect is tried, and the pauses between: exponential with jitter from `every` to `at_most`."""

    max: int = 5
    every: Duration = field(default_factory=lambda: Duration(10))
    at_most: Duration = field(default_factory=lambda: Duration(3600))


@dataclass(frozen=True, slots=True)
class Finish:
    reason: Text
    failed: bool = False


@dataclass(frozen=True, slots=True)
class TemplateUse:
    """`template:` with `data:`; what comes of it goes to the input `into` (`template`, or the `text` it stands for)."""

    name: Text  #: a constant text, or an expression
    data: Mapping[str, Tree]
    into: str
    whole: bool  #: whether `into` takes a template (name and text) or the text alone


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of `steps:`; `id` is the file's, else the action and its count (`chat.post#1`), else `group#1`."""

    id: str
    kind: Literal["uses", "wait", "finish", "steps"]
    span: Span
    named: bool = False
    name: str | None = None
    condition: Expression | None = None
    # uses
    action: Action | None = None
    calls: str | None = None  #: the workflow that `uses: workflow.NAME` starts; `action` says what it takes and gives
    inputs: Mapping[str, Tree] = field(default_factory=dict)
    markdown: frozenset[str] = frozenset()  #: inputs whose values are escaped for Markdown
    template: TemplateUse | None = None
    connection: str | None = None
    connecting: Expression | None = None  #: gives the connection, where the file does not name it
    once_per: tuple[Expression, ...] = ()
    retry: Retry = field(default_factory=Retry)
    on_unknown: Literal["ask", "skip", "repeat"] = "ask"  #: for an effect of which it is not known whether it happened
    # uses or steps
    for_each: Expression | None = None
    item_key: Expression | None = None
    repeat: Repeat | None = None
    timeout: Length | None = None
    continue_on_error: bool = False
    # steps
    steps: tuple[Step, ...] = ()
    otherwise: tuple[Step, ...] = ()  #: `else`
    # wait, finish
    wait: Wait | None = None
    finish: Finish | None = None


@dataclass(frozen=True, slots=True)
class Concurrency:
    """At most `limit` runs with the same values of `key` go on at a time; without a key, at most so many at all."""

    key: tuple[Expression, ...] = ()
    limit: int = 1
    on_conflict: Literal["queue", "skip", "replace"] = "queue"


@dataclass(frozen=True, slots=True)
class Workflow:
    """One workflow file in one version. `id` is the file's stem, `version` the hash of that, its text and templates."""

    id: str
    version: str
    source: str
    templates: Mapping[str, str]  #: text by name of every template that the file names, with those they include
    span: Span
    name: str
    description: str = ""
    owner: str | None = None
    mode: Literal["live", "dry_run", "off"] = "live"
    subject: str | None = None  #: what its runs are about, by its triggers or an input
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    triggers: tuple[TriggerUse, ...] = ()
    condition: Expression | None = None
    once_per: tuple[Expression, ...] | None = None
    stop_when: Expression | None = None
    concurrency: Concurrency | None = None
    during: str | None = None  #: a calendar's name, or `calendars.RECIPIENT`
    timeout: Length | None = None
    vars: tuple[tuple[str, Tree], ...] = ()
    steps: tuple[Step, ...] = ()
    on_failure: tuple[Step, ...] = ()
    moved_from: str | None = None  #: the name that the file had before

    def listens_to(self, event_type: str) -> list[TriggerUse]:
        return [use for use in self.triggers if use.trigger.event == event_type]


def walk(steps: Sequence[Step]) -> Iterator[Step]:
    """Yield every step, groups before what is in them."""
    stack = list(reversed(steps))
    while stack:
        step = stack.pop()
        yield step
        stack.extend(reversed(step.otherwise))
        stack.extend(reversed(step.steps))
