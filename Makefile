# make sweep   set up and run the main job        make test    set up and run the tests
# make test-slurm   the tests on a real Slurm, which it starts and stops
# make chaos   hundreds of faults at short studies, here and on a real Slurm (docs/chaos.md)
# make check   what CI runs: format, lint, types, tests
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SWEEP ?= --model vitc --optim sgd

.PHONY: sweep test test-slurm chaos check format lint types bench clean-env

sweep: $(VENV)/installed
	$(BIN)/stability sweep $(SWEEP)

# The slow ones come after the quick ones; those that wait with a time limit, one after the other.
test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile
	$(BIN)/python -m pytest -m "slow and not alone" -n 2 --dist loadfile
	$(BIN)/python -m pytest -m "slow and alone"

# On a real Slurm of two nodes on this host: Debian or Ubuntu, as root; says so where it cannot be.
test-slurm: $(VENV)/installed-dev
	tests/slurm/run.sh $(BIN)/python -m pytest tests/slurm $(SLURM_TESTS)

chaos: $(VENV)/installed-dev
	PYTHONPATH=tests/helpers $(BIN)/python -m chaos --faults 576 --slurm 48 $(CHAOS)

check: format lint types test

format: $(VENV)/installed-dev
	$(BIN)/ruff format --check .

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .

types: $(VENV)/installed-dev
	$(BIN)/mypy

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks.overhead

# pip and the stamps are made last: what was broken off is done again.
$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(VENV)/installed $@

$(BIN)/pip:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " \
	+ sys.version.split()[0] + ": make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv --clear $(VENV)

clean-env:
	rm -rf $(VENV)
