# What there is to do here: `make` lists it.

PYTHON ?= python3
ARGS ?=
MINUTES ?= 60
BIN := .venv/bin
PIP := $(BIN)/pip install -q --disable-pip-version-check
HAS_OPENSSL := echo '\#include <openssl/ssl.h>' | cc -E - >/dev/null 2>&1
# The folders that hold only fast tests; those that need no server, which run side by side; those with servers of their
# own, whose files do; and those that load the machine themselves.
FAST := $(wildcard tests/unit tests/contract)
ALONE := $(FAST) $(wildcard tests/fuzz)
HEAVY := $(wildcard tests/chaos)
# Those that take longest come first, so that the last ones, which are short, end at about the same time.
LONGEST := $(wildcard tests/wire tests/browser tests/clients)
SERVED := $(LONGEST) $(filter-out $(ALONE) $(HEAVY) $(LONGEST) %.py %/__pycache__,$(wildcard tests/*))
# Hundreds of processes are started, and each would compile Hubbub anew where the environment keeps bytecode from being kept.
export PYTHONDONTWRITEBYTECODE :=
# The newest version of CPython that is installed, if it is a newer one, by the name or the path that runs it.
NEWEST := $(shell for python in python3.12 python3.13 python3.14 "$$HOME"/.pyenv/versions/3.1[2-9].*/bin/python; do \
	"$$python" -c 'import sys; print(".%d.%d" % sys.version_info[:2], sys.argv[1])' "$$python" 2>/dev/null; done \
	| sort -u -k1,1V | tail -1 | cut -d' ' -f2)

.PHONY: help serve test chaos judged check lint newest fast fuzz conformance comparison chromium redis node toolchain clean

help: ## list these
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 14

serve: .venv/installed ## a TLS chat at https://localhost:8080; ARGS="--port 9000" passes more
	@$(BIN)/hubbub serve --demo $(ARGS)

test: .venv/installed-deploy chromium redis node toolchain lint ## everything: lint, types, all tests, conformance
	@$(BIN)/pytest -q -n auto $(ALONE)
	@$(BIN)/pytest -q -n auto --dist loadfile --no-loadscope-reorder $(SERVED)
	@$(MAKE) --no-print-directory --output-sync --jobs=2 chaos judged

# These wait for most of their time, so they run side by side; each is shown when it is done.
chaos:
	@$(BIN)/pytest -q $(HEAVY)

judged:
	@# 77: skipped, because there is no CPython 2.7; it has said so.
	@$(BIN)/python tests/conformance/run.py || test $$? -eq 77

check: .venv/installed-dev lint ## what takes a few minutes: lint, types, fast tests
	@$(BIN)/pytest -q -n auto -m 'not thorough' $(FAST)

lint: .venv/installed-dev ## ruff and mypy
	@$(BIN)/ruff check -q
	@$(BIN)/ruff format -q --check
	@$(BIN)/mypy

# In an environment that is made for them and thrown away.
newest: ## the unit tests on the newest CPython that is installed
	@test -n "$(NEWEST)" || { echo "No CPython after 3.11 is installed."; exit 1; }
	@$(MAKE) --no-print-directory fast PYTHON="$(NEWEST)"

fast:
	@$(PYTHON) --version; venv=$$(mktemp -d) && trap 'rm -rf "$$venv"' EXIT && $(PYTHON) -m venv "$$venv" && \
		"$$venv/bin/pip" install -q --disable-pip-version-check -e '.[dev]' && \
		"$$venv/bin/pytest" -q -n auto -p no:cacheprovider -m 'not thorough' tests/unit

# Each round has new examples; a failure prints what reproduces it.
fuzz: .venv/installed-dev ## new input for the parsers, an hour of it; MINUTES=10 is less
	@end=$$(($$(date +%s) + 60 * $(MINUTES))); while [ $$(date +%s) -lt $$end ]; do \
		HUBBUB_FUZZ=4 nice $(BIN)/pytest -q -x -p no:cacheprovider tests/fuzz || exit 1; done

conformance: .venv/installed ## the Autobahn test suite against the wire layer; needs CPython 2.7; ARGS=--all takes hours
	@$(BIN)/python tests/conformance/run.py $(ARGS)

comparison: .venv/installed-report ## Hubbub beside its peers: docs/comparison.md, in an hour; ARGS="--help" tells of parts
	@command -v taskset >/dev/null && $(HAS_OPENSSL) || \
		{ echo "This needs taskset, a C compiler and OpenSSL's headers; on Debian: apt-get install util-linux gcc libssl-dev"; exit 1; }
	@for tool in go node npm; do command -v $$tool >/dev/null || echo "There is no $$tool, so its server is left out."; done
	@$(BIN)/python -m comparison.run $(ARGS)

screenshots: .venv/installed-dev chromium ## the pictures in the README and the docs, from a seeded server
	@$(BIN)/python tests/browser/pictures.py

clean: ## remove all that these targets make
	@rm -rf .venv .comparison .conformance .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	@find src tests examples comparison -name __pycache__ -type d -prune -exec rm -rf {} +

# The project is installed in place, so only what it depends on can make an installation old.

.venv/installed: pyproject.toml | .venv
	@$(PIP) -e .
	@touch $@

.venv/installed-report: pyproject.toml | .venv
	@$(PIP) -e '.[report]'
	@touch .venv/installed $@

# Most of what tests depend on is never imported: what is, is compiled then.
.venv/installed-dev: pyproject.toml | .venv
	@$(PIP) --no-compile -e '.[dev]'
	@touch .venv/installed .venv/installed-report $@

.venv/installed-deploy: pyproject.toml | .venv
	@$(PIP) --no-compile -e '.[dev,deploy]'
	@touch .venv/installed .venv/installed-report .venv/installed-dev $@

.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Hubbub needs Python 3.11 or later, and $(PYTHON) is not; name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv"; exit 1; }

# The load generator of the comparison is written in C.
toolchain:
	@if $(HAS_OPENSSL); then exit; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev libssl-dev >/dev/null; \
	else \
		echo "The comparison's tests need a C compiler and OpenSSL's headers; on Debian: apt-get install gcc libc6-dev libssl-dev"; exit 1; \
	fi

# The browser tests drive the system's Chromium.
chromium:
	@if command -v "$${HUBBUB_CHROMIUM:-chromium}" >/dev/null; then exit; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else \
		echo "The browser tests need Chromium; on Debian: apt-get install chromium"; exit 1; \
	fi

# Tests start servers of their own; Debian's service, which the package brings, is not wanted.
redis:
	@if command -v redis-server >/dev/null || command -v valkey-server >/dev/null; then exit; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server >/dev/null && \
		if [ -d /run/systemd/system ]; then systemctl disable -q --now redis-server; fi; \
	else \
		echo "The tests of the Redis engine need redis-server; on Debian: apt-get install redis-server"; exit 1; \
	fi

# The JavaScript client runs in Node 20 and later. Debian 12 has 18, with whose npm a later one is fetched; where it is
# kept is what tests/clients/node.py looks into.
node:
	@if command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; then exit; fi; \
	if ! command -v npm >/dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null; \
		else \
			echo "The tests of the JavaScript client need Node 20 and npm; on Debian: apt-get install nodejs npm"; exit 1; \
		fi; \
	fi; \
	node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || \
		npm install --silent --no-save --prefix "$${HUBBUB_NPM:-$$HOME/.cache/hubbub-tests/npm}" node@22
