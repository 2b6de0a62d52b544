"""Files that would take all time or memory to read: each is a case with a bound. Run by test_hostile_yaml."""

from hostile_bounds import ASKED, case

from engine.problems import render_all
from engine.workflow.source import plain, read_source

MIB = (1024 if ASKED else 128) * 1024


def read(data):
    file, problems = read_source("w.yaml", data[:MIB])
    assert len(render_all(problems)) < 500_000
    if file.root is not None:
        plain(file.root)


case("many values on one line", read, b"[" + b"a," * (MIB // 2 - 1) + b"]")
case("many lists", read, b"-\n" * (MIB // 2))
case("many values", read, b"- a\n" * (MIB // 4))
case("tags on one line", read, b"[" + b"!a b," * (MIB // 5) + b"]")
case("a tag as long as the file", read, b"!" + b"a" * (MIB - 3) + b" b")
case("unknown aliases on one line", read, b"[" + b"*a," * (MIB // 3) + b"]")
case("the same key again and again", read, b"{" + b"a: 1," * (MIB // 6) + b"}")
case("lists as keys", read, b"{" + b"[a]: 1," * (MIB // 8) + b"}")
case("values with open quotes", read, b"[" + b'a" ,' * (MIB // 4) + b"]")
case("spaces", read, b" " * MIB)
case("tabs", read, b"\t" * MIB)
case("line breaks", read, b"\n" * MIB)
case("connections", read, b"connections:\n" + b"".join(b" a%d: x # c\n" % n for n in range(MIB // 18)))
one_line = b"connections: {" + b"".join(b"a%d: x, " % n for n in range(MIB // 18)) + b"}"
case("connections on one line", read, one_line)
case("the same connection", read, b"connections: {" + b"a: x, " * (MIB // 7) + b"}")
case("broken connections", read, b"connections:\n" + b" a: x # c\n" * (MIB // 11) + b" [")
block = b"connections:\n  a: &a |\n" + b"    x\n" * (MIB // 21)
case("a long secret named again", read, block + b"  b: [" + b"*a, " * 9_000 + b"]\n  b: 1\n")
case("a long key", read, b"a" * (MIB - 4) + b": 1")
case("a long quoted text", read, b"'" + b"''" * (MIB // 2 - 1) + b"'")
case("escapes", read, b'"' + b"\\\\" * (MIB // 2 - 1) + b'"')
case("anchors", read, b"".join(b"- &a%d x\n" % n for n in range(MIB // 12)))
case(
    "billions of laughs",
    read,
    b"a: &a [x,x]\n" + b"".join(b"b%d: &b%d [*a,*a,*b%d]\n" % (n, n, n - 1) for n in range(1, MIB // 120)),
)
case("laughs", read, b"a0: &a0 x\n" + b"".join(b"a%d: &a%d [*a%d,*a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 60)))
for deep in (b"[", b"{", b"- ", b"? ", b"{a: ", b"[[", b"- - ", b"a:\n "):
    case(f"deep: {deep}", read, deep * (MIB // len(deep)))
case("deep by indentation", read, b"".join(b" " * n + b"a:\n" for n in range(300)))
for bad in (
    b"\0",
    b"\x07",
    b"\xff",
    b"\xef\xbb\xbf",
    b"%a\n",
    b"---\n",
    b"...\n",
    b"&a ",
    b"*a ",
    b"!a ",
    b"#\n",
    b": ",
    b"', ",
    b"(",
    b"|\n",
    b"\xe2\x80\xa8",
    b"@",
    b"\r",
    b"\\",
):
    case(f"nothing but {bad}", read, bad * (MIB // len(bad)))
