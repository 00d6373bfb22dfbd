# Everything a reader does with the study. `make` alone lists the targets.

PROFILE ?= quick
PYTHON := .venv/bin/python
INSTALLED := .venv/installed

.DEFAULT_GOAL := help
.PHONY: help env reports test test-long lab bench check clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(INSTALLED)  ## install the versions of environment.yml into .venv (redone when the file changes)
	@echo "the environment is ready in .venv"

# A .venv without a working pip was interrupted while it was made: it is made anew. An interrupted installation goes on.
# The stamp comes last, so it says that everything is there.
$(INSTALLED): environment.yml
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || { \
	  for python in python3 python3.13 python3.12 python3.11 python3.14 python ""; do \
	    test -z "$$python" && break; \
	    "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	  done; \
	  test -n "$$python" || { echo "pathemo needs Python 3.11 or newer with its venv module \
	(on Debian and Ubuntu: apt-get install python3 python3-venv); none was found on the PATH" >&2; exit 1; }; \
	  rm -rf .venv && "$$python" -m venv .venv; }
	@echo "installing the pinned versions of environment.yml into .venv (about two minutes)"
	@awk '/- pip:/ {pins = 1; next} pins {sub(/^ *- /, ""); print}' environment.yml > .venv/requirements.txt
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check -r .venv/requirements.txt
	@$(PYTHON) -c 'import av, cv2, soundfile, torchaudio' 2> .venv/import.txt || { \
	  echo "a package does not load, perhaps for lack of a system library: $$(tail -n 1 .venv/import.txt)" >&2; \
	  exit 1; }
	@touch $@

reports: $(INSTALLED)  ## run the notebooks: PROFILE=quick (synthetic corpora) or paper, PATHEMO_DATA=<recordings>
	@$(PYTHON) -m pathemo run $(PROFILE)

# Each process has one thread, so that two processes share two cores. Notebooks are validated as they stand, by the outputs
# of their check cells; 07 draws from the rows of the committed study.
test: export OMP_NUM_THREADS = 1
test: $(INSTALLED)  ## test the module, its examples, and each notebook
	$(PYTHON) -m pytest -n 2 --doctest-modules pathemo tests
	PATHEMO_PROFILE=paper $(PYTHON) -m pytest -n 2 --dist loadscope --nbval-current-env --nbval-lax notebooks/*.ipynb

# Determinism: the executed notebooks of the quick profile give the same outputs again, from an empty cache.
# Campaigns: thousands of damaged files, kills and full disks, where `test` has dozens; the counts come at the end.
test-long: export OMP_NUM_THREADS = 1
test-long: $(INSTALLED)  ## test that a second run gives the same, and reliability at length: damaged files, kills, full disks
	$(PYTHON) -m pathemo run quick
	PATHEMO_CACHE=$$(mktemp -d) $(PYTHON) -m pytest -n 2 --dist loadscope --nbval-current-env --nbval reports/quick/[0-9]*/*.ipynb
	PATHEMO_LONG=1 $(PYTHON) -m pytest -n 2 tests/campaigns

lab: $(INSTALLED)  ## open the notebooks in JupyterLab
	@$(PYTHON) -m pathemo lab

bench: $(INSTALLED)  ## time the engine, and the features of speech and faces
	@for name in engine speech faces; do $(PYTHON) tests/benchmarks/bench_$$name.py || exit 1; done

check: $(INSTALLED)  ## lint, stored outputs of the notebooks, results table of the README
	$(PYTHON) -m ruff check --output-format concise .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m nbstripout --verify --keep-count notebooks/*.ipynb
	$(PYTHON) -m pathemo readme --check

clean:  ## remove what can be made again: quick reports, pages, synthetic corpora, caches (the environment stays)
	rm -rf reports/quick reports/interactive reports/*/failed reports/*/html reports/*/index.md data/synthetic
	rm -rf .pytest_cache .ruff_cache .hypothesis build dist
	find . -name .venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -exec rm -rf {} +
