"""Which verdicts are written down, what may start a workflow, and the end of chains (PROMISES 1.11, 1.12)."""

from __future__ import annotations

import pytest

from engine.matching import Listeners, sentence
from engine.plugins import Fact
from engine.subjects import MAX_DEPTH

POST = """
steps:
  - uses: chat.post
    with: {text: "${{ event.type }}"}
"""


def told(world, kind):
    return [text for name, text in world.told if name == f"verdict.{kind}"]


# --- which rows are written ---


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("", ["start"]),
        ("if: incident.severity == 'sev4'", []),
        ("if: incident.drill", []),
        ("if: incidents(severity='sev1') | length > 5", ["condition_false"]),
        ("if: now() < instant('2020-01-01T00:00:00Z')", ["condition_false"]),
        ("if: incident.title | duration == 'x'", ["failed"]),
        ("once_per: duration(incident.title)", ["failed"]),
        ("stop_when: incident.open", ["stopped_already"]),
        ("mode: off", []),
    ],
)
async def test_a_verdict_is_a_row_where_it_cannot_be_computed_again(engine, head, expected):
    async with engine(f"on: incident.declared\n{head}{POST}") as world:
        await world.declared()
        assert world.verdicts("flow") == expected


async def test_a_settle_time_writes_a_row_when_it_begins(engine):
    async with engine("on: {incident.declared: {for: 1h}}" + POST) as world:
        await world.declared()
        assert world.verdicts("flow") == ["settling"]
        assert told(world, "settling") == ["flow: settling until 2026-03-02T10:00:00+00:00"]


async def test_a_false_condition_that_looked_something_up_keeps_the_values_that_it_met(engine):
    async with engine("on: incident.declared\nif: incidents(severity=incident.severity) | length > 5" + POST) as world:
        await world.declared()
        assert told(world, "condition_false")[0].startswith("flow: false at: incidents(severity=incident.severity)")


async def test_an_event_keeps_which_versions_were_listening(engine):
    async with engine(
        POST,
    ) as world:
        await world.declared()
        await world.incident("resolved")
        reader = world.application.reader
        rows = reader.execute("SELECT e.type, l.versions FROM events e JOIN listeners l ON l.hash = e.listeners")
        version = world.application.library.current["flow"].version
        assert [(row["type"], row["versions"]) for row in rows.fetchall()] == [
            ("incident.declared", f'[["flow", "{version}"]]'),
            ("incident.resolved", "[]"),
        ]


async def test_a_thousand_listeners_that_do_not_start_write_no_row(engine):
    texts = {
        f"w{number}": f"on: incident.declared\nif: incident.severity == 'sev{number}'{POST}" for number in range(40)
    }
    async with engine(**texts) as world:
        await world.declared(severity="sev7")
        assert world.application.reader.execute("SELECT count(*) FROM verdicts").fetchone()[0] == 1


# --- what our own accounts do ---

OWN = """
on: {ticket.closed: {own: %s}}
steps:
  - uses: chat.post
    with: {text: "closed"}
"""


@pytest.mark.parametrize(("own", "expected"), [("false", []), ("true", ["closed"])])
async def test_what_our_own_account_did_starts_a_workflow_only_where_it_is_asked_for(engine, own, expected):
    async with engine(OWN % own) as world:
        await world.ticket("T1", "created")
        fact = Fact("ticket.closed", world.now, "ticket", "tracker:T1", {"done": True}, own=True)
        await world.happens("tracker", fact)
        assert world.subjects("ticket")[0].done is True
        assert (world.said, world.verdicts("flow")) == (expected, ["start"] if expected else [])


async def test_what_our_own_account_did_ends_waits_and_trips_stop_when(engine):
    async with engine(
        waits="""
on: ticket.created
steps:
  - wait: {until: ticket.closed}
  - uses: chat.post
    with: {text: "saw it"}
""",
        stops="""
on: ticket.created
stop_when: ticket.done
steps:
  - wait: 1d
  - uses: chat.post
    with: {text: "too late"}
""",
    ) as world:
        await world.ticket("T1", "created")
        fact = Fact("ticket.closed", world.now, "ticket", "tracker:T1", {"done": True}, own=True)
        await world.happens("tracker", fact)
        assert world.said == ["saw it"]
        assert world.runs("stops")[0]["state"] == "stopped"


async def test_what_a_step_of_ours_did_says_which_effect_was_behind_it(engine):
    async with engine("""
steps:
  - id: file
    uses: ticket.create
    with: {title: mend it}
""") as world:
        await world.declared()
        event = world.events("ticket.created")[0]
        assert event.caused_by == world.effects()[0]["identity"]
        assert (event.own, event.depth) == (True, 1)


# --- chains ---

PING = """
on: our.ping
steps:
  - uses: event.emit
    with: {type: our.ping}
"""


async def test_a_chain_of_events_of_ones_own_is_cut_and_the_verdict_says_so(engine):
    start = "steps:\n  - uses: event.emit\n    with: {type: our.ping}\n"
    async with engine(start=start, ping=PING) as world:
        await world.declared()
        assert world.verdicts("ping") == ["start"] * MAX_DEPTH + ["cut"]
        assert [event.depth for event in world.events("our.ping")] == list(range(1, MAX_DEPTH + 2))
        assert told(world, "cut") == ["ping: more than 8 runs stand behind this event, the chain was cut"]


async def test_a_failed_run_starts_those_who_listen_and_a_chain_of_failures_is_cut(engine):
    async with engine(
        flow="steps:\n  - finish: {as: failed, reason: on purpose}\n",
        watch="on: workflow.failed\nsteps:\n  - finish: {as: failed, reason: this too}\n",
    ) as world:
        await world.declared()
        assert world.verdicts("watch") == ["start"] * MAX_DEPTH + ["cut"]


# --- words ---


def test_a_false_condition_is_said_with_the_part_that_failed_its_values_and_what_was_empty():
    detail = {"failed": "incident.team == 'sre'", "values": {"incident.team": None}, "nulls": ["incident.team"]}
    expected = "false at: incident.team == 'sre'  (incident.team was null); empty: incident.team"
    assert sentence("condition_false", detail) == expected


def test_no_workflows_have_a_set_of_their_own():
    assert Listeners(()).set_of("incident.declared")[1] == []


# --- the index ---


HOLDING = {
    "equal": "incident.severity == 'sev1' and incident.title == 'Slow'",
    "turned": "'sev1' == incident.severity",
    "one_of": "incident.severity in ['sev1', 'sev2']",
    "member": "'web' in incident.services",
    "data": "event.subject == 'pager:P1'",
    "null": "incident.channel == null",
    "evaluated": "incident.severity < 'sev2'",
    "quoted": "event.data['not-a-name'] == null",
    "always": "not (incident.severity == 'sev9')",
}
FAILING = {
    "equal": "incident.severity == 'sev2' and incident.title == 'Slow'",
    "one_of": "incident.severity in ['sev3', 'sev4']",
    "member": "'db' in incident.services",
    "absent": "'web' in incident.channel and incident.severity == 'sev1'",
    "boolean": "incident.private == true",
    "other": "incident.severity != 'sev1'",
}


@pytest.mark.parametrize("condition", HOLDING.values(), ids=HOLDING)
async def test_an_event_finds_whom_it_concerns_among_others(engine, condition):
    others = {
        f"other{number}": f"on: incident.declared\nif: incident.title == 'x{number}'{POST}" for number in range(3)
    }
    async with engine(flow=f'on: incident.declared\nif: "{condition}"{POST}', **others) as world:
        await world.incident("declared", title="Slow", severity="sev1", services=["web"])
        assert [run["workflow"] for run in world.runs()] == ["flow"]


@pytest.mark.parametrize("condition", FAILING.values(), ids=FAILING)
async def test_an_event_starts_nobody_whose_condition_is_false(engine, condition):
    async with engine(flow=f'on: incident.declared\nif: "{condition}"{POST}') as world:
        await world.incident("declared", title="Slow", severity="sev1", services=["web"])
        assert world.runs() == []


async def test_only_those_who_ask_for_what_an_event_says_are_evaluated(engine):
    texts = {f"flow{number}": f"on: incident.declared\nif: incident.title == 't{number}'{POST}" for number in range(40)}
    async with engine(any="on: incident.declared\nif: incident.title != 'x'" + POST, **texts) as world:
        await world.incident("declared", title="t7")
        listeners = world.application.intake.listeners
        event = world.events("incident.declared")[-1]
        found = listeners.candidates(event, world.application.hub.lookups())
        assert [workflow.id for workflow, _, _ in found] == ["any", "flow7"]
        assert [workflow.id for workflow in listeners.evaluated] == ["any"]


async def test_the_index_stands_at_the_equality_that_the_fewest_share(engine):
    condition = "incident.severity == 'sev1' and incident.title == 't{}'"
    texts = {f"flow{n}": f'on: incident.declared\nif: "{condition.format(n)}"{POST}' for n in range(5)}
    async with engine(**texts) as world:
        await world.incident("declared", title="t3", severity="sev1")
        event = world.events("incident.declared")[-1]
        found = world.application.intake.listeners.candidates(event, world.application.hub.lookups())
        assert [workflow.id for workflow, _, _ in found] == ["flow3"]


async def test_a_settle_time_and_what_leaves_a_verdict_are_never_passed_over(engine):
    async with engine(
        settling="on: {incident.declared: {for: 1h}}\nif: incident.severity == 'sev9'" + POST,
        asking="on: incident.declared\nif: incident.severity == 'sev9' and incidents() | length == 0" + POST,
    ) as world:
        await world.incident("declared", severity="sev1")
        assert (world.verdicts("settling"), world.verdicts("asking")) == (["settling"], ["condition_false"])
