# Everything runs in .venv, which the first target makes. `make help` says what there is.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CHECKS := check-pyright check-mypy check-imports check-generated check-style

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-chart crash soak check bench clean $(CHECKS)

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

$(STAMP): pyproject.toml constraints.txt
	@echo "trunkline: setting up the virtual environment $(VENV) (first time: about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "trunkline needs Python 3.11 or newer; call make PYTHON=python3.11 …")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --progress-bar on -q -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(STAMP)  ## make the virtual environment

demo: $(STAMP)  ## real flights from PostgreSQL through Kafka to three destinations, with proof
	@$(BIN)/trunkline demo $(ARGS)

test: $(STAMP)  ## all tests, on real servers (ARGS=tests/unit some of them; AGAIN=1 a second look)
	@$(if $(ARGS),$(BIN)/python -m pytest $(ARGS),$(BIN)/python tests/side_by_side.py $(if $(AGAIN),--again))

test-chart: $(STAMP)  ## the chart on a real Kubernetes API server, built once (10 to 30 minutes, needs Go)
	@$(BIN)/python tests/kits/kube_programs.py
	@$(BIN)/python -m pytest tests/kubernetes $(ARGS)

crash: $(STAMP)  ## delivery through anything (SECONDS=600 long; SEED=… repeats a run)
	@CRASH_SECONDS=$(SECONDS) CRASH_SEED=$(SEED) $(BIN)/python -m pytest -s \
		tests/crash/test_deliver_through_anything.py $(ARGS)

soak: $(STAMP)  ## CDC from PostgreSQL through anything (SECONDS=3600 long; SEED=… repeats a run)
	@SOAK_SECONDS=$(SECONDS) SOAK_SEED=$(SEED) $(BIN)/python -m pytest -s tests/crash/test_cdc_soak.py $(ARGS)

# Two at a time, the longest first; each tells all that it finds, whatever the others find.

check: $(STAMP)  ## ruff, mypy, pyright, import-linter, schemas, the chart
	@$(MAKE) --no-print-directory -j2 --keep-going $(SYNC) $(CHECKS)

SYNC := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

check-pyright:
	$(BIN)/pyright

check-mypy:
	$(BIN)/mypy

check-imports:
	$(BIN)/lint-imports

check-generated:
	$(BIN)/trunkline schemas generate --check
	$(BIN)/python deploy/helm/generate.py --check
	$(BIN)/python deploy/grafana/generate.py --check
	$(BIN)/python docs/generate_metrics.py --check
	$(BIN)/python -m trunkline.scaler.keda.generate --check

check-style:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(STAMP)  ## benchmarks side by side with peers (JOB=route|cdc|files|latency|deliver|retry|tables|traces|gateway|recovery|snapshot)
	@$(BIN)/python -m benchmarks $(JOB) $(ARGS)

clean:  ## forget the environment and the local stack's data
	rm -rf $(VENV) .venv-* .trunkline dist build
