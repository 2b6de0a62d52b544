"""Send HTTP requests to services that have no provider of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, model_validator

from engine import calendars
from engine.capabilities import Response
from engine.plugins import (
    Context,
    Duration,
    EffectClass,
    Field,
    Params,
    action,
    fault,
)

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: What the connection itself decides: setting it could send the request elsewhere than where it may go.
_RESERVED_HEADERS = frozenset(
    {"accept-encoding", "connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"}
)

_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_LONGEST_TIMEOUT = 600


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _texts(value: Any) -> Any:
    """Take numbers and booleans as the texts that a query shows, and leave out what is null."""
    if not isinstance(value, dict):
        return value
    shown = {True: "true", False: "false"}
    return {
        name: shown[item] if isinstance(item, bool) else str(item) if isinstance(item, int | float) else item
        for name, item in value.items()
        if item is not None
    }


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        _header_name(name)
        if _CONTROL.search(value):
            raise ValueError(f"the value of header '{name}' holds a line break or another control character")
    return headers


def _header_name(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"'{name}' cannot be the name of a header")
    if name.lower() in _RESERVED_HEADERS:
        raise ValueError(f"header '{name}' is set by the connection alone")
    return name


def _short(timeout: calendars.Duration) -> calendars.Duration:
    if not timeout.exact or not 0 < timeout.seconds <= _LONGEST_TIMEOUT:
        raise ValueError(f"must be longer than 0s and at most {_LONGEST_TIMEOUT // 60}m, not {timeout}")
    return timeout


class SendRequest(Params):
    """Send an HTTP request.

    GET, HEAD, PUT and DELETE may be sent again; POST and PATCH are sent once, unless the service knows a repeated one
    by `idempotency_header`.

    Example:
        uses: http.request
        with:
          method: POST
          path: /deployments/freeze
          body:
            reason: ${{ incident.title }}
          idempotency_header: Idempotency-Key
    """

    method: Annotated[Literal["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH"], BeforeValidator(_upper)] = Field(
        default="GET", description="The method."
    )
    url: str | None = Field(default=None, max_length=8000, description="A full address, of a host that is allowed.")
    path: str | None = Field(default=None, max_length=8000, description="Appended to the connection's `base_url`.")
    headers: Annotated[dict[str, str], BeforeValidator(_texts), AfterValidator(_headers)] = Field(
        default={}, description="Headers beside the connection's own. No secrets: those belong to the connection."
    )
    query: Annotated[dict[str, str], BeforeValidator(_texts)] = Field(
        default={}, description="Query parameters. Null ones are left out."
    )
    body: Any = Field(default=None, description="Sent as JSON; a text is sent as it is. Null sends none.")
    timeout: Annotated[Duration, AfterValidator(_short)] | None = Field(
        default=None, description="How long the answer may take; by default what the connection says (30s)."
    )
    idempotency_header: Annotated[str, AfterValidator(_header_name)] | None = Field(
        default=None, description="Header by which the service knows a repeated request; it gets the effect's identity."
    )
    expect: list[Annotated[int, Field(ge=100, le=599)]] = Field(
        default=[], description="Statuses that count as success, such as [200, 404]; by default 200 to 299."
    )

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.url is None) == (self.path is None):
            raise ValueError("give either 'url' or 'path'" + (", not both" if self.url is not None else ""))
        return self


@dataclass(frozen=True, slots=True)
class Answered:
    """What the service answered."""

    status: int = field(metadata={"doc": "The status, such as 200."})
    body: Any = field(default=None, metadata={"doc": "The JSON value where the answer is JSON, else its text."})


def class_of(params: SendRequest) -> EffectClass:
    """Give the effect class that follows from the method (PROMISES 1.4)."""
    if params.method in _REPEATABLE:
        return EffectClass.IDEMPOTENT
    return EffectClass.NATIVE if params.idempotency_header else EffectClass.AT_MOST_ONCE


@action("http.request", SendRequest, returns=Answered, lasts=False, effect=class_of)
async def request(params: SendRequest, ctx: Context) -> Answered:
    """Send it through the connection and judge the status."""
    headers = dict(params.headers)
    if params.idempotency_header:
        headers[params.idempotency_header] = ctx.effect.token
    response = await ctx.http.request(
        params.method,
        url=params.url,
        path=params.path,
        headers=headers,
        query=params.query,
        body=params.body,
        timeout=params.timeout,
        effect=ctx.effect,
    )
    _judge(response, params)
    return Answered(response.status, response.body)


def _judge(response: Response, params: SendRequest) -> None:
    """Let expected statuses pass.

    Raises:
        ConnectionBroken: 401 or 403 to a request that carried the connection's credentials.
        RetryLater: 408, 425, 429, 5xx.
        ActionError: every other status that is not expected.
    """
    status = response.status
    if status in params.expect if params.expect else 200 <= status < 300:
        return
    said = f"{params.method} was answered {status}"
    if status in (401, 403) and response.credentials:
        said += ": the service refuses the connection's credentials"
    elif status < 500:
        said += f"; expected: {', '.join(map(str, params.expect)) or '200 to 299'}"
    raise fault(said, status, after=response.retry_after, credentials=response.credentials)
