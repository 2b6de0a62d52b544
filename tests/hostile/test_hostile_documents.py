"""What comes from outside stays text where it is shown: in Markdown, in front matter, in tables, in names of files."""

import asyncio
import re

import pytest
import yaml
from hostile_bounds import hostile
from hostile_values import scope
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from actions.providers.markdown import Markdown, MarkdownOptions
from engine.capabilities import ACTION_ITEM_COLUMNS
from engine.workflow.expressions import compile_text
from engine.workflow.templates import compile_template
from tests.fakes import FakeConnection, an_effect

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
#: What may come of a value in a line: text, and emphasis, which changes nothing but how it looks.
INLINE = {
    "text",
    "text_special",
    "softbreak",
    "em_open",
    "em_close",
    "strong_open",
    "strong_close",
    "s_open",
    "s_close",
}
SIGNS = [
    *"#->+*=~_|\\<>[]()`!&:;.1 \t\n\r\u2028\x85\x0b\x0c\x00\u200b\u00a0$@{}%'\"a",
    "a",
    "b",
    "---",
    "===",
    "```",
    "~~~",
    "    ",
    "  ",
    "1. ",
    "1) ",
    "- ",
    "- [ ] ",
    "> ",
    "# ",
    "| a | b |",
    "|---|",
    ":-:",
    "<b>",
    "<!-- ",
    " -->",
    "<script>",
    "[x](http://evil)",
    "![x](y)",
    "[a]: /x",
    "\\|",
    "\\",
    "&#35;",
    "&lt;",
    "\n---\n",
    "\nstatus: published",
    "x\nstatus: published",
    "| pay me | ceo |",
    "\n\n",
    "<!-- hotwash:x -->",
    "{{ 1 }}",
    "${{ 1 }}",
    "{% raw %}",
    "http://example.org",
    "…",
]
outside = st.one_of(
    st.lists(st.sampled_from(SIGNS), max_size=8).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
#: Every place in which a template may show a value; `X` is where.
PLACES = [
    "X\n",
    "X and more\n",
    "Title: X\n",
    "# X\n",
    "- X\n",
    "- a\n- X\n- b\n",
    "1. X\n",
    "> X\n",
    "head\nX\n",
    "head\nX\ntail\n",
    "**X**: b\n",
    "| a | b |\n|---|---|\n| X | c |\n| d | e |\n",
    "| a | X |\n|---|---|\n| d | e |\n",
    "a\n\nX\n\nb\n",
    "- a\n  X\n",
    "(X) b\n",
    "a X\nX b\n",
]


def structure(markdown):
    """Give the blocks of a text: their kinds in order, without what stands in them."""
    return [(token.type, token.tag, token.level) for token in READER.parse(markdown)]


def inline(markdown):
    return {child.type for token in READER.parse(markdown) for child in token.children or ()}


def check_shown(place, markdown):
    assert structure(markdown) == structure(place.replace("X", "x")), markdown
    assert inline(markdown) <= INLINE, markdown


@hostile(500)
@given(st.sampled_from(PLACES), outside)
@example("X\n", "    code")
@example("X\n", "___")
@example("head\nX\n", ":-:")
@example("X\n", "\t# x")
@example("- X\n", "     x")
def test_a_value_in_a_template_changes_nothing_around_it(place, value):
    if value.strip():
        text = place.replace("X", "{{ value }}")
        check_shown(place, str(compile_template("t", {"t": text}).render(scope(), {"value": value})))


@hostile(200)
@given(st.sampled_from(PLACES), outside)
def test_a_value_in_a_text_of_markdown_changes_nothing_around_it(place, value):
    if value.strip():
        text = compile_text(place.replace("X", "${{ value }}"))
        check_shown(place, str(text.evaluate(scope(value=value), markdown=True)))


@hostile(200)
@given(st.sampled_from(PLACES), st.lists(outside.filter(str.strip), min_size=1, max_size=3))
def test_a_list_of_values_changes_nothing_around_it(place, values):
    text = place.replace("X", "{{ values | join(', ') }}")
    check_shown(place, str(compile_template("t", {"t": text}).render(scope(), {"values": values})))


def made(folder, title, text="", **more):
    """Give the provider, the document it made, and the one file that is there then."""
    documents = Markdown.build(MarkdownOptions(), FakeConnection(folder))
    given = {"template": None, "incident": None, "share_with": ()} | more
    document = asyncio.run(documents.create(title, text, **given, effect=an_effect("tok1")))
    (path,) = [path for path in folder.rglob("*") if path.is_file()]
    return documents, document, path


@hostile(120)
@given(title=outside, incident=outside, template=outside)
@example(title="x\nstatus: published", incident="a\nstatus: published", template="---")
@example(title="---\nstatus: published\n---", incident="null", template="~")
def test_front_matter_says_what_was_given_and_no_more(tmp_path_factory, title, incident, template):
    folder = tmp_path_factory.mktemp("documents")
    documents, document, path = made(folder, title, incident=incident, template=template)
    head = path.read_text("utf-8").split("---\n")[1] if path.read_text("utf-8").startswith("---\n") else ""
    found = yaml.load(re.match(r"---\n(.*?)^---\n", path.read_text("utf-8"), re.S | re.M)[1], Loader=yaml.BaseLoader)
    assert head
    assert set(found) <= {"id", "title", "status", "template", "incident", "created", "effect", "shared_with"}
    assert (found["status"], found["title"]) == ("draft", " ".join(title.split()) or "Untitled")
    again = asyncio.run(documents.get(document.id))
    assert (again.published, again.id) == (False, document.id)


@hostile(120)
@given(title=outside)
@example(title="../../etc/passwd")
@example(title="/etc/passwd")
@example(title="a/../../b")
@example(title="." * 50)
@example(title="é" * 300)
@example(title="NUL\x00x")
def test_a_document_is_one_file_in_its_folder_whatever_its_title(tmp_path_factory, title):
    folder = tmp_path_factory.mktemp("documents")
    _, document, path = made(folder, title)
    assert path.parent == folder / "documents"
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*-d[0-9a-f]+\.md", path.name)
    assert len(path.name) < 100
    assert document.path == path.name


HEADER = [ACTION_ITEM_COLUMNS[name] for name in ("what", "owner", "due", "ticket")]
TABLE = """\
# Actions

| What | Owner | Due | Ticket |
|---|---|---|---|
{% for item in items %}| {{ item.what }} | {{ item.owner }} | 2026-03-20 | |
{% endfor %}
"""


@hostile(120)
@given(st.lists(st.tuples(outside, outside), min_size=1, max_size=3))
@example([("a\n| pay me | ceo |", "b")])
@example([("a` | `b", "c")])
@example([("<!--", "-->")])
@example([("a\\", "b")])
def test_no_value_adds_an_action_item_or_moves_a_cell(tmp_path_factory, items):
    data = {"items": [{"what": what, "owner": owner} for what, owner in items]}
    text = str(compile_template("t", {"t": TABLE}).render(scope(), data))
    documents, document, _ = made(tmp_path_factory.mktemp("documents"), "t", text)
    table = asyncio.run(documents.table(document.id, HEADER))
    assert len(table.rows) == len(items)
    assert [(row[2], row[3]) for row in table.rows] == [("2026-03-20", "")] * len(items)


@pytest.mark.parametrize(
    "name", ["../outside.md", "/etc/passwd", "a\x00b", "..", ".", "", "documents/../../x", "é" * 500]
)
def test_a_document_is_got_by_its_id_and_by_no_path(tmp_path, name):
    (tmp_path / "outside.md").write_text("---\nid: ../outside.md\n---\n")
    documents = Markdown.build(MarkdownOptions(), FakeConnection(tmp_path))
    assert asyncio.run(documents.get(name)) is None


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "secret.md").write_text("---\nid: secret\ntitle: secret\n---\n")
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "link.md").symlink_to(tmp_path / "secret.md")
    documents = Markdown.build(MarkdownOptions(), FakeConnection(tmp_path))
    assert asyncio.run(documents.get("secret")) is None
