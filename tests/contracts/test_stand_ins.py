"""Our stand-ins are asked only what the vendors' specifications know: Prism stands before them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from actions.providers.jira import JiraProvider
from actions.providers.pagerduty import PagerDuty
from engine.capabilities import TicketDraft, Where
from engine.clock import SystemClock
from engine.domain import Document
from tests.fakes import an_effect
from tests.standins.jira_cloud import JiraCloud
from tests.standins.pagerduty import PagerDutyAccount

NOW = SystemClock().now


@pytest.fixture
async def jira(prism, connection):
    async with JiraCloud(NOW, page=1) as site:
        options = {"user": "hotwash@example.com", "token": "t", "deployment": "cloud", "project": "OPS"}
        server = prism("jira-v3", site.url, answers=False)
        jira = JiraProvider.build(JiraProvider.options(server=server, **options), connection)
        yield jira, site
        await jira.aclose()


async def test_the_life_of_a_ticket_keeps_to_jiras_specification(jira, connection):
    jira, site = jira
    connection.storage.records["document"] = [Document("docs:1", "Postmortem", "https://docs.example/1")]
    assert await jira.check() is None
    cursor = (await jira.changes(None)).cursor
    draft = TicketDraft("Alert on it", "Why: **slow**", labels=("postmortem",), document="docs:1")
    filed = an_effect("life")
    made = await jira.create(draft, effect=filed)
    assert (await jira.find(filed)).key == made.key
    other = site.add("Drain it")
    await jira.link(made.key, other.key, "is blocked by", effect=an_effect())
    said = an_effect("said", inputs={"ticket": made.key, "text": "On it."})
    said.at = NOW() - timedelta(minutes=1)
    await jira.comment(made.key, "On it.", effect=said)
    assert (await jira.find(said)).key == made.key
    await jira.update(made.key, {"title": "Alert earlier", "status": "Start"}, effect=an_effect())
    assert (await jira.close(made.key, comment="Done.", effect=an_effect())).done
    assert (await jira.get(made.key)).title == "Alert earlier"
    assert [one.title for one in await jira.search(Where(project="OPS"), None)] == ["Drain it", "Alert earlier"]
    assert {fact.fields["key"] for fact in (await jira.changes(cursor)).facts} == {made.key, other.key}
    (issue,) = (one for one in site.issues.values() if one.key == made.key)
    assert [link["inwardIssue"]["key"] for link in issue.links] == [other.key]
    assert list(issue.remote) == ["hotwash/docs:1"]


async def test_the_official_client_reads_from_the_stand_in_what_was_filed(jira):
    import jira as official

    provider, site = jira
    made = await provider.create(TicketDraft("Alert on it", "Why: **slow**"), effect=an_effect("read"))

    def read():
        options = {"server": site.url, "rest_api_version": "3"}
        client = official.JIRA(options=options, basic_auth=("a", "t"), get_server_info=False, max_retries=0)
        try:
            return client.issue(made.key)
        finally:
            client.close()

    issue = await asyncio.to_thread(read)
    assert (issue.fields.summary, issue.fields.labels) == ("Alert on it", ["hotwash-read"])
    assert issue.raw["fields"]["description"]["content"][0]["content"][1]["marks"] == [{"type": "strong"}]


async def test_the_life_of_an_incident_keeps_to_pagerdutys_specification(prism, connection):
    async with PagerDutyAccount(NOW, page=1) as account:
        address = prism("pagerduty", account.url, answers=False)
        options = {"token": "t", "email": "hotwash@example.com", "severity": {"P1": "sev1"}}
        pager = PagerDuty.build(PagerDuty.options(api=address, **options), connection)
        effect = an_effect("life")
        given = {"labels": (), "drill": False, "private": False, "summary": "x", "started_at": None}
        made = await pager.declare("Slow", severity="sev1", services=["Checkout"], **given, effect=effect)
        assert (await pager.find(effect)).id == made.id
        await pager.update(made.id, {"severity": "sev1", "title": "Slower"}, effect=an_effect())
        await pager.note(made.id, "Drained.", effect=an_effect())
        account.write("PINC001", "escalate", "Escalated to Ada")
        assert [entry.text for entry in await pager.log(made.id)] == ["Drained.", "Escalated to Ada"]
        for target in ("Checkout", "Default", "Primary"):
            assert await pager.on_call(target, NOW()) is None
        assert (await pager.resolve(made.id, effect=an_effect())).status == "resolved"
        await pager.aclose()
