"""The functions, look-ups, filters and methods that expressions and templates may call."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine import calendars
from engine.calendars import Duration
from engine.domain import FIELDS, RECORDS, Person, Service, Team
from engine.workflow import operators, rendering
from engine.workflow.operators import Group, describe, read_duration, read_instant
from engine.workflow.rendering import Joined, Markup
from engine.workflow.scope import LOOKUP_STEPS, MOST_RECORDS, EvaluationError, Run

_RECORD_CLASSES = tuple(RECORDS.values())


@dataclass(frozen=True, slots=True)
class Signature:
    """Something that can be called: its code and its parameters, of which the first `required` must be given."""

    name: str
    call: Callable[..., Any]
    parameters: tuple[str, ...] = ()
    required: int = 0

    def misuse(self, positional: int, keywords: Sequence[str]) -> str | None:
        """Say what is wrong with a call of so many arguments by place, and these by name."""
        if positional > len(self.parameters):
            return f"'{self.name}' takes {self._count()}, not {positional}"
        for keyword in keywords:
            if keyword not in self.parameters:
                return f"'{self.name}' has no argument '{keyword}'"
            if keyword in self.parameters[:positional]:
                return f"'{self.name}' is given '{keyword}' twice"
        missing = [name for name in self.parameters[positional : self.required] if name not in keywords]
        return f"'{self.name}' needs its argument '{missing[0]}'" if missing else None

    def _count(self) -> str:
        most = len(self.parameters)
        if not most:
            return "no arguments"
        least = "" if self.required == most else "at most "
        return f"{least}{most} argument{'s' if most > 1 else ''}"


# --- functions -------------------------------------------------------------------------------------------------------


def now(run: Run) -> datetime:
    return run.now


def is_open(run: Run, calendar: Any) -> bool | None:
    """Say whether a calendar has working hours now."""
    if calendar is None:
        return None
    found = run.world.calendar(_text(calendar, "the name of a calendar"))
    if found is None:
        raise EvaluationError(f"no calendar is called '{calendar}'")
    return calendars.is_open(found, run.now)


def person(run: Run, key: Any) -> Person | None:
    if key is None or isinstance(key, Person):
        return key
    return run.world.person(_text(key, "a person's key"))


def team(run: Run, key: Any) -> Team | None:
    if key is None or isinstance(key, Team):
        return key
    return run.world.team(_text(key, "a team's key"))


def service(run: Run, key: Any) -> Service | None:
    if key is None or isinstance(key, Service):
        return key
    return run.world.service(_text(key, "a service's key"))


def duration(run: Run, value: Any) -> Duration | None:
    """Read a text as a duration."""
    if value is None or isinstance(value, Duration):
        return value
    return read_duration(_text(value, "a duration"))


def instant(run: Run, value: Any) -> datetime | None:
    """Read a text as an instant."""
    if value is None or isinstance(value, datetime):
        return value
    return read_instant(_text(value, "an instant"))


def on_call(run: Run, of: Any, at: Any = None) -> Any:
    """Give who is on call for a service, rotation or team; null stands for the rotation `default`."""
    if isinstance(of, Service | Team):
        of = of.id
    elif of is not None:
        of = _text(of, "a service, rotation or team")
    return run.world.vendor("on_call", (of, instant(run, at)))


def _text(value: Any, what: str) -> str:
    if isinstance(value, str):
        return str(value)
    raise EvaluationError(f"must be {what}, not {describe(value)}")


_FUNCTIONS = (
    Signature("now", now),
    Signature("is_open", is_open, ("calendar",), 1),
    Signature("person", person, ("key",), 1),
    Signature("team", team, ("key",), 1),
    Signature("service", service, ("key",), 1),
    Signature("duration", duration, ("value",), 1),
    Signature("instant", instant, ("value",), 1),
    Signature("on_call", on_call, ("of", "at"), 1),
)
FUNCTIONS: Mapping[str, Signature] = {signature.name: signature for signature in _FUNCTIONS}

#: Functions that ask a vendor.
VENDOR = frozenset({"on_call"})


# --- look-ups in our own store ---------------------------------------------------------------------------------------

#: Kind of record by the look-up's name.
LOOKUPS: Mapping[str, str] = {
    "incidents": "incident",
    "tickets": "ticket",
    "alerts": "alert",
    "documents": "document",
    "reviews": "review",
    "events": "event",
    "people": "person",
    "teams": "team",
    "services": "service",
}


def _keywords(kind: str) -> dict[str, str]:
    """Give a look-up's keywords, each with the field it is compared with: a list field goes in the singular."""
    found = {}
    for name, field in FIELDS[kind].items():
        if field.kind in ("list[text]", "list[person]", "list[ticket]"):
            found["member" if name == "members" else name.removesuffix("s")] = name
        elif field.kind in ("text", "boolean", "number") or field.kind in RECORDS:
            found[name] = name
    return found


#: Field by keyword, by kind. Look-ups of subjects and events take `last` and `private` as well.
KEYWORDS: Mapping[str, Mapping[str, str]] = {kind: _keywords(kind) for kind in LOOKUPS.values() if kind != "event"}
BOUNDS = ("last", "private")
_ROSTER = frozenset({"person", "team", "service"})


def takes_bounds(kind: str) -> bool:
    """Say whether the look-up of a kind takes `last=` and `private=`."""
    return kind not in _ROSTER


def lookup_misuse(kind: str, positional: int, keywords: Sequence[str]) -> str | None:
    """Say what is wrong with the arguments of a look-up."""
    name = next(name for name, one in LOOKUPS.items() if one == kind)
    if kind == "event":
        return None if positional == 1 else "'events' takes the type first, such as events(\"incident.resolved\")"
    if positional:
        return f"'{name}' takes its arguments by name, such as {next(iter(KEYWORDS[kind]))}="
    known = {*KEYWORDS[kind], *(BOUNDS if takes_bounds(kind) else ())}
    unknown = next((one for one in keywords if one not in known), None)
    return f"'{name}' cannot be narrowed by '{unknown}'" if unknown else None


def find(run: Run, kind: str, criteria: Mapping[str, Any], empty: Sequence[str] = ()) -> Sequence[Any] | None:
    """Give the records that fit.

    Args:
        run: the evaluation.
        kind: of the records; for events, `criteria` has their type under `""`.
        criteria: wanted values by keyword. A null in it makes the whole result null,
        empty: except for these keywords, which were written as `null`: their field must be empty.
    """
    wanted = _wanted(run, criteria, empty)
    if wanted is None:
        return None
    rest, last, private = wanted
    if kind == "event":
        found = run.world.events(_event_type(rest), rest, last, private)
    else:
        found = run.world.find(kind, rest, last, private)
    if len(found) > MOST_RECORDS:
        raise EvaluationError(
            f"this gives more than {MOST_RECORDS:,} records: narrow it, or count them with '| length'"
        )
    run.spend_items(len(found))
    return list(found)


def count(run: Run, kind: str, criteria: Mapping[str, Any], empty: Sequence[str] = ()) -> int | None:
    """Count the records that fit, however many there are."""
    wanted = _wanted(run, criteria, empty)
    if wanted is None:
        return None
    rest, last, private = wanted
    run.spend(10)
    if kind == "event":
        return run.world.count_events(_event_type(rest), rest, last, private)
    return run.world.count(kind, rest, last, private)


def _wanted(
    run: Run, criteria: Mapping[str, Any], empty: Sequence[str]
) -> tuple[dict[str, Any], Duration | None, bool] | None:
    run.spend(LOOKUP_STEPS)
    if any(value is None and keyword not in empty for keyword, value in criteria.items()):
        return None
    rest = dict(criteria)
    last = duration(run, rest.pop("last", None))
    private = rest.pop("private", False)
    if not isinstance(private, bool):
        raise EvaluationError(f"'private' must be true or false, not {describe(private)}")
    return rest, last, private


def _event_type(criteria: dict[str, Any]) -> str:
    return _text(criteria.pop(""), 'the type of an event such as "incident.resolved"')


# --- filters ---------------------------------------------------------------------------------------------------------


def filter_duration(run: Run, value: Any) -> str | None:
    """Say a duration as people do: `7 days`."""
    read = duration(run, value)
    return None if read is None else rendering.humanise(read)


def filter_local(run: Run, value: Any, zone: Any = None) -> str | None:
    """Say an instant as people of a zone read it: `Mon 2 Mar 2026 10:00 CET`."""
    read = instant(run, value)
    if read is None:
        return None
    name = run.scope.zone if zone is None else _text(zone, "a time zone")
    try:
        return rendering.localise(read, calendars.check_zone(name) if zone is not None else name)
    except (ValueError, OverflowError) as error:
        raise EvaluationError(str(error)) from None


def filter_ago(run: Run, value: Any) -> str | None:
    """Say how long ago an instant was: `3 days ago`."""
    read = instant(run, value)
    return None if read is None else rendering.humanise_ago(read, run.now)


def filter_default(run: Run, value: Any, replacement: Any) -> Any:
    """Give the value, or something else in place of null."""
    return replacement if value is None else value


def filter_join(run: Run, value: Any, separator: Any = ", ", by: Any = None) -> str | None:
    """Put the items of a list into one text, leaving out nulls."""
    if value is None:
        return None
    given = (_read(run, one, by) for one in _items(run, value, "join"))
    pieces = [one if isinstance(one, str) else _rendered(run, one) for one in given if one is not None]
    between = separator if isinstance(separator, str) else _text(separator, "a text between the items")
    run.spend_text(sum(map(len, pieces)) + len(between) * len(pieces))
    return Joined.of(pieces, between)


def filter_first(run: Run, value: Any) -> Any:
    if value is None:
        return None
    items = _items(run, value, "first")
    return items[0] if items else None


def filter_last(run: Run, value: Any) -> Any:
    if value is None:
        return None
    items = _items(run, value, "last")
    return items[-1] if items else None


def filter_sort(run: Run, value: Any, by: Any = None, reverse: Any = False) -> list[Any] | None:
    """Sort a list, nulls last, by the items themselves or by a field of theirs."""
    if value is None:
        return None
    keyed = [(_shown(_read(run, one, by)), one) for one in _items(run, value, "sort")]
    known = [pair for pair in keyed if pair[0] is not None]
    _alike([key for key, _ in known], "sort")
    run.spend(len(known) * len(known).bit_length())
    try:
        known.sort(key=lambda pair: pair[0], reverse=operators.truth(run, reverse))
    except ValueError as error:
        raise EvaluationError(str(error)) from None
    return [one for _, one in known] + [one for key, one in keyed if key is None]


def filter_length(run: Run, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, str | list | tuple | Mapping):
        return len(value)
    raise EvaluationError(f"'length' takes a list, a mapping or a text, not {describe(value)}")


def filter_group(run: Run, value: Any, by: Any) -> list[Group] | None:
    """Put items that share a field together, in the order of their first."""
    if value is None:
        return None
    groups: dict[Hashable, Group] = {}
    for one in _items(run, value, "group"):
        key = _read(run, one, _text(by, "the name of a field"))
        groups.setdefault(_known_by(run, key), Group(key, [])).list.append(one)
    return list(groups.values())


def filter_unique(run: Run, value: Any, by: Any = None) -> list[Any] | None:
    """Leave out what was there before; records go by id."""
    if value is None:
        return None
    found: dict[Hashable, Any] = {}
    for one in _items(run, value, "unique"):
        found.setdefault(_known_by(run, _read(run, one, by)), one)
    return list(found.values())


def filter_sum(run: Run, value: Any, by: Any = None) -> Any:
    """Add up numbers or durations, leaving out nulls."""
    if value is None:
        return None
    known = _known(run, value, by, "sum")
    total = known[0] if known else 0
    for one in known[1:]:
        total = operators.add(run, total, one)
    if isinstance(total, int | float | Duration) and not isinstance(total, bool):
        return total
    raise EvaluationError(f"'sum' takes numbers or durations, not {describe(known[0])}")


def filter_min(run: Run, value: Any, by: Any = None) -> Any:
    return _extreme(run, value, by, "min", operators.less)


def filter_max(run: Run, value: Any, by: Any = None) -> Any:
    return _extreme(run, value, by, "max", operators.more)


def filter_median(run: Run, value: Any, by: Any = None) -> Any:
    """Give the middle of numbers or durations, leaving out nulls; of two middle ones their mean."""
    if value is None:
        return None
    known = _known(run, value, by, "median")
    if not known:
        return None
    _alike(known, "median")
    if isinstance(known[0], Duration):
        if not all(one.exact for one in known):
            raise EvaluationError("'median' takes durations of a fixed length")
        return Duration(statistics.median(one.seconds for one in known))
    if isinstance(known[0], int | float):
        middle = operators.bounded(statistics.median(map(operators.bounded, known)))
        return int(middle) if isinstance(middle, float) and middle.is_integer() else middle
    raise EvaluationError(f"'median' takes numbers or durations, not {describe(known[0])}")


def filter_escape(run: Run, value: Any) -> Markup | None:
    """Make Markdown in which the value shows as it is."""
    return None if value is None else rendering.render_markdown(_charged(run, value), run.scope.zone)


def filter_markdown(run: Run, value: Any) -> Markup | None:
    """Take the value as Markdown, unescaped."""
    return None if value is None else Markup(_rendered(run, _charged(run, value)))


def _charged(run: Run, value: Any) -> Any:
    if isinstance(value, str):
        run.spend_text(len(value))
    return value


def _rendered(run: Run, value: Any) -> str:
    return rendering.render_value(value, run.scope.zone)


def _items(run: Run, value: Any, name: str) -> Sequence[Any]:
    if isinstance(value, list | tuple):
        run.spend_items(len(value))
        return value
    raise EvaluationError(f"'{name}' takes a list, not {describe(value)}")


def _read(run: Run, value: Any, path: Any) -> Any:
    """Give a field of an item, or one of its field's fields (`assignee.name`)."""
    if path is None:
        return value
    for name in _text(path, "the name of a field").split("."):
        if not name or name.startswith("_"):
            raise EvaluationError(f"'{path}' is no name of a field")
        value = operators.field(run, value, name)
    return value


def _known(run: Run, value: Any, by: Any, name: str) -> list[Any]:
    return [one for item in _items(run, value, name) if (one := _read(run, item, by)) is not None]


def _shown(value: Any) -> Any:
    """Give what a record is sorted by: its name or title."""
    return rendering.render_value(value, "UTC").casefold() if isinstance(value, _RECORD_CLASSES) else value


def _alike(values: Sequence[Any], name: str) -> None:
    kinds = ((bool,), (str,), (int, float), (datetime,), (Duration,))
    if not values or any(all(isinstance(one, kind) for one in values) for kind in kinds):
        return
    found = sorted({describe(one) for one in values})
    raise EvaluationError(f"'{name}' takes values of one kind that has an order, not {' and '.join(found)}")


def _extreme(run: Run, value: Any, by: Any, name: str, beats: Callable[[Run, Any, Any], bool]) -> Any:
    if value is None:
        return None
    best = None
    for one in _known(run, value, by, name):
        if best is None or beats(run, one, best):
            best = one
    return best


def _known_by(run: Run, value: Any) -> Hashable:
    """Give the identity of a value, at the cost of all that is in it: what is in it twice is gone through twice."""
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, list | tuple | Mapping):
            run.spend(1 + len(one))
            todo += one.values() if isinstance(one, Mapping) else one
    return identity(value)


def identity(value: Any) -> Hashable:
    """Give something hashable that is the same for values that `==` finds equal."""
    if isinstance(value, _RECORD_CLASSES) and hasattr(value, "id"):
        return type(value).__name__, value.id
    if isinstance(value, list | tuple):
        return "list", tuple(identity(one) for one in value)
    if isinstance(value, Mapping):
        return "mapping", frozenset((key, identity(one)) for key, one in value.items())
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, str):
        return str(value)
    return value if isinstance(value, Hashable) else id(value)


_FILTERS = (
    Signature("duration", filter_duration),
    Signature("local", filter_local, ("zone",)),
    Signature("ago", filter_ago),
    Signature("default", filter_default, ("replacement",), 1),
    Signature("join", filter_join, ("separator", "by")),
    Signature("first", filter_first),
    Signature("last", filter_last),
    Signature("sort", filter_sort, ("by", "reverse")),
    Signature("length", filter_length),
    Signature("group", filter_group, ("by",), 1),
    Signature("unique", filter_unique, ("by",)),
    Signature("sum", filter_sum, ("by",)),
    Signature("min", filter_min, ("by",)),
    Signature("max", filter_max, ("by",)),
    Signature("median", filter_median, ("by",)),
    Signature("escape", filter_escape),
    Signature("markdown", filter_markdown),
)
FILTERS: Mapping[str, Signature] = {signature.name: signature for signature in _FILTERS}


# --- methods of texts ------------------------------------------------------------------------------------------------


def _method(name: str, function: Callable[..., Any], parameters: tuple[str, ...] = (), required: int = 0) -> Signature:
    def call(run: Run, value: Any, *arguments: Any) -> Any:
        if value is None or (required and None in arguments):
            return None
        given = [_text(one, f"a text, in '{name}()'") if one is not None else None for one in arguments]
        if not isinstance(value, str):
            raise EvaluationError(f"'{name}()' works on a text, not on {describe(value)}")
        run.spend_text(len(value))
        return function(run, str(value), *given)

    return Signature(name, call, parameters, required)


def _split(run: Run, value: str, separator: str | None = None) -> list[str]:
    if separator == "":
        raise EvaluationError("'split()' needs a separator that is not empty")
    parts = value.split(separator)
    run.spend_items(len(parts))
    return parts


def _replace(run: Run, value: str, old: str, new: str) -> str:
    run.spend_text(len(value) + value.count(old) * max(0, len(new) - len(old)))
    return value.replace(old, new)


_METHODS = (
    _method("lower", lambda run, value: value.lower()),
    _method("upper", lambda run, value: value.upper()),
    _method("strip", lambda run, value, characters=None: value.strip(characters), ("characters",)),
    _method("startswith", lambda run, value, prefix: value.startswith(prefix), ("prefix",), 1),
    _method("endswith", lambda run, value, suffix: value.endswith(suffix), ("suffix",), 1),
    _method("split", _split, ("separator",)),
    _method("replace", _replace, ("old", "new"), 2),
)
METHODS: Mapping[str, Signature] = {signature.name: signature for signature in _METHODS}
