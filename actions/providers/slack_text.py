"""Slack's mrkdwn, and the blocks that a message is made of."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from actions.providers.blocks import (
    Block,
    Code,
    Grid,
    Heading,
    Item,
    Listing,
    Paragraph,
    Quote,
    Rule,
    Span,
    blocks,
    plain,
)

#: Characters of one section, blocks of one message, characters of a message's text (docs.slack.dev, block kit).
MOST_IN_SECTION = 3000
MOST_BLOCKS = 50
MOST_IN_TEXT = 4000
_SIGNS = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
#: What stands in angle brackets: somebody, a channel, a keyword or a link, and the words that are shown for it.
_TOKEN = re.compile(r"<([@#!]?)([^<>|]*)(?:\|([^<>]*))?>")
#: Slack has no escape for the signs of its looks: a word joiner beside them keeps them signs.
_LOOKS = str.maketrans({sign: f"{sign}\u2060" for sign in "*_~`"})


def escaped(text: str) -> str:
    """Give a text so that Slack shows it and obeys nothing in it: no mention, no link, no looks."""
    return text.translate(_SIGNS).translate(_LOOKS)


def escaped_signs(text: str) -> str:
    """Give plain text for where Slack shows no looks: nothing in it is a mention or a link."""
    return text.translate(_SIGNS)


def read_text(mrkdwn: str, name_of: Callable[[str], str | None]) -> str:
    """Give a message of Slack as plain text: people, channels and links as people see them.

    Args:
        mrkdwn: the text as Slack has it.
        name_of: gives somebody's name by the id of a user.
    """

    def shown(match: re.Match[str]) -> str:
        sign, target, label = match[1], match[2], match[3]
        match sign:
            case "@":
                return "@" + (label or name_of(target) or target)
            case "#":
                return "#" + (label or target)
            case "!":
                return label or "@" + target.partition("^")[0]
            case _:
                return target if label in (None, target) or target == f"mailto:{label}" else f"{label} ({target})"

    return html.unescape(_TOKEN.sub(shown, mrkdwn))


def fallback(markdown: str) -> str:
    """Give the plain text of a message, for notifications and for clients that show no blocks."""
    text = "\n".join(_plain(block) for block in blocks(markdown))
    return (text if len(text) <= MOST_IN_TEXT else text[: MOST_IN_TEXT - 1] + "…").translate(_SIGNS)


def sections(markdown: str) -> list[dict[str, Any]]:
    """Give a message as sections of mrkdwn, cut at paragraphs where it is long."""
    found: list[str] = []
    for part in (_mrkdwn(block) for block in blocks(markdown)):
        if found and len(found[-1]) + len(part) + 2 <= MOST_IN_SECTION:
            found[-1] += f"\n\n{part}"
        else:
            found += [part[at : at + MOST_IN_SECTION] for at in range(0, len(part), MOST_IN_SECTION)]
    kept = found[: MOST_BLOCKS - 2]
    if len(kept) < len(found):
        kept[-1] = kept[-1][: MOST_IN_SECTION - 1] + "…"
    return [{"type": "section", "text": {"type": "mrkdwn", "text": text}} for text in kept if text]


def buttons(choices: Mapping[str, str], block_id: str, action: str) -> list[dict[str, Any]]:
    """Give the buttons of a question: name to label, the name as the button's value."""
    elements = [
        {
            "type": "button",
            "action_id": f"{action}:{name}",
            "value": name,
            "text": {"type": "plain_text", "text": label, "emoji": True},
        }
        for name, label in choices.items()
    ]
    return [{"type": "actions", "block_id": block_id, "elements": elements}]


def _mrkdwn(block: Block) -> str:
    match block:
        case Heading(_, spans):
            return f"*{_line([Span(plain(spans))])}*"
        case Paragraph(spans):
            return _line(spans)
        case Code(text):
            return "```\n" + text.translate(_SIGNS).replace("```", "'''") + "\n```"
        case Quote(inner):
            text = "\n".join(_mrkdwn(one) for one in inner)
            return "\n".join(f"> {line}" for line in text.split("\n"))
        case Listing():
            return "\n".join(_items(block, 0))
        case Grid(header, rows):
            lines = [" | ".join(plain(cell) for cell in row) for row in (header, *rows)]
            return "```\n" + "\n".join(lines).translate(_SIGNS).replace("```", "'''") + "\n```"
        case Rule():
            return "———"


def _items(listing: Listing, depth: int) -> Iterable[str]:
    for number, item in enumerate(listing.items, listing.start):
        mark = f"{number}." if listing.ordered else "•"
        yield from _item(item, mark, depth)


def _item(item: Item, mark: str, depth: int) -> Iterable[str]:
    box = {None: "", True: "☑ ", False: "☐ "}[item.checked]
    indent = "    " * depth
    first = True
    for block in item.blocks:
        if isinstance(block, Listing):
            yield from _items(block, depth + 1)
        else:
            text = _mrkdwn(block)
            yield f"{indent}{mark} {box}{text}" if first else f"{indent}   {text}"
            first = False


def _line(spans: Sequence[Span]) -> str:
    return "".join(_span(span) for span in spans)


def _span(span: Span) -> str:
    if span.code:
        return f"`{span.text.translate(_SIGNS).replace('`', chr(39))}`"
    text = escaped(span.text)
    if span.link is not None:
        text = f"<{span.link.translate(_SIGNS).replace('|', '%7C')}|{text.replace('|', '¦')}>"
    for name, sign in (("bold", "*"), ("italic", "_"), ("struck", "~")):
        if getattr(span, name) and text.strip():
            text = f"{sign}{text}{sign}"
    return text


def _plain(block: Block) -> str:
    match block:
        case Heading(_, spans) | Paragraph(spans):
            return plain(spans)
        case Code(text):
            return text
        case Quote(inner):
            return "\n".join(_plain(one) for one in inner)
        case Listing(items):
            return "\n".join(f"- {_plain(one)}" for item in items for one in item.blocks)
        case Grid(header, rows):
            return "\n".join(" | ".join(plain(cell) for cell in row) for row in (header, *rows))
        case Rule():
            return "---"
