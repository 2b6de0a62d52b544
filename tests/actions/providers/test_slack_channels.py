"""Slack's channels, and what was written in them, against a small workspace on this machine."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from actions.providers.naming import channel_names
from actions.providers.slack import Slack
from actions.providers.slack_text import read_text
from engine.domain import Person
from engine.plugins import ActionError, ConnectionBroken, effect_class
from tests.fakes import MONDAY, FakeConnection, an_effect
from tests.slack_workspace import BOT, Workspace, error, serving, user

ADA = Person("ada", "Ada", email="ada@example.com")
GRACE = Person("grace", "Grace", email="grace@example.com")


@pytest.fixture
async def workspace():
    async with serving(Workspace()) as made:
        yield made


def options(workspace):
    return Slack.options(token="xoxb-secret", channel="#incidents", api=workspace.api)


@pytest.fixture
async def connection():
    return FakeConnection(Path(), "chat")


@pytest.fixture
async def chat(workspace, connection):
    provider = Slack.build(options(workspace), connection)
    yield provider
    await provider.aclose()


async def opened(chat, name="INC-1 Checkout is slow", *, token="tok1", private=False, incident=None):
    effect = an_effect(token)
    channel = await chat.create_channel(name, private=private, incident=incident, effect=effect)
    chat._connection.storage.apply(effect)
    return channel


# --- opening ---


async def test_a_channel_is_opened_under_a_name_that_slack_takes(chat, workspace):
    channel = await opened(chat, "INC-1: Überall <slow>!")
    assert (channel.name, channel.url) == (
        "inc-1-uberall-slow",
        f"https://example.slack.com/archives/{channel.id}",
    )
    assert workspace.channels[channel.id]["creator"] == BOT


async def test_a_private_channel_is_private(chat, workspace):
    assert workspace.channels[(await opened(chat, private=True)).id]["is_private"]


async def test_the_incident_is_told_the_id_which_stays_when_the_channel_is_renamed(chat):
    effect = an_effect()
    channel = await chat.create_channel("Slow", private=False, incident="pager:P1", effect=effect)
    assert [(fact.subject, fact.fields) for _, fact in effect.emitted] == [("pager:P1", {"channel": channel.id})]


async def test_a_channel_whose_answer_was_lost_is_found_again_by_its_name(chat, workspace):
    first = await chat.create_channel("Slow", private=False, incident=None, effect=an_effect())
    again = Slack.build(options(workspace), FakeConnection(Path(), "chat"))  # another process, which remembers nothing
    assert await again.create_channel("Slow", private=False, incident=None, effect=an_effect()) == first
    assert len(workspace.channels) == 2
    await again.aclose()


async def test_a_name_that_somebody_has_gets_a_mark_and_doing_it_again_gives_the_same(chat, workspace):
    workspace.channel("slow")
    first = await opened(chat, "Slow", token="k3v9q7zz")
    assert first.name == "slow-k3v9q7"
    assert await opened(chat, "Slow", token="k3v9q7zz") == first


async def test_two_incidents_of_one_name_have_two_channels(chat):
    made = [await opened(chat, "Slow", token=token) for token in ("first1", "second")]
    assert [one.name for one in made] == ["slow", "slow-second"]


async def test_two_incidents_of_one_name_have_two_channels_also_before_either_is_committed(chat):
    made = [
        await chat.create_channel("Slow", private=False, incident=None, effect=an_effect(token))
        for token in ("first1", "second")
    ]
    assert [one.name for one in made] == ["slow", "slow-second"]


async def test_a_channel_that_we_opened_before_this_effect_is_another_ones(chat, workspace):
    workspace.channel("slow", BOT, created=int(MONDAY.timestamp()) - 3600)
    assert (await opened(chat, "Slow", token="second")).name == "slow-second"


async def test_a_name_that_cannot_be_had_at_all_fails_with_what_slack_says(chat, workspace):
    workspace.bad["conversations.create"] = [error("restricted_action")]
    with pytest.raises(ActionError, match="an owner of the workspace can"):
        await opened(chat)


@pytest.mark.parametrize("title", ["x" * 200, "Ünïcode & <b>", "日本語", "-", "a_b.c", "A" * 79 + " b"])
def test_a_name_has_only_what_slack_takes(title):
    for name in channel_names(title, "k3v9q7zz"):
        assert 1 <= len(name) <= 80
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_what_each_may_be_repeated_as():
    kinds = {name: str(effect_class(getattr(Slack.cls, name))) for name in CLASSES}
    assert kinds == CLASSES


CLASSES = {
    "create_channel": "native",
    "rename_channel": "idempotent",
    "archive_channel": "idempotent",
    "set_topic": "idempotent",
    "invite": "idempotent",
    "pin": "idempotent",
    "bookmark": "idempotent",
    "update": "idempotent",
    "ephemeral": "at_most_once",
    "post": "findable",
}


# --- what is done twice ends as if it was done once ---


async def test_renaming_archiving_and_pinning_again_are_no_mistakes(chat, workspace):
    channel = await opened(chat)
    sent = await chat.post(channel.id, "x", thread=None, effect=an_effect("post"))
    for _ in range(2):
        assert (await chat.rename_channel(channel.id, "INC-1 fast", effect=an_effect())).name == "inc-1-fast"
        await chat.pin(sent.id, effect=an_effect())
        await chat.archive_channel(channel.id, effect=an_effect())
    assert workspace.pins == [tuple(sent.id.split("/"))]
    assert workspace.channels[channel.id]["is_archived"]
    assert workspace.calls.count("conversations.rename") == 1


async def test_a_new_name_that_somebody_has_gets_a_mark(chat, workspace):
    channel = await opened(chat)
    assert (await chat.rename_channel(channel.id, "Incidents", effect=an_effect("k3v9q7zz"))).name == "incidents-k3v9q7"


async def test_a_topic_is_cut_escaped_and_not_set_again(chat, workspace):
    channel = await opened(chat)
    for _ in range(2):
        await chat.set_topic(channel.id, "<!channel> &\n" + "x" * 300, effect=an_effect())
    topic = workspace.channels[channel.id]["topic"]["value"]
    assert topic.startswith("&lt;!channel&gt; &amp; xxx")
    assert topic.endswith("x…")
    assert workspace.calls.count("conversations.setTopic") == 1


async def test_a_bookmark_takes_the_place_of_one_with_its_title(chat, workspace):
    channel = await opened(chat)
    for url in ("https://one", "https://two", "https://two"):
        await chat.bookmark(channel.id, "Postmortem", url, effect=an_effect())
    assert [(one["title"], one["link"]) for one in workspace.bookmarks[channel.id]] == [("Postmortem", "https://two")]
    assert workspace.calls.count("bookmarks.edit") == 1


# --- people ---


async def test_those_who_are_there_are_not_asked_again_and_those_whom_slack_does_not_know_are_named(chat, workspace):
    channel = await opened(chat)
    workspace.channels[channel.id]["members"].append("UADA")
    nobody, ghost = Person("linus", "Linus", email="linus@example.com"), Person("joan", "Joan")
    found = await chat.invite(channel.id, [ADA, nobody, GRACE, ghost], effect=an_effect())
    assert ([one.id for one in found.invited], [one.id for one in found.left_out]) == (
        ["ada", "grace"],
        ["linus", "joan"],
    )
    assert workspace.channels[channel.id]["members"] == [BOT, "UADA", "UGRACE"]


async def test_one_who_may_not_come_in_does_not_keep_out_the_others(chat, workspace):
    channel = await opened(chat)
    left = Person("mary", "Mary", ids={"slack": "UGONE"})
    found = await chat.invite(channel.id, [ADA, left, GRACE], effect=an_effect())
    assert [one.id for one in found.left_out] == ["mary"]
    assert workspace.channels[channel.id]["members"] == [BOT, "UADA", "UGRACE"]


async def test_a_missing_scope_holds_the_connection_and_leaves_nobody_out(chat, workspace):
    channel = await opened(chat)
    workspace.bad["conversations.invite"] = [error("missing_scope", needed="channels:manage")]
    with pytest.raises(ConnectionBroken, match="the app needs channels:manage"):
        await chat.invite(channel.id, [ADA], effect=an_effect())


# --- messages ---


async def test_a_message_is_changed_and_still_says_which_effect_sent_it(chat, workspace):
    effect = an_effect("post")
    sent = await chat.post(None, "one", thread=None, effect=effect)
    changed = await chat.update(sent.id, "**two**", effect=an_effect("update"))
    assert (changed.id, workspace.messages["C1"][0]["text"]) == (sent.id, "two")
    effect.inputs = {"text": "one"}
    assert await chat.find(effect) == sent


async def test_one_person_sees_a_message_in_a_channel(chat, workspace):
    channel = await opened(chat)
    with pytest.raises(ActionError, match="they have to be in the channel"):
        await chat.ephemeral(channel.id, ADA, "psst", effect=an_effect())
    await chat.invite(channel.id, [ADA], effect=an_effect())
    assert (await chat.ephemeral(channel.id, ADA, "psst", effect=an_effect())).id is None
    assert [(one["user"], one["text"]) for one in workspace.shown] == [("UADA", "psst")]


@pytest.mark.parametrize("message", ["", "1.2", "C1/", "C1/x", "#incidents"])
async def test_what_is_no_message_is_refused_before_anything_is_sent(chat, workspace, message):
    with pytest.raises(ActionError, match=r"take it from 'steps\.ID\.id'"):
        await chat.pin(message, effect=an_effect())
    assert workspace.calls == []


# --- history ---


async def told(chat, channel="C1", since=MONDAY):
    return sorted([said async for said in chat.history(channel, since)], key=lambda said: said.at)


async def test_a_missed_stretch_is_read_page_by_page(chat, workspace):
    for number in range(7):
        workspace.writes("C1", f"line {number}")
    assert [said.text for said in await told(chat)] == [f"line {number}" for number in range(7)]
    assert workspace.calls.count("conversations.history") == 4


async def test_a_message_has_its_author_time_edit_files_and_reactions(chat, workspace, connection):
    more = {"edited": {"user": "UADA", "ts": f"{MONDAY.timestamp() + 60:.6f}"}}
    more["files"] = [{"name": "graph.png", "title": "Graph", "permalink": "https://example.slack.com/files/1"}]
    more["reactions"] = [{"name": "pushpin", "users": ["UGRACE", "UADA"], "count": 2}]
    workspace.writes("C1", "look &amp; see", **more)
    await chat._directory.read(MONDAY)
    (said,) = await told(chat)
    assert (said.id, said.at, said.text, said.by.id) == (f"C1/{MONDAY.timestamp():.6f}", MONDAY, "look & see", "ada")
    assert said.edited_at == MONDAY + timedelta(minutes=1)
    assert [(one.name, one.url) for one in said.files] == [("Graph", "https://example.slack.com/files/1")]
    assert {name: [who.id for who in people] for name, people in said.reactions.items()} == {
        "pushpin": ["grace", "ada"]
    }
    assert not said.own


async def test_answers_are_read_also_where_their_thread_began_before(chat, workspace):
    first = workspace.writes("C1", "old")
    workspace.now = lambda: MONDAY + timedelta(hours=1)
    workspace.writes("C1", "answer", thread=first)
    workspace.writes("C1", "another", thread=first)
    since = MONDAY + timedelta(minutes=30)
    assert [(said.text, said.thread) for said in await told(chat, since=since)] == [
        ("answer", f"C1/{first}"),
        ("another", f"C1/{first}"),
    ]


async def test_a_thread_without_a_new_answer_is_not_asked_for(chat, workspace):
    workspace.writes("C1", "answer", thread=workspace.writes("C1", "old"))
    assert await told(chat, since=MONDAY + timedelta(minutes=30)) == []
    assert "conversations.replies" not in workspace.calls


async def test_what_we_wrote_is_our_own(chat, workspace):
    await chat.post(None, "hello", thread=None, effect=an_effect())
    assert [said.own for said in await told(chat)] == [True]


async def test_what_is_no_message_cannot_be_read(chat):
    with pytest.raises(ValueError, match="must have 'ts'"):
        chat.read({"text": "x"}, "C1")


def test_a_text_is_read_as_people_see_it():
    text = "<@UADA> <@UX> <#C1|incidents> <!here> <!subteam^S1|@sre> <https://x.example|page> <https://y.example> &lt;"
    names = {"UADA": "Ada"}
    assert read_text(text, names.get) == ("@Ada @UX #incidents @here @sre page (https://x.example) https://y.example <")


# --- who is in Slack ---


async def test_an_author_is_the_rosters_person_by_e_mail(chat):
    assert chat.user("UADA").id == "slack:UADA"
    await chat._directory.read(MONDAY)
    assert chat.user("UADA").id == "ada"
    assert chat.user("UX", "Max") == Person("slack:UX", "Max", ids={"slack": "UX"})
    assert chat.user(None) is None


async def test_somebody_new_makes_the_workspace_be_read_again_and_not_all_the_time(chat, workspace, connection):
    await chat._directory.read(MONDAY)
    workspace.users.append(user("UMARY", "Mary"))
    chat.user("UMARY")
    assert chat._reading is None
    connection.clock.move(timedelta(minutes=10))
    chat.user("UMARY")
    await chat._reading
    assert chat.user("UMARY").name == "Mary"
