"""The chat that needs no account: messages are printed where the engine runs, and kept in an inbox.

Questions stay open in the inbox until somebody answers one with `hotwash answer`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from actions.providers.naming import channel_names
from engine.capabilities import Channel, Invited, Message, Said
from engine.domain import Person
from engine.plugins import (
    ActionError,
    Connection,
    Effect,
    Fact,
    Field,
    Options,
    own_rows,
    provider,
    tell_incident,
)

MESSAGES = "message/"
QUESTIONS = "question/"
CHANNELS = "channel/"

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

    #: Messages age from when they came, questions from when they were closed, channels from when they were archived.
    forgets: ClassVar = {MESSAGES: "at", QUESTIONS: "closed_at", CHANNELS: "archived_at"}

    def __init__(self, options: ConsoleOptions, connection: Connection) -> None:
        self._options = options
        self._connection = connection
        self._channels: dict[str, Mapping[str, Any]] = {}  #: as last changed, which may not be committed yet

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
        self._say(f"{name} to {to}", f"{text}\n{offers}", effect, in_channel=False)
        return Message(effect.token)

    @own_rows
    async def ephemeral(self, channel: str | None, person: Person, text: str, *, effect: Effect) -> Message:
        """Print what one person would see in a channel."""
        place = channel or self._options.channel
        self._deliver(f"@{person.id}", f"{place} (only for {person.name})", text, effect)
        return Message(None)

    @own_rows
    async def update(self, message: str, text: str, *, effect: Effect) -> Message:
        """Change a message of the inbox, and print it again."""
        row = self._message(message)
        if row["text"] != text:
            self._keep(MESSAGES + message, {**row, "text": text, "edited_at": effect.at.isoformat()}, effect)
            self._say(f"{row['to']} (changed)", text, effect)
        return Message(message)

    @own_rows
    async def pin(self, message: str, *, effect: Effect) -> Message:
        """Mark a message of the inbox as pinned."""
        row = self._message(message)
        if not row.get("pinned"):
            self._keep(MESSAGES + message, {**row, "pinned": True}, effect)
            self._say(f"{row['to']} (pinned)", row["text"], effect)
        return Message(message)

    # --- channels: a row for each that was opened; messages may go to any other name as well ------------------------

    @own_rows
    async def create_channel(self, name: str, *, private: bool, incident: str | None, effect: Effect) -> Channel:
        """Keep a channel under a name that no other one has."""
        key = next(f"#{one}" for one in channel_names(name, effect.token) if self._is_free(f"#{one}", effect))
        about = {"private": private, "incident": incident, "effect": effect.token}
        row: Mapping[str, Any] = {"id": key, "name": key[1:], **about, "members": [], "topic": None, "bookmarks": {}}
        self._keep_channel(row, effect)
        self._say(key, "opened, for those invited" if private else "opened", effect)
        channel = _channel(row)
        tell_incident(channel, effect)
        return channel

    @own_rows
    async def rename_channel(self, channel: str, name: str, *, effect: Effect) -> Channel:
        """Give a channel another name; it is found by the one that it was opened with."""
        row, others = self._channel(channel), self._names(channel)
        named = next(one for one in channel_names(name, effect.token) if one not in others)
        return self._set(row, effect, f"is #{named} now", name=named)

    @own_rows
    async def archive_channel(self, channel: str, *, effect: Effect) -> Channel:
        """Say that nobody writes in it any more."""
        row = self._channel(channel)
        return self._set(row, effect, "archived", archived_at=row.get("archived_at") or effect.at.isoformat())

    @own_rows
    async def set_topic(self, channel: str, topic: str, *, effect: Effect) -> Channel:
        """Keep what the channel is about."""
        return self._set(self._channel(channel), effect, f"topic: {topic}", topic=topic)

    @own_rows
    async def invite(self, channel: str, people: Sequence[Person], *, effect: Effect) -> Invited:
        """Put people among the members."""
        row = self._channel(channel)
        new = [person for person in people if person.id not in row["members"]]
        names = ", ".join(person.name for person in new)
        self._set(row, effect, f"invited {names}", members=[*row["members"], *(person.id for person in new)])
        return Invited(tuple(people))

    @own_rows
    async def bookmark(self, channel: str, title: str, url: str, *, effect: Effect) -> Channel:
        """Keep a link by its title."""
        row = self._channel(channel)
        return self._set(row, effect, f"{title}: {url}", bookmarks={**row["bookmarks"], title: url})

    async def history(self, channel: str, since: datetime) -> AsyncIterator[Said]:
        """Yield the messages of the inbox that went to a channel."""
        for key, row in self._connection.storage.rows(MESSAGES):
            at, edited = datetime.fromisoformat(row["at"]), row.get("edited_at")
            if row["to"] == channel and at >= since:
                yield Said(
                    key.removeprefix(MESSAGES),
                    at,
                    plain(row["text"]),
                    thread=row["thread"],
                    edited_at=datetime.fromisoformat(edited) if edited else None,
                    own=True,
                )

    def channels(self) -> Sequence[Mapping[str, Any]]:
        """Give the opened channels: rows of `id name private incident members topic bookmarks archived_at`."""
        return [row for _, row in self._connection.storage.rows(CHANNELS)]

    def _row(self, channel: str) -> Mapping[str, Any] | None:
        return self._channels.get(channel) or self._connection.storage.get(CHANNELS + channel)

    def _is_free(self, channel: str, effect: Effect) -> bool:
        row = self._row(channel)
        return row is None or row["effect"] == effect.token

    def _channel(self, channel: str) -> Mapping[str, Any]:
        row = self._row(channel)
        if row is None:
            raise ActionError(f"no channel '{channel}' was opened here", code="not-found")
        return row

    def _names(self, channel: str) -> set[str]:
        return {row["name"] for row in self.channels() if row["id"] != channel}

    def _set(self, row: Mapping[str, Any], effect: Effect, said: str, **changes: Any) -> Channel:
        """Change a channel, and print what is new."""
        changed = {**row, **changes}
        self._keep_channel(changed, effect)
        if changed != row:
            self._say(row["id"], said, effect)
        return _channel(changed)

    def _keep_channel(self, row: Mapping[str, Any], effect: Effect) -> None:
        self._channels[row["id"]] = row
        self._keep(CHANNELS + row["id"], row, effect)

    # --- the inbox ---------------------------------------------------------------------------------------------------

    def _message(self, message: str) -> Mapping[str, Any]:
        row = self._connection.storage.get(MESSAGES + message)
        if row is None:
            raise ActionError(f"no message '{message}' is in the inbox", code="not-found")
        return row

    def _keep(self, key: str, row: Mapping[str, Any], effect: Effect) -> None:
        effect.save(self._connection.name, key, row)

    def messages(self) -> Sequence[Mapping[str, Any]]:
        """Give the inbox, oldest first: rows of `id to text thread at workflow run pinned`."""
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
        self._keep(f"{MESSAGES}{at}-{effect.token}", row, effect)
        self._say(heading, text, effect, in_channel=not heading.startswith("to "))
        return Message(f"{at}-{effect.token}")

    def _say(self, heading: str, text: str, effect: Effect, *, in_channel: bool = True) -> None:
        head = plain(heading).replace("\n", " ")
        body = plain(text).replace("\n", "\n    ")
        if self._connection.hides(effect):
            head = "in a channel" if in_channel else head  # its name may say it all
            body = f"something private; 'hotwash runs show {effect.run}' shows it"
        self._connection.say(f"{head}: {body}")


def _channel(row: Mapping[str, Any]) -> Channel:
    return Channel(row["id"], row["name"], private=row["private"], incident=row["incident"])


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
