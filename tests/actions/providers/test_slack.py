"""Slack on good and bad days, against a small workspace on this machine."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.providers.slack import Slack
from actions.providers.slack_text import MOST_BLOCKS, MOST_IN_SECTION, fallback, sections
from engine.domain import Person
from engine.plugins import ActionError, ConnectionBroken, Fact, RetryLater
from engine.workflow.rendering import escape_markdown
from tests.fakes import MONDAY, FakeConnection, an_effect
from tests.slack_workspace import Workspace, error, serving

ADA = Person("ada", "Ada", ids={"slack": "UADA"})
GRACE = Person("grace", "Grace", ids={"slack": "UGRACE"})


@pytest.fixture
async def workspace():
    async with serving(Workspace()) as made:
        yield made


@pytest.fixture
async def chat(workspace):
    options = Slack.options(token="xoxb-secret", channel="#incidents", api=workspace.api)
    provider = Slack.build(options, FakeConnection(Path(), "chat"))
    yield provider
    await provider.aclose()


async def test_a_message_has_its_address_its_blocks_and_a_plain_text(chat, workspace):
    sent = await chat.post(None, "**Checkout** is slow", thread=None, effect=an_effect())
    (message,) = workspace.messages["C1"]
    assert (message["text"], message["blocks"][0]["text"]["text"]) == ("Checkout is slow", "*Checkout* is slow")
    assert sent.url == f"https://example.slack.com/archives/C1/p{message['ts'].replace('.', '')}"


async def test_an_answer_goes_under_the_message_that_is_named(chat, workspace):
    first = await chat.post(None, "one", thread=None, effect=an_effect("a"))
    await chat.post(None, "two", thread=first.id, effect=an_effect("b"))
    assert workspace.messages["C1"][1]["thread_ts"] == workspace.messages["C1"][0]["ts"]


@pytest.mark.parametrize(
    ("send", "inputs"),
    [
        (lambda chat, effect: chat.post(None, "x", thread=None, effect=effect), {"text": "x"}),
        (lambda chat, effect: chat.direct(ADA, "x", effect=effect), {"to": ADA, "text": "x"}),
        (
            lambda chat, effect: chat.ask([ADA, GRACE], "x", {"yes": "Yes"}, effect=effect),
            {"to": [ADA, GRACE], "text": "x", "choices": {"yes": "Yes"}},
        ),
    ],
)
async def test_what_was_sent_before_a_crash_is_found_and_what_was_not_is_not(chat, send, inputs):
    for number in range(3):
        await send(chat, an_effect(f"other{number}"))
    lost = an_effect("lost")
    lost.inputs = inputs
    assert await chat.find(lost) is None
    sent = await send(chat, lost)
    again = an_effect("lost")
    again.inputs = inputs
    assert await chat.find(again) == sent
    assert [key for _, key, _ in again.saved] == (["question/lost"] if "choices" in inputs else [])


async def test_what_is_older_than_the_effect_is_not_read(chat, workspace):
    await chat.post(None, "x", thread=None, effect=an_effect("same"))
    later = an_effect("same")
    later.at = MONDAY + timedelta(hours=1)
    assert await chat.find(later) is None


async def test_a_question_that_is_answered_says_so_and_has_no_buttons(chat, workspace):
    effect = an_effect("ask1")
    await chat.ask([ADA], "On it?", {"yes": "Yes, *now*"}, effect=effect)
    chat._connection.storage.apply(effect)
    (message,) = workspace.messages["D-UADA"]
    assert [block["type"] for block in message["blocks"]] == ["section", "actions"]
    answer = Fact("chat.answered", MONDAY, data={"question": effect.id, "answer": "yes"}, actor=ADA)
    key, row = chat.closing(effect.id, MONDAY, answer)
    assert (key, row["answer"], row["by"], row["closed_at"]) == ("question/ask1", "yes", "Ada", MONDAY.isoformat())
    await chat.closed(row)
    assert [block["type"] for block in message["blocks"]] == ["section", "context"]
    assert "Ada: Yes, *\u2060now*\u2060" in message["blocks"][1]["elements"][0]["text"]


async def test_being_asked_too_often_says_how_long_to_wait(chat, workspace):
    workspace.bad["chat.postMessage"] = [error("ratelimited", 429, headers={"Retry-After": "7"})]
    with pytest.raises(RetryLater, match="'ratelimited'") as told:
        await chat.post(None, "x", thread=None, effect=an_effect())
    assert (told.value.after, told.value.too_often, told.value.maybe_done) == (7.0, True, False)
    assert workspace.calls == ["auth.test", "chat.postMessage"]  # the client has not tried again by itself


async def test_a_missing_scope_breaks_the_connection_and_says_which(chat, workspace):
    workspace.bad["chat.postMessage"] = [error("missing_scope", needed="chat:write", provided="users:read")]
    with pytest.raises(ConnectionBroken, match="the app needs chat:write") as told:
        await chat.post(None, "x", thread=None, effect=an_effect())
    assert "xoxb" not in str(told.value)


async def test_trouble_of_slack_may_have_been_done(chat, workspace):
    workspace.bad["chat.postMessage"] = [error("internal_error", 500)]
    with pytest.raises(RetryLater) as told:
        await chat.post(None, "x", thread=None, effect=an_effect())
    assert told.value.maybe_done


async def test_a_channel_without_the_app_is_told_with_what_to_do(chat, workspace):
    workspace.bad["chat.postMessage"] = [error("not_in_channel")]
    with pytest.raises(ActionError, match="invite the app to the channel"):
        await chat.post(None, "x", thread=None, effect=an_effect())


async def test_nothing_is_asked_after_a_message_is_sent_so_that_nothing_can_go_wrong_then(chat, workspace):
    workspace.bad["auth.test"] = [error("internal_error", 500)]
    with pytest.raises(RetryLater):
        await chat.post(None, "x", thread=None, effect=an_effect())
    await chat.post(None, "x", thread=None, effect=an_effect())
    assert workspace.calls == ["auth.test", "auth.test", "chat.postMessage"]


async def test_more_people_than_a_conversation_holds_are_refused_before_anything_is_sent(chat, workspace):
    crowd = [Person(f"p{n}", f"P{n}", ids={"slack": f"U{n}"}) for n in range(9)]
    with pytest.raises(ActionError, match="8 people be asked at once, not 9"):
        await chat.ask(crowd, "x", {"yes": "Yes"}, effect=an_effect())
    assert workspace.calls == []


def test_markdown_becomes_mrkdwn():
    text = "# Why\n\nIt is **slow** and ~~late~~: [page](https://x.example?a=1&b=2)\n\n- [ ] do\n  1. this\n"
    (only,) = sections(text)
    assert only["text"]["text"] == (
        "*Why*\n\nIt is *slow* and ~late~: <https://x.example?a=1&amp;b=2|page>\n\n• ☐ do\n    1. this"
    )


@pytest.mark.parametrize("title", ["<!channel> help", "<@U123>", "*bold* _it_ ~x~ `y`", "<https://evil.example|here>"])
def test_nobody_is_paged_and_nothing_is_dressed_up_by_a_title(title):
    text = f"Incident {escape_markdown(title)}"
    (only,) = sections(text)
    shown = only["text"]["text"].replace("\u2060", "")
    assert shown == f"Incident {title.replace('<', '&lt;').replace('>', '&gt;')}"
    assert "<" not in only["text"]["text"]
    assert "<" not in fallback(text)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12_000))
def test_no_message_is_longer_than_slack_takes(text):
    found = sections(text)
    assert len(found) <= MOST_BLOCKS
    assert all(1 <= len(one["text"]["text"]) <= MOST_IN_SECTION for one in found)
    json.dumps(found)
