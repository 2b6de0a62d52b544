"""What reading `hotwash.yaml` and the people file share: values out of nodes, `${…}` references, and the problems.

A reading function gives None for what it has reported, so that everything wrong in a file is found at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from engine import calendars
from engine.problems import Problem, Span, declare, did_you_mean
from engine.workflow import source
from engine.workflow.source import Entry, Node, Scalar, SourceFile

UNKNOWN_SETTING = declare(
    "unknown-setting",
    "hotwash.yaml, or the file with the people, has a key there that is not known.",
    "Write the key that the hint names, or take it out. Keys are never ignored.",
)
MISSING_SETTING = declare(
    "missing-setting", "A key that must be there is left out.", "Add the key; the example in the reference shows it."
)
BAD_SETTING = declare(
    "bad-setting",
    "A value in hotwash.yaml, or in the file with the people, is not of the kind that its key takes.",
    "Write a value of the kind that the message names.",
)
BAD_REFERENCE = declare(
    "bad-reference",
    "`${…}` in hotwash.yaml names an environment variable, `${NAME}`, or a file, `${file:PATH}`, and nothing else.",
    "Write one of the two. `$${` is a literal `${`. Other files cannot name variables, and hotwash.yaml holds no "
    "`${{ … }}`: expressions belong in workflows.",
)
MISSING_CREDENTIAL = declare(
    "missing-credential",
    "An environment variable or a file that hotwash.yaml names is not there or is empty, or a connection's secret is "
    "left out.",
    "Set the variable, or write the file. Until then an inbound connection is off and the others run; every other "
    "connection is needed, and the engine does not start without it.",
)
MISSING_FILE = declare(
    "missing-file", "A file that is named there cannot be read.", "Write the file, or correct its path."
)

_REFERENCE = re.compile(r"\$(\$?)\{([^{}]*)\}")
_EXPRESSION = re.compile(r"(?<!\$)\$\{\{")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_BYTES = 64 * 1024  #: of a file that `${file:…}` names
_ADVICE = re.compile(r": ((?:did you mean|write|such as) .*)")
_NAME = re.compile(r"[a-z][a-z0-9_-]*")

T = TypeVar("T")
Severity = Literal["error", "warning"]


_SHORTEST_SECRET = 4


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A `${…}` that stands for nothing."""

    span: Span
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class References:
    """What `${NAME}` and `${file:PATH}` stand for; paths are relative to `folder`."""

    folder: Path
    environ: Mapping[str, str] = field(repr=False)
    files: list[Path] = field(default_factory=list)  #: that were asked for

    def look_up(self, name: str) -> str:
        """Give what a reference stands for.

        Raises:
            LookupError: it stands for nothing; the message and the hint.
            ValueError: it is no reference.
        """
        if name.startswith("file:"):
            return self._file(name.removeprefix("file:").strip())
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"'${{{name}}}' names no environment variable and no file")
        value = self.environ.get(name)
        if not value:
            state = "is not set" if value is None else "is empty"
            raise LookupError(
                f"the environment variable '{name}' {state}", f"set {name}, or write it into .hotwash/env"
            )
        return value

    def _file(self, name: str) -> str:
        if not name:
            raise ValueError("'${file:}' names no file")
        self.files.append(self.folder / name)
        try:
            data = source.read_file(self.folder / name, _MOST_BYTES)
            text = data.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise LookupError(f"the file '{name}' is not UTF-8 text", "write the value alone into it") from None
        except OSError as error:
            raise LookupError(
                f"the file '{name}' cannot be read: {(error.strerror or 'no such file').lower()}",
                f"write the value into '{name}'",
            ) from None
        if len(data) > _MOST_BYTES:
            raise LookupError(f"the file '{name}' is larger than 64 KiB", "write the value alone into it")
        if not text:
            raise LookupError(f"the file '{name}' is empty", f"write the value into '{name}'")
        return text


class Reader:
    """Takes values out of the nodes of one file and gathers what is wrong with them."""

    def __init__(self, file: SourceFile, references: References | None = None) -> None:
        self.file = file
        self.references = references
        self.problems: list[Problem] = []
        self._resolved: dict[str, str] = {}  #: references by what they stand for

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that references named so far."""
        return tuple(dict.fromkeys(self.references.files)) if self.references is not None else ()

    def add(
        self, code: str, message: str, at: Span | Node, hint: str | None = None, severity: Severity = "error"
    ) -> None:
        if len(self.problems) >= source.MAX_FINDINGS:
            self.problems.append(self.file.enough(at))
            raise source.Enough
        message, hint = self._as_written(message), hint and self._as_written(hint)
        self.problems.append(self.file.problem(code, message, at, hint, severity))

    def _as_written(self, sentence: str) -> str:
        """Cite references as such: what they stand for may be a secret, wherever somebody has put it."""
        for value in sorted(self._resolved, key=len, reverse=True):
            if len(value) >= _SHORTEST_SECRET:
                sentence = sentence.replace(value, self._resolved[value])
        return sentence

    def unknown(self, code: str, what: str, at: Scalar, known: Iterable[str], kinds: str = "known") -> None:
        """Report a word that is not known, with the nearest that is."""
        self.add(code, f"{what} '{at.text}'", at, did_you_mean(at.text, known, kinds))

    # --- values ------------------------------------------------------------------------------------------------------

    def value(self, node: Node, unresolved: list[Unresolved] | None = None) -> Any:
        """Give a node as plain data, with its references replaced.

        A reference that stands for nothing goes to `unresolved`, else it is reported; its value is None.
        """
        match node:
            case Scalar():
                return self._scalar(node, unresolved)
            case source.Mapping():
                return {entry.key.text: self.value(entry.value, unresolved) for entry in node.entries}
            case source.Sequence():
                return [self.value(item, unresolved) for item in node.items]

    def _scalar(self, node: Scalar, unresolved: list[Unresolved] | None) -> Any:
        if not isinstance(node.value, str) or "${" not in node.text:
            return node.value
        if self.references is None:
            self.add(BAD_REFERENCE, "'${…}' has no meaning in this file", node, "only hotwash.yaml names variables")
            return None
        if found := _EXPRESSION.search(node.text):
            self.add(
                BAD_REFERENCE,
                "'${{' begins an expression, and hotwash.yaml holds constants",
                node.span_at(found.start(), 3),
                "write the value, or a '${NAME}' of the environment; expressions belong in workflows",
            )
            return None
        return self._replaced(node, [] if unresolved is None else unresolved, report=unresolved is None)

    def _replaced(self, node: Scalar, unresolved: list[Unresolved], *, report: bool) -> str | None:
        assert self.references is not None
        pieces: list[str] = []
        last, whole = 0, True
        for found in _REFERENCE.finditer(node.text):
            pieces.append(node.text[last : found.start()])
            last = found.end()
            if found[1]:
                pieces.append(found[0][1:])
                continue
            span = node.span_at(found.start(), len(found[0]))
            try:
                pieces.append(self.references.look_up(found[2]))
                self._resolved[pieces[-1]] = found[0]
            except ValueError as error:
                self.add(BAD_REFERENCE, str(error), span, "write ${NAME} or ${file:PATH}")
                whole = False
            except LookupError as error:
                unresolved.append(Unresolved(span, *error.args))
                if report:
                    self.add(MISSING_CREDENTIAL, error.args[0], span, error.args[1])
                whole = False
        pieces.append(node.text[last:])
        if "${" in node.text[last:].replace("$${{", ""):
            self.add(BAD_REFERENCE, "a '${' is not closed by '}'", node, "write ${NAME}, or $${ for a literal ${")
            whole = False
        return "".join(pieces).replace("$${{", "${{") if whole else None

    def constant(self, entry: Entry) -> Any:
        """Give a value that expressions may read, as plain data; a number that JSON does not know is reported."""
        for scalar in source.scalars(entry.value):
            if isinstance(scalar.value, float) and not math.isfinite(scalar.value):
                message = f"'{entry.key.text}' must hold numbers that can be kept, not {scalar.text}"
                self.add(BAD_SETTING, message, scalar)
        return self.value(entry.value)

    # --- kinds of values ---------------------------------------------------------------------------------------------

    def mapping(self, entry: Entry | None, known: Iterable[str] | None = None) -> dict[str, Entry]:
        """Give the entries of a mapping by key; those that are not `known`, where that is given, are reported.

        A null is an empty mapping.
        """
        return self.entries(entry.value, f"'{entry.key.text}'", known) if entry else {}

    def entries(self, node: Node, what: str, known: Iterable[str] | None = None) -> dict[str, Entry]:
        """Give the entries of a mapping node that messages call `what`, as `mapping` does."""
        if not isinstance(node, source.Mapping):
            if not (isinstance(node, Scalar) and node.value is None):
                self.add(BAD_SETTING, f"{what} must be a mapping of keys to values, not {self.kind(node)}", node)
            return {}
        allowed = None if known is None else list(known)
        found = {}
        for entry in node.entries:
            if allowed is None or entry.key.text in allowed:
                found[entry.key.text] = entry
            else:
                self.unknown(UNKNOWN_SETTING, f"{what} has no key", entry.key, allowed, "keys")
        return found

    def named(self, entry: Entry | None, what: str) -> dict[str, Entry]:
        """Give the entries of a mapping whose keys are names of things; names that cannot be used are reported."""
        found = self.mapping(entry)
        for name in [name for name in found if not _NAME.fullmatch(name)]:
            hint = "write lower case letters, digits, '-' and '_', beginning with a letter"
            self.add(BAD_SETTING, f"{what} cannot be called '{name}'", found.pop(name).key, hint)
        return found

    def text(self, entry: Entry | None) -> str | None:
        """Give a text; None where the key is left out, null, or wrong and reported."""
        value = self._checked(entry, "a text", lambda value: isinstance(value, str) and bool(value.strip()))
        return value if isinstance(value, str) else None

    def integer(self, entry: Entry | None, least: int, most: int) -> int | None:
        """Give a whole number in a range, also one that came as a text from the environment."""

        def fits(value: object) -> bool:
            digits = isinstance(value, str) and value.isascii() and value.isdigit()
            whole = digits or (isinstance(value, int) and not isinstance(value, bool))
            return whole and least <= int(value) <= most  # type: ignore[call-overload]

        value = self._checked(entry, f"a whole number from {least:,} to {most:,}", fits)
        return None if value is None else int(value)

    def texts(self, entry: Entry | None) -> list[tuple[str, Scalar]]:
        """Give a list of texts, each with its node; what is no text is reported and left out."""
        if entry is None or (isinstance(entry.value, Scalar) and entry.value.value is None):
            return []
        if not isinstance(entry.value, source.Sequence):
            self._wrong(entry, "a list of texts")
            return []
        found = []
        for item in entry.value.items:
            value = self.value(item) if isinstance(item, Scalar) else None
            if isinstance(item, Scalar) and isinstance(value, str) and value:
                found.append((value, item))
            elif not isinstance(item, Scalar) or not isinstance(item.value, str) or not item.value:
                self.add(BAD_SETTING, f"'{entry.key.text}' must hold texts, not {self.kind(item)}", item, _quote(item))
        return found

    def duration(self, entry: Entry | None) -> calendars.Duration | None:
        """Give a length of time above zero, without working days."""
        if (text := self.text(entry)) is None or entry is None:
            return None
        try:
            value = calendars.parse_duration(text)
        except ValueError as error:
            self.add(BAD_SETTING, f"'{entry.key.text}' {error}", entry.value)
            return None
        if value.business_days or bool(value.seconds) == bool(value.months):
            message = f"'{entry.key.text}' must be a duration such as 12h, 7d or P1M, not '{text}'"
            self.add(BAD_SETTING, message, entry.value)
            return None
        return value

    def zone(self, entry: Entry | None) -> str | None:
        """Give the name of a time zone that exists."""
        text = self.text(entry)
        return None if text is None or entry is None else self.checked(entry.value, calendars.check_zone, text)

    def checked(self, at: Node, function: Callable[[Any], T], value: Any, code: str = BAD_SETTING) -> T | None:
        """Give `function(value)`; a ValueError is reported, with the advice at its end as the hint."""
        try:
            return function(value)
        except ValueError as error:
            text = str(error)
            advice = _ADVICE.search(text)
            self.add(code, text[: advice.start()] if advice else text, at, advice[1] if advice else None)
            return None

    def kind(self, node: Node) -> str:
        """Say what a node is, for a message: a number or a short text as it is, unless it could be a secret."""
        match node:
            case source.Mapping():
                return "a mapping"
            case source.Sequence():
                return "a list"
            case Scalar(value=None):
                return "null"
            case Scalar(value=bool()):
                return node.text
        hidden = node.span in self.file.masked or "${" in node.text or len(node.text) > 60
        if isinstance(node.value, str):
            return "a text" if hidden else f"'{node.text}'"
        return "a number" if hidden else f"the number {node.text}"

    def _checked(self, entry: Entry | None, what: str, fits: Callable[[object], bool]) -> Any:
        if entry is None:
            return None
        node = entry.value
        if not isinstance(node, Scalar):
            self._wrong(entry, what)
            return None
        if node.value is None:
            return None
        value = self.value(node)
        if value is not None and not fits(value):
            self._wrong(entry, what)
            return None
        return value

    def _wrong(self, entry: Entry, what: str) -> None:
        message = f"'{entry.key.text}' must be {what}, not {self.kind(entry.value)}"
        self.add(BAD_SETTING, message, entry.value, _quote(entry.value) if "text" in what else None)


def _quote(node: Node) -> str | None:
    """Give the hint for a number, a boolean or null where a text is wanted."""
    bare = isinstance(node, Scalar) and not isinstance(node.value, str)
    return "put it in quotes" if bare else None
