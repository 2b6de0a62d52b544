"""PagerDuty's REST API as far as we use it: incidents, notes, their log, priorities, and who is on call."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.standins.web import StandIn

ADA = {"id": "PADA001", "type": "user_reference", "summary": "Ada"}
HOTWASH = {"id": "PHOTWSH", "type": "user_reference", "summary": "Hotwash"}
SERVICE = {"id": "PSERVIC", "type": "service", "name": "Checkout", "summary": "Checkout"}
POLICY = {"id": "PPOLICY", "type": "escalation_policy_reference", "summary": "Default"}
P1 = {"id": "PPRIO01", "type": "priority", "name": "P1", "summary": "P1"}


class PagerDutyAccount(StandIn):
    """One account with a service, a priority, and what `on_calls` says of shifts."""

    def __init__(self, now: Callable[[], datetime], *, page: int = 100) -> None:
        super().__init__(now)
        self.page = page
        self.incidents: dict[str, dict[str, Any]] = {}
        self.notes: dict[str, list[dict[str, Any]]] = {}
        self.log: dict[str, list[dict[str, Any]]] = {}
        self.on_calls: list[dict[str, Any]] = []
        self.policy = dict(POLICY)
        self.asked_for: list[dict[str, list[str]]] = []  #: what `/oncalls` was asked

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/incidents", self._declare),
            web.get("/incidents", self._list),
            web.get("/incidents/{id}", self._get),
            web.put("/incidents/{id}", self._put),
            web.get("/incidents/{id}/notes", self._notes),
            web.post("/incidents/{id}/notes", self._note),
            web.get("/incidents/{id}/log_entries", self._log),
            web.get("/priorities", self._priorities),
            web.get("/services", self._services),
            web.get("/services/{id}", self._service),
            web.get("/abilities", self._abilities),
            web.get("/users", self._users),
            web.get("/escalation_policies", self._policies),
            web.get("/schedules", self._schedules),
            web.get("/oncalls", self._who),
        ]

    def error(self, status: int, text: str) -> web.Response:
        return web.json_response({"error": {"message": text, "code": 2000}}, status=status)

    # --- what happens there ------------------------------------------------------------------------------------------

    def add(self, title: str, **given: Any) -> dict[str, Any]:
        number = len(self.incidents) + 1
        incident = {
            "id": f"PINC{number:03}",
            "type": "incident",
            "incident_number": number,
            "title": title,
            "status": "triggered",
            "urgency": "high",
            "incident_key": f"key{number}",
            "html_url": f"https://example.pagerduty.com/incidents/PINC{number:03}",
            "created_at": self._told(),
            "service": {"id": SERVICE["id"], "type": "service_reference", "summary": "Checkout"},
            "priority": None,
            **given,
        }
        self.incidents[incident["id"]] = incident
        self.notes[incident["id"]], self.log[incident["id"]] = [], []
        self.write(incident["id"], "trigger", "Triggered")
        return incident

    def write(self, incident: str, kind: str, summary: str, agent: Any = ADA) -> dict[str, Any]:
        line = {
            "id": f"R{sum(map(len, self.log.values())):06}",
            "type": f"{kind}_log_entry",
            "summary": summary,
            "created_at": self._told(),
            "agent": agent,
        }
        self.log[incident].append(line)
        return line

    def note(self, incident: str, content: str, user: Any = ADA) -> dict[str, Any]:
        number = sum(map(len, self.notes.values()))
        note = {"id": f"PNOTE{number:02}", "user": user, "content": content, "created_at": self._told()}
        self.notes[incident].append(note)
        self.write(incident, "annotate", content, user)
        return note

    def _told(self) -> str:
        return self.now().astimezone(UTC).isoformat()

    # --- the API -----------------------------------------------------------------------------------------------------

    def _found(self, request: web.Request) -> dict[str, Any]:
        found = self.incidents.get(request.match_info["id"])
        if found is None:
            raise web.HTTPNotFound
        return found

    async def _declare(self, request: web.Request) -> web.Response:
        given = (await request.json())["incident"]
        open_keys = [one["incident_key"] for one in self.incidents.values() if one["status"] != "resolved"]
        if given.get("incident_key") in open_keys:
            return self.error(400, "an incident with this key is open")
        known = {name: given[name] for name in ("urgency", "incident_key") if name in given}
        known["priority"] = P1 if given.get("priority") else None
        known["service"] = {**given["service"], "summary": SERVICE["summary"]}
        return web.json_response({"incident": self.add(given["title"], **known)}, status=201)

    async def _list(self, request: web.Request) -> web.Response:
        key = request.query["incident_key"]
        found = [one for one in self.incidents.values() if one["incident_key"] == key]
        return web.json_response({"incidents": found, "more": False, "limit": 25, "offset": 0})

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response({"incident": self._found(request)})

    async def _put(self, request: web.Request) -> web.Response:
        incident, given = self._found(request), (await request.json())["incident"]
        incident |= {name: value for name, value in given.items() if name != "type"}
        if incident["priority"]:
            incident["priority"] = {**P1, "type": "priority_reference"}
        return web.json_response({"incident": incident})

    async def _notes(self, request: web.Request) -> web.Response:
        return web.json_response({"notes": self.notes[self._found(request)["id"]]})

    async def _note(self, request: web.Request) -> web.Response:
        incident = self._found(request)["id"]
        note = self.note(incident, (await request.json())["note"]["content"], HOTWASH)
        return web.json_response({"note": note}, status=201)

    async def _log(self, request: web.Request) -> web.Response:
        return self._paged(request, "log_entries", list(reversed(self.log[self._found(request)["id"]])))

    async def _priorities(self, request: web.Request) -> web.Response:
        return self._paged(request, "priorities", [P1])

    async def _services(self, request: web.Request) -> web.Response:
        return self._named(request, "services", {**SERVICE, "escalation_policy": self.policy})

    async def _service(self, request: web.Request) -> web.Response:
        if request.match_info["id"] != SERVICE["id"]:
            raise web.HTTPNotFound
        return web.json_response({"service": {**SERVICE, "escalation_policy": self.policy}})

    async def _abilities(self, request: web.Request) -> web.Response:
        return web.json_response({"abilities": []})

    async def _users(self, request: web.Request) -> web.Response:
        return self._paged(request, "users", [{**HOTWASH, "email": "hotwash@example.com"}])

    async def _policies(self, request: web.Request) -> web.Response:
        return self._named(request, "escalation_policies", {**POLICY, "name": "Default"})

    async def _schedules(self, request: web.Request) -> web.Response:
        return self._named(request, "schedules", {"id": "PSCHED1", "name": "Primary", "summary": "Primary"})

    async def _who(self, request: web.Request) -> web.Response:
        self.asked_for.append({name: request.query.getall(name) for name in request.query})
        policies = request.query.getall("escalation_policy_ids[]", None)
        schedules = request.query.getall("schedule_ids[]", None)
        found = [
            one
            for one in self.on_calls
            if (policies is None or one["escalation_policy"]["id"] in policies)
            and (schedules is None or (one["schedule"] or {}).get("id") in schedules)
        ]
        return self._paged(request, "oncalls", found)

    def _named(self, request: web.Request, key: str, one: dict[str, Any]) -> web.Response:
        fits = request.query["query"].casefold() in one["name"].casefold()
        return self._paged(request, key, [one] if fits else [])

    def _paged(self, request: web.Request, key: str, listed: list[Any]) -> web.Response:
        start, most = int(request.query["offset"]), min(self.page, int(request.query["limit"]))
        more = len(listed) > start + most
        return web.json_response({key: listed[start : start + most], "limit": most, "offset": start, "more": more})
