"""Leave out of lists what is private (PROMISES 2): that something is there is told, and not what it is about."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.runs.state import OPERATION
from engine.store.lookups import PUBLIC

_RUN = f"""
SELECT 1 FROM runs JOIN subjects ON subjects.type = runs.subject_type AND subjects.id = runs.subject
WHERE runs.uid = ?1 AND NOT ({PUBLIC})
UNION ALL
SELECT 1 FROM runs JOIN effects ON effects.run = runs.id
WHERE runs.uid = ?1 AND runs.version = '{OPERATION}' AND json_extract(effects.inputs, '$.private')
"""
_SUBJECT = f"SELECT 1 FROM subjects WHERE subjects.id = ? AND NOT ({PUBLIC})"


@dataclass(frozen=True, slots=True)
class Veil:
    """Lies over the entries of a list that are about something private, unless it is lifted."""

    reader: sqlite3.Connection
    lifted: bool

    def over(self, entries: Iterable[dict[str, Any]], run: str = "run", **instead: Any) -> list[dict[str, Any]]:
        """Give entries with whether each is `private`; in one that is, what `instead` names stands for what it says.

        Args:
            entries: each about the run whose id it has under `run`, else about its `subject`.
            run: the name of that.
            instead: by name; a function is called with the entry.
        """
        return [self._entry(entry, run, instead) for entry in entries]

    def _entry(self, entry: dict[str, Any], run: str, instead: Mapping[str, Any]) -> dict[str, Any]:
        private = self._is_private(entry, run)
        if not private or self.lifted:
            return {**entry, "private": private}
        values = {name: value(entry) if callable(value) else value for name, value in instead.items()}
        return {**entry, **values, "private": True}

    def _is_private(self, entry: Mapping[str, Any], run: str) -> bool:
        if entry.get("private"):
            return True
        subject = entry.get("subject")
        ref = subject.get("id") if isinstance(subject, Mapping) else subject
        query, value = (_RUN, entry[run]) if entry.get(run) is not None else (_SUBJECT, ref)
        return value is not None and self.reader.execute(query, (value,)).fetchone() is not None


def without_details(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give an error without its message, which may hold any value."""
    error = entry.get("error")
    return {**error, "message": "it is about something private"} if error else None
