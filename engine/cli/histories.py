"""What reports say, as text for people: local times with their zone, one line for each thing that happened."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from engine.cli import output
from engine.reports.values import label, plain

Report = Mapping[str, Any]

#: Characters of one value in a line.
_BRIEF = 60


@dataclass(frozen=True, slots=True)
class Times:
    """Instants as people of one zone read them."""

    zone: str

    def local(self, iso: str) -> datetime:
        return datetime.fromisoformat(iso).astimezone(ZoneInfo(self.zone))

    def exact(self, iso: str | None) -> str:
        """To the second: `2026-03-02 10:15:03 CET`."""
        return f"{self.local(iso):%Y-%m-%d %H:%M:%S %Z}" if iso else ""

    def day(self, iso: str | None) -> str:
        """With the day of the week: `Mon 2026-03-02 10:15 CET`."""
        return f"{self.local(iso):%a %Y-%m-%d %H:%M %Z}" if iso else ""

    def away(self, iso: str, now: str) -> str:
        """With how far it is from `now`: `Mon 2026-03-02 10:15 CET (in 2d 3h)`."""
        length = datetime.fromisoformat(iso) - datetime.fromisoformat(now)
        told = f"in {span(length)}" if length > timedelta(0) else f"{span(-length)} ago"
        return f"{self.day(iso)} ({told})"


def span(length: timedelta) -> str:
    """Give a length of time in its two largest units."""
    seconds = int(length.total_seconds())
    units = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
    first = next((place for place, (size, _) in enumerate(units) if seconds >= size), 3)
    parts: list[str] = []
    for size, name in units[first : first + 2]:
        count, seconds = divmod(seconds, size)
        if count or not parts:
            parts.append(f"{count}{name}")
    return " ".join(parts)


def about(subject: Report | None, private: bool = False) -> str:
    """Name a subject: its key or id, and its title; of one that is private and not named, only that."""
    if subject is None or subject["id"] is None:
        return "(private)" if private else ""
    title = subject.get("title")
    return f"{subject['id']}" + (f" “{brief(title)}”" if title else "")


def brief(value: Any, most: int = _BRIEF) -> str:
    """Give a value in a few words, on one line."""
    text = " ".join(label(value).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def inputs(values: Report) -> str:
    """Give an effect's inputs on one line."""
    return ", ".join(f"{name}: {_quoted(value)}" for name, value in values.items())


def _quoted(value: Any) -> str:
    text = brief(value)
    return f"“{text}”" if isinstance(value, str) and " " in text else text


def result(outputs: Report | None) -> str:
    """Give the part of an effect's outputs that says what there is now."""
    if not outputs:
        return ""
    if "answer" in outputs and "by" in outputs:
        return f"'{outputs['answer']}', says {brief(outputs['by'])}" if outputs["by"] else "nobody answered in time"
    parts = [brief(outputs[name], 120) for name in ("key", "url") if outputs.get(name)]
    if outputs.get("reason"):
        parts.append(f"({brief(outputs['reason'], 160)})")
    if isinstance(outputs.get("items"), list):
        parts.append(f"{len(outputs['items'])} items")
    if outputs.get("status") and not parts:
        parts.append(f"status {outputs['status']}")
    return " ".join(parts)


# --- a run -----------------------------------------------------------------------------------------------------------


def run_text(run: Report, times: Times) -> None:
    """Print a run: what it is, its history, its effects, what it waits for."""
    output.say(f"{run['workflow']}  {run['id']}  (#{run['number']}): {_state(run)}")
    for name, value in _facts(run, times):
        output.say(f"  {name:<9} {value}")
    output.say("\nwhat happened")
    for at, place, text in _history(run, times):
        output.say(f"  {at}  {place}{text}")
    if run["effects"]:
        output.say("\neffects")
        for line in _effects(run["effects"]):
            output.say(f"  {line}")
    if run["waits"]:
        output.say("\nwaits for")
        for line in _waits(run, times):
            output.say(f"  {line}")
    if run["caused"]:
        output.say("\nevents that it caused")
        for event in run["caused"]:
            subject = f" {event['subject']}" if event["subject"] else ""
            output.say(f"  {times.exact(event['at'])}  {event['type']}{subject}  {event['id']}")


def _state(run: Report) -> str:
    state_ = state(run)
    why = run["reason"] or (run["error"] or {}).get("message")
    step = (run["error"] or {}).get("step")
    place = f" at '{step}'" if step and run["state"] == "failed" else ""
    return f"{state_}{place}" + (f": {why}" if why else "")


def state(run: Report) -> str:
    """Name a run's state, and say of a dry run that it is one."""
    return str(run["state"]).replace("_", " ") + (" (dry run)" if run["dry_run"] else "")


def _facts(run: Report, times: Times) -> Iterator[tuple[str, str]]:
    if run["subject"]:
        yield "about", about(run["subject"])
    event = run["event"]
    if event:
        yield "because", f"{_because(event)} at {times.exact(event['time'])}  {event['id']}"
    if run["round"] > 1 and run["round_event"]:
        again = run["round_event"]
        yield "round", f"{run['round']}, taken up: {_because(again)} at {times.exact(again['time'])}  {again['id']}"
    yield from _linked(run)
    yield "started", times.exact(run["created"])
    if run["ended"]:
        yield "ended", times.exact(run["ended"])
    yield "key", run["key"]
    yield "version", run["version"][:12]
    if run["state"] == "needs_decision":
        yield "decide", f"hotwash runs decide {run['id']} repeat|skip|done"
    elif run["state"] == "failed":
        yield "retry", f"hotwash runs retry {run['id']}"


def _linked(run: Report) -> Iterator[tuple[str, str]]:
    """Name the run that called this one, and those it called."""
    caller = run["caller"]
    if caller:
        yield "called by", f"{caller['workflow']} {caller['run']}, at '{caller['path']}'"
    for one in run["calls"]:
        yield "calls", f"{one['workflow']} {one['run']}, at '{one['path']}': {one['state'].replace('_', ' ')}"


def _because(event: Report) -> str:
    """Say what began a run; where a person did, who."""
    if event["type"] == "manual" and event["actor"]:
        return f"started by hand by {brief(event['actor'])} ('if' was not looked at)"
    if event["type"] == "operation.asked" and event["actor"]:
        return f"asked for by {brief(event['actor'])}"
    return f"{event['type']} by {event['source']}"


def _history(run: Report, times: Times) -> Iterator[tuple[str, str, str]]:
    """Yield instant, step and sentence of each record that says something new."""
    effects = {effect["identity"]: effect for effect in run["effects"]}
    records = run["history"]
    shown = [
        (record, text)
        for place, record in enumerate(records)
        if (text := _sentence(record, records[place + 1 :], effects, times))
    ]
    widest = min(max((len(_place(record)) for record, _ in shown), default=0), 32)
    for record, text in shown:
        place = _place(record)
        yield times.exact(record["at"]), f"{place:<{widest}}  " if widest else "", text


def _place(record: Report) -> str:
    """Give a step's path, indented by the groups around it."""
    path = str(record["path"]).removeprefix("!")
    return "  " * path.count("/") + path


def _sentence(record: Report, later: Sequence[Report], effects: Mapping[str, Report], times: Times) -> str | None:
    """Say a record in words; None where a later one says more."""
    kind, data = record["kind"], record["data"]
    if kind == "intent" and data.get("attempt", 1) == 1 and any(_of_same(one, record) for one in later):
        return None
    if kind in ("intent", "done", "pending", "retry", "held", "failed", "parked"):
        return _leaf(record, effects, times)
    tell = _SENTENCES.get(kind)
    return tell(data, times) if tell else kind


def _of_same(one: Report, record: Report) -> bool:
    return bool(one["path"] == record["path"] and one["round"] == record["round"])


def _leaf(record: Report, effects: Mapping[str, Report], times: Times) -> str:
    """Say what an effect or a wait came to."""
    kind, data = record["kind"], record["data"]
    action = record.get("action")
    effect = effects.get(record.get("identity", ""), {})
    asked = inputs(effect["inputs"]) if effect else ""
    if kind == "intent":
        attempt = data.get("attempt", 1)
        return f"{action}: attempt {attempt} begins" if attempt > 1 else f"{action}: under way ({asked})"
    if kind == "pending" and str(action).startswith("workflow."):
        due = f"; it must end by {times.day(data['due'])}" if data.get("due") else ""
        return f"{action}: called ({asked}){due}"
    if kind == "pending":
        due = f"; an answer is taken until {times.day(data['due'])}" if data.get("due") else ""
        return f"{action}: asked ({asked}){due}"
    if kind in ("retry", "held"):
        return _again(data, action, times)
    if kind == "parked":
        return f"{action}: it is not known whether it happened ({asked}); it waits for a decision"
    if kind == "failed":
        error = data.get("error") or {}
        return f"{action + ': ' if action else ''}failed: {error.get('message')} [{error.get('code')}]"
    if effect.get("state") == "dry_run" and not data.get("kept"):
        told = result(data.get("outputs"))
        gives = f"; {told} stands for what it gives" if told else ""
        return f"{action}: not done, it is a dry run ({asked}){_spared(data.get('request'))}{gives}"
    return _done(record, action, asked, times)


def _spared(request: Report | None) -> str:
    """Say what a dry run would have sent."""
    if not request:
        return ""
    if "why" in request:
        return f"; the request cannot be shown: {request['why']}"
    body = f" {json.dumps(request['body'], ensure_ascii=False)}" if request["body"] is not None else ""
    return f"; it would send {request['method']} {request['target']}{body}"


def _again(data: Report, action: str | None, times: Times) -> str:
    """Say why an effect goes out later, and when."""
    named = f"{action}: " if action else ""
    if data.get("by"):
        return f"{named}to be done again{_by(data)}"
    error = data.get("error") or {"code": "connection-held"}
    why = _WHY_LATER.get(error["code"], "it did not work")
    told = f": {error['message']}" if error.get("message") else ""
    if error.get("connection"):
        return f"{named}{why}{told}; until it works again"
    due = times.exact(data["due"]) if data.get("due") else "'hotwash resume'"
    return f"{named}{why}{told}; {'until' if why == 'held' else 'again at'} {due}"


_WHY_LATER = {
    "connection-held": "its connection is held",
    "rate-limited": "it waits for its turn",
    "closed": "held",
    "paused": "held",
    "daily-limit": "held",
    "muted": "held",
}


def _done(record: Report, action: str | None, asked: str, times: Times) -> str:
    outputs, data = record["data"].get("outputs") or {}, record["data"]
    if data.get("unsent"):
        return f"{data['action']}: not sent: {data['unsent']}"
    if data.get("because"):
        why = "" if data["because"] == "digest" else " because it is one more than 'max_per_day' allows"
        return f"{action}: kept{why} to be told with others at {times.day(data['until'])} ({asked})"
    if action is None:
        event = record.get("event")
        if outputs.get("timed_out"):
            return "the time is over"
        return f"goes on: {event['type']} came  {event['id']}" if event else "goes on: its condition holds"
    told = result(outputs)
    if record["data"].get("decided"):
        return f"{action}: counts as {_DECIDED.get(record['data']['decided'])}{_by(record['data'])}"
    if "answer" in outputs and "by" in outputs:
        return f"{action}: {'answered ' if outputs['by'] else ''}{told}"
    kept = "kept from before" if record["data"].get("kept") else asked
    return f"{action}: {kept}" + (f" → {told}" if told else "")


_DECIDED = {"done": "done", "skip": "passed over"}


def _ended(data: Report, _times: Times) -> str:
    why = f": {data['reason']}" if data.get("reason") else ""
    return f"{data['state']}{_by(data)}{why}"


def _by(data: Report) -> str:
    return f", says {brief(data['by'])}" if data.get("by") else ""


def _decided(data: Report, _times: Times) -> str | None:
    if data["value"]:
        return None
    empty = f"; empty: {', '.join(data['nulls'])}" if data.get("nulls") else ""
    return f"passed over, 'if' is false at: {data.get('failed')}{empty}"


def _items(data: Report, _times: Times) -> str:
    keys = [str(key) for key, _ in data["items"]]
    return f"for each of {len(keys)}: {', '.join(keys)}" if keys else "for each of none"


def _waiting(data: Report, times: Times) -> str:
    return f"waits until {times.day(data['due'])}" if data.get("due") else "waits"


def _iterated(data: Report, times: Times) -> str:
    due = f"; the next one at {times.day(data['due'])}" if data.get("due") else ""
    return f"iteration {data['n']} is over{due}"


def _repeated(data: Report, _times: Times) -> str:
    why = "'until' came true" if data["done"] else "that was the last"
    return f"ends after {data['n']} iteration{'s' * (data['n'] != 1)}: {why}"


def _failing(data: Report, _times: Times) -> str:
    """Name the step; its own line has the message, unless it is no step."""
    error = data.get("error") or {}
    told = "" if data.get("paths") and all(data["paths"]) else f": {error.get('message')} [{error.get('code')}]"
    return f"the run fails at '{error.get('step')}'{told}"


def _call(key: str) -> str:
    """Show a vendor look-up as it is written: `on_call("checkout")`."""
    name, bracket, rest = key.partition("[")
    given = [value for value in json.loads(bracket + rest) if value is not None]
    return f"{name}({', '.join(json.dumps(plain(value), ensure_ascii=False) for value in given)})"


def _by_whom(data: Report) -> str:
    by = data.get("event") or data.get("caller")
    return f", by {by}" if by else ""


def _given(data: Report) -> str:
    """Show the inputs that somebody gave."""
    return f", with {inputs(data['inputs'])}" if data.get("inputs") else ""


_SENTENCES: Mapping[str, Callable[[Report, Times], str | None]] = {
    "round": lambda d, t: f"round {d['n']} begins" + _by_whom(d) + _given(d),
    "vars": lambda d, t: (
        "vars: " + ", ".join(f"{name} = {brief(value)}" for name, value in d["values"].items()) if d["values"] else None
    ),
    "deadline": lambda d, t: f"must end by {t.day(d['at'])}" if d["at"] else None,
    "decided": _decided,
    "items": _items,
    "lookup": lambda d, t: f"{_call(d['call'])} gave {brief(d['answer'])}",
    "asking": lambda d, t: None,  # the answer has a line of its own
    "closed": lambda d, t: "nobody waits for it any more",
    "digested": lambda d, t: f"told in the digest {d['run']}",
    "dropped": lambda d, t: f"not sent after all: {d['why']}",
    "wait": _waiting,
    "iterated": _iterated,
    "begun": lambda d, t: f"iteration {d['n'] + 1} begins",
    "repeated": _repeated,
    "stopping": lambda d, t: f"is to end: {d['reason']}",
    "failing": _failing,
    "queued": lambda d, t: f"waits for its turn behind {', '.join(d['behind'])}",
    "turn": lambda d, t: "gets its turn",
    "retried": lambda d, t: (
        f"goes on {'with the file of then' if d.get('version') else 'at the step that failed'}" + _by(d)
    ),
    "ended": _ended,
}


def _effects(effects: Sequence[Report]) -> Iterator[str]:
    """Yield who did each effect and how far it came; inputs and what came of it stand in the history."""
    path = min(max(len(effect["path"]) for effect in effects), 32)
    action = max(len(effect["action"]) for effect in effects)
    for effect in effects:
        by = f"by {effect['connection']}, " if effect["connection"] else ""
        tries = f" at attempt {effect['attempts']}" if effect["attempts"] > 1 else ""
        kind = effect["class"].replace("_", " ")
        state_ = effect["state"] if effect["state"] != "dry_run" else "not done: it would get what follows"
        yield f"{effect['path']:<{path}}  {effect['action']:<{action}}  {state_}{tries} ({by}{kind})"
        if effect["state"] == "dry_run":
            yield from _would_get(effect["inputs"])
        elif effect["state"] not in ("done", "failed"):
            yield f"    {effect['identity']}"


def _would_get(values: Report) -> Iterator[str]:
    """Yield the inputs of an effect that was not done, as they were rendered."""
    for name, value in values.items():
        lines = value.splitlines() if isinstance(value, str) else [label(value)]
        if len(lines) < 2:
            yield f"    {name}: {''.join(lines)}"
        else:
            yield from (f"    {name}:", *(f"      {line}" for line in lines))


def _waits(run: Report, times: Times) -> Iterator[str]:
    """Yield a line for each step that waits, with everything that may end its wait."""
    places: dict[str, list[str]] = {}
    for wait in run["waits"]:
        path = wait["path"].removesuffix("!deadline")
        places.setdefault(path, []).append(_wait(wait, times))
    for path, parts in places.items():
        behind = f" behind {', '.join(run['behind'])}" if run["behind"] and not path else ""
        yield f"{path or 'the run'}: {', or '.join(dict.fromkeys(parts))}{behind}"


def _wait(wait: Report, times: Times) -> str:
    if wait["kind"] == "turn":
        return "its turn"
    if wait["kind"] == "pause":
        return "the end of a pause"
    if wait["kind"] == "connection":
        return f"that connection '{wait['value']}' works again"
    if wait["kind"] == "effect":
        return f"the result of '{wait['value']}', which another run is about"
    if wait["due"]:
        name = "its time-out" if wait["kind"] == "deadline" else ""
        return f"{name or 'until'} {'at ' if name else ''}{times.day(wait['due'])}"
    if wait["event"] == "chat.answered":
        return "an answer"
    if not wait["field"]:
        return str(wait["event"])
    return f"{wait['event']} whose {wait['field'].removeprefix('event.')} is {brief(wait['value'])}"


# --- an event --------------------------------------------------------------------------------------------------------


def event_heading(event: Report, times: Times) -> None:
    """Print what an event is."""
    output.say(f"{event['type']}  {event['id']}  (#{event['number']})")
    if event["subject"]:
        output.say(f"  {'about':<9} {about(event['subject'])}")
    by = f", by {event['actor']['name']}" if event["actor"] else ""
    own = " (our own account)" if event["own"] else ""
    output.say(f"  {'happened':<9} {times.exact(event['time'])}{by}{own}")
    output.say(f"  {'came in':<9} {times.exact(event['received'])} by {event['source']}")
    if event.get("data"):
        output.say(f"  {'said':<9} {inputs(event['data'])}")


def event_text(event: Report, times: Times) -> None:
    """Print an event: what changed, the verdicts about it, what it did to runs."""
    event_heading(event, times)
    if event["caused_by"]:
        cause = event["caused_by"]
        run = f" of {cause['workflow']} {cause['run']}" if cause["run"] else ""
        output.say(f"  {'caused by':<9} {cause['effect'] or 'a run'}{run}")
    if event["reason"]:
        output.say(f"  {'ignored':<9} {event['reason']}")
    if event["note"]:
        output.say(f"  {'note':<9} {brief(event['note'].get('text'), 200)}")
    if event["changes"]:
        output.say("\nfirst seen as" if event["first_sight"] else "\nwhat changed")
        for change in event["changes"]:
            before = "" if event["first_sight"] else f"{brief(_time(change['before'], times))} → "
            output.say(f"  {change['field']}: {before}{brief(_time(change['after'], times))}")
    if event["verdicts"]:
        output.say("\nverdicts that were written")
        for verdict in event["verdicts"]:
            output.say(f"  {times.exact(verdict['at'])}  {verdict['workflow']}: {verdict_text(verdict, times)}")
    if event["runs"]:
        output.say("\nruns")
        for one in event["runs"]:
            step = f" at '{one['path']}'" if one["path"] else ""
            output.say(f"  {one['what'].replace('_', ' ')}{step}: {one['workflow']} {one['run']}, {state(one)} now")


def _time(value: Any, times: Times) -> Any:
    """Show an instant in local time."""
    if isinstance(value, str) and len(value) >= 20 and value[4:5] == "-" and value[10:11] == "T":
        try:
            return times.exact(value)
        except ValueError:
            return value
    return value


def verdict_text(verdict: Report, times: Times) -> str:
    """Say a verdict, with its run and its instants in local time."""
    until = (verdict.get("detail") or {}).get("until") or verdict.get("until")
    if verdict["kind"] == "settling" and until:
        return f"settling until {times.day(until)}"
    run = verdict["run"]
    return str(verdict["sentence"]) + (f": {run['id']}, {_stands(run, times)}" if run else "")


def _stands(run: Report, times: Times) -> str:
    """Say in what state a run is, and of one that is held until when and why."""
    state = f"{run['state'].replace('_', ' ')} now"
    first = next(iter(run.get("held", ())), None)
    if first is None:
        return state
    until = f" until {times.day(first['until'])}" if first["until"] else ""
    return f"{state}{until}: {first['why']}"


def explanation_text(explained: Report, times: Times) -> None:
    """Print what became of an event, workflow by workflow, each verdict with its instant."""
    event_heading(explained["event"], times)
    if explained["note"]:
        output.say(f"\n{explained['note']}")
    outcomes = sorted(explained["outcomes"], key=lambda one: bool(one["kind"] == "elsewhere"))
    silent = explained["not_listening"]
    widest = max((len(one["workflow"]) for one in (*outcomes, *silent)), default=0)
    if outcomes:
        output.say()
    for outcome in outcomes:
        name = outcome["workflow"]
        for verdict in outcome["history"]:
            output.say(f"{name:<{widest}}  {times.exact(verdict['at'])}  {verdict_text(verdict, times)}")
            name = ""
    if silent:
        output.say("\nnot asked" if outcomes or len(silent) > 1 else "")
    for one in silent:
        output.say(f"{one['workflow']:<{widest}}  {one['sentence']}")
    if not outcomes and not silent:
        output.say("\nno workflow listens to it")
