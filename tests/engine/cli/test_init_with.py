"""`hotwash init --with`: a project for the systems that a team has, as a new user meets it."""

from __future__ import annotations

import re
import stat

import pytest

from engine import cli, wiring
from engine.cli import exits
from engine.cli.init import STARTER
from engine.config import load_config
from engine.workflow.source import read_file

SYSTEMS = "slack,jira,google,pagerduty"


@pytest.fixture
def hotwash(tmp_path, capsys, monkeypatch):
    """Give what runs a command in an empty folder: the exit code, and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = cli.run(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def config_of(folder, **environ):
    return load_config(folder, wiring.catalogue(), environ)


def test_check_accepts_the_project_and_names_each_credential_that_is_missing(hotwash):
    assert hotwash("init", "--with", SYSTEMS)[0] == exits.OK
    code, out, _ = hotwash("check")
    assert code == exits.OK
    assert "error" not in out.rpartition("\n\n")[2]
    for name in ("SLACK_BOT_TOKEN", "JIRA_TOKEN", "PAGERDUTY_TOKEN", ".hotwash/secrets/google.json"):
        assert f"'{name}'" in out


def test_each_job_is_done_by_what_was_named_and_the_rest_without_an_account(hotwash, tmp_path):
    hotwash("init", "--with", SYSTEMS)
    config, _ = config_of(tmp_path)
    providers = {job: config.connections[name].provider for job, name in config.use.items()}
    assert providers | {"meeting": None} == providers | {
        "chat": "slack",
        "ticket": "jira",
        "calendar": "google_calendar",
        "document": "google_docs",
        "incident": "pagerduty",
        "on_call": "pagerduty",
        "people": "roster",
        "status_page": "static",
        "meeting": None,
    }


@pytest.mark.parametrize(
    ("systems", "more"),
    [("google", {"declined-review"}), ("slack", {"incident-response"}), ("jira,pagerduty", set())],
)
def test_a_chat_and_a_calendar_bring_the_workflows_that_need_them(hotwash, tmp_path, systems, more):
    hotwash("init", "--with", systems)
    assert {path.stem for path in (tmp_path / "workflows").iterdir()} - set(STARTER) == more
    assert hotwash("check")[0] == exits.OK


def test_no_workflow_names_a_vendor(hotwash, tmp_path):
    hotwash("init", "--with", SYSTEMS)
    texts = [path.read_text() for path in (tmp_path / "workflows").glob("*.yaml")]
    assert len(texts) >= 4
    assert not re.search(r"slack|jira|google|pagerduty|connection:", "\n".join(texts), re.IGNORECASE)


def test_doctor_says_of_each_connection_what_is_missing_and_what_to_do(hotwash):
    hotwash("init", "--with", SYSTEMS)
    code, out, _ = hotwash("doctor")
    assert code == exits.PROBLEMS
    assert "chat  it is off: the environment variable 'SLACK_BOT_TOKEN' is empty" in out
    assert "fill in .hotwash/env, or set it in the environment, then 'hotwash doctor chat' again" in out
    assert "calendar  it is off: the file '.hotwash/secrets/google.json' cannot be read" in out
    assert "docs/integrations/google.md" in out


def test_what_is_filled_in_is_read_and_only_its_owner_can(hotwash, tmp_path):
    hotwash("init", "--with", "slack")
    path = tmp_path / ".hotwash" / "env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text(path.read_text().replace("TOKEN=", "TOKEN=xoxb-1").replace("SECRET=", "SECRET='s'"))
    config, problems = config_of(tmp_path)
    assert (config.connections["chat"].options.token, problems) == ("xoxb-1", [])
    assert config.connections["chat"].source_options.signing_secret == ("s",)


def test_the_environment_counts_before_the_file(hotwash, tmp_path):
    hotwash("init", "--with", "slack")
    (tmp_path / ".hotwash" / "env").write_text("SLACK_BOT_TOKEN=old\nexport SLACK_SIGNING_SECRET=s\n")
    config, _ = config_of(tmp_path, SLACK_BOT_TOKEN="new")
    assert config.connections["chat"].options.token == "new"


def test_a_line_that_is_no_variable_is_told_by_its_place_and_not_shown(hotwash, tmp_path):
    hotwash("init", "--with", "slack")
    (tmp_path / ".hotwash" / "env").write_text("# mine\nxoxb-123456\n")
    _, problems = config_of(tmp_path)
    (problem,) = [one for one in problems if one.code == "bad-setting"]
    assert str(problem.span).startswith(".hotwash/env:2")
    assert "xoxb" not in problem.message


def test_a_part_of_a_family_can_be_had_alone(hotwash, tmp_path):
    hotwash("init", "--with", "google_docs")
    config, _ = config_of(tmp_path)
    assert (config.use["document"], config.use["calendar"]) == ("docs", "ics")


def test_what_pagerduty_declares_incidents_on_is_to_be_filled_in(hotwash, tmp_path):
    hotwash("init", "--with", "pagerduty")
    (line,) = [one for one in (tmp_path / "hotwash.yaml").read_text().splitlines() if one.startswith("    service:")]
    assert line.endswith("# yours")


@pytest.mark.parametrize("given", ["slak", "slack,slak"])
def test_an_unknown_name_gets_the_nearest_and_nothing_is_written(hotwash, tmp_path, given):
    code, _, err = hotwash("init", "--with", given)
    assert (code, list(tmp_path.iterdir())) == (exits.USAGE, [])
    assert "no system is called 'slak'" in err
    assert "did you mean 'slack'?" in err


def test_a_name_like_no_other_gets_the_list_of_what_there_is(hotwash):
    _, _, err = hotwash("init", "--with", "telegraph")
    assert "there are google, google_calendar, google_docs" in err
    assert "slack" in err


def test_every_line_that_is_only_an_example_says_so(hotwash, tmp_path):
    hotwash("init", "--with", SYSTEMS)
    text = read_file(tmp_path / "hotwash.yaml").decode()
    options = [line for line in text.partition("\nuse:")[0].splitlines() if line.startswith("    ")]
    assert all("${" in line or "provider:" in line or line.endswith("# yours") for line in options)
