"""Documents in Google Docs, in folders of Google Drive.

A document that we made carries what is known of it in `appProperties`, which only our own client sees: the token of the
effect that made it, its template, its incident, and how far it is. Drive gives no ids beforehand for documents of
Google's own, so after a crash a document is looked for by that token; one that is there but was not written to its end
is written to its end. What is written into a document goes out as one batch that is carried out as a whole or not at
all, at the revision that it was composed for, and leaves a named range with the effect's token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

from actions.providers.blocks import Block, Heading, Span, blocks
from actions.providers.google import Account, Google, GoogleOptions, Refused
from actions.providers.google_page import Cell, Page, Sheet, read, replacing
from actions.providers.google_template import filled, values_of
from actions.providers.google_text import Mention, Request, inline, inserting, plain_blocks, without_mentions
from engine.capabilities import Changes, Table, find_column
from engine.domain import Document, Person
from engine.plugins import (
    ActionError,
    Connection,
    Effect,
    Fact,
    Field,
    RetryLater,
    findable,
    idempotent,
    provider,
)

_DOCUMENT = "application/vnd.google-apps.document"
_FOLDER = "application/vnd.google-apps.folder"
_SCOPES = "https://www.googleapis.com/auth/"
_FILE = "id,name,mimeType,parents,webViewLink,trashed,driveId,createdTime,appProperties,properties"
_ID = r"^[A-Za-z0-9_-]{1,128}$"
_PAGE = 200
_COMMENTS = 100
_DEEPEST = 20  #: folders above a document that are looked at
#: Drive keeps this much of a property, in bytes of its name and its value together.
_LONGEST_PROPERTY = 124
#: Reasons for which Drive has no room for a new file.
_NO_ROOM = frozenset({"storageQuotaExceeded", "teamDriveFileLimitExceeded", "teamDriveHierarchyTooDeep"})

#: What our properties are called.
_KIND, _EFFECT, _STATE = "hotwash", "hotwash_effect", "hotwash_state"
_TEMPLATE, _INCIDENT, _PRIVATE = "hotwash_template", "hotwash_incident", "hotwash_private"
_STATUS, _OUR_PUBLISHING = "hotwash_status", "hotwash_published"
_OURS, _WHOLE, _PUBLISHED, _YES = "document", "whole", "published", "yes"

_Read = Mapping[str, Any]


class GoogleDocsOptions(GoogleOptions):
    """How documents are kept in Google Docs.

    Example:
        docs:
          provider: google_docs
          credentials: ${file:google.json}
          folder: 1AbCdEfGhIjKlMnOpQrStUvWxYz
          published: 1ZyXwVuTsRqPoNmLkJiHgFeDcBa
    """

    folder: str | None = Field(
        default=None, pattern=_ID, description="Drive id of the folder that documents are made in."
    )
    published: str | None = Field(
        default=None,
        pattern=_ID,
        description="Drive id of the folder whose documents are published; by default a property tells which are.",
    )
    private_folder: str | None = Field(
        default=None, pattern=_ID, description="Drive id of the folder for documents of private incidents."
    )
    templates: dict[str, str] = Field(
        default={}, description="Drive ids of documents to copy and fill in, by the name of the template."
    )
    scope: Literal["drive", "drive.file"] | None = Field(
        default=None,
        description="What the account may see; by default drive.file, and drive where a folder or template is named.",
    )

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that are asked for. With `drive.file` only what we made ourselves can be seen."""
        named = self.folder or self.published or self.private_folder or self.templates
        return (_SCOPES + (self.scope or ("drive" if named else "drive.file")),)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a file lies: the folders above it, the nearest first, and its path."""

    folders: tuple[str, ...]
    path: str


class GoogleDocs:
    """Keep documents in Google Docs."""

    announces = True

    #: What Drive knows of a document: reading it again says nothing about the rest.
    owns = frozenset({"title", "url", "published", "path"})

    def __init__(self, options: GoogleDocsOptions, connection: Connection) -> None:
        self._options = options
        self._connection = connection
        self._account = Account(options, options.scopes)
        self._drive = Google("Google Drive", ("drive", "v3"), self._account, options, connection)
        self._docs = Google("Google Docs", ("docs", "v1"), self._account, options, connection)
        self._drives: dict[str, str | None] = {}  #: shared drives by the folders of the options

    async def aclose(self) -> None:
        """Close both clients."""
        await self._drive.aclose()
        await self._docs.aclose()

    # --- changing ----------------------------------------------------------------------------------------------------

    @findable(visible_after="2m")
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
        """Make a document and write it, or write to its end the one that this effect has begun.

        A document of a private incident is made in the folder for those, and only `share_with` gets to see it besides.

        Raises:
            ActionError: there is no folder for what is private, or Drive has no room.
        """
        file = await self._made_by(effect.token)
        if file is None:
            file = await self._make(title, template, incident, effect.token, private=private)
        if _own(file, _STATE) != _WHOLE:
            values = values_of(title, incident, blocks(text)) if template in self._options.templates else None
            await self._edit(file["id"], lambda page: self._body(page, text, values, effect.token))
            await self._share(file, share_with, effect)
            file = await self._update(file["id"], {"appProperties": {_STATE: _WHOLE}})
        return await self._created(file, effect)

    @findable(visible_after="0s")
    async def append(self, document: str, text: str, *, heading: str | None, effect: Effect) -> Document:
        """Add a block at the end, or at the end of the section under `heading`, which is made where it is missing.

        Raises:
            ActionError: there is no such document.
        """
        file = await self._existing(document)
        title = " ".join(heading.split()) if heading else ""

        def added(page: Page) -> list[Request]:
            if page.holds(effect.token):
                return []
            where = page.end_of(title) if title else page.at_end()
            lead = (Heading(2, (Span(title),)),) if where is None else ()
            return inserting(
                (*lead, *blocks(text)), where or page.at_end(), mention=self._mention(), token=effect.token
            )

        await self._edit(file["id"], added)
        return await self._document(file)

    @idempotent
    async def comment(self, document: str, text: str, *, effect: Effect) -> Document:
        """Comment on it as a whole, in plain text, unless the same comment of ours is there already.

        Raises:
            ActionError: there is no such document.
        """
        file = await self._existing(document)
        said = _unmentioned(plain_blocks(blocks(text)))
        if not await self._has_said(file["id"], said, effect.at - timedelta(minutes=1)):
            await self._drive.call(
                lambda api: api.comments().create(fileId=file["id"], body={"content": said}, fields="id")
            )
        return await self._document(file)

    @idempotent
    async def publish(self, document: str, *, effect: Effect) -> Document:
        """Move it into the folder of what is published, or set the property where there is none.

        One that is published stays as it is, and stays theirs who published it. A document of a private incident is
        not moved to where others see it.

        Raises:
            ActionError: there is no such document.
        """
        file = await self._existing(document)
        if not await self._is_published(file):
            content = (await self._page(file["id"])).content()
            wanted = {"appProperties": {_STATUS: _PUBLISHED, _OUR_PUBLISHING: content}}
            folder = None if _own(file, _PRIVATE) else self._options.published
            file = await self._update(file["id"], wanted, out_of=file.get("parents", ()), into=folder)
        made = await self._document(file)
        if made.content is not None and made.content == _own(file, _OUR_PUBLISHING):
            fact = self._fact("document.published", made, f"{file['id']}@{made.content}", own=True)
            effect.emit(self._connection.name, fact)
        return made

    @idempotent
    async def set_cells(
        self, document: str, columns: Sequence[str], column: str, cells: Mapping[int, str], *, effect: Effect
    ) -> Document:
        """Write cells of one column, leaving the rest as it is; a column that is missing is added.

        Raises:
            ActionError: there is no such document, or no such table in it.
            RetryLater: a row is no longer there.
        """
        file = await self._existing(document)
        await self._edit(file["id"], lambda page: _with_cells(page, str(file["name"]), columns, column, cells))
        return await self._document(file)

    # --- reading -----------------------------------------------------------------------------------------------------

    async def get(self, document: str) -> Document | None:
        """Give a document by its id, with or without the connection's name before it."""
        file = await self._file(document)
        return None if file is None else await self._document(file)

    async def text(self, document: str) -> str:
        """Give a document as Markdown.

        Raises:
            ActionError: there is no such document.
        """
        return (await self._page((await self._existing(document))["id"])).markdown()

    async def table(self, document: str, columns: Sequence[str]) -> Table | None:
        """Give the first table that has these columns; its first row is its header.

        Raises:
            ActionError: there is no such document.
        """
        sheet = (await self._page((await self._existing(document))["id"])).sheet(columns)
        if sheet is None:
            return None
        return Table(sheet.header, tuple(sheet.markdown_row(row) for row in range(1, len(sheet.rows))))

    async def find(self, effect: Effect) -> Document | None:
        """Give the document that this effect made to its end, or wrote into."""
        if (into := effect.inputs.get("document")) is not None:
            file = await self._file(into.id if isinstance(into, Document) else str(into))
            there = file is not None and (await self._page(file["id"])).holds(effect.token)
            return await self._document(file) if file is not None and there else None
        file = await self._made_by(effect.token)
        return await self._created(file, effect) if file is not None and _own(file, _STATE) == _WHOLE else None

    async def changes(self, cursor: str | None) -> Changes:
        """Give what became of the documents since `cursor`, a JSON text.

        These are the documents that we made, and those that lie in the folders of the options. The first look tells of
        each as `document.updated`. Later ones tell of a document that is published with a content that it was not
        published with last as `document.published`, and of every other change of its fields as `document.updated`. A
        document that is gone keeps its place in the cursor, so that what was published meanwhile is seen when it is
        back. Where Drive does not know the cursor any more, all are looked at.
        """
        was = json.loads(cursor) if cursor is not None else {}
        drive = await self._drive_of(self._options.folder or self._options.published)
        changed = await self._changed(was["token"], drive) if was and was["drive"] == drive else None
        if changed is None:
            token = await self._start_token(drive)  # before the look at all of them, so that nothing falls between
            changed = await self._stock(drive), token
        files, token = changed
        known: dict[str, _Read] = dict(was.get("documents", {}))
        facts: list[Fact] = []
        for file in files:
            if not self._counts(file, known):
                continue
            fact, known[file["id"]] = await self._look(file, known.get(file["id"]), first=cursor is None)
            facts += [fact] if fact is not None else []
        return Changes(facts, json.dumps({"drive": drive, "token": token, "documents": known}, sort_keys=True))

    async def check(self) -> str | None:
        """Say what is wrong with the connection; None where it works."""
        await self._drive.call(lambda api: api.about().get(fields="user(emailAddress)"))
        with suppress(Refused):  # there is no such document: it is asked whether the API is there for us
            await self._docs.call(lambda api: api.documents().get(documentId="hotwash-doctor"))
        if (skewed := self._drive.skew()) is not None:
            return skewed
        drives: dict[str, str] = {}
        for option in ("folder", "published", "private_folder"):
            if (number := getattr(self._options, option)) is not None:
                wrong, drives[option] = await self._folder_fault(option, number)
                if wrong is not None:
                    return wrong
        for name, number in self._options.templates.items():
            if (wrong := await self._template_fault(name, number)) is not None:
                return wrong
        if len({drives[option] for option in ("folder", "published") if option in drives}) > 1:
            return "'folder' and 'published' lie in different drives, and only one is watched: put both into one"
        if self._is_robot() and not drives.get("folder"):
            return (
                "a service account has no storage of its own: let 'folder' be one in a shared drive, or set 'subject'"
            )
        return None

    def _is_robot(self) -> bool:
        return self._options.subject is None and self._account.email is not None

    async def _folder_fault(self, option: str, number: str) -> tuple[str | None, str]:
        """Say what is wrong with a folder of the options, and give the shared drive that it lies in."""
        wanted = "id,name,mimeType,trashed,driveId,capabilities(canAddChildren)"
        found = await self._get(number, wanted)
        who = self._account.email or "the account"
        if found is None or found.get("trashed"):
            return f"'{option}' is not there for {who}: share that folder with it, as Editor or Content manager", ""
        if found.get("mimeType") != _FOLDER:
            return f"'{option}' must be the id of a folder, and '{found.get('name')}' is none", ""
        if not (found.get("capabilities") or {}).get("canAddChildren"):
            return f"{who} may not add to the folder '{found.get('name')}' of '{option}': make it Editor there", ""
        return None, str(found.get("driveId") or "")

    async def _template_fault(self, name: str, number: str) -> str | None:
        found = await self._get(number, "id,name,mimeType,trashed,capabilities(canCopy)")
        who = self._account.email or "the account"
        if found is None or found.get("trashed"):
            return f"the document of 'templates.{name}' is not there for {who}: share it with it"
        if found.get("mimeType") != _DOCUMENT:
            return f"'templates.{name}' must be the id of a Google document, and '{found.get('name')}' is none"
        may = (found.get("capabilities") or {}).get("canCopy")
        return None if may else f"{who} may not copy '{found.get('name')}' of 'templates.{name}'"

    # --- making a document -------------------------------------------------------------------------------------------

    async def _made_by(self, token: str) -> _Read | None:
        """Give the file that an effect made, as the file itself says; of several the one that is whole."""
        query = f"appProperties has {{ key='{_EFFECT}' and value='{token}' }} and trashed = false"
        drives = {await self._drive_of(one): None for one in (self._options.folder, self._options.private_folder)}
        hits = {hit["id"]: hit for drive in drives for hit in await self._list(query, drive)}
        found = [file for number in hits if (file := await self._file(number)) is not None]
        ours = [file for file in found if _own(file, _EFFECT) == token]
        return min(ours, key=lambda file: (_own(file, _STATE) != _WHOLE, str(file.get("createdTime"))), default=None)

    async def _make(
        self, title: str, template: str | None, incident: str | None, token: str, *, private: bool
    ) -> _Read:
        known = {_KIND: _OURS, _EFFECT: token, _TEMPLATE: template, _INCIDENT: incident}
        known |= {_PRIVATE: _YES} if private else {}
        body: dict[str, Any] = {
            "name": " ".join(title.split()) or "Untitled",
            "appProperties": {name: value for name, value in known.items() if value and _fits(name, value)},
        }
        if (folder := self._folder_for(private)) is not None:
            body["parents"] = [folder]
        how = {"fields": _FILE, "supportsAllDrives": True, "ignoreDefaultVisibility": private}
        copied = self._options.templates.get(template or "")
        if copied is None:
            body["mimeType"] = _DOCUMENT
        try:
            made: _Read = await self._drive.call(
                lambda api: (
                    api.files().create(body=body, **how)
                    if copied is None
                    else api.files().copy(fileId=copied, body=body, **how)
                )
            )
        except Refused as error:
            if error.reason in _NO_ROOM:
                raise ActionError(f"{error}: let 'folder' be one in a shared drive", code="no-room") from None
            raise
        return made

    def _folder_for(self, private: bool) -> str | None:
        """Give the folder for a new document; None stands for the account's own, which nobody else sees."""
        if not private or self._options.private_folder is not None:
            return self._options.private_folder if private else self._options.folder
        if self._options.folder is None:
            return None
        raise ActionError(
            f"the incident is private, and everybody who sees the 'folder' of '{self._connection.name}' would see its "
            "document: set 'private_folder'",
            code="private",
        )

    def _body(self, page: Page, text: str, values: Mapping[str, Sequence[Block]] | None, token: str) -> list[Request]:
        """Give the edits that write a new document; none where it is written. `values` are those of a template."""
        if page.holds(token):
            return []
        edits = filled(page, values, mention=self._mention(), token=token) if values is not None else None
        if edits is not None:
            return edits
        return inserting(blocks(text), page.at_end(), mention=self._mention(), token=token, hashed=False)

    def _mention(self) -> Mention:
        """Give what finds the address of somebody of the roster, named by `@key`, address or full name."""
        people = self._connection.people
        called: dict[str, str | None] = {}
        for person in people.people():
            name = person.name.casefold()
            called[name] = None if name in called else person.email

        def address_of(name: str) -> str | None:
            key = name.removeprefix("@")
            person = people.person(key) if "@" in name else None
            return person.email if person is not None else called.get(name.casefold())

        return address_of

    async def _share(self, file: _Read, people: Sequence[Person], effect: Effect) -> None:
        """Let people edit it. Who cannot be is said: the document is there all the same."""
        for person in people:
            if person.email is None:
                self._say_left_out(file, person, "the roster has no e-mail address for them", effect)
                continue
            try:
                await self._permit(file, person.email)
            except Refused as error:
                self._say_left_out(file, person, f"Google refuses it ({error.reason or error.status})", effect)

    async def _permit(self, file: _Read, address: str) -> None:
        who = {"type": "user", "role": "writer", "emailAddress": address}
        await self._drive.call(
            lambda api: api.permissions().create(
                fileId=file["id"], body=who, sendNotificationEmail=False, supportsAllDrives=True, fields="id"
            )
        )

    def _say_left_out(self, file: _Read, person: Person, why: str, effect: Effect) -> None:
        name = f"document {file['id']}" if self._connection.hides(effect) else f"'{file['name']}'"
        self._connection.say(f"{name} is not shared with {person.name}: {why}")

    async def _created(self, file: _Read, effect: Effect) -> Document:
        made = await self._document(file)
        fact = self._fact("document.created", made, f"{file['id']}:created", own=True)
        effect.emit(self._connection.name, fact)
        return made

    # --- one document ------------------------------------------------------------------------------------------------

    async def _edit(self, number: str, change: Callable[[Page], list[Request]]) -> None:
        """Carry out edits at the revision that they were composed for, composing them anew where it is not the last."""
        page = await self._page(number)
        for _ in range(3):
            if not (edits := change(page)):
                return
            try:
                await self._write(number, edits, page.revision)
            except Refused as error:
                before, page = page, await self._page(number)
                plain = without_mentions(edits)
                if error.status != 400 or (page.revision == before.revision and plain == edits):
                    raise
                if page.revision == before.revision:  # perhaps Google does not know somebody who is mentioned
                    await self._write(number, plain, page.revision)
                    return
            else:
                return
        raise RetryLater("somebody else is writing into the document")

    async def _write(self, number: str, edits: Sequence[Request], revision: str | None) -> None:
        body = {"requests": edits, "writeControl": {"requiredRevisionId": revision}}
        await self._docs.call(lambda api: api.documents().batchUpdate(documentId=number, body=body))

    async def _page(self, number: str) -> Page:
        return read(await self._docs.call(lambda api: api.documents().get(documentId=number)))

    def _local(self, document: str) -> str:
        return document.removeprefix(f"{self._connection.name}:").strip()

    async def _get(self, number: str, fields: str) -> _Read | None:
        found: _Read | None = await self._drive.call(
            lambda api: api.files().get(fileId=number, fields=fields, supportsAllDrives=True), missing=True
        )
        return found

    async def _file(self, document: str) -> _Read | None:
        found = await self._get(self._local(document), _FILE)
        usable = found is not None and not found.get("trashed") and found.get("mimeType") == _DOCUMENT
        return found if usable else None

    async def _has_said(self, number: str, said: str, since: datetime) -> bool:
        after = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        how = {"fields": "nextPageToken,comments(content,createdTime,author(me))", "pageSize": _COMMENTS}
        async for page in self._drive.pages(
            lambda api, token: api.comments().list(
                fileId=number, startModifiedTime=after, **how, **({"pageToken": token} if token else {})
            )
        ):
            for one in page.get("comments", ()):
                ours = (one.get("author") or {}).get("me") and one.get("content") == said
                if ours and datetime.fromisoformat(one["createdTime"]) >= since:
                    return True
        return False

    async def _existing(self, document: str) -> _Read:
        file = await self._file(document)
        if file is None:
            raise ActionError(f"there is no document '{document}' in '{self._connection.name}'", code="not-found")
        return file

    async def _update(self, number: str, body: _Read, *, out_of: Sequence[str] = (), into: str | None = None) -> _Read:
        move = (
            {}
            if into is None
            else {"addParents": into, "removeParents": ",".join(one for one in out_of if one != into)}
        )
        changed: _Read = await self._drive.call(
            lambda api: api.files().update(fileId=number, body=body, fields=_FILE, supportsAllDrives=True, **move)
        )
        return changed

    async def _is_published(self, file: _Read, place: _Place | None = None) -> bool:
        """Whether a file lies where published ones do; without such a folder, whether a property says so."""
        if self._options.published is not None and not _own(file, _PRIVATE):
            return self._options.published in (place or await self._place(file)).folders
        return _PUBLISHED in (_own(file, _STATUS), (file.get("properties") or {}).get(_STATUS))

    async def _place(self, file: _Read) -> _Place:
        """Say where a file lies, as far as we may look. Paths begin below `folder`, else at the top."""
        folders: list[str] = []
        names = [str(file["name"]).replace("/", "∕")]
        above = file.get("parents") or ()
        while above and len(folders) < _DEEPEST:
            folders.append(above[0])
            if above[0] == self._options.folder:
                break
            found = await self._get(above[0], "id,name,parents")
            if found is None:
                break
            names.append(str(found["name"]).replace("/", "∕"))
            above = found.get("parents") or ()
        return _Place(tuple(folders), "/".join(reversed(names)))

    async def _document(self, file: _Read) -> Document:
        place = await self._place(file)
        published = await self._is_published(file, place)
        return Document(
            id=f"{self._connection.name}:{file['id']}",
            title=str(file["name"]),
            url=file.get("webViewLink"),
            published=published,
            incident=_own(file, _INCIDENT),
            template=_own(file, _TEMPLATE),
            path=place.path,
            content=(await self._page(file["id"])).content() if published else None,
        )

    def _fact(self, kind: str, document: Document, delivery: str, *, own: bool = False) -> Fact:
        """Give the fact that a document is as it is. What is not known is left out: what is known is the last."""
        fields: dict[str, Any] = {"published": document.published}
        known = {name: getattr(document, name) for name in ("title", "url", "template", "incident", "path", "content")}
        fields |= {name: value for name, value in known.items() if value is not None}
        return Fact(kind, self._connection.clock.now(), "document", document.id, fields, id=delivery, own=own)

    # --- what changed ------------------------------------------------------------------------------------------------

    async def _drive_of(self, folder: str | None) -> str | None:
        """Give the shared drive that a folder lies in; None where it lies in somebody's own."""
        if folder is not None and folder not in self._drives:
            found = await self._get(folder, "driveId")
            if found is None:
                return None
            self._drives[folder] = found.get("driveId")
        return self._drives[folder] if folder is not None else None

    async def _start_token(self, drive: str | None) -> str:
        where = {"driveId": drive} if drive else {}
        found = await self._drive.call(lambda api: api.changes().getStartPageToken(supportsAllDrives=True, **where))
        return str(found["startPageToken"])

    async def _list(self, query: str, drive: str | None) -> Sequence[_Read]:
        """Give the files that a query finds in a shared drive; without one, among all that is ours.

        Raises:
            RetryLater: Drive did not look everywhere.
        """
        files: list[_Read] = []
        how = {"pageSize": _PAGE, "supportsAllDrives": True, "includeItemsFromAllDrives": True, "q": query}
        how |= {"corpora": "drive", "driveId": drive} if drive else {}
        fields = f"nextPageToken,incompleteSearch,files({_FILE})"
        async for page in self._drive.pages(
            lambda api, token: api.files().list(fields=fields, **how, **({"pageToken": token} if token else {}))
        ):
            if page.get("incompleteSearch"):
                raise RetryLater("Google Drive did not look everywhere")
            files += page.get("files", ())
        return files

    async def _stock(self, drive: str | None) -> Sequence[_Read]:
        folders = (self._options.folder, self._options.published, self._options.private_folder)
        ours = f"appProperties has {{ key='{_KIND}' and value='{_OURS}' }}"
        found = " or ".join([ours, *(f"'{folder}' in parents" for folder in folders if folder)])
        return await self._list(f"({found}) and mimeType = '{_DOCUMENT}' and trashed = false", drive)

    async def _changed(self, token: str, drive: str | None) -> tuple[Sequence[_Read], str] | None:
        """Give the files that changed, each once as it is now, and the next token; None where it is not known."""
        fields = f"nextPageToken,newStartPageToken,changes(fileId,removed,file({_FILE}))"
        how = {"pageSize": _PAGE, "supportsAllDrives": True, "includeItemsFromAllDrives": True, "fields": fields}
        how |= {"driveId": drive} if drive else {}
        files: dict[str, _Read] = {}
        while True:
            ask = partial(_page_of_changes, token, how)
            try:
                page = await self._drive.call(ask)
            except Refused as error:
                if error.status in (400, 404, 410):
                    return None
                raise
            for change in page.get("changes", ()):
                if not change.get("removed") and change.get("file"):
                    files[change["fileId"]] = change["file"]
            if "newStartPageToken" in page:
                return list(files.values()), str(page["newStartPageToken"])
            token = str(page["nextPageToken"])

    def _counts(self, file: _Read, known: Mapping[str, Any]) -> bool:
        """Whether a file is told of: a document that we made, and that is whole, or one that lies in our folders."""
        if file.get("trashed") or file.get("mimeType") != _DOCUMENT:
            return False
        if _own(file, _KIND) is not None:
            return _own(file, _STATE) == _WHOLE
        folders = {self._options.folder, self._options.published, self._options.private_folder} - {None}
        return file["id"] in known or bool(folders.intersection(file.get("parents") or ()))

    async def _look(self, file: _Read, was: _Read | None, *, first: bool) -> tuple[Fact | None, _Read]:
        """Compare a document with what the cursor has of it; `first` where there was no cursor."""
        document = await self._document(file)
        number, told = file["id"], int(was["told"]) if was else 0
        last = was["content"] if was else None
        shown = json.dumps([document.title, document.url, document.published, document.path])
        entry = {"content": document.content or last, "shown": shown, "told": told + 1}
        if document.published and not first and document.content != last:
            delivery = f"{number}@{document.content}" + (f"~{told}" if last else "")
            own = document.content == _own(file, _OUR_PUBLISHING)
            return self._fact("document.published", document, delivery, own=own), entry
        if was is None or was["shown"] != shown:
            return self._fact("document.updated", document, f"{number}~{told}"), entry
        return None, {**entry, "told": told}


def _page_of_changes(token: str, how: _Read, api: Any) -> Any:
    return api.changes().list(pageToken=token, **how)


def _unmentioned(text: str) -> str:
    """Keep addresses in a comment from mentioning people: no title shall send anybody mail."""
    return re.sub(r"([@+])(?=[\w.+-]+@)", "\\1\u200b", text)


def _own(file: _Read, name: str) -> str | None:
    """Give one of our own properties of a file."""
    return (file.get("appProperties") or {}).get(name)


def _fits(name: str, value: str) -> bool:
    return len(f"{name}{value}".encode()) <= _LONGEST_PROPERTY


def _with_cells(page: Page, title: str, columns: Sequence[str], column: str, cells: Mapping[int, str]) -> list[Request]:
    sheet = page.sheet(columns)
    if sheet is None:
        names = ", ".join(f"'{one.partition('|')[0]}'" for one in columns)
        raise ActionError(f"'{title}' has no table with the columns {names}", code="not-found")
    if gone := sorted(set(cells) - set(range(len(sheet.rows) - 1))):
        raise RetryLater(f"the table of '{title}' has no row {gone[0] + 1}: it was changed meanwhile")
    index = find_column(sheet.header, column)
    if index is not None:
        edits: list[Request] = []
        places: Sequence[Cell] = [row[index] for row in sheet.rows]
    else:
        edits, places = sheet.new_column()
    wanted = {row + 1: inline(blocks(text)) for row, text in cells.items()}
    if index is None:
        wanted[0] = _heading_of(sheet, column)
    for row in sorted(wanted, reverse=True):
        edits += replacing(places[row], wanted[row])
    return edits


def _heading_of(sheet: Sheet, column: str) -> tuple[Span, ...]:
    """Give the header of a new column, as the others are."""
    name = column.partition("|")[0]
    others = [span for cell in sheet.rows[0] for span in cell.spans]
    text = name.capitalize() if sheet.header[0][:1].isupper() else name
    return (Span(text, bold=bool(others) and all(span.bold for span in others)),)


GoogleDocsProvider = provider("google_docs", GoogleDocsOptions, serves=("document",), rate="60/min")(GoogleDocs)
