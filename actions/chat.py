"""Talk to people: post to a channel, write to somebody, ask a question and wait for the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema, model_validator

from engine import domain
from engine.capabilities import Message
from engine.plugins import Context, Duration, Field, Params, Pending, Person, Text, action

_CHOICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,39}")
_MOST_CHOICES = 25  #: as many buttons as the common chats show under one message
_LONGEST_LABEL = 75
_LONGEST_WINDOW = 31 * 86400  #: seconds


def _somebody(value: Any) -> Any:
    if value is None:
        raise ValueError("is null: there is nobody to write to")
    return value


def _as_list(value: Any) -> Any:
    return list(_somebody(value)) if isinstance(value, list | tuple) else [_somebody(value)]


def _each_once(people: list[domain.Person]) -> list[domain.Person]:
    if not people:
        raise ValueError("is empty: there is nobody to ask")
    return list({person.id: person for person in people}.values())


def _choices(choices: Mapping[str, str]) -> Mapping[str, str]:
    if not 1 <= len(choices) <= _MOST_CHOICES:
        raise ValueError(f"must offer 1 to {_MOST_CHOICES} choices, not {len(choices)}")
    for name, label in choices.items():
        if not _CHOICE.fullmatch(name):
            raise ValueError(f"a choice's name holds letters, digits, '_' and '-', 40 at most: not '{name}'")
        if not 1 <= len(label.strip()) <= _LONGEST_LABEL:
            raise ValueError(f"the label of '{name}' must have 1 to {_LONGEST_LABEL} characters, not {len(label)}")
    return choices


#: One person; null is said to be one link that came up empty.
Recipient = Annotated[Person, BeforeValidator(_somebody)]
#: One person or a list of them, each once.
Recipients = Annotated[
    list[Person],
    BeforeValidator(_as_list),
    AfterValidator(_each_once),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "x-kind": "person"},
                {"type": "array", "minItems": 1, "items": {"type": "string", "x-kind": "person"}},
            ]
        }
    ),
]


def _window(window: Duration) -> Duration:
    length = 0.0 if window.seconds < 0 else window.seconds + 86400 * (window.business_days + 30 * window.months)
    if not 0 < length <= _LONGEST_WINDOW:
        raise ValueError(f"must be longer than nothing and at most 31d, not {window}")
    return window


class Digest(Params):
    """How long a message may wait, to be told with others as one."""

    window: Annotated[Duration, AfterValidator(_window)] = Field(
        description="The digest goes out this long after the first message in it, such as 4h or 1bd."
    )


class PostMessage(Params):
    """Post a message to a channel.

    Example:
        uses: chat.post
        with:
          channel: "#incidents"
          text: "The postmortem of ${{ incident.title }} is due."
    """

    channel: str | None = Field(default=None, description="Where to post; null is the connection's own channel.")
    text: Text = Field(min_length=1, description="The message, in Markdown.")
    thread: str | None = Field(default=None, description="Id of the message to answer under: `steps.ID.id`.")
    digest: Digest | None = Field(
        default=None, description="Tell it with others that come within its `window`, such as 4h."
    )

    @model_validator(mode="after")
    def _in_no_thread(self) -> Self:
        if self.digest is not None and self.thread is not None:
            raise ValueError("a digest is a message of its own: leave 'thread' or 'digest' out")
        return self


@action("chat.post", PostMessage, returns=Message, lasts=False)
async def post(params: PostMessage, ctx: Context) -> Message:
    """Hand the message to the chat."""
    return await ctx.chat.post(params.channel, params.text, thread=params.thread, effect=ctx.effect)


class NudgePerson(Params):
    """Write to one person directly.

    Example:
        uses: chat.nudge
        with:
          to: ${{ incident.roles.postmortem_owner }}
          text: "The postmortem of ${{ incident.title }} is still a draft."
    """

    to: Recipient = Field(description="Whom to write to.")
    text: Text = Field(min_length=1, description="The message, in Markdown.")
    digest: Digest | None = Field(
        default=None,
        description="Tell it with others that come within its `window`, such as 4h. Above `max_per_day` it always is.",
    )


@action("chat.nudge", NudgePerson, returns=Message, lasts=False, via="chat.direct")
async def nudge(params: NudgePerson, ctx: Context) -> Message:
    """Hand the message to the chat, for this person alone."""
    return await ctx.chat.direct(params.to, params.text, effect=ctx.effect)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question. With no answer in time, `answer` and `by` are null."""

    answer: str | None = field(default=None, metadata={"doc": "Name of the choice that was picked."})
    by: domain.Person | None = field(default=None, metadata={"doc": "Who answered."})
    timed_out: bool = field(default=False, metadata={"doc": "Whether nobody answered in time."})


class AskPeople(Params):
    """Ask people to pick one of several choices, and wait for the first answer.

    Only those asked may answer. The step's `timeout` counts from the delivery of the question.

    Example:
        uses: chat.ask
        timeout: 2bd
        with:
          to: ${{ ticket.assignee }}
          text: "${{ ticket.key }} has not moved for a week."
          choices:
            do: "On it"
            snooze: "Ask me in a week"
    """

    to: Recipients = Field(description="Whom to ask: a person, or a list of people.")
    text: Text = Field(min_length=1, description="The question, in Markdown.")
    choices: Annotated[dict[str, str], AfterValidator(_choices)] = Field(
        description="What they may pick: the name that `answer` will have, and the label they see."
    )


@action("chat.ask", AskPeople, returns=Answer, lasts=False, pending=True)
async def ask(params: AskPeople, ctx: Context) -> Pending:
    """Send the question; the answer comes in as an event that names this effect."""
    await ctx.chat.ask(params.to, params.text, params.choices, effect=ctx.effect)
    return Pending()
