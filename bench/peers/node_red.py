"""Node-RED: the same flow as nodes wired together; it keeps nothing of what is under way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.peers import Served, Tell, environment, from_npm, node
from bench.processes import Child, free_port

PACKAGES = ("node-red@5.0.7",)
_SETTINGS = """\
module.exports = {
  uiHost: "127.0.0.1", uiPort: %d, httpAdminRoot: false, flowFile: "flows.json", credentialSecret: false,
  diagnostics: {enabled: false}, telemetry: {enabled: false}, logging: {console: {level: "warn"}},
};
"""


@contextmanager
def started(folder: Path, sink: int, tell: Tell) -> Iterator[Served]:
    """Run it with the flow; `sink` is the port that runs call.

    Raises:
        Unavailable: it cannot be installed, or does not start.
    """
    home = environment("node-red", from_npm(*PACKAGES), tell)
    folder.mkdir()
    port = free_port()
    (folder / "settings.js").write_text(_SETTINGS % port)
    (folder / "flows.json").write_text(json.dumps(flow(sink)))
    command: list[str | Path] = [node(tell), home / "node_modules" / "node-red" / "red.js", "--userDir", folder]
    with Child([*command, "--settings", folder / "settings.js"], cwd=folder, log=folder / "log") as child:
        child.answers(port, "/ready", 60)
        yield Served(port, (child,))


def flow(sink: int) -> list[dict[str, Any]]:
    """Give the nodes: a post comes in, a condition, three requests one after the other, an answer."""
    nodes: list[dict[str, Any]] = [
        {"id": "tab", "type": "tab", "label": "bench"},
        _node("in", "http in", ["keep"], url="/incident", method="post"),
        _node("keep", "function", ["if"], func="msg.event = msg.payload.event.data; return msg;", outputs=1),
        _node(
            "if",
            "switch",
            ["call1"],
            property="event.urgency",
            propertyType="msg",
            rules=[{"t": "eq", "v": "high", "vt": "str"}],
            outputs=1,
        ),
    ]
    for number in (1, 2, 3):
        following = f"call{number + 1}" if number < 3 else "out"
        url = f"http://127.0.0.1:{sink}/"
        code = (
            f"msg.url = '{url}' + msg.event.title + '/{number}'; msg.payload = {{title: msg.event.title}}; return msg;"
        )
        nodes += [
            _node(f"call{number}", "function", [f"http{number}"], func=code, outputs=1),
            _node(f"http{number}", "http request", [following], method="POST", ret="obj", url="", persist=True),
        ]
    return [
        *nodes,
        _node("out", "http response", []),
        _node("ready", "http in", ["fine"], url="/ready", method="get"),
        _node("fine", "http response", [], statusCode="200"),
    ]


def _node(name: str, kind: str, following: list[str], **more: Any) -> dict[str, Any]:
    return {"id": name, "type": kind, "z": "tab", "wires": [following] if following else [], **more}
