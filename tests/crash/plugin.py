"""The recording providers of the crash test, as a project's plugin: each effect is one call of the recorder.

`Recorder` has a method of each effect class. It is also the chat's inbound adapter: an answer to a question comes in
by a signed webhook. The file is copied into the project, so it imports what a plugin may import.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace

import aiohttp

from engine.capabilities import Fact, Message
from engine.domain import Document, Person, Ticket
from engine.plugins import (
    ActionError,
    Effect,
    Options,
    Received,
    RetryLater,
    Secret,
    Unauthorized,
    at_most_once,
    findable,
    idempotent,
    native,
    provider,
    source,
)


class RecorderOptions(Options):
    url: str
    webhook_secret: Secret


class RecorderProvider:
    """Documents, tickets and a chat that live in another process."""

    def __init__(self, options, connection):
        self._url, self._clock, self._name = options.url, connection.clock, connection.name
        self._session = None

    async def aclose(self):
        if self._session is not None:
            await self._session.close()

    # --- findable: the service makes another one each time; what it made is seen a little later ---

    @findable(visible_after="0.6s")
    async def create(self, *args, effect: Effect, **more):
        """Make a document (title, text) or a ticket (a draft): the two capabilities name this method alike."""
        if isinstance(args[0], str):
            return self._document(await self._call("findable", "document", effect, args[0]))
        return self._ticket(await self._call("findable", "ticket", effect, args[0].title))

    async def find(self, effect: Effect):
        found = await self._post("/find", {"identity": effect.id})
        if found["object"] is None:
            return None
        return self._document(found) if found["what"] == "document" else self._ticket(found)

    # --- idempotent ---

    @idempotent
    async def update(self, ticket, changes, *, effect):
        return self._ticket(await self._call("idempotent", "update", effect, ticket, changes["title"]))

    # --- at most once ---

    @at_most_once
    async def comment(self, ticket, text, *, effect):
        return self._ticket(await self._call("at_most_once", "comment", effect, text))

    @at_most_once
    async def post(self, channel, text, *, thread, effect):
        return self._message(await self._call("at_most_once", "post", effect, text))

    # --- native: the service takes our id ---

    @native
    async def direct(self, person, text, *, effect):
        return self._message(await self._call("native", "direct", effect, text))

    @native
    async def ask(self, people, text, choices, *, effect):
        return self._message(await self._call("native", "ask", effect, text))

    # --- the calls ---

    async def _call(self, kind, what, effect, meaning, value=None):
        asked = {"kind": kind, "what": what, "identity": effect.id, "token": effect.token, "attempt": effect.attempt}
        said = {"meaning": meaning, "value": value}
        # on a scale that all processes share, so that the service can leave what nobody waits for any more
        times = {"sent": self._clock.now().timestamp(), "ticks": self._clock.monotonic()}
        return await self._post("/call", {**asked, **said, **times})

    async def _post(self, path, body):
        if self._session is None:
            self._session = aiohttp.ClientSession()
        try:
            async with self._session.post(self._url + path, json=body) as response:
                answer = await response.json()
        except aiohttp.ClientError as error:
            raise RetryLater(f"the connection broke: {error}", maybe_done=True) from None
        if response.status == 503:
            raise RetryLater("busy", after=float(response.headers["Retry-After"]))
        if response.status == 400:
            raise ActionError("refused")
        return answer

    def _ticket(self, answer):
        return Ticket(f"{self._name}:{answer['object']}", answer["object"], "recorded")

    def _document(self, answer):
        return Document(f"{self._name}:{answer['object']}", "recorded")

    def _message(self, answer):
        return Message(answer["object"])

    # both are part of what the engine may ask of a tracker; the crash test's workflows have no subjects of it

    async def get(self, ref):
        return None


class RecorderAnswers:
    """Take in answers to questions: a signed JSON object with `id`, `question` and `answer`."""

    def __init__(self, options, connection, provider):
        self._key = options.webhook_secret.encode()

    def authenticate(self, headers, body, now):
        given = headers.get("x-signature", "")
        if not hmac.compare_digest(given, hmac.new(self._key, body, hashlib.sha256).hexdigest()):
            raise Unauthorized("the signature is not ours")

    def read(self, headers, body, now):
        data = json.loads(body)
        ada = Person("ada", "Ada", email="ada@example.org")
        return Received([Fact("chat.answered", now, data=data, actor=ada, id=data["id"])])


class CrowdOptions(Options):
    pass


class Crowd:
    """People of the people file who take any number of messages a day."""

    def __init__(self, options, connection):
        people = connection.roster.people
        self._people = {key: replace(one, max_per_day=1_000_000, known=True) for key, one in people.items()}

    def person(self, key):
        return self._people.get(key)

    def join(self, person):
        return self._people.get(person.id, person)

    def people(self):
        return list(self._people.values())

    def team(self, key):
        return None

    service = team

    def teams(self):
        return []

    services = teams


Patient = provider("crowd", CrowdOptions, serves=("people",))(Crowd)
Recorder = provider("recorder", RecorderOptions, serves=("document", "ticket", "chat"))(RecorderProvider)
Answers = source("recorder", RecorderOptions, headers=())(RecorderAnswers)
