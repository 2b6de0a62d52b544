"""Markdown as edits of a Google document, and a Google document as Markdown.

Google counts in UTF-16 units. A text is inserted as a whole and styled; only then, from its end to its beginning, comes
what moves what is behind it: tables, bullets (whose leading tabs vanish) and people. So no index depends on how much
room an earlier edit took.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Any
from urllib.parse import unquote

from actions.providers.blocks import Block, Code, Grid, Heading, Listing, Paragraph, Quote, Rule, Span, Spans, plain
from engine.capabilities import ACTION_ITEM_COLUMNS, find_column

Request = dict[str, Any]
#: Gives the e-mail address of somebody whom a text names, where that is known.
Mention = Callable[[str], str | None]

_MAILTO = "mailto:"
#: A line break inside of a paragraph.
_BREAK = "\v"
#: What Google strips of an inserted text, and what cannot be sent; counted, it would move everything behind it.
_STRIPPED = re.compile("[\x00-\x08\x0c-\x1f\ue000-\uf8ff\ud800-\udfff]")
_MONOSPACE = "Courier New"
_MONOSPACED = frozenset({"Courier New", "Consolas", "Roboto Mono", "Source Code Pro", "Inconsolata", "Ubuntu Mono"})
_GREY = {"color": {"rgbColor": {"red": 0.95, "green": 0.95, "blue": 0.95}}}
_BORDER = {
    "width": {"magnitude": 1, "unit": "PT"},
    "padding": {"magnitude": 0, "unit": "PT"},
    "dashStyle": "SOLID",
    "color": {"color": {"rgbColor": {}}},
}
_INDENT = {"magnitude": 36, "unit": "PT"}
_PRESETS = {
    "bullet": "BULLET_DISC_CIRCLE_SQUARE",
    "box": "BULLET_CHECKBOX",
    "number": "NUMBERED_DECIMAL_ALPHA_ROMAN",
}
_PLAIN_PARAGRAPH = "namedStyleType,indentStart,indentFirstLine,shading"
_PLAIN_TEXT = "bold,italic,underline,strikethrough,link,weightedFontFamily,foregroundColor,backgroundColor,fontSize"
_DEEPEST = 8  #: levels of lists below the first that Google knows


def units(text: str) -> int:
    """Give the length of a text in UTF-16 units."""
    return len(text.encode("utf-16-le")) // 2


# --- writing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Insertion:
    """Where new paragraphs go: at `index`, before a paragraph, or `after` the end of the last one."""

    index: int
    after: bool = False

    @property
    def start(self) -> int:
        """Where the first new paragraph begins."""
        return self.index + 1 if self.after else self.index


@dataclass(slots=True)
class _Line:
    """One paragraph of a list."""

    depth: int
    kind: str
    spans: list[Span]


def nobody(_: str) -> str | None:
    """Mention nobody."""
    return None


def inserting(
    blocks: Sequence[Block],
    where: Insertion,
    *,
    mention: Mention = nobody,
    token: str = "",
    hashed: bool = True,
) -> list[Request]:
    """Give the edits that put blocks into a document, in order.

    With a `token`, what is inserted becomes a named range that carries it, and with `hashed` a hash of the text too.
    """
    writer = _Writer(where.start, mention)
    writer.blocks(blocks)
    text = "".join(writer.parts)
    if not text:
        return []
    sent = f"\n{text[:-1]}" if where.after else text
    whole = _range(where.start, writer.at)
    name = name_of(token, writer.said if hashed else None)
    return [
        {"insertText": {"location": {"index": where.index}, "text": sent}},
        {"deleteParagraphBullets": {"range": whole}},
        _shape(whole, {"namedStyleType": "NORMAL_TEXT"}, _PLAIN_PARAGRAPH),
        _style(whole, {}, _PLAIN_TEXT),
        *writer.shapes,
        *writer.styles,
        *([{"createNamedRange": {"name": name, "range": whole}}] if token else []),
        *(request for move in reversed(writer.moves) for request in move),
    ]


def name_of(token: str, said: Iterable[str] | None = None) -> str:
    """Give the name of the range that an effect wrote; with the words it holds, those hashed."""
    return f"{_OURS}{token}" if said is None else f"{_OURS}{token}:{_hash_of(said)}"


_OURS = "hotwash:"


def _hash_of(said: Iterable[str]) -> str:
    words = " ".join(" ".join(said).split())
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _said(spans: Iterable[Span]) -> str:
    """Give the text of spans without the people in it, whom Google shows by names of its own."""
    return "".join(span.text for span in spans if _address(span) is None)


class _Writer:
    """Collects a text, what its parts look like, and what is to be done from its end to its beginning."""

    def __init__(self, at: int, mention: Mention) -> None:
        self.at = at
        self.parts: list[str] = []
        self.shapes: list[Request] = []
        self.styles: list[Request] = []
        self.moves: list[list[Request]] = []
        self.said: list[str] = []
        self._mention = mention

    def blocks(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            self._block(block)

    def _block(self, block: Block) -> None:
        match block:
            case Heading(level, spans):
                self._paragraph(spans, {"namedStyleType": f"HEADING_{level}"})
            case Paragraph(spans):
                self._paragraph(spans)
            case Listing():
                self._list(block)
            case Code(text):
                self._paragraph((Span(text, code=True),), {"shading": {"backgroundColor": _GREY}})
            case Quote(blocks):
                for inner in blocks:
                    if isinstance(inner, Paragraph):
                        self._paragraph(inner.spans, {"indentStart": _INDENT, "indentFirstLine": _INDENT})
                    else:
                        self._block(inner)
            case Rule():
                self._paragraph((), {"borderBottom": _BORDER})
            case Grid():
                self._table(block)

    def _paragraph(self, spans: Sequence[Span], shape: Mapping[str, Any] | None = None) -> None:
        start = self.at
        chips = self._spans(spans)
        self._put("\n")
        if shape:
            self.shapes.append(_shape(_range(start, self.at), shape, ",".join(shape)))
        self.moves += [[_person(index, address)] for index, address in chips]

    def _list(self, listing: Listing) -> None:
        lines = list(_lines(listing, "number" if listing.ordered else None))
        chips: list[tuple[int, str]] = []
        bullets: list[Request] = []
        tabs = 0
        for kind, run in groupby(lines, key=lambda line: line.kind):
            start = self.at
            for line in run:
                self._put("\t" * line.depth)
                tabs += line.depth
                chips += [(index - tabs, address) for index, address in self._spans(self._named(line.spans))]
                self._put("\n")
            preset = _PRESETS[kind]
            bullets.append({"createParagraphBullets": {"range": _range(start, self.at), "bulletPreset": preset}})
        self.moves.append([*reversed(bullets), *(_person(*chip) for chip in reversed(chips))])

    def _table(self, grid: Grid) -> None:
        header = tuple(tuple(replace(span, bold=True) for span in cell) for cell in grid.header)
        rows = [*([header] if any(plain(cell).strip() for cell in header) else []), *grid.rows]
        if not rows:
            return
        at, width = self.at, len(grid.header)
        self._put("\n")
        requests: list[Request] = [{"insertTable": {"rows": len(rows), "columns": width, "location": {"index": at}}}]
        for row in reversed(range(len(rows))):
            for column in reversed(range(width)):
                index = at + 4 + row * (2 * width + 1) + 2 * column
                requests += filling(rows[row][column], index, self._mention)
        if len(rows) > len(grid.rows):
            place = {"tableStartLocation": {"index": at + 1}, "pinnedHeaderRowsCount": 1}
            requests.append({"pinTableHeaderRows": place})
        self.said += [_said(_as_mention(cell, self._mention)) for cells in rows for cell in cells]
        self.moves.append(requests)

    def _named(self, spans: Sequence[Span]) -> Sequence[Span]:
        return _as_mention(spans, self._mention)

    def _spans(self, spans: Sequence[Span]) -> list[tuple[int, str]]:
        """Add spans of text; give where the people in them go, and their addresses."""
        chips: list[tuple[int, str]] = []
        for span in spans:
            if (address := _address(span)) is not None:
                chips.append((self.at, address))
                continue
            start, text = self.at, _clean(span.text)
            self._put(text if self.parts and self.parts[-1][-1:] not in "\n\t" else text.lstrip("\t"))
            if (style := _style_of(span)) and self.at > start:
                self.styles.append(_style(_range(start, self.at), style, ",".join(style)))
        self.said.append(_said(spans))
        return chips

    def _put(self, text: str) -> None:
        if text:
            self.parts.append(text)
            self.at += units(text)


def _lines(listing: Listing, kind: str | None, depth: int = 0) -> Iterator[_Line]:
    """Give the paragraphs of a list and of those in it.

    Below a numbered list everything is numbered: two lists cannot share their numbers.
    """
    for item in listing.items:
        own = kind or ("box" if item.checked is not None else "number" if listing.ordered else "bullet")
        line = _Line(min(depth, _DEEPEST), own, [])
        inner: list[Listing] = []
        for block in item.blocks:
            if isinstance(block, Listing):
                inner.append(block)
            else:
                line.spans += [*([Span("\n")] if line.spans else []), *_flat(block)]
        if item.checked:  # Google shows a ticked box so, and lets nobody tick it
            line.spans = [replace(span, struck=True) for span in line.spans]
        yield line
        for below in inner:
            yield from _lines(below, kind, depth + 1)


def _flat(block: Block) -> Spans:
    """Give a block that stands in an item of a list as text."""
    match block:
        case Heading(_, spans):
            return tuple(replace(span, bold=True) for span in spans)
        case Paragraph(spans):
            return spans
        case Code(text):
            return (Span(text, code=True),)
        case Quote(blocks):
            return _joined([_flat(inner) for inner in blocks], Span("\n"))
        case Grid(header, rows):
            return _joined([_joined(row, Span(" | ")) for row in (header, *rows)], Span("\n"))
        case Listing(items):
            return _joined([_flat(inner) for item in items for inner in item.blocks], Span("\n"))
        case Rule():
            return ()


def _joined(parts: Iterable[Spans], between: Span) -> Spans:
    found: list[Span] = []
    for part in parts:
        found += [*([between] if found else []), *part]
    return tuple(found)


def filling(spans: Sequence[Span], index: int, mention: Mention = nobody) -> list[Request]:
    """Give the edits that write into an empty cell of a table, whose text begins at `index`."""
    writer = _Writer(index, mention)
    chips = writer._spans(_as_mention(spans, mention))
    text = "".join(writer.parts)
    written = [{"insertText": {"location": {"index": index}, "text": text}}] if text else []
    return [*written, *writer.styles, *(_person(*chip) for chip in reversed(chips))]


def _as_mention(spans: Sequence[Span], mention: Mention) -> Sequence[Span]:
    """Turn a text that only names somebody into a mention, where their address is known."""
    if any(span.link for span in spans):
        return spans
    name = plain_text(spans).strip()
    address = mention(name) if name else None
    return spans if address is None else (Span(name, link=_MAILTO + address),)


def _address(span: Span) -> str | None:
    if span.link is None or not span.link.lower().startswith(_MAILTO):
        return None
    return unquote(span.link[len(_MAILTO) :].partition("?")[0]) or None


def _clean(text: str) -> str:
    return _STRIPPED.sub("", text.replace("\r\n", "\n")).replace("\n", _BREAK)


def plain_text(spans: Sequence[Span]) -> str:
    """Give the text of spans, without the addresses of links."""
    return "".join(span.text for span in spans)


def _style_of(span: Span) -> dict[str, Any]:
    style: dict[str, Any] = {}
    style |= {"bold": True} if span.bold else {}
    style |= {"italic": True} if span.italic else {}
    style |= {"strikethrough": True} if span.struck else {}
    style |= {"weightedFontFamily": {"fontFamily": _MONOSPACE}} if span.code else {}
    style |= {"link": {"url": span.link}} if span.link else {}
    return style


def _range(start: int, end: int) -> dict[str, int]:
    return {"startIndex": start, "endIndex": end}


def _shape(where: Mapping[str, int], style: Mapping[str, Any], fields: str) -> Request:
    return {"updateParagraphStyle": {"range": dict(where), "paragraphStyle": dict(style), "fields": fields}}


def _style(where: Mapping[str, int], style: Mapping[str, Any], fields: str) -> Request:
    return {"updateTextStyle": {"range": dict(where), "textStyle": dict(style), "fields": fields}}


def _person(index: int, address: str) -> Request:
    return {"insertPerson": {"location": {"index": index}, "personProperties": {"email": address}}}


# --- reading ---------------------------------------------------------------------------------------------------------


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

    @property
    def text(self) -> str:
        return " ".join(plain_text(self.spans).split())


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table; what stands in it lies from `start` up to `end`, the last line's end left out."""

    start: int
    end: int
    spans: Spans

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

    def sheet(self, columns: Sequence[str]) -> Sheet | None:
        """Give the first table that has these columns."""
        return next((sheet for sheet in self.sheets if sheet.has(columns)), None)

    def holds(self, token: str) -> bool:
        """Whether the effect of this token wrote into it."""
        return any(name == f"{_OURS}{token}" or name.startswith(f"{_OURS}{token}:") for name in self.ranges)

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
            if name.startswith(_OURS) and name.count(":") == 2 and name.endswith(_hash_of(self._said_in(spans)))
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
                yield _said(one.spans)


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
            yield Sheet(start, end, tuple(tuple(map(_cell, row.get("tableCells") or ())) for row in rows))
        elif "tableOfContents" in element:
            yield Sheet(start, end, ())


def _line(paragraph: Mapping[str, Any], start: int, end: int, lists: Mapping[str, Any]) -> Line:
    style = paragraph.get("paragraphStyle") or {}
    named = str(style.get("namedStyleType", ""))
    bullet = paragraph.get("bullet")
    spans = _spans_of(paragraph)
    level = 1 if named == "TITLE" else int(named[-1]) if re.fullmatch(r"HEADING_[1-6]", named) else None
    if level is not None:
        spans = _merged(replace(span, bold=False) for span in spans)
    if bullet is not None:
        depth, listed = int(bullet.get("nestingLevel", 0)), str(bullet.get("listId", ""))
        return Line(start, end, spans, kind=_kind_of(lists.get(listed, {}), depth), depth=depth, listed=listed)
    shaded = bool(((style.get("shading") or {}).get("backgroundColor") or {}).get("color"))
    return Line(
        start,
        end,
        spans,
        level=level if spans else None,
        code=shaded and bool(spans) and all(span.code for span in spans),
        quoted=bool((style.get("indentStart") or {}).get("magnitude")),
        ruled=not spans and _is_ruled(paragraph, style),
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


def _cell(cell: Mapping[str, Any]) -> Cell:
    content: Sequence[Mapping[str, Any]] = cell["content"]
    found: list[Span] = []
    for element in content:
        spans = _spans_of(element.get("paragraph") or {})
        found += [*([Span(" ")] if found and spans else []), *spans]
    return Cell(int(content[0]["startIndex"]), int(content[-1]["endIndex"]) - 1, _merged(found))


def _spans_of(paragraph: Mapping[str, Any]) -> Spans:
    spans = _merged(span for element in paragraph.get("elements") or () if (span := _span(element)) is not None)
    return spans if any(span.text.strip() or span.link for span in spans) else ()


def _span(element: Mapping[str, Any]) -> Span | None:
    """Read one element of a paragraph; None for what is only suggested, and for what says nothing."""
    if (run := element.get("textRun")) is not None:
        text = str(run.get("content", "")).removesuffix("\n").replace(_BREAK, "\n")
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
            None if person.get("suggestedInsertionIds") else Span(known.get("name") or address, link=_MAILTO + address)
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


def _merged(spans: Iterable[Span]) -> Spans:
    found: list[Span] = []
    for span in spans:
        if found and replace(found[-1], text="") == replace(span, text="") and _address(span) is None:
            found[-1] = replace(span, text=found[-1].text + span.text)
        else:
            found.append(span)
    return tuple(found)


def _without_tickets(sheet: Sheet) -> Sheet:
    if not sheet.has([ACTION_ITEM_COLUMNS["what"], ACTION_ITEM_COLUMNS["owner"]]):
        return sheet
    ticket = find_column(sheet.header, ACTION_ITEM_COLUMNS["ticket"])
    rows = (tuple(cell for at, cell in enumerate(row) if at != ticket) for row in sheet.rows)
    return replace(sheet, rows=tuple(rows))


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
