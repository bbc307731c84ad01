/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.posting;

/** The LAPIC of a vCPU, to which hardware posts requests. */
public interface VirtualLapic {
    int vcpuId();

    /** Sets a vector in the IRR because hardware posted it. */
    void request(int vector);

    boolean isRequested(int vector);

    /** Whether a guest with interrupts enabled would take a vector. */
    boolean hasInterrupt();

    /** Takes the guest's next vector, with interrupts enabled, and puts it in service; -1 if there is none. */
    int acknowledge();

    /** Handles the guest's EOI, which ends the highest vector in service, if there is one. */
    void endOfInterrupt();
}
