"""Jira's two forms of rich text: Atlassian's document format on Cloud, wiki markup on Data Center."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from actions.providers.blocks import Block, Code, Grid, Heading, Item, Listing, Paragraph, Quote, Rule, Span, blocks

_WIKI_SIGNS = re.compile(r"([\\{}\[\]*_?+^~|!#-])")
_MARKS = {"bold": "strong", "italic": "em", "struck": "strike", "code": "code"}


def written_text(markdown: str, *, cloud: bool) -> Any:
    """Give Markdown as Jira takes it."""
    found = blocks(markdown)
    if cloud:
        return {"type": "doc", "version": 1, "content": [_node(block) for block in found]}
    return "\n\n".join(_wiki(block) for block in found)


def read_text(value: Any) -> str:
    """Give the text of what Jira shows as rich text, without its looks; empty where there is none."""
    if isinstance(value, str):
        return value.strip()
    if not isinstance(value, dict):
        return ""
    parts = list(_texts(value))
    return re.sub(r"\n{3,}", "\n\n", "".join(parts)).strip()


_ENDS_LINE = frozenset({"paragraph", "heading", "codeBlock", "listItem", "tableRow", "rule", "taskItem"})


def _texts(node: dict[str, Any]) -> Sequence[str]:
    found: list[str] = []
    stack: list[Any] = [node]
    while stack:  # no deeper than memory: a document comes from outside
        one = stack.pop()
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, dict):
            match one.get("type"):
                case "text":
                    found.append(str(one.get("text", "")))
                case "hardBreak":
                    found.append("\n")
                case "mention" | "emoji":
                    found.append(str((one.get("attrs") or {}).get("text", "")))
                case kind:
                    inner = one.get("content")
                    stack += ["\n"] if kind in _ENDS_LINE else []
                    stack += reversed(inner) if isinstance(inner, list) else []
    return found


# --- Atlassian's document format -------------------------------------------------------------------------------------


def _node(block: Block) -> dict[str, Any]:
    match block:
        case Heading(level, spans):
            return {"type": "heading", "attrs": {"level": level}, "content": _inline(spans)}
        case Paragraph(spans):
            return {"type": "paragraph", "content": _inline(spans)}
        case Code(text, language):
            attrs = {"attrs": {"language": language}} if language else {}
            return {"type": "codeBlock", **attrs, "content": [{"type": "text", "text": text}] if text else []}
        case Quote(inner):
            return {"type": "blockquote", "content": [_node(one) for one in inner]}
        case Listing(items, ordered, start):
            kind = "orderedList" if ordered else "bulletList"
            number: dict[str, Any] = {"attrs": {"order": start}} if ordered else {}
            return {"type": kind, **number, "content": [_list_item(item) for item in items]}
        case Grid(header, rows):
            cells = [_row("tableHeader", header), *(_row("tableCell", row) for row in rows)]
            return {"type": "table", "content": cells}
        case Rule():
            return {"type": "rule"}


def _list_item(item: Item) -> dict[str, Any]:
    inner = [_node(one) for one in item.blocks] or [{"type": "paragraph", "content": []}]
    if item.checked is not None and inner[0]["type"] == "paragraph":
        box = {"type": "text", "text": "☑ " if item.checked else "☐ "}
        inner[0] = {**inner[0], "content": [box, *inner[0]["content"]]}
    return {"type": "listItem", "content": inner}


def _row(kind: str, cells: Sequence[Sequence[Span]]) -> dict[str, Any]:
    content = [{"type": kind, "content": [{"type": "paragraph", "content": _inline(cell)}]} for cell in cells]
    return {"type": "tableRow", "content": content}


def _inline(spans: Sequence[Span]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for span in spans:
        marks: list[dict[str, Any]] = [{"type": mark} for name, mark in _MARKS.items() if getattr(span, name)]
        if span.link is not None:
            marks.append({"type": "link", "attrs": {"href": span.link}})
        for index, line in enumerate(span.text.split("\n")):
            if index:
                found.append({"type": "hardBreak"})
            if line:
                found.append({"type": "text", "text": line, **({"marks": marks} if marks else {})})
    return found


# --- wiki markup -----------------------------------------------------------------------------------------------------


def _wiki(block: Block, mark: str = "") -> str:
    match block:
        case Heading(level, spans):
            return f"h{level}. {_wiki_line(spans)}"
        case Paragraph(spans):
            return _wiki_line(spans)
        case Code(text, language):
            return f"{{code{':' + language if language and language.isalnum() else ''}}}\n{text}\n{{code}}"
        case Quote(inner):
            return "{quote}\n" + "\n\n".join(_wiki(one) for one in inner) + "\n{quote}"
        case Listing(items, ordered):
            return "\n".join(_wiki_item(item, mark + ("#" if ordered else "*")) for item in items)
        case Grid(header, rows):
            lines = ["||" + "||".join(_wiki_cell(cell) for cell in header) + "||"]
            lines += ["|" + "|".join(_wiki_cell(cell) for cell in row) + "|" for row in rows]
            return "\n".join(lines)
        case Rule():
            return "----"


def _wiki_item(item: Item, mark: str) -> str:
    box = "" if item.checked is None else "(/) " if item.checked else "( ) "
    lead, *rest = [_wiki(one, mark) for one in item.blocks] or [""]
    return "\n".join([f"{mark} {box}{lead}", *rest])


def _wiki_cell(spans: Sequence[Span]) -> str:
    return _wiki_line(spans).replace("\n", " ") or " "


def _wiki_line(spans: Sequence[Span]) -> str:
    return "".join(_wiki_span(span) for span in spans)


def _wiki_span(span: Span) -> str:
    text = _WIKI_SIGNS.sub(r"\\\1", span.text)
    if span.code:
        text = f"{{{{{text}}}}}"
    for name, sign in (("bold", "*"), ("italic", "_"), ("struck", "-")):
        if getattr(span, name) and text.strip():
            text = f"{sign}{text}{sign}"
    return text if span.link is None else f"[{text}|{span.link}]"
