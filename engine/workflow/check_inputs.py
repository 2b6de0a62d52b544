"""Hold inputs against one pydantic schema: of an action (`with`), or of a trigger.

The tag was looked up first, so there is one schema and each mistake is one message. What pydantic says is put into the
words of the file. A value with `${{ … }}` in it is checked by its kind; a stand-in takes its place for the rest.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from engine.calendars import Duration
from engine.domain import Kind, element_of
from engine.plugins import Params
from engine.problems import declare, nearest
from engine.workflow import source
from engine.workflow.check_base import (
    UNKNOWN_CALENDAR,
    UNKNOWN_CONNECTION,
    UNKNOWN_PERSON,
    Report,
    describe,
    one_of,
    sentence,
)
from engine.workflow.kinds import WRONG_KIND, label
from engine.workflow.source import Node, Scalar

UNKNOWN_INPUT = declare(
    "unknown-input",
    "An action or a trigger has no input of that name.",
    "Write the one that the hint names; `hotwash explain NAME` lists them.",
)
MISSING_INPUT = declare("missing-input", "An input that an action or a trigger needs is left out.", "Add it.")
BAD_INPUT = declare(
    "bad-input",
    "The value of an input is not of the kind that the action or the trigger takes.",
    "Write it as the message says; `hotwash explain NAME` shows an example.",
)
UNKNOWN_TEAM = declare(
    "unknown-team", "A team is named that is not in the people file.", "Add it, or correct the name."
)
UNKNOWN_SERVICE = declare(
    "unknown-service", "A service is named that is not in the people file.", "Add it, or correct the name."
)
UNKNOWN_WORKFLOW = declare(
    "unknown-workflow", "A workflow is named that is not in the project.", "Write the stem of its file."
)

Path = tuple[str | int, ...]
Schema = Mapping[str, Any]


@dataclass(slots=True)
class Held:
    """Inputs as they are held against a schema."""

    title: str  #: the action's or trigger's name
    params: type[Params]
    node: source.Mapping | None
    parent: Node  #: where a missing input is reported
    standing_in: dict[Path, Any] = field(default_factory=dict)  #: in place of values that are known only later
    extra: dict[str, Any] = field(default_factory=dict)  #: inputs that come from elsewhere (`template`)
    dropped: frozenset[str] = frozenset()  #: keys of the node that are no inputs
    hints: Mapping[str, str] = field(default_factory=dict)  #: for unknown inputs, by their name


def hold(report: Report, held: Held) -> Params | None:
    """Validate inputs and report what is wrong; give the validated ones where nothing is, stand-ins included."""
    given = _data(held.node, (), held.standing_in) if held.node is not None else {}
    data = {name: value for name, value in given.items() if name not in held.dropped} | held.extra
    before = len(report.problems)
    try:
        validated = held.params.model_validate(data)
    except ValidationError as error:
        _Errors(report, held).report(error)
        return None
    except Exception as error:  # noqa: BLE001  a plugin's validators may raise anything
        report.add(BAD_INPUT, f"the inputs of '{held.title}' cannot be read: {error}", held.parent)
        return None
    if held.node is not None:
        _check_literals(report, held)
    return validated if len(report.problems) == before else None


def _data(node: Node, path: Path, standing_in: Mapping[Path, Any]) -> Any:
    if path in standing_in:
        return standing_in[path]
    match node:
        case source.Mapping():
            return {e.key.text: _data(e.value, (*path, e.key.text), standing_in) for e in node.entries}
        case source.Sequence():
            return [_data(item, (*path, index), standing_in) for index, item in enumerate(node.items)]
        case Scalar():
            return node.value


# --- what pydantic says, in the words of the file --------------------------------------------------------------------


class _Errors:
    def __init__(self, report: Report, held: Held) -> None:
        self.report_to = report
        self.held = held

    def report(self, error: ValidationError) -> None:
        errors = error.errors(include_url=False)
        unknown = {self._path(e["loc"]): str(e["loc"][-1]) for e in errors if e["type"] == "extra_forbidden"}
        told: set[Path] = set()
        for one in errors:
            path = self._path(one["loc"])
            if one["type"] == "missing":
                path = (*self._path(one["loc"][:-1]), one["loc"][-1])
            if path in told or any(path[: len(where)] == where for where in self.held.standing_in):
                continue
            told.add(path)
            if one["type"] == "extra_forbidden":
                self._unknown(path)
            elif one["type"] == "missing":
                self._missing(path, [word for where, word in unknown.items() if where[:-1] == path[:-1]])
            else:
                self._bad(path, one)

    def _path(self, loc: tuple[str | int, ...]) -> Path:
        """Give the part of pydantic's location that leads through the node: it names branches of unions as well."""
        path: list[str | int] = []
        node: Node | None = self.held.node
        for step in loc:
            if isinstance(node, source.Mapping) and isinstance(step, str) and node.get(step) is not None:
                node = node.get(step)
            elif isinstance(node, source.Sequence) and isinstance(step, int) and step < len(node.items):
                node = node.items[step]
            else:
                continue
            path.append(step)
        return tuple(path)

    def _node(self, path: Path) -> Node | None:
        node: Node | None = self.held.node
        for step in path:
            if isinstance(node, source.Mapping):
                node = node.get(str(step))
            elif isinstance(node, source.Sequence):
                node = node.items[int(step)]
        return node

    def _unknown(self, path: Path) -> None:
        parent, word = self._node(path[:-1]), str(path[-1])
        if not isinstance(parent, source.Mapping) or not parent.sound:
            return
        allowed = inputs_of(_model_at(self.held.params, path[:-1]))
        key = parent.key(word)
        assert key is not None
        title = self.held.title if len(path) == 1 else str(path[-2])
        free = [name for name in allowed if parent.get(name) is None]
        hint = self.held.hints.get(word) if len(path) == 1 else None
        near = nearest(word, free)
        takes_ = f"'{title}' takes: {', '.join(sorted(allowed))}" if allowed else f"'{title}' takes nothing"
        hint = hint or (f"did you mean '{near}'?" if near else takes_)
        self.report_to.add(UNKNOWN_INPUT, f"'{title}' has no input '{word}'", key, hint)

    def _missing(self, path: Path, unknown: list[str]) -> None:
        name = str(path[-1])
        parent = self._node(path[:-1])
        if isinstance(parent, source.Mapping) and not parent.sound:
            return
        if any(nearest(word, [name]) for word in unknown):
            return  # the unknown one was meant for it
        at: Node = self.held.parent
        if len(path) > 1 and isinstance(owner := self._node(path[:-2]), source.Mapping):
            at = owner.key(str(path[-2])) or at
        title = self.held.title if len(path) == 1 else str(path[-2])
        self.report_to.add(MISSING_INPUT, f"'{title}' needs its input '{name}'", at)

    def _bad(self, path: Path, error: Any) -> None:
        node = self._node(path)
        if node is None or not path:
            if self.held.node is None or self.held.node.sound:
                at = self.held.parent
                self.report_to.add(BAD_INPUT, f"'{self.held.title}': {_told(error, None)}", at)
            return
        name = next((str(step) for step in reversed(path) if isinstance(step, str)), self.held.title)
        number = isinstance(node, Scalar) and not isinstance(node.value, str) and node.value is not None
        hint = f'quote it: "{node.text}"' if number and error["type"] == "string_type" else None  # type: ignore[union-attr]
        if error["type"] == "literal_error" and isinstance(node, Scalar):
            near = nearest(node.text, _expected(error))
            hint = f"did you mean '{near}'?" if near else None
        self.report_to.add(BAD_INPUT, sentence(name, _told(error, node)), node, hint)


def _expected(error: Any) -> list[str]:
    return [word.strip(" '") for word in str(error["ctx"].get("expected", "")).replace(" or ", ", ").split(",")]


_WANTED = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "dict": "a mapping",
    "mapping": "a mapping",
    "model": "a mapping",
    "dataclass": "a mapping",
}
_BOUNDS = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "multiple_of": "a multiple of {multiple_of}",
}


def _told(error: Any, node: Node | None) -> str:
    kind, context = error["type"], error.get("ctx", {})
    found = describe(node) if node is not None else ""
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error") or error["msg"])
    if kind in _BOUNDS:
        return f"must be {_BOUNDS[kind].format(**context)}, not {found}"
    if kind == "literal_error" or kind == "enum":
        return f"must be {one_of(_expected(error))}, not {found}"
    if kind in ("string_too_short", "too_short"):
        least = context["min_length"]
        what = "characters" if kind.startswith("string") else "items"
        return "must not be empty" if least == 1 else f"must have {least} {what} or more"
    if kind in ("string_too_long", "too_long"):
        what = "characters" if kind.startswith("string") else "items"
        return f"must have {context['max_length']:,} {what} or fewer"
    if kind == "string_pattern_mismatch":
        return f"must look like {context['pattern']}, not {found}"
    wanted = _WANTED.get(kind.split("_")[0])
    return f"must be {wanted}, not {found}" if wanted else f"cannot be {found}"


# --- models and schemas ----------------------------------------------------------------------------------------------


def inputs_of(model: type[BaseModel] | None) -> list[str]:
    """Give the names of a model's inputs as a file writes them."""
    return [info.alias or name for name, info in model.model_fields.items()] if model is not None else []


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    current: type[BaseModel] | None = model
    for step in path:
        if current is None:
            return None
        if isinstance(step, int):
            continue
        fields = {info.alias or name: info.annotation for name, info in current.model_fields.items()}
        current = _model_in(fields.get(step))
    return current


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, Annotated, list, tuple):
        return next((found for arg in get_args(annotation) if (found := _model_in(arg))), None)
    return None


@functools.lru_cache(maxsize=512)
def schemas_of(params: type[Params]) -> dict[str, list[Schema]]:
    """Give the JSON schemas that each input may follow, references and choices resolved one level deep."""
    whole = params.model_json_schema(by_alias=True)
    definitions = whole.get("$defs", {})
    return {name: list(_branches(schema, definitions)) for name, schema in whole.get("properties", {}).items()}


def _branches(schema: Schema, definitions: Mapping[str, Schema]) -> Iterator[Schema]:
    if "$ref" in schema:
        found = definitions[str(schema["$ref"]).rpartition("/")[2]]
        yield from _branches({**found, **{k: v for k, v in schema.items() if k != "$ref"}}, definitions)
        return
    choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if choices:
        extra = {key: value for key, value in schema.items() if key.startswith("x-")}
        for choice in choices:
            yield from _branches({**choice, **extra}, definitions)
        return
    yield {**schema, "$defs": definitions}


def inside(schemas: list[Schema], step: str | int) -> list[Schema]:
    """Give the schemas of an item or a property of what follows `schemas`."""
    found: list[Schema] = []
    for schema in schemas:
        definitions = schema.get("$defs", {})
        inner = schema.get("items") if isinstance(step, int) else (schema.get("properties") or {}).get(step)
        if inner is None and isinstance(step, str):
            inner = schema.get("additionalProperties")
        if isinstance(inner, Mapping):
            found += _branches(inner, definitions)
    return found


def _check_literals(report: Report, held: Held) -> None:
    """Look up the people, connections and other things that inputs name as they stand."""
    assert held.node is not None
    schemas = schemas_of(held.params)
    for entry in held.node.entries:
        _literals(report, entry.value, (entry.key.text,), schemas.get(entry.key.text, []), held)


def _literals(report: Report, node: Node, path: Path, schemas: list[Schema], held: Held) -> None:
    if path in held.standing_in or not schemas:
        return
    match node:
        case source.Mapping():
            for entry in node.entries:
                _literals(report, entry.value, (*path, entry.key.text), inside(schemas, entry.key.text), held)
        case source.Sequence():
            for index, item in enumerate(node.items):
                _literals(report, item, (*path, index), inside(schemas, index), held)
        case Scalar() if isinstance(node.value, str):
            kinds = {schema.get("x-kind") for schema in schemas if schema.get("type", "string") == "string"}
            if kinds == {None}:
                _doubt(report, str(next(step for step in reversed(path) if isinstance(step, str))), node)
            elif len(kinds) == 1:
                look_up(report, str(kinds.pop()), node)


def _doubt(report: Report, name: str, node: Scalar) -> None:
    """Warn where a vendor may know a team or a service that the people file does not have."""
    kind = {"team": "team", "service": "service", "services": "service"}.get(name)
    roster = {"team": report.names.teams, "service": report.names.services}.get(kind or "")
    if kind is not None and roster:
        look_up(report, kind, node, severity="warning")


def look_up(report: Report, kind: str, node: Scalar, severity: Literal["error", "warning"] = "error") -> bool:
    """Whether a name of a kind (`person`, `connection`, …) is known; reported where it is not."""
    names, word = report.names, node.text
    table: dict[str, tuple[str, Any, str, str]] = {
        "person": (UNKNOWN_PERSON, names.people, f"nobody in the roster is called '{word}'", "in the roster"),
        "team": (UNKNOWN_TEAM, names.teams, f"no team is called '{word}'", "teams"),
        "service": (UNKNOWN_SERVICE, names.services, f"no service is called '{word}'", "services"),
        "connection": (UNKNOWN_CONNECTION, names.connections, f"no connection is called '{word}'", "connections"),
        "calendar": (UNKNOWN_CALENDAR, names.calendars, f"no calendar is called '{word}'", "calendars"),
    }
    if names.workflows:
        table["workflow"] = (UNKNOWN_WORKFLOW, names.workflows, f"no workflow is called '{word}'", "workflows")
    if kind not in table:
        return True
    code, known, message, what = table[kind]
    return report.known(code, word, node, known, message, what, severity)


# --- kinds of expressions --------------------------------------------------------------------------------------------

_RECORDS_AS_TEXT = frozenset({"person", "incident", "ticket", "document", "review", "status_entry", "meeting"})
_PRINTABLE_NOT = ("list[", "map[", "event", "group", "error")


def takes(schemas: list[Schema], kind: Kind) -> bool:
    """Whether an input with these schemas takes a value of a kind. `any` fits everything."""
    return not schemas or any(_takes(schema, kind) for schema in schemas)


def _takes(schema: Schema, kind: Kind) -> bool:
    wanted = schema.get("x-kind")
    if kind == "any" or wanted == "any":
        return True
    if wanted == "markdown":
        return not kind.startswith(_PRINTABLE_NOT)
    if wanted is not None and schema.get("type") == "string":
        return kind in (wanted, "text")
    types_ = schema.get("type", ())
    allowed = [types_] if isinstance(types_, str) else list(types_)
    if not allowed:
        return "enum" not in schema or kind == "text"
    if kind.startswith("list["):
        return "array" in allowed and takes(inside([schema], 0), element_of(kind))
    if kind.startswith("map["):
        inner = inside([schema], "")
        return "object" in allowed and takes(inner, element_of(kind))
    wants = {"text": "string", "number": ("integer", "number"), "boolean": "boolean"}.get(kind, "object")
    return any(one in wants if isinstance(wants, tuple) else one == wants for one in allowed)


_SAID = {
    "text": "text",
    "number": "a number",
    "boolean": "true or false",
    "instant": "an instant",
    "duration": "a duration",
    "any": "anything",
    "incident": "an incident",
    "alert": "an alert",
    "error": "an error",
    "entry": "a timeline entry",
    "event": "an event",
    "action_item": "an action item",
    "status_entry": "an entry of a status page",
}


def said(kind: Kind) -> str:
    """Name a kind in a message."""
    if kind.startswith("list["):
        return "a list"
    return "a mapping" if kind.startswith("map[") else _SAID.get(kind, f"a {kind}")


def wanted(schemas: list[Schema]) -> str:
    """Name what an input takes, in a message."""
    words: list[str] = []
    for schema in schemas:
        kind = schema.get("x-kind")
        types_ = schema.get("type", "string")
        if kind == "markdown":
            words.append("text")
        elif kind:
            words.append(said(str(kind)))
        elif "enum" in schema:
            words.append(one_of(schema["enum"]))
        elif isinstance(types_, str) and types_ != "null":
            json = {"string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false"}
            words.append(json.get(types_, "a list" if types_ == "array" else "a mapping"))
    return one_of(dict.fromkeys(words) or ["something else"])


_STAND_INS: tuple[Any, ...] = ("x", "7d", "2026-01-01T00:00:00+00:00", 1, True, ["x"], {"x": "x"}, [], {})


def stand_in(params: type[Params], name: str, text: str | None) -> Any:
    """Give a value that an input takes, for one that is known only later; the text where it is part of one."""
    if text is not None:
        return text
    if name not in inputs_of(params):
        return "x"
    return _fitting(params, name)


@functools.lru_cache(maxsize=2048)
def _fitting(params: type[Params], name: str) -> Any:
    info = next(info for key, info in params.model_fields.items() if (info.alias or key) == name)
    annotation: Any = info.annotation
    for constraint in info.metadata:
        annotation = Annotated[annotation, constraint]
    adapter = TypeAdapter(annotation)
    for candidate in (*_STAND_INS, Duration(1), datetime(2026, 1, 1, tzinfo=UTC), None):
        try:
            adapter.validate_python(candidate)
        except Exception:  # noqa: BLE001  a plugin's validators may raise anything; the next candidate may fit
            continue
        return candidate
    return "x"


def bad_kind(report: Report, name: str, kind: Kind, schemas: list[Schema], at: Any) -> None:
    """Report an expression whose kind an input does not take."""
    hint = None
    if kind.startswith("list[") and any(schema.get("x-kind") == "markdown" for schema in schemas):
        hint = "put its items into a text with '| join'"
    elif kind in _RECORDS_AS_TEXT and any(schema.get("type") == "string" for schema in schemas):
        hint = "name one of its fields, such as '.key' or '.name'"
    report.add(WRONG_KIND, f"'{name}' takes {wanted(schemas)}, and this is {label(kind)}", at, hint)
