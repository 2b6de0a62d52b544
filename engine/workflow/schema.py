"""The editor's JSON schema: a base schema, plus `if uses = X then with = …` for each action of the catalogue.

Editors complete and underline by it; `check` is what decides. Descriptions come from the same registry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from engine.plugins import Action, Catalogue, Params, Trigger
from engine.workflow.calling import CALL, Signature
from engine.workflow.check import KEYS_OF_FILE
from engine.workflow.check_steps import ALL_KEYS, KINDS, OF_USES, OF_WORK
from engine.workflow.inputs import TYPES

Schema = dict[str, Any]

_DIALECT = "http://json-schema.org/draft-07/schema#"
_EXPRESSION: Schema = {"type": "string", "pattern": r"\$\{\{"}
_CONDITION: Schema = {"type": ["string", "boolean"], "description": "An expression that is true or false."}
_BARE: Schema = {"type": "string", "description": "An expression."}
_DURATION: Schema = {"type": "string", "description": "Such as 30s, 15m, 2h, 7d, 2w, 3bd or P1M; or an expression."}
_NAME: Schema = {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"}
_UNTIL: Schema = {
    "description": "A condition; or an event, a list of events, or a mapping of events to conditions.",
    "type": ["string", "boolean", "array", "object"],
    "items": {"type": "string"},
    "additionalProperties": {"type": ["string", "boolean", "null"]},
}
_KEYS: Schema = {"type": ["string", "array"], "items": {"type": "string"}}

_REPEAT: Schema = {
    "type": "object",
    "properties": {"every": _DURATION, "max": {"type": "integer", "minimum": 1}, "until": _UNTIL},
    "required": ["max"],
    "additionalProperties": False,
}
_RETRY: Schema = {
    "type": "object",
    "properties": {"max": {"type": "integer", "minimum": 1}, "every": _DURATION, "at_most": _DURATION},
    "additionalProperties": False,
}
_WAIT: Schema = {
    "type": ["string", "object"],
    "properties": {"for": _DURATION, "at": {"type": "string"}, "until": _UNTIL},
    "additionalProperties": False,
}
_FINISH: Schema = {
    "type": ["string", "object"],
    "properties": {"as": {"enum": ["finished", "failed"]}, "reason": {"type": "string"}},
    "required": ["reason"],
    "additionalProperties": False,
}
_STEPS: Schema = {"type": "array", "items": {"$ref": "#/definitions/step"}, "minItems": 1}

_STEP_KEYS: Mapping[str, Schema] = {
    "id": {**_NAME, "description": "What later steps call it: steps.ID.OUTPUT."},
    "name": {"type": "string", "description": "What people read."},
    "if": _CONDITION,
    "wait": {**_WAIT, "description": "A duration, or 'for' or 'at' with 'until'."},
    "finish": {**_FINISH, "description": "Ends the run, with the reason."},
    "steps": {**_STEPS, "description": "A group."},
    "else": {**_STEPS, "description": "What is done where the group's 'if' is false."},
    "with": {"type": ["object", "null"], "description": "The action's inputs."},
    "connection": {"type": "string", "description": "Which connection, in place of the one that 'use' names."},
    "retry": {**_RETRY, "description": "How often an effect is tried, and the pauses between."},
    "once_per": {**_KEYS, "description": "The effect happens once per value, over all runs."},
    "on_unknown": {"enum": ["ask", "skip", "repeat"]},
    "for_each": {**_BARE, "description": "A list: the step is done for each 'item'."},
    "item_key": {**_BARE, "description": "What identifies an item."},
    "repeat": {**_REPEAT, "description": "Again and again, 'max' times or until a condition comes true."},
    "timeout": _DURATION,
    "continue_on_error": {"type": "boolean", "description": "Whether the run goes on where this fails."},
}

_INPUT: Schema = {
    "type": "object",
    "properties": {
        "type": {"enum": [*TYPES, "list"]},
        "of": {"enum": list(TYPES)},
        "required": {"type": "boolean"},
        "default": {},
        "options": {"type": "array"},
        "description": {"type": "string"},
    },
    "required": ["type"],
    "additionalProperties": False,
}
_CONCURRENCY: Schema = {
    "type": "object",
    "description": "How many runs may go on at a time, and what becomes of one for which there is no room.",
    "properties": {
        "key": _KEYS,
        "limit": {"type": "integer", "minimum": 1},
        "on_conflict": {"enum": ["queue", "skip", "replace"]},
    },
    "additionalProperties": False,
}
_FILE_KEYS: Mapping[str, Schema] = {
    "name": {"type": "string"},
    "description": {"type": "string"},
    "owner": {"type": "string", "description": "The person or team that is told when a run fails."},
    "mode": {"enum": ["live", "dry_run", "off"]},
    "inputs": {
        "type": "object",
        "propertyNames": _NAME,
        "additionalProperties": _INPUT,
        "description": "What it takes from whoever starts or calls it: inputs.NAME.",
    },
    "outputs": {"type": "object", "propertyNames": _NAME, "description": "What a workflow that calls it gets."},
    "if": _CONDITION,
    "once_per": {**_KEYS, "description": "One run per value."},
    "stop_when": {**_CONDITION, "description": "Ends the run when it comes true."},
    "during": {
        "type": "string",
        "description": "A calendar, or `recipient` for the hours of whom each message goes to: "
        "effects outside of them are held.",
    },
    "concurrency": _CONCURRENCY,
    "timeout": _DURATION,
    "vars": {"type": "object", "propertyNames": _NAME},
    "steps": _STEPS,
    "on_failure": {**_STEPS, "description": "Steps that run when a run fails; they see run.error."},
    "moved_from": {"type": "string"},
}


def editor_schema(catalogue: Catalogue, callees: Sequence[Signature] = ()) -> Schema:
    """Give the JSON schema (draft 7) of a workflow file under a catalogue, with the workflows that it may call."""
    definitions: Schema = {}
    triggers = {name: _trigger(one, definitions) for name, one in sorted(catalogue.triggers.items())}
    actions = [_action(one, definitions) for _, one in sorted(catalogue.actions.items())]
    actions += [_action(one.action, definitions, one.description) for one in callees]
    return {
        "$schema": _DIALECT,
        "title": "Hotwash workflow",
        "type": "object",
        "properties": {key: _on(triggers) if key == "on" else dict(_FILE_KEYS[key]) for key in KEYS_OF_FILE},
        "required": ["steps"],
        "anyOf": [{"required": ["on"]}, {"required": ["inputs"]}],
        "additionalProperties": False,
        "definitions": {
            "step": _step([*catalogue.actions, *(CALL + one.id for one in callees)], actions),
            **definitions,
        },
    }


def _on(triggers: Mapping[str, Schema]) -> Schema:
    names = list(triggers)
    return {
        "description": "What starts it: a trigger, a list of them, or a mapping of triggers to their inputs.",
        "type": ["string", "array", "object"],
        "if": {"type": "string"},
        "then": {"enum": names},
        "items": {"enum": names},
        "properties": dict(triggers),
        "additionalProperties": False,
    }


def _trigger(trigger: Trigger, definitions: Schema) -> Schema:
    inputs = _inputs(f"on {trigger.name}", trigger.params, definitions, expressions=False)
    return {**inputs, "type": ["object", "null"], "description": _first_line(trigger.doc)}


def _step(names: Sequence[str], actions: list[Schema]) -> Schema:
    uses = {
        "description": "The action.",
        "anyOf": [
            {"enum": sorted(names)},
            {"type": "string", "pattern": r"^workflow\."},
        ],
    }
    properties = {key: uses if key == "uses" else dict(_STEP_KEYS[key]) for key in ALL_KEYS}
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "oneOf": [{"required": [kind]} for kind in KINDS],
        "dependencies": {
            **{key: ["uses"] for key in OF_USES},
            "else": ["if", "steps"],
            "item_key": ["for_each"],
            **{
                key: {"anyOf": [{"required": ["uses"]}, {"required": ["steps"]}]}
                for key in OF_WORK
                if key != "item_key"
            },
        },
        "allOf": actions,
    }


def _action(action: Action, definitions: Schema, doc: str | None = None) -> Schema:
    inputs = _inputs(f"with {action.name}", action.params, definitions, expressions=True)
    inputs["description"] = _first_line(doc or action.doc)
    needed = {"required": ["with"]} if inputs.get("required") else {}
    return {
        "if": {"properties": {"uses": {"const": action.name}}, "required": ["uses"]},
        "then": {"properties": {"with": inputs}, **needed},
    }


def _inputs(title: str, params: type[Params], definitions: Schema, *, expressions: bool) -> Schema:
    """Give the schema of inputs; the models that it refers to go among the definitions, under names of their own."""
    whole = params.model_json_schema(by_alias=True, ref_template=f"#/definitions/{title}/{{model}}".replace(" ", "%20"))
    inner = whole.pop("$defs", {})
    if inner:
        definitions[title] = {name: _allowing(schema, expressions) for name, schema in inner.items()}
    schema = _allowing(whole, expressions)
    for key in ("title", "description"):
        schema.pop(key, None)
    _allow_template(schema, whole)
    return schema


def _allow_template(schema: Schema, whole: Mapping[str, Any]) -> None:
    """Allow `template` with `data` where a text stands, as `check` does."""
    properties = whole.get("properties", {})
    texts = [name for name, one in properties.items() if "markdown" in str(one)]
    into = "text" if "text" in texts else texts[0] if len(texts) == 1 else None
    if "template" in properties:
        schema["properties"].setdefault("data", {"type": "object"})
    elif into is not None:
        schema["properties"]["template"] = {"type": "string", "description": f"A template in place of '{into}'."}
        schema["properties"].setdefault("data", {"type": "object"})
        required = [name for name in schema.get("required", []) if name != into]
        if required != schema.get("required", []):
            schema["anyOf"] = [{"required": [into]}, {"required": ["template"]}]
        schema["required"] = required


def _allowing(schema: Mapping[str, Any], expressions: bool) -> Schema:
    """Give a schema in which an expression may stand wherever a value does, our own marks left out."""
    found: Schema = {}
    for key, value in schema.items():
        if key.startswith("x-"):
            continue
        if key in ("properties", "$defs") and isinstance(value, Mapping):
            found[key] = {name: _value(one, expressions) for name, one in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, Mapping):
            found[key] = _value(value, expressions)
        elif key in ("anyOf", "oneOf", "allOf"):
            found[key] = [_allowing(one, expressions) for one in value]
        else:
            found[key] = value
    return found


def _value(schema: Mapping[str, Any], expressions: bool) -> Schema:
    inner = _allowing(schema, expressions)
    open_text = inner.get("type") == "string" and not inner.keys() & {"pattern", "enum", "const", "maxLength"}
    if not expressions or open_text or not inner.keys() & {"type", "anyOf", "enum", "const", "$ref", "allOf"}:
        return inner
    about: Schema = {key: inner.pop(key) for key in ("description", "default", "title") if key in inner}
    return {**about, "anyOf": [inner, dict(_EXPRESSION)]}


def _first_line(doc: str) -> str:
    return re.split(r"\n\s*\n", doc.strip())[0].replace("\n", " ")
