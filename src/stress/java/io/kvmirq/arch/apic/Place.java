/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import io.kvmirq.arch.SharedWords;
import java.nio.ByteBuffer;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A descriptor of a loaded vCPU, its IRR, and a word for its mode: in an array of its own or, with the system property
 * {@code words=buffer}, somewhere in one direct buffer.
 */
class Place {
    static final int VECTOR = 3;
    static final int OTHER_VECTOR = 5;
    static final int NDST = 7;

    private static final int IRR = 8;
    private static final int MODE = 12;
    private static final int WORDS = 16;
    /** More than are in use at once. */
    private static final int PLACES = 1 << 16;

    private static final SharedWords BUFFER = "buffer".equals(System.getProperty("words"))
            ? SharedWords.of(ByteBuffer.allocateDirect((PLACES + 1) * WORDS * Long.BYTES)
                    .alignedSlice(PostedInterruptDescriptor.BYTES))
            : null;
    private static final AtomicInteger NEXT = new AtomicInteger();

    final SharedWords words;
    final PiDescriptor pid;
    private final int base;

    Place() {
        words = BUFFER != null ? BUFFER : SharedWords.of(new long[WORDS]);
        base = BUFFER != null ? (NEXT.getAndIncrement() & PLACES - 1) * WORDS : 0;
        for (int i = 0; i < WORDS; i++) {
            words.set(base + i, 0);
        }
        pid = descriptor(words, base);
        pid.reset();
        pid.load(NDST);
    }

    PiDescriptor descriptor(SharedWords words, int base) {
        return PiDescriptor.over(words, base);
    }

    boolean sync() {
        return pid.sync(words, base + IRR);
    }

    boolean isInIrr(int vector) {
        return (words.get(base + IRR) & PiDescriptor.bit(vector)) != 0;
    }

    /** A request that will be noticed. */
    boolean isPending() {
        return pid.isOn() && pid.hasRequests();
    }

    void setMode() {
        words.set(base + MODE, 1);
    }

    boolean mode() {
        return words.get(base + MODE) != 0;
    }

    static int number(boolean condition) {
        return condition ? 1 : 0;
    }
}
