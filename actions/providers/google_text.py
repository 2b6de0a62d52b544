"""Markdown as edits of a Google document.

Google counts in UTF-16 units. A text is inserted as a whole and styled; only then, from its end to its beginning, comes
what moves what is behind it: tables, bullets (whose leading tabs vanish) and people. So no index depends on how much
room an earlier edit took.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any
from urllib.parse import unquote

from actions.providers.blocks import Block, Code, Grid, Heading, Listing, Paragraph, Quote, Rule, Span, Spans, plain

Request = dict[str, Any]
#: Gives the e-mail address of somebody whom a text names, where that is known.
Mention = Callable[[str], str | None]

MAILTO = "mailto:"
#: A line break inside of a paragraph.
BREAK = "\v"
#: What Google strips of an inserted text, and what cannot be sent; counted, it would move everything behind it.
_STRIPPED = re.compile("[\x00-\x08\x0c-\x1f\ue000-\uf8ff\ud800-\udfff]")
_MONOSPACE = "Courier New"
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
PLAIN_TEXT = "bold,italic,underline,strikethrough,link,weightedFontFamily,foregroundColor,backgroundColor,fontSize"
_DEEPEST = 8  #: levels of lists below the first that Google knows


def units(text: str) -> int:
    """Give the length of a text in UTF-16 units."""
    return len(text.encode("utf-16-le")) // 2


# --- writing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Insertion:
    """Where new paragraphs go: before the one at `index`, `after` the one that ends there, or `into` an empty one."""

    index: int
    after: bool = False
    into: bool = False

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
    sent = f"\n{text[:-1]}" if where.after else text[:-1] if where.into else text
    whole = range_of(where.start, writer.at)
    name = name_of(token, writer.said if hashed else None)
    return [
        *([{"insertText": {"location": {"index": where.index}, "text": sent}}] if sent else []),
        {"deleteParagraphBullets": {"range": whole}},
        _shape(whole, {"namedStyleType": "NORMAL_TEXT"}, _PLAIN_PARAGRAPH),
        styling(whole, {}, PLAIN_TEXT),
        *writer.shapes,
        *writer.styles,
        *([{"createNamedRange": {"name": name, "range": whole}}] if token else []),
        *(request for move in reversed(writer.moves) for request in move),
    ]


def name_of(token: str, said: Iterable[str] | None = None) -> str:
    """Give the name of the range that an effect wrote; with the words it holds, those hashed."""
    return f"{OURS}{token}" if said is None else f"{OURS}{token}:{hash_of(said)}"


OURS = "hotwash:"


def hash_of(said: Iterable[str]) -> str:
    words = " ".join(" ".join(said).split())
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def said(spans: Iterable[Span]) -> str:
    """Give the text of spans without the people in it, whom Google shows by names of its own."""
    return "".join(span.text for span in spans if address_of(span) is None)


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
            self.shapes.append(_shape(range_of(start, self.at), shape, ",".join(shape)))
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
            bullets.append({"createParagraphBullets": {"range": range_of(start, self.at), "bulletPreset": preset}})
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
        self.said += [said(_as_mention(cell, self._mention)) for cells in rows for cell in cells]
        self.moves.append(requests)

    def _named(self, spans: Sequence[Span]) -> Sequence[Span]:
        return _as_mention(spans, self._mention)

    def _spans(self, spans: Sequence[Span]) -> list[tuple[int, str]]:
        """Add spans of text; give where the people in them go, and their addresses."""
        chips: list[tuple[int, str]] = []
        for span in spans:
            if (address := address_of(span)) is not None:
                chips.append((self.at, address))
                continue
            start, text = self.at, _clean(span.text)
            self._put(text if self.parts and self.parts[-1][-1:] not in "\n\t" else text.lstrip("\t"))
            if (style := _style_of(span)) and self.at > start:
                self.styles.append(styling(range_of(start, self.at), style, ",".join(style)))
        self.said.append(said(spans))
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
            return joined([_flat(inner) for inner in blocks], Span("\n"))
        case Grid(header, rows):
            return joined([joined(row, Span(" | ")) for row in (header, *rows)], Span("\n"))
        case Listing(items):
            return joined([_flat(inner) for item in items for inner in item.blocks], Span("\n"))
        case Rule():
            return ()


def joined(parts: Iterable[Spans], between: Span) -> Spans:
    found: list[Span] = []
    for part in parts:
        found += [*([between] if found else []), *part]
    return tuple(found)


def merged(spans: Iterable[Span]) -> Spans:
    found: list[Span] = []
    for span in spans:
        if found and replace(found[-1], text="") == replace(span, text="") and address_of(span) is None:
            found[-1] = replace(span, text=found[-1].text + span.text)
        else:
            found.append(span)
    return tuple(found)


def filling(spans: Sequence[Span], index: int, mention: Mention = nobody) -> list[Request]:
    """Give the edits that write into an empty cell of a table, whose text begins at `index`."""
    writer = _Writer(index, mention)
    chips = writer._spans(_as_mention(spans, mention))
    text = "".join(writer.parts)
    written = [{"insertText": {"location": {"index": index}, "text": text}}] if text else []
    return [*written, *writer.styles, *(_person(*chip) for chip in reversed(chips))]


def inline(blocks: Sequence[Block]) -> Spans:
    """Give blocks as what a line can hold."""
    return joined([_flat(block) for block in blocks], Span(" "))


def plain_blocks(blocks: Sequence[Block]) -> str:
    """Give blocks as plain text, with the addresses of links."""
    parts = []
    for block in blocks:
        items = block.items if isinstance(block, Listing) else ()
        lines = [f"- {plain(joined([_flat(inner) for inner in item.blocks], Span(' ')))}" for item in items]
        parts.append("\n".join(lines) if items else plain(_flat(block)))
    return "\n\n".join(parts)


def _as_mention(spans: Sequence[Span], mention: Mention) -> Sequence[Span]:
    """Turn a text that only names somebody into a mention, where their address is known."""
    if any(span.link for span in spans):
        return spans
    name = plain_text(spans).strip()
    address = mention(name) if name else None
    return spans if address is None else (Span(name, link=MAILTO + address),)


def address_of(span: Span) -> str | None:
    if span.link is None or not span.link.lower().startswith(MAILTO):
        return None
    return unquote(span.link[len(MAILTO) :].partition("?")[0]) or None


def _clean(text: str) -> str:
    return _STRIPPED.sub("", text.replace("\r\n", "\n")).replace("\n", BREAK)


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


def range_of(start: int, end: int) -> dict[str, int]:
    return {"startIndex": start, "endIndex": end}


def _shape(where: Mapping[str, int], style: Mapping[str, Any], fields: str) -> Request:
    return {"updateParagraphStyle": {"range": dict(where), "paragraphStyle": dict(style), "fields": fields}}


def styling(where: Mapping[str, int], style: Mapping[str, Any], fields: str) -> Request:
    return {"updateTextStyle": {"range": dict(where), "textStyle": dict(style), "fields": fields}}


def _person(index: int, address: str) -> Request:
    return {"insertPerson": {"location": {"index": index}, "personProperties": {"email": address}}}


def without_mentions(edits: Sequence[Request]) -> list[Request]:
    """Give the same edits with people's addresses as text: nothing in them depends on the room that a mention takes."""
    return [_as_text(edit["insertPerson"]) if "insertPerson" in edit else edit for edit in edits]


def _as_text(person: Mapping[str, Any]) -> Request:
    return {"insertText": {"location": person["location"], "text": person["personProperties"]["email"]}}
