/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Route;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.uapi.Uapi;
import java.util.Objects;

/**
 * A copy of an in-kernel PIC's state, read by {@link X86Vm#pic} and written by {@link X86Vm#setPic}. Not thread-safe.
 *
 * <p>Source: {@code struct kvm_pic_state} in asm/kvm.h; 8259A datasheet.
 *
 * {@snippet class="io.kvmirq.snippets.X86SnippetsTest" region="pic"}
 */
public final class X86Pic extends X86Fields<X86Pic.Name, X86Pic> {
    /** An 8-bit register. Each bit belongs to one pin unless noted otherwise. */
    public enum Name {
        /** The last level of each pin, for edge detection. */
        LAST_IRR(Uapi.KvmPicState.LAST_IRR),
        /** Interrupt requests. */
        IRR(Uapi.KvmPicState.IRR),
        /** Masked pins. */
        IMR(Uapi.KvmPicState.IMR),
        /** Interrupts in service. */
        ISR(Uapi.KvmPicState.ISR),
        /** The number of the pin with the highest priority. */
        PRIORITY_ADD(Uapi.KvmPicState.PRIORITY_ADD),
        /** The vector of pin 0; pin n has this vector plus n. */
        VECTOR(Uapi.KvmPicState.IRQ_BASE),
        /** The initialization word that the guest must write next: 1 is ICW2, 2 is ICW3, 3 is ICW4, and 0 is none. */
        INIT_STATE(Uapi.KvmPicState.INIT_STATE),
        /** Level-triggered pins. */
        ELCR(Uapi.KvmPicState.ELCR);

        private final int offset;

        Name(int offset) {
            this.offset = offset;
        }
    }

    private final Route.Chip chip;

    X86Pic(Route.Chip chip) {
        super(KernelBackend.IRQCHIP_STATE_SIZE, Name.class, name -> name.offset, name -> Byte.BYTES);
        if (chip != Route.Chip.PIC_MASTER && chip != Route.Chip.PIC_SLAVE) {
            throw new IllegalArgumentException(chip + " is not a PIC: expected PIC_MASTER or PIC_SLAVE");
        }
        this.chip = chip;
    }

    /** Copies saved {@link #bytes}. Throws IllegalArgumentException if length or chip is wrong. */
    public static X86Pic fromBytes(Route.Chip chip, byte[] bytes) {
        return load(new X86Pic(Objects.requireNonNull(chip, "chip is null")), bytes);
    }

    /** The PIC with this state, master or slave. */
    public Route.Chip chip() {
        return chip;
    }
}
