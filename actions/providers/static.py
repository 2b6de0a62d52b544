"""The status page that needs no account: a folder of plain HTML files and an RSS feed, for any web server.

`status.json` in the folder is what the page is made of: every entry with its messages, each with the token of the
effect that added it, so that no effect adds a message twice. It holds nothing that the page does not show, and may be
edited by hand. The pages and the feed follow from it; each file is replaced as a whole. Which incident an entry tells
of is kept in the engine's database alone.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from email.utils import format_datetime
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import quote
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, field_validator

from actions.providers import files
from actions.providers.static_entries import BADNESS, Entry, Kept, as_line, read, worst, written
from actions.providers.static_text import html
from engine import calendars
from engine.domain import ComponentState, StatusEntry, StatusImpact, StatusUpdate
from engine.plugins import (
    ActionError,
    Connection,
    Duration,
    Effect,
    Field,
    Options,
    Provider,
    native,
    provider,
    tell_incident,
)

_DATA = "status.json"
_LARGEST_FILE = 64 * 1024 * 1024
_RENEWED = timedelta(hours=1)
_MOST_NEWS = 50  #: messages in the feed
_OURS = b'<meta name="generator" content="Hotwash" />'
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MOST_DAYS = 90  #: bars of a component
_MOST_MESSAGES = 5  #: of an open entry on the first page
#: How bad something is, from 0 to 4, decides its colour and its sign.
_IMPACT: Mapping[StatusImpact, tuple[int, str]] = {
    "none": (0, "No impact"),
    "minor": (2, "Minor impact"),
    "major": (3, "Major impact"),
    "critical": (4, "Critical impact"),
}
_MAINTENANCE = (1, "Maintenance")
#: The page's sign in a browser's tab, by how bad it is.
_SIGNS = (
    "<circle cx='4' cy='4' r='4' fill='#176f37'/>",
    "<circle cx='4' cy='4' r='3' fill='none' stroke='#5b3cc4' stroke-width='2'/>",
    "<rect width='8' height='8' rx='1' fill='#855a00'/>",
    "<path d='M4 0 8 4 4 8 0 4z' fill='#ad4a00'/>",
    "<path d='M4 0 8 8H0z' fill='#b3202c'/>",
)
_HEADLINES = (
    "All systems are operational",
    "Maintenance is under way",
    "Some systems are slow or limited",
    "Some systems are partly down",
    "There is a major outage",
)


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"must be a time zone such as Europe/Prague or UTC, not '{name}'")
    return name


def _address(url: str) -> str:
    if not re.fullmatch(r"https?://[^\s?#]+", url):
        raise ValueError("must be where the folder is read, such as https://status.example.com")
    return url


def _history(length: calendars.Duration) -> calendars.Duration:
    if not length.exact or not 0 < length.seconds <= 3653 * 86400:
        raise ValueError(f"must be a length such as 30d, up to ten years, not {length}")
    return length


class Component(Options):
    """One component of the page."""

    name: str = Field(min_length=1, max_length=100, description="What those outside call it.")
    description: str | None = Field(default=None, max_length=300, description="A line below its name.")
    services: list[str] = Field(default=[], description="Services that it stands for, beside one of its own key.")


class StaticOptions(Options):
    """Options of the static status page.

    Example:
        status:
          provider: static
          folder: status
          title: Example status
          url: https://status.example.com
          components:
            checkout: Checkout
            api:
              name: API
              description: For partners
              services: [gateway, webhooks]
    """

    folder: str = Field(default="status", min_length=1, description="Where the page is, from the project's folder.")
    title: str = Field(default="Status", min_length=1, max_length=100, description="The page's heading.")
    url: Annotated[str, AfterValidator(_address)] | None = Field(
        default=None, description="Where people read it; by default links are file://."
    )
    timezone: Annotated[str, AfterValidator(_zone)] | None = Field(
        default=None, description="The zone that its times are shown in; by default the project's."
    )
    history: Annotated[Duration, AfterValidator(_history)] = Field(
        default=calendars.Duration(30 * 86400), description="How long what is resolved stays on the first page."
    )
    components: dict[str, Component] = Field(
        default={}, description="Each component by its key: its name, or `name`, `description` and `services`."
    )

    @field_validator("components", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        """Take a name alone for a component; none is its key."""
        if not isinstance(given, Mapping):
            return given
        return {
            key: {"name": key if one is None else one} if one is None or isinstance(one, str) else one
            for key, one in given.items()
        }


# --- the page --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Site:
    """What all pages share."""

    options: StaticOptions
    base: str  #: the address of the folder
    zone: ZoneInfo

    def states(self, entries: Sequence[Entry]) -> dict[str, ComponentState]:
        """Give the state of each component: the worst that an open entry says of it."""
        told = [entry.states() for entry in entries]
        return {key: worst(states[key] for states in told if key in states) for key in self.options.components}

    def keys_of(self, name: str) -> list[str]:
        """Give the components that a component's key or name, or a service, stands for."""
        components = self.options.components
        if name in components:
            return [name]
        return [key for key, one in components.items() if name == one.name or name in one.services]

    def address(self, entry: Entry) -> str:
        return f"{self.base}/incidents/{entry.id}.html"

    def data(self, kept: Kept) -> bytes:
        """Give what is kept as JSON; the state of the components stands in it for those who read it."""
        states = self.states(kept.entries)
        components = [
            {"id": key, "name": one.name, "state": states[key]} for key, one in self.options.components.items()
        ]
        return written(kept, title=self.options.title, url=self.options.url, components=components)

    def pages(self, kept: Kept, now: datetime) -> Iterator[tuple[str, bytes]]:
        """Give each file's name and content, the pages of single incidents first: others lead to them."""
        newest = sorted(kept.entries, key=lambda entry: (entry.created_at, entry.id), reverse=True)
        shown = {entry.id: self._shown(entry) for entry in newest}
        for entry in newest:
            one = shown[entry.id]
            yield f"incidents/{entry.id}.html", self._page("incident", entry.title, one["rank"], up="../", one=one)
        months = groupby(newest, key=lambda entry: _month(self._local(entry.created_at)))
        listed = [(month, [shown[entry.id] for entry in group]) for month, group in months]
        yield "history.html", self._page("history", "All incidents", 0, months=listed)
        yield "index.html", self._first_page(kept, newest, shown, now)
        yield "feed.xml", self._feed(kept.entries)

    def _first_page(
        self, kept: Kept, newest: Sequence[Entry], shown: Mapping[str, Mapping[str, Any]], now: datetime
    ) -> bytes:
        since = now - self.options.history.timedelta()
        states = self.states(kept.entries)
        opened = [shown[entry.id] for entry in newest if entry.open]
        past = [entry for entry in newest if not entry.open and (entry.resolved_at or now) >= since]
        days = groupby(past, key=lambda entry: _day(self._local(entry.created_at)))
        rank = max([0, *(BADNESS.index(state) for state in states.values()), *(one["rank"] for one in opened)])
        return self._page(
            "index",
            None,
            rank,
            headline=_HEADLINES[rank],
            affected=", ".join(
                self.options.components[key].name for key, state in states.items() if state != "operational"
            ),
            open=opened,
            most=_MOST_MESSAGES,
            days=[(day, [shown[entry.id] for entry in group]) for day, group in days],
            earlier=bool(newest),
            components=self._components(kept, states, now),
            bars=self._length(),
            written=now,
        )

    def _page(self, kind: str, heading: str | None, rank: int, *, up: str = "", **more: Any) -> bytes:
        site = {"title": self.options.title, "history": _days(self.options.history)}
        given = {"kind": kind, "heading": heading, "rank": rank, "up": up, "site": site, "written": None, **more}
        given |= {"zone": self.zone.key, "sign": _sign(rank)}
        text: str = _template(self.zone).render(given)
        return f"{text}\n".encode()

    def _local(self, at: datetime) -> datetime:
        return at.astimezone(self.zone)

    def _length(self) -> int:
        """Give how many days a component's bars tell of; one or none is not worth a drawing."""
        days = min(_MOST_DAYS, round(self.options.history.seconds / 86400))
        return days if days > 1 else 0

    def _components(self, kept: Kept, states: Mapping[str, ComponentState], now: datetime) -> list[dict[str, Any]]:
        today = self._local(now).date()
        days = [today - timedelta(days=back) for back in reversed(range(self._length()))]
        by_day = kept.by_day(states, days, now, self.zone)
        return [
            {
                "name": one.name,
                "description": one.description,
                "rank": BADNESS.index(states[key]),
                "word": _word(states[key]),
                "bars": [_bar(day, state) for day, state in zip(days, by_day[key], strict=True)],
                "told": _told_days(days, by_day[key]),
            }
            for key, one in self.options.components.items()
        ]

    def _shown(self, entry: Entry) -> dict[str, Any]:
        from markupsafe import Markup

        names = [one.name for key, one in self.options.components.items() if key in entry.components]
        impact = _IMPACT[entry.impact if entry.open else entry.worst_impact]
        impact_rank, impact_word = _MAINTENANCE if entry.maintenance else impact
        return {
            "id": entry.id,
            "title": entry.title,
            "open": entry.open,
            "rank": impact_rank if entry.open else 0,
            "state_word": entry.state.capitalize(),
            "impact_rank": impact_rank,
            "impact_word": impact_word,
            "affected": ", ".join(names),
            "created_at": entry.created_at,
            "resolved_at": entry.resolved_at,
            "updates": [
                {"word": one.state.capitalize(), "at": one.at, "html": Markup(html(one.text))}
                for one in reversed(entry.updates)
            ],
        }

    def _feed(self, entries: Sequence[Entry]) -> bytes:
        """Give the newest messages as RSS 2.0."""
        from xml.etree import ElementTree

        news = [(one, entry) for entry in entries for one in entry.updates]
        news = sorted(news, key=lambda pair: pair[0].at)[-_MOST_NEWS:]
        rss = ElementTree.Element("rss", {"version": "2.0"})
        channel = ElementTree.SubElement(rss, "channel")
        add = partial(_add_element, channel)
        add("title", self.options.title)
        add("link", f"{self.base}/index.html")
        add("description", f"Incidents of {self.options.title}")
        add("language", "en")
        add("generator", "Hotwash")
        if news:
            add("lastBuildDate", format_datetime(news[-1][0].at))
        if self.options.url:
            rss.set("xmlns:atom", "http://www.w3.org/2005/Atom")
            kind = {"href": f"{self.base}/feed.xml", "rel": "self", "type": "application/rss+xml"}
            ElementTree.SubElement(channel, "atom:link", kind)
        for one, entry in reversed(news):
            item = ElementTree.SubElement(channel, "item")
            _add_element(item, "title", f"{one.state.capitalize()}: {entry.title}")
            _add_element(item, "link", self.address(entry))
            _add_element(item, "description", html(one.text))
            _add_element(item, "guid", f"hotwash:{one.effect}").set("isPermaLink", "false")
            _add_element(item, "pubDate", format_datetime(self._local(one.at)))
        data: bytes = ElementTree.tostring(rss, encoding="utf-8", xml_declaration=True)
        return data + b"\n"


def _add_element(parent: Any, name: str, text: str) -> Any:
    from xml.etree import ElementTree

    element = ElementTree.SubElement(parent, name)
    element.text = text
    return element


@cache
def _template(zone: ZoneInfo) -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["iso"] = lambda at: at.astimezone(zone).isoformat(timespec="seconds")
    environment.filters["shown"] = lambda at: _moment(at.astimezone(zone))
    environment.filters["shown_after"] = lambda at, start: _later(at.astimezone(zone), start.astimezone(zone))
    environment.filters["since"] = lambda at, start: _lasting(at - start)
    return environment.from_string(Path(__file__).with_suffix(".html").read_text("utf-8"))


def _sign(rank: int) -> str:
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'>{_SIGNS[rank]}</svg>"
    return f"data:image/svg+xml,{quote(svg)}"


def _moment(local: datetime) -> str:
    return f"{_day(local)}, {local:%H:%M %Z}"


def _later(local: datetime, start: datetime) -> str:
    """Give an instant that is read after another: without the day where it is the same."""
    return f"{local:%H:%M %Z}" if local.date() == start.date() else _moment(local)


def _day(day: date) -> str:
    return f"{_DAYS[day.weekday()]} {day.day} {_month(day)}"


def _month(day: date) -> str:
    return f"{_MONTHS[day.month - 1]} {day.year}"


def _lasting(length: timedelta) -> str:
    minutes = round(length.total_seconds() / 60)
    if minutes < 1:
        return "less than a minute"
    days, hours = divmod(minutes // 60, 24)
    parts = [(days, "day" if days == 1 else "days"), (hours, "h"), (minutes % 60, "min")]
    return " ".join([f"{number} {unit}" for number, unit in parts if number][:2])


def _word(state: ComponentState) -> str:
    return state.replace("_", " ").capitalize()


def _bar(day: date, state: ComponentState | None) -> dict[str, Any]:
    word = _word(state) if state is not None else "not recorded"
    return {"rank": None if state is None else BADNESS.index(state), "title": f"{_day(day)}: {word}"}


def _told_days(days: Sequence[date], states: Sequence[ComponentState | None]) -> str:
    """Say in words what the bars of a component show."""
    told = []
    for state in reversed(BADNESS[1:]):
        on = [f"{day.day} {_MONTHS[day.month - 1]}" for day, one in zip(days, states, strict=True) if one == state]
        told += [f"{_word(state)} on {', '.join(on)}"] if on else []
    return "; ".join(told) or "no trouble"


def _days(length: calendars.Duration) -> str:
    days = round(length.seconds / 86400)
    if days >= 1:
        return f"{days} days" if days > 1 else "day"
    hours = max(1, round(length.seconds / 3600))
    return f"{hours} hours" if hours > 1 else "hour"


# --- the provider ----------------------------------------------------------------------------------------------------


class StaticPage:
    """Keep a status page as HTML files and an RSS feed in a folder. Needs no account and no JavaScript."""

    def __init__(self, options: StaticOptions, connection: Connection) -> None:
        self._options = options
        self._connection = connection
        self._root = connection.folder / options.folder
        self._lock = threading.Lock()
        self._ending = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    async def astart(self) -> None:
        """Write the page anew with the engine's start, and then once an hour: its days go on when nothing happens.

        There is one before anything happens, and it has its options. A page that hotwash.yaml does not mention begins
        with its first entry.
        """
        await self._renew()
        self._keeping = asyncio.create_task(self._keep_current())

    async def aclose(self) -> None:
        """Let the page be as it is."""
        self._ending.set()
        if self._keeping is not None:
            await self._keeping

    async def _keep_current(self) -> None:
        clock = self._connection.clock
        while not self._ending.is_set():
            await clock.wait_until(clock.now() + _RENEWED, self._ending)
            if not self._ending.is_set():
                await self._renew()

    async def _renew(self) -> None:
        if not self._options.model_fields_set and not (self._root / _DATA).exists():
            return
        try:
            await asyncio.to_thread(self._refresh)
        except ActionError as error:
            self._connection.say(f"the status page is not written: {error}")

    @native
    async def create(self, title: str, update: StatusUpdate, *, incident: str | None, effect: Effect) -> StatusEntry:
        """Open an entry, unless this effect has opened it before.

        Raises:
            ActionError: a file cannot be read or written.
        """
        fresh = Entry(
            effect.token[:16], as_line(title), update.state or "investigating", update.impact or "minor", effect.at
        )
        entry, left_out = await asyncio.to_thread(self._change, fresh, update, effect)
        if incident is not None:
            effect.save(self._connection.name, f"entry/{entry.id}", {"incident": incident})
        return self._told(entry, incident, left_out, effect)

    @native
    async def update(self, entry: str, update: StatusUpdate, *, effect: Effect) -> StatusEntry:
        """Add a message, unless this effect has added it before. To resolve what is resolved adds nothing.

        Raises:
            ActionError: there is no such entry, or a file cannot be written.
        """
        local = self._local(entry)
        changed, left_out = await asyncio.to_thread(self._change, local, update, effect)
        return self._told(changed, self._incident_of(changed), left_out, effect)

    async def get(self, entry: str) -> StatusEntry | None:
        """Give an entry as the page has it."""
        local = self._local(entry)
        found = next((one for one in (await asyncio.to_thread(self._load)).entries if one.id == local), None)
        return self._record(found, self._incident_of(found), ()) if found is not None else None

    async def check(self) -> str | None:
        """Say what is wrong with the folder."""
        try:
            await asyncio.to_thread(self._load)
        except ActionError as error:
            return str(error)
        if self._root.is_dir() and not os.access(self._root, os.W_OK | os.X_OK):
            return f"'{self._options.folder}' cannot be written to"
        return None

    def _local(self, entry: str) -> str:
        return entry.removeprefix(f"{self._connection.name}:")

    def _incident_of(self, entry: Entry) -> str | None:
        row = self._connection.storage.get(f"entry/{entry.id}")
        return str(row["incident"]) if row is not None else None

    def _told(self, entry: Entry, incident: str | None, left_out: Sequence[str], effect: Effect) -> StatusEntry:
        record = self._record(entry, incident, left_out)
        tell_incident(record, effect)
        return record

    def _record(self, entry: Entry, incident: str | None, left_out: Sequence[str]) -> StatusEntry:
        return StatusEntry(
            id=f"{self._connection.name}:{entry.id}",
            title=entry.title,
            url=self._site().address(entry),
            state=entry.state,
            impact=entry.impact,
            components=entry.states(),
            incident=incident,
            created_at=entry.created_at,
            resolved_at=entry.resolved_at,
            left_out=tuple(left_out),
        )

    def _site(self) -> _Site:
        base = self._options.url.rstrip("/") if self._options.url else self._root.absolute().as_uri()
        return _Site(self._options, base, ZoneInfo(self._options.timezone or self._connection.zone))

    # The rest runs in a thread: files are written with fsync.

    def _change(self, which: Entry | str, news: StatusUpdate, effect: Effect) -> tuple[Entry, list[str]]:
        """Add a message to an entry, and write every file; the page is also written where nothing is new."""
        components, left_out = self._affected(news)
        with self._lock:
            kept = self._load()
            entry = next((one for one in kept.entries if any(m.effect == effect.token for m in one.updates)), None)
            if entry is None:
                entry = which if isinstance(which, Entry) else self._existing(which, kept)
                if news.state != "resolved" or entry.open or not entry.updates:
                    entry = entry.with_message(news, components, effect)
                    kept = kept.with_entry(entry)
                    self._write(_DATA, self._site().data(kept))
            self._publish(kept)
        return entry, left_out

    def _affected(self, news: StatusUpdate) -> tuple[dict[str, ComponentState | None], list[str]]:
        """Give the components that are named, by key, and what names none."""
        site = self._site()
        found: dict[str, ComponentState | None] = {}
        left_out: list[str] = []
        for name, state in news.components.items():
            keys = site.keys_of(name)
            found |= dict.fromkeys(keys, state)
            left_out += [] if keys else [name]
        return found, left_out

    def _existing(self, local: str, kept: Kept) -> Entry:
        found = next((one for one in kept.entries if one.id == local), None)
        if found is None:
            raise ActionError(f"the status page '{self._options.folder}' has no entry '{local}'", code="not-found")
        return found

    def _refresh(self) -> None:
        with self._lock:
            kept = self._load()
            self._write(_DATA, self._site().data(kept))
            self._publish(kept)

    def _load(self) -> Kept:
        """Give what is kept; a page that begins now has no entries.

        Raises:
            ActionError: what is kept cannot be read, or the folder holds a page of somebody else's.
        """
        shown = f"{self._options.folder}/{_DATA}"
        try:
            if (self._root / _DATA).is_symlink():
                raise ValueError("it is a symbolic link")
            data = self._content(_DATA)
            if data is None:
                self._refuse_foreign()
                return Kept(self._connection.clock.now())
            return read(data, self._connection.clock.now())
        except OSError as error:
            raise ActionError(f"'{shown}' cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ActionError(f"'{shown}' cannot be read: {error}") from error
        except RecursionError as error:
            raise ActionError(f"'{shown}' cannot be read: it is nested too deep") from error

    def _refuse_foreign(self) -> None:
        page = self._content("index.html")
        if page is not None and _OURS not in page:
            raise ActionError(f"'{self._options.folder}/index.html' is there already and is no page of ours")

    def _content(self, name: str) -> bytes | None:
        path = self._root / name
        if path.is_symlink():
            return None
        try:
            if path.stat().st_size > _LARGEST_FILE:
                raise ValueError(f"it is larger than {_LARGEST_FILE // 1024**2} MiB")
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def _publish(self, kept: Kept) -> None:
        for name, data in self._site().pages(kept, self._connection.clock.now()):
            self._write(name, data)

    def _write(self, name: str, data: bytes) -> None:
        """Put a file in place as a whole, where it says something else."""
        target = self._root / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.parent.resolve().is_relative_to(self._root.resolve()):
                raise ActionError(f"'{self._options.folder}/{name}' lies outside of the folder")
            if self._content(name) != data:
                files.put(target, data)
        except OSError as error:
            raise ActionError(f"'{self._options.folder}/{name}' cannot be written: {error.strerror}") from error


Static: Provider = provider("static", StaticOptions, serves=("status_page",))(cast(Any, StaticPage))
