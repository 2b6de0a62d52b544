"""`hotwash events`: look at events, replay one, and send or sign some of one's own."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.cli import client, exits, output, reading
from engine.cli.client import JsonOption
from engine.cli.project import Project, ProjectOption, open_project

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The body; '-' is stdin.", show_default=False)]
ConnectionOption = Annotated[
    str, typer.Option("--connection", "-c", metavar="NAME", help="Which connection it is for.", show_default=False)
]


@app.callback()
def events() -> None:
    """Look at events, replay one, and send or sign some of one's own."""


app.command("list")(reading.list_events)
app.command("show")(reading.show_event)


@app.command()
def replay(
    event: reading.EventArgument,
    workflow: Annotated[
        str | None, typer.Argument(metavar="[WORKFLOW]", help="This workflow alone; without one, all that listen.")
    ] = None,
    project: ProjectOption = None,
    json: JsonOption = False,
) -> None:
    """Match a recorded event again against the current files: for one that was added or mended since.

    What already ran for it does not run again, and nothing else changes. Conditions are looked at on the state of now.
    """
    client.show(client.perform(project, "replay_event", event=event, workflow=workflow), json)


@app.command()
def send(
    file: FileArgument,
    connection: ConnectionOption,
    sign: Annotated[
        bool, typer.Option("--sign/--no-sign", help="Sign it with the connection's own secret, or send it as it is.")
    ] = True,
    project: ProjectOption = None,
) -> int:
    """Post a file to the running engine as its vendor would."""
    opened = open_project(project)
    body = _body(file)
    headers = _signed(opened, connection, body) if sign else {}
    engine = client.running_engine(opened.folder)
    if engine is None:
        raise exits.CommandError("no engine is running here", hint="'hotwash run' starts one", code=exits.PROBLEMS)
    answer = engine.post(f"/hooks/{connection}", body, {"Content-Type": "application/json", **headers})
    text = answer.body.decode("utf-8", "replace")
    output.say(f"{answer.status} {answer.reason}: {text}")
    return exits.OK if answer.status < 300 else exits.PROBLEMS


@app.command()
def sign(
    file: FileArgument,
    connection: ConnectionOption,
    curl: Annotated[bool, typer.Option("--curl", help="Print the whole curl command.")] = False,
    project: ProjectOption = None,
) -> None:
    """Print the headers that prove that a file comes from the connection's vendor, one 'Name: value' a line."""
    opened = open_project(project)
    headers = _signed(opened, connection, _body(file))
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if not curl:
        for line in lines:
            output.say(line)
        return
    given = " ".join(f"-H {shlex.quote(line)}" for line in ["Content-Type: application/json", *lines])
    address = f"{_address(opened)}/hooks/{connection}"
    output.say(f"curl -sS {given} --data-binary {shlex.quote(f'@{file}')} {shlex.quote(address)}")


def _body(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise exits.CommandError(f"'{file}' cannot be read: {(error.strerror or 'unreadable').lower()}") from None


def _signed(opened: Project, connection: str, body: bytes) -> dict[str, str]:
    """Give the headers that the connection's source accepts for a body."""
    from engine import wiring
    from engine.clock import SystemClock
    from engine.problems import ProblemError, did_you_mean

    config = opened.config
    if config is None:
        raise ProblemError(*opened.problems)
    known = config.connections.get(connection)
    if known is not None and known.disabled is not None:
        raise exits.CommandError(f"connection '{connection}' is off: {known.disabled}", code=exits.PROBLEMS)
    source = wiring.source_of(config, opened.catalogue, connection)
    if source is None:
        inbound = [name for name, one in config.connections.items() if one.source_options is not None]
        hint = did_you_mean(connection, inbound, "connections that take webhooks")
        raise exits.CommandError(f"no connection that takes webhooks is called '{connection}'", hint=hint)
    if not hasattr(source, "sign"):
        raise exits.CommandError(f"webhooks of connection '{connection}' cannot be signed here")
    return dict(source.sign(body, SystemClock().now()))


def _address(opened: Project) -> str:
    engine = client.running_engine(opened.folder)
    if engine is not None:
        return engine.address
    assert opened.config is not None
    server = opened.config.server
    return server.url or f"http://{server.host}:{server.port}"
