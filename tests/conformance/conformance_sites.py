"""Where the conformance suite runs: a project with its engine, once for each dispatcher.

A dispatcher joins by one more entry in `SITES`. The tests use the words of `Site`, and of what they are given no
table, no task and no module of the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.calendars import parse_duration
from engine.clock import SystemClock
from engine.domain import Entry, Person
from engine.operations import perform
from engine.plugins import Fact
from engine.testing import RecordingChat, World
from engine.testing.clock import MovableClock, SettableClock
from engine.testing.providers import Sent

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
GRACE = Person("grace", "Grace", email="grace@example.org", known=True)


class Chat(RecordingChat):
    """A chat that keeps when messages were sent, and whose calls about some texts stand still until `go_on` is set."""

    def __init__(self, now: Any) -> None:
        super().__init__()
        self.slow: set[str] = set()
        self.calls: list[str] = []  #: texts, in the order in which the calls began
        self.began, self.go_on = asyncio.Event(), asyncio.Event()
        self.at: dict[str, datetime] = {}  #: when a text was sent first
        self._now = now

    def _send(self, message: Sent) -> Any:
        self.at.setdefault(message.text, self._now())
        return super()._send(message)

    async def post(self, channel: str | None, text: str, *, thread: str | None, effect: Any) -> Any:
        self.calls.append(text)
        await self._stand_still(text)
        return await super().post(channel, text, thread=thread, effect=effect)

    async def direct(self, person: Person, text: str, *, effect: Any) -> Any:
        await self._stand_still(text)
        return await super().direct(person, text, effect=effect)

    async def _stand_still(self, text: str) -> None:
        if text in self.slow:
            self.began.set()
            await self.go_on.wait()


class Site(World):
    """A project, its engine, and what a test may do to both and see of them.

    Beside these words those of `World`: `happens incident answer settle move crash restart runs effects events told`.
    """

    chat: Any

    # --- what comes in -----------------------------------------------------------------------------------------------

    async def declared(self, name: str = "P1", **fields: Any) -> None:
        """Let an incident be declared."""
        await self.incident("declared", f"pager:{name}", **{"title": name, "severity": "sev2", **fields})

    def fact(self, kind: str, name: str = "P1", *, id: str | None = None, **fields: Any) -> Fact:
        """Give what a pager says of an incident."""
        return Fact(f"incident.{kind}", self.now, "incident", f"pager:{name}", {"title": name, **fields}, id=id)

    async def noted(self, name: str = "P1") -> None:
        """Let somebody do something about an incident."""
        entry = Entry(self.now, "Looked at it.", by=GRACE)
        about = ("incident", f"pager:{name}")
        await self.happens("hotwash", Fact("incident.updated", self.now, *about, actor=GRACE, engine=True, note=entry))

    def published_fact(self, name: str) -> Fact:
        state = {"title": name, "published": True, "content": f"{name} at {self.now}"}
        return Fact("document.published", self.now, "document", f"docs:{name}", state)

    async def published(self, name: str) -> None:
        """Let a document be published."""
        await self.happens("docs", self.published_fact(name))

    async def begins(self, *facts: Fact) -> None:
        """Accept facts, and return when a call stands still."""
        await self.application.accept("pager", facts)
        await asyncio.wait_for(self.chat.began.wait(), 20)

    async def goes_on(self) -> None:
        """Let the calls that stand still end, and everything follow."""
        self.chat.slow.clear()
        self.chat.go_on.set()
        await self.settle()

    async def does(self, operation: str, **inputs: Any) -> None:
        """Let somebody retry, cancel, decide, pause or resume; `run` is by default the newest."""
        about_run = operation in ("retry_run", "cancel_run", "decide_run") and "workflow" not in inputs
        run = {"run": self.runs()[-1]["uid"]} if about_run else {}
        await perform(self.application, operation, {**run, **inputs}, GRACE)
        await self.settle()

    async def pauses(self) -> None:
        """Let somebody pause everything while calls stand still."""
        await perform(self.application, "pause", {}, GRACE)

    async def is_paused_without_an_engine(self) -> None:
        """Let somebody pause everything while no engine runs."""
        application = self._open()
        try:
            await perform(application, "pause", {}, GRACE)
        finally:
            await application.stop()

    async def mutes(self, subject: str, until: str, person: str = "ada") -> None:
        """Let somebody mute a subject."""
        await perform(self.application, "mute_subject", {"subject": subject, "until": until, "person": person}, GRACE)
        await self.settle()

    async def stop(self, patience: float) -> None:
        """End the engine as one does that is asked to."""
        application, self._application = self.application, None
        await application.stop(patience)

    # --- time --------------------------------------------------------------------------------------------------------

    def elapse(self, length: str) -> None:
        """Let time go by at once, with no look at what falls due meanwhile."""
        self.clock.move_to(self.now + parse_duration(length).timedelta())

    async def set_clock(self, length: str, *, back: bool = False) -> None:
        """Put the clock forward, past everything between, or back."""
        by = parse_duration(length).timedelta()
        self.clock.move_to(self.now - by if back else self.now + by)
        await self.settle()

    async def elapses_until_a_call_hangs(self, length: str) -> None:
        """Let time go by at once, and return when a call stands still."""
        self.elapse(length)
        await asyncio.wait_for(self.chat.began.wait(), 20)

    async def is_down_for(self, length: str, *facts: Fact) -> None:
        """Kill the engine and start it again later; facts arrive just before the end and are not looked at."""
        if self._application is not None:
            await self.crash()
        for fact in facts:
            await self.arrives_unseen(str(fact.subject or "chat:").partition(":")[0], fact)
        self.elapse(length)
        await self.restart()

    # --- what came of it ---------------------------------------------------------------------------------------------

    @property
    def said(self) -> list[str]:
        """Give the texts that went out, in order, but for those that tell the owner of an effect in doubt."""
        return [message.text for message in self.chat.sent if "/in-doubt[" not in message.effect]

    @property
    def state(self) -> str:
        return str(self.runs()[-1]["state"])

    @property
    def states(self) -> list[str]:
        return [str(run["state"]) for run in self.runs()]


class Simulated(Site):
    """The embedded dispatcher under a clock that stands still until it is moved."""


class Embedded(Site):
    """The embedded dispatcher under the system's clock, put forward to just before something falls due.

    So each alarm is a real one, and nobody waits longer than a few milliseconds for it.
    """

    clock: RunningClock

    def elapse(self, length: str) -> None:
        self.clock.pass_to(self.now + parse_duration(length).timedelta())

    async def move_to(self, target: datetime) -> None:
        await self.settle()
        while True:
            due = self.application.next_due()
            if due is None or due > target:
                break
            await self._reach(due)
        await self._reach(target)

    async def _reach(self, target: datetime) -> None:
        if self.now < target - SHORTLY:
            self.clock.pass_to(target - SHORTLY)
        await self.clock.wait_until(target, asyncio.Event())
        await self.settle()


#: What is left of a wait when the running clock has been put forward.
SHORTLY = timedelta(milliseconds=3)


class RunningClock(SystemClock):
    """The system's clock as if it showed another time, and could be set; alarms notice that as on any machine."""

    longest_nap = 0.004

    def __init__(self, start: datetime) -> None:
        self._ahead, self._passed = start - super().now(), timedelta()

    def now(self) -> datetime:
        return super().now() + self._ahead

    def monotonic(self) -> float:
        return super().monotonic() + self._passed.total_seconds()

    def move_to(self, instant: datetime) -> None:
        """Set the time, which lets none go by."""
        self._ahead += instant - self.now()

    def pass_to(self, instant: datetime) -> None:
        """Let time go by until an instant."""
        by = instant - self.now()
        self._ahead, self._passed = self._ahead + by, self._passed + by


#: By dispatcher: the site, and the clock that it runs under, which shows `MONDAY` at first.
SITES: Mapping[str, tuple[type[Site], Callable[[datetime], SettableClock]]] = {
    "simulated": (Simulated, MovableClock),
    "embedded": (Embedded, RunningClock),
}
