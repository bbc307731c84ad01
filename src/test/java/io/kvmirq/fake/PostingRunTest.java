/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static io.kvmirq.fake.PostingSetup.VECTOR;
import static io.kvmirq.testing.GuestAssembler.asm;
import static io.kvmirq.testing.Refusals.assertIllegalState;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.testing.GuestAssembler;
import java.util.HexFormat;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A guest that runs in KVM_RUN takes posted interrupts. */
class PostingRunTest {
    private static final int START = 0x1000;
    private static final int STACK = 0x8000;
    private static final int MEMORY = 0x10000;
    private static final String MAIN = asm(GuestAssembler.LAPIC_ON + "sti; idle: hlt; jmp idle");
    private static final String HANDLER = asm(GuestAssembler.EOI + "out 0x80, al; iret");

    private static final int INTERRUPTS = 300;

    /** Halts with interrupts on, and leaves KVM_RUN after each interrupt. */
    private static Vcpu halting(PostingSetup setup) {
        GuestMemory memory = setup.undo.add(setup.vm.addMemory(0, MEMORY));
        memory.mapping().put(START, HexFormat.of().parseHex(MAIN + HANDLER));
        memory.mapping().putInt(VECTOR.number() * Integer.BYTES, START + MAIN.length() / 2);
        Vcpu vcpu = setup.vcpus.get(0);
        vcpu.x86().useHostCpuid();
        vcpu.x86().startAt(START, STACK);
        return vcpu;
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "6.12,vtd-posting", "amd-avic", "6.12,amd-avic", "avic-inhibited", "vtd"})
    void guestThatHaltsAnswersEachMessage(String profile) {
        boolean posts = profile.endsWith("vtd-posting") || profile.endsWith("amd-avic");
        try (PostingSetup setup = new PostingSetup(profile, 1)) {
            Vcpu vcpu = halting(setup);
            EventFd event = setup.event();
            setup.irqfd(event, setup.routeTo(0));
            setup.arm(event);
            Semaphore answered = new Semaphore(0);
            CompletableFuture<Void> device = CompletableFuture.runAsync(() -> {
                for (int i = 0; i < INTERRUPTS; i++) {
                    assertThat(setup.hardware.sendMessage(0)).isEqualTo(!posts);
                    answered.acquireUninterruptibly();
                }
            });
            for (int i = 0; i < INTERRUPTS; i++) {
                assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.IO);
                answered.release();
            }
            device.join();
            assertThat(setup.interrupts(0)).isEqualTo(posts ? 0 : INTERRUPTS);
            assertThat(setup.vcpu(0).state()).isEqualTo(FakeVcpu.State.PREEMPTED);
            assertThat(setup.brokenRules()).isEmpty();
            setup.vcpu(0).descriptor().filter(found -> posts).ifPresent(left -> assertThat(
                            PostedInterruptDescriptor.SN.isSet(left.control()))
                    .as("SN in user space")
                    .isEqualTo(!profile.startsWith("6.12")));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"vtd-posting", "amd-avic"})
    void kickEndsTheRunOfAGuestThatHalts(String profile) {
        try (PostingSetup setup = PostingTest.posted(profile)) {
            Vcpu vcpu = halting(setup);
            CompletableFuture<Void> kicked = CompletableFuture.runAsync(() -> {
                while (setup.vcpu(0).state() != FakeVcpu.State.BLOCKED) {
                    Thread.onSpinWait();
                }
                vcpu.kick();
            });
            assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.INTR);
            kicked.join();
            assertThat(setup.vcpu(0).state()).isEqualTo(FakeVcpu.State.PREEMPTED);
            assertThat(setup.brokenRules()).isEmpty();
        }
    }

    /** As a real one, which only its thread and the host's scheduler move. */
    @Test
    void vcpuThatRunsIsNotMovedByTheTest() {
        try (PostingSetup setup = PostingTest.posted("vtd-posting")) {
            Vcpu vcpu = halting(setup);
            CompletableFuture<FakeVcpu.State> halted = CompletableFuture.supplyAsync(() -> {
                while (setup.fake.waiting() == 0) {
                    Thread.onSpinWait();
                }
                try {
                    FakeVcpu.State seen = setup.vcpu(0).state();
                    assertThat(setup.vcpu(0).wakeupList()).isNotEmpty();
                    assertIllegalState(
                            () -> setup.vcpu(0).preempt(),
                            "vcpu 0 is in KVM_RUN, which moves it: expected no thread to run it");
                    return seen;
                } finally {
                    setup.hardware.sendMessage(0);
                }
            });
            assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.IO);
            assertThat(halted.join()).isEqualTo(FakeVcpu.State.BLOCKED);
        }
    }
}
