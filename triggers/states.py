"""Read the values of `event.after`: as records and instants, or as they are kept, under a key that begins with `~`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from engine.domain import Person

_PERSON = frozenset(field.name for field in fields(Person))


def instant_text(value: Any) -> str | None:
    """Give an instant as text in UTC, the same for the same instant."""
    kept = value.get("~instant") if isinstance(value, Mapping) else value
    if isinstance(kept, str):
        kept = datetime.fromisoformat(kept)
    return kept.astimezone(UTC).isoformat() if isinstance(kept, datetime) else None


def person(value: Any) -> Person | None:
    """Give somebody as a record."""
    kept = value.get("~person") if isinstance(value, Mapping) else value
    if isinstance(kept, Mapping):
        return Person(**{name: item for name, item in kept.items() if name in _PERSON})
    return kept if isinstance(kept, Person) else None
