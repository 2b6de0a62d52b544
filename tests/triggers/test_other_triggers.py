from datetime import UTC, datetime, timedelta, timezone

import pytest

from engine.domain import Event
from triggers import alert, document, manual, review, webhook, workflow

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def event(kind, *, source="hotwash", subject=None, data=None, after=None):
    return Event("evt_1", kind, source, AT, None, subject, data=data or {}, after=after)


@pytest.mark.parametrize(
    "start", [AT, AT.astimezone(timezone(timedelta(hours=1))), {"~instant": "2026-03-02T10:00:00+01:00"}]
)
def test_an_alert_starts_once_per_fingerprint_and_start(start):
    happened = event("alert.firing", subject="am:b1c1", after={"fingerprint": "b1c1", "started_at": start})
    assert alert.firing.key(alert.Firing(), happened) == ("b1c1", "2026-03-02T09:00:00+00:00")


def test_the_two_states_of_an_alert_leave_each_other():
    assert (alert.firing.left_by, alert.resolved.left_by) == (("alert.resolved",), ("alert.firing",))


@pytest.mark.parametrize(
    ("inputs", "fits"),
    [
        ({}, True),
        ({"template": "postmortem"}, True),
        ({"template": "notes"}, False),
        ({"under": "reports"}, True),
        ({"under": "reports/2026/"}, True),
        ({"under": "report"}, False),
        ({"under": "reports/2026/outage.md"}, False),
        ({"template": "postmortem", "under": "elsewhere"}, False),
    ],
)
def test_a_published_document_fits_its_template_and_the_folders_above_it(inputs, fits):
    happened = event("document.published", after={"template": "postmortem", "path": "reports/2026/outage.md"})
    assert document.published.matches(document.Published(**inputs), happened) is fits


def test_a_document_without_a_path_lies_under_no_folder():
    assert not document.published.matches(document.Published(under="."), event("document.published", after={}))


def test_a_webhook_fits_the_connection_it_came_by():
    happened = event("webhook", source="deploys", data={"ref": "main"})
    assert webhook.webhook.matches(webhook.Webhook(name="deploys"), happened)
    assert webhook.webhook.matches(webhook.Webhook(), happened)
    assert not webhook.webhook.matches(webhook.Webhook(name="builds"), happened)


def test_a_failure_fits_the_workflow_that_is_named():
    happened = event("workflow.failed", data={"workflow": "postmortem"})
    assert workflow.failed.matches(workflow.Failed(workflow="postmortem"), happened)
    assert workflow.failed.matches(workflow.Failed(), happened)
    assert not workflow.failed.matches(workflow.Failed(workflow="digest"), happened)
    assert workflow.failed.own_may_start


def test_a_person_starts_a_workflow_once_per_subject_else_per_request():
    assert manual.manual.key(manual.Manual(), event("manual", subject="pager:P1")) == ("pager:P1",)
    assert manual.manual.key(manual.Manual(), event("manual")) == ("evt_1",)


def test_every_review_that_is_scheduled_fits_whoever_booked_it():
    assert review.scheduled.matches(review.Scheduled(), event("review.scheduled", subject="ics:tok1"))
    assert review.scheduled.own_may_start
