"""What the source `slack` needs of the workspace: modals, answers to commands, one message, addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from actions.providers.rest import unanswered
from actions.providers.slack_channels import SlackChannels, message_of
from actions.providers.slack_text import buttons, escaped
from engine.capabilities import Said
from engine.domain import Incident
from engine.plugins import ActionError, Connection, fault, retry_after

_TIMEOUT = 10
#: Where Slack wants to be answered.
_ANSWERS = "https://hooks.slack.com"


#: What a button's `action_id` begins with that stands for a word of `/incident`; its value is the incident's id.
CONTROL = "hotwash-incident"
_OPEN = {"update": "Update", "severity": "Severity", "role": "Role", "note": "Note", "action": "Action item"}
_OPEN |= {"resolve": "Resolve"}
_RESOLVED = {"note": "Note", "action": "Action item", "reopen": "Reopen", "timeline": "Timeline"}


def controls(incident: Incident | None) -> list[dict[str, Any]]:
    """Give the buttons with which people act on an incident."""
    if incident is None:
        return []
    words = _RESOLVED if incident.status == "resolved" else _OPEN
    (block,) = buttons(words, f"{CONTROL}:{incident.id}"[:255], CONTROL)
    return [{**block, "elements": [{**one, "value": incident.id} for one in block["elements"]]}]


class SlackInbound(SlackChannels):
    """Answer what comes in from one Slack workspace."""

    def __init__(self, token: str, api: str, connection: Connection) -> None:
        super().__init__(token, api, connection)
        self.api = api

    async def open_view(self, trigger: str, view: Mapping[str, Any]) -> None:
        """Show somebody a modal, within three seconds of what they did."""
        await self._web.call("views.open", trigger_id=trigger, view=view)

    async def update_view(self, view: str, shown: Mapping[str, Any]) -> None:
        """Show something else in a modal that is open."""
        await self._web.call("views.update", view_id=view, view=shown)

    async def respond(self, url: str, message: Mapping[str, Any]) -> None:
        """Answer a command or a button at the address that came with it, which must be Slack's.

        Raises:
            ActionError: it is another address, or Slack does not take the answer.
            RetryLater: Slack cannot be reached, or has trouble.
        """
        import aiohttp
        from slack_sdk.webhook.async_client import AsyncWebhookClient

        if _origin(url) not in (_ANSWERS, _origin(self.api)):
            raise ActionError("the address for the answer is not Slack's", code="slack-response-url")
        try:
            answer = await AsyncWebhookClient(url, timeout=_TIMEOUT, retry_handlers=[]).send_dict(dict(message))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise unanswered("Slack", "the answer", _TIMEOUT, error) from None
        if answer.status_code != 200:
            wait = retry_after(answer.headers.get("Retry-After"), self._connection.clock.now())
            raise fault(f"Slack took the answer with {answer.status_code}", answer.status_code, after=wait)

    async def said(self, message: str) -> Said | None:
        """Give one message by its id, also one in a thread; None where there is none any more."""
        room, ts = message_of(message)
        await self._web.ourselves()
        async for raw in self._web.pages("conversations.replies", "messages", size=1, channel=room, ts=ts, oldest="0"):
            return self.read(raw, room) if raw.get("ts") == ts else None
        return None

    def shown(self, text: str) -> str:
        """Give plain text as it has to be written so that Slack shows it and obeys nothing in it."""
        return escaped(text)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
