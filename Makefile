# make help lists the targets. Everything is fetched once; later runs need no network.
SHELL := /bin/bash

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

run: build ## build, then watch interrupts reach a guest on this machine's KVM
	scripts/kvmirq selftest

test: ## everything this machine can test, with a summary of what ran on what
	scripts/test all

build: ## the command and its native library, without testing
	@scripts/bootstrap
	scripts/maven verify -DskipTests

check: ## the fast set before each commit: format, static analysis, unit and contract tests
	scripts/test check

format: ## lay out the Java sources
	scripts/maven spotless:apply

native-test: ## the C library from a bare C program, plain and under sanitizers
	scripts/native-test

headers-test: ## the C library compiled against the kernel headers of other Debian releases
	scripts/headers-test

bench-selftest: build ## a guest's round trip through Java against the same loop in C
	scripts/bench-selftest

bench-calls: build ## each call of each binding against the same call in C
	scripts/bench-calls

bench-posting: build ## posting and remapping entries against the same with C11 atomics
	scripts/bench-posting

bench-fake: build ## a signal and a large VM on the fake against the same on the real kernel
	scripts/bench-fake

bench-recording: build ## what recording adds to a call
	scripts/bench-recording

differential: build ## random calls on the real kernel and on the fake, compared; SEEDS=n for other than 20000
	scripts/differential $(or $(SEEDS),20000)

fuzz: build ## a minute of inputs for each way into decode and encode
	scripts/fuzz

races: build ## every order in which a vCPU and its senders can act, searched for one that loses an interrupt
	scripts/races

stress: build ## the live descriptor under real threads; MODE=default or tough for all the JVM's ways, much longer
	scripts/stress $(MODE)

mutation: build ## which changes of the formats and the descriptor no test notices
	scripts/mutation

lab: build ## the contract and random calls on Debian's kernels 6.1 and 6.12, in QEMU; KERNELS="7.2" for others
	scripts/lab $(KERNELS)

install: ## put the library into the local Maven repository as io.kvmirq:kvmirq
	scripts/maven install -DskipTests

javadoc: ## the library's documentation in target/reports/apidocs
	scripts/maven javadoc:javadoc
	@echo "$(CURDIR)/target/reports/apidocs/index.html"

clean: ## remove everything built
	rm -rf target native/build .cifuzz-corpus

.PHONY: help run test build check format native-test headers-test bench-selftest bench-calls bench-posting bench-fake bench-recording differential fuzz races stress mutation lab install javadoc clean
