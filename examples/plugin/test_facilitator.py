from datetime import UTC, datetime

import pytest

from engine import wiring
from engine.testing import RecordingChat, World

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FILES = {
    "hotwash.yaml": "timezone: UTC\n",
    "people.yaml": "people: {ada: {name: Ada}, grace: {name: Grace}, linus: {name: Linus}}\n",
    "workflows/facilitate.yaml": """\
on: incident.resolved
steps:
  - id: facilitator
    uses: facilitator.pick
    with:
      among: [ada, grace, linus]
      leave_out: ${{ incident.roles.commander }}
  - uses: chat.post
    with:
      text: "${{ steps.facilitator.person.name }} facilitates"
""",
}


@pytest.fixture
def chat():
    return RecordingChat()


@pytest.fixture
async def world(tmp_path, chat):
    (tmp_path / "workflows").mkdir()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    async with World(tmp_path, MONDAY, wiring.open_application, providers={"console": chat}) as world:
        yield world


async def test_somebody_is_picked(world, chat):
    await world.incident("resolved", "local:INC-1", title="Checkout is slow")
    (message,) = chat.sent
    assert message.text in {"Ada facilitates", "Grace facilitates", "Linus facilitates"}


async def test_over_time_everybody_has_a_turn(world, chat):
    for number in range(20):
        await world.incident("resolved", f"local:INC-{number}", title="Checkout is slow")
    assert {message.text.split()[0] for message in chat.sent} == {"Ada", "Grace", "Linus"}
