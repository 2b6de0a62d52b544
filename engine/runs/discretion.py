"""What the log says of what is private: that there is something, and no word of it (PROMISES 2).

A line about a private subject names its id, a line about a run its workflow and id, whatever else it would say. Whoever
asks for the run or the subject by that is shown all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from engine.log import Tell
from engine.runs.state import DIGESTS
from engine.store.lookups import Lookups

PRIVATE = "it is about something private"

#: What a run is about, and those that stand behind it: that called it, or whose failure began it. `makes` says that it
#: was told to make something private, which may not be known yet.
_ABOUT = """
WITH RECURSIVE above(id, workflow, key, trigger, round_event, subject_type, subject) AS (
  SELECT id, workflow, key, trigger, round_event, subject_type, subject FROM runs WHERE id = ?1 OR uid = ?1
  UNION
  SELECT r.id, r.workflow, r.key, r.trigger, r.round_event, r.subject_type, r.subject
  FROM above JOIN runs AS r ON r.id IN (
    SELECT run FROM effects WHERE effects.identity = above.key AND above.trigger = 'workflow.called'
    UNION SELECT cause_run FROM events WHERE events.id = above.round_event AND events.type = 'workflow.failed'
  )
)
SELECT subject_type, subject, workflow, key, id, EXISTS (
  SELECT 1 FROM effects WHERE effects.run = above.id AND json_extract(effects.inputs, '$.private')
) AS makes FROM above
"""
_LETTERS = """
SELECT subject_type, subject FROM outbox WHERE digest = ?1
UNION SELECT subject_type, subject FROM outbox WHERE state = 'waiting' AND place = ?2
"""
#: Whether there is anything to be discreet about. The words are those of an index, or each incident would be looked at.
ANY_PRIVATE = "SELECT 1 FROM subjects WHERE json_extract(state, '$.private') = 1 LIMIT 1"


class Discretion:
    """Tells of runs and subjects; where nothing is private, that costs nothing."""

    def __init__(self, tell: Tell, lookups: Callable[[], Lookups]) -> None:
        self._tell, self._lookups = tell, lookups
        self._needed: bool | None = None

    def heed(self, private: bool) -> None:
        """Take note where what is being written is private."""
        if private:
            self._needed = True

    def tell_of(self, run: str | int, workflow: str | None, event: str, sentence: str, /, **facts: Any) -> None:
        """Tell something of a run, named by its id or the number of its row."""
        about = {"run": run} if workflow is None else {"run": run, "workflow": workflow}
        if self.hides_run(run):
            sentence, facts = f"{workflow or 'run'} {run}: {PRIVATE}", {}
        self._tell(event, sentence, **about, **facts)

    def tell_about(self, kind: str | None, subject: str | None, event: str, sentence: str, /, **facts: Any) -> None:
        """Tell something about a subject."""
        if self.hides([(kind, subject)]):
            sentence, facts = f"{subject}: {PRIVATE}", {}
        self._tell(event, sentence, subject=subject, **facts)

    def hides_run(self, run: str | int) -> bool:
        """Whether what a run says is not for the log: it, or what it goes back to, is about something private."""
        if not self._is_needed():
            return False
        execute = self._lookups().reader.execute
        about: list[tuple[str | None, str | None]] = []
        for row in execute(_ABOUT, (run,)).fetchall():
            if row["makes"]:
                return True
            about.append((row["subject_type"], row["subject"]))
            if row["workflow"] == DIGESTS:
                letters = execute(_LETTERS, (row["id"], row["key"].rpartition("/")[0])).fetchall()
                about += [(letter["subject_type"], letter["subject"]) for letter in letters]
        return self.hides(about)

    def hides(self, about: Iterable[tuple[str | None, str | None]]) -> bool:
        """Whether one of the subjects is private, or of an incident that is."""
        if not self._is_needed():
            return False
        lookups = self._lookups()
        return any(ref is not None and lookups.is_private(kind, ref) for kind, ref in about)

    def _is_needed(self) -> bool:
        if self._needed is None:
            self._needed = self._lookups().reader.execute(ANY_PRIVATE).fetchone() is not None
        return self._needed
