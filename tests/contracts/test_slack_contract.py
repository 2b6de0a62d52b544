"""Slack's Web API by its specification: what the official client sends for us."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from actions.providers.slack import Slack
from engine.domain import Person
from engine.plugins import ActionError
from tests.fakes import an_effect

ADA = Person("ada", "Ada", email="ada@example.com", ids={"slack": "W012A3CDE"})


@pytest.fixture
async def chat(prism, connection):
    provider = Slack.build(
        Slack.options(token="xoxb-1", channel="#incidents", api=f"{prism('slack')}/api/"), connection
    )
    yield provider
    await provider.aclose()


async def test_a_message_is_posted_with_blocks_and_plain_text(chat):
    sent = await chat.post(None, "**Checkout** is slow: <https://x.example>", thread=None, effect=an_effect())
    assert sent.id.count("/") == 1


async def test_one_person_is_written_to(chat):
    assert (await chat.direct(ADA, "The draft is due.", effect=an_effect())).id


async def test_a_question_has_a_button_for_each_choice_and_is_kept(chat):
    effect = an_effect("ask1")
    await chat.ask([ADA], "On it?", {"yes": "Yes", "no": "No"}, effect=effect)
    ((_, key, row),) = effect.saved
    assert (key, row["id"], row["choices"]) == ("question/ask1", effect.id, {"yes": "Yes", "no": "No"})


async def test_a_closed_question_is_updated(chat):
    row = {"room": "C1", "ts": "1.2", "text": "On it?", "choices": {"yes": "Yes"}, "answer": "yes", "by": "Ada"}
    assert await chat.closed(row) is None


async def test_a_conversation_is_read_for_what_was_sent(chat):
    effect = an_effect()
    effect.inputs = {"channel": "C012AB3CD", "text": "x"}
    assert await chat.find(effect) is None


async def test_the_check_asks_who_we_are(chat):
    assert await chat.check() is None


async def test_a_channel_is_opened_and_changed_and_closed(chat):
    """The answers are the specification's examples: they prove what was asked, and nothing of what came of it."""
    channel = await chat.create_channel("Slow", private=True, incident=None, effect=an_effect())
    assert (await chat.set_topic(channel.id, "sev1", effect=an_effect())).id
    assert (await chat.rename_channel(channel.id, "Fast", effect=an_effect())).name == "fast"
    assert (await chat.invite(channel.id, [ADA], effect=an_effect())).invited == (ADA,)
    assert (await chat.archive_channel(channel.id, effect=an_effect())).id


async def test_a_channel_is_found_by_its_name_among_all(chat):
    with pytest.raises(ActionError, match="no channel #nowhere"):
        await chat.set_topic("#nowhere", "x", effect=an_effect())


async def test_a_message_is_changed_pinned_and_shown_to_one_person(chat):
    message = "C012AB3CD/1503435956.000247"
    assert (await chat.update(message, "two", effect=an_effect())).id == message
    assert (await chat.pin(message, effect=an_effect())).id == message
    assert (await chat.ephemeral("C012AB3CD", ADA, "psst", effect=an_effect())).id is None


async def test_a_missed_stretch_is_asked_for(chat):
    since = datetime(2016, 1, 1, tzinfo=UTC)
    assert [said.at.year for said in [one async for one in chat.history("C012AB3CD", since)]]


async def test_pins_are_asked_for(chat):
    assert await chat.pins("C012AB3CD") is not None


async def test_all_users_are_read(chat):
    await chat._directory.read(datetime(2026, 1, 1, tzinfo=UTC))
    assert chat._directory.by_id


async def test_somebody_is_looked_up_by_e_mail_address(chat):
    assert await chat._user(Person("grace", "Grace", email="grace@example.com"))


async def test_a_modal_is_opened_and_changed(chat):
    view = {"type": "modal", "title": {"type": "plain_text", "text": "Declare"}, "blocks": []}
    assert await chat.open_view("12345.98765.abcd2358fdea", view) is None
    assert await chat.update_view("VMM512F2U", view) is None


async def test_one_message_is_read(chat):
    assert await chat.said("C012AB3CD/1772442000.000100") is None


BEARER = {"Authorization": "Bearer xoxb-1"}


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("chat.postMessage", {"text": "without a channel"}),
        ("chat.update", {"channel": "C1"}),
        ("conversations.history", {"limit": "many"}),
        ("conversations.replies", {"limit": "many"}),
        ("conversations.list", {"limit": "many"}),
        ("conversations.open", {"return_im": "perhaps"}),
        ("users.lookupByEmail", {}),
        ("chat.postEphemeral", {"channel": "C1", "text": "for nobody"}),
        ("conversations.create", {"name": "slow", "is_private": "perhaps"}),
        ("conversations.info", {"include_num_members": "perhaps"}),
        ("conversations.members", {"limit": "many"}),
        ("pins.add", {"timestamp": "1.2"}),
        ("pins.list", {}),
        ("users.list", {"limit": "many"}),
        ("views.open", {"view": "{}"}),
    ],
)
async def test_the_specification_refuses_what_breaks_it(prism, by_hand, path, form):
    answer = await by_hand("POST", f"{prism('slack')}/api/{path}", headers=BEARER, form=form)
    assert answer.refused


@pytest.mark.parametrize(
    "path",  # the specification says nothing else of the last five that a request could break
    [
        "auth.test",
        "conversations.archive",
        "conversations.invite",
        "conversations.rename",
        "conversations.setTopic",
        "views.update",
    ],
)
async def test_the_specification_refuses_a_request_without_a_token(prism, by_hand, path):
    assert (await by_hand("POST", f"{prism('slack')}/api/{path}", form={"channel": "C1"})).refused
