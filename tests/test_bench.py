"""The benchmark in its smallest form, so that it does not rot. No figure is held against anything here."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from bench import messages, project
from bench.load import Connection, Requests, job_of, message_length, percentile
from bench.peers import QUICK, SLOW, chosen
from bench.report import Report, Rounds, Row
from engine.clock import SystemClock
from engine.store.journal import connect

ROOT = Path(__file__).resolve().parents[1]


def test_the_main_row_is_measured_printed_and_kept_and_nothing_else_is_left(tmp_path):
    out = tmp_path / "results.json"
    tiny = ["--only", "durable", "--peers", "none", "--seconds", "0.2", "--rounds", "1", "--scale", "0.0005"]
    command = [sys.executable, "-m", "bench", *tiny, "--out", str(out)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    result = json.loads(out.read_text("utf-8"))
    assert all(row["count"] > 0 for row in result["measured"])
    assert "durable three-step runs, 64 in flight, 50 there before" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


# --- the load generator ---


async def posted(answer, **more):
    """Post to a server that gives `answer` to each whole request; give what was counted and what came in."""
    came_in = []

    def whole(connection, message):
        came_in.append(message)
        connection.transport.write(answer)

    server = await asyncio.get_running_loop().create_server(lambda: Connection(whole, lambda _: None), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        asked = {"head": messages.head(port, "/hooks/pager"), "body": messages.incident(), "port": port, **more}
        return await job_of(asked).run(), came_in


OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"


async def test_each_client_sends_its_next_request_when_the_last_one_was_answered():
    counted, came_in = await posted(OK, clients=3, seconds=0.1, signature=messages.SIGNATURE)
    assert counted["count"] == len(came_in) == counted["statuses"]["202"]
    assert counted["unfinished"] == counted["refused"] == 0


async def test_a_steady_rate_sends_as_many_as_it_says():
    counted, came_in = await posted(OK, clients=2, seconds=0.2, rate=100.0)
    assert counted["count"] == len(came_in) == 20


async def test_what_is_refused_is_counted_as_such():
    counted, came_in = await posted(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", clients=1, seconds=0.05)
    assert counted["refused"] == len(came_in)


async def test_a_request_that_must_be_called_for_is_not_done_before_it_was():
    counted, came_in = await posted(OK, clients=2, seconds=0.05, calls=3, patience=0.05)
    assert (counted["count"], counted["unfinished"]) == (0, len(came_in)) == (0, 2)


def test_each_request_has_an_id_and_a_signature_of_its_own():
    requests = Requests(b"POST / HTTP/1.1\r\n", b'{"id":"@ID@"}', messages.SIGNATURE)
    (one, first), (two, second) = requests.make(0), requests.make(1)
    assert one != two
    assert one in first
    assert {data.count(b"X-PagerDuty-Signature: v1=") for data in (first, second)} == {1}
    assert message_length(first) == len(first)


@pytest.mark.parametrize(
    ("buffer", "length"),
    [
        (b"GET / HTTP/1.1\r\n", 0),
        (b"GET / HTTP/1.1\r\n\r\nGET", 18),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{", 0),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP", 40),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", 0),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nHTTP", 59),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 52),
    ],
)
def test_a_message_is_as_long_as_its_head_says(buffer, length):
    assert message_length(buffer) == length


def test_a_percentile_is_a_value_that_was_measured():
    assert [percentile([1.0, 2.0, 3.0, 4.0], share) for share in (0.5, 0.99, 1.0)] == [3.0, 4.0, 4.0]
    assert percentile([], 0.99) == 0.0


# --- what is made beforehand ---


def test_copies_of_a_run_differ_in_every_id_and_have_all_its_rows(tmp_path):
    folder = project.write(tmp_path / "project", {"three": "on: incident.declared\n" + project.THREE_STEPS})
    project.let_happen(folder, project.declared(SystemClock().now()))
    path = project.database(folder)
    tables = ("events", "subjects", "verdicts", "runs", "steps", "effects")
    with closing(connect(path, readonly=True)) as reader:
        before = {table: reader.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
    project.copy_run(path, 1, 4)
    assert {table: project.scalar(path, f"SELECT count(*) FROM {table}") for table in tables} == {
        table: 5 * count for table, count in before.items()
    }
    assert (
        project.scalar(
            path, "SELECT count(*) FROM runs JOIN events ON events.id = event AND key LIKE '%' || events.subject"
        )
        == 5
    )
    assert project.scalar(path, "SELECT count(DISTINCT run) FROM effects") == 5
    project.let_happen(folder)  # an engine starts on it


# --- the table ---


def test_a_figure_is_the_median_of_its_rounds_and_is_held_against_the_peer_of_the_same_run():
    ours, theirs = Rounds(), Rounds()
    for count in (100, 300, 200):
        ours.add(count, 1.0)
        theirs.add(20, 1.0)
    row = ours.against(theirs, "peer", "three steps", 10.0)
    assert (row.figure, row.ratio, row.reached) == (20.0, 10.0, True)


def test_the_table_says_what_is_not_reached():
    report = Report([Row("one", 1.5, "s", must="1 s", reached=False), Row("two", 1234.0, "/s", 10, 2.0)])
    lines = report.table().splitlines()
    assert lines[1].split() == ["one", "1.5", "s", "1", "s", "NO"]
    assert lines[2].split() == ["two", "10", "2.0", "1,234/s"]
    assert [row.work for row in report.missed] == ["one"]


def test_peers_are_chosen_by_name_the_quick_ones_without():
    assert chosen("") == QUICK
    assert chosen("all") == QUICK + SLOW
    assert chosen("none") == ()
    assert chosen("n8n,dbos") == ("n8n", "dbos")
    with pytest.raises(ValueError, match="there is no peer 'cron'"):
        chosen("cron")
