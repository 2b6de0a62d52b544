"""Markdown as blocks and spans, for services that want something else than Markdown.

The dialect is CommonMark with tables, ~~struck~~ text and `- [ ]` check boxes. HTML in it is text. A provider turns the
blocks into its service's form and never sees Markdown's signs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

#: Where a link may lead. What is anything else is text.
_SCHEMES = frozenset({"http", "https", "mailto"})
_BOX = re.compile(r"\[([ xX])\] +")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of text that looks the same; it may hold line breaks."""

    text: str
    bold: bool = False
    italic: bool = False
    struck: bool = False
    code: bool = False
    link: str | None = None


Spans = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    level: int  #: 1 to 6
    spans: Spans


@dataclass(frozen=True, slots=True)
class Paragraph:
    spans: Spans


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a list: what it says, its box (None where it has none), and what is below it."""

    blocks: tuple[Block, ...]
    checked: bool | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    items: tuple[Item, ...]
    ordered: bool = False
    start: int = 1


@dataclass(frozen=True, slots=True)
class Code:
    text: str
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Quote:
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    pass


@dataclass(frozen=True, slots=True)
class Grid:
    """A table; every row has as many cells as the header."""

    header: tuple[Spans, ...]
    rows: tuple[tuple[Spans, ...], ...]


Block = Heading | Paragraph | Listing | Code | Quote | Rule | Grid


def blocks(markdown: str) -> tuple[Block, ...]:
    """Read Markdown."""
    tokens = iter(_parser().parse(markdown))
    return _blocks(tokens)


def plain(spans: Sequence[Span]) -> str:
    """Give the text of spans, with the address of a link after its text where it says something else."""
    parts = [
        span.text
        if span.link is None or span.link in (span.text, f"mailto:{span.text}")
        else f"{span.text} ({span.link})"
        for span in spans
    ]
    return "".join(parts)


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def _blocks(tokens: Iterator[Token], until: str | None = None) -> tuple[Block, ...]:
    found: list[Block] = []
    for token in tokens:
        if token.type == until:
            break
        block = _block(token, tokens)
        if block is not None:
            found.append(block)
    return tuple(found)


def _block(token: Token, tokens: Iterator[Token]) -> Block | None:
    match token.type:
        case "heading_open":
            return Heading(int(token.tag[1]), _inline(tokens, "heading_close"))
        case "paragraph_open":
            return Paragraph(_inline(tokens, "paragraph_close"))
        case "bullet_list_open":
            return Listing(_items(tokens, "bullet_list_close"))
        case "ordered_list_open":
            start = token.attrs.get("start", 1)
            return Listing(_items(tokens, "ordered_list_close"), ordered=True, start=int(start))
        case "blockquote_open":
            return Quote(_blocks(tokens, "blockquote_close"))
        case "fence" | "code_block":
            return Code(
                token.content.removesuffix("\n"), token.info.split(maxsplit=1)[0] if token.info.strip() else None
            )
        case "hr":
            return Rule()
        case "table_open":
            return _grid(tokens)
        case _:
            return None


def _inline(tokens: Iterator[Token], until: str) -> Spans:
    spans: Spans = ()
    for token in tokens:
        if token.type == until:
            break
        if token.type == "inline":
            spans = _spans(token.children or [])
    return spans


def _items(tokens: Iterator[Token], until: str) -> tuple[Item, ...]:
    items: list[Item] = []
    for token in tokens:
        if token.type == until:
            break
        if token.type == "list_item_open":
            items.append(_item(_blocks(tokens, "list_item_close")))
    return tuple(items)


def _item(inner: tuple[Block, ...]) -> Item:
    first = inner[0] if inner else None
    if not isinstance(first, Paragraph) or not first.spans:
        return Item(inner)
    lead = first.spans[0]
    box = _BOX.match(lead.text) if lead == Span(lead.text) else None
    if box is None:
        return Item(inner)
    rest = tuple(span for span in (replace(lead, text=lead.text[box.end() :]), *first.spans[1:]) if span.text)
    return Item((Paragraph(rest), *inner[1:]), checked=box[1] != " ")


def _grid(tokens: Iterator[Token]) -> Grid:
    rows: list[list[Spans]] = []
    for token in tokens:
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(_spans(token.children or []))
    return Grid(tuple(rows[0]), tuple(tuple(row) for row in rows[1:]))


_ON: dict[str, dict[str, Any]] = {
    "strong_open": {"bold": True},
    "em_open": {"italic": True},
    "s_open": {"struck": True},
    "strong_close": {"bold": False},
    "em_close": {"italic": False},
    "s_close": {"struck": False},
    "link_close": {"link": None},
}


def _spans(children: Sequence[Token]) -> Spans:
    found: list[Span] = []
    style = Span("")
    for token in children:
        if token.type in _ON:
            style = replace(style, **_ON[token.type])
        elif token.type == "link_open":
            style = replace(style, link=_address(str(token.attrs.get("href", ""))))
        else:
            _add(found, replace(style, text=_text_of(token), code=token.type == "code_inline"))
    return tuple(found)


def _add(found: list[Span], span: Span) -> None:
    """Add a span, in one with the last where it looks the same."""
    if not span.text:
        return
    if found and replace(found[-1], text="") == replace(span, text=""):
        found[-1] = replace(span, text=found[-1].text + span.text)
    else:
        found.append(span)


def _text_of(token: Token) -> str:
    match token.type:
        case "softbreak":
            return " "
        case "hardbreak":
            return "\n"
        case _:  # an image is its description
            return token.content


def _address(link: str) -> str | None:
    return link if urlsplit(link).scheme.lower() in _SCHEMES else None
