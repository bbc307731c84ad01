/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.InterruptVector;
import io.kvmirq.NotPromised;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.posting.PostingVcpu;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.IntSupplier;
import java.util.function.Supplier;

/**
 * A vCPU of a fake kernel whose profile names the interrupt hardware of an x86 host. A test moves it between the states
 * in which {@code KVM_RUN} and the host's scheduler place a vCPU, and observes the effect of a device's posted
 * interrupt. Get it from {@link FakeKernel#vcpus}. The host has 4 processors; one runs one vCPU at a time. Loading a
 * vCPU preempts the one that is loaded. Thread-safe.
 *
 * <p>The methods that move it throw IllegalStateException while a thread is in {@code KVM_RUN}, which moves it itself.
 * {@link #acknowledge}, {@link #end} and {@link #takeInterrupt} also throw it while the vCPU is not in the guest.
 */
public final class FakeVcpu {
    /** The state of a vCPU: off its CPU, on a CPU, or in the guest. */
    public enum State {
        /** On no processor, and it could run: after a preemption or {@code KVM_RUN}, or before the first. */
        PREEMPTED,
        /** On a processor, outside the guest. */
        LOADED,
        /** On a processor, in the guest. */
        IN_GUEST,
        /** On no processor; its guest has halted and sleeps. */
        BLOCKED
    }

    private final FakeTime time;
    private final PostingVcpu vcpu;

    FakeVcpu(FakeTime time, PostingVcpu vcpu) {
        this.time = time;
        this.vcpu = vcpu;
    }

    private <T> T moved(Supplier<T> action) {
        return time.changing(() -> {
            if (vcpu.isInRun()) {
                throw new IllegalStateException(
                        vcpu.id() + " is in KVM_RUN, which moves it: expected no thread to run it");
            }
            return action.get();
        });
    }

    private void moved(Runnable action) {
        moved(() -> {
            action.run();
            return true;
        });
    }

    // Moves

    /** It comes to processor 0–3, awake and outside the guest; IllegalArgumentException for another one. */
    public void load(int cpu) {
        moved(() -> vcpu.load(cpu));
    }

    /** It enters the guest, on the processor that it is on, or else on one that the scheduler chooses. */
    public void enterGuest() {
        moved(vcpu::enterGuest);
    }

    /** The host takes its processor away. A sleeper is woken first. */
    public void preempt() {
        moved(() -> {
            vcpu.load();
            vcpu.preempt();
        });
    }

    /** Its guest halts with interrupts on, until an interrupt wakes it. Returns whether it sleeps. */
    public boolean block() {
        return moved(() -> vcpu.block(true));
    }

    /** Its guest, with interrupts on, takes its next vector, if any, which is in service until {@link #end}. */
    public Optional<InterruptVector> acknowledge() {
        return served(vcpu::acknowledge);
    }

    /**
     * Its guest writes the EOI register: it ends the highest vector that is in service, if there is one. The end of a
     * level-triggered pin of the IOAPIC signals the resamplefds of its GSI.
     */
    public void end() {
        served(() -> {
            vcpu.end();
            return -1;
        });
    }

    /** Its guest, with interrupts on, takes its next vector, if any, and ends it. */
    public Optional<InterruptVector> takeInterrupt() {
        return served(() -> {
            int vector = vcpu.acknowledge();
            if (vector >= 0) {
                vcpu.end();
            }
            return vector;
        });
    }

    private Optional<InterruptVector> served(IntSupplier action) {
        return moved(() -> {
            if (!vcpu.isInGuest()) {
                throw new IllegalStateException(vcpu.id() + " is not in the guest: let it enter first");
            }
            int vector = action.getAsInt();
            return vector < 0 ? Optional.empty() : Optional.of(new InterruptVector(vector));
        });
    }

    // Views

    /** The id in its VM. */
    public VcpuId id() {
        return vcpu.id();
    }

    /** The number of its thread in the traces of {@link FakeKernel#tracing}. */
    public int thread() {
        return vcpu.tid();
    }

    /** The vCPU's state. */
    public State state() {
        return time.locked(() -> {
            if (vcpu.isInGuest()) {
                return State.IN_GUEST;
            }
            return vcpu.isLoaded() ? State.LOADED : vcpu.isAsleep() ? State.BLOCKED : State.PREEMPTED;
        });
    }

    /** The number of the processor that it is on, or was on last; empty before the first. */
    public OptionalInt cpu() {
        return time.locked(vcpu::cpu);
    }

    /** Whether a vector is requested: in the IRR of its LAPIC, or posted and not there yet. */
    public boolean isRequested(InterruptVector vector) {
        return time.locked(() -> vcpu.isRequested(vector.number()));
    }

    /** A copy of its posted-interrupt descriptor: PIR, ON, SN, NV and NDST. Empty on AMD. */
    @NotPromised
    public Optional<PostedInterruptDescriptor> descriptor() {
        return time.locked(vcpu::descriptor);
    }

    /** The processor on whose wake-up list it sleeps. Empty if it is on none, and on AMD. */
    public OptionalInt wakeupList() {
        return time.locked(vcpu::wakeupList);
    }

    /**
     * Its entry of AVIC's table of physical APIC ids, with IsRunning, as KVM has it: kind {@code avic.physical} of
     * {@code kvmirq decode}. Empty on Intel.
     */
    public Optional<Long> physicalEntry() {
        return time.locked(vcpu::physicalEntry);
    }

    /** The number of device interrupts on the vCPU's list of posted interrupts ({@code ir_list}). Empty on Intel. */
    public OptionalInt listed() {
        return time.locked(vcpu::listed);
    }

    /** The broken rules of posting, in words. The list is always empty, unless the fake has a bug. */
    public List<String> brokenRules() {
        return time.locked(vcpu::brokenRules);
    }

    @Override
    public String toString() {
        return id().toString();
    }
}
