"""The HTTP server on a real socket: whatever comes in, it answers 2xx, 4xx or 503 or closes, tells nothing as a mistake
of its own, and stays as large as it was.
"""

import json
import re
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hostile_bounds import hostile
from hypothesis import given
from hypothesis import strategies as st

PROJECT = """\
timezone: UTC
connections:
  pager: {provider: pagerduty, webhook_secret: "${SECRET}"}
  deploys: {provider: generic, webhook_secret: "${STANDARD}"}
  alerts: {provider: alertmanager, username: user, password: "${SECRET}"}
  off: {provider: pagerduty, webhook_secret: "${NOT_THERE}"}
"""
#: The child's patience is a second; what waits longer than this hangs.
HANGS = 20
MIB = 1024 * 1024
#: MiB of the process: what it has when idle (85), the bodies it may hold (64), and what goes with them.
LARGEST = 240
HEAD = b"Host: 127.0.0.1\r\nAuthorization: Bearer the-token\r\n"
OPERATIONS = [
    "answer",
    "backup",
    "cancel_runs",
    "create_ticket",
    "decide_run",
    "declare_incident",
    "mitigate_incident",
    "prune",
    "resolve_incident",
    "retry_run",
    "post_event",
    "start_workflow",
    "pause",
]
PATHS = [
    b"/",
    b"*",
    b"/healthz",
    b"/readyz",
    b"/api/events",
    b"/api/runs",
    b"/api/events/1",
    b"/api/runs/x",
    b"/hooks/pager",
    b"/hooks/deploys",
    b"/hooks/alerts",
    b"/hooks/off",
    b"/hooks/",
    b"/hooks/pager/",
    b"//hooks/pager",
    b"http://[",
    b"/hooks/..%2f..%2fetc%2fpasswd",
    b"/../../etc/passwd",
    b"/api/runs/%ed%a0%80",
    b"/api/events/%00",
    b"/%ff",
    b"/api/runs?state=%ff&limit=1",
    b"/api/runs?limit=-1",
    b"/api/events?subject=%00",
    b"/api/runs?limit=%C2%B2",
    b"/api/events?type=" + b"a" * 5000,
    b"/api/runs/" + b"9" * 40,
    b"/api/runs?&&=&;",
    b"/api/operations/nothing",
    *(f"/api/operations/{name}".encode() for name in OPERATIONS),
]
METHODS = [
    b"GET",
    b"POST",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
    b"PATCH",
    b"get",
    b"\x00",
    b"A" * 50,
]
HEADERS = [
    b"Host: 127.0.0.1",
    b"Host: evil.example",
    b"Host: [::",
    b"Host: a b",
    b"Host: \xff",
    b"Host:",
    b"Host: localhost:x",
    b"Authorization: Bearer the-token",
    b"Authorization: Bearer \xff",
    b"Authorization: Basic \xff",
    b"Authorization: Basic",
    b"Authorization: Basic ====",
    b"Authorization: Bearer",
    b"Content-Length: 0",
    b"Content-Length: -1",
    b"Content-Length: x",
    b"Content-Length: 5",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: 2000000",
    b"Content-Length: +5",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: chunked, chunked",
    b"Expect: 100-continue",
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Connection: close",
    b"X-PagerDuty-Signature: v1=",
    b"X: " + b"a" * 3000,
    b"X-PagerDuty-Signature: v1=\xff" + b",v1=" * 40,
    b"webhook-id: \xff",
    b"webhook-timestamp: \xb2",
    b" folded",
    b"no colon",
    b"webhook-timestamp: " + b"9" * 50,
    b"webhook-signature: v1,\xff",
    b"a: b\r\n" * 200 + b"a: b",
    b"\x00: \x00",
    b"x: \x00",
]
BODIES = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"{",
    b"\xff",
    b'"\\ud800"',
    b"NaN",
    b"1e999",
    b"9" * 5000,
    b"[" * 3000,
    b"0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"zz\r\n",
    b"ffffffffffffffff\r\n" + b"a" * 3000,
    b"1;" + b"a" * 3000,
    b"1\r\na\r\n" * 500,
]


class Server:
    def __init__(self, folder):
        (folder / "workflows").mkdir()
        (folder / "hotwash.yaml").write_text(PROJECT)
        script = str(Path(__file__).parent / "child_server.py")
        self.process = subprocess.Popen(
            [sys.executable, script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(json.loads(self.process.stdout.readline())["address"].rpartition(":")[2])

    def report(self):
        """End the server; give what it told and logged, and its largest size."""
        self.process.stdin.close()
        with self.process.stdout as output:
            found = json.loads(output.read())
        assert self.process.wait(timeout=60) == 0
        return found

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=HANGS)

    def send(self, *pieces, ends=True):
        """Give all that is answered until the server closes. A hang is a time-out of the socket."""
        with self.connect() as connection:
            try:
                for piece in pieces:
                    connection.sendall(piece)
                if ends:
                    connection.shutdown(socket.SHUT_WR)
                return received(connection)
            except (ConnectionResetError, BrokenPipeError):
                return b""

    def ask(self, path, body=b"", method=b"POST"):
        """Give the status and the JSON of an answer of the API."""
        length = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
        answer = self.send(method + b" " + path + b" HTTP/1.1\r\n" + HEAD + length + body, ends=False)
        head, _, rest = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), json.loads(rest)


def received(connection):
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
    return answer


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Give a server; at the end hold what it told against what is promised."""
    server = Server(tmp_path_factory.mktemp("hostile"))
    yield server
    report = server.report()
    assert [one for one in report["told"] if one[0] == "request.failed"] == []
    assert [line for line in report["logged"] if "Traceback" in line or "unhandled" in line] == []
    assert report["largest"] < LARGEST


def check_answers(answer):
    """Every answer on the connection has a status that is no fault of ours."""
    statuses = re.findall(rb"HTTP/1\.1 (\d+) ", answer)
    assert all(status[:1] in b"124" or status == b"503" for status in statuses), answer[:2000]
    assert not answer or statuses
    assert b"Traceback" not in answer
    return statuses


requests = st.builds(
    lambda method, path, headers, body: b"%s %s HTTP/1.1\r\n%s\r\n\r\n%s" % (method, path, b"\r\n".join(headers), body),
    st.sampled_from(METHODS[:2] * 5 + METHODS),
    st.sampled_from(PATHS),
    st.lists(st.sampled_from(HEADERS), max_size=4).map(lambda more: [b"Host: 127.0.0.1", *more]),
    st.sampled_from(BODIES),
)


@st.composite
def streams(draw):
    """Give bytes of one or several requests, perhaps damaged."""
    data = b"".join(draw(st.lists(requests, min_size=1, max_size=3)))
    if draw(st.booleans()):
        start = draw(st.integers(0, len(data)))
        put = draw(st.one_of(st.binary(max_size=10), st.sampled_from([b"\r\n", b"\n", b"\r", b"\0", b" ", b":"])))
        data = data[:start] + put + data[start + draw(st.integers(0, 5)) :]
    return data


@hostile(150)
@given(streams())
def test_any_bytes_are_answered_or_the_connection_is_closed(server, data):
    check_answers(server.send(data))


@hostile(30)
@given(st.binary(max_size=300))
def test_what_is_no_http_is_refused(server, data):
    check_answers(server.send(data))


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([2**63, 2**64, 10**400, "\ud800", "\0", "x" * 10_000, "${{ 1 }}", "P1", "1", "local:HW-1", "sev1"]),
)
short = st.one_of(leaves, st.lists(leaves, max_size=3), st.dictionaries(st.text(max_size=5), leaves, max_size=3))
JSON = st.one_of(leaves, st.lists(short, max_size=2), st.dictionaries(st.text(max_size=5), short, max_size=2))
NAMES = [
    "run",
    "decision",
    "workflow",
    "question",
    "answer",
    "by",
    "title",
    "severity",
    "incident",
    "ticket",
    "text",
    "latest",
    "file",
    "before",
    "person",
    "labels",
    "due",
    "all",
    "\ud800",
    "x",
]


@hostile(200)
@given(
    st.sampled_from(PATHS[-len(OPERATIONS) - 1 :]),
    st.one_of(
        JSON,
        st.fixed_dictionaries(
            {"actor": st.one_of(st.just("ada"), JSON)},
            optional={
                "inputs": st.one_of(JSON, st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4)),
                "\ud800": JSON,
            },
        ),
    ),
)
def test_any_json_to_an_operation_is_done_or_refused_with_a_sentence(server, path, body):
    status, answer = server.ask(path, json.dumps(body).encode())
    assert status < 500 or status == 503, answer
    assert answer["error"] if status >= 400 else answer["message"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"\\ud800": 1}', "the body holds 'actor' and 'inputs', not '�'"),
        (b'{"actor": "a", "inputs": {"x": NaN}}', "the body is not JSON"),
        (b'{"actor": "a", "inputs": {"x": 1e999}}', "the body is not JSON"),
        (b'{"actor": "a", "inputs": ' + b'{"a":' * 400 + b"1" + b"}" * 401, "the body is nested more than 50 deep"),
        (b'{"actor": "a", "inputs": ' + b'{"a":' * 40_000, "the body is not JSON"),
    ],
)
def test_json_that_nothing_can_keep_is_refused(server, body, error):
    assert server.ask(b"/api/operations/create_ticket", body) == (400, {"error": error})


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET /hea",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n",
        b"POST /hooks/pager HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
        b"POST /hooks/pager HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /h",
    ],
)
def test_who_lets_the_server_wait_is_left(server, beginning):
    check_answers(server.send(beginning, ends=False))


def test_a_sender_who_takes_no_answers_is_left(server):
    cited = b"GET /api/events/" + b"a" * 50_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n"
    with server.connect() as connection, pytest.raises((ConnectionResetError, BrokenPipeError)):
        connection.sendall(cited * 2_000)


@pytest.mark.parametrize("length", [b"Content-Length: 900000000", b"Transfer-Encoding: chunked"])
def test_a_body_without_end_is_cut_off(server, length):
    head = b"POST /hooks/pager HTTP/1.1\r\nHost: a\r\n" + length + b"\r\n\r\n"
    pieces = [b"%x\r\n" % MIB + b"x" * MIB + b"\r\n"] * 8 if b"chunked" in length else [b"x" * MIB] * 8
    statuses = check_answers(server.send(head, *pieces, ends=False))
    assert statuses in ([b"413"], [])


@pytest.mark.parametrize("header", [b"x: " + b"a" * 4 * MIB, b"a: b\r\n" * 500_000])
def test_headers_without_end_are_cut_off(server, header):
    check_answers(server.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + header, ends=False))


def test_many_bodies_at_once_are_held_to_a_bound(server):
    """Two hundred senders who each begin a body of a mebibyte would make the server hold two hundred of them."""
    body = b"POST /hooks/pager HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 999_000
    with ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(200)]
        for connection in connections:
            with suppress(OSError):  # refused, or closed
                connection.sendall(body)
        healthy = server.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert healthy.startswith(b"HTTP/1.1 200")


def test_no_redirect_leads_where_the_sender_says(server):
    answer = server.send(b"POST /hooks/pager/ HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"evil" not in answer
