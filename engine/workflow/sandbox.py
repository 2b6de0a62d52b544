"""Jinja's sandbox, made to keep the language's rules: its reading, operators, filters, functions and bounds.

Where Jinja leaves something to Python (comparisons, slices, `~`, what a `for` goes through), the template's tree is
rewritten before it is compiled: to filters whose names begin with a blank, which no template can write.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from itertools import islice
from typing import Any

import jinja2
from jinja2 import filters as jinja_filters
from jinja2 import nodes
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, TemplateReference
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Namespace
from jinja2.visitor import NodeTransformer

from engine.problems import did_you_mean
from engine.workflow import functions, operators
from engine.workflow.operators import describe
from engine.workflow.rendering import Joined, Markup, render_markdown, render_value
from engine.workflow.scope import CHARACTERS_A_STEP, MOST_ITEMS, MOST_TEXT, EvaluationError, Run

#: The rendering under way. Jinja hands its context to some hooks only, and reading a field is none of them.
RUN: ContextVar[Run] = ContextVar("rendering")
_ACTIVE: ContextVar[tuple[str, ...]] = ContextVar("macros", default=())

_LOOP_FIELDS = "index index0 revindex revindex0 first last length depth depth0 previtem nextitem cycle changed"
_LOOP = frozenset(_LOOP_FIELDS.split(" "))
_OPERATORS: dict[str, Callable[[Run, Any, Any], Any]] = {
    "+": operators.add,
    "-": operators.subtract,
    "*": operators.multiply,
    "/": operators.divide,
    "%": operators.remainder,
}
_COMPARISONS: dict[str, Callable[[Run, Any, Any], bool]] = {
    "eq": operators.equal,
    "ne": operators.unequal,
    "lt": operators.less,
    "lteq": operators.at_most,
    "gt": operators.more,
    "gteq": operators.at_least,
    "in": operators.within,
    "notin": operators.without,
}
_TESTS: dict[str, str] = {
    "eq": "eq equalto ==",
    "ne": "ne !=",
    "lt": "lt lessthan <",
    "lteq": "le <=",
    "gt": "gt greaterthan >",
    "gteq": "ge >=",
    "in": "in",
}


_INCLUDING = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
#: Parts of a template that take no time of their own.
_IDLE = (nodes.Const, nodes.Name, nodes.NSRef, nodes.Pair, nodes.Keyword, nodes.Operand, nodes.Slice)


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with the language's own reading, operators, filters and bounds."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    intercepted_unops = frozenset({"+", "-"})

    def __init__(self, sources: Mapping[str, str]) -> None:
        super().__init__(
            loader=jinja2.DictLoader(dict(sources)),
            undefined=jinja2.StrictUndefined,
            finalize=_finalize,
            optimized=False,  # nothing is computed before it is counted
            auto_reload=False,
        )
        self.weights: dict[str, int] = {}  #: steps that a call of a macro takes at least, by its name
        self._weights_of: dict[str, int] = {}  #: the same of templates, which others may include
        self.filters = {**_JINJA_FILTERS, **_OWN_FILTERS, **_HIDDEN_FILTERS}
        self.tests.update({name: _tested(one) for one, names in _TESTS.items() for name in names.split()})
        kept = {name: self.globals[name] for name in ("namespace", "joiner", "dict")}
        self.globals = {**kept, **_GLOBALS}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in tree.find_all(nodes.Filter):
            if node.name not in self.filters or node.name.startswith(" "):
                known = [one for one in self.filters if not one.startswith(" ")]
                hint = did_you_mean(node.name, known, "filters")
                raise jinja2.TemplateSyntaxError(f"no filter is called '{node.name}': {hint}", node.lineno, name)
        return tree

    def _generate(self, source: nodes.Template, name: str | None, *args: Any, **kwargs: Any) -> str:
        prepared = _Preparation(self, name).visit(source)
        prepared.set_environment(self)
        return super()._generate(prepared, name, *args, **kwargs)

    def weight(self, node: nodes.Node) -> int:
        """Give the steps that it takes at least to go once through what is inside a node, of what it includes as well.

        What works on values counts one each; what stands there to be put out counts by its length. A `for` and a macro
        in it count for themselves, each time.
        """
        found, todo = 0, list(node.iter_child_nodes())
        while todo:
            inner = todo.pop()
            found += self._own_weight(inner)
            if isinstance(inner, nodes.For):
                todo.append(inner.iter)
            elif not isinstance(inner, nodes.Macro | nodes.CallBlock):
                todo.extend(inner.iter_child_nodes())
        return found

    def _own_weight(self, node: nodes.Node) -> int:
        if isinstance(node, nodes.TemplateData):
            return len(node.data) // CHARACTERS_A_STEP
        if isinstance(node, nodes.Output):
            return sum(not isinstance(one, nodes.TemplateData) for one in node.nodes)
        if isinstance(node, _INCLUDING) and isinstance(node.template, nodes.Const):
            return 1 + self._weight_of(node.template.value)
        return int(not isinstance(node, _IDLE))

    def _weight_of(self, name: str) -> int:
        if name not in self._weights_of:
            self._weights_of[name] = 0  # one that includes itself is refused
            assert self.loader is not None
            self._weights_of[name] = self.weight(self._parse(self.loader.get_source(self, name)[0], name, None))
        return self._weights_of[name]

    def getattr(self, obj: Any, attribute: str) -> Any:
        run = RUN.get()
        _defined(obj)
        if attribute.startswith("_"):
            raise EvaluationError(f"'{attribute}' cannot be read")
        if isinstance(obj, str | None) and attribute in functions.METHODS:
            return functools.partial(_call_method, functions.METHODS[attribute], obj)
        if isinstance(obj, Mapping) and attribute not in obj and attribute in ("items", "keys", "values"):
            return functools.partial(_list_mapping, obj, attribute)
        if isinstance(obj, _OF_JINJA):
            return _read_jinja(obj, attribute)
        return operators.field(run, obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        _defined(obj)
        _defined(argument)
        if isinstance(argument, str) and not isinstance(obj, Mapping):
            return self.getattr(obj, argument)
        return operators.item(RUN.get(), obj, argument)

    def call_filter(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a filter by a name that the template computes: `map('upper')`."""
        if name.startswith(" "):
            raise EvaluationError(f"no filter is called '{name}'")
        return super().call_filter(name, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        run = RUN.get()
        _defined(left)
        _defined(right)
        if operator == "**":
            return _power(left, right)
        if operator == "//":
            quotient = operators.divide(run, left, right)
            return operators.bounded(quotient // 1) if isinstance(quotient, int | float) else quotient
        return _OPERATORS[operator](run, left, right)

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:
        _defined(arg)
        return operators.negate(RUN.get(), arg) if operator == "-" else arg

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        run = RUN.get()
        _defined(obj)
        if isinstance(obj, Macro):
            return self._call_macro(run, context, obj, *args, **kwargs)
        run.spend(10)
        if isinstance(obj, BlockReference):
            run.spend(sum(self.weights.values()))
            return Markup(super().call(context, obj, *args, **kwargs))
        if obj is None or not callable(obj):
            raise EvaluationError(f"{describe(obj)} cannot be called")
        return super().call(context, obj, *args, **kwargs)

    def _call_macro(self, run: Run, context: Context, macro: Macro, /, *args: Any, **kwargs: Any) -> Markup:
        active = _ACTIVE.get()
        if macro.name != "caller" and macro.name in active:
            raise EvaluationError(f"the macro '{macro.name}' must not call itself")
        run.spend(1 + self.weights.get(macro.name, 0))
        entered = _ACTIVE.set((*active, macro.name))
        try:
            return Markup(super().call(context, macro, *args, **kwargs))
        finally:
            _ACTIVE.reset(entered)


_OF_JINJA = (LoopContext, jinja2.environment.TemplateModule, Namespace, Cycler, TemplateReference, BlockReference)


def _read_jinja(obj: Any, name: str) -> Any:
    """Read one of the few things that Jinja itself puts into a template."""
    if isinstance(obj, LoopContext) and name in _LOOP:
        return getattr(obj, name)
    if isinstance(obj, Cycler) and name in ("next", "reset", "current"):
        return getattr(obj, name)
    if isinstance(obj, BlockReference) and name == "super":
        return obj.super
    if isinstance(obj, TemplateReference):
        return _block(obj, name)
    if isinstance(obj, jinja2.environment.TemplateModule) and name in vars(obj):
        return vars(obj)[name]
    if isinstance(obj, Namespace):
        return getattr(obj, name)
    raise EvaluationError(f"nothing is called '{name}' there")


def _block(blocks: TemplateReference, name: str) -> Any:
    try:
        return blocks[name]
    except KeyError:
        raise EvaluationError(f"no block is called '{name}'") from None


def _defined(value: Any) -> None:
    if isinstance(value, jinja2.Undefined):
        str(value)  # a strict undefined raises its own error


def _power(left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (left, right))
    if not numbers or abs(right) > 64 or (left < 0 and right != int(right)):
        raise EvaluationError("'**' takes numbers, and at most 64 on its right")
    return operators.bounded(operators.bounded(left) ** right)


def _call_method(signature: functions.Signature, value: Any, *arguments: Any) -> Any:
    wrong = signature.misuse(len(arguments), ())
    if wrong is not None:
        raise EvaluationError(wrong)
    return signature.call(RUN.get(), value, *arguments)


def _list_mapping(mapping: Mapping[Any, Any], what: str) -> list[Any]:
    RUN.get().spend_items(len(mapping))
    return list(getattr(dict(mapping), what)())


@jinja2.pass_context
def _finalize(context: Context, value: Any) -> Any:
    """Give what a `{{ }}` puts out. It takes the context so that Jinja computes nothing while compiling."""
    _defined(value)
    run = RUN.get()
    text = render_markdown(_listed(run, value), run.scope.zone)
    run.spend_text(len(text))
    return text


# --- filters and functions -------------------------------------------------------------------------------------------


def _listed(run: Run, value: Any) -> Any:
    """Give what Jinja's own lazy filters made as a list."""
    if not isinstance(value, Iterator):
        return value
    items = list(islice(value, MOST_ITEMS + 1))
    run.spend_items(len(items))
    return items


def _own(signature: functions.Signature) -> Callable[..., Any]:
    @jinja2.pass_context
    def call(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        run = RUN.get()
        if "attribute" in kwargs and "by" in signature.parameters:  # what Jinja calls it
            kwargs["by"] = kwargs.pop("attribute")
        if signature.name == "default" and isinstance(value, jinja2.Undefined):
            value = None
        for one in (value, *args, *kwargs.values()):
            _defined(one)
        wrong = signature.misuse(len(args), list(kwargs))
        if wrong is not None:
            raise EvaluationError(wrong)
        return signature.call(run, _listed(run, value), *args, **kwargs)

    return call


def _counted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give one of Jinja's filters with its texts counted."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        run = RUN.get()
        for one in (*args, *kwargs.values()):
            _defined(one)
            if isinstance(one, str):
                run.spend_text(len(one))
        found = function(*args, **kwargs)
        if isinstance(found, str):
            run.spend_text(len(found))
        return found

    return call


def _on_text(function: Callable[..., str], keeps_markup: bool = False) -> Callable[..., Any]:
    """Give a filter of texts that takes every value as it is rendered, and passes null through."""

    def call(value: Any, *args: Any, **kwargs: Any) -> Any:
        if value is None:
            return None
        found = str(function(_string(value), *args, **kwargs))
        return Markup(found) if keeps_markup and isinstance(value, Markup) else found

    return call


def _center(text: str, width: int = 80) -> str:
    return text.center(_small(width, "width", 1000))


def _indent(text: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    step = len(width) if isinstance(width, str) else _small(width, "width", 100)
    RUN.get().spend_text(len(text) + step * (text.count("\n") + 1))
    return str(jinja_filters.do_indent(text, width, first, blank))


def _truncate(text: str, length: int = 255, killwords: bool = False, end: str = "...", leeway: int = 5) -> str:
    """Cut a text as Jinja's filter of that name does."""
    if _small(length, "length", MOST_TEXT) + _small(leeway, "leeway", MOST_TEXT) >= len(text):
        return text
    cut = text[: max(0, length - len(end))]
    return (cut if killwords else cut.rsplit(" ", 1)[0]) + end


_CONVERSION = re.compile(r"%(?:\([^)]*\))?[-+ #0]*(\d+|\*)?(?:\.(\d+|\*))?")


def _format(text: str, *args: Any, **kwargs: Any) -> str:
    for conversion in _CONVERSION.finditer(text):
        for bound in filter(None, conversion.groups()):
            if bound == "*" or len(bound) > 3:
                raise EvaluationError("a width in 'format' must be a number below 1,000")
    given = [one if isinstance(one, int | float) else _string(one) for one in args]
    named = {name: one if isinstance(one, int | float) else _string(one) for name, one in kwargs.items()}
    return text % (named or tuple(given))


def _round(value: Any, precision: int = 0, method: str = "common") -> Any:
    if method not in ("common", "ceil", "floor"):
        raise EvaluationError(f"'round' knows common, ceil and floor, not '{method}'")
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise EvaluationError(f"'round' takes a number, not {describe(value)}")
    return jinja_filters.do_round(operators.bounded(value), _small(precision, "precision", 15), method)  # type: ignore[arg-type]


def _small(value: Any, what: str, most: int) -> int:
    if isinstance(value, int) and 0 <= value <= most:
        return value
    raise EvaluationError(f"the {what} must be a whole number from 0 to {most}")


def _string(value: Any) -> str:
    _defined(value)
    return render_value(value, RUN.get().scope.zone)


def _list(value: Any) -> list[Any]:
    run = RUN.get()
    return list(operators.elements(run, _listed(run, value)))


def _reverse(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value[::-1] if value else value
    return _list(value)[::-1]


#: Those of Jinja's filters that neither reach into objects nor grow without bounds nor depend on chance.
_SAFE_FILTERS = ("abs", "dictsort", "float", "int", "items", "map", "reject", "rejectattr", "select", "selectattr")
_OWN_WAY: dict[str, Callable[..., Any]] = {
    "capitalize": _on_text(str.capitalize),
    "center": _on_text(_center, keeps_markup=True),
    "format": _on_text(_format),
    "indent": _on_text(_indent, keeps_markup=True),
    "list": _list,
    "lower": _on_text(str.lower),
    "reverse": _reverse,
    "round": _round,
    "string": _string,
    "title": _on_text(jinja_filters.do_title),
    "trim": _on_text(str.strip, keeps_markup=True),
    "truncate": _on_text(_truncate),
    "upper": _on_text(str.upper),
    "wordcount": lambda value: None if value is None else len(_string(value).split()),
}
_JINJA_FILTERS: dict[str, Callable[..., Any]] = {
    **{name: _counted(jinja_filters.FILTERS[name]) for name in _SAFE_FILTERS},
    **{name: _counted(function) for name, function in _OWN_WAY.items()},
}
_OWN_FILTERS = {name: _own(signature) for name, signature in functions.FILTERS.items()}
_OWN_FILTERS |= {"count": _OWN_FILTERS["length"], "d": _OWN_FILTERS["default"], "e": _OWN_FILTERS["escape"]}
_OWN_FILTERS["replace"] = _own(functions.METHODS["replace"])


def _tested(comparison: str) -> Callable[[Any, Any], bool]:
    def test(value: Any, other: Any) -> bool:
        return _compare(value, comparison, other)

    return test


def _compare(left: Any, *rest: Any) -> bool:
    """Compare as expressions do; `rest` has an operator and a value in turn."""
    run = RUN.get()
    for operator, right in zip(rest[::2], rest[1::2], strict=True):
        _defined(left)
        _defined(right)
        if not _COMPARISONS[operator](run, left, _listed(run, right)):
            return False
        left = right
    return True


def _concat(*values: Any) -> str:
    run = RUN.get()
    marked = any(isinstance(one, Markup | Joined) for one in values)
    render = render_markdown if marked else render_value
    pieces = [render(_checked(one), run.scope.zone) for one in values]
    run.spend_text(sum(map(len, pieces)))
    return Markup("".join(pieces)) if marked else "".join(pieces)


def _checked(value: Any) -> Any:
    _defined(value)
    return value


def _each(value: Any, weight: int) -> Sequence[Any]:
    """Give what a `for` goes through, with the steps of all its rounds taken, `weight` for each; null is empty."""
    run = RUN.get()
    _defined(value)
    items = operators.elements(run, _listed(run, [] if value is None else value))
    run.spend(len(items) * (1 + weight))
    return items


def _cut(value: Any, start: Any, stop: Any, step: Any) -> Any:
    return operators.cut(RUN.get(), value, start, stop, step)


def _markup(value: Any) -> Markup:
    return Markup(value)


def _look_up(kind: str, how: str, empty: Sequence[str], *args: Any, **kwargs: Any) -> Any:
    run = RUN.get()
    wrong = functions.lookup_misuse(kind, len(args), list(kwargs))
    if wrong is not None:
        raise EvaluationError(wrong)
    for one in (*args, *kwargs.values()):
        _defined(one)
    criteria = {**({"": args[0]} if args else {}), **kwargs}
    return (functions.count if how == "count" else functions.find)(run, kind, criteria, empty)


def _uncounted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Take the context, so that Jinja never calls a filter while compiling."""

    @jinja2.pass_context
    def call(context: Context, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


#: What the preparation writes into the tree. Their names begin with a blank, so no template can.
_HIDDEN_FILTERS: dict[str, Callable[..., Any]] = {
    " compare": _uncounted(_compare),
    " concat": _uncounted(_concat),
    " each": _uncounted(_each),
    " cut": _uncounted(_cut),
    " markup": _uncounted(_markup),
    " look up": _uncounted(_look_up),
}


def _function(signature: functions.Signature) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        for one in (*args, *kwargs.values()):
            _defined(one)
        wrong = signature.misuse(len(args), list(kwargs))
        if wrong is not None:
            raise EvaluationError(wrong)
        return signature.call(RUN.get(), *args, **kwargs)

    return call


def _range(*bounds: Any) -> list[int]:
    if not 1 <= len(bounds) <= 3 or not all(isinstance(one, int) for one in bounds):
        raise EvaluationError("'range' takes one to three whole numbers")
    if len(bounds) == 3 and bounds[2] == 0:
        raise EvaluationError("the step of 'range' must not be 0")
    found = range(*bounds)
    RUN.get().spend_items(max(0, (found.stop - found.start) // found.step))
    return list(found)


def _cycler(*items: Any) -> Cycler:
    if not items:
        raise EvaluationError("'cycler' takes at least one value")
    return Cycler(*items)


_GLOBALS: dict[str, Any] = {
    "null": None,
    "cycler": _cycler,
    "range": _range,
    **{name: _function(signature) for name, signature in functions.FUNCTIONS.items()},
    **{name: functools.partial(_look_up, kind, "find", ()) for name, kind in functions.LOOKUPS.items()},
}


# --- preparing a tree ------------------------------------------------------------------------------------------------


class _Preparation(NodeTransformer):
    """Puts the language's own operators in place of those that Jinja leaves to Python, and refuses what it must."""

    def __init__(self, environment: Sandbox, name: str | None) -> None:
        self.environment = environment
        self.name = name

    def _refuse(self, node: nodes.Node, message: str) -> jinja2.TemplateSyntaxError:
        return jinja2.TemplateSyntaxError(message, node.lineno, self.name)

    def _call(self, node: nodes.Node, name: str, first: Any, *args: nodes.Expr) -> nodes.Filter:
        return nodes.Filter(first, name, list(args), [], None, None, lineno=node.lineno)

    def _weigh(self, name: str, node: nodes.Node) -> None:
        weights = self.environment.weights
        weights[name] = max(weights.get(name, 0), self.environment.weight(node))

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        rest = [part for one in node.ops for part in (nodes.Const(one.op), one.expr)]
        return self._call(node, " compare", node.expr, *rest)

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Node:
        self.generic_visit(node)
        if node.expr2 is None:
            node.expr2 = nodes.Const(None)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        first, *rest = node.nodes
        return self._call(node, " concat", first, *rest)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        bounds = (node.arg.start, node.arg.stop, node.arg.step)
        return self._call(node, " cut", node.node, *(nodes.Const(None) if one is None else one for one in bounds))

    def visit_For(self, node: nodes.For) -> nodes.Node:
        if node.recursive:
            raise self._refuse(node, "a 'for' must not be recursive")
        weight = self.environment.weight(node)
        self.generic_visit(node)
        node.iter = self._call(node, " each", node.iter, nodes.Const(weight))
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        self._weigh(node.name, node)
        return self.generic_visit(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        self._weigh("caller", node)
        return self.generic_visit(node)

    def visit_Block(self, node: nodes.Block) -> nodes.Node:
        self._weigh(node.name, node)
        return self.generic_visit(node)

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> nodes.Node:
        self.generic_visit(node)
        node.filter = self._call(node, " markup", node.filter)
        return node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        if node.name in ("length", "count") and isinstance(node.node, nodes.Call):
            counted = self._look_up(node.node, "count")
            if counted is not None:
                return counted
        self.generic_visit(node)
        if node.name == "join" and node.args and isinstance(node.args[0], nodes.Const):
            node.args[0] = self._call(node, " markup", node.args[0])
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        return self._look_up(node, "find") or self.generic_visit(node)

    def _look_up(self, node: nodes.Call, how: str) -> nodes.Filter | None:
        kind = functions.LOOKUPS.get(node.node.name) if isinstance(node.node, nodes.Name) else None
        if kind is None or node.dyn_args or node.dyn_kwargs:
            return None
        self.generic_visit(node)
        empty = [nodes.Const(one.key) for one in node.kwargs if _is_null(one.value)]
        first = [nodes.Const(how), nodes.List(empty), *node.args]
        return nodes.Filter(nodes.Const(kind), " look up", first, node.kwargs, None, None, lineno=node.lineno)

    def visit_Import(self, node: nodes.Import) -> nodes.Node:
        node.with_context = True  # without, Jinja keeps the module, and what it computed, for later renderings
        return node

    def visit_FromImport(self, node: nodes.FromImport) -> nodes.Node:
        for name in node.names:
            if (name if isinstance(name, str) else name[0]).startswith("_"):
                raise self._refuse(node, "names beginning with '_' cannot be imported")
        node.with_context = True
        return node

    def visit_Include(self, node: nodes.Include) -> nodes.Node:
        node.with_context = True
        return node

    def visit_ScopedEvalContextModifier(self, node: nodes.ScopedEvalContextModifier) -> nodes.Node:
        raise self._refuse(node, "'autoescape' has no meaning here: values are escaped for Markdown")


def _is_null(node: nodes.Expr) -> bool:
    if isinstance(node, nodes.Name):
        return bool(node.name == "null")
    return isinstance(node, nodes.Const) and node.value is None
