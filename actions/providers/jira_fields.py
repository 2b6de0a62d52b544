"""The fields that a Jira project wants of a new issue, as its create metadata says, and the form that each takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actions.providers.jira_text import written_text
from engine.plugins import ActionError

#: Of the values that a field allows, so many are told.
MOST_TOLD = 20
#: What `ticket.create` has an input of its own for, by the id that Jira gives it.
INPUTS = {"description": "description", "assignee": "assignee", "duedate": "due"}
_BY_NAME = frozenset({"component", "version", "priority", "group", "resolution", "securitylevel", "issuetype"})
_RICH = ":textarea"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A field that a screen of Jira has."""

    id: str
    name: str
    required: bool
    kind: str  #: of its value; for a list `array`
    items: str  #: of a list's items
    rich: bool  #: whether it holds Jira's rich text
    allowed: tuple[str, ...]

    @property
    def may_be(self) -> str:
        """Say what it may be, where that is a choice."""
        more = f" and {len(self.allowed) - MOST_TOLD} more" if len(self.allowed) > MOST_TOLD else ""
        return f"one of {', '.join(self.allowed[:MOST_TOLD])}{more}" if self.allowed else ""


def wanted(raw: Mapping[str, Any]) -> Wanted:
    """Read one field of the create metadata. One that Jira fills in by itself is not required of us."""
    schema = raw.get("schema") or {}
    id = str(raw.get("fieldId") or raw.get("key"))
    allowed = (one for one in raw.get("allowedValues") or () if isinstance(one, Mapping))
    return Wanted(
        id,
        str(raw.get("name") or id),
        bool(raw.get("required")) and not raw.get("hasDefaultValue"),
        str(schema.get("type", "")),
        str(schema.get("items", "")),
        str(schema.get("custom", "")).endswith(_RICH) or schema.get("system") in ("description", "environment"),
        tuple(str(one.get("value") or one.get("name")) for one in allowed),
    )


def named(screen: Sequence[Wanted], name: str) -> Wanted | None:
    """Give the field with that id, or with that name."""
    for field in screen:
        if name == field.id or name.casefold() == field.name.casefold():
            return field
    return None


def missing(screen: Sequence[Wanted], given: Mapping[str, Any], connection: str) -> list[str]:
    """Say of each required field that is not given what it may be and where it is set."""
    return [_missing(field, connection) for field in screen if field.required and given.get(field.id) is None]


def _missing(field: Wanted, connection: str) -> str:
    what = f"'{field.name}'" + (f", {field.may_be}" if field.allowed else "")
    if field.id in INPUTS:
        return f"{what}: give '{INPUTS[field.id]}'"
    return f"{what}: set it under 'fields' of the step or of connection '{connection}'"


def in_form(field: Wanted, value: Any, *, cloud: bool) -> Any:
    """Give a value as Jira takes it for a field: options by value, most other things by name.

    Raises:
        ActionError: it is not one of the values that the field allows.
    """
    if field.kind == "array":
        items = value if isinstance(value, list | tuple) else [value]
        return [_one_in_form(field, field.items, item) for item in items]
    if field.rich and isinstance(value, str):
        return written_text(value, cloud=cloud)
    return _one_in_form(field, field.kind, value)


def _one_in_form(field: Wanted, kind: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if field.allowed and value not in field.allowed:
        raise ActionError(f"'{field.name}' cannot be '{value}'; it is {field.may_be}")
    if kind == "option":
        return {"value": value}
    if kind in _BY_NAME:
        return {"name": value}
    return {"key": value} if kind == "issuelink" else value  # an issue's parent
