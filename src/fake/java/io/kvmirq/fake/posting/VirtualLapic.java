/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.posting;

/** The LAPIC of a vCPU, to which its hardware brings requests. */
public interface VirtualLapic {
    int vcpuId();

    /** Hardware has set a vector in the IRR. */
    void request(int vector);

    boolean isRequested(int vector);

    /** Whether a guest with interrupts on has a vector to take. */
    boolean hasInterrupt();

    /** A guest with interrupts on takes its next vector, which is in service then. Returns -1 if there is none. */
    int acknowledge();

    /** The guest ends the highest vector that is in service, if there is one. */
    void endOfInterrupt();
}
