# `make demo` and `make test` need Python 3.11 or newer and nothing else; everything is installed into .venv.
PYTHON ?= python3
RECIPE ?= quickstart-uzbek
SERVE ?= 1
PORT ?= 7860

BIN := .venv/bin
RUN := runs/$(RECIPE)

.PHONY: demo test test-browser lint schema clean

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .[dev]
	touch $@

demo: .venv/installed
	$(BIN)/python training/sft.py --recipe recipes/$(RECIPE).yaml
	$(BIN)/python eval/run.py --run $(RUN)
	$(BIN)/python cards/build.py --run $(RUN)
	$(BIN)/escoita summary --run $(RUN)
ifneq ($(SERVE),0)
	$(BIN)/python space/app.py --run $(RUN) --port $(PORT)
endif

test: lint
	$(BIN)/python -m pytest

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

schema: .venv/installed
	$(BIN)/escoita schema > recipes/recipe.schema.json

clean:
	rm -rf .venv runs
