"""What reports are made of: stored values as plain JSON, and what people call them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from engine.domain import RECORDS
from engine.store.codec import instant

#: Texts in summaries are cut to this many characters.
CUT = 200
_NAMES = ("name", "key", "title", "what", "text", "id")


def iso(micros: int | None) -> str | None:
    """Give microseconds since 1970 as ISO 8601 in UTC; None stays None."""
    return None if micros is None else instant(micros).isoformat()


def read(text: str | None) -> Any:
    """Give a JSON column as plain JSON: instants and durations are texts, records mappings of their fields."""
    return None if text is None else plain(json.loads(text))


def plain(value: Any) -> Any:
    """Give what `codec.encode` made as plain JSON, without its tags."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        tag, inner = next(iter(value.items()))
        if tag in ("~instant", "~duration"):
            return inner
        if tag == "~map" or (tag.startswith("~") and tag[1:] in RECORDS):
            return {key: plain(item) for key, item in inner.items()}
    return {key: plain(item) for key, item in value.items()}


def cut(value: Any, most: int = CUT) -> Any:
    """Give plain JSON with every long text in it cut."""
    if isinstance(value, str):
        return value if len(value) <= most else value[: most - 1] + "…"
    if isinstance(value, list):
        return [cut(item, most) for item in value]
    if isinstance(value, dict):
        return {key: cut(item, most) for key, item in value.items()}
    return value


def label(value: Any) -> str:
    """Give a plain value in a few words: a person or ticket by what people call them, a list by its members."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(label, value)) or "none"
    if isinstance(value, dict):
        named = next((value[name] for name in _NAMES if isinstance(value.get(name), str)), None)
        return named if named is not None else ", ".join(f"{key}: {label(item)}" for key, item in value.items())
    return str(value)


def subject_names(reader: sqlite3.Connection, rows: Iterable[Mapping[str, Any] | sqlite3.Row]) -> dict[Any, Any]:
    """Give key and title, by (type, id), of the subjects that rows are about."""
    wanted = {(row["subject_type"], row["subject"]) for row in rows if row["subject"] is not None}
    names: dict[Any, Any] = {}
    for pair in wanted:
        row = reader.execute(
            "SELECT json_extract(state, '$.key') AS key, json_extract(state, '$.title') AS title,"
            " json_extract(state, '$.name') AS name FROM subjects WHERE type = ? AND id = ?",
            pair,
        ).fetchone()
        if row is not None:
            names[pair] = {"key": row["key"], "title": row["title"] or row["name"]}
    return names


def subject(names: Mapping[Any, Any], row: sqlite3.Row) -> dict[str, Any] | None:
    """Give what a row is about: type, id, and key and title where they are known."""
    if row["subject"] is None:
        return None
    known = names.get((row["subject_type"], row["subject"]), {"key": None, "title": None})
    return {"type": row["subject_type"], "id": row["subject"], **known}
