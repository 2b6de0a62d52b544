"""An engine on a real SQLite file under a clock that moves: what tests of workflows, and the demo, stand on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.application import Application
from engine.calendars import parse_duration
from engine.domain import Event, Person
from engine.log import Tell
from engine.plugins import Fact
from engine.problems import render
from engine.store.codec import instant, loads
from engine.store.lookups import event_of, subject_of
from engine.testing.clock import MovableClock, SettableClock


class World:
    """A project folder with its engine. Use as `async with World(folder, start, wiring.open_application) as world`.

    `crash()` drops the engine as a killed process would, and `restart()` begins anew on the same files.
    """

    def __init__(
        self,
        folder: Path,
        start: datetime,
        build: Callable[..., Application],
        *,
        providers: Mapping[str, Any] | None = None,
        tell: Tell | None = None,
        environ: Mapping[str, str] | None = None,
        clock: SettableClock | None = None,
    ) -> None:
        self.folder, self.clock = folder, clock or MovableClock(start)
        self._build = build
        self._providers, self._environ = dict(providers or {}), dict(environ or {})
        self.told: list[tuple[str, str]] = []
        self._tell = tell
        self._application: Application | None = None

    @property
    def application(self) -> Application:
        assert self._application is not None, "the engine is not running"
        return self._application

    async def __aenter__(self) -> World:
        await self.restart()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._application is not None:
            await self._application.stop(patience=0.0)
            self._application = None

    async def restart(self) -> None:
        """Stop the engine if it runs, and start one on what is in the folder."""
        await self.__aexit__()
        self._application = self._open()
        await self._application.start()
        faults = [problem for problem in self._application.library.problems if problem.severity == "error"]
        if faults:
            raise AssertionError("\n".join(render(problem) for problem in faults))
        await self.settle()

    async def crash(self) -> None:
        """Drop the engine without letting anything end, as `kill -9` would."""
        application, self._application = self.application, None
        calls = [call for active in application.executor.active.values() for call in active.in_flight.values()]
        for call in calls:
            call.cancel()
        await application.stop(patience=0.0)

    def _open(self) -> Application:
        return self._build(
            self.folder, clock=self.clock, tell=self._hear, providers=self._providers, environ=self._environ
        )

    def _hear(self, event: str, sentence: str, /, **facts: Any) -> None:
        self.told.append((event, sentence))
        if self._tell is not None:
            self._tell(event, sentence, **facts)

    # --- time --------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return self.clock.now()

    async def settle(self) -> None:
        """Let everything happen that can happen now."""
        await self.application.settled()

    async def move_to(self, target: datetime) -> None:
        """Move the clock to an instant, stopping at each one where something falls due."""
        await self.settle()
        while True:
            due = self.application.next_due()
            if due is None or due > target:
                break
            self.clock.move_to(max(due, self.clock.now()))
            await self.settle()
        self.clock.move_to(target)
        await self.settle()

    async def move(self, length: str) -> None:
        """Move the clock by a duration such as `7d`."""
        await self.move_to(self.now + parse_duration(length).timedelta())

    # --- what comes in -----------------------------------------------------------------------------------------------

    async def happens(self, connection: str, *facts: Fact) -> None:
        """Take facts in as if a source had said them, and let everything follow."""
        await self.application.accept(connection, facts)
        await self.settle()

    async def arrives_unseen(self, connection: str, *facts: Fact) -> None:
        """Accept facts as a process does that ends before it looks at them; the engine must not be running."""
        assert self._application is None, "the engine is running"
        application = self._open()
        try:
            await application.accept(connection, facts)
        finally:
            await application.stop()

    async def incident(self, name: str, ref: str = "pager:P1", *, ago: str = "0s", **fields: Any) -> None:
        """Let an incident be declared, acknowledged, resolved … at its pager."""
        status = name if name in ("declared", "acknowledged", "mitigated", "resolved") else None
        status = "declared" if name == "reopened" else status
        known = {"status": status} if status else {}
        at = self.now - parse_duration(ago).timedelta()
        fact = Fact(f"incident.{name}", at, "incident", ref, {**known, **fields})
        await self.happens(ref.partition(":")[0], fact)

    async def answer(self, answer: str, by: str | Person, question: str | None = None) -> None:
        """Let somebody answer a question: that of an effect's identity, else the newest."""
        row = self.application.reader.execute(
            "SELECT identity FROM effects WHERE state = 'pending' AND (? IS NULL OR identity = ?) ORDER BY id DESC",
            (question, question),
        ).fetchone()
        assert row is not None, "no question is open"
        person = self.application.hub.directory.people.person(by) if isinstance(by, str) else by
        data = {"question": row["identity"], "answer": answer}
        await self.happens("chat", Fact("chat.answered", self.now, data=data, actor=person))

    # --- what came of it ---------------------------------------------------------------------------------------------

    def runs(self, workflow: str | None = None) -> list[dict[str, Any]]:
        """Give the runs, oldest first: id, workflow, key, state, round, reason, error."""
        rows = self.application.reader.execute(
            "SELECT * FROM runs WHERE ? IS NULL OR workflow = ? ORDER BY id", (workflow, workflow)
        )
        names = ("id", "uid", "workflow", "key", "state", "round", "reason")
        return [{**{name: row[name] for name in names}, "error": loads(row["error"])} for row in rows.fetchall()]

    def effects(self, action: str | None = None) -> list[dict[str, Any]]:
        """Give the effects, oldest first: identity, action, state, inputs, result, created."""
        rows = self.application.reader.execute(
            "SELECT * FROM effects WHERE ? IS NULL OR action = ? ORDER BY id", (action, action)
        )
        return [
            {
                "identity": row["identity"],
                "action": row["action"],
                "state": row["state"],
                "attempts": row["attempts"],
                "inputs": loads(row["inputs"]),
                "result": loads(row["result"]),
                "created": instant(row["created"]),
            }
            for row in rows.fetchall()
        ]

    def events(self, type: str | None = None) -> Sequence[Event]:
        """Give the events, oldest first."""
        rows = self.application.reader.execute(
            "SELECT * FROM events WHERE ? IS NULL OR type = ? ORDER BY id", (type, type)
        )
        return [event_of(row) for row in rows.fetchall()]

    def verdicts(self, workflow: str | None = None) -> list[str]:
        """Give the kinds of the verdicts that were written, oldest first."""
        rows = self.application.reader.execute(
            "SELECT kind FROM verdicts WHERE ? IS NULL OR workflow = ? ORDER BY id", (workflow, workflow)
        )
        return [row["kind"] for row in rows.fetchall()]

    def subjects(self, subject_type: str) -> list[Any]:
        """Give the subjects of a type as records, oldest first."""
        import json

        rows = self.application.reader.execute(
            "SELECT state FROM subjects WHERE type = ? ORDER BY first_seen, id", (subject_type,)
        )
        return [subject_of(subject_type, json.loads(row["state"])) for row in rows.fetchall()]

    def outputs(self, run: int = -1) -> Mapping[str, Any]:
        """Give the outputs of the effects of a run (by its place in `runs`), by step path."""
        number = self.runs()[run]["id"]
        rows = self.application.reader.execute("SELECT path, result FROM effects WHERE run = ? ORDER BY id", (number,))
        return {row["path"]: loads(row["result"]) for row in rows.fetchall()}
