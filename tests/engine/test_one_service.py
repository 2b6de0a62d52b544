"""Incidents of one service at one time: declared once, and told apart or not."""

from __future__ import annotations

import asyncio

from engine.domain import Incident
from engine.plugins import Fact, at_most_once

DECLARE = """
on: alert.firing
if: alert.severity == "critical"
vars:
  open: ${{ incidents(open=true, service=alert.service) | first }}
  last: ${{ incidents(service=alert.service) | first }}
steps:
  - if: vars.open != null
    finish: one is open
  - id: declare
    uses: incident.declare
    once_per: [alert.service, vars.last.id]
    with:
      title: "${{ alert.name }} of ${{ alert.service }}"
      severity: sev2
      services: ["${{ alert.service }}"]
"""
CAUSE = """
on: incident.declared
vars:
  near: ${{ incidents(open=true, service=incident.services, last="2h") }}
  other: ${{ [one for one in vars.near if one.id != incident.id] | last }}
stop_when: not incident.open
steps:
  - if: vars.other == null
    finish: nothing else is open
  - id: ask
    uses: chat.ask
    timeout: 1h
    with:
      to: ${{ incident.roles.commander or team("sre").lead }}
      text: "Is ${{ incident.key }} ${{ incident.title }} the same as ${{ vars.other.key }} ${{ vars.other.title }}?"
      choices:
        same: "The same"
        other: "Another one"
  - if: steps.ask.answer == "same"
    uses: incident.merge
    with:
      into: ${{ vars.other }}
"""


def fires(world, name):
    fields = {"fingerprint": name, "name": name, "service": "checkout", "severity": "critical", "firing": True}
    return Fact("alert.firing", world.now, "alert", f"am:{name}", {**fields, "started_at": world.now})


async def test_two_alerts_at_one_instant_declare_one_incident_and_so_does_the_next_one_when_that_is_over(engine):
    async with engine(DECLARE) as world:
        await world.happens("am", fires(world, "a"), fires(world, "b"))
        assert len(world.subjects("incident")) == 1
        await world.move("1h")
        await world.happens("am", fires(world, "c"))
        assert len(world.subjects("incident")) == 1
        await world.incident("resolved", world.subjects("incident")[0].id)
        await world.move("1h")
        await world.happens("am", fires(world, "d"), fires(world, "e"))
        assert len(world.subjects("incident")) == 2


class Pager:
    """Somebody else's incidents, which take their time to be made."""

    def __init__(self):
        self.declared, self.called, self.go_on = [], asyncio.Event(), asyncio.Event()

    @at_most_once
    async def declare(self, title, *, effect, services, **details):
        self.declared.append(title)
        self.called.set()
        await self.go_on.wait()
        return Incident(f"vendor:{len(self.declared)}", "V-1", title, services=tuple(services))

    async def get(self, incident):
        return None


async def test_two_alerts_at_one_instant_declare_one_incident_at_a_slow_pager_too(engine):
    pager = Pager()
    project = "connections: {vendor: {provider: local, key: V}}\nuse: {incident: vendor}\n"
    async with engine(DECLARE, project=project, providers={"vendor": pager}) as world:
        await world.application.accept("am", [fires(world, "a"), fires(world, "b")])
        await pager.called.wait()
        pager.go_on.set()
        await world.settle()
        assert (pager.declared, [run["state"] for run in world.runs()]) == (["a of checkout"], ["finished", "finished"])


async def test_somebody_says_that_two_incidents_have_one_cause_and_they_are_merged(engine):
    async with engine(CAUSE) as world:
        await world.incident("declared", "pager:P1", title="Slow", key="P1", services=("checkout",))
        await world.move("10m")
        await world.incident("declared", "pager:P2", title="Slower", key="P2", services=("checkout",))
        await world.answer("same", "grace")
        assert [i.merged_into for i in world.subjects("incident")] == [None, "pager:P1"]
