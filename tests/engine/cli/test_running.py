from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import stat
import subprocess
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest

from engine import cli, wiring
from engine.cli import client, exits, logs
from engine.cli import running as command
from engine.problems import Problem, Span
from engine.server import serving
from engine.testing import MovableClock, World

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[3]
NAP = "on: incident.declared\nsteps:\n  - wait: 3d\n"
ASK = (
    'on: incident.declared\nsteps:\n  - {id: ask, uses: chat.ask, with: {to: ada, text: "Well?", choices: {go: Go}}}\n'
)
TOKEN = "the-token"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "workflows").mkdir()
    (tmp_path / ".hotwash" / "secrets").mkdir(parents=True)
    (tmp_path / ".hotwash" / "secrets" / "pager").write_text("s3cret\n")
    (tmp_path / "hotwash.yaml").write_text(
        "timezone: UTC\nowner: ada\nserver: {port: 0}\nconnections:\n"
        "  pager: {provider: pagerduty, webhook_secret: '${file:.hotwash/secrets/pager}'}\n"
    )
    (tmp_path / "people.yaml").write_text("people: {ada: {name: Ada}}\n")
    return tmp_path


def webhook(folder, kind="incident.triggered", title="Checkout is slow"):
    data = {"type": "incident", "id": "P1", "number": 7, "title": title, "status": "triggered"}
    event = {"id": "01A", "event_type": kind, "occurred_at": "2026-03-02T08:59:00Z", "data": data}
    path = folder / "body.json"
    path.write_text(json.dumps({"event": event}))
    return path


@asynccontextmanager
async def running(folder, **providers):
    """Run an engine and its server as `hotwash run` does, under a clock of the test's own."""
    async with World(folder, START, wiring.open_application, providers=providers) as world:
        app = world.application
        async with serving(app, TOKEN, "127.0.0.1", 0) as address, command._announced(app, address, TOKEN):
            yield world


async def hotwash(capsys, *arguments):
    """Give exit code, stdout and stderr of a command that another thread runs, beside the engine."""
    code = await asyncio.to_thread(cli.run, list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def alone(capsys, *arguments):
    code = cli.run(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# --- with an engine that runs ---


async def test_a_writing_command_is_done_by_the_engine_that_runs(capsys, folder):
    async with running(folder) as world:
        done = await hotwash(capsys, "incident", "declare", "Slow", "-s", "sev2", "--service", "web", "-C", str(folder))
        assert done == (exits.OK, "INC-1 is declared: Slow\n", "")
        incident = world.subjects("incident")[0]
        assert (incident.severity, incident.services, incident.declared_at) == ("sev2", ("web",), START)
        assert world.events("incident.declared")[0].actor.name == client.user()


async def test_the_whole_life_of_an_incident_by_commands(capsys, folder):
    async with running(folder) as world:
        for words in (["declare", "Slow"], ["ack", "INC-1"], ["mitigate", "inc-1"], ["resolve", "INC-1"]):
            assert (await hotwash(capsys, "incident", *words, "-C", str(folder)))[0] == exits.OK
        _, out, _ = await hotwash(capsys, "incident", "reopen", "INC-1", "-C", str(folder), "--json")
        assert json.loads(out)["incident"]["status"] == "declared"
        assert [event.type.partition(".")[2] for event in world.events()] == [
            *("declared", "acknowledged", "mitigated", "resolved", "reopened")
        ]


async def test_the_whole_life_of_a_ticket_by_commands(capsys, folder):
    at = ("-C", str(folder))
    async with running(folder):
        for words in (
            ["create", "Alert on the queue", "-a", "ada", "--due", "2026-03-20", "-l", "postmortem"],
            ["comment", "HW-1", "half done"],
            ["assign", "HW-1", "ada"],
            ["close", "HW-1", "-m", "done"],
            ["reopen", "HW-1"],
        ):
            code, _, err = await hotwash(capsys, "ticket", *words, *at)
            assert (code, err) == (exits.OK, "")
        _, out, _ = await hotwash(capsys, "ticket", "list", "--open", "-a", "ada", "-l", "postmortem", *at)
        assert [line.split()[:3] for line in out.splitlines()] == [
            ["KEY", "STATE", "ASSIGNEE"],
            ["HW-1", "open", "Ada"],
        ]
        _, out, _ = await hotwash(capsys, "ticket", "show", "hw-1", *at)
        assert ("half done" in out, "Fri 2026-03-20 23:59 UTC" in out) == (True, True)


async def test_an_answer_is_given_as_somebody_and_records_both(capsys, folder):
    (folder / "workflows" / "ask.yaml").write_text(ASK)
    async with running(folder) as world:
        await world.incident("declared", title="x")
        done = await hotwash(capsys, "answer", "Q1", "go", "--as", "ada", "-C", str(folder))
        assert done == (exits.OK, "Q1 is answered by Ada: Go\n", "")
        event = world.events("chat.answered")[0]
        assert (event.actor.id, event.data["entered_by"]) == ("ada", client.user())


async def test_a_subject_is_muted_listed_and_heard_of_again(capsys, folder):
    async with running(folder) as world:
        await world.incident("declared", title="Slow")
        here = ("-C", str(folder))
        done = await hotwash(capsys, "mute", "pager:P1", "--until", "2040-01-01", "--as", "ada", *here)
        assert done == (exits.OK, "Ada gets no messages about P1 until 2040-01-01 00:00 UTC\n", "")
        _, told, _ = await hotwash(capsys, "mutes", *here)
        assert told == f"ada: P1 “Slow” until Sun 2040-01-01 00:00 UTC, entered by {client.user()}\n"
        assert (await hotwash(capsys, "unmute", "pager:P1", "--as", "ada", *here))[1] == "Ada hears of P1 again\n"
        assert (await hotwash(capsys, "mutes", *here))[1] == "nobody has muted anything\n"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["incident", "resolve", "INC-9"], exits.USAGE, "no incident is called 'INC-9'; there are none yet"),
        (["ticket", "create", "x", "--due", "soon"], exits.USAGE, "'due' must be a date"),
        (["runs", "retry", "run_7"], exits.USAGE, "no run is called 'run_7'"),
        (["runs", "cancel"], exits.USAGE, "name a run, or a workflow"),
        (["mute", "HW-9", "--until", "1d", "--as", "ada"], exits.USAGE, "no subject is called 'HW-9'"),
        (["answer", "Q1", "go"], exits.USAGE, "no question is called 'Q1'"),
    ],
)
async def test_what_cannot_be_done_is_told_with_its_exit_code(capsys, folder, words, code, told):
    async with running(folder):
        got, out, err = await hotwash(capsys, *words, "-C", str(folder))
        assert (got, out, told in err) == (code, "", True)


async def test_a_run_is_cancelled_by_a_command(capsys, folder):
    (folder / "workflows" / "nap.yaml").write_text(NAP)
    async with running(folder) as world:
        await world.incident("declared", title="x")
        code, out, _ = await hotwash(capsys, "runs", "cancel", "--workflow", "nap", "-C", str(folder))
        assert (code, out.endswith(" is cancelled\n")) == (exits.OK, True)
        code, _, err = await hotwash(capsys, "runs", "cancel", "1", "-C", str(folder))
        assert (code, "is cancelled already" in err) == (exits.PROBLEMS, True)
        assert world.runs()[0]["state"] == "cancelled"


async def test_only_its_owner_can_read_how_to_reach_the_engine_and_it_goes_with_it(folder):
    path = folder / client.SERVER_FILE
    async with running(folder):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()


# --- events send, events sign ---


async def test_a_file_is_sent_signed_as_its_vendor_would(capsys, folder):
    body = webhook(folder)
    async with running(folder) as world:
        done = await hotwash(capsys, "events", "send", str(body), "-c", "pager", "-C", str(folder))
        assert done == (exits.OK, '202 Accepted: {"accepted":1}\n', "")
        code, out, _ = await hotwash(capsys, "events", "send", str(body), "-c", "pager", "--no-sign", "-C", str(folder))
        assert (code, out.startswith("401 Unauthorized")) == (exits.PROBLEMS, True)
        assert [event.type for event in world.events()] == ["incident.declared"]


async def test_what_sign_prints_is_taken_by_the_server(capsys, folder):
    body = webhook(folder)
    async with running(folder) as world:
        _, out, _ = await hotwash(capsys, "events", "sign", str(body), "-c", "pager", "-C", str(folder))
        headers = dict(line.split(": ", 1) for line in out.splitlines())
        world.application.sources["pager"].authenticate(headers, body.read_bytes(), START)
        engine = client.running_engine(folder)
        _, curl, _ = await hotwash(capsys, "events", "sign", str(body), "-c", "pager", "--curl", "-C", str(folder))
        assert curl.startswith("curl ")
        assert curl.endswith(f"--data-binary @{body} {engine.address}/hooks/pager\n")
        assert f"-H '{out.strip()}'" in curl


def test_signing_needs_no_engine_and_names_the_connections_that_there_are(capsys, folder):
    body = webhook(folder)
    assert alone(capsys, "events", "sign", str(body), "-c", "pager", "-C", str(folder))[0] == exits.OK
    code, _, err = alone(capsys, "events", "sign", str(body), "-c", "pagr", "-C", str(folder))
    assert (code, "did you mean 'pager'?" in err) == (exits.USAGE, True)
    code, _, err = alone(capsys, "events", "send", str(body), "-c", "pager", "-C", str(folder))
    assert (code, "'hotwash run' starts one" in err) == (exits.PROBLEMS, True)


# --- without an engine ---


def test_without_an_engine_a_command_writes_and_the_next_start_goes_on(capsys, folder):
    (folder / "workflows" / "nap.yaml").write_text(NAP)
    code, out, err = alone(capsys, "incident", "declare", "Slow", "-C", str(folder))
    assert (code, out) == (exits.OK, "INC-1 is declared: Slow\n")
    assert "the next 'hotwash run'" in err

    async def start():
        async with running(folder) as world:
            return [run["workflow"] for run in world.runs()]

    assert asyncio.run(start()) == ["nap"]


def test_what_a_killed_engine_left_behind_is_not_believed(capsys, folder):
    told = {"address": "http://127.0.0.1:9", "token": "x", "pid": 1, "database": str(folder / ".hotwash/hotwash.db")}
    (folder / client.SERVER_FILE).write_text(json.dumps(told))
    assert client.running_engine(folder) is None
    assert alone(capsys, "incident", "declare", "Slow", "-C", str(folder))[0] == exits.OK


def test_while_another_process_has_the_files_nothing_is_written(capsys, folder):
    application = wiring.open_application(folder)
    try:
        code, _, err = alone(capsys, "incident", "declare", "Slow", "-C", str(folder))
    finally:
        asyncio.run(application.stop())
    assert (code, f"in use by process {os.getpid()}" in err) == (exits.PROBLEMS, True)


# --- the log ---


def test_the_log_is_a_line_for_each_thing_and_what_is_said_goes_to_stdout():
    lines, said = StringIO(), StringIO()
    log = logs.Log("text", MovableClock(START), lines, said)
    log("effect.done", "x \x1b[2J\nforged  line", run="run_1")
    log("said", "hello")
    assert lines.getvalue() == "2026-03-02T09:00:00Z  effect.done        x �[2J forged  line\n"
    assert said.getvalue() == "hello\n"


async def test_lines_of_one_turn_of_the_loop_are_written_together_and_in_their_order():
    class Pieces(StringIO):
        def write(self, text):
            pieces.append(text)

    pieces = []
    log = logs.Log("text", MovableClock(START), Pieces())
    for number in range(3):
        log("event.received", str(number))
    await asyncio.sleep(0)
    log("run.started", "at the end")
    log.flush()
    assert ["".join(line[-1] for line in piece.splitlines()) for piece in pieces] == ["012", "d"]


def test_the_log_for_programs_is_json_lines_with_the_facts():
    lines = StringIO()
    log = logs.Log("json", MovableClock(START), lines)
    log("connection.held", "held", until=START + timedelta(hours=1))
    log.problems([Problem("x", "wrong", Span("f", 1, 2, 1, 3))])
    first, second = map(json.loads, lines.getvalue().splitlines())
    assert first == {
        "at": START.isoformat(),
        "event": "connection.held",
        "message": "held",
        "until": "2026-03-02T10:00:00+00:00",
    }
    assert (second["event"], second["file"], second["line"]) == ("project.problem", "f", 1)


def test_what_libraries_log_has_the_same_form():
    lines = StringIO()
    handler = logs.Handler(logs.Log("json", MovableClock(START), lines))
    handler.emit(logging.LogRecord("uvicorn.error", logging.WARNING, "", 1, "odd %s", ("request",), None))
    assert json.loads(lines.getvalue())["event"] == "library.uvicorn.error"


def test_a_log_that_nobody_reads_any_more_stops_nothing():
    class Closed(StringIO):
        def write(self, text):
            raise BrokenPipeError

    logs.Log("text", MovableClock(START), Closed(), Closed())("said", "hello")


async def test_our_threads_stay_on_one_processor_until_the_engine_stops():
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is only one processor to choose")
    before, stopping = os.sched_getaffinity(0), asyncio.Event()
    placing = asyncio.create_task(command.stay_together(stopping))
    await asyncio.sleep(0)
    together = [os.sched_getaffinity(int(thread)) for thread in os.listdir("/proc/self/task")]
    stopping.set()
    await placing
    assert [len(processors) for processors in together] == [1] * len(together)
    assert os.sched_getaffinity(0) == before


# --- the process ---


@pytest.fixture
def process(folder):
    """Give what starts `hotwash run` as a process of its own."""
    started = []

    def start(*options):
        command = [sys.executable, "-c", "from engine.cli import main; main()", "run", "-C", str(folder), *options]
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        started.append(run)
        return run

    yield start
    for run in started:
        run.kill()
        run.communicate()


def read_until(run, word):
    lines = []
    for line in run.stderr:
        lines.append(line)
        if word in line:
            return lines
    raise AssertionError(f"'{word}' was never said: {lines}")


def test_the_engine_starts_reloads_and_stops_when_it_is_told_to(folder, process):
    run = process("--log-format", "json")
    read_until(run, "engine.started")
    (folder / "workflows" / "nap.yaml").write_text(NAP.replace("wait", "wiat"))
    broken = read_until(run, "workflows.read")
    (folder / "workflows" / "nap.yaml").write_text(NAP)
    read_until(run, "workflow.loaded")
    run.send_signal(signal.SIGTERM)
    assert run.wait(20) == exits.OK
    assert any(json.loads(line)["event"] == "project.problem" for line in broken)
    assert not (folder / client.SERVER_FILE).exists()


def test_a_workflow_with_problems_is_told_and_the_others_run(folder, process):
    (folder / "workflows" / "broken.yaml").write_text("on: incident.declard\nsteps: []\n")
    (folder / "workflows" / "nap.yaml").write_text(NAP)
    run = process()
    told = "".join(read_until(run, "engine.started"))
    assert ("workflows/broken.yaml:1:5" in told, "1 workflow loaded" in told) == (True, True)


def test_a_second_engine_on_the_same_files_is_refused(folder, process):
    first = process()
    read_until(first, "engine.started")
    second = process()
    assert second.wait(20) == exits.PROBLEMS
    assert f"in use by process {first.pid}" in second.stderr.read()


def test_a_port_that_is_taken_is_told_with_what_to_do(folder, process, tmp_path_factory):
    read_until(process(), "engine.started")
    port = json.loads((folder / client.SERVER_FILE).read_text())["address"].rpartition(":")[2]
    other = tmp_path_factory.mktemp("other")
    (other / "hotwash.yaml").write_text("timezone: UTC\n")
    run = process("-C", str(other), "--port", port)
    assert run.wait(20) == exits.PROBLEMS
    assert "name another with --port" in run.stderr.read()


def test_killing_the_process_while_a_run_waits_and_starting_it_again_finishes_the_run(capsys, folder, process):
    (folder / "workflows" / "nap.yaml").write_text(NAP.replace("3d", "2s"))
    run = process()
    read_until(run, "engine.started")
    assert alone(capsys, "incident", "declare", "Slow", "-C", str(folder))[0] == exits.OK
    read_until(run, "run.started")
    run.kill()
    run.wait(20)
    read_until(process(), "run.finished")


@pytest.mark.parametrize(
    ("command", "room"),
    [
        *((["run"], room) for room in (0, 8_192, 65_536)),
        *((["incident", "declare", "Checkout is slow"], room) for room in (0, 8_192, 65_536)),
        *((["status"], room) for room in (0, 8_192)),
    ],
)
def test_a_full_disk_at_the_start_is_told_in_a_sentence(folder, command, room):
    if command == ["status"]:  # which reads, and needs a database to read
        with_room = subprocess.run(limited(["ticket", "create", "One"], 1 << 30, folder), capture_output=True, cwd=ROOT)
        assert with_room.returncode == 0
    done = subprocess.run(limited(command, room, folder), capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("hotwash: ")]
    assert len(said) == 1
    assert re.search(r"the database cannot be used: .*(file too large|disk is full|disk i/o error)", said[0], re.I)
    assert "Traceback" not in done.stderr


def limited(command, room, folder):
    """Give the command line of `hotwash` in a process whose files may not grow beyond `room` bytes."""
    program = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))
from engine.cli import main
main()
"""
    return [sys.executable, "-c", program, *command, "-C", str(folder)]


def test_an_engine_that_runs_dry_says_so_and_what_it_did_not_do(capsys, folder, process):
    (folder / "workflows" / "tell.yaml").write_text(
        "on: incident.declared\nsteps:\n  - {uses: chat.post, with: {text: a}}\n"
    )
    run = process("--dry-run")
    assert "a dry run: nothing goes out, live runs rest" in read_until(run, "listening on")[-1]
    assert cli.run(["incident", "declare", "Slow", "-C", str(folder)]) == exits.OK
    assert "not done, it is a dry run" in read_until(run, "tell/")[-1]
    cli.run(["status", "-C", str(folder)])
    assert "it is a dry run: nothing goes out, and live runs rest" in capsys.readouterr().out
