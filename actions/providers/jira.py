"""Jira: tickets, on Cloud (REST API version 3) and on Data Center (version 2).

What Jira's JSON means stands here; its source receives the webhooks with this. A ticket's id is Jira's own number,
which stays when an issue moves to another project. An issue that we made carries a label with the effect's identity,
because a label is what can be searched everywhere; `labels` leaves it out. Jira's search index lags behind.

It is asked by its documented REST API and not through the `jira` package: docs/decisions.md says why. That package
reads in the tests what this has written.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from actions.providers.jira_fields import INPUTS, Wanted, in_form, missing, named, wanted
from actions.providers.jira_text import read_text, written_text
from actions.providers.naming import unreachable
from actions.providers.rest import MOST_PAGES, Rest
from engine.capabilities import Changes, TicketDraft, Where
from engine.domain import Person, Ticket
from engine.plugins import (
    ActionError,
    Connection,
    ConnectionBroken,
    Effect,
    Fact,
    Field,
    Options,
    RetryLater,
    Secret,
    findable,
    idempotent,
    provider,
    tell_origin,
)

#: What a label that carries an identity begins with.
OURS = "hotwash-"
_READ = (
    "summary,description,status,labels,project,assignee,duedate,created,resolutiondate,statuscategorychangedate,"
    "creator,updated,comment"
)
_END_OF_DAY = time(23, 59, 59)
_PAGE = 100
_REMEDIES = {
    401: "make a new token for its account (Cloud: id.atlassian.com > Security > API tokens; Data Center: its profile) "
    "and put it into 'token'",
    403: "an administrator of Jira grants its account that permission, in the project's settings",
}
#: How long the fields that a project asks for are remembered.
_METADATA_LASTS = timedelta(minutes=10)
#: Jira's search may show a change so much later than it was made.
_LAG = timedelta(minutes=5)
#: After so many changes what follows is left to the next look.
_MOST_CHANGES = 5_000
_MINUTE = timedelta(minutes=1)
#: What every new issue is given, by the ids of Jira's fields.
_ALWAYS = frozenset({"summary", "issuetype", "project"})
#: What Hotwash keeps of a new ticket, and Jira does not.
_OF_DRAFT = ("incident", "document", "service", "team")
#: What an account needs in its project, by the key that Jira has for it.
_PERMISSIONS = (
    *("BROWSE_PROJECTS", "CREATE_ISSUES", "EDIT_ISSUES", "ASSIGN_ISSUES"),
    *("TRANSITION_ISSUES", "ADD_COMMENTS", "LINK_ISSUES"),
)
_ORDER = re.compile(r"(?:^|\s)order\s+by\s[^\"']*$", re.IGNORECASE)


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
    resolution: str | None = Field(
        default=None,
        description="The resolution that closing sets where Jira wants one; by default the first it allows.",
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


class Jira:
    """Keep tickets as issues of one Jira site."""

    announces = True

    #: What Jira knows of a ticket: reading it again says nothing about the rest.
    owns = frozenset(
        {"key", "title", "url", "done", "labels", "project", "assignee", "description", "due", "created_at"}
        | {"closed_at", "active_at", "provider"}
    )

    def __init__(self, options: JiraOptions, connection: Connection) -> None:
        self._options = options
        self._name = connection.name
        self._connection = connection
        self._people = connection.people
        self._clock = connection.clock
        self._zone = ZoneInfo(connection.zone)
        self._cloud = options.cloud
        headers = {"Accept": "application/json", **_credentials(options)}
        self._rest = Rest("Jira", connection, options.server, headers, remedies=_REMEDIES)
        self._base = f"/rest/api/{3 if self._cloud else 2}"
        self._myself: Mapping[str, Any] | None = None
        self._metadata: dict[tuple[str, str], tuple[datetime, Sequence[Wanted]]] = {}
        self._asking_who = asyncio.Lock()

    async def check(self) -> str | None:
        """Say what is wrong with the connection; None where it works."""
        await self._who()
        if (skewed := self._rest.skew()) is not None:
            return skewed
        project = self._options.project
        if project is None:
            return "it has no 'project', so every 'ticket.create' has to name one"
        if lacking := await self._not_granted(project):
            return (
                f"its account may not {', '.join(lacking)} in {project}: an administrator of the project can grant that"
            )
        screen = await self._screen(project)
        given = await self._in_form(project, screen or (), self._options.fields)
        lacking = missing(screen or (), given | dict.fromkeys((*_ALWAYS, *INPUTS, "labels"), ""), self._name)
        return f"{project} wants for a {self._options.issue_type} {'; '.join(lacking)}" if lacking else None

    async def _not_granted(self, project: str) -> list[str]:
        """Give the names of the permissions that our account lacks in a project."""
        asked = {"projectKey": project, "permissions": ",".join(_PERMISSIONS)}
        answer = await self._rest.get(f"{self._base}/mypermissions", asked) or {}
        found = answer.get("permissions") or {}
        known = [found[key] for key in _PERMISSIONS if key in found]  # Data Center gives all there are
        return [f"'{one.get('name')}'" for one in known if one.get("havePermission") is False]

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
        known = self.read(raw) | more
        known.setdefault("title", known["key"])
        return Ticket(**{one.name: known[one.name] for one in fields(Ticket) if known.get(one.name) is not None})

    # --- who last did something about it -----------------------------------------------------------------------------

    async def _active(self, raw: Mapping[str, Any]) -> datetime | None:
        """Give when a human who is not one of our accounts last made, changed or commented on an issue.

        Of a long history Jira gives the newest only: where no human is among those, it is asked for what was before. Of
        many comments it gives some, and does not say which: then it is asked for the newest.
        """
        given = raw.get("fields") or {}
        log, comments = raw.get("changelog") or {}, given.get("comment") or {}
        comments = comments if isinstance(comments, Mapping) else {"comments": comments}
        acts = [
            self._last([{"author": given.get("creator"), "created": given.get("created")}]),
            self._last(changes := log.get("histories") or ()),
            self._last(said := comments.get("comments") or ()),
        ]
        if acts[1] is None and int(log.get("total") or 0) > len(changes):
            acts.append(await self._last_change(raw["key"], int(log["total"]) - len(changes)))
        if int(comments.get("total") or 0) > len(said):
            acts.append(await self._last_comment(raw["key"]))
        return max((at for at in acts if at is not None), default=None)

    def _last(self, acts: Iterable[Mapping[str, Any]]) -> datetime | None:
        found = (_when(one.get("created")) for one in acts if self._is_humans(one.get("author")))
        return max((at for at in found if at is not None), default=None)

    def _is_humans(self, who: Any) -> bool:
        return self.person(who) is not None and not self.is_ours(who)

    async def _last_change(self, key: str, before: int) -> datetime | None:
        """Look through a change log, oldest first, from its `before`th entry back, a page at a time."""
        for _ in range(MOST_PAGES):
            start = max(0, before - _PAGE)
            query = {"startAt": str(start), "maxResults": str(before - start)}
            page = await self._call("GET", f"/issue/{key}/changelog", query=query)
            at = self._last(page.get("values") or ())
            if at is not None or start == 0:
                return at
            before = start
        return None

    async def _last_comment(self, key: str) -> datetime | None:
        query = {"orderBy": "-created"}
        async for one in self._pages(f"/issue/{key}/comment", ("comments",), query):
            if (at := self._last([one])) is not None:
                return at
        return None

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
        asked: dict[str, Any] = {
            "project": {"key": project},
            "issuetype": {"name": self._options.issue_type},
            "summary": draft.title,
            "labels": [*draft.labels, OURS + effect.token],
        }
        if draft.description:
            asked["description"] = self._written(draft.description)
        if draft.assignee is not None:
            asked["assignee"] = await self._user(draft.assignee)
        if draft.due is not None:
            asked["duedate"] = draft.due.astimezone(self._zone).date().isoformat()
        asked |= await self._more(project, {**self._options.fields, **draft.fields}, asked)
        made = await self._call("POST", "/issue", {"fields": asked})
        with _made():
            return await self._filed(made["key"], {name: getattr(draft, name) for name in _OF_DRAFT}, effect)

    async def find(self, effect: Effect) -> Ticket | None:
        """Give the issue that this effect filed, or commented on, as the issue itself says."""
        if "ticket" in effect.inputs:
            return await self._find_comment(effect)
        label = OURS + effect.token
        async for hit in self._search(f'labels = "{label}"'):
            raw = await self._rest.get(f"{self._base}/issue/{hit['key']}", {"fields": _READ})
            if raw and label in raw["fields"].get("labels", ()):
                about = {name: effect.inputs.get(name) for name in _OF_DRAFT}
                about["incident"] = about["incident"] or effect.incident
                return await self._filed(raw["key"], about, effect)
        return None

    async def _filed(self, key: str, about: Mapping[str, Any], effect: Effect) -> Ticket:
        """Link a new issue to what it comes of, and tell of it with what Jira does not keep of the draft."""
        for kind in ("document", "incident"):
            await self._link_to(key, kind, about.get(kind))
        more = {name: getattr(one, "id", one) for name, one in about.items() if one is not None}
        ticket = self._told("ticket.created", await self._issue(key), effect, **more)
        tell_origin(ticket, effect)
        return ticket

    async def _link_to(self, key: str, kind: str, ref: Any) -> None:
        """Let an issue link to a document or an incident; its id is the link's, so that there is one.

        An issue without the link is worth more than none: a refusal is said and no more.
        """
        record = self._connection.known(kind, ref) if isinstance(ref, str) else ref
        if record is None or not (record.url or "").startswith(("https://", "http://")):
            return
        link = {
            "globalId": f"hotwash/{record.id}"[:255],
            "application": {"type": "hotwash", "name": "Hotwash"},
            "relationship": kind,
            "object": {"url": record.url, "title": record.title},
        }
        try:
            await self._call("POST", f"/issue/{key}/remotelink", link)
        except (ActionError, ConnectionBroken) as error:
            self._connection.say(f"{key} is filed, and does not link to the {kind}: {error}")

    @idempotent
    async def update(self, ticket: str, changes: Mapping[str, Any], *, effect: Effect) -> Ticket:
        """Set title, description, labels, assignee and due date; `status` is reached by a transition."""
        key, changes = self._ref(ticket), dict(changes)
        status = changes.pop("status", None)
        asked: dict[str, Any] = {}
        for name, value in changes.items():
            asked |= await self._change(key, name, value)
        if asked:
            await self._call("PUT", f"/issue/{key}", {"fields": asked})
        raw = await self._issue(key)
        if status is not None and raw["fields"]["status"].get("name", "").casefold() != status.casefold():
            await self._move(key, status)
            raw = await self._issue(key)
        return self._told("ticket.updated", raw, effect)

    @findable(visible_after="10s")
    async def comment(self, ticket: str, text: str, *, effect: Effect) -> Ticket:
        """Comment."""
        key = self._ref(ticket)
        await self._call("POST", f"/issue/{key}/comment", {"body": self._written(text)})
        with _made():
            return self._told("ticket.commented", await self._issue(key), effect)

    async def _find_comment(self, effect: Effect) -> Ticket | None:
        ticket = effect.inputs["ticket"]
        key = self._ref(getattr(ticket, "id", ticket))
        if not await self._has_said(key, effect.inputs["text"], effect):
            return None
        return self._told("ticket.commented", await self._issue(key), effect)

    @idempotent
    async def link(self, ticket: str, other: str, relation: str, *, effect: Effect) -> Ticket:
        """Link two issues by the name of a link type, or by what it says in one direction or the other."""
        key, to = self._ref(ticket), self._ref(other)
        kind, outward = await self._link_type(relation)
        raw = await self._issue(key, "issuelinks")
        side = "outwardIssue" if outward else "inwardIssue"
        there = [one for one in raw["fields"].get("issuelinks") or () if one.get("type", {}).get("name") == kind]
        if not any(to in (one.get(side, {}).get("key"), one.get(side, {}).get("id")) for one in there):
            source, target = (key, to) if outward else (to, key)
            ends = {"inwardIssue": _issue_ref(source), "outwardIssue": _issue_ref(target)}
            await self._call("POST", "/issueLink", {"type": {"name": kind}, **ends})
        return self._told("ticket.updated", await self._issue(key), effect)

    async def _link_type(self, relation: str) -> tuple[str, bool]:
        """Give the name of a link type, and whether the link goes out from the ticket that is named first."""
        types = (await self._call("GET", "/issueLinkType")).get("issueLinkTypes") or ()
        for side in ("outward", "name", "inward"):
            for one in types:
                if str(one.get(side, "")).casefold() == relation.casefold():
                    return str(one["name"]), side != "inward"
        there = ", ".join(f"'{one.get('outward')}', '{one.get('inward')}'" for one in types) or "none"
        raise ActionError(f"Jira has no link '{relation}'; there are {there}")

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
        if comment and not await self._has_said(key, comment, effect):
            await self._call("POST", f"/issue/{key}/comment", {"body": self._written(comment)})
        raw = await self._issue(key)
        if _is_done(raw["fields"]["status"]) is not done:
            await self._move(key, self._options.closed if done else self._options.reopened, done=done)
            raw = await self._issue(key)
        return self._told("ticket.closed" if done else "ticket.reopened", raw, effect)

    async def _move(self, key: str, name: str | None, *, done: bool = False) -> None:
        """Take the transition of that name, or to the status of that name; without one, the first that fits `done`."""
        answer = await self._call("GET", f"/issue/{key}/transitions", query={"expand": "transitions.fields"})
        listed = [one for one in answer.get("transitions") or () if isinstance(one.get("to"), Mapping)]
        for one in listed:
            if name is None and _is_done(one["to"]) is not done:
                continue
            if name is None or name.casefold() in (_name(one).casefold(), _name(one["to"]).casefold()):
                body = {"transition": {"id": str(one["id"])}, **self._resolution(one)}
                await self._call("POST", f"/issue/{key}/transitions", body)
                return
        there = ", ".join(f"'{_name(one)}' (to '{_name(one['to'])}')" for one in listed) or "none"
        wanted_status = f"'{name}'" if name else "a status of the category Done" if done else "an open status"
        raise ActionError(f"no transition leads {key} to {wanted_status}; there are {there}")

    def _resolution(self, transition: Mapping[str, Any]) -> dict[str, Any]:
        """Give the resolution that a transition wants, or that the connection names where it takes one."""
        raw = (transition.get("fields") or {}).get("resolution")
        if not isinstance(raw, Mapping):
            return {}
        field = wanted({"key": "resolution", **raw})
        name = self._options.resolution or (field.allowed[0] if field.required and field.allowed else None)
        return {"fields": {"resolution": in_form(field, name, cloud=self._cloud)}} if name else {}

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

    async def _has_said(self, key: str, text: str, effect: Effect) -> bool:
        """Whether a comment of ours with this text has been made since the effect was written down."""
        body = self._written(text)
        me = _account(await self._who())
        path, query = f"{self._base}/issue/{key}/comment", {"orderBy": "-created", "maxResults": "50"}
        for one in (await self._rest.get(path, query) or {}).get("comments") or ():
            at = _when(one.get("created"))
            later = at is not None and at >= effect.at - _MINUTE
            if later and _account(one.get("author") or {}) == me and read_text(one.get("body")) == read_text(body):
                return True
        return False

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

    async def _more(self, project: str, given: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
        """Give the fields beyond Jira's own, by id and in its form; required ones that are missing are told."""
        screen = await self._screen(project)
        if screen is None:  # Jira itself refuses what is wrong
            return dict(given)
        found = await self._in_form(project, screen, given)
        if lacking := missing(screen, {**asked, **found}, self._name):
            raise ActionError(f"{project} wants for a {self._options.issue_type} {'; '.join(lacking)}")
        return found

    async def _in_form(self, project: str, screen: Sequence[Wanted], given: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in given.items():
            field = named(screen, name)
            if field is None:
                names = ", ".join(f"'{one.name}'" for one in screen if one.id not in _ALWAYS) or "none"
                raise ActionError(f"{self._options.issue_type} of {project} has no field '{name}'; there are {names}")
            found[field.id] = in_form(field, await self._people_in(field, value), cloud=self._cloud)
        return found

    async def _people_in(self, field: Wanted, value: Any) -> Any:
        """Give the value of a field that holds people by Jira's references to them."""
        if "user" not in (field.kind, field.items):
            return value
        if isinstance(value, list | tuple):
            return [await self._people_in(field, one) for one in value]
        person = self._people.person(value) if isinstance(value, str) else value
        return await self._user(person) if isinstance(person, Person) else value

    async def _screen(self, project: str) -> Sequence[Wanted] | None:
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
        screen = [wanted(one) async for one in self._pages(f"{path}/{kind['id']}", ("fields", "values"))]
        self._metadata[project, self._options.issue_type] = (self._clock.now(), screen)
        return screen

    # --- reading -----------------------------------------------------------------------------------------------------

    async def get(self, ticket: str) -> Ticket | None:
        """Read it fresh, with when a human last touched it; None where Jira has none."""
        await self._who()
        query = {"fields": _READ, "expand": "changelog"}
        raw = await self._rest.get(f"{self._base}/issue/{self._ref(ticket)}", query)
        return self._record(raw, active_at=await self._active(raw)) if raw else None

    async def search(self, where: Where, query: str | None) -> Sequence[Ticket]:
        """Give the tickets that fit, newest first or as `query`, which is JQL, orders them.

        Raises:
            ActionError: there are more than can be read, beside what Jira refuses.
        """
        await self._who()
        order = _ORDER.search(query) if query else None
        query = query[: order.start()].strip() if query and order else query
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
        if where.idle_since is not None:  # roughly: a local time is there twice where clocks are set back
            conditions.append(f'created <= "{await self._minute(where.idle_since + timedelta(hours=2))}"')
        conditions = conditions or ["created is not EMPTY"]  # Cloud wants one
        jql = " AND ".join(conditions) + " " + (order[0].strip() if order else "ORDER BY created DESC")
        found = []
        async for raw in self._search(jql, expand="changelog"):
            ticket = self._record(raw, active_at=await self._active(raw))
            if self._fits(ticket, where):
                found.append(ticket)
        return found

    def _fits(self, ticket: Ticket, where: Where) -> bool:
        if where.team is not None and (ticket.assignee is None or ticket.assignee.team != where.team):
            return False
        last = ticket.active_at or ticket.created_at
        return where.idle_since is None or last is None or last <= where.idle_since

    async def changes(self, cursor: str | None) -> Changes:
        """Give what changed since a cursor, an instant by Jira's clock. The first look takes stock of nothing.

        JQL counts in minutes and the index lags: the last minutes are asked for again each time, and a fact's id tells
        what was seen. An issue that changes while the pages are read moves to the end and others move up over the
        edge between two pages. So a list is read on from the minute of the last issue, not from the next page. Where
        one minute holds more than a page, and in the last minutes, whose order an index that lags does not tell, it is
        read until it shows nothing new.
        """
        await self._who()
        now = self._rest.there(self._clock.now().astimezone(UTC))
        if cursor is None:
            return Changes((), now.isoformat())
        since = datetime.fromisoformat(cursor)
        facts: dict[str, Fact] = {}
        start: datetime | None = since
        while start is not None:
            start = await self._read_from(start, since, now - _LAG, facts)
            if start is not None and len(facts) >= _MOST_CHANGES and _floor(start) > since:
                return Changes(list(facts.values()), max(since, min(_floor(start), now - _LAG)).isoformat())
        newest = max((fact.time for fact in facts.values()), default=since)
        return Changes(list(facts.values()), max(since, min(newest, now - _LAG)).isoformat())

    async def _read_from(
        self, start: datetime, since: datetime, firm: datetime, facts: dict[str, Fact]
    ) -> datetime | None:
        """Put what changed from a minute on among the facts; give where to read on, None where that was all.

        Up to `firm` the index is as the issues are.
        """
        known, several = len(facts), False
        jql = f'updated >= "{await self._minute(start)}" ORDER BY updated ASC'
        async for page, more in self._found(jql, "changelog"):
            edge, several = start, several or more
            for raw in page:
                at = _when(raw["fields"].get("updated")) or since
                id = f"{raw['id']}/{at.isoformat()}"
                if at >= since and id not in facts:
                    facts[id] = await self._fact("ticket.updated", raw, at, id=id)
                edge = max(edge, at) if at <= firm else edge
            if more and _floor(edge) > _floor(start):
                return edge
        return start if several and len(facts) > known else None

    async def _fact(self, event: str, raw: Mapping[str, Any], at: datetime, *, id: str) -> Fact:
        known = self.read(raw) | {"active_at": await self._active(raw)}
        return Fact(event, at, "ticket", known.pop("id"), known, id=id)

    # --- requests ----------------------------------------------------------------------------------------------------

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
        """Give an instant as JQL takes it: to the minute, in the zone of the account that asks.

        Of a local time that is there twice JQL means one, and does not say which: then it is one from before both.
        """
        zone = ZoneInfo(str((await self._who()).get("timeZone") or "UTC"))
        local = at.astimezone(zone)
        if local.fold == 0 and local.utcoffset() != local.replace(fold=1).utcoffset():
            local = (at - timedelta(hours=1)).astimezone(zone)
        return local.strftime("%Y-%m-%d %H:%M")

    async def _issue(self, key: Any, names: str = _READ) -> Mapping[str, Any]:
        found: Mapping[str, Any] = await self._call("GET", f"/issue/{key}", query={"fields": names})
        return found

    async def _search(self, jql: str, expand: str | None = None) -> AsyncIterator[Mapping[str, Any]]:
        async for page, _ in self._found(jql, expand):
            for one in page:
                yield one

    async def _found(self, jql: str, expand: str | None) -> AsyncIterator[tuple[Sequence[Mapping[str, Any]], bool]]:
        """Yield pages of issues, by tokens on Cloud, by counting on Data Center, and whether another page follows.

        Raises:
            ActionError: there are more than MOST_PAGES pages.
        """
        query = {"jql": jql, "fields": _READ, "maxResults": str(_PAGE)} | ({"expand": expand} if expand else {})
        if not self._cloud:
            async for found in self._paged("/search", ("issues",), query):
                yield found
            return
        for _ in range(MOST_PAGES):
            page = await self._call("GET", "/search/jql", query=query)
            token = page.get("nextPageToken")
            more = bool(token) and page.get("isLast") is not True and token != query.get("nextPageToken")
            yield page.get("issues") or (), more
            if not more:
                return
            query["nextPageToken"] = token
        raise _too_many("issues")

    async def _pages(
        self, path: str, keys: Sequence[str], query: Mapping[str, str] | None = None
    ) -> AsyncIterator[Mapping[str, Any]]:
        async for page, _ in self._paged(path, keys, query):
            for one in page:
                yield one

    async def _paged(
        self, path: str, keys: Sequence[str], query: Mapping[str, str] | None = None
    ) -> AsyncIterator[tuple[Sequence[Mapping[str, Any]], bool]]:
        """Yield the pages of a list that is paged by `startAt`, and whether another follows.

        Args:
            path: of the list.
            keys: the names that the items may stand under.
            query: what else is asked.

        Raises:
            ActionError: there are more than MOST_PAGES pages.
        """
        start = 0
        for _ in range(MOST_PAGES):
            asked = {"maxResults": str(_PAGE), **(query or {}), "startAt": str(start)}
            page = await self._call("GET", path, query=asked)
            items: list[Any] = next((page[key] for key in keys if isinstance(page.get(key), list)), [])
            start += len(items)
            more = bool(items) and start < page.get("total", start) and page.get("isLast") is not True
            yield items, more
            if not more:
                return
        raise _too_many(keys[0])

    async def _call(self, method: str, path: str, body: Any = None, *, query: Mapping[str, str] | None = None) -> Any:
        return await self._rest.call(method, self._base + path, query=query, body=body)


@contextmanager
def _made() -> Iterator[None]:
    """Let whatever fails after something was made say so: it is looked for then, and not made again."""
    try:
        yield
    except RetryLater as error:
        raise RetryLater(str(error), after=error.after, maybe_done=True, too_often=error.too_often) from None
    except (ActionError, ConnectionBroken) as error:
        raise RetryLater(f"it was made, and cannot be read: {error}", maybe_done=True) from None


def _too_many(what: str) -> ActionError:
    return ActionError(f"Jira lists more than {MOST_PAGES * _PAGE:,} {what}: say more narrowly what is meant")


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


def _name(raw: Mapping[str, Any]) -> str:
    return str(raw.get("name") or "")


def _issue_ref(ref: str) -> dict[str, str]:
    return {"id" if ref.isdigit() else "key": ref}


def _floor(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


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


JiraProvider = provider("jira", JiraOptions, serves=["ticket"], rate="300/min")(Jira)
