"""Names that are made of texts: of files and channels, of their titles; and what is said of people without one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from engine.domain import Person
from engine.plugins import ActionError

_LONGEST_CHANNEL = 80
_MARK = 6  #: letters of an effect's token that tell two channels of the same name apart


def slug(text: str, longest: int) -> str:
    """Give a text as lower-case ASCII letters, digits and single hyphens; empty where it has no such letter."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:longest].strip("-")


def channel_names(text: str, token: str) -> Iterator[str]:
    """Give the names that a channel may get, the best first: the second is no other effect's."""
    name = slug(text, _LONGEST_CHANNEL) or "channel"
    yield name
    mark = f"-{token[:_MARK]}"
    yield name[: _LONGEST_CHANNEL - len(mark)].rstrip("-") + mark


def unreachable(person: Person, system: str) -> ActionError:
    """Give what to raise where somebody has nothing that a system could find them by."""
    said = f"{person.name} has no e-mail address and no 'ids: {{{system}: …}}' in the roster"
    return ActionError(said, code="unknown-person")
