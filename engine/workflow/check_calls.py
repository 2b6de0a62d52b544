"""`uses: workflow.NAME`: which workflow a step calls, and whether it may."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from engine.domain import Field
from engine.plugins import Action
from engine.problems import declare, did_you_mean
from engine.workflow.calling import CALL, MOST_CALLS, STOPPED, Signature, call_of
from engine.workflow.check_base import MISPLACED_KEY, Report
from engine.workflow.check_inputs import UNKNOWN_WORKFLOW
from engine.workflow.source import Mapping as MappingNode
from engine.workflow.source import Scalar

CALL_CYCLE = declare(
    "call-cycle",
    "A workflow calls itself, by itself or by way of others: it would never end.",
    "Take one of the calls out; what comes round again is a `repeat` or a `for_each`.",
)
CALLS_TOO_DEEP = declare(
    "calls-too-deep",
    f"More than {MOST_CALLS} calls of workflows stand one inside the other.",
    "Call some of them from the same workflow, one after the other.",
)
CALL_WITHOUT_SUBJECT = declare(
    "call-without-subject",
    "The workflow that is called is about something, and nothing says about which.",
    "Give it an input that is called like its subject type (`incident: {type: incident, required: true}`).",
)

#: Keys of a step that say nothing of a call: the called workflow's own steps have them.
_NOT_OF_CALLS = ("retry",)


def is_call(name: str) -> bool:
    return name.startswith(CALL)


def signature(report: Report, name: str) -> Signature | None:
    """Give what the workflow that `uses:` names takes and gives, where that is known."""
    return report.names.callees.signature(name.removeprefix(CALL)) if report.names.callees is not None else None


def outputs_of_call(report: Report, name: str) -> Mapping[str, Field]:
    """Give the outputs of a step that calls a workflow, beside those of every step."""
    found = signature(report, name)
    return {**(found.outputs if found is not None else {"*": Field("any", "")}), "stopped": STOPPED}


def action_of_call(report: Report, name: str) -> Action:
    """Give a call as an action; what is not known of it is taken as it comes."""
    found = signature(report, name)
    return found.action if found is not None else call_of(name.removeprefix(CALL))


def check_call(report: Report, node: MappingNode, at: Scalar, subject: str | None) -> bool:
    """Whether a step may call what it names; reported where it may not."""
    callee, callees = at.text.removeprefix(CALL), report.names.callees
    for key in _NOT_OF_CALLS:
        if (scalar := node.key(key)) is not None:
            hint = f"the steps of '{callee}' have their own"
            report.add(MISPLACED_KEY, f"'{key}' says nothing of a call", scalar, hint)
    if callees is None:  # an earlier version of the file: what it calls may have changed since
        return True
    if callee not in report.names.workflows:
        message = f"no workflow is called '{callee}'"
        report.add(UNKNOWN_WORKFLOW, message, at, did_you_mean(callee, report.names.workflows, "workflows"))
        return False
    caller = PurePath(report.file.path).stem
    back = callees.cycle(caller, callee)
    if back is not None:
        way = " → ".join([caller, f"{callee} ({at.span.file}:{at.span.line})", *map(str, back)])
        report.add(CALL_CYCLE, f"'{at.text}' leads back to this workflow: {way}", at)
        return False
    if callees.depth(callee) > MOST_CALLS:
        message = f"'{at.text}' makes {callees.depth(callee)} calls one inside the other: at most {MOST_CALLS} may"
        report.add(CALLS_TOO_DEEP, message, at)
        return False
    found = callees.signature(callee)
    if found is not None and found.subject is not None and not found.takes_subject and found.subject != subject:
        message = f"'{callee}' is about {_a(found.subject)}, and nothing says about which"
        hint = f"give it the input '{found.subject}: {{type: {found.subject}, required: true}}'"
        report.add(CALL_WITHOUT_SUBJECT, message, at, hint)
        return False
    return True


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
