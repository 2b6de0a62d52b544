"""A postmortem to write: each incident that counts leaves one."""

from __future__ import annotations


async def test_an_incident_leaves_one_postmortem_however_often_it_is_reopened(example):
    await example.declare()
    await example.resolve()
    await example.does("ada", "reopen_incident", incident="INC-1")
    await example.resolve()
    assert example.documents == ["Postmortem: Checkout is slow"]


async def test_a_mere_hiccup_leaves_none(example):
    await example.declare(severity="sev4")
    await example.resolve()
    assert example.documents == []
