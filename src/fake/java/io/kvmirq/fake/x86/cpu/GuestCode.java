/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

/** The code that a guest executes in KVM_RUN: instructions in its memory, or exits of a test. */
public interface GuestCode {
    enum Outcome {
        GOES_ON,
        EXITS,
        /** The guest halts until an interrupt comes. */
        HALTS
    }

    Outcome step();

    /** Takes an interrupt or NMI; {@code ofLapic}: the LAPIC expects an EOI. */
    void enter(int vector, boolean ofLapic);

    boolean interruptFlag();

    /** Whether the guest takes interrupts of the in-kernel PICs. */
    boolean takesInterruptOfPic();

    /** Whether the guest continues after a halt, although no interrupt came. */
    boolean goesOn();

    /** Whether a read waits for the VMM's value. */
    boolean isReading();

    /** Takes the VMM's value for a read. Returns true if the guest exits again, for a write of the same instruction. */
    boolean completeRead();
}
