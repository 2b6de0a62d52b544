"""Triggers and sources: one file per subject here, one per vendor under `sources/`. `ALL` is what is built in."""

from __future__ import annotations

from triggers import alert, document, incident, manual, on_call, review, schedule, ticket, webhook, workflow
from triggers.sources.alertmanager import Alertmanager
from triggers.sources.generic import Generic
from triggers.sources.jira import Jira
from triggers.sources.pagerduty import PagerDuty
from triggers.sources.slack import Slack

ALL = (
    incident.declared,
    incident.acknowledged,
    incident.mitigated,
    incident.resolved,
    incident.reopened,
    incident.updated,
    incident.quiet,
    incident.marked,
    alert.firing,
    alert.resolved,
    ticket.created,
    ticket.updated,
    ticket.commented,
    ticket.closed,
    ticket.reopened,
    ticket.stale,
    document.published,
    review.declined,
    review.scheduled,
    on_call.changed,
    schedule.schedule,
    webhook.webhook,
    manual.manual,
    workflow.failed,
    PagerDuty,
    Alertmanager,
    Generic,
    Jira,
    Slack,
)
