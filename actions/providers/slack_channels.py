"""Slack's channels: opened, named, closed, with people, a topic, pins and bookmarks; and what was written in them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from actions.providers.naming import channel_names
from actions.providers.slack_people import UNKNOWN, SlackPeople
from actions.providers.slack_text import escaped_signs, read_text
from engine.capabilities import Attachment, Channel, Invited, Message, Said
from engine.domain import Person
from engine.plugins import ActionError, Connection, Effect, idempotent, native, tell_incident

CHANNELS = "channel/"
_PAGE = 1000  #: channels of one page, the most that Slack gives
_MOST_INVITED = 100  #: people of one invitation
_LONGEST_TOPIC = 250
#: How far the clocks of this machine and of Slack may be apart.
_SKEW = timedelta(minutes=1)
#: Threads that began no longer before a missed stretch are looked into for answers.
_THREADS = timedelta(days=30)
#: Why an invitation is tried again for each of several people.
_NOT_ALL = frozenset(
    {"slack-already_in_channel", "slack-cant_invite", "slack-cant_invite_self", "slack-invitee_cant_see_channel"}
    | {"slack-user_not_found", "slack-user_is_restricted", "slack-user_is_ultra_restricted", "slack-user_disabled"}
    | {"slack-users_not_found", "slack-ura_max_channels", "slack-user_team_not_in_channel"}
)
_THERE = frozenset({"slack-already_in_channel", "slack-cant_invite_self"})


class SlackChannels(SlackPeople):
    """Keep channels in one Slack workspace."""

    #: A channel's row says which effect opened it, so that no other one takes it for its own.
    forgets: ClassVar = {CHANNELS: "at"}

    def __init__(self, token: str, api: str, connection: Connection) -> None:
        super().__init__(token, api, connection)
        self._opened: dict[str, str] = {}  #: channels by id: the token of the effect, which may not be committed yet

    # --- channels ----------------------------------------------------------------------------------------------------

    @native
    async def create_channel(self, name: str, *, private: bool, incident: str | None, effect: Effect) -> Channel:
        """Open a channel; no name is given twice, so that doing it again after a lost answer gives the same channel."""
        for candidate in channel_names(name, effect.token):
            made = await self._made(candidate, private, effect)
            if made is not None:
                effect.save(
                    self._connection.name,
                    CHANNELS + made["id"],
                    {"effect": effect.token, "incident": incident, "at": effect.at.isoformat()},
                )
                channel = replace(await self._record(made), incident=incident)
                tell_incident(channel, effect)
                return channel
        raise ActionError(f"there are channels of the names that '{name}' gives already", code="slack-name_taken")

    @idempotent
    async def rename_channel(self, channel: str, name: str, *, effect: Effect) -> Channel:
        """Give a channel the first name that no other channel has."""
        there = await self._info(channel)
        names = list(channel_names(name, effect.token))
        if there["name"] in names:
            return await self._record(there)
        for candidate in names:
            try:
                answer = await self._web.call("conversations.rename", channel=there["id"], name=candidate)
            except ActionError as error:
                if error.code != "slack-name_taken":
                    raise
            else:
                return await self._record({**there, **answer.get("channel", {}), "name": candidate})
        raise ActionError(f"there are channels of the names that '{name}' gives already", code="slack-name_taken")

    @idempotent
    async def archive_channel(self, channel: str, *, effect: Effect) -> Channel:
        """Archive a channel."""
        there = await self._info(channel)
        try:
            await self._web.call("conversations.archive", channel=there["id"])
        except ActionError as error:
            if error.code != "slack-already_archived":
                raise
        return await self._record(there)

    @idempotent
    async def set_topic(self, channel: str, topic: str, *, effect: Effect) -> Channel:
        """Set a channel's topic; each change is a line in the channel, so the same one is not set again."""
        there = await self._info(channel)
        line = " ".join(topic.split())
        line = escaped_signs(line if len(line) <= _LONGEST_TOPIC else line[: _LONGEST_TOPIC - 1] + "…")
        if (there.get("topic") or {}).get("value") != line:
            await self._web.call("conversations.setTopic", channel=there["id"], topic=line)
        return await self._record(there)

    @idempotent
    async def invite(self, channel: str, people: Sequence[Person], *, effect: Effect) -> Invited:
        """Invite those who are not in a channel."""
        room, users, lost = await self._id_of(channel), dict[str, Person](), list[Person]()
        for person in people:
            try:
                users[await self._user(person)] = person
            except ActionError as error:
                if error.code not in UNKNOWN:
                    raise
                lost.append(person)
        there = {user async for user in self._web.pages("conversations.members", "members", channel=room)}
        missing = [user for user in users if user not in there]
        refused: set[str] = set()
        for at in range(0, len(missing), _MOST_INVITED):
            refused |= await self._invite(room, missing[at : at + _MOST_INVITED])
        lost += [users[user] for user in refused]
        return Invited(tuple(person for user, person in users.items() if user not in refused), tuple(lost))

    async def _invite(self, room: str, users: Sequence[str]) -> set[str]:
        """Invite users; give those whom Slack does not let in."""
        try:
            await self._web.call("conversations.invite", channel=room, users=",".join(users))
        except ActionError as error:
            if error.code not in _NOT_ALL:
                raise
            if len(users) == 1:
                return set() if error.code in _THERE else set(users)
            return {lost for user in users for lost in await self._invite(room, [user])}
        return set()

    @idempotent
    async def pin(self, message: str, *, effect: Effect) -> Message:
        """Pin a message."""
        room, ts = message_of(message)
        try:
            await self._web.call("pins.add", channel=room, timestamp=ts)
        except ActionError as error:
            if error.code != "slack-already_pinned":
                raise
        return Message(message)

    @idempotent
    async def bookmark(self, channel: str, title: str, url: str, *, effect: Effect) -> Channel:
        """Add a bookmark, or change the one that has its title."""
        there = await self._info(channel)
        kept = await self._web.call("bookmarks.list", channel_id=there["id"])
        same = next((one for one in kept.get("bookmarks") or () if one.get("title") == title), None)
        given = {"channel_id": there["id"], "title": title, "link": url}
        if same is None:
            await self._web.call("bookmarks.add", type="link", **given)
        elif same.get("link") != url:
            await self._web.call("bookmarks.edit", bookmark_id=same["id"], **given)
        return await self._record(there)

    async def _made(self, name: str, private: bool, effect: Effect) -> Mapping[str, Any] | None:
        """Give the channel of a name that this effect has opened, now or before its answer was lost; else None."""
        try:
            made: Mapping[str, Any] = (await self._web.call("conversations.create", name=name, is_private=private))[
                "channel"
            ]
        except ActionError as error:
            if error.code != "slack-name_taken":
                raise
            found = await self._named(name)
            if found is None or not await self._is_from(found, effect):
                return None
            made = found
        self._opened[made["id"]] = effect.token
        return made

    async def _is_from(self, channel: Mapping[str, Any], effect: Effect) -> bool:
        """Whether a channel is one that we opened since an effect began, and no other effect has."""
        row = self._connection.storage.get(CHANNELS + channel["id"])
        opener = row["effect"] if row is not None else self._opened.get(channel["id"], effect.token)
        if opener != effect.token or channel.get("creator") != (await self._web.ourselves()).get("user_id"):
            return False
        return bool(channel.get("created", 0) >= (effect.at - _SKEW).timestamp())

    async def _named(self, name: str) -> Mapping[str, Any] | None:
        """Give the channel of a name, also one that is archived."""
        kinds = "public_channel,private_channel"
        async for channel in self._web.pages("conversations.list", "channels", size=_PAGE, types=kinds):
            if channel.get("name") == name:
                found: Mapping[str, Any] = channel
                return found
        return None

    async def _id_of(self, channel: str) -> str:
        """Give the id of a channel that may be named."""
        if not channel.startswith("#"):
            return channel
        found = await self._named(channel.removeprefix("#"))
        if found is None:
            raise ActionError(f"Slack has no channel {channel} that the app can see", code="not-found")
        return str(found["id"])

    async def _info(self, channel: str) -> Mapping[str, Any]:
        answer = await self._web.call("conversations.info", channel=await self._id_of(channel))
        found: Mapping[str, Any] = answer["channel"]
        return found

    async def _record(self, raw: Mapping[str, Any]) -> Channel:
        await self._web.ourselves()
        return Channel(str(raw["id"]), str(raw["name"]), self.link(str(raw["id"])), bool(raw.get("is_private")))

    def link(self, message: str, thread: str | None = None) -> str | None:
        """Give the address of a channel or a message by its id; None before the workspace's own is known."""
        room, _, ts = message.partition("/")
        base = self._web.home
        if base is None:
            return None
        url = f"{base}archives/{room}" + (f"/p{ts.replace('.', '')}" if ts else "")
        return f"{url}?thread_ts={thread.partition('/')[2]}&cid={room}" if thread else url

    # --- what was written --------------------------------------------------------------------------------------------

    def read(self, raw: Mapping[str, Any], channel: str) -> Said:
        """Give what a message of a channel says, as history and events have it.

        Raises:
            ValueError: it is no message.
        """
        ts = raw.get("ts")
        at = instant(ts)
        if at is None:
            raise ValueError("a message of Slack must have 'ts', seconds since 1970")
        thread, edited = raw.get("thread_ts"), raw.get("edited")
        return Said(
            id=f"{channel}/{ts}",
            at=at,
            text=read_text(str(raw.get("text") or ""), self._name_of),
            by=self.user(raw.get("user"), raw.get("username")) or _app(raw),
            thread=f"{channel}/{thread}" if thread and thread != ts else None,
            edited_at=instant(edited.get("ts")) if isinstance(edited, Mapping) else None,
            files=tuple(_file(one) for one in _mappings(raw.get("files"))),
            reactions={
                str(one.get("name")): tuple(
                    who for user in _listed(one.get("users")) if (who := self.user(user)) is not None
                )
                for one in _mappings(raw.get("reactions"))
            },
            own=self._web.is_us(raw),
            pinned=channel in _listed(raw.get("pinned_to")),
            kind=str(raw.get("subtype") or ("bot_message" if raw.get("bot_id") else "message")),
        )

    async def history(self, channel: str, since: datetime) -> AsyncIterator[Said]:
        """Yield what was written in a channel since an instant, with the answers in threads that began before it.

        Threads that are a month older than that are not looked into.
        """
        room = await self._id_of(channel)
        await self._web.ourselves()
        first, wanted = seconds(since - _THREADS), seconds(since)
        async for raw in self._web.pages("conversations.history", "messages", channel=room, oldest=first):
            if raw["ts"] >= wanted:
                yield self.read(raw, room)
            if raw.get("reply_count") and str(raw.get("latest_reply") or wanted) >= wanted:
                async for answer in self._answers(room, raw["ts"], wanted):
                    yield answer

    async def pins(self, channel: str) -> Mapping[str, tuple[Person | None, datetime]]:
        """Give who pinned each message of a channel, and when; what we pinned ourselves is left out."""
        room = await self._id_of(channel)
        ourselves = (await self._web.ourselves()).get("user_id")
        pinned: dict[str, tuple[Person | None, datetime]] = {}
        for one in _mappings((await self._web.call("pins.list", channel=room)).get("items")):
            message, at, by = one.get("message"), instant(one.get("created")), one.get("created_by")
            if isinstance(message, Mapping) and at is not None and by != ourselves:
                pinned[f"{room}/{message.get('ts')}"] = self.user(by), at
        return pinned

    async def _answers(self, room: str, thread: str, since: str) -> AsyncIterator[Said]:
        pages = self._web.pages(
            "conversations.replies", "messages", channel=room, ts=thread, oldest=since, inclusive=True
        )
        async for raw in pages:
            if raw["ts"] >= since and raw["ts"] != thread:  # the message that began it is given each time
                yield self.read(raw, room)

    def _name_of(self, user: str) -> str | None:
        known = self.user(user)
        return known.name if known is not None else None


def _app(raw: Mapping[str, Any]) -> Person | None:
    """Give the app that a message is from, by the name that it shows."""
    profile, app = raw.get("bot_profile"), raw.get("bot_id")
    name = raw.get("username") or (profile.get("name") if isinstance(profile, Mapping) else None) or app
    return Person(f"slack:{app}", str(name), ids={"slack": app}) if isinstance(app, str) and app else None


def _file(raw: Mapping[str, Any]) -> Attachment:
    link = raw.get("permalink")
    return Attachment(str(raw.get("title") or raw.get("name") or "file"), link if isinstance(link, str) else None)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _mappings(value: Any) -> Sequence[Mapping[str, Any]]:
    return [one for one in _listed(value) if isinstance(one, Mapping)]


def message_of(message: str) -> tuple[str, str]:
    """Give the channel and the time stamp that name a message.

    Raises:
        ActionError: it is no id of a message.
    """
    room, _, ts = message.rpartition("/")
    if not room or instant(ts) is None:
        raise ActionError(f"'{message}' is no message of Slack: take it from 'steps.ID.id'", code="not-found")
    return room, ts


def instant(ts: Any) -> datetime | None:
    """Give the instant of a time stamp, seconds since 1970 as a text; None where it is none."""
    try:
        return datetime.fromtimestamp(float(ts), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def seconds(at: datetime) -> str:
    """Give an instant as Slack's time stamps have it."""
    return f"{at.timestamp():.6f}"
