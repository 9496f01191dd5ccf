# Everything runs from .venv, which make creates: nothing has to be activated or installed by hand.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check bench soak clean
.DELETE_ON_ERROR:

demo: .venv/run
	@$(BIN)/relay demo

test: .venv/dev
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

check: .venv/dev
	@$(BIN)/ruff format --check relay tests bench
	@$(BIN)/ruff check relay tests bench
	@$(BIN)/mypy

bench: .venv/dev
	@npm ci --silent --ignore-scripts --omit=optional --prefix bench/peers/haraka >/dev/null 2>&1 || \
		echo "npm could not install Haraka: it is not measured"
	@$(BIN)/python -m bench
	@$(BIN)/python -m bench.large
	@$(BIN)/python -m bench.events

soak: .venv/dev
	@$(BIN)/python -m pytest -q -s -m soak
	@HYPOTHESIS_PROFILE=search $(BIN)/python -m pytest -q -n 2 --dist loadfile

clean:
	rm -rf .venv demo build bench/results *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Relay needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "Python's venv module is missing. On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }

.venv/run: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing Relay into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/dev: .venv/run
	@echo "installing what the tests need ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[postgres,dev]'
	@touch $@
