"""Inputs of a workflow: what they take, wherever it comes from, and what an expression reads of them.

A person who starts a workflow gives texts, a program JSON, a calling workflow values of expressions, the file its
defaults: all are held against one model of pydantic that follows from `inputs:`. What it gives is what a run keeps:
subjects and teams by their ids, so that an expression reads them as they are then.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    create_model,
)

from engine import plugins
from engine.domain import SUBJECTS, Person, Team
from engine.plugins import Params
from engine.problems import did_you_mean
from engine.workflow.model import Input, Workflow

#: Types of a single value; beside them there is `list` with `of`.
TYPES = ("text", "number", "boolean", "duration", "instant", "choice", "person", "team", "connection", *SUBJECTS)

#: Characters of a text, and items of a list.
_MOST_TEXT = 20_000
_MOST_ITEMS = 1_000


class BadInputs(ValueError):
    """Inputs that a workflow does not take; the text says which and what it takes."""


# --- what an input takes ---------------------------------------------------------------------------------------------


def _shown(value: Any) -> str:
    text = "nothing" if value is None else f"'{value}'" if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {_shown(value)}")
    if len(value) > _MOST_TEXT:
        raise ValueError(f"must have {_MOST_TEXT:,} characters or fewer")
    return value


def _number(value: Any) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"must be a number, not {_shown(value)}")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {_shown(value)}")
    return value


def _team(value: Any, info: ValidationInfo) -> str:
    """Give a team's id."""
    key = value.id if isinstance(value, Team) else value
    if not isinstance(key, str) or not key:
        raise ValueError(f"must be a team, not {_shown(value)}")
    people = (info.context or {}).get("people")
    if people is not None and people.team(key) is None:
        raise ValueError(f"no team is called '{key}'; {did_you_mean(key, [one.id for one in people.teams()], 'teams')}")
    return key


def _connection(value: Any, info: ValidationInfo) -> str:
    name = _text(value)
    known = (info.context or {}).get("connections")
    if known is not None and name not in known:
        raise ValueError(f"no connection is called '{name}'; {did_you_mean(name, known, 'connections')}")
    return name


def _subject(kind: str) -> Callable[[Any, ValidationInfo], str]:
    """Give what makes a subject's id of a record, an id or a key."""

    def validate(value: Any, info: ValidationInfo) -> str:
        if isinstance(value, SUBJECTS[kind]):
            return str(value.id)
        what = f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"must be {what}: its id or its key, not {_shown(value)}")
        world = (info.context or {}).get("world")
        if world is None:
            return value
        found = world.subject(kind, value.strip()) or world.subject(kind, value.strip().upper())
        if found is None:
            raise ValueError(f"no {kind} is called '{value}'")
        return str(found.id)

    return validate


def _choice(options: tuple[str, ...]) -> Callable[[Any], str]:
    def validate(value: Any) -> str:
        if value not in options:
            *first, last = options
            allowed = f"{', '.join(first)} or {last}" if first else last
            raise ValueError(f"must be {allowed}, not {_shown(value)}")
        return str(value)

    return validate


def _list_of(item: Any) -> Any:
    def length(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ValueError(f"must be a list, not {_shown(value)}")
        if len(value) > _MOST_ITEMS:
            raise ValueError(f"must have {_MOST_ITEMS:,} items or fewer")
        return list(value)

    return Annotated[list[item], BeforeValidator(length)]


_SINGLE: Mapping[str, Any] = {
    "text": Annotated[str, PlainValidator(_text), WithJsonSchema({"type": "string"})],
    "number": Annotated[float, PlainValidator(_number), WithJsonSchema({"type": "number"})],
    "boolean": Annotated[bool, PlainValidator(_boolean), WithJsonSchema({"type": "boolean"})],
    "duration": plugins.Duration,
    "instant": plugins.Instant,
    "person": plugins.Person,
    "team": Annotated[str, PlainValidator(_team), WithJsonSchema({"type": "string", "x-kind": "team"})],
    "connection": Annotated[
        str, PlainValidator(_connection), WithJsonSchema({"type": "string", "x-kind": "connection"})
    ],
    **{
        kind: Annotated[str, PlainValidator(_subject(kind)), WithJsonSchema({"type": "string", "x-kind": kind})]
        for kind in SUBJECTS
    },
}


def _annotation(one: Input, type_: str | None) -> Any:
    if type_ == "choice":
        schema = {"type": "string", "enum": list(one.options)}
        return Annotated[str, PlainValidator(_choice(one.options)), WithJsonSchema(schema)]
    return _SINGLE.get(type_ or "text", Any)


@functools.lru_cache(maxsize=512)
def params_of(inputs: tuple[Input, ...]) -> type[Params]:
    """Give the model that values of these inputs are held against; what may be left out may also be null."""
    fields: dict[str, Any] = {}
    for one in inputs:
        taken = _list_of(_annotation(one, one.of)) if one.type == "list" else _annotation(one, one.type)
        described: Any = Field(alias=one.name, description=one.description or None)
        if not one.required:
            default, taken = list_of(one.default), taken | None
            described = Field(default, alias=one.name, description=described.description, validate_default=True)
        fields[_field(one)] = (taken, described)
    return create_model("Inputs", __base__=Params, **fields)


def _field(one: Input) -> str:
    """Name the attribute: an input may be called like a method of the model."""
    return f"input_{one.name}"


# --- values ----------------------------------------------------------------------------------------------------------


def read_values(inputs: tuple[Input, ...], given: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Hold values against inputs and give what a run keeps of them, defaults filled in.

    Args:
        inputs: what the workflow takes.
        given: values by name; texts, records, or what JSON has.
        context: `people`, `world` and `connections`, where names shall be looked up.

    Raises:
        BadInputs: one is missing, unknown or not of its type; the first that is wrong.
    """
    kept = {name: value for name, value in given.items() if value is not None}
    try:
        found = params_of(inputs).model_validate(kept, context=dict(context))
    except ValidationError as error:
        raise BadInputs(_told(error, inputs)) from None
    return {one.name: getattr(found, _field(one)) for one in inputs}


def _told(error: ValidationError, inputs: tuple[Input, ...]) -> str:
    fault = error.errors(include_url=False)[0]
    name = str(fault["loc"][0])
    if fault["type"] == "extra_forbidden":
        names = [one.name for one in inputs]
        hint = did_you_mean(name, names, "inputs") if names else "it takes none"
        return f"there is no input '{name}'; {hint}"
    if fault["type"] == "missing":
        one = next(one for one in inputs if one.name == name)
        return f"the input '{name}' is missing: it takes {takes(one)}"
    message = fault["msg"].removeprefix("Value error, ")
    return f"'{name}' {message}" if message.startswith(("must ", "is ")) else f"'{name}': {message}"


def takes(one: Input) -> str:
    """Say in a few words what an input takes."""
    if one.type == "list":
        return f"a list of {takes(Input('', one.of or 'text', options=one.options))}"
    if one.type == "choice":
        return " | ".join(one.options)
    words = {"boolean": "true or false", "duration": "a duration such as 7d", "instant": "an instant with its zone"}
    return words.get(one.type, one.type)


def from_text(one: Input | None, text: str) -> Any:
    """Read what somebody typed for an input: numbers, `true` and `false`, and lists with commas between or as JSON.

    What cannot be read so stays text, and is refused with everything else that does not fit.
    """
    if one is None:
        return text
    if one.type == "list":
        if text.lstrip().startswith("["):
            try:
                return json.loads(text)
            except ValueError:
                return text
        item = Input(one.name, one.of or "text")
        return [from_text(item, part.strip()) for part in text.split(",") if part.strip()]
    if one.type == "boolean":
        return {"true": True, "false": False}.get(text, text)
    return _number_in(text) if one.type == "number" else text


def _number_in(text: str) -> int | float | str:
    for read in (int, float):
        with suppress(ValueError):
            return read(text)
    return text


# --- what a run reads ------------------------------------------------------------------------------------------------


def of_event(workflow: Workflow, subject: str | None) -> dict[str, Any]:
    """Give the inputs of a run that an event starts: the defaults, and what the event is about."""
    return {
        one.name: subject if one.is_subject and one.name == workflow.subject else list_of(one.default)
        for one in workflow.inputs
    }


def list_of(default: Any) -> Any:
    """Give a default as an expression reads it: in a file's inputs a list is kept as a tuple."""
    return list(default) if isinstance(default, tuple) else default


def resolve(workflow: Workflow, kept: Mapping[str, Any], world: Any) -> dict[str, Any]:
    """Give what `inputs` is in an expression: people, teams and subjects as they are now."""
    return {one.name: _resolved(one, kept.get(one.name, list_of(one.default)), world) for one in workflow.inputs}


def _resolved(one: Input, value: Any, world: Any) -> Any:
    if value is None:
        return None
    if one.type == "list":
        item = Input(one.name, one.of or "text")
        return [_resolved(item, each, world) for each in value]
    if one.type in SUBJECTS:
        return world.subject(one.type, value)
    if one.type == "team":
        return world.team(value)
    if one.type == "person":
        return world.join(value) if isinstance(value, Person) else world.person(value)
    return value


def subject_of(workflow: Workflow, kept: Mapping[str, Any]) -> str | None:
    """Give the id of what a run with these inputs is about, where an input says so."""
    return next(
        (kept.get(one.name) for one in workflow.inputs if one.is_subject and one.name == workflow.subject), None
    )
