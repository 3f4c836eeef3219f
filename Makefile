# `make ask Q="…"` answers a question; `make test` runs every check. Both set up what they need.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: ask test lint index

$(BIN)/rag: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[build,dev]'
	@touch $@

index: $(BIN)/rag
	@$(BIN)/rag index

ask: index
	@$(BIN)/rag ask "$(Q)"

lint: $(BIN)/rag
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest
