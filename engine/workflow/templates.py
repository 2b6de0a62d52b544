"""Templates of documents and long messages: ordinary Jinja2 files, in the scope of expressions.

They have the functions, filters, null and time rules of expressions, and are Markdown: what a `{{ }}` gives is escaped
unless it is Markdown already. Fields of records are read by the same helper as in expressions and nothing else is
reachable. Loops, calls and texts are counted, and the output is at most 256 KiB.
"""

from __future__ import annotations

import functools
import re
import traceback
from collections.abc import Mapping
from typing import Any

import jinja2
from jinja2 import meta, nodes

from engine.problems import did_you_mean
from engine.workflow.rendering import Markup
from engine.workflow.sandbox import RUN, Sandbox
from engine.workflow.scope import MOST_STEPS, MOST_TEXT, EvaluationError, Run, Scope

#: A template's rendering has this many steps: the dearest take half a second, in which nothing else has its turn.
STEPS = 5 * MOST_STEPS
MOST_SOURCE = 256 * 1024
#: So many compiled templates are kept.
MOST_KEPT = 64


class TemplateProblem(Exception):
    """A template cannot be read or rendered; `name` and `line` say where. `hint` is an instruction."""

    def __init__(self, message: str, name: str, line: int, hint: str | None = None) -> None:
        super().__init__(f"template '{name}', line {line}: {message}")
        self.message = message
        self.name = name
        self.line = line
        self.hint = hint


class Template:
    """A compiled template.

    Attributes:
        name: its own.
        names: it and the templates that it includes, imports or extends, however indirectly.
        undeclared: the names that they read from the scope or the data.
    """

    def __init__(self, name: str, template: jinja2.Template, names: frozenset[str], undeclared: frozenset[str]) -> None:
        self.name = name
        self.names = names
        self.undeclared = undeclared
        self._template = template

    def __repr__(self) -> str:
        return f"Template({self.name!r})"

    def render(self, scope: Scope, data: Mapping[str, Any] | None = None) -> Markup:
        """Give the Markdown.

        Args:
            scope: as of expressions.
            data: more names; they go before those of the scope, and are there together as `data` as well.

        Raises:
            TemplateProblem: a name is not known, the values do not fit, or the output is too long.
            NeedLookup: a vendor has to be asked first.
        """
        given = dict(data or {})
        names = {name: scope.names[name] for name in self.undeclared if name in scope.names}
        started = RUN.set(Run(scope, STEPS))
        try:
            return self._render({**names, "data": given, **given})
        except _FAILURES as error:
            raise _problem(error, self.name) from None
        finally:
            RUN.reset(started)

    def _render(self, names: dict[str, Any]) -> Markup:
        pieces: list[str] = []
        length = 0
        for piece in self._template.root_render_func(self._template.new_context(names)):
            length += len(piece)
            if length > MOST_TEXT:
                raise EvaluationError(f"the output is longer than {MOST_TEXT // 1024} KiB")
            pieces.append(piece)
        return Markup("".join(pieces))


def compile_template(name: str, sources: Mapping[str, str]) -> Template:
    """Compile a template; those it includes, imports or extends are found among `sources`, by name.

    Raises:
        TemplateProblem: one of them is not there, cannot be read, or includes itself.
    """
    if name not in sources:
        raise TemplateProblem(f"no template is called '{name}'", name, 1, did_you_mean(name, sources, "templates"))
    return _compile(name, tuple(sources.items()))


@functools.lru_cache(maxsize=MOST_KEPT)
def _compile(name: str, items: tuple[tuple[str, str], ...]) -> Template:
    """Compile a template that is there; many workflows of a project name the same."""
    sources = dict(items)
    environment = Sandbox(sources)
    names: dict[str, None] = {}
    undeclared: set[str] = set()
    _follow(environment, sources, name, (), names, undeclared)
    try:
        template = environment.get_template(name)
        for other in names:
            environment.get_template(other)
    except _UNREADABLE as error:
        raise _problem(error, name) from None
    known = environment.globals.keys() | {"data"}
    return Template(name, template, frozenset(names), frozenset(undeclared - known))


def _follow(
    environment: Sandbox,
    sources: Mapping[str, str],
    name: str,
    above: tuple[str, ...],
    names: dict[str, None],
    undeclared: set[str],
) -> None:
    names[name] = None
    try:
        if len(sources[name]) > MOST_SOURCE:
            raise jinja2.TemplateSyntaxError(f"a template has at most {MOST_SOURCE // 1024} KiB", 1)
        if "\ufffd" in sources[name]:
            line = sources[name].count("\n", 0, sources[name].index("\ufffd")) + 1
            raise jinja2.TemplateSyntaxError("the file is not UTF-8 text", line)
        tree = environment.parse(sources[name], name)
        undeclared |= meta.find_undeclared_variables(tree)
    except _UNREADABLE as error:
        raise _problem(error, name) from None
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        other = getattr(node, "template", None)
        if not (isinstance(other, nodes.Const) and isinstance(other.value, str)):
            hint = "choose between them with {% if %}"
            raise TemplateProblem("a template is named by one literal text", name, node.lineno, hint)
        if other.value not in sources:
            hint = did_you_mean(other.value, sources, "templates")
            raise TemplateProblem(f"no template is called '{other.value}'", name, node.lineno, hint)
        if other.value in (*above, name):
            way = " → ".join((*above, name, other.value))
            raise TemplateProblem(f"a template must not include itself: {way}", name, node.lineno)
        if other.value not in names:
            _follow(environment, sources, other.value, (*above, name), names, undeclared)


#: What a template's text may make Jinja and Python's compiler raise.
_UNREADABLE = (jinja2.TemplateError, SyntaxError, RecursionError, MemoryError)
#: What a template's filters and operators may raise over odd values; the store's own errors are not among them.
_FAILURES = (
    EvaluationError,
    jinja2.TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
    MemoryError,
)
_UNDEFINED = re.compile(r"'(\w+)' is undefined")


def _problem(error: BaseException, name: str) -> TemplateProblem:
    if isinstance(error, jinja2.TemplateSyntaxError):
        return TemplateProblem(_sentence(error.message or ""), error.name or name, error.lineno)
    line = 1
    for frame, number in traceback.walk_tb(error.__traceback__):
        template = frame.f_globals.get("__jinja_template__")
        if isinstance(template, jinja2.Template):
            name, line = template.name or name, template.get_corresponding_lineno(number)
    if isinstance(error, RecursionError | MemoryError | SyntaxError):
        return TemplateProblem("the template is too deep or too large", name, line)
    if isinstance(error, jinja2.UndefinedError):
        found = _UNDEFINED.fullmatch(error.message or "")
        message = f"nothing is called '{found.group(1)}' here" if found else _sentence(error.message or "")
        return TemplateProblem(message, name, line)
    if isinstance(error, EvaluationError):
        return TemplateProblem(error.message, name, line)
    if isinstance(error, jinja2.TemplateError):
        return TemplateProblem(_sentence(str(error)), name, line)
    return TemplateProblem(f"the values do not fit: {_sentence(str(error))}", name, line)


def _sentence(text: str) -> str:
    return (text[:1].lower() + text[1:]).rstrip(".")
