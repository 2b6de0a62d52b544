"""Ask Google's APIs through Google's own client: credentials, threads, time-outs, and its refusals in our words.

The client is synchronous: each connection calls it in a few threads of its own, so that nothing waits for a slow answer
but what asked for it. It sends over `requests` and not over its default, httplib2, which sends a request again by
itself when no answer came.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import ValidationInfo, field_validator

from actions.providers import skew
from engine.plugins import (
    ActionError,
    Connection,
    ConnectionBroken,
    Field,
    Options,
    RetryLater,
    Secret,
    about_to_send,
    fault,
    retry_after,
)

if TYPE_CHECKING:
    import requests

#: Bytes of one answer.
MAX_ANSWER = 16 * 1024 * 1024
_LONGEST_CONNECT = 10.0  #: seconds; before the connection stands nothing was sent
_THREADS = 4
_MOST_SAID = 300
_TOKEN_URI = "https://oauth2.googleapis.com/token"
#: What each kind of credentials must hold.
_WANTED = {
    "service_account": ("client_email", "private_key", "token_uri"),
    "authorized_user": ("client_id", "client_secret", "refresh_token"),
}
#: Methods that only read although they are no GET.
_QUERIES = frozenset({"calendar.freebusy.query"})
#: Reasons of a 403 that ask for fewer requests.
_TOO_OFTEN = frozenset(
    {
        "dailyLimitExceeded",
        "quotaExceeded",
        "rateLimitExceeded",
        "RATE_LIMIT_EXCEEDED",
        "sharingRateLimitExceeded",
        "userRateLimitExceeded",
    }
)
_SCOPE = frozenset({"insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"})
_SWITCHED_OFF = frozenset({"accessNotConfigured", "SERVICE_DISABLED"})
#: Reasons of a 403 that speak about all that the account asks; any other is about the one thing that was asked for.
_OF_THE_ACCOUNT = _SCOPE | _SWITCHED_OFF | {"", "authError", "domainPolicy", "forbiddenForServiceAccounts"}


class GoogleOptions(Options):
    """How Google is reached: base of the options of Google's providers.

    `credentials` is a JSON text that names its kind: the key of a service account, or an authorised user with its
    refresh token.
    """

    credentials: Secret = Field(description="The JSON of a service account's key, or of an authorised user.")
    subject: str | None = Field(
        default=None,
        pattern=r"^[^@\s]+@[^@\s]+$",
        description="E-mail address of the user in whose name a service account acts (domain-wide delegation).",
    )
    api: str | None = Field(
        default=None, pattern=r"^https?://[^\s/?#]+/?$", description="Where the API is, in place of Google's address."
    )

    @field_validator("credentials")
    @classmethod
    def _is_a_key(cls, text: Secret) -> Secret:
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        kind = found.get("type") if isinstance(found, dict) else None
        if kind not in _WANTED:
            raise ValueError(
                "must be JSON whose 'type' is service_account or authorized_user, as Google's console gives it: "
                "write ${file:PATH}, or ${NAME} for a variable that holds the whole text"
            )
        missing = [name for name in _WANTED[kind] if not isinstance(found.get(name), str) or not found[name]]
        if missing:
            names = " and ".join(f"'{name}'" for name in missing)
            raise ValueError(f"must be the whole JSON of a {kind.replace('_', ' ')}: {names} is missing in it")
        return text

    @field_validator("subject")
    @classmethod
    def _is_for_a_service_account(cls, subject: str | None, info: ValidationInfo) -> str | None:
        key = info.data.get("credentials")
        if subject is not None and key is not None and json.loads(key)["type"] != "service_account":
            raise ValueError("is for service accounts: a user who consented acts in their own name, leave it out")
        return subject


class Refused(ActionError):
    """Google refuses what is asked: `status` is the HTTP status, `reason` Google's word for it, such as duplicate."""

    def __init__(self, message: str, status: int, reason: str) -> None:
        super().__init__(message, code=f"http-{status}")
        self.status = status
        self.reason = reason


class Account:
    """Who asks Google: a service account, somebody in whose name it acts, or a user who consented.

    Args:
        options: its credentials.
        scopes: what it wants to do; a user consented to theirs beforehand.
    """

    def __init__(self, options: GoogleOptions, scopes: Sequence[str]) -> None:
        self._told: Mapping[str, str] = json.loads(options.credentials)
        self._subject = options.subject
        self._scopes = tuple(scopes)
        self._lock = threading.Lock()
        self._made: Any = None

    @property
    def email(self) -> str | None:
        """The address it acts under; None for a user, whose credentials do not say it."""
        return self._subject or self._told.get("client_email")

    @property
    def acts_alone(self) -> bool:
        """Whether it is a service account in its own name."""
        return self._told["type"] == "service_account" and self._subject is None

    def credentials(self) -> Any:
        """Give the credentials of google-auth, made once.

        Raises:
            ConnectionBroken: the private key cannot be read.
        """
        with self._lock:
            if self._made is None:
                self._made = self._make()
        return self._made

    def _make(self) -> Any:
        if self._told["type"] == "authorized_user":
            from google.oauth2.credentials import Credentials

            return Credentials(  # type: ignore[no-untyped-call]
                None,
                refresh_token=self._told["refresh_token"],
                client_id=self._told["client_id"],
                client_secret=self._told["client_secret"],
                token_uri=self._told.get("token_uri") or _TOKEN_URI,
            )
        from google.oauth2 import service_account

        try:
            return service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
                dict(self._told), scopes=self._scopes, subject=self._subject
            )
        except ValueError:  # what it says may quote the key
            raise ConnectionBroken(f"the 'private_key' of {self.email} cannot be read: make a new key") from None

    def remedy(self, scopes: Sequence[str] = (), *, refused: str = "") -> str:
        """Say who grants which scopes, and where.

        Args:
            scopes: any of which Google would be content with.
            refused: Google's word for why it gives no token at all.
        """
        wanted = " ".join([one for one in self._scopes if one in scopes] or scopes or self._scopes)
        if self._told["type"] == "authorized_user":
            return f"consent again as that user, to {wanted}, and put the new refresh token into 'credentials'"
        if refused == "invalid_grant":
            return "see that 'subject' is a user of the Workspace, the key was not deleted, and the clock is right"
        client = self._told.get("client_id") or self._told["client_email"]
        if self._subject is None:
            return f"set 'subject', and have a Workspace administrator let client {client} act for it with {wanted}"
        return (
            f"a Workspace administrator lets client {client} use {wanted} in the Admin console, "
            "Security > API controls > Domain-wide delegation"
        )


class Google:
    """One of Google's APIs, asked by one account.

    Args:
        title: what people call it, such as Google Calendar.
        api: name and version, such as `("calendar", "v3")`.
        account: who asks.
        options: where it is.
        connection: whose calls these are.
        timeout: how long a call may take, in seconds, a new token included.
    """

    def __init__(
        self,
        title: str,
        api: tuple[str, str],
        account: Account,
        options: GoogleOptions,
        connection: Connection,
        *,
        timeout: float = 30.0,
    ) -> None:
        self._title = title
        self._api = api
        self._account = account
        self._address = options.api
        self._timeout = timeout
        self._name = connection.name
        self._clock = connection.clock
        self._threads: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._opened: list[_Http] = []
        self._lock = threading.Lock()
        self._service: Any = None

    async def call(self, ask: Callable[[Any], Any], *, missing: bool = False) -> Any:
        """Send the request that `ask` makes of the client's service object, and give the answer's JSON.

        Args:
            ask: such as `lambda api: api.events().get(calendarId="primary", eventId=id)`.
            missing: whether 404 gives None.

        Raises:
            Refused: Google refuses the request itself (4xx), or what it is about.
            RetryLater: it cannot be reached, gives no answer in time, has trouble (5xx) or is asked too often.
            ConnectionBroken: it refuses the credentials, or they lack a scope.
        """
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"google-{self._name}")
        send = partial(copy_context().run, self._send, ask, missing)
        work = asyncio.get_running_loop().run_in_executor(self._threads, send)
        try:
            async with asyncio.timeout(self._timeout):
                return await work
        except TimeoutError:
            text = f"{self._title} gave no answer within {self._timeout:g} seconds"
            raise RetryLater(text, maybe_done=True) from None

    async def pages(self, ask: Callable[[Any, str | None], Any]) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the pages of a list; `ask` gets the token of the page, None for the first.

        Raises:
            Refused, RetryLater, ConnectionBroken: as `call`.
        """
        token: str | None = None
        while True:
            page = await self.call(partial(_page, ask, token))
            yield page
            before, token = token, page.get("nextPageToken")
            if not token or token == before:
                return

    def skew(self) -> str | None:
        """Say how far this machine's clock is from Google's, where that matters; None where it does not."""
        ahead = next((one.ahead for one in reversed(self._opened) if one.ahead is not None), 0.0)
        return skew.said(ahead, "Google")

    async def aclose(self) -> None:
        """Close the threads and their sockets; a call that is under way ends by its own time-out."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
        while self._opened:
            self._opened.pop().close()
        self._local = threading.local()

    # --- in a thread -------------------------------------------------------------------------------------------------

    def _send(self, ask: Callable[[Any], Any], missing: bool) -> Any:
        import requests
        from google.auth import exceptions
        from googleapiclient.errors import HttpError

        request = ask(self._client())
        asked = request.methodId
        if request.method != "GET" and asked not in _QUERIES:
            about_to_send(request.method, request.uri.partition(urlsplit(request.uri).netloc)[2], _sent(request.body))
        try:
            answer = request.execute(http=self._http(), num_retries=0)
        except HttpError as error:
            if missing and error.resp.status == 404:
                return None
            raise self._refusal(asked, error) from None
        except exceptions.RefreshError as error:
            raise self._no_token(error) from None
        except exceptions.GoogleAuthError as error:  # on the way to a token: nothing was sent
            raise RetryLater(f"no token for {self._title} can be had: {type(error).__name__}") from None
        except requests.RequestException as error:
            raise self._broken_off(asked, error) from None
        if isinstance(answer, str) and answer:  # so the client gives what it could not read
            raise ActionError(f"{self._title} answered {asked} with what is no JSON")
        return answer

    def _client(self) -> Any:
        with self._lock:
            if self._service is None:
                from googleapiclient.discovery import build

                self._service = build(*self._api, http=_NoHttp(), static_discovery=True, cache_discovery=False)
        return self._service

    def _http(self) -> _Http:
        http: _Http | None = getattr(self._local, "http", None)
        if http is None:
            http = self._local.http = _Http(self._account, self._address, self._clock.now, self._timeout)
            self._opened.append(http)
        return http

    # --- refusals ----------------------------------------------------------------------------------------------------

    def _broken_off(self, asked: str, error: Exception) -> RetryLater:
        import requests
        from urllib3.exceptions import MaxRetryError, NewConnectionError

        why = error.args[0] if error.args else None
        unsent = requests.ConnectTimeout | requests.exceptions.SSLError | requests.exceptions.ProxyError
        refused = isinstance(why, MaxRetryError) and isinstance(why.reason, NewConnectionError)
        if refused or isinstance(error, unsent):
            return RetryLater(f"{self._title} cannot be reached: {type(error).__name__}")
        if isinstance(error, requests.Timeout):
            return RetryLater(f"{self._title} gave no answer to {asked} in time", maybe_done=True)
        return RetryLater(f"{self._title} broke off {asked}: {type(error).__name__}", maybe_done=True)

    def _refusal(self, asked: str, error: Any) -> Exception:
        status = int(error.resp.status)
        reason, said = _said(error.content)
        token = self._account.credentials().token
        said = said.replace(token, "***") if token else said
        text = f"{self._title} answered {asked} with {status}" + (f" {reason}" if reason else "")
        text += f": {said}" if said else ""
        wait = retry_after(error.resp.get("retry-after"), self._clock.now())
        if status == 403 and reason in _TOO_OFTEN:
            return RetryLater(text, after=wait, too_often=True)
        if status == 403 and reason in _SCOPE:
            return ConnectionBroken(f"{text}; {self._account.remedy(_scopes(error.resp.get('www-authenticate')))}")
        if status == 403 and reason in _SWITCHED_OFF:
            return ConnectionBroken(f"{text}; whoever owns the project in Google's cloud console switches the API on")
        if status == 403 and reason == "forbiddenForServiceAccounts":
            return ConnectionBroken(f"{text}; {self._account.remedy()}")
        if status == 403 and reason not in _OF_THE_ACCOUNT:
            return Refused(text, status, reason)
        found = fault(text, status, after=wait)
        return Refused(text, status, reason) if isinstance(found, ActionError) else found

    def _no_token(self, error: Any) -> Exception:
        """Say why Google gives no token; `error` is google-auth's RefreshError."""
        told = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], Mapping) else {}
        code, why = str(told.get("error") or ""), str(told.get("error_description") or "")
        who = self._account.email or "the user"
        if error.retryable or not code:
            return RetryLater(f"Google gives no token for {who} at the moment")
        text = f"Google gives {who} no token: {code}" + (f" ({why[:_MOST_SAID]})" if why else "")
        return ConnectionBroken(f"{text}; {self._account.remedy(refused=code)}")


def _sent(body: Any) -> Any:
    """Give what a request sends, for people: JSON as what it says, anything else by its size."""
    try:
        return json.loads(body) if body else None
    except (ValueError, TypeError):
        return f"{len(body):,} bytes"


def _page(ask: Callable[[Any, str | None], Any], token: str | None, api: Any) -> Any:
    return ask(api, token)


class _NoHttp:
    """Stands in while the client reads the description of an API that it brings along: nothing is sent."""

    def request(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""


class _Http:
    """What the client sends with, in place of httplib2: one attempt, no redirects, no longer than the time."""

    def __init__(self, account: Account, address: str | None, now: Callable[[], datetime], timeout: float) -> None:
        self._account = account
        self._address = address
        self._now = now
        self._timeout = timeout
        self._session: Any = None
        self._tokens: requests.Session | None = None
        self.ahead: float | None = None  #: seconds that this machine's clock is ahead of Google's, at the last answer

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        **_: Any,
    ) -> tuple[Any, bytes]:
        import httplib2

        answer = self._open().request(
            method,
            self._address_of(uri),
            data=body,
            headers=dict(headers or {}),
            timeout=(min(self._timeout, _LONGEST_CONNECT), self._timeout),
            allow_redirects=False,
            stream=True,
        )
        with answer:
            content = b"".join(_bounded(answer))
        self._compare(answer.headers.get("Date"))
        told = {name.lower(): value for name, value in answer.headers.items()}
        return httplib2.Response({**told, "status": str(answer.status_code)}), content

    def close(self) -> None:
        for session in (self._session, self._tokens):
            if session is not None:
                session.close()

    def _open(self) -> Any:
        if self._session is None:
            import requests
            from google.auth.transport.requests import AuthorizedSession, Request

            self._tokens = requests.Session()
            self._tokens.trust_env = False
            self._session = AuthorizedSession(  # type: ignore[no-untyped-call]
                self._account.credentials(),
                refresh_timeout=self._timeout,
                auth_request=Request(self._tokens),
            )
            self._session.trust_env = False  # a .netrc would replace the token
        return self._session

    def _address_of(self, uri: str) -> str:
        if self._address is None:
            return uri
        parts = urlsplit(uri)
        return self._address.rstrip("/") + parts.path + (f"?{parts.query}" if parts.query else "")

    def _compare(self, date: str | None) -> None:
        ahead = skew.ahead(date, self._now())
        self.ahead = self.ahead if ahead is None else ahead


def _bounded(answer: requests.Response) -> list[bytes]:
    chunks, size = [], 0
    for chunk in answer.iter_content(64 * 1024):
        size += len(chunk)
        if size > MAX_ANSWER:
            raise ActionError(f"Google answered with more than {MAX_ANSWER // 1024 // 1024} MiB")
        chunks.append(chunk)
    return chunks


def _said(content: bytes) -> tuple[str, str]:
    """Give Google's word for a refusal, and what it says about it."""
    try:
        error = json.loads(content)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", ""
    if not isinstance(error, Mapping):
        return "", str(error)[:_MOST_SAID]
    listed = [one for name in ("details", "errors") for one in error.get(name) or () if isinstance(one, Mapping)]
    reasons = [one["reason"] for one in listed if isinstance(one.get("reason"), str)]
    said = error.get("message")
    return (reasons[0] if reasons else str(error.get("status") or "")), str(said or "").strip()[:_MOST_SAID]


def _scopes(challenge: str | None) -> Sequence[str]:
    """Read the scopes out of the `WWW-Authenticate` of an answer that says which are missing."""
    _, found, rest = (challenge or "").partition('scope="')
    return rest.partition('"')[0].split() if found else ()
