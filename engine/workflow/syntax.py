"""Read the text of an expression into Python's `ast`, and refuse whatever is not part of the language.

First a scan of the tokens, which knows the words of other languages and what to write instead; then `ast.parse`; then
a walk over the tree, by a loop. All places are characters of the text that was given.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from engine.calendars import parse_duration
from engine.problems import declare
from engine.workflow.scope import MOST_NUMBER, ExpressionError

MOST_CHARACTERS = 4_000
MOST_DEPTH = 50

BAD_EXPRESSION = declare(
    "bad-expression",
    "The text cannot be read as an expression.",
    "Look at the place under the caret: a quote, a bracket, an operator or a comma is missing or too many there.",
)
REFUSED = declare(
    "refused-syntax",
    "The expression uses something that the language does not have: an operator of another language, a star, a lambda.",
    "The hint names the word to write instead.",
)
TOO_LONG = declare(
    "expression-too-long",
    "An expression has at most 4,000 characters, and a tree at most 50 levels deep.",
    "Give a part of it a name under vars: and use that.",
)

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\w*)
    |(?P<name>[^\W\d]\w*)
    |(?P<sign>===|!==|&&|\|\||\?\?|:=|\*\*|//|<<|>>|<>|==|!=|<=|>=|=>|->|\.\.\.|\$\{\{|.)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(?:(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U000[0-9a-fA-F]{5}|U0010[0-9a-fA-F]{4}|[\\'\"ntr])|(.))", re.S
)
_DECIMAL = re.compile(r"(?:0|[1-9]\d*)?(?:\.\d*)?(?:[eE][+-]?\d+)?")
_UNTIL_CLOSING = re.compile(r"[^\"'{}]*\}\}")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")

_SIGNS = {
    "&&": "write 'and'",
    "||": "write 'or'",
    "!": "write 'not'",
    "!==": "write '!='",
    "===": "write '=='",
    "<>": "write '!='",
    "=>": "write '>='",
    "->": "write '- (… > …)' if that is meant",
    "??": "write 'or', or '| default(…)'",
    "?": "write 'x if condition else y'; a field of null is null already",
    "~": "write 'not', or join texts with '+'",
    ":=": "give the value a name under vars:",
    "**": "write the product, such as x * x",
    "//": "write '/'",
    "@": "write the name alone",
    "&": "write 'and'",
    "^": "write '!=' between two booleans",
    "<<": "write '*', or compare with '<'",
    ">>": "write '/', or compare with '>'",
    "...": "write the items out",
    "${{": "an expression holds no other one: write the names bare",
    "$": "write the name alone",
    ";": "write one expression",
    "`": "write '\"' around a text",
    "#": "a comment cannot stand inside an expression: put it above, or quote the '#'",
    "\\": "write '\\\\' inside quotes",
}
_WORDS = {
    "None": "write 'null'",
    "True": "write 'true'",
    "False": "write 'false'",
    "NULL": "write 'null'",
    "TRUE": "write 'true'",
    "FALSE": "write 'false'",
    "AND": "write 'and'",
    "OR": "write 'or'",
    "NOT": "write 'not'",
    "is": "write '==', or '!=' for 'is not'",
    "lambda": "write a comprehension, such as [x.name for x in people()]",
}
_OPERATING_WORDS = frozenset({"and", "or", "not", "in", "if", "else", "for"})
CONSTANTS = {"null": None, "true": True, "false": False}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Source:
    """An expression as read: its tree, and how the tree's places become places of the text that was given."""

    text: str  #: what was given
    start: int  #: where the expression itself begins in it
    tree: ast.expr
    ascii: bool

    def span(self, node: ast.expr) -> tuple[int, int]:
        """Give where a node begins, and its length."""
        begin, end = self.place(node.col_offset), self.place(node.end_col_offset or node.col_offset)
        return begin, end - begin

    def place(self, column: int) -> int:
        """Give the place of a column of the tree."""
        if self.ascii:
            return self.start + column
        return self.start + len(self.text[self.start :].encode()[:column].decode(errors="ignore"))

    def of(self, node: ast.expr) -> str:
        """Give the text of a node."""
        begin, length = self.span(node)
        return self.text[begin : begin + length]

    def problem(self, node: ast.expr, message: str, *, code: str, hint: str | None = None) -> ExpressionError:
        return ExpressionError(message, *self.span(node), code=code, hint=hint)


def read(text: str) -> Source:
    """Read an expression, bare or as one whole `${{ … }}`.

    Raises:
        ExpressionError: it is too long or too deep, or no expression of the language.
    """
    start, end = _inner(text)
    bare = text[start:end]
    if len(bare) > MOST_CHARACTERS:
        raise ExpressionError(
            f"an expression has at most {MOST_CHARACTERS:,} characters, this one {len(bare):,}",
            start,
            end - start,
            code=TOO_LONG,
            hint="give a part of it a name under vars:",
        )
    if not bare:
        raise ExpressionError("the expression is empty", start, 0, code=BAD_EXPRESSION)
    tokens = [_Token(token.kind, token.text, token.start + start) for token in _scan(bare, start)]
    _check_brackets(tokens)
    source = Source(text, start, _parse(bare, start, tokens), bare.isascii())
    _check_tree(source)
    return source


def _inner(text: str) -> tuple[int, int]:
    start, end = len(text) - len(text.lstrip()), len(text.rstrip())
    if text.startswith("${{", start) and text.endswith("}}", start, end) and end - start >= 5:
        closing = find_closing(text, start + 3)
        if closing == end - 2:
            start, end = start + 3, closing
        elif closing is not None:
            raise ExpressionError(
                "this must be one expression, not a text with expressions in it",
                start,
                end - start,
                code=BAD_EXPRESSION,
                hint="write it bare, without ${{ }}",
            )
    inner = text[start:end]
    return start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip())


def find_closing(text: str, start: int) -> int | None:
    """Give the place of the `}}` that closes a `${{`, whose inside begins at `start`; None where nothing does.

    Inside quotes, and as the end of a mapping, `}}` does not close.
    """
    plain = _UNTIL_CLOSING.match(text, start)
    if plain is not None:
        return plain.end() - 2
    depth, place = 0, start
    while place < len(text):
        sign = text[place]
        if sign in "\"'":
            end = _end_of_quote(text, place)
            if end is None:
                return None
            place = end
        elif sign == "{":
            depth += 1
        elif sign == "}" and depth:
            depth -= 1
        elif text.startswith("}}", place):
            return place
        place += 1
    return None


def _end_of_quote(text: str, start: int) -> int | None:
    place = start + 1
    while place < len(text):
        if text[place] == "\\":
            place += 1
        elif text[place] == text[start]:
            return place
        place += 1
    return None


# --- tokens ----------------------------------------------------------------------------------------------------------


def _scan(bare: str, base: int) -> Iterator[_Token]:
    """Give the tokens without spaces, refusing those that the language does not have."""
    control = _CONTROL.search(bare)
    if control:
        raise ExpressionError("this sign cannot be written here", base + control.start(), 1, code=BAD_EXPRESSION)
    before: list[_Token] = []
    open_calls: list[bool] = []
    for found in _TOKEN.finditer(bare):
        token = _Token(found.lastgroup or "", found.group(), found.start())
        if token.kind == "space":
            continue
        try:
            _check_token(token, before, open_calls)
        except ExpressionError as error:
            raise error.moved(base) from None
        _note_brackets(token, before, open_calls)
        before.append(token)
        yield token


def _note_brackets(token: _Token, before: list[_Token], open_calls: list[bool]) -> None:
    if token.kind == "sign" and token.text in "([{":
        calls = token.text == "(" and bool(before) and (before[-1].kind == "name" or before[-1].text in ")]")
        open_calls.append(calls and before[-1].text not in _OPERATING_WORDS)
    elif token.kind == "sign" and token.text in ")]}" and open_calls:
        open_calls.pop()


def _check_token(token: _Token, before: list[_Token], open_calls: list[bool]) -> None:
    previous = before[-1] if before else _Token("", "", 0)
    if token.kind == "string":
        _check_string(token, previous)
    elif token.kind == "number":
        _check_number(token)
    elif token.kind == "name":
        _check_name(token, previous)
    elif token.text in "\"'":
        raise _bad(token, "this quote is not closed", "write a second one after the text")
    elif token.text == "=" and not _names_argument(before, open_calls):
        raise _refused(token, "write '==' to compare")
    elif token.text in _SIGNS:
        raise _refused(token, _SIGNS[token.text])
    elif not token.text.isascii():
        hint = "write '\"' around a text" if token.text in "“”„‘’«»" else None
        raise _bad(token, f"'{token.text}' cannot stand outside quotes", hint)


def _names_argument(before: list[_Token], open_calls: list[bool]) -> bool:
    return (
        len(before) >= 2
        and before[-1].kind == "name"
        and before[-2].text in "(,"
        and bool(open_calls and open_calls[-1])
    )


def _check_string(token: _Token, previous: _Token) -> None:
    if previous.end == token.start and previous.kind == "name":
        prefix = previous.text.lower()
        what = "f-strings" if "f" in prefix else "bytes" if "b" in prefix else "prefixed texts"
        hint = (
            'write "a" + b, or put ${{ … }} into a text'
            if "f" in prefix
            else f"write the text without '{previous.text}'"
        )
        raise _refused(previous, hint, f"the language has no {what}")
    if previous.kind == "string":
        raise _bad(
            token, "two texts stand side by side", "write a comma or '+' between them; inside quotes, write '\\\"'"
        )
    for escape in _ESCAPE.finditer(token.text, 1, len(token.text) - 1):
        if escape.group(2) is not None or re.match(r"[uU](?:0000)?[dD][89a-fA-F]", escape.group(1)):
            shown = "\\n" if escape.group(2) == "\n" else escape.group()
            raise _bad(
                _Token("", escape.group(), token.start + escape.start()),
                f"'{shown}' stands for nothing",
                "write '\\\\' for a backslash; known are \\n \\t \\r \\\" \\' \\xHH \\uHHHH",
            )


def _check_number(token: _Token) -> None:
    if _DECIMAL.fullmatch(token.text):
        if float(token.text) > MOST_NUMBER:
            raise _bad(token, "this number is too large: at most 2^63")
        return
    if token.text[-1] in "jJ":
        raise _refused(token, "write a number without it", "the language has no complex numbers")
    try:
        parse_duration(token.text)
    except ValueError:
        raise _bad(
            token, f"'{token.text}' cannot be read as a number", "write it in digits, such as 1500 or 0.5"
        ) from None
    raise _bad(token, f"'{token.text}' is a duration, which is written as a text", f"write '\"{token.text}\"'")


def _check_name(token: _Token, previous: _Token) -> None:
    if token.text.startswith("_"):
        raise _refused(token, "names beginning with '_' are not for workflows", f"'{token.text}' cannot be read")
    if not token.text.isascii():
        raise _refused(token, 'write such a field in quotes: data["…"]', f"the name '{token.text}' is not ASCII")
    if previous.text == ".":
        if keyword.iskeyword(token.text):
            raise _refused(
                token, f'write ["{token.text}"] in place of .{token.text}', f"'{token.text}' is a reserved word"
            )
    elif token.text in _WORDS:
        raise _refused(token, _WORDS[token.text])
    elif keyword.iskeyword(token.text) and token.text not in _OPERATING_WORDS:
        raise _refused(token, f'as a field, write data["{token.text}"]', f"'{token.text}' is a reserved word")


def _refused(token: _Token, hint: str, message: str | None = None) -> ExpressionError:
    message = message or f"'{token.text}' is not part of the language"
    return ExpressionError(message, token.start, len(token.text), code=REFUSED, hint=hint)


def _bad(token: _Token, message: str, hint: str | None = None) -> ExpressionError:
    return ExpressionError(message, token.start, len(token.text), code=BAD_EXPRESSION, hint=hint)


_PAIRS = {")": "(", "]": "[", "}": "{"}


def _check_brackets(tokens: list[_Token]) -> None:
    opened: list[_Token] = []
    for token in tokens:
        if token.kind != "sign":
            continue
        if token.text in "([{":
            opened.append(token)
        elif token.text in _PAIRS:
            if not opened or opened[-1].text != _PAIRS[token.text]:
                raise _bad(token, f"this '{token.text}' closes nothing")
            opened.pop()
    if opened:
        raise _bad(opened[-1], f"this '{opened[-1].text}' is not closed")


# --- the tree --------------------------------------------------------------------------------------------------------


def _parse(bare: str, start: int, tokens: list[_Token]) -> ast.expr:
    try:
        return ast.parse(re.sub(r"\s", " ", bare), mode="eval").body
    except SyntaxError as error:
        if "nested" in str(error.msg):
            raise _too_deep(start, len(bare)) from None
        raise _unreadable(error, start, tokens) from None
    except (RecursionError, MemoryError):
        raise _too_deep(start, len(bare)) from None


def _too_deep(start: int, length: int) -> ExpressionError:
    return ExpressionError(
        f"the expression is too deep: at most {MOST_DEPTH} levels",
        start,
        length,
        code=TOO_LONG,
        hint="give a part of it a name under vars:",
    )


def _unreadable(error: SyntaxError, start: int, tokens: list[_Token]) -> ExpressionError:
    for left, right in pairwise(tokens):
        if _ends_operand(left) and _begins_operand(right):
            hint = "write an operator between them, or a comma in a list; a text goes in quotes"
            return _bad(right, f"an operator is missing between '{left.text}' and '{right.text}'", hint)
    place = start + (error.offset or 1) - 1
    token = next((token for token in tokens if token.end > place), None)
    if token is None or tokens[-1].text in (*_OPERATING_WORDS, *"+-*/%|.,<>=", "==", "!=", "<=", ">="):
        return _bad(tokens[-1], f"something is missing after '{tokens[-1].text}'")
    return _bad(
        token, f"cannot be read from '{token.text}' on", "'x if y' needs its 'else'" if _half_if(tokens) else None
    )


def _half_if(tokens: list[_Token]) -> bool:
    words = [token.text for token in tokens if token.kind == "name"]
    return words.count("if") > words.count("else") and "for" not in words


def _ends_operand(token: _Token) -> bool:
    return token.kind in ("string", "number") or token.text in (")", "]", "}") or _is_plain_name(token)


def _begins_operand(token: _Token) -> bool:
    return token.kind in ("string", "number") or _is_plain_name(token)


def _is_plain_name(token: _Token) -> bool:
    return token.kind == "name" and token.text not in _OPERATING_WORDS


_KNOWN_NODES = (
    ast.Constant,
    ast.Name,
    ast.Attribute,
    ast.Subscript,
    ast.Slice,
    ast.List,
    ast.Dict,
    ast.BoolOp,
    ast.UnaryOp,
    ast.BinOp,
    ast.Compare,
    ast.IfExp,
    ast.Call,
    ast.ListComp,
    ast.DictComp,
)
_REFUSED_NODES: dict[type[ast.expr], tuple[str, str]] = {
    ast.Starred: ("the language has no stars", "write the items out, or join lists with '+'"),
    ast.Tuple: ("a list is written in square brackets", "write [a, b]"),
    ast.Set: ("the language has no sets", "write [a, b]"),
    ast.SetComp: ("the language has no sets", "write [… for … in …] | unique"),
    ast.GeneratorExp: ("a comprehension is written in square brackets", "write [… for … in …]"),
}
ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Mod)


def _check_tree(source: Source) -> None:
    todo: list[tuple[ast.expr, int]] = [(source.tree, 1)]
    while todo:
        node, depth = todo.pop()
        if depth > MOST_DEPTH:
            raise _too_deep(*source.span(source.tree))
        _check_node(source, node)
        todo += [(child, depth + 1) for child in children(node)]


def children(node: ast.expr) -> Iterator[ast.expr]:
    """Give the expressions right under a node, those of its arguments and its `for` included."""
    for name in node._fields:
        value = getattr(node, name)
        for child in value if isinstance(value, list) else (value,):
            if isinstance(child, ast.expr):
                yield child
            elif isinstance(child, ast.keyword):
                yield child.value
            elif isinstance(child, ast.comprehension):
                yield from (child.target, child.iter, *child.ifs)


def _check_node(source: Source, node: ast.expr) -> None:
    if not isinstance(node, _KNOWN_NODES):
        message, hint = _REFUSED_NODES.get(
            type(node), ("this is not part of the language", "write it in simpler parts")
        )
        raise source.problem(node, message, code=REFUSED, hint=hint)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd):
        raise source.problem(node, "a '+' before a value has no meaning", code=REFUSED, hint="leave it out")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        _check_bar(source, node)
    if isinstance(node, ast.Call):
        _check_call(source, node)
    if isinstance(node, ast.ListComp | ast.DictComp):
        _check_comprehension(source, node)
    if isinstance(node, ast.Dict) and None in node.keys:
        raise source.problem(node, "the language has no stars", code=REFUSED, hint="write the keys out")


def _check_bar(source: Source, node: ast.BinOp) -> None:
    """Demand parentheses beside arithmetic. `ast` drops them, but then the node begins before its left side."""
    bare = node.col_offset == node.left.col_offset
    if bare and _is_arithmetic(node.left):
        raise _needs_parentheses(source, node)
    if isinstance(node.right, ast.Name) or (isinstance(node.right, ast.Call) and isinstance(node.right.func, ast.Name)):
        return
    if _is_arithmetic(node.right):
        raise _needs_parentheses(source, node)
    message = "on the right of '|' stands the name of a filter, or a call of one"
    raise source.problem(node.right, message, code=BAD_EXPRESSION, hint="write such as: incident.services | first")


def _is_arithmetic(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant)
    return isinstance(node, ast.BinOp) and isinstance(node.op, ARITHMETIC)


def _needs_parentheses(source: Source, node: ast.BinOp) -> ExpressionError:
    message = "beside '+ - * / %' a filter needs parentheses"
    hint = "write (a + b) | length, or a + (b | length)"
    return source.problem(node, message, code=REFUSED, hint=hint)


def _check_call(source: Source, node: ast.Call) -> None:
    if not isinstance(node.func, ast.Name | ast.Attribute):
        raise source.problem(node, "only functions and the methods of texts can be called", code=REFUSED)
    names: set[str] = set()
    for argument in node.keywords:
        if argument.arg is None:
            hint = "write the arguments out"
            raise source.problem(argument.value, "the language has no stars", code=REFUSED, hint=hint)
        if argument.arg in names:
            raise source.problem(argument.value, f"'{argument.arg}' is given twice", code=BAD_EXPRESSION)
        names.add(argument.arg)


def _check_comprehension(source: Source, node: ast.ListComp | ast.DictComp) -> None:
    if len(node.generators) > 1:
        message = "a comprehension has one 'for'"
        raise source.problem(node, message, code=REFUSED, hint="give the inner list a name under vars:")
    target = node.generators[0].target
    if not isinstance(target, ast.Name) or target.id in CONSTANTS:
        raise source.problem(
            target, "after 'for' stands one name", code=REFUSED, hint="write such as: for x in people()"
        )
