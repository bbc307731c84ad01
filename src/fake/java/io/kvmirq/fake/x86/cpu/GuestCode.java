/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

/** The code of a guest in KVM_RUN: the instructions in its memory, or the exits of a test. */
public interface GuestCode {
    /** The outcome of a step. */
    enum Outcome {
        GOES_ON,
        /** It exits to the VMM. */
        EXITS,
        /** It halts, until an interrupt comes. */
        HALTS
    }

    Outcome step();

    /**
     * It takes an interrupt or NMI.
     *
     * @param ofLapic whether the LAPIC awaits an EOI of it
     */
    void enter(int vector, boolean ofLapic);

    /** The flag of RFLAGS. */
    boolean interruptFlag();

    /** Whether it takes the interrupts of the in-kernel PICs. */
    boolean takesInterruptOfPic();

    /** Whether a halt is over that no interrupt has ended. */
    boolean goesOn();

    /** Whether a read waits for the VMM's answer. */
    boolean isReading();

    /** Whether the last exit was a part of a store, and the guest exits with the next part. */
    boolean exitsAgain();

    /**
     * {@code complete_fast_pio_in()}, {@code complete_emulated_mmio()}: takes the answer.
     *
     * @return whether the guest exits again: for more of the answer, or with a write of the same instruction
     */
    boolean completeRead();
}
