# make run    compare policies on a bundled recording, write report.html
# make test   lint, types, import arrows, tests with coverage (.ci/run calls this)
# make bench  benchmarks as ratios, written to benchmarks/results/latest.json

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
RECORDING := bundled:bfs-kron

.PHONY: run test bench recordings tools clean

run: $(VENV)/.product
	$(BIN)/pghot compare $(RECORDING) --tiers dram-cxl --fast-share 20% --repeat 2 \
		--policies all --sources hintfaults,abit,pebs -o report.html --force

test: $(VENV)/.test tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest --cov --cov-report=term

bench: $(VENV)/.bench tools
	$(BIN)/python benchmarks/run.py

recordings: $(VENV)/.bench tools
	$(BIN)/python benchmarks/recordings/make.py

# Programs that tests and recordings run beside pghot. Without root, what needs them says so and is skipped.
tools:
	@for need in qemu-x86_64:qemu-user cc:gcc; do \
		command -v $${need%%:*} >/dev/null || missing="$$missing $${need##*:}"; \
	done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing$$missing"; apt-get update -qq && apt-get install -y -qq $$missing >/dev/null; \
	elif [ -n "$$missing" ]; then \
		echo "not installed:$$missing (tests of the recorder will be skipped; install them with your package manager)"; \
	fi

$(VENV)/.made:
	@echo "making the environment in $(VENV) (once)"
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.product: $(VENV)/.made pyproject.toml constraints.txt
	$(INSTALL) -e .
	@touch $@

$(VENV)/.test: $(VENV)/.product
	$(INSTALL) -e '.[test]'
	@touch $@

$(VENV)/.bench: $(VENV)/.test
	$(INSTALL) -e '.[test,bench]'
	@touch $@

clean:
	rm -rf $(VENV) build report.html .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
