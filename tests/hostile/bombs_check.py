"""Workflow files that would take all time or memory to check. Run by test_hostile_check."""

from hostile_bounds import ASKED, ROOT, case

from engine import wiring
from engine.problems import render_all, sort
from engine.workflow.check import Names, check_workflow
from engine.workflow.source import read_source

MIB = (1024 if ASKED else 256) * 1024
CATALOGUE = wiring.catalogue(ROOT, plugins=False)
HEAD = b"on: incident.declared\n"


def check(text):
    file, reading = read_source("w.yaml", (HEAD + text)[:MIB])
    _, checking = check_workflow(file, CATALOGUE, Names())
    render_all(sort(reading + checking))


def many(line, start=b"steps:\n"):
    return start + line * ((MIB - len(start) - len(HEAD)) // len(line))


def numbered(line, start=b"steps:\n"):
    return start + b"".join(line.replace(b"N", b"%d" % n) for n in range((MIB - 100) // (len(line) + 4)))


case("steps", check, many(b"  - uses: chat.post\n    with: {text: hi}\n"))
case("steps with ids", check, numbered(b"  - id: aN\n    uses: chat.post\n    with: {text: '${{ steps.aN.url }}'}\n"))
case("the same id", check, many(b"  - id: a\n    uses: chat.post\n    with: {text: hi}\n"))
case("unknown actions", check, many(b"  - uses: chat.psot\n"))
case("unknown keys", check, numbered(b"keyN: 1\n", b""))
case("unknown inputs", check, numbered(b"      kN: 1\n", b"steps:\n  - uses: chat.post\n    with:\n"))
case("vars", check, numbered(b"  vN: '${{ vars.vN }}'\n", b"vars:\n"))
case(
    "vars of one another",
    check,
    b"steps: []\nvars:\n  v0: [1]\n"
    + b"".join(b"  v%d: '${{ [vars.v%d, vars.v%d] }}'\n" % (n, n - 1, n - 1) for n in range(1, 60)),
)
case("expressions", check, many(b"  - finish: a ${{ incident.titel }} b\n"))
case("a long text", check, b"steps:\n  - finish: '" + b"${{ incident.title }}" * ((MIB - 100) // 22) + b"'\n")
case(
    "a long folded text", check, b"steps:\n  - finish: >-\n" + b"      a ${{ incident.titel }}\n" * ((MIB - 100) // 30)
)
case("groups in groups", check, b"steps:\n" + b"".join(b" " * (4 * n) + b"- steps:\n" for n in range(40)))
case("anchors", check, b"x: &a {uses: chat.post, with: {text: hi}}\nsteps: [" + b"*a, " * (MIB // 5) + b"]\n")
long_text = b"vars: {a: &a '" + b"${{ incident.title }} " * (MIB // 50) + b"'}\nsteps: ["
case("a long text by anchors", check, long_text + b"{finish: *a}, " * (MIB // 40) + b"]\n")
laughs = b"".join(b"  a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 40))
case("laughs", check, b"vars:\n  a0: &a0 x\n" + laughs + b"steps: []\n")
case("lists", check, b"steps:\n  - uses: chat.post\n    with: {text: [" + b"1," * (MIB // 2 - 100) + b"]}\n")
case("a choice", check, numbered(b"oN, ", b"steps: []\ninputs: {a: {type: choice, options: [") + b"]}}\n")
