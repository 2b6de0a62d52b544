"""What the language refuses, with the word to write instead; precedence of the bar; bounds of the text."""

import pytest
from expression_world import scope, value

from engine.workflow.expressions import ExpressionError, compile_expression


def refusal(text):
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    return caught.value


def place(text, error):
    return text[error.offset : error.offset + error.length]


@pytest.mark.parametrize(
    ("text", "found", "word"),
    [
        ("a == None", "None", "write 'null'"),
        ("a == True", "True", "write 'true'"),
        ("a is null", "is", "write '=='"),
        ("a && b", "&&", "write 'and'"),
        ("a || b", "||", "write 'or'"),
        ("!a", "!", "write 'not'"),
        ("a ?? b", "??", "write 'or'"),
        ("a ? b : c", "?", "x if condition else y"),
        ("a?.b", "?", "a field of null is null already"),
        ("~a", "~", "write 'not'"),
        ("f'x{a}'", "f", "put ${{ … }} into a text"),
        ("(x := 1)", ":=", "under vars"),
        ("lambda x: x", "lambda", "write a comprehension"),
        ("2 ** 3", "**", "write the product"),
        ("7 // 2", "//", "write '/'"),
        ("a @ b", "@", "the name alone"),
        ("a & b", "&", "write 'and'"),
        ("a ^ b", "^", "write '!='"),
        ("1 << 2", "<<", "write '*'"),
        ("1 >> 2", ">>", "write '/'"),
        ("b'x'", "b", "without 'b'"),
        ("r'x'", "r", "without 'r'"),
        ("1j", "1j", "write a number"),
        ("a = 1", "=", "write '=='"),
        ("a === 1", "===", "write '=='"),
        ("a <> 1", "<>", "write '!='"),
        ("a AND b", "AND", "write 'and'"),
        ("_a", "_a", "not for workflows"),
        ("a._b", "_b", "not for workflows"),
        ("a.__class__", "__class__", "not for workflows"),
        ("žluť", "žluť", "in quotes"),
        ("data.from", "from", '["from"]'),
        ("class", "class", 'data["class"]'),
        ("await a", "await", 'data["await"]'),
        ("a # b", "#", "quote the '#'"),
        ("$a", "$", "the name alone"),
        ("+a", "+a", "leave it out"),
        ("(a, b)", "(a, b)", "write [a, b]"),
        ("{a, b}", "{a, b}", "write [a, b]"),
        ("person(*a)", "*a", "write the items out"),
        ("person(**a)", "**", "write the product"),
        ("[*a]", "*a", "write the items out"),
        ("(x for x in a)", "(x for x in a)", "write [… for … in …]"),
        ("{x for x in a}", "{x for x in a}", "unique"),
        ("[x for x in a for y in b]", "[x for x in a for y in b]", "under vars"),
        ("[x for x, y in a]", "x, y", "for x in people()"),
        ("[1 for null in a]", "null", "for x in people()"),
        ("a.b()()", "a.b()()", None),
        ("...", "...", "write the items out"),
    ],
)
def test_what_is_not_part_of_the_language_is_refused_with_the_word_to_write(text, found, word):
    error = refusal(text)
    assert error.code == "refused-syntax"
    assert place(text, error) == found
    assert (word is None and error.hint is None) or word in error.hint


@pytest.mark.parametrize(
    ("text", "found", "message"),
    [
        ("", "", "empty"),
        ("   ", "", "empty"),
        ("${{ }}", "", "empty"),
        ("'abc", "'", "this quote is not closed"),
        ("(1", "(", "this '(' is not closed"),
        ("1)", ")", "this ')' closes nothing"),
        ("[1}", "}", "this '}' closes nothing"),
        ("a b", "b", "an operator is missing between 'a' and 'b'"),
        ("['a' 'b']", "'b'", "two texts stand side by side"),
        ("1 +", "+", "something is missing after '+'"),
        ("a.", ".", "something is missing after '.'"),
        ("a and", "and", "something is missing after 'and'"),
        ("7d", "7d", "'7d' is a duration, which is written as a text"),
        ("ticket.idle > 2h30m", "2h30m", "which is written as a text"),
        ("0x1F", "0x1F", "cannot be read as a number"),
        ("007", "007", "cannot be read as a number"),
        ("1_000", "1_000", "cannot be read as a number"),
        ("9" * 30, "9" * 30, "this number is too large"),
        (r"'\d+'", r"\d", r"'\d' stands for nothing"),
        ("“a”", "“", "cannot stand outside quotes"),
        ("a\x00", "\x00", "this sign cannot be written here"),
        ("'\ud800'", "\ud800", "this sign cannot be written here"),
        ("a | 'x'", "'x'", "on the right of '|' stands the name of a filter"),
        ("a | b.c", "b.c", "on the right of '|' stands the name of a filter"),
        ("tickets(team='a', team='b')", "'b'", "'team' is given twice"),
        ("${{ a }} and ${{ b }}", "${{ a }} and ${{ b }}", "one expression, not a text"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(text, found, message):
    error = refusal(text)
    assert error.code == "bad-expression"
    assert place(text, error) == found
    assert message in error.message


def test_an_if_without_else_is_told():
    assert "needs its 'else'" in refusal("a if b").hint


def test_a_word_of_python_in_a_text_or_as_a_key_is_fine():
    assert value("d['from'] + ' is # not None && lambda'", d={"from": "it"}) == "it is # not None && lambda"


def test_escapes_in_texts():
    assert value(r"'a\n\t\\\'\"\x41č'") == "a\n\t\\'\"A\u010d"


# --- the bar ---------------------------------------------------------------------------------------------------------


def test_a_bar_binds_tighter_than_comparisons():
    assert value("[1, 2] | length == 2") is True
    assert value("2 < [1, 2, 3] | length") is True
    assert value("not [] | first") is True
    assert value("[2] | first in [1, 2] | sort") is True


def test_bars_follow_one_another():
    assert value("[[3, 1]] | first | sort | first") == 1


@pytest.mark.parametrize(
    "text", ["1 + a | length", "a | length + 1", "a - b | first", "2 * a | length", "-a | first", "a % b | sum"]
)
def test_beside_arithmetic_a_bar_demands_parentheses(text):
    error = refusal(text)
    assert error.message == "beside '+ - * / %' a filter needs parentheses"


def test_with_parentheses_either_reading_is_taken():
    assert value("([1] + [2]) | length") == 2
    assert value("(([1] + [2])) | length") == 2
    assert value("1 + ([1, 2] | length)") == 3
    assert value("([1, 2] | length) + 1") == 3
    assert value("(-x) | default(1)", x=2) == -2
    assert value("-1 | default(2)") == -1


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_the_longest_expression_is_taken_and_no_longer_one():
    assert compile_expression("'" + "x" * 3998 + "'").evaluate(scope()) == "x" * 3998
    assert refusal("'" + "x" * 3999 + "'").code == "expression-too-long"


def test_the_deepest_tree_is_taken_and_no_deeper_one():
    assert value("+".join(["1"] * 50)) == 50
    assert "too deep" in refusal("+".join(["1"] * 51)).message


@pytest.mark.parametrize(
    "text", ["-" * 3900 + "1", "not " * 900 + "a", "(" * 1900 + "1" + ")" * 1900, "[" * 1900 + "]" * 1900]
)
def test_what_is_nested_beyond_the_parser_is_too_deep(text):
    assert "too deep" in refusal(text).message


@pytest.mark.parametrize(
    "text", ["a" + ".b" * 1900, "a" + "[0]" * 1300, "a" + " | first" * 480, "[x for x in " * 60 + "a" + "]" * 60]
)
def test_long_chains_are_too_deep(text):
    assert "too deep" in refusal(text).message


def test_line_breaks_count_as_spaces():
    assert value("\n1\n+\n2\n") == 3
    assert value("'a\nb'") == "a b"
