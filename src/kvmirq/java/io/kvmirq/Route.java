/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import java.util.List;
import java.util.Objects;

/**
 * An entry in KVM's GSI routing table: the destination of interrupts on {@link #gsi()}.
 *
 * <p>A GSI has one route or, on x86, several routes to pins of different chips.
 *
 * <p>Source: {@code struct kvm_irq_routing_entry}, {@code setup_routing_entry()} in virt/kvm/irqchip.c.
 *
 * {@snippet class="io.kvmirq.snippets.X86SnippetsTest" region="pins"}
 */
public sealed interface Route {
    /** The GSI that this entry routes. */
    Gsi gsi();

    /**
     * A route to an MSI message, which KVM delivers directly to LAPICs, or on arm64 to an ITS. If the guest has not
     * enabled its ITS, or the message has no device id, signals are lost without an error.
     *
     * @param message the address and data that KVM delivers
     */
    record Msi(Gsi gsi, MsiMessage message) implements Route {
        public Msi {
            Objects.requireNonNull(gsi, "gsi is null");
            Objects.requireNonNull(message, "message is null");
        }
    }

    /**
     * A route to a pin of an in-kernel interrupt controller: PIC or IOAPIC on x86, the VGIC on arm64. VGIC pin p raises
     * SPI p + 32. Signals to a pin beyond the VGIC's SPIs are lost.
     *
     * @param pin the pin number: 0–7 on a PIC, 0–23 on the IOAPIC, 0–987 on the VGIC
     */
    record Pin(Gsi gsi, Chip chip, int pin) implements Route {
        /** A route to the VGIC pin that raises this SPI. */
        public static Pin to(Gsi gsi, Spi spi) {
            return new Pin(
                    gsi, Chip.VGIC, Objects.requireNonNull(spi, "spi is null").pin());
        }

        public Pin {
            Objects.requireNonNull(gsi, "gsi is null");
            Objects.requireNonNull(chip, "chip is null");
            if (pin < 0 || pin >= chip.pins) {
                throw new IllegalArgumentException(
                        "pin " + pin + " of " + chip + " does not exist: expected 0-" + (chip.pins - 1));
            }
        }
    }

    /**
     * A route of any other type, as raw kernel data: a Hyper-V synthetic interrupt ({@link #hyperV}), a Xen event
     * channel ({@link #xen}), or a type added by a later kernel. No other route may have the same GSI. {@code
     * RouteTable} keeps this route when other routes change.
     *
     * <p>Source: {@code kvm_set_routing_entry()} in arch/x86/kvm/irq.c.
     *
     * @param type the kernel's {@code KVM_IRQ_ROUTING_*} number, neither 1 nor 2
     * @param flags the entry's flags, usually 0
     * @param words the first 32-bit words of the entry's union, at most 7; the other words are 0
     */
    record Other(Gsi gsi, int type, int flags, List<Integer> words) implements Route {
        private static final int HV_SINT = 4;
        private static final int XEN_EVTCHN = 5;
        /** The only priority that KVM supports. */
        private static final int TWO_LEVELS = -1;

        private static final int MOST_WORDS = 7;
        private static final int SINTS = 16;

        public Other {
            Objects.requireNonNull(gsi, "gsi is null");
            Objects.requireNonNull(words, "words is null");
            words.forEach(word -> Objects.requireNonNull(word, "words contains null: pass the words of the route"));
            words = List.copyOf(words);
            if (type == 1 || type == 2 || words.size() > MOST_WORDS) {
                throw new IllegalArgumentException("a route of type " + type + " with " + words.size()
                        + " words: expected at most " + MOST_WORDS
                        + ", and a type without a class of its own: Pin is 1, Msi is 2");
            }
        }

        /**
         * A route to a synthetic interrupt of Hyper-V's SynIC. Signals are lost until the VMM enables
         * KVM_CAP_HYPERV_SYNIC with {@link io.kvmirq.kvm.Vcpu#enableCapability} and the guest then enables the vCPU's
         * SynIC.
         *
         * @param processor the Hyper-V virtual processor index (VP index), which is the vCPU's position in creation
         *     order, from 0, unless the VMM set HV_X64_MSR_VP_INDEX
         * @param sint 0–15
         */
        public static Other hyperV(Gsi gsi, int processor, int sint) {
            if (processor < 0 || sint < 0 || sint >= SINTS) {
                throw new IllegalArgumentException("synthetic interrupt " + sint + " of processor " + processor
                        + ": expected 0 to " + (SINTS - 1) + " of a processor from 0 on");
            }
            return new Other(gsi, HV_SINT, 0, List.of(processor, sint));
        }

        /**
         * A route to a Xen event channel of the two-level interface. Signals are lost until the VMM registers the
         * guest's Xen shared info page with KVM. For port 1024 and above, the kernel returns EINVAL unless
         * KVM_XEN_ATTR_TYPE_LONG_MODE is set.
         *
         * @param port the event channel's number: 0–1023, or 0–4095 in a 64-bit guest
         * @param vcpu the vCPU that the channel is bound to
         */
        public static Other xen(Gsi gsi, int port, VcpuId vcpu) {
            int last = 4095;
            Objects.requireNonNull(vcpu, "vcpu is null");
            if (port < 0 || port > last) {
                throw new IllegalArgumentException("event channel " + port + ": expected a port from 0 to " + last);
            }
            return new Other(gsi, XEN_EVTCHN, 0, List.of(port, vcpu.number(), TWO_LEVELS));
        }

        @Override
        public String toString() {
            String name =
                    switch (type) {
                        case HV_SINT -> "Hyper-V's synthetic interrupt";
                        case XEN_EVTCHN -> "Xen's event channel";
                        default -> "a route of type " + type;
                    };
            return gsi + " to " + name + " " + words;
        }
    }

    /** In-kernel interrupt controllers with pins. */
    enum Chip {
        PIC_MASTER(0, 8),
        PIC_SLAVE(1, 8),
        IOAPIC(2, 24),
        /** The VGIC, the only chip of an arm64 VM. */
        VGIC(0, Spi.LAST - Spi.FIRST + 1);

        private final int id;
        private final int pins;

        Chip(int id, int pins) {
            this.id = id;
            this.pins = pins;
        }

        /** The kernel's {@code KVM_IRQCHIP_*} number. */
        public int id() {
            return id;
        }
    }
}
