# Everything that is done in this project is done here: `make help` lists it.
#   CORE=2.20   use another ansible-core release line than the locked one
#   PYTHON=…    use this Python for the virtual environment

SCENARIO ?= default
CORE ?=
PYTHON ?=

VENV := $(if $(CORE),.cache/venv-$(CORE),.venv)
# A virtual environment holds absolute paths: a moved checkout gets a new one.
READY := $(VENV)/.ready-$(shell printf '%s' '$(CURDIR)' | cksum | cut -d ' ' -f 1)

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export PYTHON
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV
# Ansible starts some hundred times in a test run, and nobody shall compile it as often.
unexport PYTHONDONTWRITEBYTECODE

BENCH := python3 -m tests.bench
PYTEST := python3 -m pytest
# What the tests wait for is mostly hosts: so many processes keep two cores busy.
PROCESSES ?= 3
RUN = $(PYTEST) --numprocesses $(PROCESSES) --no-loadscope-reorder --verbose --clock
PLAYBOOK := ansible-playbook -i inventories/sandbox

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo demo-down sandbox-up sandbox-down lint unit contract contract-containers real sanity artifact molecule \
        integration test test-all clock faults bench docs changelog lock build clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

$(READY): requirements/dev.txt
	@tests/tools/venv.sh $(VENV) $(CORE)
	@touch $@

setup: $(READY) ## Make the virtual environment with the locked tools (every target does it when needed)
	@:

demo: export TAMMA_SANDBOX := demo
demo: $(READY) ## Bring a whole stack up on a sandbox host of this machine and say where it answers
	@$(BENCH) up --name demo --hosts 1 --publish
	@$(PLAYBOOK) site.yml
	@python3 -m tests.tools.demo

demo-down: $(READY) ## Remove the demo and every other trace of the test bench
	@$(BENCH) down --all
	@rm -rf .cache

sandbox-up: $(READY) ## Boot bare hosts to play with (HOSTS=1)
	@$(BENCH) up --name sandbox --hosts $(or $(HOSTS),1)

sandbox-down: $(READY) ## Remove those hosts
	@$(BENCH) down --name sandbox

lint: $(READY) ## Linters, types, specs against defaults, generated tables, workflows
	@$(PYTEST) --numprocesses 2 tests/test_quality.py

unit: $(READY) ## Unit tests
	@$(PYTEST) --numprocesses 2 tests/unit

contract: $(READY) ## What each service of Tamma does, tried on the stand-ins as processes
	@$(PYTEST) --numprocesses 2 tests/contract

contract-containers: $(READY) ## The same cases, tried on the stand-ins' images
	@CONTRACT_DRIVER=container $(PYTEST) tests/contract

real: $(READY) ## The real services, built from TAMMA_SOURCE=<checkout of Tamma>, deployed and used; not part of a test run
	@$(BENCH) images
	@$(PYTEST) tests/real --capture=no --verbose --clock

sanity: $(READY) ## ansible-test sanity, every test, nothing ignored
	@$(PYTEST) tests/test_sanity.py

artifact: $(READY) ## Build the artifact, look inside, install it and use it from there
	@$(PYTEST) tests/test_artifact.py

integration: $(READY) ## Modules and plugins against real engines on the test bench
	@$(BENCH) images
	@$(PYTEST) tests/integration tests/postgres --clock

molecule: $(READY) ## One scenario on the test bench (SCENARIO=default)
	@$(BENCH) images
	@$(PYTEST) tests/test_molecule.py --capture=no --clock --scenario $(SCENARIO)

test test-all: export TAMMA_CLOCK := $(CURDIR)/.cache/clock/$(shell date +%Y%m%d-%H%M%S).jsonl
test: $(READY) ## All of the above: what CI runs. Whatever needs no host comes first and ends the run when it fails
	@$(RUN) --ci --part early --images-beside
	@$(RUN) --ci --part late

test-all: $(READY) ## The same and what tests/second_list.txt leaves to this target: everything but the fault matrices
	@$(RUN) --part early --images-beside
	@CONTRACT_DRIVER=container $(PYTEST) tests/contract
	@$(RUN) --part late

clock: $(READY) ## Show again where the time of the last recorded run went
	@python3 -m tests.bench.clock

faults: $(READY) ## Let operators die wherever they change something, and everything else go wrong (hours)
	@$(BENCH) images
	@$(PYTEST) tests/integration tests/postgres -m fault_matrix --every-fault --capture=no

bench: $(READY) ## Measure deploys, unchanged runs, updates and backups, with the usual way beside each
	@python3 -m benchmarks

docs: $(READY) ## Regenerate the tables of variables and of secrets, and the files below docker/
	@python3 -m tests.tools.variables

changelog: $(READY) ## Turn the changelog's fragments into the release that galaxy.yml names
	@antsibull-changelog release

lock: ## Renew requirements/dev.txt from requirements/dev.in
	@tests/tools/lock.sh

build: $(READY) ## Build the collection's artifact into dist/
	@ansible-galaxy collection build --force --output-path dist

clean: ## Remove the virtual environments, caches and built files
	@rm -rf .venv .cache .ansible .pytest_cache .ruff_cache .mypy_cache .hypothesis dist
