"""`site(text)` is a project with that workflow, and its engine on the dispatcher under test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from conformance_sites import MONDAY, SITES, Chat, Site

from engine.wiring import open_application

PROJECT = """\
timezone: UTC
owner: grace
people: people.yaml
calendars:
  default: {hours: {mon-fri: "09:00-17:00"}}
  office: {timezone: Europe/Prague, hours: {mon-fri: "11:00-17:00"}}
  night: {timezone: Europe/Prague, hours: {sun: "02:00-04:00"}}
"""
PEOPLE = """\
people:
  ada: {name: Ada, email: ada@example.org}
  grace: {name: Grace, email: grace@example.org}
  mary: {name: Mary, email: mary@example.org}
  kate: {name: Kate, email: kate@example.org, timezone: America/New_York}
"""


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    """Give `site(text)`: `async with site("steps: …") as site`. Without `on:` it is `incident.declared`.

    `chat` is a class of `Chat` with methods of another class of effects; `people` is more of the people file;
    `workflows` are further files.
    """

    @asynccontextmanager
    async def run(text: str, *, chat: type[Chat] = Chat, people: str = "", **workflows: str) -> AsyncIterator[Site]:
        (tmp_path / "workflows").mkdir()
        (tmp_path / "hotwash.yaml").write_text(PROJECT)
        (tmp_path / "people.yaml").write_text(PEOPLE + people)
        for name, source in {"flow": text, **workflows}.items():
            head = "" if "\non:" in f"\n{source}" else "on: incident.declared\n"
            (tmp_path / "workflows" / f"{name}.yaml").write_text(head + source)
        kind, clock_from = SITES[request.param]
        clock = clock_from(MONDAY)
        talk = chat(clock.now)
        async with kind(tmp_path, MONDAY, open_application, providers={"console": talk}, clock=clock) as site:
            site.chat = talk
            yield site

    return run
