"""A postmortem of a security incident: its own template, for the security team, and nothing of it elsewhere."""

from __future__ import annotations

EVERYBODY = ("ada", "linus", "grace", "mary", "#sre", "#incidents")


async def breach(example, **more):
    await example.declare("Tokens of checkout leaked", private=True, labels=("security",), **more)
    await example.resolve(stays="2h")


async def test_the_security_team_gets_a_document_from_its_own_template(example):
    await breach(example)
    text = example.document("security-review").read_text("utf-8")
    assert "## Whom we have to tell, and by when" in text
    assert "whit" in text
    assert "radia" in text
    assert "ada" not in text
    (incident,) = example.subjects("incident")
    assert incident.roles["postmortem_owner"].id == "whit"
    assert len(example.said("whit")) == 1


async def test_nobody_else_is_told_and_no_other_workflow_starts(example):
    await breach(example)
    await example.move("4d")
    assert [example.said(who) + example.asked(who) for who in EVERYBODY] == [[]] * len(EVERYBODY)
    assert {run["workflow"] for run in example.runs()} == {"security"}
    assert example.documents == ["Security review: INC-1"]


async def test_the_manager_hears_after_five_working_days_and_not_what_it_was_about(example):
    await breach(example)
    await example.move("8d")
    assert example.said("mary") == ["The security review of INC-1 is not finished. Whit can say what it needs."]


async def test_a_finished_review_is_no_news(example):
    await breach(example)
    await example.publish("security-review")
    await example.move("14d")
    assert example.said("mary") == []


async def test_an_open_incident_of_the_same_label_takes_the_ordinary_way(example):
    await example.declare("A certificate ended", labels=("security",))
    await example.resolve()
    assert example.documents == ["Postmortem: A certificate ended"]
    assert (example.runs("security"), example.said("whit")) == ([], [])


async def test_what_is_over_for_less_than_an_hour_is_not_over(example):
    await example.declare("Tokens of checkout leaked", private=True, labels=("security",))
    await example.resolve(stays="59m")
    await example.does("ada", "reopen_incident", incident="INC-1")
    await example.move("1d")
    assert (example.documents, example.runs()) == ([], [])
    await example.resolve(stays="1h")
    assert example.documents == ["Security review: INC-1"]


async def test_a_private_incident_of_another_kind_and_a_drill_leave_nothing(example):
    await example.declare("A customer's data", private=True)
    await example.resolve("INC-1", stays="2h")
    await example.declare("Practice", private=True, labels=("security",), drill=True)
    await example.resolve("INC-2", stays="2h")
    assert (example.documents, example.runs(), example.said("whit")) == ([], [], [])


async def test_a_reopened_incident_has_no_deadline_until_it_is_over_again_and_keeps_its_document(example):
    await breach(example)
    await example.does("ada", "reopen_incident", incident="INC-1")
    await example.move("14d")
    assert (example.said("mary"), example.states("security")) == ([], ["stopped"])
    await example.resolve(stays="2h")
    assert (example.documents, len(example.said("whit"))) == (["Security review: INC-1"], 2)
    await example.move("14d")
    assert len(example.said("mary")) == 1
