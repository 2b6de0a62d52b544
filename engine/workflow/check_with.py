"""`with:`: an action's inputs, those that are expressions, and a template in place of a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.plugins import Action
from engine.problems import declare
from engine.workflow import check_inputs, source
from engine.workflow.check_base import MISPLACED_KEY, MISSING_KEY, Report
from engine.workflow.check_expressions import EFFECT, Expressions, Known, constant_of, span_of
from engine.workflow.check_inputs import Held, Path, Schema
from engine.workflow.expressions import Text, compile_text
from engine.workflow.model import TemplateUse, Tree
from engine.workflow.source import Mapping as MappingNode
from engine.workflow.source import Node, Scalar
from engine.workflow.templates import Template, TemplateProblem, compile_template

UNKNOWN_TEMPLATE = declare(
    "unknown-template",
    "A template is named that is not in the templates folder.",
    "Write the file's name without its ending; sub-folders are part of it.",
)
BAD_TEMPLATE = declare(
    "bad-template",
    "A template that the workflow names cannot be used: it does not compile, or reads a name that is not there.",
    "Mend the template at the line that the message names; what it reads comes from `data:` or the workflow.",
)

STEP_KEYS_IN_WITH = (
    "id", "name", "if", "connection", "retry", "once_per", "on_unknown", "for_each", "item_key", "repeat", "timeout",
    "continue_on_error",
)  # fmt: skip


@dataclass(slots=True)
class Inputs:
    """An action's inputs as read."""

    trees: dict[str, Tree] = field(default_factory=dict)
    markdown: frozenset[str] = frozenset()
    template: TemplateUse | None = None


def read_inputs(report: Report, expressions: Expressions, action: Action, node: MappingNode, known: Known) -> Inputs:
    """Read and check what stands under `with` of a step."""
    return _Inputs(report, expressions, action, node, known).read()


class _Inputs:
    def __init__(
        self, report: Report, expressions: Expressions, action: Action, node: MappingNode, known: Known
    ) -> None:
        self.report = report
        self.expressions = expressions
        self.action = action
        self.known = known
        self.schemas = check_inputs.schemas_of(action.params)
        given = node.get("with")
        nothing = given is None or (isinstance(given, Scalar) and given.value is None and given.sound)
        self.unreadable = not nothing and not isinstance(given, MappingNode)
        self.node = None if nothing else report.mapping(given, "with")
        self.parent = node.key("with") or node.get("uses") or node
        self.standing_in: dict[Path, Any] = {}

    def read(self) -> Inputs:
        if self.unreadable:
            return Inputs()
        inputs = Inputs(
            markdown=frozenset(name for name, found in self.schemas.items() if _has_kind(found, "markdown"))
        )
        dropped, extra = self._template(inputs)
        for entry in self.node.entries if self.node is not None else ():
            name = entry.key.text
            if name in dropped or (name == "template" and inputs.template is not None):
                continue
            tree = self._tree(entry.value, (name,), self.schemas.get(name, []), name)
            inputs.trees[name] = tree
        hints = {key: f"'{key}' belongs to the step: suspect the indentation" for key in STEP_KEYS_IN_WITH}
        hints["digest"] = "only messages are told together: 'chat.nudge' and 'chat.post' take 'digest'"
        held = Held(
            self.action.name, self.action.params, self.node, self.parent, self.standing_in, extra, dropped, hints
        )
        check_inputs.hold(self.report, held)
        return inputs

    # --- templates ---

    def _template(self, inputs: Inputs) -> tuple[frozenset[str], dict[str, Any]]:
        """Read `template` and `data`; gives the keys that are no inputs, and the inputs that come from them."""
        if self.node is None:
            return frozenset(), {}
        given = self.node.get("template")
        into, whole = self._target()
        data_key = self.node.key("data")
        owns_data = "data" in self.schemas
        if given is None or into is None:
            if data_key is not None and not owns_data and into is not None and self.node.sound:
                self.report.add(MISSING_KEY, "'data' is for a template, and 'template' is left out", data_key)
                return frozenset({"data"}), {}
            return frozenset(), {}
        dropped = {"template"} if not whole else set()
        data: dict[str, Tree] = {}
        if data_key is not None and not owns_data:
            dropped.add("data")
            data = self._data(self.node.get("data"))
        if not whole and self.node.key(into) is not None:
            self.report.add(
                MISPLACED_KEY,
                f"'template' stands in place of '{into}', and both are here",
                self.node.key(into) or given,
            )
        name = self._template_name(given, data)
        if name is not None:
            inputs.template = TemplateUse(name, data, into, whole)
        if whole:
            self.standing_in[(into,)] = given.text if isinstance(given, Scalar) else "x"
            return frozenset(dropped), {}
        return frozenset({*dropped, into}) if self.node.key(into) else frozenset(dropped), {into: "x"}

    def _target(self) -> tuple[str | None, bool]:
        """Give the input that a template's text goes to, and whether it takes the template itself."""
        if "template" in self.schemas:
            return ("template", True) if _has_kind(self.schemas["template"], "template") else (None, False)
        texts = [name for name, found in self.schemas.items() if _has_kind(found, "markdown")]
        if "text" in texts:
            return "text", False
        return (texts[0], False) if len(texts) == 1 else (None, False)

    def _data(self, node: Node | None) -> dict[str, Tree]:
        mapping = self.report.mapping(node, "data")
        if mapping is None:
            return {}
        for entry in mapping.entries:
            self.report.name(entry.key, "what a template reads")
        return {e.key.text: self.expressions.tree(e.value, e.key.text, self.known, EFFECT) for e in mapping.entries}

    def _template_name(self, node: Node, data: Mapping[str, Tree]) -> Text | None:
        name = self.report.text(node, "template")
        if name is None or not isinstance(node, Scalar):
            return None
        if "${{" in name:
            return self.expressions.text(node, "template", self.known, EFFECT)
        template = self._compiled(name, node)
        if template is not None:
            readable = self.known.all_names() | set(data)
            for unknown in sorted(template.undeclared - readable):
                message = f"template '{name}' reads '{unknown}', which is neither in 'data' nor in the workflow"
                self.report.add(BAD_TEMPLATE, message, node, f"give it under 'data': '{unknown}: …'")
        return compile_text(name)

    def _compiled(self, name: str, node: Scalar) -> Template | None:
        templates = self.report.names.templates
        message = f"no template is called '{name}'"
        if not self.report.known(UNKNOWN_TEMPLATE, name, node, templates, message, "templates"):
            return None
        try:
            template = compile_template(name, templates)
        except TemplateProblem as error:
            message = f"template '{error.name}', line {error.line}: {error.message}"
            self.report.add(BAD_TEMPLATE, message, node, error.hint)
            return None
        self.report.templates.update({one: templates[one] for one in template.names})
        return template

    # --- values ---

    def _tree(self, node: Node, path: Path, schemas: list[Schema], name: str) -> Tree:
        match node:
            case MappingNode():
                return {
                    e.key.text: self._tree(
                        e.value, (*path, e.key.text), check_inputs.inside(schemas, e.key.text), e.key.text
                    )
                    for e in node.entries
                }
            case source.Sequence():
                inner = check_inputs.inside(schemas, 0)
                return [self._tree(item, (*path, index), inner, name) for index, item in enumerate(node.items)]
            case Scalar() if isinstance(node.value, str) and "${{" in node.value:
                return self._text(node, path, schemas, name)
            case Scalar():
                return node.value

    def _text(self, node: Scalar, path: Path, schemas: list[Schema], name: str) -> Tree:
        text = self.expressions.text(node, name, self.known, EFFECT, whole_may_be_anything=True)
        self.standing_in[path] = self._stand_in(text, path)
        if text is None:
            return node.value
        if text.constant:
            self.standing_in[path] = constant_of(text)
            return constant_of(text)
        kind = self.expressions.kind_of(text, self.known) if text.whole is not None else "text"
        if not check_inputs.takes(schemas, kind):
            check_inputs.bad_kind(self.report, name, kind, schemas, span_of(text, node))
        return text

    def _stand_in(self, text: Text | None, path: Path) -> Any:
        written = None
        if text is not None and text.whole is None:
            written = "".join(part if isinstance(part, str) else "x" for part in text.parts)
        if len(path) > 1:
            return "x" if written is None else written
        return check_inputs.stand_in(self.action.params, str(path[0]), written)


def _has_kind(schemas: list[Schema], kind: str) -> bool:
    return any(schema.get("x-kind") == kind for schema in schemas)
