# Everything runs in a virtual environment of its own, .venv; nothing else on the machine is touched.
#   make test PYTEST_ARGS="-k sde -x"          make test PYTHON=python3.12 VENV=.venv312
#   make test WORKERS=8 (processes; about 2 GB each)        make test WORKERS=0 (no second process, for --pdb)
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
PYTEST_ARGS ?=
WORKERS ?= 2

BIN := $(VENV)/bin
RUN := $(BIN)/python
# An idle worker takes over half of what another one has left.
PYTEST = $(RUN) -m pytest -n $(WORKERS) --dist worksteal
# A new stamp, so a new install, when the requirements change.
BASE := $(VENV)/.installed-base
DEV := $(VENV)/.installed-dev
DOCS := $(VENV)/.installed-docs
NOTEBOOKS := $(VENV)/.installed-notebooks
RELEASE := $(VENV)/.installed-release
# Those that train, in alphabetical order, so an autoencoder before the latent diffusion model (_ldm) that needs it; but for
# %_classifier.py, which needs events that say their particle: the package has none (tests train it).
CONFIGS = $(sort $(filter-out configs/__init__.py configs/common.py %_infer.py %_identify.py %_tracks.py %_evaluate.py \
            %_classifier.py,$(wildcard configs/*.py)))

.DEFAULT_GOAL := help
.PHONY: help demo test test-browser slow cover lint tables docs notebooks tiny wheel clean
.DELETE_ON_ERROR:

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: $(BASE)  ## a table for 16 sample events, and their pictures in demo/
	@start=$$(date +%s); $(RUN) -m launch.demo && \
	  echo "make demo: $$(( $$(date +%s) - start )) s, after the install"

test: $(DEV)  ## the tests of the package, without the slow ones
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

slow: $(DEV)  ## the slow tests only
	$(PYTEST) -m 'slow and not browser' $(PYTEST_ARGS)

test-browser: $(DEV)  ## the survey in Chromium, which is installed if need be (apt, as root); build/screenshots
	@command -v chromium chromium-browser google-chrome >/dev/null || \
	  { apt-get update -qq && apt-get install -y -qq chromium; } || \
	  { echo "No Chromium here, and no right to install it: apt install chromium"; exit 1; }
	$(RUN) -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -e '.[test,browser]'
	$(RUN) -m pytest -n 0 -m browser tests/test_survey_browser.py $(PYTEST_ARGS)

cover: $(DEV)  ## all tests, also the slow ones, with line and branch coverage: at least 85 % of the package
	$(PYTEST) --cov $(PYTEST_ARGS)

lint: $(DEV)  ## ruff, the import rules, and the types of the public surface
	$(BIN)/ruff check .
	PYTHONPATH=. $(BIN)/lint-imports
	$(BIN)/mypy

tables: | $(RUN)  ## writes the tables of measured numbers into README.md and docs/, from docs/results/*.json
	$(RUN) docs/tables.py

docs: tables $(DOCS)  ## the tables, then the documentation site in build/site; a warning is an error
	JAX_PLATFORMS=cpu $(RUN) -m sphinx -c docs -b html -q -W --keep-going . build/site
	@echo "build/site/index.html"

notebooks: $(NOTEBOOKS)  ## runs colabs/*.ipynb from top to bottom; --overwrite in PYTEST_ARGS keeps their outputs
	JAX_PLATFORMS=cpu $(RUN) -m pytest -n 0 --nbmake --nbmake-timeout=1200 colabs $(PYTEST_ARGS)

wheel: $(RELEASE)  ## source archive and wheel in dist/, checked
	rm -rf dist
	$(RUN) -m build --outdir dist .
	$(BIN)/twine check --strict dist/*

# Compiled without optimisation: a tiny run is nearly all compilation.
tiny: export XLA_FLAGS := --xla_backend_optimization_level=0 $(XLA_FLAGS)
tiny: $(DEV)  ## trains the tiny variant of every config, twice: the second run must find itself complete
	@set -euo pipefail; runs=$$(mktemp -d); trap 'rm -rf "$$runs"' EXIT; \
	for config in $(CONFIGS); do \
	  name=$$(basename "$$config" .py); start=$$(date +%s); \
	  command=($(RUN) -m launch.train --config="$$config:tiny" --workdir="$$runs/$$name"); \
	  if [[ $$name == *_ldm* ]]; then command+=(--config.codec.weights="$$runs/$${name%%_ldm*}_autoencoder/weights"); fi; \
	  if [[ $$name == *_prior ]]; then command+=(--config.codes="$$runs/$${name%%_prior}/weights"); fi; \
	  echo "== $${command[*]}"; \
	  "$${command[@]}"; \
	  "$${command[@]}" 2>&1 | tee "$$runs/again.txt"; \
	  grep -q "already complete" "$$runs/again.txt" || \
	    { echo "$$config: the same command again did not say that the run is complete"; exit 1; }; \
	  echo "== $$name: $$(( $$(date +%s) - start )) s"; \
	done

clean:  ## removes .venv, caches and what the demo wrote
	rm -rf $(VENV) demo build dist .pytest_cache .ruff_cache .import_linter_cache .coverage htmlcov *.egg-info
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(RUN):
	@command -v $(PYTHON) >/dev/null || { \
	  echo "No $(PYTHON) here. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$($(PYTHON) -V 2>&1), but lartpc_jax needs Python 3.11 or newer: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments here. On Debian or Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv $(VENV)

$(BASE): setup.cfg setup.py pyproject.toml | $(RUN)
	@echo "Installing lartpc_jax and what it needs (about a minute and 1 GB)"
	@start=$$(date +%s); $(RUN) -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -e . && \
	  echo "Installed in $$(( $$(date +%s) - start )) s"
	@touch $@

$(DEV): setup.cfg setup.py pyproject.toml | $(RUN)
	@echo "Installing lartpc_jax and the tools of its tests (about a minute and 1 GB)"
	@start=$$(date +%s); $(RUN) -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -e '.[test,lint]' && \
	  echo "Installed in $$(( $$(date +%s) - start )) s"
	@touch $@ $(BASE)

$(DOCS) $(NOTEBOOKS) $(RELEASE): $(VENV)/.installed-%: setup.cfg setup.py pyproject.toml | $(BASE)
	@echo "Installing the extra [$*]"
	@$(RUN) -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -e '.[$*]'
	@touch $@
