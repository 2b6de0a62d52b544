"""`hotwash prune` and `hotwash backup`, with an engine that runs and with none."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from engine import cli, wiring
from engine.cli import exits
from engine.cli import running as command
from engine.cli.prune import to_the_end
from engine.clock import SystemClock
from engine.plugins import Fact
from engine.server import serving
from engine.store import schema
from engine.store.journal import connect
from engine.testing import World

#: Commands without an engine go by the machine's clock, so what is old is old by that one.
NOW = SystemClock().now()
POST = "on: webhook\nsteps:\n  - uses: chat.post\n    with: {text: hello}\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "post.yaml").write_text(POST)
    (tmp_path / "hotwash.yaml").write_text("timezone: UTC\nserver: {port: 0}\n")
    return tmp_path


@asynccontextmanager
async def running(folder):
    """Run an engine and its server as `hotwash run` does, fifty days after one event."""
    async with World(folder, NOW - timedelta(days=200), wiring.open_application) as world:
        await world.happens("pager", Fact("webhook", world.now, data={}, id="1"))
        await world.move("50d")
        app = world.application
        async with serving(app, "the-token", "127.0.0.1", 0) as address, command._announced(app, address, "the-token"):
            yield world


@pytest.fixture
def old(folder):
    """Give a project on which no engine runs, with one finished run of two hundred days ago."""

    async def once():
        async with World(folder, NOW - timedelta(days=200), wiring.open_application) as world:
            await world.happens("pager", Fact("webhook", world.now, data={}, id="1"))

    asyncio.run(once())
    return folder


def hotwash(capsys, *arguments):
    code = cli.run(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def bodies(folder):
    with connect(folder / ".hotwash" / "hotwash.db", readonly=True) as reader:
        return reader.execute("SELECT count(*) FROM events WHERE data IS NOT NULL").fetchone()[0]


def counts(out):
    """Give the rows of each kind by the last word of what it is called."""
    lines = [line.split("  ") for line in out.splitlines()[1:]]
    return {[cell for cell in line if cell][1].strip(): int(line[0]) for line in lines}


# --- prune ---


async def test_a_running_engine_prunes_for_the_command(capsys, folder):
    async with running(folder) as world:
        code, out, err = await asyncio.to_thread(hotwash, capsys, "prune", "--older-than", "49d", "-C", str(folder))
        assert (code, err, bodies(folder)) == (exits.OK, "", 0)
        assert (counts(out)["bodies of events"], counts(out)["records of ended runs"] > 0) == (1, True)
        assert any(event == "store.pruned" for event, _ in world.told)


def test_without_an_engine_the_command_prunes_by_itself(capsys, old):
    code, out, err = hotwash(capsys, "prune", "-C", str(old))
    assert (code, err, bodies(old)) == (exits.OK, "", 0)
    assert counts(out) == {
        "bodies of events": 1,
        "verdicts": 1,
        "records of ended runs": 0,
        "inputs and results of ended runs": 0,
        "messages and closed questions": 1,
    }


def test_a_dry_run_says_what_would_go_and_leaves_it(capsys, old):
    code, out, _ = hotwash(capsys, "prune", "--dry-run", "-C", str(old))
    assert (code, out.split()[:2], counts(out)["bodies of events"], bodies(old)) == (exits.OK, ["WOULD", "GO"], 1, 1)


def test_older_than_stands_in_for_every_length(capsys, old):
    _, out, _ = hotwash(capsys, "prune", "--older-than", "300d", "-C", str(old))
    assert set(counts(out).values()) == {0}
    _, out, _ = hotwash(capsys, "prune", "--older-than", "100d", "-C", str(old), "--json")
    rows = {part["kind"]: part["rows"] for part in json.loads(out)["removed"]}
    assert (rows["events"], rows["effects"], rows["steps"] > 0) == (1, 1, True)


def test_the_configured_lengths_count(capsys, old):
    (old / "hotwash.yaml").write_text("timezone: UTC\nretention: {events: 300d, runs: 100d}\n")
    _, out, _ = hotwash(capsys, "prune", "--dry-run", "-C", str(old))
    assert (counts(out)["bodies of events"], counts(out)["inputs and results of ended runs"]) == (0, 1)


@pytest.mark.parametrize("length", ["3bd", "soon", "0d", "P1MT1H"])
def test_a_length_that_is_none_is_refused(capsys, old, length):
    code, _, err = hotwash(capsys, "prune", "--older-than", length, "-C", str(old))
    assert (code, "must be a duration such as" in err, bodies(old)) == (exits.USAGE, True, 1)


def test_the_command_goes_on_until_all_is_gone():
    answers = [
        {"removed": [{"kind": "events", "rows": rows}], "dry_run": False, "finished": rows == 2} for rows in (1000, 2)
    ]
    done = to_the_end(iter(answers).__next__)
    assert (done["finished"], done["removed"]) == (True, [{"kind": "events", "rows": 1002}])


def test_a_dry_run_is_asked_for_once():
    answers = [{"removed": [{"kind": "events", "rows": 7}], "dry_run": True, "finished": False}]
    assert to_the_end(iter(answers).__next__)["removed"] == [{"kind": "events", "rows": 7}]


# --- backup ---


async def test_a_backup_is_made_while_the_engine_runs_and_another_starts_from_it(capsys, folder, tmp_path):
    target = tmp_path / "copy.db"
    async with running(folder):
        code, out, _ = await asyncio.to_thread(hotwash, capsys, "backup", str(target), "-C", str(folder))
    assert (code, out.startswith(f"{target} holds the database, ")) == (exits.OK, True)
    other = tmp_path / "other"
    (other / ".hotwash").mkdir(parents=True)
    (other / "hotwash.yaml").write_text("timezone: UTC\n")
    target.rename(other / ".hotwash" / "hotwash.db")
    async with World(other, NOW, wiring.open_application) as world:
        assert [run["state"] for run in world.runs()] == ["finished"]


def test_a_backup_takes_no_files_place(capsys, old, tmp_path):
    (tmp_path / "mine").write_text("mine")
    code, _, err = hotwash(capsys, "backup", str(tmp_path / "mine"), "-C", str(old))
    assert (code, "is there already" in err, (tmp_path / "mine").read_text()) == (exits.USAGE, True, "mine")


def test_where_there_is_no_folder_no_backup_is_made(capsys, old, tmp_path):
    code, _, err = hotwash(capsys, "backup", str(tmp_path / "gone" / "copy.db"), "-C", str(old))
    assert (code, "no such file or directory" in err) == (exits.PROBLEMS, True)


def test_where_nothing_has_happened_there_is_nothing_to_back_up(capsys, folder, tmp_path):
    code, _, err = hotwash(capsys, "backup", str(tmp_path / "copy.db"), "-C", str(folder))
    assert (code, "nothing has happened here yet" in err) == (exits.USAGE, True)
    assert schema.revision_of(folder / ".hotwash" / "hotwash.db") is None
