"""The operators of expressions, as functions that keep the rules of null, of booleans and of time, and their bounds.

Compiled expressions call nothing but these and `functions`. Each takes the evaluation it belongs to first.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from engine import calendars
from engine.calendars import Duration, parse_duration
from engine.domain import FIELDS, RECORDS, SUBJECTS, Event
from engine.workflow.rendering import Joined, Markup, escape_markdown
from engine.workflow.scope import CHARACTERS_A_STEP, LOOKUP_STEPS, MOST_NUMBER, EvaluationError, Run


@dataclass(frozen=True, slots=True)
class Group:
    """What `| group` gives for each key."""

    key: Any
    list: list[Any]


_KINDS: dict[type[Any], str] = {cls: kind for kind, cls in RECORDS.items()} | {Group: "group"}
_DERIVED: dict[type[Any], frozenset[str]] = {
    cls: frozenset(name for name, field in FIELDS[kind].items() if field.derived) for cls, kind in _KINDS.items()
}
_DERIVED[Event] |= {"before", *SUBJECTS}
_STORED: dict[type[Any], frozenset[str]] = {
    cls: frozenset(FIELDS[kind]) - _DERIVED[cls] for cls, kind in _KINDS.items()
}
_MOST_INSIDE = 200_000  #: values inside a value that is kept
_DEEPEST = 200
_LONG_TEXT = 4096  #: characters from which on comparing a text costs steps
_LONGEST_DURATION = 1e11  #: seconds: three thousand years


def describe(value: Any) -> str:
    """Say what a value is, for messages: `a text`, `an incident`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if type(value) in _KINDS:
        kind = _KINDS[type(value)].replace("_", " ")
        return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
    names: list[tuple[type[Any] | tuple[type[Any], ...], str]] = [
        (str, "a text"),
        ((int, float), "a number"),
        (datetime, "an instant"),
        (Duration, "a duration"),
        (Mapping, "a mapping"),
        (Sequence, "a list"),
    ]
    return next((name for cls, name in names if isinstance(value, cls)), "something else")


def keepable(value: Any) -> Any:
    """Give a value back if it can be written down: what is in it twice is written twice.

    Raises:
        EvaluationError: there is too much in it, or it is nested too deeply.
    """
    level, count = [value], 0
    for _ in range(_DEEPEST):
        level = [one for one in level if isinstance(one, list | tuple | dict) and one]
        if not level:
            return value
        count += sum(map(len, level))
        if count > _MOST_INSIDE:
            raise EvaluationError(f"a value must not hold more than {_MOST_INSIDE:,} others")
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    raise EvaluationError(f"a value must not be nested more than {_DEEPEST} deep")


# --- reading ---------------------------------------------------------------------------------------------------------


def field(run: Run, value: Any, name: str) -> Any:
    """Give a field of a record or of a mapping: null of null, and of a mapping without it."""
    stored = _STORED.get(type(value))
    if stored is not None:
        if name in stored:
            return getattr(value, name)
        if name in _DERIVED[type(value)]:
            found = run.world.field(value, name)
            if isinstance(found, list):  # gathered from the store
                run.spend(LOOKUP_STEPS + len(found))
            return found
        raise EvaluationError(f"{describe(value)} has no field '{name}'")
    if value is None:
        return None
    if isinstance(value, Mapping):
        return value.get(name)
    raise EvaluationError(f"{describe(value)} has no fields, so no '{name}'")


def item(run: Run, value: Any, index: Any) -> Any:
    """Give `value[index]`: null where either is null, past the end, or absent."""
    if value is None or index is None:
        return None
    if isinstance(value, list | tuple | str):
        position = _whole(index)
        return value[position] if -len(value) <= position < len(value) else None
    if isinstance(index, str) and not isinstance(value, Mapping):
        return field(run, value, index)
    if isinstance(value, Mapping):
        return value.get(_key(index))
    raise EvaluationError(f"{describe(value)} has no items")


def cut(run: Run, value: Any, start: Any, stop: Any, step: Any) -> Any:
    """Give `value[start:stop:step]` of a list or a text."""
    if value is None:
        return None
    if not isinstance(value, list | tuple | str):
        raise EvaluationError(f"only a list or a text can be cut, not {describe(value)}")
    bounds = [None if bound is None else _whole(bound) for bound in (start, stop, step)]
    if bounds[2] == 0:
        raise EvaluationError("the step of a slice must not be 0")
    piece = value[slice(*bounds)]
    if isinstance(piece, str):
        run.spend_text(len(piece))
        return str(piece)
    run.spend_items(len(piece))
    return list(piece)


def _whole(index: Any) -> int:
    if isinstance(index, int) and not isinstance(index, bool):
        return index
    if isinstance(index, float) and index.is_integer():
        return int(index)
    raise EvaluationError(f"a place in a list must be a whole number, not {describe(index)}")


def _key(key: Any) -> Any:
    if isinstance(key, str | int | float):
        return key
    raise EvaluationError(f"a key must be a text or a number, not {describe(key)}")


def mapping(run: Run, *pairs: Any) -> dict[Any, Any]:
    """Make a mapping of keys and values in turn."""
    run.spend(len(pairs))
    return {_key(key): value for key, value in zip(pairs[::2], pairs[1::2], strict=True)}


def elements(run: Run, value: Any) -> Sequence[Any]:
    """Give what a comprehension goes through: a list's items or a mapping's keys."""
    if isinstance(value, list | tuple):
        run.spend_items(len(value))
        return value
    if isinstance(value, Mapping):
        run.spend_items(len(value))
        return list(value)
    raise EvaluationError(f"must be a list, not {describe(value)}")


def each(
    run: Run, value: Any, element: Callable[[Any], Any], condition: Callable[[Any], Any] | None = None
) -> list[Any] | None:
    """Give a comprehension's list; null of null."""
    if value is None:
        return None
    items = elements(run, value)
    if condition is not None:
        items = [one for one in items if truth(run, condition(one))]
    return [element(one) for one in items]


def each_pair(
    run: Run,
    value: Any,
    key: Callable[[Any], Any],
    element: Callable[[Any], Any],
    condition: Callable[[Any], Any] | None = None,
) -> dict[Any, Any] | None:
    """Give a comprehension's mapping; null of null."""
    if value is None:
        return None
    items = elements(run, value)
    if condition is not None:
        items = [one for one in items if truth(run, condition(one))]
    return {_key(key(one)): element(one) for one in items}


def truth(run: Run, value: Any) -> bool:
    """Give the boolean of a condition: null counts as false, and nothing but a boolean will do."""
    if value is True:
        return True
    if value is False or value is None:
        return False
    raise EvaluationError(f"a condition must be true or false, not {describe(value)}: compare it, as in '… != null'")


# --- comparing -------------------------------------------------------------------------------------------------------

_DIRECT = frozenset({str, int, bool, float, type(None), Markup, Joined})


def equal(run: Run, left: Any, right: Any) -> bool:
    """Compare as `==` does: null equals null, records go by id, a text beside a time is read as one."""
    kind = type(left)
    if kind is type(right) and kind in _DIRECT:
        if kind is str and len(left) > _LONG_TEXT:
            run.spend(len(left) // CHARACTERS_A_STEP)
        return bool(left == right)
    return _equal(run, left, right)


def unequal(run: Run, left: Any, right: Any) -> bool:
    return not equal(run, left, right)


def _equal(run: Run, left: Any, right: Any) -> bool:
    if left is None or right is None or isinstance(left, bool) or isinstance(right, bool):
        return left is right
    left, right = _as_times(left, right)
    if isinstance(left, str | int | float | datetime | Duration):
        return bool(left == right)
    if isinstance(left, list | tuple):
        run.spend(1 + len(left))
        return (
            isinstance(right, list | tuple)
            and len(left) == len(right)
            and all(equal(run, one, other) for one, other in zip(left, right, strict=True))
        )
    if isinstance(left, Mapping):
        run.spend(1 + len(left))
        return (
            isinstance(right, Mapping)
            and left.keys() == right.keys()
            and all(equal(run, one, right[key]) for key, one in left.items())
        )
    if type(left) is not type(right):
        return False
    return bool(left.id == right.id) if hasattr(left, "id") else bool(left == right)


def _as_times(left: Any, right: Any) -> tuple[Any, Any]:
    """Read a text beside a duration or an instant as one."""
    if isinstance(left, str):
        left = _beside(left, right)
    elif isinstance(right, str):
        right = _beside(right, left)
    return left, right


def _beside(text: str, other: Any) -> Any:
    if isinstance(other, Duration):
        return read_duration(text)
    return read_instant(text) if isinstance(other, datetime) else text


@functools.lru_cache(maxsize=1024)
def _read_duration(text: str) -> Duration:
    return parse_duration(text)


def read_duration(text: str) -> Duration:
    """Read a duration.

    Raises:
        EvaluationError: the text is none, or it is longer than any time to come.
    """
    try:
        found = _read_duration(text) if len(text) <= 64 else parse_duration(text[:64] + "…")
    except (ValueError, OverflowError) as error:
        raise EvaluationError(str(error)) from None
    if found.seconds > _LONGEST_DURATION:
        raise EvaluationError("a duration must not be longer than three thousand years")
    return found


def read_instant(text: str) -> datetime:
    """Read an instant with its zone.

    Raises:
        EvaluationError: the text is none.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        shown = text if len(text) <= 64 else text[:64] + "…"
        raise EvaluationError(f"must be an instant with its zone such as 2026-03-02T09:00:00+01:00, not '{shown}'")
    return _storable(instant)


def _storable(instant: datetime) -> datetime:
    try:
        instant.astimezone(UTC)
    except OverflowError:
        raise EvaluationError("an instant must lie in the years 1 to 9999, in UTC too") from None
    return instant


def _order(run: Run, left: Any, right: Any) -> int | None:
    """Give -1, 0 or 1; None where either is null."""
    if left is None or right is None:
        return None
    if type(left) is Duration and type(right) is str:
        right = read_duration(right)
    if type(left) is Duration and type(right) is Duration and left.exact and right.exact:
        return (left.seconds > right.seconds) - (left.seconds < right.seconds)
    left, right = _as_times(left, right)
    if not _ordered_alike(left, right):
        raise EvaluationError(f"{describe(left)} and {describe(right)} have no order")
    try:
        return int(left > right) - int(left < right)
    except ValueError as error:  # a duration of working days
        raise EvaluationError(str(error)) from None


def _ordered_alike(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return False
    return any(isinstance(left, cls) and isinstance(right, cls) for cls in (str, (int, float), Duration, datetime))


def less(run: Run, left: Any, right: Any) -> bool:
    return _order(run, left, right) == -1


def at_most(run: Run, left: Any, right: Any) -> bool:
    return _order(run, left, right) in (-1, 0)


def more(run: Run, left: Any, right: Any) -> bool:
    return _order(run, left, right) == 1


def at_least(run: Run, left: Any, right: Any) -> bool:
    return _order(run, left, right) in (0, 1)


def within(run: Run, value: Any, container: Any) -> bool:
    """Say whether a list, a mapping's keys or a text has the value; false where either is null."""
    if value is None or container is None:
        return False
    if isinstance(container, list | tuple):
        run.spend(1 + len(container))
        return any(equal(run, value, one) for one in container)
    if isinstance(container, str):
        if not isinstance(value, str):
            raise EvaluationError(f"only a text can be in a text, not {describe(value)}")
        run.spend(1 + len(container) // 16)
        return value in container
    if isinstance(container, Mapping):
        return _key(value) in container
    raise EvaluationError(f"{describe(container)} holds nothing that could be in it")


def among(run: Run, value: Any, texts: tuple[str, ...]) -> bool:
    """Say whether a value is in a list of texts that was written out."""
    return value in texts if type(value) is str else within(run, value, texts)


def without(run: Run, value: Any, container: Any) -> bool:
    """Say whether a container lacks the value; false where either is null."""
    return value is not None and container is not None and not within(run, value, container)


def not_among(run: Run, value: Any, texts: tuple[str, ...]) -> bool:
    return value not in texts if type(value) is str else without(run, value, texts)


# --- computing -------------------------------------------------------------------------------------------------------


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bounded(value) == value


def bounded(value: Any) -> Any:
    """Give a number back if it is neither too large nor undefined."""
    if -MOST_NUMBER <= value <= MOST_NUMBER:
        return value
    raise EvaluationError("a number must lie between -2^63 and 2^63")


def _lasting(seconds: float) -> Duration:
    if not math.isfinite(seconds) or abs(seconds) > _LONGEST_DURATION:
        raise EvaluationError("a duration must not be longer than three thousand years")
    return Duration(seconds)


def _exact(duration: Duration) -> float:
    if not duration.exact:
        raise EvaluationError(f"{duration} has no fixed length: it can only be added to or taken from an instant")
    return duration.seconds


def _shifted(run: Run, instant: datetime, duration: Duration, sign: Literal[1, -1]) -> datetime:
    try:
        return _storable(calendars.add(instant, duration, run.scope.calendar, sign))
    except (ValueError, OverflowError) as error:
        raise EvaluationError(str(error)) from None


def add(run: Run, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    if _number(left) and _number(right):
        return bounded(left + right)
    if isinstance(left, str) and isinstance(right, str):
        run.spend_text(len(left) + len(right))
        return join_texts((left, right))
    if isinstance(left, datetime) or isinstance(right, datetime):
        instant, other = (left, right) if isinstance(left, datetime) else (right, left)
        duration = read_duration(other) if isinstance(other, str) else other
        if isinstance(duration, Duration):
            return _shifted(run, instant, duration, 1)
    elif isinstance(left, Duration) or isinstance(right, Duration):
        left, right = _as_times(left, right)
        if isinstance(left, Duration) and isinstance(right, Duration):
            return _lasting(_exact(left) + _exact(right))
    elif isinstance(left, list | tuple) and isinstance(right, list | tuple):
        run.spend_items(len(left) + len(right))
        return [*left, *right]
    raise EvaluationError(f"{describe(left)} and {describe(right)} cannot be added")


def join_texts(texts: Sequence[str]) -> str:
    """Put texts together; with Markdown among them the others are escaped."""
    if not any(isinstance(text, Markup) for text in texts):
        return "".join(texts)
    return Markup("".join(text if isinstance(text, Markup) else escape_markdown(text) for text in texts))


def subtract(run: Run, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    if _number(left) and _number(right):
        return bounded(left - right)
    if isinstance(left, datetime) and isinstance(right, str):
        right = _duration_or_instant(right)
    else:
        left, right = _as_times(left, right)
    if isinstance(left, datetime) and isinstance(right, datetime):
        return Duration((left - right).total_seconds())
    if isinstance(left, datetime) and isinstance(right, Duration):
        return _shifted(run, left, right, -1)
    if isinstance(left, Duration) and isinstance(right, Duration):
        return _lasting(_exact(left) - _exact(right))
    raise EvaluationError(f"{describe(right)} cannot be taken from {describe(left)}")


def _duration_or_instant(text: str) -> Duration | datetime:
    try:
        return read_duration(text)
    except EvaluationError:
        try:
            return read_instant(text)
        except EvaluationError:
            shown = text if len(text) <= 64 else text[:64] + "…"
            raise EvaluationError(f"must be a duration such as 7d or 3bd, or an instant, not '{shown}'") from None


def multiply(run: Run, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    if _number(left) and _number(right):
        return bounded(left * right)
    if isinstance(right, Duration):
        left, right = right, left
    if isinstance(left, Duration) and _number(right):
        return _lasting(_exact(left) * right)
    raise EvaluationError(f"only numbers, or a duration and a number, can be multiplied, not {_both(left, right)}")


def divide(run: Run, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    if not _number(right) or not (_number(left) or isinstance(left, Duration)):
        raise EvaluationError(f"only a number or a duration can be divided, by a number, not {_both(left, right)}")
    if right == 0:
        raise EvaluationError("nothing can be divided by 0")
    if isinstance(left, Duration):
        return _lasting(_exact(left) / right)
    if isinstance(left, int) and isinstance(right, int) and left % right == 0:
        return left // right
    return bounded(left / right)


def remainder(run: Run, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    if not (_number(left) and _number(right)):
        raise EvaluationError(f"'%' takes numbers, not {_both(left, right)}")
    if right == 0:
        raise EvaluationError("nothing can be divided by 0")
    return bounded(left % right)


def negate(run: Run, value: Any) -> Any:
    if value is None:
        return None
    if _number(value):
        return -value
    if isinstance(value, Duration):
        return _lasting(-_exact(value))
    raise EvaluationError(f"only a number or a duration can be negative, not {describe(value)}")


def _both(left: Any, right: Any) -> str:
    return f"{describe(left)} and {describe(right)}"
