"""The template of a Google document: its `{{ placeholders }}`, and the edits that put values in their place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from actions.providers.blocks import Block, Grid, Heading, Paragraph, Span
from actions.providers.google_page import Page
from actions.providers.google_text import (
    Insertion,
    Mention,
    Request,
    filling,
    inline,
    inserting,
    name_of,
    nobody,
    plain_text,
    range_of,
    units,
)

_PLACEHOLDER = re.compile(r"\{\{\s*([^{}\n]+?)\s*\}\}")


def values_of(title: str, incident: str | None, blocks: Sequence[Block]) -> Mapping[str, Sequence[Block]]:
    """Give what the placeholders of a template stand for, by their names in lower case.

    These are `title`, `incident`, `text` (all of it), each heading (what is below it) and the first cell of each row of
    a table that has two columns (the second).
    """
    values: dict[str, Sequence[Block]] = {}
    for at, block in enumerate(blocks):
        if isinstance(block, Heading):
            after = (
                n for n, one in enumerate(blocks) if n > at and isinstance(one, Heading) and one.level <= block.level
            )
            values.setdefault(_name(plain_text(block.spans)), blocks[at + 1 : next(after, len(blocks))])
        elif isinstance(block, Grid) and len(block.header) == 2:
            for name, value in (block.header, *block.rows):
                values.setdefault(_name(plain_text(name)), (Paragraph(value),))
    own = {"title": (Paragraph((Span(title),)),), "incident": (Paragraph((Span(incident or ""),)),), "text": blocks}
    return {**values, **own}


def _name(text: str) -> str:
    return " ".join(text.casefold().split())


def filled(
    page: Page, values: Mapping[str, Sequence[Block]], *, mention: Mention = nobody, token: str
) -> list[Request] | None:
    """Give the edits that put values in the place of a template's `{{ placeholders }}`; None where it has none.

    One that nothing is known for stays as it is. One that stands alone in a paragraph takes whole blocks; elsewhere
    it takes their text.
    """
    found: list[tuple[int, list[Request]]] = []
    for line, in_cell in page.lines():
        for match in _PLACEHOLDER.finditer(line.raw):
            value = values.get(_name(match[1]))
            if value is None:
                continue
            start = line.start + units(line.raw[: match.start()])
            gone = {"deleteContentRange": {"range": range_of(start, start + units(match[0]))}}
            alone = not in_cell and line.raw.strip() == match[0]
            if alone and not (len(value) == 1 and isinstance(value[0], Paragraph)):
                away = {"deleteContentRange": {"range": range_of(line.start, line.end - 1)}}
                found.append((start, [away, *inserting(value, Insertion(line.start, into=True), mention=mention)]))
            else:
                found.append((start, [gone, *filling(inline(value), start, mention)]))
    if not found:
        return None
    first = page.parts[0]
    marker = {"name": name_of(token), "range": range_of(first.start, first.end)}
    later = (request for _, requests in sorted(found, key=lambda one: -one[0]) for request in requests)
    return [{"createNamedRange": marker}, *later]
