# make serve   everything, from a fresh clone to models on http://localhost:8005
# make unit    the unit tests that take little, for each save
# make test    all tests but those of the next three, against a real Triton
# make test-faults   faults injected for real: processes that die or hang, full queues, bad files (needs cc, ss; docs/development.md)
# make test-abuse    hostile input, sent to a real server: malformed, oversized, from other users of this machine
#              (needs curl, and a JDK: default-jdk-headless)
# make test-observability   metrics, alerts, dashboards, traces and the page of a real server (needs Debian's prometheus
#              and chromium)
# make test-environments   models of several Pythons and libraries, each in its environment (needs PyPI, Python 3.10 to 3.13)
# make check   lint, types and import rules
# make coverage  branch coverage of `make test` and `make test-abuse`, with all that they start (12 minutes)
# make audit   known vulnerabilities of our dependencies, and bandit's findings in our code (needs PyPI's advisories)
# make images  build the images with buildah and test what they serve (needs root, buildah, debootstrap; 10 minutes)
# make screenshots   the pictures of the page in docs/images (needs Debian's chromium and fonts-inter)
# make models  remake the example models' files
# make mistakes   170 mistakes of new users: where each is caught, and what is said of it (5 minutes)
# make bench   our adapter beside Triton's own front end and a naive one, regimes, memory (needs wrk, takes 40 minutes)
# make bench-stall   does a request ever wait in Triton without reason? (needs wrk, takes 12 minutes)
# make bench-soak    the same for 10 minutes at 32 connections
# make bench-overload  what becomes of requests when five times as many come as are answered (2 minutes)
# make bench-abuse   what good requests see beside 16 abusive connections, and what those leave behind (4 minutes)
# make bench-pair BEFORE=main   is this version slower than a commit? (needs wrk, takes 25 minutes; docs/performance.md)
# make bench-environments BEFORE=main   what environments cost to make, in memory, and at a start (needs PyPI, 8 minutes)
# make bench-builds   what a build of 1,000 models takes, and one with nothing changed (5 minutes)
# make bench-convert   a forest before and after `schwift convert`, beside an ONNX MLP, in one server (needs wrk, 4 minutes)
# make bench-load BEFORE=main   what it costs to hash a pickle before it is loaded (5 minutes)
# make zoo     models of 80 kinds that people have, from their files to proven answers (needs PyPI, 7 minutes)
# make suites   clients and test suites of others against a server (SUITES="java go" for some; needs PyPI, Debian's golang-go,
#              default-jdk-headless, nodejs and libb64-0d, GitHub or SOURCES=…; 3 minutes)
# make fuzz    generated requests, bodies and heads, sent and decoded by the ten thousand (15 minutes)
# make chaos   5 minutes of random faults under load (SEED=2 make chaos for others)
# make chaos-packed   the same for models in one process, one of which hangs it
# make clean   remove what the above made
#
# PORT=9000 make serve, or make serve PORT=9000; likewise SCHWIFT_TRITON_HTTP_PORT and the other settings.

VENV ?= .venv
BIN := $(VENV)/bin
# The first of these that runs and is a version the project takes; name another with PYTHON=...
PYTHON ?= $(shell for p in python3.11 python3.12 python3.10 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
MINUTES ?= 5
SEED ?= 1
BAR ?= 0.98
# pytest workers of a run, for the two cores of the machines that CI has; one more for faults, which mostly wait: for a
# Triton that starts, for a deadline that passes, for a recovery. CI runs three such targets side by side.
TEST_WORKERS ?= 2
FAULT_WORKERS ?= 3
ABUSE_WORKERS ?= 2
SIDE_BY_SIDE := -n
MODEL_SCRIPTS := $(wildcard models/*/make_model.py)

.PHONY: serve unit test test-faults test-faults-untimed test-abuse test-abuse-untimed test-timed test-observability test-environments check images
.PHONY: coverage audit models bench bench-stall bench-soak bench-overload bench-abuse bench-pair bench-environments bench-load bench-builds bench-convert bench-density zoo fuzz chaos chaos-packed clean venv
.DEFAULT_GOAL := serve

serve: venv
	exec $(BIN)/schwift serve

unit: venv
	$(BIN)/python -m pytest -q $(SIDE_BY_SIDE) $(TEST_WORKERS) --quick tests/unit

test: venv
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(TEST_WORKERS) -m "not faults and not abuse and not observability and not environments"

test-faults: test-faults-untimed
	$(BIN)/python -m pytest -m timed tests/faults

test-faults-untimed: venv
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(FAULT_WORKERS) -m "not timed" tests/faults

# No test yet is code 5, which is no failure.
test-abuse: test-abuse-untimed
	$(BIN)/python -m pytest -m timed tests/abuse || [ $$? = 5 ]

test-abuse-untimed: venv
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ABUSE_WORKERS) -m "not timed" tests/abuse || [ $$? = 5 ]

# What measures how long something takes, one after the other and beside nothing else.
test-timed: venv
	$(BIN)/python -m pytest -m timed tests/faults tests/abuse

test-observability: venv
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) 2 tests/observability tests/page

test-environments: venv
	$(BIN)/python -m pytest tests/environments

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m converter.reference --check
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml deploy/compose.nvidia.yml deploy/compose.grpc.yml
	$(BIN)/docker-compose config -q
	$(BIN)/docker-compose -f docker-compose.yml -f deploy/compose.nvidia.yml config -q
	$(BIN)/docker-compose -f docker-compose.yml -f deploy/compose.grpc.yml config -q
	$(BIN)/python -m pytest -q tests/unit/test_imports.py

images: venv
	$(BIN)/python -m pytest -q -s tests/images

# Branches, of the processes that the tests start too; not of those that they kill, so it is a little less than is run.
coverage: venv
	rm -f .coverage .coverage.*
	COVERAGE_FILE=$(CURDIR)/.coverage $(BIN)/coverage run -m pytest -q $(SIDE_BY_SIDE) $(TEST_WORKERS) \
	  -m "not faults and not observability and not environments"
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

# The tools come on demand: nothing but this needs them. --strict, as an index without advisories is no clean bill: a
# package that it does not know fails the audit.
audit: venv
	$(BIN)/python -m pip install --quiet -c constraints.txt bandit pip-audit
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml adapter converter schwift triton_repo_template
	$(BIN)/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

.PHONY: mistakes
mistakes: venv
	$(BIN)/python -m tests.zoo.mistakes

.PHONY: screenshots
screenshots: venv
	$(BIN)/python -m tests.page.screenshots

models: venv
	for script in $(MODEL_SCRIPTS); do $(BIN)/python $$script || exit 1; done

bench: venv
	$(BIN)/python -m tests.bench

bench-stall: venv
	$(BIN)/python -m tests.bench.stall

bench-soak: venv
	$(BIN)/python -m tests.bench.stall --soak 600

bench-overload: venv
	$(BIN)/python -m tests.bench.overload

bench-abuse: venv
	$(BIN)/python -m tests.bench.abuse

bench-pair: venv
	@test -n "$(BEFORE)" || { echo "error: name the commit to compare with: make bench-pair BEFORE=main"; exit 2; }
	$(BIN)/python -m tests.bench.pair $(BEFORE) --bar $(BAR) --settings '$(AFTER_SETTINGS)' \
		$(if $(AFTER_HEADER),--header '$(AFTER_HEADER)') $(PAIR_OPTIONS)

bench-environments: venv
	$(BIN)/python -m tests.bench.environments $(if $(BEFORE),--before $(BEFORE))

bench-builds: venv
	$(BIN)/python -m tests.bench.builds

bench-convert: venv
	$(BIN)/python -m tests.bench.convert

bench-density: venv
	$(BIN)/python -m tests.bench.density

bench-load: venv
	@test -n "$(BEFORE)" || { echo "error: name the commit to compare with: make bench-load BEFORE=main"; exit 2; }
	$(BIN)/python -m tests.bench.load --before $(BEFORE)

.PHONY: suites
suites: venv
	$(BIN)/python -m tests.suites $(SUITES) $(if $(SOURCES),--sources $(SOURCES))

zoo: venv
	$(BIN)/python -m tests.zoo

fuzz: venv
	$(BIN)/python -m tests.fuzz

chaos: venv
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) --seed $(SEED)

chaos-packed: venv
	$(BIN)/python -m tests.chaos --packed --minutes $(MINUTES) --seed $(SEED)

venv: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python from 3.10 to 3.13 found: install one, or name it: make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[all,torch,examples,otel,dev]'
	$(BIN)/schwift engine install
	@touch $@

clean:
	rm -rf $(VENV) .zoo .suites *.egg-info build .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf model_repository .model_repository.builds
	find . -name __pycache__ -prune -exec rm -rf {} +
