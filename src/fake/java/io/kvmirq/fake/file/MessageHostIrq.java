/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.file;

/** A host interrupt that a device raises by a message. Linux's irqbypass calls it the producer of an eventfd. */
public final class MessageHostIrq {
    private final int number;
    private final IrqHardware.Entry entry;
    private long count;

    /** @param number the number of the host irq */
    public MessageHostIrq(int number, IrqHardware.Entry entry) {
        this.number = number;
        this.entry = entry;
    }

    public int number() {
        return number;
    }

    public IrqHardware.Entry entry() {
        return entry;
    }

    /** Returns how often this interrupt reached the host so far. */
    public long count() {
        return count;
    }

    public boolean raise() {
        boolean interrupts = entry.request();
        count += interrupts ? 1 : 0;
        return interrupts;
    }
}
