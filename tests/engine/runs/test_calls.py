"""Workflows that call workflows: what goes in and comes back, and what becomes of one when the other ends."""

from __future__ import annotations

import asyncio

import pytest

from engine import operations, reports
from engine.plugins import ActionError, Fact

CHILD = """
on: manual
inputs:
  incident: {type: incident, required: true}
  word: {type: text, default: hello}
  people: {type: list, of: person, default: [ada]}
steps:
  - id: say
    uses: chat.post
    with: {text: "${{ inputs.word }} ${{ incident.title }} ${{ inputs.people | first | default('nobody') }}"}
  - id: doc
    uses: document.create
    with: {title: "${{ incident.title }}", text: a}
outputs:
  url: ${{ steps.doc.url }}
  length: ${{ inputs.people | length }}
"""
PARENT = """
on: incident.declared
steps:
  - id: filed
    uses: workflow.child
    with: {incident: "${{ incident }}", word: well}
  - uses: chat.post
    with: {text: "${{ steps.filed.length + 1 }} ${{ steps.filed.stopped }} ${{ steps.filed.url }}"}
"""
#: A child that waits, and can be stopped by the incident.
SLOW = """
on: manual
inputs: {incident: {type: incident, required: true}, word: {type: text, default: a}}
stop_when: incident.severity == "sev4"
steps:
  - uses: chat.post
    with: {text: "begun ${{ inputs.word }}"}
  - wait: 1h
  - uses: chat.post
    with: {text: done}
outputs: {word: "${{ inputs.word }}"}
"""
WAITING = """
on: [incident.declared, incident.reopened]
once_per: incident.id
stop_when: incident.severity == "sev3"
steps:
  - id: call
    uses: workflow.child
    with: {incident: "${{ incident }}", word: "${{ incident.title }}"}
  - uses: chat.post
    with: {text: "after ${{ steps.call.word }} ${{ steps.call.stopped }}"}
"""


STATUS = {"updated": {}, "resolved": {"status": "resolved"}, "reopened": {"status": "declared"}}


def states(world):
    return {run["workflow"]: run["state"] for run in world.runs()}


def refuse(text):
    def before(message):
        if message.text == text:
            raise ActionError("no")

    return before


async def retry(world, workflow):
    uid = world.runs(workflow)[0]["uid"]
    await operations.perform(world.application, "retry_run", {"run": uid}, "ada")
    await world.settle()


# --- in and out ---


async def test_a_call_gives_inputs_and_gets_outputs(engine):
    async with engine(child=CHILD, parent=PARENT) as world:
        await world.declared()
        assert world.said[0] == "well Checkout is slow Ada"
        assert world.said[1].startswith("2 false file:")
        assert states(world) == {"parent": "finished", "child": "finished"}


async def test_the_run_that_is_called_has_the_effects_identity_as_its_key(engine):
    async with engine(child=CHILD, parent=PARENT) as world:
        await world.declared()
        effect = world.effects("workflow.child")[0]
        assert world.runs("child")[0]["key"] == effect["identity"]
        assert (effect["state"], effect["result"]["length"]) == ("done", 1)


async def test_the_calling_run_and_the_called_one_name_each_other(engine):
    async with engine(child=CHILD, parent=PARENT) as world:
        await world.declared()
        parent, child = (world.runs(name)[0]["uid"] for name in ("parent", "child"))
        reader = world.application.reader
        assert [one["run"] for one in reports.show_run(reader, parent)["calls"]] == [child]
        assert reports.show_run(reader, child)["caller"]["run"] == parent
        assert (reports.show_run(reader, parent)["caller"], reports.show_run(reader, child)["calls"]) == (None, [])


async def test_the_waiting_run_is_a_row_and_nothing_in_memory(engine):
    async with engine(child=SLOW, parent=WAITING) as world:
        await world.declared()
        assert states(world) == {"parent": "waiting", "child": "waiting"}
        assert world.application.executor.active == {}
        await world.move("61m")
        assert world.said == ["begun Checkout is slow", "done", "after Checkout is slow false"]


async def test_if_on_and_once_per_of_the_called_workflow_do_not_apply(engine):
    child = 'on: [incident.resolved, manual]\nif: false\nonce_per: "1"\n' + PARENT.partition("steps:")[1]
    child += '\n  - uses: chat.post\n    with: {text: "${{ incident.title }}"}\n'
    parent = """
on: incident.declared
steps:
  - for_each: "[1, 2]"
    uses: workflow.child
"""
    async with engine(child=child, parent=parent) as world:
        await world.declared()
        assert world.said == ["Checkout is slow"] * 2  # about what the calling run is about


async def test_what_finish_and_skipped_steps_leave_is_null(engine):
    child = """
on: manual
inputs: {incident: {type: incident}}
steps:
  - if: inputs.incident == null
    finish: nothing to do
  - id: say
    uses: chat.post
    with: {text: "${{ incident.title }}"}
outputs: {id: "${{ steps.say.id }}", seen: "${{ incident.title }}"}
"""
    parent = """
on: incident.declared
steps:
  - {id: one, uses: workflow.child}
  - uses: chat.post
    with: {text: "${{ steps.one.id | default('none') }} ${{ steps.one.seen | default('none') }}"}
"""
    async with engine(child=child, parent=parent) as world:
        await world.declared()
        assert world.said == ["none none"]


async def test_calls_nest_and_each_item_of_a_loop_has_a_run_of_its_own(engine):
    leaf = """
on: manual
inputs: {n: {type: number, required: true}}
steps: [{uses: chat.post, with: {text: "${{ inputs.n }}"}}]
outputs: {twice: "${{ inputs.n * 2 }}"}
"""
    middle = """
on: manual
inputs: {of: {type: list, of: number, required: true}}
steps:
  - id: each
    for_each: inputs.of
    uses: workflow.leaf
    with: {n: "${{ item }}"}
outputs: {sum: "${{ [one.twice for one in steps.each.results] | sum }}"}
"""
    top = """
on: incident.declared
steps:
  - {id: all, uses: workflow.middle, with: {of: [1, 2, 3]}}
  - uses: chat.post
    with: {text: "sum ${{ steps.all.sum }}"}
"""
    async with engine(leaf=leaf, middle=middle, top=top) as world:
        await world.declared()
        assert (sorted(world.said[:-1]), world.said[-1]) == (["1", "2", "3"], "sum 12")


async def test_a_call_in_a_repeat_is_a_run_each_time(engine):
    parent = """
on: incident.declared
steps:
  - uses: workflow.child
    with: {incident: "${{ incident }}", word: "turn ${{ iteration }}"}
    repeat: {every: 1h, max: 2}
"""
    async with engine(child=CHILD, parent=parent) as world:
        await world.declared()
        await world.move("2h")
        assert [text[:6] for text in world.said] == ["turn 1", "turn 2"]


async def test_what_a_dry_run_calls_runs_dry_and_gives_outputs_all_the_same(engine):
    parent = PARENT.replace("  - uses: chat.post", "  - id: last\n    uses: chat.post")
    async with engine(child=CHILD, parent="mode: dry_run\n" + parent) as world:
        await world.declared()
        assert (world.said, states(world)) == ([], {"parent": "finished", "child": "finished"})
        assert world.effects()[-1]["inputs"]["text"].startswith("2 false https://dry-run.invalid/")


async def test_a_dry_workflow_may_be_called_by_one_that_is_not(engine):
    async with engine(child="mode: dry_run\n" + CHILD, parent=PARENT) as world:
        await world.declared()
        assert [text[:8] for text in world.said] == ["2 false "]


OFFICE = 'calendars: {office: {hours: {mon-fri: "10:00-16:00"}}}\n'


async def test_the_hours_of_the_called_workflow_hold_its_effects(engine):
    async with engine(child="during: office\n" + CHILD, parent=PARENT, project=OFFICE) as world:
        await world.declared()
        assert (world.said, states(world)) == ([], {"parent": "waiting", "child": "held"})
        await world.move("1h")
        assert states(world) == {"parent": "finished", "child": "finished"}


async def test_the_hours_of_the_calling_workflow_hold_the_call_and_not_what_is_called(engine):
    async with engine(child=SLOW, parent="during: office\n" + WAITING, project=OFFICE) as world:
        await world.declared()
        assert (world.runs("child"), states(world)) == ([], {"parent": "held"})
        await world.move("6h30m")
        assert world.said == ["begun Checkout is slow", "done", "after Checkout is slow false"]
        await world.move_to(world.now.replace(hour=15, minute=30))
        await world.incident("declared", "pager:P2", title="P2", severity="sev1")
        await world.move("2h")
        assert world.said[3:] == ["begun P2", "done"]  # the call was let go in time, and what is called has no hours


# --- failure ---


async def test_a_failed_child_fails_the_step_and_the_error_says_where(engine):
    async with engine(child=CHILD, parent=PARENT) as world:
        world.chat.before = refuse("well Checkout is slow Ada")
        await world.declared()
        assert states(world) == {"parent": "failed", "child": "failed"}
        error = world.runs("parent")[0]["error"]
        assert (error["step"], error["code"]) == ("filed", "call-failed")
        assert error["message"].startswith("'child' failed at 'say': no (run run_")


def told(world):
    """Give who was told of a failure, and of what."""
    return [(sent.to, sent.text.partition(" ")[0]) for sent in world.chat.sent if " failed at " in sent.text]


async def test_a_failure_of_a_child_is_told_once_by_whoever_called_it(engine):
    async with engine(child=CHILD, parent=PARENT) as world:
        world.chat.before = refuse("well Checkout is slow Ada")
        await world.declared()
        assert told(world) == [("grace", "parent")]
        assert world.runs("child")[0]["uid"] in world.said[-1]
        await retry(world, "child")  # nobody waits for it
        assert told(world)[1:] == [("grace", "child")]


async def test_a_failure_of_a_child_is_told_to_its_own_owner_where_that_is_another(engine):
    middle = "owner: ada\n" + PARENT.replace("on: incident.declared", "on: [incident.declared, manual]\nif: false")
    parent = "on: incident.declared\nsteps: [{uses: workflow.middle}]"
    async with engine(child=CHILD, middle=middle, parent=parent) as world:
        world.chat.before = refuse("well Checkout is slow Ada")
        await world.declared()
        assert told(world) == [("ada", "middle"), ("grace", "parent")]


async def test_a_failed_child_that_is_passed_over_is_told_to_nobody(engine):
    parent = PARENT.replace("word: well}", "word: well}\n    continue_on_error: true")
    async with engine(child=CHILD, parent=parent) as world:
        world.chat.before = refuse("well Checkout is slow Ada")
        await world.declared()
        assert (told(world), states(world)["child"]) == ([], "failed")


async def test_a_failed_child_may_be_passed_over(engine):
    parent = PARENT.replace("word: well}", "word: well}\n    continue_on_error: true")
    async with engine(child=CHILD, parent=parent) as world:
        world.chat.before = refuse("well Checkout is slow Ada")
        await world.declared()
        assert states(world)["parent"] == "finished"


async def test_a_retry_of_the_caller_retries_the_child_at_its_failed_step(engine):
    child = SLOW.replace("- wait: 1h", "- {uses: chat.post, with: {text: b}}")
    async with engine(child=child, parent=WAITING) as world:
        world.chat.before = refuse("b")
        await world.declared()
        world.chat.before = lambda message: None
        await retry(world, "parent")
        said = [text for text in world.said if "failed" not in text]
        assert said == ["begun Checkout is slow", "b", "done", "after Checkout is slow false"]
        assert [(run["state"], run["round"]) for run in world.runs()] == [("finished", 1)] * 2


async def test_a_retry_finds_a_child_that_was_retried_by_itself_and_takes_its_outputs(engine):
    async with engine(child=CHILD, parent=PARENT) as world:
        world.chat.before = refuse("well Checkout is slow Ada")
        await world.declared()
        world.chat.before = lambda message: None
        await retry(world, "child")
        assert states(world) == {"parent": "failed", "child": "finished"}
        await retry(world, "parent")
        assert states(world) == {"parent": "finished", "child": "finished"}
        assert len([text for text in world.said if text.startswith("well")]) == 1


async def test_outputs_that_cannot_be_evaluated_fail_the_child_and_a_retry_evaluates_them_again(engine):
    child = CHILD.replace(
        "length: ${{ inputs.people | length }}", "length: ${{ 6 / (events('incident.updated') | length) }}"
    )
    async with engine(child=child, parent=PARENT) as world:
        await world.declared()
        assert world.runs("child")[0]["error"]["step"] == "outputs"
        await world.incident("updated", severity="sev2")
        await retry(world, "parent")
        assert states(world) == {"parent": "finished", "child": "finished"}
        assert "7 false" in world.said[-1]


async def test_a_retry_goes_on_in_the_version_of_the_child_whatever_became_of_its_file(engine):
    async with engine(child=CHILD, parent=PARENT) as world:
        world.chat.before = refuse("well Checkout is slow Ada")
        await world.declared()
        world.chat.before = lambda message: None
        (world.folder / "workflows" / "child.yaml").unlink()
        await world.application.reload()
        await retry(world, "parent")
        assert states(world) == {"parent": "finished", "child": "finished"}


async def test_a_call_once_per_value_is_shared_and_one_that_was_stopped_is_taken_up_by_the_next(engine):
    parent = WAITING.replace("- id: call\n", "- id: call\n    once_per: workflow.id\n")
    async with engine(child=SLOW, parent=parent) as world:
        await world.declared()
        await world.incident("updated", severity="sev4")
        await world.incident("declared", "pager:P2", title="P2", severity="sev1")
        await world.incident("declared", "pager:P3", title="P3", severity="sev1")
        assert [run["round"] for run in world.runs("child")] == [2]
        await world.move("61m")
        assert world.said[-2:] == ["after P2 false"] * 2
        assert len(world.runs("child")) == 1


# --- stopped, cancelled, timed out ---


async def test_a_stopped_caller_stops_the_child_and_both_are_taken_up(engine):
    async with engine(child=SLOW, parent=WAITING) as world:
        await world.declared()
        await world.incident("updated", severity="sev3")
        assert states(world) == {"parent": "stopped", "child": "stopped"}
        await world.incident("resolved", severity="sev1", title="Checkout again")
        await world.incident("reopened")
        assert [(run["state"], run["round"]) for run in world.runs()] == [("waiting", 2)] * 2
        await world.move("61m")
        assert world.said[-3:] == ["begun Checkout again", "done", "after Checkout again false"]


async def test_a_finished_child_is_kept_in_a_later_round(engine):
    parent = WAITING + "  - wait: 1h\n  - {uses: chat.post, with: {text: end}}\n"
    async with engine(child=SLOW, parent=parent) as world:
        await world.declared()
        await world.move("61m")
        await world.incident("updated", severity="sev3")
        await world.incident("resolved", severity="sev1")
        await world.incident("reopened")
        await world.move("61m")
        assert len(world.runs("child")) == 1
        assert world.said == ["begun Checkout is slow", "done", *["after Checkout is slow false"] * 2, "end"]


async def test_a_child_that_stops_itself_ends_the_step_which_says_so(engine):
    async with engine(child=SLOW, parent=WAITING) as world:
        await world.declared()
        await world.incident("updated", severity="sev4")
        assert states(world) == {"parent": "finished", "child": "stopped"}
        assert world.said[-1] == "after  true"


async def test_a_child_that_stopped_itself_is_taken_up_in_a_later_round(engine):
    parent = WAITING + "  - wait: 1h\n  - {uses: chat.post, with: {text: end}}\n"
    async with engine(child=SLOW, parent=parent) as world:
        await world.declared()
        for severity in ("sev4", "sev3"):
            await world.incident("updated", severity=severity)
        await world.incident("resolved", severity="sev1")
        await world.incident("reopened")
        assert [(run["state"], run["round"]) for run in world.runs()] == [("waiting", 2)] * 2
        await world.move("61m")
        assert world.said[-2:] == ["done", "after Checkout is slow false"]


async def test_a_cancelled_caller_cancels_the_child(engine):
    async with engine(child=SLOW, parent=WAITING) as world:
        await world.declared()
        await operations.perform(world.application, "cancel_run", {"workflow": "parent"}, "ada")
        await world.settle()
        assert states(world) == {"parent": "cancelled", "child": "cancelled"}
        assert "cancelled by Ada" in world.runs("child")[0]["reason"]
        await world.move("2h")
        assert world.said == ["begun Checkout is slow"]


async def test_a_cancelled_child_fails_the_step_and_a_retry_begins_it_anew(engine):
    async with engine(child=SLOW, parent=WAITING) as world:
        await world.declared()
        await operations.perform(world.application, "cancel_run", {"workflow": "child"}, "ada")
        await world.settle()
        assert world.runs("parent")[0]["error"]["message"].startswith("'child' cancelled: by Ada (run ")
        await retry(world, "parent")
        await world.move("61m")
        assert states(world) == {"parent": "finished", "child": "finished"}


async def test_a_call_that_lasts_longer_than_its_timeout_fails_and_the_child_is_stopped(engine):
    parent = WAITING.replace("uses: workflow.child", "uses: workflow.child\n    timeout: 30m")
    async with engine(child=SLOW, parent=parent) as world:
        await world.declared()
        await world.move("31m")
        assert states(world) == {"parent": "failed", "child": "stopped"}
        assert world.runs("parent")[0]["error"]["code"] == "timeout"
        await retry(world, "parent")
        assert states(world) == {"parent": "waiting", "child": "waiting"}


async def test_the_timeout_of_a_group_stops_what_was_called_in_it(engine):
    parent = """
on: incident.declared
steps:
  - timeout: 30m
    steps:
      - {uses: workflow.child, with: {incident: "${{ incident }}"}}
"""
    async with engine(child=SLOW, parent=parent) as world:
        await world.declared()
        await world.move("31m")
        assert states(world) == {"parent": "failed", "child": "stopped"}


async def test_a_caller_that_is_taken_up_before_its_child_has_ended_takes_that_up_as_well(engine):
    child = SLOW.replace("text: done", "text: hangs")
    async with engine(child=child, parent=WAITING) as world:
        began, go_on = asyncio.Event(), asyncio.Event()
        post = world.chat.post

        async def slow(channel, text, **more):
            if text == "hangs" and not go_on.is_set():
                began.set()
                await go_on.wait()
            return await post(channel, text, **more)

        world.chat.post = slow
        await world.declared()
        moving = asyncio.ensure_future(world.move("61m"))
        await began.wait()
        for kind, severity in (("updated", "sev3"), ("resolved", "sev1"), ("reopened", "sev1")):
            fact = Fact(f"incident.{kind}", world.now, "incident", "pager:P1", {"severity": severity, **STATUS[kind]})
            await world.application.accept("pager", [fact])
        go_on.set()
        await moving
        await world.move("61m")
        assert states(world) == {"parent": "finished", "child": "finished"}
        assert [run["round"] for run in world.runs()] == [2, 2]


# --- what may not be called ---


RENAMED = CHILD.replace("  word: ", "  phrase: ").replace("inputs.word", "inputs.phrase")


@pytest.mark.parametrize(
    ("child", "said"),
    [
        ("mode: off\n" + CHILD, "'child' cannot be called: it is off"),
        (RENAMED, "there is no input 'word'"),
    ],
)
async def test_a_call_that_has_become_impossible_fails_its_step(engine, child, said):
    parent = PARENT.replace("steps:\n", "steps:\n  - wait: 1h\n", 1)
    async with engine(child=CHILD, parent=parent) as world:
        await world.declared()
        (world.folder / "workflows" / "child.yaml").write_text(child)
        await world.application.reload()
        await world.move("61m")
        assert world.runs("parent")[0]["state"] == "failed"
        assert said in world.runs("parent")[0]["error"]["message"]


async def test_calls_that_have_come_to_lead_round_in_a_circle_are_cut(engine):
    """Each file was good when its run began; the circle is there only over their versions."""
    child = "on: manual\nsteps:\n  - wait: 1h\n"
    parent = "on: [incident.declared, manual]\nsteps:\n  - uses: workflow.child\n"
    async with engine(child=child + "  - uses: workflow.other\n", other=child, parent=parent) as world:
        await world.declared()
        (world.folder / "workflows" / "parent.yaml").unlink()
        (world.folder / "workflows" / "other.yaml").write_text(child + "  - uses: workflow.child\n")
        (world.folder / "workflows" / "child.yaml").write_text(child)
        await world.application.reload()
        await world.move("3h")
        error = world.runs("other")[0]["error"]
        assert error["message"] == "a workflow must not call itself: parent → child → other → child"
        assert set(states(world).values()) == {"failed"}


async def test_more_than_eight_calls_do_not_nest(engine):
    head = "on: [incident.declared, manual]\nsteps:\n  - wait: 1h\n"
    files = {f"w{number}": head for number in range(10)}
    files["w0"] += "  - uses: workflow.w1\n"
    async with engine(**{**files, "other": head}) as world:
        for number in range(1, 9):
            path = world.folder / "workflows" / f"w{number}.yaml"
            path.write_text(head + f"  - uses: workflow.w{number + 1}\n")
            await world.application.reload()
        faults = [problem.code for problem in world.application.library.problems]
        assert faults == ["calls-too-deep"]


async def test_eight_calls_nest_and_a_ninth_that_files_have_come_to_make_fails(engine):
    """No files ever made nine calls at one time: the run of the first goes on with a version that is no more."""
    head = "on: [incident.declared, manual]\nif: workflow.id == 'w0'\nsteps:\n  - wait: 1h\n"
    files = {f"w{n}": head + f"  - uses: workflow.w{n + 1}\n" for n in range(9)} | {"w9": head}
    async with engine(**{**files, "w4": head}) as world:
        await world.declared()
        for name, text in {"w0": head, "w4": files["w4"]}.items():
            (world.folder / "workflows" / f"{name}.yaml").write_text(text)
            await world.application.reload()
        assert world.application.library.problems == []
        await world.move("10h")
        error = world.runs("w8")[0]["error"]
        assert (error["code"], world.runs("w9")) == ("calls-too-deep", [])
        way = " → ".join(f"w{n}" for n in range(10))
        assert error["message"] == f"at most 8 calls may nest: {way}"
        assert states(world) == {f"w{n}": "failed" for n in range(9)}


async def test_a_call_survives_that_its_own_version_is_read_again_when_the_called_file_is_another(engine):
    parent = PARENT.replace("steps:\n", "steps:\n  - wait: 1h\n", 1)
    async with engine(child=CHILD, parent=parent) as world:
        await world.declared()
        await world.crash()
        (world.folder / "workflows" / "parent.yaml").unlink()
        (world.folder / "workflows" / "child.yaml").write_text(CHILD.replace("  length:", "  size:"))
        await world.restart()
        await world.move("61m")
        assert states(world)["child"] == "finished"
