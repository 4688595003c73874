# make demo   set-up, then the whole path on simulated patients (about 4 minutes on 2 cores); opens nothing, needs no network after set-up
# make test   set-up, then lint, types and every test (on 2 cores)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint setup clean

demo: setup
	$(BIN)/python scripts/demo.py

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(INSTALLED)

# Installed once; again only when the project's own requirements change.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25"
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[sim,export,dev]"
	touch $@

clean:
	rm -rf demo build dist .mypy_cache .pytest_cache .ruff_cache
