/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import java.util.Objects;
import java.util.OptionalInt;

/**
 * A kernel's properties: architecture and guest address size. A fake kernel has those of the machine that it imitates.
 *
 * @param architecture the architecture of this KVM's guests
 * @param guestAddressBits the largest guest-physical address size in bits, on arm64 ({@code KVM_CAP_ARM_VM_IPA_SIZE});
 *     empty on x86, where KVM has no capability for this size
 */
public record KernelFacts(Architecture architecture, OptionalInt guestAddressBits) {
    public KernelFacts {
        Objects.requireNonNull(architecture, "architecture is null");
        Objects.requireNonNull(guestAddressBits, "guestAddressBits is null");
    }

    /** A KVM architecture, recognized by a capability that no other architecture has. */
    public enum Architecture {
        X86_64("x86_64"),
        ARM64("arm64"),
        /** Any other architecture: KVM reports neither x86's split irqchip nor arm64's guest address sizes. */
        OTHER("an unknown architecture");

        private final String label;

        Architecture(String label) {
            this.label = label;
        }

        /** The architecture's name in messages. */
        public String label() {
            return label;
        }
    }
}
