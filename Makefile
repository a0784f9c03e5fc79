# The whole life of a checkout in a few verbs. `.venv` is made on demand, from
# requirements-dev.txt and nothing else, and made again when that or pyproject.toml changes.

PYTHON ?= python3
UV ?= uv
# More for pytest (`make test PYTEST="-x"`) or the benchmarks (`make bench BENCH="--rounds 1"`).
PYTEST ?=
BENCH ?=

BIN := .venv/bin
READY := .venv/.ready
COMPILE := $(UV) pip compile pyproject.toml --universal --python-version 3.11 \
	--generate-hashes --custom-compile-command "make lock" --quiet
# The servers that `make test` and `make bench` start on free ports of their own.
SERVERS := tests/install_servers.sh

.DELETE_ON_ERROR:
.PHONY: help run test lint type bench fmt lock clean

help: ## list these verbs
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

run: $(READY) ## start the LMS stub and the proxy in front of it; Ctrl-C stops both
# exec: no shell stands between make and the demo, so a signal to make reaches the demo,
# and make waits until it has stopped both services.
	@exec $(BIN)/python -m backend_stub.demo

test: $(READY) ## run every test against real servers, with branch coverage
	@$(SERVERS) test
	@$(BIN)/lumina-proxy test policies --cover 100
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(PYTEST)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --fail-under=90

lint: $(READY) ## check style and the direction of imports
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/lint-imports

type: $(READY) ## check types
	@$(BIN)/mypy

bench: $(READY) ## measure the proxy beside its peers, and print the ratios
	@$(SERVERS) bench
	@$(BIN)/python -m tests.benchmarks $(BENCH)

fmt: $(READY) ## format the code and mend what can be mended safely
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

lock: ## choose the newest versions that pyproject.toml allows; needs uv
	@$(COMPILE) --upgrade --output-file requirements.txt
	@$(COMPILE) --upgrade --group dev --output-file requirements-dev.txt

clean: ## remove everything that the verbs above made, the stub's data included
	@rm -rf .venv .run .cache .coverage .coverage.* .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache build dist
	@find proxy backend_stub tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 11) and sys.exit("Python 3.11 or newer is needed: make PYTHON=/path/to/it")'
	@echo "Installing the locked dependencies into .venv ..."
	@$(PYTHON) -m venv .venv
# The lock is complete, so nothing is resolved: pip would look for newer releases of what
# another package asks for with an extra, and refuse them for want of a hash.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.txt
	@$(BIN)/python -m pip check --quiet --disable-pip-version-check
# The build backend is locked too: nothing that was not tested is fetched.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
