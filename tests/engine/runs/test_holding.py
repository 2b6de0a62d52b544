"""What holds an effect back: a calendar that is closed, the hours of whom it goes to, a pause."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from engine import operations
from engine.calendars import Calendar, is_open
from engine.domain import Person
from engine.plugins import Fact, native
from engine.runs.holding import open_together
from engine.runs.pauses import Pause, Pauses
from engine.testing import RecordingChat

#: Each test begins on a Monday at nine, an hour before the office opens.
OFFICE = 'calendars:\n  default: {hours: {mon-sun: "00:00-24:00"}}\n  office: {hours: {mon-fri: "10:00-16:00"}}\n'
POST = "during: office\nsteps: [{id: say, uses: chat.post, with: {text: hello}}]"
MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)


def rows(world, sql):
    return [tuple(row) for row in world.application.reader.execute(sql).fetchall()]


async def perform(world, name, **inputs):
    done = await operations.perform(world.application, name, inputs, "grace")
    await world.settle()
    return done


async def test_a_held_effect_costs_one_row_that_is_due_when_its_calendar_opens(engine):
    async with engine(POST, project=OFFICE) as world:
        await world.declared()
        due = int((MONDAY + timedelta(hours=1)).timestamp() * 1_000_000)
        assert rows(world, "SELECT path, kind, due FROM waits") == [("say", "timer", due)]


async def test_a_workflow_that_is_never_held_has_no_row_of_it(engine):
    async with engine(POST.replace("during: office\n", ""), project=OFFICE) as world:
        await world.declared()
        assert rows(world, "SELECT count(*) FROM waits UNION ALL SELECT count(*) FROM pauses") == [(0,), (0,)]


async def test_what_is_held_is_recorded_once_however_often_the_run_is_woken(engine):
    async with engine(POST, project=OFFICE) as world:
        await perform(world, "pause")
        await world.declared()
        for number in range(5):
            await world.incident("updated", title=str(number))
        await world.restart()
        assert rows(world, "SELECT kind FROM steps WHERE path = 'say'") == [("held",)]
        assert rows(world, "SELECT kind FROM waits") == [("pause",)]


class Rota:
    """A vendor whose answer is who is on call at present."""

    def __init__(self):
        self.now, self.asked = "ada", 0

    async def on_call(self, target, at):
        self.asked += 1
        return Person(self.now, self.now.title(), known=True)


DUTY = "use: {on_call: duty}\nconnections: {duty: {provider: roster}}\ntimezone: UTC\n"


async def test_a_message_that_is_held_goes_to_who_is_on_call_when_it_goes_out(engine):
    rota = Rota()
    text = """
during: recipient
steps:
  - uses: chat.nudge
    with: {to: "${{ on_call('sre') }}", text: "${{ now() }}"}
"""
    project = DUTY.replace("timezone: UTC\n", "") + 'calendars: {day: {hours: {mon-fri: "10:00-16:00"}}}\n'
    async with engine(text, providers={"duty": rota}, project=project) as world:
        await world.declared()
        rota.now = "mary"
        await world.move("61m")
        assert [(message.to, message.text) for message in world.chat.sent] == [("mary", "2026-03-02T10:00:00+00:00")]
        assert rota.asked == 2


async def test_a_run_whose_calendar_is_gone_is_put_aside_until_it_is_there_again(engine):
    async with engine(POST, project=OFFICE) as world:
        await world.declared()
        settings = world.folder / "hotwash.yaml"
        (world.folder / "workflows" / "flow.yaml").unlink()
        settings.write_text(settings.read_text().replace("  office:", "  bureau:"))
        await world.restart()
        await world.move("1d")
        assert world.said == []
        assert "no calendar is called 'office'" in world.runs()[0]["reason"]
        settings.write_text(settings.read_text().replace("  bureau:", "  office:"))
        await world.restart()
        await world.move("2h")
        assert (world.said, world.state) == (["hello"], "finished")


async def test_a_calendar_that_never_opens_fails_the_step_and_says_so(engine, tmp_path):
    event = "BEGIN:VEVENT\nUID:a\nDTSTART;VALUE=DATE:20200101\nRRULE:FREQ=DAILY\nSUMMARY:off\nEND:VEVENT"
    (tmp_path / "off.ics").write_text(f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\n{event}\nEND:VCALENDAR\n")
    never = OFFICE.replace('"10:00-16:00"}}', '"10:00-16:00"}, holidays: [off.ics]}')
    async with engine(POST, project=never) as world:
        await world.declared()
        assert "calendar 'office' never opens" in world.error


FAILS = "during: office\nsteps: [{finish: {as: failed, reason: broken}}]"


async def test_the_owner_is_told_of_a_failure_although_the_calendar_is_closed(engine):
    async with engine(FAILS, project=OFFICE) as world:
        await world.declared()
        assert [message.to for message in world.chat.sent] == ["grace"]


async def test_the_steps_for_a_failure_are_held_as_others_are(engine):
    text = FAILS + "\non_failure: [{uses: chat.post, with: {text: it failed}}]"
    async with engine(text, project=OFFICE) as world:
        await world.declared()
        assert world.said == []
        await world.move("61m")
        assert world.said[0] == "it failed"


async def test_in_a_pause_the_owner_is_told_of_nothing_either(engine):
    async with engine(FAILS, project=OFFICE) as world:
        await perform(world, "pause")
        await world.declared()
        assert world.said == []
        await perform(world, "resume")
        assert len(world.said) == 1


class SlowChat(RecordingChat):
    """A chat whose first call never ends."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    @native
    async def post(self, channel, text, *, thread, effect):
        self.calls += 1
        if self.calls == 1:
            await self.stand_still()
        return await super().post(channel, text, thread=thread, effect=effect)

    async def stand_still(self):
        import asyncio

        self.standing.set()
        await asyncio.Event().wait()


@pytest.fixture
async def slow():
    import asyncio

    chat = SlowChat()
    chat.standing = asyncio.Event()
    return chat


async def cut_off(world, chat):
    """Kill the engine while a message is under way, and start it again after the office has closed."""
    await world.move("6h30m")
    await world.application.accept("pager", [Fact("incident.declared", world.now, "incident", "pager:P1", {})])
    await chat.standing.wait()
    await world.crash()
    world.clock.move_to(world.now + timedelta(hours=1))


async def test_what_was_cut_off_is_sent_again_only_when_the_calendar_is_open(engine, slow):
    async with engine(POST, project=OFFICE, providers={"console": slow}) as world:
        await cut_off(world, slow)
        await world.restart()
        assert (slow.calls, world.state) == (1, "held")
        await world.move("18h")
        assert (slow.calls, world.state) == (2, "finished")


async def test_what_was_cut_off_is_sent_again_only_after_a_pause(engine, slow):
    async with engine(POST.replace("during: office\n", ""), project=OFFICE, providers={"console": slow}) as world:
        await cut_off(world, slow)
        application = world._open()
        await operations.perform(application, "pause", {}, "grace")
        await application.stop()
        await world.restart()
        assert (slow.calls, world.state) == (1, "held")
        await perform(world, "resume")
        assert (slow.calls, world.state) == (2, "finished")


class Ending(Pauses):
    """Pauses that end as soon as they have been looked at once."""

    def of(self, workflow):
        pause = self.current.get("")
        self.current = {}
        return pause


async def test_a_pause_that_ends_between_the_decision_and_its_commit_lets_go(engine):
    async with engine("steps: [{wait: 1h}, {uses: chat.post, with: {text: hello}}]", project=OFFICE) as world:
        await world.declared()
        world.application.hub.pauses = Ending()
        world.application.hub.pauses.current = {"": Pause("", world.now, "Grace")}
        await world.move("1h")
        assert (world.said, world.state) == (["hello"], "finished")


# --- business days

DAYS = """
on: {{incident.resolved: {{for: {length}}}}}
during: {during}
steps: [{{uses: chat.post, with: {{text: "${{{{ now() + '1bd' }}}}"}}}}]
"""


@pytest.mark.parametrize(("during", "days"), [("office", 3), ("recipient", 1)])
async def test_business_days_of_a_trigger_and_of_expressions_count_in_the_calendar_of_the_workflow(
    engine, during, days
):
    async with engine(DAYS.format(length="1bd", during=during), project=OFFICE) as world:
        await world.move("4d2h")  # Friday at eleven; the default calendar has no weekend, the office has one
        await world.incident("resolved", title="a")
        await world.move(f"{days * 24 - 1}h")
        assert world.runs() == []
        await world.move("1h")
        there = MONDAY + timedelta(days=4 + days + 1, hours=2)
        assert world.said == [there.isoformat()]


# --- several people ---


def hours(zone, opens, closes):
    day = ((time(opens), time(closes)),)
    return Calendar(zone, zone, (day,) * 5 + ((), ()))


@pytest.mark.parametrize(
    ("zones", "at"),
    [
        (["Europe/Prague", "America/New_York"], datetime(2026, 3, 2, 14, tzinfo=UTC)),
        (["Europe/Prague", "Pacific/Auckland"], datetime(2026, 3, 2, 20, tzinfo=UTC)),  # nine there, and never together
    ],
)
def test_several_people_are_written_to_when_all_are_at_work_or_else_when_the_first_is(zones, at):
    everybody = [hours(zone, 9, 17) for zone in zones]
    found = open_together(everybody, datetime(2026, 3, 2, 17, tzinfo=UTC) - timedelta(hours=0 if at.hour == 20 else 8))
    assert found == at
    assert any(is_open(one, found) for one in everybody)


def test_hours_that_begin_now_are_open_now():
    office = hours("UTC", 9, 17)
    assert open_together([office, replace(office, name="same")], MONDAY) == MONDAY
