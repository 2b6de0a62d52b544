"""`hotwash list`: what workflows and connections may name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli import exits, output
from engine.cli.project import ProjectOption, ReadWorkflow, open_project, read_workflows
from engine.problems import ProblemError

if TYPE_CHECKING:
    from engine.config import Config
    from engine.plugins import Action, Catalogue, Provider, Source
    from engine.workflow.calling import Signature

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.callback()
def listing() -> None:
    """Say which actions, triggers, providers or workflows there are."""


@app.command()
def actions(project: ProjectOption = None, json: JsonOption = False) -> None:
    """What a step may use.

    Beside each action stand the connection that performs it under the present `use:`, and whether it may be repeated.
    """
    catalogue, config = open_or_bare(project)
    found = catalogue.actions
    rows = [
        {
            "action": name,
            "connection": connection_of(found[name], config),
            "effect": effect_class_of(found[name], catalogue, config),
            "lasts": found[name].lasts,
            "plugin": found[name].plugin,
            "does": first_line(found[name].doc),
        }
        for name in sorted(found)
    ]
    _print(rows, ("action", "connection", "effect", "does"), as_json=json)


@app.command()
def triggers(project: ProjectOption = None, json: JsonOption = False) -> None:
    """What a workflow may be started by."""
    found = open_or_bare(project)[0].triggers
    rows = [
        {
            "trigger": name,
            "subject": found[name].subject,
            "plugin": found[name].plugin,
            "fires": first_line(found[name].doc),
        }
        for name in sorted(found)
    ]
    _print(rows, ("trigger", "subject", "fires"), as_json=json)


@app.command()
def providers(project: ProjectOption = None, json: JsonOption = False) -> None:
    """What a connection may be to, and the jobs it does."""
    catalogue, config = open_or_bare(project)
    known: dict[str, Provider | Source] = {**catalogue.sources, **catalogue.providers}
    connections = config.connections.values() if config else ()
    rows = [
        {
            "provider": name,
            "serves": list(catalogue.providers[name].serves) if name in catalogue.providers else [],
            "webhooks": name in catalogue.sources,
            "connections": [one.name for one in connections if one.provider == name],
            "plugin": known[name].plugin,
            "what": first_line(known[name].doc),
        }
        for name in sorted(known)
    ]
    _print(rows, ("provider", "serves", "webhooks", "connections", "what"), as_json=json)


@app.command()
def workflows(project: ProjectOption = None, json: JsonOption = False) -> int:
    """What the project has, with what has errors."""
    opened = open_project(project)
    if opened.config is None:
        raise ProblemError(*opened.problems)
    read = read_workflows(opened)
    rows = [_workflow_row(one) for one in read]
    _print(
        rows, ("workflow", "on", "inputs", "mode", "owner", "name"), as_json=json, empty="there are no workflows yet"
    )
    problems = [problem for one in read for problem in one.problems]
    if problems and not json:
        output.note(f"{output.count(problems)}: 'hotwash check' says which")
    return exits.OK if all(one.workflow for one in read) else exits.PROBLEMS


def _workflow_row(one: ReadWorkflow) -> dict[str, Any]:
    if one.workflow is None:
        return {"workflow": one.path.stem, "on": [], "inputs": [], "mode": "has errors", "owner": None, "name": None}
    return {
        "workflow": one.workflow.id,
        "on": [use.name for use in one.workflow.triggers],
        "inputs": [given.name for given in one.workflow.inputs],
        "mode": one.workflow.mode,
        "owner": one.workflow.owner,
        "name": one.workflow.name,
    }


# --- what the rows say -----------------------------------------------------------------------------------------------


def open_or_bare(start: Path | None) -> tuple[Catalogue, Config | None]:
    """Give the catalogue of the project, and how it is configured; outside of one, what is built in or installed."""
    from engine import wiring
    from engine.config import find_project

    if start is None and find_project(Path.cwd()) is None:
        return wiring.catalogue(), None
    opened = open_project(start)
    return opened.catalogue, opened.config


def signatures(catalogue: Catalogue, config: Config | None) -> list[Signature]:
    """Give what each workflow of the project takes and gives when another calls it, by its id."""
    from engine import wiring

    names = wiring.names_of(config, catalogue) if config is not None else None
    if names is None or names.callees is None:
        return []
    found = [names.callees.signature(name) for name in sorted(names.workflows)]
    return [one for one in found if one is not None]


def connection_of(action: Action, config: Config | None) -> str | None:
    """Give the connection that performs an action where a step names none."""
    from engine.capabilities import DEFAULT_PROVIDERS

    use = config.use if config else DEFAULT_PROVIDERS
    return use.get(action.capability) if action.capability else None


def effect_class_of(action: Action, catalogue: Catalogue, config: Config | None) -> str:
    """Say whether what an action does may be repeated: by itself, or by the provider of its connection."""
    from engine.plugins import EffectClass, effect_class

    if isinstance(action.own_class, EffectClass):
        return str(action.own_class)
    if action.own_class is not None:
        return "by its inputs"
    name = connection_of(action, config)
    connection = config.connections.get(name) if config and name else None
    declared = catalogue.providers.get(connection.provider if connection else name or "")
    method = getattr(declared.cls, action.method or "", None) if declared else None
    return str(effect_class(method)) if method else "nobody does it"


def first_line(doc: str) -> str:
    """Give the first sentence of a docstring's paragraph, on one line."""
    return " ".join(doc.split("\n\n")[0].split())


def _print(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, empty: str = "there are none"
) -> None:
    if as_json:
        output.as_json(rows)
    else:
        output.table(
            [name.upper() for name in columns], ([_cell(row[name]) for name in columns] for row in rows), empty=empty
        )


def _cell(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return ("yes" if value else "") if isinstance(value, bool) else value
