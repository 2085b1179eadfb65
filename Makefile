# All targets install what they need into .venv; `make demo` requires only Python 3.11 or newer.
PYTHON ?= python3
# gemma4, phi4, whisper or ctc; or RECIPE=quickstart-galician and so on
FAMILY ?=
RECIPE ?=
# The size of the libraries as pip downloads them, measured with the CPU build of torch.
DOWNLOAD := 0.5 GB (several GB if pip selects a CUDA build of torch)
# user/name: `make demo REPO=user/name` publishes to the Hub with the token that `hf auth login` stores.
REPO ?=
# Of `make test-real`. The environment, in which LANGUAGE is that of messages, does not change it.
LANGUAGE := gl
SERVE ?= 1
PORT ?= 7860

BIN := .venv/bin

.PHONY: demo check lint test test-slow test-browser test-demo test-gpu test-real test-unsloth fuzz audit docs schema families page-images bench clean

.venv/installed: pyproject.toml constraints.txt
	@echo "Installing escoita and its libraries into .venv: about $(DOWNLOAD) to download, unless pip has them in its cache"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .[dev]
	touch $@

demo: .venv/installed
	$(BIN)/escoita demo $(FAMILY) $(if $(RECIPE),--recipe $(RECIPE)) --port $(PORT) $(if $(REPO),--repo $(REPO)) $(if $(filter 0,$(SERVE)),--no-serve)

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
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n 2 --dist loadfile

# The fuzz tests of `make test`, with many more inputs of each kind; takes minutes.
fuzz: .venv/installed-dev
	ESCOITA_FUZZ=20000 $(BIN)/python -m pytest tests/fuzz --durations 0

# Known vulnerabilities of the packages in constraints.txt, according to PyPI; a package that PyPI does not know is an error.
audit: .venv/installed-dev
	$(BIN)/pip-audit --strict --no-deps --disable-pip -r constraints.txt

# Unlike `make test`, this fails if there is no Chromium.
test-browser: .venv/installed-dev
	chromium --version
	$(BIN)/python -m pytest -m browser

test-demo: .venv/installed-dev
	$(MAKE) demo SERVE=0
	$(MAKE) demo SERVE=0 FAMILY=phi4
	$(MAKE) demo SERVE=0 FAMILY=whisper
	$(MAKE) demo SERVE=0 FAMILY=ctc
	$(BIN)/python -m pytest -m demo

# Unsloth requires older versions than constraints.txt, and torchvision, whose wheel requires the CUDA build of torch; a CPU
# build is excluded. About 6 GB. The tests also run without a GPU.
.venv-unsloth/installed: pyproject.toml
	$(PYTHON) -m venv .venv-unsloth
	.venv-unsloth/bin/pip install --quiet --disable-pip-version-check -e .[unsloth] "torch==2.13.*,!=2.13.0+cpu" \
		hypothesis pytest
	touch $@

test-unsloth: .venv-unsloth/installed
	.venv-unsloth/bin/python -m pytest -m unsloth tests/unsloth

# The figures of docs/performance.md, measured on the quick start's run, which is trained if it does not exist.
bench: .venv/installed
	$(BIN)/python training/sft.py --recipe recipes/quickstart-uzbek.yaml
	$(BIN)/python bench/run.py

# What only a GPU can show, in eight minutes on one NVIDIA GPU with 24 GB, without a network; writes gpu-check.json. With
# GPU_PYTHON=python3 it uses that interpreter instead of .venv; parts whose packages it does not have are skipped.
test-gpu:
	$(if $(GPU_PYTHON),,$(MAKE) .venv/installed)
	$(or $(GPU_PYTHON),$(BIN)/python) bench/gpu/run.py --size $(or $(SIZE),full)

# The whole path with published weights and real speech, on a CPU: at most 15 CPU minutes of training. BASE is a Whisper,
# CORPUS whatever `escoita init` recognizes; by default both are downloaded. Writes runs/real/real-check.json.
test-real: .venv/installed-dev
	$(BIN)/python bench/real.py --language $(LANGUAGE) $(if $(BASE),--base $(BASE)) $(if $(CORPUS),--corpus $(CORPUS)) \
		$(if $(STEPS),--steps $(STEPS))

# The site, into site/. A broken link, or a page without a link to it, is an error. `make test` builds it too.
docs: .venv/installed-dev
	$(BIN)/mkdocs build

# The tables of docs/families.md, from escoita/models/families.py.
families: .venv/installed
	$(BIN)/python docs/hooks/families.py

schema: .venv/installed
	$(BIN)/escoita schema > recipes/recipe.schema.json

# The pictures of every tab of the page, in docs/images/page, with the records of the quick start's run.
page-images: .venv/installed-dev
	$(BIN)/python docs/images/pages.py

clean:
	rm -rf .venv .venv-unsloth runs site
