"""The status page that needs no account: a folder of plain HTML files and an RSS feed, for any web server.

`status.json` in the folder is what the page is made of: every entry with its messages, each with the token of the
effect that added it, so that no effect adds a message twice. It holds nothing that the page does not show, and may be
edited by hand. The pages and the feed follow from it; each file is replaced as a whole. Which incident an entry tells
of is kept in the engine's database alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cache, partial
from html import escape
from pathlib import Path
from typing import Annotated, Any, cast, get_args
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, field_validator

from actions.providers import blocks, files
from actions.providers.blocks import Span
from engine import calendars
from engine.domain import ComponentState, StatusEntry, StatusImpact, StatusState, StatusUpdate
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
_MOST_NEWS = 50  #: messages in the feed
_OURS = b'<meta name="generator" content="Hotwash" />'
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: What neither HTML nor XML can hold.
_UNWRITTEN = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]")

_FOLLOWS: Mapping[StatusImpact, ComponentState] = {
    "none": "operational",
    "minor": "degraded_performance",
    "major": "partial_outage",
    "critical": "major_outage",
}
#: Each state of a component as people read it, from good to bad.
_COMPONENT: Mapping[ComponentState, tuple[int, str]] = {
    "operational": (0, "Operational"),
    "under_maintenance": (1, "Under maintenance"),
    "degraded_performance": (2, "Degraded performance"),
    "partial_outage": (3, "Partial outage"),
    "major_outage": (4, "Major outage"),
}
_IMPACT: Mapping[StatusImpact, tuple[int, str]] = {
    "none": (0, "No impact"),
    "minor": (2, "Minor impact"),
    "major": (3, "Major impact"),
    "critical": (4, "Critical impact"),
}
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


# --- what is kept ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Message:
    at: datetime
    state: StatusState
    text: str
    effect: str  #: token of the effect that added it


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry as it is kept. `components` are by key; one whose state is None follows the impact."""

    id: str
    title: str
    state: StatusState
    impact: StatusImpact
    created_at: datetime
    resolved_at: datetime | None = None
    components: Mapping[str, ComponentState | None] = field(default_factory=dict)
    updates: tuple[_Message, ...] = ()  #: oldest first

    @property
    def open(self) -> bool:
        return self.state != "resolved"

    def states(self) -> dict[str, ComponentState]:
        """Give the state of each component as this entry has it."""
        if not self.open:
            return dict.fromkeys(self.components, "operational")
        return {key: state or _FOLLOWS[self.impact] for key, state in self.components.items()}

    def with_message(
        self, news: StatusUpdate, components: Mapping[str, ComponentState | None], effect: Effect
    ) -> _Entry:
        at = max([effect.at.astimezone(UTC), *(one.at for one in self.updates)])
        state = news.state or self.state
        return replace(
            self,
            title=_line(news.title) if news.title is not None else self.title,
            state=state,
            impact=news.impact or self.impact,
            resolved_at=None if state != "resolved" else self.resolved_at or at,
            components={**self.components, **components},
            updates=(*self.updates, _Message(at, state, _clean(news.text), effect.token)),
        )


def _clean(text: str) -> str:
    return _UNWRITTEN.sub("", text.replace("\r\n", "\n"))


def _line(text: str) -> str:
    return " ".join(_clean(text).split()) or "Untitled"


def _read(data: bytes) -> list[_Entry]:
    """Read what is kept.

    Raises:
        ValueError: it is not what `_written` makes; with a sentence where somebody's edit may have been the cause.
    """
    found = json.loads(data)
    if not isinstance(found, dict) or not isinstance(found.get("incidents"), list):
        raise ValueError("it must hold 'incidents', a list")
    entries = [_entry(one, number) for number, one in enumerate(found["incidents"], start=1)]
    if len({entry.id for entry in entries}) < len(entries):
        raise ValueError("two of its incidents have the same 'id'")
    return entries


def _entry(raw: Any, number: int) -> _Entry:
    try:
        updates = tuple(
            _Message(_instant(one["at"]), _one_of(StatusState, one["state"]), _text(one["text"]), _text(one["effect"]))
            for one in raw["updates"]
        )
        states = {
            _text(key): None if state is None else _one_of(ComponentState, state)
            for key, state in raw["components"].items()
        }
        resolved_at = raw.get("resolved_at")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", raw["id"]):
            raise ValueError(f"'{raw['id']}' is no id")
        return _Entry(
            raw["id"],
            _line(_text(raw["title"])),
            _one_of(StatusState, raw["state"]),
            _one_of(StatusImpact, raw["impact"]),
            _instant(raw["created_at"]),
            None if resolved_at is None else _instant(resolved_at),
            states,
            updates,
        )
    except KeyError as error:
        raise ValueError(f"incident {number}: {error} is missing") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"incident {number}: {error}") from None


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


def _written(site: _Site, entries: Sequence[_Entry]) -> bytes:
    """Give what is kept as JSON; the state of the components stands in it for those who read it."""
    states = site.states(entries)
    found = {
        "title": site.options.title,
        "url": site.options.url,
        "components": [
            {"id": key, "name": one.name, "state": states[key]} for key, one in site.options.components.items()
        ],
        "incidents": [asdict(entry) for entry in entries],
    }
    text = json.dumps(found, ensure_ascii=False, indent=1, default=lambda value: value.isoformat())
    return (text + "\n").encode()


# --- the page --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Site:
    """What all pages share."""

    options: StaticOptions
    base: str  #: the address of the folder
    zone: str

    def states(self, entries: Sequence[_Entry]) -> dict[str, ComponentState]:
        """Give the state of each component: the worst that an open entry says of it."""
        found: dict[str, ComponentState] = dict.fromkeys(self.options.components, "operational")
        for entry in entries:
            for key, state in entry.states().items():
                if key in found and _COMPONENT[state] > _COMPONENT[found[key]]:
                    found[key] = state
        return found

    def keys_of(self, name: str) -> list[str]:
        """Give the components that a component's key or name, or a service, stands for."""
        components = self.options.components
        if name in components:
            return [name]
        return [key for key, one in components.items() if name == one.name or name in one.services]

    def address(self, entry: _Entry) -> str:
        return f"{self.base}/incidents/{entry.id}.html"

    def pages(self, entries: Sequence[_Entry], now: datetime) -> Iterator[tuple[str, bytes]]:
        """Give each file's name and content, the pages of single incidents first: others lead to them."""
        newest = sorted(entries, key=lambda entry: (entry.created_at, entry.id), reverse=True)
        shown = {entry.id: self._shown(entry) for entry in newest}
        for entry in newest:
            yield (
                f"incidents/{entry.id}.html",
                self._page("incident", f"{entry.title} – {self.options.title}", up="../", one=shown[entry.id]),
            )
        title = f"All incidents – {self.options.title}"
        yield "history.html", self._page("history", title, entries=list(shown.values()))
        since = now - self.options.history.timedelta()
        states = self.states(entries)
        opened = [entry for entry in newest if entry.open]
        past = [entry for entry in newest if not entry.open and (entry.resolved_at or now) >= since]
        rank = max(
            [_COMPONENT[state][0] for state in states.values()] + [_IMPACT[one.impact][0] for one in opened] + [0]
        )
        yield (
            "index.html",
            self._page(
                "index",
                self.options.title,
                rank=rank,
                headline=_HEADLINES[rank],
                open=[shown[entry.id] for entry in opened],
                past=[shown[entry.id] for entry in past],
                earlier=bool(entries),
                components=[self._component(key, states[key]) for key in states],
                written=now,
            ),
        )
        yield "feed.xml", self._feed(entries)

    def _page(self, kind: str, heading: str, *, up: str = "", **more: Any) -> bytes:
        site = {"title": self.options.title, "history": _days(self.options.history)}
        words = {"kind": kind, "heading": heading, "up": up, "site": site, "written": None, **more}
        text: str = _template(self.zone).render(words)
        return f"{text}\n".encode()

    def _component(self, key: str, state: ComponentState) -> dict[str, Any]:
        one = self.options.components[key]
        rank, word = _COMPONENT[state]
        return {"name": one.name, "description": one.description, "rank": rank, "word": word}

    def _shown(self, entry: _Entry) -> dict[str, Any]:
        from markupsafe import Markup

        names = [one.name for key, one in self.options.components.items() if key in entry.components]
        return {
            "id": entry.id,
            "title": entry.title,
            "rank": _IMPACT[entry.impact][0] if entry.open else 0,
            "state_word": entry.state.capitalize(),
            "impact_word": _IMPACT[entry.impact][1],
            "affected": ", ".join(names),
            "created_at": entry.created_at,
            "resolved_at": entry.resolved_at,
            "updates": [
                {"word": one.state.capitalize(), "at": one.at, "html": Markup(_html(one.text))}
                for one in reversed(entry.updates)
            ],
        }

    def _feed(self, entries: Sequence[_Entry]) -> bytes:
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
            _add_element(item, "description", _html(one.text))
            _add_element(item, "guid", f"hotwash:{one.effect}").set("isPermaLink", "false")
            _add_element(item, "pubDate", format_datetime(one.at.astimezone(ZoneInfo(self.zone))))
        data: bytes = ElementTree.tostring(rss, encoding="utf-8", xml_declaration=True)
        return data + b"\n"


def _add_element(parent: Any, name: str, text: str) -> Any:
    from xml.etree import ElementTree

    element = ElementTree.SubElement(parent, name)
    element.text = text
    return element


@cache
def _template(zone: str) -> Any:
    from jinja2 import Environment, StrictUndefined

    local = ZoneInfo(zone)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["iso"] = lambda at: at.astimezone(local).isoformat(timespec="seconds")
    environment.filters["shown"] = lambda at: _moment(at.astimezone(local))
    return environment.from_string(Path(__file__).with_suffix(".html").read_text("utf-8"))


def _moment(local: datetime) -> str:
    day = f"{_DAYS[local.weekday()]} {local.day} {_MONTHS[local.month - 1]} {local.year}"
    return f"{day}, {local:%H:%M %Z}"


def _days(length: calendars.Duration) -> str:
    days = round(length.seconds / 86400)
    if days >= 1:
        return f"{days} days" if days > 1 else "day"
    hours = max(1, round(length.seconds / 3600))
    return f"{hours} hours" if hours > 1 else "hour"


# --- Markdown as HTML ------------------------------------------------------------------------------------------------


def _html(markdown: str) -> str:
    """Give Markdown as HTML; whatever is no Markdown in it, HTML included, is text."""
    return "\n".join(map(_block, blocks.blocks(markdown)))


def _block(block: blocks.Block) -> str:
    match block:
        case blocks.Heading():  # the page has headings of its own
            return f"<p><strong>{_spans(block.spans)}</strong></p>"
        case blocks.Paragraph():
            return f"<p>{_spans(block.spans)}</p>"
        case blocks.Listing():
            items = "".join(f"<li>{_item(item)}</li>" for item in block.items)
            start = f' start="{block.start}"' if block.ordered and block.start != 1 else ""
            return f"<ol{start}>{items}</ol>" if block.ordered else f"<ul>{items}</ul>"
        case blocks.Code():
            return f"<pre><code>{escape(block.text)}</code></pre>"
        case blocks.Quote():
            return f"<blockquote>{''.join(map(_block, block.blocks))}</blockquote>"
        case blocks.Rule():
            return "<hr />"
        case blocks.Grid():
            head = "".join(f"<th>{_spans(cell)}</th>" for cell in block.header)
            rows = "".join(f"<tr>{''.join(f'<td>{_spans(cell)}</td>' for cell in row)}</tr>" for row in block.rows)
            return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _item(item: blocks.Item) -> str:
    box = {None: "", True: "☑ ", False: "☐ "}[item.checked]
    first, rest = item.blocks[:1], item.blocks[1:]
    if first and isinstance(first[0], blocks.Paragraph):
        return box + _spans(first[0].spans) + "".join(map(_block, rest))
    return box + "".join(map(_block, item.blocks))


def _spans(spans: Sequence[Span]) -> str:
    return "".join(map(_span, spans))


def _span(span: Span) -> str:
    text = escape(span.text).replace("\n", "<br />")
    marks = (("code", span.code), ("s", span.struck), ("em", span.italic), ("strong", span.bold))
    for tag, on in marks:
        text = f"<{tag}>{text}</{tag}>" if on else text
    return f'<a href="{escape(span.link)}" rel="nofollow noopener">{text}</a>' if span.link else text


# --- the provider ----------------------------------------------------------------------------------------------------


class StaticPage:
    """Keep a status page as HTML files and an RSS feed in a folder. Needs no account and no JavaScript."""

    def __init__(self, options: StaticOptions, connection: Connection) -> None:
        self._options = options
        self._connection = connection
        self._root = connection.folder / options.folder
        self._lock = threading.Lock()

    async def astart(self) -> None:
        """Write the page anew with the engine's start: there is one before anything happens, and it has its options.

        A page that hotwash.yaml does not mention begins with its first entry.
        """
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
        fresh = _Entry(
            effect.token[:16], _line(title), update.state or "investigating", update.impact or "minor", effect.at
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
        found = next((one for one in await asyncio.to_thread(self._load) if one.id == local), None)
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

    def _incident_of(self, entry: _Entry) -> str | None:
        row = self._connection.storage.get(f"entry/{entry.id}")
        return str(row["incident"]) if row is not None else None

    def _told(self, entry: _Entry, incident: str | None, left_out: Sequence[str], effect: Effect) -> StatusEntry:
        record = self._record(entry, incident, left_out)
        tell_incident(record, effect)
        return record

    def _record(self, entry: _Entry, incident: str | None, left_out: Sequence[str]) -> StatusEntry:
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
        return _Site(self._options, base, self._options.timezone or self._connection.zone)

    # The rest runs in a thread: files are written with fsync.

    def _change(self, which: _Entry | str, news: StatusUpdate, effect: Effect) -> tuple[_Entry, list[str]]:
        """Add a message to an entry, and write every file; the page is also written where nothing is new."""
        components, left_out = self._affected(news)
        with self._lock:
            entries = self._load()
            entry = next((one for one in entries if any(m.effect == effect.token for m in one.updates)), None)
            if entry is None:
                entry = which if isinstance(which, _Entry) else self._existing(which, entries)
                if news.state != "resolved" or entry.open or not entry.updates:
                    entry = entry.with_message(news, components, effect)
                    entries = [*(one for one in entries if one.id != entry.id), entry]
                    self._write(_DATA, _written(self._site(), entries))
            self._publish(entries)
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

    def _existing(self, local: str, entries: Sequence[_Entry]) -> _Entry:
        found = next((one for one in entries if one.id == local), None)
        if found is None:
            raise ActionError(f"the status page '{self._options.folder}' has no entry '{local}'", code="not-found")
        return found

    def _refresh(self) -> None:
        with self._lock:
            entries = self._load()
            self._write(_DATA, _written(self._site(), entries))
            self._publish(entries)

    def _load(self) -> list[_Entry]:
        """Give the entries.

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
                return []
            return _read(data)
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

    def _publish(self, entries: Sequence[_Entry]) -> None:
        for name, data in self._site().pages(entries, self._connection.clock.now()):
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
