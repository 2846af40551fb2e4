# What a person types. Everything is below the repository: .venv (Python tools, the broker) and
# target (the Rust kernel, compiled crates, the demo's notebooks).
.DEFAULT_GOAL := help
.PHONY: help setup demo lab test check bench bench-quick record lock kafka-start kafka-stop kafka-status stop clean
JUPYTER := .venv/bin/jupyter
COMPILE := uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header --no-annotate

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## everything the notebooks need; the first time takes up to 15 minutes, then seconds
	@kernel/setup

demo: setup ## both notebooks in parallel, with the live figure; TIME_SPAN=60 SOURCE=demo|replay:FILE|bluesky|x RATE=20 KAFKA=embedded|apache|host:port
	@.venv/bin/python kernel/demo.py

lab: setup ## JupyterLab with both notebooks and the Rust kernel
	@$(JUPYTER) lab --ServerApp.root_dir=notebooks --ServerApp.ip=127.0.0.1 --LabApp.default_url=/lab/tree/Streamer.ipynb

test: ## everything that CI runs; installs Chromium, Java and Maven if they are missing
	@kernel/setup tests
	@rm -f target/not-run.txt
	cargo fmt --check
	cargo clippy --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features
	cargo build --release --examples
	cargo test --all-features
	.venv/bin/python -m pytest tests
	@! sort -u target/not-run.txt 2>/dev/null || echo "make test: all that ran passed; NOT RUN: what is named above"

check: ## the quick loop: format, clippy, unit tests
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo test --lib

bench: ## this beside what people would use instead, 15 minutes; writes docs/benchmarks.md
	@kernel/setup browser
	@benches/run

bench-quick: ## its two most important tables, 2 minutes
	@kernel/setup
	@benches/run quick

record: setup ## runs both notebooks and keeps their outputs, and the picture in the README
	@kernel/setup browser
	@.venv/bin/python kernel/record.py

lock: ## makes both requirements.txt anew from their requirements.in
	$(COMPILE) kernel/requirements.in -o requirements-dev.txt
	$(COMPILE) benches/peers/requirements.in -o benches/peers/requirements.txt

kafka-start: ## Apache Kafka itself on 127.0.0.1:9092, instead of the embedded broker; needs Java and Maven
	@kafka/start

kafka-stop: ## ends it; what it holds stays
	@kafka/stop

kafka-status: ## whether it runs, and if it has died, of what
	@kafka/status

stop: ## ends an embedded broker that was left running
	@pkill -f "^$(CURDIR)/.venv/bin/tansu broker " && echo "the broker has ended" || echo "no broker of this folder runs"

clean: stop kafka-stop ## removes what set-up and builds have made
	rm -rf .venv target
