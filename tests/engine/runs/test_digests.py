"""Messages that wait, and go out as one: `digest: {window: …}` of chat actions."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engine.domain import Person, Ticket
from engine.operations import Refused, perform
from engine.plugins import ActionError, RetryLater
from engine.testing import RecordingTickets

GRACE = Person("grace", "Grace", email="grace@example.org", known=True)
NUDGE = """
once_per: event.id
steps:
  - id: told
    uses: chat.nudge
    with: {to: ada, text: "Look at ${{ incident.title }}.", digest: {window: 4h}}
"""
TICKET = """
on: ticket.updated
once_per: event.id
steps: [{uses: chat.nudge, with: {to: ada, text: "${{ ticket.key }} has not moved.", digest: {window: 4h}}}]
"""
TWO = """\
**2 messages for you**

**P1: Checkout is slow**
- Look at Checkout is slow.

**[P2: Search \\| slow](https://pager.example/P2%29)**
- Look at Search \\| slow.

_Enough of one for a while:_ `hotwash mute P1 --until 7d`"""


def refuse_ada(message):
    if message.to == "ada":
        raise ActionError("there is no such account")


def history(world, kind):
    """Give what the runs' records of a kind say, oldest first."""
    rows = world.application.reader.execute("SELECT data FROM steps WHERE kind = ? ORDER BY id", (kind,))
    return [row["data"] for row in rows]


# --- folding ---


async def test_messages_within_a_window_go_out_as_one(engine):
    async with engine(NUDGE) as world:
        await world.declared()
        await world.incident("declared", "pager:P2", title="Search | slow", url="https://pager.example/P2)")
        assert (world.said, [run["state"] for run in world.runs()]) == ([], ["finished"] * 2)
        await world.move("4h")
        assert world.said == [TWO]
        assert world.chat.sent[0].to == "ada"


async def test_a_window_counts_from_its_first_message(engine):
    async with engine(NUDGE) as world:
        await world.declared()
        await world.move("3h")
        await world.incident("declared", "pager:P2", title="Search is slow")
        await world.move_to(world.now + timedelta(minutes=59))
        assert world.said == []
        await world.move("1m")
        assert world.said[0].startswith("**2 messages for you**")
        await world.move("1d")
        assert len(world.said) == 1


async def test_the_shortest_window_tells_what_waits_for_longer_ones_too(engine):
    quick = NUDGE.replace("4h", "30m").replace("steps:", "on: incident.updated\nsteps:")
    async with engine(slow=NUDGE, quick=quick) as world:
        await world.declared()
        await world.incident("updated", severity="sev2")
        await world.move("30m")
        assert world.said == ["Look at Checkout is slow."]
        await world.move("1d")
        assert len(world.said) == 1


async def test_a_step_whose_message_waits_says_so_in_its_outputs(engine):
    text = NUDGE + "  - {uses: chat.post, with: {text: '${{ steps.told.digested }} ${{ steps.told.url }}'}}\n"
    async with engine(text) as world:
        await world.declared()
        assert (world.said, world.state) == (["true "], "finished")


async def test_one_message_alone_is_sent_as_it_was_written(engine):
    async with engine(NUDGE) as world:
        await world.declared()
        await world.move("4h")
        assert world.said == ["Look at Checkout is slow."]


async def test_what_is_said_again_about_a_subject_is_told_once(engine):
    async with engine(NUDGE.replace("steps:", "on: [incident.declared, incident.updated]\nsteps:")) as world:
        await world.declared()
        for severity in ("sev2", "sev3"):
            await world.incident("updated", severity=severity)
        await world.incident("declared", "pager:P2", title="Search is slow")
        await world.move("4h")
        assert "- Look at Checkout is slow. (3 times)\n" in world.said[0]


async def test_each_person_and_each_channel_has_a_digest_of_its_own(engine):
    steps = "steps: [{uses: chat.nudge, with: {to: '${{ item }}', text: a, digest: {window: 1h}}, for_each: '[%s]'}]"
    posts = "steps: [{uses: chat.post, with: {channel: '#sre', text: b, digest: {window: 2h}}}]"
    async with engine(persons=steps % '"ada", "grace"', channel="once_per: event.id\n" + posts) as world:
        await world.declared()
        await world.incident("declared", "pager:P2", title="P2")
        await world.move("1d")
        assert sorted(message.to for message in world.chat.sent) == ["#sre", "ada", "grace"]
        assert next(one.text for one in world.chat.sent if one.to == "#sre").startswith("**2 messages**\n")


async def test_what_is_longer_than_a_chat_takes_goes_out_in_parts(engine):
    text = NUDGE.replace("Look at ${{ incident.title }}.", "${{ incident.title }}" * 20)
    async with engine(text) as world:
        for number in range(5):
            await world.incident("declared", f"pager:P{number}", title=f"{number}" + "x" * 180)
        await world.move("4h")
        assert [one.count("\n- ") for one in world.said] == [2, 2, 0]
        assert max(len(one) for one in world.said) < 12_000


async def test_a_private_subject_is_shown_by_nothing_but_what_was_written(engine):
    async with engine(NUDGE.replace("${{ incident.title }}", "your page")) as world:
        await world.declared()
        await world.incident("declared", "pager:P2", title="Secret")
        await world.incident("updated", "pager:P2", private=True)
        await world.move("4h")
        assert "Secret" not in world.said[0]
        assert "**Also**\n- Look at your page." in world.said[0]


# --- the world moves on ---


async def test_a_ticket_that_was_closed_meanwhile_is_not_nudged_about(engine):
    async with engine(TICKET) as world:
        for name in ("T-1", "T-2"):
            await world.ticket(name)
        await world.ticket("T-1", "closed", done=True)
        await world.move("4h")
        assert world.said == ["T-2 has not moved."]
        assert history(world, "dropped") == ['{"why":"T-1 is done"}']


async def test_stop_when_is_looked_at_again_when_the_digest_goes_out(engine):
    async with engine("stop_when: incident.severity == 'sev4'" + NUDGE) as world:
        await world.declared()
        await world.incident("updated", severity="sev4")
        await world.move("4h")
        assert (world.said, world.runs()[-1]["state"]) == ([], "finished")
        assert history(world, "dropped") == ["""{"why":"'stop_when' holds: incident.severity == 'sev4'"}"""]


async def test_what_a_run_that_was_stopped_had_to_say_is_dropped(engine):
    text = "stop_when: incident.severity == 'sev4'" + NUDGE + "  - wait: 1d\n  - {uses: chat.post, with: {text: end}}\n"
    async with engine(text) as world:
        await world.declared()
        await world.incident("updated", severity="sev4")
        await world.incident("updated", severity="sev1")
        await world.move("4h")
        assert world.said == []
        assert history(world, "dropped") == ['{"why":"its run was stopped"}']


async def test_what_was_repeated_for_and_has_happened_is_not_asked_for(engine):
    text = NUDGE + "    repeat: {every: 1h, max: 9, until: {document.published: event.document.id == 'docs:D1'}}\n"
    async with engine(text) as world:
        await world.declared()
        await world.move("90m")
        await world.document("D1")
        await world.move("1d")
        assert world.said == []
        assert history(world, "dropped") == ['{"why":"what it was repeated for has happened"}'] * 2


async def test_a_subject_is_read_again_before_a_digest_speaks_of_it(engine):
    tickets = RecordingTickets(Ticket("tracker:T-1", "T-1", "T-1", done=True))
    project = "connections: {tracker: {provider: local}}\n"
    async with engine(TICKET, providers={"tracker": tickets}, project=project) as world:
        tickets.own_store = True  # the run's own look is another test's
        await world.ticket("T-1")
        tickets.own_store = False
        await world.move("4h")
        assert (world.said, tickets.reads) == ([], 1)


async def test_what_cannot_be_read_again_waits_and_the_rest_is_told(engine):
    tickets = RecordingTickets(Ticket("tracker:T-1", "T-1", "T-1"))
    project = "connections: {tracker: {provider: local}}\n"
    async with engine(a=TICKET, b=NUDGE, providers={"tracker": tickets}, project=project) as world:
        await world.ticket("T-1")
        await world.declared()
        tickets.failing = "no answer"
        await world.move("4h")
        assert world.said == ["Look at Checkout is slow."]
        tickets.failing = None
        await world.move("2m")
        assert world.said[1:] == ["T-1 has not moved."]


# --- nothing is lost and nothing told twice ---


async def test_what_waits_is_told_after_a_restart(engine):
    async with engine(NUDGE) as world:
        await world.declared()
        await world.crash()
        world.clock.move_to(world.now + timedelta(hours=9))
        await world.restart()
        assert world.said == ["Look at Checkout is slow."]
        await world.restart()
        await world.move("1d")
        assert len(world.said) == 1


async def test_a_digest_is_tried_again_like_any_message(engine):
    async with engine(NUDGE) as world:
        await world.declared()
        failing = [True]

        def fail(message):
            if failing:
                failing.clear()
                raise RetryLater("busy")

        world.chat.before = fail
        await world.move("4h")
        await world.incident("declared", "pager:P2", title="Search is slow")
        await world.move("1m")
        assert world.said == ["Look at Checkout is slow."]
        await world.move("4h")
        assert world.said[1:] == ["Look at Search is slow."]


async def test_the_owner_is_told_of_a_digest_that_failed_and_a_retry_tells_what_it_had_to(engine):
    async with engine(NUDGE) as world:
        await world.declared()
        failing = [ActionError("there is no such account")]

        def fail(message):
            if failing and message.to == "ada":
                raise failing[0]

        world.chat.before = fail
        await world.move("4h")
        run = world.runs()[-1]
        assert (run["state"], world.said[0][:23]) == ("failed", "Digest failed at digest")
        await world.move("1d")
        failing.clear()
        await perform(world.application, "retry_run", {"run": run["uid"]}, GRACE)
        await world.settle()
        assert (world.said[1:], world.runs()[-1]["state"]) == (["Look at Checkout is slow."], "finished")


async def test_a_digest_is_not_retried_with_the_current_file_for_it_has_none(engine):
    async with engine(NUDGE) as world:
        world.chat.before = refuse_ada
        await world.declared()
        await world.move("4h")
        run = world.runs()[-1]["uid"]
        with pytest.raises(Refused, match=f"{run} is a digest, of which no file says what it does: retry it without"):
            await perform(world.application, "retry_run", {"run": run, "latest": True}, GRACE)
        assert world.runs()[-1]["state"] == "failed"


async def test_a_digest_of_which_it_is_not_known_whether_it_went_out_waits_for_a_person(engine):
    async with engine(NUDGE) as world:
        await world.declared()

        def fail(message):
            if "Look at" in message.text and len(world.said) == 0:
                raise RetryLater("the line broke", maybe_done=True)

        world.chat.before = fail
        await world.move("4h")
        assert [message.to for message in world.chat.sent] == ["grace"]
        run = world.runs()[-1]
        assert (run["workflow"], run["state"]) == ("hotwash.digest", "needs_decision")
        await perform(world.application, "decide_run", {"run": run["uid"], "decision": "repeat"}, GRACE)
        await world.settle()
        assert (world.said[1:], world.state) == (["Look at Checkout is slow."], "finished")


# --- when ---


async def test_a_digest_waits_for_the_hours_of_its_workflow(engine):
    project = 'calendars: {office: {timezone: UTC, hours: {mon-fri: "09:00-12:00"}}}\n'
    async with engine("during: office" + NUDGE, project=project) as world:
        await world.declared()
        await world.move("23h")
        assert world.said == []
        await world.move("1h")
        assert len(world.said) == 1


async def test_a_digest_that_comes_late_still_waits_for_the_hours_of_its_workflow(engine):
    project = 'calendars: {office: {timezone: UTC, hours: {mon-fri: "09:00-17:00"}}}\n'
    async with engine("during: office" + NUDGE, project=project) as world:
        await world.declared()
        await world.crash()
        world.clock.move_to(world.now + timedelta(hours=10))
        await world.restart()
        assert (world.said, world.runs()[-1]["state"]) == ([], "held")
        await world.move("14h")
        assert world.said == ["Look at Checkout is slow."]


async def test_what_a_paused_workflow_had_to_say_waits_and_the_rest_is_told(engine):
    async with engine(a=NUDGE, b=NUDGE.replace("Look at", "Also")) as world:
        await world.declared()
        await perform(world.application, "pause", {"workflow": "a"}, GRACE)
        await world.move("5h")
        assert world.said == ["Also Checkout is slow."]
        await perform(world.application, "resume", {"workflow": "a"}, GRACE)
        await world.move("15m")
        assert world.said[1:] == ["Look at Checkout is slow."]


@pytest.mark.parametrize("window", ["0s", "40d", "soon"])
async def test_a_window_that_is_none_fails_its_step(engine, window):
    text = NUDGE.replace("window: 4h", "window: '${{ incident.severity }}'")
    async with engine(text) as world:
        await world.declared(severity=window)
        assert world.state == "failed"
        assert "window" in world.error
