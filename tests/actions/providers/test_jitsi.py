"""Links to rooms of Jitsi Meet."""

from __future__ import annotations

from pathlib import Path

import pytest

from actions.providers.jitsi import Jitsi
from engine.plugins import ActionError
from tests.fakes import ADA, MONDAY, FakeConnection, an_effect


@pytest.fixture
def connection():
    return FakeConnection(Path(), "bridge")


@pytest.fixture
def jitsi(connection):
    return Jitsi.build(Jitsi.options(server="https://meet.example.com/"), connection)


async def opened(jitsi, connection, token="tok1", title="P1 Die Warteschlange läuft über", **more):
    effect = an_effect(token)
    made = await jitsi.create(title, people=[ADA], incident="pager:P1", effect=effect, **more)
    connection.storage.apply(effect)
    return made, effect


async def test_a_room_has_the_title_in_its_link_and_130_bits_that_nobody_guesses(jitsi, connection):
    made, _ = await opened(jitsi, connection)
    other, _ = await opened(jitsi, connection, "tok2")
    start = "https://meet.example.com/p1-die-warteschlange-lauft-uber-"
    assert made.url.startswith(start)
    assert len(made.url) - len(start) == 26
    assert made.url != other.url


@pytest.mark.parametrize("more", [{"title": "待ち行列 /../?#"}, {"private": True}])
async def test_a_title_that_no_link_can_hold_and_one_that_is_private_are_left_out_of_it(jitsi, connection, more):
    made, _ = await opened(jitsi, connection, **more)
    assert len(made.url.removeprefix("https://meet.example.com/")) == 26


async def test_the_incident_learns_its_meeting_and_that_it_is_over(jitsi, connection):
    made, effect = await opened(jitsi, connection)
    ((_, fact),) = effect.emitted
    assert (fact.subject, fact.fields["meeting"], fact.engine) == ("pager:P1", made, True)
    effect = an_effect("end")
    ended = await jitsi.end(made.id, effect=effect)
    assert (ended.url, ended.ended_at) == (made.url, MONDAY)
    assert effect.emitted[0][1].fields["meeting"] == ended


async def test_a_meeting_is_known_again_and_one_that_is_not_there_is_told(jitsi, connection):
    made, _ = await opened(jitsi, connection)
    assert await jitsi.get("bridge:tok1") == made
    assert await jitsi.get("bridge:tok9") is None
    with pytest.raises(ActionError, match="connection 'bridge' has no meeting 'bridge:tok9'"):
        await jitsi.end("bridge:tok9", effect=an_effect())
