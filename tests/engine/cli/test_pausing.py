"""`hotwash pause` and `resume`, and what the reading commands print of them and of what is held."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from engine import cli, wiring
from engine.cli import exits
from engine.testing import RecordingChat, World

EVENING = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)
FLOW = "on: incident.declared\nduring: office\nsteps: [{id: say, uses: chat.post, with: {text: hello}}]\n"
PROJECT = 'timezone: Europe/Prague\nowner: ada\ncalendars: {office: {hours: {mon-fri: "09:00-17:00"}}}\n'


@pytest.fixture
async def project(tmp_path, monkeypatch):
    """A project with a run that is held until the morning; its engine has ended."""
    (tmp_path / "workflows").mkdir()
    (tmp_path / "hotwash.yaml").write_text(PROJECT)
    (tmp_path / "people.yaml").write_text("people: {ada: {name: Ada}}\n")
    (tmp_path / "workflows" / "flow.yaml").write_text(FLOW)
    async with World(tmp_path, EVENING, wiring.open_application, providers={"console": RecordingChat()}) as world:
        await world.incident("declared", title="Slow")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def hotwash(capsys, project):
    """Give the exit code of a command and what it prints."""

    def run(*arguments):
        code = cli.run(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


def test_a_pause_without_an_engine_is_written_and_shown_by_status(hotwash):
    code, printed = hotwash("pause")
    assert code == exits.OK
    assert "all workflows are paused: effects are held until 'hotwash resume'" in printed
    _, printed = hotwash("status")
    assert "paused: effects are held until 'hotwash resume'\n  all workflows, since " in printed
    assert hotwash("resume")[0] == exits.OK
    assert "paused" not in hotwash("status")[1]


def test_a_pause_of_one_workflow_names_how_to_end_it(hotwash):
    assert "held until 'hotwash resume flow'" in hotwash("pause", "flow")[1]
    record = json.loads(hotwash("status", "--json")[1])["paused"]
    assert [one["workflow"] for one in record] == ["flow"]


def test_an_unknown_workflow_is_wrong_usage_and_nothing_to_resume_a_problem(hotwash):
    code, printed = hotwash("pause", "flwo")
    assert (code, "did you mean 'flow'?" in printed) == (exits.USAGE, True)
    code, printed = hotwash("resume")
    assert (code, "nothing is paused" in printed) == (exits.PROBLEMS, True)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (("runs", "show", "#1"), "held: outside the hours of calendar 'office'; until 2026-03-03 09:00:00 CET"),
        (
            ("status",),
            "at 'say', since Mon 2026-03-02 21:00 CET: outside the hours of calendar 'office'; until Tue 2026",
        ),
        (("explain", "#1"), "held now until Tue 2026-03-03 09:00 CET: outside the hours of calendar 'office'"),
    ],
)
def test_a_held_effect_is_shown_with_until_when_and_why(hotwash, command, line):
    assert line in hotwash(*command)[1]
