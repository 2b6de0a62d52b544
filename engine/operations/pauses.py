"""Hold every effect at once, of a workflow or of all, and let them go again (PROMISES 1.8)."""

from __future__ import annotations

from pydantic import Field

from engine.application import Application
from engine.domain import Person
from engine.operations.base import Done, Inputs, NotFound, Refused
from engine.problems import did_you_mean
from engine.runs.pauses import ALL
from engine.runs.rows import wake
from engine.store.codec import micros
from engine.store.journal import Direct
from engine.workflow.library import workflow_files


class PauseWorkflow(Inputs):
    """A workflow, or all of them."""

    workflow: str | None = Field(
        default=None, min_length=1, max_length=300, description="The workflow's name; without one, all of them."
    )


async def pause(application: Application, actor: Person, params: PauseWorkflow) -> Done:
    """Hold every effect, of one workflow or of all, until `resume`; calls that are under way end.

    Events go on to start runs and to wake them; schedules and other polls of what is paused rest.
    """
    hub, name = application.hub, _name(application, params)
    async with application.operating:
        known = hub.pauses.current.get(name)
        if known is not None:
            return Done(f"{known.why} already", _about(params))
        now = application.clock.now()

        def write(cursor: Direct) -> None:
            cursor.execute(
                "INSERT INTO pauses (workflow, since, by) VALUES (?, ?, ?) ON CONFLICT (workflow)"
                " DO UPDATE SET since = excluded.since, by = excluded.by, until = NULL",
                (name, micros(now), actor.name),
            )

        await hub.journal.transact(write)
        hub.pauses.read(hub.reader)
    what = f"'{name}' is" if name else "all workflows are"
    again = f"hotwash resume {name}".strip()
    application.tell("workflow.paused", f"{what} paused by {actor.name}", workflow=params.workflow)
    return Done(f"{what} paused: effects are held until '{again}'", _about(params))


async def resume(application: Application, actor: Person, params: PauseWorkflow) -> Done:
    """End a pause: what was held goes out as it is then decided; what a schedule passed over is not made up for."""
    hub, name = application.hub, _name(application, params)
    async with application.operating:
        now = application.clock.now()
        ended = hub.pauses.end(name, now)  # before it is written: what is decided meanwhile would wait for it in vain
        if ended is None:
            raise Refused(_not_paused(application, params.workflow))
        try:
            woken = await hub.journal.transact(lambda cursor: _end(cursor, name, micros(now)))
        finally:
            hub.pauses.read(hub.reader)
    what = f"'{name}' goes on" if name else "all workflows go on"
    application.tell("workflow.resumed", f"{what}: resumed by {actor.name}", workflow=params.workflow)
    if application.started:
        application.dispatcher.notify(woken)
        await application.polls.loaded(application.library.current)
    left = sorted(filter(None, hub.pauses.current))
    but = f"; still paused: {', '.join(left)}" if left and not name else ""
    return Done(what + but, {**_about(params), "runs": len(woken)})


def _end(cursor: Direct, name: str, at: int) -> list[int]:
    """Write that a pause has ended, and wake the runs that were held by one; give them."""
    cursor.execute("UPDATE pauses SET until = ? WHERE workflow = ?", (at, name))
    rows = cursor.execute(
        "SELECT DISTINCT w.run FROM waits w JOIN runs r ON r.id = w.run"
        " WHERE w.kind = 'pause' AND ? IN ('', r.workflow) ORDER BY w.run",
        (name,),
    ).fetchall()
    runs = [int(row["run"]) for row in rows]
    wake(cursor, runs)
    return runs


def _name(application: Application, params: PauseWorkflow) -> str:
    """Give the name under which a pause is kept.

    Raises:
        NotFound: there is no such workflow, and none of its runs.
    """
    name = params.workflow
    if name is None:
        return ALL
    known = {path.stem for path in workflow_files(application.config.workflows)} | set(application.library.current)
    known |= set(application.hub.pauses.current)
    if name not in known:
        rows = application.reader.execute("SELECT DISTINCT workflow FROM runs WHERE ended IS NULL").fetchall()
        known |= {row["workflow"] for row in rows}
    if name not in known:
        raise NotFound(f"no workflow is called '{name}'; {did_you_mean(name, sorted(known), 'workflows')}")
    return name


def _not_paused(application: Application, workflow: str | None) -> str:
    current = application.hub.pauses.current
    named = sorted(filter(None, current))
    if workflow is None:
        return f"not everything is paused; paused by name: {', '.join(named)}" if named else "nothing is paused"
    if ALL in current:
        return f"'{workflow}' is not paused by its name: {current[ALL].why}, and 'hotwash resume' lets all go on"
    return f"'{workflow}' is not paused" + (f"; paused are {', '.join(named)}" if named else "")


def _about(params: PauseWorkflow) -> dict[str, str | None]:
    return {"workflow": params.workflow}
