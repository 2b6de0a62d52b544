"""The engine's parts as one dataclass: wiring fills it; command line, server and simulated world hold it."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from engine.clock import Clock
from engine.config import Config
from engine.intake import Accepted, Intake
from engine.log import Tellers
from engine.plugins import Catalogue, Fact, Received
from engine.polls import Polls
from engine.problems import Problem
from engine.runs.connections import Connections
from engine.runs.dispatch.embedded import EmbeddedDispatcher
from engine.runs.executor import Executor
from engine.runs.hub import Hub
from engine.store.journal import Journal, Lock
from engine.store.retention import Forgetting
from engine.workflow.expressions import Text
from engine.workflow.library import WorkflowLibrary
from engine.workflow.model import Workflow, walk

#: Calls that wait in threads at once: enough that those of a service that hangs leave room for those of others.
MOST_THREADS = 256
_ORIGIN = re.compile(r"https?://[^/?#\s]+")
#: So often it is looked whether all has happened before the process rests between looks: most things end sooner.
_GLANCES = 50


@dataclass(slots=True)
class Application:
    """Everything that runs in one process."""

    config: Config
    catalogue: Catalogue
    clock: Clock
    journal: Journal
    reader: sqlite3.Connection
    lock: Lock
    library: WorkflowLibrary
    hub: Hub
    executor: Executor
    dispatcher: EmbeddedDispatcher
    intake: Intake
    polls: Polls
    forgetting: Forgetting
    providers: Mapping[str, Any]  #: by connection
    sources: Mapping[str, Any]  #: inbound adapters by connection
    tell: Tellers
    disabled: dict[str, str] = field(default_factory=dict)  #: connections that are not used, and why
    #: take in what a source fetched itself; give the body to answer with
    take: Callable[[Application, str, Received], Awaitable[Mapping[str, Any]]] | None = None
    #: read the credentials again; give the connections that have others than before
    renewing: Callable[[Application], Awaitable[Sequence[str]]] | None = None
    started: bool = False
    #: held by an operation from reading a subject to writing it, so that two people do not undo one another
    operating: asyncio.Lock = field(default_factory=asyncio.Lock)
    _kept: set[asyncio.Task[Any]] = field(default_factory=set)  #: what is being done for those who asked for it

    async def start(self) -> None:
        """Load the workflows and take up what was going on."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(MOST_THREADS, "calls"))
        for provider in self.providers.values():
            if hasattr(provider, "astart"):
                await provider.astart()
        await self.reload()
        self.started = True
        await self.intake.start()
        await self.dispatcher.start()
        await self.polls.start()
        self.hub.connections.start()
        self.forgetting.start()
        await self.start_sources()

    async def start_sources(self) -> None:
        """Have the sources begin that fetch themselves what comes in."""
        for name, source in self.sources.items():
            if self.take is not None and hasattr(source, "astart"):
                await source.astart(partial(self.take, self, name))

    def rest(self) -> None:
        """Let what is woken wait for the next start: nothing is begun but what somebody asks for."""
        self.dispatcher.resting = True
        self.executor.max_begun = 0

    async def renew(self) -> Sequence[str]:
        """Read the credentials again, as files have them now; give the connections that have others than before."""
        async with self.operating:
            return await self.renewing(self) if self.renewing is not None else ()

    async def take_over(self, name: str, old: Sequence[Any]) -> None:
        """Let a connection go on with its new provider and source; the old ones close when their calls have ended."""
        provider: Any = self.providers.get(name)
        source: Any = self.sources.get(name)
        self.disabled.pop(name, None)
        if self.started and hasattr(provider, "astart"):
            await provider.astart()
        if name in self.polls.watching:
            self.polls.take_over(name, provider if hasattr(provider, "changes") else source)
        self.tell("connection.renewed", f"{name} has new credentials", connection=name)
        self.hub.connections.look_soon(name)
        self.keep(asyncio.create_task(self._close(name, old), name=f"close {name}"))
        if self.started and self.take is not None and hasattr(source, "astart"):
            await source.astart(partial(self.take, self, name))

    async def _close(self, name: str, old: Sequence[Any]) -> None:
        await self.executor.let_end(name)
        for part in old:
            if hasattr(part, "aclose"):
                await part.aclose()

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold on to what somebody asked for until it is done; stopping waits for it."""
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    async def reload(self) -> Sequence[Problem]:
        """Read the workflow files again; give what is wrong with them. Good earlier versions stay."""
        for workflow in await self.load():
            self.tell("workflow.loaded", f"workflow {workflow.id} loaded", workflow=workflow.id)
        self._allow_literal_hosts()
        await self.polls.loaded(self.library.current)
        return self.library.problems

    async def load(self) -> Sequence[Workflow]:
        """Read the workflow files, keep their versions, and listen; give those that are new or changed."""
        changed = self.library.load()
        given_up = self.hub.renamed.given_up(self.library.current)
        for name, now in given_up.items():
            self.library.leave_out(name, now)
        await self.intake.loaded(self.library.current)
        return [workflow for workflow in changed if workflow.id not in given_up]

    def _allow_literal_hosts(self) -> None:
        """Let HTTP providers reach the hosts that workflow files write out (PROMISES 2)."""
        hosts = {host for workflow in self.library.current.values() for host in literal_hosts(workflow)}
        for provider in self.providers.values():
            if hasattr(provider, "literal"):
                provider.literal |= hosts

    async def stop(self, patience: float = 20.0) -> None:
        """Begin nothing new; let effects in flight end, or leave them as written-down intents; release the file."""
        try:
            for source in self.sources.values():
                if hasattr(source, "aclose"):
                    await source.aclose()
            await self._let_end(patience)
            if self.started:
                await self.forgetting.stop()
                await self.hub.connections.stop()
                await self.polls.stop()
                await self.intake.stop()
                await self.dispatcher.stop(patience)
            for provider in self.providers.values():
                if hasattr(provider, "aclose"):
                    await provider.aclose()
        finally:
            self.journal.close()
            self.lock.release()

    async def _let_end(self, patience: float) -> None:
        """Let what people asked for end, as long as there is time."""
        kept = list(self._kept)
        if kept:
            await asyncio.wait(kept, timeout=patience)
            for task in kept:
                task.cancel()
            await asyncio.gather(*kept, return_exceptions=True)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Application]:
        """Start, and stop at the end whatever happened."""
        try:
            await self.start()
            yield self
        finally:
            await self.stop()

    async def accept(self, connection: str, facts: Sequence[Fact], ignored: str | None = None) -> Accepted:
        """Take in what a source says."""
        return await self.intake.accept(connection, facts, ignored=ignored)

    @property
    def _parts(self) -> tuple[Intake, EmbeddedDispatcher, Polls, Connections, Forgetting]:
        return self.intake, self.dispatcher, self.polls, self.hub.connections, self.forgetting

    @property
    def idle(self) -> bool:
        """Whether nothing can happen before the clock moves or something comes in."""
        if self._kept or not all(part.idle for part in self._parts):
            return False
        due = self.next_due()
        return due is None or due > self.clock.now()

    def next_due(self) -> datetime | None:
        """Give the next instant at which something falls due."""
        dues = (part.next_due() for part in self._parts)
        return min((due for due in dues if due is not None), default=None)

    async def settled(self, tick: Callable[[], Any] = lambda: None) -> None:
        """Return when everything that can happen now has happened."""
        calm = busy = 0
        while calm < 3:
            calm, busy = (calm + 1, 0) if self.idle else (0, busy + 1)
            tick()
            await asyncio.sleep(0 if busy < _GLANCES else 0.0005)


def literal_hosts(workflow: Workflow) -> Iterator[str]:
    """Give the `scheme://host[:port]` of each `url` whose text is literal up to the host."""
    for step in walk((*workflow.steps, *workflow.on_failure)):
        url = step.inputs.get("url")
        if step.action is None or step.action.capability != "http":
            continue
        first = url if isinstance(url, str) else url.parts[0] if isinstance(url, Text) and url.parts else None
        if not isinstance(first, str):
            continue
        found = _ORIGIN.match(first)
        whole = not isinstance(url, Text) or url.constant
        if found is not None and (whole or found.end() < len(first)):
            yield found[0]
