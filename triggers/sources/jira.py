"""Receive Jira's webhooks, of Cloud and of Data Center.

A webhook that an administrator registers with a secret is signed over its raw body with `X-Hub-Signature: sha256=HEX`.
The scheme has no time stamp; `X-Atlassian-Webhook-Identifier` names a delivery, also when it is sent again.

| Jira's event | ours |
|---|---|
| `jira:issue_created` | `ticket.created` |
| `jira:issue_updated`, to or from the category Done | `ticket.closed`, `ticket.reopened` |
| `jira:issue_updated`, any other | `ticket.updated` |
| `jira:issue_deleted` | `ticket.closed` |
| `comment_created`, `comment_updated` | `ticket.commented` |
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from engine.domain import Person
from engine.plugins import Connection, Fact, Field, Options, Received, Unauthorized, source
from triggers.sources import payload
from triggers.sources.signing import Secrets, any_same, header

_SIGNATURE = "X-Hub-Signature"
_DELIVERY = "x-atlassian-webhook-identifier"
_COMMENTS = frozenset({"comment_created", "comment_updated"})
_ISSUES = frozenset({"jira:issue_created", "jira:issue_updated", "jira:issue_deleted"})
#: A resolution that is set or taken away says the same as a status of the category Done.
_TELLING = frozenset({"status", "resolution"})


class JiraWebhook(Options):
    """What comes in by Jira's webhooks.

    Example:
        tracker:
          provider: jira
          server: https://example.atlassian.net
          user: hotwash@example.com
          token: ${JIRA_TOKEN}
          webhook_secret: ${JIRA_WEBHOOK_SECRET}
    """

    webhook_secret: Secrets | None = Field(
        default=None,
        description="The webhook's secret, or a list of two while it is replaced. Without it none comes in.",
    )


class Vendor(Protocol):
    """What the provider `jira` knows of Jira's JSON."""

    def read(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give the fields of an issue, its id with the connection's name before it."""

    def person(self, raw: Any) -> Person | None:
        """Give somebody who is referred to; None for what is not a person."""

    def is_ours(self, raw: Any) -> bool:
        """Whether it is one of our own accounts."""

    def text(self, raw: Any) -> str:
        """Give the text of a comment's body."""


class JiraWebhooks:
    """Take in what one webhook of Jira posts."""

    def __init__(self, options: JiraWebhook, connection: Connection, provider: Vendor) -> None:
        self._secrets = options.webhook_secret or ()
        self._vendor = provider

    def authenticate(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Accept a body that one of our secrets has signed.

        Raises:
            Unauthorized: the signature is missing, of another scheme, or made with another secret.
        """
        if not self._secrets:
            raise Unauthorized("this connection has no 'webhook_secret', so it takes no webhooks")
        method, _, given = header(headers, _SIGNATURE).partition("=")
        if method != "sha256" or not given:
            raise Unauthorized(f"the header {_SIGNATURE} must be of the form sha256=HEX")
        if not any_same([given], self._signatures(body)):
            raise Unauthorized(f"the {_SIGNATURE} is not made with this connection's webhook_secret")

    def sign(self, body: bytes, now: datetime) -> dict[str, str]:
        """Give the headers that `authenticate` accepts for a body."""
        return {_SIGNATURE.lower(): f"sha256={self._signatures(body)[0]}"}

    def _signatures(self, body: bytes) -> list[str]:
        return [hmac.digest(secret.encode(), body, "sha256").hex() for secret in self._secrets]

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Received:
        """Give the fact that a delivery tells.

        Raises:
            ValueError: it is not what Jira documents.
        """
        event = payload.mapping(payload.parse(body), "the body")
        kind = payload.text(event.get("webhookEvent"), "'webhookEvent'")
        if kind not in _ISSUES | _COMMENTS:
            return Received(ignored=f"events of type '{kind[:80]}' are not used")
        issue = payload.mapping(event.get("issue"), "'issue'")
        at = _instant(event.get("timestamp"))
        delivery = headers.get(_DELIVERY) or f"{kind}/{issue.get('id')}/{event.get('timestamp')}"
        return Received([self._fact(kind, event, issue, at, delivery)])

    def _fact(self, kind: str, event: Mapping[str, Any], issue: Mapping[str, Any], at: datetime, id: str) -> Fact:
        comment = payload.mapping(event.get("comment"), "'comment'") if kind in _COMMENTS else {}
        who = comment.get("updateAuthor") or comment.get("author") if comment else event.get("user")
        actor, own = self._vendor.person(who), self._vendor.is_ours(who)
        fields = dict(self._vendor.read(issue))
        if actor is not None and not own:
            fields["active_at"] = at
        if kind == "jira:issue_deleted":
            fields |= {"done": True, "closed_at": at}
        data: dict[str, Any] = {"event_type": kind}
        if comment:
            data["comment"] = self._vendor.text(comment.get("body"))
        return Fact(_type(kind, event, fields), at, "ticket", fields.pop("id"), fields, data, actor, id, own)


def _type(kind: str, event: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    if kind in _COMMENTS:
        return "ticket.commented"
    if kind != "jira:issue_updated":
        return "ticket.created" if kind == "jira:issue_created" else "ticket.closed"
    changelog = event.get("changelog")
    items = changelog.get("items") if isinstance(changelog, Mapping) else None
    changed = {str(one.get("field")).lower(): one for one in items or () if isinstance(one, Mapping)}
    if not _TELLING & changed.keys():
        return "ticket.updated"
    if fields.get("done"):
        return "ticket.closed"
    resolution = changed.get("resolution")
    return "ticket.reopened" if resolution is not None and resolution.get("to") is None else "ticket.updated"


def _instant(milliseconds: Any) -> datetime:
    """Read Jira's time stamps: milliseconds since 1970."""
    if isinstance(milliseconds, int) and not isinstance(milliseconds, bool):
        try:
            return datetime.fromtimestamp(milliseconds / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            pass
    raise ValueError(f"'timestamp' must be milliseconds since 1970, not {payload.shown(milliseconds)}")


Jira = source("jira", JiraWebhook, headers=(_DELIVERY, "x-atlassian-webhook-retry", "x-atlassian-webhook-flow"))(
    JiraWebhooks
)
