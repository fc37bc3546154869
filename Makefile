# Two commands on a fresh machine: `make demo` and `make test`. Each sets up .venv first, once.
PYTHON ?= python3
BIN := .venv/bin
# Each test process has a core of its own; more threads would only fight over it.
TEST := OMP_NUM_THREADS=1 $(BIN)/pytest

.PHONY: demo test lint test-slow browser bench clean

demo: .venv/ready
	$(BIN)/deixis segment examples/toyland.png "$(shell cat examples/toyland.txt)" --out out --explain

test: lint
	$(TEST) --numprocesses 2 --dist worksteal

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Minutes rather than seconds: full-size goldens, huge images, data sets of the published size.
test-slow: .venv/ready
	$(TEST) -m slow

# What the tests of the web page need, on Debian: its Chromium, which Playwright drives.
browser: .venv/ready
	test -x /usr/bin/chromium || (apt-get update && apt-get install --yes --no-install-recommends chromium)
	$(BIN)/pip install --quiet --disable-pip-version-check playwright==1.65.2 axe-playwright-python==0.1.8

# On an idle machine; writes benchmarks/results/*.json and prints the README's table.
bench: .venv/ready
	$(BIN)/python -m benchmarks

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

clean:
	rm -rf .venv out
