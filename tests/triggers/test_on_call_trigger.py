"""The trigger `on_call.changed`: what a look finds of a roster that is certain and of a plan that may change."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from engine.capabilities import Shift
from engine.domain import Event, Service, Team
from tests.fakes import ADA, GRACE, FakePeople
from triggers.on_call import Changed, changed

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
WEEK = timedelta(days=7)
TURNS = (ADA, GRACE)


class Plan:
    """Two people who take turns every week; `others` stand in for rotations of another plan."""

    def __init__(self, firm=True, turns=TURNS):
        self.firm, self.turns = firm, turns

    async def shifts(self, at):
        count = (at - MONDAY) // WEEK
        start = MONDAY + count * WEEK
        return [Shift("default", self.turns[count % len(self.turns)], start, start + WEEK, firm=self.firm)]


@pytest.fixture
def look(check_at):
    """Look at a plan at an instant, with what the look before left."""

    async def look_at(at, plan, before=None, people=None):
        cursor = before.cursor if before is not None else None
        return await changed.look(None, check_at(at, on_call=plan, cursor=cursor, people=people or FakePeople()))

    return look_at


def told(look):
    return [(due.fact.time, due.fact.data["before"], due.fact.data["after"]) for due in look.found]


async def test_the_first_look_is_no_change_and_the_next_is_when_the_shift_ends(look):
    first = await look(MONDAY + timedelta(hours=1), Plan())
    assert (first.found, first.next) == ([], MONDAY + WEEK)


async def test_a_shift_is_told_once_with_who_went_and_who_came(look):
    first = await look(MONDAY, Plan())
    second = await look(MONDAY + WEEK, Plan(), first)
    assert told(second) == [(MONDAY + WEEK, ADA, GRACE)]
    assert [due.key for due in second.found] == [("default", "2026-03-09T09:00:00+00:00")]
    assert told(await look(MONDAY + WEEK, Plan(), second)) == []


async def test_of_several_changes_that_were_missed_the_newest_is_told(look):
    first = await look(MONDAY, Plan())
    assert told(await look(MONDAY + 2.5 * WEEK, Plan(), first)) == [(MONDAY + 2 * WEEK, GRACE, ADA)]


async def test_a_plan_that_may_change_is_looked_at_again_soon(look):
    first = await look(MONDAY, Plan(firm=False))
    assert first.next == MONDAY + timedelta(minutes=5)
    noon = MONDAY + timedelta(hours=3)
    assert told(await look(noon, Plan(turns=(GRACE, ADA)), first)) == [(noon, ADA, GRACE)]


async def test_nobody_after_somebody_is_a_change_and_a_new_rotation_is_none(look):
    class Changing:
        found = (Shift("default", ADA),)

        async def shifts(self, at):
            return self.found

    plan = Changing()
    first = await look(MONDAY, plan)
    plan.found = (Shift("default", None), Shift("nights", GRACE))
    assert told(await look(MONDAY + WEEK, plan, first)) == [(MONDAY + WEEK, ADA, None)]


async def test_one_who_takes_every_turn_is_no_change(look):
    first = await look(MONDAY, Plan(turns=(ADA,)))
    assert told(await look(MONDAY + WEEK, Plan(turns=(ADA,)), first)) == []


async def test_a_clock_set_back_tells_nothing_twice(look):
    first = await look(MONDAY, Plan())
    second = await look(MONDAY + WEEK, Plan(), first)
    back = await look(MONDAY + WEEK - timedelta(hours=1), Plan(), second)
    assert (told(back), back.next) == ([], MONDAY + WEEK)
    assert told(await look(MONDAY + WEEK, Plan(), back)) == []


async def test_the_event_names_the_teams_and_services_whose_rotation_it_is(look):
    people = FakePeople(
        teams=[Team("sre", "SRE"), Team("web", "Web", rotation="web")],
        services=[Service("api", "API", team="sre"), Service("site", "Site", team="web"), Service("db", "DB")],
    )
    first = await look(MONDAY, Plan(), people=people)
    (due,) = (await look(MONDAY + WEEK, Plan(), first, people)).found
    assert (due.fact.data["teams"], due.fact.data["services"]) == (["sre"], ["api", "db"])


def test_a_workflow_may_ask_for_one_rotation_team_or_service():
    data = {"rotation": "web", "teams": ["web"], "services": ["site"]}
    event = Event("evt_1", "on_call.changed", "hotwash", MONDAY, data=data)
    asked = [{}, {"rotation": "web"}, {"team": "web"}, {"service": "site"}]
    assert all(changed.matches(Changed(**one), event) for one in asked)
    assert not any(changed.matches(Changed(**{name: "sre"}), event) for one in asked for name in one)
    assert changed.key(Changed(), replace(event, time=MONDAY)) == ("web", "2026-03-02T09:00:00+00:00")
