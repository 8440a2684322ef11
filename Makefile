# Every command below works from a fresh checkout on Debian with Python 3.11 or later.
# ARGS passes further arguments: make demo ARGS='--exit', make test ARGS='tests/detectors -x'.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Tests start the service many times; compiled once, it starts in two thirds of the time.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
CODE := schemas detectors alerting monitor
# Three workers keep two cores busy, as tests often wait; tests that need servers stay together on one of them (see tests/conftest.py).
# Without a worker that crashed, tests that belong together are never handed out again: the run would not end.
PYTEST := $(BIN)/python -m pytest -n 3 --dist loadgroup --max-worker-restart=0

.PHONY: help setup servers demo test test-full test-integrations check fuzz bench bench-detection bench-estimation soak image sbom audit lock format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make the Python environment in .venv (quick when it is up to date)
	@deploy/setup/python.sh .venv requirements.lock

servers: ## Install what the tests run against: Kafka, PostgreSQL, Prometheus, Alertmanager, Chromium, Helm
	@deploy/setup/packages.sh java=default-jre-headless mvn=maven initdb=postgresql prometheus=prometheus prometheus-alertmanager=prometheus-alertmanager chromium=chromium
	@deploy/setup/kafka.sh
	@deploy/setup/helm.sh

demo: setup ## Replay real flights with planted faults through the whole service
	@$(BIN)/driftline demo $(ARGS)

test: setup servers ## Run the tests, except the long ones
	$(PYTEST) -m "not full and not integration" $(ARGS)

test-full: setup servers ## Run all tests, the long ones too
	$(PYTEST) -m "not integration" --hypothesis-profile=search $(ARGS)

# Each tool has an environment of its own, .venv-integrations/TOOL; they are no part of the product.
test-integrations: setup servers ## Run the tests against the real Airflow, Prefect, Dagster and MLflow
	@deploy/setup/integrations/python.sh
	$(BIN)/python -m pytest tests/integrations -m integration --durations=12 $(ARGS)

check: setup ## Lint, formatting, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(CODE) tests
	$(BIN)/lint-imports

# The engine that is guided by coverage has wheels for Linux alone, hence an environment of its own.
fuzz: ## Feed hostile bytes to every decoder for ten minutes each (ARGS='--seconds 60 --target format-arrow')
	@deploy/setup/python.sh .venv-fuzz requirements-fuzz.lock
	@.venv-fuzz/bin/python -m tests.fuzz.run $(ARGS)

# The peer it is measured against needs older versions of two libraries, hence an environment of its own.
bench: ## Measure throughput and detection delay (environment of its own, .venv-bench)
	@deploy/setup/python.sh .venv-bench requirements-bench.lock
	@$(MAKE) --no-print-directory servers
	.venv-bench/bin/python -m pytest -o python_files='bench_*.py' -s --timeout=0 tests/benchmarks $(ARGS)

# Each peer has an environment of its own, .venv-peers/PEER; they are no part of the product.
bench-detection: setup ## Compare false alarms and delays with Evidently, NannyML, alibi-detect and river
	@deploy/setup/peers/python.sh
	@$(BIN)/python -m tests.benchmarks.detection.run $(ARGS)

bench-estimation: setup ## Compare estimates of performance without labels with NannyML
	@deploy/setup/peers/python.sh
	@$(BIN)/python -m tests.benchmarks.estimation.run $(ARGS)

image: ## Build the container image with docker or podman, whichever is there
	@deploy/container/build.sh $(ARGS)

# Their tools are in an environment of their own; they are no part of the product.
sbom: setup ## Write what Driftline is made of to build/driftline.cdx.json (CycloneDX)
	@deploy/setup/supply_chain/python.sh
	@.venv-supply-chain/bin/python deploy/supply_chain/sbom.py $(ARGS)

audit: setup ## Check licences, and ask about known vulnerabilities (ARGS='--service pypi' asks another service)
	@$(BIN)/python deploy/supply_chain/licences.py >/dev/null
	@deploy/setup/supply_chain/python.sh
	@.venv-supply-chain/bin/python deploy/supply_chain/audit.py $(ARGS)

soak: setup servers ## An hour under load with restarts (ARGS='--minutes 10 --rate 20000')
	@$(BIN)/python -m tests.soak.run $(ARGS)

lock: ## Write the requirement locks anew (ARGS=--upgrade takes newer versions)
	@deploy/setup/lock.sh $(ARGS)

format: setup ## Put code into the house format and apply safe lint fixes
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean: ## Remove caches and build products (the environments stay)
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(CODE) tests -type d -name __pycache__ -prune -exec rm -rf {} +
