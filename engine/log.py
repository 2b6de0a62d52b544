"""Tell whoever watches what happens: one line per event, verdict and effect, each with a stable machine name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Tell(Protocol):
    """Take one thing that happened: its machine name (`effect.done`), a sentence, and the facts."""

    def __call__(self, event: str, sentence: str, /, **facts: Any) -> None: ...


def silent(event: str, sentence: str, /, **facts: Any) -> None:
    """Take it and show it nowhere."""


class Tellers:
    """Several that are told; one may be added and removed while the engine runs."""

    def __init__(self, *tellers: Tell, mask: Callable[[str], str] = str) -> None:
        self._tellers: list[Tell] = list(tellers)
        self._mask = mask  #: leaves secrets out

    def __call__(self, event: str, sentence: str, /, **facts: Any) -> None:
        sentence = self._mask(sentence)
        shown = {name: self._mask(value) if type(value) is str else value for name, value in facts.items()}
        for teller in self._tellers:
            teller(event, sentence, **shown)

    def add(self, teller: Tell) -> Callable[[], None]:
        """Add one, and give the function that removes it."""
        self._tellers.append(teller)
        return lambda: self._tellers.remove(teller)
