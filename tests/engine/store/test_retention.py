"""What is old is forgotten: bodies go, identities stay, and what goes on keeps what it may still read."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from engine import operations
from engine.calendars import Duration, parse_duration
from engine.plugins import ActionError, Fact
from engine.reports import explain_event, list_events, show_run
from engine.store import retention, schema
from engine.store.journal import Journal, StorageUnavailable, connect
from engine.store.retention import DEFAULTS, prune
from engine.testing import MovableClock

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
POST = '\nsteps:\n  - uses: chat.post\n    with: {text: "hello ${{ run.round }}"}\n'
NAP = "steps:\n  - wait: 400d\n  - uses: chat.post\n    with: {text: '${{ event.data.what }}'}\n"


async def forget(world, older_than="1d", **more):
    """Prune what is older than a day, and give how many rows of each kind went."""
    length = parse_duration(older_than)
    found = await world.application.forgetting.now(length, **more)
    return {part.kind: part.rows for part in found.parts if part.rows}


def rows(world, sql, *arguments):
    return [tuple(row) for row in world.application.reader.execute(sql, arguments).fetchall()]


def bodies(world):
    """Give the types of the events that still have a body."""
    return [kind for (kind,) in rows(world, "SELECT type FROM events WHERE data IS NOT NULL ORDER BY id")]


# --- bodies and identities ---


async def test_bodies_of_what_is_over_go_and_identities_stay(engine):
    async with engine(POST) as world:
        await world.declared()
        (before,) = rows(world, "SELECT uid, type, subject, time, listeners FROM events")
        (effect,) = rows(world, "SELECT identity, inputs_hash, state FROM effects")
        await world.move("2d")
        gone = await forget(world)
        assert gone == {"events": 1, "verdicts": 1, "steps": gone["steps"], "effects": 1}
        assert rows(world, "SELECT actor, data, before, after, note FROM events") == [(None,) * 5]
        assert rows(world, "SELECT uid, type, subject, time, listeners FROM events") == [before]
        assert rows(world, "SELECT identity, inputs_hash, state FROM effects") == [effect]
        assert rows(world, "SELECT inputs, json_extract(result, '$.text') FROM effects") == [("null", None)]
        assert rows(world, "SELECT count(*) FROM steps") == [(0,)]
        assert [run["state"] for run in world.runs()] == ["finished"]
        assert world.subjects("incident")[0].title == "Checkout is slow"


async def test_what_is_young_stays(engine):
    async with engine(POST) as world:
        await world.declared()
        await world.move("23h")
        assert await forget(world) == {}
        await world.move("1h")
        await world.move("1s")
        assert (await forget(world))["events"] == 1


async def test_a_second_prune_finds_nothing_more(engine):
    async with engine(POST) as world:
        await world.declared()
        await world.move("2d")
        await forget(world)
        assert await forget(world) == {}


async def test_a_dry_run_says_the_same_and_changes_nothing(engine):
    async with engine(POST) as world:
        await world.declared()
        await world.move("2d")
        would = await forget(world, dry_run=True)
        assert bodies(world) == ["incident.declared"]
        did = await forget(world)
        assert (would["events"], would["effects"], would["verdicts"]) == (1, 1, 1)
        assert did == would


async def test_what_is_delivered_again_after_it_was_forgotten_changes_nothing(engine):
    async with engine("on: webhook" + POST) as world:
        fact = Fact("webhook", world.now, data={"what": "x"}, id="delivery-1")
        await world.happens("pager", fact)
        await world.move("2d")
        assert (await forget(world))["events"] == 1
        await world.happens("pager", fact)
        assert len(world.events()) == len(world.runs()) == len(world.said) == 1


async def test_a_key_is_spent_after_its_run_was_forgotten(engine):
    async with engine("on: incident.updated\nonce_per: incident.id" + POST) as world:
        await world.incident("updated", title="a")
        await world.move("2d")
        await forget(world)
        await world.incident("updated", title="b")
        assert (world.said, world.verdicts()) == (["hello 1"], ["already_ran"])


ROUNDS = """
on: [incident.declared, incident.reopened]
once_per: incident.id
stop_when: incident.severity == "sev4"
steps:
  - id: doc
    uses: document.create
    with: {title: Report, text: "What happened"}
  - uses: chat.post
    with: {text: "round ${{ run.round }}: ${{ steps.doc.id }} ${{ steps.doc.title | default('untitled') }}"}
  - wait: 30d
  - uses: chat.post
    with: {text: end}
"""


async def again(world, *meanwhile):
    """Stop the run, let it be forgotten, and have it taken up."""
    await world.incident("updated", severity="sev4")
    assert world.state == "stopped"
    await world.incident("resolved")
    await world.move("2d")
    gone = await forget(world)
    for fact in meanwhile:
        await world.happens("markdown", fact)
    await world.incident("reopened", severity="sev1")
    return gone


async def test_a_new_round_does_not_make_again_what_lasts_and_still_knows_its_id(engine):
    async with engine(ROUNDS) as world:
        await world.declared()
        gone = await again(world)
        assert gone["effects"] == 2
        document = world.subjects("document")[0].id
        assert world.said == [f"round 1: {document} Report", f"round 2: {document} untitled"]
        assert len(list((world.folder / "documents").rglob("*.md"))) == 1
        assert [run["round"] for run in world.runs()] == [2]


async def test_what_a_run_made_before_it_was_forgotten_still_counts_as_its_own(engine):
    wait = "  - wait: {for: 30d, until: {document.published: event.document.id == steps.doc.id}}\n"
    async with engine(ROUNDS.replace("  - wait: 30d\n", wait)) as world:
        await world.declared()
        document = world.subjects("document")[0].id
        await again(world, Fact("document.published", world.now, "document", document, {"content": "x"}))
        assert (world.state, world.said[-1]) == ("finished", "end")


async def test_a_step_that_is_done_once_per_value_stays_done(engine):
    once = "\nsteps:\n  - {id: say, uses: chat.post, once_per: incident.id, with: {text: once}}\n"
    async with engine("on: incident.updated" + once) as world:
        await world.incident("updated", title="a")
        await world.move("2d")
        assert (await forget(world))["effects"] == 1
        await world.incident("updated", title="b")
        assert (world.said, [run["state"] for run in world.runs()]) == (["once"], ["finished", "finished"])


async def test_a_failed_run_whose_records_are_gone_cannot_be_retried(engine):
    def before(message):
        if message.text == "again":
            raise ActionError("the channel is gone")

    async with engine(
        "steps:\n  - {uses: chat.post, with: {text: first}}\n  - {uses: chat.post, with: {text: again}}"
    ) as w:
        w.chat.before = before
        await w.declared()
        w.chat.before = lambda message: None
        said = list(w.said)
        await w.move("2d")
        await forget(w)
        with pytest.raises(operations.Refused, match="not kept any more"):
            await operations.perform(w.application, "retry_run", {"run": "1"}, "ada")
        assert (w.state, w.said) == ("failed", said)


async def test_a_failed_run_of_which_some_records_are_gone_cannot_be_retried(engine):
    async with engine("steps:\n  - {uses: ticket.close, with: {ticket: HW-9}}") as world:
        await world.declared()
        await world.move("2d")
        (records,) = rows(world, "SELECT count(*) FROM steps")
        journal = world.application.journal
        transact = journal.transact

        async def once(work):
            if rows(world, "SELECT count(*) FROM steps") != [records]:
                raise StorageUnavailable("the disk is full")
            return await transact(work)

        journal.transact = once
        with pytest.raises(StorageUnavailable):
            await prune(journal, world.now, {**DEFAULTS, "runs": parse_duration("1d")}, chunk=1)
        journal.transact = transact
        assert rows(world, "SELECT count(*) FROM steps") > [(0,)]
        with pytest.raises(operations.Refused, match="not kept any more"):
            await operations.perform(world.application, "retry_run", {"run": "1"}, "ada")


async def test_a_failed_run_is_retried_only_while_the_event_that_began_it_is_kept(engine):
    async with engine("steps:\n  - {uses: ticket.close, with: {ticket: HW-9}}") as world:
        await world.declared()
        await world.move("2d")
        app = world.application
        lengths = {**DEFAULTS, "events": parse_duration("1d")}
        await prune(app.journal, world.now, lengths)
        assert rows(world, "SELECT count(*) > 0 FROM steps") == [(1,)]
        with pytest.raises(operations.Refused, match="not kept any more"):
            await operations.perform(app, "retry_run", {"run": "1"}, "ada")


NUDGE = "\non: [incident.declared, incident.updated]\nonce_per: event.id\nsteps:\n  - uses: chat.nudge\n"
NUDGE += "    with: {to: ada, text: hello, digest: {window: 1h}}\n"


async def test_what_was_told_in_a_digest_goes_and_what_waits_or_counts_stays(engine):
    async with engine(NUDGE) as world:
        await world.declared()
        await world.move("9d")
        await world.incident("updated", severity="sev2")
        await world.move("2h")
        await world.incident("updated", severity="sev3")
        assert (await forget(world, "1h"))["messages"] == 3  # two letters, and that a message went out nine days ago
        assert rows(world, "SELECT state FROM outbox ORDER BY id") == [("waiting",)]
        assert len(rows(world, "SELECT 1 FROM sent")) == 1


# --- what goes on ---


async def test_a_run_that_goes_on_keeps_its_records_and_every_event_since_it_began(engine):
    async with engine("on: webhook\n" + NAP) as world:
        await world.happens("pager", Fact("webhook", world.now, data={"what": "before"}, id="0"))
        (first,) = world.runs()
        await operations.perform(world.application, "cancel_run", {"run": first["uid"]}, "ada")
        await world.happens("pager", Fact("webhook", world.now, data={"what": "this"}, id="1"))
        await world.ticket("T-1")
        world.clock.move_to(world.now + timedelta(days=300))
        await world.settle()
        kept = rows(world, "SELECT count(*) FROM steps WHERE run = 2")
        await forget(world)
        assert bodies(world) == ["webhook", "ticket.updated"]
        assert (rows(world, "SELECT count(*) FROM steps WHERE run = 2"), kept > [(0,)]) == (kept, True)
        assert rows(world, "SELECT run, kind FROM verdicts") == [(2, "start")]
        world.clock.move_to(world.now + timedelta(days=100))
        await world.settle()
        assert world.said == ["this"]


async def test_what_happened_to_the_subject_of_a_run_that_goes_on_is_kept_from_before_it(engine):
    async with engine("on: ticket.closed\n" + NAP) as world:
        await world.ticket("T-1", "created")
        await world.ticket("T-2", "created")
        await world.ticket("T-1", "closed", done=True)
        await world.move("2d")
        await forget(world)
        assert rows(world, "SELECT subject, type FROM events WHERE data IS NOT NULL ORDER BY id") == [
            ("tracker:T-1", "ticket.created"),
            ("tracker:T-1", "ticket.closed"),
        ]


async def test_a_question_without_an_answer_keeps_what_it_waits_for(engine):
    ask = 'on: webhook\nsteps:\n  - {id: ask, uses: chat.ask, with: {to: ada, text: "Well?", choices: {go: Go}}}\n'
    async with engine(ask + '  - uses: chat.post\n    with: {text: "${{ steps.ask.answer }}"}\n') as world:
        await world.happens("pager", Fact("webhook", world.now, data={}, id="1"))
        world.clock.move_to(world.now + timedelta(days=300))
        await world.settle()
        assert await forget(world) == {}
        await world.answer("go", "ada")
        assert world.said[-1] == "go"


async def test_a_settle_time_keeps_the_event_that_began_it(engine):
    async with engine("on: {incident.resolved: {for: 10d}}\nif: event.before == null" + POST) as world:
        await world.incident("resolved")
        await world.move("5d")
        await world.ticket("T-1")
        assert await forget(world) == {}
        await world.move("5d")
        assert world.said == ["hello 1"]


async def test_an_effect_in_doubt_keeps_its_inputs(engine):
    async with engine(POST) as world:
        await world.declared()
        await world.application.journal.transact(
            lambda cursor: cursor.execute("UPDATE effects SET state = 'unknown', result = NULL") and None
        )
        await world.move("2d")
        assert "effects" not in await forget(world)
        assert world.effects()[0]["inputs"]["text"] == "hello 1"


async def test_an_event_that_nobody_has_looked_at_is_kept(tmp_path):
    schema.prepare(tmp_path / "x.db")
    journal = Journal(tmp_path / "x.db")
    await journal.transact(lambda cursor: put_events(cursor, 2))
    await journal.transact(lambda cursor: cursor.execute("UPDATE events SET state = 'new' WHERE id = 1") and None)
    pruned = await prune(journal, NOW, DEFAULTS)
    journal.close()
    assert pruned.rows == 0


async def test_the_history_of_an_incident_goes_as_a_whole(engine):
    async with engine("on: webhook" + POST) as world:
        await world.incident("declared")
        await world.ticket("T-1")
        await world.move("2d")
        await world.incident("resolved")
        await world.ticket("T-1", title="other")
        assert await forget(world) == {"events": 1}
        assert bodies(world) == ["incident.declared", "incident.resolved", "ticket.updated"]
        await world.move("2d")
        assert await forget(world) == {"events": 3}


# --- messages of the console ---


async def test_messages_and_closed_questions_go_and_open_ones_stay(tmp_path):
    schema.prepare(tmp_path / "x.db")
    journal = Journal(tmp_path / "x.db")
    old, young = (NOW - timedelta(days=2)).isoformat(), (NOW - timedelta(hours=2)).isoformat()
    kept = {
        "message/1": {"at": old},
        "message/2": {"at": young},
        "question/Q1": {"at": old},
        "question/Q2": {"at": old, "closed_at": old},
        "question/Q3": {"at": old, "closed_at": young},
        "counter/question": {"last": 3, "at": old},
    }
    lines = [(connection, key, json.dumps(row)) for connection in ("chat", "other") for key, row in kept.items()]
    await journal.transact(lambda c: c.executemany("INSERT INTO rows VALUES (?, ?, ?)", lines) and None)
    forgets = {"chat": {"message/": "at", "question/": "closed_at"}}
    pruned = await prune(journal, NOW, dict.fromkeys(DEFAULTS, parse_duration("1d")), forgets=forgets)
    left = journal.reader().execute("SELECT key FROM rows WHERE connection = 'chat' ORDER BY key").fetchall()
    others = journal.reader().execute("SELECT count(*) FROM rows WHERE connection = 'other'").fetchone()[0]
    journal.close()
    assert [part.rows for part in pruned.parts if part.kind == "messages"] == [2]
    assert [row["key"] for row in left] == ["counter/question", "message/2", "question/Q1", "question/Q3"]
    assert others == len(kept)


async def test_the_console_says_which_of_its_rows_are_messages(engine):
    async with engine(POST) as world:
        from actions.providers.console import ConsoleChat

        assert "console" not in world.application.forgetting.forgets
        assert ConsoleChat.forgets == {"message/": "at", "question/": "closed_at", "channel/": "archived_at"}


# --- what is told afterwards ---


async def test_what_was_forgotten_can_still_be_shown_and_says_so(engine):
    async with engine("if: event.data.x == 1" + POST) as world:
        await world.declared()
        await world.move("2d")
        await forget(world)
        app = world.application
        (event,) = list_events(app.reader)
        told = explain_event(app.reader, event["id"], app.library, app.hub.lookups())
        assert "pruned" in told["note"]
        assert "pruned" in told["outcomes"][0]["sentence"]


async def test_a_pruned_run_is_shown_without_its_history(engine):
    async with engine(POST) as world:
        await world.declared()
        await world.move("2d")
        await forget(world)
        shown = show_run(world.application.reader, "1")
        assert (shown["state"], shown["history"], shown["effects"][0]["inputs"]) == ("finished", [], {})


async def test_a_timeline_speaks_of_a_document_whose_title_is_gone(engine):
    async with engine(ROUNDS) as world:
        await world.declared()
        await again(world)
        incident = world.subjects("incident")[0]
        texts = [entry.text for entry in world.application.hub.lookups().field(incident, "timeline")]
        assert "Document created" in texts


# --- chunks ---


def put_events(cursor, count, age="200d"):
    """Write events without subjects as they are after matching."""
    at = (NOW - parse_duration(age).timedelta()).timestamp() * 1_000_000
    cursor.executemany(
        "INSERT INTO events (uid, type, source, time, received, data, own, depth, private, state)"
        " VALUES (hex(randomblob(8)), 'webhook', 'hooks', ?, ?, ?, 0, 0, 0, 'matched')",
        [(at, at, json.dumps({"text": "x" * 2000}))] * count,
    )


@pytest.fixture
def journal(tmp_path):
    schema.prepare(tmp_path / "hotwash.db")
    made = Journal(tmp_path / "hotwash.db")
    made.transact_now(lambda cursor: put_events(cursor, 1000))
    yield made
    made.close()


def left(cursor):
    return cursor.execute("SELECT count(*) FROM events WHERE data IS NOT NULL").fetchone()[0]


async def test_others_are_answered_between_chunks(journal):
    pruning = asyncio.create_task(prune(journal, NOW, DEFAULTS, chunk=50))
    seen = []
    while not pruning.done():
        seen.append(await journal.transact(left))
    assert (await pruning).rows == 1000
    assert len({count for count in seen if 0 < count < 1000}) > 10


def sizes_of(journal):
    """Give the list into which the journal writes how many bodies each transaction removed."""
    sizes, transact = [], journal.transact

    async def counted(work):
        before = await transact(left)
        found = await transact(work)
        sizes.append(before - await transact(left))
        return found

    journal.transact = counted
    return sizes


async def test_a_chunk_looks_at_no_more_rows_than_it_may(journal):
    sizes = sizes_of(journal)
    await prune(journal, NOW, DEFAULTS, chunk=70)
    assert (max(sizes), sum(sizes)) == (70, 1000)


async def test_chunks_that_keep_others_waiting_get_smaller(journal):
    sizes, ticks = sizes_of(journal), iter(range(10**9))
    await prune(journal, NOW, DEFAULTS, monotonic=lambda: next(ticks) * retention.PATIENCE * 1.1)
    assert [size for size in sizes if size][:4] == [100, 50, 25, 20]


async def test_chunks_that_keep_nobody_waiting_get_larger(journal):
    sizes = sizes_of(journal)
    await prune(journal, NOW, DEFAULTS)
    assert [size for size in sizes if size][:3] == [100, 113, 128]


async def test_what_there_is_no_time_for_is_left_for_the_next_time(journal):
    ticks = iter(range(10**9))
    pruned = await prune(journal, NOW, DEFAULTS, chunk=10, monotonic=lambda: next(ticks) / 1e4, seconds=0.003)
    assert (pruned.finished, 0 < pruned.rows < 1000) == (False, True)
    assert (await prune(journal, NOW, DEFAULTS)).rows == 1000 - pruned.rows


async def test_the_file_shrinks_after_much_has_gone(journal, tmp_path):
    def size():
        with connect(tmp_path / "hotwash.db") as other:
            return other.execute("PRAGMA page_count").fetchone()[0]

    before = size()
    await prune(journal, NOW, DEFAULTS)
    assert size() * 2 < before
    assert journal.reader().execute("PRAGMA freelist_count").fetchone()[0] == 0


async def test_a_dry_run_gives_no_space_back(journal):
    await prune(journal, NOW, {**DEFAULTS, "events": parse_duration("300d")})
    await journal.transact(lambda cursor: cursor.execute("DELETE FROM events WHERE id > 100") and None)
    await prune(journal, NOW, DEFAULTS, dry_run=True)
    assert journal.reader().execute("PRAGMA freelist_count").fetchone()[0] > 500


async def test_an_unknown_kind_is_refused(journal):
    with pytest.raises(ValueError, match="nothing is kept as 'evnts'; there are events, verdicts, runs, messages"):
        await prune(journal, NOW, {"evnts": Duration(1.0)})


# --- every day ---


async def test_the_engine_prunes_by_itself_once_a_day_what_is_older_than_configured(engine):
    async with engine("on: webhook" + POST, project="retention: {events: 10d}\n") as world:
        await world.happens("pager", Fact("webhook", world.now, data={}, id="1"))
        await world.move("1h")
        assert world.application.forgetting.next_due() == NOW + timedelta(days=1, minutes=10)
        await world.move("9d")
        assert bodies(world) == ["webhook"]
        await world.move("1d")
        assert bodies(world) == []
        assert ("store.pruned", "pruned: 1 bodies of events") in world.told


async def test_the_first_prune_comes_soon_after_a_start(engine):
    async with engine("on: webhook" + POST) as world:
        await world.happens("pager", Fact("webhook", world.now, data={}, id="1"))
        await world.crash()
        world.clock.move_to(world.now + timedelta(days=100))
        await world.restart()
        assert bodies(world) == ["webhook"]
        await world.move("10m")
        assert bodies(world) == []


async def test_a_prune_that_cannot_write_is_tried_again_in_an_hour(tmp_path):
    class Full:
        async def transact(self, work):
            raise StorageUnavailable("disk full")

    told, clock = [], MovableClock(NOW)
    forgetting = retention.Forgetting(Full(), clock, lambda event, sentence, /, **facts: told.append(event), {})
    forgetting.start()
    clock.move_to(NOW + timedelta(minutes=10))
    while not told:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (told, forgetting.next_due()) == (["storage.unavailable"], clock.now() + timedelta(hours=1))
    await forgetting.stop()
