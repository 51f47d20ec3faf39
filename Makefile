# Windhover: `make help` lists what there is. Every target can be run again; nothing already done is done twice.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.windhover-stamp
PORT ?= 5000
export NO_ALBUMENTATIONS_UPDATE := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := true
# the stages are started by DVC, which finds `python` on the path
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help venv demo-model repro clouds airbus test test-slow soak check bench ui docs params deps lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

venv: $(STAMP) ## make .venv from the pinned requirements.txt

# the oldest and the newest Python for which the pins were tried; PYTHON=... chooses another
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.13; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

$(STAMP): requirements.txt pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "Windhover needs Python 3.11 or newer, and found none. Install it, or name it: make venv PYTHON=/path/to/python3.11" >&2; exit 1; }
	@[ -x $(BIN)/python ] || { echo "making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -E '^uv==' requirements.txt | cut -d';' -f1)"
	@echo "installing the pinned packages (about 6.5 GB, a minute or a few)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.txt
	@$(BIN)/uv pip uninstall --quiet --python $(BIN)/python windhover 2>/dev/null || true # its name until 0.1
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

repro: venv ## everything: raw tiles -> model -> evaluation -> map (dvc repro), then a short table
	@$(BIN)/dvc repro export
	@$(BIN)/windhover summary

airbus: venv ## the same on the Airbus aircraft scenes: make airbus RAW=<folder> [MINUTES=60]
	@[ -n "$(RAW)" ] || { echo "Name the folder of the data set, which holds annotations.csv and images/: make airbus RAW=<folder>" >&2; exit 1; }
	@$(BIN)/windhover set "scenes.raw=$(RAW)" $(if $(MINUTES),"train.max_minutes=$(MINUTES)") --like params/airbus.yaml
	@$(BIN)/dvc repro export
	@$(BIN)/windhover summary

clouds: venv ## clouds and shadows without boxes: the built-in sky -> model -> masks and shares, about 8 minutes
	@$(BIN)/windhover set --like params/clouds.yaml
	@$(BIN)/dvc repro export
	@$(BIN)/windhover summary

demo-model: venv ## the demonstration model of the wheel, from the built-in world: about 7 minutes
	@rm -rf tmp/demo
	@$(BIN)/windhover init tmp/demo --minutes 4.5
	@cd tmp/demo && $(CURDIR)/$(BIN)/dvc repro evaluate
	@$(BIN)/python tools/make_demo_model.py tmp/demo

ui: venv ## compare experiments: MLflow's pages on http://127.0.0.1:5000 (PORT=... for another)
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port $(PORT) --workers 1

test: venv ## the tests, a few minutes on two cores
	@$(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal

test-slow: venv ## the tests that take minutes each
	@$(BIN)/python -m pytest -m slow

soak: venv ## 120 faults at random moments over all stages and commands, about an hour on two cores
	@$(BIN)/python tools/soak.py

check: venv docs ## lint, format, types, rooms, pages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: venv ## build the pages of docs/ into site/, the API from docstrings
	@$(BIN)/mkdocs build --quiet --strict

# these need real scenes, models or a folder to train in: their first lines say how they are called
BENCH_ON_SCENES := $(addprefix benchmarks/bench_,borders.py cloud_radiometry.py clouds.py crowd_rivals.py crowds.py demo_model.py foreign_client.py learning.py one_object_once.py other_sensor.py proposals.py review.py rival_training.py runtimes.py two_versions.py)
bench: venv ## the measurements that need no real scenes, written to benchmarks/results/
	@for script in $(filter-out $(BENCH_ON_SCENES),$(wildcard benchmarks/bench_*.py)); do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

params: venv ## write params.yaml anew: the defaults and descriptions of src/windhover/params/
	@$(BIN)/python tools/write_params.py

deps: venv ## rewrite the rooms of the library that each stage of dvc.yaml depends on
	@$(BIN)/python tools/update_dvc_deps.py

lock: venv ## rewrite requirements.txt from the ranges of pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url --no-emit-find-links --extra dev pyproject.toml -o requirements.txt

clean: ## remove what the stages and tools wrote; keeps .venv, the DVC cache and MLflow's database
	@rm -rf site data/raw data/scenes data/patches data/augmented data/train data/model data/detections data/map .windhover .pytest_cache .mypy_cache .ruff_cache .hypothesis
