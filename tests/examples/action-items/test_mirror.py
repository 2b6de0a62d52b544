"""Follow-ups are mirrored into the team's own tracker, and closed together."""

from __future__ import annotations

OURS = "| Alert before the queue is full | linus | | |"
THEIRS = "| Limit the retries | edith | 2026-03-31 | |"


async def test_a_follow_up_of_a_team_with_its_own_tracker_is_copied_there(example):
    await example.postmortem(OURS, THEIRS)
    original, copy = example.tickets["HW-2"], example.tickets_of("payments")["PAY-1"]
    assert (copy.title, copy.assignee.id, copy.due) == ("Limit the retries", "edith", original.due)
    assert (copy.labels, copy.team) == (("follow-up",), "payments")
    assert "HW-2" in copy.description
    assert (list(example.tickets), list(example.tickets_of("payments"))) == (["HW-1", "HW-2"], ["PAY-1"])


def closed(example):
    """Give which tickets were closed, in order, and with which words."""
    return [(event.subject, event.data.get("comment")) for event in example.events("ticket.closed")]


async def test_closing_the_copy_closes_the_original(example):
    await example.postmortem(THEIRS)
    await example.does("edith", "close_ticket", ticket="PAY-1")
    assert example.tickets["HW-1"].done
    assert closed(example) == [("payments:PAY-1", None), ("local:HW-1", "PAY-1 is closed.")]
    assert len(example.effects("ticket.close")) == 1


async def test_closing_the_original_closes_the_copy(example):
    await example.postmortem(THEIRS)
    await example.does("linus", "close_ticket", ticket="HW-1")
    assert example.tickets_of("payments")["PAY-1"].done
    assert closed(example) == [("local:HW-1", None), ("payments:PAY-1", "HW-1 is closed.")]
    assert len(example.effects("ticket.close")) == 1


async def test_a_copy_is_in_no_digest_and_is_not_copied_again(example):
    await example.postmortem(THEIRS)
    await example.move("14d")
    assert (list(example.tickets), list(example.tickets_of("payments"))) == (["HW-1"], ["PAY-1"])
    assert not any("PAY-1" in text for text in example.said("#payments"))
    assert len(example.runs("mirror")) == 1


async def test_what_belongs_to_no_postmortem_stays_where_it_is(example):
    await example.does("ada", "create_ticket", title="Order pizza", team="payments")
    assert (list(example.tickets), example.tickets_of("payments")) == (["HW-1"], {})


async def test_which_tracker_is_a_team_s_follows_from_its_vars(example):
    theirs = ", vars: {tracker: payments}"
    await example.rewrite("people.yaml", (theirs, ""), ('channel: "#sre"', f'channel: "#sre"{theirs}'))
    await example.postmortem(OURS, THEIRS)
    assert [ticket.title for ticket in example.tickets_of("payments").values()] == ["Alert before the queue is full"]


async def test_an_item_of_no_team_is_copied_nowhere(example):
    await example.does("ada", "create_ticket", title="Some day", labels=("postmortem",))
    assert (example.tickets_of("payments"), example.runs("mirror")) == ({}, [])
