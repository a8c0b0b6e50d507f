# Two commands are all that a newcomer needs: `make verify` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: verify test realworld realworld-seen check wheel corpus bench peers engines soak fuzz lock clean

verify: $(READY)          ## run the contract against the embedded mock
	$(BIN)/tn-contract verify

test: $(READY) check      ## every check of the code, then every test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto --dist worksteal
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

realworld: $(READY)       ## published clients against the mock (needs the network once, PHP, npm and Chromium)
	$(BIN)/pytest tests/realworld

realworld-seen: $(READY)  ## record anew what they send and report
	$(BIN)/python -m tests.realworld.recording

check: $(READY)           ## style, types, corpus
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/tn-contract lint

wheel: $(READY)           ## build the wheel and try it in an empty environment
	$(BIN)/python tests/packaging/try_wheel.py

corpus: $(READY)          ## after a change of fixtures/: schemas and manifest anew
	$(BIN)/python fixtures/generators/manifest.py

bench: $(READY)           ## speed, side by side, as ratios
	$(BIN)/python benchmarks/run.py

peers: $(READY)           ## the mock beside its peers (needs wrk, npm, Java; about 20 minutes)
	$(BIN)/python benchmarks/peers.py

engines: $(READY)         ## what each state engine costs, and several workers (needs wrk, redis-server)
	$(BIN)/python benchmarks/engines.py

soak: $(READY)            ## five million requests, and what they leave behind (needs wrk)
	$(BIN)/python benchmarks/soak.py

fuzz: $(READY)            ## two million requests that are wrong in every way
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tests/fuzz/requirements.txt
	$(BIN)/python benchmarks/fuzz.py

lock:                     ## pin the development environment anew (needs uv)
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
