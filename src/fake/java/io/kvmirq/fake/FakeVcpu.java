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
 * A vCPU of a fake kernel whose profile names an x86 host's interrupt hardware. In place of {@code KVM_RUN} and the
 * host's scheduler, a test loads, enters, blocks and preempts the vCPU, and reads which interrupts devices posted. To
 * get vCPUs, call {@link FakeKernel#vcpus}. The host has 4 processors, each of which runs one vCPU at a time. Loading a
 * vCPU preempts the vCPU that the processor runs. Thread-safe.
 *
 * <p>Methods that change the vCPU's state throw IllegalStateException while a thread is in {@code KVM_RUN}. {@link
 * #acknowledge}, {@link #end} and {@link #takeInterrupt} also throw this exception while the vCPU is not in the guest.
 *
 * {@snippet class="io.kvmirq.snippets.FakeSnippetsTest" region="vcpu"}
 */
public final class FakeVcpu {
    /** The states of a vCPU: not on a processor, on a processor, or in the guest. */
    public enum State {
        /**
         * The vCPU is awake but on no processor, after a preemption, after {@code KVM_RUN}, or before the first load.
         */
        PREEMPTED,
        /** The vCPU is on a processor, outside the guest. */
        LOADED,
        /** The vCPU is on a processor, in the guest. */
        IN_GUEST,
        /** The guest has halted, and the vCPU sleeps, on no processor. */
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

    /** Loads the vCPU on processor 0–3, awake, outside the guest. Other numbers throw IllegalArgumentException. */
    public void load(int cpu) {
        moved(() -> vcpu.load(cpu));
    }

    /** Enters the guest on the vCPU's processor. If the vCPU has no processor, the scheduler chooses one. */
    public void enterGuest() {
        moved(vcpu::enterGuest);
    }

    /** The host preempts the vCPU. A sleeping vCPU is woken and loaded first. */
    public void preempt() {
        moved(() -> {
            vcpu.load();
            vcpu.preempt();
        });
    }

    /** The guest halts with interrupts enabled, until an interrupt wakes the vCPU. Returns whether the vCPU sleeps. */
    public boolean block() {
        return moved(() -> vcpu.block(true));
    }

    /**
     * The guest, with interrupts enabled, takes its next vector, if one is requested. {@link #end} ends the interrupt.
     */
    public Optional<InterruptVector> acknowledge() {
        return served(vcpu::acknowledge);
    }

    /**
     * The guest writes the EOI register, which ends the highest vector in service, if there is one. The EOI of a
     * level-triggered IOAPIC pin signals its GSI's resamplefds.
     */
    public void end() {
        served(() -> {
            vcpu.end();
            return -1;
        });
    }

    /** The guest, with interrupts enabled, takes its next vector, if one is requested, and writes the EOI register. */
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

    /** The vCPU's id in its VM. */
    public VcpuId id() {
        return vcpu.id();
    }

    /** The thread id of the vCPU in the traces of {@link FakeKernel#tracing}. */
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

    /** Returns the number of the vCPU's current or last processor. Empty before the first load. */
    public OptionalInt cpu() {
        return time.locked(vcpu::cpu);
    }

    /** Whether a vector is pending: set in the LAPIC's IRR, or posted and not yet moved to the IRR. */
    public boolean isRequested(InterruptVector vector) {
        return time.locked(() -> vcpu.isRequested(vector.number()));
    }

    /** Returns a copy of the vCPU's posted-interrupt descriptor: PIR, ON, SN, NV and NDST. Empty on AMD. */
    @NotPromised
    public Optional<PostedInterruptDescriptor> descriptor() {
        return time.locked(vcpu::descriptor);
    }

    /**
     * Returns the processor whose wake-up list contains the sleeping vCPU. Empty if no list contains it, and on AMD.
     */
    public OptionalInt wakeupList() {
        return time.locked(vcpu::wakeupList);
    }

    /**
     * Returns the vCPU's entry in AVIC's physical APIC ID table, with the IsRunning bit of KVM's own copy, for {@code
     * kvmirq decode avic.physical}. Empty on Intel.
     */
    public Optional<Long> physicalEntry() {
        return time.locked(vcpu::physicalEntry);
    }

    /** Returns the length of the vCPU's {@code ir_list}. Empty on Intel. */
    public OptionalInt listed() {
        return time.locked(vcpu::listed);
    }

    /** Returns a sentence for each broken rule of posting. Empty unless the fake has a bug. */
    public List<String> brokenRules() {
        return time.locked(vcpu::brokenRules);
    }

    @Override
    public String toString() {
        return id().toString();
    }
}
