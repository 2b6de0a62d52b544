from __future__ import annotations

import fcntl
import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from engine import cli, wiring
from engine.cli import exits, histories, reading
from engine.cli import status as status_command
from engine.plugins import ActionError, RetryLater
from engine.testing import RecordingChat, World

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LADDER = """
name: Ladder
on: {incident.declared: {}}
vars: {who: "${{ person('ada') }}"}
steps:
  - if: incident.severity == "sev1"
    uses: chat.post
    with: {channel: "#sev1", text: "loud"}
  - id: each
    for_each: '["a", "b"]'
    uses: chat.post
    with: {channel: "#sre", text: "${{ item }}"}
  - id: ladder
    repeat: {max: 2, every: 1h}
    steps:
      - id: ask
        uses: chat.ask
        timeout: 30m
        with: {to: ada, text: "Who takes it?", choices: {me: I do}}
  - id: closed
    wait: {for: 3d, until: [incident.resolved]}
"""
QUIET = 'name: Quiet\non: incident.declared\nif: incident.severity == "sev1"\nsteps: [{finish: done}]\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "workflows").mkdir()
    (tmp_path / "hotwash.yaml").write_text("timezone: Europe/Prague\nowner: ada\npeople: people.yaml\n")
    (tmp_path / "people.yaml").write_text("people: {ada: {name: Ada}}\n")
    (tmp_path / "workflows" / "ladder.yaml").write_text(LADDER)
    (tmp_path / "workflows" / "quiet.yaml").write_text(QUIET)
    return tmp_path


@pytest.fixture
async def lived(folder):
    """A project in which one incident was declared and resolved within five hours; its engine has ended."""
    async with World(folder, START, wiring.open_application, providers={"console": RecordingChat()}) as world:
        await world.incident("declared", title="Slow \x1b[2J", severity="sev3")
        await world.answer("me", "ada")
        await world.move("5h")
        await world.incident("resolved")
    return folder


async def failing(folder, error):
    chat = RecordingChat()

    def before(_message):
        raise error

    chat.before = before
    async with World(folder, START, wiring.open_application, providers={"console": chat}) as world:
        await world.incident("declared", title="Slow", severity="sev1")


def printed(capsys, command, *arguments, **options):
    """Give what a reading command prints; the group that names it is not this test's."""
    capsys.readouterr()
    command(*arguments, **options)
    return capsys.readouterr().out


def hotwash(capsys, *arguments):
    capsys.readouterr()
    code = cli.run(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# --- runs and events ---


async def test_runs_list_shows_state_subject_and_local_times(capsys, lived):
    out = printed(capsys, reading.list_runs, project=lived)
    assert re.search(r"^run_\w+  ladder    finished  pager:P1 “Slow �\[2J”  2026-03-02 10:00:00 CET", out, re.MULTILINE)


async def test_runs_list_gives_the_same_as_json_in_utc(capsys, lived):
    (run,) = json.loads(printed(capsys, reading.list_runs, workflow="ladder", project=lived, json=True))
    assert (run["workflow"], run["created"]) == ("ladder", "2026-03-02T09:00:00+00:00")


async def test_a_state_that_there_is_not_is_wrong_usage_with_the_nearest(lived):
    with pytest.raises(exits.CommandError, match="no state is called 'waitin'") as caught:
        reading.list_runs(state="waitin", project=lived)
    assert caught.value.hint == "did you mean 'waiting'?"


async def test_a_state_is_taken_with_a_dash_too(capsys, lived):
    assert printed(capsys, reading.list_runs, state="needs-decision", project=lived) == "there are no such runs\n"


async def test_runs_show_tells_the_history_a_line_for_each_thing(capsys, lived):
    resolved = json.loads(printed(capsys, reading.list_events, type="incident.resolved", project=lived, json=True))[0][
        "id"
    ]
    lines = printed(capsys, reading.show_run, "1", project=lived).splitlines()
    history = [line[27:] for line in lines[lines.index("what happened") + 1 : lines.index("effects") - 1]]
    assert [" ".join(line.split()) for line in history] == [
        "vars: who = Ada",
        "chat.post#1 passed over, 'if' is false at: incident.severity == \"sev1\"",
        "each for each of 2: a, b",
        "each[a] chat.post: channel: #sre, text: a → https://chat.invalid/1",
        "each[b] chat.post: channel: #sre, text: b → https://chat.invalid/2",
        "ladder iteration 1 begins",
        "ladder#1/ask chat.ask: asked (to: ada, text: “Who takes it?”, choices: me: I do);"
        " an answer is taken until Mon 2026-03-02 10:30 CET",
        "ladder#1/ask chat.ask: answered 'me', says Ada",
        "ladder iteration 1 is over; the next one at Mon 2026-03-02 11:00 CET",
        "ladder iteration 2 begins",
        "ladder#2/ask chat.ask: asked (to: ada, text: “Who takes it?”, choices: me: I do);"
        " an answer is taken until Mon 2026-03-02 11:30 CET",
        "ladder#2/ask chat.ask: nobody answered in time",
        "ladder ends after 2 iterations: that was the last",
        "closed waits until Thu 2026-03-05 11:30 CET",
        f"closed goes on: incident.resolved came {resolved}",
        "finished",
    ]


async def test_steps_inside_groups_are_indented(capsys, lived):
    out = printed(capsys, reading.show_run, "1", project=lived)
    assert re.search(r"CET  ladder   ", out)
    assert re.search(r"CET    ladder#1/ask", out)


async def test_a_run_that_failed_says_where_why_and_how_to_go_on(capsys, folder):
    await failing(folder, ActionError("no such channel"))
    out = printed(capsys, reading.show_run, "1", project=folder)
    assert out.splitlines()[0].endswith("failed at 'chat.post#1': no such channel")
    assert re.search(r"hotwash runs retry run_\w+", out)


async def test_a_run_in_doubt_says_what_may_have_gone_out(capsys, folder):
    await failing(folder, RetryLater("timed out", maybe_done=True))
    for out in (
        printed(capsys, reading.show_run, "1", project=folder),
        printed(capsys, status_command.status, project=folder),
    ):
        assert "(channel: #sev1, text: loud)" in out
        assert re.search(r"hotwash runs decide run_\w+ repeat\|skip\|done", out)


async def test_a_waiting_run_says_for_what(capsys, folder):
    async with World(folder, START, wiring.open_application, providers={"console": RecordingChat()}) as world:
        await world.incident("declared", title="Slow")
        await world.move("2h")
        out = printed(capsys, reading.show_run, "1", project=folder)
    waits = out.partition("\nwaits for\n")[2]
    assert waits == "  closed: until Thu 2026-03-05 12:00 CET, or incident.resolved whose subject is pager:P1\n"


async def test_events_list_says_what_each_led_to(capsys, lived):
    out = printed(capsys, reading.list_events, project=lived)
    assert re.search(r"incident.declared .* ladder started$", out, re.MULTILINE)


async def test_events_show_tells_what_changed(capsys, lived):
    out = printed(capsys, reading.show_event, "3", project=lived)
    assert "  resolved_at: nothing → 2026-03-02 15:00:00 CET\n  status: declared → resolved\n" in out
    assert re.search(r"woken at 'closed': ladder run_\w+, finished now", out)


async def test_an_id_that_nothing_has_is_wrong_usage(lived):
    with pytest.raises(exits.CommandError, match="there is no event 'evt_zz'") as caught:
        reading.show_event("evt_zz", project=lived)
    assert (caught.value.code, caught.value.hint) == (exits.USAGE, "'hotwash events list' says what there is")


@pytest.mark.parametrize("command", [reading.list_runs, reading.list_events])
def test_without_a_database_a_command_says_how_to_get_one(folder, command):
    with pytest.raises(exits.CommandError, match="there is no database") as caught:
        command(project=folder)
    assert (caught.value.code, caught.value.hint) == (exits.USAGE, "'hotwash run' makes it")
    assert not (folder / ".hotwash").exists()


async def test_reading_works_while_an_engine_runs(capsys, folder):
    async with World(folder, START, wiring.open_application, providers={"console": RecordingChat()}) as world:
        await world.incident("declared", title="Slow")
        assert "ladder" in printed(capsys, reading.list_runs, project=folder)


# --- explain ---


async def test_explain_tells_of_every_workflow_that_listened(capsys, lived):
    code, out, _ = hotwash(capsys, "explain", "1", "-C", str(lived))
    assert code == exits.OK
    assert re.search(r"^ladder  2026-03-02 10:00:00 CET  started: run_\w+, finished now$", out, re.MULTILINE)
    assert "false at: incident.severity == \"sev1\"  (incident.severity was 'sev3'); computed" in out


async def test_explain_of_one_workflow_leaves_the_others_out(capsys, lived):
    _, out, _ = hotwash(capsys, "explain", "1", "quiet", "-C", str(lived))
    assert ("false at" in out, "ladder" in out) == (True, False)


async def test_explain_says_what_a_workflow_listens_to_instead(capsys, lived):
    _, out, _ = hotwash(capsys, "explain", "3", "quiet", "-C", str(lived))
    assert "quiet  listens to incident.declared, not to incident.resolved" in out


async def test_explain_of_a_workflow_that_there_is_not_names_the_nearest(capsys, lived):
    code, _, err = hotwash(capsys, "explain", "1", "quite", "-C", str(lived))
    assert (code, "did you mean 'quiet'?" in err) == (exits.USAGE, True)


async def test_explain_takes_an_id_and_the_beginning_of_one(capsys, lived):
    uid = json.loads(hotwash(capsys, "explain", "1", "-C", str(lived), "--json")[1])["event"]["id"]
    for ref in (uid, uid[:-4], uid.removeprefix("evt_")):
        assert uid in hotwash(capsys, "explain", ref, "-C", str(lived))[1]


async def test_explain_works_when_the_file_has_errors_now(capsys, lived):
    (lived / "workflows" / "quiet.yaml").write_text("on: nothing.known\n")
    _, out, _ = hotwash(capsys, "explain", "1", "quiet", "-C", str(lived))
    assert 'false at: incident.severity == "sev1"' in out


# --- status ---


async def test_status_tells_of_questions_failures_and_sources(capsys, folder):
    async with World(folder, START, wiring.open_application, providers={"console": RecordingChat()}) as world:
        await world.incident("declared", title="Slow")
        code, out, _ = hotwash(capsys, "status", "-C", str(folder))
    assert code == exits.OK
    assert "runs    1 waiting" in out
    assert "ada, asked Mon 2026-03-02 10:00 CET" in out
    assert "hotwash answer 'ladder/incident.declared/pager:P1/1/ask#1' me" in out
    assert "  pager: incident.declared Mon 2026-03-02 10:00 CET" in out


async def test_status_names_the_file_that_has_problems(capsys, lived):
    (lived / "workflows" / "broken.yaml").write_text("on: nothing.known\n")
    out = hotwash(capsys, "status", "-C", str(lived))[1]
    assert re.search(r"^  workflows/broken.yaml:1: ", out, re.MULTILINE)


async def test_status_says_whether_an_engine_runs_and_where_but_not_its_token(capsys, lived):
    assert hotwash(capsys, "status", "-C", str(lived))[1].startswith("engine  not running")
    (lived / ".hotwash" / "server.json").write_text('{"address": "http://127.0.0.1:8321", "token": "hush"}')
    with open(lived / ".hotwash" / "hotwash.db.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711")
        lock.flush()
        _, out, _ = hotwash(capsys, "status", "-C", str(lived))
    assert out.startswith("engine  running, process 4711, http://127.0.0.1:8321\n")
    assert "hush" not in out


async def test_status_gives_json(capsys, lived):
    found = json.loads(hotwash(capsys, "status", "-C", str(lived), "--json")[1])
    assert (found["engine"]["running"], found["runs"]["finished"]) == (False, 1)


async def test_a_lock_that_is_left_over_is_held_by_nobody(lived):
    (lived / ".hotwash" / "hotwash.db.lock").write_text("1")
    assert status_command.holder(lived / ".hotwash" / "hotwash.db") is None


# --- times ---


@pytest.mark.parametrize(
    ("iso", "shown"),
    [
        ("2026-03-29T00:59:59+00:00", "2026-03-29 01:59:59 CET"),
        ("2026-03-29T01:00:00+00:00", "2026-03-29 03:00:00 CEST"),
    ],
)
def test_a_time_is_shown_with_the_zone_that_holds_then(iso, shown):
    assert histories.Times("Europe/Prague").exact(iso) == shown


@pytest.mark.parametrize(("length", "told"), [(0, "0s"), (59, "59s"), (3600, "1h"), (3661, "1h 1m"), (266400, "3d 2h")])
def test_a_length_is_told_in_its_two_largest_units(length, told):
    assert histories.span(timedelta(seconds=length)) == told


# --- dry runs ---

DRY = """
on: incident.declared
mode: dry_run
steps:
  - id: tell
    uses: chat.post
    with: {channel: "#sre", text: "first line\\n\\n${{ incident.title }}"}
"""


@pytest.fixture
async def thought_of(folder):
    """A project in which one incident started a dry run; its engine has ended."""
    for path in (folder / "workflows").iterdir():
        path.unlink()
    (folder / "workflows" / "flow.yaml").write_text(DRY)
    async with World(folder, START, wiring.open_application) as world:
        await world.incident("declared", title="x" * 300)
    return folder


def test_a_dry_run_is_called_one_and_shows_the_whole_of_what_it_would_have_sent(capsys, thought_of):
    _, listed, _ = hotwash(capsys, "runs", "list", "-C", str(thought_of))
    assert "finished (dry run)" in listed
    _, shown, _ = hotwash(capsys, "runs", "show", "1", "-C", str(thought_of))
    assert shown.splitlines()[0].endswith("finished (dry run)")
    assert "chat.post: not done, it is a dry run (channel: #sre, text: “first line" in shown
    assert "      first line\n" in shown
    assert f"      {'x' * 300}\n" in shown


def test_why_and_how_things_stand_say_dry_run(capsys, thought_of):
    _, told, _ = hotwash(capsys, "explain", "1", "-C", str(thought_of))
    assert "started, as a dry run" in told
    _, stands, _ = hotwash(capsys, "status", "-C", str(thought_of))
    assert "1 finished, as dry runs" in stands


# --- what is private ---


@pytest.fixture
async def secret(folder):
    """A project with a private incident, a ticket and a run of it; its engine has ended."""
    (folder / "workflows" / "asks.yaml").write_text(
        "on: {incident.declared: {private: only}}\n"
        "steps: [{uses: ticket.create, with: {title: Close the hole}}, {wait: 2h}]\n"
    )
    async with World(folder, START, wiring.open_application, providers={"console": RecordingChat()}) as world:
        await world.incident("declared", title="Breach", private=True)
    return folder


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (["runs", "list"], "Breach"),
        (["events", "list"], "Breach"),
        (["status"], "pager:P1"),
        (["incident", "list"], "Breach"),
        (["ticket", "list"], "Close the hole"),
    ],
)
def test_a_list_names_what_is_private_only_when_it_is_asked_to(capsys, secret, command, word):
    for form in ([], ["--json"]):
        code, out, _ = hotwash(capsys, *command, *form, "-C", str(secret))
        assert (code, word in out) == (0, False)
        assert word in hotwash(capsys, *command, *form, "--private", "-C", str(secret))[1]


def test_what_is_private_is_said_to_be_so(capsys, secret):
    _, listed, _ = hotwash(capsys, "runs", "list", "-C", str(secret))
    assert "(private)" in listed
