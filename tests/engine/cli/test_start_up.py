"""What a command loads: as little as it needs, so that it answers quickly and an idle engine is small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine import cli

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "workflows"

#: What runs workflows and serves; what asks vendors; what a plain project has no use for.
APPLICATION = {"sqlalchemy", "alembic", "starlette", "uvicorn", "anyio", "engine.application", "engine.runs.executor"}
VENDORS = {"aiohttp", "icalendar", "recurring_ical_events", "holidays", "jsonschema", "watchfiles"}
VENDORS |= {"googleapiclient", "httplib2", "requests"}


@pytest.fixture
def project(tmp_path, capsys):
    assert cli.run(["init", str(tmp_path)]) == 0
    return tmp_path


def loaded_after(program, folder):
    """Give the names of all modules that are loaded when a program has ended, and what it printed on stderr."""
    program += "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("command", [["check"], ["list", "actions"], ["list", "triggers"], ["schema"]])
def test_checking_and_listing_load_no_application(project, command):
    loaded = loaded_after(f"from engine import cli; assert cli.run({command}) == 0", project)
    assert loaded & (APPLICATION | VENDORS) == set()


def test_an_engine_of_a_plain_project_loads_nothing_that_only_others_need(project):
    start = """
import asyncio, pathlib
from engine import wiring
async def live():
    async with wiring.open_application(pathlib.Path.cwd()).running():
        pass
asyncio.run(live())
"""
    in_use = {"watchfiles"}  # it looks at the documents folder
    unused = (VENDORS - in_use) | {"alembic", "sqlalchemy", "rich", "typer"}
    assert loaded_after(start, project) & unused == set()


def test_many_files_are_checked_by_several_processes_and_told_in_order(project):
    text = (SHIPPED / "postmortem.yaml").read_text("utf-8")
    for number in range(400):
        wrong = text.replace("uses: chat.post", "uses: chat.shout") if number % 100 == 7 else text
        (project / "workflows" / f"w{number:03}.yaml").write_text(wrong, "utf-8")
    done = subprocess.run(
        [sys.executable, "-c", "from engine import cli; raise SystemExit(cli.run(['check', '--format', 'json']))"],
        capture_output=True,
        text=True,
        cwd=project,
        env={"PYTHONPATH": str(ROOT)},
    )
    problems = json.loads(done.stdout)
    assert [problem["file"] for problem in problems] == [f"workflows/w{n}.yaml" for n in ("007", "107", "207", "307")]
    assert {problem["code"] for problem in problems} == {"unknown-action"}
