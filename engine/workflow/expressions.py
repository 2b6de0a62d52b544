"""Expressions: compiled once to code that calls bounded helpers and nothing else (LANGUAGE section 4).

`compile_expression` reads a condition or a bare expression, `compile_text` a text with `${{ … }}` in it; both are
evaluated in a `Scope`. The code of an expression sees the helpers of `operators` and `functions` as its only globals,
and no builtins.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from types import TracebackType
from typing import Any

from engine.calendars import Duration
from engine.workflow import functions
from engine.workflow.operators import describe, keepable
from engine.workflow.rendering import Markup, escape_markdown, render_markdown, render_value
from engine.workflow.scope import EvaluationError, ExpressionError, NeedLookup, Run, Scope, World
from engine.workflow.syntax import BAD_EXPRESSION, CONSTANTS, Source, children, find_closing, read
from engine.workflow.writing import FILE_NAME, Code, Spans, compile_tree

__all__ = [
    "Equality",
    "EvaluationError",
    "Expression",
    "ExpressionError",
    "Markup",
    "NeedLookup",
    "Scope",
    "Text",
    "Trace",
    "Verdict",
    "World",
    "compile_expression",
    "compile_text",
    "escape_markdown",
    "index_key",
    "render_markdown",
    "render_value",
]


_CONTAINERS = frozenset({list, tuple, dict})


@dataclass(frozen=True, slots=True)
class Trace:
    """What an evaluation gave and met: values by the text that names them, and what was null."""

    value: Any
    values: Mapping[str, Any] = field(default_factory=dict)
    nulls: tuple[str, ...] = ()  #: the shortest paths that were null, in the order they were met


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a condition gave; where it is not true, its first part that was not, and what that part met."""

    value: bool
    failed: str | None = None  #: source text of the first part of the `and` chain that was false or null
    values: Mapping[str, Any] = field(default_factory=dict)
    nulls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Equality:
    """A part of a condition that holds only where the value at `path` is one of `values`."""

    path: str
    values: tuple[Any | Expression, ...]
    member: bool = False  #: whether one of `values` must be in the list at `path` instead


#: So many expressions are kept: the files of a project say the same things again and again.
_MOST_KEPT = 1_024


@lru_cache(maxsize=_MOST_KEPT)
def compile_expression(text: str) -> Expression:
    """Compile an expression, bare or as one whole `${{ … }}`; what was compiled lately is given again.

    Raises:
        ExpressionError: the text is none of the language. Unknown names, functions and filters are left to
            `kinds.check_expression`, which finds all of them; evaluated unchecked, they are `EvaluationError`s.
    """
    return Expression(read(text))


class Expression:
    """A compiled expression.

    Attributes:
        text: as it was given.
        names: the names it reads, such as `incident`.
        reads: the longest dotted paths it reads, such as `steps.doc.url`.
        lookups: the look-ups in our own store it calls, such as `tickets`.
        vendor: whether it asks a vendor.
        uses_now: whether its value changes with time alone.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        found = _Reading.of(source.tree)
        self.names = frozenset(path.partition(".")[0] for path in found.paths)
        self.reads = frozenset(found.paths)
        self.lookups = frozenset(found.calls & functions.LOOKUPS.keys())
        self.vendor = bool(found.calls & functions.VENDOR)
        self.uses_now = found.uses_now

    def __repr__(self) -> str:
        return f"Expression({self.source.of(self.tree)!r})"

    @property
    def tree(self) -> ast.expr:
        return self.source.tree

    def evaluate(self, scope: Scope) -> Any:
        """Give the value.

        Raises:
            EvaluationError: the values do not fit, or there are too many.
            NeedLookup: a vendor has to be asked first.
        """
        spans, code = self._compiled
        try:
            value = code(Run(scope), scope.names)
            return keepable(value) if type(value) in _CONTAINERS else value
        except (EvaluationError, KeyError, RecursionError, MemoryError) as error:
            raise self._placed(error, spans) from None

    def holds(self, scope: Scope) -> bool:
        """Say whether a condition is true, without saying why not: the fast way.

        Raises:
            EvaluationError: as `evaluate`, and where it ends neither as a boolean nor as null.
            NeedLookup: a vendor has to be asked first.
        """
        value = self.evaluate(scope)
        if value is True:
            return True
        if value is False or value is None:
            return False
        begin, length = self.source.span(self.tree)
        raise EvaluationError(f"a condition must be true or false, not {describe(value)}", begin, length)

    def test(self, scope: Scope) -> Verdict:
        """Say whether a condition is true, and where it is not, which part of it failed.

        Raises:
            EvaluationError: as `holds`.
            NeedLookup: a vendor has to be asked first.
        """
        if self.holds(scope):
            return Verdict(True)
        for part in self._conjuncts:
            trace = part.trace(scope)
            if trace.value is None or trace.value is False:
                return Verdict(False, self.source.of(part.tree), trace.values, trace.nulls)
        return Verdict(False, self.source.of(self.tree))

    def trace(self, scope: Scope) -> Trace:
        """Evaluate and say what was met on the way.

        Raises:
            EvaluationError: as `evaluate`.
            NeedLookup: a vendor has to be asked first.
        """
        spans, code = self._traced
        run = Run(scope)
        run.met = []
        try:
            value = code(run, scope.names)
        except (EvaluationError, KeyError, RecursionError, MemoryError) as error:
            raise self._placed(error, spans) from None
        values, nulls = _met(self.source.text, [(*spans[number], value) for number, value in run.met])
        return Trace(value, values, nulls)

    @cached_property
    def _compiled(self) -> tuple[Spans, Code]:
        return compile_tree(self.source)

    @cached_property
    def _traced(self) -> tuple[Spans, Code]:
        return compile_tree(self.source, traced=True)

    @cached_property
    def _conjuncts(self) -> list[Expression]:
        return [self._part(node) for node in _conjuncts(self.tree)]

    def _part(self, node: ast.expr) -> Expression:
        return Expression(Source(self.source.text, self.source.start, node, self.source.ascii))

    def _placed(self, error: BaseException, spans: list[tuple[int, int]]) -> BaseException:
        span = spans[_line(error.__traceback__) - 1]
        if isinstance(error, EvaluationError):
            error.offset, error.length = span
            return error
        if isinstance(error, KeyError):
            name = self.text[span[0] : sum(span)]
            if name not in self.names:  # the world's own mistake
                return error
            return EvaluationError(f"nothing is called '{name}' here", *span)
        return EvaluationError("the values are too large or too deep", *span)

    def equalities(self, known: Callable[[str], bool]) -> list[Equality]:
        """Give the parts of the `and` chain that compare an unknown path with known values.

        A part `PATH == X`, `X == PATH` or `PATH in [X, …]` counts where the first name of PATH is not `known` and X
        is a literal, or an expression of known names alone that asks neither the store nor the clock. A literal is
        given as its value. Use them with `index_key`.
        """
        found = (self._equality(node, known) for node in _conjuncts(self.tree))
        return [equality for equality in found if equality is not None]

    def memberships(self) -> list[Equality]:
        """Give the parts of the `and` chain that look for a literal in what stands at a path: `'web' in PATH`."""
        found = []
        for node in _conjuncts(self.tree):
            if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.In):
                path, value = dotted(node.comparators[0]), self._known_value(node.left, lambda name: False)
                if path is not None and value is not None:
                    found.append(Equality(path, value, member=True))
        return found

    def _equality(self, node: ast.expr, known: Callable[[str], bool]) -> Equality | None:
        if not isinstance(node, ast.Compare) or len(node.ops) != 1:
            return None
        left, operator, right = node.left, node.ops[0], node.comparators[0]
        pairs = []
        if isinstance(operator, ast.Eq):
            pairs = [(left, [right]), (right, [left])]
        elif isinstance(operator, ast.In) and isinstance(right, ast.List):
            pairs = [(left, right.elts)]
        for path_node, value_nodes in pairs:
            path = dotted(path_node)
            if path is None or known(path.partition(".")[0]):
                continue
            values = [self._known_value(value, known) for value in value_nodes]
            if None not in values:
                return Equality(path, tuple(value[0] for value in values if value))
        return None

    def _known_value(self, node: ast.expr, known: Callable[[str], bool]) -> tuple[Any | Expression] | None:
        if isinstance(node, ast.Constant):
            return (node.value,)
        if isinstance(node, ast.Name) and node.id in CONSTANTS:
            return (CONSTANTS[node.id],)
        part = self._part(node)
        fixed = all(map(known, part.names)) and not (part.lookups or part.vendor or part.uses_now)
        return (part,) if fixed else None


def index_key(value: Any) -> Hashable | None:
    """Give a key that is the same for values that `==` finds equal, for indexes over `Equality`.

    None where there is none: durations, instants, lists and mappings may equal values of another form, so an index
    must let them pass and evaluate the condition.
    """
    if isinstance(value, Duration | datetime | list | tuple | Mapping):
        return None
    return ("null",) if value is None else functions.identity(value)


def _line(trace: TracebackType | None) -> int:
    """Give the line of the innermost frame of compiled code: the number of the part that failed."""
    line = 1
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILE_NAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _conjuncts(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        for value in node.values:
            yield from _conjuncts(value)
    else:
        yield node


def _met(text: str, met: list[tuple[int, int, Any]]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Give the longest texts met with their values, and the shortest that were null."""
    values: dict[str, Any] = {}
    for begin, length, value in met:
        if not any(b <= begin and begin + length <= b + n and n > length for b, n, _ in met):
            values[text[begin : begin + length]] = _recorded(value)
    nulls: list[tuple[int, int]] = []
    for begin, length, value in met:  # what is inside was met first
        if value is None and not any(begin <= b and b + n <= begin + length for b, n in nulls):
            nulls.append((begin, length))
    return values, tuple(dict.fromkeys(text[begin : begin + length] for begin, length in nulls))


def _recorded(value: Any) -> Any:
    try:
        return keepable(value)
    except EvaluationError:
        return describe(value)


# --- what an expression reads ----------------------------------------------------------------------------------------


def dotted(node: ast.expr) -> str | None:
    """Give `a.b.c` for fields of a name (`a["b"]` counts), else None."""
    parts: list[str] = []
    while True:
        if isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        elif (
            isinstance(node, ast.Subscript)
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, str)
            and "." not in node.slice.value  # it would read as two fields
        ):
            parts.append(node.slice.value)
            node = node.value
        elif isinstance(node, ast.Name) and node.id not in CONSTANTS:
            return ".".join([node.id, *reversed(parts)])
        else:
            return None


@dataclass(slots=True)
class _Reading:
    paths: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)
    uses_now: bool = False

    @classmethod
    def of(cls, tree: ast.expr) -> _Reading:
        found = cls()
        found._read(tree, frozenset())
        return found

    def _read(self, node: ast.expr, bound: frozenset[str]) -> None:
        path = dotted(node)
        if path is not None:
            self.uses_now |= path.endswith(".idle")
            if path.partition(".")[0] not in bound:
                self.paths.add(path)
            return
        if isinstance(node, ast.Attribute):
            self.uses_now |= node.attr == "idle"
        if isinstance(node, ast.ListComp | ast.DictComp):
            self._read(node.generators[0].iter, bound)
            inner = bound | {part.id for part in [node.generators[0].target] if isinstance(part, ast.Name)}
            outer = node.generators[0].iter, node.generators[0].target
            for child in children(node):
                if child not in outer:
                    self._read(child, inner)
            return
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            self._read(node.left, bound)
            self._read_call(node.right, bound)
            return
        if isinstance(node, ast.Call):
            self._read_call(node, bound)
            return
        for child in children(node):
            self._read(child, bound)

    def _read_call(self, node: ast.expr, bound: frozenset[str]) -> None:
        if isinstance(node, ast.Name):
            self.uses_now |= node.id == "ago"
            return
        assert isinstance(node, ast.Call)
        if isinstance(node.func, ast.Attribute):
            self._read(node.func.value, bound)
        elif isinstance(node.func, ast.Name):
            self.calls.add(node.func.id)
            self.uses_now |= node.func.id in ("now", "is_open", "ago", *functions.VENDOR)
        self.uses_now |= any(argument.arg == "last" for argument in node.keywords)
        by_name = {argument.value.value for argument in node.keywords if isinstance(argument.value, ast.Constant)}
        by_place = {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
        self.uses_now |= "idle" in by_name | by_place
        for argument in (*node.args, *(one.value for one in node.keywords)):
            self._read(argument, bound)


# --- texts with expressions in them ----------------------------------------------------------------------------------


@lru_cache(maxsize=_MOST_KEPT)
def compile_text(text: str) -> Text:
    """Compile a text of a workflow file with `${{ … }}` in it; `$${{` is a literal `${{`.

    Raises:
        ExpressionError: one of the expressions is none, or is not closed.
    """
    parts: list[str | Expression] = []
    places: list[int] = []
    literal, place = "", 0
    while True:
        opened = text.find("${{", place)
        if opened < 0:
            break
        if opened > place and text[opened - 1] == "$":
            literal += f"{text[place : opened - 1]}${{{{"
            place = opened + 3
            continue
        closing = find_closing(text, opened + 3)
        if closing is None:
            hint = "write }} after the expression; a literal ${{ is written $${{"
            raise ExpressionError("this ${{ is not closed", opened, 3, code=BAD_EXPRESSION, hint=hint)
        literal += text[place:opened]
        if literal:
            parts.append(literal)
        parts.append(_inside(text, opened, closing + 2))
        places.append(opened)
        literal, place = "", closing + 2
    parts += [literal + text[place:]] if literal or place < len(text) else []
    return Text(text, tuple(parts), tuple(places))


def _inside(text: str, opened: int, end: int) -> Expression:
    try:
        return compile_expression(text[opened:end])
    except ExpressionError as error:
        raise error.moved(opened) from None


class Text:
    """A compiled text.

    Attributes:
        text: as it was given.
        parts: its literal pieces and its expressions.
        expressions: each with the offset that its own places are to be counted from.
        whole: the expression that is all of it (but for blanks around): it keeps its type.
        constant: whether it has no expressions.
    """

    def __init__(self, text: str, parts: tuple[str | Expression, ...], places: tuple[int, ...]) -> None:
        self.text = text
        self.parts = parts
        inside = [part for part in parts if isinstance(part, Expression)]
        self.expressions: list[tuple[int, Expression]] = list(zip(places, inside, strict=True))
        self.constant = not inside
        blank = all(isinstance(part, Expression) or not part.strip() for part in parts)
        self.whole = inside[0] if len(inside) == 1 and blank else None

    def __repr__(self) -> str:
        return f"Text({self.text!r})"

    def evaluate(self, scope: Scope, *, markdown: bool = False) -> Any:
        """Give the value of a whole expression, else the text.

        Args:
            scope: what the expressions read.
            markdown: the result is Markdown: values are escaped, a text is `Markup`. A whole expression is rendered
                as well then, but null stays null.

        Raises:
            EvaluationError: as `Expression.evaluate`, or a value cannot stand in a text. Its place is in this text.
            NeedLookup: a vendor has to be asked first.
        """
        if self.whole is not None:
            value = self._value(self.expressions[0], scope)
            return value if value is None or not markdown else self._rendered(self.expressions[0], value, scope, True)
        pieces: list[str] = []
        inside = iter(self.expressions)
        for part in self.parts:
            if isinstance(part, str):
                pieces.append(part)
            else:
                place = next(inside)
                pieces.append(self._rendered(place, self._value(place, scope), scope, markdown))
        length = sum(map(len, pieces))
        try:
            Run(scope).spend_text(length)
        except EvaluationError as error:
            raise EvaluationError(error.message, 0, len(self.text)) from None
        return Markup("".join(pieces)) if markdown else "".join(pieces)

    def _value(self, placed: tuple[int, Expression], scope: Scope) -> Any:
        try:
            return placed[1].evaluate(scope)
        except EvaluationError as error:
            raise EvaluationError(error.message, error.offset + placed[0], error.length) from None

    def _rendered(self, placed: tuple[int, Expression], value: Any, scope: Scope, markdown: bool) -> str:
        try:
            return render_markdown(value, scope.zone) if markdown else render_value(value, scope.zone)
        except EvaluationError as error:
            raise EvaluationError(error.message, placed[0], len(placed[1].text)) from None
