"""An overdue postmortem reaches the director, and one that is published in time reaches nobody."""

from __future__ import annotations


async def resolved(example, severity="sev1"):
    await example.declare(severity=severity)
    await example.resolve()
    await example.answers("linus", "yes")


async def test_the_owner_is_reminded_a_working_day_before_and_the_director_told_on_the_day(example):
    await resolved(example)  # on a Monday: sev1 is due on the Monday after it
    await example.move("3d")
    assert example.said("linus", by="overdue") == []
    await example.move("1d")
    assert len(example.said("linus", by="overdue")) == 1
    assert example.said("mary") == []
    await example.move("3d")
    assert example.said("mary") == [
        "The postmortem of Checkout is slow (sev1) is overdue; Linus can say what it needs."
    ]


async def test_the_deadline_goes_by_the_severity(example):
    await resolved(example, "sev2")
    await example.move("13d")
    assert example.said("mary") == []
    await example.move("1d")
    assert len(example.said("mary")) == 1


async def test_a_deadline_at_night_is_told_in_the_morning(example):
    await example.move("13h")
    await example.declare()
    await example.resolve()
    await example.move("7d")
    assert (example.said("mary"), example.states("overdue")) == ([], ["held"])
    await example.move("10h")
    assert len(example.said("mary")) == 1


async def test_a_postmortem_in_good_time_reminds_nobody(example):
    await resolved(example)
    await example.move("3d")
    await example.publish("postmortem")
    await example.move("21d")
    assert (example.said("linus", by="overdue"), example.said("mary")) == ([], [])
    assert example.states("overdue") == ["finished"]


async def test_one_that_is_published_on_the_last_day_is_not_told_to_the_director(example):
    await resolved(example)
    await example.move("6d")
    await example.publish("postmortem")
    await example.move("21d")
    assert (len(example.said("linus", by="overdue")), example.said("mary")) == (1, [])


async def test_another_document_does_not_count(example):
    await resolved(example)
    await example.declare("Search is slow", "sev2")
    await example.resolve("INC-2")
    await example.publish("search")
    await example.move("8d")
    assert ["Checkout is slow" in text for text in example.said("mary")] == [True]


async def test_a_small_incident_and_a_drill_have_no_deadline(example):
    await example.declare(severity="sev3")
    await example.resolve("INC-1")
    await example.declare(drill=True)
    await example.resolve("INC-2")
    await example.move("21d")
    assert (example.runs("overdue"), example.said("mary")) == ([], [])


async def test_a_hiccup_has_none_either(example):
    await example.declare()
    await example.resolve(stays="10m")
    await example.does("ada", "reopen_incident", incident="INC-1")
    await example.move("1d")
    assert example.runs("overdue") == []


async def test_a_reopened_incident_has_no_deadline_until_it_is_resolved_again(example):
    await resolved(example)
    await example.does("ada", "reopen_incident", incident="INC-1")
    await example.move("8d")
    assert (example.said("mary"), example.states("overdue")) == ([], ["stopped"])
    await example.resolve()
    await example.move("8d")
    assert len(example.said("mary")) == 1


async def test_where_nobody_owns_it_the_lead_of_the_team_is_reminded_or_that_of_sre(example):
    await example.declare("Login is slow", services=("login",))
    await example.declare("Something is slow", services=())
    await example.resolve("INC-1")
    await example.resolve("INC-2")
    await example.move("6d")
    reminded = [[text.partition(" is due")[0] for text in example.said(who, by="overdue")] for who in ("whit", "grace")]
    assert reminded == [["The postmortem of Login is slow"], ["The postmortem of Something is slow"]]
    await example.move("3d")
    assert [text.partition("; ")[2] for text in example.said("mary", by="overdue")] == [
        "Whit can say what it needs.",
        "Grace can say what it needs.",
    ]


async def test_notes_about_the_same_incident_are_no_postmortem(example):
    await resolved(example)
    for days, name in (("1d", "notes"), ("4d", "minutes")):  # before the reminder, and after it
        await example.move(days)
        example.publish_beside("postmortem", name, template=name)
        await example.settle()
    await example.move("3d")
    assert (len(example.said("linus", by="overdue")), len(example.said("mary"))) == (1, 1)
