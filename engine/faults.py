"""How an effect fails: what an action or a provider raises, and what a service's answer over HTTP means for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote

#: Statuses of the 4xx that say: not now (PROMISES 1.5).
_PASSING = frozenset({408, 425, 429})
#: Statuses that say that the request was not carried out, so that sending it again repeats nothing.
_NOT_DONE = _PASSING | {503}


#: A secret that is shorter is not looked for: it would be found in ordinary words.
_SHORTEST = 8
#: Projects whose secrets are known: one, but for tests.
_MOST_PROJECTS = 8
_hidden: dict[str, frozenset[str]] = {}
_pattern: re.Pattern[str] | None = None


def hide(project: str, secrets: Iterable[str]) -> None:
    """Let `masked` leave out a project's secrets, beside those that it had before."""
    global _pattern
    known = _hidden.pop(project, frozenset()) | {one for one in secrets if len(one) >= _SHORTEST}
    while len(_hidden) >= _MOST_PROJECTS:
        del _hidden[next(iter(_hidden))]
    _hidden[project] = known
    texts = sorted({form for one in frozenset().union(*_hidden.values()) for form in _forms(one)}, key=len)
    _pattern = re.compile("|".join(map(re.escape, reversed(texts)))) if texts else None


def _forms(secret: str) -> set[str]:
    """Give a secret as it may stand in a text: also quoted for JSON and for addresses."""
    return {secret, json.dumps(secret)[1:-1], quote(secret, safe="")}


def masked(text: str) -> str:
    """Give a text with stars where it holds a secret: a service may quote what it was sent."""
    return _pattern.sub("***", text) if _pattern is not None else text


class _Told(Exception):
    """What is told of it holds no secret."""

    def __str__(self) -> str:
        return masked(super().__str__())


class ActionError(_Told):
    """The action cannot be done, and trying again will not help."""

    def __init__(self, message: str, *, code: str = "action-failed") -> None:
        super().__init__(message)
        self.code = code


class RetryLater(_Told):
    """The action did not work this time; `after` is what the service asks us to wait, in seconds.

    `maybe_done` says that it may have happened all the same (a time-out after sending): an effect that must not be
    repeated is then not sent again unasked. `too_often` says that the service wants fewer calls (429): where the
    connection has a `rate`, nothing else goes out on it for that time either.
    """

    def __init__(
        self, message: str, *, after: float | None = None, maybe_done: bool = False, too_often: bool = False
    ) -> None:
        super().__init__(message)
        self.after = after
        self.maybe_done = maybe_done
        self.too_often = too_often


class ConnectionBroken(_Told):
    """The service refuses our credentials (401, 403): the whole connection is held until it works."""


def fault(said: str, status: int, *, after: float | None = None, credentials: bool = True) -> Exception:
    """Give what to raise where a service answers a request with a status that is no success.

    Args:
        said: what was asked and what the service says about it, for the person who reads the run.
        status: the HTTP status.
        after: the seconds that the service asks us to wait.
        credentials: whether the connection's own went with the request, so that 401 and 403 are about them.
    """
    if status in (401, 403) and credentials:
        return ConnectionBroken(said)
    if status in _PASSING or status >= 500:
        return RetryLater(said, after=after, maybe_done=status not in _NOT_DONE, too_often=status == 429)
    return ActionError(said, code=f"http-{status}")


def retry_after(header: str | None, now: datetime) -> float | None:
    """Read a Retry-After header, seconds or an HTTP date, as seconds from `now`; None where it says neither."""
    if header is None:
        return None
    text = header.strip()
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    try:
        due = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return max(0.0, ((due if due.tzinfo else due.replace(tzinfo=UTC)) - now).total_seconds())
