# Every target sets up what it needs on a bare machine, and is quick when all is there: stamp files are named after a
# checksum of what they depend on, so a `git checkout` that only touches times repeats nothing.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
checksum = $(shell cat $(1) 2>/dev/null | cksum | tr ' ' '-')
# Node packages of a directory that has a package.json: its stamp; of any other: nothing.
npm_stamp = $(if $(wildcard $(1)/package.json),$(1)/node_modules/.stamp-$(call checksum,$(1)/package-lock.json))

PYTHON_STAMP := .venv/.stamp-$(call checksum,pyproject.toml)
WEB_STAMP := $(call npm_stamp,clients/web)
INTEROP_STAMP := $(call npm_stamp,tests/interop)
BENCH_STAMP := $(call npm_stamp,bench/clients)
CHAOS_STAMP := $(call npm_stamp,chaos/clients)
WEB_SOURCES := $(shell find clients/web -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null | sort)
WEB_BUILD := $(if $(WEB_STAMP),clients/web/dist/.stamp-$(call checksum,$(WEB_SOURCES)))

# Stamps are kept, even those that only lead to another.
.SECONDARY:
.PHONY: help setup dev test test-fast lint bench-live bench-wire bench-commit chaos chromium libfaketime simulate

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: $(PYTHON_STAMP) $(WEB_BUILD) $(INTEROP_STAMP) $(CHAOS_STAMP) chromium ## Install everything that the other targets need

dev: $(PYTHON_STAMP) $(WEB_BUILD) ## Run MongoDB, the server and the web page: http://127.0.0.1:3210
	@exec $(BIN)/concave dev --app schema --web clients/web/dist $(ARGS)

test: setup ## Run all tests
	@$(BIN)/pytest -q -n 2 --dist loadfile $(ARGS)

test-fast: $(PYTHON_STAMP) ## Run the tests that need no browser and no second: under a minute
	@$(BIN)/pytest -q -n 2 --dist loadfile -m "not slow" $(wildcard tests/unit tests/conformance tests/simulation) $(ARGS)

fuzz: $(PYTHON_STAMP) ## Look for trouble with hostile clients; SECONDS=600 for longer than a minute
	@FUZZ_SECONDS=$(or $(SECONDS),60) $(BIN)/pytest -q tests/fuzz $(ARGS)

simulate: $(PYTHON_STAMP) ## Simulate nodes that fail: SEEDS=2000 seeds (500), or replay one with SEED=123
	@$(BIN)/python -m concave.testing.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),500)) $(ARGS)

lint: $(PYTHON_STAMP) ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench-live: $(PYTHON_STAMP) $(BENCH_STAMP) ## Measure the live path against bare PyMongo and a hand-written baseline
	@$(BIN)/python bench/live.py $(ARGS)

bench-wire: $(PYTHON_STAMP) ## Measure idle sockets, fan-out, connecting, reconnecting
	@$(BIN)/python bench/wire.py $(ARGS)

chaos: $(PYTHON_STAMP) $(CHAOS_STAMP) libfaketime ## Break a cluster on purpose under load, and check what holds: MINUTES=5 SEED=n
	@$(BIN)/python -m chaos --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED)) $(ARGS)

bench-commit: $(PYTHON_STAMP) $(BENCH_STAMP) ## Measure the commit path: latency, throughput, contention, several nodes
	@$(BIN)/python bench/commit.py $(ARGS)

# The stamps

$(PYTHON_STAMP): pyproject.toml
	@.ci/python-environment
	@rm -f .venv/.stamp-* && touch $@

clients/web/dist/.stamp-%: $(WEB_STAMP)
	@echo "Building the web page ..."
	@cd clients/web && npm run --silent build -- --logLevel warn
	@rm -f clients/web/dist/.stamp-* && touch $@

define npm_rule
$(1)/node_modules/.stamp-%:
	@.ci/node-packages $(1)
	@rm -f $(1)/node_modules/.stamp-* && touch $$@
endef
$(foreach directory,clients/web tests/interop bench/clients chaos/clients,$(eval $(call npm_rule,$(directory))))

chromium:
	@.ci/chromium

libfaketime:
	@.ci/libfaketime
