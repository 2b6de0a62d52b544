"""What the static status page is made of: entries with their messages, kept as JSON that may be edited by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

from engine.domain import ComponentState, StatusImpact, StatusState, StatusUpdate
from engine.plugins import Effect

#: What neither HTML nor XML can hold.
_UNWRITTEN = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]")
_FOLLOWS: Mapping[StatusImpact, ComponentState] = {
    "none": "operational",
    "minor": "degraded_performance",
    "major": "partial_outage",
    "critical": "major_outage",
}
#: The states of a component, from good to bad.
BADNESS: Sequence[ComponentState] = (
    "operational",
    "under_maintenance",
    "degraded_performance",
    "partial_outage",
    "major_outage",
)
_IMPACTS: Sequence[StatusImpact] = ("none", "minor", "major", "critical")


def worst(states: Iterable[ComponentState]) -> ComponentState:
    """Give the worst of some states; of none, operational."""
    return max(states, key=BADNESS.index, default="operational")


@dataclass(frozen=True, slots=True)
class Message:
    """One message of an entry. What it leaves open (files of the first version) is as the entry has it."""

    at: datetime
    state: StatusState
    text: str
    effect: str  #: token of the effect that added it
    impact: StatusImpact | None = None
    components: Mapping[str, ComponentState] | None = None  #: their states from this message on


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as it is kept. `components` are by key; one whose state is None follows the impact."""

    id: str
    title: str
    state: StatusState
    impact: StatusImpact
    created_at: datetime
    resolved_at: datetime | None = None
    components: Mapping[str, ComponentState | None] = field(default_factory=dict)
    updates: tuple[Message, ...] = ()  #: oldest first

    @property
    def open(self) -> bool:
        return self.state != "resolved"

    def states(self) -> dict[str, ComponentState]:
        """Give the state of each component as this entry has it."""
        return dict.fromkeys(self.components, "operational") if not self.open else self._told_states()

    def _told_states(self) -> dict[str, ComponentState]:
        return {key: state or _FOLLOWS[self.impact] for key, state in self.components.items()}

    @property
    def worst_impact(self) -> StatusImpact:
        """The worst that it ever said of itself."""
        return max([self.impact, *(one.impact for one in self.updates if one.impact)], key=_IMPACTS.index)

    @property
    def maintenance(self) -> bool:
        """Whether it tells of planned work that nobody else should notice."""
        told = [state for one in self.updates for state in (one.components or self._told_states()).values()]
        return self.worst_impact == "none" and worst(told) == "under_maintenance"

    def stretches(self, now: datetime) -> Iterator[tuple[datetime, datetime, Mapping[str, ComponentState]]]:
        """Give from when to when its components were in which states, up to `now`."""
        ends = [*(one.at for one in self.updates[1:]), now]
        for one, end in zip(self.updates, ends, strict=False):
            if one.state != "resolved":
                yield one.at, end, self._told_states() if one.components is None else one.components

    def with_message(
        self, news: StatusUpdate, components: Mapping[str, ComponentState | None], effect: Effect
    ) -> Entry:
        """Give the entry with a message more, and what the message says of it."""
        at = max([effect.at.astimezone(UTC), *(one.at for one in self.updates)])
        state = news.state or self.state
        changed = replace(
            self,
            title=as_line(news.title) if news.title is not None else self.title,
            state=state,
            impact=news.impact or self.impact,
            resolved_at=None if state != "resolved" else self.resolved_at or at,
            components={**self.components, **components},
        )
        message = Message(at, state, _clean(news.text), effect.token, changed.impact, changed.states())
        return replace(changed, updates=(*self.updates, message))


@dataclass(frozen=True, slots=True)
class Kept:
    """All entries, and since when there is a page: of what was before it, it knows nothing."""

    since: datetime
    entries: Sequence[Entry] = ()

    def with_entry(self, entry: Entry) -> Kept:
        """Give it with a new entry, or with what became of one."""
        return replace(self, entries=[*(one for one in self.entries if one.id != entry.id), entry])

    def by_day(
        self, keys: Iterable[str], days: Sequence[date], now: datetime, zone: ZoneInfo
    ) -> Mapping[str, list[ComponentState | None]]:
        """Give the worst state of each component on each of some days in a row, in a zone.

        None stands for a day before there was a page.
        """
        begun = self.since.astimezone(zone).date()
        found: dict[str, list[ComponentState | None]] = {
            key: [None if day < begun else "operational" for day in days] for key in keys
        }
        for start, end, states in (one for entry in self.entries for one in entry.stretches(now)):
            first = start.astimezone(zone).date()
            last = max(start, end - timedelta(microseconds=1)).astimezone(zone).date()  # midnight is of the day before
            touched = [at for at, day in enumerate(days) if first <= day <= last]
            for key in states.keys() & found.keys():
                for at in touched:
                    found[key][at] = worst([found[key][at] or "operational", states[key]])
        return found


# --- as JSON ---------------------------------------------------------------------------------------------------------


def as_line(text: str) -> str:
    """Give a text as one line that HTML and XML can hold."""
    return " ".join(_clean(text).split()) or "Untitled"


def _clean(text: str) -> str:
    return _UNWRITTEN.sub("", text.replace("\r\n", "\n"))


def read(data: bytes, now: datetime) -> Kept:
    """Read what is kept.

    Raises:
        ValueError: it is not what `written` makes; with a sentence where somebody's edit may have been the cause.
    """
    found = json.loads(data)
    if not isinstance(found, dict) or not isinstance(found.get("incidents"), list):
        raise ValueError("it must hold 'incidents', a list")
    entries = [_entry(one, number) for number, one in enumerate(found["incidents"], start=1)]
    if len({entry.id for entry in entries}) < len(entries):
        raise ValueError("two of its incidents have the same 'id'")
    oldest = min((entry.created_at for entry in entries), default=now)
    return Kept(_instant(found["since"]) if "since" in found else oldest, entries)


def _entry(raw: Any, number: int) -> Entry:
    try:
        resolved_at = raw.get("resolved_at")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", raw["id"]):
            raise ValueError(f"'{raw['id']}' is no id")
        return Entry(
            raw["id"],
            as_line(_text(raw["title"])),
            _one_of(StatusState, raw["state"]),
            _one_of(StatusImpact, raw["impact"]),
            _instant(raw["created_at"]),
            None if resolved_at is None else _instant(resolved_at),
            {_text(key): _or_none(ComponentState, state) for key, state in raw["components"].items()},
            tuple(map(_message, raw["updates"])),
        )
    except KeyError as error:
        raise ValueError(f"incident {number}: {error} is missing") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"incident {number}: {error}") from None


def _message(raw: Any) -> Message:
    states = raw.get("components")
    return Message(
        _instant(raw["at"]),
        _one_of(StatusState, raw["state"]),
        _text(raw["text"]),
        _text(raw["effect"]),
        _or_none(StatusImpact, raw.get("impact")),
        None if states is None else {_text(key): _one_of(ComponentState, state) for key, state in states.items()},
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} must be a text")
    return _clean(value)


def _instant(value: Any) -> datetime:
    found = datetime.fromisoformat(_text(value))
    if found.tzinfo is None:
        raise ValueError(f"'{value}' must have a time zone")
    return found.astimezone(UTC)


def _one_of(allowed: Any, value: Any) -> Any:
    if value not in get_args(allowed):
        raise ValueError(f"{value!r} must be one of {', '.join(get_args(allowed))}")
    return value


def _or_none(allowed: Any, value: Any) -> Any:
    return None if value is None else _one_of(allowed, value)


def written(kept: Kept, **about: Any) -> bytes:
    """Give what is kept as JSON, after what it is about, for those who read it."""
    found = {**about, "since": kept.since, "incidents": [asdict(entry) for entry in kept.entries]}
    text = json.dumps(found, ensure_ascii=False, indent=1, default=lambda value: value.isoformat())
    return (text + "\n").encode()
