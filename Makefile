# The whole life of a checkout in a few verbs. `.venv` is made on demand, from
# requirements-dev.txt and nothing else, and made again when that or pyproject.toml changes.

PYTHON ?= python3
UV ?= uv
# More for the demonstration (`make run RUN="--proxy-port 18080"`), pytest (`make test
# PYTEST="-x"`) or the benchmarks (`make bench BENCH="--rounds 1"`).
RUN ?=
PYTEST ?=
BENCH ?=

BIN := .venv/bin
READY := .venv/.ready
COMPILE := $(UV) pip compile pyproject.toml --universal --python-version 3.11 \
	--generate-hashes --custom-compile-command "make lock" --quiet
# The data path as it is deployed: see tool.hatch.build in pyproject.toml.
COMPILED := .cache/compiled
SOURCES := $(shell find proxy -name '*.py' -o -name '*.lua')
# The servers that `make test` and `make bench` start on free ports of their own.
SERVERS := tests/install_servers.sh
# One of them is not in this Debian.
EXPORTER := .cache/trixie/prometheus-pgbouncer-exporter
# Grafana's types and drawing code, from npm.
NPM := grafana/node_modules/.ready
# A gateway that the proxy is measured beside.
PEERS := tests/benchmarks/node_modules/.ready
# A real OpenID provider for the tests, from npm too, with the Node that it needs.
OIDC := tests/oidc_provider/node_modules/.ready

.DELETE_ON_ERROR:
.PHONY: help run test test-compiled test-grafana stack lint type bench wheel fmt lock clean

help: ## list these verbs
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile

run: $(READY) ## start the LMS stub and the proxy in front of it; Ctrl-C stops both
# exec: no shell stands between make and the demo, so a signal to make reaches the demo,
# and make waits until it has stopped both services.
	@exec $(BIN)/python -m backend_stub.demo $(RUN)

test: $(READY) $(EXPORTER) $(OIDC) ## run every test against real servers, with branch coverage
	@$(SERVERS) test
	@$(BIN)/lumina-proxy test policies --cover 100
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(PYTEST)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --fail-under=90
	@$(BIN)/python -m tests.own_coverage

test-compiled: $(READY) $(COMPILED)/.ready $(OIDC) ## run the tests of the data path against the compiled wheel
	@$(SERVERS) test
	@PYTHONPATH=$(COMPILED) $(BIN)/python -P -m pytest -o pythonpath= $(PYTEST) \
		tests/core tests/edge tests/e2e

test-grafana: $(READY) $(EXPORTER) $(NPM) ## check the dashboards with Grafana's own code, and draw them
	@$(SERVERS) grafana
	@$(BIN)/python -m pytest -m grafana $(PYTEST) tests/grafana

stack: $(READY) ## build the images and start, use, break and stop docker-compose.prod.yml
	@$(SERVERS) stack
	@$(BIN)/python -m pytest --timeout 900 -s $(PYTEST) tests/stack/whole.py

lint: $(READY) ## check style and the direction of imports
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/lint-imports

type: $(READY) ## check types
	@$(BIN)/mypy

bench: $(READY) $(COMPILED)/.ready $(PEERS) ## measure the proxy beside its peers, and print the ratios
	@$(SERVERS) bench
	@PYTHONPATH=$(COMPILED) $(BIN)/python -m tests.benchmarks $(BENCH)

wheel: $(COMPILED)/.ready ## build dist/*.whl with the data path compiled; needs a C compiler
	@mkdir -p dist && cp .cache/dist/*.whl dist/ && ls dist/*.whl

fmt: $(READY) ## format the code and mend what can be mended safely
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

lock: ## choose the newest versions that pyproject.toml allows; needs uv
	@$(COMPILE) --upgrade --output-file requirements.txt
	@$(COMPILE) --upgrade --group dev --output-file requirements-dev.txt

clean: ## remove everything that the verbs above made, the stub's data included
	@rm -rf .venv .run .cache .coverage .coverage.* .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache build dist grafana/node_modules \
		tests/benchmarks/node_modules tests/oidc_provider/node_modules
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

$(EXPORTER): tests/grafana/fetch_exporter.sh
	@$< $(@D)

# Without the scripts of packages: none that is needed here has one.
$(NPM): grafana/package.json grafana/package-lock.json
	@$(SERVERS) grafana
	@echo "Installing Grafana's own code into grafana/node_modules ..."
	@npm ci --prefix grafana --no-audit --no-fund --ignore-scripts --legacy-peer-deps --silent
	@touch $@

$(PEERS): tests/benchmarks/package.json tests/benchmarks/package-lock.json
	@$(SERVERS) bench
	@npm ci --prefix tests/benchmarks --no-audit --no-fund --ignore-scripts --silent
	@touch $@

$(OIDC): tests/oidc_provider/package.json tests/oidc_provider/package-lock.json
	@$(SERVERS) test
	@echo "Installing an OpenID provider into tests/oidc_provider/node_modules ..."
	@npm ci --prefix tests/oidc_provider --no-audit --no-fund --ignore-scripts --silent
	@touch $@

# Built from a copy: extension modules beside the sources would be used instead of them.
$(COMPILED)/.ready: $(READY) $(SOURCES) pyproject.toml
	@$(SERVERS) wheel
	@$(BIN)/python -c 'import pathlib, sys, sysconfig; pathlib.Path(sysconfig.get_path("include"), "Python.h").exists() or sys.exit("The headers of this Python are needed to compile the data path (Debian: apt-get install python3-dev).")'
	@echo "Compiling the data path ..."
	@rm -rf .cache/build .cache/dist $(COMPILED)
	@mkdir -p .cache/build && cp -r proxy pyproject.toml README.md LICENSE CHANGELOG.md .cache/build
	@HATCH_BUILD_HOOKS_ENABLE=1 $(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir .cache/dist .cache/build
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(COMPILED) .cache/dist/*.whl
	@rm -rf .cache/build
	@touch $@
