"""Expressions of a file: compiled, held against what can be read where they stand, and their places mapped to it."""

from __future__ import annotations

import ast
import math
import re
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, cast

from engine.calendars import Duration
from engine.domain import FIELDS, SUBJECTS, Field, Kind, element_of
from engine.problems import Span, declare, did_you_mean
from engine.workflow import kinds, source, yaml_syntax
from engine.workflow.check_base import BAD_VALUE, WRONG_TYPE, Names, Report, describe
from engine.workflow.expressions import Expression, ExpressionError, Text, compile_expression, compile_text
from engine.workflow.growing import Growing
from engine.workflow.kinds import UNKNOWN_REFERENCE, WRONG_KIND, TypeEnv, label
from engine.workflow.model import Length, Tree
from engine.workflow.source import Mapping as MappingNode
from engine.workflow.source import Node, Scalar
from engine.workflow.syntax import children

LOOKUP_BLIND = declare(
    "lookup-may-be-late",
    "`stop_when` and `until` are looked at when the run's own subject changes, not when other subjects do.",
    "Write `until` as a mapping of the event to wait for, or accept that it is noticed later.",
)


# --- what can be read ------------------------------------------------------------------------------------------------

Fields = Mapping[str, Field]


_NOTHING: Mapping[str, Any] = MappingProxyType({})
_NO_STEPS: Growing[Fields] = Growing()
_NONE_HIDDEN: Growing[str] = Growing()


class Known(NamedTuple):
    """What an expression may read at one place of a file. Every change gives a new one."""

    plain: Mapping[str, Kind] = _NOTHING  #: subjects, `item`, `iteration`
    records: Mapping[str, Fields] = _NOTHING  #: `event`, `run`, `workflow`, `vars`, `inputs`
    steps: Growing[Fields] = _NO_STEPS
    hidden: Growing[str] = _NONE_HIDDEN  #: steps that are there but not here, and why
    hidden_vars: Growing[str] = _NONE_HIDDEN
    reasons: Mapping[str, str] = _NOTHING  #: why a name is not there

    def with_name(self, name: str, kind: Kind) -> Known:
        return self._replace(plain={**self.plain, name: kind})

    def with_record(self, name: str, fields: Fields) -> Known:
        return self._replace(records={**self.records, name: fields})

    def with_event(self, fields: Fields, data: Fields | None, *, first: bool = False) -> Known:
        """Say what `event` is; with `first`, also `run.event`. `data` are the fields of `event.data`, where known."""
        known = self
        for name in ("event", "first event") if first else ("event",):
            given = {**fields, "data": Field(f"{name} data", "")} if data else fields
            known = known.with_record(name, given).with_record(f"{name} data", data or {})
        return known

    def explaining(self, name: str, why: str) -> Known:
        """Take a name away, with the reason, and after '; ' with what to write in its place."""
        return self._replace(
            plain={key: kind for key, kind in self.plain.items() if key != name},
            records={key: fields for key, fields in self.records.items() if key != name},
            reasons={**self.reasons, name: why},
        )

    def with_step(self, step: str, outputs: Fields) -> Known:
        return self._replace(steps=self.steps.having(step, outputs), hidden=self.hidden.without(step))

    def hiding(self, step: str, why: str) -> Known:
        return self._replace(steps=self.steps.without(step), hidden=self.hidden.having(step, why))

    def showing_all(self, steps: Iterable[str], outputs: Mapping[str, Fields]) -> Known:
        known = self
        for step in steps:
            if step in outputs and step not in known.steps:
                known = known.with_step(step, outputs[step])
        return known

    def with_var(self, name: str, kind: Kind) -> Known:
        known = self._replace(hidden_vars=self.hidden_vars.without(name))
        return known.with_record("vars", self._vars().having(name, Field(kind, "")))

    def hiding_var(self, name: str, why: str) -> Known:
        known = self._replace(hidden_vars=self.hidden_vars.having(name, why))
        return known.with_record("vars", self._vars().without(name))

    def _vars(self) -> Growing[Field]:
        known = self.records.get("vars", {})
        return known if isinstance(known, Growing) else Growing(dict(known))

    def all_names(self) -> set[str]:
        return {"steps", *self.plain, *(name for name in self.records if " " not in name)}


@dataclass(frozen=True, slots=True)
class Rules:
    """Which look-ups are allowed at a place."""

    store: Literal["yes", "warn", "no"] = "yes"
    vendor: bool = False


PLAIN = Rules()
EFFECT = Rules(vendor=True)
WATCHED = Rules(store="warn")
KEYS = Rules(store="no")

_NOT_IN_TEXT = ("list[", "map[")


class Expressions:
    """Compiles and checks the expressions of one file."""

    def __init__(self, report: Report) -> None:
        self.report = report
        names = report.names
        events = {trigger.event for trigger in report.catalogue.triggers.values()}
        self.events = frozenset(events | set(names.events))
        self.roster = TypeEnv(
            {},
            people=frozenset(names.people),
            teams=frozenset(names.teams),
            services=frozenset(names.services),
            calendars=frozenset(names.calendars),
            events=self.events,
        )
        self._teams = _team_records(names)
        self._place: Known | None = None  #: what `_env_here` and `_kinds` are of
        self._env_here = self.roster
        self._kinds: dict[Expression, Kind] = {}

    # --- values that are expressions ---

    def condition(self, node: Node | None, name: str, known: Known, rules: Rules = PLAIN) -> Expression | None:
        """Read a bare expression that must be true or false."""
        found = self._compiled(node, name)
        if found is not None and isinstance(node, Scalar):
            self._check(found, node, 0, known, rules, condition=True)
        return found

    def bare(
        self, node: Node | None, name: str, known: Known, rules: Rules, kind: Literal["list"] | None = None
    ) -> Expression | None:
        """Read a bare expression; with `kind`, one that gives a list."""
        found = self._compiled(node, name)
        if found is None or not isinstance(node, Scalar):
            return None
        given = self._check(found, node, 0, known, rules)
        if kind == "list" and given not in ("any", "null") and not given.startswith("list["):
            self.report.add(WRONG_KIND, f"'{name}' takes a list, and this is {label(given)}", _span(found, node))
        return found

    def keys(self, node: Node, name: str, known: Known, rules: Rules = KEYS) -> tuple[Expression, ...]:
        """Read an expression or a list of them, whose values identify something."""
        items = node.items if isinstance(node, source.Sequence) else (node,)
        if not items:
            self.report.add(BAD_VALUE, f"'{name}' is empty", node)
        found = [self.bare(item, name, known, rules) for item in items]
        return tuple(one for one in found if one is not None)

    def text(
        self, node: Node | None, name: str, known: Known, rules: Rules = PLAIN, *, whole_may_be_anything: bool = False
    ) -> Text | None:
        """Read a text with `${{ … }}` in it."""
        written = self.report.text(node, name, empty=whole_may_be_anything)
        if written is None or not isinstance(node, Scalar):
            return None
        try:
            found = compile_text(written)
        except ExpressionError as error:
            self._report(error, node, 0)
            return None
        for offset, expression in found.expressions:
            kind = self._check(expression, node, offset, known, rules)
            if kind.startswith(_NOT_IN_TEXT) and not (found.whole is not None and whole_may_be_anything):
                hint = "use '| join'" if kind.startswith("list[") else "name one of its fields"
                at = _span(expression, node, offset)
                self.report.add(WRONG_KIND, f"{label(kind)} cannot stand in a text", at, hint)
        return found

    def tree(self, node: Node | None, name: str, known: Known, rules: Rules) -> Tree:
        """Read a value in which expressions may stand at any depth."""
        match node:
            case MappingNode():
                return {e.key.text: self.tree(e.value, e.key.text, known, rules) for e in node.entries}
            case source.Sequence():
                return [self.tree(item, name, known, rules) for item in node.items]
            case Scalar() if isinstance(node.value, str) and "${{" in node.value:
                text = self.text(node, name, known, rules, whole_may_be_anything=True)
                return constant_of(text) if text is not None and text.constant else text
            case Scalar():
                if isinstance(node.value, float) and not math.isfinite(node.value):
                    self.report.add(BAD_VALUE, f"'{name}' must be a number that can be kept, not {node.text}", node)
                return node.value
        return None

    def length(self, node: Node | None, name: str, known: Known) -> Length | None:
        """Read a duration, or an expression that gives one."""
        if not (isinstance(node, Scalar) and isinstance(node.value, str) and "${{" in node.value):
            return self.report.duration(node, name)
        text = self.text(node, name, known, whole_may_be_anything=True)
        if text is None:
            return None
        if text.whole is not None and self.kind_of(text, known) not in ("duration", "text", "any"):
            given = label(self.kind_of(text, known))
            self.report.add(WRONG_KIND, f"'{name}' takes a duration, and this is {given}", node)
        return text

    def instant(self, node: Node | None, name: str, known: Known) -> Expression | None:
        """Read an instant, or an expression that gives one."""
        written = self.report.text(node, name)
        if written is None or not isinstance(node, Scalar):
            return None
        if "${{" not in written:
            try:
                zoned = datetime.fromisoformat(written).tzinfo is not None
            except ValueError:
                zoned = False
            if not zoned:
                message = (
                    f"'{name}' must be an instant with its zone such as 2026-03-02T09:00:00+01:00, not '{written}'"
                )
                self.report.add(BAD_VALUE, message, node, "or an expression: '${{ … }}'")
                return None
            return compile_expression(f'instant("{written}")')
        text = self.text(node, name, known, whole_may_be_anything=True)
        if text is None or text.whole is None:
            if text is not None:
                self.report.add(BAD_VALUE, f"'{name}' must be one expression", node)
            return None
        given = self.kind_of(text, known)
        if given not in ("instant", "text", "any"):
            self.report.add(WRONG_KIND, f"'{name}' takes an instant, and this is {label(given)}", node)
        return text.whole

    # --- kinds ---

    def kind_of(self, tree: Tree, known: Known) -> Kind:
        """Give the kind of a value as read."""
        match tree:
            case Text():
                return self._kind(tree.whole, known) if tree.whole is not None else "text"
            case bool():
                return "boolean"
            case int() | float():
                return "number"
            case str():
                return "text"
            case Duration():
                return "duration"
            case list():
                return f"list[{_together(self.kind_of(one, known) for one in tree)}]"
            case dict():
                return f"map[{_together(self.kind_of(one, known) for one in tree.values())}]"
        return "any"

    def item_kind(self, node: Node | None, known: Known) -> Kind:
        """Give the kind of the items of a `for_each`, without a word about what is wrong with it."""
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            return "any"
        try:
            return element_of(self._kind(compile_expression(node.value), known))
        except ExpressionError:
            return "any"

    def has_field(self, record: str | None, name: str) -> bool:
        return name in FIELDS.get(record or "", {})

    def _kind(self, expression: Expression, known: Known) -> Kind:
        env = self._env(known)
        if expression not in self._kinds:
            self._kinds[expression], _ = kinds.check_expression(expression, env)
        kind = self._kinds[expression]
        return "any" if kind == "null" else kind

    # --- compiling and checking ---

    def _compiled(self, node: Node | None, name: str) -> Expression | None:
        if node is None:
            return None
        if not isinstance(node, Scalar) or node.value is None:
            self.report.add(WRONG_TYPE, f"'{name}' must be an expression, not {describe(node)}", node)
            return None
        if not node.sound:
            return None
        try:
            return compile_expression(node.text)
        except ExpressionError as error:
            self._report(error, node, 0)
            return None

    def _check(
        self, expression: Expression, node: Scalar, offset: int, known: Known, rules: Rules, *, condition: bool = False
    ) -> Kind:
        kind, errors = kinds.check_expression(
            expression,
            self._env(known),
            allow_lookups=rules.store != "no",
            allow_vendor=rules.vendor,
            condition=condition,
        )
        self._kinds[expression] = kind
        for error in errors:
            self._report(self._said_better(error, expression, known), node, offset)
        self._check_on_call(expression, node, offset)
        if expression.lookups and rules.store == "warn":
            message = "this is looked at when the run's own subject changes, not when what it looks up does"
            hint = "in 'until', name the event to wait for; or accept that it is noticed later"
            self.report.warn(LOOKUP_BLIND, message, _span(expression, node, offset), hint)
        return "any" if kind == "null" else kind

    def _said_better(self, error: ExpressionError, expression: Expression, known: Known) -> ExpressionError:
        """Add what only the file knows: which steps there are, and that `incident.resolved` is an event, no field."""
        found = re.search(r"[\w.]+$", expression.text[: error.offset + error.length])
        if error.code != kinds.UNKNOWN_FIELD or found is None:
            return error
        path = found[0]
        message, hint = error.message, error.hint
        if path in self.events:
            hint = f"'{path}' is an event: write it under 'on' or 'until', or read a field such as its time"
        elif re.fullmatch(r"steps\.\w+", path) and path.partition(".")[2] not in known.hidden:
            word = path.partition(".")[2]
            message = f"no step is called '{word}'"
            ids = [*known.steps, *known.hidden]
            hint = did_you_mean(word, ids, "steps") if ids else "give the step an 'id'"
        return ExpressionError(message, error.offset, error.length, code=error.code, hint=hint)

    def _check_on_call(self, expression: Expression, node: Scalar, offset: int) -> None:
        if not expression.vendor:
            return
        names = self.report.names
        known = {*names.services, *names.teams, *names.rotations}
        if not known:
            return
        todo = [expression.tree]
        while todo:
            part = todo.pop()
            todo.extend(children(part))
            if not (isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id == "on_call"):
                continue
            given = part.args[0] if part.args else None
            if isinstance(given, ast.Constant) and isinstance(given.value, str) and given.value not in known:
                begin, length = expression.source.span(given)
                message = f"no service, team or rotation is called '{given.value}'"
                at = node.span_at(offset + begin, length)
                self.report.add(UNKNOWN_REFERENCE, message, at, did_you_mean(given.value, known))

    def _report(self, error: ExpressionError, node: Scalar, offset: int) -> None:
        cut = self._cut(node)
        if cut is not None:
            self.report.add(*cut)
        elif node.sound:
            self.report.add(error.code, error.message, node.span_at(offset + error.offset, error.length), error.hint)

    def _cut(self, node: Scalar) -> tuple[str, str, Span, str | None] | None:
        """Give the reader's warning about a value that ends at ' #', where that is why the expression is wrong."""
        if node.style != "plain":
            return None
        line = self.report.file.line(node.span.end_line)
        found = yaml_syntax.find_cut(line, node.raw, node.span.end_column - 1, in_flow=False)
        if found is None:
            return None
        row = node.span.end_line
        return found.code, found.message, Span(node.span.file, row, found.start + 1, row, found.end + 1), found.hint

    def _env(self, known: Known) -> TypeEnv:
        """Give what is known at a place; what stands side by side in a file is mostly at the same one."""
        if known is not self._place:
            self._place, self._kinds = known, {}
            self._env_here = self._env_of(known)
        return self._env_here

    def _env_of(self, known: Known) -> TypeEnv:
        reasons = {name: why for name, why in _ABSENT.items() if name not in known.plain}
        return replace(
            self.roster,
            names={**known.plain, **{name: name for name in known.records if " " not in name}, "steps": "steps"},
            records=_Records({**self._teams, **known.records, "steps": _Steps(known.steps)}, known.steps),
            explanations=ChainMap(
                cast(Any, known.reasons),
                reasons,
                cast(Any, _View(known.hidden, "steps.")),
                cast(Any, _View(known.hidden_vars, "vars.")),
            ),
        )


def _team_records(names: Names) -> dict[str, Fields]:
    """Give a team's fields with the project's `vars`, of the kinds that they have there and in every team."""
    found = {}
    for name, value in names.vars.items():
        values = [value, *(one[name] for one in names.team_vars.values() if name in one)]
        found[name] = Field(_together(kind_of_value(one) for one in values if one is not None), "")
    return {"team": {**FIELDS["team"], "vars": Field(kinds.VARS_OF_TEAM, "")}, kinds.VARS_OF_TEAM: found}


class _Records(Mapping[str, Fields]):
    """Fields by record; those of a step, `step:ID`, are not copied."""

    def __init__(self, own: Mapping[str, Fields], steps: Mapping[str, Fields]) -> None:
        self.own = own
        self.steps = steps

    def __getitem__(self, key: str) -> Fields:
        return self.steps[key[5:]] if key.startswith("step:") else self.own[key]

    def __contains__(self, key: object) -> bool:
        return key in self.own or (isinstance(key, str) and key.startswith("step:") and key[5:] in self.steps)

    def __iter__(self) -> Iterator[str]:
        yield from self.own
        yield from (f"step:{step}" for step in self.steps)

    def __len__(self) -> int:
        return len(self.own) + len(self.steps)


class _View(Mapping[str, Any]):
    """A mapping under keys with a prefix, and not copied: a file may have thousands of steps."""

    def __init__(self, inner: Mapping[str, Any], prefix: str) -> None:
        self.inner = inner
        self.prefix = prefix

    def __getitem__(self, key: str) -> Any:
        if not key.startswith(self.prefix):
            raise KeyError(key)
        return self.inner[key[len(self.prefix) :]]

    def __iter__(self) -> Iterator[str]:
        return (self.prefix + key for key in self.inner)

    def __len__(self) -> int:
        return len(self.inner)


class _Steps(_View):
    """The fields of `steps`: each is a record of its own."""

    def __init__(self, inner: Mapping[str, Fields]) -> None:
        super().__init__(inner, "")

    def __getitem__(self, key: str) -> Field:
        return Field("any" if "*" in self.inner[key] else f"step:{key}", "")


_ABSENT: Mapping[str, str] = {
    "item": "it is there under 'for_each' only",
    "iteration": "it is there under 'repeat' only",
    **{subject: f"the run is not about {label(subject)}" for subject in SUBJECTS},
}


def _span(expression: Expression, node: Scalar, offset: int = 0) -> Span:
    begin, length = expression.source.span(expression.tree)
    return node.span_at(offset + begin, length)


def span_of(text: Text, node: Scalar) -> Span:
    """Give the place of a text's expression where that is all of it, else of the text."""
    if text.whole is None:
        return node.span
    return _span(text.whole, node, text.expressions[0][0])


def _together(found: Iterable[Kind]) -> Kind:
    different = set(found)
    return different.pop() if len(different) == 1 else "any"


def kind_of_value(value: Any) -> Kind:
    """Give the kind of a constant of the configuration."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, Mapping):
        return f"map[{_together(map(kind_of_value, value.values()))}]"
    if isinstance(value, list | tuple):
        return f"list[{_together(map(kind_of_value, value))}]"
    return "any"


def constant_of(text: Text) -> str:
    """Give a text without expressions as it is meant: `$${{` is a literal `${{`."""
    return "".join(part for part in text.parts if isinstance(part, str))
