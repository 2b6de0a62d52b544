"""A Google document as read: its paragraphs and tables with their places, as Markdown, and the content people wrote."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from actions.providers.blocks import Span, Spans
from actions.providers.google_text import (
    BREAK,
    MAILTO,
    OURS,
    PLAIN_TEXT,
    Insertion,
    Request,
    filling,
    hash_of,
    joined,
    merged,
    plain_text,
    range_of,
    said,
    styling,
    units,
)
from engine.capabilities import ACTION_ITEM_COLUMNS, find_column

_NO_TEXT = "\ufffc"
_MONOSPACED = frozenset({"Courier New", "Consolas", "Roboto Mono", "Source Code Pro", "Inconsolata", "Ubuntu Mono"})


@dataclass(frozen=True, slots=True)
class Line:
    """A paragraph of a document, as read."""

    start: int
    end: int
    spans: Spans
    level: int | None = None  #: of a heading
    kind: str | None = None  #: of a list: bullet, box or number
    depth: int = 0
    listed: str | None = None  #: the list that it belongs to
    code: bool = False
    quoted: bool = False
    ruled: bool = False
    raw: str = field(default="", compare=False, repr=False)  #: as long as the paragraph; a sign for what is no text

    @property
    def text(self) -> str:
        return " ".join(plain_text(self.spans).split())


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table; what stands in it lies from `start` up to `end`, the last line's end left out."""

    start: int
    end: int
    spans: Spans
    lines: tuple[Line, ...] = field(default=(), compare=False, repr=False)

    @property
    def text(self) -> str:
        return " ".join(plain_text(self.spans).split())


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table of a document, as read. Its first row is its header."""

    start: int
    end: int
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def header(self) -> tuple[str, ...]:
        return tuple(cell.text for row in self.rows[:1] for cell in row)

    def has(self, columns: Sequence[str]) -> bool:
        return all(find_column(self.header, column) is not None for column in columns)

    def new_column(self) -> tuple[list[Request], Sequence[Cell]]:
        """Give the edits that add a column behind the last one, and its cells after that."""
        place = {"tableStartLocation": {"index": self.start}, "rowIndex": 0, "columnIndex": len(self.header) - 1}
        at = [row[-1].end + 2 + 2 * number for number, row in enumerate(self.rows)]
        edit = {"insertTableColumn": {"tableCellLocation": place, "insertRight": True}}
        return [edit], [Cell(index, index, ()) for index in at]

    def markdown_row(self, row: int) -> tuple[str, ...]:
        """Give a row's cells as Markdown, as many as the header has."""
        cells = [written(cell.spans, cell=True) for cell in self.rows[row]][: len(self.header)]
        return tuple(cells) + ("",) * (len(self.header) - len(cells))


@dataclass(frozen=True, slots=True)
class Page:
    """A document's body, as read. What is only suggested in it does not count."""

    parts: tuple[Line | Sheet, ...] = ()
    ranges: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    revision: str | None = None

    @property
    def sheets(self) -> Iterator[Sheet]:
        return (part for part in self.parts if isinstance(part, Sheet))

    def lines(self) -> Iterator[tuple[Line, bool]]:
        """Give every paragraph, and whether it stands in a cell of a table."""
        for part in self.parts:
            if isinstance(part, Line):
                yield part, False
            else:
                yield from ((line, True) for row in part.rows for cell in row for line in cell.lines)

    def sheet(self, columns: Sequence[str]) -> Sheet | None:
        """Give the first table that has these columns."""
        return next((sheet for sheet in self.sheets if sheet.has(columns)), None)

    def holds(self, token: str) -> bool:
        """Whether the effect of this token wrote into it."""
        return any(name == f"{OURS}{token}" or name.startswith(f"{OURS}{token}:") for name in self.ranges)

    def at_end(self) -> Insertion:
        """Give where what is added at the end goes."""
        last = self.parts[-1]
        empty = isinstance(last, Line) and last.end - last.start <= 1
        return Insertion(last.start) if empty else Insertion(last.end - 1, after=True)

    def end_of(self, heading: str) -> Insertion | None:
        """Give where what is added at the end of the section under a heading goes; None where there is none."""
        headings = [(at, part) for at, part in enumerate(self.parts) if isinstance(part, Line) and part.level]
        for number, (at, line) in enumerate(headings):
            if find_column([line.text], heading) is not None:
                later = (place for place, one in headings[number + 1 :] if (one.level or 0) <= (line.level or 0))
                end = next(later, None)
                return self.at_end() if end is None else self._before(at, end)
        return None

    def _before(self, heading: int, end: int) -> Insertion:
        """Give where to add before the part `end`: after the last paragraph there that says something."""
        for part in reversed(self.parts[heading:end]):
            if isinstance(part, Sheet):
                break
            if part.spans:
                return Insertion(part.end - 1, after=True)
        return Insertion(self.parts[end].start)

    def markdown(self) -> str:
        """Give it as Markdown."""
        return _markdown(self.parts)

    def content(self) -> str:
        """Give the hash of what people wrote.

        Left out are the *ticket* column of action item tables, and what we added and nobody has edited since.
        """
        ours = [
            span
            for name, spans in self.ranges.items()
            if name.startswith(OURS) and name.count(":") == 2 and name.endswith(hash_of(self._said_in(spans)))
            for span in spans
        ]
        kept = [part for part in self.parts if not any(start <= part.start < end for start, end in ours)]
        text = _markdown([_without_tickets(part) if isinstance(part, Sheet) else part for part in kept])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def _said_in(self, spans: Sequence[tuple[int, int]]) -> Iterator[str]:
        for part in self.parts:
            if not any(start <= part.start < end for start, end in spans):
                continue
            cells: Iterable[Line | Cell] = (
                [part] if isinstance(part, Line) else (cell for row in part.rows for cell in row)
            )
            for one in cells:
                yield said(one.spans)


def read(document: Mapping[str, Any]) -> Page:
    """Read what `documents.get` gives: its body, or that of its first tab."""
    ranges = {
        name: tuple(
            (int(place.get("startIndex", 0)), int(place["endIndex"]))
            for one in group.get("namedRanges", ())
            for place in one.get("ranges", ())
        )
        for name, group in (document.get("namedRanges") or {}).items()
    }
    lists = document.get("lists") or {}
    content = (document.get("body") or {}).get("content") or ()
    return Page(tuple(_parts(content, lists)), ranges, document.get("revisionId"))


def _parts(content: Iterable[Mapping[str, Any]], lists: Mapping[str, Any]) -> Iterator[Line | Sheet]:
    for element in content:
        start, end = int(element.get("startIndex", 0)), int(element["endIndex"])
        if "paragraph" in element:
            yield _line(element["paragraph"], start, end, lists)
        elif "table" in element:
            rows = element["table"].get("tableRows") or ()
            cells = (tuple(_cell(cell, lists) for cell in row.get("tableCells") or ()) for row in rows)
            yield Sheet(start, end, tuple(cells))
        elif "tableOfContents" in element:
            yield Sheet(start, end, ())


def _line(paragraph: Mapping[str, Any], start: int, end: int, lists: Mapping[str, Any]) -> Line:
    style = paragraph.get("paragraphStyle") or {}
    named = str(style.get("namedStyleType", ""))
    bullet = paragraph.get("bullet")
    spans, raw = _spans_of(paragraph), _raw_of(paragraph)
    level = 1 if named == "TITLE" else int(named[-1]) if re.fullmatch(r"HEADING_[1-6]", named) else None
    if level is not None:
        spans = merged(replace(span, bold=False) for span in spans)
    if bullet is not None:
        depth, listed = int(bullet.get("nestingLevel", 0)), str(bullet.get("listId", ""))
        return Line(start, end, spans, kind=_kind_of(lists.get(listed, {}), depth), depth=depth, listed=listed, raw=raw)
    shaded = bool(((style.get("shading") or {}).get("backgroundColor") or {}).get("color"))
    return Line(
        start,
        end,
        spans,
        level=level if spans else None,
        code=shaded and bool(spans) and all(span.code for span in spans),
        quoted=bool((style.get("indentStart") or {}).get("magnitude")),
        ruled=not spans and _is_ruled(paragraph, style),
        raw=raw,
    )


def _is_ruled(paragraph: Mapping[str, Any], style: Mapping[str, Any]) -> bool:
    border = (style.get("borderBottom") or {}).get("width") or {}
    return bool(border.get("magnitude")) or any("horizontalRule" in one for one in paragraph.get("elements") or ())


def _kind_of(listed: Mapping[str, Any], depth: int) -> str:
    """Give the kind of a list's level: check boxes have neither a sign nor numbers."""
    levels = (listed.get("listProperties") or {}).get("nestingLevels") or ()
    level = levels[depth] if depth < len(levels) else {}
    if level.get("glyphSymbol"):
        return "bullet"
    return "box" if level.get("glyphType", "GLYPH_TYPE_UNSPECIFIED") == "GLYPH_TYPE_UNSPECIFIED" else "number"


def _cell(cell: Mapping[str, Any], lists: Mapping[str, Any]) -> Cell:
    content: Sequence[Mapping[str, Any]] = cell["content"]
    lines = tuple(part for part in _parts(content, lists) if isinstance(part, Line))
    spans = merged(joined([line.spans for line in lines if line.spans], Span(" ")))
    return Cell(int(content[0]["startIndex"]), int(content[-1]["endIndex"]) - 1, spans, lines)


def _spans_of(paragraph: Mapping[str, Any]) -> Spans:
    spans = merged(span for element in paragraph.get("elements") or () if (span := _span(element)) is not None)
    return spans if any(span.text.strip() or span.link for span in spans) else ()


def _raw_of(paragraph: Mapping[str, Any]) -> str:
    """Give a paragraph's text with a sign for each unit that is no text."""
    parts = []
    for element in paragraph.get("elements") or ():
        run = element.get("textRun")
        room = int(element["endIndex"]) - int(element.get("startIndex", 0)) if "endIndex" in element else 0
        parts.append(str(run["content"]) if run is not None else _NO_TEXT * room)
    return "".join(parts)


def _span(element: Mapping[str, Any]) -> Span | None:
    """Read one element of a paragraph; None for what is only suggested, and for what says nothing."""
    if (run := element.get("textRun")) is not None:
        text = str(run.get("content", "")).removesuffix("\n").replace(BREAK, "\n")
        style = run.get("textStyle") or {}
        span = Span(
            text,
            bold=bool(style.get("bold")),
            italic=bool(style.get("italic")),
            struck=bool(style.get("strikethrough")),
            code=(style.get("weightedFontFamily") or {}).get("fontFamily") in _MONOSPACED,
            link=(style.get("link") or {}).get("url"),
        )
        return None if run.get("suggestedInsertionIds") or not text else span
    if (person := element.get("person")) is not None:
        known = person.get("personProperties") or {}
        address = str(known.get("email", ""))
        return (
            None if person.get("suggestedInsertionIds") else Span(known.get("name") or address, link=MAILTO + address)
        )
    if (chip := element.get("richLink")) is not None:
        known = chip.get("richLinkProperties") or {}
        return Span(str(known.get("title") or known.get("uri", "")), link=known.get("uri"))
    if (chip := element.get("dateElement")) is not None:
        return Span(_day(chip.get("dateElementProperties") or {}))
    if (chip := element.get("dropdown")) is not None:
        return Span(str((chip.get("dropdownProperties") or {}).get("selectedValue") or chip.get("displayText") or ""))
    return None


def _day(known: Mapping[str, Any]) -> str:
    """Give a date chip as the day it names, such as 2026-03-02; with its time where it shows one."""
    stamp, shown = str(known.get("timestamp", "")), str(known.get("displayText", ""))
    try:
        instant = datetime.fromisoformat(stamp)
    except ValueError:
        return shown
    timed = str(known.get("timeFormat", "TIME_FORMAT_DISABLED")) not in (
        "TIME_FORMAT_DISABLED",
        "TIME_FORMAT_UNSPECIFIED",
    )
    return instant.isoformat() if timed else instant.date().isoformat()


def _without_tickets(sheet: Sheet) -> Sheet:
    if not sheet.has([ACTION_ITEM_COLUMNS["what"], ACTION_ITEM_COLUMNS["owner"]]):
        return sheet
    ticket = find_column(sheet.header, ACTION_ITEM_COLUMNS["ticket"])
    rows = (tuple(cell for at, cell in enumerate(row) if at != ticket) for row in sheet.rows)
    return replace(sheet, rows=tuple(rows))


def replacing(cell: Cell, spans: Sequence[Span]) -> list[Request]:
    """Give the edits that let a cell say something else; none where it says that already."""
    if cell.spans == merged(spans):
        return []
    whole = range_of(cell.start, cell.end)
    written = filling(spans, cell.start)
    room = range_of(
        cell.start, cell.start + sum(units(one["insertText"]["text"]) for one in written if "insertText" in one)
    )
    return [
        *([{"deleteContentRange": {"range": whole}}] if cell.end > cell.start else []),
        *written[:1],
        *([styling(room, {}, PLAIN_TEXT)] if written else []),
        *written[1:],
    ]


# --- a page as Markdown ----------------------------------------------------------------------------------------------

_SIGNS = re.compile(r"([\\`*_\[\]<~])")
#: What would make a line something else than text, where it begins it.
_BEGINS = re.compile(r"^(\d{0,9})(?=\S)((?<=\d)[.)](?=\s|$)|(?<!\d)(?:#{1,6}(?=\s|$)|>|[+-](?=\s|$)|-{2,}\s*$|=+\s*$))")


def _markdown(parts: Sequence[Line | Sheet]) -> str:
    found: list[str] = []
    above: list[tuple[Line, int]] = []  #: the list's last line on each level down to the present one, and its number
    for part in parts:
        if isinstance(part, Line) and part.kind is not None:
            if not above or (part.depth == 0 and (part.kind == "number") != (above[0][0].kind == "number")):
                found.append("")
            above = [one for one in above if one[0].depth <= part.depth]
            before, count = above[-1] if above else (part, 0)
            follows = (before.depth, before.listed) == (part.depth, part.listed)
            above = [*(one for one in above if one[0].depth < part.depth), (part, count + 1 if follows else 1)]
            found.append(_item(part, above[-1][1]))
        elif text := _block_text(part):
            found += ["", text]
            above = []
    return "\n".join(found).strip("\n") + "\n" if found else ""


def _item(line: Line, count: int) -> str:
    struck = bool(line.spans) and all(span.struck for span in line.spans)
    spans = line.spans
    if line.kind == "box" and struck:
        spans = tuple(replace(span, struck=False) for span in spans)
    mark = {"bullet": "- ", "box": f"- [{'x' if struck else ' '}] ", "number": f"{count}. "}[line.kind or "bullet"]
    indent = "    " * line.depth
    return indent + mark + f"\n{indent}    ".join(written(spans).split("\n"))


def _block_text(part: Line | Sheet) -> str:
    if isinstance(part, Sheet):
        return _grid_text(part)
    if part.ruled:
        return "---"
    if not part.spans:
        return ""
    if part.code:
        text = plain_text(part.spans)
        fence = "`" * max([3, *(len(found) + 1 for found in re.findall("`{3,}", text))])
        return f"{fence}\n{text}\n{fence}"
    if part.level is not None:
        return "#" * part.level + " " + written(part.spans).replace("\\\n", " ")
    lines = [_BEGINS.sub(r"\1\\\2", line) for line in written(part.spans).split("\n")]
    return "\n".join(f"> {line}" if part.quoted else line for line in lines)


def _grid_text(sheet: Sheet) -> str:
    if not sheet.rows:
        return ""
    header = tuple(cell.replace("**", "") for cell in sheet.markdown_row(0))
    lines = [header, ("---",) * len(header), *(sheet.markdown_row(row) for row in range(1, len(sheet.rows)))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def written(spans: Spans, *, cell: bool = False) -> str:
    """Give spans as Markdown; what stands in a cell is on one line, and its bars are escaped."""
    text = "".join(map(_marked, spans)).strip()
    return re.sub(r"\\?\n", " ", text).replace("|", "\\|") if cell else text


def _marked(span: Span) -> str:
    bare = span.text.strip()
    if not bare:
        return span.text
    if span.code:
        ticks = "`" * (max((len(run) for run in re.findall("`+", bare)), default=0) + 1)
        pad = " " if bare.startswith("`") or bare.endswith("`") else ""
        text = f"{ticks}{pad}{bare}{pad}{ticks}".replace("\n", " ")
    else:
        text = _SIGNS.sub(r"\\\1", bare).replace("\n", "\\\n")
    for mark, on in (("~~", span.struck), ("*", span.italic), ("**", span.bold)):
        text = f"{mark}{text}{mark}" if on else text
    if span.link:
        text = f"[{text}]({_target(span.link)})"
    before = span.text[: len(span.text) - len(span.text.lstrip())]
    after = span.text[len(span.text.rstrip()) :]
    return before.replace("\n", "\\\n") + text + after.replace("\n", "\\\n")


def _target(link: str) -> str:
    return re.sub(r"[\s<>()]", lambda found: f"%{ord(found[0]):02X}", link)
