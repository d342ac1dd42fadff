# Every task of the project; `make help` lists them.
PY := .venv/bin/python
NATIVE := otel_pipeline/native

help: ## list the tasks
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

native: ## build the native module in place (otel_pipeline/_native.abi3.so)
	cd $(NATIVE) && cargo build --release --locked --features extension-module
	cp $(NATIVE)/target/release/lib_native.so otel_pipeline/_native.abi3.so.new
	mv otel_pipeline/_native.abi3.so.new otel_pipeline/_native.abi3.so

.PHONY: help native
