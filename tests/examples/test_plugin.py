"""The installable plugin: as a file of a project, and as a package, without installing anything here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine import wiring
from engine.plugins import Params
from engine.testing import World

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "examples" / "plugin"
MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
WORKFLOW = """\
on: incident.resolved
steps:
  - id: facilitator
    uses: facilitator.pick
    with: {among: [ada, grace], leave_out: ada}
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """Build the plugin's wheel and unpack it: what `pip install` would put on the path."""
    folder = tmp_path_factory.mktemp("plugin")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, check=True, capture_output=True, cwd=PLUGIN)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "unpacked")
    return folder / "unpacked"


def run_beside(unpacked, cwd, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(unpacked), str(ROOT)])}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def project(folder):
    for name in ("plugins", "workflows"):
        (folder / name).mkdir()
    shutil.copy(PLUGIN / "hotwash_facilitator.py", folder / "plugins")
    (folder / "hotwash.yaml").write_text("timezone: UTC\n")
    (folder / "people.yaml").write_text("people: {ada: {name: Ada}, grace: {name: Grace}}\n")
    (folder / "workflows" / "facilitate.yaml").write_text(WORKFLOW)
    return folder


async def test_as_a_file_of_the_project_it_runs(tmp_path):
    async with World(project(tmp_path), MONDAY, wiring.open_application) as world:
        await world.incident("resolved", "local:INC-1", title="Checkout is slow")
        assert world.outputs()["facilitator"]["person"].id == "grace"


def test_as_an_installed_package_it_is_listed_beside_the_built_in_ones(unpacked, tmp_path):
    command = "from engine.cli import main; import sys; sys.argv[1:] = ['list', 'actions', '--json']; main()"
    rows = {row["action"]: row["plugin"] for row in json.loads(run_beside(unpacked, tmp_path, "-c", command))}
    assert (rows["facilitator.pick"], rows["chat.post"]) == ("hotwash-facilitator", "built in")


def test_its_own_tests_pass(unpacked, tmp_path):
    shutil.copy(PLUGIN / "test_facilitator.py", tmp_path)
    shutil.copy(PLUGIN / "pyproject.toml", tmp_path)
    assert "passed" in run_beside(unpacked, tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider")


def test_it_keeps_the_rules_of_the_built_in_ones(tmp_path):
    found = wiring.catalogue(project(tmp_path)).actions["facilitator.pick"]
    assert issubclass(found.params, Params)
    assert "Example:" in found.doc
    assert [name for name, field in found.params.model_fields.items() if not field.description] == []
    assert found.outputs["person"].kind == "person"
