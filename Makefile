# Python 3.11 or newer, make and git are all that a machine needs; everything else goes into STATE_DIR.

.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

# The first of these that is new enough, and can make environments.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)

# For root Postgres runs as another user, and the folders above it are opened to all: keep them out of the
# checkout, and so out of root's HOME. Never below a folder that others may write to.
ifeq ($(shell id -u),0)
STATE_DIR ?= /var/lib/jtd-worker/$(word 1,$(shell printf %s '$(CURDIR)' | cksum))
else
STATE_DIR ?= $(CURDIR)/.jtd
endif
ifneq ($(words $(STATE_DIR)),1)
$(error The path "$(STATE_DIR)" has a space in it, which Postgres cannot use; name another: make STATE_DIR=/some/folder ...)
endif

VENV := $(STATE_DIR)/venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off
checksum = $(word 1,$(shell cat requirements-$(1).lock pyproject.toml | cksum))
RUN_READY := $(VENV)/run-$(call checksum,run)
DEV_READY := $(VENV)/dev-$(call checksum,dev)

PYTEST_ARGS ?=
CHAOS_ARGS ?=
TEST_IMAGE ?= postgres:18
UV ?= uv
COMPILE = $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

.PHONY: help
help: ## List what there is to make
	@echo 'make TARGET [STATE_DIR=/folder/for/environment/and/data]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
		awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

.PHONY: run
run: $(RUN_READY) ## Start Postgres and a worker, show five messages at the first start, stay until Ctrl-C
	@exec $(BIN)/python -m jtd_worker.demo run $(STATE_DIR)

.PHONY: psql
psql: $(RUN_READY) ## Open psql on the Postgres of `make run`
	@exec $(BIN)/python -m jtd_worker.demo psql $(STATE_DIR)

.PHONY: demo
demo: $(RUN_READY) ## Send one message per channel on a Postgres made for it; 0 only if all arrived
	@exec $(BIN)/python -m jtd_worker.demo once

.PHONY: test
test: $(DEV_READY) ## Run the tests on JTD_TEST_DATABASE_URL, else on an embedded Postgres (PYTEST_ARGS=...)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: test-docker
test-docker: $(DEV_READY) ## Run the tests on a Postgres in a container (TEST_IMAGE=postgres:18)
	@JTD_TEST_DOCKER=1 JTD_TEST_IMAGE=$(TEST_IMAGE) $(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: check
check: lint types layers test ## All that must hold: lint, types, layers, tests

.PHONY: lint
lint: $(DEV_READY) ## Check style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

.PHONY: types
types: $(DEV_READY) ## Check types
	@$(BIN)/mypy --strict

.PHONY: layers
layers: $(DEV_READY) ## Check that imports point one way
	@$(BIN)/lint-imports

.PHONY: chaos
chaos: $(DEV_READY) ## Break everything for minutes and count what arrives (CHAOS_ARGS="--seed 7 --jobs 10000 --minutes 5")
	@$(BIN)/python -m tests.chaos $(CHAOS_ARGS)

.PHONY: bench-quick
bench-quick: $(DEV_READY) ## Measure the worker for a minute
	@$(BIN)/python -m tests.bench.quick

.PHONY: mutants
mutants: $(DEV_READY) ## Put known defects back one by one; 0 only if tests fail with each (MUTANTS='F5 F10')
	@$(BIN)/python -m tests.mutants $(MUTANTS)

.PHONY: lock
lock: ## Write the lock files anew with uv, versions kept (UPGRADE=--upgrade takes the newest)
	$(COMPILE) $(UPGRADE) --extra embedded --group dev --output-file requirements-dev.lock
	$(COMPILE) $(UPGRADE) --constraint requirements-dev.lock --extra embedded --group build \
		--output-file requirements-run.lock
	$(COMPILE) $(UPGRADE) --constraint requirements-dev.lock --output-file requirements.lock

# One environment serves both; the name of a stamp holds the checksum of what was installed. The umask is for
# root, whose Postgres runs as a user who must be able to read it.
$(RUN_READY): LOCK = requirements-run.lock
$(DEV_READY): LOCK = requirements-dev.lock
$(RUN_READY) $(DEV_READY):
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer is needed, with its venv module; name it: make PYTHON=...'; exit 1; }
	@echo 'Installing $(LOCK) into $(VENV), once ...'
	@umask 022; mkdir -p $(STATE_DIR) && \
		{ $(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV); } && \
		$(PIP) --require-hashes -r $(LOCK) && \
		$(PIP) --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/$(firstword $(subst -, ,$(notdir $@)))-*
	@touch $@
