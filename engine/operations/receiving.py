"""A delivery comes in: what it asks for is done, what it says is committed, and its sender is answered in time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.application import Application
from engine.domain import Person
from engine.intake import Accepted
from engine.operations import Done, OperationError, perform
from engine.plugins import Declined, Late, Received
from engine.store.journal import StorageUnavailable


class Unanswered(Exception):
    """It takes longer than its sender waits. It goes on; sent again, it changes nothing."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What was received in the end, and what became of its facts."""

    received: Received
    accepted: Accepted


@dataclass(frozen=True, slots=True)
class Desk:
    """Operations for people who ask for them through a source (`plugins.Desk`)."""

    application: Application

    async def perform(self, operation: str, actor: Person, **inputs: Any) -> Done:
        """Do what is named for somebody."""
        given = {name: value for name, value in inputs.items() if value is not None}
        try:
            return await perform(self.application, operation, given, actor)
        except OperationError as error:
            raise Declined(str(error)) from None
        except StorageUnavailable:
            raise Declined("the database cannot be written now; nothing was changed") from None


async def take(application: Application, connection: str, received: Received) -> Taken:
    """Do what a delivery asks for and commit what it says.

    Raises:
        Unanswered: it takes longer than the source's `patience`, and goes on.
        StorageUnavailable: nothing was committed.
    """
    patience: float | None = getattr(application.sources.get(connection), "patience", None)
    if patience is None:
        return await _take(application, connection, received)
    task = asyncio.create_task(_take(application, connection, received), name=f"take {connection}")
    application.keep(task)
    await asyncio.wait({task}, timeout=patience)
    if task.done():
        return task.result()
    follow = _follow(application, connection, task, received.late)
    application.keep(asyncio.create_task(follow, name=f"follow {connection}"))
    if received.late is None:
        raise Unanswered(f"connection '{connection}' needs longer than {patience:g} s")
    return Taken(Received(response=received.late.response), Accepted())


async def answer(application: Application, connection: str, received: Received) -> Mapping[str, Any]:
    """Take in what a source fetched itself; give the body to answer with."""
    return (await take(application, connection, received)).received.response or {}


async def _take(application: Application, connection: str, received: Received) -> Taken:
    if received.work is not None:
        received = await received.work(Desk(application))
    if not received.facts and received.ignored is None:
        return Taken(received, Accepted())
    return Taken(received, await application.accept(connection, received.facts, received.ignored))


async def _follow(application: Application, connection: str, task: asyncio.Task[Taken], late: Late | None) -> None:
    """Let the sender of what took long hear what came of it."""
    try:
        taken = await task
        if late is not None:
            await late.tell(taken.received)
    except Exception as error:  # noqa: BLE001  whoever sent it has been answered: the log is all that is left
        text = f"{connection}: what was asked for took long and then failed: {type(error).__name__}: {error}"
        application.tell("request.failed", text, error=type(error).__name__, connection=connection)
