/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd.model;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.amd.GaLog;

/**
 * The GA log of a unit, a ring buffer. The unit appends at the tail, the kernel reads at the head. Source: {@code
 * iommu_poll_ga_log} and {@code amd_iommu_int_thread_galog} of Linux 7.1.
 */
class GaLogRing {
    static final int HEAD = 0;
    static final int TAIL = 1;
    static final int STATUS = 2;
    static final int ENTRIES = 3;

    /** Status bit: an entry was appended or dropped since the kernel cleared the bit. */
    static final long INTERRUPT = 1;
    /** Status bit: the log was full. The unit appends nothing until the kernel restarts the log. */
    static final long OVERFLOW = 2;

    private static final int NOT_RUNNING = 1;

    final SharedWords words;
    private final AvicHost avic;
    private final int base;
    private final int entries;
    private final int vector;

    GaLogRing(AvicHost avic, SharedWords words, int base, GaUnit.Setup setup) {
        this.avic = avic;
        this.words = words;
        this.base = base;
        this.entries = setup.logEntries();
        this.vector = setup.logVector();
        if (entries < 2) {
            throw new IllegalArgumentException("a GA log of " + entries + " entries is too small: expected 2 or more");
        }
    }

    static int words(int entries) {
        return ENTRIES + entries;
    }

    int at(int word) {
        return base + word;
    }

    /** The unit appends an entry and sends its interrupt. @return whether there was room */
    boolean append(long tag, int device) {
        if ((words.get(at(STATUS)) & OVERFLOW) != 0) {
            return false;
        }
        long tail = words.get(at(TAIL));
        long next = (tail + 1) % entries;
        boolean room = next != words.get(at(HEAD));
        if (room) {
            words.set(
                    at(ENTRIES + (int) tail),
                    GaLog.TAG.with(tag) | GaLog.DEVICE.with(device) | GaLog.TYPE.with(NOT_RUNNING));
            words.set(at(TAIL), next);
        }
        if ((words.or(at(STATUS), room ? INTERRUPT : INTERRUPT | OVERFLOW) & INTERRUPT) == 0) {
            avic.host().cpu(0).interrupt(vector);
        }
        return room;
    }

    /** The kernel's handler. It clears the status bit before it reads entries, so a later entry interrupts again. */
    void handle() {
        while ((clearInterrupt() & INTERRUPT) != 0) {
            poll();
            if ((words.get(at(STATUS)) & OVERFLOW) != 0) {
                words.and(at(STATUS), ~OVERFLOW);
            }
        }
    }

    long clearInterrupt() {
        return words.and(at(STATUS), ~INTERRUPT);
    }

    void poll() {
        long head = words.get(at(HEAD));
        long tail = words.get(at(TAIL));
        while (head != tail) {
            long entry = words.get(at(ENTRIES + (int) head));
            head = (head + 1) % entries;
            words.set(at(HEAD), head);
            if (GaLog.TYPE.of(entry) == NOT_RUNNING) {
                avic.wake(GaLog.TAG.of(entry));
            }
        }
    }

    boolean isOverflown() {
        return (words.get(at(STATUS)) & OVERFLOW) != 0;
    }
}
