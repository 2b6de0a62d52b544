"""Slack as `emulate` keeps it, behind Prism, which refuses each request that breaks Slack's specification.

Of bookmarks the specification of 2021 says nothing: they are asked of the emulator itself.
"""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from actions.providers.slack import Slack
from engine.domain import Person
from engine.plugins import ActionError
from tests.fakes import FakeConnection, an_effect

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
