# Every task of the project; `make help` lists them.
VENV := .venv
PY := $(VENV)/bin/python
NATIVE := otel_pipeline/native
DEMO_ARGS :=
TEST_ARGS :=

help: ## list the tasks
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: $(VENV)/.installed native ## set everything up: .venv, pinned packages, the native module

demo: install ## run the gateway and send it one small delivery; DEMO_ARGS=--once ends after showing it
	$(PY) -m otel_pipeline demo $(DEMO_ARGS)

test: install system-packages lint test-native test-node ## everything that CI runs, set-up included
	$(PY) -m pytest $(TEST_ARGS)

lint: install ## formatting, lints and types of Python and Rust
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	cd $(NATIVE) && cargo fmt --check
	cd $(NATIVE) && cargo clippy --release --locked --all-targets -- -D warnings

test-native: install ## the Rust tests alone
	cd $(NATIVE) && PYO3_PYTHON=$(abspath $(PY)) cargo test --release --locked

test-node: ## the Node SDKs that the end-to-end tests send with
	@if command -v npm >/dev/null; then cd tests/end_to_end/node && npm ci --silent --no-audit --no-fund; fi

bench: install ## CPU, throughput and memory, beside rotel; writes benchmarks/results.json
	$(PY) -m benchmarks

wheel: install ## build dist/*.whl
	$(PY) -m maturin build --release --locked --out dist

native: $(VENV)/.installed ## build the native module in place and put otel-pipeline into .venv/bin
	PIP_NO_DEPS=1 PIP_QUIET=1 VIRTUAL_ENV=$(abspath $(VENV)) $(PY) -m maturin develop --release --locked --quiet

lock: install ## pin the newest allowed versions again
	$(PY) -m uv pip compile --quiet --upgrade --generate-hashes --python-version 3.11 --no-header -o requirements.lock pyproject.toml
	$(PY) -m uv pip compile --quiet --upgrade --generate-hashes --python-version 3.11 --no-header --extra test --extra bench -o requirements-dev.lock pyproject.toml

docs: install ## write what is generated from the semantic-convention files: their reference and constants
	$(PY) -m otel_pipeline semconv docs
	$(PY) -m otel_pipeline semconv export --python otel_pipeline/instrument

clean: ## remove everything that was built
	rm -rf $(VENV) dist $(NATIVE)/target otel_pipeline/_native.abi3.so tests/end_to_end/node/node_modules

system-packages:
	@sh scripts/system-packages

$(VENV)/.installed: requirements-dev.lock pyproject.toml
	@sh scripts/check-tools
	python3 -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

.PHONY: help install demo test lint test-native test-node bench wheel native lock docs clean system-packages
