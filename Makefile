# EAS on Prefect. `make demo` and `make test` set up all they need; nothing else is needed by hand.
# The newest installed Python for which every locked package has a wheel; PYTHON=python3.12 chooses another.
PYTHON ?= $(shell for v in 3.13 3.12 3.11 3.14; do python$$v -c 'import ensurepip' >/dev/null 2>&1 && echo python$$v && exit; done; echo python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup setup-run demo test test-slow test-cluster test-fresh check reference manifests notebooks docs docs-serve format services services-stop bench bench-compare chaos fuzz science images lock sbom clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: ## create or update .venv with all packages
	@$(PYTHON) infra/bootstrap.py dev
	@echo 'commands and options complete in bash after: eval "$$(_EAS_COMPLETE=bash_source $(abspath $(BIN))/eas)" (other shells: docs/reference/commands.md)'

setup-run: ## create or update .venv with the packages that running chains needs, without tools for developers
	@$(PYTHON) infra/bootstrap.py run

# If data of psls or batman are missing, a smaller demonstration runs and prints the reason.
demo: setup-run ## the main job: a planet-detection sweep as a Prefect flow, on the embedded default
	$(BIN)/eas run "$$($(BIN)/python demo_jobs/choose.py)" --if-exists replace --seed 0

# pytest-xdist distributes files in the order of their names: the slow acceptance tests come first.
PYTEST = $(BIN)/pytest --numprocesses $(TEST_PROCESSES) --maxprocesses 4 --dist loadfile --no-loadscope-reorder
TEST_PROCESSES ?= auto
# AGAIN=yes: run only the tests that failed last time, sequentially.
AGAIN ?=
ifneq ($(AGAIN),)
PYTEST = $(BIN)/pytest --last-failed --last-failed-no-failures none
endif
TESTS ?= tests
test: setup ## run the fast tests in parallel; tests that need services are skipped without `make services`
	$(PYTEST) -m "not slow" $(TESTS)

test-slow: setup ## run the slow tests: whole campaigns, real servers, random faults
	$(PYTEST) -m slow $(TESTS)

test-cluster: setup ## test a deployment on the Kubernetes cluster of KUBECONFIG (docs/how_to/kubernetes.md)
	EAS_TEST_CLUSTER=1 $(BIN)/pytest -m slow tests/cluster

test-fresh: SUITE ?= trixie
test-fresh: ## run make demo and make test on a fresh Debian without a compiler (root): make test-fresh SUITE=sid
	python3 -m tests.fresh_machine --suite $(SUITE) --tests "$(TESTS)"

reference: setup ## generate pages of docs/reference from the code
	$(BIN)/python -m docs.generate

manifests: setup ## write the rendered Kubernetes manifests to infra/kubernetes/rendered
	$(BIN)/python -m infra.deploy.rendered

notebooks: setup ## execute the notebooks of the documentation and store their results
	$(BIN)/python -m docs.generate.notebooks

SITE ?= build/site
SPHINX := $(BIN)/sphinx-build --quiet --fail-on-warning --keep-going
docs: setup ## build the documentation site: build/site/index.html
	$(SPHINX) docs $(SITE)
	@echo 'built $(SITE)/index.html; make docs-serve serves it'

DOCS_PORT ?= 8000
docs-serve: docs ## build the documentation site and serve it on loopback: make docs-serve DOCS_PORT=8000
	@echo 'http://127.0.0.1:$(DOCS_PORT)/ (Ctrl-C ends)'
	@$(BIN)/python -m http.server $(DOCS_PORT) --bind 127.0.0.1 --directory $(SITE)


check: setup ## check style, types, import layers, documentation, links, spelling, vocabulary, sizes of functions and modules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.docs_links
	$(SPHINX) --fresh-env docs $(SITE)
	$(BIN)/python -m tests.spelling
	$(BIN)/python -m tests.vocabulary
	$(BIN)/python -m tests.code_shape

format: setup ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

services: setup ## install and start private MariaDB and RabbitMQ on loopback, and Chromium; SUITE=sid|trixie: newer servers
	$(BIN)/python -m infra.services start $(addprefix --suite ,$(SUITE))

services-stop: setup ## stop the services of `make services`
	$(BIN)/python -m infra.services stop $(addprefix --suite ,$(SUITE))

bench: setup ## run the benchmarks
	$(BIN)/python -m benchmarks

bench-compare: setup ## compare benchmarks of another revision and the working tree: make bench-compare REV=main
	$(BIN)/python -m benchmarks.compare $(REV) $(BENCHMARKS)

FAULTS ?= 20
SEED ?= 1
chaos: setup ## inject random faults while chains run: make chaos FAULTS=200 SEED=1
	$(BIN)/python -m tests.chaos --faults $(FAULTS) --seed $(SEED)

SECONDS ?= 600
fuzz: setup ## test all parsers of user input with random input: make fuzz SECONDS=600 SEED=1
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --seed $(SEED)

science: setup ## measure recovery of injected planets and false alarms; print tables
	$(BIN)/python benchmarks/science_recovery.py

# BASE_IMAGE: another Debian or Ubuntu image with Python; CONTAINER_ENGINE: podman or docker.
images: setup ## build the container images, one for each worker type (docs/how_to/kubernetes.md)
	$(BIN)/python -m infra.images $(TARGETS)

LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --custom-compile-command 'make lock' --python-version 3.11
lock: setup ## update the locked packages for all supported Python versions and platforms
	$(LOCK) --upgrade --all-extras pyproject.toml -o requirements.txt
	$(LOCK) --extra science --constraint requirements.txt pyproject.toml -o requirements-run.txt
	$(LOCK) --upgrade requirements-sbom.in -o requirements-sbom.txt
	$(LOCK) --upgrade requirements-peers.in -o requirements-peers.txt

SBOM_ENV := build/sbom
SBOM := $(SBOM_ENV)/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --validate --of JSON
sbom: setup ## write bills of materials (CycloneDX) of a release and its images to dist/
	@mkdir -p dist
	$(BIN)/uv venv --quiet --clear $(SBOM_ENV)
	$(BIN)/uv pip sync --quiet --require-hashes --python $(SBOM_ENV)/bin/python requirements-sbom.txt
	$(SBOM) -o dist/sbom.json requirements.txt
	$(SBOM) -o dist/sbom-run.json requirements-run.txt
	$(BIN)/python -m infra.images.sbom $(SBOM_ENV)/bin/cyclonedx-py dist

clean: ## remove generated files, but no data
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
