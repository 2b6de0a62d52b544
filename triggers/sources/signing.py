"""Tell whether a webhook comes from whom it says: headers, secrets, and comparison in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from engine.plugins import Secret, Unauthorized

#: A header with more signatures than this is refused: each costs a computation.
MOST_SIGNATURES = 20


def _secrets(value: Any) -> tuple[Secret, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list | tuple) or not all(isinstance(item, str) for item in listed):
        raise ValueError("must be a secret, or a list of two while the old one is replaced")
    if not 1 <= len(listed) <= 2:
        raise ValueError(f"must be one secret, or two while the old one is replaced, not {len(listed)}")
    if not all(item.strip() for item in listed):
        raise ValueError("must not be empty: whoever knows that could sign")
    return tuple(Secret(item) for item in listed)


#: A secret, or two of them that are both accepted while the sender changes from one to the other.
Secrets = Annotated[
    tuple[Secret, ...],
    PlainValidator(_secrets),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}, "maxItems": 2, "x-kind": "secret"}),
]


def header(headers: Mapping[str, str], name: str) -> str:
    """Give a header's value.

    Raises:
        Unauthorized: it is missing or empty.
    """
    value = headers.get(name.lower(), "").strip()
    if not value:
        raise Unauthorized(f"the header {name} is missing")
    return value


def same(given: str, expected: str) -> bool:
    """Compare two texts in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def any_same(given: Iterable[str], expected: Iterable[str]) -> bool:
    """Whether one of the given texts is one of those expected; looks at all of them either way."""
    right = list(expected)
    return sum(same(one, other) for one in given for other in right) > 0
