# GNU make 4.3 or newer. `make help` lists what there is.
#
# LANG is the trap of this file: every shell exports it as the locale (en_US.UTF-8), so it is taken as a
# language only where it stands on make's own command line, and it is passed on as --target-lang.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

ifeq ($(origin LANG),command line)
CODE := $(LANG)
endif
unexport LANG
export PYTHONUTF8 := 1

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
STARTED := $(shell date +%s)
CORPORA ?= $(or $(MMS_ADAPT_CORPORA),../shared/corpora)

# make train LANG=xyz: what is read and what is written
SOURCE ?= $(or $(firstword $(wildcard recordings/$(CODE) recordings/$(CODE)-* $(CORPORA)/$(CODE)-*)),recordings/$(CODE))
DATA ?= prepared/$(CODE)
ADAPTER ?= adapters/$(CODE)
REPORT ?= reports/$(CODE)
PREPARE_OPTIONS ?=
TRAIN_OPTIONS ?=

.PHONY: help setup demo train test check bench notebooks

help: ## list these targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18
	@echo
	@echo '  make train LANG=xyz [SOURCE=folder] [DATA=prepared/xyz] [ADAPTER=adapters/xyz] [TRAIN_OPTIONS="--max-minutes 20"]'

setup: $(READY) ## make .venv with everything that is needed; nothing to do where it is up to date

$(READY): pyproject.toml constraints.txt data_scripts/setup.sh
	@PYTHON="$(PYTHON)" bash data_scripts/setup.sh $(VENV)

demo: setup ## real Italian speech to an adapter, a word error rate and a report, in five minutes
	@DEMO_STARTED=$(STARTED) $(BIN)/python data_scripts/demo.py $(DEMO_OPTIONS)

train: $(if $(CODE),setup) ## make train LANG=xyz: prepare, train, tune and evaluate one language
ifndef CODE
	@echo 'make train: which language? Say, for instance, make train LANG=mdw SOURCE=path/to/recordings' >&2
	@echo '(three letters of ISO 639-3, on the command line: a LANG of the shell is a locale and does not count)' >&2
	@exit 2
else
	@if [[ "$(origin DATA)$(origin SOURCE)" == "command linefile" && -f "$(DATA)/prepared.json" ]]; then \
	  echo "using $(DATA)"; \
	else \
	  $(BIN)/mms-adapt prepare "$(SOURCE)" --target-lang "$(CODE)" --out "$(DATA)" $(PREPARE_OPTIONS); \
	fi
	@$(BIN)/mms-adapt train "$(DATA)" --out "$(ADAPTER)" $(TRAIN_OPTIONS)
	@$(BIN)/mms-adapt tune "$(ADAPTER)" "$(DATA)"
	@mkdir -p "$(REPORT)"
	@$(BIN)/mms-adapt evaluate "$(ADAPTER)" "$(DATA)" --split test --note \
	  --json "$(REPORT)/score.json" --report "$(REPORT)/report.html"
endif

test: check ## all checks and tests, offline
	@OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest -q -n 2 --dist loadfile $(TEST_OPTIONS)

check: setup ## lint and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check -q . || { echo 'formatting differs: run .venv/bin/ruff format' >&2; exit 1; }
	@$(BIN)/mypy

bench: setup ## measure speed and memory on this machine
	@shopt -s nullglob; found=(benchmarks/bench_*.py); \
	if (( $${#found[@]} == 0 )); then echo 'no benchmarks yet'; fi; \
	for one in "$${found[@]}"; do $(BIN)/python "$$one"; done

notebooks: setup ## run every notebook from top to bottom
	@$(BIN)/python data_scripts/run_notebooks.py notebooks/*.ipynb
