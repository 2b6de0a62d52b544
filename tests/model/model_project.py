"""The project that the engine and the model both play: fifteen workflows, and the services that they reach."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from engine.capabilities import Message
from engine.domain import Document, Person
from engine.plugins import ActionError, Effect, RetryLater, at_most_once, findable, idempotent, native

#: How the next calls of a step end: not done and to be tried again, refused for good, done with the answer lost, or
#: neither done nor answered.
Fault = Literal["busy", "refused", "lost", "cut"]

PROJECT = """\
timezone: UTC
owner: grace
people: people.yaml
connections:
  once: {provider: console}
  native: {provider: console}
  idem: {provider: console}
  found: {provider: console}
  paper: {provider: markdown}
  files: {provider: markdown}
use: {document: files, chat: console}
calendars:
  tides: {hours: {mon-sun: "00:00-02:00, 04:00-06:00, 08:00-10:00, 12:00-14:00, 16:00-18:00, 20:00-22:00"}}
"""
PEOPLE = """\
people:
  ada: {name: Ada, email: ada@example.org}
  grace: {name: Grace, email: grace@example.org}
  mary: {name: Mary, email: mary@example.org, max_per_day: 100}
"""
#: How long it takes until what was made can be found.
VISIBLE_AFTER = timedelta(seconds=30)
RETRY = "retry: {max: 3, every: 5m, at_most: 1h}"
ABOUT_INCIDENT = '{text: "${{ incident.severity }}"}'

WORKFLOWS = {
    "linear": f"""
on: incident.declared
once_per: incident.id
steps:
  - {{id: lin_once, uses: chat.post, connection: once, {RETRY}, with: {ABOUT_INCIDENT}}}
  - id: lin_native
    uses: chat.post
    connection: native
    {RETRY}
    with: {ABOUT_INCIDENT}
    continue_on_error: true
  - {{id: lin_idem, uses: chat.post, connection: idem, {RETRY}, with: {ABOUT_INCIDENT}}}
  - {{id: lin_found, uses: chat.post, connection: found, {RETRY}, with: {ABOUT_INCIDENT}}}
""",
    "branch": f"""
on: [incident.declared, incident.reopened]
once_per: incident.id
if: incident.severity in ["sev1", "sev2"]
stop_when: incident.severity == "sev4"
steps:
  - {{id: bra_doc, uses: document.create, connection: paper, {RETRY}, with: {{title: a, text: a}}}}
  - {{id: bra_first, uses: chat.post, connection: once, {RETRY}, with: {ABOUT_INCIDENT}}}
  - wait: 1h
  - if: incident.severity == "sev1"
    steps:
      - {{id: bra_one, uses: chat.post, connection: idem, {RETRY}, with: {ABOUT_INCIDENT}}}
    else:
      - {{id: bra_other, uses: chat.post, connection: once, {RETRY}, with: {ABOUT_INCIDENT}}}
""",
    "settle": f"""
on: {{incident.resolved: {{for: 15m}}}}
once_per: incident.id
stop_when: incident.open
steps:
  - {{id: set_doc, uses: document.create, connection: files, {RETRY}, with: {{title: b, text: b}}}}
  - {{id: set_post, uses: chat.post, connection: native, {RETRY}, with: {ABOUT_INCIDENT}}}
  - id: set_draft
    wait: {{for: 2h, until: {{document.published: event.document.id == steps.set_doc.id}}}}
  - id: set_nudge
    if: steps.set_draft.timed_out
    uses: chat.post
    connection: once
    {RETRY}
    with: {ABOUT_INCIDENT}
    repeat: {{every: 30m, max: 3, until: {{document.published: event.document.id == steps.set_doc.id}}}}
""",
    "ask": f"""
on: incident.acknowledged
once_per: incident.id
steps:
  - id: ask_q
    uses: chat.ask
    connection: native
    timeout: 2h
    {RETRY}
    with: {{to: ada, text: "${{{{ incident.severity }}}}", choices: {{"yes": "Yes", "no": "No"}}}}
  - id: ask_no
    if: steps.ask_q.answer == "no"
    uses: chat.post
    connection: idem
    {RETRY}
    with: {ABOUT_INCIDENT}
  - {{id: ask_end, uses: chat.post, connection: once, {RETRY}, with: {ABOUT_INCIDENT}}}
""",
    "look": f"""
on: [ticket.created, ticket.reopened]
once_per: ticket.id
stop_when: ticket.done
steps:
  - {{id: loo_a, uses: chat.post, connection: idem, {RETRY}, with: {{text: begun}}}}
  - wait: 30m
  - {{id: loo_1, wait: {{for: 3h, until: {{document.published: event.document.title == ticket.key}}}}}}
  - id: loo_b
    uses: chat.post
    connection: native
    {RETRY}
    with: {{text: "${{{{ steps.loo_1.timed_out }}}}"}}
  - {{id: loo_2, wait: {{for: 1h, until: {{document.published: event.document.title == ticket.key}}}}}}
  - id: loo_c
    uses: chat.post
    connection: once
    {RETRY}
    with: {{text: "${{{{ steps.loo_2.timed_out }}}}"}}
""",
    "each": f"""
on: ticket.updated
steps:
  - for_each: '["a", "b", "c"]'
    steps:
      - {{id: eac_post, uses: chat.post, connection: once, {RETRY}, with: {{text: "${{{{ item }}}}"}}}}
      - if: item == "a"
        steps: [{{wait: 20m}}]
      - {{id: eac_again, uses: chat.post, connection: native, {RETRY}, with: {{text: "${{{{ item }}}}"}}}}
  - {{id: eac_end, uses: chat.post, connection: idem, {RETRY}, with: {{text: "${{{{ ticket.title }}}}"}}}}
""",
    "shared": f"""
on: incident.updated
steps:
  - {{id: sha_once, uses: chat.post, connection: once, {RETRY}, once_per: incident.id, with: {{text: shared}}}}
  - {{id: sha_end, uses: chat.post, connection: idem, {RETRY}, with: {ABOUT_INCIDENT}}}
""",
    "again": f"""
on: incident.mitigated
once_per: incident.id
steps:
  - repeat: {{every: 10m, max: 3, until: incident.severity == "sev3"}}
    steps:
      - {{id: aga_post, uses: chat.post, connection: once, {RETRY}, with: {ABOUT_INCIDENT}}}
  - {{id: aga_end, uses: chat.post, connection: found, {RETRY}, with: {ABOUT_INCIDENT}}}
""",
    "tide": f"""
on: [incident.declared, incident.mitigated]
once_per: incident.id
during: tides
stop_when: incident.severity == "sev4"
steps:
  - {{id: tid_once, uses: chat.post, connection: once, {RETRY}, with: {ABOUT_INCIDENT}}}
  - for_each: '["a", "b"]'
    steps:
      - if: item == "a"
        steps: [{{wait: 90m}}]
      - {{id: tid_each, uses: chat.post, connection: idem, {RETRY}, with: {{text: "${{{{ item }}}}"}}}}
  - {{id: tid_doc, uses: document.create, connection: files, {RETRY}, with: {{title: b, text: b}}}}
  - {{id: tid_end, uses: chat.post, connection: native, {RETRY}, with: {ABOUT_INCIDENT}}}
""",
    "turns": f"""
on: ticket.closed
if: ticket.title != "y"
concurrency: {{on_conflict: queue}}
steps:
  - {{id: tur_post, uses: chat.post, connection: idem, {RETRY}, with: {{text: "${{{{ ticket.title }}}}"}}}}
  - wait: 25m
  - {{id: tur_end, uses: chat.post, connection: once, {RETRY}, with: {{text: over}}}}
""",
    "instead": f"""
on: incident.resolved
once_per: event.id
concurrency: {{on_conflict: replace}}
steps:
  - {{id: ins_post, uses: chat.post, connection: native, {RETRY}, with: {ABOUT_INCIDENT}}}
  - wait: 45m
  - {{id: ins_end, uses: chat.post, connection: native, {RETRY}, with: {ABOUT_INCIDENT}}}
""",
    "alone": f"""
on: document.published
concurrency: {{key: document.id, on_conflict: skip}}
steps:
  - {{id: alo_post, uses: chat.post, connection: idem, {RETRY}, with: {{text: published}}}}
  - wait: 20m
  - {{id: alo_end, uses: chat.post, connection: native, {RETRY}, with: {{text: over}}}}
""",
    "caller": f"""
on: [incident.acknowledged, incident.reopened]
once_per: incident.id
stop_when: incident.severity == "sev4"
steps:
  - {{id: cal_post, uses: chat.post, connection: idem, {RETRY}, with: {{text: begun}}}}
  - {{id: cal_call, uses: workflow.callee, with: {{word: "${{{{ incident.severity }}}}"}}}}
  - id: cal_end
    uses: chat.post
    connection: native
    {RETRY}
    with: {{text: "${{{{ steps.cal_call.word }}}} ${{{{ steps.cal_call.stopped }}}}"}}
""",
    "callee": f"""
on: [incident.mitigated, manual]
if: false
stop_when: incident.severity == "sev3"
inputs: {{word: {{type: text, default: none}}}}
steps:
  - {{id: cee_post, uses: chat.post, connection: once, {RETRY}, with: {{text: "${{{{ inputs.word }}}}"}}}}
  - wait: 40m
  - {{id: cee_end, uses: chat.post, connection: found, {RETRY}, with: {ABOUT_INCIDENT}}}
outputs: {{word: "${{{{ inputs.word }}}}"}}
""",
    "letter": """
on: incident.updated
steps:
  - id: let_tell
    uses: chat.nudge
    connection: native
    with: {to: mary, text: "${{ event.id[4:] }}", digest: {window: 90m}}
""",
}
#: The workflow of the digests in which letters are told, and how long the first of each waits.
DIGESTS, WINDOW = "hotwash.digest", timedelta(minutes=90)
STEPS = re.findall(r"id: ([a-z]{3}_[a-z]+)", "".join(WORKFLOWS.values()))


def step_of(identity: str) -> str:
    """Give the id of the step that an identity belongs to."""
    parts = identity.split("/")
    step = parts[1] if parts[0] == "shared" and parts[1] == "sha_once" else parts[-1]
    return step.partition("[")[0].partition("#")[0]


class Services:
    """The world beyond the engine: it outlives every crash, and knows what was asked of it and what it made."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.made: Counter[str] = Counter()
        self.texts: defaultdict[str, set[str]] = defaultdict(set)
        self.notices: list[str] = []
        self.faults: dict[str, Fault] = {}
        self.hanging: Literal["before", "after"] | None = None  #: where calls stand still, and are cut off
        self.hung: set[str] = set()
        self.busy: set[str] = set()
        self.now: Callable[[], datetime] = lambda: datetime.min.replace(tzinfo=UTC)
        self.made_at: dict[str, datetime] = {}

    async def take(self, identity: str, text: str, *, once: bool) -> None:
        """Take a call in; `once` says that the service itself makes one thing for one identity."""
        assert identity not in self.busy, f"two calls of {identity} at the same time"
        self.busy.add(identity)
        try:
            self.calls[identity] += 1
            self.texts[identity].add(text)
            if self.hanging == "before":
                await self._hang(identity)
            fault = self.faults.get(step_of(identity))
            if self.hanging is None:
                _refuse(fault)
            self.made[identity] = 1 if once else self.made[identity] + 1
            self.made_at[identity] = self.now()
            if self.hanging == "after":
                await self._hang(identity)
            if fault == "lost":
                raise RetryLater("no answer", maybe_done=True)
        finally:
            self.busy.discard(identity)

    def shows(self, identity: str) -> bool:
        """Whether a search finds what was made: not before it has been there for a while."""
        fresh = self.made_at.get(identity)
        return self.made[identity] > 0 and (fresh is None or self.now() >= fresh + VISIBLE_AFTER)

    async def _hang(self, identity: str) -> None:
        self.hung.add(identity)
        try:
            await asyncio.Event().wait()
        finally:
            self.hung.discard(identity)


def _refuse(fault: Fault | None) -> None:
    if fault == "busy":
        raise RetryLater("busy")
    if fault == "refused":
        raise ActionError("refused")
    if fault == "cut":
        raise RetryLater("no answer", maybe_done=True)


class _Chat:
    """A chat; the class of its methods is that of the subclass."""

    once = False

    def __init__(self, services: Services) -> None:
        self.services = services

    async def _send(self, text: str, effect: Effect) -> Message:
        await self.services.take(effect.id, text, once=self.once)
        return Message(effect.token)


class OnceChat(_Chat):
    @at_most_once
    async def post(self, channel: str | None, text: str, *, thread: str | None, effect: Effect) -> Message:
        return await self._send(text, effect)


class NativeChat(_Chat):
    once = True

    @native
    async def post(self, channel: str | None, text: str, *, thread: str | None, effect: Effect) -> Message:
        return await self._send(text, effect)

    @native
    async def ask(self, people: Sequence[Person], text: str, choices: Mapping[str, str], *, effect: Effect) -> Message:
        return await self._send(text, effect)

    @native
    async def direct(self, person: Person, text: str, *, effect: Effect) -> Message:
        return await self._send(text, effect)


class IdempotentChat(_Chat):
    once = True

    @idempotent
    async def post(self, channel: str | None, text: str, *, thread: str | None, effect: Effect) -> Message:
        return await self._send(text, effect)


class FoundChat(_Chat):
    @findable(visible_after="30s")
    async def post(self, channel: str | None, text: str, *, thread: str | None, effect: Effect) -> Message:
        return await self._send(text, effect)

    async def find(self, effect: Effect) -> Message | None:
        return Message(effect.token) if self.services.shows(effect.id) else None


class OwnersChat(_Chat):
    """What the owner is told of failures comes in here."""

    @idempotent
    async def direct(self, person: Person, text: str, *, effect: Effect) -> Message:
        self.services.notices.append(effect.id)
        return Message("1")


class Paper:
    """Documents that are made at most once."""

    def __init__(self, services: Services) -> None:
        self.services = services

    async def _make(self, title: str, incident: str | None, effect: Effect) -> Document:
        await self.services.take(effect.id, title, once=False)
        return self._document(title, incident)

    def _document(self, title: str, incident: str | None) -> Document:
        return Document(f"docs:{str(incident).partition(':')[2]}", title)

    @at_most_once
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
        return await self._make(title, incident, effect)


class Files(Paper):
    """Documents that are found again."""

    @findable(visible_after="30s")
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
        return await self._make(title, incident, effect)

    async def find(self, effect: Effect) -> Document | None:
        return self._document("b", effect.subject) if self.services.shows(effect.id) else None


def providers(services: Services) -> dict[str, Any]:
    """Give the providers by connection."""
    return {
        "once": OnceChat(services),
        "native": NativeChat(services),
        "idem": IdempotentChat(services),
        "found": FoundChat(services),
        "console": OwnersChat(services),
        "paper": Paper(services),
        "files": Files(services),
    }


def write_project(folder: Path) -> None:
    """Write the project's files."""
    (folder / "workflows").mkdir()
    (folder / "hotwash.yaml").write_text(PROJECT)
    (folder / "people.yaml").write_text(PEOPLE)
    for name, text in WORKFLOWS.items():
        (folder / "workflows" / f"{name}.yaml").write_text(text)
