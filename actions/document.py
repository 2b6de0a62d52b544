"""Documents: make, extend and publish them, read the action items in them, and link the tickets back."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from pydantic import model_validator

from engine.capabilities import ACTION_ITEM_COLUMNS, People, Table, find_column
from engine.domain import ActionItem, Document, Incident, Person
from engine.plugins import (
    ActionError,
    Context,
    DocumentRef,
    EffectClass,
    Field,
    IncidentRef,
    Params,
    Template,
    Text,
    action,
)
from engine.plugins import Person as PersonInput


class CreateDocument(Params):
    """Create a document from a template, or of a text, and share it.

    Example:
        uses: document.create
        with:
          template: postmortem
          title: "Postmortem: ${{ incident.title }}"
    """

    title: str = Field(min_length=1, description="Shown as the document's title.")
    template: Template | None = Field(default=None, description="Name of a template file, without its ending.")
    text: Text | None = Field(default=None, description="The document's Markdown, where there is no template.")
    share_with: list[PersonInput] = Field(default=[], description="People who may edit it.")
    incident: IncidentRef | None = Field(default=None, description="What it is about; by default the run's incident.")

    @model_validator(mode="after")
    def _one_of_both(self) -> CreateDocument:
        if (self.template is None) == (self.text is None):
            found = "neither" if self.text is None else "both"
            raise ValueError(f"either 'template' or 'text' must be given, not {found}")
        return self


@action("document.create", CreateDocument, returns=Document, lasts=True)
async def create(params: CreateDocument, ctx: Context) -> Document:
    """Hand the rendered document to the document provider. It is as private as its incident."""
    incident = _incident(params.incident, ctx)
    return await ctx.documents.create(
        params.title,
        params.template.text if params.template else params.text or "",
        template=params.template.name if params.template else None,
        incident=incident,
        share_with=params.share_with,
        private=incident is not None and ctx.is_private(incident),
        effect=ctx.effect,
    )


def _incident(given: Incident | str | None, ctx: Context) -> str | None:
    incident = given or ctx.incident
    return incident.id if isinstance(incident, Incident) else incident


class AppendToDocument(Params):
    """Add Markdown at the end of a document, or at the end of a section of it.

    Example:
        uses: document.append
        with:
          document: ${{ document }}
          heading: Decisions
          text: "Reviewed ${{ now() | local }}."
    """

    document: DocumentRef = Field(description="The document, or its id.")
    text: Text = Field(description="What to add.")
    heading: str | None = Field(
        default=None, min_length=1, description="The section to add to; made at the end where there is none."
    )


@action("document.append", AppendToDocument, returns=Document, lasts=True)
async def append(params: AppendToDocument, ctx: Context) -> Document:
    """Add to the document."""
    return await ctx.documents.append(_id(params.document), params.text, heading=params.heading, effect=ctx.effect)


class CommentOnDocument(Params):
    """Comment on a document, for those who work on it. Its content stays as it is.

    Example:
        uses: document.comment
        with:
          document: ${{ document }}
          text: "The action items are due on Friday."
    """

    document: DocumentRef = Field(description="The document, or its id.")
    text: Text = Field(min_length=1, description="What to say.")


@action("document.comment", CommentOnDocument, returns=Document, lasts=False)
async def comment(params: CommentOnDocument, ctx: Context) -> Document:
    """Hand the comment to the document provider."""
    return await ctx.documents.comment(_id(params.document), params.text, effect=ctx.effect)


class PublishDocument(Params):
    """Make a document no longer a draft.

    Example:
        uses: document.publish
        with:
          document: ${{ document }}
    """

    document: DocumentRef = Field(description="The document, or its id.")


@action("document.publish", PublishDocument, returns=Document, lasts=True)
async def publish(params: PublishDocument, ctx: Context) -> Document:
    """Publish it; one that is published stays so."""
    return await ctx.documents.publish(_id(params.document), effect=ctx.effect)


def _id(document: Document | str) -> str:
    return document.id if isinstance(document, Document) else document


# --- action items ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ActionItems:
    """What a report's action item table says."""

    items: list[ActionItem] = field(metadata={"doc": "The rows of the table, in order."})


class ReadActionItems(Params):
    """Read the action item table of a document: what, owner, due date, ticket.

    The table is the first with these columns, else the first that has at least *what* and *owner*; without one there
    are no items. A row is known by the text of its *what* cell: wording, not case, spaces or emphasis. Rows without
    that text are passed over.

    Example:
        uses: document.action_items
        with:
          document: ${{ document }}
    """

    document: DocumentRef = Field(description="The document, or its id.")


@action(
    "document.action_items",
    ReadActionItems,
    returns=ActionItems,
    lasts=False,
    via="document.table",
    effect=EffectClass.READ,
)
async def action_items(params: ReadActionItems, ctx: Context) -> ActionItems:
    """Give the rows of the action item table.

    An owner whom the roster does not know is None, with the cell's text in `owner_text`. A due date is the end of
    that day in the project's zone.

    Raises:
        ActionError: a due date cannot be read, or two rows say the same; it names every such row.
    """
    found = await _item_table(_id(params.document), ctx)
    return ActionItems(_items(found[0], ctx.people, ctx.zone) if found else [])


async def _item_table(document: str, ctx: Context) -> tuple[Table, Sequence[str]] | None:
    """Give the action item table, and the columns by which the provider finds it again."""
    for names in (("what", "owner", "due", "ticket"), ("what", "owner")):
        columns = [ACTION_ITEM_COLUMNS[name] for name in names]
        table = await ctx.documents.table(document, columns)
        if table is not None:
            return table, columns
    return None


def _items(table: Table, people: People, zone: str) -> list[ActionItem]:
    items: list[ActionItem] = []
    problems: list[str] = []
    first: dict[str, int] = {}
    for number, cells in enumerate(_rows(table), start=1):
        what = _plain(cells["what"])
        if _says_nothing(what):
            continue
        row, key = f"row {number} ('{_shortened(what)}')", _item_id(what)
        if key in first:
            problems.append(f"rows {first[key]} and {number} say the same ('{_shortened(what)}'): reword or drop one")
            continue
        first[key] = number
        try:
            due = _due(_plain(cells["due"]), zone)
        except ValueError as error:
            problems.append(f"{row}: {error}")
            continue
        owner, ticket = _plain(cells["owner"]), _plain(cells["ticket"])
        items.append(
            ActionItem(
                id=key,
                what=what,
                owner=_owner(cells["owner"], people),
                owner_text=None if _says_nothing(owner) else owner,
                due=due,
                ticket=None if _says_nothing(ticket) else ticket,
            )
        )
    if problems:
        raise ActionError(f"the action item table cannot be used: {'; '.join(problems)}", code="unreadable-row")
    return items


def _rows(table: Table) -> list[Mapping[str, str]]:
    """Give the rows by our names of the columns; a column that the table does not have is empty."""
    places = {name: find_column(table.header, spellings) for name, spellings in ACTION_ITEM_COLUMNS.items()}
    return [{name: "" if at is None else row[at] for name, at in places.items()} for row in table.rows]


def _due(text: str, zone: str) -> datetime | None:
    if _says_nothing(text):
        return None
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            return datetime.combine(date.fromisoformat(text), time(23, 59, 59), ZoneInfo(zone)).astimezone(UTC)
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except ValueError:
        pass
    raise ValueError(f"the due date must be a day such as 2026-03-02, not '{_shortened(text)}'")


_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w")


def _owner(cell: str, people: People) -> Person | None:
    """Give the one whom a cell names by roster key, `@key`, e-mail address or full name."""
    name = _plain(cell).lstrip("@")
    if _says_nothing(name):
        return None
    for key in (name, name.casefold(), *_ADDRESS.findall(cell)):
        if (person := people.person(key)) is not None:
            return person
    called = [person for person in people.people() if person.name.casefold() == name.casefold()]
    return called[0] if len(called) == 1 else None


# --- linking tickets back --------------------------------------------------------------------------------------------


class LinkTickets(Params):
    """Write tickets into the action item table that they came from.

    `tickets` takes the results of a loop that files the items of `document.action_items`, or a list of mappings with
    `item` (the action item or its id), `ticket` (the ticket or its key) and `url`. Failed and empty entries, rows that
    are gone, and rows that have a ticket are passed over.

    Example:
        uses: document.link_tickets
        with:
          document: ${{ document }}
          tickets: [{item: 4f0c2a91b7de, ticket: HW-12, url: "https://tracker.example/HW-12"}]
    """

    document: DocumentRef = Field(description="The document, or its id.")
    tickets: list[Any] = Field(description="Which ticket belongs to which item, such as ${{ steps.file.results }}.")


@action("document.link_tickets", LinkTickets, returns=Document, lasts=True, via="document.set_cells")
async def link_tickets(params: LinkTickets, ctx: Context) -> Document:
    """Write a link into the ticket cell of each row that has none yet.

    Raises:
        ActionError: the document, or its action item table, is not there, or an entry does not name its item.
    """
    document = _id(params.document)
    links = {item: link for item, link in map(_link_of, params.tickets) if link is not None}
    found = await _item_table(document, ctx) if links else None
    if links and found is None:
        raise ActionError("the document has no action item table to link tickets in", code="not-found")
    if found is not None:
        table, columns = found
        rows = enumerate(_rows(table))
        ids = {row: _item_id(_plain(cells["what"])) for row, cells in rows if _says_nothing(_plain(cells["ticket"]))}
        cells = {row: links[key] for row, key in ids.items() if key in links}
        if cells:
            ticket = ACTION_ITEM_COLUMNS["ticket"]
            return await ctx.documents.set_cells(document, columns, ticket, cells, effect=ctx.effect)
    current = await ctx.documents.get(document)
    if current is None:
        raise ActionError(f"there is no document '{document}'", code="not-found")
    return current


def _link_of(entry: Any) -> tuple[str, str | None]:
    """Give an entry's item id, and the Markdown of its ticket; None where it has none."""
    item = _get(entry, "item")
    key = item if isinstance(item, str) else _get(item, "id")
    if not isinstance(key, str):
        raise ActionError("each of 'tickets' must have an 'item': an action item or its id")
    if _get(entry, "failed"):
        return key, None
    ticket = _get(entry, "ticket") or _get(entry, "outputs") or _ticket_of_group(entry)
    if isinstance(ticket, str):
        return key, _link(ticket, _get(entry, "url"))
    name = _get(ticket, "key")
    return key, _link(name, _get(ticket, "url") or _get(entry, "url")) if isinstance(name, str) and name else None


def _ticket_of_group(entry: Any) -> Any:
    """Give the ticket that a step of a loop's group filed: an entry holds the outputs of its steps by their ids."""
    steps = entry.values() if isinstance(entry, Mapping) else ()
    return next((outputs for outputs in steps if isinstance(outputs, Mapping) and _get(outputs, "key")), None)


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _link(key: str, url: Any) -> str:
    text = re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", " ".join(key.split()))
    if not isinstance(url, str) or not re.match(r"(https?|file)://", url):
        return text
    target = quote(url, safe="%/:=&?~#+!$,;'@*")
    return f"[{text}]({target})"


# --- the text of a cell ----------------------------------------------------------------------------------------------

_NOTHING = frozenset({"", "-", "–", "—", "?", "…", "...", "tbd", "tba", "n/a", "none", "not yet"})
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()]*(?:\([^()]*\)[^()]*)*\)|\[[^\[\]]*\])")
_MARKUP: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"<br\s*/?>", re.IGNORECASE), " "),
    (re.compile(r"<((?:https?|mailto|file):[^<>\s]*|[^<>\s@]+@[^<>\s@]+)>"), r"\1"),
    (re.compile(r"^\[[ xX]\]\s+"), ""),
    (re.compile(r"(\*{1,3})(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<!\w)(_{1,3})(?=\S)(.+?)(?<=\S)\1(?!\w)"), r"\2"),
    (re.compile(r"~~(?=\S)(.+?)(?<=\S)~~"), r"\1"),
)
_PUT_ASIDE = 0xE000  #: signs that are meant literally stand in Unicode's private area while markup is taken off


def _plain(markdown: str) -> str:
    """Give a cell's text on one line, without emphasis, code marks, links and escapes."""
    text = _CODE.sub(lambda found: _aside(found[2].strip()), markdown)
    text = _ESCAPED.sub(lambda found: _aside(found[1]), text)
    for _ in range(2):  # an image in a link, emphasis in emphasis
        text = _LINK.sub(r"\1", text)
        for pattern, replacement in _MARKUP:
            text = pattern.sub(replacement, text)
    back = {_PUT_ASIDE + code: code for code in range(128)}
    return " ".join(text.translate(back).split())


def _aside(text: str) -> str:
    return "".join(
        chr(_PUT_ASIDE + ord(sign)) if sign in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" else sign for sign in text
    )


def _says_nothing(text: str) -> bool:
    return text.casefold() in _NOTHING


def _item_id(what: str) -> str:
    """Give the hash by which a row is known."""
    folded = " ".join(unicodedata.normalize("NFKC", what).casefold().split())
    return hashlib.sha256(folded.encode()).hexdigest()[:12]


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


ALL = (create, append, comment, publish, action_items, link_tickets)
