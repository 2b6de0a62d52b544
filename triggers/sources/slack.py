"""Receive what Slack says: events of channels, commands, buttons, modals and shortcuts, over HTTP or a WebSocket.

Requests are signed over `v0:TIMESTAMP:BODY` with `X-Slack-Signature: v0=HEX` and `X-Slack-Request-Timestamp`; one that
is more than five minutes old is refused. A request that Slack sends again has the same ids inside. Slack waits three
seconds for an answer.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from engine.capabilities import Changes
from engine.domain import Incident
from engine.plugins import (
    ActionError,
    Connection,
    ConnectionBroken,
    Desk,
    Fact,
    Field,
    Late,
    Options,
    Received,
    RetryLater,
    Secret,
    Unauthorized,
    source,
)
from triggers.sources import payload
from triggers.sources.signing import Secrets, any_same, header
from triggers.sources.slack_capture import Capture, Mark, channel_of, stamp
from triggers.sources.slack_commands import COMMANDS, Asked, Commands
from triggers.sources.slack_fill import Fill
from triggers.sources.slack_socket import SocketMode
from triggers.sources.slack_vendor import Vendor
from triggers.sources.slack_views import CALLBACK

_SIGNATURE, _TIMESTAMP = "X-Slack-Signature", "X-Slack-Request-Timestamp"
#: How old a request may be, as Slack recommends.
WINDOW = timedelta(minutes=5)
_ANSWER = "hotwash-answer:"
#: What the `action_id` of a button begins with that stands for a command; its value is the incident's id.
_BUTTON = "hotwash-incident:"
#: The shortcuts of the manifest.
_DECLARE, _ACTION_ITEM = "hotwash-declare", "hotwash-action"
#: Events that say what happens in a channel.
_CAPTURED = frozenset(
    {"message", "reaction_added", "reaction_removed", "pin_added", "pin_removed"}
    | {"member_joined_channel", "member_left_channel"}
)
_MARKS: Mapping[str, Mark] = {"pushpin": "timeline", "bulb": "opportunity", "white_check_mark": "action_item"}


async def _tell_nobody(received: Received) -> None:
    """Do nothing: what came of it goes to the address that came with it."""


#: How an interaction is answered whose work takes long: with nothing, as when it does not.
_TOLD_ANYHOW = Late({}, _tell_nobody)


class SlackRequests(Options):
    """What comes in from a Slack app.

    Example:
        chat:
          provider: slack
          token: ${SLACK_BOT_TOKEN}
          signing_secret: ${SLACK_SIGNING_SECRET}
          channel: "#incidents"
    """

    signing_secret: Secrets | None = Field(
        default=None,
        description="The app's signing secret, or a list of two while it is replaced; without, none comes in.",
    )
    app_token: Secret | None = Field(
        default=None,
        description="The app's own token, xapp-…: with it what comes in is fetched over a WebSocket (Socket Mode), "
        "and no public address is needed.",
    )
    command: str = Field(default="/incident", pattern=r"^/[a-z0-9_-]{1,31}$", description="The slash command.")
    severities: list[str] = Field(
        default=["sev1", "sev2", "sev3", "sev4"],
        min_length=1,
        max_length=100,
        description="What people choose from, the worst first.",
    )
    reactions: dict[str, Mark] = Field(
        default=dict(_MARKS),
        description="What a reaction marks a message as, by the emoji's name: timeline, opportunity or action_item.",
    )


class SlackInbound:
    """Take in what one Slack app says."""

    #: Slack waits three seconds.
    patience = 2.5

    def __init__(self, options: SlackRequests, connection: Connection, provider: Vendor) -> None:
        self._secrets = options.signing_secret or ()
        self._options = options
        self._vendor = provider
        self._connection = connection
        self._commands = Commands(provider, connection, options.command, options.severities)
        self._capture = Capture(provider, connection, options.reactions)
        self._fill = Fill(provider, self._capture, connection)
        self.socket: SocketMode | None = None
        if options.app_token is not None and provider is not None:
            self.socket = SocketMode(options.app_token, provider.api, connection, self.envelope, self._fill.wake)

    async def astart(self, take: Callable[[Received], Awaitable[Mapping[str, Any]]]) -> None:
        """Begin to fetch what comes in, where that is asked for."""
        if self.socket is not None:
            await self.socket.start(take)

    async def aclose(self) -> None:
        """Fetch nothing more."""
        if self.socket is not None:
            await self.socket.stop()

    async def check(self) -> str | None:
        """Say what keeps a WebSocket from being opened, where one is asked for; None where nothing does."""
        return await self.socket.check() if self.socket is not None else None

    def authenticate(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Accept a body that one of our secrets has signed within the last minutes.

        Raises:
            Unauthorized: the signature or the time is missing, wrong or old.
        """
        if not self._secrets:
            raise Unauthorized("this connection has no 'signing_secret', so it takes no requests of Slack")
        stamp = header(headers, _TIMESTAMP)
        if not stamp.isascii() or not stamp.isdigit() or len(stamp) > 12:
            raise Unauthorized(f"the header {_TIMESTAMP} must hold seconds since 1970")
        if abs(now.timestamp() - int(stamp)) > WINDOW.total_seconds():
            raise Unauthorized(f"the header {_TIMESTAMP} is more than five minutes from now")
        if not any_same([header(headers, _SIGNATURE)], self._signatures(stamp, body)):
            raise Unauthorized(f"the {_SIGNATURE} is not made with this connection's signing_secret")

    def sign(self, body: bytes, now: datetime) -> dict[str, str]:
        """Give the headers that `authenticate` accepts for a body."""
        stamp = str(int(now.timestamp()))
        return {_SIGNATURE.lower(): self._signatures(stamp, body)[0], _TIMESTAMP.lower(): stamp}

    def _signatures(self, stamp: str, body: bytes) -> list[str]:
        text = f"v0:{stamp}:".encode() + body
        return [f"v0={hmac.digest(secret.encode(), text, 'sha256').hex()}" for secret in self._secrets]

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Received:
        """Give what a request says, or what it asks for.

        Raises:
            ValueError: it is not what Slack documents.
        """
        if body.lstrip()[:1] == b"{":
            return self.event(payload.mapping(payload.parse(body), "the body"))
        form = _form(body)
        if "payload" not in form:
            return self.command({name: values[0] for name, values in form.items()})
        return self.interaction(payload.mapping(payload.parse(form["payload"][0].encode()), "'payload'"), now)

    def envelope(self, kind: str, said: Mapping[str, Any]) -> Received:
        """Give what an envelope of Socket Mode says, by its type.

        Raises:
            ValueError: it is not what Slack documents.
        """
        match kind:
            case "events_api":
                return self.event(said)
            case "slash_commands":
                return self.command(said)
            case "interactive":
                return self.interaction(said, self._connection.clock.now())
        return Received(ignored=f"envelopes of type '{str(kind)[:80]}' are not used")

    # --- events ------------------------------------------------------------------------------------------------------

    def event(self, said: Mapping[str, Any]) -> Received:
        """Give what an event of the Events API says.

        Raises:
            ValueError: it is not what Slack documents.
        """
        kind = payload.text(said.get("type"), "'type'")
        if kind == "url_verification":
            challenge = payload.text(said.get("challenge"), "'challenge'")
            return Received(response={"challenge": challenge})
        if kind != "event_callback":
            return Received(ignored=f"requests of type '{kind[:80]}' are not used")
        event = payload.mapping(said.get("event"), "'event'")
        kind = payload.text(event.get("type"), "'event.type'")
        if kind not in _CAPTURED:
            return Received(ignored=f"events of type '{kind[:80]}' are not used")
        channel = channel_of(event)
        if channel is None:
            return Received(ignored=f"an event of type '{kind}' that is in no channel")
        incident = self._connection.record.incident_in(channel)
        if incident is None:
            return Received()  # nothing is kept of channels that are no incident's
        delivery = payload.text(said.get("event_id"), "'event_id'")
        if event.get("event_ts") is None and isinstance(said.get("event_time"), int):  # not every event has its own
            event = {**event, "event_ts": f"{said['event_time']}.0"}
        found = self._capture.event(event, channel, incident, f"event/{delivery}", _ourselves(said))
        if isinstance(found, str):
            return Received(ignored=found)
        if any(_is_blank(fact) for fact in found):
            return Received(work=partial(self._completed, found, incident))
        return Received(found)

    async def _completed(self, facts: list[Fact], incident: Incident, desk: Desk) -> Received:
        """Have marks say what they mark, where that message is not in the record."""
        return Received([await self._read_marked(fact) if _is_blank(fact) else fact for fact in facts])

    async def _read_marked(self, fact: Fact) -> Fact:
        try:
            said = await self._vendor.said(str(fact.data["entry"]))
        except (ActionError, RetryLater, ConnectionBroken) as error:
            self._connection.say(f"a message that was marked cannot be read: {error}")
            said = None
        text, author = (said.text, said.by) if said is not None else ("A message in Slack", None)
        return replace(fact, data={**fact.data, "text": text or "A message in Slack", "author": author})

    async def changes(self, cursor: str | None) -> Changes:
        """Give what was missed in the channels of incidents."""
        if not self._secrets and self._options.app_token is None:
            return Changes((), cursor or "")
        return await self._fill.changes(cursor)

    def watch(self) -> AsyncIterator[None]:
        """Yield when something may have been missed."""
        return self._fill.watch()

    # --- commands ----------------------------------------------------------------------------------------------------

    def command(self, said: Mapping[str, Any]) -> Received:
        """Give what a slash command asks for.

        Raises:
            ValueError: it is not what Slack documents.
        """
        word = payload.text(said.get("command"), "'command'")
        if word != self._options.command:
            text = f"the command '{word[:80]}' is not used"
            return Received(ignored=text, response={"response_type": "ephemeral", "text": self._vendor.shown(text)})
        asked = self._asked(said.get("user_id"), said.get("user_name"), said.get("channel_id"), said)
        text = said.get("text") or ""
        if not isinstance(text, str):
            raise ValueError(f"'text' must be a text, not {payload.shown(text)}")
        return Received(work=lambda desk: self._commands.typed(desk, asked, text), late=self._commands.late(asked))

    def _asked(self, user: Any, name: Any, channel: Any, said: Mapping[str, Any]) -> Asked:
        by = self._vendor.user(payload.text(user, "'user'"), name)
        assert by is not None  # there is an id
        texts = {key: said.get(key) for key in ("trigger_id", "response_url")}
        trigger, url = (value if isinstance(value, str) and value else None for value in texts.values())
        return Asked(by, channel if isinstance(channel, str) and channel else None, trigger, url)

    # --- buttons, modals, shortcuts ----------------------------------------------------------------------------------

    def interaction(self, said: Mapping[str, Any], now: datetime) -> Received:
        """Give what somebody did with what Slack shows of us: an answer, or what it asks for.

        Raises:
            ValueError: it is not what Slack documents.
        """
        kind = payload.text(said.get("type"), "'payload.type'")
        reads = {
            "block_actions": self._pressed,
            "view_submission": self._submitted,
            "shortcut": self._shortcut,
            "message_action": self._on_message,
        }
        if kind not in reads:
            return _unused(f"interactions of type '{kind[:80]}' are not used")
        return reads[kind](said, payload.mapping(said.get("user"), "'payload.user'"), now)

    def _pressed(self, said: Mapping[str, Any], user: Mapping[str, Any], now: datetime) -> Received:
        actions = said.get("actions")
        pressed = [one for one in actions if isinstance(one, Mapping)] if isinstance(actions, list) else []
        for one in pressed:
            name = str(one.get("action_id", ""))
            if name.startswith(_ANSWER):
                return self._answer(one, user, now)
            if name.startswith(_BUTTON):
                return self._button(said, user, name.removeprefix(_BUTTON), one)
        return _unused("a button that is not Hotwash's was pressed")

    def _button(
        self, said: Mapping[str, Any], user: Mapping[str, Any], name: str, pressed: Mapping[str, Any]
    ) -> Received:
        name = name.partition(":")[0]
        if name not in COMMANDS:
            return _unused(f"no button of Hotwash's is called '{name[:80]}'")
        incident = payload.text(pressed.get("value"), "'actions.value'")
        asked = replace(self._asked_by(user, said), incident=incident)
        return Received(late=_TOLD_ANYHOW, work=lambda desk: self._commands.pressed(desk, asked, name))

    def _submitted(self, said: Mapping[str, Any], user: Mapping[str, Any], now: datetime) -> Received:
        view = payload.mapping(said.get("view"), "'payload.view'")
        name = str(view.get("callback_id", ""))
        if not name.startswith(CALLBACK):
            return _unused("a modal that is not Hotwash's was submitted")
        name = name.removeprefix(CALLBACK)
        if name != "declare" and name not in COMMANDS:
            return _unused(f"no modal of Hotwash's is called '{name[:80]}'")
        key = payload.text(view.get("id"), "'payload.view.id'")
        asked = replace(self._asked_by(user, said), once=f"slack/{self._connection.name}/view/{key}")
        submission = self._commands.submission(view)
        return Received(
            work=lambda desk: self._commands.submitted(desk, asked, name, submission),
            late=self._commands.late_view(key),
        )

    def _shortcut(self, said: Mapping[str, Any], user: Mapping[str, Any], now: datetime) -> Received:
        if said.get("callback_id") != _DECLARE:
            return _unused("a shortcut that is not Hotwash's was used")
        asked = self._asked_by(user, said)
        return Received(late=_TOLD_ANYHOW, work=lambda desk: self._commands.opened(asked))

    def _on_message(self, said: Mapping[str, Any], user: Mapping[str, Any], now: datetime) -> Received:
        if said.get("callback_id") != _ACTION_ITEM:
            return _unused("a shortcut that is not Hotwash's was used")
        message = payload.mapping(said.get("message"), "'payload.message'")
        stamp(message.get("ts"), "'payload.message.ts'")
        asked = self._asked_by(user, said)
        if asked.channel is None:
            raise ValueError("'payload.channel' must be a mapping with the channel's id")
        read = self._vendor.read(message, asked.channel)
        asked = replace(
            asked, once=f"slack/{self._connection.name}/{read.id}", source=self._vendor.link(read.id, read.thread)
        )
        return Received(late=_TOLD_ANYHOW, work=lambda desk: self._commands.taken(desk, asked, read.text))

    def _asked_by(self, user: Mapping[str, Any], said: Mapping[str, Any]) -> Asked:
        channel = said.get("channel")
        where = channel.get("id") if isinstance(channel, Mapping) else None
        return self._asked(user.get("id"), user.get("name") or user.get("username"), where, said)

    def _answer(self, pressed: Mapping[str, Any], user: Mapping[str, Any], now: datetime) -> Received:
        token = payload.text(pressed.get("block_id"), "'actions.block_id'")
        question = self._vendor.question(token)
        if question is None:
            return _unused("the question that was answered is not known here")
        if question.get("closed_at") is not None:
            return _unused("the question that was answered is closed")
        picked = payload.text(pressed.get("value"), "'actions.value'")
        if picked not in question["choices"]:
            raise ValueError("'actions.value' is none of the question's choices")
        key = payload.text(user.get("id"), "'payload.user.id'")
        data = {"question": question["id"], "answer": picked}
        at = _instant(pressed.get("action_ts"), now)
        actor = self._vendor.user(key, user.get("name"))
        id = f"{token}/{key}/{pressed.get('action_ts')}"
        return Received([Fact("chat.answered", at, data=data, actor=actor, id=id)], response={})


def _ourselves(said: Mapping[str, Any]) -> list[str]:
    """Give the ids of our own app and of the users that stand for it, as an event names them."""
    found = [said.get("api_app_id")]
    listed = said.get("authorizations")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, Mapping) and one.get("is_bot"):
            found.append(one.get("user_id"))
    return [one for one in found if isinstance(one, str) and one]


def _is_blank(fact: Fact) -> bool:
    """Whether a mark does not say yet what it marks."""
    return fact.type == "incident.marked" and not fact.data["text"]


def _unused(why: str) -> Received:
    """Give what is recorded of an interaction that is nobody's business here; Slack wants an empty answer."""
    return Received(ignored=why, response={})


def _form(body: bytes) -> Mapping[str, list[str]]:
    try:
        found = parse_qs(body.decode(), strict_parsing=True, max_num_fields=100)
    except ValueError:
        found = {}
    if not found:
        raise ValueError("the body must be JSON or a form")
    return found


def _instant(seconds: Any, now: datetime) -> datetime:
    try:
        return datetime.fromtimestamp(float(seconds), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return now


Slack = source(
    "slack", SlackRequests, headers=("x-slack-retry-num", "x-slack-retry-reason", "x-slack-request-timestamp")
)(SlackInbound)
