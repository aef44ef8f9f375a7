# make test: every test this machine can run.
SHELL := /bin/bash
VENV ?= .venv
PY := $(VENV)/bin/python

.PHONY: setup check test demo

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	@echo "setup: a private environment in $(VENV); torch and its libraries are the big part (0.2 GB for CPU, 5.5 GB for CUDA)"
	python3 -m venv $(VENV)
	$(PY) -m pip install -q uv
	$(VENV)/bin/uv pip install -q --python $(PY) $(if $(TORCH_BACKEND),--torch-backend $(TORCH_BACKEND)) -e '.[dev]'
	touch $@

check: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

test: setup
	$(PY) -m pytest -q

demo: setup
	$(PY) -m infra.cli demo
