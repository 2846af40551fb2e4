# The commands of the project. Set-up and builds write to .venv (Python tools, the broker) and target
# (the Rust kernel, compiled crates, the notebooks of the demo).
.DEFAULT_GOAL := help
.PHONY: help help-dev setup demo lab lesson kernel kernel-remove test check bench bench-quick robustness fuzz mutants deny record lock kafka-start kafka-stop kafka-status stop clean
# The cargo of a kernel. The kernel itself contains almost no code of this project.
CELLS := --manifest-path kernel/cargo/Cargo.toml --target-dir target/tools
COMPILE := uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header --no-annotate
# The files whose changes unit tests can detect, and the files that also need tests with a broker.
MUTATE_UNITS ?= $(addprefix src/,deduplicator.rs time.rs listener/merge.rs listener/counting.rs listener/watched.rs listener/obstacles.rs wire/run.rs trajectory/words.rs trajectory/segment.rs trajectory/history.rs)
MUTATE_PIPELINE ?= $(addprefix src/,listener/consumer.rs listener/reader.rs scorer/transaction.rs scorer/worker.rs streamer/task.rs streamer/delivery.rs)
MUTANTS := LIVE_SENTIMENT_TANSU=$(CURDIR)/.venv/bin/tansu cargo mutants --test-workspace true --timeout 300 --build-timeout 600
SECONDS ?= 60
PORT ?= 8888
IP ?= 127.0.0.1

LIST = @awk -F ':[^\#]*\#+ ' '/^[a-z-]+:[^\#]*$(1) / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

help: ## show this list
	$(call LIST,\#\#)

help-dev: ## show the commands for maintainers
	$(call LIST,\#\#\#)

setup: ## install everything for the notebooks; takes 4 to 10 minutes the first time, and less than a second after that
	@kernel/setup

demo: setup ## run both notebooks with the live figure; TIME_SPAN=60 SOURCE=demo|replay:FILE|bluesky|x RATE=20 KAFKA=embedded|apache|host:port
	@.venv/bin/python notebooks/tools/demo.py

lab: setup ## open JupyterLab with both notebooks side by side; PORT=8888 IP=127.0.0.1
	@.venv/bin/python notebooks/tools/lab.py --ServerApp.ip=$(IP) --ServerApp.port=$(PORT) $(FLAGS)

lesson: setup ## open JupyterLab with the lesson; SOURCE=demo|replay:FILE KAFKA=apache|embedded PORT=8888 IP=127.0.0.1
	@cargo build --quiet --release --example scorer
	@kafka/prepare || echo "lesson: without Apache Kafka, steps 7 and 8 say what is missing"
	@.venv/bin/python notebooks/tools/lab.py lesson --ServerApp.ip=$(IP) --ServerApp.port=$(PORT) $(FLAGS)

kernel: setup ## add the kernel to your own Jupyter and VS Code
	@kernel/install

kernel-remove: ## remove the kernel from your own Jupyter and VS Code
	@kernel/install remove

test: ## run all tests, as CI does; installs Chromium, Java and Maven if they are missing
	@kernel/setup tests
	@rm -f target/not-run.txt
	cargo fmt --check --all
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	cargo fmt --check --all --manifest-path kernel/Cargo.toml
	cargo clippy --all-targets $(CELLS) -- -D warnings
	cargo test $(CELLS)
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features
	cargo build --release --examples
	cargo test --workspace --all-features
	.venv/bin/python -m pytest tests
	cargo bench --workspace --bench robustness -- quick
	fuzz/run 60
	@! sort -u target/not-run.txt 2>/dev/null || echo "make test: all executed tests passed; NOT RUN: the tests listed above"

check: ## run the fast checks: format, clippy, unit tests
	cargo fmt --check --all
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace --lib

bench: ### compare with the alternatives and write docs/benchmarks.md; takes 15 minutes
	@kernel/setup browser
	@benches/run

bench-quick: ### compare only throughput and scoring; takes 2 minutes
	@kernel/setup
	@benches/run quick

robustness: ### run the robustness tests, and write docs/robustness.md; takes 15 minutes
	@kernel/setup tests
	cargo build --release --examples
	cargo bench --workspace --bench robustness -- all

fuzz: ### run the fuzz targets to find inputs that fail; SECONDS=60
	fuzz/run $(SECONDS)

mutants: ### change the code in many small ways, and list the changes that no test detects; takes many hours; needs cargo-mutants (cargo install cargo-mutants --locked)
	$(if $(MUTATE_UNITS),$(MUTANTS) $(addprefix -f ,$(MUTATE_UNITS)) -- --all-features --lib)
	$(if $(MUTATE_PIPELINE),$(MUTANTS) $(addprefix -f ,$(MUTATE_PIPELINE)) -- --all-features --lib --test pipeline --test faults --test scorer --test others)

deny: ### check the licences, duplicates and sources of all crates; needs cargo-deny (cargo install cargo-deny --locked)
	cargo deny --offline check licenses bans sources

record: setup ### run all notebooks, and save their outputs and the pictures of the page
	@kernel/setup record
	@cargo build --quiet --release --example scorer
	@.venv/bin/python notebooks/tools/record.py

lock: ### update the two locked lists of Python packages from their requirements.in
	$(COMPILE) kernel/requirements.in -o requirements-dev.txt
	$(COMPILE) benches/peers/requirements.in -o benches/peers/requirements.txt

kafka-start: ## start Apache Kafka on 127.0.0.1:9092; needs Java and Maven
	@kafka/start

kafka-stop: ## stop Apache Kafka; its data is kept
	@kafka/stop

kafka-status: ## show whether the broker is running, and its last error
	@kafka/status

stop: ## stop an embedded broker that was left running
	@pkill -f "^$(CURDIR)/.venv/bin/tansu broker " && echo "the broker has stopped" || echo "no broker of this folder is running"

clean: stop kafka-stop ## stop the brokers, and remove everything that set-up and builds have created
	rm -rf .venv target
