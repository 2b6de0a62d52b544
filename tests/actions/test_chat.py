from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

from actions import chat as chat_actions
from actions.chat import (
    Answer,
    ArchiveChannel,
    AskPeople,
    BookmarkLink,
    CreateChannel,
    InviteToChannel,
    NudgePerson,
    PinMessage,
    PostMessage,
    RenameChannel,
    SetTopic,
    ShowMessage,
    UpdateMessage,
    ask,
    nudge,
    post,
)
from engine.capabilities import Invited, Message
from engine.domain import Incident, outputs_of
from engine.plugins import ActionError, Pending
from engine.testing import RecordingChat as Recorder
from tests.fakes import ADA, GRACE, FakeContext, FakePeople


@dataclass
class RecordingChat:
    sent: list[tuple[Any, ...]] = field(default_factory=list)

    async def post(self, channel, text, *, thread, effect):
        self.sent.append(("post", channel, text, thread, effect.token))
        return Message("1", "https://chat.example.com/1")

    async def direct(self, person, text, *, effect):
        self.sent.append(("direct", person.id, text))
        return Message("2")

    async def ask(self, people, text, choices, *, effect):
        self.sent.append(("ask", [person.id for person in people], text, dict(choices)))
        return Message("3")


def validated(params, **values):
    return params.model_validate(values, context={"people": FakePeople()})


async def test_a_message_without_a_channel_goes_to_the_connections_own():
    chat = RecordingChat()
    message = await post.function(validated(PostMessage, text="hello", channel=None), FakeContext(chat=chat))
    assert chat.sent == [("post", None, "hello", None, "tok1")]
    assert message.url == "https://chat.example.com/1"


async def test_a_nudge_goes_to_the_person_that_the_roster_knows_by_e_mail():
    chat = RecordingChat()
    await nudge.function(validated(NudgePerson, to="grace@example.com", text="still a draft"), FakeContext(chat=chat))
    assert chat.sent == [("direct", "grace", "still a draft")]


def test_a_nudge_to_null_says_that_there_is_nobody():
    with pytest.raises(ValidationError, match="null: there is nobody to write to"):
        validated(NudgePerson, to=None, text="hello")


@pytest.mark.parametrize(("to", "asked"), [("ada", ["ada"]), ([ADA, "grace", "ada"], ["ada", "grace"])])
async def test_a_question_goes_to_one_person_or_to_each_of_a_list_once(to, asked):
    chat = RecordingChat()
    given = validated(AskPeople, to=to, text="well?", choices={"do": "On it"})
    assert await ask.function(given, FakeContext(chat=chat)) == Pending()
    assert chat.sent == [("ask", asked, "well?", {"do": "On it"})]


@pytest.mark.parametrize("to", [None, [], [None], ["ada", None]])
def test_a_question_to_nobody_is_refused(to):
    with pytest.raises(ValidationError, match=r"there is nobody to|null"):
        validated(AskPeople, to=to, text="well?", choices={"do": "On it"})


def test_somebody_unknown_is_named():
    with pytest.raises(ValidationError, match="nobody in the roster is called 'mallory'"):
        validated(AskPeople, to=["mallory"], text="well?", choices={"do": "On it"})


@pytest.mark.parametrize(
    "choices", [{}, {"two words": "x"}, {"do": ""}, {"do": "x" * 76}, {str(n): "x" for n in range(26)}]
)
def test_choices_that_no_chat_could_show_are_refused(choices):
    with pytest.raises(ValidationError):
        validated(AskPeople, to="ada", text="well?", choices=choices)


def test_the_outputs_of_a_question_are_answer_by_and_timed_out():
    assert {name: output.kind for name, output in ask.outputs.items()} == {
        "answer": "text",
        "by": "person",
        "timed_out": "boolean",
    }
    assert ask.pending


def test_messages_name_their_url():
    assert post.outputs["url"].kind == nudge.outputs["url"].kind == "text"
    assert outputs_of(Answer)["timed_out"].doc


def test_messages_are_passing_and_belong_to_the_methods_that_send_them():
    assert [(one.capability, one.method, one.lasts) for one in (post, nudge, ask)] == [
        ("chat", "post", False),
        ("chat", "direct", False),
        ("chat", "ask", False),
    ]


def test_the_person_asked_is_the_rosters_entry():
    given = validated(AskPeople, to=GRACE, text="well?", choices={"do": "On it"})
    assert given.to == [GRACE]


# --- channels ---


def an_incident(**more):
    return Incident("pager:P1", "P1", "Checkout is slow", **more)


async def opened(incident, **values):
    """Open a channel for the run's incident; give what the chat did, and what the incident is told."""
    chat, ctx = Recorder(), FakeContext(incident=incident)
    ctx.chat = chat
    await chat_actions.create_channel.function(validated(CreateChannel, name="P1 slow", **values), ctx)
    return chat.done, [(fact.subject, dict(fact.fields)) for _, fact in ctx.effect.emitted]


async def test_a_new_channel_is_the_one_of_the_runs_incident():
    done, told = await opened(an_incident())
    assert done == [("create_channel", "#P1 slow", False)]
    assert told == [("pager:P1", {"channel": "#P1 slow"})]


async def test_a_channel_beside_the_incidents_own_is_not_told_to_it():
    assert (await opened(an_incident(), main=False))[1] == []


async def test_a_run_about_no_incident_opens_a_channel_all_the_same():
    assert await opened(None) == ([("create_channel", "#P1 slow", False)], [])


async def test_a_private_incident_has_a_private_channel_and_no_other():
    assert (await opened(an_incident(private=True)))[0] == [("create_channel", "#P1 slow", True)]
    with pytest.raises(ActionError, match="the incident is private"):
        await opened(an_incident(private=True), private=False)


@pytest.mark.parametrize(
    ("action", "given", "done"),
    [
        ("archive_channel", ArchiveChannel(channel="C1"), ("archive_channel", "C1", None)),
        ("rename_channel", RenameChannel(channel="C1", name="x"), ("rename_channel", "C1", "x")),
        ("set_topic", SetTopic(channel="C1", topic="x"), ("set_topic", "C1", "x")),
        ("bookmark", BookmarkLink(channel="C1", title="T", url="https://x"), ("bookmark", "C1", ("T", "https://x"))),
        ("pin", PinMessage(message="C1/1"), ("pin", "C1/1", None)),
        ("update", UpdateMessage(message="C1/1", text="new"), ("update", "C1/1", "new")),
    ],
)
async def test_what_is_done_to_a_channel_or_a_message_is_handed_to_the_chat(action, given, done):
    chat = Recorder()
    await getattr(chat_actions, action).function(given, FakeContext(chat=chat))
    assert chat.done == [done]


@pytest.mark.parametrize(
    "params", [ArchiveChannel, RenameChannel, SetTopic, BookmarkLink, InviteToChannel, PinMessage, UpdateMessage]
)
def test_what_changes_a_channel_or_a_message_always_names_it(params):
    with pytest.raises(ValidationError, match=r"channel|message"):
        validated(params, name="x", topic="x", people=["ada"], title="x", url="https://x", text="x", channel="")


async def test_whoever_is_named_twice_is_invited_once_and_nobody_is_no_mistake():
    chat = Recorder()
    ctx = FakeContext(chat=chat)
    await chat_actions.invite.function(validated(InviteToChannel, channel="C1", people=["ada", ADA, "grace"]), ctx)
    for people in ([], None, [None]):
        nobody = await chat_actions.invite.function(validated(InviteToChannel, channel="C1", people=people), ctx)
        assert (chat.done, nobody) == ([("invite", "C1", ["ada", "grace"])], Invited())
    assert chat_actions.invite.outputs["left_out"].kind == "list[person]"


@pytest.mark.parametrize(
    ("url", "fits"), [("https://x", True), ("file:///x", True), ("x", False), ("https://x y", False)]
)
def test_a_bookmark_leads_somewhere(url, fits):
    with nullcontext() if fits else pytest.raises(ValidationError, match="url"):
        validated(BookmarkLink, channel="C1", title="T", url=url)


async def test_a_message_for_one_persons_eyes_has_no_id():
    chat = Recorder()
    shown = await chat_actions.ephemeral.function(
        validated(ShowMessage, channel="C1", to="ada", text="psst"), FakeContext(chat=chat)
    )
    assert (chat.to("ada"), shown.id) == (["psst"], None)


def test_a_channel_lasts_and_the_rest_is_done_again_in_another_round():
    assert [action.name for action in chat_actions.ALL if action.lasts] == ["chat.create_channel"]


async def test_a_message_with_controls_says_what_people_act_on():
    incident = Incident("local:INC-1", "INC-1", "Checkout is slow")
    ctx = FakeContext(chat=Recorder(), incident=incident)
    for used, given in ((post, {}), (chat_actions.update, {"message": "C1/1.0"})):
        await used.function(used.params(text="open", controls=True, **given), ctx)
        assert ctx.effect.controls == incident
        await used.function(used.params(text="open", **given), ctx)
        assert ctx.effect.controls is None


async def test_without_an_incident_there_is_nothing_to_control():
    with pytest.raises(ActionError, match="the run is about no incident"):
        await post.function(PostMessage(text="open", controls=True), FakeContext(chat=Recorder()))


def test_a_digest_has_no_controls():
    with pytest.raises(ValidationError, match="leave 'controls' or 'digest' out"):
        PostMessage(text="open", controls=True, digest={"window": "4h"})
