# EAS on Prefect. `make demo` and `make test` set up all they need; nothing else is needed by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SCIENCE := $(VENV)/.science

.PHONY: help setup demo test check format services services-stop bench chaos science images lock clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) $(SCIENCE) ## make .venv with everything

$(STAMP): requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "EAS needs Python 3.11 or newer; try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	touch $(STAMP)

# What the science codes need besides packages: psls' data from its own source distribution, and
# the compiled code of TLS and QATS in the cache, so that no test or task waits for either.
$(SCIENCE): $(STAMP)
	$(BIN)/python -m eas.tasks.psls_data fetch
	$(BIN)/python -m eas.tasks.warm
	touch $(SCIENCE)

# Without psls' data (no network, say) the demo is a smaller one, and says so.
demo: $(STAMP) ## the main job: a planet-detection sweep as a Prefect flow, on the embedded default
	-@$(MAKE) --silent $(SCIENCE)
	$(BIN)/eas run "$$($(BIN)/python demo_jobs/choose.py)" --if-exists replace

TEST_PROCESSES ?= auto
test: $(STAMP) $(SCIENCE) ## all tests, side by side; those that need services skip without `make services`
# Files go out in the order of their names: of real processes, which take longest, first.
	$(BIN)/pytest --numprocesses $(TEST_PROCESSES) --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: $(STAMP) ## style, types, import floors, links of the docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.docs_links

format: $(STAMP) ## put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

services: $(STAMP) ## install and start private MariaDB and RabbitMQ instances on loopback
	$(BIN)/python -m infra.services start

services-stop: $(STAMP) ## stop them again
	$(BIN)/python -m infra.services stop

bench: $(STAMP) ## speed, as ratios inside one run
	$(BIN)/python -m benchmarks

FAULTS ?= 20
SEED ?= 1
chaos: $(STAMP) ## kill things at random while chains run: make chaos FAULTS=200 SEED=1
	$(BIN)/python -m tests.chaos --faults $(FAULTS) --seed $(SEED)

science: $(STAMP) $(SCIENCE) ## recovery of injected planets and false alarms, as a table
	$(BIN)/python benchmarks/science_recovery.py

# BASE_IMAGE names another Debian or Ubuntu with Python, CONTAINER_ENGINE podman or docker.
images: $(STAMP) ## build the container images, one for each kind of worker (docs/kubernetes.md)
	$(BIN)/python -m infra.images $(TARGETS)

lock: $(STAMP) ## resolve pyproject.toml into requirements.txt anew
	$(BIN)/uv pip compile --quiet --upgrade --custom-compile-command 'make lock' --all-extras --python-version 3.11 pyproject.toml -o requirements.txt

clean: ## remove what was made here, but no data
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
