/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.fake.file.IrqHardware;
import io.kvmirq.fake.file.MessageHostIrq;
import java.util.BitSet;

/** The CPU vectors that MSI and MSI-X can still allocate on the host, and the numbers of their host irqs. */
final class HostVectors {
    private static final int FIRST_LINE = 16;
    /** The first host irq number of a device's message. */
    private static final int FIRST = 32;

    private final BitSet numbers = new BitSet();
    private int free = 1024;

    int free() {
        return free;
    }

    void setFree(int vectors) {
        free = vectors;
    }

    int line() {
        int number = numbers.nextClearBit(FIRST_LINE);
        numbers.set(number);
        return number;
    }

    MessageHostIrq allocate(IrqHardware.Entry entry) {
        free--;
        int number = numbers.nextClearBit(FIRST);
        numbers.set(number);
        return new MessageHostIrq(number, entry);
    }

    void release(MessageHostIrq irq) {
        free++;
        numbers.clear(irq.number());
        irq.entry().free();
    }
}
