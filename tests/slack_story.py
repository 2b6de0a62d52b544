"""A project on Slack whose one workflow does all that Slack can be asked for, and how its engine is killed."""

from __future__ import annotations

import asyncio
from typing import Any

from engine.plugins import Fact
from engine.testing import World

PROJECT = """\
timezone: UTC
owner: grace
people: people.yaml
connections: {{chat: {{provider: slack, token: "${{SLACK}}", channel: "#incidents", api: "{api}"}}}}
use: {{chat: chat, people: chat}}
"""
PEOPLE = """\
people:
  ada: {name: Ada, email: ada@example.com}
  grace: {name: Grace, email: grace@example.com}
  linus: {name: Linus, email: linus@example.com}
services: {checkout: {rotation: default}}
rotations: {default: {members: [linus], every: 7d, from: "2026-01-05T09:00", timezone: UTC}}
"""
EVERYTHING = """\
on: incident.declared
steps:
  - {id: channel, uses: chat.create_channel, with: {name: "${{ incident.title }}"}}
  - {uses: chat.invite, with: {channel: "${{ incident.channel }}", people: [ada, grace]}}
  - {uses: chat.set_topic, with: {channel: "${{ incident.channel }}", topic: "a topic"}}
  - {uses: chat.bookmark, with: {channel: "${{ incident.channel }}", title: Page, url: "https://x.example"}}
  - {id: summary, uses: chat.post, with: {channel: "${{ incident.channel }}", text: one}}
  - {uses: chat.pin, with: {message: "${{ steps.summary.id }}"}}
  - {uses: chat.update, with: {message: "${{ steps.summary.id }}", text: two}}
  - {uses: chat.post, with: {channel: "${{ incident.channel }}", thread: "${{ steps.summary.id }}", text: under it}}
  - {uses: chat.nudge, with: {to: ada, text: "to you: ${{ incident.title }}"}}
  - id: ask
    uses: chat.ask
    timeout: 1h
    with: {to: [ada, grace], text: "${{ incident.title }}?", choices: {yes: "Yes"}}
  - {uses: chat.rename_channel, with: {channel: "${{ incident.channel }}", name: "${{ incident.title }} fast"}}
  - {uses: chat.archive_channel, with: {channel: "${{ incident.channel }}"}}
"""
#: Each call that changes something: the method, and which of its calls it is.
CALLS = [
    ("conversations.create", 0),
    ("conversations.invite", 0),
    ("conversations.setTopic", 0),
    ("bookmarks.add", 0),
    ("chat.postMessage", 0),
    ("pins.add", 0),
    ("chat.update", 0),
    ("chat.postMessage", 1),
    ("chat.postMessage", 2),
    ("chat.postMessage", 3),
    ("conversations.rename", 0),
    ("conversations.archive", 0),
]


def declared(world: World, **fields: Any) -> Fact:
    """Give what a pager says of a new incident."""
    fields = {"title": "Slow", "severity": "sev1", "services": ["checkout"], "status": "declared", **fields}
    return Fact("incident.declared", world.now, "incident", "pager:P1", fields)


async def killed_at(world: World, workspace: Any, method: str, number: int, **fields: Any) -> None:
    """Declare, kill the engine while a call's answer is on its way, and start it again."""
    workspace.hangs[method] = number
    await world.application.accept("pager", [declared(world, **fields)])
    moving, hung = asyncio.create_task(world.move("2h")), asyncio.create_task(workspace.hung.wait())
    await asyncio.wait({moving, hung}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    moving.cancel()
    assert hung.done(), f"{method} was not called so often"
    await world.crash()
    await world.restart()
