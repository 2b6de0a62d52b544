import copy
import importlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import actions
import triggers
from engine import plugins
from engine.calendars import Duration
from engine.plugins import Catalogue
from engine.problems import CODES, render_all, sort
from engine.workflow import source
from engine.workflow.calling import Callees
from engine.workflow.check import Names, check_workflow, emitted_types, signature_of
from engine.workflow.model import walk
from engine.workflow.source import read_source

BAD = Path(__file__).parent / "bad"
FILES = sorted(BAD.glob("*.yaml"))
CATALOGUE = Catalogue.collect([("built in", item) for item in (*actions.ALL, *triggers.ALL)])
#: Workflows that others may call.
CALLED = {
    "postmortem": "inputs: {}\nsteps:\n  - wait: 1d\n",
    "file": """\
inputs:
  incident: {type: incident, required: true}
  reason: {type: choice, options: [drill, real], required: true}
  count: {type: number, default: 1}
  people: {type: list, of: person}
steps:
  - id: doc
    uses: document.create
    with: {title: "${{ incident.title }}", text: "${{ inputs.reason }}"}
outputs:
  url: ${{ steps.doc.url }}
  published: ${{ steps.doc.published }}
""",
    "back": "on: manual\nsteps:\n  - wait: 1h\n  - uses: workflow.call-cycle\n",
    "chase": "on: ticket.stale\nsteps:\n  - wait: 1d\n",
    **{f"deep{n}": f"on: manual\nsteps:\n  - uses: workflow.deep{n + 1}\n" for n in range(1, 9)},
    "deep9": "on: manual\nsteps:\n  - wait: 1d\n",
}


def called(name):
    return read_source(f"{name}.yaml", CALLED[name].encode())[0] if name in CALLED else None


NAMES = Names(
    people={"ada", "grace", "ada@example.org"},
    teams={"sre"},
    services={"checkout"},
    rotations={"default"},
    calendars={"office"},
    templates={
        "postmortem": "# {{ incident.title }}\n",
        "hello": "{{ greeting }} {{ name }}\n",
        "broken": "# Title\n{% if %}\n",
    },
    vars={"sla": {"sev1": "14d"}, "chat": "console", "by_severity": {"sev1": "console", "sev2": "local"}},
    team_vars={"sre": {"chat": "local"}},
    workflows=CALLED.keys(),
    events={"deploy.finished"},
    moved={"handoff": ["shift"]},
    callees=Callees(called, lambda file: signature_of(file, CATALOGUE, NAMES)),
)
#: Modules that report problems of a workflow file.
REPORTING = """source yaml_syntax check_base check_inputs check_on check_steps check_with check_calls check_connection
check_declared check_moves check_expressions kinds syntax"""
#: Too large to keep here, and tested in test_source.py and tests/hostile.
WITHOUT_FILE = {source.TOO_LARGE, source.TOO_MANY}


def problems_of(text, name="w.yaml", names=NAMES):
    file, found = read_source(name, text if isinstance(text, bytes) else text.encode())
    workflow, more = check_workflow(file, CATALOGUE, names)
    return workflow, sort(found + more)


def check_clean(text):
    workflow, problems = problems_of(text)
    assert render_all(problems) == ""
    assert workflow is not None
    return workflow


def codes(text):
    return [problem.code for problem in problems_of(text)[1]]


def steps(text, head="on: incident.resolved\n"):
    return f"{head}steps:\n{text}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bad_file_prints_what_stands_beside_it(path):
    workflow, problems = problems_of(path.read_bytes(), path.name)
    printed = render_all(problems) + "\n"
    expected = path.with_suffix(".txt")
    if os.environ.get("HOTWASH_WRITE_BAD"):
        expected.write_text(printed, encoding="utf-8")
    assert printed == expected.read_text(encoding="utf-8")
    assert (workflow is None) == any(problem.severity == "error" for problem in problems)


def test_every_code_of_a_workflow_file_has_a_bad_file():
    declared = set()
    for name in REPORTING.split():
        module = importlib.import_module(f"engine.workflow.{name}")
        declared |= {value for value in vars(module).values() if isinstance(value, str) and value in CODES}
    named = {code for code in declared if any(path.stem == code or path.stem.startswith(f"{code}-") for path in FILES)}
    assert declared - named == WITHOUT_FILE


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bad_file_is_named_by_a_code_that_it_reports(path):
    found = [problem.code for problem in problems_of(path.read_bytes(), path.name)[1]]
    assert any(path.stem == code or path.stem.startswith(f"{code}-") for code in found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_records_for_programs_say_what_is_printed(path):
    _, problems = problems_of(path.read_bytes(), path.name)
    records = json.loads(json.dumps([problem.as_record() for problem in problems]))
    printed = path.with_suffix(".txt").read_text(encoding="utf-8")
    heads = [f"{r['file']}:{r['line']}:{r['column']}: " for r in records]
    assert [line for line in printed.splitlines() if line.endswith("]") and line.startswith(path.name)] == [
        f"{head}{'warning: ' if r['severity'] == 'warning' else ''}{r['message']} [{r['code']}]"
        for head, r in zip(heads, records, strict=True)
    ]


# --- what comes of a good file ---------------------------------------------------------------------------------------

POST = "  - uses: chat.post\n    with: {text: hello}\n"
POSTMORTEM = """\
name: After an incident
owner: sre
on:
  incident.resolved: {for: 15m}
if: incident.severity in ["sev1", "sev2"] and not incident.drill
stop_when: incident.open
timeout: 30d
vars:
  owner: ${{ incident.roles.owner or on_call(incident.services | first) }}
  name: ${{ vars.owner.name }}
steps:
  - id: doc
    uses: document.create
    with:
      template: postmortem
      title: "Postmortem: ${{ incident.title }}"
  - id: review
    uses: calendar.schedule
    with:
      title: "Review of ${{ incident.title }}"
      attendees: ${{ incident.participants }}
      duration: 45m
      within: 5bd
      description: ${{ steps.doc.url }}
    retry: {max: 3, every: 1m}
    continue_on_error: true
  - id: draft
    wait:
      for: 3bd
      until: {document.published: event.document.id == steps.doc.id}
  - if: steps.draft.timed_out
    uses: chat.nudge
    with:
      to: ${{ vars.owner }}
      text: "Still a draft, ${{ vars.name }}: ${{ steps.review.start | local }}, attempt ${{ iteration }}"
    repeat:
      every: 1bd
      max: 3
      until: {document.published: event.document.id == steps.doc.id}
on_failure:
  - uses: chat.nudge
    with: {to: ada, text: "It failed: ${{ run.error.message }} in ${{ steps.doc.url }}"}
"""
STALE = """\
on:
  ticket.stale:
    for: 7d
    again: 14d
    where: {labels: [postmortem], done: false}
    poll: {cron: "15 9 * * mon-fri", timezone: Europe/Prague}
stop_when: ticket.done or ticket.idle < "7d"
steps:
  - repeat: {every: 7d, max: 4, until: steps.ask.answer != "snooze"}
    steps:
      - id: ask
        uses: chat.ask
        timeout: 2bd
        with:
          to: ${{ ticket.assignee or team("sre").lead }}
          text: "${{ ticket.key }} has not moved for ${{ ticket.idle | duration }}."
          choices: {do: "On it", snooze: "Later"}
  - if: steps.ask.answer == "wont_do"
    steps:
      - uses: ticket.close
        with: {ticket: "${{ ticket.key }}"}
    else:
      - finish: "answered by ${{ steps.ask.by.name }}"
"""


@pytest.mark.parametrize("text", [POSTMORTEM, STALE])
def test_a_good_file_has_no_problems(text):
    check_clean(text)


def test_the_file_becomes_the_model():
    workflow = check_clean(POSTMORTEM)
    assert (workflow.id, workflow.name, workflow.owner, workflow.subject) == (
        "w",
        "After an incident",
        "sre",
        "incident",
    )
    assert workflow.triggers[0].settle == Duration(900)
    assert [step.id for step in walk(workflow.steps)] == ["doc", "review", "draft", "chat.nudge#1"]
    doc, review, draft, nudge = workflow.steps
    assert (doc.template.into, doc.template.whole, doc.template.name.text) == ("template", True, "postmortem")
    assert "template" not in doc.inputs
    assert review.inputs["within"] == "5bd"
    assert review.inputs["attendees"].whole.text == "${{ incident.participants }}"
    assert (review.retry.max, review.retry.every, review.continue_on_error) == (3, Duration(60), True)
    assert draft.wait.length == Duration(business_days=3)
    assert draft.wait.until.events[0][0] == "document.published"
    assert (nudge.repeat.max, nudge.repeat.every) == (3, Duration(business_days=1))
    assert workflow.on_failure[0].id == "chat.nudge#2"
    assert set(workflow.templates) == {"postmortem"}


def test_the_version_changes_with_the_text_and_with_its_templates():
    other = replace(NAMES, templates={**NAMES.templates, "postmortem": "# Another\n"})
    first = check_clean(POSTMORTEM).version
    assert check_clean(POSTMORTEM).version == first
    assert check_clean(POSTMORTEM + "# more\n").version != first
    assert problems_of(POSTMORTEM, names=other)[0].version != first


def test_steps_without_id_are_counted_by_their_action_and_groups_add_nothing():
    workflow = check_clean(
        f"on: incident.resolved\nsteps:\n{POST}  - steps:\n    - uses: chat.post\n      with: {{text: a}}\n{POST}"
    )
    assert [step.id for step in walk(workflow.steps)] == ["chat.post#1", "group#1", "chat.post#2", "chat.post#3"]


def test_a_template_may_stand_in_place_of_a_text():
    workflow = check_clean(
        "on: incident.resolved\nsteps:\n  - uses: chat.post\n    with:\n      template: hello\n"
        '      data: {greeting: hi, name: "${{ incident.title }}"}\n'
    )
    use = workflow.steps[0].template
    assert (use.into, use.whole, sorted(use.data)) == ("text", False, ["greeting", "name"])
    assert workflow.steps[0].inputs == {}


def test_a_dollar_sign_more_makes_a_literal_of_an_expression():
    workflow = check_clean('on: incident.resolved\nsteps:\n  - uses: chat.post\n    with: {text: "$${{ x }}"}\n')
    assert workflow.steps[0].inputs["text"] == "${{ x }}"


@pytest.mark.parametrize(
    "until",
    [
        '"incident.open == false"',
        "incident.resolved",
        "[incident.resolved, incident.reopened]",
        "{incident.resolved: }",
    ],
)
def test_until_takes_a_condition_a_name_a_list_and_a_mapping(until):
    workflow = check_clean(steps(f"  - wait: {{until: {until}}}\n", "on: incident.declared\n"))
    found = workflow.steps[0].wait.until
    assert (found.condition is None) == bool(found.events)


def test_the_arriving_event_has_its_own_subject_and_the_run_its_first_event():
    check_clean(
        steps(
            """\
  - wait:
      for: 1d
      until:
        incident.resolved: event.incident.id == ticket.incident.id and run.event.data.count == event.data.x
""",
            "on: {ticket.stale: {for: 7d}}\n",
        )
    )


def test_a_type_of_ones_own_is_an_event_once_a_workflow_emits_it():
    text = "on: deploy.finished\nsteps:\n" + POST
    assert check_clean(text).triggers[0].trigger.event == "deploy.finished"
    assert [p.code for p in problems_of(text, names=replace(NAMES, events=()))[1]] == ["unknown-trigger"]


def test_the_types_that_a_file_emits_are_found():
    text = "on: incident.resolved\nsteps:\n  - steps:\n    - uses: event.emit\n      with: {type: deploy.finished}\n"
    assert emitted_types(read_source("w.yaml", text.encode())[0]) == {"deploy.finished"}


# --- one mistake, one message ----------------------------------------------------------------------------------------


def test_a_misspelt_key_is_not_missing_as_well():
    assert codes("on: incident.resolved\nstpes:\n" + POST) == ["unknown-key"]
    assert codes("onn: incident.resolved\nsteps:\n" + POST) == ["unknown-key"]


def test_a_misspelt_input_is_not_missing_as_well():
    assert codes("on: incident.resolved\nsteps:\n  - uses: chat.post\n    with: {txt: hello}\n") == ["unknown-input"]


def test_an_unknown_action_makes_no_second_problem_of_what_reads_it():
    text = "on: incident.resolved\nsteps:\n  - id: a\n    uses: a.b\n  - finish: ${{ steps.a.whatever }}\n"
    assert codes(text) == ["unknown-action"]


def test_an_unknown_trigger_makes_no_second_problem_of_what_reads_its_subject():
    assert codes("on: incident.resolvedd\nif: incident.open and event.incident.open\nsteps:\n" + POST) == [
        "unknown-trigger"
    ]


def test_a_broken_expression_that_a_comment_cut_is_told_as_that():
    _, problems = problems_of('on: incident.resolved\nif: incident.title == "a #1"\nsteps:\n' + POST)
    assert [(p.code, p.severity) for p in problems] == [("cut-by-comment", "error")]


def test_what_the_reader_reported_makes_no_workflow():
    workflow, problems = problems_of("on: incident.resolved\nname: a\nname: b\nsteps:\n" + POST)
    assert [p.code for p in problems] == ["duplicate-key"]
    assert workflow is None


def test_a_merge_key_is_the_only_problem_of_the_mapping_that_it_should_fill():
    assert codes("on: incident.resolved\nsteps:\n  - uses: chat.post\n    with: {<<: {text: a}}\n") == ["merge-key"]


def test_a_warning_leaves_the_workflow_usable():
    workflow, problems = problems_of('on: {schedule: {cron: "0 9 * * mon"}}\nsteps:\n' + POST)
    assert [p.severity for p in problems] == ["warning"]
    assert workflow is not None


def test_a_zone_of_the_project_is_zone_enough_for_a_cron():
    text = 'on: {schedule: {cron: "0 9 * * mon"}}\nsteps:\n' + POST
    assert problems_of(text, names=replace(NAMES, timezone="Europe/Prague"))[1] == []


def test_an_action_that_no_connection_serves_names_the_key_to_set():
    _, problems = problems_of("on: incident.resolved\nsteps:\n" + POST, names=replace(NAMES, use={}))
    assert [p.code for p in problems] == ["unknown-connection"]
    assert problems[0].hint == "name one in hotwash.yaml: 'use: {chat: NAME}'"


# --- what may be read from where -------------------------------------------------------------------------------------


def test_inner_steps_of_a_group_and_of_a_repeat_are_readable_after_it():
    check_clean(
        steps("""\
  - repeat: {max: 2}
    steps:
      - id: a
        wait: 1h
  - if: steps.a.timed_out
    finish: x
""")
    )


def test_a_step_of_a_repeat_reads_a_later_one_of_the_iteration_before():
    inner = """\
      - if: steps.b.timed_out
        uses: chat.post
        with: {text: x}
      - id: b
        wait: 1h
"""
    check_clean(steps("  - repeat: {max: 2}\n    steps:\n" + inner))
    assert codes(steps("  - steps:\n" + inner)) == ["unknown-field"]


def test_a_loop_gives_results_and_hides_what_is_inside():
    loop = """\
  - id: all
    for_each: incident.participants
    steps:
      - id: one
        uses: chat.nudge
        with: {to: "${{ item }}", text: "${{ item.name }}"}
      - if: steps.one.failed
        uses: chat.post
        with: {text: x}
"""
    check_clean(steps(loop + "  - if: (steps.all.results | length) > 1\n    finish: x\n"))
    assert codes(steps(loop + "  - if: steps.one.failed\n    finish: x\n")) == ["unknown-field"]


def test_a_step_in_a_loop_has_no_outputs_of_its_action_outside():
    loop = """\
  - id: doc
    for_each: incident.services
    uses: document.create
    with: {title: "${{ item }}", text: x}
"""
    assert codes(steps(loop + "  - finish: ${{ steps.doc.url }}\n")) == ["unknown-field"]


def test_a_loop_with_a_repeat_may_read_its_own_outputs_item_and_iteration_in_until():
    check_clean(
        steps(
            "  - id: ask\n    for_each: incident.participants\n    uses: chat.ask\n"
            '    with: {to: "${{ item }}", text: "${{ iteration }}", choices: {a: A}}\n'
            '    repeat: {max: 2, until: steps.ask.answer == "a" and item.name != "x" and iteration > 1}\n'
        )
    )


def test_iteration_is_not_there_for_the_if_that_is_decided_once():
    assert codes(steps("  - if: iteration > 1\n    repeat: {max: 2}\n    uses: chat.post\n    with: {text: x}\n")) == [
        "unknown-name"
    ]


def test_the_error_of_a_run_is_there_on_failure_only():
    assert codes(steps("  - finish: ${{ run.error.message }}\n")) == ["unknown-field"]


def test_stop_when_reads_steps_and_variables_and_the_first_condition_does_not():
    head = "on: incident.resolved\nvars: {a: 1}\n"
    wait = "  - id: w\n    wait: 1h\n"
    check_clean(steps(wait, head + "stop_when: steps.w.timed_out and vars.a == 1 and vars.chat == 'x'\n"))
    found = codes(steps(wait, head + "if: steps.w.timed_out and vars.a == 1 and run.round == 1\n"))
    assert found == ["unknown-field", "unknown-field", "unknown-name"]


INPUTS = """\
on: manual
inputs:
  incident: {type: incident, required: true}
  who: {type: person, default: ada}
  days: {type: list, of: number, default: [1, 2.5]}
  at: {type: instant, default: "2026-03-02T09:00:00+01:00"}
  pause: {type: duration, default: 3bd}
"""


def test_inputs_are_read_with_their_types():
    text = "${{ inputs.days | sum }} ${{ inputs.at + inputs.pause }}"
    use = f'    with: {{to: "${{{{ inputs.who.manager }}}}", text: "{text}"}}\n'
    workflow = check_clean(steps(f"  - uses: chat.nudge\n{use}  - if: incident.open\n    wait: 1h\n", INPUTS))
    assert workflow.subject == "incident"
    assert [one.kind for one in workflow.inputs] == ["incident", "person", "list[number]", "instant", "duration"]
    assert workflow.inputs[4].default == Duration(business_days=3)


@pytest.mark.parametrize(
    "wrong", ["inputs.days + 1", "inputs.pause == 3", "inputs.who.nam", "inputs.nothing", "inputs.incident.nam"]
)
def test_an_input_is_held_against_its_type_where_it_is_read(wrong):
    assert len(codes(steps(f'  - finish: "${{{{ {wrong} }}}}"\n', INPUTS))) == 1


def test_a_workflow_that_is_only_called_needs_no_on():
    workflow = check_clean(steps("  - wait: 1h\n", "inputs: {word: {type: text}}\n"))
    assert (workflow.triggers, workflow.subject) == ((), None)
    assert codes(steps("  - finish: ${{ incident.title }}\n", "inputs: {word: {type: text}}\n")) == ["unknown-name"]


def test_a_workflow_that_calls_itself_is_told_so():
    names = replace(NAMES, workflows={"w"})
    assert [p.code for p in problems_of(steps("  - uses: workflow.w\n"), names=names)[1]] == ["call-cycle"]


def test_of_what_a_kept_version_calls_nothing_is_said():
    text = steps("  - id: one\n    uses: workflow.gone\n    with: {a: b}\n  - finish: ${{ steps.one.url }}\n")
    workflow, problems = problems_of(text, names=replace(NAMES, callees=None))
    assert (problems, workflow.steps[0].calls) == ([], "gone")


@pytest.mark.parametrize("decision", ["ask", "skip", "repeat"])
def test_on_unknown_says_what_becomes_of_an_effect_in_doubt(decision):
    head = "  - uses: http.request\n    with: {method: POST, path: /x}\n"
    workflow = check_clean(steps(f"{head}    on_unknown: {decision}\n"))
    assert workflow.steps[0].on_unknown == decision
    assert check_clean(steps(head)).steps[0].on_unknown == "ask"


def test_on_unknown_takes_one_of_three_words():
    text = steps("  - uses: http.request\n    on_unknown: retry\n    with: {method: POST, path: /x}\n")
    (problem,) = problems_of(text)[1]
    assert problem.message == "'on_unknown' must be ask, skip or repeat, not 'retry'"


@pytest.mark.parametrize(("made", "warned"), [("at_most_once", False), ("own_rows", True), ("findable", False)])
def test_on_unknown_is_warned_of_where_the_connection_in_use_leaves_nothing_in_doubt(made, warned):
    mark = plugins.findable(visible_after="1s") if made == "findable" else getattr(plugins, made)

    class Chat:
        @mark
        async def post(self, channel, text, *, thread, effect): ...

    declared = plugins.provider("other", plugins.Options, serves=["chat"])(Chat)
    catalogue = Catalogue.collect([("built in", item) for item in (*actions.ALL, *triggers.ALL, declared)])
    names = replace(NAMES, connections={**NAMES.connections, "team": ["chat"]}, providers={"team": "other"})
    text = steps("  - uses: chat.post\n    connection: team\n    on_unknown: skip\n    with: {text: hello}\n")
    workflow, problems = check_workflow(read_source("w.yaml", text.encode())[0], catalogue, names)
    assert [problem.code for problem in problems] == ["never-in-doubt"] * warned
    assert workflow.steps[0].on_unknown == "skip"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("{}", (0, 1, "queue")),
        ("{key: incident.id, limit: 3}", (1, 3, "queue")),
        ("{key: [incident.id, incident.severity], on_conflict: skip}", (2, 1, "skip")),
    ],
)
def test_concurrency_means_one_at_a_time_in_a_queue_unless_it_says_otherwise(written, meant):
    one = check_clean(steps("  - wait: 1h\n", f"on: incident.resolved\nconcurrency: {written}\n")).concurrency
    assert (len(one.key), one.limit, one.on_conflict) == meant


@given(st.text("onsteps: -[]{},'\"#\n |usewith.at${}0", max_size=120))
def test_no_text_makes_the_checker_raise(text):
    problems_of("on: incident.resolved\nsteps:\n  - uses: chat.post\n    with: {text: a}\n" + text)
    problems_of(text)


def _leaves(node, path=()):
    yield path
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from _leaves(value, (*path, key))


@pytest.mark.parametrize(
    "wrong", [None, 7, True, "x y", [1], {"a": {"b": 1}}, "${{ incident }}", "${{ nothing.at[all] }}"]
)
@pytest.mark.parametrize("text", [POSTMORTEM, STALE])
def test_no_wrong_value_at_any_place_makes_the_checker_raise(text, wrong):
    data = source.plain(read_source("w.yaml", text.encode())[0].root)
    for path in list(_leaves(data))[1:]:
        changed = copy.deepcopy(data)
        holder = changed
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = wrong
        problems_of(json.dumps(changed))
