"""What YAML's syntax means to people: scalars of the 1.2 core schema, errors in plain sentences, the known traps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from engine.problems import declare

#: libyaml's parser where PyYAML was built with it, else the one in Python; both give the same events.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

SYNTAX = declare("yaml-syntax", "The file is not YAML.", "Mend the place that the caret shows, or one just above it.")
TAB = declare("tab-indentation", "YAML is indented with spaces; a tab is refused.", "Replace the tab with spaces.")
QUOTE = declare(
    "quote-the-expression",
    "YAML ends an unquoted or half-quoted value earlier than it was meant to end: after a closing quote, and inside "
    "'{…}' or '[…]' at a comma, a bracket or ': '.",
    "Quote the expression, or write it in block form.",
)
CUT = declare(
    "cut-by-comment",
    "' #' begins a comment in an unquoted value, so the rest of it is not read.",
    "Quote the value, or write it in block form.",
)
QUOTE_HINT = "quote the expression, or write it in block form"

BREAK = re.compile(r"\r\n|\r|\n")
#: What is neither text nor a line break of YAML 1.2, and what libyaml would take for a line break.
CONTROL = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
#: An anchor or a tag in front of a value, with the space, comments and line breaks after it.
PROPERTY = re.compile(r"(?:&|!)(?:<[^>\s]*>|[^\s,\[\]{}]*)(?:[ \t]+|(?:[ \t]#[^\r\n]*)?[\r\n]+)*")


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem by offsets into the text."""

    code: str
    message: str
    start: int
    end: int
    hint: str | None = None
    severity: Literal["error", "warning"] = "error"


#: Signs that no file may hold: they stand around what a message cites of one, until it is known to be no secret.
_CITED = re.compile("\x02([^\x03]*)\x03")


def cite(text: str) -> str:
    """Mark text of the file in a finding's message or hint."""
    return f"\x02{text}\x03"


def with_cited(message: str) -> str:
    return _CITED.sub(r"\1", message)


def without_cited(message: str) -> str:
    return _CITED.sub("***", message)


# --- scalars ---------------------------------------------------------------------------------------------------------

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_LONGEST_NUMBER = 400
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def resolve(text: str) -> str | int | float | bool | None:
    """Give what an unquoted scalar means by the core schema of YAML 1.2."""
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if text[0] not in "+-.0123456789" or len(text) > _LONGEST_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text, base)
    if _FLOAT.fullmatch(text):
        return float(text)
    if found := _SPECIAL.fullmatch(text):
        return float((found[1] or "") + text[len(found[1] or "") + 1 :])
    return text


def resolve_as(tag: str, text: str) -> str | int | float | bool | None:
    """Give what a scalar means under one of YAML's own tags.

    Raises:
        KeyError: it is none of them.
        ValueError: the text is no such value.
    """
    wanted = {
        "tag:yaml.org,2002:str": (str,),
        "tag:yaml.org,2002:int": (int,),
        "tag:yaml.org,2002:float": (float, int),
        "tag:yaml.org,2002:bool": (bool,),
        "tag:yaml.org,2002:null": (type(None),),
    }[tag]
    if wanted == (str,):
        return text
    value = resolve(text)
    if type(value) not in wanted:
        raise ValueError(f"'{cite(text)}' is not what its tag '!!{tag.rpartition(':')[2]}' says")
    return float(value) if isinstance(value, int) and float in wanted else value


# --- from a resolved text back to the file ---------------------------------------------------------------------------

_FOLD = r"(?P<fold>[ \t]*(?:\r\n|\r|\n)(?:[ \t]*(?:\r\n|\r|\n))*[ \t]*)"
_TOKENS = {
    "plain": re.compile(rf"{_FOLD}|(?s:.)"),
    "single": re.compile(rf"{_FOLD}|''|(?s:.)"),
    "double": re.compile(
        rf"(?P<joined>\\(?:\r\n|\r|\n)[ \t]*)|{_FOLD}"
        r"|\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)|(?s:.)"
    ),
}
_MOST_MAPPED = 20_000


def places_of(raw: str, text: str, style: str) -> list[int] | None:
    """Give for each character of a resolved text, and for its end, the offset in what is written; None if unclear."""
    if raw == text:
        return list(range(len(raw) + 1))
    if len(raw) > _MOST_MAPPED:
        return None
    return _places_in_block(raw, text) if style in ("literal", "folded") else _places_in_flow(raw, text, style)


def _places_in_flow(raw: str, text: str, style: str) -> list[int] | None:
    quotes = 0 if style == "plain" else 1
    places: list[int] = []
    for token in _TOKENS[style].finditer(raw, quotes, len(raw) - quotes):
        groups = token.groupdict()
        if groups.get("joined"):
            continue
        count = 1
        if groups.get("fold"):
            count = max(1, len(BREAK.findall(token[0])) - 1)
        elif not token[0].startswith("\\") and text[len(places) : len(places) + 1] != token[0][0]:
            return None
        places += [token.start()] * count
    return [*places, len(raw) - quotes] if len(places) == len(text) else None


def _places_in_block(raw: str, text: str) -> list[int] | None:
    places: list[int] = []
    header = BREAK.search(raw)
    start = header.end() if header else len(raw)
    while start < len(raw):
        found = BREAK.search(raw, start)
        end = found.start() if found else len(raw)
        content = raw[start:end].strip(" ")
        if content:
            at = text.find(content, len(places))
            if at < 0:
                return None
            first = start + len(raw[start:end]) - len(raw[start:end].lstrip(" "))
            places += [max(start, first - (at - index)) for index in range(len(places), at)]
            places += range(first, first + len(content))
        start = found.end() if found else end
    return places + [len(raw)] * (len(text) + 1 - len(places))


# --- values that end early -------------------------------------------------------------------------------------------

_CUTS = re.compile(r"(?P<space>[ \t]*)(?P<char>[#,])")  # never to the end of the line, which may hold all of the file
_QUOTE_OPENS = re.compile(r"""(?<!\w)'|\"""")


def left_open(text: str) -> str | None:
    """Give what is open at the end of an unquoted text: `${{`, `"`, `'` or `(`; None where all is closed."""
    quote: str | None = None
    depth = 0
    expression = False
    index = 0
    while index < len(text):
        char = text[index]
        if quote:
            quote = None if char == quote else quote
        elif text.startswith("${{", index) and not text.startswith("$", index - 1 if index else len(text)):
            expression, index = True, index + 2
        elif expression and text.startswith("}}", index):
            expression, index = False, index + 1
        elif char == '"' or (char == "'" and _QUOTE_OPENS.match(text, index)):
            quote = char
        elif char in "()":
            depth += 1 if char == "(" else -1
        index += 1
    if expression:
        return "${{"
    return quote or ("(" if depth > 0 else None)


def find_cut(text: str, raw: str, end: int, *, in_flow: bool) -> Finding | None:
    """Find out whether an unquoted value was meant to go on behind `end`, where YAML ends it."""
    found = _CUTS.match(text, end)
    if found is None:
        return None
    char, start = found["char"], found.start("char")
    if char == "#" and (found["space"] or not raw):
        line_end = BREAK.search(text, start)
        return _cut_by_comment(raw, start, text[start : line_end.start() if line_end else len(text)].rstrip())
    if char == "," and in_flow and (what := left_open(raw)) is not None:
        message = f"an unquoted value ends at this comma, and its {what!r} is left open".replace("'\"'", "'\"'")
        return Finding(QUOTE, message, start, start + 1, QUOTE_HINT)
    return None


def _cut_by_comment(raw: str, start: int, comment: str) -> Finding | None:
    if not raw:
        if re.match(r"#[^\s#]", comment) is None:
            return None
        word = comment.split()[0]
        message = f"the value is empty: '{cite(word)}' is read as a comment"
        return Finding(CUT, message, start, start + len(word), f'quote it: "{cite(word)}"', "warning")
    what = left_open(raw)
    if what in ("${{", '"', "'"):
        message = f"' #' begins a comment here, and {what} is left open before it"
        severity: Literal["error", "warning"] = "error" if what == "${{" else "warning"
        return Finding(CUT, message, start, start + len(comment), QUOTE_HINT, severity)
    return None


# --- syntax errors ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Error:
    """A parser's error, with what was read before it."""

    context: str
    opened: int | None  #: where the construct began that could not be finished
    problem: str
    at: int
    text: str
    scalar: Any  #: the last scalar event
    flow: list[int]  #: where the brackets that are open begin

    @property
    def char(self) -> str:
        return self.text[self.at : self.at + 1]

    @property
    def line_start(self) -> int:
        return max(self.text.rfind("\n", 0, self.at), self.text.rfind("\r", 0, self.at)) + 1

    @property
    def before(self) -> str:
        """The line up to the error."""
        return self.text[self.line_start : self.at]

    def follows(self) -> bool:
        """Whether the last scalar ends on the error's line, with nothing but space in between."""
        return self.scalar is not None and not self.text[self.scalar.end_mark.index : self.at].strip(" \t")


def explain(error: yaml.YAMLError, text: str, scalar: Any, flow: list[int]) -> Finding:
    """Say in plain words what a parser's error means.

    Args:
        error: as PyYAML raised it.
        text: the whole file.
        scalar: the last scalar event before it.
        flow: offsets of the `{` and `[` that are open.
    """
    mark, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    at = min(mark.index if mark else 0, len(text))
    facts = _Error(
        getattr(error, "context", None) or "",
        context.index if context else None,
        getattr(error, "problem", None) or "",
        at,
        text,
        scalar,
        flow,
    )
    for rule in _RULES:
        found = rule(facts)
        if found is not None:
            return found
    return Finding(SYNTAX, "this cannot be read as YAML", at, at + 1, "look at this line and the one above it")


def _tab(error: _Error) -> Finding | None:
    indent = re.match(r"[ \t]*", error.text[error.line_start :])
    assert indent is not None
    tab = error.text.find("\t", error.line_start, error.line_start + indent.end())
    if tab < 0 or "quoted" in error.context:
        return None
    return Finding(TAB, "a tab indents this line", tab, tab + 1, "replace the tab with spaces")


def _after_quote(error: _Error) -> Finding | None:
    if not error.follows() or error.scalar.style not in ('"', "'") or error.char in ("", "\n", "\r", "]", "}"):
        return None
    if "',' or" not in error.problem and "block" not in error.context:
        return None
    start = error.scalar.start_mark.index
    end = error.scalar.end_mark.index
    message = f"the value ends with the quote that closes {cite(error.text[start:end])}, and more follows"
    if end - start > 40 or "\n" in error.text[start:end]:
        message = "the value ends with its closing quote, and more follows"
    return Finding(QUOTE, message, error.at, _line_end(error, error.at), QUOTE_HINT)


def _in_flow(error: _Error) -> Finding | None:
    if "',' or" not in error.problem or error.opened is None:
        return None
    bracket = error.text[error.opened : error.opened + 1]
    on_one_line = error.follows() and BREAK.search(error.text, error.scalar.start_mark.index, error.at) is None
    if on_one_line and error.scalar.style in (None, "") and error.char in tuple("{[:?,&*!\"'"):
        if error.text.startswith("${{", error.scalar.end_mark.index - 1):
            message = f"'${{{{' is not taken unquoted inside '{bracket}'"
            return Finding(QUOTE, message, error.scalar.end_mark.index - 1, error.at + 2, QUOTE_HINT)
        message = f"an unquoted value inside '{bracket}' ends at this '{error.char}'"
        return Finding(QUOTE, message, error.at, error.at + 1, QUOTE_HINT)
    closing = "}" if bracket == "{" else "]"
    opened = error.text[error.opened : error.at]
    if "\n" in opened or not error.char:
        message = f"the '{bracket}' that opens here is not closed before the next line begins"
        return Finding(SYNTAX, message, error.opened, error.opened + 1, f"close it with '{closing}'")
    return Finding(SYNTAX, f"',' or '{closing}' must stand here", error.at, error.at + 1)


def _colon(error: _Error) -> Finding | None:
    if "mapping values are not allowed" not in error.problem:
        return None
    if re.fullmatch(r"\s*(?:- +)*[^\s:]+", error.before):
        return _indentation(error, error.line_start + len(error.before) - len(error.before.lstrip()))
    message = "': ' inside an unquoted value begins another key"
    hint = QUOTE_HINT if "${{" in error.before else "quote the value, or write it in block form"
    return Finding(QUOTE, message, error.at, error.at + 1, hint)


def _missing_colon(error: _Error) -> Finding | None:
    if "could not find expected ':'" not in error.problem or error.opened is None:
        return None
    end = _line_end(error, error.opened)
    message = f"no ':' follows '{cite(_short(error.text[error.opened : end]))}'"
    return Finding(SYNTAX, message, error.opened, end, "write 'key: value'; a space follows the ':'")


def _indented(error: _Error) -> Finding | None:
    if "block mapping" in error.context or "block collection" in error.context:
        return _indentation(error, error.at)
    return None


def _indentation(error: _Error, at: int) -> Finding:
    end = _line_end(error, at)
    word = _short(re.split(r":(?:\s|$)", error.text[at:end])[0])
    if "block collection" in error.context and not word.startswith("-"):
        message = f"'{cite(word)}' stands where the list goes on, and does not begin with '-'"
    else:
        message = f"'{cite(word)}' is not indented like the lines it belongs to"
    return Finding(SYNTAX, message, at, at + max(1, len(word)), "put it in the same column as what stands beside it")


def _unclosed_quote(error: _Error) -> Finding | None:
    if "quoted scalar" not in error.context or error.opened is None:
        return None
    if "stream" in error.problem or "document" in error.problem:
        message = "the quote that opens here is never closed"
        return Finding(SYNTAX, message, error.opened, error.opened + 1, "close it, or remove it")
    if "escape" in error.problem or "hexdecimal" in error.problem or "hexadecimal" in error.problem:
        at = error.text.rfind("\\", error.opened, error.at + 1)
        at = error.at if at < 0 else at
        written = error.text[at : at + 2]
        hint = "write '\\\\' for a backslash, or use single quotes"
        return Finding(SYNTAX, f"'{written}' is no escape in double quotes", at, at + len(written), hint)
    return None


def _bad_start(error: _Error) -> Finding | None:
    if "cannot start any token" not in error.problem:
        return None
    return Finding(
        SYNTAX, f"an unquoted value cannot begin with '{error.char}'", error.at, error.at + 1, "quote the value"
    )


def _inline_dash(error: _Error) -> Finding | None:
    if "sequence entries are not allowed" in error.problem:
        return Finding(SYNTAX, "a list cannot begin here", error.at, error.at + 1, "begin it on a line of its own")
    if "mapping keys are not allowed" in error.problem:
        return Finding(SYNTAX, "'?' cannot stand here", error.at, error.at + 1, "quote the value if it begins with '?'")
    return None


def _names(error: _Error) -> Finding | None:
    for word, sign in (("alias", "*"), ("anchor", "&")):
        if word in error.context:
            at = error.at if error.opened is None else error.opened
            hint = f"quote the value if it begins with '{sign}'"
            return Finding(SYNTAX, f"'{sign}' is followed by no name", at, at + 1, hint)
    if "tag" in error.context or "tag" in error.problem:
        at = error.at if error.opened is None else error.opened
        at = error.text.rfind("!", error.line_start, at + 1) if error.text[at : at + 1] != "!" else at
        return Finding(SYNTAX, "what begins with '!' is read by YAML as a tag", max(at, 0), max(at, 0) + 1, QUOTE_HINT)
    return None


def _block_header(error: _Error) -> Finding | None:
    if "block scalar" not in error.context or error.opened is None:
        return None
    sign = error.text[error.opened : error.opened + 1]
    message = f"only '{sign}', '{sign}-' or '{sign}+' begins a block of text, and the text follows on the next line"
    return Finding(SYNTAX, message, error.at, error.at + 1)


def _directive(error: _Error) -> Finding | None:
    if "directive" in error.context + error.problem or "incompatible YAML" in error.problem:
        return Finding(SYNTAX, "this '%' line is not understood", error.at, error.at + 1, "remove it")
    return None


def _no_content(error: _Error) -> Finding | None:
    if "node content" not in error.problem and "<document start>" not in error.problem:
        return None
    shown = f"'{error.char}'" if error.char.strip() else "nothing"
    return Finding(SYNTAX, f"a value must stand here, not {shown}", error.at, error.at + 1)


_RULES = (
    _tab,
    _after_quote,
    _in_flow,
    _colon,
    _missing_colon,
    _unclosed_quote,
    _bad_start,
    _inline_dash,
    _names,
    _block_header,
    _directive,
    _no_content,
    _indented,
)


def _line_end(error: _Error, at: int) -> int:
    found = BREAK.search(error.text, at)
    end = found.start() if found else len(error.text)
    return at + len(error.text[at:end].rstrip()) or end


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
