"""Read a YAML file into nodes that know their place.

YAML is read as 1.2 core: `on` and `no` are texts, dates and `18:30` stay text. Nodes are built from the parser's events
by a loop, never by recursion: libyaml's own composer can be made to crash the process, its parser cannot. Whatever is
wrong comes back as problems; nothing in here raises for bad input.
"""

from __future__ import annotations

import bisect
import errno
import functools
import os
import re
import stat
from collections import abc
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from engine.problems import Problem, Span, declare
from engine.workflow import yaml_syntax
from engine.workflow.yaml_syntax import Finding, cite

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 100
MAX_ALIASED = 10_000  #: nodes that aliases may add to a file; a long text counts as several
_LARGE = 16  #: a mapping with more entries keeps them by name as well
MAX_FINDINGS = 500  #: of one file, by the reader

NOT_UTF8 = declare("not-utf8", "The file holds bytes that are not UTF-8 text.", "Save the file as UTF-8.")
TOO_LARGE = declare("file-too-large", "The file is larger than 1 MiB.", "Split the file; move long texts to templates.")
CONTROL = declare(
    "control-character",
    "The file holds a character that is neither text nor a line break, and that an editor may not show.",
    "Remove it, or write it as an escape such as \\u0007 in double quotes.",
)
EMPTY = declare("empty-file", "The file holds nothing but comments.", "Write something, or delete the file.")
SEVERAL = declare("several-documents", "A file holds one YAML document.", "Move what follows '---' to another file.")
TOO_DEEP = declare("too-deep", "Lists and mappings are nested more than 100 deep.", "Write it flatter.")
DUPLICATE = declare("duplicate-key", "A mapping has the same key twice.", "Keep one of the two.")
KEY = declare("key-not-text", "A key is a number, true, null, a list or a mapping.", "Put the key in quotes.")
MERGE = declare(
    "merge-key", "Merge keys ('<<') are not taken.", "Write the keys out, or use an alias for a whole value."
)
TAG = declare(
    "custom-tag",
    "Tags such as '!name' are not taken; an unquoted value that begins with '!' is read as one.",
    "Quote the expression, or write it in block form; 'not' negates.",
)
UNKNOWN_ALIAS = declare(
    "unknown-alias",
    "An alias ('*name') names an anchor that is not set above it.",
    "Set it with '&name', or quote the value if it is meant to begin with '*'.",
)
ALIAS_LOOP = declare("alias-to-itself", "An alias names the value that it stands in.", "Write the value out.")
ALIAS_BOMB = declare(
    "too-many-aliases", "Aliases make the file more than 10,000 values longer.", "Use fewer aliases of large values."
)
TOO_MANY = declare(
    "too-many-problems",
    "The file has more than 500 problems; those behind the last one shown are not known.",
    "Mend those that are shown, or see whether this is the file you meant.",
)

Style = Literal["plain", "single", "double", "literal", "folded"]
_STYLES: dict[str | None, Style] = {"'": "single", '"': "double", "|": "literal", ">": "folded"}


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text, number, boolean or null. `text` is what it says once quotes, escapes and folding are resolved."""

    value: str | int | float | bool | None
    text: str
    style: Style
    span: Span
    tag: str | None = None  #: a standard tag such as `!!str`, where one is written
    sound: bool = True  #: False where the reader has reported it already
    raw: str = field(default="", compare=False, repr=False)  #: as written, with its quotes

    def span_at(self, offset: int, length: int) -> Span:
        """Map a stretch of `text` to the file; the whole value where that cannot be told."""
        places = yaml_syntax.places_of(self.raw, self.text, self.style)
        if places is None or offset > len(self.text):
            return self.span
        last = min(offset + max(length, 1), len(self.text))
        end = places[last] if self.style == "double" or last <= offset else places[last - 1] + 1
        start_line, start_column = self._place(places[offset])
        end_line, end_column = self._place(max(end, places[offset] + 1))
        return Span(self.span.file, start_line, start_column, end_line, end_column)

    def _place(self, index: int) -> tuple[int, int]:
        breaks = list(yaml_syntax.BREAK.finditer(self.raw, 0, index))
        if not breaks:
            return self.span.line, self.span.column + index
        return self.span.line + len(breaks), index - breaks[-1].end() + 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a mapping."""

    key: Scalar
    value: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping; its keys are texts and differ."""

    entries: tuple[Entry, ...]
    span: Span
    sound: bool = True  #: False where the reader has reported and left out some of it
    _by_name: dict[str, Entry] | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if len(self.entries) > _LARGE:
            object.__setattr__(self, "_by_name", {entry.key.text: entry for entry in self.entries})

    def get(self, name: str) -> Node | None:
        entry = self._entry(name)
        return entry.value if entry is not None else None

    def key(self, name: str) -> Scalar | None:
        entry = self._entry(name)
        return entry.key if entry is not None else None

    def _entry(self, name: str) -> Entry | None:
        if self._by_name is not None:
            return self._by_name.get(name)
        for entry in self.entries:
            if entry.key.text == name:
                return entry
        return None

    def keys(self) -> tuple[str, ...]:
        return tuple(entry.key.text for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    span: Span


Node = Scalar | Mapping | Sequence


def plain(node: Node) -> Any:
    """Give a node as Python data: dicts, lists and scalars. What an alias names twice is the same object twice."""
    done: dict[int, Any] = {}
    todo: list[Node] = [node]
    while todo:
        current = todo[-1]
        waiting = [child for child in children(current) if id(child) not in done]
        if waiting:
            todo.extend(reversed(waiting))
            continue
        todo.pop()
        match current:
            case Scalar():
                done[id(current)] = current.value
            case Mapping():
                done[id(current)] = {entry.key.text: done[id(entry.value)] for entry in current.entries}
            case Sequence():
                done[id(current)] = [done[id(item)] for item in current.items]
    return done[id(node)]


def scalars(node: Node) -> abc.Iterator[Scalar]:
    """Give every scalar in a node, keys left out, in no set order."""
    todo = [node]
    while todo:
        current = todo.pop()
        if isinstance(current, Scalar):
            yield current
        todo.extend(children(current))


def children(node: Node) -> tuple[Node, ...]:
    """Give the values directly inside a node."""
    match node:
        case Mapping():
            return tuple(entry.value for entry in node.entries)
        case Sequence():
            return node.items
        case _:
            return ()


class Enough(Exception):
    """There are more problems than anybody reads: checking goes no further."""


@dataclass(frozen=True)
class SourceFile:
    """A file as read. `root` is None where it could not be read far enough to be checked.

    Excerpts never show what lies in `masked`: the values and comments under `connections:`.
    """

    path: str
    text: str
    root: Node | None = None
    masked: tuple[Span, ...] = ()
    sound: bool = True  #: False where the reader has reported an error

    @functools.cached_property
    def lines(self) -> list[str]:
        return yaml_syntax.BREAK.split(self.text)

    @functools.cached_property
    def _masked_by_line(self) -> dict[int, list[tuple[int, int]]]:
        found: dict[int, list[tuple[int, int]]] = {}
        for span in sorted(set(self.masked)):
            for line in range(span.line, span.end_line + 1):
                start = span.column if line == span.line else 1
                end = span.end_column if line == span.end_line else len(self.line(line)) + 1
                found.setdefault(line, []).append((start - 1, end - 1))
        return {line: _merged(ranges) for line, ranges in found.items()}

    def hides(self, span: Span) -> bool:
        """Whether something on the lines of a span is masked."""
        return any(line in self._masked_by_line for line in range(span.line, span.end_line + 1))

    def line(self, number: int) -> str:
        """Give a line by its number from 1, empty beyond the end."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def excerpt(self, span: Span) -> str:
        """Give the line that `span` begins on, with what is masked replaced by stars."""
        line = self.line(span.line)
        pieces, place = [], 0
        for start, end in self._masked_by_line.get(span.line, ()):
            keep_width = start < span.column - 1  # or the caret would stand elsewhere
            pieces += [line[place:start], "*" * (end - start) if keep_width else "***"[: end - start]]
            place = end
        return "".join([*pieces, line[place:]]) if pieces else line

    def problem(
        self,
        code: str,
        message: str,
        at: Span | Node,
        hint: str | None = None,
        severity: Literal["error", "warning"] = "error",
    ) -> Problem:
        """Make a problem of this file, with its excerpt."""
        span = at if isinstance(at, Span) else at.span
        return Problem(code, message, span, hint, self.excerpt(span), severity)

    def enough(self, at: Span | Node) -> Problem:
        """Make the problem that stands for all that would follow."""
        message = f"{MAX_FINDINGS} problems come before this: the rest is not checked"
        return self.problem(TOO_MANY, message, at)


def read_file(path: Path, most: int = MAX_BYTES) -> bytes:
    """Give a file's bytes, those up to the first that is too many.

    Raises:
        OSError: it cannot be read, or is no regular file: a device may have no end.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except ValueError:  # a NUL in its name
        raise OSError(errno.ENOENT, "no file can be called that") from None
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return file.read(most + 1)


def read_source(path: str, data: bytes) -> tuple[SourceFile, list[Problem]]:
    """Read a YAML file. `path` is shown to people as it is given."""
    start = Span(path, 1, 1, 1, 1)
    if len(data) > MAX_BYTES:
        message = f"the file has more than the {MAX_BYTES:,} bytes that are read"
        return SourceFile(path, "", sound=False), [Problem(TOO_LARGE, message, start)]
    text, problem = _decode(path, data)
    if problem is None and (found := yaml_syntax.CONTROL.search(text)):
        problem = _control_character(path, text, found)
    if problem is not None:
        file = SourceFile(path, text, None, _masked_by_lines(path, text), sound=False)
        assert problem.span is not None
        return file, [replace(problem, excerpt=file.excerpt(problem.span))]
    return _Builder(path, text).read()


def _decode(path: str, data: bytes) -> tuple[str, Problem | None]:
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError as error:
        text = data.decode("utf-8", "replace")
        span = _Places(path, text).span(len(data[: error.start].decode("utf-8")))
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            message = "the file is UTF-16, and only UTF-8 is read"
        else:
            message = f"byte 0x{data[error.start]:02x}, number {error.start + 1} of the file, is not UTF-8"
        return text, Problem(NOT_UTF8, message, span, "save the file as UTF-8")


def _control_character(path: str, text: str, found: re.Match[str]) -> Problem:
    more = sum(1 for _ in yaml_syntax.CONTROL.finditer(text)) - 1
    message = f"the character U+{ord(found[0]):04X} is not allowed in a file" + (f", nor {more} more" if more else "")
    hint = f'remove it, or write "\\u{ord(found[0]):04x}" in double quotes'
    return Problem(CONTROL, message, _Places(path, text).span(found.start()), hint)


class _Places:
    """Turns offsets into lines and columns."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.starts = [0, *(found.end() for found in yaml_syntax.BREAK.finditer(text))]

    def at(self, index: int) -> tuple[int, int]:
        line = bisect.bisect_right(self.starts, index)
        return line, index - self.starts[line - 1] + 1

    def span(self, start: int, end: int | None = None) -> Span:
        end = start + 1 if end is None else end
        line, column = self.at(start)
        if start <= end and (line == len(self.starts) or end < self.starts[line]):
            return Span(self.path, line, column, line, column + end - start)
        return Span(self.path, line, column, *self.at(end))


class _Stop(Exception):
    """Reading cannot go on; the reason is among the findings."""


@dataclass(slots=True)
class _Built:
    """A finished node with what aliases of it count."""

    node: Node
    size: int = 1
    height: int = 0


@dataclass(slots=True)
class _Frame:
    """A list or mapping that is being read."""

    event: Any
    start: int
    anchor: str | None
    end: int
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    is_mapping: bool = False
    key: _Built | None = None
    sound: bool = True
    size: int = 1
    height: int = 0


class _Builder:
    def __init__(self, path: str, text: str) -> None:
        self.text = text
        self.path = path
        self.places = _Places(path, text)
        self.findings: list[Finding] = []
        self.stack: list[_Frame] = []
        self.anchors: dict[str, _Built] = {}
        self.root: Node | None = None
        self.masked: list[Span] = []
        self.aliased = 0
        self.last_scalar: Any = None

    def read(self) -> tuple[SourceFile, list[Problem]]:
        """Read all events; what stops the reading is the last finding."""
        try:
            for event in yaml.parse(self.text, Loader=yaml_syntax.LOADER):
                self._take(event)
                if len(self.findings) >= MAX_FINDINGS:
                    start = _start_of(event)
                    self._stop(
                        TOO_MANY, f"{MAX_FINDINGS} problems come before this: the rest is not read", start, start
                    )
            if self.root is None or _is_nothing(self.root):
                self._stop(EMPTY, "the file is empty", 0, 0)
        except yaml.YAMLError as error:
            flow = [frame.start for frame in self.stack if frame.event.flow_style]
            self.findings.append(yaml_syntax.explain(error, self.text, self.last_scalar, flow))
            self.root = None
        except _Stop:
            self.root = None
        masked = self.masked if self.root else _masked_by_lines(self.path, self.text)
        sound = not any(found.severity == "error" for found in self.findings)
        file = SourceFile(self.path, self.text, self.root, (*masked, *self._masked_comments()), sound)
        return file, [self._problem(file, finding) for finding in self.findings]

    def _problem(self, file: SourceFile, found: Finding) -> Problem:
        span = self.places.span(found.start, found.end)
        show = yaml_syntax.without_cited if file.hides(span) else yaml_syntax.with_cited
        return file.problem(found.code, show(found.message), span, found.hint and show(found.hint), found.severity)

    def _take(self, event: Any) -> None:
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.DocumentStartEvent() if self.root is not None:
                start = _start_of(event)
                self._stop(SEVERAL, "a second YAML document begins here", start, start + (3 if event.explicit else 1))
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.CollectionStartEvent():
                self._open(event)
            case yaml.CollectionEndEvent():
                self._close(event)

    # --- nodes ---

    def _scalar(self, event: Any) -> None:
        start, end = self._content_start(event), event.end_mark.index
        style: Style = _STYLES.get(event.style, "plain")
        if style in ("literal", "folded"):
            end = start + len(self.text[start:end].rstrip())
        raw = self.text[start:end]
        value, sound = self._resolve(event, style)
        if style == "plain" and (found := self._cut(event, raw, end)):
            self.findings.append(found)
            sound = sound and found.severity == "warning"
            self._frame_unsound(found)
        span = self.places.span(start, end)
        node = Scalar(value, event.value, style, span, event.tag, sound, event.value if raw == event.value else raw)
        self.last_scalar = event
        if self._is_masked():
            self.masked.append(self.places.span(_start_of(event), end))
        self._finish(_Built(node, 1 + len(node.text) // 64), event.anchor, end)

    def _resolve(self, event: Any, style: Style) -> tuple[str | int | float | bool | None, bool]:
        if event.tag is None:
            return (yaml_syntax.resolve(event.value) if style == "plain" else event.value), True
        if event.tag == "!":
            return event.value, True
        try:
            return yaml_syntax.resolve_as(event.tag, event.value), True
        except ValueError as error:
            self._add(TAG, str(error), event.start_mark.index, event.end_mark.index)
        except KeyError:
            self._refuse_tag(event)
        return event.value, False

    def _refuse_tag(self, event: Any) -> None:
        start = event.start_mark.index
        if event.anchor is not None:
            start = self.text.find("!", start)
        written = re.compile(r"!<[^>\s]{1,80}>|\S{1,80}").match(self.text, start)
        tag = written[0] if written else event.tag
        in_flow = bool(self.stack and self.stack[-1].event.flow_style)
        if in_flow:
            tag = re.split(r"[,\]}]", tag)[0]
        expression = "quote the expression, or write it in block form; 'not' negates, '!' does not"
        known = re.fullmatch(r"!!?(include|secret|env|env_var|vault|ref|reference|lambda|sub|input|binary|\w+/.*)", tag)
        hint = "tags are not taken: remove it" if known or tag.startswith("!!") else expression
        self._add(TAG, f"'{cite(tag)}' is read by YAML as a tag", start, start + max(1, len(tag)), hint)

    def _alias(self, event: Any) -> None:
        start, end = event.start_mark.index, event.end_mark.index
        if self._is_masked():
            self.masked.append(self.places.span(start, end))
        built = self.anchors.get(event.anchor)
        if any(frame.anchor == event.anchor for frame in self.stack):
            self._add(ALIAS_LOOP, f"'*{cite(event.anchor)}' stands inside the value that it names", start, end)
        elif built is None:
            hint = f"set it above with '&{cite(event.anchor)}', or quote the value if it begins with '*'"
            self._add(UNKNOWN_ALIAS, f"no anchor is called '{cite(event.anchor)}'", start, end, hint)
        else:
            self.aliased += built.size
            if self.aliased > MAX_ALIASED:
                self._stop(ALIAS_BOMB, f"aliases make the file more than {MAX_ALIASED:,} values longer", start, end)
            if len(self.stack) + built.height > MAX_DEPTH:
                self._stop(TOO_DEEP, f"values are nested more than {MAX_DEPTH} deep", start, end)
            if self._is_masked():
                self.masked.extend(scalar.span for scalar in scalars(built.node))
            self._finish(built, None, end)
            return
        nothing = Scalar(None, "", "plain", self.places.span(start, end), None, False)
        self._finish(_Built(nothing), None, end)

    def _open(self, event: Any) -> None:
        start = self._content_start(event)
        if start > _start_of(event) and self._is_masked():
            self.masked.append(self.places.span(_start_of(event), start))
        if len(self.stack) >= MAX_DEPTH:
            self._stop(TOO_DEEP, f"values are nested more than {MAX_DEPTH} deep", start, start + 1)
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        allowed = "tag:yaml.org,2002:" + ("map" if is_mapping else "seq")
        if event.tag not in (None, "!", allowed):
            self._refuse_tag(event)
        self.stack.append(_Frame(event, start, event.anchor, start, is_mapping=is_mapping))

    def _close(self, event: Any) -> None:
        frame = self.stack.pop()
        if frame.event.flow_style and event.end_mark.index > event.start_mark.index:
            frame.end = event.end_mark.index
        span = self.places.span(frame.start, max(frame.end, frame.start + 1))
        node: Node
        if frame.is_mapping:
            node = Mapping(tuple(frame.entries.values()), span, frame.sound)
        else:
            node = Sequence(tuple(frame.items), span)
        self._finish(_Built(node, frame.size, frame.height + 1), frame.anchor, frame.end)

    def _finish(self, built: _Built, anchor: str | None, end: int) -> None:
        """Put a finished node where it belongs."""
        if anchor is not None:
            self.anchors[anchor] = built
        if not self.stack:
            self.root = built.node
            return
        frame = self.stack[-1]
        frame.end = end
        frame.size += built.size
        frame.height = max(frame.height, built.height)
        if not frame.is_mapping:
            frame.items.append(built.node)
        elif frame.key is None:
            frame.key = built
            return
        else:
            key, frame.key = frame.key.node, None
            self._entry(frame, key, built.node)

    def _entry(self, frame: _Frame, key: Node, value: Node) -> None:
        problem = self._key_problem(key)
        if problem is not None:
            self.findings.append(problem)
        if problem is not None or not isinstance(key, Scalar) or not key.sound:
            frame.sound = False
            return
        first = frame.entries.get(key.text)
        if first is None:
            frame.entries[key.text] = Entry(key, value)
            return
        message = f"'{key.text}' is written twice, first in line {first.key.span.line}, column {first.key.span.column}"
        start, end = self._offsets(key.span)
        self._add(DUPLICATE, message, start, end, "keep one of the two")

    def _key_problem(self, key: Node) -> Finding | None:
        start, end = self._offsets(key.span)
        if isinstance(key, Mapping | Scalar) and not key.sound:
            return None
        if not isinstance(key, Scalar):
            kind = "a mapping" if isinstance(key, Mapping) else "a list"
            hint = "put the key in quotes"
            if self.text.startswith("{{", start - 1) or self.text.startswith("{{", start):
                hint = "an expression is written '${{ … }}', and in quotes inside '{…}'"
            return Finding(KEY, f"a key must be text, not {kind}", start, end, hint)
        if key.text == "<<" and key.style == "plain":
            return Finding(MERGE, "merge keys ('<<') are not taken", start, end, "write the keys out")
        if not isinstance(key.value, str):
            shown = "nothing" if key.text == "" else f"'{key.text}', which is {_kind(key.value)}"
            return Finding(KEY, f"a key must be text, not {shown}", start, end, "put the key in quotes")
        return None

    # --- help ---

    def _content_start(self, event: Any) -> int:
        """Give where a value begins, after its anchor and tag."""
        index = _start_of(event)
        if event.anchor is None and event.tag is None:
            return index
        while self.text.startswith(("&", "!"), index) and index < event.end_mark.index:
            found = yaml_syntax.PROPERTY.match(self.text, index)
            if found is None:
                break
            index = found.end()
        return min(index, int(event.end_mark.index))

    def _cut(self, event: Any, raw: str, end: int) -> Finding | None:
        in_flow = bool(self.stack and self.stack[-1].event.flow_style)
        is_value = bool(self.stack) and (not self.stack[-1].is_mapping or self.stack[-1].key is not None)
        return yaml_syntax.find_cut(self.text, raw, end, in_flow=in_flow) if is_value else None

    def _frame_unsound(self, found: Finding) -> None:
        if found.severity == "error" and self.stack:
            self.stack[-1].sound = False

    def _offsets(self, span: Span) -> tuple[int, int]:
        starts = self.places.starts
        return starts[span.line - 1] + span.column - 1, starts[span.end_line - 1] + span.end_column - 1

    def _add(self, code: str, message: str, start: int, end: int, hint: str | None = None) -> None:
        self.findings.append(Finding(code, message, start, end, hint))

    def _stop(self, code: str, message: str, start: int, end: int) -> None:
        self._add(code, message, start, end)
        raise _Stop

    # --- masking ---

    def _is_masked(self) -> bool:
        """Whether the value that comes next lies under the file's `connections:`."""
        top = self.stack[0].key if self.stack else None
        if top is None or not isinstance(top.node, Scalar) or top.node.text != "connections":
            return False
        return not self.stack[-1].is_mapping or self.stack[-1].key is not None

    def _masked_comments(self) -> list[Span]:
        """Find the comments beside masked values."""
        lines = {line for span in self.masked for line in (span.line, span.end_line)}
        if not lines:
            return []
        ends: dict[int, int] = {}
        for span in self.masked:
            ends[span.end_line] = max(ends.get(span.end_line, 1), span.end_column)
        found = []
        texts = yaml_syntax.BREAK.split(self.text)
        for number in range(min(lines), max(lines) + 1):
            after = ends.get(number, 1)
            comment = re.compile(r"(?:^|(?<=\s))#.*").search(texts[number - 1], after - 1)
            if comment:
                found.append(Span(self.path, number, comment.start() + 1, number, comment.end() + 1))
        return found


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Put ranges in order, those that overlap as one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _start_of(event: Any) -> int:
    return int(event.start_mark.index)


def _is_nothing(node: Node) -> bool:
    return isinstance(node, Scalar) and node.style == "plain" and node.text == "" and node.sound


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return "a boolean" if isinstance(value, bool) else "a number"


def _masked_by_lines(path: str, text: str) -> tuple[Span, ...]:
    """Find what to hide under `connections:` in a file that cannot be parsed: all but what looks like a key."""
    spans: list[Span] = []
    inside: int | None = None
    for number, line in enumerate(yaml_syntax.BREAK.split(text), 1):
        indent = len(line) - len(line.lstrip())
        opening = re.compile(r"""(?:\{\s*)?["']?connections["']?\s*:""").match(line, indent)
        if inside is not None and not opening and re.compile(r"""["'\w]""").match(line, indent) and indent <= inside:
            inside = None
        start = None
        if opening:
            inside, start = indent, opening.end()
        elif inside is not None:
            key = re.match(r"\s*(?:- +)*[A-Za-z_][\w-]*:(?=\s|$)", line)
            start = key.end() if key else indent
        if start is not None and line[start:].strip():
            start += len(line[start:]) - len(line[start:].lstrip())
            spans.append(Span(path, number, start + 1, number, len(line) + 1))
    return tuple(spans)
