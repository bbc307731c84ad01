/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

/** The code that a guest executes in KVM_RUN: instructions in its memory, or exits that a test defines. */
public interface GuestExecution {
    enum Outcome {
        GOES_ON,
        EXITS,
        /** The guest halts until an interrupt comes. */
        HALTS
    }

    Outcome step();

    /** Takes an interrupt or NMI. If {@code ofLapic}, the guest must write an EOI to the LAPIC. */
    void enter(int vector, boolean ofLapic);

    boolean interruptFlag();

    /** Whether the guest takes interrupts of the in-kernel PICs. */
    boolean takesInterruptOfPic();

    /** Whether a halted guest continues without an interrupt, because a test has added exits since. */
    boolean goesOn();

    /** Whether a read of the guest still waits for the VMM's value. */
    boolean isReading();

    /** Gives the guest the VMM's value for a read. Returns true if the instruction also writes and exits. */
    boolean completeRead();
}
