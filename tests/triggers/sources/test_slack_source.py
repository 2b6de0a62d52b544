"""What a Slack app posts: signatures, and what each recorded body means."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from slack_sdk.signature import SignatureVerifier

from actions.providers.slack import Slack as SlackProvider
from engine.plugins import Unauthorized
from tests.fakes import FakeConnection
from triggers.sources.slack import Slack

RECORDED = Path(__file__).resolve().parents[4] / "shared/payloads/slack"
recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded payloads are not beside the project")
AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
QUESTION = {"id": "wf/key/1/ask", "choices": {"yes": "Yes", "no": "No"}}


def build(secret="s3cret", **rows):
    connection = FakeConnection(Path(), "chat")
    connection.storage.kept |= {f"question/{token}": row for token, row in rows.items()}
    provider = SlackProvider.build(SlackProvider.options(token="xoxb-1"), connection)
    hook = Slack.options.model_validate({"signing_secret": secret} if secret else {})
    return Slack.build(hook, connection, provider)


def pressed(value="yes", block="tok1", user="U1", action="hotwash-answer:yes"):
    said = {
        "type": "block_actions",
        "user": {"id": user, "name": "ada"},
        "actions": [{"action_id": action, "block_id": block, "value": value, "action_ts": "1772442000.5"}],
    }
    return urlencode({"payload": json.dumps(said)}).encode()


def interaction(kind, **more):
    return urlencode({"payload": json.dumps({"type": kind, "user": {"id": "U1"}, **more})}).encode()


@recorded
def test_the_published_vector_is_accepted():
    source = build("8f742231b10e8888abcd99yyyzzz85a5")
    raw = (RECORDED / "slash_command_form-4.form").read_bytes()
    headers = {
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        "x-slack-request-timestamp": "1531420618",
    }
    source.authenticate(headers, raw, datetime.fromtimestamp(1531420618, UTC))


def test_slacks_own_verifier_accepts_what_is_signed_here():
    headers = build().sign(b"payload=x", AT)
    judge = SignatureVerifier("s3cret", clock=type("Clock", (), {"now": lambda self: AT.timestamp()})())
    assert judge.is_valid("payload=x", headers["x-slack-request-timestamp"], headers["x-slack-signature"])


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_request_of_another_time_is_refused(minutes):
    source = build()
    with pytest.raises(Unauthorized, match="more than five minutes"):
        source.authenticate(source.sign(b"{}", AT), b"{}", AT + timedelta(minutes=minutes))


@pytest.mark.parametrize("stamp", ["", "now", "-1", "1e9", "9" * 20])
def test_a_time_that_is_none_is_refused(stamp):
    source = build()
    headers = source.sign(b"{}", AT) | {"x-slack-request-timestamp": stamp}
    with pytest.raises(Unauthorized, match="X-Slack-Request-Timestamp"):
        source.authenticate(headers, b"{}", AT)


def test_another_body_is_refused():
    source = build()
    with pytest.raises(Unauthorized, match="not made with"):
        source.authenticate(source.sign(b"{}", AT), b"[]", AT)


def test_without_a_secret_nothing_comes_in():
    with pytest.raises(Unauthorized, match="no 'signing_secret'"):
        build(None).authenticate({}, b"{}", AT)


def test_slacks_handshake_is_answered():
    said = build().read({}, b'{"type": "url_verification", "challenge": "c1"}', AT)
    assert (said.facts, said.response) == ((), {"challenge": "c1"})


def test_a_pressed_button_is_the_answer_of_who_pressed_it():
    (fact,) = build(tok1=QUESTION).read({}, pressed(), AT).facts
    assert (fact.type, fact.data) == ("chat.answered", {"question": "wf/key/1/ask", "answer": "yes"})
    assert (fact.actor.id, fact.time) == ("slack:U1", AT + timedelta(seconds=0.5))


def test_a_request_that_is_sent_again_has_the_same_id():
    source = build(tok1=QUESTION)
    assert source.read({}, pressed(), AT).facts[0].id == source.read({}, pressed(), AT).facts[0].id


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (pressed(block="other"), "not known here"),
        (pressed(action="somebody-elses"), "not Hotwash's"),
        (interaction("view_closed"), "'view_closed' are not used"),
        (interaction("view_submission", view={"callback_id": "theirs"}), "a modal that is not Hotwash's"),
        (interaction("view_submission", view={"callback_id": "hotwash:party"}), "no modal of Hotwash's is called"),
        (interaction("shortcut", callback_id="theirs"), "a shortcut that is not Hotwash's"),
        (interaction("message_action", callback_id="theirs"), "a shortcut that is not Hotwash's"),
        (pressed(action="hotwash-incident:party"), "no button of Hotwash's is called 'party'"),
        (urlencode({"command": "/weather", "text": "x"}).encode(), "the command '/weather' is not used"),
        (b'{"type": "app_rate_limited"}', "'app_rate_limited' are not used"),
        (b'{"type": "event_callback", "event": {"type": "app_mention"}}', "'app_mention' are not used"),
        (b'{"type": "event_callback", "event": {"type": "message"}}', "in no channel"),
    ],
)
def test_what_is_not_used_is_ignored_with_the_reason(raw, why):
    assert why in build(tok1=QUESTION).read({}, raw, AT).ignored


def test_a_question_that_is_closed_takes_no_answer():
    closed = {**QUESTION, "closed_at": AT.isoformat()}
    assert "closed" in build(tok1=closed).read({}, pressed(), AT).ignored


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "JSON or a form"),
        (b"\xff\xfe", "JSON or a form"),
        (b"{", "not JSON"),
        (b"payload=1", "'payload' must be a mapping"),
        (pressed(value="maybe"), "none of the question's choices"),
        (pressed(user=""), "'payload.user.id' must be a text"),
        (b'{"type": "event_callback"}', "'event' must be a mapping"),
        (urlencode({"command": "/incident"}).encode(), "'user' must be a text"),
        (interaction("view_submission"), "'payload.view' must be a mapping"),
        (interaction("view_submission", view={"callback_id": "hotwash:note", "id": "V1"}), "'view.state'"),
        (interaction("message_action", callback_id="hotwash-action", message={}), "'payload.message.ts'"),
    ],
)
def test_a_body_that_is_not_slacks_is_refused_with_a_sentence(raw, message):
    with pytest.raises(ValueError, match=message):
        build(tok1=QUESTION).read({}, raw, AT)
