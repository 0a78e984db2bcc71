# Needs make and Python 3.11 or newer; everything else is installed into .venv (test-kernels: into .venv-kernels).
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
ROOM   ?=

# transformers, an oracle of the tests, calls fla as soon as it can import it, device or not: fla gets its own environment.
KERNEL_VENV := .venv-kernels

.DEFAULT_GOAL := help
.PHONY: help setup run test quick attack long snapshots test-kernels lint types docs docs-serve wheel clean

help: ## Show this list
	@echo "Usage: make TARGET [PYTHON=python3.12] [ROOM=leaderboard] [ARGS='more arguments for run or test']"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.installed ## Create .venv and install the pinned dependencies (skipped while nothing changed)

# Touched only when everything succeeded, so an interrupted set-up starts again.
$(VENV)/.installed: EXTRAS := test,dev,docs
$(KERNEL_VENV)/.installed: EXTRAS := kernels
%/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"Python 3.11 or newer is needed, but $(PYTHON) is {v[0]}.{v[1]}: try make setup PYTHON=python3.12")'
	@test -x $*/bin/python || $(PYTHON) -m venv $*
	$*/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@test $* = $(KERNEL_VENV) || OMP_NUM_THREADS=1 $*/bin/python -m architectures.ops  # else the first run compiles
	@touch $@

run: setup ## Train the quickstart example and make its report (ARGS='--seed 1' overrides any setting)
	$(BIN)/python -m benchmark fit --config configs/quickstart.yaml $(ARGS)
	@case " $(ARGS)" in *" --out"* | *" --help"* | *" --print_config"*) ;; \
	*) $(BIN)/python -m benchmark report "$$(dirname "$$(ls -t runs/*/*/*/record.json | head -n 1)")" ;; esac

# One thread per worker: two workers with a thread pool each would fight over the same two cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

quick: setup ## Run the units alone, in a minute: what starts no process, trains nothing and drives no browser
	$(PYTEST) -m "not (process or train or browser or slow)" tests/$(ROOM) $(ARGS)

test: setup ## Run every test, or one room's: ROOM=leaderboard, ROOM=benchmark/cli (ARGS="-m 'not slow'" passes options)
	$(PYTEST) tests/$(ROOM) $(ARGS)

attack: setup ## Kill and signal runs and sweeps at random moments: ATTACKS=200 attempts of each kind (20)
	$(PYTEST) -m attack tests/attacks $(ARGS)

long: setup ## Run the tests that repeat at length what quicker ones check: more cells, more sizes, more seeds
	$(PYTEST) -m long tests/$(ROOM) $(ARGS)

snapshots: setup ## Write the snapshots of messages anew, after a change of wording that is meant: read the diff
	$(PYTEST) tests/benchmark/cli/test_snapshots.py --snapshot-update

test-kernels: $(KERNEL_VENV)/.installed ## Test the fused kernels, on a CUDA device or in Triton's interpreter
	OMP_NUM_THREADS=1 $(KERNEL_VENV)/bin/python -m pytest -n 2 --dist worksteal tests/kernels $(ARGS)

lint: setup ## Check style and imports with ruff, the workflows with zizmor
	$(BIN)/ruff check .
	$(BIN)/zizmor --offline --quiet .github/workflows

types: setup ## Check types with mypy
	$(BIN)/mypy

# Without the variable Material for MkDocs prints a notice about its successor.
docs: export NO_MKDOCS_2_WARNING := 1
docs: setup ## Build the documentation into build/docs; a warning is an error
	$(BIN)/mkdocs build --strict

docs-serve: export NO_MKDOCS_2_WARNING := 1
docs-serve: setup ## Show the documentation in a browser, and again whenever it changes
	$(BIN)/mkdocs serve

wheel: setup ## Build the package into dist and try it outside of the checkout
	PYTHON=$(BIN)/python .ci/wheel

clean: ## Remove caches and the environments; runs and results stay
	rm -rf $(VENV) $(KERNEL_VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
