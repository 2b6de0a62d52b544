"""Receive what Slack posts: answers to questions, and the Events API's handshake.

Requests are signed over `v0:TIMESTAMP:BODY` with `X-Slack-Signature: v0=HEX` and `X-Slack-Request-Timestamp`; one that
is more than five minutes old is refused. A request that Slack sends again has the same ids inside.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import parse_qs

from engine.domain import Person
from engine.plugins import Connection, Fact, Field, Options, Received, Unauthorized, source
from triggers.sources import payload
from triggers.sources.signing import Secrets, any_same, header

_SIGNATURE, _TIMESTAMP = "X-Slack-Signature", "X-Slack-Request-Timestamp"
#: How old a request may be, as Slack recommends.
WINDOW = timedelta(minutes=5)
_ANSWER = "hotwash-answer:"


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


class Vendor(Protocol):
    """What the provider `slack` knows."""

    def user(self, user: Any, name: Any = None) -> Person | None:
        """Give somebody by the id of a user."""

    def question(self, token: str) -> Mapping[str, Any] | None:
        """Give what is kept of a question by the token that its buttons carry."""


class SlackInbound:
    """Take in what one Slack app posts."""

    def __init__(self, options: SlackRequests, connection: Connection, provider: Vendor) -> None:
        self._secrets = options.signing_secret or ()
        self._vendor = provider

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
        """Give what a request says: an answer to a question, or nothing that is used.

        Raises:
            ValueError: it is not what Slack documents.
        """
        if body.lstrip()[:1] == b"{":
            return self._event(payload.mapping(payload.parse(body), "the body"))
        form = _form(body)
        if "payload" not in form:
            return Received(ignored=f"the command '{form.get('command', ['?'])[0][:80]}' is not used")
        return self._interaction(payload.mapping(payload.parse(form["payload"][0].encode()), "'payload'"), now)

    def _event(self, event: Mapping[str, Any]) -> Received:
        kind = payload.text(event.get("type"), "'type'")
        if kind == "url_verification":
            challenge = payload.text(event.get("challenge"), "'challenge'")
            return Received(ignored="Slack checks that this is the app", response={"challenge": challenge})
        return Received(ignored=f"events of type '{kind[:80]}' are not used")

    def _interaction(self, said: Mapping[str, Any], now: datetime) -> Received:
        kind = payload.text(said.get("type"), "'payload.type'")
        if kind != "block_actions":
            return Received(ignored=f"interactions of type '{kind[:80]}' are not used")
        actions = said.get("actions")
        pressed = [one for one in actions if isinstance(one, Mapping)] if isinstance(actions, list) else []
        ours = [one for one in pressed if str(one.get("action_id", "")).startswith(_ANSWER)]
        if not ours:
            return Received(ignored="a button that is not Hotwash's was pressed")
        return self._answer(ours[0], payload.mapping(said.get("user"), "'payload.user'"), now)

    def _answer(self, pressed: Mapping[str, Any], user: Mapping[str, Any], now: datetime) -> Received:
        token = payload.text(pressed.get("block_id"), "'actions.block_id'")
        question = self._vendor.question(token)
        if question is None:
            return Received(ignored="the question that was answered is not known here")
        if question.get("closed_at") is not None:
            return Received(ignored="the question that was answered is closed")
        picked = payload.text(pressed.get("value"), "'actions.value'")
        if picked not in question["choices"]:
            raise ValueError("'actions.value' is none of the question's choices")
        key = payload.text(user.get("id"), "'payload.user.id'")
        data = {"question": question["id"], "answer": picked}
        at = _instant(pressed.get("action_ts"), now)
        actor = self._vendor.user(key, user.get("name"))
        return Received(
            [Fact("chat.answered", at, data=data, actor=actor, id=f"{token}/{key}/{pressed.get('action_ts')}")]
        )


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
