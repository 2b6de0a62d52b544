"""The chat that needs no account: messages are printed where the engine runs, and kept in an inbox.

Questions stay open in the inbox until somebody answers one with `hotwash answer`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from engine.capabilities import Message
from engine.domain import Person
from engine.plugins import ActionError, Connection, Effect, Fact, Field, Options, own_rows, provider

MESSAGES = "message/"
QUESTIONS = "question/"

_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
#: Control characters but the line break, line and paragraph separators, and signs that reorder what is shown.
_UNSHOWN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class ConsoleOptions(Options):
    """Options of the console.

    Example:
        console:
          provider: console
          channel: "#incidents"
    """

    channel: str = Field(default="#incidents", min_length=1, description="The channel that messages without one go to.")


@dataclass(frozen=True, slots=True)
class Question:
    """A question of the inbox. `name` is what people call it (`Q3`), `id` the identity of the effect that asked."""

    name: str
    id: str
    text: str
    choices: Mapping[str, str]  #: name to label
    asked: tuple[tuple[str, str], ...]  #: id and name of those who may answer
    at: datetime
    workflow: str
    run: str
    answer: str | None = None
    by: str | None = None  #: name of whoever answered
    closed_at: datetime | None = None  #: answered, timed out, or no longer waited for

    @property
    def open(self) -> bool:
        return self.closed_at is None


def plain(text: str) -> str:
    """Give Markdown as a terminal may show it: without its escapes and without control characters."""
    text = text.replace("\r\n", "\n").replace("\t", " ").replace("\u2028", "\n").replace("\u2029", "\n")
    return _ESCAPED.sub(r"\1", _UNSHOWN.sub("", text)).strip()


def checked(question: Question, choice: str, person: Person) -> str:
    """Give the name of the choice that `person` picks, by its name or its label.

    Raises:
        ActionError: the question is closed, the person was not asked, or the choice is not offered.
    """
    if question.answer is not None:
        raise ActionError(f"{question.name} is answered already: '{question.answer}', by {question.by}")
    if not question.open:
        raise ActionError(f"{question.name} is closed: nobody waits for its answer any more")
    if person.id not in [asked for asked, _ in question.asked]:
        allowed = ", ".join(name for _, name in question.asked)
        raise ActionError(f"{question.name} was put to {allowed}: {person.name} was not asked")
    for name, label in question.choices.items():
        if choice == name or choice.casefold() in (name.casefold(), label.casefold()):
            return name
    offered = ", ".join(f"{name} ({label})" for name, label in question.choices.items())
    raise ActionError(f"{question.name} offers {offered}: not '{choice}'")


class ConsoleChat:
    """Print messages where the engine runs, and keep them in an inbox where questions can be answered."""

    #: Messages age from when they came, questions from when they were closed.
    forgets: ClassVar = {MESSAGES: "at", QUESTIONS: "closed_at"}

    def __init__(self, options: ConsoleOptions, connection: Connection) -> None:
        self._options = options
        self._connection = connection

    @own_rows
    async def post(self, channel: str | None, text: str, *, thread: str | None, effect: Effect) -> Message:
        """Print to a channel; None is the one of the options."""
        place = channel or self._options.channel
        return self._deliver(place, f"{place} (in a thread)" if thread else place, text, effect, thread=thread)

    @own_rows
    async def direct(self, person: Person, text: str, *, effect: Effect) -> Message:
        """Print what is for one person."""
        return self._deliver(f"@{person.id}", f"to {person.name}", text, effect)

    @own_rows
    async def ask(self, people: Sequence[Person], text: str, choices: Mapping[str, str], *, effect: Effect) -> Message:
        """Print a question with its choices and keep it open."""
        name = f"Q{self._connection.storage.next('question')}"
        row = {
            "name": name,
            "id": effect.id,
            "text": text,
            "choices": dict(choices),
            "asked": [[person.id, person.name] for person in people],
            "at": effect.at.isoformat(),
            "workflow": effect.workflow,
            "run": effect.run,
        }
        effect.save(self._connection.name, QUESTIONS + name, row)
        to = ", ".join(person.name for person in people)
        offers = "\n".join(f"{label}: hotwash answer {name} {choice}" for choice, label in choices.items())
        self._say(f"{name} to {to}", f"{text}\n{offers}")
        return Message(effect.token)

    def messages(self) -> Sequence[Mapping[str, Any]]:
        """Give the inbox, oldest first: rows of `id to text thread at workflow run`, the texts in Markdown."""
        return [row for _, row in self._connection.storage.rows(MESSAGES)]

    def questions(self) -> Sequence[Question]:
        """Give every question of the inbox, oldest first, open or not."""
        found = [_question(row) for _, row in self._connection.storage.rows(QUESTIONS)]
        return sorted(found, key=lambda question: int(question.name[1:]))

    def question(self, ref: str) -> Question:
        """Give a question by its name, or the newest that an effect asked by that effect's identity.

        Raises:
            ActionError: there is none.
        """
        wanted = ref.strip()
        known = self.questions()
        for question in reversed(known):
            if wanted == question.id or wanted.upper() == question.name:
                return question
        names = ", ".join(question.name for question in known if question.open) or "none"
        raise ActionError(f"no question is called '{ref}'; open: {names}")

    def answer(self, question: str, choice: str, person: Person, now: datetime) -> Fact:
        """Give the event that `person` picks `choice`. The engine ends the wait and saves what `closing` gives.

        Raises:
            ActionError: the choice is not offered, the person was not asked, or the question is closed.
        """
        found = self.question(question)
        data = {"question": found.id, "answer": checked(found, choice, person)}
        return Fact("chat.answered", now, data=data, actor=person)

    def closing(self, question: str, now: datetime, answer: Fact | None = None) -> tuple[str, Mapping[str, Any]]:
        """Give the key and row that close a question: with the answer that came in, or without one in time."""
        key = QUESTIONS + self.question(question).name
        row = dict(self._connection.storage.get(key) or {})
        row["closed_at"] = now.isoformat()
        if answer is not None:
            row["answer"] = answer.data["answer"]
            row["by"] = answer.actor.name if answer.actor else None
        return key, row

    def _deliver(self, to: str, heading: str, text: str, effect: Effect, *, thread: str | None = None) -> Message:
        row = {
            "id": effect.token,
            "to": to,
            "text": text,
            "thread": thread,
            "at": effect.at.isoformat(),
            "workflow": effect.workflow,
            "run": effect.run,
        }
        at = effect.at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%f")  # sorts by time as text
        effect.save(self._connection.name, f"{MESSAGES}{at}-{effect.token}", row)
        self._say(heading, text)
        return Message(effect.token)

    def _say(self, heading: str, text: str) -> None:
        head = plain(heading).replace("\n", " ")
        body = plain(text).replace("\n", "\n    ")
        self._connection.say(f"{head}: {body}")


def _question(row: Mapping[str, Any]) -> Question:
    closed_at = row.get("closed_at")
    return Question(
        name=row["name"],
        id=row["id"],
        text=row["text"],
        choices=row["choices"],
        asked=tuple((asked, name) for asked, name in row["asked"]),
        at=datetime.fromisoformat(row["at"]),
        workflow=row["workflow"],
        run=row["run"],
        answer=row.get("answer"),
        by=row.get("by"),
        closed_at=datetime.fromisoformat(closed_at) if closed_at else None,
    )


Console = provider("console", ConsoleOptions, serves=["chat"])(ConsoleChat)
