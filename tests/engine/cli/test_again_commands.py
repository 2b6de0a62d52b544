"""`hotwash runs retry --latest` and `hotwash events replay`, with no engine running."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from engine import cli, wiring
from engine.cli import exits
from engine.plugins import ActionError
from engine.testing import RecordingChat, World

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FLOW = """\
on: incident.declared
steps:
  - {id: a, uses: incident.note, with: {text: a}}
  - {id: b, uses: chat.post, with: {text: b}}
"""


@pytest.fixture
async def project(tmp_path, monkeypatch):
    """A project with a run that failed at its second step; its engine has ended."""

    def refuse(message):
        raise ActionError("no")

    chat = RecordingChat()
    chat.before = refuse
    (tmp_path / "workflows").mkdir()
    (tmp_path / "hotwash.yaml").write_text("timezone: UTC\n")
    (tmp_path / "workflows" / "flow.yaml").write_text(FLOW)
    async with World(tmp_path, START, wiring.open_application, providers={"console": chat}) as world:
        await world.incident("declared", title="Slow")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hotwash(capsys, *arguments):
    code = cli.run(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_retry_with_the_current_file_says_which_step_is_not_there(capsys, project):
    (project / "workflows" / "flow.yaml").write_text(FLOW.replace("id: a", "id: other"))
    code, _, err = hotwash(capsys, "runs", "retry", "1", "--latest")
    assert (code, "'a' (incident.note) is not there" in err) == (exits.PROBLEMS, True)


def test_a_retry_with_the_current_file_is_told_in_the_history(capsys, project):
    assert hotwash(capsys, "runs", "retry", "1", "--latest")[0] == exits.OK
    assert "goes on with the file of then, says " in hotwash(capsys, "runs", "show", "1")[1]


def test_a_replay_says_what_it_led_to_for_each_workflow_and_explain_that_it_was_one(capsys, project):
    (project / "workflows" / "late.yaml").write_text(FLOW)
    code, out, err = hotwash(capsys, "events", "replay", "1")
    first, *lines = out.splitlines()
    assert (code, first.startswith("incident.declared evt_"), first.endswith(" was replayed")) == (exits.OK, True, True)
    assert lines[0].startswith("  flow: it already ran for this key; replayed by ")
    assert lines[1].startswith("  late: started; replayed by ")
    assert "happens at the next 'hotwash run'" in err
    assert "started; replayed by " in hotwash(capsys, "explain", "1", "late")[1]


def test_a_replay_gives_json_to_programs(capsys, project):
    _, out, _ = hotwash(capsys, "events", "replay", "1", "flow", "--json")
    (outcome,) = json.loads(out)["outcomes"]
    assert (outcome["verdict"], outcome["run"][:4]) == ("already_ran", "run_")
