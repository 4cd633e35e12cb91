# make run         compare policies on a bundled recording, write report.html
# make test        lint, types, import arrows, tests (.ci/run calls this); those in the guest on 6.12, but the long ones
# make test-here   the tests without those in the guest: all with coverage on the newest Python, some on 3.11 too
# make test-guest  all tests in the guest: Debian kernels in QEMU with real memory tiers (before a release)
# make guest-table ordinary programs on Linux 6.12 and 7.3 in the guest, as a table in docs/live.md (an hour)
# make fuzz        strangers' files and neighbours' requests, damaged in every way, for FUZZ_SECONDS=14400
# make site        the documentation as a site in build/site, searchable offline
# make bench       benchmarks as ratios, written to benchmarks/results/latest.json

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL_FLAGS ?=
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt $(INSTALL_FLAGS)
RECORDING := bundled:duckdb-mix
POLICIES := demotion,numab2,hemem,pghot-default,pghot-hashed-f1,hemem-colloid,lru-bw,oracle-static

# The newest Python that Numba supports, where this machine has one newer than 3.11; NEWEST=... names another.
NEWEST ?= $(shell for python in $(foreach minor,14 13 12,python3.$(minor) $(wildcard $(HOME)/.pyenv/versions/3.$(minor).*/bin/python)); do \
	"$$python" -c "import venv" 2>/dev/null && echo "$$python" && break; done)

LAB := lab sim policies safety

.PHONY: run test lint test-here test-guest guest-table fuzz bench site recordings tools clean

run: $(VENV)/.product
	$(BIN)/pghot compare $(RECORDING) --tiers dram-cxl --fast-share 20% --duration 100s --seeds 1 \
		--policies $(POLICIES) --sources hintfaults,pebs -o report.html --force

# Side by side what takes one processor each: pip and apt, then mypy, a guest and the tests here.
test:
	$(MAKE) --jobs=2 $(VENV)/.test tools
	@echo "lint, the tests here and those in the guest run side by side; each says what it found when it is done"
	$(MAKE) --jobs=3 --keep-going GUEST_TESTS='-m "not long"' lint test-here test-guest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The newest Python runs all tests here, as coverage costs next to nothing there (sys.monitoring, since 3.12). pip
# compiles no module for it: what is imported is compiled then, and half of them never are. 3.11 runs the live half in
# the guest; here it runs the unit tests but those of the lab and of safety, which would compile all its kernels once
# more for some minutes.
# Each worker begins with a half of its own (worksteal): side by side in one file, both would compile its kernels.
test-here: $(VENV)/.test tools
ifeq ($(NEWEST),)
	@echo "no Python newer than 3.11 here: the tests run with $$($(PYTHON) --version) alone"
	$(BIN)/pytest -rfEs --cov -n 2 --dist worksteal --ignore=tests/guest
else
	$(MAKE) VENV=.venv-newest PYTHON=$(NEWEST) INSTALL_FLAGS=--no-compile .venv-newest/.test
	COVERAGE_CORE=sysmon .venv-newest/bin/pytest -rfEs --cov -n 2 --dist worksteal --ignore=tests/guest
	$(BIN)/pytest -rfEs --no-cov -n 2 --dist worksteal -m "not heavy" tests/unit $(LAB:%=--ignore=tests/unit/%)
endif

# In `make test`: each source, each way of moving and of taking back, six rows of `make guest-table`. Beside the tests
# here these took 12 minutes, and 26 with what is long: other forms of the same, what waits for minutes, other kernels.
GUEST_TESTS ?=
test-guest: $(VENV)/.test tools
	$(BIN)/pytest --no-cov -rfEs $(GUEST_TESTS) tests/guest

guest-table: $(VENV)/.test tools
	$(BIN)/python benchmarks/guest_table.py

# FUZZ_KINDS="recording parquet" runs only those; what was found is repeated by the command printed with it.
FUZZ_SECONDS ?= 14400
FUZZ_KINDS ?=
fuzz: $(VENV)/.test
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS) $(FUZZ_KINDS)

bench: $(VENV)/.bench tools
	$(BIN)/python benchmarks/run.py

site: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "the documentation: build/site/index.html"

recordings: $(VENV)/.bench tools
	$(BIN)/python benchmarks/recordings/make.py

# Programs that tests and recordings run beside pghot. Without root, what needs them says so and is skipped.
tools:
	@for need in qemu-x86_64:qemu-user cc:build-essential qemu-system-x86_64:qemu-system-x86 busybox:busybox-static chromium:chromium \
			valgrind:valgrind; do \
		command -v $${need%%:*} >/dev/null || missing="$$missing $${need##*:}"; \
	done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing$$missing"; \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing >/dev/null; } || \
			echo "could not install:$$missing (what needs them will be skipped)"; \
	elif [ -n "$$missing" ]; then \
		echo "not installed:$$missing (what needs them will be skipped; install them with your package manager)"; \
	fi

$(VENV)/.made:
	@echo "making the environment in $(VENV) (once)"
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.product: $(VENV)/.made pyproject.toml constraints.txt
	$(INSTALL) -e .
	@touch $@

$(VENV)/.docs: $(VENV)/.product
	$(INSTALL) -e '.[docs]'
	@touch $@

# The product is among it: one run of pip, not two.
$(VENV)/.test: $(VENV)/.made pyproject.toml constraints.txt
	$(INSTALL) -e '.[test,docs]'
	@touch $(VENV)/.product $@

$(VENV)/.bench: $(VENV)/.test
	$(INSTALL) -e '.[test,docs,bench]'
	@touch $@

clean:
	rm -rf $(VENV) .venv-newest build report.html .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
