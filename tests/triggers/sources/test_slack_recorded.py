"""Bodies as Slack sent them, and the subject's state and timeline afterwards as they should be."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.slack_desk import live_slack

RECORDED = Path(__file__).resolve().parents[4] / "shared/payloads/slack"
pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded payloads are not beside the project")

MENTION = ("@U123 test", "slack:U234", "2020-03-08T02:59:59.000700+00:00", "message")
UNUSED = {
    "block_actions": "a button that is not Hotwash's was pressed",
    "view_submission": "a modal that is not Hotwash's was submitted",
    "shortcut": "a shortcut that is not Hotwash's was used",
    "message_action": "a shortcut that is not Hotwash's was used",
    "interactive_message": "interactions of type 'interactive_message' are not used",
    "event_app_mention": "events of type 'app_mention' are not used",
    "event_app_uninstalled": "events of type 'app_uninstalled' are not used",
    "event_tokens_revoked": "events of type 'tokens_revoked' are not used",
}
#: What each body adds to the timeline of the incident of its channel (text, author, time, kind), or why nothing.
EXPECTED: dict[str, tuple[str, tuple[str, str, str, str] | str]] = {
    "event_message-1": (
        "C2147483705",
        ("Hello world", "slack:U2147483697", "2012-12-14T20:38:43.000005+00:00", "message"),
    ),
    "event_message-2": ("C111", "it is our own message"),
    "event_message-3": ("C123", MENTION),
    "event_message-4": ("C123", (MENTION[0], "slack:UUUUUXXXXX", *MENTION[2:])),
    "event_message-5": ("C111", "it is our own message"),
    "event_message-6": ("C1", "an event of type 'message' that is in no channel"),
    "event_message-7": ("RETRACTED", "it is our own message"),  # whoever retracted it made app and author one
    "event_reaction_added-1": (
        "C111",
        ("reacted with :heart_eyes:", "slack:U1234567", "2020-09-09T02:01:21.000800+00:00", "reaction"),
    ),
    "slash_command_form-1": ("C2147483705", "the command '/weather' is not used"),
    "slash_command_form-2": ("C2147483705", "the command '/echo' is not used"),
    "slash_command_form-3": ("C2147483705", "the command '/weather-123' is not used"),
    "slash_command_form-4": ("G8PSS9T3V", "the command '/webhook-collect' is not used"),
}
PATHS = sorted(RECORDED.glob("*.json")) + sorted(RECORDED.glob("*.form"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
async def test_a_recorded_body_leaves_the_incident_as_it_should(tmp_path, path):
    kind = path.stem.rpartition("-")[0].removesuffix("_bot_message")
    channel, expected = EXPECTED.get(path.stem) or ("C111", UNUSED[kind])
    raw = path.read_bytes().strip()
    if path.suffix == ".json" and not path.name.startswith("event_"):
        raw = urlencode({"payload": raw.decode()}).encode()
    async with live_slack(tmp_path) as slack:
        await slack.world.incident("declared", "pager:P1", title="Checkout is slow")
        await slack.has_channel(channel, "pager:P1")
        before = slack.incident
        for _ in range(2):  # Slack sends again what it thinks lost
            answer = await slack.post(raw, **{"x-slack-retry-num": "1", "x-slack-retry-reason": "http_timeout"})
            assert 200 <= answer.status_code < 300
        found = [(one.text, one.by.id, one.at.isoformat(), one.kind) for one in slack.timeline() if one.id]
        if isinstance(expected, str):
            ignored = slack.world.application.reader.execute(
                "SELECT DISTINCT reason FROM events WHERE state = 'ignored'"
            )
            assert (found, slack.incident) == ([], before)
            assert expected in [row["reason"] for row in ignored]
        else:
            assert found == [expected]
            assert (slack.incident.status, slack.incident.title) == ("declared", "Checkout is slow")
