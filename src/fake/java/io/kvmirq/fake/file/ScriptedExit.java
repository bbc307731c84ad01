/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

import java.util.List;

/**
 * An exit that a test gives a vCPU to play.
 *
 * @param place the port, the address, or of {@link Kind#OTHER} the number of the exit
 * @param size the bytes of an access
 * @param data what is written, one for each access; a zero for each access that reads; a vector; what else is told
 * @param text as the test wrote it
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
