"""Two incidents that are one: `incident.merge`, and who asked to be told: `incident.subscribe`."""

from __future__ import annotations

import pytest

from engine.domain import Person
from engine.operations import NotFound, Refused, perform
from engine.plugins import Fact

ADA = Person("ada", "Ada", email="ada@example.org", known=True)
#: Merges an incident into the open one of the same service, if there is one.
MERGE = """
on: incident.declared
if: incidents(open=true, service=incident.services) | length > 1
steps:
  - uses: incident.merge
    with: {into: "${{ incidents(open=true, service=incident.services) | last }}"}
"""
WATCH = """
on: incident.declared
stop_when: not incident.open
steps:
  - wait: 3h
  - uses: chat.post
    with: {text: "${{ incident.key }} is still open"}
"""
REPORT = """
on: incident.resolved
steps:
  - uses: chat.post
    with: {text: "report on ${{ incident.key }}"}
"""


async def two(world, **fields):
    """Let P1 be declared, and P2 ten minutes later, both about the checkout."""
    await world.incident("declared", "pager:P1", title="Slow", key="P1", services=("checkout",))
    await world.move("10m")
    await world.incident("declared", "pager:P2", title="Slower", key="P2", services=("checkout",), **fields)


async def does(world, operation, **inputs):
    done = await perform(world.application, operation, inputs, ADA)
    await world.settle()
    return done


def read(world, ref, field):
    lookups = world.application.hub.lookups()
    return lookups.read(lookups.subject("incident", ref), field)


async def test_a_duplicate_is_no_longer_open_and_its_runs_stop(engine):
    async with engine(merge=MERGE, watch=WATCH) as world:
        await two(world)
        assert (read(world, "pager:P1", "open"), read(world, "pager:P2", "open")) == (True, False)
        assert [run["state"] for run in world.runs("watch")] == ["waiting", "stopped"]
        lookups = world.application.hub.lookups()
        assert [one.key for one in lookups.find("incident", {"open": True}, None, False)] == ["P1"]
        assert lookups.count("incident", {"open": False}, None, False) == 1
        await world.move("3h")
        assert world.said == ["P1 is still open"]


@pytest.mark.parametrize("by", ["a run", "a person"])
async def test_a_duplicate_starts_nothing_more_and_the_kept_one_does(engine, by):
    async with engine(report=REPORT, **({"merge": MERGE} if by == "a run" else {})) as world:
        await two(world)
        if by == "a person":
            await does(world, "merge_incident", incident="P2", into="P1")
        await world.incident("resolved", "pager:P2")
        assert world.said == []
        await world.incident("resolved", "pager:P1")
        assert world.said == ["report on P1"]


async def test_a_settle_time_that_was_running_starts_nothing_for_a_duplicate(engine):
    async with engine(REPORT.replace("incident.resolved", "{incident.resolved: {for: 15m}}")) as world:
        await two(world)
        await world.incident("resolved", "pager:P2")
        await does(world, "merge_incident", incident="P2", into="P1")
        await world.move("1h")
        assert world.said == []


async def test_what_waits_for_the_end_of_a_duplicate_goes_on(engine):
    text = "on: incident.declared\nsteps:\n  - {id: end, wait: {for: 3d, until: incident.resolved}}\n"
    async with engine(text) as world:
        await two(world)
        await does(world, "merge_incident", incident="P2", into="P1")
        assert [run["state"] for run in world.runs()] == ["waiting", "finished"]


async def test_what_happened_to_a_duplicate_is_found_at_the_one_that_is_kept(engine):
    async with engine() as world:
        await two(world)
        await world.incident("acknowledged", "pager:P2")
        ticket = {"key": "T1", "title": "t", "incident": "pager:P2"}
        await world.happens("tracker", Fact("ticket.created", world.now, "ticket", "tracker:T1", ticket))
        await does(world, "merge_incident", incident="P2", into="P1")
        assert [entry.text for entry in read(world, "pager:P1", "timeline")] == [
            "Declared",
            "P2: Declared",
            "P2: Acknowledged",
            "P2: Merged into P1: Slow",
            "P2 was merged into this one: Slower",
        ]
        assert [one.key for one in read(world, "pager:P1", "action_items")] == ["T1"]
        assert [one.key for one in read(world, "pager:P1", "duplicates")] == ["P2"]
        assert read(world, "pager:P2", "merged_into").key == "P1"


async def test_who_took_part_in_a_duplicate_takes_part_in_the_kept_one_and_in_that_one_s(engine):
    async with engine() as world:
        await two(world)
        await world.incident("declared", "pager:P3", title="Down", key="P3")
        grace = Person("grace", "Grace")
        await world.happens("pager", Fact("incident.updated", world.now, "incident", "pager:P2", actor=grace))
        await does(world, "merge_incident", incident="P2", into="P1")
        await does(world, "merge_incident", incident="P1", into="P3")
        assert {person.id for person in read(world, "pager:P3", "participants")} == {"ada", "grace"}
        assert [one.key for one in read(world, "pager:P3", "duplicates")] == ["P1", "P2"]


async def test_a_duplicate_that_is_opened_again_is_one_of_its_own(engine):
    async with engine(REPORT) as world:
        await two(world)
        await does(world, "merge_incident", incident="P2", into="P1")
        done = await does(world, "reopen_incident", incident="P2")
        assert done.message == "P2 is open again, and no longer merged into P1"
        assert (read(world, "pager:P2", "open"), read(world, "pager:P1", "duplicates")) == (True, [])
        assert world.events()[-1].type == "incident.reopened"
        await world.incident("resolved", "pager:P2")
        assert world.said == ["report on P2"]


async def test_a_duplicate_that_its_source_opens_again_is_one_of_its_own(engine):
    async with engine() as world:
        await two(world)
        await does(world, "merge_incident", incident="P2", into="P1")
        await world.incident("resolved", "pager:P2")
        await world.move("1m")
        await world.incident("reopened", "pager:P2")
        assert (read(world, "pager:P2", "open"), read(world, "pager:P2", "merged_into")) == (True, None)


async def test_a_duplicate_does_not_go_quiet(engine):
    quiet = "on:\n  incident.quiet: {for: 1h}\nsteps:\n  - {uses: chat.post, with: {text: '${{ incident.key }}'}}\n"
    async with engine(quiet) as world:
        await two(world)
        await does(world, "merge_incident", incident="P2", into="P1")
        await world.move("1d")
        assert world.said == ["P1"]


async def test_merging_again_changes_nothing_and_says_so(engine):
    async with engine() as world:
        await two(world)
        done = await does(world, "merge_incident", incident="P2", into="p1")
        assert done.message == "P2 is merged into P1: Slow"
        events = len(world.events())
        done = await does(world, "merge_incident", incident="P2", into="P1")
        assert (done.message, len(world.events())) == ("P2 was already merged into P1: Slow", events)


async def test_what_cannot_be_merged_is_refused_with_the_reason(engine):
    async with engine() as world:
        await two(world, private=True)
        with pytest.raises(Refused, match="'P2' is private and 'P1' is not"):
            await does(world, "merge_incident", incident="P2", into="P1")
        with pytest.raises(NotFound, match="no incident is called 'P9'"):
            await does(world, "merge_incident", incident="P1", into="P9")


# --- who asked to be told ---


async def test_who_subscribes_is_among_the_subscribers_and_takes_no_part(engine):
    async with engine() as world:
        await two(world)
        done = await does(world, "subscribe_incident", incident="P1")
        assert done.message == "P1 tells Ada"
        assert (await does(world, "subscribe_incident", incident="P1")).message == "P1 told already Ada"
        assert [person.id for person in read(world, "pager:P1", "subscribers")] == ["ada"]
        assert read(world, "pager:P1", "participants") == []


async def test_who_subscribes_does_nothing_about_the_incident(engine):
    async with engine("on: incident.updated\nsteps: [{finish: changed}]\n") as world:
        await two(world)
        idle = read(world, "pager:P1", "idle")
        await does(world, "subscribe_incident", incident="P1", people=["grace"])
        assert (read(world, "pager:P1", "idle"), world.runs()) == (idle, [])


async def test_who_wants_to_hear_no_more_is_told_no_more(engine):
    async with engine() as world:
        await two(world)
        await does(world, "subscribe_incident", incident="P1", people=["ada", "grace"])
        assert (await does(world, "unsubscribe_incident", incident="P1")).message == "P1 no longer tells Ada"
        assert [person.id for person in read(world, "pager:P1", "subscribers")] == ["grace"]
        assert (await does(world, "unsubscribe_incident", incident="P1")).message == "P1 did not tell Ada"


async def test_who_is_in_no_roster_must_name_whom_to_tell(engine):
    async with engine() as world:
        await two(world)
        with pytest.raises(Refused, match="'root' is not in the roster: name whom to tell"):
            await perform(world.application, "subscribe_incident", {"incident": "P1"}, "root")


async def test_those_who_were_told_of_a_duplicate_are_told_of_the_kept_one(engine):
    async with engine() as world:
        await two(world)
        await does(world, "subscribe_incident", incident="P1", people=["grace"])
        await does(world, "subscribe_incident", incident="P2")
        await does(world, "merge_incident", incident="P2", into="P1")
        assert [person.id for person in read(world, "pager:P1", "subscribers")] == ["grace", "ada"]


async def test_subscribers_are_told_when_the_severity_is_lowered(engine):
    text = """
on: incident.updated
if: incident.severity != event.before.severity
steps:
  - for_each: incident.subscribers
    uses: chat.nudge
    with: {to: "${{ item }}", text: "${{ incident.key }} is ${{ incident.severity }} now"}
"""
    async with engine(text) as world:
        await two(world)
        await does(world, "subscribe_incident", incident="P1", people=["ada", "grace"])
        await world.incident("updated", "pager:P1", severity="sev3")
        assert sorted((m.to, m.text) for m in world.chat.sent) == [
            ("ada", "P1 is sev3 now"),
            ("grace", "P1 is sev3 now"),
        ]
