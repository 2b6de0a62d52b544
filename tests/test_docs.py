"""The pages that are written by hand: their examples check clean, their links lead somewhere."""

from __future__ import annotations

import re
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from engine import wiring
from engine.config import library, load_config
from engine.problems import render_all
from engine.workflow.calling import Callees
from engine.workflow.check import check_workflow, signature_of
from engine.workflow.library import read_templates
from engine.workflow.source import read_source

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md")) + sorted((ROOT / "examples").rglob("*.md"))
EXAMPLE = ROOT / "examples" / "first-steps"
#: What stands before an example that shows only steps.
HEAD = """\
on: incident.resolved
steps:
  - id: report
    uses: document.create
    with: {title: Report, text: Empty}
"""
BLOCKS = [
    (page.name, block)
    for page in (ROOT / "README.md", ROOT / "docs" / "language.md")
    for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
]
#: An example that says in which file it stands, so that another may call it.
NAMED = re.compile(r"# workflows/(\w+)\.yaml\n")


@pytest.fixture(scope="module")
def project():
    catalogue = wiring.catalogue()
    config, problems = load_config(EXAMPLE, catalogue, {})
    assert problems == []
    names = wiring.names_of(config, catalogue)
    ready_made = read_templates(library() / "templates")
    names = replace(names, templates={**names.templates, **ready_made})
    named = {found[1]: block for _, block in BLOCKS if (found := NAMED.match(block))}
    files = {name: read_source(f"{name}.yaml", text.encode())[0] for name, text in named.items()}
    callees = Callees(files.get, lambda file: signature_of(file, catalogue, names))
    constants = {**names.vars, "tracker": "local"}
    return catalogue, replace(names, vars=constants, workflows=[*names.workflows, *files], callees=callees)


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[page for page, _ in BLOCKS])
def test_an_example_checks_clean(page, block, project):
    text = HEAD + textwrap.indent(block, "  ") if block.startswith("- ") else block
    file, reading = read_source(page, text.encode())
    _, checking = check_workflow(file, *project)
    assert render_all(reading + checking) == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_link_to_a_file_leads_to_one(page):
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_changelog_has_the_version_that_is_not_out_yet():
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_decision_has_its_date():
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "decisions.md").read_text("utf-8"), re.MULTILINE)
    assert headings
    assert [heading for heading in headings if not re.match(r"\d{4}-\d{2}-\d{2} · \S", heading)] == []
