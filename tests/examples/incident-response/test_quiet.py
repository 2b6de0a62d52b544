"""An open incident went quiet: somebody is asked how it stands, and asked again."""

from __future__ import annotations

from engine.plugins import Fact

QUIET = "quiet"


async def test_whoever_is_in_charge_is_asked_after_the_silence_and_not_before(example):
    await example.declare()
    await example.engine_says(roles={"commander": example.person("ada")})
    await example.move("44m")
    assert example.asked("ada", by=QUIET) == []
    await example.move("1m")
    assert example.asked("ada", by=QUIET) == [
        "Nobody has written anything about INC-1 Checkout is slow for 45 min. How does it stand?"
    ]


async def test_who_is_on_it_is_asked_again_later_and_may_end_it(example):
    await example.declare()
    await example.move("50m")
    await example.answers("linus", "working")
    await example.move("45m")
    assert len(example.asked("linus", by=QUIET)) == 2
    await example.answers("linus", "over")
    (incident,) = example.subjects("incident")
    assert (incident.status, example.said("grace", by=QUIET)) == ("resolved", [])
    assert "Over, says Linus." in example.timeline(incident)


async def test_a_call_for_help_and_silence_reach_the_lead(example):
    await example.declare()
    await example.move("46m")
    await example.answers("linus", "stuck")
    assert example.said("grace", by=QUIET) == ["INC-1 Checkout is slow went quiet. Linus needs help."]
    await example.declare("Search is slow")
    await example.move("2h")
    assert "INC-2 Search is slow went quiet. Linus does not answer." in example.said("grace", by=QUIET)
    assert [incident.status for incident in example.subjects("incident")] == ["declared", "declared"]


async def test_work_that_is_written_down_is_not_interrupted(example):
    await example.declare()
    for _ in range(4):
        await example.move("40m")
        await example.notes("ada", "The queue is drained by hand.")
    assert example.asked("linus", by=QUIET) == []


async def test_a_small_incident_a_drill_and_one_that_is_over_may_be_quiet(example):
    await example.declare(severity="sev3")
    await example.declare(drill=True)
    await example.declare()
    await example.resolve("INC-3", stays="1d")
    assert (example.asked("linus", by=QUIET), example.said("grace", by=QUIET)) == ([], [])


async def test_work_that_goes_on_after_the_question_ends_the_matter(example):
    await example.declare()
    await example.move("50m")
    await example.notes("ada", "The queue is drained by hand.")
    await example.move("40m")
    assert (example.states("quiet"), example.said("grace", by=QUIET)) == (["stopped"], [])


async def test_what_its_source_says_is_over_is_asked_about_no_further(example):
    await example.declare()
    await example.move("46m")
    over = Fact("incident.resolved", example.now, "incident", "local:INC-1", {"status": "resolved"}, own=True)
    await example.happens("local", over)
    await example.move("2h")
    assert (example.states("quiet"), example.said("grace", by=QUIET)) == (["stopped"], [])


async def test_help_comes_from_the_lead_of_the_team_or_of_sre(example):
    await example.declare("Help is slow", services=("help",))
    await example.declare("Something is slow", services=())
    await example.move("2h")
    helped = [[text.partition(" went")[0] for text in example.said(who, by=QUIET)] for who in ("joan", "grace")]
    assert helped == [["INC-1 Help is slow"], ["INC-2 Something is slow"]]
