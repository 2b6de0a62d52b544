"""Rewrite an expression's tree to calls of bounded helpers, and compile that.

The code is a function of the run and its names. Each call stands on a line of its own number, so that the line of a
failing frame says which part of the expression failed; that costs nothing while nothing fails.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.workflow import functions, operators
from engine.workflow.rendering import Markup
from engine.workflow.scope import EvaluationError, Run
from engine.workflow.syntax import CONSTANTS, Source

FILE_NAME = "<expression>"
Code = Callable[[Run, Mapping[str, Any]], Any]
Spans = list[tuple[int, int]]

_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
    ast.Mod: "remainder",
}
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "equal",
    ast.NotEq: "unequal",
    ast.Lt: "less",
    ast.LtE: "at_most",
    ast.Gt: "more",
    ast.GtE: "at_least",
    ast.In: "within",
    ast.NotIn: "without",
}
_READING = ("field", "item", "cut", "mapping", "each", "each_pair", "truth", "negate", "among", "not_among")


def _fail(run: Run, message: str) -> Any:
    raise EvaluationError(message)


def _meet(run: Run, number: int, value: Any) -> Any:
    run.met.append((number, value))
    return value


def _authored(text: str) -> Markup:
    """Mark a text that stands in the expression itself: it is the workflow author's own Markdown."""
    return Markup(text)


_HELPERS: dict[str, Any] = {
    "__builtins__": {},
    **{name: getattr(operators, name) for name in (*_ARITHMETIC.values(), *_COMPARISONS.values(), *_READING)},
    **{f"call_{name}": signature.call for name, signature in functions.FUNCTIONS.items()},
    **{f"filter_{name}": signature.call for name, signature in functions.FILTERS.items()},
    **{f"method_{name}": signature.call for name, signature in functions.METHODS.items()},
    "find": functions.find,
    "count": functions.count,
    "fail": _fail,
    "meet": _meet,
    "authored": _authored,
}


def compile_tree(source: Source, *, traced: bool = False) -> tuple[Spans, Code]:
    """Compile a checked tree: the place of each line, and the code.

    Args:
        source: what `syntax.read` gave.
        traced: the code also writes what it met to `run.met`.
    """
    writer = _Writer(source, traced)
    body = writer.write(source.tree)
    function = ast.Lambda(_parameters("run", "names"), body, lineno=1, end_lineno=1, col_offset=0, end_col_offset=0)
    tree = ast.fix_missing_locations(ast.Expression(function))
    return writer.spans, eval(compile(tree, FILE_NAME, "eval"), _HELPERS)


def _parameters(*names: str) -> ast.arguments:
    return ast.arguments([], [ast.arg(name) for name in names], None, [], [], None, [])


def _load(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


class _Writer:
    """Writes code for one tree. Names that the expression binds get a prefix, so they meet no helper."""

    def __init__(self, source: Source, traced: bool) -> None:
        self.source = source
        self.traced = traced
        self.spans: Spans = [source.span(source.tree)]
        self.bound: list[str] = []
        self.temporary = 0

    def write(self, node: ast.expr) -> ast.expr:
        write: Callable[[Any], ast.expr] = getattr(self, f"_{type(node).__name__}")
        written = write(node)
        if self.traced and not self.bound and _worth_tracing(node):
            return self.call(node, "meet", ast.Constant(self._number(node)), written)
        return written

    def call(
        self, place: ast.expr, helper: str, *arguments: ast.expr, keywords: Sequence[ast.keyword] = ()
    ) -> ast.expr:
        line = self._number(place) + 1
        found = ast.Call(_load(helper), [_load("run"), *arguments], list(keywords))
        found.lineno = found.end_lineno = line
        found.col_offset = found.end_col_offset = 0
        return found

    def _number(self, place: ast.expr) -> int:
        self.spans.append(self.source.span(place))
        return len(self.spans) - 1

    def _fail(self, place: ast.expr, message: str) -> ast.expr:
        return self.call(place, "fail", ast.Constant(message))

    def _keep(self, value: ast.expr) -> tuple[ast.expr, Callable[[], ast.expr]]:
        """Give the value kept under a name of its own, and how to read it again."""
        self.temporary += 1
        name = f"kept_{self.temporary}"
        return ast.NamedExpr(ast.Name(name, ast.Store()), value), lambda: _load(name)

    # --- leaves ------------------------------------------------------------------------------------------------------

    def _Constant(self, node: ast.Constant) -> ast.expr:
        return ast.Constant(node.value)

    def _Name(self, node: ast.Name) -> ast.expr:
        if node.id in CONSTANTS:
            return ast.Constant(CONSTANTS[node.id])
        if node.id in self.bound:
            return _load(f"own_{node.id}")
        found = ast.Subscript(_load("names"), ast.Constant(node.id), ast.Load())
        found.lineno = found.end_lineno = self._number(node) + 1
        found.col_offset = found.end_col_offset = 0
        return found

    def _List(self, node: ast.List) -> ast.expr:
        return ast.List([self.write(one) for one in node.elts], ast.Load())

    def _Dict(self, node: ast.Dict) -> ast.expr:
        pairs = [
            self.write(one) for pair in zip(node.keys, node.values, strict=True) for one in pair if one is not None
        ]
        return self.call(node, "mapping", *pairs)

    # --- reading -----------------------------------------------------------------------------------------------------

    def _Attribute(self, node: ast.Attribute) -> ast.expr:
        return self.call(node, "field", self.write(node.value), ast.Constant(node.attr))

    def _Subscript(self, node: ast.Subscript) -> ast.expr:
        if isinstance(node.slice, ast.Slice):
            bounds = (node.slice.lower, node.slice.upper, node.slice.step)
            written = [ast.Constant(None) if bound is None else self.write(bound) for bound in bounds]
            return self.call(node, "cut", self.write(node.value), *written)
        return self.call(node, "item", self.write(node.value), self.write(node.slice))

    # --- operators ---------------------------------------------------------------------------------------------------

    def _BoolOp(self, node: ast.BoolOp) -> ast.expr:
        """Write `and` and `or`, whose rule is not Python's: only null and false are not true.

        Both are associative, so a long chain is written as a balanced tree, which stays shallow.
        """
        written = [(self.write(value), _is_boolean(value)) for value in node.values]
        stops_at_truth = isinstance(node.op, ast.Or)
        while len(written) > 1:
            pairs = [written[place : place + 2] for place in range(0, len(written), 2)]
            written = [self._pair(stops_at_truth, *pair) if len(pair) == 2 else pair[0] for pair in pairs]
        return written[0][0]

    def _pair(self, is_or: bool, left: tuple[ast.expr, bool], right: tuple[ast.expr, bool]) -> tuple[ast.expr, bool]:
        boolean = left[1] and right[1]
        if left[1]:
            return ast.BoolOp(ast.Or() if is_or else ast.And(), [left[0], right[0]]), boolean
        untrue, again = self._untrue(left[0])
        chosen = (right[0], again()) if is_or else (again(), right[0])
        return ast.IfExp(untrue, *chosen), boolean

    def _untrue(self, value: ast.expr) -> tuple[ast.expr, Callable[[], ast.expr]]:
        kept, again = self._keep(value)
        tests: list[ast.expr] = [
            ast.Compare(kept, [ast.Is()], [ast.Constant(None)]),
            ast.Compare(again(), [ast.Is()], [ast.Constant(False)]),
        ]
        return ast.BoolOp(ast.Or(), tests), again

    def _UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        if isinstance(node.op, ast.Not):
            value = self.write(node.operand)
            return ast.UnaryOp(ast.Not(), value) if _is_boolean(node.operand) else self._untrue(value)[0]
        if isinstance(node.operand, ast.Constant) and isinstance(node.operand.value, int | float):
            return ast.Constant(-node.operand.value)
        return self.call(node, "negate", self.write(node.operand))

    def _IfExp(self, node: ast.IfExp) -> ast.expr:
        return ast.IfExp(self._condition(node.test), self.write(node.body), self.write(node.orelse))

    def _condition(self, node: ast.expr) -> ast.expr:
        written = self.write(node)
        return written if _is_boolean(node) else self.call(node, "truth", written)

    def _Compare(self, node: ast.Compare) -> ast.expr:
        left = self.write(node.left)
        parts: list[ast.expr] = []
        for place, (operator, value) in enumerate(zip(node.ops, node.comparators, strict=True)):
            last = place == len(node.ops) - 1
            helper = _COMPARISONS[type(operator)]
            texts = _plain_texts(value) if isinstance(operator, ast.In | ast.NotIn) and last else None
            if texts is not None:
                helper = {"within": "among", "without": "not_among"}[helper]
                parts.append(self.call(node, helper, left, _texts(texts)))
                continue
            right = self.write(value)
            again: Callable[[], ast.expr] | None = None
            if not last:
                right, again = self._keep(right)
            parts.append(self.call(node, helper, left, right))
            left = again() if again else right
        return parts[0] if len(parts) == 1 else ast.BoolOp(ast.And(), parts)

    def _BinOp(self, node: ast.BinOp) -> ast.expr:
        if isinstance(node.op, ast.BitOr):
            return self._filter(node)
        return self.call(node, _ARITHMETIC[type(node.op)], self.write(node.left), self.write(node.right))

    # --- calls -------------------------------------------------------------------------------------------------------

    def _filter(self, node: ast.BinOp) -> ast.expr:
        name_node = node.right.func if isinstance(node.right, ast.Call) else node.right
        assert isinstance(name_node, ast.Name)
        call = node.right if isinstance(node.right, ast.Call) else ast.Call(name_node, [], [])
        if name_node.id == "length" and isinstance(node.left, ast.Call) and not (call.args or call.keywords):
            looked_up = self._look_up(node.left, "count")
            if looked_up is not None:
                return looked_up
        signature = functions.FILTERS.get(name_node.id)
        if signature is None:
            return self._fail(node.right, f"no filter is called '{name_node.id}'")
        return self._signed(node.right, f"filter_{name_node.id}", signature, call, self.write(node.left))

    def _Call(self, node: ast.Call) -> ast.expr:
        if isinstance(node.func, ast.Attribute):
            signature = functions.METHODS.get(node.func.attr)
            if signature is None:
                return self._fail(node, f"no method is called '{node.func.attr}'")
            return self._signed(node, f"method_{signature.name}", signature, node, self.write(node.func.value))
        assert isinstance(node.func, ast.Name)
        looked_up = self._look_up(node, "find")
        if looked_up is not None:
            return looked_up
        signature = functions.FUNCTIONS.get(node.func.id)
        if signature is None:
            return self._fail(node, f"no function is called '{node.func.id}'")
        return self._signed(node, f"call_{signature.name}", signature, node)

    def _signed(
        self, place: ast.expr, helper: str, signature: functions.Signature, call: ast.Call, *first: ast.expr
    ) -> ast.expr:
        """Write a call that fits its signature; arguments by name are put into their places."""
        wrong = signature.misuse(len(call.args), [argument.arg or "" for argument in call.keywords])
        if wrong is not None:
            return self._fail(place, wrong)
        given = dict(zip(signature.parameters, call.args, strict=False))
        given |= {argument.arg: argument.value for argument in call.keywords if argument.arg}
        written = []
        for name, value in given.items():
            argument = self.write(value)
            if helper == "filter_join" and name == "separator" and isinstance(value, ast.Constant):
                argument = ast.Call(_load("authored"), [argument], []) if isinstance(value.value, str) else argument
            written.append(ast.keyword(name, argument))
        if helper.startswith("method_"):
            return self.call(place, helper, *first, *[one.value for one in written])
        return self.call(place, helper, *first, keywords=written)

    def _look_up(self, node: ast.Call, helper: str) -> ast.expr | None:
        assert isinstance(node.func, ast.Name | ast.Attribute)
        kind = functions.LOOKUPS.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if kind is None:
            return None
        wrong = functions.lookup_misuse(kind, len(node.args), [argument.arg or "" for argument in node.keywords])
        if wrong is not None:
            return self._fail(node, wrong)
        keys: list[ast.expr | None] = [ast.Constant("") for _ in node.args]
        keys += [ast.Constant(argument.arg) for argument in node.keywords]
        values = [*node.args, *(argument.value for argument in node.keywords)]
        nulls = [one for one in node.keywords if isinstance(one.value, ast.Name) and one.value.id == "null"]
        empty = [one.arg for one in nulls if one.arg]
        criteria = ast.Dict(keys, [self.write(value) for value in values])
        return self.call(node, helper, ast.Constant(kind), criteria, _texts(empty))

    # --- comprehensions ----------------------------------------------------------------------------------------------

    def _ListComp(self, node: ast.ListComp) -> ast.expr:
        return self._each(node, "each", node.elt)

    def _DictComp(self, node: ast.DictComp) -> ast.expr:
        return self._each(node, "each_pair", node.key, node.value)

    def _each(self, node: ast.ListComp | ast.DictComp, helper: str, *elements: ast.expr) -> ast.expr:
        loop = node.generators[0]
        assert isinstance(loop.target, ast.Name)
        items = self.write(loop.iter)
        self.bound.append(loop.target.id)
        inner = [self._function(loop.target.id, self.write(element)) for element in elements]
        if loop.ifs:
            conditions = [self._condition(one) for one in loop.ifs]
            together = conditions[0] if len(conditions) == 1 else ast.BoolOp(ast.And(), conditions)
            inner.append(self._function(loop.target.id, together))
        self.bound.pop()
        return self.call(loop.iter, helper, items, *inner)

    def _function(self, name: str, body: ast.expr) -> ast.expr:
        return ast.Lambda(_parameters(f"own_{name}"), body)


def _texts(texts: Sequence[str]) -> ast.expr:
    return ast.Tuple([ast.Constant(text) for text in texts], ast.Load())


def _plain_texts(node: ast.expr) -> tuple[str, ...] | None:
    if not isinstance(node, ast.List):
        return None
    texts = [one.value for one in node.elts if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return tuple(texts) if len(texts) == len(node.elts) else None


def _is_boolean(node: ast.expr) -> bool:
    """Say whether a part always gives true or false, so that Python's own operators keep its rules."""
    if isinstance(node, ast.BoolOp):
        return all(map(_is_boolean, node.values))
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not)
    return isinstance(node, ast.Compare) or (isinstance(node, ast.Name) and node.id in ("true", "false"))


def _worth_tracing(node: ast.expr) -> bool:
    if isinstance(node, ast.Name):
        return node.id not in CONSTANTS
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.BitOr)
    return isinstance(node, ast.Attribute | ast.Subscript | ast.Call)
