"""`steps:` and `on_failure:`: what each step does, when, and what it may read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Literal, NamedTuple, cast

from engine.domain import Field
from engine.plugins import Action, EffectClass, Trigger, effect_class
from engine.problems import Span, declare, did_you_mean, nearest
from engine.workflow import check_calls, check_inputs, source
from engine.workflow.calling import CALL
from engine.workflow.check_base import (
    BAD_VALUE,
    MISPLACED_KEY,
    MISSING_KEY,
    UNKNOWN_CONNECTION,
    WRONG_TYPE,
    Report,
    describe,
)
from engine.workflow.check_connection import Connections
from engine.workflow.check_expressions import EFFECT, PLAIN, WATCHED, Expressions, Known
from engine.workflow.check_on import event_fields, find_event
from engine.workflow.check_with import Inputs, read_inputs
from engine.workflow.expressions import Expression
from engine.workflow.model import Finish, Length, Repeat, Retry, Step, TemplateUse, Until, Wait
from engine.workflow.source import Mapping as MappingNode
from engine.workflow.source import Node, Scalar

STEP_KIND = declare(
    "step-kind",
    "A step does exactly one thing: 'uses' an action, 'wait', 'finish', or 'steps' of its own.",
    "Add the one that is meant, or make several steps of it.",
)
UNKNOWN_ACTION = declare(
    "unknown-action",
    "`uses:` names an action that is not known.",
    "Write one of `hotwash list actions`, or install the plugin that brings it.",
)
SAME_ID = declare("same-id", "Two steps of a file have the same id.", "Rename one; ids are unique in the file.")
LOOP_IN_LOOP = declare(
    "loop-in-loop",
    "`for_each` inside `for_each` is not part of version 1 of the language.",
    "Make one list of both, or emit an event for each item and let another workflow loop.",
)
FINISH_IN_LOOP = declare(
    "finish-in-loop",
    "`finish` ends the whole run, and the items of a loop are independent of each other.",
    "Leave the item's remaining steps out with `if:`.",
)
NEEDS_CONDITION = declare(
    "event-needs-condition",
    "An event without a condition means one about the run's subject, and this event is never about it.",
    "Write a condition that says which one: `document.published: event.document.id == steps.doc.id`.",
)
EVENT_OR_FIELD = declare(
    "event-or-field",
    "The text is the name of an event and of a field; in `until` it is the event.",
    "Write `… == true` for the field, or a mapping for the event.",
)
NEVER_IN_DOUBT = declare(
    "never-in-doubt",
    "`on_unknown` is for effects that must not be done twice, and here is none: by the connection in use, what the "
    "step does can be done again without harm, can be looked for, or is part of our own database.",
    "Leave it out, unless the file is also used with other connections.",
)
UNKNOWN_EVENT = declare("unknown-event", "`until` names an event that is not known.", "Write one that is.")

NEVER_FOUND = declare(
    "never-found",
    "`until` names an event that there is only where a workflow listens to it: it is found for that workflow, by the "
    "inputs of its trigger, and a wait has none.",
    "List the trigger under `on:` of the same workflow, or wait for what somebody does instead.",
)

KINDS = ("uses", "wait", "finish", "steps")
ALWAYS = ("id", "name", "if")
OF_USES = ("with", "connection", "retry", "once_per", "on_unknown")
OF_WORK = ("for_each", "item_key", "repeat", "timeout", "continue_on_error")
ALL_KEYS = (*ALWAYS, *KINDS, *OF_USES, "else", *OF_WORK)
_KNOWN_KEYS = frozenset(ALL_KEYS)
FOREIGN = {
    "when": "if",
    "loop": "for_each",
    "with_items": "for_each",
    "foreach": "for_each",
    "block": "steps",
    "then": "steps",
    "register": "id",
    "delay": "wait",
    "pause": "wait",
    "sleep": "wait",
    "data": "with",
    "args": "with",
    "params": "with",
    "inputs": "with",
    "action": "uses",
    "rescue": "(write 'on_failure' beside the file's 'steps')",
    "env": "(write 'vars' beside the file's 'steps')",
    "variables": "(write 'vars' beside the file's 'steps')",
    "vars": "(write 'vars' beside the file's 'steps')",
    "continue-on-error": "continue_on_error",
    "timeout-minutes": "timeout",
    "retries": "retry",
    "key": "once_per",
    "needs": "(steps run in order: leave it out)",
    "depends_on": "(steps run in order: leave it out)",
    "jobs": "(steps run in order: leave it out)",
    "run": "uses",
    "description": "name",
}
_STEPS = Scalar("steps", "steps", "plain", Span("", 0, 0, 0, 0))
_MOST_REPEATS = 1_000
_ALWAYS_OUTPUT = {
    "failed": Field("boolean", "Whether it failed."),
    "error": Field("error", "What went wrong."),
}
_RESULTS = Field("list[any]", "Per item: item, key, failed, error and the outputs.")
_DONE = Field("boolean", "Whether `until` came true.")


class Surroundings(NamedTuple):
    """Where a step stands."""

    names: Known
    loop: str | None = None  #: the group or step whose `for_each` is around
    failing: bool = False  #: under `on_failure`


class Steps:
    """Reads the steps of one file."""

    def __init__(
        self,
        report: Report,
        expressions: Expressions,
        subject: str | None,
        file_keys: Collection[str],
        listens: Collection[str],
    ) -> None:
        self.report = report
        self.expressions = expressions
        self.subject = subject
        self.file_keys = file_keys
        self.listens = listens
        self.connections = Connections(report, expressions, {}, {})
        self.counts: Counter[str] = Counter()
        self.ids: dict[str, Scalar] = {}

    # --- lists of steps ---

    def read(self, node: Node | None, name: str, around: Surroundings) -> tuple[tuple[Step, ...], Known]:
        """Read a list of steps; gives them, and the names as the steps after them see them."""
        steps = self.report.sequence(node, name)
        if steps is None:
            return (), around.names
        if not steps.items:
            self.report.add(BAD_VALUE, f"'{name}' is empty", steps)
        found: list[Step] = []
        names = around.names
        for item in steps.items:
            mapping = self._step_mapping(item)
            if mapping is None:
                continue
            step, names = self._step(mapping, around._replace(names=names))
            found += [step] if step is not None else []
        return tuple(found), names

    def _step_mapping(self, item: Node) -> MappingNode | None:
        if isinstance(item, MappingNode):
            return item
        hint = None
        if isinstance(item, Scalar) and item.text in self.report.catalogue.actions:
            hint = f"write 'uses: {item.text}'"
        self.report.add(WRONG_TYPE, f"a step must be a mapping, not {describe(item)}", item, hint)
        return None

    def announce(self, node: Node | None, names: Known) -> Known:
        """Make all steps of a list known before they are read: each as 'runs later'."""
        todo: list[tuple[Node, str | None]] = [(node, None)] if node is not None else []
        while todo:
            current, loop = todo.pop()
            for item in current.items if isinstance(current, source.Sequence) else ():
                if not isinstance(item, MappingNode):
                    continue
                inner_loop = _label(item) if item.get("for_each") is not None else loop
                todo += [(child, inner_loop) for key in ("steps", "else") if (child := item.get(key)) is not None]
                step_id = item.get("id")
                if isinstance(step_id, Scalar):
                    reason = f"it is inside '{loop}', which runs for each item" if loop else "it runs later than this"
                    names = names.hiding(step_id.text, reason)
        return names

    def top_level(self, node: Node | None) -> tuple[list[str], dict[str, Mapping[str, Field]]]:
        """Give the ids and outputs of all steps of the file that are not inside a loop."""
        span = node.span if node is not None else None
        group = MappingNode((source.Entry(_STEPS, node),), span) if node is not None and span is not None else None
        return (_inner_ids(group), self._shapes(group)) if group is not None else ([], {})

    # --- one step ---

    def _step(self, node: MappingNode, around: Surroundings) -> tuple[Step | None, Known]:
        meant = self._check_keys(node)
        kind = self._kind(node, meant)
        step_id, named = self._id(node, kind)
        here = around
        if node.get("for_each") is not None:
            here = self._enter_loop(node, around, step_id)
        step = Step(
            step_id,
            kind or "uses",
            node.span,
            named,
            self.report.text(node.get("name"), "name"),
            self.expressions.condition(node.get("if"), "if", here.names),
            continue_on_error=bool(self.report.boolean(node.get("continue_on_error"), "continue_on_error")),
        )
        step, after = self._work(node, step, kind, around, here)
        outputs = self._outputs(node, kind, after)
        names = after if named is False else after.with_step(step_id, outputs)
        return (step if kind is not None else None), names

    def _check_keys(self, node: MappingNode) -> set[str]:
        meant: set[str] = set()
        if not _KNOWN_KEYS.issuperset(node.keys()):
            elsewhere = {key: f"'{key}' belongs to the file: suspect the indentation" for key in self.file_keys}
            elsewhere |= dict.fromkeys(self._input_names(node), "an input goes under 'with': suspect the indentation")
            meant = self.report.keys(node, ALL_KEYS, "a step", foreign=FOREIGN, elsewhere=elsewhere)
        kinds = [key for key in KINDS if node.get(key) is not None or node.key(key) is not None]
        if len(kinds) == 1:
            self._misplaced(node, kinds[0])
        return meant

    def _input_names(self, node: MappingNode) -> list[str]:
        uses = node.get("uses")
        action = self._known_action(uses.text) if isinstance(uses, Scalar) else None
        return [n for n in check_inputs.inputs_of(action.params) if n not in FOREIGN] if action is not None else []

    def _misplaced(self, node: MappingNode, kind: str) -> None:
        allowed = {"uses": (*OF_USES, *OF_WORK), "steps": ("else", *OF_WORK)}.get(kind, ())
        for key in (*OF_USES, "else", *OF_WORK):
            scalar = node.key(key)
            if scalar is None or key in allowed:
                continue
            where = "'uses'" if key in OF_USES else "'steps'" if key == "else" else "'uses' or 'steps'"
            self.report.add(MISPLACED_KEY, f"'{key}' goes with {where}, not with '{kind}'", scalar)
        if node.key("item_key") is not None and node.key("for_each") is None and kind in ("uses", "steps"):
            self.report.add(MISPLACED_KEY, "'item_key' goes with 'for_each'", node.key("item_key") or node)
        if node.key("else") is not None and kind == "steps" and node.key("if") is None:
            self.report.add(MISPLACED_KEY, "'else' goes with 'if' and 'steps'", node.key("else") or node, "add 'if'")

    def _kind(self, node: MappingNode, meant: set[str]) -> Literal["uses", "wait", "finish", "steps"] | None:
        keys = [entry.key for entry in node.entries if entry.key.text in KINDS]
        if len(keys) > 1:
            message = f"a step does one thing, and this has '{keys[0].text}' and '{keys[1].text}'"
            self.report.add(STEP_KIND, message, keys[1], "make two steps of it")
            return None
        if not keys:
            if node.sound and not meant & set(KINDS):
                at = node.entries[0].key if node.entries else node
                self.report.add(STEP_KIND, "a step needs 'uses', 'wait', 'finish' or 'steps'", at)
            return None
        return keys[0].text  # type: ignore[return-value]

    def _id(self, node: MappingNode, kind: str | None) -> tuple[str, bool]:
        scalar = node.get("id")
        if scalar is not None and isinstance(scalar, Scalar):
            text = self.report.text(scalar, "id")
            name = self.report.name(scalar, "a step") if text else None
            if name is not None and name in self.ids:
                first = self.ids[name].span
                message = f"two steps are called '{name}': the first in line {first.line}, column {first.column}"
                self.report.add(SAME_ID, message, scalar, "rename one")
            elif name is not None:
                self.ids[name] = scalar
                return name, True
        elif scalar is not None:
            self.report.text(scalar, "id")
        uses = node.get("uses")
        base = (
            uses.text if isinstance(uses, Scalar) and kind == "uses" else "group" if kind == "steps" else kind or "step"
        )
        self.counts[base] += 1
        return f"{base}#{self.counts[base]}", False

    def _enter_loop(self, node: MappingNode, around: Surroundings, step_id: str) -> Surroundings:
        if around.loop is not None:
            message = f"'for_each' stands inside '{around.loop}', which is one itself"
            self.report.add(LOOP_IN_LOOP, message, node.key("for_each") or node)
        item = self.expressions.item_kind(node.get("for_each"), around.names)
        return around._replace(names=around.names.with_name("item", item), loop=_label(node, step_id))

    # --- what it does ---

    def _work(
        self, node: MappingNode, step: Step, kind: str | None, around: Surroundings, here: Surroundings
    ) -> tuple[Step, Known]:
        """Read what a step does; gives it and the names that the steps after it see, its own id left out."""
        repeat_node = node.get("repeat")
        inside = here
        if repeat_node is not None:
            names = here.names.with_name("iteration", "number")
            if kind == "steps":
                names = names.showing_all(_inner_ids(node), self._shapes(node))
            inside = here._replace(names=names)
        after = around.names
        match kind:
            case "uses":
                step = self._uses(node, step, inside)
            case "steps":
                step, after = self._group(node, step, inside, around)
            case "wait":
                step = replace(step, wait=self._wait(node.get("wait"), here.names))
            case "finish":
                step = replace(step, finish=self._finish(node, around))
        if kind in ("uses", "steps"):
            step = self._loop_keys(node, step, around, here)
            own = after if repeat_node is None or kind != "steps" else inside.names
            if step.named:
                own = own.with_step(step.id, {**self._own_outputs(node, kind)})
            own = own.with_name("iteration", "number")
            if "item" in here.names.plain:
                own = own.with_name("item", here.names.plain["item"])
            step = replace(step, repeat=self._repeat(node.get("repeat"), here.names, own))
        return step, after

    def _loop_keys(self, node: MappingNode, step: Step, around: Surroundings, here: Surroundings) -> Step:
        for_each = self.expressions.bare(node.get("for_each"), "for_each", around.names, EFFECT, kind="list")
        item_key = None
        if for_each is not None:
            item_key = self.expressions.bare(node.get("item_key"), "item_key", here.names, PLAIN)
        timeout = self.expressions.length(node.get("timeout"), "timeout", here.names)
        return replace(step, for_each=for_each, item_key=item_key, timeout=timeout)

    def _uses(self, node: MappingNode, step: Step, here: Surroundings) -> Step:
        uses = node.get("uses")
        name = self.report.text(uses, "uses")
        action = self._action(name, uses, node)
        retry = self._retry(node.get("retry"))
        once_per = self._once_per(node, step, here.names)
        connection, connecting = self._connection(node, action, here.names)
        on_unknown = self._on_unknown(node, action if connecting is None else None, connection)
        if action is None:
            self.expressions.tree(node.get("with"), "with", here.names, EFFECT)
            return replace(step, retry=retry, once_per=once_per, connection=connection)
        inputs: Inputs = read_inputs(self.report, self.expressions, action, node, here.names)
        template: TemplateUse | None = inputs.template
        return replace(
            step,
            action=action,
            calls=action.name.removeprefix(CALL) if check_calls.is_call(action.name) else None,
            inputs=inputs.trees,
            markdown=inputs.markdown,
            template=template,
            connection=connection,
            connecting=connecting,
            once_per=once_per,
            retry=retry,
            on_unknown=on_unknown,
        )

    def _known_action(self, name: str) -> Action | None:
        """Give an action, or a call as one."""
        found = self.report.catalogue.actions.get(name)
        return check_calls.action_of_call(self.report, name) if found is None and check_calls.is_call(name) else found

    def _action(self, name: str | None, at: Node | None, node: MappingNode) -> Action | None:
        if name is None or not isinstance(at, Scalar):
            return None
        if check_calls.is_call(name) and not check_calls.check_call(self.report, node, at, self.subject):
            return None
        found = self._known_action(name)
        if found is None:
            words = list(self.report.catalogue.actions)
            hint = None
            if nearest(name, words) is None:
                same = sorted(word for word in words if word.partition(".")[0] == name.partition(".")[0])
                hint = f"actions of '{name.partition('.')[0]}': {', '.join(same)}" if same else None
            message = f"no action is called '{name}'"
            self.report.add(UNKNOWN_ACTION, message, at, hint or did_you_mean(name, words, "actions"))
        return found

    def _connection(
        self, node: MappingNode, action: Action | None, known: Known
    ) -> tuple[str | None, Expression | None]:
        """Read which connection a step is for: its name, or the expression that gives one."""
        at = node.get("connection")
        names = self.report.names
        if self.report.text(at, "connection") is not None and isinstance(at, Scalar):
            if action is not None and action.capability is None:
                self.report.add(MISPLACED_KEY, f"'{action.name}' uses no connection", node.key("connection") or at)
                return None, None
            return self.connections.read(at, action, known)
        if at is None and action is not None and action.capability and names.use.get(action.capability) is None:
            uses = node.get("uses") or node
            message = f"no connection serves '{action.capability}', which '{action.name}' needs"
            hint = f"name one in hotwash.yaml: 'use: {{{action.capability}: NAME}}'"
            self.report.add(UNKNOWN_CONNECTION, message, uses, hint)
        return None, None

    def _on_unknown(
        self, node: MappingNode, action: Action | None, connection: str | None
    ) -> Literal["ask", "skip", "repeat"]:
        """Read what to do about an effect in doubt; warns where the connection in use leaves none in doubt."""
        at = node.get("on_unknown")
        chosen = self.report.choice(at, "on_unknown", ("ask", "skip", "repeat"))
        if chosen is None or at is None:
            return "ask"
        if action is not None and (settled := self._settled_class(action, connection)) is not None:
            told = f"'on_unknown' decides nothing: what '{action.name}' does here ({settled}) is never in doubt"
            self.report.warn(NEVER_IN_DOUBT, told, node.key("on_unknown") or at, "leave it out")
        return cast('Literal["ask", "skip", "repeat"]', chosen)

    def _settled_class(self, action: Action, connection: str | None) -> EffectClass | None:
        """Give the class of what an action does, where no crash can leave it in doubt; None where one can."""
        names = self.report.names
        used = connection or names.use.get(action.capability or "")
        declared = self.report.catalogue.providers.get(names.providers.get(used or "", ""))
        if action.own_class is not None:  # one that follows from the inputs is known when they are
            kind = action.own_class if isinstance(action.own_class, EffectClass) else None
        elif action.capability is None or declared is None:
            return None
        else:
            kind = effect_class(getattr(declared.cls, action.method or "", None))
        unseen = kind is EffectClass.FINDABLE and not hasattr(declared.cls if declared else None, "find")
        return None if unseen or kind is EffectClass.AT_MOST_ONCE else kind

    def _once_per(self, node: MappingNode, step: Step, names: Known) -> tuple[Expression, ...]:
        given = node.get("once_per")
        if given is None:
            return ()
        if not step.named and node.get("id") is None:
            self.report.add(
                MISSING_KEY, "a step with 'once_per' needs an 'id'", node.key("once_per") or node, "add 'id'"
            )
        return self.expressions.keys(given, "once_per", names)

    def _retry(self, node: Node | None) -> Retry:
        mapping = self.report.mapping(node, "retry")
        if mapping is None:
            return Retry()
        self.report.keys(mapping, ("max", "every", "at_most"), "'retry'", foreign={"attempts": "max", "delay": "every"})
        default = Retry()
        most = self.report.whole(mapping.get("max"), "max", 1, 100)
        every = self.report.duration(mapping.get("every"), "every", exact=True) or default.every
        at_most = self.report.duration(mapping.get("at_most"), "at_most", exact=True) or max(default.at_most, every)
        if at_most < every and mapping.get("at_most") is not None:
            message = f"'at_most' must be 'every' or longer, and {at_most} is shorter than {every}"
            self.report.add(BAD_VALUE, message, mapping.get("at_most") or mapping)
        return Retry(default.max if most is None else most, every, at_most)

    def _group(self, node: MappingNode, step: Step, inside: Surroundings, around: Surroundings) -> tuple[Step, Known]:
        steps, names = self.read(node.get("steps"), "steps", inside)
        otherwise, names = self.read(node.get("else"), "else", inside._replace(names=names))
        if node.get("for_each") is not None:
            label = _label(node, step.id)
            read = f": read 'steps.{step.id}.results'" if step.named else ""
            after = around.names
            for inner in _inner_ids(node):
                after = after.hiding(inner, f"it is inside '{label}', which runs for each item{read}")
        else:
            after = around.names._replace(steps=names.steps, hidden=names.hidden)
        return replace(step, steps=steps, otherwise=otherwise), after

    def _finish(self, node: MappingNode, around: Surroundings) -> Finish | None:
        given = node.get("finish")
        if around.loop is not None:
            message = f"'finish' stands inside '{around.loop}', which runs for each item"
            self.report.add(FINISH_IN_LOOP, message, node.key("finish") or node)
        failed = False
        reason: Node | None = given
        if isinstance(given, MappingNode):
            self.report.keys(given, ("as", "reason"), "'finish'", foreign={"status": "as", "message": "reason"})
            failed = self.report.choice(given.get("as"), "as", ("finished", "failed")) == "failed"
            reason = given.get("reason")
            if reason is None:
                if given.sound:
                    self.report.add(MISSING_KEY, "'finish' needs its 'reason'", node.key("finish") or node)
                return None
        text = self.expressions.text(reason, "reason" if reason is not given else "finish", around.names)
        return Finish(text, failed) if text is not None else None

    # --- waiting ---

    def _wait(self, node: Node | None, names: Known) -> Wait | None:
        if isinstance(node, Scalar):
            length = self.expressions.length(node, "wait", names)
            return Wait(length) if length is not None else None
        mapping = self.report.mapping(node, "wait")
        if mapping is None:
            return None
        foreign = {"duration": "for", "timeout": "for", "while": "until", "events": "until", "event": "until"}
        meant = self.report.keys(mapping, ("for", "at", "until"), "'wait'", foreign=foreign)
        if mapping.key("for") is not None and mapping.key("at") is not None:
            self.report.add(MISPLACED_KEY, "'wait' takes 'for' or 'at', not both", mapping.key("at") or mapping)
        if not mapping.entries and mapping.sound and not meant:
            self.report.add(MISSING_KEY, "'wait' needs 'for', 'at' or 'until'", mapping)
        limit: Length | None = self.expressions.length(mapping.get("for"), "for", names)
        at = self.expressions.instant(mapping.get("at"), "at", names)
        return Wait(limit, at, self._until(mapping.get("until"), names, names))

    def _repeat(self, node: Node | None, names: Known, own: Known) -> Repeat | None:
        mapping = self.report.mapping(node, "repeat")
        if mapping is None:
            return None
        foreign = {"times": "max", "count": "max", "limit": "max", "delay": "every", "interval": "every"}
        meant = self.report.keys(mapping, ("every", "max", "until"), "'repeat'", foreign=foreign)
        if mapping.get("max") is None and mapping.sound and "max" not in meant:
            self.report.add(MISSING_KEY, "'repeat' needs 'max': how often at most", mapping)
        most = self.report.whole(mapping.get("max"), "max", 1, _MOST_REPEATS)
        every = self.expressions.length(mapping.get("every"), "every", names)
        return Repeat(most or 1, every, self._until(mapping.get("until"), own, names))

    def _until(self, node: Node | None, names: Known, outer: Known) -> Until | None:
        """Read `until`: a condition, the name of an event, a list of them, or a mapping of events to conditions."""
        match node:
            case None:
                return None
            case MappingNode():
                return self._of_events([(e.key, e.value) for e in node.entries], names)
            case source.Sequence():
                return self._of_events([(item, None) for item in node.items], names)
            case Scalar() if find_event(self.report, node.text) is not None:
                self._event_or_field(node, names)
                return self._of_events([(node, None)], names)
        return Until(condition=self.expressions.condition(node, "until", names, WATCHED))

    def _event_or_field(self, node: Scalar, names: Known) -> None:
        subject, _, name = node.text.partition(".")
        if subject == self.subject and self.expressions.has_field(subject, name):
            message = f"'{node.text}' is read as the event, not as the field"
            hint = f"write '{node.text} == true' for the field, or '{{{node.text}: }}' for the event"
            self.report.warn(EVENT_OR_FIELD, message, node, hint)

    def _of_events(self, entries: list[tuple[Node, Node | None]], names: Known) -> Until:
        events = self._events(entries, names)
        triggers = [find_event(self.report, name) for name, _ in events]
        return Until(events=events, found=frozenset(one.name for one in triggers if one is not None and one.finds))

    def _events(
        self, entries: list[tuple[Node, Node | None]], names: Known
    ) -> tuple[tuple[str, Expression | None], ...]:
        found: list[tuple[str, Expression | None]] = []
        if not entries:
            return ()
        for key, given in entries:
            name = self.report.text(key, "until")
            if name is None or not isinstance(key, Scalar):
                continue
            trigger = find_event(self.report, name)
            inside = self._arriving(names, trigger)
            nothing = given is None or (isinstance(given, Scalar) and given.value is None and given.sound)
            condition = None if nothing else self.expressions.condition(given, name, inside, WATCHED)
            self._check_event(key, trigger, has_condition=not nothing)
            found.append((name, condition))
        return tuple(found)

    def _arriving(self, names: Known, trigger: Trigger | None) -> Known:
        """Give the names where an event arrives; bare ones stay the run's own."""
        inside = names.with_event(event_fields(trigger), trigger.data if trigger else None)
        subject = trigger.subject if trigger is not None else None
        if subject is None or subject in names.plain:
            return inside
        return inside.explaining(
            subject, f"the run is not about {_a(subject)}; write 'event.{subject}' for the one that arrives"
        )

    def _check_event(self, key: Scalar, trigger: Trigger | None, *, has_condition: bool) -> None:
        """Report what can never end a wait: an event that is not known, is not found, or is never about the subject."""
        name = key.text
        if trigger is None:
            words = [*self.report.catalogue.triggers, *self.report.names.events]
            message = f"no event is called '{name}'"
            self.report.add(UNKNOWN_EVENT, message, key, did_you_mean(name, words, "events"))
        elif trigger.finds and name not in self.listens:
            message = f"'{name}' is only found for a workflow whose 'on' names it, and this one's does not"
            other = f", or until somebody does something ('{trigger.subject}.updated')" if trigger.subject else ""
            self.report.add(NEVER_FOUND, message, key, f"list it under 'on', or wait 'for' a time{other}")
        elif not has_condition and (trigger.subject is None or trigger.subject != self.subject):
            about = f"about {_a(trigger.subject)}" if trigger.subject else "about nothing that is kept"
            run = f"about {_a(self.subject)}" if self.subject else "about nothing that is kept"
            message = f"'{name}' is {about}, and this run {run}: it needs a condition"
            self.report.add(
                NEEDS_CONDITION, message, key, f"write '{name}: CONDITION'; 'event' is the one that arrives"
            )

    # --- outputs ---

    def _outputs(self, node: MappingNode, kind: str | None, names: Known) -> Mapping[str, Field]:
        """Give what later steps may read of a step."""
        if node.get("for_each") is not None:
            return {**_ALWAYS_OUTPUT, "results": _RESULTS}
        return self._own_outputs(node, kind)

    def _own_outputs(self, node: MappingNode, kind: str | None) -> Mapping[str, Field]:
        done = {"done": _DONE} if node.get("repeat") is not None else {}
        if kind == "wait":
            event = {"event": Field("any", "The event that ended it.")}
            return {**_ALWAYS_OUTPUT, "timed_out": Field("boolean", "Whether its time came first."), **event}
        uses = node.get("uses")
        if kind == "uses" and isinstance(uses, Scalar):
            if check_calls.is_call(uses.text):
                return {**check_calls.outputs_of_call(self.report, uses.text), **_ALWAYS_OUTPUT, **done}
            action = self.report.catalogue.actions.get(uses.text)
            if action is None:
                return {**_ALWAYS_OUTPUT, "*": Field("any", "What an unknown action gives.")}
            return {**action.outputs, **_ALWAYS_OUTPUT, **done}
        return {**_ALWAYS_OUTPUT, **done}

    def _shapes(self, group: MappingNode) -> dict[str, Mapping[str, Field]]:
        """Give the outputs of all steps inside a group that repeats: each may read the others' latest."""
        found: dict[str, Mapping[str, Field]] = {}
        for step in _inner_steps(group):
            step_id = step.get("id")
            kinds = [key for key in KINDS if step.key(key) is not None]
            if isinstance(step_id, Scalar) and len(kinds) == 1:
                found[step_id.text] = self._outputs(step, kinds[0], Known())
        return found


def _inner_steps(group: MappingNode) -> list[MappingNode]:
    """Give the steps inside a group, those inside its loops left out."""
    found: list[MappingNode] = []
    todo: list[Node | None] = [group.get("steps"), group.get("else")]
    while todo:
        current = todo.pop()
        for item in current.items if isinstance(current, source.Sequence) else ():
            if isinstance(item, MappingNode):
                found.append(item)
                if item.get("for_each") is None:
                    todo += [item.get("steps"), item.get("else")]
    return found


def _inner_ids(group: MappingNode) -> list[str]:
    ids = [step.get("id") for step in _inner_steps(group)]
    return [scalar.text for scalar in ids if isinstance(scalar, Scalar)]


def _label(node: MappingNode, step_id: str | None = None) -> str:
    given = node.get("id")
    if isinstance(given, Scalar):
        return given.text
    uses = node.get("uses")
    return uses.text if isinstance(uses, Scalar) else step_id or "for_each"


def _a(word: str | None) -> str:
    return f"{'an' if word and word[0] in 'aeiou' else 'a'} {word}"
