# make sweep   set up and run the main job        make test    set up and run the tests
# make check   what CI runs: format, lint, types, tests
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SWEEP ?= --model vitc --optim sgd

.PHONY: sweep test check format lint types bench clean-env

sweep: $(VENV)/installed
	$(BIN)/stability sweep $(SWEEP)

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest

check: format lint types test

format: $(VENV)/installed-dev
	$(BIN)/ruff format --check .

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .

types: $(VENV)/installed-dev
	$(BIN)/mypy

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks.overhead

# The stamps are made last: an installation that was broken off is done again.
$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(VENV)/installed $@

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " \
	+ sys.version.split()[0] + ": make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

clean-env:
	rm -rf $(VENV)
