"""The identity of an effect: it reaches the provider, and stands for one set of inputs alone (PROMISES 1.4)."""

from __future__ import annotations

import json
import sqlite3

from engine.plugins import RetryLater
from engine.store.codec import digest
from engine.testing import RecordingChat, World
from engine.wiring import open_application

ALL = """
steps:
  - id: report
    uses: document.create
    with: {title: "Report of ${{ incident.title }}", template: note}
  - id: file
    uses: ticket.create
    with: {title: mend it}
  - id: review
    uses: calendar.schedule
    with: {title: Review, attendees: ["ada"], duration: 45m, within: 5bd}
  - id: say
    uses: chat.post
    with: {text: hello}
  - id: ask
    uses: chat.ask
    with: {to: ada, text: "Well?", choices: {go: Go}}
"""


async def test_the_identity_of_each_effect_stands_in_what_its_provider_made(engine, tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "note.md").write_text("Hello.\n")
    async with engine(ALL) as prepared:
        start = prepared.now
    async with World(tmp_path, start, open_application) as world:
        await world.incident("declared", title="Checkout is slow", severity="sev1")
        token = {effect["identity"].rpartition("/")[2]: digest(effect["identity"]) for effect in world.effects()}
        assert set(token) == {"report", "file", "review", "say", "ask"}
        (document,) = (tmp_path / "documents").glob("*.md")
        assert f"\neffect: {token['report']}\n" in document.read_text()
        (booked,) = tmp_path.rglob("*.ics")
        assert f"UID:{token['review']}" in booked.read_text().replace("\r\n ", "")
        (created,) = world.events("ticket.created")
        row = world.application.reader.execute("SELECT caused_by FROM events WHERE uid = ?", (created.id,)).fetchone()
        assert digest(row["caused_by"]) == token["file"]
        rows = world.application.reader.execute("SELECT key, data FROM rows WHERE connection = 'console'").fetchall()
        kept = {row["key"]: json.loads(row["data"]) for row in rows}
        assert token["say"] in [row.get("id") for row in kept.values()]
        assert [digest(row["id"]) for key, row in kept.items() if key.startswith("question/")] == [token["ask"]]


POST = """
steps:
  - id: post
    uses: chat.post
    with: {text: "${{ incident.title }}"}
  - wait: 1d
"""


async def test_other_inputs_under_an_identity_that_is_spent_are_an_error_and_not_sent(engine):
    async with engine(POST) as world:
        await world.declared(title="first")
        await world.incident("updated", title="another")
        await forget_the_step(world)
        assert (world.state, world.runs()[0]["error"]["code"]) == ("failed", "identity-clash")
        assert world.chat.to("#default") == ["first"]
        assert "stands for two different effects: make 'once_per' tell them apart" in world.error


async def forget_the_step(world):
    """Lose what a run knows of its step, as no run ever does, and let it decide again."""

    def write(cursor: sqlite3.Cursor) -> None:
        cursor.execute("DELETE FROM steps WHERE path = 'post'")
        cursor.execute("UPDATE runs SET wake = wake + 1")

    await world.application.journal.transact(write)
    await world.restart()


async def test_every_attempt_has_the_same_identity_and_the_same_inputs(engine):
    chat = RecordingChat()
    seen = []

    def before(message):
        seen.append((message.effect, message.text))
        if len(seen) < 3:
            raise RetryLater("busy")

    chat.before = before
    async with engine(POST, providers={"console": chat}) as world:
        await world.declared(title="first")
        await world.incident("updated", title="another")
        await world.restart()
        await world.move("10m")
        assert seen == [("flow/incident.declared/pager:P1/1/post", "first")] * 3
