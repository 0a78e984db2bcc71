# Needs make and Python 3.11 or newer; everything else is installed into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help setup run test lint types clean

help: ## Show this list
	@echo "Usage: make TARGET [PYTHON=python3.12] [ARGS='more arguments for run or test']"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-6s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## Create .venv and install the pinned dependencies (skipped while nothing changed)

# Touched only when everything succeeded, so an interrupted set-up starts again.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"Python 3.11 or newer is needed, but $(PYTHON) is {v[0]}.{v[1]}: try make setup PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[test,dev]'
	@touch $@

run: setup ## Train the quickstart example (ARGS='--seed 1' overrides any setting)
	$(BIN)/python -m benchmark fit --config configs/quickstart.yaml $(ARGS)

# One thread a worker: two workers with a thread pool each would fight over the same two cores.
test: setup ## Run every test, the slow ones included (ARGS="-m 'not slow'" leaves them out)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

lint: setup ## Check style and imports with ruff
	$(BIN)/ruff check .

types: setup ## Check types with mypy
	$(BIN)/mypy

clean: ## Remove caches and the environment; runs and results stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
