from datetime import timedelta
from pathlib import Path

import pytest

from actions.providers.console import Console, ConsoleOptions, plain
from engine.domain import Person
from engine.plugins import ActionError, effect_class
from tests.fakes import ADA, GRACE, MONDAY, FakeConnection, an_effect

CHOICES = {"do": "On it", "snooze": "Ask me in a week"}
LINUS = Person("linus", "Linus Example")


@pytest.fixture
def connection():
    return FakeConnection(Path(), name="console")


@pytest.fixture
def console(connection):
    return Console.build(ConsoleOptions(), connection)


async def asked(console, connection, token="tok1", people=(ADA,)):
    effect = an_effect(token)
    await console.ask(people, "Has HW\\-3 moved?", CHOICES, effect=effect)
    connection.storage.apply(effect)
    return effect.id


async def test_a_message_is_printed_with_its_channel(console, connection):
    await console.post(None, "All is quiet.", thread=None, effect=an_effect())
    await console.post("#sre", "Here too.", thread=None, effect=an_effect())
    assert connection.said == ["#incidents: All is quiet.", "#sre: Here too."]


async def test_a_message_is_kept_in_the_inbox_oldest_first(console, connection):
    late, early = an_effect("a"), an_effect("b")
    late.at = MONDAY + timedelta(seconds=1)
    await console.direct(ADA, "second", effect=late)
    await console.post(None, "first", thread="7", effect=early)
    connection.storage.apply(late)
    connection.storage.apply(early)
    assert [(row["to"], row["text"], row["thread"]) for row in console.messages()] == [
        ("#incidents", "first", "7"),
        ("@ada", "second", None),
    ]


async def test_nothing_is_kept_before_the_effects_commit(console, connection):
    await console.post(None, "first", thread=None, effect=an_effect())
    assert console.messages() == []


def test_escapes_and_control_characters_are_not_shown():
    assert plain("a\\|b \\<c\\> \x1b[31mred\x07 \u202eabc\x9b\\\\") == "a|b <c> [31mred abc\\"


async def test_further_lines_of_a_message_are_indented(console, connection):
    await console.post(None, "one\r\ntwo", thread=None, effect=an_effect())
    assert connection.said == ["#incidents: one\n    two"]


async def test_a_channel_cannot_forge_a_line(console, connection):
    await console.post("#a\nq: fake", "x", thread=None, effect=an_effect())
    assert connection.said == ["#a q: fake: x"]


async def test_a_question_is_printed_with_the_commands_that_answer_it(console, connection):
    await asked(console, connection, people=(ADA, GRACE))
    assert connection.said == [
        "Q1 to Ada Example, Grace Example: Has HW-3 moved?\n"
        "    On it: hotwash answer Q1 do\n"
        "    Ask me in a week: hotwash answer Q1 snooze"
    ]


async def test_open_questions_tell_their_choices_and_whom_they_ask(console, connection):
    effect_id = await asked(console, connection)
    [question] = console.questions()
    assert (question.name, question.id, question.choices, question.asked, question.open) == (
        "Q1",
        effect_id,
        CHOICES,
        (("ada", "Ada Example"),),
        True,
    )


@pytest.mark.parametrize("choice", ["snooze", "Snooze", "ask me in a week"])
async def test_an_answer_is_an_event_that_names_the_effect_that_asked(console, connection, choice):
    effect_id = await asked(console, connection)
    fact = console.answer("q1", choice, ADA, MONDAY)
    assert (fact.type, fact.actor, fact.data) == ("chat.answered", ADA, {"question": effect_id, "answer": "snooze"})


async def test_a_question_is_found_by_the_identity_of_its_effect(console, connection):
    await asked(console, connection, "a")
    second = await asked(console, connection, "b")
    assert console.question(second).name == "Q2"


async def test_an_answer_that_is_not_offered_names_those_that_are(console, connection):
    await asked(console, connection)
    with pytest.raises(ActionError, match=r"Q1 offers do \(On it\), snooze \(Ask me in a week\): not 'maybe'"):
        console.answer("Q1", "maybe", ADA, MONDAY)


async def test_only_those_asked_may_answer(console, connection):
    await asked(console, connection, people=(ADA, GRACE))
    with pytest.raises(ActionError, match="put to Ada Example, Grace Example: Linus Example was not asked"):
        console.answer("Q1", "do", LINUS, MONDAY)


async def test_the_first_answer_counts(console, connection):
    await asked(console, connection, people=(ADA, GRACE))
    key, row = console.closing("Q1", MONDAY, console.answer("Q1", "do", ADA, MONDAY))
    connection.storage.kept[key] = row
    with pytest.raises(ActionError, match="answered already: 'do', by Ada Example"):
        console.answer("Q1", "snooze", GRACE, MONDAY)


async def test_a_question_nobody_waits_for_any_more_takes_no_answer(console, connection):
    effect_id = await asked(console, connection)
    key, row = console.closing(effect_id, MONDAY)
    connection.storage.kept[key] = row
    with pytest.raises(ActionError, match="nobody waits"):
        console.answer("Q1", "do", ADA, MONDAY)
    assert not console.question("Q1").open


async def test_an_unknown_question_names_the_open_ones(console, connection):
    await asked(console, connection)
    with pytest.raises(ActionError, match="no question is called 'Q7'; open: Q1"):
        console.question("Q7")


async def test_the_tenth_question_comes_after_the_ninth(console, connection):
    for number in range(10):
        await asked(console, connection, f"t{number}")
    assert [question.name for question in console.questions()][-2:] == ["Q9", "Q10"]


def test_all_it_writes_are_rows_of_our_own():
    assert {effect_class(getattr(Console.cls, name)) for name in ("post", "direct", "ask")} == {"own_rows"}
