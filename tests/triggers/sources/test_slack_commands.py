"""`/incident`, the buttons, the modals and the shortcuts: what people ask for in Slack, and what they are told."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

import pytest

from tests.slack_desk import live_slack
from tests.slack_workspace import error


@pytest.fixture
async def slack(tmp_path):
    """Give an engine with the incident INC-1, whose channel is C9."""
    async with live_slack(tmp_path) as live:
        await live.command("")
        await live.submits(title="Checkout is slow", severity=("sev3",))
        await live.has_channel("C9")
        yield live


async def said(slack, text, **more):
    """Give the text that whoever typed a command is answered, and whether everybody sees it."""
    answer = await slack.command(text, **more)
    return answer["text"].replace("\u2060", ""), answer["response_type"] == "in_channel"


# --- in the incident's channel ---


async def test_a_severity_is_set_for_everybody_to_see(slack):
    assert await said(slack, "severity SEV1") == ("Ada: INC-1 has now severity sev1", True)
    assert slack.incident.severity == "sev1"


async def test_a_note_is_a_line_of_the_timeline_by_whoever_wrote_it(slack):
    assert await said(slack, "note drained the queue", by="UGRACE") == ("Grace notes: drained the queue", True)
    assert ("drained the queue", "grace") in [(one.text, one.by and one.by.id) for one in slack.timeline()]


async def test_a_role_is_given_to_who_is_mentioned_else_taken(slack):
    assert await said(slack, "role Incident Commander <@UGRACE|grace>") == (
        "Grace is incident commander of INC-1",
        True,
    )
    await said(slack, "role scribe")
    await said(slack, "role communications @grace")
    assert {name: one.id for name, one in slack.incident.roles.items()} == {
        "incident_commander": "grace",
        "scribe": "ada",
        "communications": "grace",
    }


async def test_an_action_item_has_an_owner_and_a_due_date(slack):
    text, _ = await said(slack, "action Add an index on orders @grace 2026-03-20")
    (ticket,) = slack.world.subjects("ticket")
    assert text == "HW-1 is filed: Add an index on orders"
    assert (ticket.title, ticket.assignee.id, f"{ticket.due:%m-%d}") == ("Add an index on orders", "grace", "03-20")
    assert (ticket.incident, ticket.description) == (
        "local:INC-1",
        "Ada asked for it in Slack: https://example.slack.com/archives/C9",
    )


@pytest.mark.parametrize(("due", "day"), [("3d", "03-05"), ("2w", "03-16"), ("5bd", "03-09")])
async def test_a_due_date_may_be_so_long_from_now(slack, due, day):
    await said(slack, f"action Add an index {due} <@UGRACE>")
    assert f"{slack.world.subjects('ticket')[0].due:%m-%d}" == day


async def test_an_update_says_what_is_new_and_how_far_it_is(slack):
    assert await said(slack, "update mitigated traffic is drained") == (
        "Ada: traffic is drained. INC-1 is mitigated",
        True,
    )
    assert (slack.incident.status, slack.timeline()[-2].text) == ("mitigated", "traffic is drained")
    assert (await said(slack, "update all is well"))[0] == "Ada: all is well"


async def test_an_incident_is_resolved_and_opened_again(slack):
    assert await said(slack, "resolve it was the cache") == ("Ada: INC-1 is resolved. it was the cache", True)
    assert slack.incident.status == "resolved"
    assert (await said(slack, "resolve"))[0] == "Ada: INC-1 was resolved already"
    assert await said(slack, "reopen") == ("Ada: INC-1 is open again", True)


async def test_the_timeline_is_shown_to_whoever_asks(slack):
    await slack.writes("C9", "the queue is full", by="UGRACE")
    text, everybody = await said(slack, "timeline")
    assert (text.splitlines()[0], everybody) == ("INC-1 Checkout is slow", False)
    assert text.splitlines()[-1] == "03-02 09:00 UTC  the queue is full, Grace"


async def test_a_title_pages_nobody(slack):
    await slack.command("")
    await slack.submits(id="V2", title="<!channel> *down*")
    await slack.has_channel("C8", "local:INC-2")
    answer = await slack.command("timeline", room="C8")
    assert "<!channel>" not in answer["text"]
    assert "&lt;!channel&gt;" in answer["text"]


# --- elsewhere ---


async def test_in_another_channel_the_incident_is_named_and_only_whoever_asks_is_answered(slack):
    assert await said(slack, "severity inc-1 sev2", room="C1") == ("Ada: INC-1 has now severity sev2", False)
    text, _ = await said(slack, "severity sev2", room="C1")
    assert text == "This is not the channel of an incident: name one, as in /incident severity INC-7"
    assert (await said(slack, "resolve INC-9", room="C1"))[0] == "No incident is called 'INC-9'"


async def test_a_private_incident_is_as_if_it_were_not_there_elsewhere(slack):
    await slack.command("")
    await slack.submits(id="V2", title="A break-in", private=["private"])
    await slack.has_channel("C8", "local:INC-2")
    assert (await said(slack, "timeline INC-2", room="C1"))[0] == "No incident is called 'INC-2'"
    assert "A break-in" in (await said(slack, "timeline", room="C8"))[0]
    text, _ = await said(slack, "timeline INC-2", room="C9")
    assert "A break-in" not in text


# --- mistakes ---


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("resolv", "There is no /incident resolv: did you mean /incident resolve? There are declare, update,"),
        ("party hard", "There is no /incident party: There are declare, update,"),
        ("severity sev9", "No severity is called 'sev9'; did you mean 'sev"),
        ("severity terrible", "No severity is called 'terrible'; there are sev1, sev2, sev3, sev4"),
        ("role commander @mary", "Nobody is known as '@mary': take a name of the roster"),
        ("role é", "'role': string should match"),
        ("reopen", "INC-1 is declared: only one that is resolved can be reopened"),
    ],
)
async def test_a_mistake_is_answered_with_what_there_is(slack, typed, told):
    text, everybody = await said(slack, typed)
    assert (text[: len(told)], everybody) == (told, False)


async def test_help_says_what_there_is(slack):
    text, everybody = await said(slack, "help")
    assert ("/incident severity SEVERITY — set the severity" in text, everybody) == (True, False)


async def test_somebody_whom_the_roster_does_not_know_acts_by_their_name_in_slack(slack):
    await slack.command("note here I am", by="UNEW", user_name="mary")
    assert (slack.timeline()[-1].by.id, slack.timeline()[-1].by.name) == ("slack:UNEW", "mary")


# --- modals and buttons ---


@pytest.mark.parametrize(
    ("name", "entered", "told"),
    [
        ("severity", {"severity": ("sev1",)}, "Ada: INC-1 has now severity sev1"),
        ("note", {"text": "drained"}, "Ada notes: drained"),
        ("role", {"role": "commander", "person": "UGRACE"}, "Grace is commander of INC-1"),
        ("action", {"text": "Add an index", "person": "UGRACE"}, "HW-1 is filed: Add an index"),
        ("update", {"status": ("mitigated",), "text": "drained"}, "Ada: drained. INC-1 is mitigated"),
    ],
)
@pytest.mark.parametrize("how", ["typed", "pressed"])
async def test_a_command_without_its_words_asks_for_them(slack, name, entered, told, how):
    assert await (slack.command(name) if how == "typed" else slack.presses(name, "local:INC-1")) is None
    assert slack.desk.views[-1]["callback_id"] == f"hotwash:{name}"
    assert await slack.submits(id="V2", **entered) is None
    assert slack.desk.answers == [{"response_type": "in_channel", "text": told, "replace_original": False}]


async def test_a_button_acts_at_once_where_nothing_is_to_be_asked(slack):
    await slack.presses("resolve", "local:INC-1")
    assert (slack.incident.status, slack.desk.answers[0]["text"]) == ("resolved", "Ada: INC-1 is resolved")


async def test_what_is_wrong_with_a_modal_is_shown_in_it(slack):
    await slack.command("severity")
    answer = await slack.submits(id="V2", severity=("sev9",))
    assert answer["response_action"] == "errors"
    assert answer["errors"]["severity"].startswith("No severity is called 'sev9'")


async def test_a_modal_that_is_submitted_twice_declares_once(slack):
    await slack.command("declare Search is down")
    assert slack.desk.views[-1]["blocks"][0]["element"]["initial_value"] == "Search is down"
    await slack.submits(id="V2", title="Search is down")
    answer = await slack.submits(id="V2", title="Search is down")
    assert [one.key for one in slack.world.subjects("incident")] == ["INC-1", "INC-2"]
    assert "INC-2 is declared already" in answer["view"]["blocks"][0]["text"]["text"]


async def test_a_modal_that_slack_does_not_open_is_told(slack):
    slack.desk.bad["views.open"] = [error("expired_trigger_id")]
    text, _ = await said(slack, "")
    assert text == "Slack answered views.open with 'expired_trigger_id'"


async def test_the_shortcut_opens_the_modal(slack):
    await slack.interacts("shortcut", callback_id="hotwash-declare")
    assert slack.desk.views[-1]["callback_id"] == "hotwash:declare"


async def test_a_message_becomes_an_action_item_by_its_menu_once(slack):
    ts = await slack.writes("C9", "add an index on orders")
    message = {"type": "message", "user": "UADA", "text": "add an index on orders", "ts": ts}
    for _ in range(2):
        await slack.interacts(
            "message_action", callback_id="hotwash-action", message=message, channel={"id": "C9"}, message_ts=ts
        )
    (ticket,) = slack.world.subjects("ticket")
    assert ticket.description.endswith(f"https://example.slack.com/archives/C9/p{ts.replace('.', '')}")
    assert [one["text"] for one in slack.desk.answers] == [
        "HW-1 is filed: add an index on orders",
        "HW-1 is filed already: add an index on orders",
    ]


async def test_an_answer_goes_to_no_address_but_slacks(slack):
    asked = {"response_url": "http://169.254.169.254/latest", "trigger_id": ""}
    assert (await slack.command("", **asked))["text"] == "Slack lets no window be opened from here"
    await slack.presses("resolve", "local:INC-1", response_url="http://169.254.169.254/latest")
    assert any("the address for the answer is not Slack's" in sentence for _, sentence in slack.world.told)


# --- in time ---


async def test_a_command_that_takes_long_is_answered_at_once_and_later_with_what_came_of_it(slack):
    source = slack.world.application.sources["chat"]
    source.patience = 0.0
    assert (await said(slack, "note drained the queue"))[0].startswith("One moment")
    assert slack.desk.answers[-1]["text"] == "Ada notes: drained the queue"


async def test_a_button_that_takes_long_is_answered_with_nothing_and_then_with_what_came_of_it(slack):
    source = slack.world.application.sources["chat"]
    source.patience = 0.0
    assert await slack.presses("resolve", "local:INC-1") is None
    assert slack.desk.answers[-1]["text"] == "Ada: INC-1 is resolved"


async def test_a_modal_that_takes_long_says_so_and_then_what_came_of_it(slack):
    await slack.command("")
    source = slack.world.application.sources["chat"]
    source.patience = 0.0
    answer = await slack.submits(id="V2", title="Search is down")
    assert answer["view"]["blocks"][0]["text"]["text"].startswith("One moment")
    assert slack.desk.updated[-1]["view"]["blocks"][0]["text"]["text"] == "INC-2 is declared: Search is down."


async def test_a_message_that_cannot_be_kept_in_time_is_asked_for_again(slack):
    source = slack.world.application.sources["chat"]
    source.patience = 0.0
    ts = {"ts": "1772442060.000100", "event_ts": "1772442060.000100"}
    message = {"user": "UADA", "text": "the queue is full", "channel": "C9", **ts}
    assert (await slack.event("message", "Ev7", **message)).status_code == 503
    source.patience = 5.0
    assert (await slack.event("message", "Ev7", **message)).json() == {"accepted": 0, "duplicates": 1}
    assert slack.captured() == ["the queue is full"]


async def test_two_people_who_resolve_at_once_are_both_answered(slack):
    form = {"command": "/incident", "text": "resolve", "channel_id": "C9", "response_url": f"{slack.desk.api}respond"}
    bodies = [urlencode({**form, "user_id": user}).encode() for user in ("UADA", "UGRACE")]
    answers = await asyncio.gather(*(slack.post(body) for body in bodies))
    told = sorted(answer.json()["text"].partition(": ")[2].replace("\u2060", "") for answer in answers)
    assert told == ["INC-1 is resolved", "INC-1 was resolved already"]
