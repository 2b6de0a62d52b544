"""Documents as Markdown files with front matter in a folder, written so that git shows what changed and no more.

A document's front matter holds `id`, `title`, `status` (draft or published), and what is known of `template`,
`incident`, `created`, `effect` (the token of the effect that made it) and `shared_with`. People may add keys of their
own. To publish, they set the status to `published`; where the engine does, it notes the content it published as
`published_by_hotwash`, so that its own publishing is told from that of people. What is appended stands between two
comments, `<!-- hotwash:TOKEN -->` and `<!-- /hotwash:TOKEN HASH -->`, by which it is found again and left out of the
content for as long as nobody has edited it.

An edit replaces the file as a whole, atomically, and changes no other byte of it. Hidden files, symbolic links and
files that do not end in `.md` are passed over.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import os
import re
import stat
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import yaml

from actions.providers import files
from actions.providers.naming import slug
from engine.capabilities import ACTION_ITEM_COLUMNS, Changes, Table, find_column
from engine.domain import Document, Person
from engine.plugins import (
    ActionError,
    Connection,
    Effect,
    Fact,
    Field,
    Options,
    RetryLater,
    findable,
    idempotent,
    provider,
)

_T = TypeVar("_T")

_LARGEST_FILE = 4 * 1024 * 1024
_LARGEST_FRONT_MATTER = 64 * 1024
_OUR_PUBLISHING = "published_by_hotwash"
#: A look at the folder is worth it this often even if nothing was noticed: network drives tell no changes.
_LOOK_ANYWAY_MS = 60_000


class MarkdownOptions(Options):
    """Options of the documents' folder.

    Example:
        markdown:
          provider: markdown
          folder: documents
          url: https://git.example.com/sre/postmortems/blob/main
    """

    folder: str = Field(
        default="documents", min_length=1, description="Where the files are, from the project's folder."
    )
    url: str | None = Field(
        default=None, pattern="^https?://", description="Where people read the folder; by default links are file://."
    )


# --- front matter ----------------------------------------------------------------------------------------------------

_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)


class _Unreadable(Exception):
    """A file that is no document as it stands; the text says why."""


@functools.lru_cache(maxsize=1024)
def _front_matter(head: str) -> Mapping[str, Any]:
    """Read front matter. Every scalar is a text: an id of digits stays one, and a date is not turned into a zone."""
    if len(head) > _LARGEST_FRONT_MATTER:
        raise _Unreadable(f"its front matter is longer than {_LARGEST_FRONT_MATTER // 1024} KiB")
    try:
        found = yaml.load(head, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 2}: " if error.problem_mark else ""
        raise _Unreadable(f"its front matter cannot be read ({line}{error.problem})") from None
    except (yaml.YAMLError, RecursionError):
        raise _Unreadable("its front matter cannot be read") from None
    if found is None or found == "":
        return {}
    if not isinstance(found, dict):
        raise _Unreadable("its front matter must be keys and values, such as 'status: draft'")
    return found


def _dump(meta: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(meta), allow_unicode=True, sort_keys=False, default_flow_style=False, width=10_000)


def _with_key(head: str, key: str, value: str) -> str:
    """Set one key of front matter, leaving every other byte; where that cannot be done, write the front matter anew."""
    wanted = {**_front_matter(head), key: value}
    spliced = _spliced(head, key, value)
    try:
        if _front_matter(spliced) == wanted:
            return spliced
    except _Unreadable:
        pass
    return _dump(wanted)


def _spliced(head: str, key: str, value: str) -> str:
    line = _dump({key: value}).rstrip("\n")
    root = yaml.compose(head, Loader=yaml.BaseLoader)
    values = [node for name, node in root.value if name.value == key] if isinstance(root, yaml.MappingNode) else []
    if not values:
        return head + line + ("\r\n" if "\r\n" in head else "\n")
    start, end = values[-1].start_mark.index, values[-1].end_mark.index
    gap = " " if head[:start].endswith(":") else ""
    return head[:start] + gap + line.removeprefix(f"{key}: ") + head[end:]


@dataclass(frozen=True, slots=True)
class _Page:
    """One file, as read."""

    name: str  #: path from the folder, with `/`
    text: str
    head: tuple[int, int] | None  #: where the front matter stands in `text`; None where there is none
    start: int  #: where the body begins
    meta: Mapping[str, Any]

    @classmethod
    def parse(cls, name: str, text: str) -> _Page:
        found = _FRONT_MATTER.match(text)
        if found is None:
            return cls(name, text, None, 0, {})
        return cls(name, text, found.span(1), found.end(), _front_matter(found[1]))

    @property
    def id(self) -> str:
        """What `id` says, else the path without its ending."""
        return self.value("id") or self.name[: -len(".md")]

    @property
    def body(self) -> str:
        return self.text[self.start :]

    @property
    def title(self) -> str:
        """What `title` says, else the first heading, else the file's name."""
        if title := self.value("title"):
            return title
        heading = re.search(r"^#[ \t]+(\S.*?)[ \t\r#]*$", self.body, re.MULTILINE)
        return heading[1] if heading else Path(self.name).stem

    @property
    def published(self) -> bool:
        return (self.value("status") or "").casefold() == "published"

    def value(self, key: str) -> str | None:
        """Give the one-line text of a key of the front matter; None where it is missing, empty or null."""
        found = self.meta.get(key)
        text = " ".join(found.split()) if isinstance(found, str) else ""
        return None if text in ("", "~", "null") else text

    def holds(self, token: str) -> bool:
        """Whether the effect of this token made the document or appended to it."""
        return self.value("effect") == token or _opening(token) in self.text

    def with_body(self, body: str) -> str:
        return self.text[: self.start] + body

    def with_keys(self, keys: Mapping[str, str]) -> str:
        if self.head is None:
            return f"---\n{_dump(keys)}---\n\n{self.text.removeprefix(chr(0xFEFF))}"
        start, end = self.head
        head = self.text[start:end]
        for key, value in keys.items():
            head = _with_key(head, key, value)
        return self.text[:start] + head + self.text[end:]


# --- Markdown --------------------------------------------------------------------------------------------------------

_FENCE = re.compile(r"[ \t]*(`{3,}(?=[^`]*$)|~{3,})")
_COMMENT = re.compile(r"<!--.*?-->")
_DELIMITER = re.compile(r" {0,3}\|?[ \t]*:?-+:?[ \t]*(\|[ \t]*:?-+:?[ \t]*)*\|?[ \t\r]*")
_ENDS_TABLE = re.compile(
    r"[ \t\r]*$| {0,3}(#{1,6}([ \t]|$)|>|[-*+][ \t]|\d{1,9}[.)][ \t]|(-{3,}|\*{3,}|_{3,})[ \t\r]*$)"
)
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t\r]*$")
_BARE_PIPE = re.compile(r"(?<!\\)((?:\\\\)*)\|")


def _opening(token: str) -> str:
    return f"<!-- hotwash:{token} -->"


_APPENDED = re.compile(
    r"^<!-- hotwash:(?P<token>\S+) -->\n(?P<text>.*?\n)<!-- /hotwash:(?P=token) (?P<hash>[0-9a-f]+) -->$",
    re.DOTALL | re.MULTILINE,
)


def _short_hash(text: str, length: int = 16) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where a table stands: index of its header line, and of its rows."""

    header: tuple[str, ...]
    top: int
    rows: range

    def has(self, columns: Sequence[str]) -> bool:
        return all(find_column(self.header, column) is not None for column in columns)


def _readable(lines: Sequence[str]) -> list[bool]:
    """Say of each line whether it is text: outside of code fences and of comments that begin a line."""
    fence, comment = "", False
    readable: list[bool] = []
    for line in lines:
        bare = line.strip()
        opened = _FENCE.match(line)
        readable.append(not (fence or comment or opened or bare.startswith("<!--")))
        if fence:
            if bare.startswith(fence) and not bare.strip(fence[0]):
                fence = ""
        elif comment:
            comment = "-->" not in bare
        elif opened:
            fence = opened[1]
        elif bare.startswith("<!--"):
            comment = "-->" not in bare[4:]
    return readable


def _spans(line: str, *, code: bool = False) -> list[tuple[int, int]]:
    """Give where the cells of a table's row stand. With `code`, a pipe inside a code span does not end a cell."""
    end = len(line.rstrip())
    start = at = len(line) - len(line.lstrip())
    if line.startswith("|", at):
        start = at = at + 1
    spans: list[tuple[int, int]] = []
    while at < end:
        if line[at] == "|":
            spans.append((start, at))
            start = at + 1
        elif line[at] == "`" and code:
            run = len(line[at:]) - len(line[at:].lstrip("`"))
            closing = re.compile(rf"(?<!`)`{{{run}}}(?!`)").search(line, at + run)
            at = (closing.end() if closing else at + run) - 1
        elif line[at] == "\\":
            at += 1
        at += 1
    if line[start:end].strip():
        spans.append((start, end))
    return spans


def _row_spans(line: str, width: int) -> list[tuple[int, int]]:
    """Give where a row's cells stand; a bare pipe in a code span counts as text where the cells are too many else."""
    spans = _spans(line)
    if len(spans) > width and len(alternative := _spans(line, code=True)) == width:
        return alternative
    return spans


def _cell(line: str, span: tuple[int, int]) -> str:
    return _COMMENT.sub("", line[span[0] : span[1]].replace("\\|", "|")).strip()


def _row(line: str, width: int) -> tuple[str, ...]:
    cells = [_cell(line, span) for span in _row_spans(line, width)][:width]
    return tuple(cells) + ("",) * (width - len(cells))


def _grids(lines: Sequence[str]) -> Iterator[_Grid]:
    """Find the tables, as GitHub reads them."""
    readable = _readable(lines)
    at = 0
    while at + 1 < len(lines):
        if readable[at] and readable[at + 1] and (header := _header(lines[at], lines[at + 1])):
            end = at + 2
            while end < len(lines) and readable[end] and not _ENDS_TABLE.match(lines[end]):
                end += 1
            yield _Grid(header, at, range(at + 2, end))
            at = end
        else:
            at += 1


def _header(line: str, below: str) -> tuple[str, ...]:
    if "|" not in line or line.startswith(("    ", "\t")) or not _DELIMITER.fullmatch(below):
        return ()
    spans = _spans(line)
    return tuple(_cell(line, span) for span in spans) if len(spans) == len(_spans(below)) else ()


def _with_cell(line: str, index: int, value: str, width: int) -> str:
    """Put `value` into one cell of a row, in the room it has where it fits; a row that is too short is made longer."""
    bare = line.rstrip()
    spans = _row_spans(bare, width)
    if index < len(spans):
        start, end = spans[index]
        if bare[start:end].strip() == value:
            return line
        room = f" {value} ".ljust(end - start) if end < len(bare) else f" {value}"
        return bare[:start] + room + bare[end:] + line[len(bare) :]
    if not spans or spans[-1][1] == len(bare):
        bare += " |"
    return bare + "  |" * (index - len(spans)) + f" {value} |" + line[len(line.rstrip()) :]


def _safe_cell(markdown: str) -> str:
    """Keep a value in its cell: one line, its bare pipes escaped."""
    return _BARE_PIPE.sub(r"\1\\|", " ".join(markdown.split()))


def content_hash(body: str) -> str:
    """Give the hash of what people wrote.

    Left out are the *ticket* column of action item tables and what was appended by the engine and not edited since;
    spaces at the end of lines and cells and repeated empty lines do not count.
    """
    lines = _APPENDED.sub(_edited_since, body.replace("\r\n", "\n")).split("\n")
    for grid in list(_grids(lines)):
        if not grid.has([ACTION_ITEM_COLUMNS["what"], ACTION_ITEM_COLUMNS["owner"]]):
            continue
        ticket = find_column(grid.header, ACTION_ITEM_COLUMNS["ticket"])
        for at in (grid.top, *grid.rows):
            cells = _row(lines[at], len(grid.header))
            lines[at] = "\x1f".join(cell for index, cell in enumerate(cells) if index != ticket)
        lines[grid.top + 1] = "|"  # the delimiter row says nothing
    text = "\n".join(line.rstrip() for line in lines).strip()
    return _short_hash(re.sub(r"\n{3,}", "\n\n", text))


def _edited_since(block: re.Match[str]) -> str:
    return "" if _short_hash(block["text"]) == block["hash"] else block["text"]


def _section(lines: Sequence[str], heading: str) -> tuple[int, int] | None:
    """Give the lines under the first such heading, up to the next one of its level; None where there is none."""
    headings = [(at, len(found[1]), found[2]) for at, found in _headings(lines)]
    for number, (at, level, text) in enumerate(headings):
        if find_column([text], heading) is not None:
            after = (other for other, depth, _ in headings[number + 1 :] if depth <= level)
            return at + 1, next(after, len(lines))
    return None


def _headings(lines: Sequence[str]) -> Iterator[tuple[int, re.Match[str]]]:
    for at, (line, readable) in enumerate(zip(lines, _readable(lines), strict=True)):
        if readable and (found := _HEADING.match(line)):
            yield at, found


def _appended(page: _Page, text: str, heading: str | None, token: str) -> str:
    if page.holds(token):
        return page.text
    lines = page.body.split("\n")
    if lines[-1].strip():
        lines.append("")
    block = text.replace("\r\n", "\n").strip("\n") + "\n"
    section = _section(lines, heading) if heading else (0, len(lines))
    if section is None:
        block = f"## {heading}\n\n{block}"
    start, end = section or (0, len(lines))
    while end > start and not lines[end - 1].strip():
        end -= 1
    added = f"\n{_opening(token)}\n{block}<!-- /hotwash:{token} {_short_hash(block)} -->".split("\n")
    ending = "\r" if "\r\n" in page.text else ""
    lines[end:end] = [line + ending for line in added]
    return page.with_body("\n".join(lines))


def _with_cells(page: _Page, columns: Sequence[str], column: str, cells: Mapping[int, str]) -> str:
    lines = page.body.split("\n")
    grid = next((grid for grid in _grids(lines) if grid.has(columns)), None)
    if grid is None:
        raise ActionError(f"'{page.title}' has no table with the columns {_named(columns)}", code="not-found")
    if gone := sorted(set(cells) - set(range(len(grid.rows)))):
        raise RetryLater(f"the table of '{page.title}' has no row {gone[0] + 1}: it was changed meanwhile")
    width, index = len(grid.header), find_column(grid.header, column)
    if index is None:
        index, name = width, column.partition("|")[0]
        heading = name.capitalize() if grid.header[0][:1].isupper() else name
        lines[grid.top] = _with_cell(lines[grid.top], index, heading, width)
        lines[grid.top + 1] = _with_cell(lines[grid.top + 1], index, "---", width)
        cells = {row: cells.get(row, "") for row in range(len(grid.rows))}
    for row, value in cells.items():
        at = grid.rows[row]
        lines[at] = _with_cell(lines[at], index, _safe_cell(value), width)
    return page.with_body("\n".join(lines))


def _named(columns: Sequence[str]) -> str:
    return ", ".join(f"'{column.partition('|')[0]}'" for column in columns)


# --- the provider ----------------------------------------------------------------------------------------------------


@provider("markdown", MarkdownOptions, serves=("document",))
class Markdown:
    """Keep documents as Markdown files with front matter in a folder, friendly to git. Needs no account."""

    def __init__(self, options: MarkdownOptions, connection: Connection) -> None:
        self._connection = connection
        self._root = (connection.folder / options.folder).resolve()
        self._shown = options.folder.rstrip("/")
        self._url = options.url.rstrip("/") if options.url else None
        self._lock = threading.Lock()
        self._complaints: deque[str] = deque()
        self._told: dict[tuple[str, str], str] = {}
        self._contents: dict[str, str] = {}
        self._stops: set[asyncio.Event] = set()

    @findable(visible_after="0s")
    async def create(
        self,
        title: str,
        text: str,
        *,
        template: str | None,
        incident: str | None,
        share_with: Sequence[Person],
        private: bool = False,
        effect: Effect,
    ) -> Document:
        """Write a new file, unless this effect has made one already.

        Raises:
            ActionError: a file of that name is there and is not this effect's.
        """
        shared = [str(person.id if person.known else person.email or person.name) for person in share_with]
        meta = {
            "id": "d" + _short_hash(effect.token, 9),
            "title": " ".join(title.split()) or "Untitled",
            "status": "draft",
            "template": template,
            "incident": incident,
            "created": effect.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "effect": effect.token,
            "shared_with": shared,
        }
        said = {key: value if isinstance(value, list) else str(value) for key, value in meta.items() if value}
        page = await self._in_thread(self._create, effect.token, said, text)
        document = self._document(page)
        effect.emit(self._connection.name, self._fact("document.created", document, f"{page.id}:created", own=True))
        return document

    @findable(visible_after="0s")
    async def append(self, document: str, text: str, *, heading: str | None, effect: Effect) -> Document:
        """Add a block at the end, or at the end of the section under `heading`, which is made where it is missing.

        Raises:
            ActionError: there is no such document.
        """
        name = " ".join(heading.split()) if heading else None
        return self._document(
            await self._in_thread(self._edit, document, lambda page: _appended(page, text, name or None, effect.token))
        )

    @findable(visible_after="0s")
    async def comment(self, document: str, text: str, *, effect: Effect) -> Document:
        """Add a quotation at the end of the section `Comments`, which is made where it is missing.

        Raises:
            ActionError: there is no such document.
        """
        quoted = "\n".join(f"> {line}".rstrip() for line in text.strip().splitlines())
        return await self.append(document, quoted, heading="Comments", effect=effect)

    @idempotent
    async def publish(self, document: str, *, effect: Effect) -> Document:
        """Set the status to published. One that people have published stays as it is, and stays theirs.

        Raises:
            ActionError: there is no such document.
        """
        page = await self._in_thread(self._edit, document, _published)
        published = self._document(page)
        if _published_by_us(page, published.content):
            effect.emit(
                self._connection.name,
                self._fact("document.published", published, f"{page.id}@{published.content}", own=True),
            )
        return published

    async def get(self, document: str) -> Document | None:
        """Give a document by its id, with or without the connection's name before it."""
        page = await self._in_thread(self._page, document)
        return self._document(page) if page else None

    async def find(self, effect: Effect) -> Document | None:
        """Give the document that this effect made or appended to."""
        page = await self._in_thread(self._find, effect.token)
        return self._document(page) if page else None

    async def table(self, document: str, columns: Sequence[str]) -> Table | None:
        """Give the first table that has these columns; tables in code and in comments do not count.

        Raises:
            ActionError: there is no such document.
        """
        page = await self._in_thread(self._existing, document)
        lines = page.body.split("\n")
        grid = next((grid for grid in _grids(lines) if grid.has(columns)), None)
        if grid is None:
            return None
        rows = tuple(_row(lines[at], len(grid.header)) for at in grid.rows)
        return Table(grid.header, rows, page.text.count("\n", 0, page.start) + grid.top + 1)

    @idempotent
    async def set_cells(
        self, document: str, columns: Sequence[str], column: str, cells: Mapping[int, str], *, effect: Effect
    ) -> Document:
        """Write cells of one column, leaving every other byte; a column that is missing is added.

        Raises:
            ActionError: there is no such document, or no such table in it.
            RetryLater: a row is no longer there.
        """
        return self._document(
            await self._in_thread(self._edit, document, lambda page: _with_cells(page, columns, column, cells))
        )

    async def changes(self, cursor: str | None) -> Changes:
        """Give what became of the files with front matter since `cursor`, a JSON text.

        The first look tells of every document as `document.updated`. Later ones tell of a document that is published
        with a content that it was not published with last as `document.published`, a new file included, and of every
        other change of its fields as `document.updated`. A file that is gone or cannot be read keeps its place in the
        cursor, so that what was published meanwhile is seen when it is back.
        """
        return await self._in_thread(self._changes, cursor)

    async def watch(self) -> AsyncIterator[None]:
        """Yield when files have changed, and once a minute in any case, until `close` is called."""
        from watchfiles import awatch

        self._root.mkdir(parents=True, exist_ok=True)
        stop = asyncio.Event()
        self._stops.add(stop)
        try:
            async for _ in awatch(
                self._root,
                watch_filter=lambda _, path: path.lower().endswith(".md"),
                debounce=400,
                stop_event=stop,
                rust_timeout=_LOOK_ANYWAY_MS,
                yield_on_timeout=True,
            ):
                yield None
        finally:
            stop.set()
            self._stops.discard(stop)

    async def aclose(self) -> None:
        """End every `watch`."""
        for stop in self._stops:
            stop.set()

    async def check(self) -> str | None:
        """Say what is wrong with the folder."""
        if not self._root.exists():
            return None  # it is made with the first document
        if not self._root.is_dir():
            return f"'{self._shown}' must be a folder"
        return None if os.access(self._root, os.R_OK | os.W_OK | os.X_OK) else f"'{self._shown}' cannot be written to"

    # The rest runs in a thread: files are read whole and written with fsync.

    async def _in_thread(self, work: Callable[..., _T], *arguments: Any) -> _T:
        try:
            return await asyncio.to_thread(work, *arguments)
        finally:
            while self._complaints:
                self._connection.say(self._complaints.popleft())

    def _create(self, token: str, meta: Mapping[str, Any], text: str) -> _Page:
        with self._lock:
            found = self._find(token)
            if found is not None:
                return found
            name = f"{slug(str(meta['title']), 60) or 'document'}-{meta['id']}.md"
            body = text.replace("\r\n", "\n").strip("\n")
            page = _Page.parse(name, f"---\n{_dump(meta)}---\n\n{body}\n" if body else f"---\n{_dump(meta)}---\n")
            if os.path.lexists(self._root / name):
                raise ActionError(f"'{self._shown}/{name}' is there already and does not name the effect that made it")
            self._write(page, None)
            return page

    def _edit(self, document: str, change: Callable[[_Page], str]) -> _Page:
        """Change a file, looking again where somebody has written it meanwhile."""
        with self._lock:
            for _ in range(3):
                page = self._existing(document)
                text = change(page)
                if text == page.text:
                    return page
                changed = _Page.parse(page.name, text)
                if self._write(changed, page):
                    return changed
        raise RetryLater(f"'{self._shown}/{page.name}' is being written by somebody else")

    def _existing(self, document: str) -> _Page:
        page = self._page(document)
        if page is not None:
            return page
        local = self._local(document)
        for (name, about), reason in self._told.items():
            if not about and name.endswith(f"{local}.md"):  # somebody is in the middle of editing it
                raise RetryLater(f"{self._shown}/{name} cannot be used: {reason}")
        raise ActionError(f"there is no document '{document}' in '{self._shown}'", code="not-found")

    def _local(self, document: str) -> str:
        return document.removeprefix(f"{self._connection.name}:")

    def _page(self, document: str) -> _Page | None:
        local = self._local(document)
        names = sorted(self._names(), key=lambda name: _preference(name, local))
        return next((page for page in map(self._read, names) if page and page.id == local), None)

    def _find(self, token: str) -> _Page | None:
        return next((page for page in map(self._read, self._names()) if page and page.holds(token)), None)

    def _names(self) -> Iterator[str]:
        """Give the paths of the files, from the folder; links are not followed."""
        for folder, folders, names in os.walk(self._root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if name.lower().endswith(".md") and not name.startswith("."):
                    yield Path(folder, name).relative_to(self._root).as_posix()

    def _read(self, name: str) -> _Page | None:
        """Read a file; one that cannot be read is said once, and is None."""
        try:
            name.encode()
            page = _Page.parse(name, self._text(name))
        except FileNotFoundError:
            return None
        except _Unreadable as why:
            self._complain(name, str(why))
        except UnicodeError:
            self._complain(name, "it is not UTF-8")
        except OSError as error:
            self._complain(name, error.strerror or "it cannot be read")
        else:
            self._told.pop((name, ""), None)
            return page
        return None

    def _complain(self, name: str, reason: str, about: str = "") -> None:
        if self._told.get((name, about)) != reason:
            self._told[name, about] = reason
            shown = name.encode("utf-8", "replace").decode()
            self._complaints.append(f"{self._shown}/{shown} is passed over: {reason}")

    def _text(self, name: str) -> str:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        path = self._root / name
        if path.is_symlink():
            raise _Unreadable("it is a symbolic link")
        with open(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _Unreadable("it is no regular file")
            if status.st_size > _LARGEST_FILE:
                raise _Unreadable(f"it is larger than {_LARGEST_FILE // 1024 // 1024} MiB")
            return file.read(_LARGEST_FILE).decode()

    def _write(self, page: _Page, before: _Page | None) -> bool:
        """Put the whole file in place at once; False where it is no longer what `before` says."""
        target = self._root / page.name
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = target.parent.resolve()
        if not folder.is_relative_to(self._root):
            raise ActionError(f"'{self._shown}/{page.name}' lies outside of the folder")
        try:
            return files.put(
                folder / target.name,
                page.text.encode(),
                mode=0o666,
                still=None if before is None else lambda: self._text(page.name) == before.text,
            )
        except (FileNotFoundError, UnicodeError, _Unreadable):
            if before is None:
                raise
            return False  # it was moved or written under our hands: look again

    def _document(self, page: _Page) -> Document:
        return Document(
            id=f"{self._connection.name}:{page.id}",
            title=page.title,
            url=f"{self._url}/{quote(page.name)}" if self._url else (self._root / page.name).as_uri(),
            published=page.published,
            incident=page.value("incident"),
            template=page.value("template"),
            path=page.name,
            content=self._content(page) if page.published else None,
        )

    def _content(self, page: _Page) -> str:
        key = hashlib.sha256(page.body.encode()).hexdigest()
        found = self._contents.get(key)
        if found is None:
            if len(self._contents) > 10_000:
                self._contents.clear()
            found = self._contents[key] = content_hash(page.body)
        return found

    def _fact(self, kind: str, document: Document, delivery: str, *, own: bool = False) -> Fact:
        """Give the fact that a document is as it is. A draft's leaves the content out: what is known is the last."""
        fields: dict[str, Any] = {
            "title": document.title,
            "url": document.url,
            "published": document.published,
            "template": document.template,
            "incident": document.incident,
            "path": document.path,
        }
        if document.published:
            fields["content"] = document.content
        now = self._connection.clock.now()
        return Fact(kind, now, "document", document.id, fields, id=delivery, own=own)

    def _changes(self, cursor: str | None) -> Changes:
        known: dict[str, Any] = {} if cursor is None else json.loads(cursor)["documents"]
        facts: list[Fact] = []
        for local, page in self._by_id().items():
            fact, known[local] = self._look(page, known.get(local), first=cursor is None)
            if fact is not None:
                facts.append(fact)
        return Changes(facts, json.dumps({"documents": known}, sort_keys=True))

    def _by_id(self) -> dict[str, _Page]:
        pages: dict[str, _Page] = {}
        for page in map(self._read, self._names()):
            if page is None or page.head is None:
                continue
            other = pages.setdefault(page.id, page)
            if other is not page:
                kept, dropped = sorted((page, other), key=lambda one: _preference(one.name, one.id))
                pages[page.id] = kept
                self._complain(dropped.name, f"its id '{page.id}' is that of {self._shown}/{kept.name} too", "id")
        return pages

    def _look(
        self, page: _Page, was: Mapping[str, Any] | None, *, first: bool
    ) -> tuple[Fact | None, Mapping[str, Any]]:
        """Compare a document with what the cursor has of it; `first` where there was no cursor."""
        document = self._document(page)
        told = int(was["told"]) if was else 0
        last = was["content"] if was else None
        fact = self._fact("document.updated", document, "")
        shown = _short_hash(json.dumps({**fact.fields, "content": None}, sort_keys=True))
        entry = {"published": page.published, "content": document.content or last, "shown": shown, "told": told + 1}
        if page.published and not first and document.content != last:
            delivery = f"{page.id}@{document.content}" + (f"~{told}" if last else "")
            own = _published_by_us(page, document.content)
            return self._fact("document.published", document, delivery, own=own), entry
        if was is None or was["shown"] != shown:
            return self._fact("document.updated", document, f"{page.id}~{told}:{shown}"), entry
        return None, {**entry, "told": told}


def _published(page: _Page) -> str:
    if page.published:
        return page.text
    return page.with_keys({"status": "published", _OUR_PUBLISHING: content_hash(page.body)})


def _published_by_us(page: _Page, content: str | None) -> bool:
    return content is not None and page.value(_OUR_PUBLISHING) == content


def _preference(name: str, local: str) -> tuple[bool, str]:
    """Order files that claim the same id: the one that is named for it comes first."""
    return not name.endswith(f"{local}.md"), name
