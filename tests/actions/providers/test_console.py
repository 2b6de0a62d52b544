from datetime import timedelta
from pathlib import Path

import pytest

from actions.providers.console import Console, ConsoleOptions, plain
from engine.capabilities import Chat
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


# --- channels ---


async def kept(console, connection, method, *args, token="tok1", at=MONDAY, **named):
    """Do something in one commit; give what the console gave for it."""
    effect = an_effect(token)
    effect.at = at
    found = await getattr(console, method)(*args, **named, effect=effect)
    connection.storage.apply(effect)
    return found


async def opened(console, connection, name="INC-1: Checkout is slow", token="tok1", incident=None):
    return await kept(console, connection, "create_channel", name, private=False, incident=incident, token=token)


async def test_a_channel_has_a_name_of_its_own_and_doing_it_again_gives_the_same(console, connection):
    first = await opened(console, connection)
    assert (first.id, first.name) == ("#inc-1-checkout-is-slow", "inc-1-checkout-is-slow")
    assert await opened(console, connection) == first
    other = await opened(console, connection, token="k3v9q7zz")
    assert other.id == "#inc-1-checkout-is-slow-k3v9q7"


async def test_two_channels_of_one_name_that_are_opened_before_either_is_committed_differ(console):
    made = [
        await console.create_channel("Slow", private=False, incident=None, effect=an_effect(token))
        for token in ("first1", "second")
    ]
    assert [one.id for one in made] == ["#slow", "#slow-second"]


async def test_the_incident_is_told_its_channel_in_the_same_commit(console):
    effect = an_effect()
    await console.create_channel("Slow", private=False, incident="local:INC-1", effect=effect)
    ((connection, fact),) = effect.emitted
    assert (connection, fact.subject, fact.fields, fact.engine) == (
        "hotwash",
        "local:INC-1",
        {"channel": "#slow"},
        True,
    )


async def test_topic_members_and_links_are_kept_and_printed_where_they_are_new(console, connection):
    channel = (await opened(console, connection, "Slow")).id
    for _ in range(2):
        await kept(console, connection, "set_topic", channel, "sev1")
        await kept(console, connection, "invite", channel, [ADA, GRACE])
        await kept(console, connection, "bookmark", channel, "Page", "https://x")
        await kept(console, connection, "archive_channel", channel)
    (row,) = console.channels()
    assert (row["topic"], row["members"], row["bookmarks"]) == ("sev1", ["ada", "grace"], {"Page": "https://x"})
    assert row["archived_at"] == MONDAY.isoformat()
    assert [line.partition(": ")[2] for line in connection.said] == [
        "opened",
        "topic: sev1",
        "invited Ada Example, Grace Example",
        "Page: https://x",
        "archived",
    ]


async def test_a_renamed_channel_is_still_found_by_what_it_was_opened_as(console, connection):
    channel = await opened(console, connection, "Slow")
    renamed = await kept(console, connection, "rename_channel", channel.id, "Fast")
    assert (renamed.id, renamed.name) == ("#slow", "fast")


async def test_what_is_done_to_a_channel_that_was_not_opened_here_fails_and_names_it(console):
    with pytest.raises(ActionError, match="no channel '#nowhere' was opened here"):
        await console.set_topic("#nowhere", "x", effect=an_effect())


async def test_a_message_is_changed_and_pinned_by_its_id(console, connection):
    sent = await kept(console, connection, "post", "#slow", "one", thread=None)
    for _ in range(2):
        await kept(console, connection, "update", sent.id, "two", token="later")
        await kept(console, connection, "pin", sent.id, token="later")
    (row,) = console.messages()
    assert (row["text"], row["pinned"]) == ("two", True)
    assert connection.said == ["#slow: one", "#slow (changed): two", "#slow (pinned): two"]


async def test_a_channels_history_is_what_went_to_it_since(console, connection):
    await kept(console, connection, "post", "#slow", "early", thread=None, token="a")
    late = MONDAY + timedelta(hours=1)
    await kept(console, connection, "post", "#slow", "la\\|te", thread=None, token="b", at=late)
    await kept(console, connection, "post", "#other", "elsewhere", thread=None, token="c", at=late)
    found = [said async for said in console.history("#slow", late)]
    assert [(said.text, said.at, said.own) for said in found] == [("la|te", late, True)]


async def test_what_one_person_sees_in_a_channel_is_printed_for_them_alone(console, connection):
    shown = await kept(console, connection, "ephemeral", "#slow", ADA, "psst")
    assert (shown.id, connection.said) == (None, ["#slow (only for Ada Example): psst"])
    assert [row["to"] for row in console.messages()] == ["@ada"]


def test_all_it_writes_are_rows_of_our_own():
    changing = [name for name in dir(Chat) if not name.startswith("_") and name != "history"]
    assert {effect_class(getattr(Console.cls, name)) for name in changing} == {"own_rows"}
