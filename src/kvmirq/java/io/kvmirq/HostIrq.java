/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

/**
 * A host irq: the Linux interrupt number in the first column of /proc/interrupts. It is neither a vector nor a hardware
 * interrupt number (hwirq).
 *
 * @param number 0 or more
 */
public record HostIrq(int number) {
    public HostIrq {
        if (number < 0) {
            throw new IllegalArgumentException(
                    "host irq " + number + " is out of range: expected 0 or more, as in /proc/interrupts");
        }
    }

    @Override
    public String toString() {
        return "host irq " + number;
    }
}
