"""From `/incident` in Slack to what `hotwash incident show` prints."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.cli import incident as command
from tests.slack_desk import live_slack


@pytest.fixture
async def slack(tmp_path):
    async with live_slack(tmp_path) as live:
        yield live


async def declared(slack, **entered):
    """Let ada declare an incident that gets the channel C9."""
    await slack.command("")
    answer = await slack.submits(**{"title": "Checkout is slow", "severity": ("sev2",), **entered})
    await slack.has_channel("C9")
    return answer


async def test_an_incident_is_declared_in_a_modal_and_its_channel_is_shown_by_the_command_line(slack, tmp_path):
    assert await slack.command("") is None
    assert slack.desk.views[0]["callback_id"] == "hotwash:declare"
    answer = await slack.submits(
        title="Checkout is slow", severity=("sev2",), services=["checkout"], private=["private"]
    )
    assert answer["view"]["blocks"][0]["text"]["text"] == "INC-1 is declared: Checkout is slow."
    assert (slack.incident.severity, slack.incident.services, slack.incident.private) == ("sev2", ("checkout",), True)
    assert slack.world.events("incident.declared")[0].actor.id == "ada"
    await slack.has_channel("C9")
    ts = await slack.writes("C9", "the queue is full\nof retries", by="UGRACE")
    item = {"type": "message", "channel": "C9", "ts": ts}
    await slack.event("reaction_added", user="UADA", reaction="bulb", item=item, event_ts="1772442060.000000")
    await slack.world.application.stop()
    shown = CliRunner().invoke(command.app, ["show", "INC-1", "--project", str(tmp_path)])
    assert "09:00 UTC  the queue is full\n      of retries [opportunity], Grace" in shown.output
    assert "09:01 UTC  reacted with :bulb: to “the queue is full of retries”, Ada" in shown.output


async def test_the_shipped_workflow_opens_the_channel_that_is_captured_and_its_summary_has_buttons(tmp_path):
    workflows = Path(__file__).resolve().parents[3] / "workflows"
    shutil.copytree(workflows / "templates", tmp_path / "templates")
    shipped = (workflows / "incident-response.yaml").read_text()
    async with live_slack(tmp_path, **{"incident-response": shipped}) as slack:
        await slack.command("")
        await slack.submits(title="Checkout is slow", severity=("sev2",))
        await slack.world.move("1m")
        room = slack.incident.channel
        (summary,) = [one for one in slack.desk.messages[room] if "blocks" in one]
        buttons = summary["blocks"][-1]["elements"]
        assert [one["text"]["text"] for one in buttons][-1] == "Resolve"
        await slack.writes(room, "the queue is full", by="UGRACE")
        pressed = {"actions": [{**buttons[-1], "action_ts": "1.000000"}], "channel": {"id": room}}
        await slack.interacts("block_actions", **pressed)
        assert (slack.incident.status, slack.captured()) == ("resolved", ["the queue is full"])
        await slack.world.move("1m")  # the connection's rate has it wait
        assert summary["blocks"][-1]["elements"][-2]["text"]["text"] == "Reopen"
