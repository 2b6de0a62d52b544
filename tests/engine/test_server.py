from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from engine import server, wiring
from engine.plugins import Fact, Received
from engine.server import listening
from engine.store.codec import micros
from engine.testing import World

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TOKEN = "the-token"
HOST = "http://127.0.0.1:8321"
PROJECT = """\
timezone: UTC
connections:
  pager: {provider: pagerduty, webhook_secret: "${PAGER_SECRET}"}
  deploys: {provider: generic, scheme: hmac, header: X-Signature, webhook_secret: "${DEPLOYS_SECRET}"}
  off: {provider: pagerduty, webhook_secret: "${OFF_SECRET}"}
limits: {body: 4096}
"""
ENVIRON = {"PAGER_SECRET": "s3cret", "DEPLOYS_SECRET": "an0ther"}
PAYLOADS = Path(__file__).resolve().parents[2] / ".." / "shared" / "payloads" / "pagerduty"


@pytest.fixture
def engine(tmp_path):
    """Give what opens an engine with a client of its server."""

    @asynccontextmanager
    async def make(token=TOKEN, project=PROJECT, workflow=None, host=HOST):
        (tmp_path / "hotwash.yaml").write_text(project)
        (tmp_path / "people.yaml").write_text("people: {ada: {name: Ada}}\n")
        (tmp_path / "workflows").mkdir()
        if workflow is not None:
            (tmp_path / "workflows" / "only.yaml").write_text(workflow)
        world = World(tmp_path, START, wiring.open_application, environ=ENVIRON)
        async with world:
            transport = httpx.ASGITransport(app=server.create_app(world.application, token))
            async with httpx.AsyncClient(transport=transport, base_url=host) as client:
                yield world, client

    return make


def signed(world, connection, body):
    return world.application.sources[connection].sign(body, world.now)


def pager(kind="incident.triggered", number=1, title="Checkout is slow"):
    status = {"incident.triggered": "triggered", "incident.resolved": "resolved"}.get(kind, "triggered")
    data = {"type": "incident", "id": "P1", "number": 7, "title": title, "status": status}
    event = {"id": f"01{number}", "event_type": kind, "occurred_at": "2026-03-02T08:59:00Z", "data": data}
    return json.dumps({"event": event}).encode()


async def post(world, client, body, connection="pager"):
    answer = await client.post(f"/hooks/{connection}", content=body, headers=signed(world, connection, body))
    await world.settle()
    return answer


def rows(world):
    tables = ("events", "subjects", "runs", "verdicts", "rows")
    return sum(world.application.reader.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables)


# --- webhooks ---


async def test_a_signed_webhook_is_answered_after_its_events_are_committed(engine):
    async with engine() as (world, client):
        body = pager()
        answer = await client.post("/hooks/pager", content=body, headers=signed(world, "pager", body))
        committed = [event.type for event in world.events()]
        assert (answer.status_code, answer.json(), committed) == (202, {"accepted": 1}, ["incident.declared"])


async def test_a_delivery_that_comes_again_changes_nothing(engine):
    async with engine() as (world, client):
        await post(world, client, pager())
        before = rows(world)
        answer = await post(world, client, pager())
        assert (answer.status_code, answer.json()) == (202, {"accepted": 0, "duplicates": 1})
        assert rows(world) == before


@pytest.mark.parametrize("headers", [{}, {"X-PagerDuty-Signature": "v1=" + "0" * 64}])
async def test_a_webhook_without_the_right_signature_is_refused_and_nothing_is_stored(engine, headers):
    async with engine() as (world, client):
        answer = await client.post("/hooks/pager", content=pager(), headers=headers)
        await world.settle()
        assert (answer.status_code, rows(world)) == (401, 0)
        assert "X-PagerDuty-Signature" in answer.json()["error"]
        assert "s3cret" not in answer.text


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[]", b'{"event": 7}', b"[" * 3000])
async def test_what_is_no_payload_of_the_vendor_is_answered_with_a_sentence(engine, body):
    async with engine() as (world, client):
        answer = await post(world, client, body)
        assert (answer.status_code, rows(world)) == (400, 0)
        assert answer.json()["error"]


async def test_a_signed_payload_of_an_unknown_kind_is_stored_as_ignored_with_the_reason(engine):
    async with engine() as (world, client):
        answer = await post(world, client, pager("service.updated"))
        row = world.application.reader.execute("SELECT state, reason, source FROM events").fetchone()
        assert answer.status_code == 202
        assert answer.json() == {"accepted": 0, "ignored": "events of type 'service.updated' are not used"}
        assert tuple(row) == ("ignored", "events of type 'service.updated' are not used", "pager")


@pytest.mark.parametrize("connection", ["nothing", "local"])
async def test_a_connection_that_takes_no_webhooks_is_not_there(engine, connection):
    async with engine() as (_, client):
        answer = await client.post(f"/hooks/{connection}", content=b"{}")
        assert answer.status_code == 404
        assert answer.json() == {"error": f"no connection that takes webhooks is called '{connection}'"}


async def test_a_connection_without_its_credential_is_off_and_says_which(engine):
    async with engine() as (world, client):
        answer = await client.post("/hooks/off", content=b"{}")
        assert (answer.status_code, rows(world)) == (503, 0)
        assert "OFF_SECRET" in answer.json()["error"]


async def test_a_body_of_the_largest_size_is_taken_and_a_larger_one_is_not(engine):
    async with engine() as (world, client):
        fits = b'"' + b"x" * 4094 + b'"'
        assert (await post(world, client, fits, "deploys")).status_code == 202
        answer = await post(world, client, fits + b" ", "deploys")
        assert (answer.status_code, answer.json()) == (413, {"error": "the body is larger than 4,096 bytes"})
        assert len(world.events()) == 1


async def test_a_body_that_does_not_say_its_size_is_refused_while_it_is_read(engine):
    read = []

    async def endless():
        while True:
            read.append(1)
            assert len(read) < 100
            yield b"x" * 1024

    async def app_reads():
        async with engine() as (_, client):
            return await client.post("/hooks/deploys", content=endless())

    # httpx hands chunks on as they are asked for, so what was read is what the server asked for
    assert ((await app_reads()).status_code, len(read) <= 6) == (413, True)


async def test_a_source_may_say_what_the_vendor_is_answered_with(engine):
    class Greeting:
        def authenticate(self, headers, body, now):
            pass

        def read(self, headers, body, now):
            return Received([Fact("webhook", now, data={"twice": headers["x-twice"]})], response={"challenge": "abc"})

    async with engine() as (world, client):
        world.application.sources["greeting"] = Greeting()
        answer = await client.post("/hooks/greeting", content=b"", headers=[("X-Twice", "a"), ("X-Twice", "b")])
        assert answer.json() == {"challenge": "abc"}
        assert world.events()[0].data["twice"] == "a, b"


async def test_a_mistake_in_a_source_is_no_traceback_for_the_sender(engine):
    class Broken:
        def authenticate(self, headers, body, now):
            raise ZeroDivisionError("of the source")

    async with engine() as (world, client):
        world.application.sources["broken"] = Broken()
        answer = await client.post("/hooks/broken", content=b"")
        assert (answer.status_code, "ZeroDivision" in answer.text) == (500, False)
        assert ("request.failed", "POST /hooks/broken: ZeroDivisionError: of the source") in world.told


async def test_with_a_full_disk_a_webhook_is_answered_503_and_nothing_is_half_written(engine):
    async with engine(project=PROJECT.replace("4096", "1048576")) as (world, client):

        def limit(pages):
            return lambda cursor: cursor.execute(f"PRAGMA max_page_count = {pages}").fetchone()

        await world.application.journal.transact(limit(1))  # SQLite takes it as: no page more than there are
        body = pager(title="x" * 200_000)
        answer = await post(world, client, body)
        assert (answer.status_code, rows(world)) == (503, 0)
        assert "cannot be written" in answer.json()["error"]
        assert (await client.get("/readyz")).status_code == 503
        await world.application.journal.transact(limit(1_000_000))
        assert (await post(world, client, body)).json() == {"accepted": 1}
        assert (await client.get("/readyz")).status_code == 200


async def test_the_recorded_payloads_of_the_vendor_leave_three_incidents(engine):
    if not PAYLOADS.is_dir():
        pytest.skip("the recorded payloads are not here")
    async with engine(project=PROJECT.replace("4096", "1048576")) as (world, client):
        for name in ("incident.triggered", "incident.acknowledged", "incident.resolved"):
            answer = await post(world, client, (PAYLOADS / f"{name}.json").read_bytes())
            assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
        assert sorted(one.status for one in world.subjects("incident")) == ["acknowledged", "declared", "resolved"]


# --- health ---


async def test_a_running_engine_is_healthy_and_ready(engine):
    async with engine() as (_, client):
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).json() == {"status": "ready"}


@pytest.mark.parametrize(("late", "status"), [(59, 200), (61, 503)])
async def test_the_engine_is_not_ready_when_what_is_due_is_late_by_a_minute(engine, late, status):
    async with engine() as (world, client):
        due = micros(world.now - timedelta(seconds=late))
        await world.application.journal.transact(
            lambda cursor: cursor.execute("INSERT INTO waits (run, path, kind, due) VALUES (9, '', 'timer', ?)", (due,))
        )
        answer = await client.get("/readyz")
        assert answer.status_code == status
        assert status == 200 or "has not been looked at" in answer.json()["reasons"][0]


async def test_an_engine_that_stops_is_not_ready(engine):
    async with engine() as (world, client):
        world.application.executor.stopping = True
        assert (await client.get("/readyz")).json()["reasons"] == ["the engine is stopping"]


# --- who may use the API ---


def bearer(token=TOKEN):
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("path", ["/api/events", "/api/events/1", "/api/runs", "/api/runs/1", "/api/mutes"])
@pytest.mark.parametrize(
    "headers", [{}, bearer("wrong"), bearer(""), {"Authorization": f"Basic {TOKEN}"}, {"Authorization": TOKEN}]
)
async def test_the_api_needs_its_token_on_loopback_too(engine, path, headers):
    async with engine() as (_, client):
        answer = await client.get(path, headers=headers)
        assert (answer.status_code, "error" in answer.json()) == (401, True)
        assert TOKEN not in answer.text


async def test_an_operation_without_the_token_does_nothing(engine):
    async with engine() as (world, client):
        body = {"actor": "ada", "inputs": {"title": "x"}}
        answer = await client.post("/api/operations/declare_incident", json=body)
        assert (answer.status_code, rows(world)) == (401, 0)


async def test_without_a_token_of_its_own_the_api_refuses_everybody(engine):
    async with engine(token="") as (_, client):
        assert (await client.get("/api/runs", headers=bearer(""))).status_code == 403


@pytest.mark.parametrize(
    ("host", "listening", "status"),
    [
        ("http://127.0.0.1:8321", "{}", 200),
        ("http://localhost:9", "{}", 200),
        ("http://[::1]:8321", "{}", 200),
        ("http://evil.example", "{}", 403),
        ("http://192.0.2.7:8321", "{}", 403),
        ("http://192.0.2.7:8321", "{host: 0.0.0.0}", 200),
        ("http://evil.example", "{host: 0.0.0.0}", 403),
        ("http://ops.example.org", "{url: 'https://ops.example.org'}", 200),
    ],
)
async def test_the_api_answers_only_by_the_names_it_is_configured_for(engine, host, listening, status):
    async with engine(project=f"{PROJECT}server: {listening}\n", host=host) as (_, client):
        assert (await client.get("/api/runs", headers=bearer())).status_code == status


async def test_webhooks_come_by_any_name(engine):
    async with engine(host="http://tunnel.example") as (world, client):
        assert (await post(world, client, pager())).status_code == 202


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/hooks/pager", 405)])
async def test_what_is_not_served_is_answered_with_a_sentence(engine, method, path, status):
    async with engine() as (_, client):
        answer = await client.request(method, path)
        assert (answer.status_code, list(answer.json())) == (status, ["error"])


# --- the API ---

NOTE = "on: incident.declared\nsteps:\n  - {uses: incident.note, with: {text: seen}}\n"


async def test_events_and_runs_are_read_through_the_api(engine):
    async with engine(workflow=NOTE) as (world, client):
        await post(world, client, pager())
        client.headers.update(bearer())
        events = (await client.get("/api/events?type=incident.declared")).json()["events"]
        runs = (await client.get("/api/runs?workflow=only&limit=1")).json()["runs"]
        assert [(one["type"], one["subject"]["id"]) for one in events] == [("incident.declared", "pager:P1")]
        assert [one["state"] for one in runs] == ["finished"]
        assert (await client.get(f"/api/events/{events[0]['id']}")).json()["type"] == "incident.declared"
        assert (await client.get(f"/api/runs/{runs[0]['id']}")).json()["key"] == "incident.declared/pager:P1"


async def test_mutes_are_entered_and_read_through_the_api(engine):
    async with engine(workflow=NOTE) as (world, client):
        await post(world, client, pager())
        client.headers.update(bearer())
        body = {"actor": "ada", "inputs": {"subject": "pager:P1", "until": "2d"}}
        assert (await client.post("/api/operations/mute_subject", json=body)).status_code == 200
        (mute,) = (await client.get("/api/mutes?person=ada")).json()["mutes"]
        assert (mute["subject"]["id"], mute["by"]["id"]) == ("pager:P1", "ada")
        assert (await client.get("/api/mutes?person=grace")).json() == {"mutes": []}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/runs/run_0000", 404),
        ("/api/events/7", 404),
        ("/api/runs?limit=0", 400),
        ("/api/runs?limit=1001", 400),
        ("/api/events?colour=red", 400),
    ],
)
async def test_what_cannot_be_read_is_answered_with_a_sentence(engine, path, status):
    async with engine() as (_, client):
        answer = await client.get(path, headers=bearer())
        assert (answer.status_code, list(answer.json())) == (status, ["error"])


async def operate(client, name, body):
    answer = await client.post(f"/api/operations/{name}", json=body, headers=bearer())
    return answer.status_code, answer.json()


async def test_an_operation_is_done_for_the_actor_that_the_body_names(engine):
    async with engine() as (world, client):
        status, done = await operate(client, "declare_incident", {"actor": "somebody", "inputs": {"title": "Slow"}})
        assert (status, done["message"], done["incident"]["key"]) == (200, "INC-1 is declared: Slow", "INC-1")
        assert done["incident"]["declared_at"].startswith("2026-03-02T09:00:00")
        assert world.events("incident.declared")[0].actor.name == "somebody"


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("nothing", {"actor": "ada"}, 404),
        ("resolve_incident", {"actor": "ada", "inputs": {"incident": "INC-9"}}, 404),
        ("declare_incident", {"actor": "ada", "inputs": {}}, 400),
        ("declare_incident", {"inputs": {"title": "x"}}, 400),
        ("declare_incident", {"actor": "ada", "inputs": {"title": "x"}, "more": 1}, 400),
        ("declare_incident", ["x"], 400),
    ],
)
async def test_an_operation_that_cannot_be_done_is_answered_with_a_sentence(engine, name, body, status):
    async with engine() as (world, client):
        answered, told = await operate(client, name, body)
        assert (answered, list(told), rows(world)) == (status, ["error"], 0)


BY_HAND = """
on: manual
inputs:
  incident: {type: incident, required: true}
  reason: {type: text, default: real}
steps: [{uses: chat.post, with: {text: "${{ incident.title }}, ${{ inputs.reason }}"}}]
"""


async def test_a_workflow_is_started_through_the_api_with_its_inputs(engine):
    async with engine(workflow=BY_HAND) as (world, client):
        await operate(client, "declare_incident", {"actor": "ada", "inputs": {"title": "Slow"}})
        inputs = {"workflow": "only", "incident": "INC-1", "inputs": {"reason": "drill"}}
        status, told = await operate(client, "start_workflow", {"actor": "ada", "inputs": inputs})
        await world.settle()
        (run,) = world.runs("only")
        assert (status, told["run"], told["started"], run["state"]) == (200, run["uid"], True, "finished")
        assert world.effects("chat.post")[0]["inputs"]["text"] == "Slow, drill"
        status, told = await operate(client, "start_workflow", {"actor": "ada", "inputs": inputs})
        assert (status, told["started"], "already ran" in told["message"]) == (200, False, True)


async def test_an_operation_that_the_state_refuses_is_a_conflict(engine):
    async with engine() as (_, client):
        await operate(client, "declare_incident", {"actor": "ada", "inputs": {"title": "x"}})
        status, told = await operate(client, "reopen_incident", {"actor": "ada", "inputs": {"incident": "INC-1"}})
        assert (status, told["error"]) == (409, "INC-1 is declared: only one that is resolved can be reopened")


# --- serving ---


async def test_the_server_listens_on_a_free_port_until_the_block_ends(engine):
    async with engine() as (world, _):
        async with server.serving(world.application, TOKEN, "127.0.0.1", 0) as address, httpx.AsyncClient() as client:
            assert (await client.get(f"{address}/healthz")).status_code == 200
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"{address}/healthz")


async def test_a_port_that_is_taken_is_an_error_at_once(engine):
    async with engine() as (world, _), server.serving(world.application, TOKEN, "127.0.0.1", 0) as address:
        port = int(address.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            async with server.serving(world.application, TOKEN, "127.0.0.1", port):
                pass


def test_the_address_is_one_that_this_machine_can_reach():
    assert listening.address_of("0.0.0.0", 80) == "http://127.0.0.1:80"
    assert listening.address_of("::", 80) == "http://[::1]:80"
