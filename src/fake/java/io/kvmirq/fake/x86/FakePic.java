/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.NotModelledException;
import io.kvmirq.arch.intx.model.PinSources;
import io.kvmirq.explain.ChipAnswer;
import java.nio.ByteBuffer;

/** One of the two in-kernel PICs; source: arch/x86/kvm/i8259.c, 8259A datasheet. */
final class FakePic {
    static final int PINS = 8;

    /** The result of {@link #highest} without a request. */
    static final int NONE = -1;

    private static final int SIZE = 16;
    private static final int LAST_IRR = 0;
    private static final int IRR = 1;
    private static final int IMR = 2;
    private static final int ISR = 3;
    private static final int PRIORITY_ADD = 4;
    private static final int VECTOR = 5;
    private static final int READS_ISR = 6;
    private static final int POLL = 7;
    private static final int SPECIAL_MASK = 8;
    private static final int INIT_STATE = 9;
    private static final int AUTO_EOI = 10;
    private static final int ROTATES = 11;
    private static final int FULLY_NESTED = 12;
    private static final int FOUR_WORDS = 13;
    private static final int ELCR = 14;
    private static final int ELCR_MASK = 15;

    private static final int BYTE = 0xff;

    private final FakePics both;
    private final X86Vm vm;
    /** KVM_IRQCHIP_PIC_MASTER or KVM_IRQCHIP_PIC_SLAVE. */
    private final int number;

    private final byte[] state = new byte[SIZE];
    private final PinSources sources = new PinSources(PINS);

    FakePic(X86Vm vm, FakePics both, int number, int elcrMask) {
        this.vm = vm;
        this.both = both;
        this.number = number;
        state[ELCR_MASK] = (byte) elcrMask;
    }

    private boolean get(int field, int pin) {
        return (state[field] >>> pin & 1) == 1;
    }

    private void put(int field, int pin, boolean on) {
        state[field] = (byte) (on ? state[field] | 1 << pin : state[field] & ~(1 << pin));
    }

    private void put(int field, boolean on) {
        state[field] = (byte) (on ? 1 : 0);
    }

    private boolean isOn(int field) {
        return state[field] != 0;
    }

    // Lines

    /** @return the kernel's result: 1 requested, 0 coalesced, -1 masked */
    int set(int pin, int source, boolean level) {
        return drive(pin, sources.set(pin, source, level));
    }

    int drive(int pin, boolean high) {
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

    /** The pin of the request that has a higher priority than every interrupt in service; -1 for none. */
    int highest() {
        int served = state[ISR];
        if (number == FakePics.MASTER && isOn(FULLY_NESTED)) {
            served &= ~(1 << FakePics.CASCADE);
        }
        int rank = rank(state[IRR] & ~state[IMR]);
        return rank < rank(served) ? pin(rank) : NONE;
    }

    /** The distance of the highest-priority pin of a set from the highest priority; 8 if the set is empty. */
    private int rank(int pins) {
        for (int rank = 0; rank < PINS; rank++) {
            if ((pins >>> pin(rank) & 1) == 1) {
                return rank;
            }
        }
        return PINS;
    }

    private int pin(int rank) {
        return rank + state[PRIORITY_ADD] & 7;
    }

    // The processor

    int vector(int pin) {
        return (state[VECTOR] & BYTE) + pin;
    }

    /** Whether a guest has set the PIC's vectors. */
    boolean isProgrammed() {
        return isOn(VECTOR);
    }

    /** The processor acknowledges the interrupt of a pin. */
    void acknowledge(int pin) {
        put(ISR, pin, true);
        if (!get(ELCR, pin)) {
            put(IRR, pin, false);
        }
        if (isOn(AUTO_EOI)) {
            if (isOn(ROTATES)) {
                state[PRIORITY_ADD] = (byte) (pin + 1 & 7);
            }
            end(pin);
        }
    }

    private void end(int pin) {
        put(ISR, pin, false);
        vm.acknowledged(number, pin);
    }

    private void endAndUpdate(int pin) {
        end(pin);
        both.update();
    }

    // Ports

    void writeCommand(int value) {
        if ((value & 0x10) != 0) {
            initialize((value & 1) != 0);
        } else if ((value & 8) != 0) {
            requireModelled((value & 4) == 0, value);
            if ((value & 2) != 0) {
                put(READS_ISR, (value & 1) != 0);
            }
            if ((value & 0x40) != 0) {
                put(SPECIAL_MASK, (value & 0x20) != 0);
            }
        } else {
            endByCommand(value);
        }
    }

    private static void requireModelled(boolean modelled, int command) {
        if (!modelled) {
            throw new NotModelledException("the command 0x%x of a PIC, which polls or rotates".formatted(command));
        }
    }

    /** ICW1. Drops pending edges, and reports them as acknowledged. */
    private void initialize(boolean fourWords) {
        put(FOUR_WORDS, fourWords);
        int edges = state[IRR] & ~state[ELCR];
        state[LAST_IRR] = 0;
        state[IRR] &= state[ELCR];
        state[IMR] = 0;
        state[PRIORITY_ADD] = 0;
        state[SPECIAL_MASK] = 0;
        state[READS_ISR] = 0;
        if (!fourWords) {
            state[FULLY_NESTED] = 0;
            state[AUTO_EOI] = 0;
        }
        state[INIT_STATE] = 1;
        for (int pin = 0; pin < PINS && vm.lapics().takesInterruptOfPic(); pin++) {
            if ((edges >>> pin & 1) == 1) {
                end(pin);
            }
        }
    }

    /** OCW2: an EOI of the pin with the highest priority, or of a given pin; or no rotation after automatic EOIs. */
    private void endByCommand(int value) {
        requireModelled(value >> 5 <= 3, value);
        int rank = rank(state[ISR]);
        switch (value >> 5) {
            case 0 -> put(ROTATES, false);
            case 1 -> {
                if (rank < PINS) {
                    endAndUpdate(pin(rank));
                }
            }
            case 3 -> endAndUpdate(value & 7);
            default -> {}
        }
    }

    void writeData(int value) {
        switch (state[INIT_STATE]) {
            case 0 -> {
                state[IMR] = (byte) value;
                both.update();
            }
            case 1 -> {
                state[VECTOR] = (byte) (value & 0xf8);
                state[INIT_STATE] = 2;
            }
            case 2 -> state[INIT_STATE] = (byte) (isOn(FOUR_WORDS) ? 3 : 0);
            default -> {
                put(FULLY_NESTED, (value & 0x10) != 0);
                put(AUTO_EOI, (value & 2) != 0);
                state[INIT_STATE] = 0;
            }
        }
    }

    int read(boolean data) {
        if (isOn(POLL)) {
            throw new NotModelledException("reading a PIC in poll mode, which KVM_SET_IRQCHIP set");
        }
        return state[data ? IMR : isOn(READS_ISR) ? ISR : IRR] & BYTE;
    }

    int trigger() {
        return state[ELCR] & BYTE;
    }

    void setTrigger(int value) {
        state[ELCR] = (byte) (value & state[ELCR_MASK]);
    }

    // KVM_GET_IRQCHIP, KVM_SET_IRQCHIP

    void save(ByteBuffer to, int at) {
        to.put(at, state);
    }

    void restore(ByteBuffer from, int at) {
        from.get(at, state);
    }
}
