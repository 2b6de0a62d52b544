# make demo | test | check | bench: each sets up .venv by itself, and only when pyproject.toml changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check bench setup
.DEFAULT_GOAL := test

setup: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Hotwash needs Python 3.11 or later, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@if $(BIN)/python -m pip install --quiet --disable-pip-version-check uv 2>/dev/null && VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --editable . --group dev; \
	then :; else $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev; fi
	@touch $@

demo: $(STAMP)
	@$(BIN)/hotwash demo

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/pytest -n auto

bench: $(STAMP)
	$(BIN)/python -m bench
