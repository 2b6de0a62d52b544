"""Read what a webhook's body says. Every way in which it can be wrong is a ValueError with a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

_RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,12}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
#: Texts that JSON can hold and a database or UTF-8 cannot: the NUL, and half of a surrogate pair.
_UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")
_MAY_HOLD_UNKEEPABLE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_DEEPEST = 100


def parse(body: bytes) -> Any:
    """Give the JSON value of a body. Characters that cannot be kept become U+FFFD.

    Raises:
        ValueError: it is no JSON in UTF-8, it nests too deeply, or it holds numbers that are none.
    """
    try:
        value = _JSON.decode(body.decode().removeprefix("\ufeff"))
        if body.count(b"[") + body.count(b"{") > _DEEPEST and _too_deep(value):
            raise ValueError("the body is nested too deeply")
        return _keepable(value) if b"\\u" in body and _MAY_HOLD_UNKEEPABLE.search(body) else value
    except UnicodeDecodeError:
        raise ValueError("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"the body is not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for item in level for inner in _inside(item)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"the body is not JSON: {name} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("the body holds a number that is too large")
    return value


#: Made once: `json.loads` would make one for each body.
_JSON = json.JSONDecoder(parse_constant=_no_number, parse_float=_finite)


def _keepable(value: Any) -> Any:
    if isinstance(value, str):
        return _UNKEEPABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_keepable(item) for item in value]
    if isinstance(value, dict):
        return {_keepable(key): _keepable(item) for key, item in value.items()}
    return value


def shown(value: Any) -> str:
    """Give what was found, for a message: the kind of value, not the value itself."""
    if value is None:
        return "null"
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "a text", list: "a list", dict: "a mapping"}
    return kinds.get(type(value), "something else")


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """Give a value that must be a JSON object; `what` says which, for the message."""
    if isinstance(value, dict):
        return value
    raise ValueError(f"{what} must be a mapping, not {shown(value)}")


def text(value: Any, what: str) -> str:
    """Give a value that must be a text with something in it."""
    if isinstance(value, str) and value.strip():
        return value
    raise ValueError(f"{what} must be a text, not {'an empty one' if isinstance(value, str) else shown(value)}")


def texts(value: Any, what: str) -> dict[str, str]:
    """Give a value that must map names to texts; null counts as empty."""
    found = mapping({} if value is None else value, what)
    for name, item in found.items():
        if not isinstance(item, str):
            raise ValueError(f"{what}.{name} must be a text, not {shown(item)}")
    return dict(found)


def instant(value: Any, what: str) -> datetime:
    """Give a value that must be a time as RFC 3339 has it, in UTC; what is below microseconds is cut off."""
    found = _RFC_3339.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{what} must be a time such as 2026-03-02T09:00:00Z, not {shown(value)}")
    day, clock, fraction, zone = found.groups()
    zone = "+00:00" if zone in "Zz" else zone
    try:
        return datetime.fromisoformat(f"{day}T{clock}.{(fraction or '')[:6]:0<6}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{what} is no time that exists") from None
