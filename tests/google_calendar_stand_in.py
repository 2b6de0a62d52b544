"""A small Google Calendar of ours: the documented behaviour that no emulator has.

Ids of ours and 409, get and patch of what was deleted, `If-Match`, sync tokens and 410, free/busy with calendars that
are closed, Meet links, answers of guests, and, on request, refusals, slow answers and answers that are lost after the
work was done. It speaks plain JSON over HTTP, so that `prism proxy` can stand before it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from aiohttp import web

_ID = re.compile(r"[a-v0-9]{5,1024}")
_MOST_ITEMS = 50
SELF = "hotwash@example.com"


@dataclass
class Fault:
    """What becomes of the next request to a method: a status, or an answer that is lost or late."""

    method: str  #: insert, patch, get, list, freebusy
    status: int = 0
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    lost: bool = False  #: the work is done, the answer never comes
    late: asyncio.Event | None = None  #: the work is done, the answer waits for this
    done: asyncio.Event = field(default_factory=asyncio.Event)  #: set when the work is done


class StandIn:
    """One calendar, `primary`, of one user, and when others are busy."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.events: dict[str, dict[str, Any]] = {}
        self.busy: dict[str, list[tuple[datetime, datetime]]] = {SELF: []}  #: open calendars by address
        self.mail: list[tuple[str, str, str]] = []  #: what guests were told: method, event, to whom
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.tokens = 0
        self.expired = False  #: whether tokens given out so far are refused
        self.pending_meet = False
        self.without_meet = False
        self.role = "owner"
        self.forgotten = -1  #: sync tokens up to this are gone
        self.page = 100
        self._writes = 0
        self._valid: set[str] = set()
        self._runner: web.AppRunner | None = None
        self.address = ""

    async def start(self, port: int = 0) -> StandIn:
        application = web.Application()
        at = "/calendar/v3/calendars/{calendar}/events"
        application.router.add_post("/token", self._token)
        application.router.add_post("/calendar/v3/freeBusy", self._serve("freebusy", self._freebusy))
        application.router.add_post(at, self._serve("insert", self._insert))
        application.router.add_get(at, self._serve("list", self._list))
        application.router.add_get(at + "/{event}", self._serve("get", self._get))
        application.router.add_patch(at + "/{event}", self._serve("patch", self._patch))
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        host, port = self._runner.addresses[0][:2]
        self.address = f"http://{host}:{port}"
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    # --- what people do ----------------------------------------------------------------------------------------------

    def answers(self, guest: str, answer: str, event: str | None = None) -> None:
        """Let a guest answer the invitation, the newest where none is named."""
        one = self.events[event] if event else list(self.events.values())[-1]
        for attendee in one["attendees"]:
            if attendee["email"] == guest:
                attendee["responseStatus"] = answer
        self._touch(one)

    def deletes(self, event: str, *, bare: bool = False) -> None:
        """Let somebody delete an event; of a bare one nothing but its id is told."""
        one = self.events[event]
        one["status"] = "cancelled"
        self._touch(one)
        if bare:
            for name in set(one) - {"id", "status", "etag", "kind", "_write"}:
                del one[name]

    def moves(self, event: str, start: datetime, end: datetime) -> None:
        """Let somebody move an event."""
        one = self.events[event]
        one |= {"start": {"dateTime": start.isoformat()}, "end": {"dateTime": end.isoformat()}}
        self._touch(one)

    def other_event(self, id: str = "somebodyelse0") -> None:
        """Put an event that is none of ours into the calendar."""
        one = {"id": id, "status": "confirmed", "summary": "Lunch", "attendees": []}
        one |= {"start": {"date": "2026-03-02"}, "end": {"date": "2026-03-03"}, "transparency": "transparent"}
        self.events[id] = one
        self._touch(one)

    # --- requests ----------------------------------------------------------------------------------------------------

    async def _token(self, request: web.Request) -> web.Response:
        self.tokens += 1
        if self.expired:
            self._valid, self.expired = set(), False
        token = f"token-{self.tokens}"
        self._valid.add(f"Bearer {token}")
        return web.json_response({"access_token": token, "expires_in": 3600, "token_type": "Bearer"})

    def _serve(self, method: str, answer: Callable[[web.Request, Any], web.Response]) -> Any:
        async def handler(request: web.Request) -> web.Response:
            self.requests.append(method)
            if self.expired or request.headers.get("Authorization") not in self._valid:
                return _refusal(401, "authError", "Invalid Credentials")
            if method != "freebusy" and request.match_info["calendar"] not in ("primary", SELF):
                return _refusal(404, "notFound", "Not Found")
            fault = next((one for one in self.faults if one.method == method), None)
            if fault is not None:
                self.faults.remove(fault)
                if fault.status:
                    return _refusal(fault.status, fault.reason, fault.reason, fault.headers)
            done = answer(request, await request.json() if request.can_read_body else {})
            done.headers["Date"] = format_datetime(self.now().astimezone(UTC), usegmt=True)
            if fault is not None:
                fault.done.set()
            if fault is not None and fault.late is not None:
                await fault.late.wait()
            if fault is not None and fault.lost:
                assert request.transport is not None
                request.transport.close()
            return done

        return handler

    def _freebusy(self, request: web.Request, body: Any) -> web.Response:
        start, end = (datetime.fromisoformat(body[name]) for name in ("timeMin", "timeMax"))
        told: dict[str, Any] = {}
        for place, item in enumerate(body["items"]):
            address = SELF if item["id"] == "primary" else item["id"]
            if place >= _MOST_ITEMS:
                told[item["id"]] = {"busy": [], "errors": [{"domain": "global", "reason": "tooManyCalendarsRequested"}]}
            elif address not in self.busy:
                told[item["id"]] = {"busy": [], "errors": [{"domain": "global", "reason": "notFound"}]}
            else:
                found = sorted((s, e) for s, e in self._taken(address) if s < end and start < e)
                told[item["id"]] = {
                    "busy": [{"start": _text(max(s, start)), "end": _text(min(e, end))} for s, e in _merged(found)]
                }
        return web.json_response(
            {"kind": "calendar#freeBusy", "timeMin": body["timeMin"], "timeMax": body["timeMax"], "calendars": told}
        )

    def _taken(self, address: str) -> list[tuple[datetime, datetime]]:
        taken = list(self.busy[address])
        for one in self.events.values():
            if one["status"] == "cancelled" or one.get("transparency") == "transparent":
                continue
            answers = {guest["email"]: guest["responseStatus"] for guest in one.get("attendees", ())}
            if address == SELF or answers.get(address, "declined") != "declined":
                taken.append(tuple(datetime.fromisoformat(one[side]["dateTime"]) for side in ("start", "end")))
        return taken

    def _insert(self, request: web.Request, body: Any) -> web.Response:
        if not _ID.fullmatch(body.get("id", "none00")):
            return _refusal(400, "invalid", "Invalid resource id value.")
        if body["id"] in self.events:
            return _refusal(409, "duplicate", "The requested identifier already exists.")
        if "start" not in body or "end" not in body:
            return _refusal(400, "required", "Missing start or end time.")
        one = {"status": "confirmed", "htmlLink": f"https://calendar.example/{body['id']}", **body}
        one |= {"kind": "calendar#event", "organizer": {"email": SELF, "self": True}, "created": _text(self.now())}
        for guest in one.get("attendees", ()):
            guest.setdefault("responseStatus", "needsAction")
        if "conferenceData" in body and not self.without_meet and request.query.get("conferenceDataVersion") == "1":
            one["conferenceData"] = self._conference(body["conferenceData"]["createRequest"])
        else:
            one.pop("conferenceData", None)
        self.events[body["id"]] = one
        return self._written("insert", request, one)

    def _conference(self, wanted: Any) -> dict[str, Any]:
        if self.pending_meet:
            return {"createRequest": {**wanted, "status": {"statusCode": "pending"}}}
        uri = f"https://meet.example/{wanted['requestId'][:10]}"
        made = {"createRequest": {**wanted, "status": {"statusCode": "success"}}, "conferenceId": uri[-10:]}
        return {**made, "entryPoints": [{"entryPointType": "video", "uri": uri}]}

    def _patch(self, request: web.Request, body: Any) -> web.Response:
        one = self.events.get(request.match_info["event"])
        if one is None:
            return _refusal(404, "notFound", "Not Found")
        if request.headers.get("If-Match", one["etag"]) != one["etag"]:
            return _refusal(412, "conditionNotMet", "Precondition Failed")
        one |= body
        return self._written("patch", request, one)

    def _written(self, method: str, request: web.Request, one: dict[str, Any]) -> web.Response:
        self._touch(one)
        if request.query.get("sendUpdates", "none") != "none":
            self.mail += [(method, one["id"], guest["email"]) for guest in one.get("attendees", ())]
        return web.json_response(_shown(one))

    def _get(self, request: web.Request, body: Any) -> web.Response:
        one = self.events.get(request.match_info["event"])
        return web.json_response(_shown(one)) if one else _refusal(404, "notFound", "Not Found")

    def _list(self, request: web.Request, body: Any) -> web.Response:
        given = request.query.get("syncToken")
        if given is not None and int(given) <= self.forgotten:
            return _refusal(410, "fullSyncRequired", "Sync token is no longer valid, a full sync is required.")
        if given is not None and "timeMin" in request.query:
            return _refusal(
                400, "syncTokenWithNonDefaultOrdering", "Sync token cannot be used with other restrictions."
            )
        listed = sorted(self.events.values(), key=lambda one: one["_write"])
        if given is None and request.query.get("showDeleted") != "true":
            listed = [one for one in listed if one["status"] != "cancelled"]
        listed = [one for one in listed if one["_write"] > int(given or 0)]
        first = int(request.query.get("pageToken", "0"))
        page: dict[str, Any] = {"kind": "calendar#events", "accessRole": self.role}
        page["items"] = [_shown(one) for one in listed[first : first + self.page]]
        if first + self.page < len(listed):
            page["nextPageToken"] = str(first + self.page)
        else:
            page["nextSyncToken"] = str(self._writes)
        return web.json_response(page)

    def _touch(self, one: dict[str, Any]) -> None:
        self._writes += 1
        one |= {"etag": f'"{self._writes}"', "updated": _text(self.now()), "_write": self._writes}


def _shown(one: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name != "_write"}


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _merged(stretches: list[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    merged: list[tuple[datetime, datetime]] = []
    for start, end in stretches:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _refusal(status: int, reason: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    error = {"code": status, "message": message, "errors": [{"domain": "global", "reason": reason, "message": message}]}
    return web.json_response({"error": error}, status=status, headers=headers)
