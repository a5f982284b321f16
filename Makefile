# The two commands of the README are `make demo` and `make test`; both install what is missing.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Scenarios and network tests need root and Debian's packages; a run of `make fix` or `make build` needs neither.
PREPARE := scripts/install-packages.sh
TESTS := scripts/run-tests.sh
# `make chaos` takes half a minute a seed, `make sim` a thousand in that time.
CHAOS_SEEDS := $(if $(SEEDS),$(SEEDS),10)
SEEDS ?= 5000
SHARD ?= 1/1

.PHONY: help
help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: demo
demo: prepare ## Play the tutorial on real servers; KEEP=1 leaves the cluster up
	cargo build --release --locked --workspace
	target/release/mmm_demo $(if $(KEEP),--keep)

.PHONY: test
test: prepare runner verify ## Everything that must hold before a change lands
	cargo build --workspace --locked
	$(TESTS) core mysql-9.7
	cargo run --release --locked -q -p mmm-sim -- --seeds $(SEEDS)

.PHONY: test-full
test-full: prepare runner verify ## Everything there is; SHARD=i/n runs a part of it
	cargo build --workspace --locked
	$(TESTS) full "" --partition slice:$(SHARD)
	cargo run --release --locked -q -p mmm-sim -- --seeds 20000

.PHONY: verify
verify: ## Format and lints; never writes
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

.PHONY: fix
fix: ## Format the sources
	cargo fmt --all

.PHONY: sim
sim: ## Simulate clusters: SEEDS=n runs n seeds, SEED=s replays one with a trace, MUTATE=rule drops a rule of the lease
	cargo run --release --locked -q -p mmm-sim -- $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(if $(MUTATE),--mutate $(MUTATE))

.PHONY: chaos
chaos: prepare ## Break real clusters at random: SEEDS=n runs n seeds and goes on where it was broken off, SEED=s runs one, STRICT=1 takes only clusters that can lose nothing
	cargo build --workspace --locked
	target/debug/mmm_chaos $(if $(SEED),--seed $(SEED),--seeds $(CHAOS_SEEDS)) $(if $(STRICT),--strict)

FUZZ_TARGETS := $(if $(TARGET),$(TARGET),configuration control frames handshake protocol1)
MINUTES ?= 1

# What is found goes beside the corpus, into fuzz/artifacts; new inputs of interest into fuzz/target/corpus.
.PHONY: fuzz
fuzz: fuzzer ## Look for inputs that break something: MINUTES=n for each target, TARGET=name for one only
	for target in $(FUZZ_TARGETS); do \
	    mkdir -p fuzz/target/corpus/$$target; \
	    cargo fuzz run --sanitizer none $$target fuzz/target/corpus/$$target fuzz/corpus/$$target \
	        -- -max_total_time=$$(( $(MINUTES) * 60 )) -rss_limit_mb=1024 -max_len=20000 -print_final_stats=1; \
	done

.PHONY: bench
bench: prepare ## Measure failover, planned move, memory and CPU; see bench/README.md
	cargo build --release --locked --workspace
	target/release/mmm_bench $(if $(RUNS),--runs $(RUNS))

.PHONY: prepare
prepare:
	@$(PREPARE)

# The test runner comes from the registry where it is not there yet; that takes some minutes, once.
.PHONY: runner
runner:
	@cargo nextest --version >/dev/null 2>&1 || cargo install --locked cargo-nextest

# The fuzzer as well; only `make fuzz` needs it.
.PHONY: fuzzer
fuzzer:
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz@0.13.2
