# EAS on Prefect. `make demo` and `make test` set up all they need; nothing else is needed by hand.
# The newest installed Python for which every locked package has a wheel; PYTHON=python3.12 chooses another.
PYTHON ?= $(shell for v in 3.13 3.12 3.11 3.14; do python$$v -c 'import ensurepip' >/dev/null 2>&1 && echo python$$v && exit; done; echo python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup setup-run demo test test-slow test-cluster test-fresh check reference manifests notebooks docs docs-serve format services services-stop bench bench-compare chaos fuzz science images lock sbom clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: ## make .venv with everything, or bring it up to date
	@$(PYTHON) infra/bootstrap.py dev
	@echo 'commands and options complete in bash after: eval "$$(_EAS_COMPLETE=bash_source $(abspath $(BIN))/eas)" (other shells: docs/reference/commands.md)'

setup-run: ## make .venv with what running chains needs, without the developers' tools
	@$(PYTHON) infra/bootstrap.py run

# Where psls' data or batman are not there, the demo is a smaller one, and says so.
demo: setup-run ## the main job: a planet-detection sweep as a Prefect flow, on the embedded default
	$(BIN)/eas run "$$($(BIN)/python demo_jobs/choose.py)" --if-exists replace --seed 0

# Files go out in the order of their names: of real processes, which take longest, first.
PYTEST = $(BIN)/pytest --numprocesses $(TEST_PROCESSES) --maxprocesses 4 --dist loadfile --no-loadscope-reorder
TEST_PROCESSES ?= auto
# AGAIN=yes: only what failed last time, one after the other.
AGAIN ?=
ifneq ($(AGAIN),)
PYTEST = $(BIN)/pytest --last-failed --last-failed-no-failures none
endif
TESTS ?= tests
test: setup ## the tests, side by side; those that need services skip without `make services`
	$(PYTEST) -m "not slow" $(TESTS)

test-slow: setup ## the tests that take longest: whole campaigns, real servers, random faults
	$(PYTEST) -m slow $(TESTS)

test-cluster: setup ## a day on the Kubernetes cluster that KUBECONFIG names (docs/how_to/kubernetes.md)
	EAS_TEST_CLUSTER=1 $(BIN)/pytest -m slow tests/cluster

test-fresh: SUITE ?= trixie
test-fresh: ## make demo and make test on a fresh Debian without a compiler (root): make test-fresh SUITE=sid
	python3 -m tests.fresh_machine --suite $(SUITE) --tests "$(TESTS)"

reference: setup ## write the pages of docs/reference that follow from the code
	$(BIN)/python -m docs.generate

manifests: setup ## write what the Kubernetes manifests render to: infra/kubernetes/rendered
	$(BIN)/python -m infra.deploy.rendered

notebooks: setup ## run the notebooks of the documentation again and write their results
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


check: setup ## style, types, import layers, documentation site, its links and spelling, vocabulary, sizes of functions and modules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.docs_links
	$(SPHINX) --fresh-env docs $(SITE)
	$(BIN)/python -m tests.spelling
	$(BIN)/python -m tests.vocabulary
	$(BIN)/python -m tests.code_shape

format: setup ## put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

services: setup ## install and start private MariaDB and RabbitMQ on loopback, and Chromium; SUITE=sid|trixie: newer servers
	$(BIN)/python -m infra.services start $(addprefix --suite ,$(SUITE))

services-stop: setup ## stop them again
	$(BIN)/python -m infra.services stop $(addprefix --suite ,$(SUITE))

bench: setup ## speed, as ratios inside one run
	$(BIN)/python -m benchmarks

bench-compare: setup ## the same figures of another revision and of these files, in turn: make bench-compare REV=main
	$(BIN)/python -m benchmarks.compare $(REV) $(BENCHMARKS)

FAULTS ?= 20
SEED ?= 1
chaos: setup ## kill things at random while chains run: make chaos FAULTS=200 SEED=1
	$(BIN)/python -m tests.chaos --faults $(FAULTS) --seed $(SEED)

SECONDS ?= 600
fuzz: setup ## random input for all that reads what users wrote: make fuzz SECONDS=600 SEED=1
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --seed $(SEED)

science: setup ## recovery of injected planets and false alarms, as a table
	$(BIN)/python benchmarks/science_recovery.py

# BASE_IMAGE names another Debian or Ubuntu with Python, CONTAINER_ENGINE podman or docker.
images: setup ## build the container images, one for each kind of worker (docs/how_to/kubernetes.md)
	$(BIN)/python -m infra.images $(TARGETS)

LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --custom-compile-command 'make lock' --python-version 3.11
lock: setup ## resolve pyproject.toml again, for every supported Python and machine
	$(LOCK) --upgrade --all-extras pyproject.toml -o requirements.txt
	$(LOCK) --extra science --constraint requirements.txt pyproject.toml -o requirements-run.txt
	$(LOCK) --upgrade requirements-sbom.in -o requirements-sbom.txt
	$(LOCK) --upgrade requirements-peers.in -o requirements-peers.txt

SBOM_ENV := build/sbom
SBOM := $(SBOM_ENV)/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --validate --of JSON
sbom: setup ## what a release and its images consist of, as CycloneDX: dist/sbom.json, sbom-run.json, sbom-image-TARGET.json
	@mkdir -p dist
	$(BIN)/uv venv --quiet --clear $(SBOM_ENV)
	$(BIN)/uv pip sync --quiet --require-hashes --python $(SBOM_ENV)/bin/python requirements-sbom.txt
	$(SBOM) -o dist/sbom.json requirements.txt
	$(SBOM) -o dist/sbom-run.json requirements-run.txt
	$(BIN)/python -m infra.images.sbom $(SBOM_ENV)/bin/cyclonedx-py dist

clean: ## remove what was made here, but no data
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
