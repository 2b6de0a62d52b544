"""Slack: messages, direct messages and questions with buttons, through Slack's own client.

Every message carries the effect's identity in its metadata, so that after a crash it is looked for in the channel
before it is sent again. Slack allows about one message a second in a channel and answers 429 beyond.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from actions.providers.slack_text import buttons, escaped, fallback, sections
from engine.capabilities import Message
from engine.domain import Person
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
    provider,
    retry_after,
)

if TYPE_CHECKING:
    from slack_sdk.web.async_client import AsyncWebClient

QUESTIONS = "question/"
#: What a button's `action_id` begins with.
ANSWER = "hotwash-answer"
_METADATA = "hotwash_effect"
_TIMEOUT = 30
_MOST_ASKED = 8  #: people of one group conversation, ourselves left out
#: Errors of Slack that say: our credentials, or what they may do.
_BROKEN = frozenset(
    {
        "account_inactive",
        "ekm_access_denied",
        "invalid_auth",
        "missing_scope",
        "not_allowed_token_type",
        "not_authed",
        "org_login_required",
        "team_access_not_granted",
        "token_expired",
        "token_revoked",
    }
)
_PASSING = frozenset(
    {"fatal_error", "internal_error", "ratelimited", "request_timeout", "service_unavailable", "team_added_to_org"}
)
#: What people can do about an error, in a few words.
_ADVICE = {
    "not_in_channel": "invite the app to the channel",
    "channel_not_found": "there is no such channel, or it is private and the app is not in it",
    "is_archived": "the channel is archived",
}


class SlackOptions(Options):
    """How Slack is reached.

    Example:
        chat:
          provider: slack
          token: ${SLACK_BOT_TOKEN}
          signing_secret: ${SLACK_SIGNING_SECRET}
          channel: "#incidents"
    """

    token: Secret = Field(description="The bot's token, xoxb-….")
    channel: str | None = Field(
        default=None, description="The channel that messages without one go to: #name or an id."
    )
    api: str = Field(default="https://slack.com/api/", pattern=r"^https?://[^\s?#]+/$", description="Where the API is.")


class SlackChat:
    """Send messages and ask questions in one Slack workspace."""

    forgets: ClassVar = {QUESTIONS: "closed_at"}

    def __init__(self, options: SlackOptions, connection: Connection) -> None:
        self._options = options
        self._connection = connection
        self._web: AsyncWebClient | None = None
        self._users: dict[str, str] = {}  #: by e-mail address
        self._rooms: dict[str, str] = {}  #: conversations with people, by their users

    async def check(self) -> str | None:
        """Say what is wrong with the connection; None where it works."""
        await self._call("auth.test")
        return None

    async def aclose(self) -> None:
        """Close the client's session."""
        if self._web is not None and self._web.session is not None:
            await self._web.session.close()
        self._web = None

    # --- messages ----------------------------------------------------------------------------------------------------

    @findable(visible_after="10s")
    async def post(self, channel: str | None, text: str, *, thread: str | None, effect: Effect) -> Message:
        """Post to a channel, by its name or id; None is the connection's own."""
        return await self._send(self._channel(channel), text, effect, thread=thread)

    @findable(visible_after="10s")
    async def direct(self, person: Person, text: str, *, effect: Effect) -> Message:
        """Write to one person."""
        return await self._send(await self._room([person]), text, effect)

    @findable(visible_after="10s")
    async def ask(self, people: Sequence[Person], text: str, choices: Mapping[str, str], *, effect: Effect) -> Message:
        """Ask in a conversation with these people; each choice is a button."""
        room = await self._room(people)
        more = buttons(choices, effect.token, ANSWER)
        sent = await self._send(room, text, effect, more=more)
        effect.save(
            self._connection.name, QUESTIONS + effect.token, _question(effect, room, str(sent.id), text, choices)
        )
        return sent

    async def find(self, effect: Effect) -> Message | None:
        """Give the message that this effect sent, as its metadata says."""
        inputs = effect.inputs
        people = inputs.get("to")
        if people:
            room = await self._room(people if isinstance(people, list | tuple) else [people])
        else:
            room = await self._id_of(self._channel(inputs.get("channel")))
        async for message in self._since(room, inputs.get("thread"), effect.at - timedelta(minutes=1)):
            if ((message.get("metadata") or {}).get("event_payload") or {}).get("id") != effect.token:
                continue
            if "choices" in inputs:
                row = _question(effect, room, message["ts"], inputs["text"], inputs["choices"])
                effect.save(self._connection.name, QUESTIONS + effect.token, row)
            return await self._message(room, message["ts"])
        return None

    # --- questions ---------------------------------------------------------------------------------------------------

    def question(self, token: str) -> Mapping[str, Any] | None:
        """Give what is kept of a question by the token that its buttons carry."""
        return self._connection.storage.get(QUESTIONS + token)

    def closing(self, question: str, now: datetime, answer: Fact | None = None) -> tuple[str, Mapping[str, Any]]:
        """Give the key and row that close a question: with the answer that came in, or without one in time."""
        for key, row in self._connection.storage.rows(QUESTIONS):
            if row["id"] == question:
                by = answer.actor.name if answer is not None and answer.actor else None
                picked = answer.data["answer"] if answer is not None else None
                return key, {**row, "closed_at": now.isoformat(), "answer": picked, "by": by}
        raise ActionError(f"no question '{question}' is kept")

    async def closed(self, row: Mapping[str, Any]) -> None:
        """Take the buttons off a question that is closed, and say in their place who answered what."""
        picked, by = row.get("answer"), row.get("by")
        note = (
            f"{by}: {row['choices'].get(picked, picked)}" if picked and by else "Nobody waits for an answer any more."
        )
        blocks = [
            *sections(row["text"]),
            {"type": "context", "elements": [{"type": "mrkdwn", "text": escaped(note)}]},
        ]
        text = f"{fallback(row['text'])}\n{fallback(note)}"
        await self._call("chat.update", channel=row["room"], ts=row["ts"], text=text, blocks=blocks)

    # --- people and places -------------------------------------------------------------------------------------------

    def person(self, user: Any, name: Any = None) -> Person | None:
        """Give somebody by the id of a Slack user, joined with the roster by `ids: {slack: …}`."""
        if not isinstance(user, str) or not user:
            return None
        return self._connection.people.join(Person(f"slack:{user}", str(name or user), ids={"slack": user}))

    def _channel(self, channel: str | None) -> str:
        found = channel or self._options.channel
        if found is None:
            raise ActionError(f"name a 'channel': connection '{self._connection.name}' has none of its own")
        return found

    async def _room(self, people: Sequence[Any]) -> str:
        """Give the conversation with people, which is opened where there is none."""
        if len(people) > _MOST_ASKED:
            raise ActionError(f"Slack lets {_MOST_ASKED} people be asked at once, not {len(people)}: ask in a channel")
        users = ",".join(sorted([await self._user(person) for person in people]))
        if users not in self._rooms:
            self._rooms[users] = str((await self._call("conversations.open", users=users))["channel"]["id"])
        return self._rooms[users]

    async def _user(self, person: Person) -> str:
        if (known := person.ids.get("slack")) is not None:
            return known
        if person.email is None:
            raise ActionError(f"{person.name} has no e-mail address and no 'ids: {{slack: …}}' in the roster")
        if person.email not in self._users:
            found = await self._call("users.lookupByEmail", email=person.email)
            self._users[person.email] = str(found["user"]["id"])
        return self._users[person.email]

    # --- requests ----------------------------------------------------------------------------------------------------

    async def _send(
        self,
        room: str,
        text: str,
        effect: Effect,
        *,
        thread: str | None = None,
        more: Sequence[Mapping[str, Any]] = (),
    ) -> Message:
        sent = await self._call(
            "chat.postMessage",
            channel=room,
            text=fallback(text),
            blocks=[*sections(text), *more],
            metadata={"event_type": _METADATA, "event_payload": {"id": effect.token}},
            unfurl_links=False,
            unfurl_media=False,
            **({"thread_ts": thread.rpartition("/")[2]} if thread else {}),
        )
        return await self._message(str(sent["channel"]), str(sent["ts"]))

    async def _message(self, room: str, ts: str) -> Message:
        """Give a message with its address; one without an address is a message all the same."""
        try:
            url = (await self._call("chat.getPermalink", channel=room, message_ts=ts))["permalink"]
        except (ActionError, RetryLater):
            url = None
        return Message(f"{room}/{ts}", url)

    async def _since(self, room: str, thread: str | None, at: datetime) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the messages of a conversation, or under one of them, since an instant."""
        method = "conversations.replies" if thread else "conversations.history"
        asked: dict[str, Any] = {
            "channel": room,
            "oldest": f"{at.timestamp():.6f}",
            "limit": 200,
            "include_all_metadata": True,
            **({"ts": thread.rpartition("/")[2]} if thread else {}),
        }
        while True:
            page = await self._call(method, **asked)
            for message in page.get("messages") or ():
                yield message
            cursor = (page.get("response_metadata") or {}).get("next_cursor")
            if not cursor or cursor == asked.get("cursor"):
                return
            asked["cursor"] = cursor

    async def _id_of(self, room: str) -> str:
        """Give the id of a channel that is named: reading takes no names."""
        if not room.startswith("#"):
            return room
        cursor = ""
        while True:
            page = await self._call("conversations.list", limit=1000, exclude_archived=True, cursor=cursor)
            for channel in page.get("channels") or ():
                if channel.get("name") == room.removeprefix("#"):
                    return str(channel["id"])
            before, cursor = cursor, (page.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor or cursor == before:
                raise ActionError(f"Slack has no channel {room} that the app can see")

    async def _call(self, method: str, **inputs: Any) -> Mapping[str, Any]:
        """Call a method of the Web API.

        Raises:
            ActionError: Slack refuses what is asked.
            RetryLater: it cannot be reached, has trouble, or is asked too often.
            ConnectionBroken: it refuses the token, or the token lacks a scope.
        """
        import aiohttp
        from slack_sdk.errors import SlackApiError, SlackClientError

        try:
            answer = (
                await self._client().api_call(method, json=inputs)
                if _as_json(method)
                else await self._form(method, inputs)
            )
        except SlackApiError as error:
            raise self._refused(method, error) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise RetryLater(f"Slack cannot be reached: {type(error).__name__}") from None
        except TimeoutError:
            raise RetryLater(f"Slack gave no answer to {method} within {_TIMEOUT} seconds", maybe_done=True) from None
        except (aiohttp.ClientError, SlackClientError) as error:
            raise RetryLater(f"Slack broke off {method}: {type(error).__name__}", maybe_done=True) from None
        return answer.data if isinstance(answer.data, dict) else {}

    async def _form(self, method: str, inputs: Mapping[str, Any]) -> Any:
        given = {name: str(value).lower() if isinstance(value, bool) else value for name, value in inputs.items()}
        return await self._client().api_call(method, data={name: value for name, value in given.items() if value != ""})

    def _refused(self, method: str, error: Any) -> Exception:
        response = error.response
        data = response.data if isinstance(response.data, dict) else {}
        code = str(data.get("error") or response.status_code)
        said = f"Slack answered {method} with '{code}'" + (f": {_ADVICE[code]}" if code in _ADVICE else "")
        if code == "missing_scope":
            said += f": the app needs {data.get('needed')}; add it under OAuth & Permissions and install the app again"
        if code in _BROKEN:
            return ConnectionBroken(said)
        headers = {name.lower(): value for name, value in (response.headers or {}).items()}
        wait = retry_after(headers.get("retry-after"), self._connection.clock.now())
        if response.status_code == 429 or code == "ratelimited":
            return RetryLater(said, after=wait, too_often=True)
        if response.status_code >= 500 or code in _PASSING:
            return RetryLater(said, after=wait, maybe_done=True)
        return ActionError(said, code=f"slack-{code}")

    def _client(self) -> AsyncWebClient:
        if self._web is None:
            import aiohttp
            from slack_sdk.web.async_client import AsyncWebClient

            session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT), cookie_jar=aiohttp.DummyCookieJar()
            )
            self._web = AsyncWebClient(
                token=str(self._options.token),
                base_url=self._options.api,
                timeout=_TIMEOUT,
                session=session,
                retry_handlers=[],  # the executor's job
            )
        return self._web


def _as_json(method: str) -> bool:
    """Whether a method takes JSON: those that write do, those that read take forms only."""
    return method in ("chat.postMessage", "chat.update", "conversations.open")


def _question(effect: Effect, room: str, ts: str, text: str, choices: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": effect.id,
        "room": room,
        "ts": ts.rpartition("/")[2],
        "text": text,
        "choices": dict(choices),
        "at": effect.at.isoformat(),
        "workflow": effect.workflow,
        "run": effect.run,
    }


Slack = provider("slack", SlackOptions, serves=["chat"], rate="50/min")(SlackChat)
