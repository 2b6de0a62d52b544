"""What workflows take and give when other workflows call them, and who calls whom.

The files of a project are read when something calls them: a project without calls pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict

from engine.domain import Field
from engine.plugins import Action, Context, EffectClass, Params
from engine.problems import Span
from engine.workflow import source
from engine.workflow.inputs import params_of
from engine.workflow.model import Input, Workflow
from engine.workflow.source import Mapping as MappingNode
from engine.workflow.source import Node, Scalar, SourceFile

#: What `uses:` of a call begins with.
CALL = "workflow."
#: So many calls may stand one inside the other.
MOST_CALLS = 8
STOPPED = Field("boolean", "Whether its own 'stop_when' ended it.")


@dataclass(frozen=True, slots=True)
class Signature:
    """What a workflow takes and gives."""

    id: str
    inputs: tuple[Input, ...]
    outputs: Mapping[str, Field]
    subject: str | None  #: what its runs are about
    description: str = ""

    @classmethod
    def of(cls, workflow: Workflow) -> Signature:
        outputs = {one.name: Field(one.kind, "") for one in workflow.outputs}
        return cls(workflow.id, workflow.inputs, outputs, workflow.subject, workflow.description or workflow.name)

    @property
    def takes_subject(self) -> bool:
        """Whether an input says what a run is about."""
        return any(one.is_subject and one.name == self.subject for one in self.inputs)

    @property
    def action(self) -> Action:
        """What a step that calls it takes, as an action; the executor starts a run in its place."""
        return call_of(self.id, params_of(self.inputs))


class _Anything(Params):
    """Inputs of a workflow of which nothing is known."""

    model_config = ConfigDict(extra="allow", frozen=True, arbitrary_types_allowed=True)


def call_of(workflow: str, params: type[Params] = _Anything) -> Action:
    """Give the call of a workflow as an action. What it does lasts, and is only rows of our own."""
    return Action(
        CALL + workflow,
        params,
        _perform,
        None,
        lasts=True,
        capability=None,
        method=None,
        own_class=EffectClass.OWN_ROWS,
        plugin="this project",
    )


def _perform(_params: Any, _ctx: Context) -> None:
    raise NotImplementedError("a call is a run of its own")


@dataclass(frozen=True, slots=True)
class CallSite:
    """A step that calls a workflow."""

    caller: str
    callee: str
    span: Span

    def __str__(self) -> str:
        return f"{self.callee} ({self.span.file}:{self.span.line})"


@dataclass(slots=True)
class Callees:
    """The workflows of a project as other workflows may call them."""

    read: Callable[[str], SourceFile | None]  #: a workflow's file by its id; None where there is none
    sign: Callable[[SourceFile], Signature | None]  #: what it takes and gives, mistakes or not
    _signatures: dict[str, Signature | None] = field(default_factory=dict)
    _sites: dict[str, Sequence[CallSite]] = field(default_factory=dict)
    _depths: dict[str, int] = field(default_factory=dict)

    def signature(self, workflow: str) -> Signature | None:
        """Give what a workflow takes and gives; None where it cannot be told."""
        if workflow not in self._signatures:
            self._signatures[workflow] = None  # of one that calls itself nothing is known meanwhile
            file = self.read(workflow)
            self._signatures[workflow] = self.sign(file) if file is not None else None
        return self._signatures[workflow]

    def cycle(self, caller: str, callee: str) -> Sequence[CallSite] | None:
        """Give the calls that lead from `callee` back to `caller`, the shortest way; None where none do."""
        ways: list[tuple[CallSite, ...]] = [()]
        seen = {callee}
        if caller == callee:
            return ()
        for way in ways:
            for site in self._calls(way[-1].callee if way else callee):
                if site.callee == caller:
                    return (*way, site)
                if site.callee not in seen:
                    seen.add(site.callee)
                    ways.append((*way, site))
        return None

    def depth(self, workflow: str) -> int:
        """Give how many calls stand one inside the other below a workflow, itself counted."""
        todo, entered = [workflow], set[str]()
        while todo:
            name = todo[-1]
            below = {site.callee for site in self._calls(name)}
            waiting = [one for one in below if one not in self._depths and one not in entered]
            if name in self._depths or (name in entered and not waiting):
                self._depths.setdefault(name, 1 + max((self._depths.get(one, 0) for one in below), default=0))
                todo.pop()
            else:
                entered.add(name)
                todo += waiting
        return self._depths[workflow]

    def _calls(self, workflow: str) -> Sequence[CallSite]:
        if workflow not in self._sites:
            file = self.read(workflow)
            self._sites[workflow] = calls_in(workflow, file) if file is not None else ()
        return self._sites[workflow]


def calls_in(workflow: str, file: SourceFile) -> list[CallSite]:
    """Give the calls that a file's steps make, each callee once."""
    found: dict[str, CallSite] = {}
    todo: list[Node] = [file.root] if file.root is not None else []
    while todo:
        node = todo.pop()
        uses = node.get("uses") if isinstance(node, MappingNode) else None
        if isinstance(uses, Scalar) and isinstance(uses.value, str) and uses.value.startswith(CALL):
            callee = uses.value.removeprefix(CALL)
            found.setdefault(callee, CallSite(workflow, callee, uses.span))
        todo.extend(source.children(node))
    return list(found.values())
