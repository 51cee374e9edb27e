# One command each; `make` alone lists them. Everything runs on this machine, inside `.venv/` and `.airflow/`.

SHELL := /bin/sh
VENV := .venv
PY := $(VENV)/bin/python
PYTEST := $(PY) -m pytest
FAST := tests/unit tests/contract tests/properties
GENERATED := --output include/mappings/mapping.schema.json --docs docs/mapping.md

HOST ?= 127.0.0.1
PORT ?= 8000
PYTHON ?=

.DEFAULT_GOAL := help
.PHONY: help venv run demo test check test-long lint generate bench clean

help: ## list these commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

venv: ## find Python 3.11 to 3.13, install the locked requirements into .venv (seconds when nothing changed)
	@PYTHON="$(PYTHON)" sh local/venv.sh

run: venv ## start Airflow with the samples on http://127.0.0.1:8000 (HOST=, PORT=); Ctrl-C stops all of it
	@exec $(PY) -m local run --host "$(HOST)" --port "$(PORT)"

demo: venv ## run every sample through a real Airflow, print what each moved, stop; exit 0 or 1
	@exec $(PY) -m local demo

test: venv ## every test, from units to a real Airflow, which has both cores for itself
	@$(PYTEST) -n 2 --dist loadfile --ignore tests/e2e tests
	@exec $(PYTEST) tests/e2e

check: venv ## the fast tests, for the inner loop
	@exec $(PYTEST) -q $(wildcard $(FAST))

test-long: venv ## thousands of examples, fuzzing, soak
	@HYPOTHESIS_PROFILE=long exec $(PYTEST) --timeout 7200 -m long tests

lint: venv ## formatting, types, layers, mappings, generated files, file lengths
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/airflow-sync lint
	$(VENV)/bin/airflow-sync schema --check $(GENERATED)
	$(PY) -m local.budget

generate: venv ## write the mapping's JSON Schema, its reference page and the two-way table anew
	$(VENV)/bin/airflow-sync schema $(GENERATED)
	cd tests && $(abspath $(VENV))/bin/python -m unit.test_reconcile

bench: venv ## time the engine beside its peers; results in bench/results/
	@exec $(PY) bench/run.py

clean: ## remove what these commands made: .venv, .airflow, caches, include/out
	rm -rf $(VENV) .airflow .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis include/out build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
