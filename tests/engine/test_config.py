from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from pydantic import field_validator

from engine.calendars import Duration
from engine.config import Config, find_project, library, load_config, plugins_folder
from engine.config import connections as connecting
from engine.config import people as peopling
from engine.config import reader as reading
from engine.plugins import Catalogue, Field, Options, Secret, provider, source
from engine.problems import CODES, Problem, render

BAD = Path(__file__).parent / "bad_config"
PAGER = "connections: {pager: {provider: pagerduty, webhook_secret: '${PAGER}'}}\n"


class NoOptions(Options):
    pass


class FolderOptions(Options):
    folder: str = "documents"


class HttpOptions(Options):
    allow: list[str] = Field(default=[])


class SeverityOptions(Options):
    severity: dict[str, str] = Field(default={})


class HookOptions(Options):
    webhook_secret: Secret | list[Secret]


class TrackerOptions(Options):
    server: str = Field(pattern="^https://")
    token: Secret
    port: int = 443

    @field_validator("token")
    @classmethod
    def _long_enough(cls, value: str) -> str:
        if len(value) < 6:
            raise ValueError(f"must be longer than '{value}'")
        return value


class Thing:
    def __init__(self, *_: object) -> None: ...


CATALOGUE = Catalogue.collect(
    ("test", declared)
    for declared in (
        provider("console", NoOptions, serves=["chat"])(Thing),
        provider("http", HttpOptions, serves=["http"])(Thing),
        provider("ics", NoOptions, serves=["calendar"])(Thing),
        provider("local", NoOptions, serves=["ticket", "incident"])(Thing),
        provider("markdown", FolderOptions, serves=["document"])(Thing),
        provider("pagerduty", SeverityOptions, serves=[])(Thing),
        provider("roster", NoOptions, serves=["people", "on_call"])(Thing),
        provider("tracker", TrackerOptions, serves=["ticket"], rate="960/min")(Thing),
        source("pagerduty", HookOptions)(Thing),
    )
)


def load(folder: Path, text: str, people: str | None = None, **environ: str) -> tuple[Config | None, list[Problem]]:
    (folder / "hotwash.yaml").write_text("timezone: Europe/Prague\n" + text)
    if people is not None:
        (folder / "people.yaml").write_text(people)
    return load_config(folder, CATALOGUE, environ)


def good(folder: Path, text: str, people: str | None = None, **environ: str) -> Config:
    config, problems = load(folder, text, people, **environ)
    assert [render(problem) for problem in problems] == []
    assert config is not None
    return config


def codes(problems: list[Problem]) -> list[str]:
    return [problem.code for problem in problems]


# --- bad files, with what is printed of them beside them ---


@pytest.mark.parametrize("folder", sorted(BAD.iterdir()), ids=lambda folder: folder.name)
def test_a_bad_file_prints_what_stands_beside_it(folder):
    _, problems = load_config(folder, CATALOGUE, {"EMPTY": "", "TOKEN": "s3cret-token"})
    assert "\n\n".join(map(render, problems)) + "\n" == (folder / "printed.txt").read_text()


@pytest.mark.parametrize("folder", sorted(BAD.iterdir()), ids=lambda folder: folder.name)
def test_a_bad_file_is_named_by_the_code_it_shows(folder):
    assert f"[{folder.name}]" in (folder / "printed.txt").read_text()


def test_every_code_of_the_configuration_has_a_bad_file():
    modules = (connecting, peopling, reading)
    declared = {value for module in modules for value in vars(module).values() if isinstance(value, str)} & set(CODES)
    assert declared | {"no-timezone", "bad-calendar"} == {folder.name for folder in BAD.iterdir()}


def test_no_printed_problem_shows_a_secret():
    assert "s3cret" not in "".join((folder / "printed.txt").read_text() for folder in BAD.iterdir())


# --- what is configured when little is said ---


def test_an_empty_project_has_a_provider_for_every_capability(tmp_path):
    config = good(tmp_path, "")
    assert config.use == {
        "document": "markdown",
        "chat": "console",
        "ticket": "local",
        "calendar": "ics",
        "incident": "local",
        "on_call": "roster",
        "people": "roster",
        "http": "http",
    }
    assert all(config.connections[name].by_default for name in config.use.values())


def test_folders_and_the_database_lie_in_the_project_by_default(tmp_path):
    config = good(tmp_path, "")
    assert (config.workflows, config.templates) == (tmp_path / "workflows", tmp_path / "templates")
    assert config.database == f"sqlite:///{tmp_path}/.hotwash/hotwash.db"


def test_the_server_listens_on_this_machine_alone_by_default(tmp_path):
    assert (good(tmp_path, "").server.host, good(tmp_path, "").limits.body) == ("127.0.0.1", 1024 * 1024)


def test_a_path_in_the_file_is_relative_to_the_project(tmp_path):
    config = good(tmp_path, "workflows: ops/flows\ndatabase: sqlite:////var/lib/hotwash.db\n")
    assert config.workflows == tmp_path / "ops/flows"
    assert config.database == "sqlite:////var/lib/hotwash.db"


def test_a_database_on_a_server_is_taken_as_it_is(tmp_path):
    config = good(tmp_path, "database: 'postgresql://hotwash:${PW}@db/hotwash'\n", PW="s3cret")
    assert config.database == "postgresql://hotwash:s3cret@db/hotwash"
    assert "s3cret" not in repr(config)


# --- connections ---


def test_a_vendor_with_a_provider_and_a_source_gets_the_options_of_both(tmp_path):
    text = "connections: {pager: {provider: pagerduty, webhook_secret: '${PAGER}', severity: {P1: sev1}}}\n"
    pager = good(tmp_path, text, PAGER="hush").connections["pager"]
    assert pager.options == SeverityOptions(severity={"P1": "sev1"})
    assert pager.source_options == HookOptions(webhook_secret=Secret("hush"))


def test_a_connection_called_as_a_provider_needs_no_provider_key(tmp_path):
    connection = good(tmp_path, "connections: {markdown: {folder: reports}}\n").connections["markdown"]
    assert (connection.provider, connection.options) == ("markdown", FolderOptions(folder="reports"))


def test_a_secret_comes_from_a_file_without_its_line_break(tmp_path):
    (tmp_path / "secret").write_text("hush\n")
    config = good(tmp_path, "connections: {pager: {provider: pagerduty, webhook_secret: '${file:secret}'}}\n")
    assert config.connections["pager"].source_options == HookOptions(webhook_secret=Secret("hush"))


def test_a_number_may_come_from_the_environment(tmp_path):
    text = "connections: {t: {provider: tracker, server: 'https://x', token: '${T}', port: '${PORT}'}}\n"
    config = good(tmp_path, "server: {port: '${PORT}'}\n" + text, T="s3cret", PORT="8080")
    assert (config.server.port, config.connections["t"].options.port) == (8080, 8080)


def test_two_dollars_are_one_that_begins_no_reference(tmp_path):
    assert good(tmp_path, "vars: {price: '$${EUR} 5', cost: '$5'}\n").vars == {"price": "${EUR} 5", "cost": "$5"}


@pytest.mark.parametrize("environ", [{}, {"PAGER": ""}])
def test_an_inbound_connection_without_its_credential_is_off_and_the_rest_is_configured(tmp_path, environ):
    config, problems = load(tmp_path, PAGER, **environ)
    assert [(problem.code, problem.severity) for problem in problems] == [("missing-credential", "warning")]
    assert config is not None
    assert "PAGER" in (config.connections["pager"].disabled or "")
    assert config.connections["markdown"].disabled is None


def test_an_inbound_connection_that_leaves_its_secret_out_is_off(tmp_path):
    config, problems = load(tmp_path, "connections: {pager: {provider: pagerduty}}\n")
    assert config is not None
    assert config.connections["pager"].disabled == "'webhook_secret' is left out"
    assert [problem.severity for problem in problems] == ["warning"]


def test_another_connection_without_its_credential_is_an_error_that_can_still_be_checked_with(tmp_path):
    text = "connections: {jira: {provider: tracker, server: 'https://x', token: '${T}'}}\nuse: {ticket: jira}\n"
    config, problems = load(tmp_path, text)
    assert [(problem.code, problem.severity) for problem in problems] == [("missing-credential", "error")]
    assert config is not None
    assert config.use["ticket"] == "jira"


def test_a_value_from_the_environment_is_in_no_message(tmp_path):
    text = "connections: {jira: {provider: tracker, server: '${URL}', token: '${T}', port: '${URL}'}}\n"
    _, problems = load(tmp_path, text, URL="hush-url", T="hush")
    assert codes(problems) == ["bad-setting"] * 3
    assert "hush" not in "".join(map(render, problems))


def test_a_literal_secret_is_a_warning_that_does_not_show_it(tmp_path):
    config, problems = load(tmp_path, "connections: {pager: {provider: pagerduty, webhook_secret: s3cret}}\n")
    assert config is not None
    assert [(problem.code, problem.severity) for problem in problems] == [("literal-secret", "warning")]
    assert "s3cret" not in render(problems[0]) + repr(config)


def test_hosts_under_http_are_allowed_for_the_connection_that_is_there_by_default(tmp_path):
    config = good(tmp_path, "http: {allow: ['*.example.com']}\n")
    assert config.connections["http"].options == HttpOptions(allow=["*.example.com"])


# --- people, calendars, vars ---

PEOPLE = """
people:
  ada: {name: Ada, email: ada@example.org, manager: grace, ids: {pagerduty: PADA}}
  grace: {timezone: Europe/London, hours: london}
teams: {sre: {lead: ada, members: [ada], rotation: default, vars: {sla: 1d}}}
services: {checkout: {team: sre}}
rotations: {default: {members: [ada, grace], every: 7d, from: "2026-01-05T09:00"}}
"""
FOR_PEOPLE = "owner: sre\nvars: {sla: 7d}\ncalendars: {london: {timezone: Europe/London}}\n"


def test_the_roster_is_read_with_teams_joined_to_their_members(tmp_path):
    roster = good(tmp_path, FOR_PEOPLE, PEOPLE).roster
    assert (roster.people["ada"].team, roster.people["ada"].manager, roster.people["ada"].known) == (
        "sre",
        "grace",
        True,
    )
    assert roster.people["grace"].name == "grace"
    assert roster.teams["sre"].vars == {"sla": "1d"}


def test_a_rotation_has_the_zone_of_the_project_unless_it_names_one(tmp_path):
    rotation = good(tmp_path, FOR_PEOPLE, PEOPLE).roster.rotations["default"]
    assert (rotation.timezone, rotation.every) == ("Europe/Prague", Duration(7 * 86400))
    assert rotation.start == datetime.fromisoformat("2026-01-05T09:00")


def test_problems_of_both_files_come_at_once(tmp_path):
    _, problems = load(tmp_path, "owner: nobody\nlimit: {}\n", PEOPLE)
    assert {problem.span.file for problem in problems if problem.span} == {"hotwash.yaml", "people.yaml"}


def test_working_days_count_in_the_calendar_called_default(tmp_path):
    config = good(tmp_path, "calendars: {office: {}, default: {timezone: Europe/London}}\n")
    assert config.default_calendar is config.calendars["default"]


def test_working_days_count_in_the_only_calendar(tmp_path):
    config = good(tmp_path, 'calendars: {office: {hours: {mon-thu: "08:00-16:00", fri: closed}, holidays: [CZ]}}\n')
    assert config.default_calendar is config.calendars["office"]


def test_working_days_count_from_nine_to_five_where_no_calendar_is_named(tmp_path):
    calendar = good(tmp_path, "").default_calendar
    assert (calendar.timezone, len(calendar.hours[0]), calendar.hours[5]) == ("Europe/Prague", 1, ())


def test_a_missing_hotwash_yaml_is_a_problem(tmp_path):
    config, problems = load_config(tmp_path, CATALOGUE, {})
    assert (config, codes(problems)) == (None, ["missing-file"])


# --- finding things ---


def test_a_project_is_found_from_a_folder_inside_it(tmp_path):
    (tmp_path / "hotwash.yaml").write_text("")
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert find_project(tmp_path / "a" / "b") == tmp_path


def test_the_plugins_folder_is_known_before_the_rest_can_be_read(tmp_path):
    (tmp_path / "hotwash.yaml").write_text("plugins: extras\nnonsense: 1\n")
    assert plugins_folder(tmp_path) == tmp_path / "extras"


def test_the_library_of_a_checkout_is_its_workflows_folder():
    assert library() == Path(__file__).resolve().parents[2] / "workflows"


# --- how often a connection is called ---


@pytest.mark.parametrize(("own", "rate"), [("", "960/min"), (", rate: 100/min", "100/min")])
def test_a_vendors_own_limit_holds_where_a_connection_sets_none(tmp_path, own, rate):
    written = f"{{provider: tracker, server: 'https://t.example.com', token: '${{TOKEN}}'{own}}}"
    config, _ = load(tmp_path, f"connections: {{issues: {written}}}\n", TOKEN="long-enough")
    assert str(config.connections["issues"].rate) == rate


@pytest.mark.parametrize(
    ("written", "rate", "interval"),
    [
        ("rate: 50/min", "50/min", 1.2),
        ("rate: 10 / s, burst: 20", "10/s", 0.1),
        ("rate: 1000/hour", "1000/h", 3.6),
        ("rate: 1/d", "1/d", 86400),
    ],
)
def test_a_connection_says_how_often_it_may_be_called(tmp_path, written, rate, interval):
    config, problems = load(tmp_path, f"connections: {{docs: {{provider: markdown, {written}}}}}\n")
    found = config.connections["docs"].rate
    assert (problems, str(found), found.interval.total_seconds()) == ([], rate, interval)


@pytest.mark.parametrize(
    ("written", "burst"), [("50/min", 5), ("3/s", 1), ("50/min, burst: 1", 1), ("1/d, burst: 7", 7)]
)
def test_a_tenth_of_the_calls_may_come_at_once_unless_burst_says_otherwise(tmp_path, written, burst):
    config, _ = load(tmp_path, f"connections: {{docs: {{provider: markdown, rate: {written}}}}}\n")
    assert config.connections["docs"].rate.burst == burst


def test_without_a_rate_a_connection_is_called_as_often_as_it_is_needed(tmp_path):
    config, _ = load(tmp_path, "connections: {docs: {provider: markdown}}\n")
    assert {one.rate for one in config.connections.values()} == {None}


@pytest.mark.parametrize("rate", ["fast", "0/min", "5/w", "-1/s", "1.5/s", "100000/s", "50", "[]", "7"])
def test_a_rate_that_cannot_be_read_is_told_at_its_value(tmp_path, rate):
    config, (problem,) = load(tmp_path, f"connections: {{docs: {{provider: markdown, rate: {rate}}}}}\n")
    assert (config, problem.code, problem.span.column) == (None, "bad-setting", 48)
    assert problem.message.startswith("'rate' must be calls in a length of time, such as 10/s, 50/min")


def test_a_burst_needs_a_rate_beside_it(tmp_path):
    _, (problem,) = load(tmp_path, "connections: {docs: {provider: markdown, burst: 5}}\n")
    assert (problem.code, problem.hint) == ("missing-setting", "add 'rate:', such as 'rate: 50/min'")


def test_a_key_near_to_rate_is_told_so(tmp_path):
    _, (problem,) = load(tmp_path, "connections: {docs: {provider: markdown, rte: 5/s}}\n")
    assert (problem.code, problem.hint) == ("unknown-setting", "did you mean 'rate'?")


def test_a_provider_with_a_rate_of_its_own_keeps_it(tmp_path):
    class Own(Options):
        rate: int

    declared = [*CATALOGUE.providers.values(), provider("own", Own, serves=[])(Thing)]
    catalogue = Catalogue.collect(("test", one) for one in declared)
    (tmp_path / "hotwash.yaml").write_text("timezone: UTC\nconnections: {mine: {provider: own, rate: 7}}\n")
    config, problems = load_config(tmp_path, catalogue, {})
    assert (problems, config.connections["mine"].options.rate, config.connections["mine"].rate) == ([], 7, None)


@pytest.mark.parametrize("number", [".nan", "-.inf", "1e999"])
def test_a_number_that_cannot_be_kept_is_refused_with_its_place(tmp_path, number):
    text = f"vars: {{limits: {{sev1: [1, {number}]}}}}\n"
    teams = f"teams: {{sre: {{vars: {{limits: {number}}}}}}}\n"
    config, problems = load(tmp_path, text, teams)
    assert config is None
    assert [(one.code, one.span.file, one.span.line) for one in problems] == [
        ("bad-setting", "hotwash.yaml", 2),
        ("bad-setting", "people.yaml", 1),
    ]
    assert f"'limits' must hold numbers that can be kept, not {number}" in problems[0].message
