"""Send events, answer questions, decide about what is in doubt, and kill the engine while it is at it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from engine.clock import SystemClock
from tests.crash.child import LOOK, ROOT, Child, Launcher
from tests.crash.project import SECRET, TOKEN, write_project
from tests.crash.recorder import FAULTS, MOMENTS, Call, Recorder

#: How one life of the engine ends, and how often in relation to the others.
ENDS = {
    "starting": 2,
    "at random": 3,
    "accepting": 4,
    "accepted": 5,
    "due": 3,
    "answering": 2,
    "deciding": 2,
    "arrived": 4,
    "taken": 5,
    "answered": 5,
    "looked": 3,
}
KINDS = {
    "chain": 5,
    "ask": 2,
    "chase": 3,
    "refuse": 1,
    "fold": 3,
    "alert": 2,
    "calls": 3,
    "turns": 3,
    "latest": 2,
    "tides": 2,
}
#: Lanes in each of which one run of `turns`, and one of `latest`, goes on at a time.
LANES = 3
#: A kill that waits for its moment comes after this many seconds where the moment does not.
IMPATIENCE = 0.6
#: No more events are sent while so many runs go on.
MOST_GOING = 40
#: Everything must have come to its end so many seconds after the last kill; the tide may be low for one minute of it.
SETTLING = 120.0
#: The tide is low so many seconds after a session began.
LOW = 5.0


class NeverCame(Exception):
    """What a test waits for does not come about."""


@dataclass(slots=True)
class Delivery:
    """Something sent to the engine until it was accepted: its body is the same each time."""

    id: str
    path: str
    body: bytes
    headers: dict[str, str]
    about: dict[str, Any]
    accepted: float | None = None  #: when the 2xx came
    tries: int = 0
    again: bool = False  #: whether it was sent once more after that


@dataclass(frozen=True, slots=True)
class Question:
    """A question of which an answer was, or will be, sent."""

    identity: str
    choice: str
    delivery: Delivery


@dataclass
class Crash:
    """One session: a project, its recorder, its engine, and what was sent."""

    folder: Path
    seed: int
    launcher: Launcher
    faults: tuple[str, ...] = FAULTS
    likely: float = 0.25
    offset: Path | None = None
    say: Callable[[str], None] = lambda line: None
    deliveries: list[Delivery] = field(default_factory=list)
    questions: dict[str, Question] = field(default_factory=dict)
    repeats: list[tuple[str, str]] = field(default_factory=list)  #: decisions to repeat that were sent: run and step
    ended: Counter[str] = field(default_factory=Counter)  #: kills by the moment they were meant for
    held: Counter[str] = field(default_factory=Counter)  #: kills by what the journal held then
    #: kills to come: moment, and what the call is about; None for a look, which says nothing of that
    script: list[tuple[str, str | None]] = field(default_factory=list)
    answers: bool = True  #: whether questions are answered by chance, and alerts end by chance
    trouble: list[str] = field(default_factory=list)  #: what went wrong while it went on

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rng = random.Random(self.seed)
        self.clock = SystemClock()
        self.database = self.folder / ".hotwash" / "hotwash.db"
        self.child = Child(self.folder, self.launcher, self.offset)
        self.recorder = Recorder(
            self.seed,
            self.database,
            self.folder / "calls.jsonl",
            faults=self.faults,
            likely=self.likely,
        )
        self.recorder.moment, self.recorder.on_taken = self._moment, self._taken
        self.open_minutes = int((self.recorder.now() + LOW) // 60 + 1) % 2  #: 0: the tide is high in even ones
        self._armed: str | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._http: aiohttp.ClientSession | None = None
        self._keys = 0
        self._began: set[str] = set()  #: alerts that were seen to be worked on

    async def __aenter__(self) -> Crash:
        await self.recorder.start()
        write_project(self.folder, self.recorder.url, self.open_minutes)
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.child.close()
        if self._http is not None:
            await self._http.close()
        await self.recorder.stop()

    # --- lives -------------------------------------------------------------------------------------------------------

    async def lives(self, kills: int) -> None:
        """Start the engine and kill it, so many times."""
        for number in range(1, kills + 1):
            end = self.rng.choices(list(ENDS), list(ENDS.values()))[0]
            await self._live(end, for_real=number % 25 == 13)
            self.ended[end] += 1
            if number % 10 == 0:
                self.say(f"{number} kills, {self._summary()}")

    async def _live(self, end: str, *, for_real: bool) -> None:
        await self.start(for_real=for_real and end != "starting", wait=end != "starting")
        if end == "starting":
            await asyncio.sleep(self.rng.uniform(0.0, 0.4))
        else:
            self._send_some()
            await getattr(self, "_until_" + ("moment" if end in MOMENTS else end.replace(" ", "_")))(end)
        await self.kill()

    async def start(self, *, for_real: bool = False, wait: bool = True, **dies: Any) -> None:
        self.recorder.life += 1
        await self.child.spawn(for_real=for_real, **dies)
        if wait:
            await self.child.ready()

    async def kill(self) -> None:
        """Kill the engine, and see what its journal holds."""
        self._armed = None
        self._see_that_it_lives()
        self.child.kill()
        await self.child.gone()
        self.held[self._journal_holds()] += 1

    def _see_that_it_lives(self) -> None:
        if self.child.died and not self.child.dies:
            self.trouble.append(f"the engine ended by itself: {self.child.log()[-2000:]}")

    def _moment(self, moment: str, call: Call | None) -> bool:
        """Kill the engine where it is meant to be killed at this moment of a call."""
        if self.script and self.script[0] == (moment, call and call.meaning.partition("/")[2]):
            self.script.pop(0)
            self.child.kill()
            return True
        if self._armed != moment:
            return False
        self._armed = None
        if moment in ("answered", "looked") and (pause := self.rng.choice([0.0, 0.0005, 0.001, 0.002, 0.005, 0.01])):
            asyncio.get_running_loop().call_later(pause, self.child.kill)
        else:
            self.child.kill()
        return True

    async def _until_moment(self, end: str) -> None:
        await asyncio.sleep(self.rng.choice([0.0, 0.02, 0.2]))
        self._armed = end
        await self._impatiently(self._killed())

    async def _killed(self) -> None:
        while self._armed is not None or self.child.up:
            await asyncio.sleep(0.001)

    async def _impatiently(self, waiting: Coroutine[Any, Any, Any]) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(waiting, IMPATIENCE)

    async def _until_at_random(self, _end: str) -> None:
        await asyncio.sleep(self.rng.uniform(0.0, self.rng.choice([0.01, 0.1, 0.5, 1.5])))

    async def _until_accepting(self, _end: str) -> None:
        await asyncio.sleep(self.rng.choice([0.0, 0.2]))
        self._send_burst()
        await asyncio.sleep(self.rng.uniform(0.0, 0.012))

    async def _until_accepted(self, _end: str) -> None:
        await asyncio.sleep(self.rng.choice([0.0, 0.2]))
        self._armed = "accepted"
        self._send_burst()
        await self._impatiently(self._killed())

    async def _until_due(self, _end: str) -> None:
        """Kill just about when the next wait falls due."""
        await asyncio.sleep(0.1)
        found = self.read("SELECT min(due) FROM waits WHERE due > ?", int(self.recorder.now() * 1e6))
        pause = found[0][0] / 1e6 - self.recorder.now() if found and found[0][0] else 0.2
        await asyncio.sleep(max(0.0, min(pause, 0.8) + self.rng.uniform(-0.002, 0.015)))

    async def _until_answering(self, _end: str) -> None:
        self._armed = "answer"
        await self._impatiently(self._killed())

    async def _until_deciding(self, _end: str) -> None:
        await asyncio.sleep(self.rng.uniform(0.0, 0.3))
        self._task(self.decide_some(chance=1.0))
        await asyncio.sleep(self.rng.uniform(0.002, 0.03))

    def order(self, kind: str = "chain", key: str = "k1", **about: Any) -> Delivery:
        """Give an event to send."""
        return self._order(kind, key, **about)

    async def act(self, *script: tuple[str, str | None], kind: str = "chain", **about: Any) -> None:
        """Send one event, and kill the engine at each of the moments of calls that are named, in their order."""
        self.script += script
        await self.start()
        await self.deliver(self._order(kind, "k1", **about))
        while self.script:
            await self.until(self._is_down, f"a call about '{self.script[0][1]}' that is {self.script[0][0]}")
            await self.restart()

    def _is_down(self) -> bool:
        return not self.child.there

    async def restart(self, **dies: Any) -> None:
        """Start the engine again that has been killed, or has killed itself."""
        await self.child.gone()
        self.ended["as scripted"] += 1
        await self.start(**dies)

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        """Return when something is so.

        Raises:
            NeverCame: it does not come about.
        """
        late = self.clock.monotonic() + SETTLING
        while not condition():
            if self.clock.monotonic() > late:
                raise NeverCame(f"{what}\n{self.child.log()[-1500:]}")
            await asyncio.sleep(LOOK)

    async def until_there(self, query: str) -> None:
        """Return when a query finds something in the journal."""
        await self.until(lambda: self.read(query), query)

    # --- events ------------------------------------------------------------------------------------------------------

    def _send_some(self) -> None:
        """Send what was not accepted yet, something new, and now and then something once more."""
        for one in self.deliveries:
            if one.accepted is None or (not one.again and one.accepted and self.rng.random() < 0.02):
                self._deliver_later(one, 0.0)
        if self._going() < MOST_GOING:
            for _ in range(self.rng.choice([1, 1, 2, 3])):
                self._deliver_later(self._event(), self.rng.choice([0.0, 0.05, 0.3]))
        self._task(self.decide_some(chance=0.3))

    def _send_burst(self) -> list[Delivery]:
        number = self.rng.choice([1, 2, 6]) if self._going() < MOST_GOING else 1
        sent = [self._event() for _ in range(number)]
        for one in sent:
            self._deliver_later(one, 0.0)
        return sent

    def _event(self) -> Delivery:
        kind = self.rng.choices(list(KINDS), list(KINDS.values()))[0]
        if kind == "alert":
            return self._alert(firing=True)
        old = [one.about["key"] for one in self.deliveries if one.about.get("kind") == kind]
        if old and self.rng.random() < 0.06:  # another delivery of an occasion that is known
            return self._order(kind, self.rng.choice(old))
        self._keys += 1
        key = f"k{self._keys}"
        made = self._order(kind, key)
        if kind == "chase" and self.rng.random() < 0.6:
            self._deliver_later(self._order("release", key), self.rng.uniform(0.3, 4.0))
        return made

    def _order(self, kind: str, key: str, **more: Any) -> Delivery:
        about: dict[str, Any] = {"id": f"d{len(self.deliveries)}", "kind": kind, "key": key, **more}
        if kind == "ask" and "list" not in about:
            about["list"] = ["a", "b", "c"][: self.rng.choice([1, 2, 3])]
        if kind in ("turns", "latest") and "lane" not in about:
            about["lane"] = f"{kind}-{int(key[1:]) % LANES}"  # what waits in a queue decides its 'if' later
        if kind == "release":
            about = {"id": about["id"], "kind": kind, "about": key}
        body = json.dumps(about).encode()
        headers = {"X-Signature": _sign(body), "X-Delivery": about["id"]}
        return self._new(Delivery(about["id"], "/hooks/orders", body, headers, about))

    def _alert(self, *, firing: bool, fingerprint: str | None = None) -> Delivery:
        name = f"d{len(self.deliveries)}"
        at = datetime.fromtimestamp(self.recorder.now(), UTC).isoformat()
        if fingerprint is None:
            self._keys += 1
            fingerprint = f"k{self._keys}"
        start = next((one.about["start"] for one in self.deliveries if one.about.get("key") == fingerprint), at)
        alert = {
            "status": "firing" if firing else "resolved",
            "fingerprint": fingerprint,
            "startsAt": start,
            "endsAt": "0001-01-01T00:00:00Z" if firing else at,
            "labels": {"alertname": "QueueIsFull"},
            "annotations": {"id": name},
        }
        about = {"id": name, "kind": "alert" if firing else "resolved", "key": fingerprint, "start": start}
        body = json.dumps({"version": "4", "alerts": [alert]}).encode()
        return self._new(Delivery(name, "/hooks/alerts", body, {"Authorization": f"Bearer {SECRET}"}, about))

    def _new(self, delivery: Delivery) -> Delivery:
        self.deliveries.append(delivery)
        return delivery

    def _deliver_later(self, delivery: Delivery, pause: float) -> None:
        async def deliver() -> None:
            await asyncio.sleep(pause)
            await self.deliver(delivery)

        self._task(deliver())

    async def deliver(self, delivery: Delivery) -> int | None:
        """Send it to the engine that runs, once; give the status, None where there was no answer."""
        address = self.child.address
        if address is None or self._http is None:
            return None
        delivery.tries += 1
        if delivery.about.get("kind") == "answer" and self._armed == "answer":
            self._armed = None
            asyncio.get_running_loop().call_later(self.rng.uniform(0.0, 0.008), self.child.kill)
        try:
            async with self._http.post(address + delivery.path, data=delivery.body, headers=delivery.headers) as got:
                status = got.status
                if self._armed == "accepted" and 200 <= status < 300:
                    self._armed = None
                    self.child.kill()
                said = await got.text() if status >= 300 else ""
        except (aiohttp.ClientError, TimeoutError):
            return None
        if 200 <= status < 300:
            delivery.again = delivery.accepted is not None
            delivery.accepted = delivery.accepted or self.recorder.now()
        elif status != 503:
            self.trouble.append(f"{delivery.path} {delivery.id} is answered {status}: {said[:200]}")
        return status

    # --- questions ---------------------------------------------------------------------------------------------------

    def _taken(self, call: Call) -> None:
        """Answer a question that came in, mostly; let an alert end that is being worked on."""
        rng = random.Random(f"{self.seed}/{call.meaning}")
        if not self.answers:
            return
        if call.what == "ask" and rng.random() < 0.8:
            choice = rng.choice(["go", "stop"])
            self.answer(call.identity, choice, rng.uniform(0.0, 1.5))
        fingerprint, _, word = call.meaning.partition("/")
        if word == "firing" and rng.random() < 0.6:
            self._deliver_later(self._alert(firing=False, fingerprint=fingerprint), rng.uniform(0.1, 3.0))

    def answer(self, identity: str, choice: str, pause: float = 0.0) -> None:
        """Answer a question after some seconds, as ada."""
        about = {"id": f"d{len(self.deliveries)}", "kind": "answer", "question": identity}
        body = json.dumps({**about, "answer": choice}).encode()
        headers = {"X-Signature": _sign(body)}
        delivery = self._new(Delivery(about["id"], "/hooks/recorder", body, headers, about))
        self.questions[identity] = Question(identity, choice, delivery)
        self._deliver_later(delivery, pause)

    # --- decisions ---------------------------------------------------------------------------------------------------

    async def decide_some(self, *, chance: float, leave: int = 0) -> None:
        """Decide about some of the runs with an effect in doubt, in one of the three ways."""
        for uid, path in self.parked()[leave:]:
            if self.rng.random() < chance:
                decision = self.rng.choice(["repeat", "repeat", "skip", "done"])
                if decision == "repeat":
                    self.repeats.append((uid, path))
                await self._operate("decide_run", run=uid, decision=decision, step=path)

    async def decide_by_command(self, *, leave: int = 0) -> None:
        """Decide about one run as people do: `hotwash runs decide`."""
        for uid, path in self.parked()[leave:][:1]:
            self.repeats.append((uid, path))
            command = (sys.executable, "-c", "from engine.cli import main; main()", "runs", "decide", uid, "repeat")
            process = await asyncio.create_subprocess_exec(
                *(*command, "--step", path, "--project", str(self.folder)),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            said, _ = await process.communicate()
            if process.returncode:
                self.trouble.append(f"'hotwash runs decide' ends with {process.returncode}: {said.decode()[:300]}")

    def run_of(self, workflow: str) -> str:
        """Give the run of a workflow that has run once."""
        ((uid,),) = self.read("SELECT uid FROM runs WHERE workflow = ?", workflow)
        return str(uid)

    def set_clock(self, seconds: float) -> None:
        """Have the engine's clock be wrong by so much from now on."""
        assert self.offset is not None
        draft = self.offset.with_name("offset.new")
        draft.write_text(str(seconds), "utf-8")
        draft.replace(self.offset)

    def set_clock_before_the_tide(self, seconds: float) -> None:
        """Have the engine's clock show so many seconds before the tide turns high."""
        now = self.recorder.now()
        minute = int(now // 60)
        self.set_clock((minute + 1 + (minute + 1 - self.open_minutes) % 2) * 60 - seconds - now)

    def parked(self) -> list[tuple[str, str]]:
        """Give run and path of each effect in doubt."""
        return [
            (row[0], row[1])
            for row in self.read(
                "SELECT r.uid, s.path FROM runs r JOIN steps s ON s.run = r.id WHERE r.state = 'needs_decision'"
                " AND s.id = (SELECT max(id) FROM steps t WHERE t.run = r.id AND t.path = s.path)"
                " AND s.kind = 'parked' ORDER BY s.id"
            )
        ]

    async def _operate(self, name: str, **inputs: str) -> None:
        address = self.child.address
        if address is None or self._http is None:
            return
        headers = {"Authorization": f"Bearer {TOKEN}"}
        body = {"actor": "grace", "inputs": inputs}
        try:
            async with self._http.post(f"{address}/api/operations/{name}", json=body, headers=headers) as got:
                said = await got.text()
                if got.status not in (200, 404, 409, 503):
                    self.trouble.append(f"{name} is answered {got.status}: {said[:200]}")
        except (aiohttp.ClientError, TimeoutError):
            return

    # --- the end -----------------------------------------------------------------------------------------------------

    async def settle(self, *, leave: int = 2) -> None:
        """Let everything come to its end: nothing fails any more, and all that is left is sent and decided."""
        self.recorder.heal()
        if not self.child.there:
            await self.child.gone()
            await self.start()
        late = self.clock.monotonic() + SETTLING
        by_command = False
        while self.clock.monotonic() < late:
            for one in self.deliveries:
                if one.accepted is None:
                    await self.deliver(one)
            if not by_command and self.parked()[leave:]:
                by_command = True
                await self.decide_by_command(leave=leave)
            await self.decide_some(chance=1.0, leave=leave)
            if self.settled():
                break
            await asyncio.sleep(0.1)
        else:
            self.trouble.append(f"not everything came to its end within {SETTLING:g} s")
        self._see_that_it_lives()
        await self.child.stop()

    def settled(self) -> bool:
        """Whether every event is accepted and matched, and every run ended or waits for a person."""
        return not (self._unsettled() or self._tasks) and all(one.accepted is not None for one in self.deliveries)

    def _unsettled(self) -> int:
        """Give how many events and runs have something to do, or wait for an instant; of no tables yet, one each."""
        return sum(
            int((self.read(query) or [(1,)])[0][0])
            for query in (
                "SELECT count(*) FROM events WHERE state = 'new'",
                "SELECT count(*) FROM runs WHERE ended IS NULL AND state <> 'needs_decision'",
                "SELECT count(*) FROM waits WHERE due IS NOT NULL",
                "SELECT count(*) FROM outbox WHERE state = 'waiting'",
            )
        )

    # --- the journal, as others may read it --------------------------------------------------------------------------

    def read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        if not self.database.exists():
            return []
        with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            try:
                return connection.execute(query, values).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):  # the very first engine was killed before it made them
                    return []
                raise

    def _journal_holds(self) -> str:
        new = self.read("SELECT count(*) FROM events WHERE state = 'new'")
        if new and new[0][0]:
            return "an event to match"
        intents = self.read("SELECT count(*) FROM effects WHERE state = 'intent'")
        if intents and intents[0][0]:
            return "an intent"
        return "waits only" if self._going() else "nothing that goes on"

    def _going(self) -> int:
        found = self.read("SELECT count(*) FROM runs WHERE ended IS NULL AND state <> 'needs_decision'")
        return int(found[0][0]) if found else 0

    def _summary(self) -> str:
        accepted = sum(one.accepted is not None for one in self.deliveries)
        return f"{accepted} deliveries accepted, {len(self.recorder.calls)} calls, {self._going()} runs going on"

    def _task(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.trouble.append(f"the test itself fails: {task.exception()!r}")


def _sign(body: bytes) -> str:
    return hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
