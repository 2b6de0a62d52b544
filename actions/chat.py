"""Talk to people: post to a channel, write to somebody, ask a question and wait for the answer; and keep channels.

Where a message goes, a null `channel` is the connection's own; what changes a channel itself always names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema, model_validator

from actions.incident import named_incident
from engine import domain
from engine.capabilities import Channel, Invited, Message
from engine.plugins import (
    ActionError,
    Context,
    Duration,
    Field,
    IncidentRef,
    Params,
    Pending,
    Person,
    Text,
    action,
)

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


#: People who need not be any: null is nobody, also in a list.
Company = Annotated[
    list[Person],
    BeforeValidator(
        lambda value: [one for one in (value if isinstance(value, list | tuple) else [value]) if one is not None]
    ),
    AfterValidator(lambda people: list({person.id: person for person in people}.values())),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "x-kind": "person"},
                {"type": "array", "items": {"type": "string", "x-kind": "person"}},
            ]
        }
    ),
]
_CHANNEL = "The channel: `incident.channel`, or `steps.ID.id` of the step that opened it."
_CONTROLS = "Whether it has buttons with which people act on the run's incident, where the chat has buttons."
_MESSAGE = "The message: `steps.ID.id` of the step that posted it."


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
    controls: bool = Field(default=False, description=_CONTROLS)
    digest: Digest | None = Field(
        default=None, description="Tell it with others that come within its `window`, such as 4h."
    )

    @model_validator(mode="after")
    def _alone(self) -> Self:
        for name in ("thread", "controls"):
            if self.digest is not None and getattr(self, name):
                raise ValueError(f"a digest is a message of its own: leave '{name}' or 'digest' out")
        return self


@action("chat.post", PostMessage, returns=Message, lasts=False)
async def post(params: PostMessage, ctx: Context) -> Message:
    """Hand the message to the chat."""
    ctx.effect.controls = _controlled(params.controls, ctx)
    return await ctx.chat.post(params.channel, params.text, thread=params.thread, effect=ctx.effect)


def _controlled(wanted: bool, ctx: Context) -> domain.Incident | None:
    if wanted and ctx.incident is None:
        raise ActionError("the run is about no incident: there is nothing for 'controls' to act on")
    return ctx.incident if wanted else None


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


class ShowMessage(Params):
    """Show one person a message in a channel that nobody else sees. It is gone when they close their window.

    Example:
        uses: chat.ephemeral
        with:
          channel: ${{ incident.channel }}
          to: ${{ incident.roles.commander }}
          text: "Nobody has written anything to customers yet."
    """

    channel: str | None = Field(default=None, description="Where they see it; null is the connection's own channel.")
    to: Recipient = Field(description="Who sees it. They must be in the channel.")
    text: Text = Field(min_length=1, description="The message, in Markdown.")


@action("chat.ephemeral", ShowMessage, returns=Message, lasts=False)
async def ephemeral(params: ShowMessage, ctx: Context) -> Message:
    """Hand the message to the chat, for the eyes of one."""
    return await ctx.chat.ephemeral(params.channel, params.to, params.text, effect=ctx.effect)


class UpdateMessage(Params):
    """Give a message that a step posted another text.

    Example:
        uses: chat.update
        with:
          message: ${{ steps.summary.id }}
          text: "${{ incident.title }} is ${{ incident.status }}."
    """

    message: str = Field(min_length=1, description=_MESSAGE)
    text: Text = Field(min_length=1, description="The new text, in Markdown.")
    controls: bool = Field(default=False, description=_CONTROLS)


@action("chat.update", UpdateMessage, returns=Message, lasts=False)
async def update(params: UpdateMessage, ctx: Context) -> Message:
    """Hand the text to the chat."""
    ctx.effect.controls = _controlled(params.controls, ctx)
    return await ctx.chat.update(params.message, params.text, effect=ctx.effect)


class PinMessage(Params):
    """Pin a message to its channel, where whoever comes later finds it. One that is pinned stays so.

    Example:
        uses: chat.pin
        with:
          message: ${{ steps.summary.id }}
    """

    message: str = Field(min_length=1, description=_MESSAGE)


@action("chat.pin", PinMessage, returns=Message, lasts=False)
async def pin(params: PinMessage, ctx: Context) -> Message:
    """Have the chat pin it."""
    return await ctx.chat.pin(params.message, effect=ctx.effect)


class CreateChannel(Params):
    """Open a channel. The incident's `channel` then is this one, and messages find it there.

    The name is made of the text as the chat's rules want it (lower case, hyphens, 80 characters), and no other channel
    has it. A private incident gets a private channel.

    Example:
        uses: chat.create_channel
        with:
          name: "${{ incident.key }} ${{ incident.title }}"
    """

    name: str = Field(min_length=1, description="What its name is made of; what is longer than a name may be is cut.")
    private: bool | None = Field(
        default=None, description="Whether only those invited see it; by default where its incident is private."
    )
    incident: IncidentRef | None = Field(default=None, description="What it is for; by default the run's incident.")
    main: bool = Field(
        default=True, description="Whether it becomes `incident.channel`, in the place of one that was there."
    )


@action("chat.create_channel", CreateChannel, returns=Channel, lasts=True)
async def create_channel(params: CreateChannel, ctx: Context) -> Channel:
    """Have the chat open it, and tell the incident."""
    incident = ctx.incident if params.incident is None else await named_incident(params.incident, ctx)
    hidden = incident is not None and incident.private
    private = hidden if params.private is None else params.private
    if hidden and not private:
        raise ActionError("the incident is private: a channel for it cannot be open to everybody", code="private")
    told = incident.id if incident is not None and params.main else None
    return await ctx.chat.create_channel(params.name, private=private, incident=told, effect=ctx.effect)


class RenameChannel(Params):
    """Give a channel another name. `incident.channel` stays what it is.

    Example:
        uses: chat.rename_channel
        with:
          channel: ${{ incident.channel }}
          name: "${{ incident.key }} ${{ incident.title }}"
    """

    channel: str = Field(min_length=1, description=_CHANNEL)
    name: str = Field(min_length=1, description="What its name is made of, as when it is opened.")


@action("chat.rename_channel", RenameChannel, returns=Channel, lasts=False)
async def rename_channel(params: RenameChannel, ctx: Context) -> Channel:
    """Have the chat rename it."""
    return await ctx.chat.rename_channel(params.channel, params.name, effect=ctx.effect)


class ArchiveChannel(Params):
    """Close a channel: it can be read and searched, and nobody writes in it any more. One that is closed stays so.

    Example:
        uses: chat.archive_channel
        with:
          channel: ${{ incident.channel }}
    """

    channel: str = Field(min_length=1, description=_CHANNEL)


@action("chat.archive_channel", ArchiveChannel, returns=Channel, lasts=False)
async def archive_channel(params: ArchiveChannel, ctx: Context) -> Channel:
    """Have the chat archive it."""
    return await ctx.chat.archive_channel(params.channel, effect=ctx.effect)


class SetTopic(Params):
    """Set the line that stands above a channel.

    Example:
        uses: chat.set_topic
        with:
          channel: ${{ incident.channel }}
          topic: "${{ incident.severity }} ${{ incident.status }}: ${{ incident.title }}"
    """

    channel: str = Field(min_length=1, description=_CHANNEL)
    topic: str = Field(min_length=1, description="Plain text; what is longer than the chat takes is cut.")


@action("chat.set_topic", SetTopic, returns=Channel, lasts=False)
async def set_topic(params: SetTopic, ctx: Context) -> Channel:
    """Have the chat show it."""
    return await ctx.chat.set_topic(params.channel, params.topic, effect=ctx.effect)


class InviteToChannel(Params):
    """Invite people to a channel. Whoever is in it stays; whom the chat does not know is named in `left_out`.

    Example:
        uses: chat.invite
        with:
          channel: ${{ incident.channel }}
          people: ${{ incident.participants }}
    """

    channel: str = Field(min_length=1, description=_CHANNEL)
    people: Company = Field(description="Who shall be in it: a person, or a list of people, which may be empty.")


@action("chat.invite", InviteToChannel, returns=Invited, lasts=False)
async def invite(params: InviteToChannel, ctx: Context) -> Invited:
    """Have the chat invite those who are not in it."""
    return await ctx.chat.invite(params.channel, params.people, effect=ctx.effect) if params.people else Invited()


class BookmarkLink(Params):
    """Keep a link above a channel, in the place of one with the same title.

    Example:
        uses: chat.bookmark
        with:
          channel: ${{ incident.channel }}
          title: Postmortem
          url: ${{ steps.doc.url }}
    """

    channel: str = Field(min_length=1, description=_CHANNEL)
    title: str = Field(min_length=1, max_length=100, description="What people see.")
    url: str = Field(pattern=r"^[a-z][a-z0-9+.-]*:\S+$", max_length=2000, description="Where it leads.")


@action("chat.bookmark", BookmarkLink, returns=Channel, lasts=False)
async def bookmark(params: BookmarkLink, ctx: Context) -> Channel:
    """Have the chat keep it."""
    return await ctx.chat.bookmark(params.channel, params.title, params.url, effect=ctx.effect)


ALL = (
    archive_channel,
    ask,
    bookmark,
    create_channel,
    ephemeral,
    invite,
    nudge,
    pin,
    post,
    rename_channel,
    set_topic,
    update,
)
