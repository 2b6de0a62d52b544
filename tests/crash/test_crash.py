"""An engine that is killed keeps its promises: accepted means kept, and effects are what their class says."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.crash.child import Launcher
from tests.crash.commits import cut_at
from tests.crash.driver import Crash
from tests.crash.project import WAIT
from tests.crash.recorder import VISIBLE
from tests.crash.verdict import Verdict

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked, counted and limited as on Linux")

#: Kills of the session at random, and commits that are cut: `make crash KILLS=500` is the long form.
KILLS, COMMITS = 15, 6


@pytest.fixture(scope="session")
def launcher() -> Iterator[Launcher]:
    with Launcher() as launcher:
        yield launcher


@pytest.fixture
async def crash(tmp_path: Path, launcher: Launcher) -> AsyncIterator[Crash]:
    """A session in which nothing goes wrong by chance."""
    async with Crash(tmp_path / "project", 1, launcher, likely=0.0, answers=False) as crash:
        yield crash


@pytest.fixture
def seed(record_property: Callable[[str, object], None]) -> int:
    """CRASH_SEED, else any; the run of the tests says which at its end, passed or not."""
    seed = int(os.environ.get("CRASH_SEED") or random.SystemRandom().randrange(10**6))
    record_property("CRASH_SEED", seed)
    return seed


def made(crash: Crash, meaning: str) -> int:
    return sum(one.meaning == meaning for one in crash.recorder.made)


def called(crash: Crash, meaning: str) -> int:
    return sum(call.meaning == meaning for call in crash.recorder.calls)


def sound(crash: Crash) -> None:
    verdict = Verdict(crash).reach()
    assert not verdict.wrong, verdict.report()


# --- at random -------------------------------------------------------------------------------------------------------


async def test_no_kill_at_random_loses_work_or_doubles_an_effect(tmp_path: Path, launcher: Launcher, seed: int) -> None:
    async with Crash(tmp_path / "project", seed, launcher) as crash:
        await crash.lives(KILLS)
        await crash.settle()
    sound(crash)


@pytest.mark.parametrize("kind", ["chain", "calls"])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_no_commit_is_a_bad_place_to_be_killed_at(
    tmp_path: Path, launcher: Launcher, seed: int, moment: str, kind: str
) -> None:
    numbers = random.Random(seed).sample(range(2, 17), COMMITS)
    sessions = await asyncio.gather(*(cut_at(tmp_path / str(n), launcher, kind, **{moment: n}) for n in numbers))
    for crash in sessions:
        sound(crash)


async def test_no_kill_loses_what_is_held_or_lets_it_out_before_its_hours(tmp_path: Path, launcher: Launcher) -> None:
    offset = tmp_path / "offset"
    offset.write_text("0", "utf-8")
    async with Crash(tmp_path / "project", 1, launcher, likely=0.0, answers=False, offset=offset) as crash:
        crash.set_clock_before_the_tide(40.0)
        await crash.start()
        await crash.deliver(crash.order("tides"))
        await crash.until_there("SELECT 1 FROM steps WHERE kind = 'held'")
        await crash.kill()
        crash.set_clock_before_the_tide(1.0)
        await crash.act(("taken", "note"), ("taken", "ticket"), kind="tides")
        await crash.settle()
    sound(crash)
    assert (made(crash, "k1/note"), made(crash, "k1/ticket")) == (1, 1)


# --- effects ---------------------------------------------------------------------------------------------------------


async def test_a_document_whose_service_broke_off_after_it_took_the_call_is_looked_for(crash: Crash) -> None:
    crash.recorder.planned = {"doc": ["drop_after"]}
    crash.recorder.visible = (VISIBLE, VISIBLE)
    await crash.act()
    await crash.settle()
    sound(crash)
    assert (called(crash, "k1/doc"), made(crash, "k1/doc")) == (1, 1)


async def test_a_second_kill_before_what_was_made_is_visible_makes_no_third(crash: Crash) -> None:
    crash.recorder.visible = (VISIBLE, VISIBLE)
    crash.recorder.outlives = 0.0  # the first call is not taken
    await crash.act(("arrived", "doc"), ("taken", "doc"))
    await crash.settle()
    sound(crash)
    assert (called(crash, "k1/doc"), made(crash, "k1/doc")) == (2, 1)


async def test_a_kill_while_it_looks_makes_nothing_twice(crash: Crash) -> None:
    crash.recorder.visible = (VISIBLE, VISIBLE)
    await crash.act(("taken", "doc"), ("looked", None))
    await crash.settle()
    sound(crash)
    assert made(crash, "k1/doc") == 1


@pytest.mark.parametrize("what", ["post", "mail"])
async def test_a_message_that_may_have_been_sent_waits_for_a_person(crash: Crash, what: str) -> None:
    await crash.act(("taken", what))
    await crash.until(crash.parked, "a run that needs a decision")
    await crash.settle(leave=1)
    sound(crash)
    assert (called(crash, f"k1/{what}"), made(crash, f"k1/{what}")) == (1, 1)
    assert crash.read("SELECT state FROM runs") == [("needs_decision",)]


async def test_items_beside_one_that_waits_for_a_person_go_on(crash: Crash) -> None:
    await crash.act(kind="ask", list=["a", "b", "c"])
    await crash.until(lambda: len(crash.recorder.made) == 3, "three questions")
    crash.script = [("taken", "comment/a")]
    crash.answer("ask/k1/1/ask[a]", "stop")
    await crash.until(lambda: not crash.child.there, "a kill")
    await crash.restart()
    crash.answer("ask/k1/1/ask[b]", "go")
    crash.answer("ask/k1/1/ask[c]", "stop")
    await crash.settle(leave=1)
    sound(crash)
    assert crash.parked() == [(crash.run_of("ask"), "each[a]/say")]
    assert made(crash, "k1/comment/a") == 1
    assert all(any(made(crash, f"k1/{w}/{i}") for w in ("ticket", "comment", "remind")) for i in "bc")


async def test_a_kill_after_rows_of_our_own_and_before_the_next_decision_leaves_nothing_undone(crash: Crash) -> None:
    emitted = "SELECT 1 FROM effects e JOIN runs r ON r.id = e.run WHERE action = 'event.emit' AND ended IS NULL"
    await crash.start(when=emitted.replace("ended", "r.ended"))
    await crash.deliver(crash.order())
    await crash.until(lambda: not crash.child.there, "a kill")
    assert crash.read("SELECT state FROM runs WHERE workflow = 'chain'") == [("running",)]
    await crash.restart()
    await crash.settle()
    sound(crash)
    assert made(crash, "k1/after") == 1


async def test_a_provider_that_answers_after_the_client_gave_up_doubles_nothing(crash: Crash) -> None:
    crash.recorder.planned = {what: ["late"] for what in ("doc", "post", "put", "after")}
    await crash.act()
    await crash.until(crash.parked, "a run that needs a decision")
    assert made(crash, "k1/post") == 1
    await crash.settle(leave=0)
    sound(crash)
    assert (called(crash, "k1/doc"), made(crash, "k1/doc")) == (1, 1)
    assert made(crash, "k1/after") == 1
    assert called(crash, "k1/after") == 2


# --- events and waits ------------------------------------------------------------------------------------------------


async def test_a_delivery_that_is_committed_and_not_answered_is_known_when_it_comes_again(crash: Crash) -> None:
    await crash.start(when="SELECT 1 FROM events")
    order = crash.order()
    assert await crash.deliver(order) is None
    await crash.child.gone()
    await crash.restart()
    assert await crash.deliver(order) == 202
    await crash.settle()
    sound(crash)
    assert crash.read("SELECT count(*) FROM events WHERE type = 'webhook'") == [(1,)]


async def test_a_wait_that_fell_due_while_nothing_ran_ends_at_the_start(crash: Crash) -> None:
    await crash.act()
    await crash.until_there("SELECT 1 FROM waits WHERE path = 'nap'")
    await crash.kill()
    await asyncio.sleep(WAIT + 0.2)
    assert made(crash, "k1/post") == 0
    await crash.start()
    await crash.settle()
    sound(crash)
    assert made(crash, "k1/post") == 1


# --- a clock that jumps ----------------------------------------------------------------------------------------------


@pytest.fixture
async def skewed(tmp_path: Path, launcher: Launcher) -> AsyncIterator[Crash]:
    """A session whose engine's clock is set by `set_clock`."""
    offset = tmp_path / "offset"
    offset.write_text("0", "utf-8")
    async with Crash(tmp_path / "project", 1, launcher, likely=0.0, answers=False, offset=offset) as crash:
        yield crash


async def test_a_clock_that_is_set_back_delays_a_wait_and_repeats_nothing(skewed: Crash) -> None:
    await skewed.act()
    await skewed.until_there("SELECT 1 FROM waits WHERE path = 'nap'")
    skewed.set_clock(-3600)
    await asyncio.sleep(WAIT + 0.3)
    await skewed.kill()
    await skewed.start()
    await asyncio.sleep(0.3)
    assert called(skewed, "k1/post") == 0
    skewed.set_clock(10)
    await skewed.settle()
    sound(skewed)
    assert made(skewed, "k1/post") == 1


async def test_a_clock_that_jumps_ahead_ends_a_wait_once(skewed: Crash) -> None:
    await skewed.act(kind="chase")
    await skewed.until_there("SELECT 1 FROM waits WHERE path = 'release'")
    skewed.set_clock(3600)
    await skewed.settle()
    sound(skewed)
    assert (made(skewed, "k1/late"), made(skewed, "k1/released")) == (1, 0)


async def test_a_clock_that_jumps_ahead_does_not_look_before_a_service_can_show(skewed: Crash) -> None:
    skewed.recorder.visible = (VISIBLE, VISIBLE)
    await skewed.act(("taken", "doc"))
    await skewed.until_there("SELECT 1 FROM waits WHERE kind = 'hold'")
    skewed.set_clock(3600)
    await skewed.settle()
    sound(skewed)
    assert (called(skewed, "k1/doc"), made(skewed, "k1/doc")) == (1, 1)


async def test_a_clock_that_is_another_at_each_start_loses_and_doubles_nothing(
    tmp_path: Path, launcher: Launcher, seed: int
) -> None:
    offset = tmp_path / "offset"
    offset.write_text("0", "utf-8")
    rng = random.Random(seed)
    async with Crash(tmp_path / "project", seed, launcher, offset=offset) as crash:
        for _ in range(6):
            crash.set_clock(rng.choice([-3600, -5, 0, 5, 3600]))
            await crash.lives(1)
        crash.set_clock(7200)
        await crash.settle()
    sound(crash)


# --- a disk that is full ---------------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[bool], None]]:
    """Put a disk of a few megabytes at a folder; give what fills it, and makes room again."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "hotwash-crash", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"nobody may mount a small disk here: {done.stderr.decode().strip()}")
    ballast = folder / "ballast"

    def fill(full: bool) -> None:
        if not full:
            ballast.unlink()
            return
        with ballast.open("wb", buffering=0) as file:
            for size in (65536, 512):
                try:
                    while file.write(b"x" * size):
                        pass
                except OSError:
                    continue

    try:
        yield fill
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def no_room(crash: Crash, fill: Callable[[bool], None], *, kill: bool) -> None:
    """Have the disk full in the middle of some runs."""
    await crash.act()
    await crash.deliver(crash.order("chase", "k2"))
    await crash.until(lambda: made(crash, "k1/doc"), "a document")
    fill(True)
    refused = [await crash.deliver(crash.order("chain", f"k{number}")) for number in range(3, 9)]
    assert 503 in refused
    await asyncio.sleep(WAIT)
    if kill:
        await crash.kill()
    fill(False)
    await crash.settle()
    sound(crash)


async def test_an_engine_whose_disk_is_full_accepts_nothing_and_goes_on_when_there_is_room(
    tmp_path: Path, launcher: Launcher
) -> None:
    with small_disk(tmp_path / "disk") as fill:
        async with Crash(tmp_path / "disk" / "project", 1, launcher, likely=0.0, answers=False) as crash:
            await no_room(crash, fill, kill=False)


async def test_an_engine_that_is_killed_when_its_files_may_not_grow_has_lost_nothing(crash: Crash) -> None:
    def fill(full: bool) -> None:
        if crash.child.pid is None:
            return
        size = max(file.stat().st_size for file in crash.database.parent.iterdir()) if full else -1
        resource.prlimit(crash.child.pid, resource.RLIMIT_FSIZE, (size, -1))

    await no_room(crash, fill, kill=True)
