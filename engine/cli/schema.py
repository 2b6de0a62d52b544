"""`hotwash schema`: the JSON schema that an editor checks workflow files with."""

from __future__ import annotations

import typer

from engine.cli import listing, output
from engine.cli.project import ProjectOption

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def schema(project: ProjectOption = None) -> None:
    """Print the JSON schema of workflow files, with the project's plugins and the workflows that may be called."""
    from engine.workflow.schema import editor_schema

    catalogue, config = listing.open_or_bare(project)
    output.as_json(editor_schema(catalogue, listing.signatures(catalogue, config)))
