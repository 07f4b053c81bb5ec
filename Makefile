# Everything there is to do here. `make` alone prints the list.

PORT ?= 8000
PYTHON ?= python3
PYTEST = .venv/bin/python -m pytest -q -n 3

# A shell's own settings for Python and pip must not reach into .venv. Where pip finds packages is left alone.
unexport PYTHONPATH PYTHONHOME PYTHONSAFEPATH PYTHONOPTIMIZE PYTHONWARNINGS PYTHONUSERBASE VIRTUAL_ENV
unexport PIP_TARGET PIP_PREFIX PIP_ROOT PIP_USER PIP_REQUIRE_VIRTUALENV PIP_PYTHON PIP_CONSTRAINT PIP_NO_DEPS
unexport PIP_NO_BINARY PIP_DRY_RUN PIP_EDITABLE PIP_REQUIREMENT PIP_REQUIRE_HASHES PIP_QUIET PIP_VERBOSE
unexport PYTEST_ADDOPTS PYTEST_PLUGINS COVERAGE_FILE COVERAGE_PROCESS_START
export PYTHONUTF8 = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install run test test-all check audit sbom format migrate chaos bench isolation attacks lock clean

help:  ## print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

install: .venv/.installed  ## make .venv and install what the product and its tests need
	@echo "Installed in .venv."

run: .venv/.installed  ## the whole line on simulated stores, with its console; PORT=8000, Ctrl-C ends it
	@exec .venv/bin/python -m scripts.demo --port $(PORT)

test: .venv/.installed  ## the tests on SQLite and PostgreSQL, with the coverage gate
	@$(PYTEST) --cov --cov-report=term

test-all: .venv/.installed  ## `make test`, then what needs Chromium or Redis
	@$(MAKE) test
	@$(PYTEST) -n 0 -m "browser or redis" || test $$? -eq 5  # 5: no such test

check: .venv/.installed-dev  ## format, lint, types, imports, security, audit
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo
	@.venv/bin/bandit -q -ll -ii -r backend scripts simulator app.py run_abandoned_cart_polling.py
	@$(MAKE) audit

audit: .venv/.installed-dev  ## every requirement pinned and hashed; known vulnerabilities, if the service answers
	@.venv/bin/python -m scripts.audit_requirements requirements.txt requirements-dev.txt

sbom: .venv/.installed-dev  ## write sbom.json: every package the product runs on, in CycloneDX
	@.venv/bin/cyclonedx-py requirements --output-reproducible --pyproject pyproject.toml -o sbom.json requirements.txt
	@echo "Written: sbom.json"

format: .venv/.installed-dev  ## format the code and fix what can be fixed
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

migrate: .venv/.installed  ## bring the database of DATABASE_URL up to date
	@.venv/bin/python -m scripts.migrate

chaos: .venv/.installed  ## kill workers, the database and Redis under load; keeps the tables; LONG=1 for the long form
	@.venv/bin/python -m benchmarks.chaos $(if $(LONG),--long)

bench: .venv/.installed  ## CPU, wall time, memory, growth and a day, beside bare loops; REPEATS=5, SHORT=1
	@failed=0; for each in polls delivery growth; do \
	    .venv/bin/python -m benchmarks.$$each $(if $(REPEATS),--repeats $(REPEATS)) $(if $(SHORT),--short) \
	    || failed=1; done; \
	    .venv/bin/python -m benchmarks.day $(if $(SHORT),--short) || failed=1; exit $$failed

isolation: .venv/.installed  ## hostile stores, dead receivers, a huge backlog beside the others; REPEATS=5, SHORT=1
	@failed=0; for each in hostile dead flaky; do \
	    .venv/bin/python -m benchmarks.isolation_$$each $(if $(REPEATS),--repeats $(REPEATS)) $(if $(SHORT),--short) \
	    || failed=1; done; \
	    for lane in deliveries polls; do \
	    .venv/bin/python -m benchmarks.fairness --lane $$lane $(if $(REPEATS),--repeats $(REPEATS)) \
	    $(if $(SHORT),--short) || failed=1; done; exit $$failed

attacks: .venv/.installed  ## attack the walls: addresses, companies, sign-in, input, secrets, keys; LONG=1
	@failed=0; for each in addresses tenants sign_in api bodies slow secrets audit rotation; do \
	    .venv/bin/python -m benchmarks.attack_$$each $(if $(LONG),--long) || failed=1; done; exit $$failed

lock: .venv/.installed-dev  ## make the locks anew; UPGRADE=1 takes the newest versions
	@scripts/lock_requirements.sh $(if $(UPGRADE),--upgrade)

clean:  ## remove caches and reports; .venv and databases stay
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .schemathesis htmlcov .coverage .coverage.*
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

.venv/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	    { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 $(firstword $(MAKECMDGOALS))" >&2; exit 2; }
	@test -x .venv/bin/pip || $(PYTHON) -m venv .venv || \
	    { rm -rf .venv; echo "No virtual environment could be made: apt-get install python3-venv" >&2; exit 2; }
	@echo "Installing packages into .venv (once, about a minute) ..."
	@.venv/bin/python -m pip install -qq --no-input --require-hashes -r requirements.txt
	@touch $@

.venv/.installed-dev: .venv/.installed requirements-dev.txt
	@echo "Installing the checkers into .venv (once) ..."
	@.venv/bin/python -m pip install -qq --no-input --require-hashes -r requirements-dev.txt
	@touch $@
