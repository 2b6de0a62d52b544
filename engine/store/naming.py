"""How people name a run or an event: by its id, its number, or a beginning or an end of its id that no other has.

Ids of one time begin alike, so that four signs of an end name one better than as many of its beginning.
"""

from __future__ import annotations

import sqlite3
from typing import Literal

#: So many signs of the end of an id name it.
SHORTEST_END = 4
#: Where several are meant, so many are listed.
MOST_LISTED = 5

_KINDS = {"runs": ("run", "run_"), "events": ("event", "evt_")}


class NotFound(LookupError):
    """Nothing here is called that; the text says what was looked for, `kind` whether a run or an event."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class Ambiguous(NotFound):
    """Several are called that; the text names them."""


def find(reader: sqlite3.Connection, table: Literal["runs", "events"], ref: str) -> sqlite3.Row:
    """Give the row that a text names; a number is never taken as the beginning of an id.

    Raises:
        NotFound: there is none.
        Ambiguous: there are several.
    """
    kind, prefix = _KINDS[table]
    wanted = ref.strip().removeprefix("#")
    rows: list[sqlite3.Row]
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 19:
        rows = reader.execute(f"SELECT * FROM {table} WHERE id = ?", (int(wanted),)).fetchall()
    else:
        rows = _by_id(reader, table, wanted, wanted if wanted.startswith(prefix) else prefix + wanted)
    if not rows or wanted in ("", prefix):
        raise NotFound(f"there is no {kind} '{ref}'", kind)
    if len(rows) > 1:
        names = ", ".join(row["uid"] for row in rows[:MOST_LISTED])
        more = " …" if len(rows) > MOST_LISTED else ""
        raise Ambiguous(f"several {kind}s are called '{ref}': {names}{more}", kind)
    return rows[0]


def _by_id(reader: sqlite3.Connection, table: str, wanted: str, begin: str) -> list[sqlite3.Row]:
    """Give the rows whose id is meant: the one that is called exactly so, else by its beginning, else by its end."""
    rows = reader.execute(
        f"SELECT * FROM {table} WHERE uid >= ? AND uid < ? ORDER BY uid LIMIT ?",
        (begin, begin + "\U0010ffff", MOST_LISTED + 1),
    ).fetchall()
    if not rows and len(wanted) >= SHORTEST_END:
        rows = reader.execute(
            f"SELECT * FROM {table} WHERE substr(uid, ?) = ? ORDER BY uid LIMIT ?",
            (-len(wanted), wanted, MOST_LISTED + 1),
        ).fetchall()
    return [row for row in rows if row["uid"] == begin] or rows
