"""Each webhook source takes any body with a valid signature, and any headers: it gives facts or says what is wrong.

What it gives is kept, starts runs, and is shown, with nothing told as a mistake of the engine.
"""

import asyncio
import copy
import json
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from hostile_bounds import hostile
from hypothesis import example, given
from hypothesis import strategies as st

from engine import reports, wiring
from engine.operations.receiving import take
from engine.plugins import Fact, Received, Unauthorized
from engine.store.codec import dumps
from engine.testing import RecordingChat, World

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ENVIRON = {"SECRET": "s3cret", "STANDARD": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
PROJECT = """\
timezone: America/New_York
connections:
  pager: {provider: pagerduty, webhook_secret: "${SECRET}", severity: {P1: sev1}}
  deploys: {provider: generic, webhook_secret: "${STANDARD}"}
  builds: {provider: generic, scheme: hmac, header: X-Sig, encoding: base64, webhook_secret: "${SECRET}"}
  alerts: {provider: alertmanager, token: "${SECRET}"}
  basic: {provider: alertmanager, username: ada, password: "${SECRET}"}
  chat: {provider: slack, token: xoxb-1, signing_secret: "${SECRET}", api: "http://127.0.0.1:9/api/"}
  buttons: {provider: slack, token: xoxb-1, signing_secret: "${SECRET}", api: "http://127.0.0.1:9/api/"}
  commands: {provider: slack, token: xoxb-1, signing_secret: "${SECRET}", api: "http://127.0.0.1:9/api/"}
"""
WORKFLOWS = {
    "incidents": """\
on: [incident.declared, incident.acknowledged, incident.resolved, incident.reopened, incident.updated]
if: incident.title != "x" and incident.severity in ["sev1", "sev2", null]
stop_when: incident.key == "PD-2"
vars: {began: "${{ incident.declared_at }}", people: "${{ incident.participants }}", all: "${{ event.data }}"}
steps:
  - uses: document.create
    with:
      title: "Postmortem: ${{ incident.title }}"
      text: "${{ incident.title }} ${{ incident.url }} ${{ vars.began }}"
  - uses: ticket.create
    with: {title: "${{ incident.title }}", assignee: "${{ incident.participants | first }}"}
    continue_on_error: true
  - uses: chat.post
    with:
      text: >-
        ${{ incident.title }} ${{ incident.declared_at | local }} ${{ incident.declared_at | ago }}
        ${{ incident.idle | duration }}
  - wait: {for: 1h, until: {incident.resolved: event.incident.title == incident.title}}
""",
    "marked": """\
on: incident.marked
steps:
  - uses: chat.post
    with: {text: "${{ event.data.text }} ${{ event.data.author.name }} ${{ incident.timeline | length }}"}
""",
    "settling": """\
on: {incident.declared: {for: 15m}, incident.resolved: {for: 1h}}
steps:
  - uses: chat.post
    with: {text: "${{ incident.key }}"}
""",
    "alerts": """\
on: {alert.firing: {for: 5m}, alert.resolved: {}}
once_per: [alert.fingerprint, alert.labels.severity]
steps:
  - uses: chat.post
    with: {text: "${{ alert.name }} ${{ alert.started_at | local }} ${{ alert.ended_at }} ${{ alert.labels.a }}"}
  - wait: {at: "${{ alert.started_at + '1bd' }}"}
""",
    "hooks": """\
on: webhook
once_per: event.data.id
steps:
  - uses: chat.post
    with: {text: "${{ event.data.title }}"}
    continue_on_error: true
  - uses: chat.post
    with: {text: "${{ (event.data.number or 0) + 1 }} ${{ event.data.list | length }}"}
""",
}
PAGER = {
    "event": {
        "id": "01",
        "event_type": "incident.triggered",
        "occurred_at": "2026-03-02T08:59:00Z",
        "agent": {"type": "user_reference", "id": "PU1", "summary": "Ada"},
        "data": {
            "type": "incident",
            "id": "P1",
            "number": 7,
            "title": "Checkout",
            "status": "triggered",
            "urgency": "high",
            "html_url": "https://example.org/1",
            "created_at": "2026-03-02T08:58:00Z",
            "priority": {"summary": "P1"},
            "service": {"summary": "checkout"},
            "assignees": [{"type": "user_reference", "id": "PU2", "summary": "Grace"}],
        },
    }
}
NOTE = {
    "event": {
        **PAGER["event"],
        "id": "02",
        "event_type": "incident.annotated",
        "data": {"type": "incident_note", "content": "hm", "incident": {"id": "P1", "summary": "Checkout"}},
    }
}
RESOLVED = {
    "event": {
        **PAGER["event"],
        "id": "03",
        "event_type": "incident.resolved",
        "data": {**PAGER["event"]["data"], "status": "resolved"},
    }
}
RESPONDER = {
    "event": {
        **PAGER["event"],
        "id": "04",
        "event_type": "incident.responder.replied",
        "data": {
            "type": "incident_responder",
            "state": "accepted",
            "user": {"type": "user_reference", "id": "PU3"},
            "incident": {"id": "P1"},
        },
    }
}
ALERT = {
    "version": "4",
    "groupKey": "{}",
    "receiver": "hotwash",
    "alerts": [
        {
            "status": "firing",
            "fingerprint": "f1",
            "startsAt": "2026-03-02T08:00:00.123456789Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "labels": {"alertname": "Slow", "severity": "page", "a": "b"},
            "annotations": {"summary": "slow"},
            "generatorURL": "http://x",
        },
        {
            "status": "resolved",
            "fingerprint": "f2",
            "startsAt": "2026-03-02T07:00:00Z",
            "endsAt": "2026-03-02T08:30:00Z",
            "labels": {},
        },
    ],
}
HOOK = {"id": "1", "title": "a deploy", "number": 5, "list": [1, {"a": None}]}
TS = "1772442060.000100"
SAID = {"user": "U1", "text": "<@U2> see <https://x|y>", "ts": TS, "channel": "C9", "event_ts": TS}
ITEM = {"type": "message", "channel": "C9", "ts": TS}
EVENTS = [
    {"type": "message", **SAID, "thread_ts": "1772442000.000100", "files": [{"title": "x", "permalink": "https://y"}]},
    {"type": "message", **SAID, "reactions": [{"name": "eyes", "users": ["U1"]}], "bot_profile": {"app_id": "A2"}},
    {"type": "message", "subtype": "message_changed", "message": {**SAID, "edited": {"ts": TS}}, **SAID},
    {"type": "message", "subtype": "message_deleted", "deleted_ts": TS, "previous_message": SAID, **SAID},
    {"type": "message", **SAID, "subtype": "channel_join"},
    {"type": "reaction_added", "user": "U1", "reaction": "white_check_mark", "item": ITEM, "event_ts": TS},
    {"type": "reaction_removed", "user": "U1", "reaction": "bulb", "item": ITEM, "event_ts": TS},
    {"type": "pin_added", "user": "U1", "channel_id": "C9", "item": {**ITEM, "message": SAID}, "event_ts": TS},
    {"type": "member_joined_channel", "user": "U1", "channel": "C9", "event_ts": TS},
]
BY = {"user": {"id": "U1", "name": "ada"}, "trigger_id": "1.2.3", "response_url": "https://hooks.example/1"}
VIEW = {"id": "V1", "private_metadata": '{"channel":"C9","incident":"pager:P9","url":"https://hooks.example/1"}'}
ENTERED = {"values": {name: {name: {"value": "x"}} for name in ("title", "text", "role", "severity")}}
CHOSEN = {
    "values": {
        "severity": {"severity": {"selected_option": {"value": "sev1"}}},
        "services": {"services": {"selected_options": [{"value": "a"}]}},
        "private": {"private": {"selected_options": [{"value": "private"}]}},
        "person": {"person": {"selected_user": "U2"}},
        "due": {"due": {"selected_date": "2026-03-20"}},
        "title": {"title": {"value": "slow"}},
    }
}
BUTTONS = [
    {"type": "block_actions", **BY, "actions": [{"action_id": "hotwash-answer:yes", "block_id": "t", "value": "yes"}]},
    {
        "type": "block_actions",
        **BY,
        "channel": {"id": "C9"},
        "actions": [{"action_id": "hotwash-incident:resolve", "value": "pager:P9"}],
    },
    *(
        {"type": "view_submission", **BY, "view": {**VIEW, "callback_id": f"hotwash:{name}", "state": state}}
        for name in ("declare", "update", "severity", "role", "note", "action")
        for state in (ENTERED, CHOSEN)
    ),
    {"type": "shortcut", **BY, "callback_id": "hotwash-declare"},
    {"type": "message_action", **BY, "callback_id": "hotwash-action", "channel": {"id": "C9"}, "message": SAID},
]
WORDS = ("", "help", "resolv", "update mitigated x", "severity sev1", "role commander <@U2>", "note x", "timeline")
WORDS = (*WORDS, "action x @ada 3d", "resolve", "reopen", "timeline pager:P9")
COMMANDS = [
    {**{"command": "/incident", "text": text, "user_id": "U1", "user_name": "ada", "channel_id": "C9"}, **BY, "user": 1}
    for text in WORDS
]
PAYLOADS = {
    "chat": [
        {"type": "event_callback", "event_id": "Ev1", "api_app_id": "A1", "authorizations": [{"user_id": "U9"}]}
        | {"event": event}
        for event in EVENTS
    ],
    "buttons": BUTTONS,
    "commands": COMMANDS,
    "pager": [PAGER, NOTE, RESOLVED, RESPONDER],
    "alerts": [ALERT],
    "basic": [ALERT],
    "deploys": [HOOK],
    "builds": [HOOK, [1], "x", None, 5],
}
TIMES = [
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "2026-03-02T08:59:00+23:59",
    "0001-01-01T00:00:00+14:00",
    "2026-02-30T00:00:00Z",
    "2026-03-02T24:00:00Z",
    "2026-03-02T08:59:60Z",
    "٢٠٢٦-03-02T08:59:00Z",
    "2026-03-02",
    "now",
    "1970-01-01T00:00:00-00:00",
]
TEXTS = [
    "",
    " ",
    "x" * 5000,
    "\0",
    "\ud800",
    "\ud83d\ude00",
    "é𝄞",
    "a\nb\r\n---\nstatus: published",
    "${{ now() }}",
    "{{ 1 }}{% raw %}",
    "P1",
    "../../x",
    "| a | <b> `c` [d](e)",
    "null",
    "incident.triggered",
    "incident.x",
    "incident_note",
    "resolved",
    "~instant",
    "\u202e\u2028\x1b[31m",
]
NUMBERS = [0, -1, 2**31, 2**63, 2**64, 10**400, 1e308, 5e-324, 0.5, True, False]
SHAPES = [
    None,
    [],
    {},
    [[]],
    {"a": []},
    [None],
    {"": ""},
    {"~instant": "x"},
    {"~person": {"id": 5}},
    {"~map": {}},
    {"~duration": "1d"},
    {"\ud800": "\ud800"},
]
hostile_json = st.one_of(
    st.sampled_from([*TIMES, *TEXTS, *NUMBERS, *SHAPES]),
    st.recursive(
        st.one_of(st.none(), st.integers(), st.text(max_size=8)),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
        max_leaves=5,
    ),
)


def places(value, way=()):
    """Give the way to every value inside a JSON value."""
    yield way
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield from places(inner, (*way, key))


@st.composite
def deliveries(draw):
    """Give a connection and a body: one of its payloads with other values here and there."""
    connection = draw(st.sampled_from(sorted(PAYLOADS)))
    value = {"root": copy.deepcopy(draw(st.sampled_from(PAYLOADS[connection])))}
    for _ in range(draw(st.integers(0, 3))):
        *way, last = draw(st.sampled_from([way for way in places(value) if way]))
        within = value
        for key in way:
            within = within[key]
        if isinstance(within, dict) and draw(st.integers(0, 5)) == 0 and len(way) > 0:
            del within[last]
        else:
            within[last] = copy.deepcopy(draw(hostile_json))
    return connection, json.dumps(value["root"], ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


#: What an engine tells when it met something that it did not expect.
MISTAKES = ("event.failed", "settle.failed", "run.crashed", "effect.crashed", "poll.failed", "storage.unavailable")


def with_values(payload, way, value):
    """Give a body with one value changed."""
    changed = copy.deepcopy(payload)
    within = changed
    for key in way[:-1]:
        within = within[key]
    within[way[-1]] = value
    return json.dumps(changed).encode()


def as_form(connection, body):
    """Give a body as the connection gets it: what people do in Slack comes as forms."""
    if connection == "buttons":
        return urlencode({"payload": body}).encode()
    if connection != "commands":
        return body
    try:
        fields = json.loads(body)
    except ValueError:
        return body
    return urlencode(fields, errors="replace").encode() if isinstance(fields, dict) else body


class Engine:
    """An engine that listens to everything, in an event loop of its own."""

    def __init__(self, folder):
        (folder / "workflows").mkdir()
        (folder / "hotwash.yaml").write_text(PROJECT)
        for name, text in WORKFLOWS.items():
            (folder / "workflows" / f"{name}.yaml").write_text(text)
        self.loop = asyncio.Runner()
        self.faults = []
        self.loop.get_loop().set_exception_handler(lambda _, context: self.faults.append(context))
        self.world = World(
            folder, START, wiring.open_application, environ=ENVIRON, providers={"console": RecordingChat()}
        )
        self.loop.run(self.world.__aenter__())
        self.loop.run(self.world.incident("declared", "pager:P9", title="Search is down"))
        channel = Fact("incident.updated", START, "incident", "pager:P9", {"channel": "C9"}, engine=True)
        self.loop.run(self.world.happens("hotwash", channel))

    def receive(self, connection, body, **headers):
        """Give what the source reads in a body that is signed, None where it refuses it."""
        body = as_form(connection, body)
        source = self.world.application.sources[connection]
        signed = {"content-type": "application/json", **source.sign(body, self.world.now), **headers}
        source.authenticate(signed, body, self.world.now)
        try:
            return source.read(signed, body, self.world.now)
        except ValueError as error:
            if not 0 < len(str(error).encode()) < 1000:
                pytest.fail(f"{error!r} is no sentence")
            return None

    def accept(self, connection, received):
        """Take facts in and let everything follow; show every event that came of it."""
        application = self.world.application
        accepted = self.loop.run(take(application, connection, received)).accepted
        self.loop.run(self.world.settle())
        json.dumps(reports.list_events(application.reader, limit=3)).encode()
        json.dumps(reports.list_runs(application.reader, limit=3)).encode()
        return accepted

    def close(self):
        self.loop.run(self.world.move("2h"))
        self.loop.run(self.world.__aexit__())
        self.loop.close()


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = Engine(tmp_path_factory.mktemp("sources"))
    yield engine
    engine.close()
    assert engine.faults == []
    told = [one for one in engine.world.told if one[0] in MISTAKES and "Slack cannot be reached" not in one[1]]
    assert told == []


def check_received(received):
    assert isinstance(received, Received)
    for fact in received.facts:
        assert fact.time.utcoffset() is not None
        assert isinstance(fact.type, str)
        assert isinstance(fact.id, str | None)
        dumps([fact.fields, fact.data, fact.actor]).encode()


@hostile(150)
@given(
    st.sampled_from(sorted(PAYLOADS)),
    st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))),
)
@example("pager", b"\xef\xbb\xbf{}")
@example("deploys", b"[" * 200 + b"]" * 200)
@example("deploys", b'{"a":' * 100_000)
@example("deploys", b"9" * 5000)
@example("deploys", b"-1e999")
@example("deploys", b"[NaN, Infinity]")
@example("deploys", "{}".encode("utf-16"))
def test_any_signed_bytes_are_read_or_refused_with_a_sentence(engine, connection, body):
    received = engine.receive(connection, body)
    if received is not None:
        check_received(received)


@hostile(250)
@given(deliveries())
def test_any_signed_payload_is_read_or_refused_with_a_sentence(engine, delivery):
    received = engine.receive(*delivery)
    if received is not None:
        check_received(received)


@hostile(60)
@given(deliveries())
@example(("pager", with_values(PAGER, ["event", "id"], "\ud800")))
@example(("pager", with_values(PAGER, ["event", "data", "id"], "\ud800")))
@example(("alerts", with_values(ALERT, ["alerts", 0, "fingerprint"], "\ud800")))
@example(("alerts", with_values(ALERT, ["alerts", 0, "startsAt"], "0001-01-01T00:00:00+14:00")))
@example(("alerts", with_values(ALERT, ["alerts", 0, "startsAt"], "9999-12-31T23:59:59-05:00")))
@example(("alerts", with_values(ALERT, ["alerts", 0, "startsAt"], "0001-01-01T00:00:00Z")))
@example(("pager", with_values(PAGER, ["event", "occurred_at"], "9999-12-31T23:59:59Z")))
def test_what_a_source_reads_is_kept_and_started_from_without_a_mistake(engine, delivery):
    received = engine.receive(*delivery)
    if received is not None:
        engine.accept(delivery[0], received)


@hostile(150)
@given(
    st.sampled_from(sorted(PAYLOADS)),
    st.dictionaries(
        st.sampled_from(
            [
                *("x-pagerduty-signature", "webhook-id", "webhook-timestamp", "webhook-signature"),
                *("x-sig", "authorization", "x-slack-signature", "x-slack-request-timestamp"),
            ]
        ),
        st.one_of(
            st.text(st.characters(max_codepoint=255), max_size=30),
            st.sampled_from(
                [
                    "v1=",
                    "v1=" + "0" * 64,
                    "v1=é",
                    ",".join(["v1=a"] * 50),
                    "v1,",
                    " ".join(["v1,a"] * 50),
                    "Bearer é",
                    "Basic é",
                    "Basic " + "A" * 999,
                    "Basic =",
                    "Bearer",
                    "²",
                    "9" * 13,
                    "-1",
                    "1772442000",
                    "\ud800",
                ]
            ),
        ),
    ),
    st.binary(max_size=20),
)
@example("pager", {"x-pagerduty-signature": "v1=\ud800"}, b"")
@example("alerts", {"authorization": "Bearer \ud800"}, b"")
@example("basic", {"authorization": "Basic \ud800"}, b"")
@example("builds", {"x-sig": "\ud800"}, b"")
@example("chat", {"x-slack-signature": "v0=\ud800", "x-slack-request-timestamp": "1772442000"}, b"")
@example("deploys", {"webhook-id": "\ud800", "webhook-timestamp": "1772442000", "webhook-signature": "v1,\ud800"}, b"")
def test_no_headers_but_the_right_ones_let_a_body_in(engine, connection, headers, body):
    with pytest.raises(Unauthorized) as refused:
        engine.world.application.sources[connection].authenticate(headers, body, engine.world.now)
    assert "s3cret" not in str(refused.value)


def test_the_payloads_start_runs_to_begin_with(engine):
    for connection, payloads in PAYLOADS.items():
        for payload in payloads:
            engine.accept(connection, engine.receive(connection, json.dumps(payload).encode()))
    assert {run["workflow"] for run in engine.world.runs()} >= {"incidents", "alerts", "hooks", "marked"}


@pytest.mark.parametrize("connection", sorted(PAYLOADS))
def test_the_payloads_to_be_changed_are_taken_to_begin_with(engine, connection):
    for payload in PAYLOADS[connection]:
        received = engine.receive(connection, json.dumps(payload).encode())
        assert received.facts or received.work or connection == "buttons"
        check_received(received)
