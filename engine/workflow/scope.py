"""What an expression is evaluated in, and the errors it can end with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from engine.calendars import Calendar, Duration
from engine.domain import Event, Person, Service, Team

#: Bounds of one evaluation. A template's rendering has five times the steps.
MOST_STEPS = 100_000
MOST_TEXT = 256 * 1024  #: characters of one text
MOST_ITEMS = 10_000  #: of one list
MOST_RECORDS = 1_000  #: that a look-up may give
MOST_NUMBER = 2**63
#: This many characters of a new text cost one step.
CHARACTERS_A_STEP = 16
#: A look-up in the store takes so many, and one more for each record: it is asked while nothing else has its turn.
LOOKUP_STEPS = 100


class ExpressionError(Exception):
    """The text of an expression cannot be used.

    `offset` and `length` are characters of the text that was given to the compiler.
    """

    def __init__(self, message: str, offset: int, length: int, *, code: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.length = length
        self.code = code
        self.hint = hint

    def moved(self, by: int) -> ExpressionError:
        """Give the same error with its place in a longer text."""
        return ExpressionError(self.message, self.offset + by, self.length, code=self.code, hint=self.hint)


class EvaluationError(Exception):
    """An expression cannot be evaluated with the values it met.

    `offset` and `length` are characters of the expression's text; -1 and 0 where the place is not known.
    """

    def __init__(self, message: str, offset: int = -1, length: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.length = length


class NeedLookup(Exception):
    """A vendor has to be asked first; with its answer recorded, the evaluation is begun anew."""

    def __init__(self, name: str, args: tuple[Any, ...]) -> None:
        super().__init__()
        self.name = name
        self.args = args

    def __str__(self) -> str:
        return f"the answer of {self.name}() is not known yet"


class World(Protocol):
    """A committed snapshot that expressions read. `engine.store.lookups` implements it."""

    def field(self, value: Any, name: str) -> Any:
        """Give a derived field of a record, the `actor` or `before` of an event, or an event's subject by its type."""

    def find(self, kind: str, criteria: Mapping[str, Any], last: Duration | None, private: bool) -> Sequence[Any]:
        """Give the records that fit, newest first; 1,001 stand for "more than 1,000".

        `criteria` has the keywords as written: a list field in the singular.
        """

    def count(self, kind: str, criteria: Mapping[str, Any], last: Duration | None, private: bool) -> int: ...

    def events(self, type: str, criteria: Mapping[str, Any], last: Duration | None, private: bool) -> Sequence[Event]:
        """Give events of a type, newest first, as `find` does."""

    def count_events(self, type: str, criteria: Mapping[str, Any], last: Duration | None, private: bool) -> int: ...
    def person(self, key: str) -> Person | None: ...
    def team(self, key: str) -> Team | None: ...
    def service(self, key: str) -> Service | None: ...
    def calendar(self, name: str) -> Calendar | None: ...
    def vendor(self, name: str, args: tuple[Any, ...]) -> Any:
        """Give the recorded answer of a vendor look-up.

        Raises:
            NeedLookup: there is none yet.
        """


class Names(dict[str, Any]):
    """The names of a scope, of which some are worked out when they are read first."""

    __slots__ = ("_later",)

    def __init__(self, known: Mapping[str, Any], later: Mapping[str, Callable[[], Any]]) -> None:
        super().__init__(known)
        self._later = later

    def __missing__(self, name: str) -> Any:
        value = self[name] = self._later[name]()
        return value

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._later


@dataclass(frozen=True, slots=True)
class Scope:
    """All that an expression may read: names, the world, and what time arithmetic needs."""

    names: Mapping[str, Any]
    world: World
    now: datetime
    zone: str  #: IANA name of the zone that times are shown in
    calendar: Calendar  #: for working days


class Run:
    """One evaluation: its scope and what is left of its budget."""

    __slots__ = ("left", "met", "now", "scope", "world")

    met: list[tuple[int, Any]]  #: (number of the part, value): set and filled by traced evaluations alone

    def __init__(self, scope: Scope, steps: int = MOST_STEPS) -> None:
        self.scope = scope
        self.world = scope.world
        self.now = scope.now
        self.left = steps

    def spend(self, steps: int) -> None:
        """Take steps from the budget.

        Raises:
            EvaluationError: it is used up.
        """
        self.left -= steps
        if self.left < 0:
            raise EvaluationError("this takes too many steps: work on fewer or smaller values")

    def spend_text(self, length: int) -> None:
        """Take the steps for making a text, which must not be too long."""
        if length > MOST_TEXT:
            raise EvaluationError(f"a text must not be longer than {MOST_TEXT // 1024} KiB")
        self.spend(1 + length // CHARACTERS_A_STEP)

    def spend_items(self, count: int) -> None:
        """Take the steps for going through or making a list, which must not be too long."""
        if count > MOST_ITEMS:
            raise EvaluationError(f"a list must not have more than {MOST_ITEMS:,} items")
        self.spend(1 + count)
