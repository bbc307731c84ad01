/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.List;

/**
 * An exit that a vCPU plays for a test.
 *
 * @param place the port or the address; for {@link Kind#OTHER} the number of the exit
 * @param size the size of an access in bytes
 * @param data the value of each write, or 0 for each read; else a vector or other data of the exit
 * @param text the test's call that made the exit
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
