# make help lists the targets. make build fetches everything; later runs need no network.
SHELL := /bin/bash

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

run: ## compile, then watch interrupts reach a guest on this machine's KVM, or on the fake kernel without KVM
	@scripts/run

run-tiny-vmm: build ## run the VMM of src/examples/tiny-vmm; ARGS="--backend fake", or others that its page names
	@scripts/tiny-vmm $(ARGS)

try: ## compile what changed and run the tests T at once; without T list them
	@scripts/try $(T)

test: ## run all tests that this machine can run; ends with a table of what ran on which kernel
	@scripts/test all

elsewhere: ## run the two commands of README.md on bare Debians, as other users; ON="12-user-kvm 13-root-nokvm"
	@scripts/elsewhere $(ON)

build: ## build the command and its native library, without testing
	@scripts/build
	@$(if $(filter build,$(MAKECMDGOALS)),echo "built: run scripts/kvmirq or install it by make install")

check: ## run the fast tests before each commit: format, static analysis, unit tests, contract on jni and fake
	@scripts/test check

format: ## format the Java sources
	@scripts/maven target/format.log -N spotless:apply

native-test: ## test the C library, plain and under sanitizers
	scripts/native-test

headers-test: ## compile the C library against the kernel headers of other Debian releases
	scripts/headers-test

bench: build ## compare the hot paths with the same in C and write a report; T="calls dispatch"
	@scripts/bench $(T)

differential: build ## compare random calls on the real kernel and on the fake; SEEDS=n (default 20000), LAB=amd for the lab's
	@$(if $(LAB),CLASSES=io.kvmirq.differential SEEDS=$(or $(SEEDS),20000) scripts/lab/run $(LAB),scripts/search differential.DifferentialReport $(or $(SEEDS),20000) 0)

fuzz: build ## fuzz decode and encode, a minute for each entry point, and the calls of the fake kernel
	scripts/fuzz

races: build ## search every order of the steps of a vCPU and its senders for one that loses; T=lost-interrupt-2019 tells a race
	@scripts/search arch.RacesReport $(T)

lost: build ## search random changes of interrupts for one that loses a message or a level; FIRED=n (default 1000000), PROGRAMS=n (10000)
	@scripts/search forward.LostReport $(or $(FIRED),1000000) 0
	@scripts/search pci.MessageReport $(or $(PROGRAMS),10000) 0
	@scripts/search contract.PinReport $(or $(PROGRAMS),10000) 0

crash: build ## kill each command at random moments, and list what is left behind; KILLS=n (default 50)
	@scripts/search cli.CrashSearch $(or $(KILLS),50) 1

stress: build ## run the live descriptor under real threads; MODE=default or tough runs longer, MODE=hard uses VMs instead
	scripts/stress $(MODE)

soak: build ## run whole VMMs on this machine's KVM, eight at a time; red if one loses an interrupt or memory, files or threads grow; MINUTES=30
	@scripts/search vmm.Soak $(or $(MINUTES),30)

mutation: build ## change the code in one place after the other, and list what the tests notice; T="mirror gic" limits it
	@scripts/search testing.Mutants $(T)

lab: build ## real KVM and VFIO in QEMU; LAB="amd intel" of those in src/docs/lab.md, KERNELS="6.1 6.12 7.2"
	@KERNELS="$(or $(KERNELS),6.1$(if $(LAB),, 6.12))" scripts/lab/run $(or $(LAB),amd)

lab-shell: build ## a root shell in one machine of the lab, with a disk and a network; LAB=amd, KERNELS=6.1
	@LAB_SHELL=1 KERNELS="$(or $(KERNELS),6.1)" scripts/lab/run $(or $(LAB),amd)

lab-full: build ## all of the lab, on all its kernels, with 20000 random sequences; takes hours
	@scripts/lab/run --full

# scripts/install reads these from the environment: a path may contain spaces.
export PREFIX
export DESTDIR

install: target/kvmirq-cli.jar ## install command, manual pages and completions in PREFIX=/usr/local
	@scripts/install install

uninstall: ## remove the files that make install installed
	@scripts/install uninstall

target/kvmirq-cli.jar:
	$(MAKE) build

publish-local: ## install the five artifacts, sources, Javadoc and SBOM as io.kvmirq:kvmirq*; RELEASE=1 demands x86-64 and arm64
	@scripts/bootstrap $(if $(RELEASE),--release && scripts/bootstrap --newest)
	@scripts/compile --main
	@flock target/build/lock scripts/maven target/publish.log -Dmaven.test.skip -Ppublish install
	@sed -nE 's/.*Installing (.*\.jar) to (.*)/cmp "\1" "\2"/p' target/publish.log | bash -e
	@scripts/native --missing | sed 's/^/warning: the jar has no library for /' >&2
	@grep -oE 'Installing .* to .*/kvmirq-[^/]*\.(jar|pom|json)$$' target/publish.log

package: ## make a tarball and a Debian package for x86-64 and arm64, each with a Java runtime of its own, in target/package
	@scripts/bootstrap --release
	@scripts/build
	@flock target/build/lock scripts/maven target/sbom.log -Dmaven.test.skip -Dmaven.javadoc.skip -Ppublish package
	@scripts/package

release: ## all that a release publishes, in target/release: artifacts, packages, sources, SBOM and checksums, the same each time
	@scripts/release --check
	@$(MAKE) publish-local RELEASE=1
	@$(MAKE) package
	@scripts/release

javadoc: ## write the Javadoc of the artifacts to target/javadoc
	@echo "writing Javadoc, about 30 s"
	@scripts/javadoc

clean: ## remove all build results
	rm -rf target native/build .cifuzz-corpus

.PHONY: help run run-tiny-vmm try test elsewhere build check format native-test headers-test bench differential fuzz races lost crash stress soak mutation lab lab-shell lab-full install uninstall publish-local package release javadoc clean
