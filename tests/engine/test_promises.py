"""The page of promises names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "promises.md"
NAMED = re.findall(r"(?<!\*)\*([a-z][^*]+)\*(?!\*)", PAGE.read_text("utf-8"))
FILES = re.findall(r"`(\w+/[\w/]+\.py)`", PAGE.read_text("utf-8"))


@pytest.fixture(scope="module")
def sentences():
    texts = (path.read_text("utf-8") for path in TESTS.rglob("test_*.py"))
    return {name.replace("_", " ") for text in texts for name in re.findall(r"def test_(\w+)\(", text)}


def test_the_page_names_tests_for_every_promise():
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 30
    assert all(re.search(r"`[\w/]+\.py`", row) for row in rows)


@pytest.mark.parametrize("name", [name for name in NAMED if name != "settle times"])
def test_a_test_that_the_page_names_is_there(sentences, name):
    assert name.replace("'", "") in sentences


@pytest.mark.parametrize("file", sorted(set(FILES)))
def test_a_file_that_the_page_names_is_there(file):
    assert (TESTS / file).is_file()
