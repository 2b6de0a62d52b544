"""Jira: tickets, on Cloud (REST API version 3) and on Data Center (version 2).

What Jira's JSON means stands here; its source receives the webhooks with this. A ticket's id is Jira's own number,
which stays when an issue moves to another project. An issue that we made carries a label with the effect's identity,
because a label is what can be searched everywhere; `labels` leaves it out. Jira's search index lags behind.

It is asked by its documented REST API and not through the `jira` package, which is synchronous, tries again by itself,
and sends some requests that Cloud refuses.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from actions.providers.jira_text import read_text, written_text
from actions.providers.naming import unreachable
from actions.providers.rest import Rest
from engine.capabilities import Changes, TicketDraft, Where
from engine.domain import Person, Ticket
from engine.plugins import (
    ActionError,
    Connection,
    Effect,
    Fact,
    Field,
    Options,
    Secret,
    findable,
    idempotent,
    provider,
)

#: What a label that carries an identity begins with.
OURS = "hotwash-"
_READ = (
    "summary,description,status,labels,project,assignee,duedate,created,resolutiondate,statuscategorychangedate,"
    "creator,updated,comment"
)
_END_OF_DAY = time(23, 59, 59)
_PAGE = 100
#: How long the fields that a project asks for are remembered.
_METADATA_LASTS = timedelta(minutes=10)
_KNOWN_FIELDS = frozenset(
    {"summary", "issuetype", "project", "description", "labels", "assignee", "duedate", "reporter"}
)


class JiraOptions(Options):
    """How Jira is asked.

    With `user`, the token is an API token of that account (Cloud); without, a personal access token (Data Center).

    Example:
        tracker:
          provider: jira
          server: https://example.atlassian.net
          user: hotwash@example.com
          token: ${JIRA_TOKEN}
          project: OPS
    """

    server: str = Field(pattern=r"^https?://[^\s?#]+$", description="The site's address.")
    user: str | None = Field(default=None, description="E-mail address of the account that the API token is of.")
    token: Secret = Field(description="An API token, or a personal access token.")
    deployment: Literal["cloud", "data_center"] | None = Field(
        default=None, description="Which Jira it is; by default Cloud where `server` is at atlassian.net."
    )
    project: str | None = Field(default=None, description="Key of the project that tickets are filed under.")
    issue_type: str = Field(default="Task", description="Name of the issue type that is filed.")
    fields: dict[str, Any] = Field(default={}, description="Fields of every new ticket, by name or id.")
    closed: str | None = Field(
        default=None, description="Name of the status that closes; by default the first one of Jira's category Done."
    )
    reopened: str | None = Field(
        default=None, description="Name of the status that reopens; by default the first one that is not Done."
    )
    accounts: list[str] = Field(
        default=[], description="Account ids (Data Center: user names) that are our own, beside the one that asks."
    )

    @property
    def cloud(self) -> bool:
        """Whether it is Jira Cloud."""
        if self.deployment is not None:
            return self.deployment == "cloud"
        return (urlsplit(self.server).hostname or "").endswith(".atlassian.net")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A field that a project's screen for new issues has."""

    id: str
    name: str
    required: bool
    kind: str
    items: str
    allowed: tuple[str, ...]


class Jira:
    """Keep tickets as issues of one Jira site."""

    #: What Jira knows of a ticket: reading it again says nothing about the rest.
    owns = frozenset(
        {"key", "title", "url", "done", "labels", "project", "assignee", "description", "due", "created_at"}
        | {"closed_at", "active_at", "provider"}
    )

    def __init__(self, options: JiraOptions, connection: Connection) -> None:
        self._options = options
        self._name = connection.name
        self._people = connection.people
        self._clock = connection.clock
        self._zone = ZoneInfo(connection.zone)
        self._cloud = options.cloud
        self._rest = Rest("Jira", connection, options.server, {"Accept": "application/json", **_credentials(options)})
        self._base = f"/rest/api/{3 if self._cloud else 2}"
        self._myself: Mapping[str, Any] | None = None
        self._metadata: dict[tuple[str, str], tuple[datetime, Sequence[_Wanted]]] = {}
        self._asking_who = asyncio.Lock()

    async def check(self) -> str | None:
        """Say what is wrong with the connection; None where it works."""
        await self._who()
        if (skewed := self._rest.skew()) is not None:
            return skewed
        if self._options.project is None:
            return "it has no 'project', so every 'ticket.create' has to name one"
        await self._screen(self._options.project)
        return None

    async def aclose(self) -> None:
        """Close the session."""
        await self._rest.aclose()

    # --- what its JSON means -----------------------------------------------------------------------------------------

    def read(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Give the fields of an issue: those it speaks about and no others. `id` is the subject's, `tracker:10023`.

        Raises:
            ValueError: it is no issue.
        """
        number, key = raw.get("id"), raw.get("key")
        if not str(number or "").isdigit() or not isinstance(key, str):
            raise ValueError("an issue of Jira must have an 'id', a number, and a 'key'")
        found: dict[str, Any] = {
            "id": f"{self._name}:{number}",
            "key": key,
            "url": f"{self._options.server.rstrip('/')}/browse/{key}",
            "provider": "jira",
        }
        given = raw.get("fields")
        for name, read in _READERS.items():
            if isinstance(given, Mapping) and name in given:
                found |= read(self, given[name])
        return found

    def person(self, raw: Any) -> Person | None:
        """Give the user that a reference is to; None for nobody, and for what is an application."""
        if not isinstance(raw, Mapping) or raw.get("accountType") == "app":
            return None
        key = _text(raw.get("accountId")) or _text(raw.get("name"))
        if key is None:
            return None
        name = _text(raw.get("displayName")) or key
        person = Person(f"jira:{key}", name, email=_text(raw.get("emailAddress")), ids={"jira": key})
        return self._people.join(person)

    def text(self, raw: Any) -> str:
        """Give the text of a comment's body."""
        return read_text(raw)

    def is_ours(self, raw: Any) -> bool:
        """Whether a user is one of our own accounts, as far as that is known without asking."""
        return isinstance(raw, Mapping) and _account(raw) in self._own_accounts()

    def _own_accounts(self) -> frozenset[str]:
        own = {self._options.user, _account(self._myself or {}), *self._options.accounts}
        return frozenset(one for one in own if one)

    def _record(self, raw: Mapping[str, Any], **more: Any) -> Ticket:
        known = self.read(raw) | {"active_at": self._active(raw)} | more
        known.setdefault("title", known["key"])
        return Ticket(**{one.name: known[one.name] for one in fields(Ticket) if known.get(one.name) is not None})

    def _active(self, raw: Mapping[str, Any]) -> datetime | None:
        """Give when a human who is not one of our accounts last made, changed or commented on an issue."""
        given = raw.get("fields") or {}
        histories = (raw.get("changelog") or {}).get("histories") or ()
        comment = given.get("comment") or {}
        comments = comment.get("comments") or () if isinstance(comment, Mapping) else comment
        acts = [(given.get("creator"), given.get("created"))]
        acts += [(one.get("author"), one.get("created")) for one in histories]
        acts += [(one.get("author"), one.get("created")) for one in comments]
        times = [_when(at) for who, at in acts if self.person(who) is not None and not self.is_ours(who)]
        return max((at for at in times if at is not None), default=None)

    # --- changing ----------------------------------------------------------------------------------------------------

    @findable(visible_after="2m")
    async def create(self, draft: TicketDraft, *, effect: Effect) -> Ticket:
        """File an issue.

        Raises:
            ActionError: the project wants a field that is not given; the text names it and what it may be.
        """
        project = draft.project or self._options.project
        if project is None:
            raise ActionError(f"name a 'project': connection '{self._name}' has none of its own")
        wanted: dict[str, Any] = {
            "project": {"key": project},
            "issuetype": {"name": self._options.issue_type},
            "summary": draft.title,
            "labels": [*draft.labels, OURS + effect.token],
        }
        if draft.description:
            wanted["description"] = self._written(draft.description)
        if draft.assignee is not None:
            wanted["assignee"] = await self._user(draft.assignee)
        if draft.due is not None:
            wanted["duedate"] = draft.due.astimezone(self._zone).date().isoformat()
        wanted |= await self._more(project, {**self._options.fields, **draft.fields}, wanted)
        made = await self._call("POST", "/issue", {"fields": wanted})
        return self._filed(await self._issue(made["key"]), draft, effect)

    async def find(self, effect: Effect) -> Ticket | None:
        """Give the issue that this effect filed, as the issue itself says."""
        label = OURS + effect.token
        async for hit in self._search(f'labels = "{label}"'):
            raw = await self._issue(hit["key"])
            if label in raw["fields"].get("labels", ()):
                return self._filed(raw, None, effect)
        return None

    @idempotent
    async def update(self, ticket: str, changes: Mapping[str, Any], *, effect: Effect) -> Ticket:
        """Set title, description, labels, assignee and due date."""
        key = self._ref(ticket)
        wanted: dict[str, Any] = {}
        for name, value in changes.items():
            wanted |= await self._change(key, name, value)
        await self._call("PUT", f"/issue/{key}", {"fields": wanted})
        return self._told("ticket.updated", await self._issue(key), effect)

    @idempotent
    async def comment(self, ticket: str, text: str, *, effect: Effect) -> Ticket:
        """Comment, unless the same comment of ours is there already."""
        key = self._ref(ticket)
        await self._say(key, text, effect)
        return self._told("ticket.commented", await self._issue(key), effect)

    @idempotent
    async def close(self, ticket: str, *, comment: str | None, effect: Effect) -> Ticket:
        """Move it into a status of the category Done. One that is there already keeps its status."""
        return await self._turn(ticket, comment, effect, done=True)

    @idempotent
    async def reopen(self, ticket: str, *, comment: str | None, effect: Effect) -> Ticket:
        """Move it out of the category Done. One that is open already keeps its status."""
        return await self._turn(ticket, comment, effect, done=False)

    async def _turn(self, ticket: str, comment: str | None, effect: Effect, *, done: bool) -> Ticket:
        key = self._ref(ticket)
        if comment:
            await self._say(key, comment, effect)
        raw = await self._issue(key)
        if _is_done(raw["fields"]["status"]) is not done:
            await self._call("POST", f"/issue/{key}/transitions", {"transition": await self._transition(key, done)})
            raw = await self._issue(key)
        return self._told("ticket.closed" if done else "ticket.reopened", raw, effect)

    async def _transition(self, key: str, done: bool) -> dict[str, str]:
        answer = await self._call("GET", f"/issue/{key}/transitions")
        name = self._options.closed if done else self._options.reopened
        listed = [one for one in answer.get("transitions", ()) if isinstance(one.get("to"), Mapping)]
        for one in listed:
            if one["to"].get("name", "").casefold() == name.casefold() if name else _is_done(one["to"]) is done:
                return {"id": str(one["id"])}
        there = ", ".join(f"'{one['to'].get('name')}'" for one in listed) or "none"
        raise ActionError(
            f"no transition leads {key} to {name or ('Done' if done else 'an open status')}; there are {there}"
        )

    async def _change(self, key: str, name: str, value: Any) -> dict[str, Any]:
        match name:
            case "title":
                return {"summary": value}
            case "description":
                return {"description": self._written(value)}
            case "due":
                return {"duedate": value.astimezone(self._zone).date().isoformat() if value else None}
            case "assignee":
                return {"assignee": await self._user(value) if value else None}
            case "labels":
                there = (await self._issue(key))["fields"].get("labels", ())
                return {"labels": [*value, *(label for label in there if label.startswith(OURS))]}
            case _:
                raise ActionError(f"Jira does not keep '{name}' of a ticket, or does not let it be set")

    async def _say(self, key: str, text: str, effect: Effect) -> None:
        body = self._written(text)
        me = _account(await self._who())
        answer = await self._call("GET", f"/issue/{key}/comment", query={"orderBy": "-created", "maxResults": "50"})
        for one in answer.get("comments", ()):
            at = _when(one.get("created"))
            later = at is not None and at >= effect.at - timedelta(minutes=1)
            if later and _account(one.get("author") or {}) == me and read_text(one.get("body")) == read_text(body):
                return
        await self._call("POST", f"/issue/{key}/comment", {"body": body})

    def _written(self, markdown: str) -> Any:
        return written_text(markdown, cloud=self._cloud)

    async def _user(self, person: Person) -> dict[str, str]:
        """Give the reference to somebody: by `ids: {jira: …}`, else by e-mail address."""
        kind = "accountId" if self._cloud else "name"
        if (known := person.ids.get("jira")) is not None:
            return {kind: known}
        if person.email is None:
            raise unreachable(person, "jira")
        query = {"query" if self._cloud else "username": person.email}
        found = await self._call("GET", "/user/search", query=query)
        same = [one for one in found if str(one.get("emailAddress", "")).casefold() == person.email.casefold()]
        for one in same or (found if len(found) == 1 else ()):  # Cloud hides addresses, and finds by them all the same
            if (account := _text(one.get(kind))) is not None:
                return {kind: account}
        raise ActionError(f"Jira knows nobody with the e-mail address of {person.name}: add 'ids: {{jira: …}}'")

    # --- the fields that a project wants -----------------------------------------------------------------------------

    async def _more(self, project: str, given: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Give the fields beyond Jira's own, by id and in its form; a required one that is missing is told."""
        screen = await self._screen(project)
        if screen is None:  # Jira itself refuses what is wrong
            return dict(given)
        by_name = {name: field for field in screen for name in (field.id, field.name.casefold())}
        found: dict[str, Any] = {}
        for name, value in given.items():
            field = by_name.get(name) or by_name.get(name.casefold())
            if field is None:
                names = ", ".join(f"'{one.name}'" for one in screen if one.id not in _KNOWN_FIELDS)
                raise ActionError(f"{self._options.issue_type} of {project} has no field '{name}'; there are {names}")
            found[field.id] = _in_form(field, value)
        for field in screen:
            if field.required and field.id not in found and field.id not in wanted and field.id not in _KNOWN_FIELDS:
                may = f": one of {', '.join(field.allowed[:20])}" if field.allowed else ""
                raise ActionError(
                    f"{project} wants '{field.name}' for a {self._options.issue_type}{may}; "
                    f"set it under 'fields' of connection '{self._name}'"
                )
        return found

    async def _screen(self, project: str) -> Sequence[_Wanted] | None:
        """Give the fields of a new issue; None where Jira does not say (Data Center before 8.4, no such project)."""
        kept = self._metadata.get((project, self._options.issue_type))
        if kept is not None and self._clock.now() - kept[0] < _METADATA_LASTS:
            return kept[1]
        path = f"/issue/createmeta/{quote(project, safe='')}/issuetypes"
        if await self._rest.get(self._base + path) is None:
            return None
        types = [one async for one in self._pages(path, ("issueTypes", "values"))]
        kind = next((one for one in types if one.get("name") == self._options.issue_type), None)
        if kind is None:
            names = ", ".join(f"'{one.get('name')}'" for one in types) or "none that we may file"
            raise ActionError(f"project {project} has no issue type '{self._options.issue_type}'; there are {names}")
        screen = [_wanted(one) async for one in self._pages(f"{path}/{kind['id']}", ("fields", "values"))]
        self._metadata[project, self._options.issue_type] = (self._clock.now(), screen)
        return screen

    # --- reading -----------------------------------------------------------------------------------------------------

    async def get(self, ticket: str) -> Ticket | None:
        """Read it fresh, with when a human last touched it; None where Jira has none."""
        await self._who()
        query = {"fields": _READ, "expand": "changelog"}
        raw = await self._rest.get(f"{self._base}/issue/{self._ref(ticket)}", query)
        return self._record(raw) if raw else None

    async def search(self, where: Where, query: str | None) -> Sequence[Ticket]:
        """Give the tickets that fit, newest first; `query` is JQL."""
        await self._who()
        conditions = [f"({query})"] if query else []
        conditions += [f'labels = "{_quoted(label)}"' for label in where.labels]
        if where.done is not None:
            conditions.append(f"statusCategory {'=' if where.done else '!='} Done")
        if where.project is not None:
            conditions.append(f'project = "{_quoted(where.project)}"')
        if where.assignee is not None:
            person = self._people.person(where.assignee)
            account = (await self._user(person)).popitem()[1] if person is not None else where.assignee
            conditions.append(f'assignee = "{_quoted(account)}"')
        if where.idle_since is not None:
            conditions.append(f'created <= "{await self._minute(where.idle_since + timedelta(minutes=1))}"')
        jql = " AND ".join(conditions) + " ORDER BY created DESC"
        found = [self._record(raw) async for raw in self._search(jql.strip(), expand="changelog")]
        return [one for one in found if self._fits(one, where)]

    def _fits(self, ticket: Ticket, where: Where) -> bool:
        if where.team is not None and (ticket.assignee is None or ticket.assignee.team != where.team):
            return False
        last = ticket.active_at or ticket.created_at
        return where.idle_since is None or last is None or last <= where.idle_since

    async def changes(self, cursor: str | None) -> Changes:
        """Give what changed since a cursor: the newest change that was seen. The first look takes stock of nothing.

        JQL counts in minutes, so the minute of the newest is asked for again; a fact's id tells what was seen.
        """
        await self._who()
        if cursor is None:
            return Changes((), self._clock.now().astimezone(UTC).isoformat())
        since = datetime.fromisoformat(cursor)
        jql = f'updated >= "{await self._minute(since)}" ORDER BY updated ASC'
        facts, newest = [], since
        async for raw in self._search(jql, expand="changelog"):
            at = _when(raw["fields"].get("updated")) or since
            if at >= since:
                facts.append(self._fact("ticket.updated", raw, at, id=f"{raw['id']}/{at.isoformat()}"))
            newest = max(newest, at)
        return Changes(facts, newest.isoformat())

    def _fact(self, event: str, raw: Mapping[str, Any], at: datetime, *, id: str) -> Fact:
        known = self.read(raw) | {"active_at": self._active(raw)}
        return Fact(event, at, "ticket", known.pop("id"), known, id=id)

    # --- requests ----------------------------------------------------------------------------------------------------

    def _filed(self, raw: Mapping[str, Any], draft: TicketDraft | None, effect: Effect) -> Ticket:
        """Tell of a new issue, with what Jira does not keep of the draft."""
        names = ("incident", "document", "service", "team")
        more = {name: getattr(draft, name) for name in names if draft is not None and getattr(draft, name) is not None}
        return self._told("ticket.created", raw, effect, **more)

    def _told(self, event: str, raw: Mapping[str, Any], effect: Effect, **more: Any) -> Ticket:
        """Give the ticket, and let the next step see what the effect changed."""
        known = self.read(raw) | more
        subject = known.pop("id")
        if effect.actor is not None:
            known["active_at"] = effect.at
        own = effect.actor is None
        effect.emit(self._name, Fact(event, effect.at, "ticket", subject, known, actor=effect.actor, own=own))
        return self._record(raw, **more)

    def _ref(self, ticket: str) -> str:
        owner, _, key = ticket.strip().rpartition(":")
        if owner not in ("", self._name):
            raise ActionError(f"'{ticket}' is kept by connection '{owner}', not by '{self._name}'")
        return quote(key, safe="")

    async def _who(self) -> Mapping[str, Any]:
        """Give the account that asks; it is read once."""
        async with self._asking_who:
            if self._myself is None:
                self._myself = await self._call("GET", "/myself")
        return self._myself or {}

    async def _minute(self, at: datetime) -> str:
        """Give an instant as JQL takes it: to the minute, in the zone of the account that asks."""
        zone = str((await self._who()).get("timeZone") or "UTC")
        return at.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")

    async def _issue(self, key: Any) -> Mapping[str, Any]:
        found: Mapping[str, Any] = await self._call("GET", f"/issue/{key}", query={"fields": _READ})
        return found

    async def _search(self, jql: str, *, expand: str | None = None) -> AsyncIterator[Mapping[str, Any]]:
        """Yield issues, a page at a time: by tokens on Cloud, by counting on Data Center."""
        query = {"jql": jql, "fields": _READ, "maxResults": str(_PAGE)} | ({"expand": expand} if expand else {})
        if not self._cloud:
            async for one in self._pages("/search", ("issues",), query):
                yield one
            return
        while True:
            page = await self._call("GET", "/search/jql", query=query)
            for one in page.get("issues") or ():
                yield one
            token = page.get("nextPageToken")
            if page.get("isLast", token is None) or not token or token == query.get("nextPageToken"):
                return
            query["nextPageToken"] = token

    async def _pages(
        self, path: str, keys: Iterable[str], query: Mapping[str, str] | None = None
    ) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the items of a list that is paged by `startAt`; `keys` are the names it may stand under."""
        start = 0
        while True:
            asked = {"maxResults": str(_PAGE), **(query or {}), "startAt": str(start)}
            page = await self._call("GET", path, query=asked)
            items: list[Any] = next((page[key] for key in keys if isinstance(page.get(key), list)), [])
            for one in items:
                yield one
            start += len(items)
            if not items or start >= page.get("total", start) or page.get("isLast") is True:
                return

    async def _call(self, method: str, path: str, body: Any = None, *, query: Mapping[str, str] | None = None) -> Any:
        return await self._rest.call(method, self._base + path, query=query, body=body)


# --- the pieces of an issue ------------------------------------------------------------------------------------------


def _status(jira: Jira, raw: Any) -> dict[str, Any]:
    return {"done": _is_done(raw)} if isinstance(raw, Mapping) else {}


def _labels(jira: Jira, raw: Any) -> dict[str, Any]:
    listed = raw if isinstance(raw, list) else ()
    return {"labels": tuple(one for one in listed if isinstance(one, str) and not one.startswith(OURS))}


def _project(jira: Jira, raw: Any) -> dict[str, Any]:
    return {"project": _text(raw.get("key"))} if isinstance(raw, Mapping) else {}


def _due(jira: Jira, raw: Any) -> dict[str, Any]:
    if raw is None:
        return {"due": None}
    try:
        return {"due": datetime.combine(date.fromisoformat(str(raw)), _END_OF_DAY, jira._zone).astimezone(UTC)}
    except ValueError:
        raise ValueError(f"the 'duedate' of Jira's issue must be a date such as 2026-03-02, not '{raw}'") from None


_READERS: Mapping[str, Any] = {
    "summary": lambda jira, raw: {"title": _text(raw)} if _text(raw) else {},
    "description": lambda jira, raw: {"description": read_text(raw) or None},
    "status": _status,
    "labels": _labels,
    "project": _project,
    "assignee": lambda jira, raw: {"assignee": jira.person(raw)},
    "duedate": _due,
    "created": lambda jira, raw: {"created_at": _instant(raw)},
    "resolutiondate": lambda jira, raw: {"closed_at": _instant(raw)},
}


def _credentials(options: JiraOptions) -> dict[str, str]:
    if options.user is None:
        return {"Authorization": f"Bearer {options.token}"}
    pair = b64encode(f"{options.user}:{options.token}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def _account(raw: Mapping[str, Any]) -> str | None:
    return _text(raw.get("accountId")) or _text(raw.get("name"))


def _is_done(status: Mapping[str, Any]) -> bool:
    category = status.get("statusCategory")
    return isinstance(category, Mapping) and category.get("key") == "done"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _instant(value: Any) -> datetime | None:
    """Read Jira's times, `2026-03-02T09:00:00.000+0100`.

    Raises:
        ValueError: it is none.
    """
    if value is None:
        return None
    try:
        return datetime.fromisoformat(re.sub(r"([+-]\d{2})(\d{2})$", r"\1:\2", str(value))).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"a time of Jira must be such as 2026-03-02T09:00:00.000+0100, not '{value}'") from None


def _when(value: Any) -> datetime | None:
    """Read a time that need not be there; None where it is none."""
    try:
        return _instant(value)
    except ValueError:
        return None


def _quoted(text: str) -> str:
    """Give a text as it stands between quotes in JQL."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _wanted(raw: Mapping[str, Any]) -> _Wanted:
    schema = raw.get("schema") or {}
    allowed = tuple(str(one.get("value") or one.get("name")) for one in raw.get("allowedValues") or ())
    required = bool(raw.get("required")) and not raw.get("hasDefaultValue")
    id = str(raw.get("fieldId") or raw.get("key"))
    name = str(raw.get("name") or id)
    return _Wanted(id, name, required, str(schema.get("type", "")), str(schema.get("items", "")), allowed)


def _in_form(field: _Wanted, value: Any) -> Any:
    """Give a value as Jira takes it for a field: options by value, most other things by name.

    Raises:
        ActionError: it is not one of the values that the field allows.
    """
    if field.kind == "array":
        items = value if isinstance(value, list | tuple) else [value]
        return [_one_in_form(field, field.items, item) for item in items]
    return _one_in_form(field, field.kind, value)


def _one_in_form(field: _Wanted, kind: str, value: Any) -> Any:
    if field.allowed and isinstance(value, str) and value not in field.allowed:
        raise ActionError(f"'{field.name}' cannot be '{value}'; it is one of {', '.join(field.allowed[:20])}")
    if kind == "option" and isinstance(value, str):
        return {"value": value}
    if kind in ("component", "version", "priority", "group") and isinstance(value, str):
        return {"name": value}
    return value


JiraProvider = provider("jira", JiraOptions, serves=["ticket"], rate="300/min")(Jira)
