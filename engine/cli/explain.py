"""`hotwash explain`: why an event led to what it did; what a problem code, an action, a trigger or a provider means."""

from __future__ import annotations

import importlib
import re
import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli import exits, listing, output, reading
from engine.cli.project import ProjectOption
from engine.problems import CODES, Code, did_you_mean

if TYPE_CHECKING:
    from engine.config import Config
    from engine.domain import Field
    from engine.plugins import Action, Catalogue, Provider, Source, Trigger

app = typer.Typer(add_completion=False, rich_markup_mode=None)

#: The modules that declare problem codes; a test looks for others.
DECLARING = (
    "engine.config",
    "engine.wiring",
    "engine.workflow.check",
)

#: An event's id or number; the beginning of an id without its `evt_` may be the name of something else.
_EVENT = re.compile(r"evt_[0-9a-f]*|#?[0-9]+")
_MAYBE_EVENT = re.compile(r"[0-9a-f]{3,}")


@app.command()
def explain(
    what: Annotated[
        str,
        typer.Argument(
            metavar="EVENT|CODE|ACTION|TRIGGER|PROVIDER|WORKFLOW", help="What to explain.", show_default=False
        ),
    ],
    workflow: Annotated[
        str | None, typer.Argument(metavar="WORKFLOW", help="What an event meant to this workflow alone.")
    ] = None,
    project: ProjectOption = None,
    json: Annotated[bool, typer.Option("--json", help="Of an event: print JSON, for programs.")] = False,
) -> None:
    """Say what an event led to and why, or why not, for every workflow that listened.

    Or what a problem code means, or what an action, a trigger, a provider or a workflow does and takes.
    """
    if workflow is not None or _EVENT.fullmatch(what):
        reading.explain_event(what, workflow, project, as_json=json)
        return
    code = known_codes().get(what)
    if code is not None:
        _print_code(code)
        return
    catalogue, config = listing.open_or_bare(project)
    if explain_name(what, catalogue, config) or _explain_workflow(what, catalogue, config):
        return
    if _MAYBE_EVENT.fullmatch(what):
        reading.explain_event(what, None, project, as_json=json)
        return
    raise exits.CommandError(
        f"no event, code, action, trigger, provider or workflow is called '{what}'", hint=_nearest(what, catalogue)
    )


def _nearest(what: str, catalogue: Catalogue) -> str:
    known = [*CODES, *catalogue.actions, *catalogue.triggers, *catalogue.providers, *catalogue.sources]
    hint = did_you_mean(what, known) if len(what) > 2 else None
    near = hint if hint and hint.startswith("did you mean") else None
    return near or "'hotwash list actions' and the like, and 'hotwash events list', say what there is"


def known_codes() -> dict[str, Code]:
    """Give every problem code, having loaded the modules that declare them."""
    for name in DECLARING:
        importlib.import_module(name)
    return CODES


def explain_name(name: str, catalogue: Catalogue, config: Config | None) -> bool:
    """Print what an action, trigger, provider or source is; False where nothing has that name."""
    found = False
    if name in catalogue.actions:
        _print_action(catalogue.actions[name], catalogue, config)
        found = True
    if name in catalogue.triggers:
        _print_trigger(catalogue.triggers[name])
        found = True
    if name in catalogue.providers or name in catalogue.sources:
        _print_provider(name, catalogue.providers.get(name), catalogue.sources.get(name))
        found = True
    return found


def _explain_workflow(name: str, catalogue: Catalogue, config: Config | None) -> bool:
    """Print what a workflow of the project takes and gives; False where none has that name."""
    from engine.workflow.calling import CALL
    from engine.workflow.inputs import list_of, takes

    wanted = name.removeprefix(CALL)
    found = next((one for one in listing.signatures(catalogue, config) if one.id == wanted), None)
    if found is None:
        return False
    _print_heading(found.id, "workflow", "built in", found.description)
    rows = [
        (f"  {one.name}", takes(one), "required" if one.required else _default(list_of(one.default)), one.description)
        for one in found.inputs
    ]
    if rows:
        output.say("\ninputs (--input NAME=VALUE, or with: of a step that calls it)")
        output.table(("  NAME", "TYPE", "DEFAULT", "WHAT"), rows)
    _print_fields("outputs (steps.ID.… of a step that calls it, beside failed, error and stopped)", found.outputs)
    output.say(f"\nabout      {found.subject or 'nothing in particular'}")
    output.say(f"called by  uses: {CALL}{found.id}")
    return True


def _print_code(code: Code) -> None:
    paragraphs = (textwrap.fill(text, 100, break_long_words=False) for text in (code.name, code.meaning, code.remedy))
    output.say("\n\n".join(paragraphs))


def _print_action(action: Action, catalogue: Catalogue, config: Config | None) -> None:
    _print_heading(action.name, "action", action.plugin, action.doc)
    _print_inputs("inputs (with:)", action.params)
    _print_fields(
        f"outputs (steps.ID.…, beside failed and error){', given by the answer' * action.pending}", action.outputs
    )
    connection = listing.connection_of(action, config)
    output.say(f"\ndone by    {connection or 'the engine itself'}")
    output.say(f"repeating  {listing.effect_class_of(action, catalogue, config)}")
    lasting = "lasts: a later round of the same run keeps it" if action.lasts else "passes: a later round does it again"
    output.say(f"its effect {lasting}")


def _print_trigger(trigger: Trigger) -> None:
    _print_heading(trigger.name, "trigger", trigger.plugin, trigger.doc)
    _print_inputs("inputs (under on:)", trigger.params)
    output.say(f"\nabout      {trigger.subject or 'nothing in particular'}")
    if trigger.left_by:
        output.say(f"'for'      waits in this state, left by {', '.join(trigger.left_by)}")
    _print_fields("event.data", trigger.data)


def _print_provider(name: str, provider: Provider | None, source: Source | None) -> None:
    first = provider or source
    assert first is not None
    _print_heading(name, "provider", first.plugin, first.doc)
    if provider is not None:
        output.say(f"\nserves     {', '.join(provider.serves) or 'nothing by itself'}")
        _print_inputs("options (under connections:)", provider.options)
    if source is not None:
        output.say(f"\nwebhooks   {listing.first_line(source.doc)}")
        _print_inputs("options for webhooks", source.options)


# --- pieces ----------------------------------------------------------------------------------------------------------


def _print_heading(name: str, kind: str, plugin: str, doc: str) -> None:
    output.say(f"{name}  ({kind}{'' if plugin == 'built in' else f', of {plugin}'})\n\n{doc}")


def _print_inputs(title: str, model: Any) -> None:
    rows = [(f"  {name}", *rest) for name, *rest in input_rows(model)]
    if rows:
        output.say(f"\n{title}")
        output.table(("  NAME", "TYPE", "DEFAULT", "WHAT"), rows)


def input_rows(model: Any) -> list[tuple[str, str, str, str]]:
    """Give the fields of a pydantic model: name, type, `required` or the default, description."""
    properties = model.model_json_schema(mode="validation").get("properties", {})
    rows = []
    for name, field in model.model_fields.items():
        key = field.alias or name
        need = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
        rows.append((key, _type_name(properties.get(key, {})), need, field.description or ""))
    return rows


def _default(value: Any) -> str:
    """Show a default that says something; groups of inputs with defaults of their own do not."""
    if value is None or value in ([], {}, ()) or hasattr(value, "model_fields_set"):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


_WORDS = {"string": "text", "integer": "whole number", "object": "mapping", "boolean": "true or false"}


def _type_name(schema: dict[str, Any]) -> str:
    """Say in a word or two what a JSON schema takes."""
    if "x-kind" in schema:
        return str(schema["x-kind"])
    if "enum" in schema or "const" in schema:
        return " | ".join(str(value) for value in schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        kinds = [_type_name(one) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if schema.get("type") == "array":
        inner = _type_name(schema.get("items", {}))
        return f"list of {inner}" if inner else "list"
    if "$ref" in schema:
        return "mapping"
    types = schema.get("type", [])
    kinds = [_WORDS.get(one, one) for one in ([types] if isinstance(types, str) else types) if one != "null"]
    return " or ".join(kinds)


def _print_fields(title: str, fields: Any) -> None:
    rows: list[tuple[str, str, str]] = [
        (f"  {name}", field.kind, field.doc) for name, field in dict[str, "Field"](fields).items()
    ]
    if rows:
        output.say(f"\n{title}")
        output.table(("  NAME", "KIND", "WHAT"), rows)
