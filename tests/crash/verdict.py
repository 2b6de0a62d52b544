"""Hold what a session left behind against PROMISES 1: what the test sent, what the recorder saw, what the journal says.

The journal is asked for what was decided and when; whether something happened, how often and when, only the recorder
is asked.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from engine.store.codec import loads, micros
from tests.crash.driver import LANES, Crash, Delivery
from tests.crash.project import ANSWER, EVERY, RELEASE, SETTLE, WAIT, is_high
from tests.crash.recorder import Call, Made

#: Two clocks of one machine are read one after the other, and sent as fractions: seconds that do not count.
NEAR = 0.002
#: An answer or an event that is accepted this long before its wait is over must be what ends it, in seconds.
IN_TIME = 0.25
#: A call that was let go just before low tide comes at most this much later, in seconds.
SENDING = 1.0
#: In the identities of what tells the owner that it is not known whether an effect happened.
_IN_DOUBT = "/in-doubt["
#: Workflow by the kind of event that starts it.
STARTED = {
    kind: kind for kind in ("chain", "ask", "chase", "refuse", "fold", "alert", "calls", "turns", "latest", "tides")
}
#: What a run of `calls` calls, by the ends of the keys.
CALLED = ("one", "x", "y")


@dataclass(slots=True)
class Line:
    """One record of a run's history."""

    path: str
    kind: str
    data: dict[str, Any]
    at: float


@dataclass(slots=True)
class RunRow:
    """A run, its key among the test's, and its history."""

    number: int
    uid: str
    workflow: str
    key: str
    state: str
    error: str | None
    lines: list[Line]
    effects: dict[str, dict[str, Any]]  #: by identity

    def last(self, path: str, *kinds: str) -> Line | None:
        return next((line for line in reversed(self.lines) if line.path == path and line.kind in kinds), None)

    @property
    def parked(self) -> set[str]:
        """The paths that wait for a person."""
        last = {line.path: line.kind for line in self.lines}
        return {path for path, kind in last.items() if kind == "parked"}


@dataclass
class Verdict:
    """What is wrong, one sentence each, and the counts for the report."""

    crash: Crash
    wrong: list[str] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    effects: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.calls = [replace(call, meaning=_meaning(call)) for call in self.crash.recorder.calls]
        self.made = [replace(one, meaning=_meaning(one)) for one in self.crash.recorder.made]
        self.by_meaning: dict[str, list[Call]] = defaultdict(list)
        self.by_identity: dict[str, list[Call]] = defaultdict(list)
        for call in self.calls:
            self.by_meaning[call.meaning].append(call)
            self.by_identity[call.identity].append(call)
        self.runs = self._read_runs()

    def reach(self) -> Verdict:
        self.wrong += self.crash.trouble
        for check in (
            self._events,
            self._occasions,
            self._ends,
            self._in_company,
            self._in_the_hours,
            self._native,
            self._findable,
            self._idempotent,
            self._at_most_once,
            self._complete,
            self._told_once,
            self._same_each_time,
            self._waits,
            self._spaces,
            self._in_time,
            self._retries,
            self._intents,
        ):
            self.wrong += check()
        self.counts["runs"] = len(self.runs)
        self.counts.update(f"runs {run.state.replace('_', ' ')}" for run in self.runs)
        return self

    def report(self) -> str:
        crash = self.crash
        accepted = sum(one.accepted is not None for one in crash.deliveries)
        kills = sum(crash.ended.values())
        again = sum(one.tries > 1 for one in crash.deliveries)
        lines = [
            f"seed {crash.seed}, {kills} kills",
            f"kills meant for  {_counted(crash.ended)}",
            f"the journal held {_counted(crash.held)}",
            f"deliveries       {accepted} accepted, {again} of them sent more than once",
            f"runs             {_counted(self.counts)}",
            f"effects          {_counted(self.effects)}; {len(self.calls)} calls, {crash.recorder.looks} looks",
            f"decided          {len(crash.repeats)} times to repeat",
            f"lost             {self.lost}",
            f"doubled          {self.doubled}",
        ]
        shown = self.wrong[:40]
        lines += [f"WRONG  {one}" for one in shown]
        if len(self.wrong) > len(shown):
            lines.append(f"WRONG  … and {len(self.wrong) - len(shown)} more")
        return "\n".join(lines)

    # --- the journal -------------------------------------------------------------------------------------------------

    def _read_runs(self) -> list[RunRow]:
        with closing(sqlite3.connect(f"{self.crash.database.as_uri()}?mode=ro", uri=True)) as journal:
            journal.row_factory = sqlite3.Row
            self.events = [dict(row) for row in journal.execute("SELECT * FROM events ORDER BY id")]
            lines, effects = defaultdict(list), defaultdict(dict)
            for row in journal.execute("SELECT * FROM steps ORDER BY id"):
                lines[row["run"]].append(Line(row["path"], row["kind"], loads(row["data"]), row["at"] / 1e6))
            for row in journal.execute("SELECT * FROM effects"):
                effects[row["run"]][row["identity"]] = dict(row)
            rows = journal.execute("SELECT * FROM runs ORDER BY id").fetchall()
        about = {event["id"]: _about(event) for event in self.events}
        return [
            RunRow(
                row["id"],
                row["uid"],
                row["workflow"],
                _key(lines[row["id"]], about[row["event"]], row["key"]),
                row["state"],
                row["error"],
                lines[row["id"]],
                effects[row["id"]],
            )
            for row in rows
        ]

    # --- events and runs ---------------------------------------------------------------------------------------------

    def _events(self) -> Iterator[str]:
        """Accepted means kept; a delivery that came again changed nothing; everything was matched."""
        kept = Counter(_about(event).get("id") for event in self.events)
        for one in self.crash.deliveries:
            found = kept[one.id]
            self.counts["events"] += found
            if one.accepted is not None and found == 0:
                self.lost += 1
                yield f"{one.id} ({one.about['kind']}) was accepted and is lost"
            if found > 1:
                self.doubled += 1
                yield f"{one.id} ({one.about['kind']}) was sent {one.tries} times and is there {found} times"
        for event in self.events:
            if event["state"] == "new":
                yield f"event {event['uid']} was never matched"
            if event["reason"] is not None and event["state"] == "matched":
                yield f"event {event['uid']}: {event['reason']}"

    def _occasions(self) -> Iterator[str]:
        started = Counter((run.workflow, run.key) for run in self.runs)
        for (workflow, key), number in started.items():
            if number > 1:
                self.doubled += 1
                yield f"{workflow} ran {number} times for {key}"
        for one in self.crash.deliveries:
            workflow = STARTED.get(one.about["kind"])
            if workflow and one.accepted is not None and not started[workflow, one.about["key"]]:
                self.lost += 1
                yield f"{one.id} was accepted and no run of {workflow} began for {one.about['key']}"
        for run in self.runs:
            if run.workflow == "chain" and run.state == "finished" and not started["after", run.key]:
                self.lost += 1
                yield f"chain finished for {run.key} and what it emitted started nothing"
            if run.workflow == "calls" and run.state == "finished":
                yield from self._called(run, started)

    def _called(self, run: RunRow, started: Counter[tuple[str, str]]) -> Iterator[str]:
        """What a run calls is a run that ended before it went on, and whose outputs it got."""
        end = self._first(f"{run.key}/end")
        for word in CALLED:
            told = self._first(f"{run.key}/{word}/told")
            if not started["called", f"{run.key}/{word}"]:
                self.lost += 1
                yield f"calls {run.key} finished and called nothing for '{word}'"
            if end is not None and (told is None or told.arrived > end.arrived):
                yield f"calls {run.key} went on before what it called for '{word}' had ended"
        for identity, effect in run.effects.items():
            outputs = json.loads(effect["result"] or "{}")
            if effect["action"] == "workflow.called" and (effect["state"], outputs.get("key")) != ("done", run.key):
                yield f"{identity} is '{effect['state']}' and gave {outputs}"

    def _ends(self) -> Iterator[str]:
        """Each run has ended as it should, or waits for a person about something that must not be repeated."""
        for run in self.runs:
            good = {"refuse": ("failed",), "latest": ("finished", "cancelled")}.get(run.workflow, ("finished",))
            if run.state not in (*good, "needs_decision"):
                self.lost += 1
                yield f"{run.workflow} {run.key} ({run.uid}) is {run.state}: {run.error}"
            if run.state == "needs_decision" and not run.parked:
                yield f"{run.uid} needs a decision, and nothing of it is in doubt"
            for identity, effect in run.effects.items():
                if effect["state"] in ("intent", "held"):
                    self.lost += 1
                    yield f"{identity} of {run.uid} ({run.state}) was left as '{effect['state']}'"
                if effect["state"] == "unknown" and effect["class"] != "at_most_once":
                    yield f"{identity} is {effect['class']} and was left in doubt"

    def _in_company(self) -> Iterator[str]:
        """In a lane nothing of a run comes before what the runs before it did, and the last one is not replaced."""
        lanes: dict[tuple[str, int], list[RunRow]] = defaultdict(list)
        for run in self.runs:
            if run.workflow in ("turns", "latest"):
                lanes[run.workflow, int(run.key[1:]) % LANES].append(run)
        for (workflow, lane), runs in lanes.items():
            if runs[-1].state == "cancelled":
                self.lost += 1
                yield f"{workflow} {runs[-1].key} is cancelled, and nothing took its place in lane {lane}"
            before, until = "", 0.0
            for run in runs:
                calls = [call.arrived for identity in run.effects for call in self.by_identity[identity]]
                if calls and min(calls) < until:
                    early = f"{until - min(calls):.3f} s before {before} had ended in lane {lane}"
                    yield f"{workflow} {run.key} called {early}"
                if calls and max(calls) > until:
                    before, until = run.key, max(calls)

    def _in_the_hours(self) -> Iterator[str]:
        """What is held at low tide goes out at high tide, by the clock of the engine that sent it."""
        for run in self.runs:
            self.counts["held"] += sum(line.kind == "held" for line in run.lines)
            for identity in run.effects if run.workflow == "tides" else ():
                for call in self.by_identity[identity]:
                    sent = (call.sent or 0.0, (call.sent or 0.0) - SENDING)
                    if not any(is_high(instant, self.crash.open_minutes) for instant in sent):
                        yield f"{identity} was sent at low tide, at {sent[0] % 120:.3f} s of two minutes"

    # --- effects by class --------------------------------------------------------------------------------------------

    def _made(self, kind: str) -> Counter[str]:
        return Counter(one.meaning for one in self.made if one.kind == kind)

    def _native(self) -> Iterator[str]:
        yield from self._once("native")

    def _findable(self) -> Iterator[str]:
        yield from self._once("findable")

    def _once(self, kind: str) -> Iterator[str]:
        for meaning, number in self._made(kind).items():
            self.effects[kind] += 1
            if number > 1:
                self.doubled += 1
                yield f"{kind} {meaning} is visible {number} times: {self._story(meaning)}"

    def _idempotent(self) -> Iterator[str]:
        """What sets a value ends at the last one, and nothing earlier is set after it."""
        set_: dict[str, list[Call]] = defaultdict(list)
        for call in self.calls:
            if call.kind == "idempotent" and call.taken is not None:
                set_[call.meaning].append(call)
        for meaning, calls in set_.items():
            self.effects["idempotent"] += 1
            values = [call.value for call in sorted(calls, key=lambda call: call.taken or 0)]
            if values != sorted(values):  # first, last
                self.doubled += 1
                yield f"idempotent {meaning} went back: {values}"

    def _at_most_once(self) -> Iterator[str]:
        allowed = self._repeated()
        for meaning, number in self._made("at_most_once").items():
            self.effects["at_most_once"] += 1
            identity = self.by_meaning[meaning][0].identity
            if number > 1 + allowed[identity]:
                self.doubled += 1
                yield f"at_most_once {meaning} was taken {number} times: {self._story(meaning)}"

    def _repeated(self) -> Counter[str]:
        """Give how often a person had each effect repeated; no more than were asked to."""
        sent = Counter(self.crash.repeats)
        found: Counter[str] = Counter()
        for run in self.runs:
            by_path = {effect["path"]: identity for identity, effect in run.effects.items()}
            for line in run.lines:
                if line.kind == "retry" and line.data["error"].get("code") == "repeated":
                    found[by_path[line.path]] += 1
                    if found[by_path[line.path]] > sent[run.uid, line.path]:
                        self.wrong.append(f"{by_path[line.path]} was repeated oftener than anybody asked for")
        return found

    def _complete(self) -> Iterator[str]:
        """A run that has finished has done all it was to do; only a person may have passed something over."""
        made = Counter(part for one in self.made for part in _parts(one.meaning))
        made.update({call.meaning: 1 for call in self.calls if call.kind == "idempotent" and call.taken is not None})
        for run in self.runs:
            if run.state not in ("finished", "failed"):
                continue
            passed = {line.path for line in run.lines if line.kind == "done" and line.data.get("decided")}
            passed |= self._in_doubt_with_a_digest(run)
            for path, meaning in _expected(run):
                if not made[meaning] and path not in passed:
                    self.lost += 1
                    yield f"{run.workflow} {run.key} is {run.state} and {meaning} never happened"
        told = Counter(one.meaning.rpartition("(run ")[2].rstrip(")") for one in self.made)
        for run in self.runs:
            if run.state == "failed" and told[run.uid] != 1:
                yield f"the owner was told {told[run.uid]} times that {run.uid} failed"
            heard = sum(meaning.startswith(f"{run.workflow}/{run.key}/") and _IN_DOUBT in meaning for meaning in made)
            if heard < len(run.parked):
                yield f"{run.uid} waits for a person about {len(run.parked)} effects, and the owner heard of {heard}"

    def _in_doubt_with_a_digest(self, run: RunRow) -> set[str]:
        """Give the paths of messages whose digest waits for a person, or was passed over by one."""
        digests = {one.uid: one for one in self.runs if one.workflow == "hotwash.digest"}
        found = set()
        for line in run.lines:
            digest = digests[line.data["run"]] if line.kind == "digested" else None
            if digest is not None and (digest.parked or any(one.data.get("decided") for one in digest.lines)):
                found.add(line.path)
        return found

    def _told_once(self) -> Iterator[str]:
        """What waited for a digest is told in one, and in no other."""
        allowed = self._repeated()
        told: dict[str, set[str]] = defaultdict(set)
        times: Counter[str] = Counter()
        for one in self.made:
            for part in _parts(one.meaning) if one.identity.startswith("hotwash.digest/") else ():
                told[part].add(one.identity)
                times[part] += 1
        for part, identities in told.items():
            self.effects["digested"] += 1
            if times[part] > 1 + sum(allowed[identity] for identity in identities):
                self.doubled += 1
                yield f"{part} was told {times[part]} times, by {', '.join(sorted(identities))}"

    def _same_each_time(self) -> Iterator[str]:
        """Inputs are rendered once: each call of an effect says the same."""
        for identity, calls in self.by_identity.items():
            if len({(call.meaning, call.value, call.kind) for call in calls}) > 1:
                yield f"{identity} was called with different inputs"
        for meaning, calls in self.by_meaning.items():
            identities = {call.identity for call in calls if call.kind not in ("idempotent",)}
            if len(identities) > 1:
                self.doubled += 1
                yield f"{meaning} was performed as {', '.join(sorted(identities))}"

    # --- time --------------------------------------------------------------------------------------------------------

    def _waits(self) -> Iterator[str]:
        """No wait ended before its due instant, but by its event."""
        for run in self.runs:
            for line in run.lines:
                if line.kind != "wait":
                    continue
                due = micros(line.data["due"]) / 1e6
                ended = run.last(line.path, "done")
                if ended is None:
                    continue
                if ended.data["outputs"]["timed_out"] and ended.at < due - NEAR:
                    yield f"'{line.path}' of {run.uid} ended {due - ended.at:.3f} s early"

    def _spaces(self) -> Iterator[str]:
        """The same, as the recorder saw it: nothing came sooner after what it waits for than it may."""
        for run in self.runs:
            if self.crash.offset is not None:
                return
            if run.workflow == "chain":
                yield from self._apart(run.key, "post", WAIT, after=run.key, value="first")
            if run.workflow == "chase":
                yield from self._apart(f"{run.key}/nudge/2", "", EVERY, after=f"{run.key}/ticket/1")
                yield from self._apart(f"{run.key}/nudge/3", "", EVERY, after=f"{run.key}/ticket/2")
                yield from self._apart(run.key, "late", RELEASE, after=f"{run.key}/ticket/3")
            if run.workflow == "alert":
                yield from self._apart(run.key, "late", RELEASE, after=f"{run.key}/firing")
                began = self._first(f"{run.key}/firing")
                start = next(_about(e)["start"] for e in self.events if _about(e).get("key") == run.key)
                if began is not None and began.arrived < start + SETTLE - NEAR:
                    yield f"alert {run.key} was taken up {start + SETTLE - began.arrived:.3f} s before it had settled"

    def _apart(self, key: str, word: str, length: float, *, after: str, value: str | None = None) -> Iterator[str]:
        """Hold the first call about one thing against the last before it about another, which it waits for.

        Only an answer that somebody was there to hear can have begun the wait: a call may outlive its caller.
        """
        meaning = f"{key}/{word}" if word else key
        second = self._first(meaning)
        if second is None:
            return
        firsts = [
            call
            for call in self.by_meaning[after]
            if call.value == value and call.outcome == "ok" and (call.taken or 0.0) < second.arrived
        ]
        if not firsts:
            if after.rpartition("/")[2] not in ("1", "2", "3"):  # a repeated iteration's ticket may be found instead
                yield f"{meaning} came before {after}"
            return
        gap = second.arrived - max(call.taken or 0.0 for call in firsts)
        if gap < length - NEAR:
            yield f"{meaning} came {gap:.3f} s after {after}, and not {length:g}"

    def _first(self, meaning: str) -> Call | None:
        return min(self.by_meaning.get(meaning, []), key=lambda call: call.arrived, default=None)

    def _in_time(self) -> Iterator[str]:
        """An answer, a release, an end of an alert that was accepted in time is what ended the wait."""
        if self.crash.offset is not None:  # its clock is not ours
            return
        for run in self.runs:
            for line in run.lines:
                if line.kind == "pending" and run.workflow == "ask":
                    yield from self._answered(run, line)
                if line.kind == "wait" and line.path in ("release", "over"):
                    yield from self._released(run, line)

    def _answered(self, run: RunRow, line: Line) -> Iterator[str]:
        identity = next(i for i, effect in run.effects.items() if effect["path"] == line.path)
        question, done = self.crash.questions.get(identity), run.last(line.path, "done")
        due = micros(line.data["due"]) / 1e6
        asked = min(call.taken for call in self.by_identity[identity] if call.taken is not None)
        if due < asked + ANSWER - NEAR:
            yield f"{identity} is asked for {due - asked:.3f} s and not for {ANSWER:g}"
        if done is None:
            return
        outputs = done.data["outputs"]
        if outputs["timed_out"] and done.at < due - NEAR:
            yield f"{identity} timed out {due - done.at:.3f} s early"
        if question is None:
            if outputs["answer"] is not None:
                yield f"{identity} has an answer that nobody gave"
        elif outputs["answer"] not in (None, question.choice):
            yield f"{identity} is answered '{outputs['answer']}', and '{question.choice}' was"
        elif _before(question.delivery, due) and outputs["timed_out"]:
            self.lost += 1
            yield f"{identity} was answered in time, and timed out"

    def _released(self, run: RunRow, line: Line) -> Iterator[str]:
        done, due = run.last(line.path, "done"), micros(line.data["due"]) / 1e6
        if done is None:
            return
        words = {"chase": ("release", "about"), "alert": ("resolved", "key")}[run.workflow]
        sent = [
            one for one in self.crash.deliveries if one.about["kind"] == words[0] and one.about.get(words[1]) == run.key
        ]
        if any(_before(one, due) for one in sent) and done.data["outputs"]["timed_out"]:
            self.lost += 1
            yield f"'{line.path}' of {run.uid} timed out, and its event was accepted in time"
        if not sent and not done.data["outputs"]["timed_out"]:
            yield f"'{line.path}' of {run.uid} was ended by an event that nobody sent"

    def _retries(self) -> Iterator[str]:
        """No attempt came before its time, nor before a service had said it might."""
        if self.crash.offset is not None:
            return
        for run in self.runs:
            by_path = {effect["path"]: identity for identity, effect in run.effects.items()}
            for line in run.lines:
                if line.kind != "retry" or line.data["error"].get("code") == "repeated":
                    continue  # what a person has repeated keeps its number and is due at once
                identity, number = by_path[line.path], line.data["attempt"]
                due = micros(line.data["due"]) / 1e6
                yield from self._too_early(identity, number, due)
                failed = [c for c in self.by_identity[identity] if c.attempt == number - 1 and c.arrived < line.at]
                if not failed:
                    continue
                last = failed[-1]
                if last.outcome == "busy" and due < (last.answered or 0) + (last.retry_after or 0) - NEAR:
                    yield f"{identity} was to wait {last.retry_after} s and has another attempt due before"

    def _too_early(self, identity: str, attempt: int, due: float) -> Iterator[str]:
        for call in self.by_identity[identity]:
            if call.attempt == attempt and call.sent is not None and call.sent < due - NEAR:
                yield f"attempt {attempt} of {identity} came {due - call.sent:.3f} s early"

    def _intents(self) -> Iterator[str]:
        for call in self.calls:
            if not call.intent:
                yield f"{call.identity} was called and the journal did not have its intent"

    def _story(self, meaning: str) -> str:
        """Tell what became of each call about something, from the first on."""
        calls = self.by_meaning[meaning]
        start = calls[0].arrived
        return "; ".join(
            f"+{call.arrived - start:.3f} s in life {call.life} attempt {call.attempt} {call.outcome}"
            + (f" taken +{call.taken - start:.3f}" if call.taken else "")
            for call in calls
        )


def _meaning(one: Call | Made) -> str:
    """Give what a call is about; the engine may tell the owner in the same words of one step that is twice in doubt."""
    return one.identity if _IN_DOUBT in one.identity else one.meaning


def _parts(meaning: str) -> Sequence[str]:
    """Give what a message says; a digest says something in each of its items."""
    items = [line.removeprefix("- ") for line in meaning.splitlines() if line.startswith("- ")]
    return items or [meaning]


def _before(delivery: Delivery, due: float) -> bool:
    return delivery.accepted is not None and delivery.accepted < due - IN_TIME


def _key(lines: Sequence[Line], about: dict[str, Any], own: str) -> str:
    """Give the key of a run among the test's; one that another run called has what that gave it, a digest its own."""
    given = next((line.data["inputs"] for line in lines if line.kind == "round" and "inputs" in line.data), {})
    return str(given.get("about") or about.get("key", own))


def _about(event: dict[str, Any]) -> dict[str, Any]:
    """Give what the test says in an event: its delivery's id, and the key of its occasion."""
    data = json.loads(event["data"] or "{}")
    if event["subject_type"] != "alert":
        return data
    after = loads(event["after"]) if event["after"] else {}
    fingerprint = event["subject"].partition(":")[2]
    start = micros(after["started_at"]) / 1e6 if after.get("started_at") else 0.0
    return {"id": (data.get("annotations") or {}).get("id"), "key": fingerprint, "start": start}


def _expected(run: RunRow) -> Sequence[tuple[str, str]]:
    """Give path and meaning of each effect that a run which ended has performed."""
    key = run.key
    match run.workflow:
        case "chain":
            words = {"doc": "doc", "post": "post", "put": "put", "mail": "mail"}
            return [("first", key), ("last", key), *((path, f"{key}/{word}") for path, word in words.items())]
        case "after":
            return [("nudge", f"{key}/after")]
        case "refuse":
            return [("nudge", f"{key}/nudge"), ("sorry", f"{key}/sorry")]
        case "fold":
            return [("note", f"{key}/note"), ("word", f"{key}/word")]
        case "hotwash.digest":
            return []
        case "ask":
            return list(_asked(run))
        case "alert":
            return [("begin", f"{key}/firing"), ("end", f"{key}/{_word(run, 'over')}")]
        case "tides":
            return [("note", f"{key}/note"), ("file", f"{key}/ticket")]
        case "turns":
            return [("begin", f"{key}/begin"), ("file", f"{key}/ticket")]
        case "latest":
            return [("begin", f"{key}/begin"), ("over", f"{key}/over")]
        case "calls":
            return [("before", f"{key}/before"), ("end", f"{key}/end")]
        case "called":
            return [("file", f"{key}/ticket"), ("tell", f"{key}/told")]
        case _:
            turns = [(f"again#{n}/{s}", f"{key}/{w}/{n}") for n in (1, 2, 3) for s, w in FILED.items()]
            return [*turns, ("end", f"{key}/{_word(run, 'release')}")]


FILED = {"nudge": "nudge", "file": "ticket"}


def _word(run: RunRow, path: str) -> str:
    ended = run.last(path, "done")
    return "late" if ended is not None and ended.data["outputs"]["timed_out"] else "released"


def _asked(run: RunRow) -> Iterator[tuple[str, str]]:
    words = {"go": ("file", "ticket"), "stop": ("say", "comment"), None: ("remind", "remind")}
    for line in run.lines:
        if line.kind == "done" and line.path.endswith("/ask"):
            around = line.path.removesuffix("/ask")
            item = around.partition("[")[2].rstrip("]")
            step, word = words[line.data["outputs"]["answer"]]
            yield f"{around}/{step}", f"{run.key}/{word}/{item}"


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counter.items())) or "none"
