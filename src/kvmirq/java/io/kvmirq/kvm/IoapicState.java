/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.InterruptVector;
import io.kvmirq.Route;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.uapi.Uapi;

/**
 * A copy of an in-kernel IOAPIC's state. Not thread-safe.
 *
 * <p>Source: 82093AA datasheet, 3.2.4; {@code struct kvm_ioapic_state} in asm/kvm.h.
 *
 * {@snippet class="io.kvmirq.snippets.X86SnippetsTest" region="pins"}
 */
public final class IoapicState extends X86State {
    private static final int LEVEL = 1 << 15;
    private static final int REMOTE_IRR = 1 << 14;

    IoapicState() {
        super(KernelBackend.IRQCHIP_STATE_SIZE);
    }

    /** Copies saved {@link #bytes}. Throws IllegalArgumentException if the length is wrong. */
    public static IoapicState fromBytes(byte[] bytes) {
        return load(new IoapicState(), bytes);
    }

    @Override
    String describe(int offset) {
        int pin = (offset - Uapi.KvmIoapicState.REDIRTBL) / Long.BYTES;
        return offset >= Uapi.KvmIoapicState.REDIRTBL && offset < Uapi.KvmIoapicState.SIZE
                ? "pin " + pin + "=0x"
                        + Long.toHexString(structure.getLong(Uapi.KvmIoapicState.REDIRTBL + pin * Long.BYTES))
                : super.describe(offset);
    }

    private static int entry(Route.Pin pin) {
        if (pin.chip() != Route.Chip.IOAPIC) {
            throw new IllegalArgumentException(pin + " is not a pin of the IOAPIC");
        }
        return Uapi.KvmIoapicState.REDIRTBL + pin.pin() * Long.BYTES;
    }

    /** Programs a pin in this copy to send {@code vector} to APIC id 0: unmasked, level-triggered, active-high. */
    public IoapicState levelPin(Route.Pin pin, InterruptVector vector) {
        structure.putLong(entry(pin), LEVEL | vector.number());
        return this;
    }

    /** Whether a pin's line was high when this state was read. */
    public boolean isHigh(Route.Pin pin) {
        return entry(pin) >= 0 && (structure.getInt(Uapi.KvmIoapicState.IRR) >>> pin.pin() & 1) == 1;
    }

    /** Whether a LAPIC accepted a level-triggered interrupt from this pin and the guest has not yet sent the EOI. */
    public boolean isRemoteIrrSet(Route.Pin pin) {
        return (structure.getLong(entry(pin)) & REMOTE_IRR) != 0;
    }
}
