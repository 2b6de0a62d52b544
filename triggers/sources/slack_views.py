"""The modals that people fill in, as Slack's blocks, and what they entered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from engine.domain import Incident
from triggers.sources import payload

#: What the `callback_id` of every modal of ours begins with.
CALLBACK = "hotwash:"
#: Texts of a modal's title, of an option and of a notice are at most so long (docs.slack.dev, block kit).
_TITLE, _OPTION, _NOTICE = 24, 75, 3000
_MOST_OPTIONS = 100
_STATUSES = {"acknowledged": "Acknowledged", "mitigated": "Mitigated", "resolved": "Resolved"}
_TITLES = {
    "update": "Update",
    "severity": "Severity",
    "role": "Role",
    "note": "Note",
    "action": "Action item",
}


def declare_view(
    title: str, severities: Sequence[str], services: Sequence[str], origin: Mapping[str, Any]
) -> dict[str, Any]:
    """Give the modal that declares an incident.

    Args:
        title: what it is called to begin with; may be empty.
        severities: those to choose from.
        services: those to choose from; with none, or too many for a list, they are typed.
        origin: what the submission gives back.
    """
    blocks = [
        _input("title", "What happens?", {**_text(300), **({"initial_value": title[:300]} if title else {})}),
        _input("severity", "Severity", _choice(severities), optional=True),
        _services(services),
        _input("summary", "What is known so far?", _text(3000, lines=True), optional=True),
        _input(
            "private",
            "Who may see it",
            {"type": "checkboxes", "options": [_option("private", "Only those concerned: it is private")]},
            optional=True,
        ),
    ]
    return _modal("declare", "Declare an incident", "Declare", blocks, origin)


def command_view(name: str, incident: Incident, severities: Sequence[str], origin: Mapping[str, Any]) -> dict[str, Any]:
    """Give the modal of a command that was given without its words."""
    given: dict[str, list[dict[str, Any]]] = {
        "update": [
            _input("status", "How far it is", _choice(_STATUSES, labels=_STATUSES), optional=True),
            _input("text", "What is new", _text(3000, lines=True)),
        ],
        "severity": [_input("severity", "Severity", _choice(severities, now=incident.severity))],
        "role": [
            _input("role", "Role", {**_text(60), "placeholder": _plain("commander")}),
            _input("person", "Who", {"type": "users_select"}),
        ],
        "note": [_input("text", "What happened", _text(3000, lines=True))],
        "action": [
            _input("text", "What shall be done", _text(300)),
            _input("person", "Who does it", {"type": "users_select"}, optional=True),
            _input("due", "When it is due", {"type": "datepicker"}, optional=True),
        ],
    }
    about = {**origin, "incident": incident.id}
    return _modal(name, f"{_TITLES[name]} {incident.key}", "Save", given[name], about)


def notice_view(title: str, text: str) -> dict[str, Any]:
    """Give a modal that only says something; `text` is plain."""
    blocks = [{"type": "section", "text": _plain(text[:_NOTICE])}]
    return {"type": "modal", "title": _plain(title[:_TITLE]), "close": _plain("Close"), "blocks": blocks}


def origin_of(view: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give what a modal was opened with.

    Raises:
        ValueError: it was not opened by us.
    """
    return payload.mapping(payload.parse(str(view.get("private_metadata") or "{}").encode()), "'private_metadata'")


def entered(view: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give what was entered in a modal by the names of its fields: texts, lists of texts; None for what was left empty.

    Raises:
        ValueError: it is not what Slack documents.
    """
    state = payload.mapping(view.get("state"), "'view.state'")
    blocks = payload.mapping(state.get("values"), "'view.state.values'")
    return {name: _value(payload.mapping(block, f"'view.state.values.{name}'"), name) for name, block in blocks.items()}


def _value(block: Mapping[str, Any], name: str) -> Any:
    found = payload.mapping(next(iter(block.values()), {}), f"'view.state.values.{name}'")
    if "selected_options" in found:
        options = found["selected_options"] or []
        if not isinstance(options, list):
            raise ValueError(f"'view.state.values.{name}.selected_options' must be a list")
        return [_picked(one, name) for one in options]
    if "selected_option" in found:
        return _picked(found["selected_option"], name) if found["selected_option"] is not None else None
    value = next((found[key] for key in ("value", "selected_user", "selected_date") if key in found), None)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"'view.state.values.{name}' must hold a text, not {payload.shown(value)}")
    return value.strip() or None if value is not None else None


def _picked(option: Any, name: str) -> str:
    found = payload.mapping(option, f"'view.state.values.{name}'")
    return payload.text(found.get("value"), f"'view.state.values.{name}.value'")


def _modal(
    name: str, title: str, submit: str, blocks: list[dict[str, Any]], origin: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "type": "modal",
        "callback_id": f"{CALLBACK}{name}",
        "title": _plain(title[:_TITLE]),
        "submit": _plain(submit),
        "close": _plain("Cancel"),
        "blocks": blocks,
        "private_metadata": json.dumps(origin, separators=(",", ":")),
    }


def _services(services: Sequence[str]) -> dict[str, Any]:
    if not 1 <= len(services) <= _MOST_OPTIONS or any(len(name) > _OPTION for name in services):
        return _input("service", "Affected service", _text(200), optional=True)
    options = [_option(name, name) for name in services]
    return _input("services", "Affected services", {"type": "multi_static_select", "options": options}, optional=True)


def _input(name: str, label: str, element: Mapping[str, Any], *, optional: bool = False) -> dict[str, Any]:
    return {
        "type": "input",
        "block_id": name,
        "label": _plain(label),
        "optional": optional,
        "element": {"action_id": name, **element},
    }


def _text(longest: int, *, lines: bool = False) -> dict[str, Any]:
    return {"type": "plain_text_input", "max_length": longest, "multiline": lines}


def _choice(values: Any, *, labels: Mapping[str, str] | None = None, now: str | None = None) -> dict[str, Any]:
    options = [_option(value, (labels or {}).get(value, value)) for value in values]
    initial = next(({"initial_option": one} for one in options if one["value"] == now), {})
    return {"type": "static_select", "options": options, **initial}


def _option(value: str, label: str) -> dict[str, Any]:
    return {"text": _plain(label), "value": value}


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": True}
