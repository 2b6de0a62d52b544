"""A small Slack workspace on this machine, with what its emulators cannot do: bad answers, and answers that are lost.

It keeps state and speaks as docs.slack.dev does. The app's bot is `UBOT`; its clock is the test's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

from aiohttp import web

from tests.fakes import MONDAY

BOT = "UBOT"


def user(key: str, name: str, email: str | None = None, **more: Any) -> dict[str, Any]:
    """Give a user as users.list has it."""
    return {"id": key, "name": name.lower(), "real_name": name, "profile": {"email": email}, **more}


def error(code: str, status: int = 200, *, headers: dict[str, str] | None = None, **more: Any) -> web.Response:
    """Give an answer that says what Slack refuses."""
    return web.json_response({"ok": False, "error": code, **more}, status=status, headers=headers)


class Refused(Exception):
    """What is asked cannot be done."""


class Workspace:
    """Keeps channels, messages, pins, bookmarks and users.

    `bad` answers the next calls of a method in the place of doing them. `hangs` counts down a method's calls: the one
    at nought is done, and its answer does not come until `go_on` is set.
    """

    def __init__(self, now: Any = lambda: MONDAY) -> None:
        self.now = now
        self.messages: dict[str, list[dict[str, Any]]] = {}
        self.channels: dict[str, dict[str, Any]] = {}
        self.pins: list[tuple[str, str]] = []
        self.pinned: dict[tuple[str, str], tuple[str, int]] = {}  #: by whom and when, where it was not the app
        self.bookmarks: dict[str, list[dict[str, Any]]] = {}
        self.users = [user("UADA", "Ada", "ada@example.com"), user("UGRACE", "Grace", "grace@example.com")]
        self.shown: list[dict[str, Any]] = []
        self.bad: dict[str, list[web.Response]] = {}
        self.calls: list[str] = []
        self.hangs: dict[str, int] = {}
        self.hung, self.go_on = asyncio.Event(), asyncio.Event()
        self.api = ""
        self.headers: dict[str, str] = {}  #: of every answer
        self.channel("incidents")

    def channel(self, name: str, creator: str = "UADA", **more: Any) -> dict[str, Any]:
        """Open a channel."""
        made = {"id": f"C{len(self.channels) + 1}", "name": name, "creator": creator, "created": self._seconds()}
        made |= {"is_private": False, "is_archived": False, "topic": {"value": ""}, "members": [creator], **more}
        self.channels[made["id"]] = made
        return made

    def writes(self, room: str, text: str, *, by: str = "UADA", thread: str | None = None, **more: Any) -> str:
        """Let somebody write a message; give its time stamp."""
        messages = self.messages.setdefault(room, [])
        ts = f"{self.now().timestamp() + len(messages) / 1000:.6f}"
        messages.append({"type": "message", "user": by, "text": text, "ts": ts, **more})
        if thread is not None:
            (first,) = [one for one in messages if one["ts"] == thread]
            first |= {"thread_ts": thread, "reply_count": first.get("reply_count", 0) + 1, "latest_reply": ts}
            messages[-1]["thread_ts"] = thread
        return ts

    def pin(self, room: str, ts: str, *, by: str) -> None:
        """Let somebody pin a message."""
        self.pins.append((room, ts))
        self.pinned[room, ts] = (by, self._seconds())

    async def handle(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        self.calls.append(method)
        if self.bad.get(method):
            return self.bad[method].pop(0)
        given = await request.json() if "json" in request.content_type else dict(await request.post())
        try:
            done = getattr(self, method.replace(".", "_"))(given)
        except Refused as refusal:
            return error(str(refusal))
        if method in self.hangs:
            self.hangs[method] -= 1
        if self.hangs.get(method) == -1:
            self.hung.set()
            await self.go_on.wait()
        date = formatdate(self.now().timestamp(), usegmt=True)
        return web.json_response({"ok": True, **done}, headers={"Date": date, **self.headers})

    def _seconds(self) -> int:
        return int(self.now().timestamp())

    # --- messages ----------------------------------------------------------------------------------------------------

    def auth_test(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"user_id": BOT, "bot_id": "BBOT", "url": "https://example.slack.com/"}

    def chat_postMessage(self, given: dict[str, Any]) -> dict[str, Any]:
        room = self._room(given["channel"])
        if self.channels.get(room, {}).get("is_archived"):
            raise Refused("is_archived")
        ts = self.writes(room, given["text"], by=BOT, thread=given.get("thread_ts"))
        self.messages[room][-1] |= {"blocks": given["blocks"], "metadata": given["metadata"]}
        return {"channel": room, "ts": ts}

    def chat_postEphemeral(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["user"] not in self._channel(given)["members"]:
            raise Refused("user_not_in_channel")
        self.shown.append(given)
        return {"message_ts": "1.000000"}

    def chat_update(self, given: dict[str, Any]) -> dict[str, Any]:
        found = [one for one in self.messages.get(given["channel"], []) if one["ts"] == given["ts"]]
        if not found:
            raise Refused("message_not_found")
        found[0].update({**given, "edited": {"user": BOT, "ts": f"{self.now().timestamp():.6f}"}})
        return {}

    def conversations_open(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"channel": {"id": f"D-{given['users']}"}}

    def conversations_history(self, given: dict[str, Any]) -> dict[str, Any]:
        kept = self.messages.get(given["channel"], [])
        first = [one for one in kept if one.get("thread_ts", one["ts"]) == one["ts"]]
        found = [one for one in first if one["ts"] > given["oldest"]]
        room = given["channel"]
        return self._page(
            [{**one, "pinned_to": [room]} if (room, one["ts"]) in self.pins else one for one in found], given
        )

    def conversations_replies(self, given: dict[str, Any]) -> dict[str, Any]:
        kept = self.messages.get(given["channel"], [])
        thread = [one for one in kept if given["ts"] in (one.get("thread_ts"), one["ts"])]
        return self._page([one for one in thread if one["ts"] > given["oldest"] or one["ts"] == given["ts"]], given)

    def _page(self, found: list[dict[str, Any]], given: dict[str, Any]) -> dict[str, Any]:
        """Give two messages at a time."""
        at = int(given.get("cursor") or 0)
        more = {"response_metadata": {"next_cursor": str(at + 2)}} if at + 2 < len(found) else {}
        return {"messages": found[at : at + 2], **more}

    # --- channels ----------------------------------------------------------------------------------------------------

    def _room(self, named: str) -> str:
        return next((one["id"] for one in self.channels.values() if named == f"#{one['name']}"), named)

    def _channel(self, given: dict[str, Any]) -> dict[str, Any]:
        found = self.channels.get(given.get("channel") or given.get("channel_id") or "")
        if found is None:
            raise Refused("channel_not_found")
        return found

    def _free(self, name: str) -> None:
        if any(one["name"] == name for one in self.channels.values()):
            raise Refused("name_taken")

    def conversations_create(self, given: dict[str, Any]) -> dict[str, Any]:
        self._free(given["name"])
        return {"channel": self.channel(given["name"], BOT, is_private=given["is_private"])}

    def conversations_list(self, given: dict[str, Any]) -> dict[str, Any]:
        """Give one channel at a time."""
        found, at = list(self.channels.values()), int(given.get("cursor") or 0)
        return {
            "channels": found[at : at + 1],
            "response_metadata": {"next_cursor": str(at + 1) if at + 1 < len(found) else ""},
        }

    def conversations_info(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"channel": self._channel(given)}

    def conversations_rename(self, given: dict[str, Any]) -> dict[str, Any]:
        self._free(given["name"])
        self._channel(given)["name"] = given["name"]
        return {"channel": self._channel(given)}

    def conversations_archive(self, given: dict[str, Any]) -> dict[str, Any]:
        if self._channel(given)["is_archived"]:
            raise Refused("already_archived")
        self._channel(given)["is_archived"] = True
        return {}

    def conversations_setTopic(self, given: dict[str, Any]) -> dict[str, Any]:
        self._channel(given)["topic"] = {"value": given["topic"]}
        return {"channel": self._channel(given)}

    def conversations_members(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"members": self._channel(given)["members"]}

    def conversations_invite(self, given: dict[str, Any]) -> dict[str, Any]:
        members, wanted = self._channel(given)["members"], given["users"].split(",")
        for one in wanted:
            if one in members:
                raise Refused("already_in_channel")
            if one not in [known["id"] for known in self.users]:
                raise Refused("user_not_found")
        members += wanted
        return {"channel": self._channel(given)}

    def pins_add(self, given: dict[str, Any]) -> dict[str, Any]:
        pin = (given["channel"], given["timestamp"])
        if pin in self.pins:
            raise Refused("already_pinned")
        self.pins.append(pin)
        return {}

    def pins_list(self, given: dict[str, Any]) -> dict[str, Any]:
        pins = [(pin, *self.pinned.get(pin, (BOT, self._seconds()))) for pin in self.pins]
        return {
            "items": [
                {"type": "message", "channel": room, "message": {"ts": ts}, "created": created, "created_by": by}
                for (room, ts), by, created in pins
                if room == given["channel"]
            ]
        }

    def bookmarks_list(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"bookmarks": self.bookmarks.get(self._channel(given)["id"], [])}

    def bookmarks_add(self, given: dict[str, Any]) -> dict[str, Any]:
        kept = self.bookmarks.setdefault(self._channel(given)["id"], [])
        kept.append({"id": f"Bk{len(kept) + 1}", "title": given["title"], "link": given["link"]})
        return {"bookmark": kept[-1]}

    def bookmarks_edit(self, given: dict[str, Any]) -> dict[str, Any]:
        (one,) = [one for one in self.bookmarks[given["channel_id"]] if one["id"] == given["bookmark_id"]]
        one |= {"title": given["title"], "link": given["link"]}
        return {"bookmark": one}

    # --- people ------------------------------------------------------------------------------------------------------

    def users_list(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"members": self.users, "response_metadata": {"next_cursor": ""}}

    def users_lookupByEmail(self, given: dict[str, Any]) -> dict[str, Any]:
        for one in self.users:
            if one["profile"].get("email") == given["email"]:
                return {"user": one}
        raise Refused("users_not_found")


@asynccontextmanager
async def serving(workspace: Workspace) -> AsyncIterator[Workspace]:
    """Serve a workspace; its `api` is where."""
    application = web.Application()
    application.router.add_post("/api/{method}", workspace.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    workspace.api = f"http://{host}:{port}/api/"
    try:
        yield workspace
    finally:
        workspace.go_on.set()
        await runner.cleanup()
