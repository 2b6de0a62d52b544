"""`hotwash start`, and what the commands say of a workflow that can be started or called."""

from __future__ import annotations

import json

import pytest

from engine import cli
from engine.cli import exits

DRILL = """\
name: Rehearse an incident
on: manual
inputs:
  reason: {type: choice, options: [drill, real], required: true, description: Why it is done.}
  count: {type: number, default: 2}
if: false
steps:
  - id: say
    uses: chat.post
    with: {text: "${{ inputs.reason }}"}
outputs:
  link: ${{ steps.say.url }}
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "workflows").mkdir()
    (tmp_path / "hotwash.yaml").write_text("timezone: UTC\n")
    (tmp_path / "workflows" / "drill.yaml").write_text(DRILL)
    return tmp_path


def hotwash(capsys, project, *arguments):
    code = cli.run([*arguments, "-C", str(project)])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_workflow_is_started_with_its_inputs_and_the_history_says_by_whom(capsys, project):
    code, out, err = hotwash(capsys, project, "start", "drill", "--input", "reason=drill", "--json")
    started = json.loads(out)
    assert (code, started["started"]) == (exits.OK, True)
    assert "happens at the next 'hotwash run'" in err
    _, shown, _ = hotwash(capsys, project, "runs", "show", started["run"])
    assert "('if' was not looked at)" in shown
    assert "with reason: drill, count: 2" in shown
    _, told, _ = hotwash(capsys, project, "explain", "1")
    assert "started by hand, by " in told


def test_a_dry_start_says_so(capsys, project):
    _, out, _ = hotwash(capsys, project, "start", "drill", "-i", "reason=drill", "--dry-run")
    assert out.startswith("'drill' is started as a dry run: run_")


def test_what_ran_is_started_once_more_only_when_that_is_asked_for(capsys, project):
    (project / "workflows" / "drill.yaml").write_text(DRILL.replace("if: false", "once_per: inputs.reason"))
    start = ("start", "drill", "-i", "reason=drill")
    hotwash(capsys, project, *start)
    assert hotwash(capsys, project, *start)[1].startswith("'drill' already ran for this: run_")
    assert hotwash(capsys, project, *start, "--again")[1].startswith("'drill' is started: run_")


def test_a_bad_input_is_wrong_usage_and_named(capsys, project):
    code, _, err = hotwash(capsys, project, "start", "drill", "-i", "reason=reel")
    assert (code, err.strip()) == (exits.USAGE, "hotwash: 'reason' must be drill or real, not 'reel'")


@pytest.mark.parametrize(
    ("given", "said"),
    [(["-i", "reason"], "takes NAME=VALUE, not 'reason'"), (["-i", "a=1", "-i", "a=2"], "'a' is given twice")],
)
def test_an_input_is_a_name_and_a_value_once(capsys, project, given, said):
    code, _, err = hotwash(capsys, project, "start", "drill", *given)
    assert (code, said in err) == (exits.USAGE, True)


def test_explain_shows_what_a_workflow_takes_and_gives(capsys, project):
    code, out, _ = hotwash(capsys, project, "explain", "drill")
    assert code == exits.OK
    for text in ("drill | real", "required", "Why it is done.", "link", "uses: workflow.drill"):
        assert text in out


def test_list_workflows_names_their_inputs(capsys, project):
    _, out, _ = hotwash(capsys, project, "list", "workflows", "--json")
    assert json.loads(out)[0]["inputs"] == ["reason", "count"]


def test_the_schema_for_editors_knows_what_a_call_takes(capsys, project):
    _, out, _ = hotwash(capsys, project, "schema")
    rules = json.loads(out)["definitions"]["step"]["allOf"]
    rule = next(one for one in rules if one["if"]["properties"]["uses"]["const"] == "workflow.drill")
    given = rule["then"]["properties"]["with"]
    assert (given["required"], set(given["properties"])) == (["reason"], {"reason", "count"})
