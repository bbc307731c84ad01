/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Route;
import io.kvmirq.Vector;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.libc.Uapi;
import io.kvmirq.kernel.Calls;
import io.kvmirq.kernel.Fd;
import java.nio.ByteBuffer;

/**
 * A copy of an in-kernel chip's state. The accessors are of the IOAPIC: 82093AA datasheet, 3.2.4, and
 * {@code struct kvm_ioapic_state} in asm/kvm.h. Not thread-safe.
 */
public final class ChipState {
    private static final int LEVEL = 1 << 15;
    private static final int REMOTE_IRR = 1 << 14;

    private final Route.Chip chip;
    private final ByteBuffer state;

    private ChipState(Route.Chip chip, ByteBuffer state) {
        this.chip = chip;
        this.state = state;
    }

    static ChipState read(Calls calls, Fd vm, Route.Chip chip) {
        ByteBuffer state = Buffers.allocate(KernelBackend.IRQCHIP_STATE_SIZE);
        calls.getIrqchip(vm, chip.id(), state);
        return new ChipState(chip, state);
    }

    void write(Calls calls, Fd vm) {
        calls.setIrqchip(vm, chip.id(), state);
    }

    private static int entry(int pin) {
        return Uapi.IOAPIC_REDIRTBL + pin * Long.BYTES;
    }

    /** Programs a pin as an unmasked, level-triggered, active-high interrupt of APIC id 0. */
    public ChipState levelPin(Route.Pin pin, Vector vector) {
        state.putLong(entry(pin.pin()), LEVEL | vector.number());
        return this;
    }

    /** Whether a pin's line is high, as the IOAPIC sees it. */
    public boolean isHigh(Route.Pin pin) {
        return (state.getInt(Uapi.IOAPIC_IRR) >>> pin.pin() & 1) == 1;
    }

    /** Whether a LAPIC has taken a level interrupt of this pin and not yet ended it. */
    public boolean isRemoteIrrSet(Route.Pin pin) {
        return (state.getLong(entry(pin.pin())) & REMOTE_IRR) != 0;
    }
}
