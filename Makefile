# Two commands do everything on a machine with Python 3.11: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test suite check lint types clean

demo: $(STAMP)
	bash benchmarks/demo.sh $(BIN)/swiftdeploy

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

# A fixed sample of the numeric comparisons in coremltools' own tests, answered by the reference runtime.
suite: $(STAMP)
	$(BIN)/python benchmarks/coremltools_suite.py --sample 1000 --seed 0 --jobs 2 --brief

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

check: lint types suite test

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) dist build *.egg-info .pytest_cache .mypy_cache .ruff_cache
