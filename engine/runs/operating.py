"""What a person asks of a vendor through us: written down before it is tried, as what workflows do is (PROMISES 1.4).

Such an operation is a run of a workflow that no file holds, with one step: so it has an intent, a class, retries, a
result, and a history that says who asked. A crash between the call and its result neither loses nor doubles it. Whoever
asked is its owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine import subjects
from engine.domain import Person
from engine.plugins import OURSELVES, Fact
from engine.problems import Span
from engine.runs.hub import Hub
from engine.runs.rows import RECORD, RUN
from engine.runs.state import OPERATION, OPERATIONS, Run
from engine.store.codec import dumps, loads, micros
from engine.store.journal import Direct
from engine.store.lookups import event_of
from engine.workflow.model import Step, Workflow

#: What the row of such a run says under `trigger`, and the type of the event that says who asked.
ASKED = "operation.asked"
_SPAN = Span("", 1, 1, 1, 1)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a connection: an action with its inputs, and the subject that it is about."""

    action: str
    connection: str
    inputs: Mapping[str, Any]
    subject_type: str | None = None
    subject: str | None = None


def begin(tx: Direct, hub: Hub, asked: Asked, key: str, actor: Person, now: datetime) -> tuple[int, bool]:
    """Write a run that does what is asked; give its number, and whether it is new: a key is asked for once."""
    dry = int(hub.dry_run)
    row = tx.one("SELECT id FROM runs WHERE workflow = ? AND key = ? AND dry = ?", (OPERATIONS, key, dry), None)
    if row is not None:
        return int(row["id"]), False
    fact = Fact(ASKED, now, data={"action": asked.action, "connection": asked.connection}, actor=actor)
    event = subjects.record(tx, OURSELVES, fact, now).events[0]
    at, uid = micros(now), subjects.new_id("run", now)
    about = (asked.subject_type, asked.subject)
    number = tx.insert(
        RUN,
        (uid, OPERATIONS, key, OPERATION, 1, event, event, ASKED, *about, "running", 0, 1, at, at, None, dry),
    )
    kept = {"action": asked.action, "connection": asked.connection, "inputs": asked.inputs}
    tx.add(RECORD, (number, "", "round", dumps({"n": 1, "since": event, "inputs": kept}), at))
    return number, True


def workflow_of(hub: Hub, run: Run) -> Workflow:
    """Give the workflow of an operation's run."""
    row = hub.reader.execute(
        "SELECT data FROM steps WHERE run = ? AND kind = 'round' ORDER BY id LIMIT 1", (run.id,)
    ).fetchone()
    asked = loads(row["data"])["inputs"]
    name, actor = asked["action"], actor_of(hub, run)
    step = Step(name, "uses", _SPAN, action=hub.action(name), connection=asked["connection"], inputs=asked["inputs"])
    owner = actor.id if actor is not None and actor.known else None
    return Workflow(OPERATIONS, OPERATION, "", {}, _SPAN, "What you asked for", owner=owner, steps=(step,))


def actor_of(hub: Hub, run: Run) -> Person | None:
    """Give who asked for an operation; None where nobody did."""
    if run.version != OPERATION:
        return None
    return event_of(hub.reader.execute("SELECT * FROM events WHERE id = ?", (run.event,)).fetchone()).actor
