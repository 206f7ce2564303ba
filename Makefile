# make demo needs Python, pip and make. The others compile mmcv once and need a C++ compiler. PYTHON may name another
# Python 3.11 or 3.12.
PYTHON ?= python3
# tested: the versions of requirements/constraints.txt; lowest and newest: those that pyproject.toml allows.
DEPENDENCIES ?= tested
VENV ?= .venv
BIN := $(VENV)/bin
PRETRAIN := $(VENV)/.pretrain
DOWNSTREAM := $(VENV)/.downstream
DOCS := $(VENV)/.docs

.PHONY: demo install test test-all mutants lint format docs release clean

# What was installed for the tests is enough.
demo: $(or $(wildcard $(DOWNSTREAM)),$(PRETRAIN))
	$(BIN)/python tools/demo.py

install: $(DOWNSTREAM)

VERSIONS_tested := --constraint requirements/constraints.txt
VERSIONS_lowest := --resolution lowest-direct
VERSIONS_newest := --upgrade
VERSIONS := $(or $(VERSIONS_$(DEPENDENCIES)),$(error DEPENDENCIES is tested, lowest or newest, not $(DEPENDENCIES)))
UV := VIRTUAL_ENV=$(VENV) $(BIN)/uv
INSTALL := $(UV) pip install $(VERSIONS) --editable
COMMA := ,
DECLARED := pyproject.toml setup.py requirements/constraints.txt

# $(call only,NEW,OLD,EXTRAS): of two distributions with the same files the new one alone; removing either breaks both.
only = if $(UV) pip show --quiet $(2) 2> /dev/null; then $(UV) pip uninstall --quiet $(1) $(2) && $(INSTALL) '.[$(3)]'; fi

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 12) else f"mmrs_ssl needs Python 3.11 or 3.12, $(PYTHON) is {v[0]}.{v[1]}: run make PYTHON=python3.11 $(MAKECMDGOALS)")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv

$(PRETRAIN): $(DECLARED) | $(BIN)/uv
	$(INSTALL) '.[pretrain]'
	@$(call only,opencv-python-headless,opencv-python,pretrain)
	touch $@

# uv resolves and builds everything, mmcv's operators included (see [tool.uv] in pyproject.toml). Building mmcv takes
# about six minutes on two cores, once; uv keeps the result. Until it is there mmcv-lite stays and works.
$(DOWNSTREAM): $(DECLARED) | $(BIN)/uv
	@$(INSTALL) '.[downstream,dev]' || { echo 'error: if it was mmcv that could not be built, install a C++ compiler (Debian: apt-get install g++); make demo needs none' >&2; exit 1; }
	rm -f $(PRETRAIN)
	@$(call only,mmcv,mmcv-lite,downstream$(COMMA)dev)
	@$(call only,opencv-python-headless,opencv-python,downstream$(COMMA)dev)
	touch $@

# A process of tests has a gigabyte, so there are four at most.
PYTEST := $(BIN)/python -m pytest -q --numprocesses auto --maxprocesses 4 --dist worksteal --cov --cov-report=term:skip-covered

test: $(DOWNSTREAM)
	$(PYTEST) --cov-fail-under=90

test-all: $(DOWNSTREAM)
	$(PYTEST) -m 'slow or not slow' --cov-fail-under=97

# Plants mistakes in copies of the repository, one at a time, and sees whether the tests notice.
mutants: $(DOWNSTREAM)
	$(BIN)/python tests/mutants/run.py

lint: $(DOWNSTREAM)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy

format: $(DOWNSTREAM)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What was installed for the tests or the demo imports the package, whose docstrings are pages.
$(DOCS): $(or $(wildcard $(DOWNSTREAM)),$(PRETRAIN))
	$(INSTALL) '.[docs]'
	touch $@

# The site, docs/_build/html/index.html; a link that leads nowhere is an error.
docs: $(DOCS)
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --conf-dir docs --doctree-dir docs/_build/doctrees . docs/_build/html

# Builds the wheel and the source distribution and tries them: see CONTRIBUTING.md.
release: $(DOWNSTREAM)
	UV=$(BIN)/uv PYTHON=$(BIN)/python .ci/release '$(VERSION)' $(TAG)

clean:
	rm -rf $(VENV) build dist docs/_build work_dirs *.egg-info .coverage* .pytest_cache .ruff_cache .mypy_cache
