/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import java.nio.ByteBuffer;

/** One of the two in-kernel PICs, as far as its lines go; source: arch/x86/kvm/i8259.c. */
final class FakePic {
    static final int PINS = 8;

    private static final int SIZE = 16;
    private static final int LAST_IRR = 0;
    private static final int IRR = 1;
    private static final int IMR = 2;
    private static final int ELCR = 14;
    private static final int ELCR_MASK = 15;

    private final byte[] state = new byte[SIZE];
    private final int[] sources = new int[PINS];

    FakePic(int elcrMask) {
        state[ELCR_MASK] = (byte) elcrMask;
    }

    private boolean get(int field, int pin) {
        return (state[field] >>> pin & 1) == 1;
    }

    private void put(int field, int pin, boolean on) {
        state[field] = (byte) (on ? state[field] | 1 << pin : state[field] & ~(1 << pin));
    }

    /** @return as the kernel's: 1, 0 coalesced, -1 masked */
    int set(int pin, int source, boolean level) {
        sources[pin] = level ? sources[pin] | 1 << source : sources[pin] & ~(1 << source);
        boolean high = sources[pin] != 0;
        int result = 1;
        boolean rising = high && !get(LAST_IRR, pin);
        if (get(ELCR, pin) ? high : rising) {
            result = get(IRR, pin) ? 0 : 1;
            put(IRR, pin, true);
        } else if (get(ELCR, pin)) {
            put(IRR, pin, false);
        }
        put(LAST_IRR, pin, high);
        return get(IMR, pin) ? -1 : result;
    }

    void save(ByteBuffer to, int at) {
        to.put(at, state);
    }

    void restore(ByteBuffer from, int at) {
        from.get(at, state);
    }
}
