"""Google Drive and Docs over HTTP: files, folders, properties, permissions, comments and changes of ours, documents of
`extradoc`. It also gives tokens, lags, refuses, and loses answers where a test wants that.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from aiohttp import web

from actions.providers.google_page import read
from tests.google_credentials import ROBOT
from tests.google_docs import DocsStandIn, MockAPIError

FOLDER = "application/vnd.google-apps.folder"
DOCUMENT = "application/vnd.google-apps.document"


@dataclass
class Fault:
    """What happens to a request that fits, after `passed` others: refused with a status, or done and not answered.

    With `held` the test is told, before it is carried out or after, and the request waits until `go_on` is set.
    """

    method: str
    path: str
    status: int | None = None
    reason: str = "backendError"
    headers: dict[str, str] = field(default_factory=dict)
    held: asyncio.Event | None = None
    carried_out: bool = True
    passed: int = 0


class GoogleStandIn:
    """One account's Drive. `people` change it by its plain methods, the API by HTTP; `asked` holds what was asked."""

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self.now = now or (lambda: datetime(2026, 3, 2, 9, 0, tzinfo=UTC))
        self.files: dict[str, dict[str, Any]] = {}
        self.documents: dict[str, DocsStandIn] = {}
        self.changes: list[str] = []
        self.comments: dict[str, list[dict[str, Any]]] = {}
        self.permissions: dict[str, list[dict[str, Any]]] = {}
        self.strangers: set[str] = set()  #: addresses that Google has no account for
        self.faults: list[Fault] = []
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.search_lag = timedelta(0)
        self.oldest_change = 0  #: tokens before it are not known any more
        self.page_size = 1000
        self.url = ""
        self.go_on = asyncio.Event()
        self.before: Callable[[str, str], None] = lambda method, path: None

    # --- what people do ----------------------------------------------------------------------------------------------

    def folder(self, name: str, parent: str | None = None, *, drive: str | None = None, writable: bool = True) -> str:
        return self._add({"name": name, "mimeType": FOLDER, "driveId": drive, "canAddChildren": writable}, parent)

    def document(self, name: str, parent: str | None = None) -> str:
        return self._add({"name": name, "mimeType": DOCUMENT}, parent)

    def move(self, number: str, parent: str) -> None:
        self.files[number]["parents"] = [parent]
        self._changed(number)

    def edit(self, number: str, *requests: dict[str, Any]) -> None:
        self.documents[number].update(list(requests))
        self._changed(number)

    def fill_in(self, number: str, columns: list[str], *rows: Sequence[str]) -> None:
        """Type rows into the empty ones of the table that has these columns, and add rows where there are too few."""
        sheet = read(self.documents[number].get()).sheet(columns)
        first = next((at for at, row in enumerate(sheet.rows) if not row[0].text), len(sheet.rows))
        place = {"tableStartLocation": {"index": sheet.start}, "rowIndex": len(sheet.rows) - 1, "columnIndex": 0}
        more = {"insertTableRow": {"tableCellLocation": place, "insertBelow": True}}
        self.edit(number, *[more] * (first + len(rows) - len(sheet.rows)))
        sheet = read(self.documents[number].get()).sheet(columns)
        cells = [
            (sheet.rows[at][column].start, text)
            for at, row in enumerate(rows, first)
            for column, text in enumerate(row)
        ]
        typed = [{"insertText": {"location": {"index": at}, "text": text}} for at, text in reversed(cells) if text]
        self.edit(number, *typed)

    def trash(self, number: str) -> None:
        self.files[number]["trashed"] = True
        self._changed(number)

    def _add(self, known: dict[str, Any], parent: str | None) -> str:
        number = f"file{len(self.files) + 1:03}aBc-_"
        self.files[number] = {
            "id": number,
            "trashed": False,
            "createdTime": self.now().isoformat().replace("+00:00", "Z"),
            "parents": [parent] if parent else ["root"],
            "webViewLink": f"https://docs.google.com/document/d/{number}/edit",
            **{name: value for name, value in known.items() if value is not None},
        }
        if known["mimeType"] == DOCUMENT:
            self.documents[number] = DocsStandIn(number, known["name"])
            self.documents[number].strangers = self.strangers
        self._changed(number)
        return number

    def _changed(self, number: str) -> None:
        self.changes.append(number)

    # --- the API -----------------------------------------------------------------------------------------------------

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        return runner

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        answer = await self._answer_to(request)
        answer.headers["Date"] = format_datetime(self.now(), usegmt=True)
        return answer

    async def _answer_to(self, request: web.Request) -> web.Response:
        if request.path == "/token":
            return web.json_response({"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})
        body = json.loads(text) if (text := await request.text()) else None
        self.asked.append((request.method, request.path, dict(request.query), body))
        self.before(request.method, request.path)
        fault = next((one for one in self.faults if _fits(one, request)), None)
        if fault is not None:
            self.faults.remove(fault)
            if fault.status is not None:
                return _error(fault.status, fault.reason, fault.headers)
        if fault is not None and not fault.carried_out:
            await self._hold(fault)
            return _error(503, "backendError")
        answer = self._answer(request.method, request.path, dict(request.query), body)
        if fault is not None:
            await self._hold(fault)
            if request.transport is not None:  # who asked may have been killed meanwhile
                request.transport.abort()
        return answer

    async def _hold(self, fault: Fault) -> None:
        if fault.held is not None:
            fault.held.set()
            await self.go_on.wait()

    def _answer(self, method: str, path: str, query: dict[str, str], body: Any) -> web.Response:
        for wanted, pattern, name in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and wanted == method:
                number = found.groupdict().get("id")
                if number is not None and number not in self.files:
                    return _error(404, "notFound")
                more = (number,) if number is not None else ()
                return getattr(self, name)(*more, query, body)
        return _error(404, "notFound")

    def _about(self, query: dict[str, str], body: Any) -> web.Response:
        return web.json_response({"user": {"emailAddress": ROBOT}})

    def _get_file(self, number: str, query: dict[str, str], body: Any) -> web.Response:
        return web.json_response(self._shown(number))

    def _shown(self, number: str) -> dict[str, Any]:
        file = self.files[number]
        may = {"canAddChildren": file.get("canAddChildren", True), "canCopy": True}
        return {**{name: value for name, value in file.items() if name != "canAddChildren"}, "capabilities": may}

    def _create(self, query: dict[str, str], body: Any) -> web.Response:
        assert "id" not in body, "Drive takes no ids for documents of Google's own"
        parent = body.pop("parents", [None])[0]
        if parent is not None and parent not in self.files:
            return _error(404, "notFound")
        return web.json_response(self._shown(self._add(body, parent)))

    def _copy(self, number: str, query: dict[str, str], body: Any) -> web.Response:
        known = {"mimeType": self.files[number]["mimeType"], **body}
        made = self._add(known, known.pop("parents", [None])[0])
        self.documents[made] = self.documents[number].copy(made)
        return web.json_response(self._shown(made))

    def _update(self, number: str, query: dict[str, str], body: Any) -> web.Response:
        file = self.files[number]
        properties = {**file.get("appProperties", {}), **body.pop("appProperties", {})}
        file |= {**body, "appProperties": {name: one for name, one in properties.items() if one is not None}}
        gone = query.get("removeParents", "").split(",")
        added = [one for one in query.get("addParents", "").split(",") if one]
        file["parents"] = [one for one in file["parents"] if one not in gone] + added
        self._changed(number)
        return web.json_response(self._shown(number))

    def _list(self, query: dict[str, str], body: Any) -> web.Response:
        seen = self.now() - self.search_lag
        found = [
            self._shown(number)
            for number, file in self.files.items()
            if datetime.fromisoformat(file["createdTime"]) <= seen
            and query.get("driveId") in (None, self._drive_of(number))
            and _matches(query["q"], file)
        ]
        return web.json_response(self._page(found, query, "files"))

    def _drive_of(self, number: str) -> str | None:
        file = self.files.get(number)
        return None if file is None else file.get("driveId") or self._drive_of(file["parents"][0])

    def _page(self, found: list[Any], query: dict[str, str], name: str) -> dict[str, Any]:
        start = int(query.get("pageToken") or 0)
        size = min(self.page_size, int(query.get("pageSize") or 100))
        more = {"nextPageToken": str(start + size)} if start + size < len(found) else {}
        return {name: found[start : start + size], **more}

    def _start_token(self, query: dict[str, str], body: Any) -> web.Response:
        return web.json_response({"startPageToken": str(len(self.changes))})

    def _list_changes(self, query: dict[str, str], body: Any) -> web.Response:
        if int(query["pageToken"]) < self.oldest_change:
            return _error(400, "invalid")
        told = [{"fileId": number, "removed": False, "file": self._shown(number)} for number in self.changes]
        page = self._page(told, query, "changes")
        more = {} if "nextPageToken" in page else {"newStartPageToken": str(len(self.changes))}
        return web.json_response({**page, **more})

    def _permit(self, number: str, query: dict[str, str], body: Any) -> web.Response:
        if body.get("emailAddress") in self.strangers:
            return _error(400, "invalidSharingRequest")
        held = self.permissions.setdefault(number, [])
        held[:] = [one for one in held if one.get("emailAddress") != body.get("emailAddress")] + [body]
        return web.json_response({"id": str(len(held))})

    def _comment(self, number: str, query: dict[str, str], body: Any) -> web.Response:
        made = {"id": f"c{len(self.comments.get(number, ()))}", "author": {"me": True}, **body}
        made["createdTime"] = self.now().isoformat().replace("+00:00", "Z")
        self.comments.setdefault(number, []).append(made)
        return web.json_response(made)

    def _list_comments(self, number: str, query: dict[str, str], body: Any) -> web.Response:
        return web.json_response(self._page(self.comments.get(number, []), query, "comments"))

    def _read(self, number: str, query: dict[str, str], body: Any) -> web.Response:
        return web.json_response(self.documents[number].get())

    def _write(self, number: str, query: dict[str, str], body: Any) -> web.Response:
        try:
            answer = self.documents[number].update(body["requests"], body.get("writeControl"))
        except MockAPIError as error:
            return web.json_response(
                {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": str(error)}}, status=400
            )
        self._changed(number)
        return web.json_response(answer)


_DRIVE = "/drive/v3"
_ROUTES = (
    ("GET", f"{_DRIVE}/about", "_about"),
    ("GET", f"{_DRIVE}/files", "_list"),
    ("POST", f"{_DRIVE}/files", "_create"),
    ("GET", f"{_DRIVE}/files/(?P<id>[^/]+)", "_get_file"),
    ("PATCH", f"{_DRIVE}/files/(?P<id>[^/]+)", "_update"),
    ("POST", f"{_DRIVE}/files/(?P<id>[^/]+)/copy", "_copy"),
    ("POST", f"{_DRIVE}/files/(?P<id>[^/]+)/permissions", "_permit"),
    ("POST", f"{_DRIVE}/files/(?P<id>[^/]+)/comments", "_comment"),
    ("GET", f"{_DRIVE}/files/(?P<id>[^/]+)/comments", "_list_comments"),
    ("GET", f"{_DRIVE}/changes/startPageToken", "_start_token"),
    ("GET", f"{_DRIVE}/changes", "_list_changes"),
    ("GET", "/v1/documents/(?P<id>[^/:]+)", "_read"),
    ("POST", "/v1/documents/(?P<id>[^/:]+):batchUpdate", "_write"),
)


def _fits(fault: Fault, request: web.Request) -> bool:
    if fault.method != request.method or re.search(fault.path, request.path) is None:
        return False
    fault.passed -= 1
    return fault.passed < 0


def _error(status: int, reason: str, headers: dict[str, str] | None = None) -> web.Response:
    error = {"code": status, "message": reason, "errors": [{"domain": "global", "reason": reason, "message": reason}]}
    return web.json_response({"error": error}, status=status, headers=headers)


_CONDITION = re.compile(
    r"appProperties has \{ key='(?P<key>[^']+)' and value='(?P<value>[^']+)' \}"
    r"|'(?P<parent>[^']+)' in parents|mimeType = '(?P<mime>[^']+)'|trashed = (?P<trashed>true|false)"
)


def _matches(query: str, file: dict[str, Any]) -> bool:
    """Whether a file fits a query, of which conditions as above joined by `and`, `or` and brackets are understood."""

    def holds(found: re.Match[str]) -> str:
        if found["key"]:
            return str(file.get("appProperties", {}).get(found["key"]) == found["value"])
        if found["parent"]:
            return str(found["parent"] in file["parents"])
        if found["mime"]:
            return str(file["mimeType"] == found["mime"])
        return str(file["trashed"] == (found["trashed"] == "true"))

    said = _CONDITION.sub(holds, query)
    assert re.fullmatch(r"(True|False|and|or|[() ])+", said), f"a query that the stand-in does not know: {query}"
    return bool(eval(said))
