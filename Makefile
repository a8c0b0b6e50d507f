# Start with two commands: `make verify` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Where bytecode is not kept, every process compiles the kit and the tests again, which doubles the time.
unexport PYTHONDONTWRITEBYTECODE
# Tests of clients and servers mostly wait, so more of them run at a time than there are cores.
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: verify quick test test-all matrices coverage test-latest realworld realworld-seen check lint-corpus wheel corpus bench peers engines soak steady fuzz sizes lock clean

verify: $(READY)          ## run the contract against the embedded mock
	$(BIN)/tn-contract verify

quick: $(READY)           ## 30 s: tests without processes, and broken servers and clients that touch every check
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(PYTEST) -q -m "not (slow or full)" --hypothesis-profile=tn-quick

test: $(READY) check      ## 5 minutes: style, types, corpus, and every test except those of `test-all`
	$(PYTEST) -q -m "not (timed or full)" -n 4
	$(PYTEST) -q -m "timed and not full"

test-all: coverage matrices test-latest realworld  ## what `test` leaves out: matrices, coverage, newest versions, real clients

matrices: $(READY)        ## every broken server and client against every check, compared with the golden files
	$(PYTEST) -q -m "full and not timed" -n 4 --ignore=tests/durability
	$(PYTEST) -q -m "full and timed" -n 2 --ignore=tests/durability

coverage: $(READY)        ## branch coverage by the tests that reach most code in the least time
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q -n 4 --dist worksteal --hypothesis-profile=tn-quick -m "not (full or timed or costly)" tests/unit tests/contract tests/mock
	$(BIN)/coverage run -m pytest -q -n 4 --dist worksteal -m "quick and not costly" tests/selftest
	$(BIN)/coverage run -m pytest -q -n auto --dist worksteal tests/durability
	$(BIN)/coverage run -m pytest -q -n auto --dist worksteal -m "timed and not full"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

test-latest: $(READY)     ## unit and contract tests with the newest dependencies, on each Python from 3.11
	$(BIN)/python tests/packaging/try_latest.py

realworld: $(READY)       ## published clients against the mock (needs the network once, PHP, npm and Chromium)
	$(BIN)/python -m pytest -q -n 3 --dist worksteal tests/realworld

realworld-seen: $(READY)  ## record what they send and report
	$(BIN)/python -m tests.realworld.recording

check: $(READY) lint-corpus  ## style, types, layers, corpus
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lint-corpus: $(READY)     ## check fixtures/: schemas, ids, digests, sources, and that clauses and checks belong together
	$(BIN)/python -m fixtures.generators.lint

wheel: $(READY)           ## build the wheel and try it in an empty environment
	$(BIN)/python tests/packaging/try_wheel.py

corpus: $(READY)          ## after a change of fixtures/: schemas, manifest, docs/magic-orders.md
	$(BIN)/python fixtures/generators/manifest.py

bench: $(READY)           ## speed, side by side, as ratios
	$(BIN)/python benchmarks/run.py

peers: $(READY)           ## the mock beside its peers (needs wrk, npm, Java; about 20 minutes)
	$(BIN)/python benchmarks/peers.py

engines: $(READY)         ## what each state engine costs, and several workers (needs wrk, redis-server)
	$(BIN)/python benchmarks/engines.py

soak: $(READY)            ## five million requests, and what they leave behind (needs wrk)
	$(BIN)/python benchmarks/soak.py

steady: $(READY)          ## judge ten clients and ten servers twenty times each on busy cores (25 minutes)
	$(BIN)/python -m tests.selftest.steady_servers
	$(BIN)/python tests/selftest/steady.py

fuzz: $(READY)            ## two million requests that are wrong in every way
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tests/fuzz/requirements.txt
	$(BIN)/python benchmarks/fuzz.py

sizes:                    ## lines of code of each package, and modules of more than 400
	@for package in mock_server $$(ls -d tn_contract/*/ tn_contract/*.py | grep -v -e __pycache__ -e templates) tests; do find $$package -name "*.py" 2>/dev/null | xargs -r cat | wc -l | xargs printf "%7d  $$package\n"; done
	@find tn_contract mock_server -name "*.py" | xargs wc -l | awk '$$1 > 400 && $$2 != "total" {print "more than 400: " $$0}'

lock:                     ## pin the development environment (needs uv)
	uv pip compile --universal --generate-hashes --python-version 3.11 --no-header pyproject.toml --group dev -o requirements.lock
	uv pip compile --universal --generate-hashes --python-version 3.11 --no-header --no-annotate tests/realworld/libraries.in -o tests/realworld/libraries.txt
	uv pip compile --universal --generate-hashes --python-version 3.11 --no-header --no-annotate tests/fuzz/requirements.in -o tests/fuzz/requirements.txt

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

clean:
	rm -rf $(VENV) .build dist .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
