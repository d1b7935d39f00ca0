# Everything runs in .venv; `make demo` and `make test` install what they need.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test test-all check-all check format notebooks figures docs browser bench bench-gpu stats dist lock clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rfspec needs Python 3.11 or newer: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: setup
	$(BIN)/rfspec demo --out results/demo

test: setup
	$(BIN)/python -m pytest -m "not slow" -n auto --dist worksteal

test-all: setup
	XLA_FLAGS= $(BIN)/python -m pytest -n auto --dist worksteal

# everything that can fail: about two hours on two cores
check-all: check test-all notebooks figures docs

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

notebooks: setup
	$(BIN)/python notebooks/run.py

# draws from what is kept in paper_figures/data; FAST=1: small versions, computed anew
figures: setup
	$(BIN)/python paper_figures/make.py $(if $(FAST),--fast)

docs: setup
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs results/docs

# the pages of the explorer in a browser that is there (Debian: apt-get install chromium)
browser: setup
	$(BIN)/python -m pytest -m browser

dist: setup
	$(BIN)/python -m hatchling build

bench: setup
	$(BIN)/python benchmarks/run.py $(if $(FAST),--fast)

# on the accelerator that there is, in small on a CPU; draws the figures into benchmarks/README.md
bench-gpu: setup
	! command -v nvidia-smi > /dev/null || $(BIN)/python -c 'import jax; jax.devices("gpu")' 2> /dev/null || \
		$(BIN)/python -m pip install --quiet \
		"jax[cuda12]==$$($(BIN)/python -c 'import jax; print(jax.__version__)')"
	$(BIN)/python benchmarks/bench_gpu.py $(if $(FAST),--fast)
	$(BIN)/python benchmarks/draw.py

stats:
	$(PYTHON) scripts/stats.py

# needs uv; writes versions and hashes for every platform and Python, and no index host
lock:
	uv pip compile --universal --generate-hashes --fork-strategy requires-python --python-version 3.11 \
		--group dev pyproject.toml --no-header --no-emit-index-url --quiet --output-file requirements.lock

clean:
	rm -rf .venv results build dist docs/notebooks
