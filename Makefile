# Two commands do everything: `make train` and `make test`. Each sets up .venv on first use.

PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.installed
# OpenMP threads that wait by spinning slow each other down many times over on a busy machine.
export OMP_WAIT_POLICY ?= passive
export PATH := $(CURDIR)/$(BIN):$(PATH)

# Four parts of the tests beside each other: many wait for processes that they start. $(1): options.
SEARCH := tests/search
TRACKING := tests/tracking tests/docs
TRAINING := tests/models tests/training tests/reporting tests/registry
SIDE_BY_SIDE = export OMP_NUM_THREADS=1; pytest $(1) $(SEARCH) & search=$$!; \
	pytest $(1) $(TRACKING) & tracking=$$!; pytest $(1) $(TRAINING) & training=$$!; \
	pytest $(1) tests $(patsubst %,--ignore=%,$(SEARCH) $(TRACKING) $(TRAINING)); others=$$?; \
	wait $$search; searched=$$?; wait $$tracking; tracked=$$?; wait $$training; trained=$$?; \
	exit $$((others | searched | tracked | trained))

.PHONY: install train test test-fast check docs ui lock clean

install: $(SETUP) ## Set up .venv, and nothing else

train: $(SETUP) ## Cross-validate a two-stream model; ARGS="-P store=... -P backbone=..." are passed on
	mlflow run . -e train --env-manager local --experiment-name asd_experiments $(ARGS)

test: check ## All checks and all tests; with ARGS, pytest with these
	$(if $(ARGS),pytest $(ARGS),$(call SIDE_BY_SIDE))

test-fast: $(SETUP) ## The tests that take seconds
	$(if $(ARGS),pytest -m "not slow" $(ARGS),$(call SIDE_BY_SIDE,-m "not slow"))

check: $(SETUP) docs ## Format, lint, types, layers, secrets; the pages and their links
	pre-commit run --all-files

docs: $(SETUP) ## The documentation as a site, in outputs/docs; warnings are errors
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

ui: $(SETUP) ## Open the tracking server on this folder's runs
	mlflow ui

# Bytecode is compiled once (27 s on two cores). Where Python may not write it, as in many containers,
# every process compiled all that it imports: 17 s of a core for a training, 8 s without that.
$(SETUP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet "$$(grep '^uv==' requirements.lock)"
	uv pip sync --quiet --compile-bytecode --python $(BIN)/python requirements-dev.lock
	uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

lock: ## Renew the pins after a change of pyproject.toml
	uv pip compile pyproject.toml $(LOCK) --output-file requirements.lock
	uv pip compile pyproject.toml --group dev --constraint requirements.lock $(LOCK) \
		--output-file requirements-dev.lock
	( printf 'name: asd_experiments\nchannels:\n  - conda-forge\ndependencies:\n'; \
	  printf '  - python=3.11\n  - pip\n  - pip:\n'; \
	  sed 's/.*/      - "&"/' requirements.lock ) > conda.yaml

LOCK := --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate

clean: ## Remove what can be made again; runs in MLflow stay
	rm -rf .venv outputs .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
