"""A mapping for what grows by one entry at a time, where each state that it went through is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

V = TypeVar("V")

_GONE: Any = object()
#: So many changes are copied with each further one before they become part of what is shared.
_MOST = 64


class Growing(Mapping[str, V]):
    """A mapping that never changes: `having` and `without` give another, which shares most of it with this one.

    A file has thousands of steps, and each sees those before it: copies for all would be as many entries squared.
    """

    __slots__ = ("_base", "_own")

    def __init__(self, base: dict[str, V] | None = None, own: dict[str, V] | None = None) -> None:
        self._base: dict[str, V] = base if base is not None else {}
        self._own: dict[str, V] = own if own is not None else {}

    def having(self, key: str, value: V) -> Growing[V]:
        """Give a mapping with an entry more, or another value."""
        own = {**self._own, key: value}
        if len(own) <= _MOST:
            return Growing(self._base, own)
        return Growing({name: one for name, one in {**self._base, **own}.items() if one is not _GONE})

    def without(self, key: str) -> Growing[V]:
        """Give a mapping without an entry."""
        return self.having(key, _GONE) if key in self else self

    def __getitem__(self, key: str) -> V:
        value = self._own[key] if key in self._own else self._base[key]
        if value is _GONE:
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[str]:
        yield from (key for key in self._base if key not in self._own)
        yield from (key for key, value in self._own.items() if value is not _GONE)

    def __len__(self) -> int:
        return sum(1 for _ in self)
