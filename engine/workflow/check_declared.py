"""`inputs:` and `outputs:`: what a workflow takes from whoever starts or calls it, and what it gives back."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from engine.domain import SUBJECTS
from engine.problems import declare
from engine.workflow import source
from engine.workflow.check_base import BAD_VALUE, MISPLACED_KEY, MISSING_KEY, Report, sentence
from engine.workflow.check_expressions import PLAIN, Expressions, Known
from engine.workflow.check_inputs import look_up
from engine.workflow.check_on import EXPRESSION_HERE, MIXED_SUBJECTS, Triggers
from engine.workflow.inputs import TYPES, params_of
from engine.workflow.model import Input, Output
from engine.workflow.source import Mapping as MappingNode
from engine.workflow.source import Node, Scalar

INPUT_NOT_FILLED = declare(
    "input-not-filled",
    "An input is required, and a trigger of the workflow starts runs without it.",
    "Give it a `default`, leave `required` out, or let `manual` be the only trigger. A trigger fills the input that is "
    "called like what it is about (`incident: {type: incident}`).",
)
RESERVED_OUTPUT = declare(
    "reserved-output",
    "An output of a workflow is called like something that every step which calls a workflow has.",
    "Choose another name than 'failed', 'error' or 'stopped'.",
)

_KEYS = ("type", "of", "required", "default", "options", "description")
_FOREIGN = {"choices": "options", "enum": "options", "values": "options", "items": "of"}
#: What a step that calls a workflow has beside the workflow's own outputs.
OF_EVERY_CALL = ("failed", "error", "stopped")
#: Types whose value is a name that the project has.
_NAMES = ("person", "team", "connection")


def read_inputs(report: Report, node: Node | None, triggers: Triggers) -> tuple[Input, ...]:
    """Read `inputs:`; what of it can be read is given whatever is wrong with the rest."""
    mapping = report.mapping(node, "inputs")
    if mapping is None:
        return ()
    found = [one for entry in mapping.entries if (one := _input(report, entry.key, entry.value)) is not None]
    _one_subject(report, mapping, found, triggers)
    _all_filled(report, mapping, found, triggers)
    return tuple(found)


def _input(report: Report, key: Scalar, node: Node) -> Input | None:
    name = report.name(key, "an input")
    mapping = report.mapping(node, key.text)
    if mapping is None:
        return Input(name, "any") if name is not None else None
    report.keys(mapping, _KEYS, "an input", foreign=_FOREIGN)
    type_ = _type(report, mapping, key)
    of = _of(report, mapping, key, type_)
    options = _options(report, mapping, key, "choice" in (type_, of))
    required = bool(report.boolean(mapping.get("required"), "required"))
    description = report.text(mapping.get("description"), "description", empty=True) or ""
    if name is None or type_ is None or (type_ == "list" and of is None) or ("choice" in (type_, of) and not options):
        return Input(name, "any") if name is not None else None
    one = Input(name, type_, of, required, None, options, description)
    return _with_default(report, mapping, one)


def _type(report: Report, mapping: MappingNode, key: Scalar) -> str | None:
    if mapping.get("type") is None:
        if mapping.sound:
            report.add(MISSING_KEY, f"the input '{key.text}' needs its 'type'", key)
        return None
    return report.choice(mapping.get("type"), "type", (*TYPES, "list"))


def _of(report: Report, mapping: MappingNode, key: Scalar, type_: str | None) -> str | None:
    of = report.choice(mapping.get("of"), "of", TYPES)
    if type_ == "list" and mapping.get("of") is None and mapping.sound:
        report.add(MISSING_KEY, f"the input '{key.text}' is a list and needs 'of': what is in it", key)
    elif type_ not in (None, "list") and mapping.key("of") is not None:
        report.add(MISPLACED_KEY, "'of' goes with 'type: list'", mapping.key("of") or mapping)
    return of if type_ == "list" else None


def _options(report: Report, mapping: MappingNode, key: Scalar, is_choice: bool) -> tuple[str, ...]:
    node = mapping.get("options")
    if not is_choice:
        if mapping.key("options") is not None and mapping.get("type") is not None:
            report.add(MISPLACED_KEY, "'options' goes with 'type: choice'", mapping.key("options") or mapping)
        return ()
    if node is None and mapping.sound:
        report.add(MISSING_KEY, f"the input '{key.text}' is a choice and needs its 'options'", key)
    options = report.sequence(node, "options")
    found: dict[str, None] = {}
    for item in options.items if options is not None else ():
        text = report.text(item, "options")
        if text is not None and text in found:
            report.add(BAD_VALUE, f"'{text}' is among the options twice", item)
        found |= {text: None} if text is not None else {}
    if options is not None and not options.items:
        report.add(BAD_VALUE, "'options' is empty", options)
    return tuple(found)


# --- defaults --------------------------------------------------------------------------------------------------------


def _with_default(report: Report, mapping: MappingNode, one: Input) -> Input:
    node = mapping.get("default")
    if node is None or (isinstance(node, Scalar) and node.value is None):
        return one
    at = mapping.key("default") or node
    if one.required:
        report.add(MISPLACED_KEY, f"'{one.name}' is required, so that its 'default' never counts", at, "leave one out")
        return one
    if one.type in SUBJECTS or one.of in SUBJECTS:
        what = _a(one.of if one.type == "list" else one.type)
        report.add(MISPLACED_KEY, f"{what} has no 'default': it is named when a run is started", at, "leave it out")
        return one
    if any("${{" in str(scalar.value) for scalar in source.scalars(node)):
        report.add(EXPRESSION_HERE, "a default is read before there is a run", node)
        return one
    value = _plain(node)
    try:
        validated = params_of((one,)).model_validate({one.name: value})
    except ValidationError as error:
        message = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        report.add(BAD_VALUE, sentence("default", message), node)
        return one
    _known_names(report, one, node)
    return Input(one.name, one.type, one.of, False, _kept(one, validated, value), one.options, one.description)


def _kept(one: Input, validated: Any, written: Any) -> Any:
    """Give a default as it is kept: people stay names, which are looked up when they are read."""
    if "person" in (one.type, one.of):
        return tuple(written) if isinstance(written, list) else written
    value = next(iter(getattr(validated, name) for name in type(validated).model_fields))
    return tuple(value) if isinstance(value, list) else value


def _known_names(report: Report, one: Input, node: Node) -> None:
    kind = one.of if one.type == "list" else one.type
    if kind in _NAMES:
        for scalar in source.scalars(node):
            look_up(report, kind, scalar)


def _plain(node: Node) -> Any:
    match node:
        case source.Sequence():
            return [_plain(item) for item in node.items]
        case MappingNode():
            return {entry.key.text: _plain(entry.value) for entry in node.entries}
        case _:
            return node.value


# --- what triggers fill ----------------------------------------------------------------------------------------------


def subject_of(inputs: tuple[Input, ...], triggers: Triggers) -> str | None:
    """Give what runs are about: the subject of the triggers, else the input that is called like its type."""
    return triggers.subject or next((one.name for one in inputs if one.is_subject), None)


def _one_subject(report: Report, mapping: MappingNode, inputs: list[Input], triggers: Triggers) -> None:
    about = [one for one in inputs if one.is_subject]
    others = [one for one in triggers.known if one.name != "manual"]
    for one in about:
        key = mapping.key(one.name) or mapping
        if others and triggers.subject != one.name:
            first = others[0]
            what = f"a run is about {_a(first.subject)}" if first.subject else "a run is about nothing that is kept"
            message = f"the input '{one.name}' would be what a run is about, and by '{first.name}' {what}"
            report.add(MIXED_SUBJECTS, message, key, "call the input by another name")
        elif one is not about[0]:
            message = f"'{about[0].name}' and '{one.name}' would both be what a run is about"
            report.add(MIXED_SUBJECTS, message, key, "call one of them by another name")


def _all_filled(report: Report, mapping: MappingNode, inputs: list[Input], triggers: Triggers) -> None:
    for one in inputs:
        if not one.required:
            continue
        for trigger in triggers.known:
            if trigger.name != "manual" and not (one.is_subject and trigger.subject == one.name):
                message = f"'{one.name}' is required, and '{trigger.name}' does not fill it"
                key = mapping.key(one.name) or mapping
                report.add(INPUT_NOT_FILLED, message, key, "give it a 'default', or leave 'required' out")
                break


def _a(word: str | None) -> str:
    return f"{'an' if word and word[0] in 'aeiou' else 'a'} {word}"


# --- outputs ---------------------------------------------------------------------------------------------------------


def read_outputs(report: Report, expressions: Expressions, node: Node | None, known: Known) -> tuple[Output, ...]:
    """Read `outputs:`, which are evaluated where a run ends as finished."""
    mapping = report.mapping(node, "outputs")
    found: list[Output] = []
    for entry in mapping.entries if mapping is not None else ():
        name = report.name(entry.key, "an output")
        if name in OF_EVERY_CALL:
            report.add(RESERVED_OUTPUT, f"an output cannot be called '{name}': every step has that", entry.key)
        tree = expressions.tree(entry.value, entry.key.text, known, PLAIN)
        if name is not None:
            found.append(Output(name, tree, expressions.kind_of(tree, known)))
    return tuple(found)
