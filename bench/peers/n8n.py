"""n8n, as it is installed: the same flow as a workflow that was imported and activated by its command line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.peers import Served, Tell, environment, from_npm, node
from bench.processes import ROOT, Child, Unavailable, free_port

#: The newest one whose packages are all to be had. Scripts of its dependencies fetch binaries from elsewhere: they are
#: left out, but for SQLite's, which is built here.
PACKAGES = ("n8n@2.40.7",)
BUILT = ("sqlite3",)
_ID = "benchIncident001"


@contextmanager
def started(folder: Path, sink: int, tell: Tell) -> Iterator[Served]:
    """Run it with the workflow; `sink` is the port that runs call.

    Raises:
        Unavailable: it cannot be installed, or does not start.
    """
    home = environment("n8n", from_npm(*PACKAGES, rebuild=BUILT), tell)
    folder.mkdir()
    port, broker = free_port(), free_port()
    env = {
        "N8N_USER_FOLDER": str(folder),
        "N8N_LISTEN_ADDRESS": "127.0.0.1",
        "N8N_PORT": str(port),
        "N8N_RUNNERS_BROKER_PORT": str(broker),
        "N8N_DIAGNOSTICS_ENABLED": "false",
        "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
        "N8N_TEMPLATES_ENABLED": "false",
        "N8N_PERSONALIZATION_ENABLED": "false",
        "N8N_LOG_LEVEL": "warn",
    }
    command: list[str | Path] = [node(tell), home / "node_modules" / "n8n" / "bin" / "n8n"]
    (folder / "workflow.json").write_text(json.dumps(workflow(sink)))
    _do(folder, env, *command, "import:workflow", f"--input={folder / 'workflow.json'}")
    _do(folder, env, *command, "publish:workflow", f"--id={_ID}")
    with Child([*command, "start"], cwd=folder, env=env, log=folder / "log") as child:
        child.answers(port, "/healthz/readiness", 180)
        child.answers(port, "/webhook/ready", 60)
        yield Served(port, (child,))


def _do(folder: Path, env: dict[str, str], *command: str | Path) -> None:
    with Child(command, cwd=folder, env=env, log=folder / "setup.log") as child:
        try:
            code = child.process.wait(180)
        except subprocess.TimeoutExpired:
            code = -1
    if code != 0:
        raise Unavailable(
            f"n8n is left out: '{command[2]}' ended with {code} ({(folder / 'setup.log').relative_to(ROOT)})"
        )


def workflow(sink: int) -> dict[str, Any]:
    """Give the nodes: a webhook, a condition, three requests one after the other; it answers when the last is done."""
    names = ["Webhook", "If", "Call 1", "Call 2", "Call 3"]
    nodes = [
        _node(names[0], "webhook", 2, path="incident", httpMethod="POST", responseMode="lastNode"),
        _node(names[1], "if", 2.2, conditions=_CONDITION),
        *(_call(number, sink) for number in (1, 2, 3)),
        _node("Ready", "webhook", 2, path="ready", httpMethod="GET", responseMode="onReceived"),
    ]
    edges = pairwise(names)
    return {
        "id": _ID,
        "name": "bench",
        "nodes": nodes,
        "connections": {one: {"main": [[{"node": two, "type": "main", "index": 0}]]} for one, two in edges},
        "settings": {"executionOrder": "v1"},
        "active": False,
    }


_CONDITION = {
    "options": {"caseSensitive": True, "leftValue": "", "typeValidation": "strict", "version": 2},
    "conditions": [
        {
            "id": "urgency",
            "leftValue": "={{ $json.body.event.data.urgency }}",
            "rightValue": "high",
            "operator": {"type": "string", "operation": "equals"},
        }
    ],
    "combinator": "and",
}
_TITLE = "$('Webhook').item.json.body.event.data.title"


def _call(number: int, sink: int) -> dict[str, Any]:
    return _node(
        f"Call {number}",
        "httpRequest",
        4.2,
        method="POST",
        url=f"=http://127.0.0.1:{sink}/{{{{ {_TITLE} }}}}/{number}",
        sendBody=True,
        specifyBody="json",
        jsonBody=f"={{{{ JSON.stringify({{title: {_TITLE}}}) }}}}",
        options={},
    )


def _node(name: str, kind: str, version: float, **parameters: Any) -> dict[str, Any]:
    webhook = {"webhookId": f"bench-{parameters['path']}"} if kind == "webhook" else {}
    return {
        "id": name.lower().replace(" ", "-"),
        "name": name,
        "type": f"n8n-nodes-base.{kind}",
        "typeVersion": version,
        "position": [0, 0],
        "parameters": parameters,
        **webhook,
    }
