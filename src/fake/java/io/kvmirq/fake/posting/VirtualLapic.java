/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.posting;

/** The LAPIC of a vCPU, to which hardware posts requests. */
public interface VirtualLapic {
    int vcpuId();

    /** Sets a vector in the IRR for hardware. */
    void request(int vector);

    boolean isRequested(int vector);

    /** Whether there is a vector that a guest with interrupts enabled would take. */
    boolean hasInterrupt();

    /** A guest with interrupts enabled takes its next vector, which is then in service; -1 if there is none. */
    int acknowledge();

    /** The guest ends the highest vector in service, if any. */
    void endOfInterrupt();
}
