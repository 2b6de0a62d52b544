"""Check a workflow file and make the workflow of it.

Everything that is wrong is reported at once, one message for each cause. The parts: `check_on` reads the triggers,
`check_steps` the steps, `check_with` and `check_inputs` what an action or a trigger is given, `check_expressions` the
expressions, and this module what the file itself holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any, Literal, cast

from engine.calendars import RECIPIENT
from engine.domain import FIELDS, SUBJECTS, Field
from engine.plugins import Catalogue
from engine.problems import Problem, sort
from engine.workflow import check_declared, check_moves, check_steps, source
from engine.workflow.calling import Signature
from engine.workflow.check_base import MISSING_KEY, UNKNOWN_CALENDAR, WRONG_TYPE, Names, Report, describe
from engine.workflow.check_connection import Connections
from engine.workflow.check_expressions import EFFECT, KEYS, WATCHED, Expressions, Known, kind_of_value
from engine.workflow.check_moves import former_name
from engine.workflow.check_on import Triggers, read_triggers
from engine.workflow.check_steps import Steps, Surroundings
from engine.workflow.model import Concurrency, Input, Step, Tree, Workflow
from engine.workflow.source import Mapping as MappingNode
from engine.workflow.source import Node, Scalar, SourceFile

__all__ = ["Names", "check_workflow", "emitted_types", "former_name", "signature_of"]

KEYS_OF_FILE = (
    "name", "description", "owner", "mode", "on", "inputs", "outputs", "if", "once_per", "stop_when", "during",
    "concurrency", "timeout", "vars", "steps", "on_failure", "moved_from",
)  # fmt: skip
FOREIGN = {
    "trigger": "on",
    "triggers": "on",
    "when": "if",
    "condition": "if",
    "conditions": "if",
    "env": "vars",
    "variables": "vars",
    "rescue": "on_failure",
    "key": "once_per",
    "actions": "steps",
    "sequence": "steps",
    "tasks": "steps",
    "block": "steps",
    "jobs": "(steps run in order: write 'steps')",
    "needs": "(steps run in order: leave it out)",
    "timeout-minutes": "timeout",
    "alias": "name",
    "title": "name",
    "enabled": "mode",
}
FOREIGN_TO_CONCURRENCY = {
    "group": "key",
    "max": "limit",
    "mode": "on_conflict",
    "cancel-in-progress": "(write 'on_conflict: replace')",
    "cancel_in_progress": "(write 'on_conflict: replace')",
}
#: Words that stand where `steps` should.
_JOBS = ("jobs",)

RUN_FIELDS: Mapping[str, Field] = {
    "id": Field("text", "Its id."),
    "key": Field("text", "What it was started for."),
    "round": Field("number", "Which pass through the steps this is, from 1."),
    "started_at": Field("instant", "When it began."),
    "event": Field("first event", "The event that started it."),
}
WORKFLOW_FIELDS: Mapping[str, Field] = {
    "id": Field("text", "The file's name without its ending."),
    "name": Field("text", "Its name."),
    "owner": Field("text", "Who is told when a run fails."),
}


def check_workflow(file: SourceFile, catalogue: Catalogue, names: Names) -> tuple[Workflow | None, list[Problem]]:
    """Hold a file against what can be named in it; give the workflow, None where there is an error, and all problems.

    Problems of the reader are not repeated; a file that it could not read gives none.
    """
    if file.root is None:
        return None, []
    report = Report(file, catalogue, names)
    try:
        workflow = _File(report).read(file.root)
    except source.Enough:
        workflow = None
    return (None if report.failed else workflow), sort(report.problems)


def signature_of(file: SourceFile, catalogue: Catalogue, names: Names) -> Signature | None:
    """Give what a workflow takes and gives when another calls it, whatever else is wrong with its file."""
    if file.root is None:
        return None
    try:
        workflow = _File(Report(file, catalogue, names)).read(file.root)
    except source.Enough:
        return None
    return Signature.of(workflow) if workflow is not None else None


def emitted_types(file: SourceFile) -> set[str]:
    """Give the event types that a file's steps emit, as far as they are written out: what `Names.events` gathers."""
    found: set[str] = set()
    todo: list[Node] = [file.root] if file.root is not None else []
    while todo:
        node = todo.pop()
        if isinstance(node, MappingNode):
            uses, inputs = node.get("uses"), node.get("with")
            if isinstance(uses, Scalar) and uses.text == "event.emit" and isinstance(inputs, MappingNode):
                type_ = inputs.get("type")
                if isinstance(type_, Scalar) and isinstance(type_.value, str) and "${{" not in type_.value:
                    found.add(type_.value)
        todo.extend(source.children(node))
    return found


class _File:
    def __init__(self, report: Report) -> None:
        self.report = report
        self.expressions = Expressions(report)

    def read(self, node: Node) -> Workflow | None:
        if not isinstance(node, MappingNode):
            self.report.add(WRONG_TYPE, f"a workflow must be a mapping, not {describe(node)}", node)
            return None
        root = node
        meant = self._check_keys(root)
        triggers = read_triggers(self.report, root, meant)
        inputs = check_declared.read_inputs(self.report, root.get("inputs"), triggers)
        subject = check_declared.subject_of(inputs, triggers)
        steps = Steps(self.report, self.expressions, subject, KEYS_OF_FILE, {use.name for use in triggers.uses})
        before = self._names(root, triggers, inputs, subject, steps)
        known, variables = self._vars(root.get("vars"), before)
        steps.connections = Connections(
            self.report, self.expressions, {one.name: one for one in inputs}, dict(variables)
        )
        head = self._head(root, triggers, before, known, steps)
        body, after = steps.read(root.get("steps"), "steps", Surroundings(known))
        if root.get("steps") is None and root.sound and "steps" not in meant:
            self.report.add(MISSING_KEY, "a workflow needs 'steps'", root.entries[0].key if root.entries else root)
        failing = after.with_record("run", {**RUN_FIELDS, "error": Field("error", "Why it failed.")})
        on_failure, _ = steps.read(root.get("on_failure"), "on_failure", Surroundings(failing, failing=True))
        outputs = check_declared.read_outputs(self.report, self.expressions, root.get("outputs"), after)
        workflow = self._workflow(root, triggers, head, variables, body, on_failure)
        return replace(workflow, subject=subject, inputs=inputs, outputs=outputs)

    def _check_keys(self, root: MappingNode) -> set[str]:
        step_keys = [key for key in check_steps.ALL_KEYS if key not in KEYS_OF_FILE]
        elsewhere = {key: f"'{key}' belongs to a step: suspect the indentation" for key in step_keys}
        elsewhere |= dict.fromkeys(self.report.catalogue.triggers, "a trigger goes under 'on': suspect the indentation")
        meant = self.report.keys(root, KEYS_OF_FILE, "a workflow", foreign=FOREIGN, elsewhere=elsewhere)
        return meant | ({"steps"} if any(root.get(word) is not None for word in _JOBS) else set())

    # --- names ---

    def _names(
        self, root: MappingNode, triggers: Triggers, inputs: tuple[Input, ...], subject: str | None, steps: Steps
    ) -> Known:
        """Give what expressions may read before there are variables and steps."""
        known = Known().with_record("run", dict(RUN_FIELDS)).with_record("workflow", dict(WORKFLOW_FIELDS))
        fields = dict(FIELDS["event"])
        if subject is not None:
            fields[subject] = Field(subject, "What it is about, as it was just after it.")
        elif not triggers.complete or not triggers.known:  # not known, or the event of whoever calls: nothing is said
            fields |= {name: Field(name, "") for name in SUBJECTS}
        known = known.with_event(fields, triggers.event_data, first=True)
        known = known.with_record(
            "vars", {name: Field(kind_of_value(v), "") for name, v in self.report.names.vars.items()}
        )
        known = known.with_record("inputs", {one.name: Field(one.kind, one.description) for one in inputs})
        if subject is not None:
            known = known.with_name(subject, subject)
        elif not triggers.complete and not triggers.known:
            for name in SUBJECTS:  # what the run is about is not known: nothing is said about it
                known = known.with_name(name, name)
        known = steps.announce(root.get("steps"), known)
        return steps.announce(root.get("on_failure"), known)

    def _vars(self, node: Node | None, before: Known) -> tuple[Known, list[tuple[str, Tree]]]:
        mapping = self.report.mapping(node, "vars")
        if mapping is None:
            return before, []
        known = before
        for entry in mapping.entries:
            known = known.hiding_var(entry.key.text, "it is set below: variables are read in order")
        found: list[tuple[str, Tree]] = []
        for entry in mapping.entries:
            name = self.report.name(entry.key, "a variable")
            tree = self.expressions.tree(entry.value, entry.key.text, known, EFFECT)
            known = known.with_var(entry.key.text, self.expressions.kind_of(tree, known))
            found += [(name, tree)] if name is not None else []
        return known, found

    # --- the file's own keys ---

    def _head(self, root: MappingNode, triggers: Triggers, before: Known, known: Known, steps: Steps) -> dict[str, Any]:
        """Read all that decides whether and how long a run goes on."""
        own_vars = root.get("vars")
        early = before
        for entry in own_vars.entries if isinstance(own_vars, MappingNode) else ():
            early = early.hiding_var(entry.key.text, "it is set when the run starts, and this is looked at before")
        early = early.explaining("run", "this is looked at before there is a run")
        steady = known.showing_all(*steps.top_level(root.get("steps")))
        once_per = root.get("once_per")
        return {
            "condition": self.expressions.condition(root.get("if"), "if", early),
            "stop_when": self.expressions.condition(root.get("stop_when"), "stop_when", steady, WATCHED),
            "once_per": self.expressions.keys(once_per, "once_per", early, KEYS) if once_per is not None else None,
            "timeout": self.expressions.length(root.get("timeout"), "timeout", known),
            "owner": self.report.person_or_team(root.get("owner"), "owner"),
            "during": self._during(root.get("during")),
            "concurrency": self._concurrency(root.get("concurrency"), early),
        }

    def _during(self, node: Node | None) -> str | None:
        name = self.report.text(node, "during")
        if name is None or not isinstance(node, Scalar):
            return None
        names = (*self.report.names.calendars, RECIPIENT)
        self.report.known(UNKNOWN_CALENDAR, name, node, names, f"no calendar is called '{name}'", "calendars")
        return name

    def _concurrency(self, node: Node | None, known: Known) -> Concurrency | None:
        mapping = self.report.mapping(node, "concurrency")
        if mapping is None:
            return None
        self.report.keys(mapping, ("key", "limit", "on_conflict"), "'concurrency'", foreign=FOREIGN_TO_CONCURRENCY)
        key, limit = mapping.get("key"), self.report.whole(mapping.get("limit"), "limit", 1, 1_000)
        conflict = self.report.choice(mapping.get("on_conflict"), "on_conflict", ("queue", "skip", "replace"))
        return Concurrency(
            self.expressions.keys(key, "key", known, KEYS) if key is not None else (),
            limit or 1,
            cast(Literal["queue", "skip", "replace"], conflict or "queue"),
        )

    def _mode(self, root: MappingNode) -> Literal["live", "dry_run", "off"]:
        mode = self.report.choice(root.get("mode"), "mode", ("live", "dry_run", "off"))
        return cast(Literal["live", "dry_run", "off"], mode or "live")

    def _workflow(
        self,
        root: MappingNode,
        triggers: Triggers,
        head: dict[str, Any],
        variables: list[tuple[str, Tree]],
        steps: tuple[Step, ...],
        on_failure: tuple[Step, ...],
    ) -> Workflow:
        file = self.report.file
        stem = PurePath(file.path).stem
        workflow = Workflow(
            id=stem,
            version=_version(stem, file.text, self.report.templates),
            source=file.text,
            templates=dict(self.report.templates),
            span=root.span,
            name=self.report.text(root.get("name"), "name") or stem,
            description=self.report.text(root.get("description"), "description", empty=True) or "",
            mode=self._mode(root),
            triggers=triggers.uses,
            vars=tuple(variables),
            steps=steps,
            on_failure=on_failure,
            moved_from=check_moves.read(self.report, root.get("moved_from"), stem),
        )
        return replace(workflow, **head)


def _version(workflow: str, text: str, templates: Mapping[str, str]) -> str:
    """Give the hash of a workflow's id, its text and the templates it names: two files may say the same."""
    found = hashlib.sha256(workflow.encode() + b"\0" + text.encode())
    for name, template in sorted(templates.items()):
        found.update(b"\0" + name.encode() + b"\0" + template.encode())
    return found.hexdigest()
