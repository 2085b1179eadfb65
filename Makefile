# `make demo` and `make test` need Python 3.11 or newer and nothing else; everything is installed into .venv.
PYTHON ?= python3
RECIPE ?= quickstart-uzbek
# user/name: `make demo REPO=user/name` publishes to the Hub of the token that `hf auth login` keeps.
REPO ?=
SERVE ?= 1
PORT ?= 7860

BIN := .venv/bin

.PHONY: demo check lint test test-slow test-browser test-demo test-unsloth fuzz audit docs schema bench clean

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .[dev]
	touch $@

demo: .venv/installed
	$(BIN)/escoita demo --recipe $(RECIPE) --port $(PORT) $(if $(REPO),--repo $(REPO)) $(if $(filter 0,$(SERVE)),--no-serve)

# Before a commit: both.
check: lint test

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/actionlint .github/workflows/*.yml
	$(BIN)/zizmor --offline --pedantic --quiet .
	$(BIN)/hadolint Dockerfile

test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: .venv/installed-dev
	$(BIN)/python -m pytest -m slow

# The inputs that `make test` tries, and many more of each kind; minutes.
fuzz: .venv/installed-dev
	ESCOITA_FUZZ=20000 $(BIN)/python -m pytest tests/fuzz --durations 0

# Known vulnerabilities of what constraints.txt pins, asked of PyPI; strict, as what it does not know is not safe.
audit: .venv/installed-dev
	$(BIN)/pip-audit --strict --no-deps --disable-pip -r constraints.txt

# What `make test` leaves out where there is no Chromium fails here.
test-browser: .venv/installed-dev
	chromium --version
	$(BIN)/python -m pytest -m browser

test-demo: .venv/installed-dev
	$(MAKE) demo SERVE=0
	$(MAKE) demo SERVE=0 RECIPE=quickstart-galician
	$(BIN)/python -m pytest -m demo

# Unsloth wants older versions than constraints.txt has, and torchvision, whose wheel goes with the CUDA build of torch:
# a CPU build that may lie nearer is left aside. About 6 GB; without a GPU it is told to do without.
.venv-unsloth/installed: pyproject.toml
	$(PYTHON) -m venv .venv-unsloth
	.venv-unsloth/bin/pip install --quiet --disable-pip-version-check -e .[unsloth] "torch==2.13.*,!=2.13.0+cpu" \
		hypothesis pytest
	touch $@

test-unsloth: .venv-unsloth/installed
	.venv-unsloth/bin/python -m pytest -m unsloth tests/unsloth

# The figures of docs/performance.md, on the quick start's run, which is trained where there is none.
bench: .venv/installed
	$(BIN)/python training/sft.py --recipe recipes/quickstart-uzbek.yaml
	$(BIN)/python bench/run.py

# The site, into site/: any broken link, and any page that no other leads to, ends it. `make test` builds it too.
docs: .venv/installed-dev
	$(BIN)/mkdocs build

schema: .venv/installed
	$(BIN)/escoita schema > recipes/recipe.schema.json

clean:
	rm -rf .venv .venv-unsloth runs site
