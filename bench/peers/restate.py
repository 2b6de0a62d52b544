"""Restate: a server that journals, and calls the steps of a service written with its Python SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.peers import PROGRAMS, Served, Tell, environment, from_npm, from_pypi
from bench.processes import Child, Unavailable, free_port, http_status

SERVER = ("@restatedev/restate-server@1.7.12",)
SERVICE = ("restate-sdk==1.3.0", "hypercorn==0.18.0", "aiohttp>=3.10")
#: The server's own settings that have no flag.
_ENV = {"DO_NOT_TRACK": "1", "RESTATE_LOG_FILTER": "warn", "NO_COLOR": "1"}


@contextmanager
def started(folder: Path, sink: int, tell: Tell) -> Iterator[Served]:
    """Run server and service, registered with each other; `sink` is the port that runs call.

    Raises:
        Unavailable: it cannot be installed, or does not start.
    """
    home = environment("restate-service", from_pypi(*SERVICE), tell)
    server = _binary(environment("restate-server", from_npm(*SERVER), tell))
    folder.mkdir()
    ports = {name: free_port() for name in ("ingress", "admin", "fabric", "service")}
    settings = {f"RESTATE_{name.upper()}__BIND_ADDRESS": f"127.0.0.1:{ports[name]}" for name in ("ingress", "admin")}
    flags = ["--no-logo", "--bind-ip", "127.0.0.1", "--bind-port", str(ports["fabric"]), "--listen-mode", "tcp"]
    flags += ["--base-dir", str(folder / "data"), "--node-name", "bench"]
    # the service is what makes the calls: one process, as ours is
    command: list[str | Path] = [
        home / "bin" / "hypercorn",
        "--bind",
        f"127.0.0.1:{ports['service']}",
        "restate_program:app",
    ]
    with ExitStack() as stack:
        env = {"SINK": str(sink), "PYTHONPATH": str(PROGRAMS)}
        service = stack.enter_context(Child(command, cwd=folder, env=env, log=folder / "service.log"))
        main = stack.enter_context(
            Child([server, *flags], cwd=folder, env={**_ENV, **settings}, log=folder / "server.log")
        )
        main.answers(ports["admin"], "/health", 60)
        main.answers(ports["ingress"], "/restate/health", 60)
        _register(ports)
        yield Served(ports["ingress"], (service, main))


def _binary(home: Path) -> Path:
    """Give the server itself: the command that npm puts in place starts it as a child of Node.js."""
    for found in home.glob("node_modules/@restatedev/restate-server-*/bin/restate-server"):
        return found
    raise Unavailable("restate is left out: its package has no server for this machine")


def _register(ports: dict[str, int]) -> None:
    body = json.dumps({"uri": f"http://127.0.0.1:{ports['service']}"}).encode()
    for _ in range(3):
        status = http_status(ports["admin"], "POST", "/deployments", body)
        if status in (200, 201):
            return
    raise Unavailable(f"restate is left out: the service could not be registered ({status})")
