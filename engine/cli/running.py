"""`hotwash run`: the server, the schedules, the polls and the runs, in one process."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import secrets
import signal
import stat
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli import exits, logs
from engine.cli.client import SERVER_FILE
from engine.cli.project import Project, ProjectOption, open_project

if TYPE_CHECKING:
    from engine.application import Application
    from engine.config import Config

app = typer.Typer(add_completion=False, rich_markup_mode=None)

#: Files that change together are read again together, this many milliseconds after the last.
DEBOUNCE = 300
#: Files are looked at this often, in milliseconds, even where nothing says that they changed.
LOOK = 2000
#: Threads stay on a processor for so many seconds, and may move for so many between.
TOGETHER, CHOOSING = 1.0, 0.02


@app.command()
def run(
    port: Annotated[
        int | None,
        typer.Option("--port", "-p", min=0, max=65535, help="Where to listen; by default as configured, 0 is any."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send and write nothing: runs that begin are dry ones, live ones rest.")
    ] = False,
    log_format: Annotated[logs.Form, typer.Option("--log-format", help="How the log on stderr is written.")] = "text",
    project: ProjectOption = None,
) -> int:
    """Run the project until it is told to stop (Ctrl-C, SIGTERM): effects under way end, nothing new begins."""
    opened = open_project(project)
    return asyncio.run(_run(opened, opened.usable(), port, log_format, dry_run))


async def _run(project: Project, config: Config, port: int | None, form: logs.Form, dry_run: bool) -> int:
    from engine.clock import SystemClock

    log = logs.Log(form, SystemClock())
    handler = logs.Handler(log)
    logging.getLogger().addHandler(handler)
    try:
        application = _build(project, config, log, dry_run)
        stopping = _told_to_stop()
        try:
            files = _Files(config)
            await application.start()
            collect_less()
            await _serve(application, port, files, log, stopping)
        finally:
            log("engine.stopping", "stopping: what is under way ends")
            await application.stop()
    finally:
        logging.getLogger().removeHandler(handler)
        log.flush()
    log("engine.stopped", "stopped")
    log.flush()
    return exits.OK


def _build(project: Project, config: Config, log: logs.Log, dry_run: bool) -> Application:
    from engine import wiring
    from engine.store.journal import AlreadyRunning
    from engine.store.schema import NewerSchema

    log.problems(project.problems)
    try:
        return wiring.build(config, project.catalogue, tell=log, dry_run=dry_run)
    except AlreadyRunning as error:
        raise exits.CommandError(f"the engine runs already: {error}", code=exits.PROBLEMS) from None
    except NewerSchema as error:
        raise exits.CommandError(str(error), code=exits.PROBLEMS) from None


async def _serve(
    application: Application, port: int | None, files: _Files, log: logs.Log, stopping: asyncio.Event
) -> None:
    from engine.server import serving

    log.problems(application.library.problems)
    server = application.config.server
    token = _token(application.config.folder)
    wanted = server.port if port is None else port
    async with AsyncExitStack() as stack:
        try:
            address = await stack.enter_async_context(serving(application, token, server.host, wanted))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            hint = "name another with --port, or under 'server:' in hotwash.yaml"
            message = f"cannot listen on {server.host}:{wanted}: {reason}"
            raise exits.CommandError(message, hint=hint, code=exits.PROBLEMS) from None
        await stack.enter_async_context(_announced(application, address, token))
        dry = "; a dry run: nothing goes out, live runs rest" if application.hub.dry_run else ""
        application.tell("engine.started", f"listening on {address}, {_loaded(application)}{dry}", address=address)
        watching = asyncio.create_task(_watch(application, files, log, stopping), name="watch files")
        placing = asyncio.create_task(stay_together(stopping), name="one processor")
        renewing = asyncio.create_task(_renew(application, stopping), name="watch credentials")
        await stopping.wait()
        await asyncio.gather(watching, placing, renewing)


def _loaded(application: Application) -> str:
    number = len(application.library.current)
    return f"{number} workflow{'s' * (number != 1)} loaded"


def _told_to_stop() -> asyncio.Event:
    """Give what is set when the process is told to stop; told a second time, it stops at once."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        if stopping.is_set():
            os._exit(128 + number)  # what was under way is in the journal as intents
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    return stopping


def collect_less() -> None:
    """Keep what has been loaded out of the garbage collector's sight: it took the slowest answers' time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)


async def stay_together(stopping: asyncio.Event) -> None:
    """Keep our threads on one processor, until the engine is told to stop.

    The loop and the journal's writer share Python's lock: apart they never work at once, and handing the lock from one
    processor to another took a fifth to a third of the time. Every now and then the system may choose another one.
    """
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        return
    allowed = os.sched_getaffinity(0)
    try:
        while not stopping.is_set():
            _place({_processor()} & allowed or allowed)
            await _told_within(stopping, TOGETHER)
            _place(allowed)
            await _told_within(stopping, CHOOSING)
    except OSError:  # the system does not let us: it goes on as it was
        return
    finally:
        with suppress(OSError):
            _place(allowed)


def _processor() -> int:
    """Give the processor that this process's first thread ran on last (proc(5), field 39)."""
    return int(Path("/proc/self/stat").read_text("ascii", "replace").rpartition(")")[2].split()[36])


def _place(processors: set[int]) -> None:
    for thread in os.listdir("/proc/self/task"):
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread), processors)


async def _told_within(stopping: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)


# --- what other commands need to know --------------------------------------------------------------------------------


def _token(folder: Path) -> str:
    """Give the API's token, which only its owner can read; one is made where there is none."""
    path = folder / ".hotwash" / "token"
    with suppress(OSError):
        token = path.read_text("utf-8").strip()
        if token:
            return token
    token = secrets.token_hex(32)
    _write_private(path, token + "\n")
    return token


@asynccontextmanager
async def _announced(application: Application, address: str, token: str) -> AsyncIterator[None]:
    """Say in a file that only its owner can read how to reach the engine, as long as it can be reached."""
    path = application.config.folder / SERVER_FILE
    database = str(application.journal.path.absolute())
    told = {"address": address, "token": token, "pid": os.getpid(), "database": database}
    told |= {"dry_run": True} if application.hub.dry_run else {}
    _write_private(path, json.dumps(told) + "\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


# --- files that change -----------------------------------------------------------------------------------------------


class _Files:
    """The files of workflows and templates, as they were when they were last looked at."""

    def __init__(self, config: Config) -> None:
        self.folders = (config.workflows, config.templates)
        self._seen = self._look()

    def changed(self) -> bool:
        """Whether a file is new, gone or written since the last look."""
        before, self._seen = self._seen, self._look()
        return self._seen != before

    def _look(self) -> dict[Path, tuple[int, int]]:
        found = {}
        for path in (path for folder in self.folders for path in folder.rglob("*")):
            with suppress(OSError):
                about = path.stat()
                if stat.S_ISREG(about.st_mode):
                    found[path] = (about.st_mtime_ns, about.st_size)
        return found


async def _watch(application: Application, files: _Files, log: logs.Log, stopping: asyncio.Event) -> None:
    """Read the workflows again when a file of theirs changes, until the engine is told to stop."""
    from watchfiles import awatch

    folders = [folder for folder in files.folders if folder.is_dir()]
    if not folders:
        application.tell("files.unwatched", "there is no folder of workflows: changes are seen at the next start")
        return
    watch = awatch(*folders, debounce=DEBOUNCE, stop_event=stopping, rust_timeout=LOOK, yield_on_timeout=True)
    async for _ in watch:
        if files.changed():
            await _reload(application, log)


async def _renew(application: Application, stopping: asyncio.Event) -> None:
    """Take up credentials whose file has changed, until the engine is told to stop."""
    from engine.config.environment import ENVIRONMENT_FILE

    config = application.config
    paths = (config.folder / ENVIRONMENT_FILE, *config.credentials)
    seen = _stamps(paths)
    while not stopping.is_set():
        await _told_within(stopping, LOOK / 1000)
        before, seen = seen, _stamps(paths)
        if seen == before:
            continue
        try:
            await application.renew()
        except Exception as error:  # noqa: BLE001  a file that is half written must not end the engine
            application.tell("credentials.unread", f"the credentials cannot be read: {type(error).__name__}: {error}")


def _stamps(paths: Iterable[Path]) -> list[tuple[int, int, int] | None]:
    return [_stamp(path) for path in paths]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size, about.st_ino


async def _reload(application: Application, log: logs.Log) -> None:
    """Read the workflows again, and print their problems where these are not the ones that were there before."""
    before = application.library.problems
    try:
        found = await application.reload()
    except Exception as error:  # noqa: BLE001  half-written files must not end the engine; the next change is read again
        application.tell("workflows.unread", f"the workflows cannot be read: {type(error).__name__}: {error}")
        return
    if list(found) == list(before):
        return
    log.problems(found)
    wrong = any(problem.severity == "error" for problem in found)
    kept = "; one with errors keeps its earlier good version" if wrong else ""
    application.tell("workflows.read", f"workflows read again, {_loaded(application)}{kept}", problems=len(found))
