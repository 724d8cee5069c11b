# Two commands: `make search` and `make test`. `make help` lists the rest.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
VENV_MINIMUM := .venv-minimum
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
DATASET ?= digits
ARGS ?=
PYTEST_ARGS ?=

.PHONY: help search install install-dev test lint types tests minimum docs cuts clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  DATASET=$(DATASET)      data set of make search"
	@echo "  ARGS=               further options of energytune search: make search ARGS='--trials 10'"
	@echo "  PYTEST_ARGS=        options of pytest: make test PYTEST_ARGS='-m \"not integration\"'"
	@echo "  PYTHON=$(PYTHON)      interpreter for $(VENV), 3.11 or newer"

search: install ## Install into .venv (first time) and search on the embedded digits
	@echo "==> energytune search --dataset $(DATASET) $(ARGS)"
	@$(BIN)/energytune search --dataset $(DATASET) $(ARGS)

test: install-dev lint types tests ## Install the dev extras (first time), check style and types, run every test

install: $(VENV)/.installed ## Install the package with the versions of constraints.txt

install-dev: $(VENV)/.installed-dev ## The same with what the tests need

# The steps of `make test` stand in an order also under `make -j`.
lint: install-dev
	@echo "==> ruff check"
	@$(BIN)/ruff check .
	@echo "==> ruff format --check"
	@$(BIN)/ruff format --check .

types: install-dev lint
	@echo "==> mypy --strict on the package"
	@$(BIN)/mypy --strict --package energytune

tests: install-dev types
	@echo "==> pytest -n 2 --dist loadfile $(PYTEST_ARGS)"
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

minimum: $(VENV_MINIMUM)/.installed ## Run the unit tests with the lowest versions that are allowed
	@echo "==> pytest with the versions of constraints-minimum.txt"
	@$(VENV_MINIMUM)/bin/python -m pytest -n 2 --dist loadfile -q -m "not integration" $(PYTEST_ARGS)

docs: install-dev ## Build the site into site/, warnings as errors
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "site/index.html; with its search: $(BIN)/python -m http.server --directory site"

cuts: install ## Write docs/cuts.md again: which backbones can be cut where (minutes)
	@mkdir -p docs
	@$(BIN)/energytune backbones --cuts --markdown > docs/cuts.md.new || { rm -f docs/cuts.md.new; exit 1; }
	@mv docs/cuts.md.new docs/cuts.md

clean: ## Delete .venv and caches; searches in energytune-runs stay
	rm -rf $(VENV) $(VENV_MINIMUM) site .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

# Stamps: a second run installs nothing unless the requirements have changed.
%/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "energytune needs Python 3.11 or newer, and $(PYTHON) is none. Try: make PYTHON=python3.11"; exit 1; }
	@echo "==> creating $* with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $* || \
	    { rm -rf $*; echo "$(PYTHON) can't make a virtual environment. On Debian: apt-get install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.installed: pyproject.toml constraints.txt $(VENV)/.made
	@echo "==> installing energytune with constraints.txt into $(VENV) (about 3 minutes and 7 GB the first time)"
	@$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "==> installing what the tests need into $(VENV)"
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $@

$(VENV_MINIMUM)/.installed: pyproject.toml constraints-minimum.txt $(VENV_MINIMUM)/.made
	@echo "==> installing the lowest versions that are allowed into $(VENV_MINIMUM)"
	@$(VENV_MINIMUM)/bin/python -m pip install --disable-pip-version-check --quiet \
	    --constraint constraints-minimum.txt --editable '.[dev]'
	@touch $@
