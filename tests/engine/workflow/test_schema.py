import json
from pathlib import Path

import jsonschema
import pytest

import actions
import triggers
from engine.plugins import Catalogue
from engine.workflow.schema import editor_schema
from engine.workflow.source import plain, read_source

SCHEMA = editor_schema(Catalogue.collect([("built in", item) for item in (*actions.ALL, *triggers.ALL)]))
BAD = Path(__file__).parent / "bad"

GOOD = """\
on:
  incident.resolved: {for: 15m}
  ticket.stale:
    for: 7d
    poll: {every: 1h}
steps:
  - id: doc
    uses: document.create
    with: {title: "Postmortem: ${{ incident.title }}", template: postmortem, data: {a: 1}}
  - uses: chat.post
    with: {template: hello}
  - uses: calendar.schedule
    with: {title: Review, attendees: "${{ incident.participants }}", duration: 45m, within: 5bd}
  - if: true
    steps:
      - wait: {for: 3bd, until: {document.published: }}
    else:
      - finish: {as: failed, reason: none}
"""


def errors(text):
    data = plain(read_source("w.yaml", text.encode())[0].root)
    return [error.message for error in jsonschema.Draft7Validator(SCHEMA).iter_errors(data)]


def test_it_is_a_json_schema():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


def test_a_good_workflow_fits():
    assert errors(GOOD) == []


@pytest.mark.parametrize("on", ["incident.resolved", "[incident.resolved, incident.reopened]", "{incident.resolved: }"])
def test_on_is_a_name_a_list_or_a_mapping(on):
    assert errors(f"on: {on}\nsteps:\n  - wait: 1h\n") == []


@pytest.mark.parametrize(
    "name",
    [
        "unknown-key", "unknown-key-foreign", "unknown-input", "unknown-input-trigger", "missing-key", "missing-input",
        "unknown-action", "unknown-trigger", "step-kind", "bad-value", "wrong-type", "misplaced-key",
    ],
)  # fmt: skip
def test_a_file_with_a_mistake_of_form_does_not(name):
    assert errors((BAD / f"{name}.yaml").read_text())


def test_an_expression_may_stand_for_any_value_of_an_action():
    step = "on: incident.resolved\nsteps:\n  - uses: ticket.create\n    with: {title: x, labels: %s}\n"
    assert errors(step % '"${{ incident.labels }}"') == []
    assert errors(step % "postmortem") != []


def test_each_action_is_chosen_by_its_name_and_never_by_a_union():
    chosen = [one["if"]["properties"]["uses"]["const"] for one in SCHEMA["definitions"]["step"]["allOf"]]
    assert len(chosen) == len(set(chosen)) == sum(1 for item in actions.ALL if hasattr(item, "lasts"))
