# Everything a newcomer and CI need. `make demo` and `make test` do all the set-up themselves.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
GPU_VENV := .venv-gpu
# Both distributions: the product, and the local cluster with the demo.
EDITABLE := --editable '.[dev]' --editable hack/local
GPU_PYTHON ?=
export CLUSTER ?=
BENCH ?=

PYTEST := $(BIN)/pytest -q --durations=5

# Two workers, each with clusters of its own: most tests wait more than they work.
SIDE_BY_SIDE := -n 2 --dist
export PLAN ?=
VERSION ?=
IMAGES ?=
REGISTRY ?=

.PHONY: help demo demo-down test lint format test-unit test-random test-cluster test-serving test-security \
	test-workloads test-faults faults-record test-e2e test-gpu bench bench-fleet bench-serving bench-drift \
	constraints crds images release clean

help: ## Show the targets.
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 18

$(READY): pyproject.toml hack/local/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Modelyard needs Python 3.11 or newer: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "Installing Modelyard's Python packages into $(VENV) …"
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "python3 -m venv failed: on Debian, apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt $(EDITABLE)
	@touch $@

constraints: ## Take up newer versions of the Python packages, within pyproject.toml's ranges.
	rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(EDITABLE)
	{ sed '/^[^#]/d' constraints.txt; $(BIN)/pip freeze --exclude-editable --exclude certifi --exclude tzdata; } > $(VENV)/constraints
	mv $(VENV)/constraints constraints.txt
	touch $(READY)

demo: $(READY) ## Data to a served, swapped model on a real cluster; CLUSTER=local|kind|current.
	@$(BIN)/modelyard demo

demo-down: $(READY) ## Stop and remove what the demo started.
	@$(BIN)/modelyard demo down

test: lint test-unit test-cluster test-serving test-security test-workloads test-e2e ## All tests.

lint: $(READY) ## Style, types and layers.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Format the code and mend what can be mended.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-unit: $(READY) ## Decisions, schemas, builders, with coverage: a minute or two.
	$(PYTEST) tests/unit $(SIDE_BY_SIDE) worksteal --cov --cov-report=
	$(BIN)/python hack/coverage_floor.py

test-random: $(READY) ## Thousands of other examples for the property-based tests.
	$(PYTEST) tests/unit -m hypothesis --hypothesis-profile random --timeout 7200

test-cluster: $(READY) ## Against a real kube-apiserver and etcd.
	$(PYTEST) tests/cluster tests/cluster/faults $(SIDE_BY_SIDE) loadgroup --no-loadscope-reorder

test-faults: $(READY) ## All fault plans; PLAN='edge/kill-after/…', or a part of names, replays some.
	$(PYTEST) tests/cluster/faults $(if $(PLAN),--plan "$$PLAN" -k test_a_plan,--every-plan $(SIDE_BY_SIDE) loadgroup)

faults-record: $(READY) ## Record anew what the operator writes in each undisturbed life (under 9 min).
	$(PYTEST) tests/cluster/faults --record -k recorded_writes $(SIDE_BY_SIDE) loadgroup

test-serving: $(READY) ## Against a real Triton.
	$(PYTEST) tests/serving $(SIDE_BY_SIDE) loadfile

test-security: $(READY) ## Attacks, against real API servers, Triton and S3 servers.
	$(PYTEST) tests/security $(SIDE_BY_SIDE) loadfile

test-workloads: $(READY) ## What runs inside pods, against a real S3 server.
	$(PYTEST) tests/workloads

test-e2e: $(READY) ## The demo's path with assertions: kubelet, images, training, Triton.
	$(PYTEST) -s tests/e2e

$(GPU_VENV)/.ready: pyproject.toml hack/local/pyproject.toml
	@echo "Installing torch with CUDA, Ultralytics and more into $(GPU_VENV) (several GB) …"
	@$(PYTHON) -m venv $(GPU_VENV)
	@$(GPU_VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[dev,train]' --editable hack/local
	@touch $@

test-gpu: $(if $(GPU_PYTHON),,$(GPU_VENV)/.ready) ## On an NVIDIA GPU; GPU_PYTHON=… has torch and Ultralytics already.
	PYTHONPATH=$(CURDIR)/operator $(or $(GPU_PYTHON),$(GPU_VENV)/bin/python) -m pytest -v tests/gpu

bench: $(READY) ## Speed, writes, memory beside other controllers (30 min, quiet machine).
	$(BIN)/python -m tests.benchmarks $(BENCH)

bench-fleet: $(READY) ## Rollouts over 5,000 played edge nodes (about 1 h, quiet machine).
	$(BIN)/python -m tests.benchmarks.fleet $(BENCH)

bench-serving: $(READY) ## Swaps under load, overhead, shadows on a real Triton (30 min, quiet machine).
	$(BIN)/python -m tests.benchmarks.serving $(BENCH)

bench-drift: $(READY) ## False alarms and delays of the charts of drift (15 min, one core).
	$(BIN)/python -m tests.benchmarks.drift $(BENCH)

crds: $(READY) ## Generate crds/, the chart's lists and the reference from the models.
	@$(BIN)/python hack/generate.py

images: $(READY) ## Build all images with Docker, Podman or buildah.
	@$(BIN)/python images/build.py

release: $(READY) ## All files of a release into dist/: VERSION=0.2.0; IMAGES=no leaves those out.
	@$(BIN)/python hack/release $(VERSION) $(if $(filter no,$(IMAGES)),--no-images) $(if $(REGISTRY),--registry $(REGISTRY))

clean: ## Remove what was made inside the checkout.
	rm -rf $(VENV) $(GPU_VENV) .demo .bench .mypy_cache .ruff_cache .pytest_cache .coverage dist
