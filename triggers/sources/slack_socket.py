"""Socket Mode: what Slack says comes over a WebSocket that we open, so that no public address is needed.

Slack's own client keeps the connection; what it brings goes the way of the webhooks. An envelope is acknowledged only
when what it says is committed: without that Slack sends it again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from engine.plugins import Connection, Received, Secret
from triggers.sources import payload

if TYPE_CHECKING:
    from slack_sdk.errors import SlackApiError
    from slack_sdk.socket_mode.aiohttp import SocketModeClient
    from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
    from slack_sdk.socket_mode.request import SocketModeRequest

#: Seconds before Slack is asked again for an address to connect to; they double up to the last.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 300.0
#: Seconds in which Slack has to give an address.
_PATIENCE = 30
#: What the client logs is for its makers; what people have to know, we say.
_LOG = logging.getLogger("hotwash.slack.socket")
_LOG.addHandler(logging.NullHandler())
_LOG.propagate = False


class SocketMode:
    """Keeps one WebSocket to Slack.

    Args:
        token: of the app, xapp-….
        api: where the Web API is.
        connection: whose it is.
        read: gives what an envelope says, by its type and payload; ValueError where it is not what Slack documents.
        connected: called whenever a connection begins: something may have been missed before.
    """

    #: Seconds between two looks at whether the connection still works.
    ping_interval = 5.0

    def __init__(
        self,
        token: Secret,
        api: str,
        connection: Connection,
        read: Callable[[str, Mapping[str, Any]], Received],
        connected: Callable[[], None],
    ) -> None:
        self._token, self._api, self._connection = token, api, connection
        self._read, self._connected = read, connected
        self._take: Callable[[Received], Awaitable[Mapping[str, Any]]] | None = None
        self._client: SocketModeClient | None = None
        self._opening: asyncio.Task[None] | None = None

    async def start(self, take: Callable[[Received], Awaitable[Mapping[str, Any]]]) -> None:
        """Begin to connect; nobody waits for it. `take` does what is received and gives the body to answer with."""
        self._take = take
        self._opening = asyncio.create_task(self._open(), name=f"socket of {self._connection.name}")

    async def stop(self) -> None:
        """Take nothing more, and close the connection."""
        if self._opening is not None:
            self._opening.cancel()
            with suppress(asyncio.CancelledError):
                await self._opening
        if self._client is not None:
            client, self._client = self._client, None
            parts = [client.message_processor, client.current_session_monitor, client.message_receiver]
            await client.close()  # type: ignore[no-untyped-call]
            await asyncio.gather(*(part for part in parts if part is not None), return_exceptions=True)
            await client.aiohttp_client_session.close()
            if client.web_client.session is not None:
                await client.web_client.session.close()

    async def check(self) -> str | None:
        """Say what keeps us from a connection, without opening one; None where Slack gives an address for it."""
        from aiohttp import ClientError, ClientSession, ClientTimeout
        from slack_sdk.errors import SlackApiError, SlackClientError
        from slack_sdk.web.async_client import AsyncWebClient

        async with ClientSession(timeout=ClientTimeout(total=_PATIENCE)) as session:
            web = AsyncWebClient(base_url=self._api, session=session, retry_handlers=[], logger=_LOG)
            try:
                await web.apps_connections_open(app_token=str(self._token))
            except SlackApiError as error:
                return f"Socket Mode: {_refused(error)}"
            except (ClientError, TimeoutError, SlackClientError) as error:
                return f"Socket Mode: Slack cannot be reached: {type(error).__name__}"
        return None

    async def _open(self) -> None:
        """Ask Slack for an address until it gives one, and connect; later the client connects again by itself."""
        from aiohttp import ClientSession, ClientTimeout
        from slack_sdk.errors import SlackApiError
        from slack_sdk.socket_mode.aiohttp import SocketModeClient
        from slack_sdk.web.async_client import AsyncWebClient

        web = AsyncWebClient(
            base_url=self._api,
            session=ClientSession(timeout=ClientTimeout(total=_PATIENCE)),
            retry_handlers=[],
            logger=_LOG,
        )
        client = self._client = SocketModeClient(
            str(self._token), logger=_LOG, web_client=web, ping_interval=self.ping_interval
        )
        client.message_listeners.append(self._hear)
        client.socket_mode_request_listeners.append(self._receive)
        pause = _FIRST_PAUSE
        while True:
            try:
                client.wss_uri = await client.issue_new_wss_url()
                break
            except SlackApiError as error:
                self._say(_refused(error))
            except Exception as error:  # noqa: BLE001  whatever keeps us from Slack now may be over in a moment
                self._say(f"Slack cannot be reached: {type(error).__name__}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        await client.connect()  # type: ignore[no-untyped-call]

    async def _hear(self, client: AsyncBaseSocketModeClient, message: dict[str, Any], raw: str | None = None) -> None:
        if message.get("type") == "hello":
            self._connected()

    async def _receive(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        """Take an envelope, and acknowledge it when what it says is committed."""
        from slack_sdk.socket_mode.response import SocketModeResponse

        assert self._take is not None
        try:
            said = payload.mapping(payload.parse(json.dumps(request.payload).encode()), "the envelope's payload")
            received = self._read(request.type, said)
        except ValueError as error:
            self._say(f"an envelope of Slack is not used: {error}")  # it would be the same when sent again
            received = Received(ignored=str(error))
        try:
            answer = await self._take(received)
        except Exception as error:  # noqa: BLE001  without our word Slack sends it again, and others go on
            self._say(f"an envelope of Slack is not kept, it comes again: {type(error).__name__}: {error}")
            return
        if self._client is not None:
            await client.send_socket_mode_response(SocketModeResponse(request.envelope_id, dict(answer) or None))

    def _say(self, text: str) -> None:
        self._connection.say(f"Socket Mode: {text}")


def _refused(error: SlackApiError) -> str:
    """Give what Slack's refusal of an address means, and what to do about it."""
    said = error.response.get("error") if isinstance(error.response.data, dict) else None
    return (
        f"Slack answers {repr(str(said)) if said else 'an error'}: is 'app_token' the app's own, with the scope "
        "connections:write? Basic Information, App-Level Tokens makes one (xapp-…); Socket Mode must be on"
    )
