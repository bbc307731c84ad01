/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import io.kvmirq.arch.SharedWords;

/** A descriptor of a loaded vCPU, its IRR, and a word for its mode. */
class Place {
    static final int VECTOR = 3;
    static final int OTHER_VECTOR = 5;
    static final int NDST = 7;

    private static final int IRR = 8;
    private static final int MODE = 12;
    private static final int WORDS = 16;
    final SharedWords words;
    final PiDescriptor pid;

    Place() {
        words = SharedWords.of(new long[WORDS]);
        pid = descriptor(words, 0);
        pid.reset();
        pid.load(NDST);
    }

    PiDescriptor descriptor(SharedWords words, int base) {
        return PiDescriptor.over(words, base);
    }

    boolean sync() {
        return pid.sync(words, IRR);
    }

    boolean isInIrr(int vector) {
        return (words.get(IRR) & PiDescriptor.bit(vector)) != 0;
    }

    /** A request that will be noticed. */
    boolean isPending() {
        return pid.isOn() && pid.hasRequests();
    }

    void setMode() {
        words.set(MODE, 1);
    }

    boolean mode() {
        return words.get(MODE) != 0;
    }

    static int number(boolean condition) {
        return condition ? 1 : 0;
    }
}
