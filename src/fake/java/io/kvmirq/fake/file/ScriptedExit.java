/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.List;

/**
 * An exit that a test defines for a vCPU.
 *
 * @param place the port or the address of the access; for {@link Kind#OTHER} the number of the exit
 * @param size the size of an access in bytes
 * @param data for an access the value of each write, or 0 for each read; for another exit its data, such as a vector
 * @param text the call of {@code FakeExit} that defined the exit
 */
public record ScriptedExit(Kind kind, long place, int size, List<Long> data, String text) {
    public enum Kind {
        IO_OUT,
        IO_IN,
        MMIO_WRITE,
        MMIO_READ,
        HLT,
        IOAPIC_EOI,
        OTHER
    }

    public long data(int access) {
        return data.get(access);
    }

    public int count() {
        return data.size();
    }

    @Override
    public String toString() {
        return text;
    }
}
