"""Call a vendor's documented REST API: one session for each connection, and its refusals in our words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from actions.providers import skew
from engine.plugins import ActionError, Connection, RetryLater, about_to_send, fault, retry_after

if TYPE_CHECKING:
    import aiohttp

#: Bytes of one answer.
MAX_ANSWER = 8 * 1024 * 1024
#: Pages of one list.
MOST_PAGES = 100
#: Of what a vendor says about a refusal, so much is shown.
MOST_SAID = 300
_LONG = 20  #: characters from which on a word of a header may be a credential
_LONGEST_CONNECT = 10  #: seconds; before the connection stands nothing was sent

Query = Mapping[str, str | list[str]]


def unanswered(vendor: str, asked: str, timeout: float, error: Exception) -> RetryLater:
    """Give what to raise where no answer came to a request: by then it may have been carried out, or was never sent.

    Args:
        vendor: the vendor's name, for people.
        asked: what was asked, such as `GET /users`.
        timeout: how long an answer may take, in seconds.
        error: what aiohttp raised.
    """
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return RetryLater(f"{vendor} cannot be reached: {type(error).__name__}")
    if isinstance(error, TimeoutError):
        return RetryLater(f"{vendor} gave no answer to {asked} within {timeout:g} seconds", maybe_done=True)
    return RetryLater(f"{vendor} broke off {asked}: {type(error).__name__}", maybe_done=True)


class Rest:
    """One vendor's REST API below `base`, with JSON both ways.

    Args:
        vendor: the vendor's name, for people.
        connection: whose calls these are.
        base: the API's address, without a slash at its end.
        headers: sent with every request, credentials among them.
        timeout: how long an answer may take, in seconds.
        remedies: who can do what about a refusal, by its status (401, 403).
    """

    def __init__(
        self,
        vendor: str,
        connection: Connection,
        base: str,
        headers: Mapping[str, str],
        *,
        timeout: float = 30.0,
        remedies: Mapping[int, str] | None = None,
    ) -> None:
        self._remedies = remedies or {}
        self._vendor = vendor
        self._clock = connection.clock
        self._base = base.rstrip("/")
        self._headers = dict(headers)
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._ahead = 0.0  #: seconds that this machine's clock is ahead of the vendor's, at the last answer

    def skew(self) -> str | None:
        """Say how far this machine's clock is from the vendor's, where that matters; None where it does not."""
        return skew.said(self._ahead, self._vendor)

    def there(self, now: datetime) -> datetime:
        """Give what an instant of this machine's clock is by the vendor's, as far as its answers have told."""
        return now - timedelta(seconds=self._ahead)

    async def get(self, path: str, query: Query | None = None) -> Any:
        """Read something; None where there is none (404).

        Raises:
            ActionError, RetryLater, ConnectionBroken: as `call`.
        """
        return await self.call("GET", path, query=query, missing=True)

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        missing: bool = False,
    ) -> Any:
        """Send a request and give the JSON that it is answered with; None for an empty answer.

        Args:
            method: GET, POST, PUT, PATCH or DELETE.
            path: what is appended to the base, each part quoted already.
            query: parameters; a list is sent as the same name several times.
            body: a JSON value, where there is one to send.
            headers: sent with this request.
            missing: whether 404 gives None.

        Raises:
            ActionError: the vendor refuses the request itself (4xx), or answers with what is no JSON.
            RetryLater: it cannot be reached, gives no answer in time, has trouble (5xx) or is asked too often (429).
            ConnectionBroken: it refuses our credentials (401, 403).
        """
        import aiohttp

        asked = f"{method} {path}"
        if method != "GET":
            about_to_send(method, path + (f"?{urlencode(_pairs(query))}" if query else ""), body)
        try:
            async with self._open().request(
                method, self._base + path, params=_pairs(query), json=body, headers=headers, allow_redirects=False
            ) as answer:
                content = await answer.content.read(MAX_ANSWER + 1)
                while len(content) <= MAX_ANSWER and (more := await answer.content.read(MAX_ANSWER)):
                    content += more
        except (aiohttp.ClientError, TimeoutError) as error:
            raise unanswered(self._vendor, asked, self._timeout, error) from None
        if (ahead := skew.ahead(answer.headers.get("Date"), self._clock.now())) is not None:
            self._ahead = ahead
        if missing and answer.status == 404:
            return None
        if not 200 <= answer.status < 300:
            wait = retry_after(answer.headers.get("Retry-After"), self._clock.now())
            raise fault(self._refusal(asked, answer.status, content), answer.status, after=wait)
        return self._read(asked, content)

    async def pages(self, path: str, key: str, query: Query, *, size: int = 100) -> AsyncIterator[Any]:
        """Yield the items under `key` of a list that is paged by `limit` and `offset`, as long as it says `more`.

        Raises:
            ActionError: there are more than MOST_PAGES of them, beside what `call` raises.
        """
        offset = 0
        for _ in range(MOST_PAGES):
            page = await self.call("GET", path, query={**query, "limit": str(size), "offset": str(offset)})
            items = page.get(key) or []
            for item in items:
                yield item
            if not page.get("more") or not items:
                return
            offset += len(items)
        raise ActionError(f"{self._vendor} lists more than {offset:,} {key}: name what is meant by its id")

    async def aclose(self) -> None:
        """Close the session and its sockets."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "hotwash", **self._headers},
                timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=min(self._timeout, _LONGEST_CONNECT)),
            )
        return self._session

    def _read(self, asked: str, content: bytes) -> Any:
        if not content.strip():
            return None
        if len(content) > MAX_ANSWER:
            raise ActionError(f"{self._vendor} answered {asked} with more than {MAX_ANSWER // 1024 // 1024} MiB")
        try:
            return json.loads(content)
        except ValueError:
            raise ActionError(f"{self._vendor} answered {asked} with what is no JSON") from None

    def _refusal(self, asked: str, status: int, content: bytes) -> str:
        said = _said(content)
        for word in (word for value in self._headers.values() for word in value.split()):
            said = said.replace(word, "***") if len(word) >= _LONG else said  # credentials as they were sent
        remedy = f"; {self._remedies[status]}" if status in self._remedies else ""
        return f"{self._vendor} answered {asked} with {status}" + (f": {said}" if said else "") + remedy


def _pairs(query: Query | None) -> list[tuple[str, str]]:
    return [
        (name, item) for name, value in (query or {}).items() for item in ([value] if isinstance(value, str) else value)
    ]


def _said(content: bytes) -> str:
    """Give the texts in the JSON of a refusal, as far as people read: vendors nest them in many ways."""
    try:
        texts = _texts(json.loads(content))
    except (ValueError, RecursionError):
        return ""
    return "; ".join(dict.fromkeys(texts))[:MOST_SAID]


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value.strip()] if value.strip() else []
    found = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in found for text in _texts(item)]
