"""How often a connection is called: `rate` and `burst`, restarts, the order of turns, and services that say 429."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.capabilities import Changes, Message
from engine.domain import Ticket
from engine.plugins import Fact, RetryLater, at_most_once, findable
from engine.runs.limits import Bucket
from engine.testing import RecordingChat, RecordingTickets
from engine.testing.providers import Sent

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
POST = """
steps:
  - id: post
    uses: chat.post
    with: {text: "${{ incident.title }}"}
"""


def limited(rate="1/min", burst=1, more=""):
    return f"connections: {{console: {{rate: {rate}, burst: {burst}}}{more}}}\n"


class Timed(RecordingChat):
    """A chat that knows when it was called."""

    def __init__(self):
        super().__init__()
        self.world, self.at = None, []

    def _send(self, message):
        self.at.append(self.world.now)
        return super()._send(message)


async def declare(world, *names):
    facts = [Fact("incident.declared", world.now, "incident", f"pager:{name}", {"title": name}) for name in names]
    await world.happens("pager", *facts)


# --- effects ---


async def test_effects_go_out_no_oftener_than_the_rate_and_the_burst_at_once(engine):
    chat = Timed()
    async with engine(POST, project=limited("2/min", 3), providers={"console": chat}) as world:
        chat.world = world
        start = world.now
        await declare(world, *"abcdefg")
        assert len(chat.sent) == 3
        await world.move("10m")
        assert [(at - start).total_seconds() for at in chat.at] == [0, 0, 0, 30, 60, 90, 120]


async def test_the_oldest_go_first_and_who_comes_new_stands_behind(engine):
    async with engine(POST, project=limited()) as world:
        await declare(world, *"abc")
        await world.move("90s")  # a and b have gone out; c comes at two minutes
        await declare(world, *"de")
        await world.move("10m")
        assert world.said == ["a", "b", "c", "d", "e"]


async def test_what_waits_for_its_turn_is_a_row_and_decided_when_it_goes_out(engine):
    async with engine("stop_when: incident.drill\n" + POST, project=limited()) as world:
        await declare(world, *"abc")
        assert [run["state"] for run in world.runs()] == ["finished", "held", "held"]
        assert not world.application.executor.active
        await world.incident("updated", "pager:b", drill=True)
        await world.incident("updated", "pager:c", title="c as it is now")
        await world.move("10m")
        assert world.said == ["a", "c as it is now"]


@pytest.mark.parametrize("down", ["0s", "90s", "1h"])
async def test_a_restart_gives_no_more_than_the_bucket_has(engine, down):
    chat = Timed()
    async with engine(POST, project=limited("1/min", 2), providers={"console": chat}) as world:
        chat.world = world
        await declare(world, *"abcdef")
        await world.crash()
        world.clock.move_to(
            world.now + {"0s": timedelta(), "90s": timedelta(seconds=90), "1h": timedelta(hours=1)}[down]
        )
        await world.restart()
        for _ in range(3):
            await world.crash()
            await world.restart()
        await world.move("1h")
        assert [message.text for message in chat.sent] == list("abcdef")
        assert_within(chat.at, timedelta(minutes=1), 2)


async def test_many_who_wait_are_looked_at_once_each_and_not_at_every_turn(engine):
    async with engine(POST, project=limited("1/s", 1)) as world:
        await declare(world, *(f"n{number:02}" for number in range(30)))
        await world.move("1m")
        count = world.application.reader.execute("SELECT count(*) FROM steps WHERE kind = 'held'").fetchone()[0]
        assert (len(world.said), count) == (30, 29)


async def test_who_waits_for_a_turn_holds_up_no_other_connection(engine):
    more = ", tracker: {provider: local, key: TR}"
    text = """
steps:
  - id: both
    for_each: "['chat', 'tickets']"
    steps:
      - if: item == "chat"
        uses: chat.post
        with: {text: a}
      - if: item == "tickets"
        uses: ticket.create
        connection: tracker
        with: {title: b}
"""
    tracker = RecordingTickets()
    async with engine(text, project=limited("1/h", 1, more), providers={"tracker": tracker}) as world:
        await world.declared()
        await world.incident("declared", "pager:P2")
        assert (len(world.said), len(tracker.calls)) == (1, 2)


async def test_what_is_only_rows_of_ours_takes_no_turn(engine):
    text = "steps:\n  - uses: ticket.create\n    with: {title: a}\n  - uses: ticket.create\n    with: {title: b}\n"
    async with engine(text, project="connections: {local: {rate: 1/d}}\n") as world:
        await world.declared()
        assert (world.state, len(world.subjects("ticket"))) == ("finished", 2)


async def test_a_turn_that_comes_while_another_item_is_under_way_is_taken(engine):
    class Slow(RecordingTickets):
        began, go_on = asyncio.Event(), asyncio.Event()

        @at_most_once
        async def create(self, draft, *, effect):
            self.began.set()
            await self.go_on.wait()
            return await super().create(draft, effect=effect)

    text = """
steps:
  - for_each: "['a', 'b', 'slow']"
    steps:
      - if: item != "slow"
        uses: chat.post
        with: {text: "${{ item }}"}
      - if: item == "slow"
        uses: ticket.create
        connection: tracker
        with: {title: b}
"""
    tracker = Slow()
    project = limited("1/s", 1, ", tracker: {provider: local, key: TR}")
    async with engine(text, project=project, providers={"tracker": tracker}) as world:
        fact = Fact("incident.declared", world.now, "incident", "pager:a", {"title": "a"})
        await world.application.accept("pager", [fact])
        await tracker.began.wait()
        world.clock.move_to(world.now + timedelta(seconds=2))
        while len(world.said) < 2:
            await asyncio.sleep(0.001)
        tracker.go_on.set()
        await world.settle()
        assert (world.said, world.state) == (["a", "b"], "finished")


async def test_a_further_attempt_takes_a_turn_and_sends_the_stored_inputs(engine):
    async with engine(POST, project=limited("1/h", 1)) as world:
        world.chat.before = lambda message: (_ for _ in ()).throw(RetryLater("busy"))
        await declare(world, "a")
        world.chat.before = lambda message: None
        await world.incident("updated", "pager:a", title="another")
        await world.move("59m")
        assert world.said == []
        await world.move("2m")
        assert world.said == ["a"]


# --- looks, readings, look-ups, polls ---


class Found(RecordingChat):
    """A chat in which one can look; its first message is under way until the engine is killed."""

    def __init__(self, shows):
        super().__init__()
        self.began, self.looks, self.shows = asyncio.Event(), [], shows

    @findable(visible_after="0s")
    async def post(self, channel, text, *, thread, effect):
        message = self._send(Sent("#default", text, effect.id))
        if not self.began.is_set():
            self.began.set()
            await asyncio.Event().wait()
        return message

    async def find(self, effect):
        self.looks.append(effect.id)
        return Message("found") if self.shows else None


@pytest.mark.parametrize(("shows", "sent"), [(True, ["a"]), (False, ["a", "a"])])
async def test_a_look_and_the_call_after_it_take_a_turn_each_and_the_look_is_not_repeated(engine, shows, sent):
    chat = Found(shows)
    async with engine(POST, project=limited("1/h", 1), providers={"console": chat}) as world:
        await world.application.accept(
            "pager", [Fact("incident.declared", world.now, "incident", "pager:a", {"title": "a"})]
        )
        await chat.began.wait()
        await world.crash()
        await world.restart()
        assert chat.looks == []
        await world.move("61m")
        assert (len(chat.looks), len(chat.sent)) == (1, 1)
        await world.move("1h")
        assert (len(chat.looks), [m.text for m in chat.sent], world.state) == (1, sent, "finished")


NUDGE = """
on: ticket.created
steps:
  - wait: 1d
  - uses: chat.nudge
    with: {to: ada, text: "${{ ticket.title }}"}
"""


async def test_reading_a_subject_again_takes_a_turn_and_holds_the_effect_until_it_comes(engine):
    project = "connections: {tracker: {provider: local, key: TR, rate: 1/h, burst: 1}}\nuse: {ticket: tracker}\n"
    tracker = RecordingTickets(*(Ticket(f"tracker:T{n}", f"T{n}", f"t{n}") for n in (1, 2)))
    async with engine(NUDGE, project=project, providers={"tracker": tracker}) as world:
        for name in ("T1", "T2"):
            await world.ticket(name, "created")
        await world.move("1d")
        assert (tracker.reads, world.said) == (1, ["t1"])
        assert world.runs()[1]["state"] == "held"
        await world.restart()
        await world.move("59m")
        assert tracker.reads == 1
        await world.move("2m")
        assert (tracker.reads, world.said) == (2, ["t1", "t2"])


async def test_a_look_up_at_a_vendor_takes_a_turn(engine):
    text = (
        'vars: {who: "${{ on_call(null) }}"}\nsteps:\n  - uses: chat.post\n    with: {text: "${{ incident.title }}"}\n'
    )
    async with engine(text, project="connections: {roster: {rate: 1/h, burst: 2}}\n") as world:  # one for who it is now
        await declare(world, "a", "b")
        assert (world.said, world.state) == (["a"], "held")
        await world.move("1h")
        assert (world.said, world.state) == (["a", "b"], "finished")


async def test_looking_what_changed_takes_a_turn(engine):
    class Changing(RecordingTickets):
        looks = 0

        async def changes(self, cursor):
            self.looks += 1
            return Changes((), str(self.looks))

    project = "connections: {tracker: {provider: local, key: TR, rate: 1/h, burst: 1}}\n"
    tracker = Changing()
    async with engine(NUDGE, project=project, providers={"tracker": tracker}) as world:
        await world.move("150m")
        assert tracker.looks == 3


# --- 429 ---


async def test_a_service_that_is_asked_too_often_is_asked_by_nobody_for_the_time_that_it_says(engine):
    async with engine(POST, project=limited("10/min", 10)) as world:
        world.chat.before = lambda message: (_ for _ in ()).throw(RetryLater("429", after=600, too_often=True))
        await declare(world, "a")
        world.chat.before = lambda message: None
        await declare(world, "b", "c")
        await world.restart()
        await world.move("599s")
        assert world.said == []
        await world.move("1m")
        assert sorted(world.said) == ["a", "b", "c"]


async def test_a_conflict_that_is_tried_again_later_empties_no_bucket(engine):
    async with engine(POST, project=limited("10/min", 10)) as world:
        world.chat.before = lambda message: (_ for _ in ()).throw(RetryLater("conflict", after=600))
        await declare(world, "a")
        world.chat.before = lambda message: None
        await declare(world, "b")
        assert world.said == ["b"]


async def test_without_a_rate_nothing_waits(engine):
    async with engine(POST) as world:
        await declare(world, *(str(number) for number in range(20)))
        assert len(world.said) == 20


# --- the bucket ---


def assert_within(times, interval, burst):
    """Hold that in no time there were more calls than a bucket of that size gives."""
    times = sorted(times)
    for first in range(len(times)):
        for last in range(first, len(times)):
            assert last - first + 1 <= burst + (times[last] - times[first]) / interval


@given(
    burst=st.integers(1, 5),
    moves=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6)), min_size=1, max_size=60),
    closing=st.integers(0, 60),
)
def test_a_bucket_never_gives_more_than_it_has_whoever_comes_when(burst, moves, closing):
    bucket, now, given_at, waiting = Bucket(timedelta(seconds=10), burst, START, promised=START), START, [], {}
    for index, (seconds, who) in enumerate(moves):
        now += timedelta(seconds=seconds)
        if index == closing:
            bucket.close(now + timedelta(seconds=30))
        for name in [*sorted(n for n, turn in waiting.items() if turn <= now), f"{who}/{index}"]:
            turn = bucket.take(name, now)
            assert turn is None or turn > now
            waiting.pop(name, None)
            if turn is None:
                given_at.append(now)
            else:
                waiting[name] = turn
    assert_within(given_at, timedelta(seconds=10), burst)


def test_a_turn_that_is_asked_for_too_early_stays_as_it_is():
    bucket = Bucket(timedelta(seconds=10), 1)
    assert bucket.take("a", START) is None
    turn = bucket.take("b", START)
    assert bucket.take("b", START + timedelta(seconds=5)) == turn == START + timedelta(seconds=10)


def test_who_comes_after_their_turn_keeps_the_order_and_does_not_come_all_at_once():
    bucket = Bucket(timedelta(seconds=10), 1)
    for name in "abcd":
        bucket.take(name, START)
    late = START + timedelta(minutes=5)
    turns = [bucket.take(name, late) for name in "bcd"]
    assert turns == [None, late + timedelta(seconds=10), late + timedelta(seconds=20)]


def test_a_clock_that_was_set_back_empties_the_bucket_at_most():
    bucket = Bucket(timedelta(seconds=10), 2)
    bucket.take("a", START)
    turn = bucket.take("b", START - timedelta(days=1))
    assert turn is not None
    assert turn <= START - timedelta(days=1) + timedelta(seconds=20)
