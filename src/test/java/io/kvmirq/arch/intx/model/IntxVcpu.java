/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.vcpu.HostCpu;
import io.kvmirq.arch.vcpu.HostCpus;
import io.kvmirq.arch.vcpu.VcpuHooks;
import io.kvmirq.arch.vcpu.VcpuThread;
import org.jspecify.annotations.Nullable;

/**
 * A vCPU that takes the interrupts of its {@link GuestLine}s at the entries of its {@link #thread}, and ends them while
 * the guest runs. The guest has interrupts enabled, and takes all at once: priorities are not modelled. Connect lines
 * before other threads use the vCPU. After that it is safe for use by one thread of its own and any number of others.
 */
public final class IntxVcpu {
    /** The lines that are requested and not taken, a bit each. */
    static final int IRR = 0;
    /** The lines that are taken and not ended. */
    static final int ISR = 1;

    /** Whether the guest runs, also if a kick told it to exit. */
    static final int IN_GUEST = 2;

    static final int THREAD = 3;
    static final int WORDS = THREAD + VcpuThread.WORDS;

    private static final int LINES = Long.SIZE;

    private final int index;
    private final SharedWords words;
    private final int base;
    private final VcpuThread thread;
    private final @Nullable GuestLine[] lines = new GuestLine[LINES];

    /** A vCPU that is not loaded. */
    public IntxVcpu(HostCpus host, int index) {
        this(host, index, SharedWords.of(new long[WORDS]), 0);
    }

    IntxVcpu(HostCpus host, int index, SharedWords words, int base) {
        this.index = index;
        this.words = words;
        this.base = base;
        this.thread = new VcpuThread(host, index, words, at(THREAD), new StepHooks());
    }

    int at(int word) {
        return base + word;
    }

    void connect(int number, GuestLine line) {
        checkNumber(number);
        if (lines[number] != null) {
            throw new IllegalArgumentException(
                    "vCPU " + index + " has a line " + number + " already: use another number");
        }
        lines[number] = line;
    }

    private static void checkNumber(int number) {
        if (number < 0 || number >= LINES) {
            throw new IllegalArgumentException("line " + number + " is out of range: expected 0-" + (LINES - 1));
        }
    }

    public VcpuThread thread() {
        return thread;
    }

    /** The interrupt controller requests an interrupt ({@code kvm_make_request}, {@code kvm_vcpu_kick}). */
    void request(int number) {
        words.or(at(IRR), 1L << number);
        thread.request();
        thread.kick();
    }

    /** Whether an interrupt waits for the next entry. */
    public boolean hasInterrupt() {
        return words.get(at(IRR)) != 0;
    }

    /** Whether the guest has taken the interrupt of a line and not ended it. */
    public boolean isInService(int number) {
        checkNumber(number);
        return (words.get(at(ISR)) >>> number & 1) != 0;
    }

    /**
     * The guest ends the interrupt of a line (EOI). Does not allocate.
     *
     * @throws IllegalStateException if the guest does not run, or the interrupt is not in service
     */
    public void end(int number) {
        checkNumber(number);
        GuestLine line = lines[number];
        if (line == null) {
            throw new IllegalArgumentException("vCPU " + index + " has no line " + number + ": connect one first");
        }
        if (!isInGuest()) {
            throw new IllegalStateException(
                    "the guest of vCPU " + index + " does not run: the vCPU has to enter first");
        }
        long before = words.and(at(ISR), ~(1L << number));
        if ((before >>> number & 1) == 0) {
            throw new IllegalStateException("line " + number + " of vCPU " + index
                    + " is not in service: the guest ends an interrupt only after it has taken it");
        }
        line.ended();
    }

    boolean isInGuest() {
        return words.get(at(IN_GUEST)) != 0;
    }

    private final class StepHooks implements VcpuHooks {
        @Override
        public boolean hasInterrupt() {
            return IntxVcpu.this.hasInterrupt();
        }

        /** The guest takes the interrupts that the entry injects. */
        @Override
        public void entered(HostCpu here) {
            words.set(at(IN_GUEST), 1);
            if (IntxVcpu.this.hasInterrupt()) {
                words.or(at(ISR), words.swap(at(IRR), 0));
            }
        }

        @Override
        public void exited(HostCpu here) {
            words.set(at(IN_GUEST), 0);
        }
    }
}
