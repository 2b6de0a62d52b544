"""`ticket.search` in a workflow: what it finds is a list of tickets like any other."""

from __future__ import annotations

from engine.domain import Ticket
from engine.plugins import Fact
from engine.testing import RecordingTickets

SEARCH = """
steps:
  - id: found
    uses: ticket.search
    with: {where: {labels: [postmortem], done: false}, limit: 2}
  - for_each: steps.found.tickets
    uses: chat.post
    with: {text: "${{ item.key }} of ${{ item.assignee.name }}"}
  - uses: chat.post
    with: {text: "${{ steps.found.tickets | length }} of ${{ steps.found.count }}"}
"""
TRACKED = "connections: {tracker: {provider: local, key: TR}}\nuse: {ticket: tracker}\n"


async def test_tickets_that_are_found_are_gone_through_with_all_their_fields(engine):
    async with engine(SEARCH) as world:
        people = world.application.hub.directory.people
        fields = {"labels": ("postmortem",), "assignee": people.person("ada"), "description": "long"}
        for key in ("HW-1", "HW-2", "HW-3"):
            fact = Fact("ticket.created", world.now, "ticket", f"local:{key}", {"key": key, "title": key, **fields})
            await world.happens("local", fact)
        await world.declared()
        assert world.said == ["HW-3 of Ada", "HW-2 of Ada", "2 of 3"]


async def test_a_tracker_that_fails_is_asked_again(engine):
    tracker = RecordingTickets(Ticket("tracker:T1", "T1", "t", labels=("postmortem",)))
    search = tracker.search

    async def failing(where, query):
        tracker.search = search
        raise ConnectionError("down")

    tracker.search = failing
    async with engine(SEARCH, project=TRACKED, providers={"tracker": tracker}) as world:
        await world.declared()
        assert world.said == []
        await world.move("1m")
        assert world.said == ["T1 of ", "1 of 1"]
