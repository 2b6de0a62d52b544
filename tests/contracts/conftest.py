"""Vendors' own specifications as servers: Prism refuses every request that breaks them.

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
from contextlib import contextmanager
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
def prism():
    """Give what starts a server of a specification by its file's stem; each is started once.

    With an address, it stands before the server there: it refuses what breaks the specification, and hands on the rest.
    """
    if not SPECIFICATIONS.is_dir():
        pytest.skip("the vendors' specifications are not here")
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no Node.js here, which Prism needs")
    program = _installed()
    if isinstance(program, str):
        pytest.skip(program)
    started: dict[tuple[str, str | None], tuple[subprocess.Popen[str], str]] = {}

    def serve(stem: str, before: str | None = None) -> str:
        if (stem, before) not in started:
            started[stem, before] = _start(program, SPECIFICATIONS / f"{stem}.json", before)
        return started[stem, before][1]

    yield serve
    for process, _ in started.values():
        process.kill()
        process.communicate()


@cache
def _installed() -> Path | str:
    """Give Prism's program, which is installed where it is not; or why it cannot be had here."""
    with _alone(HOME.with_suffix(".lock")):
        if not (HOME / ".installed").exists():
            HOME.mkdir(parents=True, exist_ok=True)
            command = [
                "npm",
                "install",
                "--no-audit",
                "--no-fund",
                "--fetch-retries",
                "0",
                "--prefix",
                str(HOME),
                PRISM,
            ]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, cwd=HOME)
            except subprocess.TimeoutExpired:
                return f"Prism cannot be installed here: npm took more than {LONGEST} s"
            if done.returncode != 0:
                return f"Prism cannot be installed here: {' '.join(done.stderr.split())[:200]}"
            (HOME / ".installed").touch()
    return HOME / "node_modules" / ".bin" / "prism"


@contextmanager
def _alone(path: Path):
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _start(program: Path, specification: Path, before: str | None) -> tuple[subprocess.Popen[str], str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
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
