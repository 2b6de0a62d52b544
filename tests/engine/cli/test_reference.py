from __future__ import annotations

import re
from pathlib import Path

from engine import wiring
from engine.cli import reference
from engine.cli.explain import known_codes
from engine.domain import FIELDS

FILE = Path(__file__).resolve().parents[3] / "docs" / "reference.md"


def headings(page):
    return re.findall(r"^### (.+)$", page, re.MULTILINE)


def test_the_reference_in_docs_is_what_the_program_prints():
    assert FILE.read_text("utf-8") == reference.page(), "run 'make reference'"


def test_the_reference_names_everything_that_is_built_in():
    known = wiring.catalogue()
    names = {*known.actions, *known.triggers, *known.providers, *known.sources, *known_codes()}
    assert {f"`{name}`" for name in names} | {kind.replace("_", " ") for kind in FIELDS} == set(
        headings(reference.page())
    )


def test_an_example_stands_in_the_reference_as_yaml():
    assert "```yaml\nuses: incident.update\nwith:\n  severity: sev1\n```" in reference.page()


def test_every_link_of_the_reference_leads_to_a_heading():
    page = reference.page()
    anchors = {
        re.sub(r"[^a-z0-9 _-]", "", text.lower()).replace(" ", "-") for text in re.findall(r"^#+ (.+)$", page, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= anchors


def test_no_cell_of_a_table_breaks_its_row():
    rows = [line for line in reference.page().splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} <= {3, 4, 5}
