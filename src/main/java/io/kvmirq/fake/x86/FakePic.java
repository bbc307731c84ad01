/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.arch.intx.model.PinSources;
import io.kvmirq.explain.ChipAnswer;
import java.nio.ByteBuffer;

/** The input lines of one of the two in-kernel PICs; source: arch/x86/kvm/i8259.c. */
final class FakePic {
    static final int PINS = 8;

    /** The master's pin that the slave drives. */
    private static final int CASCADE = 2;

    private static final int SIZE = 16;
    private static final int LAST_IRR = 0;
    private static final int IRR = 1;
    private static final int IMR = 2;
    private static final int ISR = 3;
    private static final int PRIORITY_ADD = 4;
    private static final int ELCR = 14;
    private static final int ELCR_MASK = 15;

    private final X86Vm vm;
    private final byte[] state = new byte[SIZE];
    private final PinSources sources = new PinSources(PINS);

    FakePic(X86Vm vm, int elcrMask) {
        this.vm = vm;
        state[ELCR_MASK] = (byte) elcrMask;
    }

    private boolean get(int field, int pin) {
        return (state[field] >>> pin & 1) == 1;
    }

    private void put(int field, int pin, boolean on) {
        state[field] = (byte) (on ? state[field] | 1 << pin : state[field] & ~(1 << pin));
    }

    /** @return the kernel's result: 1 requested, 0 coalesced, -1 masked */
    int set(int pin, int source, boolean level) {
        return drive(pin, sources.set(pin, source, level));
    }

    private int drive(int pin, boolean high) {
        vm.note(ChipAnswer.PIC_EDGE);
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

    /** Pulses the cascade pin of the master if the slave requests an interrupt. */
    void cascade(FakePic slave) {
        if (slave.isAsking()) {
            vm.note(ChipAnswer.PIC_CASCADE);
            drive(CASCADE, true);
            drive(CASCADE, false);
        }
    }

    /** Whether a request has a higher priority than every interrupt in service. */
    private boolean isAsking() {
        return rank(state[IRR] & ~state[IMR]) < rank(state[ISR]);
    }

    /** The distance of the highest-priority pin of a set from the highest priority; 8 if the set is empty. */
    private int rank(int pins) {
        for (int rank = 0; rank < PINS; rank++) {
            if ((pins >>> (rank + state[PRIORITY_ADD] & 7) & 1) == 1) {
                return rank;
            }
        }
        return PINS;
    }

    void save(ByteBuffer to, int at) {
        to.put(at, state);
    }

    void restore(ByteBuffer from, int at) {
        from.get(at, state);
    }
}
