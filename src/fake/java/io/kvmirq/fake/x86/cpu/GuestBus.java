/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86.cpu;

import java.util.OptionalLong;

/** Guest accesses to ports, and to addresses outside memory. */
public interface GuestBus {
    /** Handles a write to a port. Returns whether the guest exits to the VMM. */
    boolean writePort(int port, int size, long value);

    /** Whether the kernel itself handles accesses to a port, so that the guest does not exit to the VMM. */
    boolean isServed(int port, int size);

    /** Reads a port for which {@link #isServed} is true. */
    int readServed(int port, int size);

    /** Makes the guest exit to the VMM for {@code count} reads of a port. */
    void readPort(int port, int size, int count);

    /** Returns the value that the VMM gave at the exit of {@link #readPort} or {@link #readMemory}. */
    long answer(int size);

    /** Returns whether the kernel handled a write to an address outside memory. If not, call {@link #writeMemory}. */
    boolean takes(long address, int size, long value);

    /** Makes the guest exit to the VMM for a write to an address outside memory. */
    void writeMemory(long address, int size, long value);

    /** Returns the kernel's value for a read outside memory; empty if the guest must exit to the VMM. */
    OptionalLong readServed(long address);

    /** Makes the guest exit to the VMM for a read of an address outside memory. */
    void readMemory(long address, int size);
}
