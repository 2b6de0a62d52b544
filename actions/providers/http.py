"""Plain HTTP, for services that have no provider of their own.

Where a request may go: below `base_url`, or to a host that is allowed. Addresses that are not public are refused after
resolution unless they are allowed by name, and the address that was looked at is the one that is connected to.
"""

from __future__ import annotations

import ipaddress
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode, urlsplit

from pydantic import field_validator

from engine import calendars
from engine.capabilities import Response
from engine.plugins import (
    ActionError,
    Connection,
    Duration,
    Effect,
    Field,
    Options,
    RetryLater,
    Secret,
    about_to_send,
    at_most_once,
    provider,
    retry_after,
)

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractResolver
    from yarl import URL

MAX_BODY = 256 * 1024  #: bytes of an answer
_MOST_REDIRECTS = 5
_LONGEST_CONNECT = 10  #: seconds; before the connection stands nothing was sent
_PORTS = {"http": 80, "https": 443}
_UNWRITABLE = re.compile(r"[\x00-\x20\x7f\\]")
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
#: Hosts that some resolvers read as a number: of those only the dotted form of four is taken.
_NUMERIC_HOST = re.compile(r"(.*\.)?(0x[0-9a-f]*|[0-9]+)")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class HttpOptions(Options):
    """Options of plain HTTP.

    Example:
        deploys:
          provider: http
          base_url: https://deploys.example.com/api
          headers:
            Authorization: "Bearer ${DEPLOYS_TOKEN}"
          allow: ["*.example.com"]
    """

    base_url: str | None = Field(default=None, description="What `path` is appended to.")
    headers: dict[str, Secret] = Field(default={}, description="Sent with every request below `base_url`'s host.")
    allow: list[str] = Field(
        default=[], description="Hosts a `url` may name: api.example.com, *.example.com, host:8080, or an address."
    )
    timeout: Duration = Field(default=calendars.Duration(30), description="How long an answer may take.")

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None:
            _Address.read(value)
            if urlsplit(value).query or urlsplit(value).fragment:
                raise ValueError("must have no query and no fragment")
        return value

    @field_validator("headers")
    @classmethod
    def _writable(cls, value: dict[str, Secret]) -> dict[str, Secret]:
        for name, secret in value.items():
            if not name or re.search(r"[^!-9;-~]", name) or re.search(r"[\x00-\x08\x0a-\x1f\x7f]", secret):
                raise ValueError(f"header '{name}' holds a line break or another sign that a header cannot have")
        return value

    @field_validator("allow")
    @classmethod
    def _patterns(cls, value: list[str]) -> list[str]:
        for pattern in value:
            _Pattern.read(pattern)
        return value

    @field_validator("timeout")
    @classmethod
    def _exact(cls, value: calendars.Duration) -> calendars.Duration:
        if not value.exact or value.seconds <= 0:
            raise ValueError(f"must be a length of time such as 30s, not {value}")
        return value


@dataclass(frozen=True, slots=True)
class _Address:
    """The parts of a full address that decide where a request goes."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def read(cls, url: str) -> _Address:
        """Read a full http or https address.

        Raises:
            ValueError: it is none, or it hides where it leads.
        """
        if _UNWRITABLE.search(url):
            raise ValueError("an address holds no blanks, control characters or backslashes")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("must be an address such as https://api.example.com/v1") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("must be an address that begins with https:// or http:// and a host")
        if "@" in parts.netloc:
            raise ValueError("an address holds no user or password: those belong to the connection's headers")
        return cls(parts.scheme, _host(parts.hostname), port or _PORTS[parts.scheme], parts.path or "/")

    @property
    def origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")


def _host(name: str) -> str:
    """Give a host as it is compared: in lower case, without the root's dot.

    Raises:
        ValueError: two readers might take it for two different hosts.
    """
    if ":" in name:
        return str(ipaddress.IPv6Address(name))
    host = name.lower().removesuffix(".")
    if not _HOST.fullmatch(host):
        raise ValueError("a host is written in letters, digits, '-', '_' and '.' (international names as xn--…)")
    return str(ipaddress.IPv4Address(host)) if _NUMERIC_HOST.fullmatch(host) else host


@lru_cache(1024)
def _where(scheme: str, authority: str) -> _Address:
    """Read the part of an address that says where it leads: the same for thousands of requests."""
    return _Address.read(f"{scheme}://{authority}")


@lru_cache(1024)
def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One entry of `allow`: a host, `*.` and a domain, `*`, each with or without a port; or the start of an address."""

    host: str
    port: int | None = None
    scheme: str | None = None
    path: str = "/"

    @classmethod
    @lru_cache(1024)
    def read(cls, text: str) -> _Pattern:
        """Read an entry.

        Raises:
            ValueError: it is none of these.
        """
        if "://" in text:
            scheme, _, rest = text.partition("://")
            stars, rest = ("*.", rest[2:]) if rest.startswith("*.") else ("", rest)
            address = _Address.read(f"{scheme}://{rest}")
            return cls(stars + address.host, address.port, address.scheme, address.path)
        if re.search(r"[\s/@?#\\]", text) or not text:
            raise ValueError(f"'allow' takes hosts such as api.example.com, *.example.com or host:8080, not '{text}'")
        if text.count(":") > 1 and not text.startswith("["):
            return cls(_host(text))
        host, _, port = text.rpartition(":") if re.search(r":\d+$", text) else (text, "", "")
        bare = host.removeprefix("*.").strip("[]")
        stars = "*." if host.startswith("*.") else ""
        return cls(stars + ("*" if bare == "*" else _host(bare)), int(port) if port else None)

    def fits(self, address: _Address) -> bool:
        return (
            self.fits_host(address.host, address.port)
            and self.scheme in (None, address.scheme)
            and _below(address.path, self.path)
        )

    def fits_host(self, host: str, port: int) -> bool:
        if self.port not in (None, port):
            return False
        return self.host in ("*", host) or (self.host.startswith("*.") and host.endswith(self.host[1:]))


def _below(path: str, base: str) -> bool:
    return base == "/" or (not _leaves(path) and (path + "/").startswith(base.rstrip("/") + "/"))


def _leaves(path: str) -> bool:
    """Tell whether a path, however often its percent signs are decoded, holds a step upwards."""
    for _ in range(4):
        if any(part in (".", "..") for part in re.split(r"[/\\]", path)):
            return True
        decoded = unquote(path)
        if decoded == path:
            return False
        path = decoded
    return True


@lru_cache(1024)
def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the public internet, also where it is wrapped in an IPv6 address."""
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            ip = inner
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


class PlainHttp:
    """Send requests below `base_url`, or to allowed hosts.

    `allow` holds the patterns of the options. The engine adds to `literal` the addresses, up to the host, that
    workflows write out; those hosts may be asked too, at public addresses only.
    """

    announces = True

    def __init__(self, options: HttpOptions, connection: Connection) -> None:
        self._options = options
        self._connection = connection
        self._base = _Address.read(options.base_url) if options.base_url else None
        self._session: aiohttp.ClientSession | None = None
        self.allow: list[str] = list(options.allow)
        self.literal: set[str] = set()

    @at_most_once  # the action's own class, which follows from the method, comes first
    async def request(
        self,
        method: str,
        *,
        url: str | None,
        path: str | None,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        body: Any,
        timeout: calendars.Duration | None,
        effect: Effect,
    ) -> Response:
        """Send a request and give what came back, whatever its status.

        Raises:
            ActionError: it may not go there, or the answer is too large.
            RetryLater: no answer, or not in time.
        """
        target = self._below_base(path) if path is not None else self._allowed(url or "")
        ours = self._base is not None and (path is not None or _Address.read(target).origin == self._base.origin)
        content, content_type = _content(body)
        given = {name.lower() for name in headers}
        sent = dict(headers) | ({"Content-Type": content_type} if content_type and "content-type" not in given else {})
        if ours:
            sent |= {name: value for name, value in self._options.headers.items() if name.lower() not in given}
        seconds = (timeout or self._options.timeout).seconds
        about_to_send(method, target + (f"?{urlencode(query)}" if query else ""), body)
        found = await self._send(method, target, sent, query, content, seconds)
        return Response(found.status, found.body, found.retry_after, credentials=ours)

    async def aclose(self) -> None:
        """Close the session and its sockets."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def permits(self, host: str, port: int, address: str) -> bool:
        """Tell whether `host` may be connected to at an IP address: a public one, or any if it is allowed by name."""
        if self._base is not None and (host, port) == (self._base.host, self._base.port):
            return True
        if is_public(address):
            return True
        patterns = (_Pattern.read(entry) for entry in self.allow)
        return any(pattern.host != "*" and pattern.fits_host(host, port) for pattern in patterns)

    # --- where to ------------------------------------------------------------------------------------------------

    def _below_base(self, path: str) -> str:
        if self._options.base_url is None:
            raise ActionError(
                f"connection '{self._connection.name}' has no 'base_url' to append 'path' to: give a 'url'"
            )
        if found := re.search(r"[?#\\\x00-\x1f\x7f]", path):
            hint = ": query parameters go into 'query'" if found[0] == "?" else ""
            raise ActionError(f"'path' holds {found[0]!r}{hint}")
        if _leaves(path):
            raise ActionError("'path' holds '.' or '..': it cannot leave the connection's 'base_url'")
        return f"{self._options.base_url.rstrip('/')}/{path.lstrip('/')}".replace(" ", "%20")

    def _allowed(self, url: str) -> str:
        try:
            address = _Address.read(url)
        except ValueError as error:
            raise ActionError(f"'url': {error}") from None
        entries: Iterable[str] = [*self.allow, *self.literal]
        own = self._base is not None and address.origin == self._base.origin and _below(address.path, self._base.path)
        if not own and not any(_Pattern.read(entry).fits(address) for entry in entries):
            raise ActionError(
                f"'{address.origin}' is not among the hosts that connection '{self._connection.name}' may ask: "
                "add it to 'allow'"
            )
        return url

    # --- sending -------------------------------------------------------------------------------------------------

    async def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        content: bytes | None,
        seconds: float,
    ) -> Response:
        import aiohttp
        from yarl import URL

        target = URL(url).update_query(query) if query else URL(url)
        place = _where(target.scheme, target.raw_authority).origin
        try:
            timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, _LONGEST_CONNECT))
            return await self._follow(method, target, headers, content, timeout)
        except aiohttp.ClientConnectorCertificateError:
            raise ActionError(f"the certificate of {place} cannot be trusted") from None
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            raise ActionError(f"the address at {place} cannot be read") from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise RetryLater(f"{place} cannot be reached") from None
        except TimeoutError:
            raise RetryLater(f"{place} gave no answer within {seconds:g} seconds", maybe_done=True) from None
        except aiohttp.ClientError as error:
            raise RetryLater(f"{place} broke off: {type(error).__name__}", maybe_done=True) from None

    async def _follow(
        self,
        method: str,
        target: URL,
        headers: Mapping[str, str],
        content: bytes | None,
        timeout: aiohttp.ClientTimeout,
    ) -> Response:
        """Send it, and follow redirects as long as they stay on the host."""
        for _ in range(_MOST_REDIRECTS + 1):
            self._check_address(target)
            async with self._open().request(
                method, target, headers=headers, data=content, timeout=timeout, allow_redirects=False
            ) as answer:
                location = answer.headers.get("Location") if answer.status in (301, 302, 303, 307, 308) else None
                if location is None:
                    return await self._read(answer)
            target = redirected(target, location)
            if method != "HEAD" and (answer.status == 303 or (answer.status in (301, 302) and method == "POST")):
                method, content = "GET", None
                headers = {name: value for name, value in headers.items() if name.lower() != "content-type"}
        raise ActionError(f"{target.origin()} redirects more than {_MOST_REDIRECTS} times")

    async def _read(self, answer: aiohttp.ClientResponse) -> Response:
        raw = b""
        if answer.content_length is None or answer.content_length > MAX_BODY:
            async for chunk in answer.content.iter_chunked(16 * 1024):
                raw += chunk
                if len(raw) > MAX_BODY:
                    break
        else:
            raw = await answer.read()
        body = unpacked(raw, answer.headers.get("Content-Encoding", "identity").lower())
        if max(len(raw), len(body)) > MAX_BODY and answer.status < 400:
            raise ActionError(f"the service answered {answer.status} with more than {MAX_BODY // 1024} KiB")
        seconds = retry_after(answer.headers.get("Retry-After"), self._connection.clock.now())
        return Response(answer.status, _decoded(body[:MAX_BODY], answer), seconds)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            connector = aiohttp.TCPConnector(resolver=_guarded(self), use_dns_cache=False)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "hotwash", "Accept-Encoding": "identity"},
                auto_decompress=False,  # it would unpack before anybody counts
            )
        return self._session

    def _check_address(self, target: URL) -> None:
        """Refuse a host that is itself an address: no resolver sees it."""
        address = _where(target.scheme, target.raw_authority)
        if _is_ip(address.host) and not self.permits(address.host, address.port, address.host):
            raise ActionError(_refusal(address.host))


def _refusal(host: str) -> str:
    return f"'{host}' leads to an address that is not public: add the host by name to 'allow' if that is meant"


def _guarded(owner: PlainHttp) -> AbstractResolver:
    """Give a resolver that answers only with addresses `owner` permits; the connector connects to just these."""
    from aiohttp.abc import AbstractResolver, ResolveResult
    from aiohttp.resolver import ThreadedResolver

    class Guarded(AbstractResolver):
        def __init__(self) -> None:
            self._inner = ThreadedResolver()

        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
            found = await self._inner.resolve(host, port, family)
            allowed = [one for one in found if owner.permits(_host(host), port, one["host"])]
            if found and not allowed:
                raise ActionError(_refusal(host))
            return allowed

        async def close(self) -> None:
            await self._inner.close()

    return Guarded()


def redirected(target: URL, location: str) -> URL:
    """Give the address that a redirect leads to.

    Raises:
        ActionError: it leads to another host or port, or from https back to http.
    """
    from yarl import URL

    try:
        there = target.join(URL(location)).with_fragment(None)
        old, new = _Address.read(str(target)), _Address.read(str(there))
    except ValueError:
        raise ActionError(f"{target.origin()} redirects to something that is no address") from None
    upgraded = (old.scheme, old.port, new.scheme, new.port) == ("http", 80, "https", 443)
    if new.host != old.host or not (upgraded or new.origin == old.origin):
        raise ActionError(f"{old.origin} redirects to {new.origin}: redirects must stay on the host")
    return there


# --- what is sent and what comes back --------------------------------------------------------------------------------


def _content(body: Any) -> tuple[bytes | None, str | None]:
    if body is None:
        return None, None
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, default=_plain).encode(), "application/json"
    except (TypeError, ValueError) as error:
        raise ActionError(f"'body' cannot be written as JSON: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, calendars.Duration):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"it holds a {type(value).__name__.lower()}: name the field that is meant, such as '.name'")


def unpacked(raw: bytes, encoding: str) -> bytes:
    """Unpack what came packed although nobody asked for it, one byte beyond the bound at most."""
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return raw
    either_header = 32 + zlib.MAX_WBITS
    try:
        return zlib.decompressobj(either_header).decompress(raw, MAX_BODY + 1)
    except zlib.error:
        return raw


def _decoded(raw: bytes, answer: aiohttp.ClientResponse) -> Any:
    if not raw:
        return None
    try:
        text = raw.decode(answer.charset or "utf-8", errors="replace")
    except LookupError:  # a charset that nobody knows
        text = raw.decode("utf-8", errors="replace")
    kind = answer.content_type
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return text
    return text


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


Http = provider("http", HttpOptions, serves=["http"])(PlainHttp)
