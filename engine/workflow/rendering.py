"""How values become text: in a text, for people, and in Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from engine.calendars import Duration
from engine.domain import RECORDS
from engine.workflow.scope import EvaluationError


class Markup(str):
    """Text that is Markdown already: a template's own, the result of a rendering, what went through `| markdown`."""

    __slots__ = ()


class Joined(str):
    """A list joined to a text, which still knows its pieces, so that they can be escaped each for itself."""

    __slots__ = ("pieces", "separator")
    pieces: tuple[str, ...]
    separator: str

    @classmethod
    def of(cls, pieces: Sequence[str], separator: str) -> Joined:
        joined = cls(separator.join(pieces))
        joined.pieces = tuple(pieces)
        joined.separator = separator
        return joined


#: Records are shown by the first of these fields that says something.
_SHOWN_BY = ("name", "title", "what", "text", "key", "id")
_RECORD_CLASSES = tuple(RECORDS.values())
#: What would make code of a line that begins with it, or a line break of its end.
_INDENT = re.compile(r"^[ \t]+|[ \t]+$")
_SPECIAL = re.compile(r"[|\\<\[\]`]")
#: What begins a heading, list, quotation, fence or underline where a line begins with it.
_LEAD = re.compile(r"(\s*)([#>+*=~_-]|\d+(?=[.)](?:\s|$)))")


def render_value(value: Any, scope_zone: str) -> str:
    """Give the text that stands for a value inside another text.

    Null is nothing, an instant is ISO 8601 with its offset in `scope_zone`, a record its name or title.

    Raises:
        EvaluationError: a list or a mapping.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return render_number(value)
    if isinstance(value, datetime):
        return _in_zone(value, scope_zone).isoformat(timespec="seconds")
    if isinstance(value, Duration):
        return str(value)
    if isinstance(value, _RECORD_CLASSES):
        return next((str(shown) for name in _SHOWN_BY if (shown := getattr(value, name, None))), "")
    if isinstance(value, Mapping):
        raise EvaluationError("a mapping cannot stand in a text: name one of its fields")
    if isinstance(value, Sequence):
        raise EvaluationError("a list cannot stand in a text: use '| join'")
    raise EvaluationError("this cannot stand in a text: name one of its fields")


def _in_zone(instant: datetime, zone: str) -> datetime:
    """Give an instant in a zone; within hours of the first and the last year it may have to stay in its own."""
    try:
        return instant.astimezone(ZoneInfo(zone))
    except OverflowError:
        return instant


def render_number(value: float) -> str:
    """Give a number without a needless `.0`."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)


def render_markdown(value: Any, scope_zone: str) -> Markup:
    """Give the text that stands for a value in Markdown: one line, escaped, unless it is Markdown already."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, Joined):
        pieces = (piece if isinstance(piece, Markup) else escape_markdown(piece) for piece in value.pieces)
        separator = value.separator if isinstance(value.separator, Markup) else escape_markdown(value.separator)
        return Markup(separator.join(pieces))
    text = render_value(value, scope_zone)
    if value is None or isinstance(value, bool | int | float | datetime | Duration):
        return Markup(text)
    return Markup(escape_markdown(text))


def escape_markdown(text: str) -> str:
    """Make text that shows as itself wherever it stands in Markdown, on one line."""
    line = " ".join(part for part in text.splitlines() if part)
    line = _INDENT.sub(" ", line)
    line = _SPECIAL.sub(r"\\\g<0>", line)
    lead = _LEAD.match(line)
    return f"{_escape_lead(lead)}{line[lead.end() :]}" if lead else line


def _escape_lead(found: re.Match[str]) -> str:
    space, lead = found.groups()
    return f"{space}{lead}\\" if lead.isdigit() else f"{space}\\{lead}"


# --- times, for people -----------------------------------------------------------------------------------------------

_WITH_PLURAL = frozenset({"day", "working day", "month"})
_UNITS = ((86400, "day"), (3600, "h"), (60, "min"), (1, "s"))
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def humanise(duration: Duration) -> str:
    """Give a duration as people say it, its two largest units: `7 days`, `2 h 15 min`."""
    parts = [_counted(duration.months, "month")] if duration.months else []
    parts += [_counted(duration.business_days, "working day")] if duration.business_days else []
    left = round(abs(duration.seconds))
    first: int | None = None
    for position, (size, unit) in enumerate(_UNITS):
        count, rest = divmod(left, size)
        if first is not None and position > first + 1:
            break
        if count:
            parts.append(_counted(count, unit))
            first = position if first is None else first
        left = rest
    text = " ".join(parts) or "0 s"
    return f"-{text}" if duration.seconds < 0 and round(duration.seconds) else text


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}s" if count != 1 and unit in _WITH_PLURAL else f"{count} {unit}"


def humanise_ago(instant: datetime, now: datetime) -> str:
    """Give an instant by its distance: `3 days ago`, `in 2 h`, `just now`."""
    seconds = (now - instant).total_seconds()
    if abs(seconds) < 1:
        return "just now"
    size = next(size for size, _ in _UNITS if abs(seconds) >= size)
    text = humanise(Duration(abs(seconds) // size * size))
    return f"{text} ago" if seconds > 0 else f"in {text}"


def localise(instant: datetime, zone: str) -> str:
    """Give an instant as people of a zone read it: `Mon 2 Mar 2026 10:00 CET`."""
    local = _in_zone(instant, zone)
    name = "UTC" if local.utcoffset() == UTC.utcoffset(None) and zone == "UTC" else local.strftime("%Z")
    if name[:1] in "+-":  # a zone without letters of its own
        name = f"UTC{local.strftime('%z')[:3]}:{local.strftime('%z')[3:5]}"
    day = f"{_WEEKDAYS[local.weekday()]} {local.day} {_MONTHS[local.month - 1]} {local.year}"
    return f"{day} {local.hour:02}:{local.minute:02} {name}"
