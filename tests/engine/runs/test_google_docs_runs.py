"""Runs that write into Google Docs, and what becomes of them when the engine is killed in the middle of a call."""

from __future__ import annotations

import asyncio
import json

import pytest

from engine.plugins import Fact
from tests.google_credentials import service_account

pytest.importorskip("extradoc", reason="the package extradoc, which plays Google Docs, is not installed")

from tests.google_drive import Fault, GoogleStandIn

CREATE = """
steps:
  - id: doc
    uses: document.create
    with:
      title: "Postmortem: ${{ incident.title }}"
      text: "# Report\\n\\n- one\\n- two\\n"
      share_with: [ada]
"""
APPEND = (
    CREATE
    + """
  - uses: document.append
    with: {document: "${{ steps.doc.id }}", heading: Log, text: "Reviewed."}
"""
)


@pytest.fixture
async def google():
    stand = GoogleStandIn()
    runner = await stand.start()
    stand.drafts = stand.folder("Drafts", drive="d1")
    yield stand
    stand.go_on.set()
    await runner.cleanup()


@pytest.fixture
def project(google, tmp_path):
    (tmp_path / "google.json").write_text(service_account(f"{google.url}/token"))
    options = {"provider": "google_docs", "api": google.url, "folder": google.drafts}
    return (
        f"connections:\n  docs: {json.dumps(options)[:-1]}, credentials: '${{file:google.json}}'}}\n"
        "use: {document: docs}\n"
    )


def made(google):
    return [number for number, file in google.files.items() if "hotwash" in file.get("appProperties", {})]


def text_of(google, number):
    from actions.providers.google_page import read

    return read(google.documents[number].get()).markdown()


async def killed_in(world, google, fault):
    """Declare an incident, kill the engine in the middle of the call that a fault holds, and start it again."""
    google.now = world.clock.now
    fault.held = asyncio.Event()
    google.faults.append(fault)
    await world.application.accept(
        "pager", [Fact("incident.declared", world.now, "incident", "pager:P1", {"title": "T"})]
    )
    await asyncio.wait_for(fault.held.wait(), 20)
    await world.crash()
    google.go_on.set()
    await world.restart()
    await world.move("10m")


@pytest.mark.parametrize("carried_out", [True, False], ids=["after", "before"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", r"/files$"),
        ("POST", "batchUpdate"),
        ("POST", "permissions"),
        ("PATCH", "/files/"),
    ],
)
async def test_an_engine_that_is_killed_while_it_makes_a_document_ends_with_exactly_one_whole_one(
    engine, google, project, method, path, carried_out
):
    async with engine(CREATE, project=project) as world:
        await killed_in(world, google, Fault(method, path, carried_out=carried_out))
        assert (world.state, len(world.effects())) == ("finished", 1)
        (number,) = made(google)
        assert text_of(google, number) == "# Report\n\n- one\n- two\n"
        assert google.files[number]["appProperties"]["hotwash_state"] == "whole"
        assert [one["emailAddress"] for one in google.permissions[number]] == ["ada@example.org"]
        assert world.outputs()["doc"]["id"] == f"docs:{number}"
        assert [document.title for document in world.subjects("document")] == ["Postmortem: T"]


@pytest.mark.parametrize("carried_out", [True, False], ids=["after", "before"])
async def test_an_engine_that_is_killed_while_it_appends_has_appended_once(engine, google, project, carried_out):
    async with engine(APPEND, project=project) as world:
        await killed_in(world, google, Fault("POST", "batchUpdate", carried_out=carried_out, passed=1))
        assert world.state == "finished"
        assert text_of(google, made(google)[0]) == "# Report\n\n- one\n- two\n\n## Log\n\nReviewed.\n"


async def test_a_private_incidents_document_is_not_made_where_others_see_it(engine, google, project):
    async with engine("on:\n  incident.declared: {private: both}\n" + CREATE, project=project) as world:
        await world.declared(private=True)
        assert (world.state, made(google)) == ("failed", [])
        assert "set 'private_folder'" in world.error


async def test_a_connection_without_the_scope_holds_the_document_and_says_who_grants_it(engine, google, project):
    async with engine(CREATE, project=project) as world:
        google.faults.append(Fault("POST", r"/files$", 403, "insufficientPermissions"))
        await world.declared()
        assert (world.state, made(google)) == ("held", [])
        await world.move("3h")
        assert (world.state, len(made(google))) == ("finished", 1)
