"""Jira's webhooks: signatures, and what each recorded body means."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actions.providers.jira import JiraProvider
from engine.plugins import Unauthorized
from tests.fakes import FakeConnection
from triggers.sources.jira import Jira

RECORDED = Path(__file__).resolve().parents[4] / "shared/payloads/jira"
recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded payloads are not beside the project")

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ADA = {"accountId": "ada-1", "displayName": "Ada", "emailAddress": "ada@example.com"}
ISSUE = {
    "id": "10023",
    "key": "OPS-12",
    "fields": {
        "summary": "Alert on it",
        "status": {"name": "To Do", "statusCategory": {"key": "new"}},
        "labels": ["postmortem", "hotwash-tok1"],
        "project": {"key": "OPS"},
        "assignee": ADA,
        "duedate": "2026-03-20",
        "created": "2026-03-01T10:00:00.000+0100",
    },
}
DONE = {**ISSUE, "fields": {**ISSUE["fields"], "status": {"statusCategory": {"key": "done"}}}}


@pytest.fixture
def source(connection):
    return build("s3cret", connection)


def build(secret, connection, **options):
    made = JiraProvider.options(server="https://example.atlassian.net", token="t", **options)
    hook = Jira.options.model_validate({"webhook_secret": secret} if secret else {})
    return Jira.build(hook, connection, JiraProvider.build(made, connection))


def body(kind="jira:issue_updated", issue=ISSUE, user=ADA, **more):
    stamp = int(AT.timestamp() * 1000)
    return json.dumps({"webhookEvent": kind, "timestamp": stamp, "issue": issue, "user": user, **more}).encode()


def changed(*fields):
    return {"items": [{"field": name, "to": to} for name, to in fields]}


def fact(source, raw, headers=None):
    (only,) = source.read(headers or {}, raw, AT).facts
    return only


def test_the_published_vector_is_accepted(connection):
    source = build("It's a Secret to Everybody", connection)
    good = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
    source.authenticate({"x-hub-signature": good}, b"Hello World!", AT)
    with pytest.raises(Unauthorized, match="not made with this connection's webhook_secret"):
        source.authenticate({"x-hub-signature": good}, b"Hello World?", AT)


@pytest.mark.parametrize("given", ["", "sha1=abc", "sha256=", "a4771c39"])
def test_another_scheme_is_refused(source, given):
    with pytest.raises(Unauthorized, match="X-Hub-Signature"):
        source.authenticate({"x-hub-signature": given} if given else {}, b"{}", AT)


def test_what_it_signs_it_accepts(source):
    source.authenticate(source.sign(b"{}", AT), b"{}", AT)


def test_without_a_secret_nothing_comes_in(connection):
    with pytest.raises(Unauthorized, match="no 'webhook_secret'"):
        build(None, connection).authenticate({"x-hub-signature": "sha256=00"}, b"{}", AT)


def test_an_issue_is_a_ticket_with_what_jira_says_of_it(source):
    found = fact(source, body("jira:issue_created"))
    assert (found.type, found.time, found.subject) == ("ticket.created", AT, "pager:10023")
    assert found.fields["key"] == "OPS-12"
    assert found.fields["url"] == "https://example.atlassian.net/browse/OPS-12"
    assert (found.fields["done"], found.fields["labels"], found.fields["project"]) == (False, ("postmortem",), "OPS")
    assert found.fields["assignee"].id == "ada"  # joined with the roster by e-mail address
    assert found.fields["due"] == datetime(2026, 3, 20, 23, 59, 59, tzinfo=UTC)
    assert found.fields["created_at"] == datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
    assert (found.actor.id, found.fields["active_at"]) == ("ada", AT)


@pytest.mark.parametrize(
    ("issue", "changes", "event"),
    [
        (DONE, [("status", "3"), ("resolution", "1")], "ticket.closed"),
        (ISSUE, [("status", "1"), ("resolution", None)], "ticket.reopened"),
        (ISSUE, [("status", "1")], "ticket.updated"),
        (DONE, [("labels", "x")], "ticket.updated"),
        (ISSUE, [("assignee", "ada-1")], "ticket.updated"),
    ],
)
def test_a_change_of_status_to_or_from_done_closes_or_reopens(source, issue, changes, event):
    assert fact(source, body(issue=issue, changelog=changed(*changes))).type == event


def test_a_deleted_issue_is_closed(source):
    found = fact(source, body("jira:issue_deleted"))
    assert (found.type, found.fields["done"], found.fields["closed_at"]) == ("ticket.closed", True, AT)


def test_a_comment_is_told_with_its_text_and_who_wrote_it(source):
    words = {"type": "doc", "content": [{"type": "paragraph", "content": [{"type": "text", "text": "on it"}]}]}
    found = fact(source, body("comment_created", user=None, comment={"author": ADA, "body": words}))
    assert (found.type, found.data["comment"], found.actor.id) == ("ticket.commented", "on it", "ada")


def test_what_our_own_account_does_is_no_humans_act(connection):
    source = build("s3cret", connection, accounts=["bot-1"])
    found = fact(source, body(user={"accountId": "bot-1", "displayName": "Hotwash"}))
    assert found.own
    assert "active_at" not in found.fields


def test_a_delivery_that_is_sent_again_has_the_same_id(source):
    assert fact(source, body(), {"x-atlassian-webhook-identifier": "w1"}).id == "w1"
    assert fact(source, body()).id == fact(source, body()).id


def test_other_events_are_ignored_with_their_name(source):
    assert source.read({}, body("sprint_started"), AT).ignored == "events of type 'sprint_started' are not used"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not JSON"),
        (b"[]", "the body must be a mapping"),
        (b"{}", "'webhookEvent' must be a text"),
        (body(issue=None), "'issue' must be a mapping"),
        (body(issue={"id": "x", "key": "OPS-1"}), "must have an 'id', a number"),
        (body(timestamp="now"), "'timestamp' must be milliseconds"),
        (body("comment_created", comment=None), "'comment' must be a mapping"),
        (body(issue={**ISSUE, "fields": {"created": "yesterday"}}), "a time of Jira"),
        (body(issue={**ISSUE, "fields": {"duedate": "soon"}}), "'duedate'"),
    ],
)
def test_a_payload_that_is_not_jiras_is_refused_with_a_sentence(source, raw, message):
    with pytest.raises(ValueError, match=message):
        source.read({}, raw, AT)


EXPECTED = {
    "webhook-cloud-comment-created.json": ("ticket.commented", "TES-41", False),
    "webhook-cloud-comment-updated.json": ("ticket.commented", "TES-41", False),
    "webhook-cloud-issue-created-many-fields.json": ("ticket.created", "KT-22", False),
    "webhook-cloud-issue-updated-custom-field.json": ("ticket.updated", "TES-14", False),
    "webhook-issue-created.json": ("ticket.created", "TES-41", False),
    "webhook-issue-deleted.json": ("ticket.closed", "IDT-19", True),
    "webhook-issue-updated-assigned.json": ("ticket.updated", "TES-41", False),
    "webhook-issue-updated-labels.json": ("ticket.updated", "TES-41", False),
    "webhook-issue-updated-raised-priority.json": ("ticket.updated", "TES-41", False),
    "webhook-issue-updated-reopened.json": ("ticket.reopened", "TES-41", False),
    "webhook-issue-updated-resolved.json": ("ticket.closed", "TES-41", True),
    "webhook-server-issue-updated-resolved.json": ("ticket.closed", "TES-4", True),
}


@recorded
@pytest.mark.parametrize("name", EXPECTED)
def test_recorded_bodies_are_read(source, name):
    found = fact(source, (RECORDED / name).read_bytes())
    assert (found.type, found.fields["key"], found.fields["done"]) == EXPECTED[name]


@recorded
def test_every_recorded_body_has_its_expectation():
    assert {path.name for path in RECORDED.glob("*.json")} == set(EXPECTED)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(
    value=values,
    key=st.sampled_from([*ISSUE["fields"], "description", "resolutiondate", "user", "changelog", "comment", "issue"]),
    kind=st.sampled_from(["jira:issue_updated", "comment_created"]),
)
def test_any_json_is_read_or_refused_with_a_sentence(value, key, kind):
    source = build("s", FakeConnection(Path(), "tracker"))
    inside = {**ISSUE, "fields": {**ISSUE["fields"], key: value}}
    for raw in (body(kind, issue=inside), body(kind, **{key: value}), json.dumps(value).encode()):
        with contextlib.suppress(ValueError):
            assert source.read({}, raw, AT) is not None
