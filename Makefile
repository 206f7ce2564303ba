# make demo, make test and the rest create .venv first; PYTHON may name another Python 3.11 or 3.12.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo install test test-all mutants lint format clean

demo: $(STAMP)
	$(BIN)/python tools/demo.py

install: $(STAMP)

# uv resolves and builds everything, mmcv's operators included (see [tool.uv] in pyproject.toml). Building mmcv takes
# about six minutes on two cores, once; uv keeps the result.
$(STAMP): pyproject.toml setup.py requirements/constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 12) else f"mmrs_ssl needs Python 3.11 or 3.12, $(PYTHON) is {v[0]}.{v[1]}: run make PYTHON=python3.11 $(MAKECMDGOALS)")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --constraint requirements/constraints.txt --editable '.[downstream,dev]'
	touch $(STAMP)

# A process of tests has a gigabyte, so there are four at most.
PYTEST := $(BIN)/python -m pytest -q --numprocesses auto --maxprocesses 4 --dist worksteal --cov --cov-report=term:skip-covered

test: $(STAMP)
	$(PYTEST) --cov-fail-under=90

test-all: $(STAMP)
	$(PYTEST) -m 'slow or not slow' --cov-fail-under=97

# Plants mistakes in copies of the repository, one at a time, and sees whether the tests notice.
mutants: $(STAMP)
	$(BIN)/python tests/mutants/run.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist work_dirs *.egg-info .coverage* .pytest_cache .ruff_cache .mypy_cache
