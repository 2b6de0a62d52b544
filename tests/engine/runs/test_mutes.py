"""What somebody has muted they hear nothing of: reminders are left out, and questions wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from engine import reports
from engine.cli.histories import Times, run_text
from engine.operations import BadInput, NotFound, Refused
from engine.operations import perform as operate

NUDGE = """
on: ticket.updated
once_per: event.id
steps:
  - {id: told, uses: chat.nudge, with: {to: ada, text: "${{ ticket.key }} has not moved."}}
  - {uses: chat.post, with: {text: "muted: ${{ steps.told.muted }}"}}
"""
ASK = """
on: ticket.updated
once_per: event.id
steps: [{id: ask, uses: chat.ask, timeout: 1d, with: {to: TO, text: "${{ ticket.key }}?", choices: {go: Go}}}]
"""


async def perform(world, name, **inputs):
    done = await operate(world.application, name, inputs, "ada")
    await world.settle()
    return done


# --- messages ---


async def test_what_is_muted_is_not_sent_and_the_record_says_why(engine, capsys):
    async with engine(NUDGE) as world:
        await world.ticket("HW-3")
        await perform(world, "mute_subject", subject="hw-3", until="7d")
        await world.ticket("HW-3", title="still")
        assert world.said == ["HW-3 has not moved.", "muted: false", "muted: true"]
        run_text(reports.show_run(world.application.reader, "2"), Times("UTC"))
        assert "chat.nudge: not sent: Ada has muted HW-3 until 2026-03-09 09:00 UTC" in capsys.readouterr().out


async def test_a_mute_is_of_one_person_and_one_subject(engine):
    text = NUDGE.replace("to: ada,", "to: '${{ item }}',").partition("  - {uses: chat.post")[0]
    async with engine(text.replace("id: told,", """id: told, for_each: '["ada", "grace"]',""")) as world:
        await world.ticket("HW-3")
        await perform(world, "mute_subject", subject="HW-3", until="7d")
        await world.ticket("HW-3", title="still")
        await world.ticket("HW-4")
        assert [(one.to, one.text[:4]) for one in world.chat.sent[2:]] == [
            ("grace", "HW-3"),
            ("ada", "HW-4"),
            ("grace", "HW-4"),
        ]


async def test_a_mute_ends_at_its_instant_and_lasts_over_restarts(engine):
    async with engine(NUDGE) as world:
        await world.ticket("HW-3")
        await perform(world, "mute_subject", subject="HW-3", until="7d")
        await world.move("6d")
        await world.crash()
        await world.restart()
        await world.ticket("HW-3", title="still")
        await world.move("1d")
        await world.ticket("HW-3", title="again")
        assert world.said[1:] == ["muted: false", "muted: true", "HW-3 has not moved.", "muted: false"]


async def test_what_waited_for_a_digest_is_dropped_when_it_was_muted_meanwhile(engine):
    async with engine(NUDGE.replace('moved."}', 'moved.", digest: {window: 1h}}')) as world:
        await world.ticket("HW-3")
        await perform(world, "mute_subject", subject="HW-3", until="7d")
        await world.move("1h")
        assert world.said == ["muted: false"]
        rows = world.application.reader.execute("SELECT data FROM steps WHERE kind = 'dropped'").fetchall()
        assert [row["data"] for row in rows] == ['{"why":"Ada has muted HW-3 until 2026-03-09 09:00 UTC"}']


async def test_what_was_not_sent_does_not_count_to_the_daily_limit(engine):
    async with engine(NUDGE) as world:
        await world.ticket("HW-3")
        await perform(world, "mute_subject", subject="HW-3", until="7d")
        for number in range(6):
            await world.ticket("HW-3", title=str(number))
        for number in range(6):
            await world.ticket(f"HW-{number + 4}")
        assert len(world.chat.to("ada")) == 5


# --- questions ---


async def test_a_question_waits_until_the_mute_ends(engine):
    async with engine(ASK.replace("TO", "ada")) as world:
        await world.ticket("HW-3")
        await world.answer("go", "ada")
        await perform(world, "mute_subject", subject="HW-3", until="7d")
        await world.ticket("HW-3", title="still")
        assert (world.said, world.state) == (["HW-3?"], "held")
        await world.move("7d")
        assert (world.said, world.state) == (["HW-3?", "HW-3?"], "waiting")


async def test_a_question_is_asked_when_the_mute_is_taken_back(engine):
    async with engine(ASK.replace("TO", "ada")) as world:
        await world.ticket("HW-3")
        await world.answer("go", "ada")
        await perform(world, "mute_subject", subject="HW-3", until="7d")
        await world.ticket("HW-3", title="still")
        await perform(world, "unmute_subject", subject="HW-3")
        assert (world.said, world.state) == (["HW-3?", "HW-3?"], "waiting")


async def test_a_question_to_several_spares_whoever_has_muted_it(engine):
    async with engine(ASK.replace("TO", "[ada, grace]")) as world:
        await world.ticket("HW-3")
        await world.answer("go", "ada")
        await perform(world, "mute_subject", subject="HW-3", until="7d")
        await world.ticket("HW-3", title="still")
        assert [one.to for one in world.chat.sent] == ["ada,grace", "grace"]
        await world.answer("go", "ada")
        assert world.state == "waiting"
        await world.answer("go", "grace")
        assert world.state == "finished"


# --- muting ---


@pytest.mark.parametrize(
    ("until", "instant"),
    [
        ("5bd", datetime(2026, 3, 9, 9, tzinfo=UTC)),
        ("2026-03-05", datetime(2026, 3, 5, tzinfo=UTC)),
        ("2026-03-05T10:00+01:00", datetime(2026, 3, 5, 9, tzinfo=UTC)),
    ],
)
async def test_a_mute_lasts_for_a_time_or_until_an_instant_or_a_day(engine, until, instant):
    async with engine(NUDGE) as world:
        await world.ticket("HW-3")
        done = await perform(world, "mute_subject", subject="HW-3", until=until)
        assert done.data["until"] == instant
        assert done.message == f"Ada gets no messages about HW-3 until {instant:%Y-%m-%d %H:%M} UTC"


@pytest.mark.parametrize(
    ("inputs", "error", "words"),
    [
        ({"until": "soon"}, BadInput, "'until' must be a length of time"),
        ({"until": "2026-03-05T10:00"}, BadInput, "must say its time zone"),
        ({"until": "2026-03-01"}, BadInput, "must lie ahead"),
        ({"subject": "HW-9", "until": "1d"}, NotFound, "no subject is called 'HW-9'; there is HW-3"),
        ({"person": "zoe", "until": "1d"}, NotFound, "nobody in the roster is called 'zoe'"),
    ],
)
async def test_a_mute_that_cannot_be_is_refused_and_changes_nothing(engine, inputs, error, words):
    async with engine(NUDGE) as world:
        await world.ticket("HW-3")
        with pytest.raises(error, match=words):
            await perform(world, "mute_subject", **{"subject": "HW-3", **inputs})
        assert reports.mutes(world.application.reader, world.now) == []


async def test_whoever_is_nobody_in_the_roster_says_whose_mute_it_is(engine):
    async with engine(NUDGE) as world:
        await world.ticket("HW-3")
        with pytest.raises(Refused, match="'root' is nobody in the roster"):
            await operate(world.application, "mute_subject", {"subject": "HW-3", "until": "1d"}, "root")
        await operate(world.application, "mute_subject", {"subject": "HW-3", "until": "1d", "person": "ada"}, "root")
        [one] = reports.mutes(world.application.reader, world.now)
        assert (one["person"], one["by"]["name"], one["subject"]["key"]) == ("ada", "root", "HW-3")
        assert one["until"] == (world.now + timedelta(days=1)).isoformat()


async def test_a_later_mute_takes_the_place_of_an_earlier_one(engine):
    async with engine(NUDGE) as world:
        await world.ticket("HW-3")
        await perform(world, "mute_subject", subject="HW-3", until="7d")
        await perform(world, "mute_subject", subject="HW-3", until="1h")
        await world.move("1h")
        await world.ticket("HW-3", title="still")
        assert world.said.count("HW-3 has not moved.") == 2


async def test_only_what_is_muted_can_be_unmuted(engine):
    async with engine(NUDGE) as world:
        await world.ticket("HW-3")
        with pytest.raises(Refused, match="Ada has not muted HW-3"):
            await perform(world, "unmute_subject", subject="HW-3")


async def test_incidents_and_documents_can_be_muted(engine):
    async with engine(NUDGE) as world:
        await world.declared()
        await world.document("D1")
        for subject in ("pager:P1", "docs:D1"):
            await perform(world, "mute_subject", subject=subject, until="1d")
        kinds = [one["subject"]["type"] for one in reports.mutes(world.application.reader, world.now, "ada")]
        assert kinds == ["incident", "document"]
        assert reports.mutes(world.application.reader, world.now, "grace") == []
