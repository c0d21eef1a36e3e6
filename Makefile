# One word for each task; everything is built into .venv and two cargo folders of the user's cache, nothing else.
#
# Two folders because maturin and plain cargo build dependencies with other features: in one folder each would undo the
# other's work. They lie outside the tree so that a fresh clone, and a second one, compile only this project.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dataflare-fast
BIN := .venv/bin
CARGO := CARGO_TARGET_DIR="$(CACHE)/cargo" cargo
PIP := CARGO_TARGET_DIR="$(CACHE)/pip" PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip --disable-pip-version-check
PYTEST := CARGO_TARGET_DIR="$(CACHE)/pip" PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest

.PHONY: help demo build build-dev test pytest test-all bench check checkout

help: ## lists these words
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1 \t\2/p' Makefile | expand -t 18

demo: build ## a live windowed query that survives kill -9
	$(BIN)/dataflare demo

build: .venv/ready checkout ## compiles and installs the package into .venv
	$(PIP) install --quiet --no-build-isolation --editable .

build-dev: .venv/ready checkout
	$(PIP) install --quiet --no-build-isolation --editable '.[dev]'

test: build-dev ## all tests under ten seconds, Rust and Python
	cd rust && $(CARGO) test --workspace --quiet
	$(PYTEST) -m "not slow"

test-all: build-dev ## every test, the slow ones too
	cd rust && $(CARGO) test --workspace --quiet -- --include-ignored
	$(PYTEST)

# make pytest ARGUMENTS="tests/test_packaging.py -x"
pytest: build-dev
	$(PYTEST) $(ARGUMENTS)

# Measures a release build, which stands in .venv until the next `make build`.
bench: build-dev ## throughput and latency against DuckDB and Polars
	$(PIP) install --quiet --no-build-isolation --no-deps --force-reinstall .
	$(BIN)/python -m benchmarks

check: build-dev ## formatting, lints and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest dataflare_fast._core dataflare_fast._native
	cd rust && cargo fmt --all --check
	cd rust && $(CARGO) clippy --workspace --all-targets --quiet -- -D warnings

# Cargo tells the sources of two clones apart by their times alone: the clone that comes back to a folder which another
# one used makes its own look new.
checkout:
	@mkdir -p "$(CACHE)"
	@if [[ "$$(cat "$(CACHE)/checkout" 2>/dev/null)" != "$(CURDIR)" ]]; then \
	  find rust -name '*.rs' -exec touch {} + && echo "$(CURDIR)" >"$(CACHE)/checkout"; \
	fi

.venv/ready: pyproject.toml scripts/install_system.sh
	PYTHON="$(PYTHON)" scripts/install_system.sh
	$(PYTHON) -m venv .venv
	$(PIP) install --quiet 'maturin>=1.9,<2' 'cython>=3.1,<4' 'setuptools>=77'
	touch $@
