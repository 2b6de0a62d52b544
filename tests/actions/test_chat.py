from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

from actions.chat import Answer, AskPeople, NudgePerson, PostMessage, ask, nudge, post
from engine.capabilities import Message
from engine.domain import outputs_of
from engine.plugins import Pending
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
