# Verbs only: what each does in detail is said where it is done. `make help` lists them.
#
# The environment is .venv, made when first needed and brought up to date when pyproject.toml, setup.py or a source of
# the extension changes; otherwise no verb calls pip, so everything but the first run works without a network.
# Another interpreter: make test PYTHON=python3.12. Paths are relative, so the checkout may lie in any folder.

PYTHON ?= python3
PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
C_SOURCES := $(sort $(wildcard csrc/*.c csrc/*/*.c))
EXT_SOURCES := $(C_SOURCES) $(wildcard csrc/*.h csrc/*/*.h slide/engine/*.pyx slide/engine/*.pxi)

# A compile error must not hide behind the fallback where there is a compiler; where there is none, fall back.
STRICT = SLIDE_REQUIRE_EXT=$${SLIDE_REQUIRE_EXT:-$$(echo 'int x;' | $(CC) -x c -fsyntax-only - 2>/dev/null && echo 1 || echo 0)}

# The requirements that pyproject.toml lists under these keys, so that they are said once.
named = $$($(PY) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))$(1))')

# Tests run in as many processes as there are processors, four at most since each imports everything; tests/conftest.py
# says which process runs what. make test JOBS=0 runs them in one, in order.
JOBS ?= auto
SIDE_BY_SIDE = -n $(JOBS) --maxprocesses 4 -p no:benchmark

# Bytecode is kept even where the environment says not to: pytest rewrites every test file, ten seconds each time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: train smoke test test-all bench bench-peers bench-torch bench-report lint lint-c sanitize sanitize-threads fuzz \
    faults soak coverage mutate test-annif test-cluster test-oldest wheel test-wheel docs clean help

train: .venv/extension  ## train a network on the embedded WordNet data, print its accuracy, write model.slide
	$(PY) -m slide train wordnet-hypernym --out model.slide

smoke: .venv/extension  ## try the essential path of every room, in well under a minute
	$(PY) -m pytest -q tests/test_smoke.py

test: .venv/extension  ## run the fast tests; THOROUGH=1: those of the Numba twin too, and others that take seconds
	@echo "$(if $(THOROUGH),the fast and the thorough tests: some 12,the fast tests: some 5) minutes of processor time"
	$(PY) -m pytest -q -m "$(if $(THOROUGH),not slow,not slow and not thorough)" $(SIDE_BY_SIDE) --durations 5

test-all: .venv/extension  ## run all tests, the slow ones too
	@echo "all tests: some 12 minutes of processor time, and 5 more where Numba's machine code is not kept yet"
	$(PY) -m pytest -q $(SIDE_BY_SIDE) --durations 10

bench: .venv/extension  ## time kernels, training and prediction
	$(PY) -m benchmarks.micro.suite

bench-peers: .venv/extension  ## accuracy, time and memory beside other libraries (installs them in .venvs)
	$(PY) -m benchmarks.peers --data $(or $(DATA),wordnet-hypernym)

bench-torch: .venv/extension  ## the same network in PyTorch
	$(PY) -m benchmarks.studies.torch_baselines

bench-report: .venv/extension .venv/bench  ## tables from the results so far
	$(PY) -m benchmarks.report

lint: .venv/lint lint-c  ## ruff, mypy, imports, spelling, and the C sources: strict warnings, includes that go down only
	$(PY) -m ruff check --no-cache .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports --no-logo
	$(PY) -m codespell_lib *.md *.toml *.yml Makefile setup.py docs slide csrc tests benchmarks examples integrations

lint-c:
	$(CC) -std=gnu11 -Wall -Wextra -Werror -fsyntax-only -fopenmp -Icsrc $(C_SOURCES)
	$(PYTHON) tests/lint/c_floors.py

sanitize: .venv/package  ## run the tests of the C engine under the address and undefined-behaviour sanitizers
	bash tests/packaging/sanitize.sh $(PY)

sanitize-threads:  ## run the C engine on four threads under the thread sanitizer
	bash tests/races/run.sh

fuzz: .venv/extension  ## fuzz the parsers, the model loader, the network's operations and the server, SECONDS=60 each
	bash tests/fuzz/run.sh $(PY) $(or $(SECONDS),60) $(or $(SEED),1)

faults: .venv/extension  ## kill, starve and interrupt it, TIMES=100 each
	$(PY) tests/faults/run.py --times $(or $(TIMES),100)

soak: .venv/extension  ## train for an hour, MINUTES=60: does memory grow, does it slow down?
	$(PY) tests/faults/soak.py --minutes $(or $(MINUTES),60)

docs: .venv/extension .venv/docs  ## build the documentation into build/site
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet --clean
	@echo "build/site/index.html"

coverage: .venv/package  ## lines and branches of slide/ and csrc/ that the fast tests reach, in build/coverage
	bash tests/packaging/coverage.sh $(PY)

mutate: .venv/extension  ## break tables, active sets and metrics on purpose, one line at a time: do the tests notice?
	$(PY) tests/mutate.py

test-annif: .venv/extension  ## integrations/slide-annif in the real Annif, beside its omikuji (installs them in .venvs)
	bash tests/packaging/test_annif.sh $(PY)

test-cluster: .venv/extension  ## workers over gloo, torchrun, MPI, Ray and network namespaces (installs them in .venvs)
	bash tests/packaging/test_cluster.sh $(PY)

test-oldest:  ## run the fast tests with the oldest dependencies that pyproject.toml allows
	bash tests/packaging/test_oldest.sh $(PYTHON)

wheel: .venv/package  ## build the source distribution and, from it, the wheel, into dist/
	@rm -rf dist; mkdir -p build
	$(STRICT) $(PY) -m build --no-isolation --outdir dist . > build/wheel.log 2>&1 || { cat build/wheel.log; exit 1; }
	@$(PY) tests/packaging/repack.py dist/*.tar.gz
	@ls dist

test-wheel: wheel  ## try the wheel in an empty environment outside the checkout
	bash tests/packaging/test_wheel.sh $(PY)

clean:  ## remove everything that was built, and the environments
	rm -rf .venv .venvs build dist *.egg-info slide/engine/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find slide tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## list the verbs
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*  ## /\1\t/' | expand -t 16

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "slide needs Python 3.11 or later; '$(PYTHON)' is not. Name another: make PYTHON=python3.12" >&2; exit 1; }
	@echo "making .venv: a minute or two, this once"
	$(PYTHON) -m venv --clear .venv
	@touch $@

# Links slide/ into the environment; the extension is compiled in place by the rule below, which has no stamp where
# there is no compiler, so that the warning comes each time and a compiler is noticed when there is one.
.venv/package: .venv/made pyproject.toml setup.py
	$(PIP) install build $(call named,["build-system"]["requires"])
	SLIDE_NO_EXT=1 $(PIP) install --no-build-isolation --editable ".[test]"
	@touch $@

.venv/extension: .venv/package $(EXT_SOURCES)
	$(STRICT) $(PY) setup.py --quiet build_ext --inplace
	@! ls slide/engine/_c.*.so > /dev/null 2>&1 || touch $@

# The tools alone, not the package again: another verb may be using it under make -j.
.venv/lint: .venv/package
	$(PIP) install $(call named,["project"]["optional-dependencies"]["lint"])
	@touch $@

.venv/bench: .venv/package
	$(PIP) install $(call named,["project"]["optional-dependencies"]["bench"])
	@touch $@

.venv/docs: .venv/package
	$(PIP) install $(call named,["project"]["optional-dependencies"]["docs"])
	@touch $@
