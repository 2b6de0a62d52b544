"""Decide what a run does next: a pure function of the workflow, the run's state and a view of the world.

`advance` goes as far as it can: it decides conditions, lists and waits, writes down what it decided as records, and
asks for what it cannot do itself as commands (perform an effect, look something up at a vendor, listen for an event or
an instant, end the run). What it has asked for comes back as records of others; then it is called again. Several
commands at once are normal: the items of a loop are independent. It never waits, reads no clock and makes no call.

Each time it walks through the steps from the first on; what was decided before is read from the records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from engine.runs import digests, doubts, effects, waits
from engine.runs.commands import (
    ANSWERED,
    MAX_OUTPUT,
    Call,
    Close,
    Command,
    End,
    Examined,
    Judged,
    KnownEffect,
    Listen,
    LookUp,
    Outcome,
    Perform,
    Refresh,
    StepError,
    Unlisten,
    View,
)
from engine.runs.effects import after_failed_attempt
from engine.runs.manners import DIGEST
from engine.runs.state import Pause, RunState, escaped, within
from engine.runs.stopping import stops, visible
from engine.runs.turn import CONDITION, OUTPUTS, VARS, Blocked, Env, Failed, Finished, Stopped, Turn, shown
from engine.store.codec import dumps
from engine.workflow.expressions import escape_markdown, render_value
from engine.workflow.model import Length, Step, Workflow, walk

__all__ = [
    "ANSWERED",
    "Call",
    "Close",
    "Command",
    "End",
    "Examined",
    "Judged",
    "KnownEffect",
    "Listen",
    "LookUp",
    "Outcome",
    "Perform",
    "Refresh",
    "StepError",
    "Unlisten",
    "View",
    "advance",
    "after_failed_attempt",
]


def advance(workflow: Workflow, state: RunState, view: View) -> Outcome:
    """Decide all that can be decided now; `state` takes the new records in."""
    turn = Turn(workflow, state, view)
    if state.ended is None:
        _Walk(turn).go()
    else:
        effects.abandon(turn, "")  # what came back after the end
    doubts.tell_of(turn)
    return Outcome(tuple(turn.records), tuple(turn.commands))


class _Walk:
    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.workflow, self.state, self.view = turn.workflow, turn.state, turn.view

    # --- the run -----------------------------------------------------------------------------------------------------

    def go(self) -> None:
        """Bring the run as far as it goes."""
        with suppress(Blocked):
            if self.state.failing is None:
                self._forward()
            if self.state.failing is not None:
                self._after_failure()

    def _forward(self) -> None:
        """Go through the steps; records where it ends, or that it fails."""
        env = Env({})
        try:
            reason = self._to_the_end(env)
            self._end(End("finished", reason), self._outputs(env))
        except Stopped:
            self._stop()
        except Failed as failure:
            self._fail(failure.error, failure.paths)

    def _to_the_end(self, env: Env) -> str | None:
        """Go through the steps; give the reason of a `finish`."""
        try:
            self._main(env)
        except Finished as finished:
            if not finished.failed:
                return finished.reason
            failure = Failed("", {"message": finished.reason, "step": "finish", "code": "finished-as-failed"})
            failure.paths = []
            raise failure from None
        return None

    def _stop(self) -> None:
        asked, condition = self.state.stopping, self.workflow.stop_when
        if asked is not None:
            if any(leaf.status == "intent" for leaf in self.state.leaves.values()):
                raise Blocked  # whoever takes its place must not be overtaken by a call of this one
            self._end(End(asked["state"], asked["reason"]), by_caller=not asked.get("replaced"))
        else:
            self._end(End("stopped", condition.text if condition is not None else None))

    def _outputs(self, env: Env) -> Mapping[str, Any] | None:
        """Evaluate what a workflow that calls this one gets."""
        if not self.workflow.outputs:
            return None
        with self.turn.evaluating("outputs", OUTPUTS):
            scope = self.turn.scope(OUTPUTS, env)
            found = {one.name: self.turn.render(one.tree, scope, markdown=False) for one in self.workflow.outputs}
            if len(dumps(found)) > MAX_OUTPUT:
                raise StepError(f"the outputs are more than {MAX_OUTPUT:,} bytes as JSON", "output-too-large")
        return found

    def _main(self, env: Env) -> None:
        if self.state.stopping is not None:  # before anything is asked for that it needs no more
            raise Stopped
        self.turn.raise_if_failed(VARS)
        self.turn.raise_if_failed("")
        if self.state.queued:
            raise Blocked
        if self.state.in_turn and CONDITION not in self.state.decided:
            self._take_turn()
        if self.state.vars is None:
            self._evaluate_vars(env)
        if stops(self.turn):
            raise Stopped
        if self.workflow.version == DIGEST:
            digests.deliver(self.turn)
        elif self.workflow.timeout is None:
            self._block(self.workflow.steps, env)
        else:
            with self._within("", "", self.workflow.timeout, env) as inner:
                self._block(self.workflow.steps, inner)

    def _take_turn(self) -> None:
        """Begin now that the run gets its turn; in a queue, the file's `if` is decided only now (LANGUAGE 6)."""
        self.turn.raise_if_failed(CONDITION)
        condition, detail = self.workflow.condition, {"run": self.state.run.uid, "key": self.state.run.key}
        one = self.workflow.concurrency
        decided = (one is not None and one.on_conflict != "queue") or self.state.run.trigger == "manual"
        if condition is None or decided:  # when it came, or by the person who started it
            self.turn.put(CONDITION, "decided", {"value": True})
            self.turn.commands.append(Judged("start", detail))
            return
        with self.turn.evaluating("if", CONDITION):
            verdict = condition.test(self.turn.scope(CONDITION, Env({})))
        told = {} if verdict.value else {"failed": verdict.failed, "nulls": list(verdict.nulls)}
        self.turn.put(CONDITION, "decided", {"value": verdict.value, **told})
        if verdict.value:
            self.turn.commands.append(Judged("start", detail))
            return
        self.turn.commands.append(Judged("condition_false", {**detail, **told, "values": dict(verdict.values)}))
        self._end(End("stopped", f"'if' is false now that it gets its turn, at: {verdict.failed}"))
        raise Blocked

    def _evaluate_vars(self, env: Env) -> None:
        if not self.workflow.vars:
            return
        values: dict[str, Any] = {}
        inner = env.naming(vars_so_far=values)
        with self.turn.evaluating("vars", VARS):
            for name, tree in self.workflow.vars:
                values[name] = self.turn.render(tree, self.turn.scope(VARS, inner), markdown=False)
        self.turn.put_values("", "vars", {"values": values})

    def _end(self, end: End, outputs: Mapping[str, Any] | None = None, *, by_caller: bool = False) -> None:
        effects.abandon(self.turn, "")
        told: dict[str, Any] = {"state": end.state, "reason": end.reason, "error": end.error}
        if outputs is not None:
            told["outputs"] = outputs
        if by_caller:
            told["by_caller"] = True
        self.turn.put("", "ended", told)
        self.turn.commands.append(end)

    # --- failure -----------------------------------------------------------------------------------------------------

    def _fail(self, error: Mapping[str, Any], paths: Sequence[str]) -> None:
        effects.abandon(self.turn, "")
        self.turn.put("", "failing", {"error": dict(error), "paths": list(paths)})
        self.turn.commands.append(Unlisten(""))

    def _after_failure(self) -> None:
        """Run `on_failure`, tell the owner, and end the run as failed."""
        error = (self.state.failing or {})["error"]
        again = f"~{self.state.retries}" if self.state.retries else ""  # a retry that fails is a failure of its own
        env = Env(visible(self.workflow, self.state), {"run_error": error}, "on_failure/", marks=again)
        trouble: Mapping[str, Any] | None = None
        try:
            self._block(self.workflow.on_failure, env)
        except Failed as second:
            trouble = second.error
        except Finished:
            pass
        self._tell(error, trouble, Env({}, prefix="owner/", marks=again))
        reason = f"on_failure failed as well: {trouble.get('message')}" if trouble else None
        self._end(End("failed", reason, error))

    def _tell(self, error: Mapping[str, Any], trouble: Mapping[str, Any] | None, env: Env) -> None:
        """Tell the owner once, as an effect like any other; a failure of it is recorded and ends there."""
        notice = self.view.notice()
        if notice is None or (env.prefix + notice.id not in self.state.leaves and self.view.told_by_caller):
            return
        text = f"{self.workflow.name} failed at {error.get('step')}: {error.get('message')}"
        text += f" (run {self.state.run.uid})"
        if trouble:
            text += f"; on_failure failed as well: {trouble.get('message')}"
        with suppress(Failed):
            self._step(replace(notice, inputs={**notice.inputs, "text": escape_markdown(text)}), env)

    # --- blocks and steps --------------------------------------------------------------------------------------------

    def _block(self, steps: Sequence[Step], env: Env) -> None:
        for step in steps:
            self._step(step, env)

    def _step(self, step: Step, env: Env) -> None:
        """Bring one step to its end, with its outputs in `env`; raises where it is not there yet."""
        path = env.prefix + step.id
        try:
            self.turn.raise_if_failed(path)
            outputs = self._loop(step, path, env) if step.for_each is not None else self._item(step, path, env)
        except Failed as failure:
            if not step.continue_on_error:
                raise
            outputs = {**_shape(step), "failed": True, "error": failure.error}
        env.outputs[step.id] = outputs

    def _item(self, step: Step, path: str, env: Env) -> Any:
        """Perform a step, or its part for one item: `if`, then what it does, else `else`."""
        if step.condition is None or self._decide(step, path, env):
            return self._repeat(step, path, env)
        if not step.otherwise:
            return None
        return self._group(step, step.otherwise, path, env)

    def _decide(self, step: Step, path: str, env: Env) -> bool:
        """Evaluate a step's `if`, once."""
        if path not in self.state.decided:
            assert step.condition is not None
            with self.turn.evaluating(step.id, path):
                verdict = step.condition.test(self.turn.scope(path, env))
            told = {} if verdict.value else {"failed": verdict.failed, "nulls": list(verdict.nulls)}
            self.turn.put(path, "decided", {"value": verdict.value, **told})
        return self.state.decided[path]

    def _once(self, step: Step, path: str, env: Env) -> Any:
        self.turn.raise_if_failed(path)
        match step.kind:
            case "uses":
                return effects.effect(self.turn, step, path, env)
            case "wait":
                return waits.wait(self.turn, step, path, env)
            case "finish":
                raise self._finished(step, path, env)
            case _:
                return self._group(step, step.steps, path, env)

    def _group(self, step: Step, steps: Sequence[Step], path: str, env: Env) -> Any:
        with self._within(path, step.id, step.timeout, env) as inner:
            self._block(steps, inner.inside(path))
        return {"failed": False, "error": None}

    def _finished(self, step: Step, path: str, env: Env) -> Finished:
        assert step.finish is not None
        with self.turn.evaluating(step.id, path):
            scope = self.turn.scope(path, env)
            return Finished(render_value(step.finish.reason.evaluate(scope), scope.zone), step.finish.failed)

    # --- for_each ----------------------------------------------------------------------------------------------------

    def _loop(self, step: Step, path: str, env: Env) -> Any:
        """Run the items side by side; the step ends when all have."""
        results: list[dict[str, Any]] = []
        failed: list[Failed] = []
        blocked = False
        for key, value in self._items(step, path, env):
            mark = f"[{escaped(key)}]"
            named = env.naming(item=value)
            inner = replace(named, outputs=dict(env.outputs), marks=env.marks + mark, branch=step.id + mark)
            result: dict[str, Any] = {"item": value, "key": key, "failed": False, "error": None}
            try:
                outputs = self._item(step, path + mark, inner)
                results.append(_item_result(step, result, outputs, inner.outputs))
            except Blocked:
                blocked = True
            except Failed as failure:
                failed.append(failure)
                result |= {"failed": True, "error": failure.error}
                results.append(_item_result(step, result, None, inner.outputs))
        if blocked:
            raise Blocked
        if failed and not step.continue_on_error:
            failed[0].paths = [path for failure in failed for path in failure.paths]
            raise failed[0]
        return {"results": results, "failed": bool(failed), "error": failed[0].error if failed else None}

    def _items(self, step: Step, path: str, env: Env) -> list[tuple[str, Any]]:
        """Evaluate the list and its keys, once."""
        if path not in self.state.items:
            assert step.for_each is not None
            with self.turn.evaluating(step.id, path):
                found = step.for_each.evaluate(self.turn.scope(path, env))
                if found is not None and not isinstance(found, list | tuple):
                    raise StepError(f"'for_each' must be a list, not {shown(found)}", "for-each-no-list")
                items = [[self._item_key(step, path, env, value), value] for value in found or ()]
                _check_unique([key for key, _ in items])
            self.turn.put_values(path, "items", {"items": items})
        return self.state.items[path]

    def _item_key(self, step: Step, path: str, env: Env, value: Any) -> str:
        if step.item_key is not None:
            return effects.text_key(step.item_key.evaluate(self.turn.scope(path, env.naming(item=value))))
        if isinstance(value, Mapping):
            if value.get("id") is None and "key" not in value:
                raise StepError("an item without 'id' or 'key' needs 'item_key'", "for-each-no-key")
            return effects.text_key(value["id"] if value.get("id") is not None else value["key"])
        return effects.text_key(getattr(value, "id", getattr(value, "key", value)))

    # --- repeat ------------------------------------------------------------------------------------------------------

    def _repeat(self, step: Step, path: str, env: Env) -> Any:
        """Run iterations until `until` comes true or there were `max`, as far as the records and the clock allow."""
        if step.repeat is None:
            return self._once(step, path, env)
        while True:
            pause = self.state.pauses.get(path) or Pause(0)
            outputs = self._iteration(step, path, env, pause.count)  # what the last one gave, from its records
            here = env.naming(iteration=pause.count)
            if pause.done is None and (not pause.running or self._is_held(f"{path}#{pause.count + 1}")):
                self._begin_iteration(step, path, here, pause)
                pause = self.state.pauses[path]
            if pause.done is not None:
                return {"failed": False, "error": None, **(outputs or {}), "done": pause.done}
            try:
                self._iteration(step, path, env, pause.count + 1)
            except Blocked:
                self._listen_while_held(step, path, here, pause)
                raise
            self._after_iteration(step, path, env.naming(iteration=pause.count + 1), pause)

    def _iteration(self, step: Step, path: str, env: Env, count: int) -> Any:
        if count == 0:
            return None
        outputs = self._once(
            step, f"{path}#{count}", replace(env.naming(iteration=count), marks=f"{env.marks}#{count}")
        )
        env.outputs[step.id] = outputs
        return outputs

    def _is_held(self, path: str) -> bool:
        """Whether an iteration has begun of which nothing has gone out, because something holds it."""
        leaves = [leaf for p, leaf in self.state.leaves.items() if p == path or within(p, path)]
        return bool(leaves) and all(leaf.status == "held" for leaf in leaves)

    def _begin_iteration(self, step: Step, path: str, env: Env, pause: Pause) -> None:
        """Go on to the next iteration, or to the end where `until` came true in the pause; blocks while it lasts.

        An iteration that is held is still in the pause before it.
        """
        assert step.repeat is not None
        if self._is_over(step, path, env, pause.count, looks=pause.count > 0):
            effects.abandon(self.turn, f"{path}#{pause.count + 1}")
            self.turn.commands.append(Unlisten(path))
        elif pause.due is not None and self.view.now < pause.due:
            raise Blocked
        elif not pause.running:
            self.turn.put(path, "begun", {"n": pause.count})
            self.turn.commands.append(Unlisten(path))

    def _listen_while_held(self, step: Step, path: str, env: Env, pause: Pause) -> None:
        """Hear of what ends a repeat also while its next iteration is held."""
        until = step.repeat.until if step.repeat is not None else None
        if until is None or not until.events or pause.listens or not self._is_held(f"{path}#{pause.count + 1}"):
            return
        self.turn.put(path, "begun", {"n": pause.count, "listens": True})
        waits.listen(self.turn, step, path, env, None, until)

    def _after_iteration(self, step: Step, path: str, env: Env, pause: Pause) -> None:
        repeat, count = step.repeat, pause.count + 1
        assert repeat is not None
        if pause.listens:
            self.turn.commands.append(Unlisten(path))
        if self._is_over(step, path, env, count, looks=True):
            return
        if count >= repeat.max:
            self.turn.put(path, "repeated", {"n": count, "done": False})
            return
        due = self.view.now
        if repeat.every is not None:
            due = self.turn.due("every", repeat.every, step.id, path, env)
        self.turn.put(path, "iterated", {"n": count, "due": due})
        if due > self.view.now:
            waits.listen(self.turn, step, path, env, due, repeat.until)

    def _is_over(self, step: Step, path: str, env: Env, count: int, *, looks: bool) -> bool:
        """Whether `until` ends a repeat: by an event, or by its condition where one looks at it."""
        assert step.repeat is not None
        until = step.repeat.until
        found = waits.find_event(self.turn, step, until, path, env)
        if found is not None:
            taken = {"event_id": found[0], "branch": env.branch}
            self.turn.put(path, "repeated", {"n": count, "done": True, **taken})
        elif looks and waits.holds(self.turn, step, until, path, env):
            self.turn.put(path, "repeated", {"n": count, "done": True})
        else:
            return False
        return True

    # --- deadlines ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _within(self, path: str, step: str, length: Length | None, env: Env) -> Iterator[Env]:
        """Hold what is inside to a `timeout`, waits included: what has not ended when it comes fails."""
        if length is None:
            yield env
            return
        if path not in self.state.deadlines:
            deadline = self.turn.due("timeout", length, step, path, env)
            self.turn.put(path, "deadline", {"at": deadline})
            self.turn.commands.append(Listen(path + "!deadline", "deadline", deadline))
        known = self.state.deadlines[path]
        nearest = min((at for at in (known, env.deadline) if at is not None), default=None)
        try:
            yield replace(env, deadline=nearest)
        except Blocked:
            if known is None or self.view.now < known:
                raise
            self._time_out(path, step)
        if known is not None:
            self.turn.put(path, "deadline", {"at": None})
            self.turn.commands.append(Unlisten(path + "!deadline"))

    def _time_out(self, path: str, step: str) -> None:
        what = f"'{step}'" if step else "the workflow"
        error = {"message": f"{what} did not end within its 'timeout'", "step": step, "code": "timeout"}
        effects.abandon(self.turn, path)
        self.turn.commands.append(Unlisten(path))
        self.turn.put(path, "failed", {"error": error})
        raise Failed(path, error) from None


def _shape(step: Step) -> dict[str, Any]:
    """Give the outputs beside `failed` and `error` that a step has whatever becomes of it."""
    return {"done": False} if step.repeat is not None and step.for_each is None else {}


def _item_result(step: Step, result: dict[str, Any], outputs: Any, visible: Mapping[str, Any]) -> dict[str, Any]:
    """Give an item's entry in `results`: the outputs of an action, or those of a group's steps by their ids."""
    if step.kind == "steps":
        inner = walk((*step.steps, *step.otherwise))
        return {**{one.id: visible.get(one.id) for one in inner if one.named}, **result}
    return {**(outputs or {}), **result, "outputs": outputs}


def _check_unique(keys: Sequence[str]) -> None:
    twice = next((key for index, key in enumerate(keys) if key in keys[:index]), None)
    if twice is not None:
        raise StepError(f"two items of 'for_each' have the key '{twice}'", "for-each-duplicate")
