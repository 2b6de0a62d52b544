"""Markdown as HTML, for the status page and its feed."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from actions.providers import blocks
from actions.providers.blocks import Span


def html(markdown: str) -> str:
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
