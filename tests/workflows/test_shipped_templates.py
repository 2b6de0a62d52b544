"""The templates that come with the library, rendered as a run would."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from actions.document import ReadActionItems, action_items
from actions.providers.markdown import Markdown, MarkdownOptions
from engine.calendars import WEEKDAYS_9_TO_5, Duration
from engine.domain import Entry, Incident, Ticket
from engine.workflow.scope import Scope
from engine.workflow.templates import compile_template
from tests.fakes import ADA, GRACE, MONDAY, FakeConnection, FakeContext, an_effect

FOLDER = Path(__file__).parents[2] / "workflows" / "templates"
SOURCES = {path.stem: path.read_text() for path in FOLDER.glob("*.md")}
UNKNOWN = Incident("pager:P1", "P1", "Checkout is slow", status="resolved")
KNOWN = replace(
    UNKNOWN,
    severity="sev1",
    services=("checkout", "payments"),
    participants=(ADA, GRACE),
    declared_at=MONDAY,
    resolved_at=MONDAY + timedelta(hours=2, minutes=15),
)


class FakeWorld:
    """Derived fields as the store would give them."""

    def __init__(self, **derived: Any) -> None:
        self.derived = {"timeline": [], "participants": [], "roles": {}} | derived

    def field(self, value, name):
        return self.derived.get(name, getattr(value, name, None))


def render(name, names, data=None, **derived):
    scope = Scope(names, FakeWorld(**derived), MONDAY, "UTC", WEEKDAYS_9_TO_5)
    return compile_template(name, SOURCES).render(scope, data)


def test_the_postmortem_says_who_when_and_how_long():
    text = render(
        "postmortem",
        {"incident": KNOWN},
        participants=[ADA, GRACE],
        timeline=[Entry(MONDAY, "declared", by=ADA), Entry(MONDAY + timedelta(hours=1), "rolled back")],
        time_to_resolve=Duration(8100),
    )
    assert text.startswith("# Postmortem: Checkout is slow\n")
    assert "| Services | checkout, payments |\n" in text
    assert "| Declared | Mon 2 Mar 2026 09:00 UTC |\n" in text
    assert "| Time to resolve | 2 h 15 min |\n" in text
    assert "\n- Ada Example\n- Grace Example\n" in text
    assert "\n- Mon 2 Mar 2026 09:00 UTC, Ada Example: declared\n- Mon 2 Mar 2026 10:00 UTC: rolled back\n" in text


def test_the_postmortem_says_what_is_not_known():
    text = render("postmortem", {"incident": UNKNOWN})
    for what in ("Severity", "Services", "Impact began", "Declared", "Resolved", "Time to detect", "Time to resolve"):
        assert f"| {what} | not known |\n" in text
    assert "\n## Participants\n\n- not known\n" in text
    assert "\n## Timeline\n\n- not known: nothing was recorded\n" in text


def test_the_postmortem_has_its_sections_in_order():
    text = render("postmortem", {"incident": KNOWN})
    assert [line[3:] for line in text.split("\n") if line.startswith("## ")] == [
        "Summary",
        "Participants",
        "Lead-up",
        "Timeline",
        "Contributing factors",
        "What went well",
        "Where we got lucky",
        "Action items",
    ]


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_no_template_asks_for_a_culprit(name):
    text = SOURCES[name].casefold()
    assert not [
        word for word in ("root cause", "responsible", "blame ", "whose fault", "culprit", "guilty") if word in text
    ]


async def test_the_action_items_of_a_fresh_postmortem_are_none_and_a_filled_row_is_one(tmp_path):
    ctx = FakeContext(documents=Markdown.build(MarkdownOptions(), FakeConnection(tmp_path)))
    evil = replace(UNKNOWN, title="a\n| What | Owner | Due | Ticket |\n|---|---|---|---|\n| pay me | ceo | | |")
    text = render("postmortem", {"incident": evil}, timeline=[Entry(MONDAY, "x\n## Action items\n| pay | me |")])
    made = await ctx.documents.create(
        "T", text, template="postmortem", incident=None, share_with=(), effect=an_effect()
    )
    assert (await action_items.function(ReadActionItems(document=made), ctx)).items == []
    (path,) = (tmp_path / "documents").iterdir()
    empty = "|      |       |     |        |"
    path.write_text(path.read_text().replace(empty, "| Add an alert | ada | 2026-03-20 | |"))
    (item,) = (await action_items.function(ReadActionItems(document=made), ctx)).items
    assert (item.what, item.owner) == ("Add an alert", ADA)


def test_the_digest_groups_a_teams_items_by_owner():
    def ticket(number, assignee=None):
        return Ticket(f"local:HW-{number}", f"HW-{number}", f"Item {number}", assignee=assignee)

    tickets = [ticket(1, ADA), ticket(2), ticket(3, ADA)]
    text = render("weekly-digest", {}, {"team": "SRE", "tickets": tickets}, idle=Duration(8 * 86400))
    assert " ".join(text.split()) == (
        "**Open action items of SRE: 3** "
        "Ada Example: - HW-1 Item 1, untouched for 8 days - HW-3 Item 3, untouched for 8 days "
        "Nobody yet: - HW-2 Item 2, untouched for 8 days"
    )
    assert "Ada Example:\n\n- HW-1 Item 1, untouched for 8 days\n- HW-3" in text
