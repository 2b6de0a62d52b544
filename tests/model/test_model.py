"""The engine against a simple model of it, under random events, answers, failures, crashes and clock moves.

`MODEL_EXAMPLES=2000 pytest tests/model` is the long form; what fails is printed as the steps that lead there.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from model_expected import ENDED, Happened, Model, Run, subject_type
from model_project import DIGESTS, STEPS, WORKFLOWS, Services, providers, write_project

from engine.domain import Person
from engine.operations import perform
from engine.plugins import Fact
from engine.store.codec import instant, micros
from engine.testing import World
from engine.wiring import open_application

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "0"))

incidents = st.sampled_from(["pager:P1", "pager:P1", "pager:P2"])
tickets = st.sampled_from(["tracker:T1", "tracker:T1", "tracker:T2"])
documents = st.sampled_from(["docs:P1", "docs:T1"])
incident_kinds = st.sampled_from(["declared", "acknowledged", "mitigated", "resolved", "reopened", "updated"])
severities = st.sampled_from([None, None, None, "sev1", "sev2", "sev4", "sev3"])
#: The workflow whose steps fail, or none for all, and how; or that everything works.
faults = st.none() | st.tuples(
    st.sampled_from(["", "", *sorted(WORKFLOWS)]), st.sampled_from(["busy", "refused", "lost", "cut"])
)
#: Events that the model knows of.
TOLD = "type NOT IN ('workflow.failed', 'digest.due')"
decisions = st.sampled_from(["repeat", "skip", "done"])
minutes = st.sampled_from([1, 4, 15, 20, 30, 60, 61, 150, 400])


@st.composite
def said(draw: st.DrawFn) -> tuple[str, str, dict[str, Any]]:
    """What a source may say: the kind, the subject, and its fields."""
    match draw(st.sampled_from(["incident", "incident", "incident", "ticket", "document"])):
        case "incident":
            severity = draw(severities)
            return draw(incident_kinds), draw(incidents), {"severity": severity}
        case "ticket":
            kind = draw(st.sampled_from(["created", "updated", "closed", "reopened"]))
            return kind, draw(tickets), {"title": draw(st.sampled_from("xyz"))}
        case _:
            return "published", draw(documents), {}


class Witness:
    """Reads from the tables what the promises leave open."""

    def __init__(self, machine: EngineAgainstModel) -> None:
        self.machine = machine

    def _row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self.machine.world.application.reader.execute(sql, values).fetchone()
        return row

    def pause(self, identity: str) -> datetime:
        row = self._row(
            "SELECT waits.due FROM waits JOIN effects ON effects.run = waits.run AND effects.path = waits.path"
            " WHERE effects.identity = ? AND waits.kind = 'timer'",
            identity,
        )
        assert row is not None, f"{identity} is not to be tried again"
        return instant(row["due"])

    def cut_off(self, identity: str) -> bool:
        row = self._row("SELECT id, run, path, state FROM effects WHERE identity = ?", identity)
        assert row is not None, f"{identity} was never begun"
        if row["state"] == "unknown":
            return True
        held = self._row("SELECT 1 FROM waits WHERE run = ? AND path = ? AND kind = 'hold'", row["run"], row["path"])
        return row["state"] == "intent" and held is not None

    def was_made(self, identity: str) -> bool:
        return self.machine.made[identity] > 0

    def has_looked(self, workflow: str, key: str, step: str, now: datetime) -> bool:
        row = self._row(
            "SELECT 1 FROM steps JOIN runs ON runs.id = steps.run WHERE workflow = ? AND key = ? AND path = ?"
            " AND kind IN ('done', 'closed') AND at = ?",
            *(workflow, key, step, micros(now)),
        )
        return row is not None

    def state_of(self, workflow: str, key: str) -> str | None:
        row = self._row("SELECT state FROM runs WHERE workflow = ? AND key = ?", workflow, key)
        return str(row["state"]) if row is not None else None


class EngineAgainstModel(RuleBasedStateMachine):
    """Both are told the same; after each step both must be in the same state.

    A rule that finds nothing to do does nothing: what a crash leaves depends on the machine, and what hypothesis draws
    must not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        folder = Path(self.folder.name)
        write_project(folder)
        self.services = Services()
        self.world = World(folder, MONDAY, open_application, providers=providers(self.services))
        self.services.now = self.world.clock.now
        self.model = Model(MONDAY, self.services, Witness(self))
        self.vendor = MONDAY  #: the clock of those who send events never goes back
        self.born = MONDAY  #: when the engine before the last crash was started
        self.contents = 0
        self.deliveries: list[tuple[str, Fact]] = []
        self.seen = 0  #: the newest event that the model knows
        self.told: set[str] = set()  #: letters that were told
        self.made: Counter[str] = Counter()  #: what the services had made when the engine was killed
        self._run(self.world.restart())

    def teardown(self) -> None:
        self._run(self.world.__aexit__())
        self.runner.close()
        self.folder.cleanup()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(asyncio.wait_for(work, 30))

    # --- what is said ------------------------------------------------------------------------------------------------

    def _fact(self, kind: str, subject: str, fields: dict[str, Any], ago: int = 0) -> Fact:
        """Give the fact that a source would make, and remember its delivery."""
        fields = dict(fields)
        if subject_type(subject) == "incident" and fields["severity"] is None:
            fields["severity"] = self.model.subjects.get(subject, {}).get("severity", "sev2")
        if subject_type(subject) == "document":
            self.contents += 1
            fields |= {"title": subject.partition(":")[2], "published": True, "content": str(self.contents)}
        self.vendor = max(self.vendor, self.world.now)
        time = self.vendor - timedelta(minutes=ago)
        name = f"{subject_type(subject)}.{kind}"
        fact = Fact(name, time, subject_type(subject), subject, fields, id=f"delivery {len(self.deliveries)}")
        self.deliveries.append((subject.partition(":")[0], fact))
        return fact

    def _tell_model(self, fact: Fact) -> list[Happened]:
        if fact.type == "chat.answered":
            assert fact.actor is not None
            return self.model.answered(fact.data["question"], fact.data["answer"], fact.actor.id, fact.time)
        return self.model.fact(fact.type.partition(".")[2], str(fact.subject), fact.time, dict(fact.fields))

    def _follow(self, *facts: Fact) -> None:
        """Let the model follow what the engine was told and has done."""
        events = [event for fact in facts for event in self._tell_model(fact)]
        self._name(events)
        self.model.match(events)
        self.model.settle()

    def _name(self, events: list[Happened]) -> None:
        """Give the model's events the ids of the engine's, which must be the same events."""
        rows = self.world.application.reader.execute(
            f"SELECT id, uid, type, subject FROM events WHERE id > ? AND state != 'ignored' AND {TOLD} ORDER BY id",
            (self.seen,),
        ).fetchall()
        assert [(row["type"], row["subject"]) for row in rows] == [(one.type, one.subject) for one in events]
        for row, event in zip(rows, events, strict=True):
            event.uid, self.seen = row["uid"], row["id"]

    @rule(several=st.lists(said(), min_size=1, max_size=6), ago=st.sampled_from([0, 0, 0, 7]), fault=faults)
    def happens(self, several: list[tuple[str, str, dict[str, Any]]], ago: int, fault: tuple[str, Any] | None) -> None:
        self._fails(fault)
        for what in several:
            self._happens(what, ago)

    def _fails(self, fault: tuple[str, Any] | None) -> None:
        """Let the steps of a workflow fail from now on, or all; nothing lets all work again."""
        if fault is None:
            self.services.faults.clear()
        else:
            self.services.faults |= {step: fault[1] for step in STEPS if step.startswith(fault[0][:3])}

    def _happens(self, what: tuple[str, str, dict[str, Any]], ago: int = 0) -> None:
        fact = self._fact(*what, ago=ago)
        self._run(self.world.happens(self.deliveries[-1][0], fact))
        self._follow(fact)

    @rule(kind=st.sampled_from(["declared", "resolved"]), ticket=said(), severity=severities)
    def happens_at_once(self, kind: str, ticket: tuple[str, str, dict[str, Any]], severity: str | None) -> None:
        facts = [self._fact(kind, subject, {"severity": severity}) for subject in ("pager:P1", "pager:P2")]
        facts.append(self._fact("updated", "tracker:T1", {"title": str(self.contents)}))

        async def accept() -> None:
            sent = self.deliveries[-3:]
            await asyncio.gather(*(self.world.application.accept(connection, [fact]) for connection, fact in sent))
            await self.world.settle()

        newest = self.world.application.reader.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0]
        self._run(accept())
        self._follow(*self._as_written(facts, newest))

    def _as_written(self, facts: list[Fact], after: int) -> list[Fact]:
        """Give facts that were accepted at once, after an event, in the order in which they were written."""
        rows = self.world.application.reader.execute(
            f"SELECT subject FROM events WHERE id > ? AND {TOLD} ORDER BY id", (after,)
        )
        order = [row["subject"] for row in rows.fetchall()]
        return sorted(facts, key=lambda fact: order.index(fact.subject))

    @rule(number=st.integers(0, 100))
    def is_delivered_again(self, number: int) -> None:
        if not self.deliveries:
            return
        connection, fact = self.deliveries[number % len(self.deliveries)]
        self._run(self.world.happens(connection, fact))

    @rule(number=st.integers(0, 100), answer=st.sampled_from(["yes", "no"]), by=st.sampled_from(["ada", "ada", "mary"]))
    def is_answered(self, number: int, answer: str, by: str) -> None:
        if not self.model.questions():
            return
        fact = self._answer(number, answer, by)
        self._run(self.world.happens("native", fact))
        self._follow(fact)

    def _answer(self, number: int, answer: str, by: str) -> Fact:
        open_ones = self.model.questions()
        data = {"question": open_ones[number % len(open_ones)], "answer": answer}
        return Fact("chat.answered", self.world.now, data=data, actor=Person(by, by))

    # --- time --------------------------------------------------------------------------------------------------------

    @rule(how=st.sampled_from(["passes", "passes", "jumps", "is set back"]), length=minutes, fault=faults)
    def time(self, how: str, length: int, fault: tuple[str, Any] | None) -> None:
        self._fails(fault)
        by = timedelta(minutes=length)
        match how:
            case "passes":
                self._pass(self.world.now + by)
            case "jumps":
                self._jump(self.world.now + by)
            case _:
                self.services.made_at.clear()  # our clock is no measure any more of how long things have been there
                self._jump(self.world.now - by)

    def _pass(self, target: datetime) -> None:
        while True:
            due = min([*self.model.dues(), target, self.world.application.next_due() or target])
            self._jump(max(due, self.world.now))
            if due >= target:
                return
            self.both_agree()

    def _jump(self, target: datetime) -> None:
        self.world.clock.move_to(target)
        self._run(self.world.settle())
        self.model.now = target
        self.model.settle()

    @rule(what=said())
    def something_happens_just_before_something_is_due(self, what: tuple[str, str, dict[str, Any]]) -> None:
        due = next((due for due in self.model.dues() if due > self.world.now), None)
        if due is not None:
            self._pass(max(due - timedelta(seconds=20), self.world.now))
            self._happens(what)

    # --- crashes -----------------------------------------------------------------------------------------------------

    @rule(down=st.sampled_from([0, 0, 1, 20, 200]), what=st.none() | said())
    def crashes_at_rest(self, down: int, what: tuple[str, str, dict[str, Any]] | None) -> None:
        """Where something is said just before the end, it is committed and nobody has looked at it."""
        self._run(self.world.crash())
        facts = [self._fact(*what)] if what else []
        for fact in facts:
            self._run(self.world.arrives_unseen(self.deliveries[-1][0], fact))
        self._starts_again(down)
        self._follow(*facts)

    @rule(down=st.sampled_from([0, 200]), number=st.integers(0, 100), answer=st.sampled_from(["yes", "no"]))
    def crashes_with_an_answer(self, down: int, number: int, answer: str) -> None:
        if not self.model.questions():
            return
        self._run(self.world.crash())
        fact = self._answer(number, answer, "ada")
        self._run(self.world.arrives_unseen("native", fact))
        self._starts_again(down)
        self._follow(fact)

    @rule(what=said(), where=st.sampled_from(["before", "after"]), down=st.sampled_from([0, 1, 20]))
    def crashes_in_a_call(self, what: tuple[str, str, dict[str, Any]], where: Any, down: int) -> None:
        fact = self._fact(*what)
        self.services.hanging = where
        self._run(self._stand_still(lambda: self.world.application.accept(self.deliveries[-1][0], [fact])))
        self._run(self.world.crash())
        self.services.hanging = None
        self.model.hanging = where
        crashed = self.world.now
        self._starts_again(down)
        self._follow_to_the_crash(crashed, fact)

    @rule(where=st.sampled_from(["before", "after"]), down=st.sampled_from([0, 1, 20]))
    def crashes_in_what_falls_due(self, where: Any, down: int) -> None:
        if not self.model.dues():
            return
        self.services.hanging = where
        crashed = max(self.model.dues()[0], self.world.now)

        async def falls_due() -> None:
            self.world.clock.move_to(crashed)

        self._run(self._stand_still(falls_due))
        self._run(self.world.crash())
        self.services.hanging = None
        self.model.hanging = where
        self._starts_again(down)
        self._follow_to_the_crash(crashed)

    def _follow_to_the_crash(self, crashed: datetime, *facts: Fact) -> None:
        """Let the model play what happened until calls hung, then what came after the restart."""
        self.model.now, self.model.born, born = crashed, self.born, self.model.born
        self._follow(*facts)
        self.model.hanging, self.model.now, self.model.born = None, self.world.now, born
        self.model.recover()
        self.model.settle()

    async def _stand_still(self, begin: Any) -> None:
        """Begin something, and return when all that can happen is that calls hang."""
        application = self.world.application
        await begin()
        calm, before = 0, None
        while calm < 3:
            await application.journal.transact(lambda cursor: None)
            for _ in range(10):
                await asyncio.sleep(0)
            row = application.reader.execute(
                "SELECT (SELECT max(id) FROM events), (SELECT max(id) FROM steps), (SELECT total(wake) FROM runs),"
                " (SELECT count(*) FROM events WHERE state = 'new'), (SELECT max(id) FROM waits)"
            ).fetchone()
            now = (tuple(row), len(self.services.hung))
            calm, before = (calm + 1 if now == before else 0), now

    @rule(what=said(), commits=st.integers(0, 8), ticks=st.integers(0, 6))
    def crashes_at_any_instant(self, what: tuple[str, str, dict[str, Any]], commits: int, ticks: int) -> None:
        fact = self._fact(*what)

        async def accept_and_crash() -> None:
            application = self.world.application
            await application.accept(self.deliveries[-1][0], [fact])
            for _ in range(commits):
                await application.journal.transact(lambda cursor: None)
            for _ in range(ticks):
                await asyncio.sleep(0)
            await self.world.crash()

        self._run(accept_and_crash())
        self.made = self.services.made.copy()
        self._starts_again(0)
        self.model.crashing = True
        self._follow(fact)
        self.model.crashing = False

    def _starts_again(self, down: int) -> None:
        self.world.clock.move_to(self.world.now + timedelta(minutes=down))
        self._run(self.world.restart())
        self.born, self.model.born = self.model.born, self.world.now
        self.model.now = self.world.now

    # --- what people do ----------------------------------------------------------------------------------------------

    @rule(
        what=st.sampled_from(["decide", "retry", "decide", "retry", "cancel"]), number=st.integers(0, 2), how=decisions
    )
    def somebody_acts(self, what: str, number: int, how: str) -> None:
        match what:
            case "decide":
                self._decide(number, how)
            case "retry":
                self._retry([run for run in self.model.runs.values() if run.state == "failed"], number)
            case _:
                self._cancel([run for run in self.model.runs.values() if run.state not in ENDED], number)
        self.model.settle()

    def _decide(self, number: int, decision: str) -> None:
        for identity in self.model.parked()[number % 3 :][:1]:
            row = self.world.application.reader.execute(
                "SELECT effects.path, runs.uid FROM effects JOIN runs ON runs.id = effects.run WHERE identity = ?",
                (identity,),
            ).fetchone()
            self._perform("decide_run", run=row["uid"], step=row["path"], decision=decision)
            self.model.decide(identity, decision)

    def _retry(self, failed: list[Run], number: int) -> None:
        for run in failed[number % 3 :][:1]:
            self._perform("retry_run", run=self._uid(run.workflow, run.key))
            self.model.retry(run)

    def _cancel(self, going: list[Run], number: int) -> None:
        for run in going[number % 3 :][:1]:
            self._perform("cancel_run", run=self._uid(run.workflow, run.key))
            self.model.cancel(run)

    @rule(name=st.sampled_from(["", "tide", "shared", "settle"]), begins=st.sampled_from([True, False, False]))
    def everything_or_a_workflow_is_paused_or_goes_on(self, name: str, begins: bool) -> None:
        paused = sorted(self.model.paused)
        about = {"workflow": name} if name else {}
        if paused:
            self._perform("resume", **({"workflow": paused[-1]} if paused[-1] else {}))
            self.model.paused.discard(paused[-1])
        elif begins:
            self._perform("pause", **about)
            self.model.paused.add(name)
        self.model.settle()

    def _uid(self, workflow: str, key: str) -> str:
        return next(str(run["uid"]) for run in self.world.runs(workflow) if run["key"] == key)

    def _perform(self, operation: str, **inputs: str) -> None:
        async def do() -> None:
            await perform(self.world.application, operation, inputs, Person("grace", "Grace"))
            await self.world.settle()

        self._run(do())

    # --- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def both_agree(self) -> None:
        self._states_agree()
        self._effects_agree()
        self._dues_agree()
        self._events_agree()
        self._letters_agree()

    def _same(self, what: str, found: Mapping[Any, Any], expected: Mapping[Any, Any]) -> None:
        """Fail with what differs."""
        differing = [key for key in {*found, *expected} if found.get(key) != expected.get(key)]
        lines = [f"{key}: {found.get(key)}, and not {expected.get(key)}" for key in differing]
        assert not lines, f"{what} at {self.world.now}: " + "; ".join(lines)

    def _states_agree(self) -> None:
        runs = [run for run in self.world.runs() if run["workflow"] != DIGESTS]
        found = {(run["workflow"], run["key"]): (run["round"], run["state"]) for run in runs}
        expected = {key: (run.round, run.state) for key, run in self.model.runs.items()}
        self._same("round and state", found, expected)
        failures = sum(run.failures for run in self.model.runs.values())
        told = set(self.services.notices)
        doubts = {one for one in told if "/in-doubt[" in one}
        assert len(told - doubts) == failures, "the owner is told of each failure once"
        assert len(doubts) == len(self.model.doubts), "the owner is told of each effect in doubt once"

    def _effects_agree(self) -> None:
        calls = {one: times for one, times in self.services.calls.items() if not one.startswith(DIGESTS)}
        said = {one: texts for one, texts in self.services.texts.items() if not one.startswith(DIGESTS)}
        least, most = self.model.least, self.model.most
        wrong = {
            one: f"called {calls.get(one, 0)} times, and not {least[one]} to {most[one]}"
            for one in {*calls, *most}
            if not least[one] <= calls.get(one, 0) <= most[one]
        }
        assert not wrong, str(wrong)
        texts = {one: found for one, found in said.items() if not found <= self.model.texts[one]}
        assert not texts, f"said {texts}, and not {[self.model.texts[one] for one in texts]}"
        kinds = {identity: call.kind for identity, (_, call) in self.model.effects.items()}
        twice = {one: times for one, times in self.services.made.items() if times > 1 and kinds[one] != "once"}
        assert not twice, "what is found again is made once"

    def _dues_agree(self) -> None:
        rows = self.world.application.reader.execute(
            "SELECT due FROM waits LEFT JOIN runs ON runs.id = waits.run"
            " WHERE due IS NOT NULL AND runs.ended IS NULL"  # what has ended may have to be found out
            " AND waits.kind != 'digest' AND coalesce(runs.workflow, '') != ? ORDER BY due",
            (DIGESTS,),
        )
        found, expected = [instant(row["due"]) for row in rows.fetchall()], self.model.dues()
        assert found == expected, f"due {found}, and not {expected}"

    def _letters_agree(self) -> None:
        """Each letter is told in one digest, not before the oldest is due, and not after it is due itself."""
        digests = [text for one, texts in self.services.texts.items() if one.startswith(DIGESTS) for text in texts]
        told = Counter(letter for letter in self.model.letters for text in digests if letter in text)
        waiting = {letter: due for letter, due in self.model.letters.items() if letter not in self.told}
        fresh = {letter for letter in waiting if told[letter]}
        assert not fresh or min(waiting.values()) <= self.world.now, f"{fresh} were told before their time"
        self.told |= fresh
        late = {letter for letter, due in waiting.items() if letter not in fresh and due <= self.world.now}
        assert not late or "" in self.model.paused, f"{late} were not told"
        assert all(times == 1 for times in told.values()), f"{told} were told more than once"

    def _events_agree(self) -> None:
        rows = self.world.application.reader.execute(
            f"SELECT uid FROM events WHERE state != 'ignored' AND {TOLD} ORDER BY id"
        ).fetchall()
        assert [row["uid"] for row in rows] == [event.uid for event in self.model.events]
        ignored = self.world.application.reader.execute(
            "SELECT count(*) FROM events WHERE state = 'ignored'"
        ).fetchone()
        assert ignored[0] == self.model.ignored, "a delivery is recorded once"


@pytest.mark.timeout(0 if EXAMPLES else 300)
def test_the_engine_does_what_a_simple_model_of_it_does() -> None:
    run_state_machine_as_test(
        EngineAgainstModel,
        settings=settings(
            max_examples=EXAMPLES or 30,
            stateful_step_count=50 if EXAMPLES else 40,
            derandomize=not EXAMPLES,
            deadline=None,
            database=None,
            print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
