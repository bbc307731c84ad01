/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.intx.model;

import io.kvmirq.arch.SharedWords;

/**
 * The sources that drive the pins of a guest's interrupt controller. A pin is high while at least one source is high. A
 * source's change of a pin is one atomic access. Thread-safe. Source: {@code __kvm_irq_line_state} of Linux 7.1.
 */
public final class PinSources {
    /** The source of KVM_IRQ_LINE and of plain irqfds: {@code KVM_USERSPACE_IRQ_SOURCE_ID}. */
    public static final int USERSPACE = 0;
    /** The source of resampling irqfds: {@code KVM_IRQFD_RESAMPLE_IRQ_SOURCE_ID}. */
    public static final int RESAMPLE = 1;

    private final SharedWords words;
    private final int base;
    private final int pins;

    /** Creates {@code pins} pins, numbered from 0, which are all low. */
    public PinSources(int pins) {
        this(SharedWords.of(new long[checked(pins)]), 0, pins);
    }

    private static int checked(int pins) {
        if (pins < 0) {
            throw new IllegalArgumentException(pins + " pins are out of range: expected 0 or more");
        }
        return pins;
    }

    PinSources(SharedWords words, int base, int pins) {
        this.words = words;
        this.base = base;
        this.pins = pins;
    }

    /** Drives a pin by source 0–63; returns whether it is high. Throws IllegalArgumentException for other pins. */
    public boolean set(int pin, int source, boolean high) {
        if (source < 0 || source >= Long.SIZE) {
            throw new IllegalArgumentException("source " + source + " is out of range: expected 0-63");
        }
        int at = at(pin);
        long bit = 1L << source;
        long before = high ? words.or(at, bit) : words.and(at, ~bit);
        return high || (before & ~bit) != 0;
    }

    public boolean isHigh(int pin) {
        return words.get(at(pin)) != 0;
    }

    private int at(int pin) {
        if (pin < 0 || pin >= pins) {
            throw new IllegalArgumentException("pin " + pin + " is out of range: expected 0-" + (pins - 1));
        }
        return base + pin;
    }
}
