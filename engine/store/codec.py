"""Values as JSON and back: what runs, events and effects are kept as.

A value that JSON has no word for is a mapping with one key that begins with `~`: `{"~instant": "2026-03-02T…Z"}`,
`{"~duration": "3bd"}`, `{"~person": {…}}`. Fields of records that are None or empty are left out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, get_type_hints

import orjson

from engine.calendars import Duration, parse_duration
from engine.domain import RECORDS, kind_of

_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLAIN = frozenset({str, int, bool, type(None)})
_ONLY_JSON = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_KINDS = {cls: kind for kind, cls in RECORDS.items()}
_FIELDS: dict[type, dict[str, None]] = {cls: dict.fromkeys(f.name for f in dataclasses.fields(cls)) for cls in _KINDS}
_TUPLES: dict[type, tuple[str, ...]] = {
    cls: tuple(name for name, hint in get_type_hints(cls).items() if kind_of(hint).startswith("list["))
    for cls in _KINDS
}


def micros(instant: datetime) -> int:
    """Give an aware instant as whole microseconds since 1970 in UTC."""
    past = instant - _EPOCH
    return (past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds


def instant(us: int) -> datetime:
    """Give the instant, in UTC, of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=us)


def encode(value: Any) -> Any:
    """Give the JSON value that stands for `value`.

    Raises:
        TypeError: it is of a type that cannot be kept.
        ValueError: it is a number that JSON has no word for.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    known = _ENCODERS.get(kind)
    return known(value) if known is not None else _encode_other(value)


def _encode_other(value: Any) -> Any:
    """Encode what is of a type seldom seen: one derived from those that have an encoder, or a record without one."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return value
    for base, known in _BASES:
        if isinstance(value, base):
            return known(value)
    if dataclasses.is_dataclass(value):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    raise TypeError(f"a {type(value).__name__} cannot be kept")


def _encode_float(value: float) -> float:
    if not isfinite(value):
        raise ValueError(f"JSON has no word for the number {value}")
    return value


def _encode_instant(value: datetime) -> Any:
    return {"~instant": value.astimezone(UTC).isoformat()}


def _encode_mapping(value: Mapping[Any, Any]) -> Any:
    plain = {str(key): item if type(item) in _PLAIN else encode(item) for key, item in value.items()}
    return {"~map": plain} if len(plain) == 1 and next(iter(plain)).startswith("~") else plain


def _encode_items(value: Iterable[Any]) -> Any:
    return [item if type(item) in _PLAIN else encode(item) for item in value]


def _encode_record(value: Any) -> Any:
    return {f"~{_KINDS[type(value)]}": record(value)}


#: How values of a type are encoded, by the type itself, and by those that others derive from.
_ENCODERS: dict[type, Callable[[Any], Any]] = {
    float: _encode_float,
    datetime: _encode_instant,
    Duration: lambda value: {"~duration": str(value)},
    dict: _encode_mapping,
    **dict.fromkeys((list, tuple, set, frozenset), _encode_items),
    **dict.fromkeys(_KINDS, _encode_record),
}
_BASES: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (float, _encode_float),
    (datetime, _encode_instant),
    (Mapping, _encode_mapping),
    ((list, tuple, set, frozenset), _encode_items),
)


def record(value: Any) -> dict[str, Any]:
    """Give a record's own fields as JSON, without those that say nothing."""
    kept: dict[str, Any] = {}
    for name in _FIELDS[type(value)]:
        item = getattr(value, name)
        if item is not None and item != () and item != {}:
            kept[name] = item if type(item) in _PLAIN else encode(item)
    return kept


def decode(value: Any) -> Any:
    """Give the value that a JSON value stands for."""
    kind = type(value)
    if kind is list:
        return [item if type(item) in _PLAIN else decode(item) for item in value]
    if kind is not dict:
        return value
    if len(value) == 1:
        tag, inner = next(iter(value.items()))
        if tag == "~instant":
            return datetime.fromisoformat(inner)
        if tag == "~duration":
            return parse_duration(inner)
        if tag == "~map":
            return {key: item if type(item) in _PLAIN else decode(item) for key, item in inner.items()}
        cls = RECORDS.get(tag[1:]) if tag.startswith("~") else None
        if cls is not None:
            return build(cls, inner)
    return {key: item if type(item) in _PLAIN else decode(item) for key, item in value.items()}


def build(cls: type[Any], fields: Mapping[str, Any]) -> Any:
    """Make a record of its fields as JSON; fields that the record no longer has are passed over."""
    known, lists = _FIELDS[cls], _TUPLES[cls]
    values = {name: item if type(item) in _PLAIN else decode(item) for name, item in fields.items() if name in known}
    for name in lists:
        if name in values:
            values[name] = tuple(values[name] or ())
    return cls(**values)


def dumps(value: Any) -> str:
    """Encode to JSON text: compact, keys in the order given. Half characters, which no database takes, become `�`."""
    return plain_json(encode(value))


def plain_json(value: Any) -> str:
    """Give the text of a JSON value that is encoded already."""
    try:
        return orjson.dumps(value, option=_ONLY_JSON).decode()
    except TypeError:  # half a character, an integer of more than 64 bits, or no JSON at all
        text = _write(value)
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def loads(text: str | None) -> Any:
    """Decode JSON text; None stays None."""
    return None if text is None else decode(json.loads(text))


def fingerprint(text: str) -> str:
    """Give a hash of a text to compare it by: 32 hexadecimal digits, in half the time of a `digest`."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [first + second for first in _LETTERS for second in _LETTERS]


def digest(*parts: str) -> str:
    """Give a short, stable hash of texts: 26 characters of base32, safe in names."""
    number = int.from_bytes(hashlib.sha256("\x00".join(parts).encode()).digest()[:16]) << 2
    return "".join([_PAIRS[number >> place & 0x3FF] for place in range(120, -1, -10)])
