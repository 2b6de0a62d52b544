"""What every part of the checker shares: what it checks against, how it reports, values out of nodes, the codes.

A reading function gives None for what it has reported (or the reader before it), so that everything wrong in a file is
found at once and nothing twice.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engine import calendars
from engine.calendars import Duration
from engine.capabilities import DEFAULT_PROVIDERS
from engine.plugins import Catalogue
from engine.problems import Problem, Span, declare, did_you_mean, nearest
from engine.workflow import source
from engine.workflow.calling import Callees
from engine.workflow.source import Node, Scalar, SourceFile

UNKNOWN_KEY = declare("unknown-key", "A key is not known there.", "Write the key that the hint names, or remove it.")
MISPLACED_KEY = declare(
    "misplaced-key", "A key is known, but not beside the others that are there.", "Move it to where the hint says."
)
MISSING_KEY = declare("missing-key", "A key that must be there is left out.", "Add it.")
WRONG_TYPE = declare(
    "wrong-type",
    "A value is a text, a number, a list or a mapping where another is needed.",
    "Write it as the message says.",
)
BAD_VALUE = declare("bad-value", "A value is none of those that are allowed.", "Write one that is.")
BAD_DURATION = declare(
    "bad-duration", "A length of time cannot be read.", "Write 30s, 15m, 2h, 7d, 2w, 3bd for working days, or ISO 8601."
)
BAD_NAME = declare(
    "bad-name",
    "A name is not made of small letters, digits and '_', or is a word that expressions keep for themselves.",
    "Choose a name such as 'draft' or 'owner_2'.",
)
UNKNOWN_PERSON = declare(
    "unknown-person", "Somebody is named who is not in the people file.", "Add them there, or correct the name."
)
UNKNOWN_CALENDAR = declare(
    "unknown-calendar", "A calendar is named that is not configured.", "Add it under `calendars:`, or correct the name."
)
UNKNOWN_CONNECTION = declare(
    "unknown-connection", "A connection is named that is not configured.", "Add it under `connections:`, or correct it."
)
CANNOT_SERVE = declare(
    "cannot-serve",
    "The connection that a step uses does not do the job that its action needs.",
    "Name a connection that does; `hotwash list providers` says what each provider serves.",
)

#: Names that expressions keep for themselves.
RESERVED = frozenset(keyword.kwlist) | {"null", "true", "false"}
NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Names:
    """What the configuration declares, as far as workflows may name it. Everything may be left out.

    Attributes:
        connections: the capabilities that each connection serves, by its name.
        providers: the name of the provider behind each connection.
        use: the connection that serves a capability where a step names none; all defaults filled in.
        calendars: names of the calendars.
        people: roster keys and e-mail addresses.
        teams: keys of the teams.
        services: keys of the services.
        rotations: names of the rotations.
        templates: source text of every template, by its name.
        vars: the project's `vars`.
        team_vars: what each team has in place of them, by its key.
        workflows: ids of all workflows of the project.
        events: types of one's own that workflows of the project emit (`emitted_types`).
        moved: the files that name a former name (`former_name`), by that; None where nothing is to be said about it.
        callees: what the project's workflows take and give; None where nothing is to be said about calls.
        timezone: IANA name of the project's zone; None where hotwash.yaml does not say.
    """

    connections: Mapping[str, Collection[str]] = field(
        default_factory=lambda: {
            name: {job for job, provider in DEFAULT_PROVIDERS.items() if provider == name}
            for name in DEFAULT_PROVIDERS.values()
        }
    )
    providers: Mapping[str, str] = field(default_factory=lambda: {name: name for name in DEFAULT_PROVIDERS.values()})
    use: Mapping[str, str] = field(default_factory=lambda: DEFAULT_PROVIDERS)
    calendars: Collection[str] = ()
    people: Collection[str] = ()
    teams: Collection[str] = ()
    services: Collection[str] = ()
    rotations: Collection[str] = ()
    templates: Mapping[str, str] = field(default_factory=dict)
    vars: Mapping[str, Any] = field(default_factory=dict)
    team_vars: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    workflows: Collection[str] = ()
    events: Collection[str] = ()
    timezone: str | None = None
    moved: Mapping[str, Collection[str]] | None = field(default_factory=dict)
    callees: Callees | None = None


class Report:
    """One file being checked: what it is held against, and what was found."""

    def __init__(self, file: SourceFile, catalogue: Catalogue, names: Names) -> None:
        self.file = file
        self.catalogue = catalogue
        self.names = names
        self.problems: list[Problem] = []
        self.templates: dict[str, str] = {}  #: text by name of those that the file names

    @property
    def failed(self) -> bool:
        return not self.file.sound or any(problem.severity == "error" for problem in self.problems)

    def add(
        self,
        code: str,
        message: str,
        at: Span | Node,
        hint: str | None = None,
        severity: Literal["error", "warning"] = "error",
    ) -> None:
        """Report a problem; values that the reader has reported get no second one."""
        if isinstance(at, Scalar | source.Mapping) and not at.sound:
            return
        if len(self.problems) >= source.MAX_FINDINGS:
            self.problems.append(self.file.enough(at))
            raise source.Enough
        self.problems.append(self.file.problem(code, message, at, hint, severity))

    def warn(self, code: str, message: str, at: Span | Node, hint: str | None = None) -> None:
        self.add(code, message, at, hint, "warning")

    # --- values ---

    def mapping(self, node: Node | None, name: str) -> source.Mapping | None:
        if isinstance(node, source.Mapping):
            return node
        self._not_a(node, name, "a mapping")
        return None

    def sequence(self, node: Node | None, name: str) -> source.Sequence | None:
        if isinstance(node, source.Sequence):
            return node
        self._not_a(node, name, "a list")
        return None

    def _not_a(self, node: Node | None, name: str, wanted: str) -> None:
        if node is not None:
            self.add(WRONG_TYPE, f"'{name}' must be {wanted}, not {describe(node)}", node)

    def text(self, node: Node | None, name: str, *, empty: bool = False) -> str | None:
        """Read a text as written, expressions not resolved."""
        if node is None:
            return None
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            hint = f'quote it: "{node.text}"' if isinstance(node, Scalar) and node.value is not None else None
            self.add(WRONG_TYPE, f"'{name}' must be text, not {describe(node)}", node, hint)
            return None
        if not node.text.strip() and not empty:
            self.add(BAD_VALUE, f"'{name}' is empty", node)
            return None
        return node.text if node.sound else None

    def boolean(self, node: Node | None, name: str) -> bool | None:
        if node is None:
            return None
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        self.add(WRONG_TYPE, f"'{name}' must be true or false, not {describe(node)}", node)
        return None

    def whole(self, node: Node | None, name: str, least: int, most: int) -> int | None:
        if node is None:
            return None
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, bool) or not isinstance(value, int):
            self.add(WRONG_TYPE, f"'{name}' must be a whole number, not {describe(node)}", node)
        elif not least <= value <= most:
            self.add(BAD_VALUE, f"'{name}' must be {least} to {most:,}, not {value}", node)
        else:
            return value
        return None

    def choice(self, node: Node | None, name: str, allowed: Collection[str]) -> str | None:
        if node is None:
            return None
        if isinstance(node, Scalar) and node.text in allowed and isinstance(node.value, str | bool):
            return node.text
        near = nearest(node.text, allowed) if isinstance(node, Scalar) else None
        hint = f"did you mean '{near}'?" if near else None
        self.add(BAD_VALUE, f"'{name}' must be {one_of(allowed)}, not {describe(node)}", node, hint)
        return None

    def duration(self, node: Node | None, name: str, *, exact: bool = False) -> Duration | None:
        """Read a length of time, longer than nothing; with `exact`, without working days and months."""
        if node is None:
            return None
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            message = f"'{name}' must be a duration such as 30s, 15m, 2h, 7d or 3bd, not {describe(node)}"
            self.add(BAD_DURATION, message, node, self._unit_hint(node))
            return None
        try:
            found = calendars.parse_duration(node.text)
        except ValueError as error:
            self.add(BAD_DURATION, sentence(name, str(error)), node)
            return None
        if found == Duration():
            self.add(BAD_DURATION, f"'{name}' must be longer than nothing, not '{node.text}'", node)
        elif exact and not found.exact:
            message = f"'{name}' must have a fixed length such as 10s or 1h, not '{node.text}'"
            self.add(BAD_DURATION, message, node)
        else:
            return found
        return None

    def _unit_hint(self, node: Node) -> str | None:
        number = isinstance(node, Scalar) and isinstance(node.value, int | float) and not isinstance(node.value, bool)
        return f"say the unit: {node.text}s, {node.text}m or {node.text}h" if number else None  # type: ignore[union-attr]

    def name(self, scalar: Scalar, what: str) -> str | None:
        """Read a name that expressions may use."""
        if not scalar.sound:
            return None
        if scalar.text in RESERVED:
            self.add(BAD_NAME, f"'{scalar.text}' cannot name {what}: it is a word of expressions", scalar)
        elif not NAME.fullmatch(scalar.text):
            self.add(BAD_NAME, f"'{scalar.text}' cannot name {what}: write small letters, digits and '_'", scalar)
        else:
            return scalar.text
        return None

    def known(
        self,
        code: str,
        word: str,
        at: Scalar,
        allowed: Iterable[str],
        message: str,
        what: str,
        severity: Literal["error", "warning"] = "error",
    ) -> bool:
        """Whether a word is one of the known ones; reported where it is not."""
        choices = list(allowed)
        if word in choices:
            return True
        self.add(code, message, at, did_you_mean(word, choices, what), severity)
        return False

    def person_or_team(self, node: Node | None, name: str) -> str | None:
        text = self.text(node, name)
        if text is None or not isinstance(node, Scalar):
            return None
        choices = {*self.names.people, *self.names.teams}
        message = f"nobody in the roster is called '{text}', and no team"
        return text if self.known(UNKNOWN_PERSON, text, node, choices, message, "in the roster") else None

    # --- keys ---

    def keys(
        self,
        node: source.Mapping,
        allowed: Collection[str],
        where: str,
        *,
        foreign: Mapping[str, str] | None = None,
        elsewhere: Mapping[str, str] | None = None,
    ) -> set[str]:
        """Report the keys that are not allowed, and give the allowed ones that they were probably meant to be.

        Args:
            node: the mapping.
            allowed: its keys.
            where: what has these keys, for messages: 'a step'.
            foreign: words of other tools: the key to write, or a sentence in brackets.
            elsewhere: keys that are known somewhere else: how to get there, a hint.
        """
        meant: set[str] = set()
        written = set(node.keys())
        missing = [key for key in allowed if key not in written or node.get(key) is None]
        for entry in node.entries:
            word = entry.key.text
            if word in allowed or not node.sound:
                continue
            ours = (foreign or {}).get(word)
            near = nearest(word, missing)
            if ours is not None and ours.startswith("("):
                hint = ours.strip("()")
            elif ours is not None and (ours in allowed or ours not in (elsewhere or {})):
                hint = f"write '{ours}'"
                meant.add(ours)
            elif elsewhere and word in elsewhere:
                hint = elsewhere[word]
            else:
                hint = f"did you mean '{near}'?" if near else f"{where} takes: {', '.join(sorted(allowed))}"
                meant |= {near} if near else set()
            self.add(UNKNOWN_KEY, f"{where} has no key '{word}'", entry.key, hint)
        return meant


def describe(node: Node) -> str:
    """Name a value in a message."""
    match node:
        case source.Mapping():
            return "a mapping"
        case source.Sequence():
            return "a list"
        case Scalar(value=None):
            return "nothing"
        case Scalar(value=bool()):
            return node.text
        case Scalar(value=int() | float()):
            return f"the number {node.text}"
    return f"'{shorten(node.text)}'"


def shorten(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def one_of(words: Iterable[str]) -> str:
    """Give `a, b or c`."""
    *first, last = [str(word) for word in words]
    return f"{', '.join(first)} or {last}" if first else last


def sentence(name: str, message: str) -> str:
    """Put the name of a value before what a validator says of it."""
    joins = ("must ", "is ", "has ", "cannot ", "takes ", "holds ", "needs ")
    return f"'{name}' {message}" if message.startswith(joins) else f"'{name}': {message}"
