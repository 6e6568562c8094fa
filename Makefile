# Works on a bare machine with GNU make and Python 3.11 to 3.14. `make` alone lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DIR ?=
MODEL ?=
export DIR MODEL
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-rabbitmq lint model reference bench lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.demo ## review the sample project with the offline reviewer; DIR=path another one, MODEL=name a real model
	$(BIN)/wink demo $${DIR:+"$$DIR"} $${MODEL:+--model "$$MODEL"}

# The tests of processes wait more than they compute, so the others run beside them; the faults want the machine alone.
# Those of the command line are processes as well, but stand with the others: so both halves take as long.
# All is compiled first: where PYTHONDONTWRITEBYTECODE is set, each of some hundred processes would do it for itself.
test: $(VENV)/.dev ## run every test; less than 99.95 % of lines and branches is a failure
	rm -f .coverage .coverage.*
	$(BIN)/python -m compileall -q wink_tasks workers beat tests
	$(BIN)/coverage run -m pytest tests/faults
	@set -m; $(BIN)/coverage run -m pytest tests/integration --ignore tests/integration/cli > .pytest-integration.log 2>&1 & \
	  beside=$$!; \
	  trap 'kill -INT $$beside' INT TERM; status=0; \
	  $(BIN)/coverage run -m pytest tests/unit tests/property tests/conformance tests/formal tests/integration/cli || status=$$?; \
	  [ $$status -ne 2 ] || kill -INT $$beside; \
	  wait $$beside || status=$$?; cat .pytest-integration.log; exit $$status
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-rabbitmq: $(VENV)/.dev ## the canvas with RabbitMQ as broker; needs Debian's package rabbitmq-server
	@test -x /usr/lib/rabbitmq/bin/rabbitmq-server && command -v epmd >/dev/null || { \
	  echo "make: RabbitMQ is not installed: apt-get install rabbitmq-server (Debian's package)" >&2; exit 1; }
	$(BIN)/pytest tests/rabbitmq

lint: $(VENV)/.dev ## ruff, mypy --strict, the import layers, and pyright on a user's program
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python --warnings

model: $(VENV)/.dev ## check the TLA+ model of delivery, and that each of its mutants is caught
	$(BIN)/python -m specs.tla.check

reference: $(VENV)/.dev ## write specs/REFERENCE.md anew, from the code
	$(BIN)/python specs/reference.py > specs/REFERENCE.md

bench: $(VENV)/.dev ## measure; the last line of each benchmark is JSON
	for script in hop ledger start pools recovery sessions; do $(BIN)/python "benchmarks/$$script.py"; done

lock: $(VENV)/.dev ## resolve requirements-dev.lock anew
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra demo --extra flower --extra openai --extra sql --group dev --universal --python-version 3.11 \
	  --upgrade --quiet --custom-compile-command 'make lock' --output-file requirements-dev.lock

clean: ## remove what the other targets made
	rm -rf $(VENV) .wink .pytest-integration.log .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Older pips may install what is already there again: a stamp, not pip, tells whether there is something to do.
$(VENV)/.demo: pyproject.toml requirements-dev.lock | $(BIN)/pip
	$(BIN)/pip install --quiet --constraint requirements-dev.lock --editable '.[demo]'
	touch $@

# The lock file holds the build backend as well, so the build needs no environment of its own.
$(VENV)/.dev: pyproject.toml requirements-dev.lock | $(BIN)/pip
	$(BIN)/pip install --quiet --requirement requirements-dev.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(BIN)/pip:
	@command -v '$(PYTHON)' >/dev/null || { \
	  echo "make: '$(PYTHON)' is not on PATH: install Python 3.11 to 3.14 (Debian, Ubuntu: apt-get install python3 python3-venv)," \
	    "or name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || { \
	  echo "make: '$(PYTHON)' is $$('$(PYTHON)' --version 2>&1), wink-tasks needs Python 3.11 to 3.14:" \
	    "install one of them and name it: make PYTHON=python3.12" >&2; exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: '$(PYTHON)' cannot create virtual environments: install its venv module" \
	    "(Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	'$(PYTHON)' -m venv --clear $(VENV)
