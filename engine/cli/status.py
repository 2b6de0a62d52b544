"""`hotwash status`: how things stand, and what needs somebody."""

from __future__ import annotations

import json as json_format
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from engine.cli import output
from engine.cli.project import ProjectOption
from engine.cli.reading import JsonOption, PrivateOption, Reading, library_of, reading

if TYPE_CHECKING:
    from engine.cli.histories import Times

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def status(private: PrivateOption = False, project: ProjectOption = None, json: JsonOption = False) -> None:
    """Say what waits and until when, what is late, what needs a decision, and what does not work."""
    from engine import reports
    from engine.clock import SystemClock
    from engine.problems import sort

    with reading(project) as opened:
        config = opened.config
        found = reports.status(
            opened.reader,
            SystemClock().now(),
            connections={name: one.disabled for name, one in config.connections.items()},
            problems=sort([*opened.project.problems, *library_of(opened).problems]),
            engine=engine_of(opened),
            private=private,
        )
    if json:
        output.as_json(found)
    else:
        status_text(found, opened.times)


def engine_of(opened: Reading) -> dict[str, Any]:
    """Say whether an engine works on the project's database: its process, and where it listens. Never its token."""
    pid = holder(opened.database)
    told = _told(opened.config.folder) if pid else {}
    return {
        "running": pid is not None,
        "pid": pid or None,
        "address": str(told["address"]) if told.get("address") else None,
        "dry_run": told.get("dry_run") is True,
    }


def holder(database: Path) -> int | None:
    """Give the process that holds the lock of a database, 0 where it has not said who it is, None where nobody does."""
    import fcntl

    path = database.with_name(database.name + ".lock")
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # nobody has it; closing gives it back at once
    except OSError:
        text = os.read(file, 32).decode("ascii", "replace").strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(file)
    return None


def _told(folder: Path) -> dict[str, Any]:
    """Give what a running engine says of itself."""
    try:
        told = json_format.loads((folder / ".hotwash" / "server.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


# --- for people ------------------------------------------------------------------------------------------------------


def status_text(found: Mapping[str, Any], times: Times) -> None:
    """Print how things stand: first what needs somebody, then what comes next."""
    _print_engine(found, times)
    _section("paused: effects are held until 'hotwash resume'", [_paused(one, times) for one in found["paused"]])
    _section("needs a decision: it is not known whether these happened", _parked(found, times))
    _section(_counted("late", found["late"], found["late_count"]), _due(found["late"], found, times))
    _section("connections that do not work", _connections(found, times))
    _section(_counted("failed in the last 7 days", found["failed"], found["failed_count"]), _failed(found, times))
    waiting = [_queued(one, times) for one in found["queued"]]
    _section(_counted("wait for their turn", waiting, found["queued_count"]), waiting)
    _section(_counted("held", found["held"], found["held_count"]), [_held(one, times) for one in found["held"]])
    _section("questions that nobody has answered yet", _questions(found, times))
    _section("messages that wait to be told together", [_digest(one, found, times) for one in found["digests"]])
    _section("next", _due(found["next"], found, times))
    _section("schedules", [f"{times.away(one['due'], found['at'])}  {one['trigger']}" for one in found["schedules"]])
    _section("last event of each source", _sources(found, times))
    _section("problems in the project's files ('hotwash check' shows them)", _problems(found))


def _section(title: str, lines: list[str]) -> None:
    if lines:
        output.say(f"\n{title}")
        for line in lines:
            output.say(f"  {line}")


def _counted(title: str, shown: list[Any], count: int) -> str:
    return f"{title} ({len(shown)} of {count})" if count > len(shown) else title


def _print_engine(found: Mapping[str, Any], times: Times) -> None:
    engine = found["engine"]
    if engine.get("running"):
        process = f", process {engine['pid']}" if engine["pid"] else ""
        address = f", {engine['address']}" if engine["address"] else ""
        output.say(f"engine  running{process}{address}")
        if engine.get("dry_run"):
            output.say("        it is a dry run: nothing goes out, and live runs rest")
    else:
        output.say("engine  not running: nothing goes out and nothing is looked at until 'hotwash run'")
    output.say(f"now     {times.day(found['at'])}")
    counts = [f"{number} {state.replace('_', ' ')}" for state, number in found["runs"].items() if number]
    output.say(f"runs    {', '.join(counts) or 'none yet'}")
    dry = [f"{number} {state.replace('_', ' ')}" for state, number in found["dry_runs"].items() if number]
    if dry:
        output.say(f"        {', '.join(dry)}, as dry runs")
    if found["unmatched"]:
        output.say(f"events  {found['unmatched']} came in and were not looked at yet")


def _parked(found: Mapping[str, Any], times: Times) -> list[str]:
    from engine.cli.histories import inputs

    lines = []
    for one in found["needs_decision"]:
        by = f" by {one['connection']}" if one["connection"] else ""
        asked = "private" if one["private"] and not one["inputs"] else inputs(one["inputs"])
        tried = f"tried {times.day(one['tried'])} ({asked})"
        over = f"; the run is {one['over']}" if one["over"] else ""
        waiting = f"; {one['waiting']} other run{'s wait' if one['waiting'] > 1 else ' waits'} for it"
        also = over + (waiting if one["waiting"] else "")
        lines.append(f"{one['workflow']} {one['run']}  {one['path']}: {one['action']}{by}, {tried}{also}")
        lines.append(f"    hotwash runs decide {one['run']} repeat|skip|done --step {shlex.quote(one['path'])}")
    return lines


def _due(dues: list[Mapping[str, Any]], found: Mapping[str, Any], times: Times) -> list[str]:
    return [f"{times.away(one['due'], found['at'])}  {_waiting(one)}" for one in dues]


def _waiting(one: Mapping[str, Any]) -> str:
    subject = _about(one)
    if one["kind"] == "digest":
        return "a digest"
    if one["kind"] == "settle":
        return f"{one['workflow']} settles{subject}, since {one['event']}"
    path = (one["path"] or "").removesuffix("!deadline")
    step = f" at '{path}'" if path else ""
    what = f", its time-out{step}" if one["kind"] == "deadline" else f"{step}"
    return f"{one['workflow']} {one['run']}{_dry(one)}{what}{subject}"


def _about(one: Mapping[str, Any]) -> str:
    if one["subject"] is None:
        return " (private)" if one["private"] else ""
    return f" ({one['subject']})"


def _dry(one: Mapping[str, Any]) -> str:
    return " (dry run)" if one["dry_run"] else ""


def _connections(found: Mapping[str, Any], times: Times) -> list[str]:
    lines = []
    for one in found["connections"]:
        if one["state"] == "disabled":
            lines.append(f"{one['connection']}: disabled: {one['why']}")
            continue
        effects = f"{one['effects']} effect{'s' * (one['effects'] != 1)}"
        next_look = times.away(one["until"], found["at"])
        lines.append(f"{one['connection']}: held since {times.day(one['since'])} with {effects}: {one['why']}")
        lines.append(f"    looked at again {next_look}; at once: hotwash doctor {one['connection']}")
    return lines


def _failed(found: Mapping[str, Any], times: Times) -> list[str]:
    lines = []
    for one in found["failed"]:
        error = one["error"] or {}
        subject = _about(one)
        where = f" at '{error['step']}'" if error.get("step") else ""
        run = f"{one['workflow']} {one['run']}{_dry(one)}"
        lines.append(f"{times.day(one['ended'])}  {run}{subject}{where}: {error.get('message')}")
    return lines


def _held(one: Mapping[str, Any], times: Times) -> str:
    step = f" at '{one['path']}'" if one["path"] else ""
    why = f": {one['reason']}" if one["reason"] else ""
    until = f"; until {times.day(one['until'])}" if one["until"] else ""
    return f"{one['workflow']} {one['run']}{_dry(one)}{step}, since {times.day(one['since'])}{why}{until}"


def _queued(one: Mapping[str, Any], times: Times) -> str:
    subject = _about(one)
    behind = f" behind {', '.join(one['behind'])}" if one["behind"] else ""
    return f"{one['workflow']} {one['run']}{_dry(one)}{subject}{behind}, since {times.day(one['since'])}"


def _digest(one: Mapping[str, Any], found: Mapping[str, Any], times: Times) -> str:
    whom = one["person"] or one["channel"] or "the connection's own channel"
    count = f"{one['messages']} message{'s' * (one['messages'] != 1)}"
    until = f", until {times.away(one['due'], found['at'])}" if one["due"] else ""
    run = f", held by {one['run']}" if one["run"] else ""
    return f"{whom}: {count} by {one['connection']}{until}{run}"


def _paused(one: Mapping[str, Any], times: Times) -> str:
    return f"{one['workflow'] or 'all workflows'}, since {times.day(one['since'])}, by {one['by']}"


def _questions(found: Mapping[str, Any], times: Times) -> list[str]:
    from engine.cli.histories import brief

    def _text(one: Mapping[str, Any]) -> str:
        return brief(one["text"], 100) if one["text"] is not None else "(private)"

    lines = []
    for one in found["questions"]:
        due = f", until {times.away(one['due'], found['at'])}" if one["due"] else ""
        lines.append(f"{brief(one['to'])}, asked {times.day(one['asked'])}{due}: {_text(one)}")
        choices = "|".join(one["choices"] or ()) or "ANSWER"
        lines.append(f"    hotwash answer {shlex.quote(one['name'] or one['identity'])} {choices}")
    return lines


def _sources(found: Mapping[str, Any], times: Times) -> list[str]:
    return [
        f"{one['source']}: {one['type']} {times.away(one['received'], found['at'])}"
        + (f", ignored: {one['reason']}" if one["state"] == "ignored" else "")
        for one in found["sources"]
    ]


def _problems(found: Mapping[str, Any]) -> list[str]:
    return [
        f"{one['file']}:{one['line']}: {one['message']}" if one.get("file") else str(one["message"])
        for one in found["problems"]
    ]
