"""The demo, as somebody sees it who runs it for the first time."""

import re

import pytest


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    import contextlib
    import io

    from engine import cli

    folder = tmp_path_factory.mktemp("demo") / "project"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = cli.run(["demo", "--folder", str(folder)])
    return code, printed.getvalue(), folder


def test_the_demo_ends_well(shown):
    code, text, _ = shown
    assert (code, text.count("POST /hooks/pager")) == (0, 5)


def test_the_demo_leaves_a_document_a_review_and_linked_tickets(shown):
    _, _, folder = shown
    (document,) = (folder / "documents").glob("*.md")
    (review,) = (folder / "reviews").glob("*.ics")
    assert re.findall(r"HW-\d", document.read_text()) == ["HW-1", "HW-2"]
    assert "SUMMARY:Postmortem review: Checkout answers 502" in review.read_text()


def test_the_demo_says_what_fired_and_why(shown):
    _, text, _ = shown
    assert "postmortem starts: incident.resolved for 15m, and incident.severity in" in text


def test_the_demo_says_why_the_review_is_when_it_is(shown):
    _, text, _ = shown
    assert "Ada is busy until 12:00" in text


def test_the_demo_asks_on_the_seventh_idle_day_and_not_before(shown):
    _, text, _ = shown
    before, _, after = text.partition("The seventh idle day is over")
    assert "questions asked so far: 0" in before
    assert ("Q1 to Ada" in before, "Q1 to Ada" in after) == (False, True)


def test_the_answer_of_the_demo_closes_one_ticket(shown):
    _, text, _ = shown
    assert re.findall(r"(HW-\d) .*: (done|open)$", text, re.MULTILINE) == [("HW-1", "done"), ("HW-2", "open")]


def test_the_demo_says_what_did_not_happen_and_why(shown):
    _, text, _ = shown
    assert "postmortem: false at: incident.severity in" in text
    assert "(incident.severity was 'sev3')" in text
