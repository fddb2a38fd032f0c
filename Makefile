# The daily commands. `make` alone lists them.
#
#   PYTHON=/path/to/python3.13   the Python a new .venv is made with (3.11 or newer)
#   ARGS='--port 9000'           passed on by `make run`, `make test` and `make bench`
#   WORKERS=4                    how many processes `make test` uses

VENV := .venv
WORKERS := 2
ARGS :=
LOCK_ARGS :=

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory

# The first Python that is new enough, by its real path: version managers put shims on PATH
# that exist and yet do not run. Evaluated only when a .venv has to be made.
SUITABLE := import sys; sys.version_info < (3, 11) and sys.exit(1); print(sys.executable)
PYTHON = $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	$$python -c '$(SUITABLE)' 2>/dev/null && break; done)

# uv when it is there and works; otherwise pip does the same more slowly.
UV = $(shell uv --version >/dev/null 2>&1 && echo uv)
INSTALL = $(if $(UV),uv pip install -q -p $(VENV)/bin/python,$(VENV)/bin/python -m pip install -q --disable-pip-version-check)

SETUP_DONE := $(VENV)/.setup-done
DEV_DONE := $(VENV)/.dev-done

.PHONY: help setup run test test-all check docs pictures bench lock clean
.DEFAULT_GOAL := help

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' \
		| while IFS=$$'\t' read -r name text; do printf '  make %-9s %s\n' "$$name" "$$text"; done

setup: $(SETUP_DONE) ## make .venv from the lock file: the server and the command line, ready to use

run: $(SETUP_DONE) ## set up, then serve on 127.0.0.1:8000
	@exec $(VENV)/bin/cloudsignal serve --welcome $(ARGS)

test: $(DEV_DONE) ## set up with the test tools, then run every test
	@$(VENV)/bin/python -m pytest -n $(WORKERS) $(ARGS)

test-all: ## run the tests on each of Python 3.11, 3.12 and 3.13 that this machine has
	@failed=; for version in 3.11 3.12 3.13; do \
		found=; \
		for python in "python$$version" "$$(pyenv root 2>/dev/null)"/versions/$$version.*/bin/python; do \
			if "$$python" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "'$$version'")' 2>/dev/null; \
			then found=$$("$$python" -c 'import sys; print(sys.executable)'); break; fi; \
		done; \
		if [ -z "$$found" ]; then echo "== Python $$version: not on this machine, skipped"; continue; fi; \
		echo "== Python $$version: $$found"; \
		$(MAKE) test VENV=.venv-$$version PYTHON="$$found" || failed="$$failed $$version"; \
	done; \
	if [ -n "$$failed" ]; then echo "Failed on Python$$failed"; exit 1; fi

check: $(DEV_DONE) ## the fast loop: style, types, import contracts, unit tests
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/python -m pytest -q -m 'not slow' tests/protocol tests/server

docs: $(SETUP_DONE) ## write docs/reference/ again, from the declarations in the code
	@$(VENV)/bin/python docs/generate.py

pictures: $(DEV_DONE) ## take the pictures of the panel in docs/images again (needs chromium, and six minutes)
	@$(VENV)/bin/python docs/pictures.py

bench: $(DEV_DONE) ## compare with an empty handler and with the usual pick (needs wrk)
	@command -v wrk >/dev/null || { echo "The benchmark drives the servers with wrk, which is not installed: apt-get install wrk" >&2; exit 1; }
	@$(VENV)/bin/python -m benchmarks.run $(ARGS)

# Both files name versions and hashes but no host. The second is the first plus the
# tools: it is compiled under the first as a constraint, so the two never disagree.
# LOCK_ARGS=--upgrade takes the newest versions; otherwise present pins are kept.
COMPILE = uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock' --no-emit-index-url --no-emit-find-links
lock: ## write the lock files again after a change of dependencies (needs uv)
	@test -n "$(UV)" || { echo "The lock files are made with uv, which is not installed: pip install uv" >&2; exit 1; }
	@$(COMPILE) $(LOCK_ARGS) pyproject.toml --extra server --extra postgresql -o requirements.lock.txt
	@$(COMPILE) $(LOCK_ARGS) pyproject.toml --extra server --extra postgresql --group dev -c requirements.lock.txt -o requirements-dev.lock.txt

clean: ## remove what was made here: environments and caches, never a database
	rm -rf .venv .venv-3.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# ---- the steps behind them: each leaves a stamp, so that repeating one costs nothing

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found. Name one: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c '$(SUITABLE)' >/dev/null 2>&1 || { echo "$(PYTHON) is not a Python 3.11 or newer" >&2; exit 1; }
	@echo "Making $(VENV) with $(PYTHON)"
	@$(if $(UV),uv venv -q --clear -p "$(PYTHON)" $(VENV),"$(PYTHON)" -m venv --clear $(VENV))

$(SETUP_DONE): $(VENV)/bin/python requirements.lock.txt pyproject.toml
	@$(if $(UV),,$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(VENV)/bin/python -m ensurepip)
	@echo "Installing the packages of requirements.lock.txt"
	@$(INSTALL) --no-deps --require-hashes -r requirements.lock.txt
	@$(INSTALL) --no-deps -e .
	@touch $@

$(DEV_DONE): $(SETUP_DONE) requirements-dev.lock.txt
	@echo "Installing the packages of requirements-dev.lock.txt"
	@$(INSTALL) --no-deps --require-hashes -r requirements-dev.lock.txt
	@touch $@
