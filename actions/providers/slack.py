"""Slack: messages, direct messages and questions with buttons, through Slack's own client.

Every message carries the effect's identity in its metadata, so that after a crash it is looked for in the channel
before it is sent again. Slack allows about one message a second in a channel and answers 429 beyond. Channels stand in
`slack_channels.py`, people in `slack_people.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from actions.providers.slack_channels import message_of, seconds
from actions.providers.slack_inbound import SlackInbound, controls
from actions.providers.slack_text import buttons, escaped, fallback, sections
from engine.capabilities import Message
from engine.domain import Person
from engine.plugins import (
    ActionError,
    Connection,
    Effect,
    Fact,
    Field,
    Options,
    Secret,
    at_most_once,
    findable,
    idempotent,
    provider,
)

QUESTIONS = "question/"
#: What a button's `action_id` begins with.
ANSWER = "hotwash-answer"
_METADATA = "hotwash_effect"
_MOST_ASKED = 8  #: people of one group conversation, ourselves left out


class SlackOptions(Options):
    """How Slack is reached.

    Example:
        chat:
          provider: slack
          token: ${SLACK_BOT_TOKEN}
          signing_secret: ${SLACK_SIGNING_SECRET}
          channel: "#incidents"
    """

    token: Secret = Field(description="The bot's token, xoxb-….")
    channel: str | None = Field(
        default=None, description="The channel that messages without one go to: #name or an id."
    )
    api: str = Field(default="https://slack.com/api/", pattern=r"^https?://[^\s?#]+/$", description="Where the API is.")


class SlackChat(SlackInbound):
    """Send messages, ask questions and keep channels in one Slack workspace, and know who is in it."""

    announces = True

    forgets: ClassVar = {QUESTIONS: "closed_at", **SlackInbound.forgets}

    def __init__(self, options: SlackOptions, connection: Connection) -> None:
        super().__init__(str(options.token), options.api, connection)
        self._channel_of_ours = options.channel
        self._rooms: dict[str, str] = {}  #: conversations with people, by their users

    # --- messages ----------------------------------------------------------------------------------------------------

    @findable(visible_after="10s")
    async def post(self, channel: str | None, text: str, *, thread: str | None, effect: Effect) -> Message:
        """Post to a channel, by its name or id; None is the connection's own."""
        more = controls(effect.controls)
        return await self._send(self._channel(channel), text, effect, thread=thread, more=more)

    @findable(visible_after="10s")
    async def direct(self, person: Person, text: str, *, effect: Effect) -> Message:
        """Write to one person."""
        return await self._send(await self._room([person]), text, effect)

    @findable(visible_after="10s")
    async def ask(self, people: Sequence[Person], text: str, choices: Mapping[str, str], *, effect: Effect) -> Message:
        """Ask in a conversation with these people; each choice is a button."""
        room = await self._room(people)
        more = buttons(choices, effect.token, ANSWER)
        sent = await self._send(room, text, effect, more=more)
        effect.save(
            self._connection.name, QUESTIONS + effect.token, _question(effect, room, str(sent.id), text, choices)
        )
        return sent

    @at_most_once
    async def ephemeral(self, channel: str | None, person: Person, text: str, *, effect: Effect) -> Message:
        """Show one person a message; Slack keeps none of it, so that it cannot be found again."""
        room, user = await self._id_of(self._channel(channel)), await self._user(person)
        shown = {"text": fallback(text), "blocks": sections(text)}
        await self._web.call("chat.postEphemeral", channel=room, user=user, **shown)
        return Message(None)

    @idempotent
    async def update(self, message: str, text: str, *, effect: Effect) -> Message:
        """Change a message of ours; it keeps the identity of the effect that sent it."""
        room, ts = message_of(message)
        shown = {"text": fallback(text), "blocks": [*sections(text), *controls(effect.controls)]}
        await self._web.ourselves()
        await self._web.call("chat.update", channel=room, ts=ts, **shown)
        return self._sent(message, None)

    async def find(self, effect: Effect) -> Message | None:
        """Give the message that this effect sent, as its metadata says."""
        inputs = effect.inputs
        to = inputs.get("to")
        if to:
            room = await self._room([self._somebody(one) for one in (to if isinstance(to, list | tuple) else [to])])
        else:
            room = await self._id_of(self._channel(inputs.get("channel")))
        async for message in self._since(room, inputs.get("thread"), effect.at - timedelta(minutes=1)):
            if ((message.get("metadata") or {}).get("event_payload") or {}).get("id") != effect.token:
                continue
            if "choices" in inputs:
                row = _question(effect, room, message["ts"], inputs["text"], inputs["choices"])
                effect.save(self._connection.name, QUESTIONS + effect.token, row)
            await self._web.ourselves()
            return self._sent(f"{room}/{message['ts']}", inputs.get("thread"))
        return None

    # --- questions ---------------------------------------------------------------------------------------------------

    def question(self, token: str) -> Mapping[str, Any] | None:
        """Give what is kept of a question by the token that its buttons carry."""
        return self._connection.storage.get(QUESTIONS + token)

    def closing(self, question: str, now: datetime, answer: Fact | None = None) -> tuple[str, Mapping[str, Any]]:
        """Give the key and row that close a question: with the answer that came in, or without one in time."""
        for key, row in self._connection.storage.rows(QUESTIONS):
            if row["id"] == question:
                by = answer.actor.name if answer is not None and answer.actor else None
                picked = answer.data["answer"] if answer is not None else None
                return key, {**row, "closed_at": now.isoformat(), "answer": picked, "by": by}
        raise ActionError(f"no question '{question}' is kept")

    async def closed(self, row: Mapping[str, Any]) -> None:
        """Take the buttons off a question that is closed, and say in their place who answered what."""
        picked, by = row.get("answer"), row.get("by")
        note = (
            f"{by}: {row['choices'].get(picked, picked)}" if picked and by else "Nobody waits for an answer any more."
        )
        blocks = [
            *sections(row["text"]),
            {"type": "context", "elements": [{"type": "mrkdwn", "text": escaped(note)}]},
        ]
        text = f"{fallback(row['text'])}\n{fallback(note)}"
        await self._web.call("chat.update", channel=row["room"], ts=row["ts"], text=text, blocks=blocks)

    # --- places ------------------------------------------------------------------------------------------------------

    def _channel(self, channel: str | None) -> str:
        found = channel or self._channel_of_ours
        if found is None:
            raise ActionError(f"name a 'channel': connection '{self._connection.name}' has none of its own")
        return found

    def _somebody(self, written: Person | str) -> Person:
        """Give whom an input means: a person, or a roster key or address, as the file has it."""
        people = self._connection.people
        found = people.person(written) if isinstance(written, str) else people.join(written)
        if found is None:
            raise ActionError(f"nobody in the roster is called '{written}' any more", code="unknown-person")
        return found

    async def _room(self, people: Sequence[Person]) -> str:
        """Give the conversation with people, which is opened where there is none."""
        if len(people) > _MOST_ASKED:
            raise ActionError(f"Slack lets {_MOST_ASKED} people be asked at once, not {len(people)}: ask in a channel")
        users = ",".join(sorted([await self._user(person) for person in people]))
        if users not in self._rooms:
            self._rooms[users] = str((await self._web.call("conversations.open", users=users))["channel"]["id"])
        return self._rooms[users]

    # --- requests ----------------------------------------------------------------------------------------------------

    async def _send(
        self,
        room: str,
        text: str,
        effect: Effect,
        *,
        thread: str | None = None,
        more: Sequence[Mapping[str, Any]] = (),
    ) -> Message:
        await self._web.ourselves()  # for the address: nothing is asked after the message is sent
        sent = await self._web.call(
            "chat.postMessage",
            channel=room,
            text=fallback(text),
            blocks=[*sections(text), *more],
            metadata={"event_type": _METADATA, "event_payload": {"id": effect.token}},
            unfurl_links=False,
            unfurl_media=False,
            thread_ts=thread.rpartition("/")[2] if thread else None,
        )
        return self._sent(f"{sent['channel']}/{sent['ts']}", thread)

    def _sent(self, message: str, thread: str | None) -> Message:
        return Message(message, self.link(message, thread))

    def _since(self, room: str, thread: str | None, at: datetime) -> AsyncIterator[Mapping[str, Any]]:
        """Give the messages of a conversation, or under one of them, since an instant."""
        method = "conversations.replies" if thread else "conversations.history"
        ts = thread.rpartition("/")[2] if thread else None
        return self._web.pages(method, "messages", channel=room, ts=ts, oldest=seconds(at), include_all_metadata=True)


def _question(effect: Effect, room: str, ts: str, text: str, choices: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": effect.id,
        "room": room,
        "ts": ts.rpartition("/")[2],
        "text": text,
        "choices": dict(choices),
        "at": effect.at.isoformat(),
        "workflow": effect.workflow,
        "run": effect.run,
    }


Slack = provider("slack", SlackOptions, serves=["chat", "people"], rate="50/min")(SlackChat)
