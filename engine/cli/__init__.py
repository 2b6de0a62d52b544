"""The command `hotwash`: arguments in, text and exit code out.

A command group is a module with a Typer application `app`; `COMMANDS` says which, and it is imported when it is used.
The modules import what is heavy inside their functions, so that `hotwash --version` and `--help` are quick. A command
gives its exit code back as a number; None stands for 0. What it raises, `engine.cli.exits.report` turns into a code.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from engine.cli import exits
from engine.problems import did_you_mean

#: Command by the module that holds it, in the order of the help page.
COMMANDS: dict[str, str] = {
    "init": "engine.cli.init",
    "check": "engine.cli.check",
    "run": "engine.cli.running",
    "start": "engine.cli.start",
    "events": "engine.cli.events",
    "runs": "engine.cli.runs",
    "demo": "engine.cli.demo",
    "incident": "engine.cli.incident",
    "ticket": "engine.cli.ticket",
    "answer": "engine.cli.answer",
    "pause": "engine.cli.pause",
    "resume": "engine.cli.resume",
    "mute": "engine.cli.mute",
    "unmute": "engine.cli.unmute",
    "mutes": "engine.cli.mutes",
    "list": "engine.cli.listing",
    "schema": "engine.cli.schema",
    "explain": "engine.cli.explain",
    "status": "engine.cli.status",
    "doctor": "engine.cli.doctor",
    "prune": "engine.cli.prune",
    "backup": "engine.cli.backup",
}


class _Commands(TyperGroup):
    """The group of all commands, each loaded when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(importlib.import_module(COMMANDS[cmd_name]).app)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise exits.CommandError(
                f"no command is called '{args[0]}'", hint=did_you_mean(args[0], COMMANDS, "commands")
            )
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Commands, add_completion=False, rich_markup_mode=None, no_args_is_help=True, pretty_exceptions_enable=False
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"hotwash {version('hotwash')}")
        raise typer.Exit


@app.callback(help="Incident follow-through as YAML workflows.")
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", callback=_show_version, is_eager=True)
    ] = False,
) -> None: ...


def run(arguments: Sequence[str]) -> int:
    """Run one command line and give its exit code; what goes wrong is told on stderr."""
    try:
        code = typer.main.get_command(app).main(list(arguments), prog_name="hotwash", standalone_mode=False)
    except Exception as error:  # noqa: BLE001  the one handler: it gives every exception its exit code
        return exits.report(error)
    return code if isinstance(code, int) else exits.OK


def main() -> NoReturn:
    """Run the command line that the process was started with."""
    sys.exit(run(sys.argv[1:]))
