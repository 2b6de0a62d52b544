"""Jira's records and texts, without a Jira."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from actions.providers.jira import JiraProvider
from actions.providers.jira_fields import in_form, wanted
from actions.providers.jira_text import read_text, written_text
from engine.plugins import ActionError
from tests.fakes import FakeConnection

REPORT = """# Why

The queue is **slow**, see [the page](https://x.example) and `top`.

- [ ] alert on it
- [x] drain it

1. first

| What | Owner |
|---|---|
| Alert | Ada |

> said Grace

---

```sql
SELECT 1
```
"""


def jira(**options):
    made = JiraProvider.options(**({"server": "https://example.atlassian.net", "token": "t"} | options))
    return JiraProvider.build(made, FakeConnection(Path(), "tracker"))


def test_markdown_becomes_atlassians_document_and_its_text_is_read_back():
    document = written_text(REPORT, cloud=True)
    kinds = [node["type"] for node in document["content"]]
    assert kinds == [
        *("heading", "paragraph", "bulletList", "orderedList", "table", "blockquote", "rule", "codeBlock"),
    ]
    marks = [node.get("marks", [{}])[0].get("type") for node in document["content"][1]["content"]]
    assert marks == [None, "strong", None, "link", None, "code", None]
    text = read_text(document)
    assert "The queue is slow, see the page and top." in text
    assert "☐ alert on it\n" in text


def test_markdown_becomes_wiki_markup():
    wiki = written_text(REPORT, cloud=False)
    assert "h1. Why" in wiki
    assert "*slow*, see [the page|https://x.example] and {{top}}." in wiki
    assert "||What||Owner||\n|Alert|Ada|" in wiki
    assert "* ( ) alert on it\n* (/) drain it" in wiki
    assert "{code:sql}\nSELECT 1\n{code}" in wiki


def test_wiki_signs_in_a_text_are_text():
    assert written_text("{color:red} [~admin] !x! h1. y", cloud=False) == r"\{color:red\} \[\~admin\] \!x\! h1. y"


def test_a_document_however_deep_is_read_without_a_traceback():
    node = {"type": "text", "text": "inner"}
    for _ in range(100_000):
        node = {"type": "blockquote", "content": [node]}
    assert read_text(node) == "inner"
    while "content" in node:  # taken apart from outside: Python's own would be a recursion too
        node = node["content"].pop()


@pytest.mark.parametrize(
    ("server", "deployment", "cloud"),
    [
        ("https://example.atlassian.net", None, True),
        ("https://atlassian.net.example.com", None, False),
        ("https://jira.example.com", "cloud", True),
        ("https://example.atlassian.net", "data_center", False),
    ],
)
def test_cloud_is_told_by_the_address_unless_it_is_said(server, deployment, cloud):
    assert JiraProvider.options(server=server, token="t", deployment=deployment).cloud is cloud


async def test_the_last_act_of_a_human_leaves_out_our_accounts_and_applications():
    def by(account, at, kind="atlassian"):
        return {"author": {"accountId": account, "accountType": kind}, "created": f"2026-03-{at:02}T09:00:00.000+0000"}

    raw = {
        "id": "1",
        "key": "OPS-1",
        "fields": {
            "creator": {"accountId": "ada"},
            "created": "2026-03-01T09:00:00.000+0000",
            "comment": {"comments": [by("grace", 4), by("bot", 6)]},
        },
        "changelog": {"histories": [by("ada", 3), by("rule", 5, "app"), by("bot", 7)]},
    }
    assert await jira(accounts=["bot"])._active(raw) == datetime(2026, 3, 4, 9, 0, tzinfo=UTC)


SEVERITY = {
    "fieldId": "customfield_1",
    "name": "Severity",
    "required": True,
    "schema": {"type": "option"},
    "allowedValues": [{"value": "High"}, {"value": "Low"}],
}


@pytest.mark.parametrize(
    ("schema", "value", "sent"),
    [
        ({"type": "option"}, "High", {"value": "High"}),
        ({"type": "array", "items": "option"}, "High", [{"value": "High"}]),
        ({"type": "array", "items": "component"}, ["High", "Low"], [{"name": "High"}, {"name": "Low"}]),
        ({"type": "priority"}, "Low", {"name": "Low"}),
        ({"type": "number"}, 3, 3),
        ({"type": "option"}, {"id": "7"}, {"id": "7"}),
    ],
)
def test_a_field_is_sent_in_the_form_that_its_type_has(schema, value, sent):
    assert in_form(wanted({**SEVERITY, "schema": schema}), value, cloud=True) == sent


def test_a_value_that_a_field_does_not_allow_is_told_with_those_it_does():
    with pytest.raises(ActionError, match="'Severity' cannot be 'Huge'; it is one of High, Low"):
        in_form(wanted(SEVERITY), "Huge", cloud=True)
