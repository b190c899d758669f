# Needs Python 3.11, 3.12 or 3.13 and nothing else; everything else is installed into .venv.
PYTHON ?= python3
ARGS ?=
# exec: a SIGTERM that make passes on must reach the program, not a shell before it.
IN_VENV = @exec "$(PYTHON)" deploy/local/bootstrap.py
COMPILE = --quiet --universal --python-version 3.11 --generate-hashes

.DEFAULT_GOAL := help
.PHONY: help run test reset psql observe lint types lock bench chaos drill image-test check

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

run: ## start everything on this machine (HOST, PORT; state in var/)
	$(IN_VENV) -m deploy.local run

# Every process that the tests start would compile the application anew.
test: export PYTHONDONTWRITEBYTECODE =
test: ## the tests, on real engines, three at a time: they wait a lot (ARGS="-k booking", ARGS="-n 0")
	$(IN_VENV) -m pytest -n 3 --dist loadfile $(ARGS)

reset: ## empty var/: database, queue, mail, files
	$(IN_VENV) -m deploy.local reset

psql: ## psql on the running database (ARGS="-c 'select 1'")
	$(IN_VENV) -m deploy.local psql $(ARGS)

observe: ## Prometheus, Alertmanager, Grafana, Tempo, as far as installed, against `make run`
	$(IN_VENV) -m deploy.observe

lint: ## ruff: rules and format
	$(IN_VENV) -m ruff check .
	$(IN_VENV) -m ruff format --check .

types: ## mypy --strict
	$(IN_VENV) -m mypy

lock: ## compile requirements*.txt from pyproject.toml anew (ARGS="--upgrade")
	$(IN_VENV) -m uv pip compile pyproject.toml $(COMPILE) -o requirements.txt $(ARGS)
	$(IN_VENV) -m uv pip compile pyproject.toml --group dev $(COMPILE) -o requirements-dev.txt -c requirements.txt $(ARGS)
	$(IN_VENV) -m uv pip compile --group uv $(COMPILE) -o requirements-uv.txt $(ARGS)

bench: ## measure (ARGS=api, ARGS=jobs or ARGS=telemetry alone, ARGS=--quick)
	$(IN_VENV) -m benchmarks $(ARGS)

chaos: ## kill, freeze and cut off everything under load (ARGS="--seed 7 --faults kill-worker --short")
	$(IN_VENV) -m tests.chaos $(ARGS)

drill: ## what the runbooks promise, tried and measured (ARGS=restore; PORT)
	$(IN_VENV) -m deploy.drills $(ARGS)

image-test: ## build the container image and run it (docker or podman)
	$(IN_VENV) -m deploy.docker.image_test

check: ## everything a change has to pass
	@bash .ci/run
