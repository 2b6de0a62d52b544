"""`on:`: which triggers, their inputs, and what the run will be about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from engine.domain import FIELDS, Event, Field
from engine.plugins import Discreet, Params, Trigger
from engine.problems import declare, did_you_mean, nearest
from engine.workflow import check_inputs, source
from engine.workflow.check_base import BAD_VALUE, CANNOT_SERVE, MISSING_KEY, WRONG_TYPE, Report, describe
from engine.workflow.check_inputs import Held, inputs_of
from engine.workflow.model import TriggerUse
from engine.workflow.source import Node, Scalar

UNKNOWN_TRIGGER = declare(
    "unknown-trigger",
    "`on:` names a trigger that is not known.",
    "Write one of `hotwash list triggers`, or install the plugin that brings it.",
)
MIXED_SUBJECTS = declare(
    "mixed-subjects",
    "The triggers of one workflow are about different things, so that no one name stands for what a run is about.",
    "Write a workflow for each.",
)
SETTLE = declare(
    "for-without-state",
    "`for:` waits until something has stayed as it is; the trigger names an event, and no state that could last.",
    "Leave `for:` out, or begin the workflow with `wait:`.",
)
NO_ZONE = declare(
    "cron-without-zone",
    "A cron has no time zone, neither its own nor the project's, so it counts in UTC.",
    "Add `timezone:` beside the cron, or to hotwash.yaml.",
)
EXPRESSION_HERE = declare(
    "expression-not-here",
    "The value is read when the file is loaded, before there is anything that an expression could read.",
    "Write the value itself.",
)

FOREIGN = {
    "workflow_dispatch": "manual",
    "workflow_call": "(declare 'inputs:' in its place)",
    "cron": "schedule",
    "repository_dispatch": "webhook",
    "http": "webhook",
}


class OwnEvent(Discreet):
    """Start when a workflow of the project emits an event of that type."""


def own_event(name: str) -> Trigger:
    """Give the trigger that listens to a type of the project's own (`event.emit`)."""
    return Trigger(name, OwnEvent, None, name, {}, matches=_fits, own_may_start=True, plugin="this project")


def _fits(params: object, event: Event) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Triggers:
    """What `on:` says; `complete` where all of it could be read."""

    uses: tuple[TriggerUse, ...]
    known: tuple[Trigger, ...]
    subject: str | None
    complete: bool

    @property
    def event_data(self) -> dict[str, Field] | None:
        """The fields of `event.data`, where they are known."""
        if len(self.known) != 1 or not self.complete or not self.known[0].data:
            return None
        return dict(self.known[0].data)


def find_event(report: Report, name: str) -> Trigger | None:
    """Give the trigger of an event by its type."""
    found = report.catalogue.triggers.get(name)
    return found or (own_event(name) if name in report.names.events else None)


def read_triggers(report: Report, root: source.Mapping, meant: set[str]) -> Triggers:
    """Read `on:`."""
    node = root.get("on")
    if node is None:
        if root.sound and "on" not in meant and root.get("inputs") is None:
            report.add(MISSING_KEY, "a workflow needs 'on': what starts it", _first_key(root))
        return Triggers((), (), None, root.get("inputs") is not None)
    uses: list[TriggerUse] = []
    known: list[Trigger] = []
    complete = True
    if node in (source.Mapping((), node.span), source.Sequence((), node.span)):
        report.add(BAD_VALUE, "'on' names no trigger", node)
    for name, inputs in _entries(report, node, root):
        trigger = _find(report, name)
        if trigger is None:
            complete = False
            continue
        use = _use(report, trigger, name, inputs)
        uses += [use] if use is not None else []
        _one_subject(report, known, trigger, name)
        known.append(trigger)
    subject = next((trigger.subject for trigger in known if trigger.subject is not None), None)
    return Triggers(tuple(uses), tuple(known), subject, complete and bool(known))


def _first_key(root: source.Mapping) -> Node:
    return root.entries[0].key if root.entries else root


def _entries(report: Report, node: Node, root: source.Mapping) -> Iterator[tuple[Scalar, Node | None]]:
    match node:
        case source.Mapping():
            yield from ((entry.key, entry.value) for entry in node.entries)
        case source.Sequence():
            for item in node.items:
                if isinstance(item, Scalar) and isinstance(item.value, str):
                    yield item, None
                else:
                    hint = "write 'on' as a mapping of names to inputs" if isinstance(item, source.Mapping) else None
                    report.add(
                        WRONG_TYPE, f"an entry of 'on' must be a trigger's name, not {describe(item)}", item, hint
                    )
        case Scalar(value=str()):
            yield node, None
        case _:
            at = root.key("on") or node
            message = f"'on' must be a trigger's name, a list of names or a mapping, not {describe(node)}"
            report.add(WRONG_TYPE, message, node if node.span.line == at.span.line else at)


def _find(report: Report, name: Scalar) -> Trigger | None:
    found = find_event(report, name.text)
    if found is None:
        words = [*report.catalogue.triggers, *report.names.events]
        ours = FOREIGN.get(name.text)
        hint = ours.strip("()") if ours and ours[0] == "(" else f"write '{ours}'" if ours else None
        if hint is None and nearest(name.text, words) is None and "." in name.text:
            subject = name.text.partition(".")[0]
            same = [word for word in words if word.startswith(f"{subject}.")]
            hint = f"triggers of '{subject}': {', '.join(sorted(same))}" if same else None
        report.add(
            UNKNOWN_TRIGGER,
            f"no trigger is called '{name.text}'",
            name,
            hint or did_you_mean(name.text, words, "triggers"),
        )
    return found


def _one_subject(report: Report, before: list[Trigger], trigger: Trigger, name: Scalar) -> None:
    others = [one for one in before if one.name != "manual"]
    if not others or trigger.name == "manual" or any(one.subject == trigger.subject for one in others):
        return
    first = others[0]
    message = f"'{name.text}' is about {_about(trigger)}, and '{first.name}' about {_about(first)}"
    report.add(MIXED_SUBJECTS, message, name, "write a workflow for each")


def _about(trigger: Trigger) -> str:
    if trigger.subject is None:
        return "nothing that is kept"
    return f"{'an' if trigger.subject[0] in 'aeiou' else 'a'} {trigger.subject}"


def _use(report: Report, trigger: Trigger, name: Scalar, node: Node | None) -> TriggerUse | None:
    if node is not None and not (isinstance(node, Scalar) and node.value is None and node.sound):
        inputs = report.mapping(node, name.text)
        if inputs is None or _holds_expressions(report, inputs):
            return None
    else:
        inputs = None
    inputs = _without_settle(report, trigger, inputs)
    held = Held(trigger.name, trigger.params, inputs, name)
    params = check_inputs.hold(report, held)
    if params is None:
        return None
    _check_rhythm(report, params, name)
    connection = getattr(params, "connection", None)
    node_of_it = inputs.get("connection") if inputs is not None else None
    if isinstance(connection, str) and isinstance(node_of_it, Scalar):
        _check_serves(report, trigger, connection, node_of_it)
    settle = getattr(params, "for_", None) if trigger.left_by else None
    return TriggerUse(trigger, params, name.span, settle, bool(getattr(params, "own", False)), connection)


def _without_settle(report: Report, trigger: Trigger, inputs: source.Mapping | None) -> source.Mapping | None:
    key = inputs.key("for") if inputs is not None else None
    if inputs is None or key is None or "for" in inputs_of(trigger.params):
        return inputs
    report.add(
        SETTLE, f"'{trigger.name}' is no state that lasts: it takes no 'for'", key, "begin the steps with 'wait:'"
    )
    rest = tuple(entry for entry in inputs.entries if entry.key.text != "for")
    return source.Mapping(rest, inputs.span, inputs.sound)


def _holds_expressions(report: Report, node: Node) -> bool:
    found = False
    for scalar in source.scalars(node):
        if isinstance(scalar.value, str) and "${{" in scalar.value:
            report.add(EXPRESSION_HERE, "the inputs of a trigger are read before there is a run", scalar)
            found = True
    return found


def _check_rhythm(report: Report, params: Params, name: Scalar) -> None:
    for rhythm in (params, getattr(params, "poll", None)):
        cron, zone = getattr(rhythm, "cron", None), getattr(rhythm, "timezone", None)
        written = rhythm is params or "poll" in params.model_fields_set
        if cron is not None and written and zone is None and report.names.timezone is None:
            message = f"the cron of '{name.text}' has no time zone: it counts in UTC"
            report.warn(NO_ZONE, message, name, "add 'timezone: Europe/Prague' or the like")


def _check_serves(report: Report, trigger: Trigger, connection: str, at: Scalar) -> None:
    serves = report.names.connections.get(connection)
    if serves is not None and trigger.subject in ("ticket", "incident", "document") and trigger.subject not in serves:
        report.add(CANNOT_SERVE, f"connection '{connection}' does not serve '{trigger.subject}'", at)


def event_fields(trigger: Trigger | None) -> dict[str, Field]:
    """Give what `event` has in the condition of an event: its own fields, its subject by type, what `data` holds."""
    fields = dict(FIELDS["event"])
    if trigger is not None and trigger.subject is not None:
        fields[trigger.subject] = Field(trigger.subject, "What it is about, as it was just after it.")
    return fields
