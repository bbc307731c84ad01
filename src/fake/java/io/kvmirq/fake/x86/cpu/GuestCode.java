/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

/** The code of a guest in KVM_RUN: the instructions in its memory, or the exits of a test. */
public interface GuestCode {
    enum Outcome {
        GOES_ON,
        EXITS,
        /** It halts, until an interrupt comes. */
        HALTS
    }

    Outcome step();

    /** Takes an interrupt or NMI; {@code ofLapic}: the LAPIC awaits its EOI. */
    void enter(int vector, boolean ofLapic);

    boolean interruptFlag();

    /** Whether it takes the interrupts of the in-kernel PICs. */
    boolean takesInterruptOfPic();

    /** Whether a halt is over that no interrupt has ended. */
    boolean goesOn();

    /** Whether a read waits for the VMM's answer. */
    boolean isReading();

    /** Whether the last exit was a part of a store, and the guest exits with the next part. */
    boolean exitsAgain();

    /** Takes the VMM's answer. True if the guest exits again, for the rest or with a write of the instruction. */
    boolean completeRead();
}
