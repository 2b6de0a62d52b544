"""Slack as `emulate` keeps it, behind Prism, which refuses each request that breaks Slack's specification.

Of bookmarks the specification of 2021 says nothing: they are asked of the emulator itself.
"""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import pytest
from aiohttp import web

from actions.providers.slack import Slack
from engine import wiring
from engine.clock import SystemClock
from engine.domain import Person
from engine.plugins import ActionError
from engine.testing import World
from tests.fakes import FakeConnection, an_effect
from tests.slack_story import CALLS, EVERYTHING, PEOPLE, PROJECT, killed_at

ADA = Person("ada", "Ada", email="ada@example.com")
GRACE = Person("grace", "Grace", email="grace@example.com")
LINUS = Person("linus", "Linus", email="linus@example.com")
NUMBERS = itertools.count(1)


def built(api, connection):
    options = Slack.options(token="xoxb-of-some-length", channel="general", api=f"{api}/api/")
    return Slack.build(options, FakeConnection(connection.folder, "chat", connection.clock))


@pytest.fixture
async def chat(prism, emulate, connection):
    provider = built(prism("slack", emulate, answers=False), connection)
    yield provider
    await provider.aclose()


@pytest.fixture
async def again(prism, emulate, connection):
    """Give another process on the same workspace, which remembers nothing."""
    provider = built(prism("slack", emulate, answers=False), connection)
    yield provider
    await provider.aclose()


@pytest.fixture
def effect(connection):
    """Give effects, each with a token of its own."""

    def give(**more):
        made = an_effect(f"tok{next(NUMBERS)}", **more)
        made.at = connection.clock.now()
        return made

    return give


@pytest.fixture
async def channel(chat, effect):
    return await chat.create_channel(f"Slow {next(NUMBERS)}", private=False, incident=None, effect=effect())


async def test_a_channel_whose_answer_was_lost_is_the_same_one_again(chat, again, effect):
    lost = effect()
    first = await chat.create_channel("Checkout is slow", private=False, incident=None, effect=lost)
    assert first.name == "checkout-is-slow"
    assert await again.create_channel("Checkout is slow", private=False, incident=None, effect=lost) == first


async def test_another_incident_of_the_same_title_has_another_channel(chat, effect):
    made = [
        await chat.create_channel("Search is slow", private=False, incident=None, effect=effect()) for _ in range(2)
    ]
    assert made[0].id != made[1].id
    assert made[1].name.startswith("search-is-slow-tok")


async def test_those_whom_the_workspace_knows_are_invited_and_again_is_no_mistake(chat, channel, effect):
    for people in ([ADA, LINUS], [ADA, GRACE, LINUS]):
        found = await chat.invite(channel.id, people, effect=effect())
        assert found.left_out == (LINUS,)
    assert found.invited == (ADA, GRACE)


async def test_a_topic_a_new_name_and_the_end_may_be_set_twice(chat, channel, effect):
    for _ in range(2):
        await chat.set_topic(channel.id, "sev1 & <!channel>", effect=effect())
        assert (await chat.rename_channel(channel.id, f"{channel.name} fast", effect=effect())).name.endswith("fast")
    assert (await chat._info(channel.id))["topic"]["value"] == "sev1 &amp; &lt;!channel&gt;"
    for _ in range(2):
        await chat.archive_channel(channel.id, effect=effect())
    with pytest.raises(ActionError, match="the channel is archived"):
        await chat.post(channel.id, "too late", thread=None, effect=effect())


async def test_a_message_is_found_again_also_after_it_was_changed_and_pinned(chat, again, channel, effect):
    sending = effect()
    sent = await chat.post(channel.id, "**one**", thread=None, effect=sending)
    await chat.update(sent.id, "two", effect=effect())
    for _ in range(2):
        await chat.pin(sent.id, effect=effect())
    sending.inputs = {"channel": channel.id, "text": "**one**"}
    assert await again.find(sending) == sent
    assert await again.find(effect(inputs=sending.inputs)) is None


async def test_an_answer_in_a_thread_is_found_again(chat, again, channel, effect):
    first = await chat.post(channel.id, "one", thread=None, effect=effect())
    answering = effect()
    sent = await chat.post(channel.id, "two", thread=first.id, effect=answering)
    answering.inputs = {"channel": channel.id, "thread": first.id, "text": "two"}
    assert await again.find(answering) == sent


async def test_what_was_written_to_a_person_and_asked_of_several_is_found_again(chat, again, effect):
    writing, asking = effect(), effect()
    sent = await chat.direct(ADA, "hello", effect=writing)
    asked = await chat.ask([ADA, GRACE], "On it?", {"yes": "Yes"}, effect=asking)
    writing.inputs = {"to": ADA, "text": "hello"}
    asking.inputs = {"to": [ADA, GRACE], "text": "On it?", "choices": {"yes": "Yes"}}
    assert (await again.find(writing), await again.find(asking)) == (sent, asked)


async def test_a_channels_history_is_read_over_its_pages_with_its_threads(chat, channel, effect, connection):
    since = connection.clock.now() - timedelta(seconds=2)  # the emulator stamps whole seconds
    first = await chat.post(channel.id, "one", thread=None, effect=effect())
    await chat.post(channel.id, "under it", thread=first.id, effect=effect())
    await chat.post(channel.id, "two & <three>", thread=None, effect=effect())
    said = sorted([one async for one in chat.history(channel.id, since)], key=lambda one: one.at)
    assert [(one.text, one.thread) for one in said] == [("one", None), ("under it", first.id), ("two & <three>", None)]
    assert all(one.own for one in said)


async def test_one_person_sees_what_the_others_do_not(chat, channel, effect):
    await chat.invite(channel.id, [ADA], effect=effect())
    assert (await chat.ephemeral(channel.id, ADA, "psst", effect=effect())).id is None
    assert "psst" not in [one["text"] async for one in chat._since(channel.id, None, effect().at)]


async def test_people_are_found_by_their_addresses(chat, connection):
    await chat._directory.read(connection.clock.now())
    ada = chat.person("ada@example.com")
    assert (ada.name, ada.ids["slack"]) == ("Ada", await chat._user(ADA))
    assert chat.person("nobody@example.com") is None


async def test_a_bookmark_takes_the_place_of_one_of_its_title(emulate, connection, effect):
    chat = built(emulate, connection)
    channel = await chat.create_channel("Bookmarked", private=True, incident=None, effect=effect())
    for url in ("https://one.example", "https://two.example", "https://two.example"):
        await chat.bookmark(channel.id, "Page", url, effect=effect())
    kept = (await chat._web.call("bookmarks.list", channel_id=channel.id))["bookmarks"]
    assert [(one["title"], one["link"]) for one in kept] == [("Page", "https://two.example")]
    await chat.aclose()


async def test_a_request_that_breaks_the_specification_does_not_reach_the_workspace(prism, emulate, by_hand):
    api = prism("slack", emulate, answers=False)
    bearer = {"Authorization": "Bearer xoxb-1"}
    answer = await by_hand("POST", f"{api}/api/conversations.create", headers=bearer, form={"is_private": "perhaps"})
    assert answer.refused
    assert not (await by_hand("POST", f"{emulate}/api/auth.test", headers=bearer)).refused


# --- the engine is killed between a call and its answer --------------------------------------------------------------


class Relay:
    """Hands requests on to Prism, and those that it knows nothing of to the emulator itself; keeps answers back.

    `hangs` counts down a method's calls: the one at nought is done, and its answer does not come.
    """

    def __init__(self, checked: str, emulator: str) -> None:
        self._checked, self._emulator = checked, emulator
        self.hangs: dict[str, int] = {}
        self.hung = asyncio.Event()
        self.refused: list[str] = []
        self.api = ""

    async def handle(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        target = self._emulator if method.startswith("bookmarks.") else self._checked
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{target}/api/{method}", data=await request.read(), headers=headers) as answer,
        ):
            body, kind = await answer.read(), answer.content_type
            if answer.status == 422:
                self.refused.append(method)
        if method in self.hangs:
            self.hangs[method] -= 1
        if self.hangs.get(method) == -1:
            self.hung.set()
            await asyncio.Event().wait()
        return web.Response(status=answer.status, body=body, content_type=kind)


@asynccontextmanager
async def relaying(relay):
    application = web.Application()
    application.router.add_post("/api/{method}", relay.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    relay.api = f"http://{host}:{port}/api/"
    try:
        yield relay
    finally:
        await runner.cleanup()


@pytest.fixture
async def story(prism, emulate, tmp_path):
    """Give an engine whose Slack is the emulator, with what stands between the two."""
    async with relaying(Relay(prism("slack", emulate, answers=False), emulate)) as relay:
        (tmp_path / "workflows").mkdir()
        (tmp_path / "workflows" / "flow.yaml").write_text(EVERYTHING)
        (tmp_path / "hotwash.yaml").write_text(PROJECT.format(api=relay.api))
        (tmp_path / "people.yaml").write_text(PEOPLE)
        environ = {"SLACK": "xoxb-of-some-length"}
        async with World(tmp_path, SystemClock().now(), wiring.open_application, environ=environ) as world:
            yield world, relay


async def told(chat, room, since):
    """Give the texts of a conversation, in order, without what Slack itself says happened."""
    said = [one async for one in chat.history(room, since) if one.kind == "message"]
    return [one.text for one in sorted(said, key=lambda one: one.at)]


@pytest.mark.parametrize(("method", "number"), CALLS, ids=str)
async def test_what_was_done_before_the_engine_was_killed_is_not_done_again(story, chat, emulate, method, number):
    world, relay = story
    title, since = f"Told {next(NUMBERS)} times", world.now - timedelta(seconds=2)
    await killed_at(world, relay, method, number, title=title)
    await world.move("3h")
    assert (world.runs()[0]["state"], relay.refused) == ("finished", [])
    listed = [one async for one in chat._web.pages("conversations.list", "channels")]
    (channel,) = [one for one in listed if one["name"].startswith(title.lower().replace(" ", "-"))]
    assert (channel["id"], channel["topic"]["value"]) == (world.subjects("incident")[0].channel, "a topic")
    assert (channel["name"].endswith("-fast"), channel["is_archived"]) == (True, True)
    assert await told(chat, channel["id"], since) == ["two", "under it"]
    assert [text for text in await told(chat, await chat._room([ADA]), since) if title in text] == [f"to you: {title}"]
    asked = [text for text in await told(chat, await chat._room([ADA, GRACE]), since) if title in text]
    assert len(asked) == 1
