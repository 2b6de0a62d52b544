"""Find out, before anything runs, what an expression gives and what is wrong with it.

Kinds are those of `engine.domain` (`text`, `number`, `boolean`, `instant`, `duration`, `any`, a record's name,
`list[KIND]`, `map[KIND]`); `null` is the kind of a literal null. What cannot be known is `any`: everything passes.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from engine.calendars import parse_duration
from engine.domain import FIELDS, SUBJECTS, Field, Kind, element_of
from engine.problems import declare, did_you_mean
from engine.workflow import functions
from engine.workflow.expressions import Expression, dotted
from engine.workflow.operators import read_instant
from engine.workflow.scope import EvaluationError, ExpressionError
from engine.workflow.syntax import CONSTANTS, Source

UNKNOWN_NAME = declare(
    "unknown-name",
    "An expression names something that is not there.",
    "Take one of the names that the hint lists; a text goes in quotes.",
)
UNKNOWN_FIELD = declare(
    "unknown-field",
    "A record has no field of this name, or a step's action no such output.",
    "Take one of the fields that the hint lists; the reference lists the fields of every record.",
)
UNKNOWN_FUNCTION = declare(
    "unknown-function", "No function, look-up or method has this name.", "Take one of those that the hint lists."
)
UNKNOWN_FILTER = declare(
    "unknown-filter", "No filter has the name on the right of the bar.", "Take one of the filters that the hint lists."
)
UNKNOWN_KEYWORD = declare(
    "unknown-keyword",
    "A look-up cannot be narrowed by this keyword.",
    "Keywords are the fields of what is looked up, a list field in the singular (label=), and last= and private=.",
)
UNKNOWN_REFERENCE = declare(
    "unknown-reference",
    "A person, team, service, calendar or event that is named in quotes does not exist.",
    "Correct the name, or add it to people.yaml or hotwash.yaml.",
)
WRONG_ARGUMENTS = declare(
    "wrong-arguments",
    "A function, filter or method is called with too many, too few or other arguments than it takes.",
    "`hotwash explain` names what it takes.",
)
WRONG_KIND = declare(
    "wrong-kind",
    "An operator, filter or function is used on a value of a kind that it does not work on.",
    "Read another field, or convert the value with duration() or instant().",
)
NEVER_HOLDS = declare(
    "never-holds",
    "The two sides of a comparison can never be equal, so it always gives the same.",
    "Compare values of the same kind: two texts, two records, a boolean with true or false.",
)
UNREADABLE_TIME = declare(
    "unreadable-time",
    "A text stands where a duration or an instant is needed, and cannot be read as one.",
    'Write a duration such as "7d" or "3bd", or an instant with its zone such as "2026-03-02T09:00:00+01:00".',
)
LOOKUP_NOT_HERE = declare(
    "lookup-not-here",
    "Look-ups cannot be used at this place.",
    "Look it up under vars: or in a step, and use the result; once_per takes the event and its subject alone.",
)
VENDOR_NOT_HERE = declare(
    "vendor-not-here",
    "on_call() asks a vendor, which only vars, with and for_each can wait for.",
    "Give the answer a name under vars: and use that.",
)


@dataclass(frozen=True, slots=True)
class TypeEnv:
    """What names an expression may read, and what is known of them.

    Attributes:
        names: kinds of the root names.
        records: fields by record kind; they go before `domain.FIELDS`.
        explanations: why a name or dotted path that exists may not be read here, as the end of a sentence.
        people, teams, services, calendars, events: what literal names may stand for; None where it is not known.
    """

    names: Mapping[str, Kind]
    records: Mapping[str, Mapping[str, Field]] = field(default_factory=dict)
    explanations: Mapping[str, str] = field(default_factory=dict)
    people: frozenset[str] | None = None
    teams: frozenset[str] | None = None
    services: frozenset[str] | None = None
    calendars: frozenset[str] | None = None
    events: frozenset[str] | None = None


def check_expression(
    expression: Expression,
    env: TypeEnv,
    *,
    allow_lookups: bool = True,
    allow_vendor: bool = True,
    condition: bool = False,
) -> tuple[Kind, list[ExpressionError]]:
    """Give the kind of an expression's value, and everything that is wrong with it.

    Args:
        expression: compiled.
        env: what it may read.
        allow_lookups: whether look-ups in the store may stand here (not in `once_per`).
        allow_vendor: whether vendors may be asked here (only in `vars`, `with` and `for_each`).
        condition: whether it must end as a boolean.
    """
    checker = _Checker(expression.source, env, allow_lookups, allow_vendor)
    kind = checker.condition(expression.tree) if condition else checker.kind(expression.tree)
    return checker.outside(kind), sorted(checker.problems, key=lambda problem: problem.offset)


#: What a team's `vars` are, where it is known which there are.
VARS_OF_TEAM = "set of vars"
#: Events of look-ups: not of the trigger's type, so without what `TypeEnv.records` knows of `event`.
_ANY_EVENT = "event of any type"
_SUBJECTS_OF_EVENTS = {name: Field(name, "The subject just after the event.") for name in SUBJECTS}
_ORDERED = frozenset({"text", "number", "instant", "duration"})
_SIGNS: dict[type[ast.AST], str] = {
    **{ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="},
    **{ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%"},
}
_UNSAID_NULLS = frozenset({"none", "nil", "undefined", "Null"})


def label(kind: Kind) -> str:
    """Say what a value of a kind is: `a text`, `an incident`."""
    if kind.startswith("list["):
        return "a list"
    if kind.startswith("map["):
        return "a mapping"
    if kind == "null":
        return "null"
    name = "event" if kind == _ANY_EVENT else kind.partition(":")[0].replace("_", " ")
    return f"an {name}" if name[:1] in "aeiou" else f"a {name}"


def together(kinds: Iterable[Kind]) -> Kind:
    """Give the kind of a value that is of one of these kinds."""
    found = {kind for kind in kinds if kind != "null"}
    return found.pop() if len(found) == 1 else "any"


class _Checker:
    def __init__(self, source: Source, env: TypeEnv, allow_lookups: bool, allow_vendor: bool) -> None:
        self.source = source
        self.env = env
        self.allow_lookups = allow_lookups
        self.allow_vendor = allow_vendor
        self.problems: list[ExpressionError] = []
        self.bound: dict[str, Kind] = {}
        self.made: dict[str, Mapping[str, Field]] = {}  #: records that `| group` makes

    def report(self, node: ast.expr, code: str, message: str, hint: str | None = None) -> None:
        self.problems.append(self.source.problem(node, message, code=code, hint=hint))

    def kind(self, node: ast.expr) -> Kind:
        check: Callable[[ast.expr], Kind] = getattr(self, f"_{type(node).__name__}")
        return check(node)

    def outside(self, kind: Kind) -> Kind:
        """Give a kind as others know it: without the records that only this check knows."""
        kind = kind.replace(VARS_OF_TEAM, "map[any]")
        for name in (*reversed(self.made), _ANY_EVENT):
            kind = kind.replace(name, "group" if name in self.made else "any")
        return kind

    def condition(self, node: ast.expr) -> Kind:
        kind = self.kind(node)
        if kind not in ("boolean", "any", "null"):
            hint = "compare it, as in '… != null'" if kind not in ("text", "number") else "compare it with a value"
            self.report(node, WRONG_KIND, f"a condition must be true or false, not {label(kind)}", hint)
        return kind

    # --- leaves ------------------------------------------------------------------------------------------------------

    def _Constant(self, node: ast.Constant) -> Kind:
        return "text" if isinstance(node.value, str) else "number"

    def _Name(self, node: ast.Name) -> Kind:
        name = node.id
        if name in CONSTANTS:
            return "null" if CONSTANTS[name] is None else "boolean"
        if name in self.bound:
            return self.bound[name]
        if name in self.env.names:
            return self.env.names[name]
        if name in self.env.explanations:
            why, _, hint = self.env.explanations[name].partition("; ")
            self.report(node, UNKNOWN_NAME, f"'{name}' cannot be read here: {why}", hint or None)
        elif name in functions.FUNCTIONS or name in functions.LOOKUPS:
            self.report(node, UNKNOWN_NAME, f"'{name}' is a function", f"write {name}(…)")
        else:
            hint = (
                "write null" if name in _UNSAID_NULLS else did_you_mean(name, {*self.env.names, *self.bound}, "known")
            )
            quoted = "" if hint.startswith(("did", "write")) else "; a text goes in quotes"
            self.report(node, UNKNOWN_NAME, f"nothing is called '{name}' here", hint + quoted)
        return "any"

    def _List(self, node: ast.List) -> Kind:
        return f"list[{together(map(self.kind, node.elts))}]"

    def _Dict(self, node: ast.Dict) -> Kind:
        for key in node.keys:
            if key is not None:
                self.kind(key)
        return f"map[{together(map(self.kind, node.values))}]"

    # --- reading -----------------------------------------------------------------------------------------------------

    def fields(self, kind: Kind) -> Mapping[str, Field] | None:
        """Give a record kind's fields, None where it is no record."""
        if kind in self.made:
            return self.made[kind]
        if kind in self.env.records:
            return self.env.records[kind]
        if kind in ("event", _ANY_EVENT):
            return {**FIELDS["event"], **_SUBJECTS_OF_EVENTS}
        return FIELDS.get(kind)

    def _Attribute(self, node: ast.Attribute) -> Kind:
        return self._field(node, self.kind(node.value), node.attr, node.value)

    def _field(self, node: ast.expr, kind: Kind, name: str, owner: ast.expr) -> Kind:
        if kind in ("any", "null"):
            return "any"
        if kind.startswith("map["):
            return element_of(kind)
        known = self.fields(kind)
        if known is not None and name in known:
            return known[name].kind
        path = f"{dotted(owner)}.{name}"
        if path in self.env.explanations:
            message, hint = f"'{path}' cannot be read here: {self.env.explanations[path]}", None
        elif known is not None:
            owned = f"'{dotted(owner)}'" if kind in self.env.records and dotted(owner) else label(kind)
            message, hint = f"{owned} has no field '{name}'", did_you_mean(name, known, "fields")
        elif kind.startswith("list["):
            message = f"a list has no field '{name}'"
            hint = f"write [x.{name} for x in …], or take one item with '| first'"
        else:
            message = f"{label(kind)} has no fields, so no '{name}'"
            hint = f"write .{name}()" if name in functions.METHODS else None
        begin, length = self.source.span(node)
        if isinstance(node, ast.Attribute):
            begin, length = begin + length - len(name), len(name)
        self.problems.append(ExpressionError(message, begin, length, code=UNKNOWN_FIELD, hint=hint))
        return "any"

    def _Subscript(self, node: ast.Subscript) -> Kind:
        kind = self.kind(node.value)
        if isinstance(node.slice, ast.Slice):
            for bound in (node.slice.lower, node.slice.upper, node.slice.step):
                if bound is not None:
                    self._expect(bound, self.kind(bound), ("number",), "a slice")
            if kind != "text" and not kind.startswith("list[") and kind not in ("any", "null"):
                self.report(node, WRONG_KIND, f"only a list or a text can be cut, not {label(kind)}")
            return kind
        index = self.kind(node.slice)
        if self.fields(kind) is not None:
            literal = isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str)
            return self._field(node, kind, node.slice.value, node.value) if literal else "any"  # type: ignore[attr-defined]
        if kind == "text" or kind.startswith("list["):
            self._expect(node.slice, index, ("number",), "a place in a list")
            return "text" if kind == "text" else element_of(kind)
        if kind in ("number", "boolean", "instant", "duration"):
            self.report(node, WRONG_KIND, f"{label(kind)} has no items")
        return element_of(kind)

    def _expect(self, node: ast.expr, kind: Kind, wanted: Sequence[Kind], what: str) -> None:
        if kind in ("any", "null") or kind.partition("[")[0] in wanted:
            return
        self.report(node, WRONG_KIND, f"{what} takes {' or '.join(map(_label_base, wanted))}, not {label(kind)}")

    # --- operators ---------------------------------------------------------------------------------------------------

    def _BoolOp(self, node: ast.BoolOp) -> Kind:
        return together([self.kind(value) for value in node.values])

    def _UnaryOp(self, node: ast.UnaryOp) -> Kind:
        kind = self.kind(node.operand)
        if isinstance(node.op, ast.Not):
            return "boolean"
        self._expect(node.operand, kind, ("number", "duration"), "'-'")
        return kind

    def _IfExp(self, node: ast.IfExp) -> Kind:
        self.condition(node.test)
        return together([self.kind(node.body), self.kind(node.orelse)])

    def _Compare(self, node: ast.Compare) -> Kind:
        left, left_kind = node.left, self.kind(node.left)
        for operator, right in zip(node.ops, node.comparators, strict=True):
            right_kind = self.kind(right)
            if isinstance(operator, ast.In | ast.NotIn):
                self._within(left, left_kind, right, right_kind)
            else:
                self._compared(operator, left, left_kind, right, right_kind)
            left, left_kind = right, right_kind
        return "boolean"

    def _compared(
        self, operator: ast.cmpop, left: ast.expr, left_kind: Kind, right: ast.expr, right_kind: Kind
    ) -> None:
        equality = isinstance(operator, ast.Eq | ast.NotEq)
        if not (
            self._timed(left, left_kind, right_kind, equality) and self._timed(right, right_kind, left_kind, equality)
        ):
            return
        kinds = {left_kind, right_kind}
        if kinds & {"duration", "instant"} and "text" in kinds:
            return
        if equality:
            self._equal(left, left_kind, right, right_kind)
        elif "null" in kinds:
            self.report(right, NEVER_HOLDS, f"'{_SIGNS[type(operator)]}' with null is never true", "write '== null'")
        elif "any" not in kinds and not (len(kinds) == 1 and kinds <= _ORDERED):
            message = f"{label(left_kind)} and {label(right_kind)} have no order"
            self.report(right, WRONG_KIND, message, "'<' and its like compare numbers, texts, instants or durations")

    def _timed(self, node: ast.expr, kind: Kind, other: Kind, equality: bool = True) -> bool:
        """Check a literal text that stands beside a time; say whether it can be read."""
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)) or other not in ("duration", "instant"):
            return True
        try:
            if other == "instant":
                read_instant(node.value)
                return True
            if not parse_duration(node.value).exact and not equality:
                message = f"'{node.value}' has no fixed length, so it has no order with other durations"
                self.report(node, UNREADABLE_TIME, message, "write it in days or hours, or add it to an instant")
                return False
        except (EvaluationError, ValueError, OverflowError) as error:
            self.report(node, UNREADABLE_TIME, str(error))
            return False
        return True

    def _equal(self, left: ast.expr, left_kind: Kind, right: ast.expr, right_kind: Kind) -> bool:
        if self._may_equal(left_kind, right_kind):
            return True
        hint = None
        record = next((kind for kind in (left_kind, right_kind) if self.fields(kind) is not None), None)
        if record is not None and "text" in (left_kind, right_kind):
            hint = f"compare the id of the {record.partition(':')[0]}: .id == …"
        elif "boolean" in (left_kind, right_kind):
            hint = "compare it with true or false, or use it as it is"
        self.report(right, NEVER_HOLDS, f"{label(left_kind)} and {label(right_kind)} are never equal", hint)
        return False

    def _may_equal(self, left: Kind, right: Kind) -> bool:
        if "any" in (left, right) or "null" in (left, right) or left == right:
            return True
        if {left, right} <= {"text", "duration", "instant"} and "text" in (left, right):
            return True
        if {left, right} == {"event", _ANY_EVENT}:
            return True
        return any(left.startswith(start) and right.startswith(start) for start in ("list[", "map["))

    def _within(self, left: ast.expr, left_kind: Kind, right: ast.expr, right_kind: Kind) -> None:
        if right_kind in ("any", "null"):
            return
        if right_kind.startswith("list["):
            element = element_of(right_kind)
            items = right.elts if isinstance(right, ast.List) else []
            if not all(self._timed(item, "text", left_kind) for item in items) or not self._timed(
                left, left_kind, element
            ):
                return
            if not self._may_equal(left_kind, element):
                message = f"{label(left_kind)} is never in a list of which each item is {label(element)}"
                self.report(left, NEVER_HOLDS, message)
        elif right_kind == "text" or right_kind.startswith("map["):
            self._expect(left, left_kind, ("text",), "'in'" if right_kind == "text" else "'in' a mapping")
        else:
            self.report(right, WRONG_KIND, f"nothing is in {label(right_kind)}", "write a list: x in [a, b]")

    def _BinOp(self, node: ast.BinOp) -> Kind:
        if isinstance(node.op, ast.BitOr):
            return self._filtered(node)
        left, right = self.kind(node.left), self.kind(node.right)
        pair = {left, right}
        if "null" in pair:
            return "any"
        if isinstance(node.op, ast.Add | ast.Sub):
            return self._sum(node, left, right)
        if "any" in pair:
            return "any"
        if pair == {"number"}:
            return "number"
        scaled = pair == {"duration", "number"} and isinstance(node.op, ast.Mult)
        if scaled or (isinstance(node.op, ast.Div) and (left, right) == ("duration", "number")):
            return "duration"
        return self._unfit(node, left, right)

    def _sum(self, node: ast.BinOp, left: Kind, right: Kind) -> Kind:
        plus = isinstance(node.op, ast.Add)
        if "instant" in (left, right) and self._beside_instant(node, left, right):
            other = right if left == "instant" else left
            both = left == right == "instant"
            return "duration" if both else "any" if other == "any" and not plus else "instant"
        if "any" in (left, right):
            return "any"
        if "duration" in (left, right) and {left, right} <= {"duration", "text"}:
            readable = self._timed(node.left, left, right, False) and self._timed(node.right, right, left, False)
            return "duration" if readable else "any"
        if left == right == "number" or (plus and left == right == "text"):
            return left
        if plus and left.startswith("list[") and right.startswith("list["):
            return f"list[{together([element_of(left), element_of(right)])}]"
        return self._unfit(node, left, right)

    def _beside_instant(self, node: ast.BinOp, left: Kind, right: Kind) -> bool:
        """Check what is added to or taken from an instant; say whether it may be."""
        other, kind = (node.right, right) if left == "instant" else (node.left, left)
        plus = isinstance(node.op, ast.Add)
        if isinstance(other, ast.Constant) and isinstance(other.value, str):
            try:
                parse_duration(other.value)
            except (ValueError, OverflowError) as error:
                if plus or not _reads_instant(other.value):
                    self.report(other, UNREADABLE_TIME, str(error))
            return True
        if left == right == "instant":
            return not plus
        return kind in ("duration", "text", "any") and (plus or left == "instant" or kind in ("text", "any"))

    def _unfit(self, node: ast.BinOp, left: Kind, right: Kind) -> Kind:
        sign = _SIGNS[type(node.op)]
        hint = 'put both into a text: "${{ … }} ${{ … }}"' if sign == "+" and "text" in (left, right) else None
        self.report(node, WRONG_KIND, f"'{sign}' does not work on {label(left)} and {label(right)}", hint)
        return "any"

    # --- comprehensions ----------------------------------------------------------------------------------------------

    def _ListComp(self, node: ast.ListComp) -> Kind:
        return f"list[{self._inside(node, [node.elt])}]"

    def _DictComp(self, node: ast.DictComp) -> Kind:
        return f"map[{self._inside(node, [node.key, node.value])}]"

    def _inside(self, node: ast.ListComp | ast.DictComp, elements: list[ast.expr]) -> Kind:
        loop = node.generators[0]
        items = self.kind(loop.iter)
        self._expect(loop.iter, items, ("list", "map"), "'for'")
        name = loop.target.id if isinstance(loop.target, ast.Name) else ""
        before = dict(self.bound)
        self.bound[name] = "text" if items.startswith("map[") else element_of(items)
        for one in loop.ifs:
            self.condition(one)
        kinds = [self.kind(element) for element in elements]
        self.bound = before
        return kinds[-1]

    # --- calls -------------------------------------------------------------------------------------------------------

    def _Call(self, node: ast.Call) -> Kind:
        if isinstance(node.func, ast.Attribute):
            return self._method(node, node.func)
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        if name in functions.LOOKUPS:
            return self._look_up(node, name)
        given = self._arguments(node)
        signature = functions.FUNCTIONS.get(name)
        if signature is None:
            hint = f"write … | {name}" if name in functions.FILTERS else None
            hint = hint or did_you_mean(name, {*functions.FUNCTIONS, *functions.LOOKUPS}, "functions")
            self.report(node.func, UNKNOWN_FUNCTION, f"no function is called '{name}'", hint)
            return "any"
        if name in functions.VENDOR and not self.allow_vendor:
            message = f"{name}() asks a vendor, which is only possible in 'vars', 'with' and 'for_each'"
            self.report(node, VENDOR_NOT_HERE, message, "give the answer a name under vars: and use that")
        if self._fits(node, node, signature):
            self._check_arguments(name, _by_parameter(signature, node), given)
        return _GIVES[name]

    def _arguments(self, call: ast.Call) -> dict[ast.expr, Kind]:
        values = [*call.args, *(argument.value for argument in call.keywords)]
        return {value: self.kind(value) for value in values}

    def _fits(self, place: ast.expr, call: ast.Call, signature: functions.Signature) -> bool:
        wrong = signature.misuse(len(call.args), [argument.arg or "" for argument in call.keywords])
        if wrong is not None:
            self.report(place, WRONG_ARGUMENTS, wrong)
        return wrong is None

    def _check_arguments(self, name: str, arguments: Mapping[str, ast.expr], kinds: Mapping[ast.expr, Kind]) -> None:
        for parameter, value in arguments.items():
            kind = kinds[value]
            if (name, parameter) in (("duration", "value"), ("instant", "value"), ("on_call", "at")):
                wanted = "duration" if name == "duration" else "instant"
                self._expect(value, kind, ("text", wanted), f"{name}()")
                self._timed(value, kind, wanted)
            else:
                records = {
                    "person": ("person",),
                    "team": ("team",),
                    "service": ("service",),
                    "on_call": ("service", "team"),
                }
                self._expect(value, kind, ("text", *records.get(name, ())), f"{name}()")
                self._known(value, name)

    def _known(self, node: ast.expr, what: str) -> None:
        """Check a literal name against what there is."""
        sets = {
            "person": (self.env.people, "nobody in the roster is called"),
            "team": (self.env.teams, "no team is called"),
            "service": (self.env.services, "no service is called"),
            "is_open": (self.env.calendars, "no calendar is called"),
            "events": (self.env.events, "no event is called"),
        }
        known, message = sets.get(what, (None, ""))
        if known is None or not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            return
        if node.value not in known:
            self.report(node, UNKNOWN_REFERENCE, f"{message} '{node.value}'", did_you_mean(node.value, known))

    def _method(self, node: ast.Call, function: ast.Attribute) -> Kind:
        kind = self.kind(function.value)
        self._arguments(node)
        signature = functions.METHODS.get(function.attr)
        if signature is None:
            hint = did_you_mean(function.attr, functions.METHODS, "methods of texts")
            self.report(node, UNKNOWN_FUNCTION, f"no method is called '{function.attr}'", hint)
            return "any"
        if kind not in ("text", "any", "null"):
            self.report(function.value, WRONG_KIND, f"'{function.attr}()' works on a text, not on {label(kind)}")
        self._fits(node, node, signature)
        return {"startswith": "boolean", "endswith": "boolean", "split": "list[text]"}.get(function.attr, "text")

    # --- look-ups ----------------------------------------------------------------------------------------------------

    def _look_up(self, node: ast.Call, name: str) -> Kind:
        kind = functions.LOOKUPS[name]
        given = self._arguments(node)
        if not self.allow_lookups:
            self.report(node, LOOKUP_NOT_HERE, f"{name}() cannot be used here", "look it up under vars:, or in a step")
        wrong = functions.lookup_misuse(kind, len(node.args), ())
        if wrong is not None:
            self.report(node, WRONG_ARGUMENTS, wrong)
        elif kind == "event":
            self._expect(node.args[0], given[node.args[0]], ("text",), "events()")
            self._known(node.args[0], "events")
        for argument in node.keywords:
            self._keyword(name, kind, argument, given[argument.value])
        return f"list[{_ANY_EVENT if kind == 'event' else kind}]"

    def _keyword(self, name: str, kind: str, argument: ast.keyword, given: Kind) -> None:
        keyword = argument.arg or ""
        bounds = functions.BOUNDS if functions.takes_bounds(kind) else ()
        if keyword == "last" and bounds:
            self._expect(argument.value, given, ("duration", "text"), "'last'")
            self._timed(argument.value, given, "duration")
        elif keyword == "private" and bounds:
            self._expect(argument.value, given, ("boolean",), "'private'")
        elif kind != "event":
            fields = functions.KEYWORDS[kind]
            if keyword in fields:
                self._wanted(argument, FIELDS[kind][fields[keyword]].kind, given)
                return
            singular = next((one for one, plural in fields.items() if plural == keyword), None)
            hint = f"write {singular}=" if singular else did_you_mean(keyword, {*fields, *bounds}, "keywords")
            message = f"'{name}' cannot be narrowed by '{keyword}'"
            begin = self.source.place(argument.col_offset)
            self.problems.append(ExpressionError(message, begin, len(keyword), code=UNKNOWN_KEYWORD, hint=hint))

    def _wanted(self, argument: ast.keyword, kind: Kind, given: Kind) -> None:
        """Check a look-up's value against its field: lists by their elements, records also by their id."""
        field_kind = element_of(kind) if kind.startswith("list[") else kind
        value_kind = element_of(given) if given.startswith("list[") else given
        if self._may_equal(field_kind, value_kind) or (field_kind in FIELDS and value_kind == "text"):
            return
        message = f"'{argument.arg}' is {label(field_kind)}, so it never equals {label(value_kind)}"
        self.report(argument.value, NEVER_HOLDS, message)

    # --- filters -----------------------------------------------------------------------------------------------------

    def _filtered(self, node: ast.BinOp) -> Kind:
        kind = self.kind(node.left)
        name_node = node.right.func if isinstance(node.right, ast.Call) else node.right
        assert isinstance(name_node, ast.Name)
        name = name_node.id
        call = node.right if isinstance(node.right, ast.Call) else ast.Call(name_node, [], [])
        given = self._arguments(call)
        signature = functions.FILTERS.get(name)
        if signature is None:
            called = name in functions.FUNCTIONS or name in functions.LOOKUPS
            hint = f"write {name}(…)" if called else did_you_mean(name, functions.FILTERS, "filters")
            self.report(name_node, UNKNOWN_FILTER, f"no filter is called '{name}'", hint)
            return "any"
        if not self._fits(node.right, call, signature):
            return "any"
        self._expect(node.left, kind, _TAKES.get(name, (kind.partition("[")[0],)), f"'{name}'")
        return self._gives(name, node, kind, _by_parameter(signature, call), given)

    def _gives(
        self, name: str, node: ast.BinOp, kind: Kind, arguments: Mapping[str, ast.expr], given: Mapping[ast.expr, Kind]
    ) -> Kind:
        element = element_of(kind) if kind.startswith("list[") else "any"
        key = self._key_kind(element, arguments.get("by"))
        if name == "default":
            return together([kind, given[arguments["replacement"]]])
        if name in ("duration", "local", "ago"):
            self._timed(node.left, kind, "duration" if name == "duration" else "instant")
        if name in ("sort", "unique"):
            return kind if kind.startswith("list[") else "list[any]"
        if name in ("first", "last"):
            return element
        if name in ("sum", "min", "max", "median"):
            allowed = ("number", "duration") if name in ("sum", "median") else tuple(sorted(_ORDERED))
            self._expect(node.left, key, allowed, f"'{name}'")
            return key
        if name == "group":
            made = f"group:{len(self.made)}"
            self.made[made] = {"key": Field(key, "What they share."), "list": Field(f"list[{element}]", "The members.")}
            return f"list[{made}]"
        return "number" if name == "length" else "text"

    def _key_kind(self, element: Kind, by: ast.expr | None) -> Kind:
        """Give the kind of what a list is sorted or grouped by, checking a path that is written out."""
        if by is None:
            return element
        if not isinstance(by, ast.Constant) or not isinstance(by.value, str):
            return "any"
        kind = element
        for name in by.value.split("."):
            kind = self._field(by, kind, name, by)
        return kind


_GIVES: Mapping[str, Kind] = {
    "now": "instant",
    "is_open": "boolean",
    "person": "person",
    "team": "team",
    "service": "service",
    "duration": "duration",
    "instant": "instant",
    "on_call": "person",
}
_LISTS = dict.fromkeys(("join", "first", "last", "sort", "group", "unique", "sum", "min", "max", "median"), ("list",))
#: Kinds that a filter works on; the others work on all.
_TAKES: Mapping[str, tuple[Kind, ...]] = {
    **_LISTS,
    "duration": ("duration", "text"),
    "local": ("instant", "text"),
    "ago": ("instant", "text"),
    "length": ("list", "map", "text"),
}


def _label_base(kind: Kind) -> str:
    return {"list": "a list", "map": "a mapping"}.get(kind) or label(kind)


def _by_parameter(signature: functions.Signature, call: ast.Call) -> dict[str, ast.expr]:
    found = dict(zip(signature.parameters, call.args, strict=False))
    return found | {argument.arg: argument.value for argument in call.keywords if argument.arg}


def _reads_instant(text: str) -> bool:
    try:
        read_instant(text)
    except EvaluationError:
        return False
    return True
