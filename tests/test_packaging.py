"""What is delivered: the wheel's content, the workflows in it, and the words that set everything up."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from engine.config import library

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CONTRACTS = {contract["name"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]}
#: What a plugin author imports.
OFFERED = {"plugins", "capabilities", "domain", "calendars"}


def files_below(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """Build the wheel as pip does, without the network, and unpack it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, check=True, capture_output=True, cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "unpacked")
    return folder / "unpacked"


def run_installed(unpacked, cwd, *arguments):
    """Run Python with what is in the wheel, far from the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "PYTHONSAFEPATH": "1"}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


HOTWASH = ("-c", "import sys; from engine.cli import main; main()")


def test_the_wheel_holds_our_packages_and_nothing_else(unpacked):
    names = {path.name for path in unpacked.iterdir()}
    (information,) = {name for name in names if re.fullmatch(r"hotwash-[0-9][^-]*\.dist-info", name)}
    assert names - {information} == {"engine", "actions", "triggers"}


def test_the_wheel_holds_every_module(unpacked):
    for package in ("engine", "actions", "triggers"):
        modules = {name for name in files_below(ROOT / package) if name.endswith(".py")}
        assert modules - set(files_below(unpacked / package)) == set()


def test_the_wheel_holds_the_status_pages_template(unpacked):
    assert (unpacked / "actions" / "providers" / "static.html").is_file()


def test_the_wheel_holds_the_migrations(unpacked):
    assert list((unpacked / "engine" / "store" / "migrations" / "versions").glob("0001_*.py"))


def test_the_wheel_holds_every_ready_made_workflow_and_template(unpacked):
    assert files_below(unpacked / "engine" / "_workflows") == files_below(ROOT / "workflows")


def test_the_ready_made_workflows_are_those_of_the_checkout_in_a_checkout():
    assert library() == ROOT / "workflows"


def test_the_ready_made_workflows_are_those_of_the_wheel_where_it_is_installed(unpacked, tmp_path):
    printed = run_installed(unpacked, tmp_path, "-c", "from engine.config import library; print(library())")
    assert Path(printed.strip()) == unpacked / "engine" / "_workflows"


def test_the_command_of_the_wheel_says_its_version(unpacked, tmp_path):
    assert run_installed(unpacked, tmp_path, *HOTWASH, "--version") == f"hotwash {PROJECT['project']['version']}\n"


def test_the_wheel_writes_a_project_that_it_accepts(unpacked, tmp_path):
    run_installed(unpacked, tmp_path, *HOTWASH, "init")
    assert json.loads(run_installed(unpacked, tmp_path, *HOTWASH, "check", "--format", "json")) == []


def test_the_wheel_names_the_command(unpacked):
    (entry_points,) = unpacked.glob("*.dist-info/entry_points.txt")
    assert "hotwash = engine.cli:main" in entry_points.read_text("utf-8")


# --- the rules that are checked --------------------------------------------------------------------------------------


def rooms():
    """Give the modules and packages right below `engine`."""
    found = (path for path in (ROOT / "engine").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file())
    return {path.stem for path in found} - {"__init__"}


def names_in(contract, key):
    return {name.removeprefix("engine.") for name in CONTRACTS[contract][key]}


def test_every_room_of_the_engine_has_its_layer():
    contract = CONTRACTS["The engine's rooms import only downwards"]
    layers = {room.strip() for layer in contract["layers"] for room in layer.split("|")}
    assert contract["exhaustive"] is True
    assert rooms() <= layers


def test_what_actions_and_triggers_may_import_is_all_that_is_not_forbidden():
    forbidden = names_in(
        "Actions and triggers know of the engine only what a plugin author imports", "forbidden_modules"
    )
    assert rooms() - forbidden == OFFERED


def test_only_wiring_may_import_actions_and_triggers():
    kept_away = names_in("Only wiring knows which actions and triggers exist", "source_modules")
    assert rooms() - kept_away == {"wiring"}


def test_continuous_integration_runs_what_people_run():
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert script.rstrip().endswith("exec make test")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.parametrize("word", ["demo", "test", "check", "bench"])
def test_every_word_of_the_makefile_sets_the_environment_up_by_itself(word):
    rules = dict(re.findall(r"^(\w+):(.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    needs = rules[word].split()
    assert "$(STAMP)" in needs or any("$(STAMP)" in rules[name] for name in needs)
