"""Jira is asked every few minutes what changed: nothing is lost, nothing counts twice, at the edge of a minute too."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actions.providers.jira import JiraProvider
from tests.fakes import MONDAY, FakeClock, FakeConnection
from tests.standins.jira_cloud import BOT, JiraCloud

#: The index is never further behind than this.
LONGEST_LAG = timedelta(minutes=4)
SECOND = timedelta(seconds=1)


@asynccontextmanager
async def a_site(start=MONDAY, **more):
    clock = FakeClock(start)
    async with JiraCloud(clock.now, **more) as site:
        options = JiraProvider.options(
            server=site.url, user="hotwash@example.com", token="t", deployment="cloud", project="OPS"
        )
        jira = JiraProvider.build(options, FakeConnection(Path(), "tracker", clock))
        yield jira, site, clock
        await jira.aclose()


def told(issue):
    return f"{issue.id}/{datetime.fromisoformat(issue.fields['updated']).astimezone(UTC).isoformat()}"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.integers(0, 4), st.floats(0, 240)),  # which issue, how late the index shows it
        st.tuples(st.just("pass"), st.sampled_from([0.0, 0.001, 0.4, 1.0, 30.0, 59.999, 60.0, 61.0, 299.0, 900.0])),
        st.tuples(st.just("look")),
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=STEPS,
    start=st.integers(0, 119_999),
    page=st.sampled_from([1, 2, 100]),
    late=st.booleans(),
    meanwhile=st.booleans(),
)
async def test_every_change_is_told_and_none_twice(steps, start, page, late, meanwhile):
    async with a_site(MONDAY + timedelta(milliseconds=start), page=page) as (jira, site, clock):
        site.shows_index = late
        issues = [site.add(f"Item {number}") for number in range(5)]
        clock.move(SECOND)
        cursor = (await jira.changes(None)).cursor
        seen, changed = set(), {}

        def change(issue, lag):
            site.lag = lambda: timedelta(seconds=lag)
            clock.move(timedelta(milliseconds=1))  # two changes of an issue in one millisecond are one to Jira, too
            site.change(issue, labels=[str(len(changed))])
            changed[told(issue)] = (issue, clock.now())

        left = 4 if meanwhile else 0

        def while_it_is_read(number):
            nonlocal left
            if number and left:
                left -= 1
                change(issues[0], 0)

        async def look():
            nonlocal cursor
            site.before_page = while_it_is_read
            found = await jira.changes(cursor)
            site.before_page = lambda number: None
            ids = [fact.id for fact in found.facts]
            assert len(ids) == len(set(ids))
            assert set(ids) <= set(changed)
            seen.update(ids)
            cursor = found.cursor
            for id, (issue, at) in changed.items():
                shown = at <= clock.now() - LONGEST_LAG
                assert id in seen or id != told(issue) or not shown, "a change was lost"

        for step in steps:
            match step:
                case "change", which, lag:
                    change(issues[which], lag)
                case "pass", seconds:
                    clock.move(timedelta(seconds=seconds))
                case _:
                    await look()
        clock.move(LONGEST_LAG)
        await look()
        assert {told(issue) for issue in issues if told(issue) in changed} <= seen


async def test_a_change_that_the_index_shows_late_is_told_after_one_that_it_showed_at_once():
    async with a_site() as (jira, site, clock):
        slow, quick = site.add("Slow"), site.add("Quick")
        clock.move(SECOND)
        cursor = (await jira.changes(None)).cursor
        site.shows_index = True
        site.lag = lambda: timedelta(minutes=3)
        site.change(slow, labels=["late"])
        clock.move(timedelta(minutes=1))
        site.lag = timedelta
        site.change(quick, labels=["soon"])
        first = await jira.changes(cursor)
        clock.move(timedelta(minutes=5))
        second = await jira.changes(first.cursor)
        assert [fact.fields["title"] for fact in first.facts] == ["Quick"]
        assert [fact.fields["title"] for fact in second.facts] == ["Slow", "Quick"]


@pytest.mark.parametrize("page", [3, 100])
async def test_more_changes_in_a_minute_than_a_page_holds_are_all_told(page):
    async with a_site(page=page) as (jira, site, clock):
        issues = [site.add(f"Item {number}") for number in range(10)]
        clock.move(SECOND)
        cursor = (await jira.changes(None)).cursor
        for issue in issues:
            site.change(issue, labels=["moved"])
        found = await jira.changes(cursor)
        assert len(found.facts) == 10


async def changed_while_nobody_looked(site, jira, clock, number, apart):
    """Let issues change after a look, and a long time pass; give them, and the cursor of the look."""
    issues = [site.add(f"Item {index}") for index in range(number)]
    clock.move(SECOND)
    cursor = (await jira.changes(None)).cursor
    for issue in issues:
        clock.move(apart)
        site.change(issue, labels=["moved"])
    clock.move(timedelta(hours=1))
    return issues, cursor


async def test_an_issue_that_moves_to_the_end_while_pages_are_read_hides_none_behind_an_edge():
    async with a_site(page=2) as (jira, site, clock):
        issues, cursor = await changed_while_nobody_looked(site, jira, clock, 5, timedelta(milliseconds=1))
        site.before_page = lambda start: site.change(issues[0], labels=["again"]) if start == 2 else None
        first = await jira.changes(cursor)
        second = await jira.changes(first.cursor)
        titles = {fact.fields["title"] for fact in (*first.facts, *second.facts)}
        assert titles == {f"Item {index}" for index in range(5)}


async def test_an_issue_that_is_newer_than_the_index_says_moves_nobody_past_those_behind_it():
    async with a_site(page=2) as (jira, site, clock):
        issues, cursor = await changed_while_nobody_looked(site, jira, clock, 5, timedelta(minutes=2))
        site.lag = lambda: timedelta(minutes=3)
        site.change(issues[1], labels=["again"])
        found = await jira.changes(cursor)
        assert {fact.fields["title"] for fact in found.facts} == {f"Item {index}" for index in range(5)}


async def test_a_long_time_without_a_look_is_caught_up_with_in_pieces(monkeypatch):
    async with a_site(page=2) as (jira, site, clock):
        issues = [site.add(f"Item {number}") for number in range(8)]
        clock.move(SECOND)
        cursor = (await jira.changes(None)).cursor
        for issue in issues:
            clock.move(timedelta(hours=1))
            site.change(issue, labels=["moved"])
        monkeypatch.setattr("actions.providers.jira._MOST_CHANGES", 3)
        seen = []
        for _ in range(4):
            found = await jira.changes(cursor)
            assert len(found.facts) <= 4
            cursor = found.cursor
            seen += [fact.fields["title"] for fact in found.facts]
        assert sorted(set(seen)) == [f"Item {number}" for number in range(8)]


@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize("minutes", range(0, 150, 25))
async def test_no_hour_is_lost_where_the_clocks_of_the_account_are_set_back(minutes, fold):
    before = datetime(2026, 10, 24, 23, 55, tzinfo=UTC)  # 01:55 in Prague; from 03:00 on it is 02:00 again
    async with a_site(before, zone="Europe/Prague") as (jira, site, clock):
        site.fold = fold
        issue = site.add("Item")
        clock.move(timedelta(minutes=minutes))
        cursor = (await jira.changes(None)).cursor
        clock.move(SECOND)
        site.change(issue, labels=["moved"])
        assert [fact.id for fact in (await jira.changes(cursor)).facts] == [told(issue)]


async def test_the_first_look_counts_by_jiras_clock_and_not_by_ours():
    async with a_site() as (jira, site, clock):
        issue = site.add("Item")
        site.now = lambda: clock.now() - timedelta(minutes=10)
        cursor = (await jira.changes(None)).cursor
        clock.move(SECOND)
        site.change(issue, labels=["moved"])
        clock.move(timedelta(minutes=20))
        assert [fact.id for fact in (await jira.changes(cursor)).facts] == [told(issue)]


async def test_what_our_own_account_changes_moves_no_idle_time_however_often_it_does():
    async with a_site() as (jira, site, clock):
        issue = site.add("Item")
        clock.move(timedelta(days=1))
        site.change(issue, labels=["by ada"])
        site.comment(issue, "by ada")
        last = clock.now()
        for _ in range(150):
            clock.move(SECOND)
            site.change(issue, by=BOT, labels=["by us"])
            site.comment(issue, "by us", by=BOT)
        assert (await jira.get("OPS-1")).active_at == last
