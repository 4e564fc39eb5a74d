# `make train`: set up and run the main job. `make test`: set up and run the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: train test lint format clean

train: $(VENV)/run.stamp
	$(BIN)/python train.py hparams/train.yaml $(ARGS)

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest

lint: $(VENV)/dev.stamp
	PATH="$(abspath $(BIN)):$$PATH" sh tests/lint.sh

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -r requirements.txt
	touch $@

$(VENV)/dev.stamp: requirements-dev.txt requirements-extras.txt $(VENV)/run.stamp
	$(BIN)/python -m pip install -r requirements-dev.txt
	touch $@
