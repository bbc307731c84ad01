/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.libc.Uapi;
import java.nio.ByteBuffer;

/** The in-kernel IOAPIC; source: arch/x86/kvm/ioapic.c, 82093AA datasheet. */
final class FakeIoapic {
    static final int PINS = 24;

    private static final long BASE = 0xfec00000L;
    private static final long MASKED = 1L << 16;
    private static final long LEVEL = 1L << 15;
    private static final long REMOTE_IRR = 1L << 14;
    private static final long ACTIVE_LOW = 1L << 13;

    private final FakeVm vm;
    private final long[] redirections = new long[PINS];
    private final int[] sources = new int[PINS];
    private int irr;

    FakeIoapic(FakeVm vm) {
        this.vm = vm;
        java.util.Arrays.fill(redirections, MASKED);
    }

    /** @return as the kernel's: 1 or the number that took it, 0 coalesced, -1 masked */
    int set(int pin, int source, boolean level) {
        sources[pin] = level ? sources[pin] | 1 << source : sources[pin] & ~(1 << source);
        boolean high = sources[pin] != 0 ^ (redirections[pin] & ACTIVE_LOW) != 0;
        return drive(pin, high);
    }

    private int drive(int pin, boolean high) {
        int bit = 1 << pin;
        if (!high) {
            irr &= ~bit;
            return 1;
        }
        boolean before = (irr & bit) != 0;
        irr |= bit;
        if ((redirections[pin] & LEVEL) == 0 && before) {
            return 0;
        }
        return service(pin);
    }

    private int service(int pin) {
        long entry = redirections[pin];
        boolean level = (entry & LEVEL) != 0;
        if ((entry & MASKED) != 0 || level && (entry & REMOTE_IRR) != 0) {
            return -1;
        }
        boolean logical = (entry >>> 11 & 1) == 1;
        int taken = vm.deliver((int) (entry >>> 56), logical, (int) (entry >>> 8 & 7), (int) entry & 0xff, level);
        if (taken != 0 && level) {
            redirections[pin] |= REMOTE_IRR;
        }
        return taken;
    }

    /** A LAPIC has ended a level interrupt of this vector. */
    void endOfInterrupt(int vector) {
        for (int pin = 0; pin < PINS; pin++) {
            long entry = redirections[pin];
            if ((entry & 0xff) != vector) {
                continue;
            }
            vm.acknowledged(pin);
            if ((entry & LEVEL) == 0) {
                continue;
            }
            redirections[pin] &= ~REMOTE_IRR;
            if ((entry & MASKED) == 0 && (irr >>> pin & 1) == 1) {
                service(pin);
            }
        }
    }

    void save(ByteBuffer to, int at) {
        to.putLong(at, BASE).putInt(at + Uapi.KvmIoapicState.IRR, irr);
        for (int pin = 0; pin < PINS; pin++) {
            to.putLong(at + Uapi.KvmIoapicState.REDIRTBL + pin * Long.BYTES, redirections[pin]);
        }
    }

    void restore(ByteBuffer from, int at) {
        for (int pin = 0; pin < PINS; pin++) {
            redirections[pin] = from.getLong(at + Uapi.KvmIoapicState.REDIRTBL + pin * Long.BYTES);
        }
        int pending = from.getInt(at + Uapi.KvmIoapicState.IRR);
        irr = 0;
        for (int pin = 0; pin < PINS; pin++) {
            if ((pending >>> pin & 1) == 1) {
                drive(pin, true);
            }
        }
    }
}
