"""Who somebody is: Slack's users joined with the people file, on good and bad days."""

from __future__ import annotations

import textwrap
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from actions.providers.slack import Slack
from actions.providers.slack_web import SCOPES
from engine.domain import Person, Roster, Team
from engine.plugins import ActionError
from tests.fakes import FakeConnection, an_effect
from tests.slack_workspace import Workspace, error, serving, user

ROSTER = Roster(
    {
        "ada": Person("ada", "Ada of the roster", email="Ada@Example.com"),
        "grace": Person("grace", "Grace", ids={"slack": "UGRACE"}, timezone="Asia/Tokyo"),
        "linus": Person("linus", "Linus", email="linus@example.com"),
    },
    {"sre": Team("sre", "SRE", lead="ada", members=("ada",))},
)


@pytest.fixture
async def workspace():
    async with serving(Workspace()) as made:
        made.users = [
            user("UADA", "Ada", "ada@example.com", tz="Europe/Prague"),
            user("UGRACE", "Grace", "grace@example.com", tz="Europe/Prague"),
            user("UMARY", "Mary", "mary@example.com", tz="No/Where"),
            user("UGONE", "Gone", "gone@example.com", deleted=True),
        ]
        yield made


@pytest.fixture
async def connection():
    return FakeConnection(Path(), "chat", roster=ROSTER)


@pytest.fixture
async def people(workspace, connection):
    """Give the provider as the engine has it, when it has read who is there."""
    provider = Slack.build(Slack.options(token="xoxb-secret", channel="#incidents", api=workspace.api), connection)
    connection.people = provider
    await provider.astart()
    await provider._reading
    yield provider
    await provider.aclose()


def test_it_serves_people_beside_chat():
    assert Slack.serves == ("chat", "people")


async def test_one_person_is_who_has_one_address_and_the_roster_overrides(people):
    ada = people.person("ada")
    assert (ada.id, ada.name, ada.known, ada.team) == ("ada", "Ada of the roster", True, "sre")
    assert (ada.ids, ada.timezone) == ({"slack": "UADA"}, "Europe/Prague")
    assert people.person("slack:UADA") == people.person("ADA@example.com") == people.user("UADA") == ada


async def test_what_the_roster_says_is_not_replaced_and_what_it_leaves_open_is_filled_in(people):
    grace = people.join(Person("slack:UGRACE", "G", ids={"slack": "UGRACE"}))
    assert (grace.id, grace.timezone, grace.email) == ("grace", "Asia/Tokyo", "grace@example.com")


async def test_somebody_who_is_only_in_slack_is_found_by_address(people):
    mary = people.person("mary@example.com")
    assert (mary.id, mary.name, mary.timezone, mary.known) == ("slack:UMARY", "Mary", None, False)
    assert people.join(Person("pagerduty:P1", "M", email="Mary@example.com")) == mary


async def test_whom_another_system_names_by_an_address_of_the_workspace_is_the_rosters_person(people):
    assert people.join(Person("jira:7", "G", email="grace@example.com")).id == "grace"


async def test_a_word_that_is_no_address_is_nobody_of_the_workspace(people):
    assert people.person("Mary") is None
    assert [person.id for person in people.people()] == ["ada", "grace", "linus"]


async def test_whoever_has_left_is_known_by_the_id_and_not_by_the_address(people):
    assert people.user("UGONE").name == "Gone"
    assert people.person("gone@example.com") is None


async def test_whom_slack_does_not_know_is_said_at_the_start_and_by_the_doctor(people, connection):
    said = "Slack does not know Linus (linus@example.com)"
    assert [line[: len(said)] for line in connection.said] == [said]
    assert (await people.check()).startswith(said)


async def test_a_message_to_somebody_whom_slack_does_not_know_says_who_that_is(people):
    with pytest.raises(ActionError, match=r"Linus: .*nobody in the workspace"):
        await people.direct(people.person("linus"), "x", effect=an_effect())


async def test_people_are_written_to_without_asking_who_they_are(people, workspace):
    await people.direct(people.person("ada"), "x", effect=an_effect())
    assert "users.lookupByEmail" not in workspace.calls


async def test_a_workspace_that_cannot_be_read_is_said_and_read_again_later(workspace, connection):
    provider = Slack.build(Slack.options(token="xoxb-secret", api=workspace.api), connection)
    connection.people = provider
    workspace.bad["users.list"] = [error("missing_scope", needed="users:read")]
    await provider.astart()
    await provider._reading
    assert ["the app needs users:read" in line for line in connection.said] == [True]
    assert provider.person("ada").ids == {}
    connection.clock.move(timedelta(minutes=10))
    assert provider.user("UADA").id == "slack:UADA"
    await provider._reading
    assert provider.user("UADA").id == "ada"
    await provider.aclose()


async def test_an_engine_that_ends_while_the_users_are_read_leaves_nothing_behind(workspace, connection):
    provider = Slack.build(Slack.options(token="xoxb-secret", api=workspace.api), connection)
    workspace.hangs["users.list"] = 0
    await provider.astart()
    await workspace.hung.wait()
    await provider.aclose()
    assert provider._reading.cancelled()


# --- the doctor ---


async def test_the_doctor_says_which_scopes_the_app_lacks(people, workspace):
    workspace.headers = {"x-oauth-scopes": ",".join(SCOPES - {"pins:write", "groups:write"})}
    assert (await people.check()).startswith("the app lacks groups:write, pins:write: add them under OAuth")
    workspace.headers = {"x-oauth-scopes": ", ".join(SCOPES) + ",commands"}
    assert "lacks" not in await people.check()


async def test_the_doctor_says_that_the_clock_is_wrong(people, workspace, connection):
    connection.clock.move(timedelta(minutes=7))
    assert "420 seconds ahead of Slack's" in await people.check()


def test_the_manifest_that_people_paste_has_every_scope_that_is_needed():
    page = (Path(__file__).parents[3] / "docs" / "integrations" / "slack.md").read_text("utf-8")
    manifest = yaml.safe_load(textwrap.dedent(page.partition("```yaml\n")[2].partition("```")[0]))
    assert set(manifest["oauth_config"]["scopes"]["bot"]) >= SCOPES
