"""What people ask for in Slack: by `/incident`, by a button, in a modal, on a message.

The same commands stand behind all four. A command without its words opens a modal that asks for them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.domain import Incident, Person
from engine.plugins import ActionError, Connection, ConnectionBroken, Declined, Desk, Late, Received, RetryLater
from triggers.sources.slack_vendor import Vendor
from triggers.sources.slack_views import command_view, declare_view, entered, notice_view, origin_of

#: What is answered to a command that takes longer than Slack waits.
MOMENT = "One moment: this takes longer than usual. The answer comes here."
_MOST_ENTRIES = 15
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9]*-\d+", re.ASCII)
_MENTION = re.compile(r"<@([A-Z0-9]+)(?:\|[^>]*)?>", re.ASCII)
_DUE = re.compile(r"\d{4}-\d\d-\d\d|\d{1,4}(?:h|d|w|bd)", re.ASCII)
_STATUSES = {"acknowledged": "acknowledge", "mitigated": "mitigate", "resolved": "resolve"}


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for something, where, and how they are answered."""

    by: Person
    channel: str | None
    trigger: str | None = None
    url: str | None = None
    #: what the incident is called where it is not the channel's own
    incident: str | None = None
    #: what a request is known by when it comes twice
    once: str | None = None
    #: the address of what it is about
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """What was entered in a modal by the names of its fields, and what it was opened with."""

    given: Mapping[str, Any]
    origin: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Command:
    """A word after `/incident`: how it is written, what it does, and its words as inputs."""

    usage: str
    doc: str
    does: Callable[[Commands, Desk, Asked, Incident, Mapping[str, Any]], Awaitable[str]]
    read: Callable[[Commands, str], Mapping[str, Any]]
    asks: bool = True  #: whether a modal asks for words that are missing
    quiet: bool = False  #: whether only whoever asks sees the answer


@dataclass(frozen=True, slots=True)
class Commands:
    """Does what people of one workspace ask for."""

    vendor: Vendor
    connection: Connection
    word: str  #: the command itself: /incident
    severities: Sequence[str] = field(default=())

    # --- where it comes in -------------------------------------------------------------------------------------------

    async def typed(self, desk: Desk, asked: Asked, text: str) -> Received:
        """Do what was typed after the command; give the answer."""
        return Received(response=await self._guarded(self._typed(desk, asked, text)))

    async def pressed(self, desk: Desk, asked: Asked, name: str) -> Received:
        """Do what a button stands for. The answer goes to the address that came with it."""
        answer = await self._guarded(self._run(desk, asked, name, ""))
        if answer and asked.url is not None:
            await self._respond(asked.url, {**answer, "replace_original": False})
        return Received(response={})

    async def opened(self, asked: Asked) -> Received:
        """Show the modal that declares an incident."""
        answer = await self._guarded(self._declare(asked, ""))
        if answer and asked.url is not None:
            await self._respond(asked.url, answer)
        return Received(response={})

    async def taken(self, desk: Desk, asked: Asked, text: str) -> Received:
        """Make a message an action item."""
        answer = await self._guarded(self._run(desk, asked, "action", " ".join(text.split())[:300]))
        if answer and asked.url is not None:
            await self._respond(asked.url, {**answer, "replace_original": False})
        return Received(response={})

    def submission(self, view: Mapping[str, Any]) -> Submission:
        """Read what was entered in a modal.

        Raises:
            ValueError: it is not what Slack documents.
        """
        return Submission(entered(view), origin_of(view))

    async def submitted(self, desk: Desk, asked: Asked, name: str, submission: Submission) -> Received:
        """Do what was entered in a modal; what is wrong with it is shown in it."""
        given, origin = submission.given, submission.origin
        first = next(iter(given), "title")
        try:
            if name == "declare":
                return Received(
                    response={"response_action": "update", "view": await self._declared(desk, asked, given)}
                )
            asked = replace(asked, channel=_text(origin, "channel"), url=_text(origin, "url"))
            incident = self.connection.record.incident(str(origin.get("incident")))
            if incident is None:
                raise Declined("this incident is not there any more")
            answer = await self._answer(desk, asked, name, incident, self._of_modal(name, given))
        except _REFUSALS as error:
            return Received(response={"response_action": "errors", "errors": {first: _sentence(error)}})
        if asked.url is not None:
            await self._respond(asked.url, {**answer, "replace_original": False})
        return Received(response={})

    def late(self, asked: Asked) -> Late:
        """Give how whoever typed a command hears of it later."""

        async def tell(received: Received) -> None:
            if received.response and asked.url is not None:
                await self._respond(asked.url, received.response)

        return Late(self._only_you(MOMENT), tell)

    def late_view(self, view: str) -> Late:
        """Give how whoever submitted a modal hears of it later."""

        async def tell(received: Received) -> None:
            response = received.response or {}
            shown = response.get("view") or notice_view("Hotwash", _told(response))
            await self.vendor.update_view(view, shown)

        return Late({"response_action": "update", "view": notice_view("Hotwash", MOMENT)}, tell)

    # --- commands ----------------------------------------------------------------------------------------------------

    async def _typed(self, desk: Desk, asked: Asked, text: str) -> Mapping[str, Any]:
        name, _, rest = text.strip().partition(" ")
        name, rest = name.lower(), rest.strip()
        if name in ("", "declare", "new"):
            return await self._declare(asked, rest)
        if name == "help":
            return self._only_you(self._help())
        if name not in COMMANDS:
            raise Declined(self._unknown(name))
        return await self._run(desk, asked, name, rest)

    async def _run(self, desk: Desk, asked: Asked, name: str, rest: str) -> Mapping[str, Any]:
        command = COMMANDS[name]
        incident, rest = self._about(asked, name, rest)
        if rest == "" and command.asks:
            origin = {"channel": asked.channel, "url": asked.url}
            await self._open(asked, command_view(name, incident, self.severities, origin))
            return {}
        return await self._answer(desk, asked, name, incident, command.read(self, rest))

    async def _answer(
        self, desk: Desk, asked: Asked, name: str, incident: Incident, given: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Do it and give the answer, which everybody in the incident's own channel sees."""
        command = COMMANDS[name]
        text = self.vendor.shown(await command.does(self, desk, asked, incident, given))
        if command.quiet or asked.channel != incident.channel:
            return self._only_you(text)
        return {"response_type": "in_channel", "text": text}

    async def _declare(self, asked: Asked, title: str) -> Mapping[str, Any]:
        services = [service.name for service in self.connection.people.services()]
        await self._open(asked, declare_view(title, self.severities, services, {"channel": asked.channel}))
        return {}

    async def _declared(self, desk: Desk, asked: Asked, given: Mapping[str, Any]) -> Mapping[str, Any]:
        services = given.get("services") or [one for one in [given.get("service")] if one]
        done = await desk.perform(
            "declare_incident",
            asked.by,
            title=given.get("title"),
            severity=given.get("severity"),
            services=services or None,
            private="private" in (given.get("private") or []),
            summary=given.get("summary"),
            once=asked.once,
        )
        return notice_view("Declared", f"{done.message}.")

    async def update(self, desk: Desk, asked: Asked, incident: Incident, given: Mapping[str, Any]) -> str:
        """Say what is new, and how far it is."""
        text, operation = given.get("text"), _STATUSES.get(str(given.get("status")))
        if not text and operation is None:
            raise Declined("say what is new")
        if text:
            await self._note(desk, asked, incident, text)
        done = await desk.perform(f"{operation}_incident", asked.by, incident=incident.id) if operation else None
        return ". ".join(part for part in (f"{asked.by.name}: {text or ''}", done.message if done else "") if part)

    async def severity(self, desk: Desk, asked: Asked, incident: Incident, given: Mapping[str, Any]) -> str:
        """Set the severity."""
        wanted = str(given.get("severity"))
        wanted = next((one for one in self.severities if one.lower() == wanted.lower()), wanted)
        if self.severities and wanted not in self.severities:
            near = difflib.get_close_matches(wanted, self.severities, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(self.severities)}"
            raise Declined(f"no severity is called '{wanted}'; {hint}")
        done = await desk.perform("update_incident", asked.by, incident=incident.id, severity=wanted)
        return f"{asked.by.name}: {done.message}"

    async def role(self, desk: Desk, asked: Asked, incident: Incident, given: Mapping[str, Any]) -> str:
        """Give a role to somebody; by default to whoever asks."""
        role = re.sub(r"[\s-]+", "_", str(given.get("role") or "").strip().lower())
        to = given.get("person") or asked.by
        done = await desk.perform("assign_incident", asked.by, incident=incident.id, role=role, to=to)
        return done.message

    async def note(self, desk: Desk, asked: Asked, incident: Incident, given: Mapping[str, Any]) -> str:
        """Add a line to the timeline."""
        await self._note(desk, asked, incident, str(given.get("text")))
        return f"{asked.by.name} notes: {given.get('text')}"

    async def action(self, desk: Desk, asked: Asked, incident: Incident, given: Mapping[str, Any]) -> str:
        """File an action item."""
        where = asked.source or (self.vendor.link(asked.channel) if asked.channel else None)
        done = await desk.perform(
            "create_ticket",
            asked.by,
            title=given.get("text"),
            assignee=given.get("person"),
            due=given.get("due"),
            incident=incident.id,
            description=f"{asked.by.name} asked for it in Slack" + (f": {where}" if where else "."),
            once=asked.once,
        )
        return done.message

    async def resolve(self, desk: Desk, asked: Asked, incident: Incident, given: Mapping[str, Any]) -> str:
        """Say that it is over."""
        done = await desk.perform("resolve_incident", asked.by, incident=incident.id)
        if given.get("text"):
            await self._note(desk, asked, incident, given["text"])
        return f"{asked.by.name}: {done.message}" + (f". {given['text']}" if given.get("text") else "")

    async def reopen(self, desk: Desk, asked: Asked, incident: Incident, given: Mapping[str, Any]) -> str:
        """Say that it is not over after all."""
        done = await desk.perform("reopen_incident", asked.by, incident=incident.id)
        if given.get("text"):
            await self._note(desk, asked, incident, given["text"])
        return f"{asked.by.name}: {done.message}"

    async def timeline(self, desk: Desk, asked: Asked, incident: Incident, given: Mapping[str, Any]) -> str:
        """Show the last entries of the timeline."""
        entries = self.connection.record.timeline(incident)
        shown = [
            f"{entry.at:%m-%d %H:%M} UTC  {_line(entry.text)}{_by(entry.by)}" for entry in entries[-_MOST_ENTRIES:]
        ]
        more = f"{len(entries) - len(shown)} before these\n" if len(entries) > len(shown) else ""
        return f"{incident.key} {incident.title}\n{more}" + ("\n".join(shown) or "nothing has happened yet")

    async def _note(self, desk: Desk, asked: Asked, incident: Incident, text: str) -> Any:
        return await desk.perform("note_incident", asked.by, incident=incident.id, text=text)

    # --- words -------------------------------------------------------------------------------------------------------

    def words_of_update(self, rest: str) -> Mapping[str, Any]:
        """Read `[STATUS] TEXT`."""
        first, _, others = rest.partition(" ")
        if first.lower() in _STATUSES:
            return {"status": first.lower(), "text": others.strip()}
        return {"text": rest}

    def words_of_role(self, rest: str) -> Mapping[str, Any]:
        """Read `ROLE [@SOMEBODY]`."""
        words = rest.split()
        who = self._somebody(words[-1]) if len(words) > 1 else None
        return {"role": " ".join(words[:-1] if who is not None else words), "person": who}

    def words_of_action(self, rest: str) -> Mapping[str, Any]:
        """Read `TEXT [@OWNER] [DUE]`, the last two in any order."""
        words, found = rest.split(), dict[str, Any]()
        while len(words) > 1:
            last = words[-1]
            if "due" not in found and _DUE.fullmatch(last):
                found["due"] = last
            elif "person" not in found and (who := self._somebody(last)) is not None:
                found["person"] = who
            else:
                break
            words.pop()
        return {"text": " ".join(words), **found}

    def _of_modal(self, name: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        user = given.get("person")
        return {**given, "person": self.vendor.user(user)} if user is not None else given

    def _somebody(self, word: str) -> Person | None:
        """Give who is mentioned; None where the word mentions nobody.

        Raises:
            Declined: it names somebody who is not known.
        """
        mention = _MENTION.fullmatch(word)
        if mention is not None:
            return self.vendor.user(mention[1])
        if not word.startswith("@") or len(word) == 1:
            return None
        found = self.connection.people.person(word[1:])
        if found is None:
            raise Declined(f"nobody is known as '{word}': take a name of the roster, or let Slack complete it")
        return found

    def _about(self, asked: Asked, name: str, rest: str) -> tuple[Incident, str]:
        """Give the incident that a command is about, and what is left of its words.

        Raises:
            Declined: it names none that whoever asks may see here, or none at all.
        """
        record, here = self.connection.record, None
        if asked.incident is not None:
            here = record.incident(asked.incident)
        elif asked.channel is not None:
            here = record.incident_in(asked.channel)
        first, _, others = rest.partition(" ")
        named = record.incident(first) if first and (here is None or _KEY.fullmatch(first)) else None
        if named is not None and named.private and named.channel != asked.channel:
            named = None  # elsewhere it is as if it were not there
        if named is not None:
            return named, others.strip()
        if _KEY.fullmatch(first) and here is None:
            raise Declined(f"no incident is called '{first}'")
        if here is None:
            raise Declined(f"this is not the channel of an incident: name one, as in {self.word} {name} INC-7")
        return here, rest

    # --- answers -----------------------------------------------------------------------------------------------------

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, [*COMMANDS, "declare", "help"], 1)
        hint = f"did you mean {self.word} {near[0]}? " if near else ""
        return f"there is no {self.word} {name[:40]}: {hint}There are declare, {', '.join(COMMANDS)}, help."

    def _help(self) -> str:
        lines = [f"{self.word} — declare an incident"]
        lines += [f"{self.word} {command.usage} — {command.doc}" for command in COMMANDS.values()]
        lines.append("In the channel of an incident it is about that one; elsewhere name it: INC-7 after the word.")
        return self.vendor.shown("\n".join(lines))

    def _only_you(self, text: str) -> Mapping[str, Any]:
        return {"response_type": "ephemeral", "text": text}

    async def _guarded(self, work: Awaitable[Mapping[str, Any]]) -> Mapping[str, Any]:
        try:
            return await work
        except _REFUSALS as error:
            return self._only_you(self.vendor.shown(_sentence(error)))

    async def _open(self, asked: Asked, view: Mapping[str, Any]) -> None:
        if asked.trigger is None:
            raise Declined("Slack lets no window be opened from here")
        await self.vendor.open_view(asked.trigger, view)

    async def _respond(self, url: str, message: Mapping[str, Any]) -> None:
        try:
            await self.vendor.respond(url, message)
        except (ActionError, RetryLater, ConnectionBroken) as error:  # what was asked for is done all the same
            self.connection.say(f"an answer could not be shown in Slack: {error}")


_REFUSALS = (Declined, ActionError, RetryLater, ConnectionBroken)

#: Every word after the command, beside `declare` and `help`.
COMMANDS: Mapping[str, Command] = {
    "update": Command(
        "update [acknowledged|mitigated|resolved] TEXT", "say what is new", Commands.update, Commands.words_of_update
    ),
    "severity": Command("severity SEVERITY", "set the severity", Commands.severity, lambda _, rest: {"severity": rest}),
    "role": Command("role ROLE [@SOMEBODY]", "give out a role, or take it", Commands.role, Commands.words_of_role),
    "note": Command("note TEXT", "add a line to the timeline", Commands.note, lambda _, rest: {"text": rest}),
    "action": Command(
        "action TEXT [@OWNER] [2026-12-01|3d|5bd]", "file an action item", Commands.action, Commands.words_of_action
    ),
    "resolve": Command(
        "resolve [TEXT]", "say that it is over", Commands.resolve, lambda _, rest: {"text": rest}, asks=False
    ),
    "reopen": Command(
        "reopen [TEXT]", "say that it is not over", Commands.reopen, lambda _, rest: {"text": rest}, asks=False
    ),
    "timeline": Command(
        "timeline", "show what happened last", Commands.timeline, lambda _, rest: {}, asks=False, quiet=True
    ),
}


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}"


def _told(response: Mapping[str, Any]) -> str:
    """Give what a response to a modal says, for where it comes too late."""
    errors = response.get("errors") or {}
    return "\n".join(str(one) for one in errors.values()) or "It is done."


def _text(origin: Mapping[str, Any], name: str) -> str | None:
    value = origin.get(name)
    return value if isinstance(value, str) else None


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:199]}…"


def _by(person: Person | None) -> str:
    return f", {person.name}" if person is not None else ""
