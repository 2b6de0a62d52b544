"""Dry runs: nothing goes out or changes, keys and identities of live runs stay unspent (LANGUAGE 2)."""

from __future__ import annotations

import pytest

from engine.plugins import ConnectionBroken, Fact
from engine.wiring import open_application

POST = """
mode: dry_run
steps:
  - id: post
    uses: chat.post
    with: {text: "${{ incident.title }}"}
  - uses: chat.post
    with: {text: "after ${{ steps.post.url }}"}
"""


def placeholder(text):
    return text.startswith("https://dry-run.invalid/")


async def test_nothing_is_sent_and_the_row_has_what_would_have_been(engine):
    async with engine(POST) as world:
        await world.declared()
        assert (world.said, world.state) == ([], "finished")
        first, second = world.effects("chat.post")
        assert (first["state"], first["inputs"]) == ("dry_run", {"text": "Checkout is slow"})
        assert placeholder(first["result"]["url"])
        assert second["inputs"]["text"] == f"after {first['result']['url']}".replace("_", "\\_")


async def test_every_built_in_action_has_outputs_of_the_kinds_that_it_declares(engine):
    async with engine("""
mode: dry_run
steps:
  - {id: doc, uses: document.create, with: {title: Report, text: a}}
  - {id: task, uses: ticket.create, with: {title: Mend it, labels: [a], assignee: ada, document: "${{ steps.doc.id }}"}}
  - {id: review, uses: calendar.schedule, with: {title: Review, attendees: [ada], duration: 30m, within: 5d}}
  - {id: assign, uses: incident.assign, with: {role: owner, to: ada}}
  - {id: call, uses: http.request, with: {url: "https://example.org/a", method: POST, body: {a: 1}}}
  - {id: items, uses: document.action_items, with: {document: "${{ steps.doc.id }}"}}
  - for_each: steps.items.items
    uses: ticket.create
    with: {title: never}
""") as world:
        await world.declared()
        assert (world.state, world.runs()[0]["error"]) == ("finished", None)
        out = world.outputs()
        task = out["task"]["record"]
        assert (task.title, task.labels, task.assignee.id, task.incident) == ("Mend it", ("a",), "ada", "pager:P1")
        assert (task.document, placeholder(task.url)) == (out["doc"]["id"], True)
        review = out["review"]
        assert (review["end"] - review["start"]).total_seconds() == 1800
        assert (out["call"]["status"], out["items"]["items"]) == (200, [])
        assert out["assign"]["title"] == "Checkout is slow"


async def test_effects_on_our_own_rows_change_no_subject_and_emit_nothing(engine):
    async with engine("""
mode: dry_run
steps:
  - {uses: incident.assign, with: {role: owner, to: ada}}
  - {uses: incident.note, with: {text: noted}}
  - {uses: ticket.create, with: {title: Mend it}}
  - {uses: event.emit, with: {type: our.event}}
  - {uses: incident.resolve}
""") as world:
        await world.declared()
        assert world.state == "finished"
        assert [event.type for event in world.events()] == ["incident.declared"]
        (incident,) = world.subjects("incident")
        assert (incident.roles, incident.status, world.subjects("ticket")) == ({}, "declared", [])


async def test_what_reads_is_read_unless_it_would_read_what_is_not_there(engine, tmp_path):
    async with engine(
        a="""
on: incident.declared
steps:
  - {id: doc, uses: document.create, with: {title: Report, text: "| What | Owner |\\n|---|---|\\n| Mend it | ada |"}}
""",
        b="""
on: incident.resolved
mode: dry_run
steps:
  - {id: items, uses: document.action_items, with: {document: "${{ (documents() | first).id }}"}}
  - for_each: steps.items.items
    uses: ticket.create
    with: {title: "${{ item.what }}"}
""",
    ) as world:
        await world.declared()
        document = world.effects("document.create")[0]["result"]["record"]
        await world.happens("markdown", Fact("document.updated", world.now, "document", document.id, {"title": "R"}))
        await world.incident("resolved")
        assert [effect["state"] for effect in world.effects("document.action_items")] == ["done"]
        (filed,) = world.effects("ticket.create")
        assert (filed["state"], filed["inputs"]["title"], world.subjects("ticket")) == ("dry_run", "Mend it", [])


async def test_a_live_run_starts_for_a_key_that_a_dry_one_has_had_and_lasting_effects_are_made(engine, tmp_path):
    flow = "on: [incident.declared, incident.updated]\nonce_per: incident.id\n{}\nsteps:\n" + (
        "  - {{id: a, uses: ticket.create, once_per: incident.id, with: {{title: Mend it}}}}\n"
    )
    async with engine(flow.format("mode: dry_run")) as world:
        await world.declared()
        (tmp_path / "workflows" / "flow.yaml").write_text(flow.format(""))
        await world.application.reload()
        await world.incident("updated", title="b")
        assert [run["state"] for run in world.runs()] == ["finished"] * 2
        assert [effect["state"] for effect in world.effects()] == ["dry_run", "done"]
        await world.incident("updated", title="c")
        assert len(world.runs()) == 2
        assert world.verdicts("flow")[-1] == "already_ran"


async def test_a_run_that_began_stays_what_it_was_when_the_mode_changes(engine, tmp_path):
    flow = "on: incident.declared\n{}\nsteps:\n  - wait: 1h\n  - {{uses: chat.post, with: {{text: a}}}}\n"
    async with engine(flow.format("mode: dry_run")) as world:
        await world.declared()
        (tmp_path / "workflows" / "flow.yaml").write_text(flow.format("mode: live"))
        await world.application.reload()
        await world.incident("declared", "pager:P2")
        (tmp_path / "workflows" / "flow.yaml").write_text(flow.format("mode: dry_run"))
        await world.restart()
        await world.move("2h")
        assert [message.effect for message in world.chat.sent] == ["flow/incident.declared/pager:P2/1/chat.post#1"]


async def test_waits_are_real_and_a_question_has_timed_out_at_once(engine):
    async with engine("""
mode: dry_run
steps:
  - wait: 1h
  - id: ask
    uses: chat.ask
    timeout: 2bd
    with: {to: ada, text: "well?", choices: {fine: Fine}}
  - if: steps.ask.timed_out and steps.ask.answer == null
    uses: chat.post
    with: {text: "nobody said a word"}
  - wait: 1h
""") as world:
        await world.declared()
        await world.move("59m")
        assert (world.state, world.effects()) == ("waiting", [])
        await world.move("2m")
        assert [effect["action"] for effect in world.effects()] == ["chat.ask", "chat.post"]
        kinds = world.application.reader.execute("SELECT kind FROM waits").fetchall()
        assert [row["kind"] for row in kinds] == ["timer"]


async def test_closed_hours_hold_a_dry_run_and_a_connection_that_refuses_us_does_not(engine):
    office = "calendars: {office: {timezone: UTC, hours: {mon-fri: '10:00-17:00'}}}\n"
    step = "steps: [{uses: chat.post, with: {text: a}}]"

    def refuse(message):
        raise ConnectionBroken("no")

    dry = f"on: incident.declared\nmode: dry_run\nduring: office\n{step}"
    async with engine(project=office, live=f"on: incident.updated\n{step}", dry=dry) as world:
        world.chat.before = refuse
        await world.declared()
        assert (world.state, world.effects()) == ("held", [])
        await world.move("58m")
        await world.incident("updated", title="b")
        await world.move("3m")
        assert [run["state"] for run in world.runs()] == ["finished", "held"]


async def test_a_dry_run_that_fails_tells_nobody_and_starts_nothing(engine):
    async with engine(
        flow="on: incident.declared\nmode: dry_run\nsteps: [{finish: {as: failed, reason: no}}]\non_failure:\n"
        "  - {uses: chat.post, with: {text: '${{ run.error.message }}'}}\n",
        other="on: workflow.failed\nsteps: [{uses: chat.post, with: {text: heard}}]\n",
    ) as world:
        await world.declared()
        assert (world.said, [run["state"] for run in world.runs()]) == ([], ["failed"])
        assert [effect["action"] for effect in world.effects()] == ["chat.post", "chat.nudge"]


async def test_the_timeline_of_an_incident_holds_nothing_that_a_dry_run_thought_of(engine):
    async with engine("mode: dry_run\nsteps: [{uses: document.create, with: {title: Report, text: a}}]") as world:
        await world.declared()
        (incident,) = world.subjects("incident")
        entries = world.application.hub.lookups().field(incident, "timeline")
        assert [entry.text for entry in entries] == ["Declared"]


# --- an engine whose runs are all dry ---

LIVE = "on: incident.declared\nsteps:\n  - wait: 1h\n  - {uses: chat.post, with: {text: '${{ incident.title }}'}}\n"


def dry_application(*args, **given):
    return open_application(*args, **given, dry_run=True)


@pytest.fixture
def live(tmp_path, engine):
    """Give `live(world, dry)`: start the engine of a world again, dry or live."""

    async def change(world, *, dry):
        world._build = dry_application if dry else open_application
        await world.restart()

    return change


async def test_an_engine_that_runs_dry_starts_dry_runs_and_leaves_live_ones_at_rest(engine, live):
    async with engine(LIVE) as world:
        await world.declared(title="live")
        await live(world, dry=True)
        await world.incident("declared", "pager:P2", title="dry")
        await world.move("1d")
        assert (world.said, [run["state"] for run in world.runs()]) == ([], ["waiting", "finished"])
        await live(world, dry=False)
        assert (world.said, [run["state"] for run in world.runs()]) == (["live"], ["finished", "finished"])


async def test_a_live_settle_time_is_not_spent_by_an_engine_that_runs_dry(engine, live):
    text = "on: {incident.resolved: {for: 1h}}\nsteps: [{uses: chat.post, with: {text: '${{ incident.title }}'}}]"
    async with engine(text) as world:
        await world.incident("resolved", title="live")
        await live(world, dry=True)
        await world.incident("resolved", "pager:P2", title="dry")
        await world.move("1d")
        assert [(run["key"], run["state"]) for run in world.runs()] == [("incident.resolved/pager:P2", "finished")]
        await live(world, dry=False)
        assert world.said == ["live"]


async def test_a_live_run_hears_afterwards_what_came_while_the_engine_ran_dry(engine, live):
    text = "steps:\n  - wait: {until: incident.resolved}\n  - {uses: chat.post, with: {text: resolved}}\n"
    async with engine(text) as world:
        await world.declared()
        await live(world, dry=True)
        await world.incident("resolved")
        assert (world.said, world.state) == ([], "waiting")
        await live(world, dry=False)
        assert (world.said, world.state) == (["resolved"], "finished")


async def test_what_is_stale_is_found_again_when_the_workflow_is_live(engine, tmp_path):
    flow = "on: {{ticket.stale: {{for: 7d, again: never}}}}\n{}\nsteps: [{{uses: chat.post, with: {{text: stale}}}}]"
    async with engine(flow.format("mode: dry_run")) as world:
        fields = {"title": "a", "created_at": world.now, "active_at": world.now}
        await world.happens("local", Fact("ticket.created", world.now, "ticket", "local:HW-1", fields))
        await world.move("8d")
        assert ([run["state"] for run in world.runs()], world.said) == (["finished"], [])
        (tmp_path / "workflows" / "flow.yaml").write_text(flow.format("mode: live"))
        await world.application.reload()
        await world.move("1d")
        assert world.said == ["stale"]
