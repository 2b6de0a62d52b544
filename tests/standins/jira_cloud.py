"""Jira Cloud as far as we use it: issues with their change log and their dates, and a search that lags.

It reads the JQL that we write and no other. What it is asked goes through the vendor's own specification where Prism
can be had (`tests/contracts`).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from tests.standins.web import StandIn

BOT = {"accountId": "bot", "accountType": "atlassian", "displayName": "Hotwash", "timeZone": "UTC"}
ADA = {"accountId": "ada", "accountType": "atlassian", "displayName": "Ada", "emailAddress": "ada@example.com"}
GRACE = {"accountId": "grace", "accountType": "atlassian", "displayName": "Grace", "emailAddress": "grace@example.com"}
USERS = (ADA, GRACE)
TODO = {"name": "To Do", "statusCategory": {"id": 2, "key": "new", "name": "To Do"}}
DOING = {"name": "In Progress", "statusCategory": {"id": 4, "key": "indeterminate", "name": "In Progress"}}
DONE = {"name": "Done", "statusCategory": {"id": 3, "key": "done", "name": "Done"}}
TRANSITIONS = {"11": ("Back to the pile", TODO), "21": ("Start", DOING), "31": ("Finish", DONE)}
LINK_TYPES = [
    {"id": "1", "name": "Blocks", "inward": "is blocked by", "outward": "blocks"},
    {"id": "2", "name": "Relates", "inward": "relates to", "outward": "relates to"},
]
API = "/rest/api/3"
#: Of a long history a search gives so many entries, the newest.
NEWEST = 40


@dataclass
class Issue:
    id: str
    key: str
    fields: dict[str, Any]
    changes: list[dict[str, Any]] = field(default_factory=list)  #: oldest first
    comments: list[dict[str, Any]] = field(default_factory=list)
    remote: dict[str, dict[str, Any]] = field(default_factory=dict)  #: by globalId
    links: list[dict[str, Any]] = field(default_factory=list)
    index: list[tuple[datetime, dict[str, Any]]] = field(default_factory=list)  #: since when, what a search sees


class JiraCloud(StandIn):
    """One site with the project OPS. `lag` is how far its index is behind; `page` is the most that a page holds."""

    def __init__(self, now: Callable[[], datetime], *, zone: str = "UTC", page: int = 100) -> None:
        super().__init__(now)
        self.me = {**BOT, "timeZone": zone}
        self.forbidden: set[str] = set()  #: permissions that our account lacks
        self.fold = 0  #: which of two equal local times JQL means
        self.shows_index = False  #: whether a search gives issues as its index has them, or as they are
        self.page = page
        self.lag: Callable[[], timedelta] = timedelta
        self.issues: dict[str, Issue] = {}
        self.screen: list[dict[str, Any]] = [
            _field("summary", "Summary", required=True, schema={"type": "string", "system": "summary"}),
            _field("labels", "Labels", schema={"type": "array", "items": "string", "system": "labels"}),
            _field("description", "Description", schema={"type": "string", "system": "description"}),
        ]
        self.before_page: Callable[[int], None] = lambda number: None
        self._pages: dict[str, list[str]] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(f"{API}/myself", self._myself),
            web.get(f"{API}/mypermissions", self._permissions),
            web.get(f"{API}/user/search", self._users),
            web.get(f"{API}/issue/createmeta/OPS/issuetypes", self._types),
            web.get(f"{API}/issue/createmeta/OPS/issuetypes/1", self._screen),
            web.post(f"{API}/issue", self._create),
            web.get(f"{API}/issue/{{key}}", self._get),
            web.put(f"{API}/issue/{{key}}", self._put),
            web.get(f"{API}/issue/{{key}}/transitions", self._transitions),
            web.post(f"{API}/issue/{{key}}/transitions", self._move),
            web.get(f"{API}/issue/{{key}}/comment", self._comments),
            web.post(f"{API}/issue/{{key}}/comment", self._comment),
            web.get(f"{API}/issue/{{key}}/changelog", self._changelog),
            web.get(f"{API}/issue/{{key}}/remotelink", self._remote_links),
            web.post(f"{API}/issue/{{key}}/remotelink", self._remote_link),
            web.get(f"{API}/issueLinkType", self._link_types),
            web.post(f"{API}/issueLink", self._link),
            web.get(f"{API}/search/jql", self._search),
        ]

    def error(self, status: int, text: str) -> web.Response:
        return web.json_response({"errorMessages": [text], "errors": {}}, status=status)

    # --- what people do there ----------------------------------------------------------------------------------------

    def add(self, title: str, by: dict[str, Any] = ADA, **given: Any) -> Issue:
        number = len(self.issues) + 1
        at = _told(self.now())
        known = {
            "summary": title,
            "status": TODO,
            "labels": [],
            "project": {"id": "10000", "key": "OPS", "name": "Operations"},
            "assignee": None,
            "duedate": None,
            "description": None,
            "resolutiondate": None,
            "created": at,
            "updated": at,
            "creator": by,
        }
        issue = Issue(str(10_000 + number), f"OPS-{number}", {**known, **given})
        self.issues[issue.key] = issue
        self._indexed(issue)
        return issue

    def change(self, issue: Issue, by: dict[str, Any] = ADA, **given: Any) -> None:
        issue.fields |= given
        items = [{"field": name, "fieldtype": "jira", "to": str(value)[:20]} for name, value in given.items()]
        known = len(issue.changes)
        issue.changes.append({"id": str(known), "author": by, "created": _told(self.now()), "items": items})
        self._touched(issue)

    def comment(self, issue: Issue, body: Any, by: dict[str, Any] = ADA) -> dict[str, Any]:
        said = {
            "id": str(len(issue.comments) + 1),
            "author": by,
            "updateAuthor": by,
            "body": body,
            "created": _told(self.now()),
            "updated": _told(self.now()),
        }
        issue.comments.append(said)
        self._touched(issue)
        return said

    def _touched(self, issue: Issue) -> None:
        issue.fields["updated"] = _told(self.now())
        self._indexed(issue)

    def _indexed(self, issue: Issue) -> None:
        issue.index.append((self.now() + self.lag(), copy.deepcopy(issue.fields)))

    # --- the API -----------------------------------------------------------------------------------------------------

    def _found(self, request: web.Request) -> Issue:
        ref = request.match_info["key"]
        for issue in self.issues.values():
            if ref in (issue.key, issue.id):
                return issue
        raise web.HTTPNotFound

    async def _myself(self, request: web.Request) -> web.Response:
        return web.json_response(self.me)

    async def _permissions(self, request: web.Request) -> web.Response:
        keys = request.query["permissions"].split(",")
        found = {
            key: {"key": key, "name": key.replace("_", " ").title(), "havePermission": key not in self.forbidden}
            for key in keys
        }
        found["ADMINISTER"] = {"key": "ADMINISTER", "name": "Administer Jira", "havePermission": False}
        return web.json_response({"permissions": found})

    async def _users(self, request: web.Request) -> web.Response:
        return web.json_response([one for one in USERS if one["emailAddress"] == request.query["query"]])

    async def _types(self, request: web.Request) -> web.Response:
        return web.json_response({"issueTypes": [{"id": "1", "name": "Task"}], "startAt": 0, "total": 1})

    async def _screen(self, request: web.Request) -> web.Response:
        return web.json_response({"fields": self.screen, "startAt": 0, "total": len(self.screen)})

    async def _create(self, request: web.Request) -> web.Response:
        given = (await request.json())["fields"]
        given.pop("issuetype")
        given.pop("project")
        issue = self.add(given.pop("summary"), self.me, **_with_users(given))
        told = {"id": issue.id, "key": issue.key, "self": f"{self.url}{API}/issue/{issue.id}"}
        return web.json_response(told, status=201)

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown(self._found(request), "changelog" in request.query.get("expand", "")))

    def _shown(self, issue: Issue, log: bool, state: dict[str, Any] | None = None) -> dict[str, Any]:
        newest = list(reversed(issue.changes))[:NEWEST]
        comments = {"comments": issue.comments[:20], "total": len(issue.comments), "startAt": 0, "maxResults": 20}
        shown = {
            "id": issue.id,
            "key": issue.key,
            "self": f"{self.url}{API}/issue/{issue.id}",
            "fields": {**(state or issue.fields), "comment": comments, "issuelinks": issue.links},
        }
        if log:
            total = len(issue.changes)
            shown["changelog"] = {"histories": newest, "total": total, "startAt": 0, "maxResults": NEWEST}
        return shown

    async def _put(self, request: web.Request) -> web.Response:
        issue = self._found(request)
        self.change(issue, self.me, **_with_users((await request.json())["fields"]))
        return web.Response(status=204)

    async def _transitions(self, request: web.Request) -> web.Response:
        listed = [
            {"id": id, "name": name, "to": {"id": id, **to}, "fields": {}} for id, (name, to) in TRANSITIONS.items()
        ]
        return web.json_response({"transitions": listed})

    async def _move(self, request: web.Request) -> web.Response:
        issue = self._found(request)
        _, to = TRANSITIONS[(await request.json())["transition"]["id"]]
        self.change(issue, self.me, status=to, resolutiondate=_told(self.now()) if to is DONE else None)
        return web.Response(status=204)

    async def _comments(self, request: web.Request) -> web.Response:
        issue = self._found(request)
        listed = list(reversed(issue.comments)) if request.query.get("orderBy") == "-created" else issue.comments
        start, most = int(request.query.get("startAt", 0)), int(request.query["maxResults"])
        page = {"comments": listed[start : start + most], "total": len(listed), "startAt": start, "maxResults": most}
        return web.json_response(page)

    async def _comment(self, request: web.Request) -> web.Response:
        said = self.comment(self._found(request), (await request.json())["body"], self.me)
        return web.json_response(said, status=201)

    async def _changelog(self, request: web.Request) -> web.Response:
        issue = self._found(request)
        start, most = int(request.query["startAt"]), int(request.query["maxResults"])
        values, total = issue.changes[start : start + most], len(issue.changes)
        return web.json_response({"values": values, "startAt": start, "maxResults": most, "total": total})

    async def _remote_links(self, request: web.Request) -> web.Response:
        return web.json_response(list(self._found(request).remote.values()))

    async def _remote_link(self, request: web.Request) -> web.Response:
        issue, link = self._found(request), await request.json()
        known = link["globalId"] in issue.remote
        number = len(issue.remote) + 1
        issue.remote[link["globalId"]] = {"id": number, **link}
        told = {"id": number, "self": f"{self.url}{API}/issue/{issue.id}/remotelink/{number}"}
        return web.json_response(told, status=200 if known else 201)

    async def _link_types(self, request: web.Request) -> web.Response:
        return web.json_response({"issueLinkTypes": LINK_TYPES})

    async def _link(self, request: web.Request) -> web.Response:
        link = await request.json()
        kind = next(one for one in LINK_TYPES if one["name"] == link["type"]["name"])
        source, target = (self._by_ref(link[side]) for side in ("inwardIssue", "outwardIssue"))
        source.links.append({"id": "1", "type": kind, "outwardIssue": {"id": target.id, "key": target.key}})
        target.links.append({"id": "1", "type": kind, "inwardIssue": {"id": source.id, "key": source.key}})
        return web.Response(status=201)

    def _by_ref(self, ref: dict[str, str]) -> Issue:
        return next(one for one in self.issues.values() if ref in ({"id": one.id}, {"key": one.key}))

    # --- the search --------------------------------------------------------------------------------------------------

    async def _search(self, request: web.Request) -> web.Response:
        """Answer page by page. A page that follows is what the list holds *then* from where the last one ended."""
        jql, token = request.query["jql"], request.query.get("nextPageToken")
        start = int(token) if token else 0
        self.before_page(start)
        listed = self._matching(jql)
        most = min(self.page, int(request.query["maxResults"]))
        shown = listed[start : start + most]
        log = "changelog" in request.query.get("expand", "")
        page: dict[str, Any] = {"issues": [self._shown(one, log, state) for state, one in shown], "isLast": True}
        if len(listed) > start + most:
            page |= {"isLast": False, "nextPageToken": str(start + most)}
        return web.json_response(page)

    def _matching(self, jql: str) -> list[tuple[dict[str, Any] | None, Issue]]:
        condition, _, order = jql.partition(" ORDER BY ")
        found = []
        for issue in self.issues.values():
            seen = [state for since, state in issue.index if since <= self.now()]
            if seen and all(self._fits(seen[-1], part.strip("()")) for part in condition.split(" AND ")):
                found.append((seen[-1], issue))
        name = order.partition(" ")[0].lower() or "created"
        found.sort(key=lambda one: (one[0][name], int(one[1].id)), reverse=order.endswith("DESC"))
        return [(state if self.shows_index else None, issue) for state, issue in found]

    def _fits(self, state: dict[str, Any], part: str) -> bool:
        match = re.fullmatch(r'(\w+) (=|!=|>=|<=) "?([^"]*)"?', part)
        assert match is not None, f"the stand-in does not read '{part}'"
        name, sign, value = match.groups()
        if name in ("updated", "created"):
            at = datetime.fromisoformat(value).replace(tzinfo=ZoneInfo(self.me["timeZone"]), fold=self.fold)
            known = datetime.fromisoformat(state[name])
            return known >= at if sign == ">=" else known < at + timedelta(minutes=1)
        if name == "labels":
            return value in state["labels"]
        if name == "statusCategory":
            return (state["status"]["statusCategory"]["key"] == "done") is (sign == "=")
        assert name == "project", part
        return bool(state["project"]["key"] == value)


def _with_users(given: dict[str, Any]) -> dict[str, Any]:
    """Give fields with their assignee as Jira shows a user that was named by the account's id."""
    named = (given.get("assignee") or {}).get("accountId")
    return {**given, **({"assignee": next(one for one in USERS if one["accountId"] == named)} if named else {})}


def _field(id: str, name: str, *, required: bool = False, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "fieldId": id,
        "key": id,
        "name": name,
        "required": required,
        "hasDefaultValue": False,
        "operations": ["set"],
        "schema": schema,
        **more,
    }


def _told(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}+0000"
