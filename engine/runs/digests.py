"""Digests: one message for all that waits to be told to a person, or in a channel, at one connection.

A digest is a run of a workflow that no file holds, with one step: so its message is an effect like any other, with an
identity, a class, retries, and an owner who is told when it fails. What it says is put together when it goes out, from
the letters that are still of use then; they are taken in the commit of its intent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from engine import subjects
from engine.plugins import OURSELVES, Fact
from engine.problems import Span
from engine.runs import effects, outbox
from engine.runs.commands import Heading, Held, Perform, Refresh, Take, Waiting
from engine.runs.hub import Hub
from engine.runs.manners import DIGEST
from engine.runs.state import DIGESTS, Run
from engine.runs.turn import Blocked, Env, Finished, Turn
from engine.store.codec import micros
from engine.store.journal import Direct
from engine.workflow.expressions import escape_markdown
from engine.workflow.model import Step, Workflow

PATH = "digest"
#: A digest of more characters than this is cut in two: chats refuse long messages.
LONGEST = 12_000
#: A key that can be copied into a command as it is.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.-]{0,80}")
_SPAN = Span("", 1, 1, 1, 1)


def workflow_of(hub: Hub, run: Run) -> Workflow:
    """Give the workflow of a digest's run."""
    connection, _, whom = _place(run).partition("/")
    action = hub.action("chat.nudge" if whom.startswith("@") else "chat.post")
    step = Step(PATH, "uses", _SPAN, action=action, connection=connection)
    return Workflow(DIGESTS, DIGEST, "", {}, _SPAN, "Digest", steps=(step,))


async def begin(hub: Hub, waits: Sequence[int]) -> None:
    """Begin the digests that are due (rows of `waits`), each with an event of its own."""
    for wait in waits:
        run = await hub.journal.transact(partial(_begin, wait=wait, now=hub.clock.now()))
        if run is not None:
            hub.events_written()
            hub.runs_woken([run])


def _begin(tx: Direct, wait: int, now: datetime) -> int | None:
    row = tx.execute("SELECT value FROM waits WHERE id = ?", (wait,)).fetchone()
    tx.execute("DELETE FROM waits WHERE id = ?", (wait,))
    first = tx.execute(_FIRST, (row["value"],)).fetchone() if row is not None else None
    if first is None or tx.execute(_GOING, (DIGESTS, f"{row['value']}/")).fetchone() is not None:
        return None  # one that goes on takes what is there when it goes out
    letter = outbox.waiting_of(first).letter
    data = {"to": letter.person, "channel": letter.channel, "connection": letter.connection}
    event = subjects.record(tx, OURSELVES, Fact("digest.due", now, data=data), now).events[0]
    return _run(tx, f"{letter.place}/{event}", event, now)


_FIRST = "SELECT * FROM outbox WHERE place = ? AND state = 'waiting' ORDER BY id LIMIT 1"
#: A digest for a place that has taken nothing yet.
_GOING = (
    "SELECT 1 FROM runs WHERE ended IS NULL AND workflow = ?1 AND substr(key, 1, length(?2)) = ?2"
    " AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.digest = runs.id AND outbox.state = 'taken')"
)


def _run(tx: Direct, key: str, event: int, now: datetime) -> int:
    uid, at = subjects.new_id("run", now), micros(now)
    tx.execute(
        "INSERT INTO runs (uid, workflow, key, version, round, round_event, event, trigger, state, depth, wake,"
        " created, updated, dry) VALUES (?, ?, ?, ?, 1, ?, ?, 'digest.due', 'running', 0, 1, ?, ?, 0)",
        (uid, DIGESTS, key, DIGEST, event, event, at, at),
    )
    return int(tx.lastrowid or 0)


def _place(run: Run) -> str:
    return run.key.rpartition("/")[0]


def deliver(turn: Turn) -> None:
    """Send what waits; blocks until it is sent, and ends the run where nothing is left to tell."""
    turn.raise_if_failed(PATH)
    digest = _Digest(turn, _place(turn.state.run))
    try:
        effects.effect(turn, turn.workflow.steps[0], PATH, Env({}), digest.compose)
    except Blocked:
        if any(isinstance(command, Perform) and command.inputs is not None for command in turn.commands):
            turn.commands.append(digest.take)
        raise


@dataclass(slots=True)
class _Digest:
    turn: Turn
    place: str
    take: Take = field(init=False)
    resting: bool = False  #: whether a subject could not be read

    def __post_init__(self) -> None:
        self.take = Take(self.place)

    def compose(self) -> Mapping[str, Any]:
        """Give the inputs of the message; blocks while a subject has to be read again."""
        fresh, dropped, left = self._choose()
        if not fresh and self.resting:
            raise Blocked  # the reading that failed is tried again by itself
        if not fresh and left:
            until = min(due for _, due in left)
            effects.hold(self.turn, self.turn.workflow.steps[0], PATH, Held(until, "closed", "nothing may go out now"))
        if not fresh:
            self.turn.commands.append(Take(self.place, (), tuple(dropped)))
            raise Finished("nothing was left to tell", failed=False)
        headed = [(one, self.turn.view.heading(one)) for one in fresh]
        count = _fitting(headed)
        left += [(one, self.turn.view.now) for one in fresh[count:]]
        self.take = Take(self.place, tuple(fresh[:count]), tuple(dropped), tuple(left))
        letter = fresh[0].letter
        whom = {"to": letter.person} if letter.person is not None else {"channel": letter.channel}
        return {**whom, "text": text_of(headed[:count])}

    def _choose(self) -> tuple[list[Waiting], list[tuple[Waiting, str]], list[tuple[Waiting, datetime]]]:
        """Give what is told, what is of no use any more and why, and what has to wait and until when."""
        view = self.turn.view
        fresh: list[Waiting] = []
        dropped: list[tuple[Waiting, str]] = []
        left: list[tuple[Waiting, datetime]] = []
        for one in view.letters(self.place):
            again = view.reread(one.subject_type, one.subject) if one.subject_type and one.subject else None
            if isinstance(again, Refresh):
                self.turn.ask(again)
            elif (later := again or view.closed_for(one)) is not None:
                left.append((one, later))
                self.resting = self.resting or again is not None
            elif (why := view.moved_on(one)) is not None:
                dropped.append((one, why))
            else:
                fresh.append(one)
        if any(isinstance(command, Refresh) for command in self.turn.commands):
            raise Blocked
        return fresh, dropped, left


# --- the text --------------------------------------------------------------------------------------------------------


def text_of(headed: Sequence[tuple[Waiting, Heading | None]]) -> str:
    """Give a digest in Markdown: a heading, then each subject with its link and what there is to say about it.

    One message alone stays as it was written. What was said more than once about a subject is said once.
    """
    groups: dict[tuple[str | None, str | None], tuple[Heading | None, dict[str, int]]] = {}
    for one, heading in headed:
        subject = (one.subject_type, one.subject) if heading is not None else (None, None)
        _, texts = groups.setdefault(subject, (heading, {}))
        text = one.letter.text.strip()
        texts[text] = texts.pop(text, 0) + 1
    if len(groups) == 1 and all(len(texts) == 1 for _, texts in groups.values()):
        return next(iter(next(iter(groups.values()))[1]))
    count = sum(len(texts) for _, texts in groups.values())
    others = groups.pop((None, None), None)
    parts = [f"**{count} messages for you**" if headed[0][0].letter.person is not None else f"**{count} messages**"]
    for heading, texts in groups.values():
        assert heading is not None
        parts.append("\n".join([f"**{_titled(heading)}**", *(_item(text, times) for text, times in texts.items())]))
    if others is not None:
        head = ["**Also**"] if groups else []
        parts.append("\n".join([*head, *(_item(text, times) for text, times in others[1].items())]))
    known = [heading.key for heading, _ in groups.values() if heading is not None and _NAME.fullmatch(heading.key)]
    if headed[0][0].letter.person is not None and known:
        parts.append(f"_Enough of one for a while:_ `hotwash mute {known[0]} --until 7d`")
    return "\n\n".join(parts)


def _titled(heading: Heading) -> str:
    name = escape_markdown(heading.key + (f": {heading.title}" if heading.title else ""))
    return f"[{name}]({_link(heading.url)})" if heading.url else name


def _link(url: str) -> str:
    """Give an address so that it does not end where a link's brackets would."""
    return "".join(f"%{ord(sign):02X}" if sign in " ()<>\n\r\t\\" else sign for sign in url)


def _item(text: str, times: int) -> str:
    lines = text.splitlines()
    first = f"- {lines[0]}" + (f" ({times} times)" if times > 1 else "")
    return "\n".join([first, *(f"  {line}".rstrip() for line in lines[1:])])


def _fitting(headed: Sequence[tuple[Waiting, Heading | None]]) -> int:
    """Give how many letters fit into one message; the first does in any case."""
    room = LONGEST
    for count, (one, heading) in enumerate(headed):
        room -= len(one.letter.text) + (200 if heading is None else 200 + len(_titled(heading)))
        if room < 0 and count:
            return count
    return len(headed)
