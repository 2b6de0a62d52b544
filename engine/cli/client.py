"""How writing commands reach the engine: the one that runs, by `.hotwash/server.json`; with none running, the files.

Without an engine a command takes the lock, writes, and leaves; what is new is matched at the next start.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from engine.cli import output
from engine.cli.exits import BUG, PROBLEMS, USAGE, CommandError
from engine.cli.project import project_folder
from engine.cli.status import holder

#: Seconds that an answer of the engine may take.
PATIENCE = 60
#: Where a running engine says how to reach it, in the project's folder.
SERVER_FILE = Path(".hotwash") / "server.json"

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs; instants in UTC.")]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine answered."""

    status: int
    reason: str
    body: bytes

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def error(self) -> str:
        said = self.json
        return str(said["error"]) if isinstance(said, dict) and "error" in said else self.reason.lower()


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that runs, and how to reach it."""

    address: str
    token: str

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send a request.

        Raises:
            CommandError: the engine does not answer.
        """
        place = urlsplit(self.address)
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=PATIENCE)
        try:
            connection.request("POST", path, body, dict(headers))
            response = connection.getresponse()
            return Answer(response.status, response.reason, response.read())
        except (OSError, http.client.HTTPException) as error:
            why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise CommandError(f"the engine at {self.address} does not answer: {why}", code=PROBLEMS) from None
        finally:
            connection.close()

    def operate(self, name: str, inputs: Mapping[str, Any], actor: str) -> dict[str, Any]:
        """Have an operation done.

        Raises:
            CommandError: it is not done; the engine's sentence says why.
        """
        body = json.dumps({"actor": actor, "inputs": dict(inputs)}).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        answer = self.post(f"/api/operations/{name}", body, headers)
        if answer.status == 200 and isinstance(answer.json, dict):
            return answer.json
        raise CommandError(answer.error, code={400: USAGE, 404: USAGE, 500: BUG}.get(answer.status, PROBLEMS))


#: Operations from which nothing follows that an engine would have to do.
_NOTHING_FOLLOWS = frozenset({"prune", "check_connections"})


def running_engine(folder: Path) -> Engine | None:
    """Give the engine that works on a project; None where none does, whatever a killed one has left behind."""
    try:
        told = json.loads((folder / SERVER_FILE).read_text("utf-8"))
        address, token, database = (str(told[name]) for name in ("address", "token", "database"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Engine(address, token) if holder(Path(database)) == told.get("pid") else None


def user() -> str:
    """Give the operating system's name of whoever runs the command; what the environment says does not count."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without a name
        return f"uid-{os.getuid()}"


def perform(start: Path | None, name: str, **inputs: Any) -> dict[str, Any]:
    """Do an operation on the project that `start` lies in, as the operating system's user; give what came of it.

    Inputs that are None are left out.

    Raises:
        CommandError: it is not done.
        ProblemError: no engine runs, and the project's configuration has errors.
    """
    folder = project_folder(start)
    given = {key: value for key, value in inputs.items() if value is not None}
    engine = running_engine(folder)
    if engine is not None:
        return engine.operate(name, given, user())
    return asyncio.run(_alone(folder, name, given))


async def _alone(folder: Path, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    from engine import operations
    from engine.reports.values import plain
    from engine.store.codec import encode

    application = open_alone(folder, incomplete=name == "check_connections")
    try:
        done = await operations.perform(application, name, inputs, user())
    except (operations.Refused, operations.NotYet) as error:
        raise CommandError(str(error), code=PROBLEMS) from None
    except operations.OperationError as error:
        raise CommandError(str(error)) from None
    finally:
        await application.stop()
    if name not in _NOTHING_FOLLOWS:
        output.note("no engine is running: what follows from this happens at the next 'hotwash run'")
    return {"message": done.message, **plain(encode(dict(done.data)))}


def open_alone(folder: Path, *, incomplete: bool = False) -> Any:
    """Build a project's application, which takes the lock; `incomplete`, also where credentials are missing.

    Raises:
        CommandError: another process has the lock, or the database is of a newer version.
        ProblemError: the configuration has errors.
    """
    from engine import wiring
    from engine.store.journal import AlreadyRunning
    from engine.store.schema import NewerSchema

    try:
        application = wiring.open_application(folder, incomplete=incomplete)
        application.rest()
        return application
    except AlreadyRunning as error:
        raise CommandError(str(error), hint="wait until it has ended, or has started up", code=PROBLEMS) from None
    except NewerSchema as error:
        raise CommandError(str(error), code=PROBLEMS) from None


def show(done: Mapping[str, Any], as_json: bool) -> None:
    """Print what an operation did."""
    if as_json:
        output.as_json(done)
    else:
        output.say(str(done["message"]))
