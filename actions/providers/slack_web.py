"""Slack's Web API: one client for each connection, its lists page by page, and its refusals in our words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from actions.providers import skew
from actions.providers.rest import unanswered
from engine.plugins import ActionError, Connection, ConnectionBroken, about_to_send, fault, retry_after

if TYPE_CHECKING:
    from slack_sdk.web.async_client import AsyncWebClient

_TIMEOUT = 30
#: What the app must be allowed for all that is done outbound and read back.
SCOPES = frozenset(
    {"bookmarks:read", "bookmarks:write", "channels:history", "channels:manage", "channels:read", "chat:write"}
    | {"chat:write.public", "groups:history", "groups:read", "groups:write", "im:history", "im:write"}
    | {"metadata.message:read", "mpim:history", "mpim:write", "pins:write", "users:read", "users:read.email"}
)
#: Pages of one list.
MOST_PAGES = 200
_PAGE = 200
#: Methods that read: they take forms only. Those that write take JSON.
_READS = frozenset(
    {
        "auth.test",
        "bookmarks.list",
        "conversations.history",
        "conversations.info",
        "conversations.list",
        "conversations.members",
        "conversations.replies",
        "pins.list",
        "users.list",
        "users.lookupByEmail",
    }
)
#: Errors of Slack that say: our credentials, or what they may do.
_BROKEN = frozenset(
    {
        "account_inactive",
        "ekm_access_denied",
        "invalid_auth",
        "missing_scope",
        "not_allowed_token_type",
        "not_authed",
        "org_login_required",
        "team_access_not_granted",
        "token_expired",
        "token_revoked",
    }
)
#: Errors that say what an HTTP status says elsewhere.
_STATUS = {
    "fatal_error": 500,
    "internal_error": 500,
    "ratelimited": 429,
    "request_timeout": 408,
    "service_unavailable": 503,
    "team_added_to_org": 500,
}
#: What people can do about an error, in a few words.
_ADVICE = {
    "channel_not_found": "there is no such channel, or it is private and the app is not in it",
    "is_archived": "the channel is archived",
    "not_in_channel": "invite the app to the channel",
    "restricted_action": "the workspace's settings do not let the app do it; an owner of the workspace can",
    "user_not_in_channel": "they have to be in the channel",
    "users_not_found": "nobody in the workspace has this e-mail address",
}


#: What people can do where the token itself is refused.
_REINSTALL = "install the app again, or have an owner of the workspace do it, and put its new token into 'token'"


class SlackWeb:
    """Call one workspace's Web API with one token.

    Args:
        token: of the app's bot.
        api: the API's address, with a slash at its end.
        connection: whose calls these are.
    """

    def __init__(self, token: str, api: str, connection: Connection) -> None:
        self._token = token
        self._api = api
        self._clock = connection.clock
        self._client: AsyncWebClient | None = None
        self._ourselves: Mapping[str, Any] | None = None
        self._headers: Mapping[str, str] = {}  #: of the last answer to who we are

    async def call(self, method: str, **inputs: Any) -> Mapping[str, Any]:
        """Call a method; inputs that are None are left out.

        Raises:
            ActionError: Slack refuses what is asked; its code is `slack-` and Slack's own.
            RetryLater: it cannot be reached, has trouble, or is asked too often.
            ConnectionBroken: it refuses the token, or the token lacks a scope.
        """
        import aiohttp
        from slack_sdk.errors import SlackApiError, SlackClientError

        given = {name: value for name, value in inputs.items() if value is not None}
        form: dict[str, Any] | None
        body: dict[str, Any] | None
        if method in _READS:
            form, body = {name: _in_a_form(value) for name, value in given.items()}, None
        else:
            form, body = None, given
            about_to_send("POST", method, given)
        try:
            answer: Any = await self._opened().api_call(method, data=form, json=body)
        except SlackApiError as error:
            raise self._refused(method, error.response) from None
        except (aiohttp.ClientError, TimeoutError, SlackClientError) as error:
            raise unanswered("Slack", method, _TIMEOUT, error) from None
        if method == "auth.test":
            self._headers = {name.lower(): value for name, value in (answer.headers or {}).items()}
        return answer.data if isinstance(answer.data, dict) else {}

    async def check(self) -> str | None:
        """Say what is wrong with the token, what it may do, or the clock; None where all is well."""
        await self.call("auth.test")
        ahead = skew.ahead(self._headers.get("date"), self._clock.now()) or 0.0
        granted = self._headers.get("x-oauth-scopes")
        missing = SCOPES - {one.strip() for one in granted.split(",")} if granted is not None else ()
        if missing:
            named = ", ".join(sorted(missing))
            return f"the app lacks {named}: add them under OAuth & Permissions and install the app again"
        return skew.said(ahead, "Slack")

    async def pages(self, method: str, key: str, *, size: int = _PAGE, **inputs: Any) -> AsyncIterator[Any]:
        """Yield what a method that pages by cursor lists under `key`.

        Raises:
            ActionError: there are more than MOST_PAGES pages, beside what `call` raises.
        """
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self.call(method, **inputs, limit=size, cursor=cursor)
            for item in page.get(key) or ():
                yield item
            before, cursor = cursor, (page.get("response_metadata") or {}).get("next_cursor")
            if not cursor or cursor == before:
                return
        raise ActionError(f"Slack lists more than {MOST_PAGES * size:,} {key} by {method}")

    async def ourselves(self) -> Mapping[str, Any]:
        """Give who the token is: `user_id`, and `url`, the workspace's address."""
        if self._ourselves is None:
            self._ourselves = await self.call("auth.test")
        return self._ourselves

    @property
    def home(self) -> str | None:
        """The workspace's address with a slash at its end, as far as that is known without asking."""
        return (self._ourselves or {}).get("url")

    def is_us(self, raw: Mapping[str, Any]) -> bool:
        """Whether a message is from us, as far as that is known without asking."""
        known = self._ourselves or {}
        ours = [known[name] for name in ("user_id", "bot_id") if known.get(name)]
        return raw.get("user") in ours or raw.get("bot_id") in ours

    async def aclose(self) -> None:
        """Close the client's session."""
        if self._client is not None and self._client.session is not None:
            await self._client.session.close()
        self._client = None

    def _refused(self, method: str, response: Any) -> Exception:
        data = response.data if isinstance(response.data, dict) else {}
        code = str(data.get("error") or response.status_code)
        said = f"Slack answered {method} with '{code}'" + (f": {_ADVICE[code]}" if code in _ADVICE else "")
        if code == "missing_scope":
            said += f": the app needs {data.get('needed')}; add it under OAuth & Permissions and install the app again"
        elif code in _BROKEN and code not in _ADVICE:
            said += f": {_REINSTALL}"
        if code in _BROKEN:
            return ConnectionBroken(said)
        status = _STATUS.get(code, response.status_code)
        if 200 <= status < 300:
            return ActionError(said, code=f"slack-{code}")
        headers = {name.lower(): value for name, value in (response.headers or {}).items()}
        return fault(said, status, after=retry_after(headers.get("retry-after"), self._clock.now()))

    def _opened(self) -> AsyncWebClient:
        if self._client is None:
            import aiohttp
            from slack_sdk.web.async_client import AsyncWebClient

            session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT), cookie_jar=aiohttp.DummyCookieJar()
            )
            self._client = AsyncWebClient(
                token=self._token,
                base_url=self._api,
                timeout=_TIMEOUT,
                session=session,
                retry_handlers=[],  # the executor's job
            )
        return self._client


def _in_a_form(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
