from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from engine import cli
from engine.cli import exits, output
from engine.problems import Problem, ProblemError, Span, declare

ROOT = Path(__file__).resolve().parents[3]


def hotwash(capsys, *arguments):
    """Give the exit code, what was printed, and what went to stderr."""
    code = cli.run(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def python(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT).stdout


# --- the command itself ---


def test_the_version_is_that_of_the_package(capsys):
    code, out, _ = hotwash(capsys, "--version")
    assert code == exits.OK
    assert re.fullmatch(r"hotwash \d+\.\d+\.\d+\S*\n", out)


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_a_quick_answer_loads_nothing_heavy(option):
    heavy = "{'sqlalchemy', 'starlette', 'aiohttp', 'pydantic', 'jinja2', 'yaml', 'rich', 'uvicorn'}"
    program = f"import sys; from engine import cli; cli.run(['{option}']); print(sorted({heavy} & set(sys.modules)))"
    assert python(program).splitlines()[-1] == "[]"


def test_an_unknown_command_is_wrong_usage_with_the_nearest_one(capsys):
    code, _, err = hotwash(capsys, "chekc")
    assert code == exits.USAGE
    assert "did you mean 'check'?" in err


def test_an_unknown_option_is_wrong_usage(capsys):
    assert hotwash(capsys, "check", "--loudly")[0] == exits.USAGE


def test_help_names_every_command(capsys):
    _, out, _ = hotwash(capsys, "--help")
    assert all(re.search(rf"^\s+{name}\s", out, re.MULTILINE) for name in cli.COMMANDS)


def test_outside_a_project_a_command_says_how_to_begin_one(capsys, tmp_path):
    code, _, err = hotwash(capsys, "check", "--project", str(tmp_path))
    assert code == exits.USAGE
    assert "hotwash init" in err


# --- exit codes ---


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ProblemError(Problem("x", "something is wrong")), 1),
        (exits.CommandError("there is no such thing"), 2),
        (exits.RunFailed("run 7 failed at step 'doc'"), 3),
        (ZeroDivisionError("division by zero"), 4),
    ],
)
def test_every_kind_of_error_has_its_exit_code(capsys, error, code):
    assert exits.report(error) == code
    assert str(error) in capsys.readouterr().err


# --- printing ---


def test_what_is_printed_cannot_command_the_terminal(capsys):
    output.say("a\x1b[2Jb\u202ec\nd é")
    assert capsys.readouterr().out == "a�[2Jb�c\nd é\n"


def test_a_table_in_a_pipe_is_aligned_and_not_cut(capsys):
    output.table(["NAME", "WHAT"], [["a", "x" * 200], ["日本", None]])
    assert capsys.readouterr().out == f"NAME  WHAT\na     {'x' * 200}\n日本\n"


def test_problems_are_counted_after_the_last(capsys):
    output.problems([Problem("x", "one", Span("f", 1, 1, 1, 2)), Problem("x", "two", severity="warning")])
    assert capsys.readouterr().out == "f:1:1: one [x]\n\nwarning: two [x]\n\n1 error, 1 warning\n"


# --- init ---


def test_init_writes_a_project_that_check_accepts(capsys, tmp_path):
    assert hotwash(capsys, "init", str(tmp_path / "new"))[0] == exits.OK
    code, out, err = hotwash(capsys, "check", "--project", str(tmp_path / "new"))
    assert (code, out, err) == (exits.OK, "4 workflows checked, no problems\n", "")


def test_where_there_are_many_workflows_it_is_said_which_are_evaluated_for_every_event(capsys, tmp_path):
    hotwash(capsys, "init", str(tmp_path / "new"))
    for number in range(120):
        text = f"on: incident.declared\nif: incident.title == 't{number}'\nsteps: [{{wait: 1d}}]\n"
        text = text.replace("==", "!=") if number == 7 else text
        (tmp_path / "new" / "workflows" / f"w{number:03}.yaml").write_text(text)
    _, out, _ = hotwash(capsys, "check", "--project", str(tmp_path / "new"))
    first, second = out.splitlines()
    assert first == "124 workflows checked, no problems"
    assert second.startswith("4 of them compare nothing in 'if' with a constant")
    assert second.endswith(": action-items, stale-action-items, w007, weekly-digest")


def test_init_prints_three_commands_to_try(capsys, tmp_path):
    _, out, _ = hotwash(capsys, "init", str(tmp_path / "new"))
    assert len(re.findall(r"^  hotwash ", out, re.MULTILINE)) == 3


def test_the_secrets_of_a_new_project_are_random_and_for_its_owner_alone(capsys, tmp_path):
    for name in ("a", "b"):
        hotwash(capsys, "init", str(tmp_path / name))
    for name in ("secrets/pager", "token"):
        first, second = (tmp_path / project / ".hotwash" / name for project in ("a", "b"))
        assert stat.S_IMODE(first.stat().st_mode) == 0o600
        assert first.read_text() != second.read_text()
    assert ".hotwash/" in (tmp_path / "a" / ".gitignore").read_text().splitlines()


def test_init_overwrites_nothing_and_names_what_is_there(capsys, tmp_path):
    (tmp_path / "people.yaml").write_text("mine")
    code, _, err = hotwash(capsys, "init", str(tmp_path))
    assert code == exits.PROBLEMS
    assert "people.yaml" in err
    assert [path.name for path in tmp_path.iterdir()] == ["people.yaml"]


def test_init_adds_to_a_gitignore_that_is_there(capsys, tmp_path):
    (tmp_path / ".gitignore").write_text("*.log")
    hotwash(capsys, "init", str(tmp_path))
    assert (tmp_path / ".gitignore").read_text() == "*.log\n.hotwash/\n"


def test_the_postmortem_of_a_new_project_waits_for_nothing(capsys, tmp_path):
    hotwash(capsys, "init", str(tmp_path))
    trigger = (tmp_path / "workflows" / "postmortem.yaml").read_text().partition("\nsteps:")[0]
    assert re.findall(r"^\s+for:", trigger, re.MULTILINE) == []
    assert "incident.resolved" in trigger


# --- check ---

BROKEN = "on: incident.resolved\nsteps:\n  - uses: document.creat\n"


@pytest.fixture
def project(tmp_path):
    (tmp_path / "workflows").mkdir()
    (tmp_path / "hotwash.yaml").write_text("timezone: UTC\n")
    return tmp_path


def test_check_prints_every_problem_and_ends_with_one(capsys, project):
    (project / "workflows" / "broken.yaml").write_text(BROKEN)
    code, out, _ = hotwash(capsys, "check", "-C", str(project))
    assert code == exits.PROBLEMS
    assert "workflows/broken.yaml:3:11:" in out


def test_check_gives_the_same_as_records(capsys, project):
    (project / "workflows" / "broken.yaml").write_text(BROKEN)
    code, out, _ = hotwash(capsys, "check", "-C", str(project), "--format", "json")
    assert code == exits.PROBLEMS
    assert [(record["file"], record["line"]) for record in json.loads(out)] == [("workflows/broken.yaml", 3)]


def test_check_of_one_file_leaves_the_others_alone(capsys, project):
    (project / "workflows" / "broken.yaml").write_text(BROKEN)
    (project / "workflows" / "good.yaml").write_text(BROKEN.replace("creat", "publish\n    with: {document: x}"))
    assert hotwash(capsys, "check", str(project / "workflows" / "good.yaml"))[0] == exits.OK
    assert hotwash(capsys, "check", str(project / "workflows" / "broken.yaml"))[0] == exits.PROBLEMS


def test_check_without_plugins_runs_none_of_the_projects_python(capsys, project):
    (project / "plugins").mkdir()
    (project / "plugins" / "broken.py").write_text("1 / 0")
    assert hotwash(capsys, "check", "-C", str(project))[0] == exits.PROBLEMS
    assert hotwash(capsys, "check", "-C", str(project), "--no-plugins")[0] == exits.OK


def test_a_credential_that_is_not_set_here_does_not_fail_the_check(capsys, project, monkeypatch):
    monkeypatch.delenv("HOTWASH_TEST_SECRET", raising=False)
    (project / "hotwash.yaml").write_text(
        "timezone: UTC\nconnections: {http: {headers: {Authorization: '${HOTWASH_TEST_SECRET}'}}}\n"
    )
    code, out, _ = hotwash(capsys, "check", "-C", str(project))
    assert (code, "warning" in out, "HOTWASH_TEST_SECRET" in out) == (exits.OK, True, True)


# --- list, explain ---


def test_list_actions_shows_the_class_that_the_connection_in_use_declares(capsys, project):
    _, out, _ = hotwash(capsys, "list", "actions", "-C", str(project), "--json")
    rows = {row["action"]: row for row in json.loads(out)}
    assert (rows["ticket.create"]["connection"], rows["ticket.create"]["effect"]) == ("local", "own_rows")
    assert rows["http.request"]["effect"] == "by its inputs"


TEAM_CHAT = """
from engine.plugins import Options, at_most_once, idempotent, provider

class Chat:
    def __init__(self, options, connection): ...

    @at_most_once
    async def post(self, channel, text, *, thread, effect): ...

    @idempotent
    async def direct(self, person, text, *, effect): ...

team_chat = provider("team_chat", Options, serves=["chat"])(Chat)
"""


def test_list_actions_follows_another_use(capsys, project):
    (project / "plugins").mkdir(exist_ok=True)
    (project / "plugins" / "team_chat.py").write_text(TEAM_CHAT)
    (project / "hotwash.yaml").write_text(
        "timezone: UTC\nconnections: {room: {provider: team_chat}}\nuse: {chat: room}\n"
    )
    _, out, _ = hotwash(capsys, "list", "actions", "-C", str(project), "--json")
    rows = {row["action"]: (row["connection"], row["effect"]) for row in json.loads(out)}
    assert (rows["chat.post"], rows["chat.nudge"]) == (("room", "at_most_once"), ("room", "idempotent"))
    assert rows["chat.ask"] == ("room", "nobody does it")


@pytest.mark.parametrize(("kind", "name"), [("triggers", "ticket.stale"), ("providers", "pagerduty")])
def test_list_names_what_there_is(capsys, project, kind, name):
    _, out, _ = hotwash(capsys, "list", kind, "-C", str(project))
    assert re.search(rf"^{re.escape(name)}\s", out, re.MULTILINE)


def test_list_workflows_shows_those_with_errors_too(capsys, project):
    (project / "workflows" / "broken.yaml").write_text(BROKEN)
    code, out, err = hotwash(capsys, "list", "workflows", "-C", str(project))
    assert (code, "has errors" in out, "hotwash check" in err) == (exits.PROBLEMS, True, True)


@pytest.mark.parametrize("name", ["missing-credential", "document.create", "ticket.stale", "pagerduty", "markdown"])
def test_explain_knows_codes_actions_triggers_and_providers(capsys, project, name):
    code, out, _ = hotwash(capsys, "explain", name, "-C", str(project))
    assert (code, out.startswith(name)) == (exits.OK, True)


def test_explain_names_the_nearest_thing(capsys, project):
    code, _, err = hotwash(capsys, "explain", "document.creat", "-C", str(project))
    assert (code, "document.create" in err) == (exits.USAGE, True)


def test_explain_knows_every_code_that_the_engine_declares(capsys):
    declaration = re.compile(declare.__name__ + r'\(\s*"([a-z0-9-]+)"')
    texts = [path.read_text("utf-8") for path in (ROOT / "engine").rglob("*.py")]
    declared = {code for text in texts for code in declaration.findall(text)}
    known = python("from engine.cli import explain; print(*explain.known_codes())").split()
    assert declared == set(known)
