"""`check` takes any file: what is wrong comes as problems with places, never as a traceback, in bounded time."""

import copy
import dataclasses
import json
import os

import pytest
import yaml
from hostile_bounds import ASKED, ROOT, hostile, in_child
from hypothesis import given
from hypothesis import strategies as st
from test_hostile_yaml import SIGNS, damaged

from engine import wiring
from engine.config import load_config
from engine.problems import render_all, sort
from engine.workflow.check import Names, check_workflow
from engine.workflow.library import read_templates
from engine.workflow.source import plain, read_source

CATALOGUE = wiring.catalogue(ROOT, plugins=False)
NAMES = Names(
    people={"ada", "grace"},
    teams={"sre"},
    services={"checkout"},
    rotations={"default"},
    calendars={"office"},
    templates={"postmortem": "# {{ incident.title }}\n", "hello": "{{ greeting }}\n", "broken": "{% if %}\n"},
    vars={"sla": {"sev1": "14d"}, "chat": "console"},
    workflows={"postmortem"},
    events={"deploy.finished"},
)
WORKFLOWS = [
    path.read_bytes()
    for folder in ("workflows", "examples/first-steps/workflows", "tests/engine/workflow/bad")
    for path in sorted((ROOT / folder).glob("*.yaml"))
]
PROJECT = b"""\
workflows: workflows
timezone: Europe/Prague
owner: sre
database: sqlite:///.hotwash/hotwash.db
server: {host: 127.0.0.1, port: 8321, url: "https://hotwash.example.org"}
connections:
  pager: {provider: pagerduty, webhook_secret: "${SECRET}", severity: {P1: sev1}}
  docs: {provider: markdown, folder: docs}
  hooks: {provider: generic, scheme: hmac, header: X-Sig, webhook_secret: ["${SECRET}", "${OTHER}"]}
  alerts: {provider: alertmanager, token: "${file:token.txt}"}
  api: {provider: http, base_url: "https://api.example.org", headers: {X: "${SECRET}"}}
use: {document: docs, chat: console, calendar: ics}
http: {allow: ["https://example.org"]}
calendars:
  office: {timezone: Europe/Prague, hours: {mon-fri: "09:00-17:30"}, holidays: [CZ]}
people: people.yaml
retention: {events: 90d}
limits: {body: 4096}
vars: {sla: {sev1: 14d, list: [1, null]}}
"""
PEOPLE = b"""\
people:
  ada: {name: Ada, email: ada@example.org, timezone: Europe/Prague, manager: grace, ids: {pagerduty: PU1}}
  grace: {name: Grace, email: grace@example.org}
teams: {sre: {lead: ada, manager: grace, members: [ada, grace], channel: "#sre", rotation: default}}
services: {checkout: {team: sre, rotation: default}}
rotations: {default: {members: [ada, grace], every: 7d, from: "2026-01-05T09:00", timezone: Europe/Prague}}
"""
ENVIRON = {"SECRET": "c2VjcmV0", "OTHER": "b3RoZXI="}

VALUES = [
    None,
    True,
    False,
    0,
    -1,
    2**70,
    1.5,
    float("nan"),
    float("inf"),
    "",
    " ",
    "a",
    "null",
    "ada",
    "sre",
    "7d",
    "3bd",
    "P1M",
    "99999999999d",
    "-5d",
    "0d",
    "0s",
    "9" * 300,
    "x" * 2000,
    "é\u202e",
    "${{ incident.title }}",
    "${{",
    "${{ }}",
    "${{ 1 + }}",
    "${{ tickets() | length }}",
    "a ${{ b }} c",
    "incident.open",
    "not",
    "1 +",
    "* * * * *",
    "61 25 * * *",
    "@reboot",
    "Europe/Prague",
    "../../etc/passwd",
    "Mars/Base",
    "/etc/passwd",
    "http://[::1",
    "09:00-17:30",
    "25:00-26:00",
    "mon-fri",
    "incident.resolved",
    "chat.post",
    "document.create",
    "workflow.postmortem",
    "workflow.x",
    "steps.a.b",
    "2026-13-45T99:99",
    "${NOT_THERE}",
    "${file:/etc/shadow}",
    "${file:../x}",
    "${file:}",
    "${",
    "a\0b",
    "\0.yaml",
    "${file:a\0b}",
    "/dev/zero",
    "${file:/dev/zero}",
    "sqlite:///",
    "postgresql://x:y@z/q",
    "nonsense://",
    "sqlite:////dev/null/x",
    "CZ",
    "XX",
    "company.ics",
    [],
    {},
    [None],
    [[]],
    {"a": 1},
    [{"a": []}],
    {"": ""},
    {"on": "x"},
    ["ada", "ada"],
    [1, "1"],
    {"for": "1d"},
    {"uses": "chat.post"},
    [{"uses": "chat.post", "with": {"text": "x"}}],
    {"steps": []},
    {"until": {"x": None}},
    {"max": -1},
]
WORDS = [
    "name",
    "on",
    "if",
    "steps",
    "uses",
    "with",
    "wait",
    "for",
    "until",
    "at",
    "repeat",
    "for_each",
    "every",
    "max",
    "finish",
    "vars",
    "inputs",
    "outputs",
    "once_per",
    "stop_when",
    "during",
    "concurrency",
    "key",
    "limit",
    "on_conflict",
    "timeout",
    "retry",
    "on_failure",
    "else",
    "id",
    "connection",
    "mode",
    "owner",
    "moved_from",
    "text",
    "title",
    "type",
    "default",
    "options",
    "of",
    "cron",
    "timezone",
    "missed",
    "where",
    "provider",
    "people",
    "teams",
    "members",
    "lead",
    "hours",
    "holidays",
    "calendar",
    "",
    "x",
    "when",
    "__class__",
    "é",
]


def nodes(value, way=()):
    """Give the way to every value inside."""
    yield way
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield from nodes(inner, (*way, key))


def loaded(data):
    file, _ = read_source("w.yaml", data)
    return None if file.root is None else plain(file.root)


@st.composite
def changed(draw, texts):
    """Give a file of ours with values in other places, keys renamed and entries left out."""
    root = {"root": copy.deepcopy(draw(st.sampled_from(texts)))}
    for _ in range(draw(st.integers(1, 4))):
        *way, last = draw(st.sampled_from([way for way in nodes(root) if way]))
        within = root
        for key in way:
            within = within[key]
        how = draw(st.sampled_from(["put", "put", "move", "wrap", "rename", "leave out", "add"]))
        if how == "leave out" and way:
            del within[last]
        elif how == "rename" and isinstance(within, dict) and way:
            within[draw(st.sampled_from(WORDS))] = within.pop(last)
        elif how == "add" and isinstance(within[last], dict):
            within[last][draw(st.sampled_from(WORDS))] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        elif how == "move":
            source = root
            for key in draw(st.sampled_from([way for way in nodes(root) if way])):
                source = source[key]
            within[last] = copy.deepcopy(source)
        elif how == "wrap":
            within[last] = draw(st.sampled_from([[within[last]], {draw(st.sampled_from(WORDS)): within[last]}]))
        else:
            within[last] = copy.deepcopy(draw(st.sampled_from(VALUES)))
    return yaml.safe_dump(root["root"], allow_unicode=True, sort_keys=False).encode()


def check_problems(problems, lines_of):
    """Every problem has its place in its file and can be printed, for people and for programs."""
    for problem in problems:
        assert problem.message
        if problem.span is not None:
            assert 1 <= problem.span.line <= max(1, len(lines_of.get(problem.span.file, ())) + 1), problem
    render_all(problems).encode()
    json.dumps([problem.as_record() for problem in problems]).encode()


def check_file(data):
    file, reading = read_source("w.yaml", data)
    workflow, checking = check_workflow(file, CATALOGUE, NAMES)
    problems = sort(reading + checking)
    assert all(problem.span is not None for problem in problems)
    check_problems(problems, {"w.yaml": file.lines})
    errors = [problem for problem in problems if problem.severity == "error"]
    assert (
        errors
        if file.root is None
        else (workflow is None) >= bool([one for one in checking if one.severity == "error"])
    )


LOADED = [value for value in map(loaded, WORKFLOWS) if isinstance(value, dict)]


@hostile(150)
@given(damaged(WORKFLOWS))
def test_a_damaged_workflow_is_checked(data):
    check_file(data)


@hostile(250)
@given(changed(LOADED))
def test_a_workflow_with_other_values_in_its_places_is_checked(data):
    check_file(data)


@hostile(40)
@given(st.lists(st.sampled_from(SIGNS), max_size=15).map(b"".join))
def test_an_expression_field_of_any_text_is_checked(text):
    check_file(b"on: incident.declared\nif: |-\n  x " + text.replace(b"\n", b" ") + b"\nsteps:\n  - finish: done\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    (folder / "token.txt").write_text("t0ken")
    return folder


def check_project(folder, project, people):
    (folder / "hotwash.yaml").write_bytes(project)
    (folder / "people.yaml").write_bytes(people)
    config, problems = load_config(folder, CATALOGUE, ENVIRON)
    files = {
        name: (folder / name).read_text("utf-8", "replace").splitlines() for name in ("hotwash.yaml", "people.yaml")
    }
    check_problems(problems, files)
    assert config is not None or any(problem.severity == "error" for problem in problems)
    printed = render_all(problems)
    assert not any(secret in printed for secret in (*ENVIRON.values(), "t0ken"))
    return config


PROJECTS, ROSTERS = [loaded(PROJECT)], [loaded(PEOPLE)]


@hostile(120)
@given(changed(PROJECTS))
def test_a_project_with_other_values_in_its_places_is_checked(folder, project):
    check_project(folder, project, PEOPLE)


@hostile(120)
@given(changed(ROSTERS))
def test_people_with_other_values_in_their_places_are_checked(folder, people):
    check_project(folder, PROJECT, people)


@hostile(80)
@given(damaged([PROJECT]), damaged([PEOPLE]))
def test_damaged_project_files_are_checked(folder, project, people):
    check_project(folder, project, people)


@pytest.mark.parametrize("key", ["timezone", "owner", "database", "workflows", "people"])
def test_a_secret_in_the_wrong_place_is_cited_as_it_was_written(folder, key):
    lines = [line for line in PROJECT.decode().splitlines() if not line.startswith(f"{key}:")]
    text = "\n".join([f"{key}: ${{SECRET}}", *lines]) + "\n"
    check_project(folder, text.encode(), PEOPLE)


def test_the_project_to_be_damaged_is_good_to_begin_with(folder):
    assert check_project(folder, PROJECT, PEOPLE) is not None


def test_large_files_are_checked_in_bounded_time_and_memory():
    in_child("bombs_check.py", seconds=15 if ASKED else 5, memory=900)


@pytest.mark.parametrize("name", ["hotwash.yaml", "people.yaml", "days.ics", "token.txt"])
def test_a_file_without_end_is_no_file(tmp_path, name):
    project = PROJECT.replace(b"[CZ]", b"[days.ics]")
    (tmp_path / "hotwash.yaml").write_bytes(project)
    (tmp_path / "people.yaml").write_bytes(PEOPLE)
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).symlink_to("/dev/zero")
    _, problems = load_config(tmp_path, CATALOGUE, ENVIRON)
    assert any("regular file" in problem.message or "there is no file" in problem.message for problem in problems)


def test_a_pipe_does_not_hold_check_up(tmp_path):
    os.mkfifo(tmp_path / "hotwash.yaml")
    config, problems = load_config(tmp_path, CATALOGUE, ENVIRON)
    assert (config, [problem.message for problem in problems]) == (
        None,
        ["'hotwash.yaml' cannot be read: it is no regular file"],
    )


def test_thousands_of_mistakes_are_said_up_to_the_first_five_hundred(folder):
    file, _ = read_source("w.yaml", b"on: incident.declared\nsteps:\n" + b"  - uses: chat.psot\n" * 2000)
    workflow, problems = check_workflow(file, CATALOGUE, NAMES)
    assert (workflow, len(problems), problems[-1].code) == (None, 501, "too-many-problems")
    unknown = b"".join(b"k%d: 1\n" % number for number in range(2000))
    for project, people in ((PROJECT + unknown, PEOPLE), (PROJECT, PEOPLE + unknown)):
        (folder / "hotwash.yaml").write_bytes(project)
        (folder / "people.yaml").write_bytes(people)
        config, problems = load_config(folder, CATALOGUE, ENVIRON)
        assert (config, len(problems)) == (None, 501)


def test_a_template_that_is_no_text_is_a_problem_of_the_workflow_that_names_it(tmp_path):
    (tmp_path / "odd.md").write_bytes(b"fine\n\xff\xfe\n")
    names = dataclasses.replace(NAMES, templates=read_templates(tmp_path))
    text = b"on: incident.declared\nsteps:\n  - uses: chat.post\n    with: {template: odd}\n"
    file, _ = read_source("w.yaml", text)
    _, problems = check_workflow(file, CATALOGUE, names)
    assert ["not UTF-8" in problem.message for problem in problems] == [True]
