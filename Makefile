# make test: every test this machine can run.
SHELL := /bin/bash
VENV ?= .venv
PY := $(VENV)/bin/python

.PHONY: setup check test long away demo bench figures lock

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml requirements.lock $(wildcard topology/native/*.[ch])
	@echo "setup 1/3: a private environment in $(VENV), with uv (25 MB)"
	python3 -m venv $(VENV)
	$(PY) -m pip install -q uv
	@echo "setup 2/3: the locked packages; torch and its libraries are the big part (0.8 GB for CPU, 5.5 GB for CUDA)"
	$(VENV)/bin/uv pip install -q --python $(PY) $(LOCKED)
	@echo "setup 3/3: headrace itself"
	$(VENV)/bin/uv pip install -q --python $(PY) --no-deps -e .
	touch $@

# With TORCH_BACKEND torch is another build of the locked version: other hashes, and none of CUDA's libraries.
BACKEND = --no-verify-hashes --torch-backend $(TORCH_BACKEND) -c requirements.lock -e '.[dev]'
LOCKED = $(if $(TORCH_BACKEND),$(BACKEND),--require-hashes -r requirements.lock)

lock:
	$(VENV)/bin/uv pip compile -q pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url -o requirements.lock

check: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

# Two files at a time: much of a test of Kafka is waiting.
test: setup
	$(PY) -m pytest -q -n 2 --dist loadfile

# Faults that take minutes each: processes that join, freeze, die, topics made anew, changelogs cut.
long: setup
	$(PY) -m pytest -q -m long

# Kafka is frozen, then killed, for three minutes each under the scaler: every count stays, and the reason is shown.
away: setup
	HEADRACE_AWAY_S=180 $(PY) -m pytest -q tests/kafka/test_autoscale.py -k away --timeout 900 -rP

# A short set: bare engines, the pipeline, whole models. Needs Java 17 and Maven. Writes JSON and PNG to .headrace/bench.
bench: setup
	for what in engine monolith "pipeline --no-reference"; do \
		$(PY) -m infra.cli bench $$what --short --json .headrace/bench/$${what%% *}.json || exit 1; done

# Fill README.md and docs/BENCHMARKS.md from docs/benchmarks/*.json; a unit test fails where they differ.
figures: setup
	$(PY) -m benchmarks.figures --write

demo: setup
	$(PY) -m infra.cli demo
