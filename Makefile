# make demo | test | check | bench | crash: each sets up .venv by itself, and only when something changed.
# make reference: writes docs/reference.md anew after an action, a trigger, a field or a problem code changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test test-contracts check bench crash reference setup
.DEFAULT_GOAL := test

setup: $(STAMP)

# The environment is made anew where its Python is gone, and filled again when pyproject.toml changed. uv fills it in
# seconds; where it cannot be had, pip does the same. A set-up that was cut off leaves no stamp and is done again.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Hotwash needs Python 3.11 or later, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --quiet --upgrade 'pip>=25.1'
	@if $(PIP) install --quiet uv 2>/dev/null && VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --editable . --group dev; \
	then :; else $(PIP) install --quiet --editable . --group dev; fi
	@touch $@

demo: $(STAMP)
	@$(BIN)/hotwash demo

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/pytest -n auto --dist loadgroup

# make test-contracts runs those tests alone that hold what providers send against the vendors' specifications.
test-contracts: $(STAMP)
	$(BIN)/pytest tests/contracts

# make bench measures against the quick peers, PEERS=all against all, PEERS=none against none; MORE="--only durable".
bench: $(STAMP)
	@$(BIN)/python -m bench --peers "$(PEERS)" $(MORE)

# make crash kills an engine at random, KILLS times, and at each commit of a run; SEED makes the same session again.
crash: $(STAMP)
	@$(BIN)/python -m tests.crash --kills $(or $(KILLS),500) $(if $(SEED),--seed $(SEED))

reference: $(STAMP)
	@$(BIN)/python -m engine.cli.reference > $(VENV)/reference.md
	@mkdir -p docs && mv $(VENV)/reference.md docs/reference.md
