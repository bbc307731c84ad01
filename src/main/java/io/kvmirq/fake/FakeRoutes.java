/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.libc.Uapi;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A table of GSI routes, never changed once it is in use. Looking a GSI up allocates nothing. Source: {@code
 * kvm_set_irq_routing()} in virt/kvm/irqchip.c, {@code kvm_set_routing_entry()} in arch/x86/kvm/irq.c.
 */
final class FakeRoutes {
    static final int MAX_GSI = 4096;
    static final int MAX_ROUTES = 4096;

    private static final int IOAPIC = 2;
    /** In place of a chip: Hyper-V's synthetic interrupts, which nobody listens to here. */
    static final int SINT = -1;

    private static final Target[] NOWHERE = {};

    /**
     * Where a GSI goes.
     *
     * @param message absent for a pin
     */
    record Target(@Nullable Interrupt message, int chip, int pin) {
        static Target pin(int chip, int pin) {
            return new Target(null, chip, pin);
        }

        static Target message(int low, int high, int data) {
            return new Target(Interrupt.ofMessage(low, high, data), 0, 0);
        }

        boolean conflicts(Target other) {
            boolean pins = message == null && other.message == null && chip != SINT && other.chip != SINT;
            return !pins || chip == other.chip;
        }
    }

    private Target[][] targets = {};
    /** By IOAPIC pin: the GSI whose end of interrupt it is, the last one there; -1 for none. */
    private final int[] gsiOfPin = new int[FakeIoapic.PINS];

    private FakeRoutes() {
        Arrays.fill(gsiOfPin, -1);
    }

    static FakeRoutes none() {
        return new FakeRoutes();
    }

    /** What a full irqchip begins with: GSIs 0 to 23 to the IOAPIC, 0 to 15 to the PICs as well. */
    static FakeRoutes ofFullIrqchip() {
        FakeRoutes routes = new FakeRoutes();
        for (int gsi = 0; gsi < FakeIoapic.PINS; gsi++) {
            routes.add(gsi, Target.pin(IOAPIC, gsi));
            if (gsi < 2 * FakePic.PINS) {
                routes.add(gsi, Target.pin(gsi / FakePic.PINS, gsi % FakePic.PINS));
            }
        }
        return routes;
    }

    /** The pins that may be routed to. */
    interface Pins {
        /** @return the rule that refuses a pin; empty for none */
        Optional<Rule> refuses(int chip, int pin);
    }

    /** @param full whether there are chips with pins */
    static Pins pinsOfX86(boolean full) {
        return (chip, pin) -> {
            boolean exists = full
                    && chip >= 0
                    && chip <= IOAPIC
                    && pin >= 0
                    && pin < (chip == IOAPIC ? FakeIoapic.PINS : FakePic.PINS);
            return exists ? Optional.empty() : Optional.of(Rule.ROUTE_PIN);
        };
    }

    /** What a VGIC begins with: GSIs from 0 to its shared interrupts from 32. */
    static FakeRoutes ofVgic(int shared) {
        FakeRoutes routes = new FakeRoutes();
        for (int gsi = 0; gsi < shared; gsi++) {
            routes.add(gsi, Target.pin(0, gsi));
        }
        return routes;
    }

    /** Reads entries into this empty table. */
    static final class Reader {
        private static final int HV_SINT = 4;

        private final FakeRoutes routes = new FakeRoutes();
        private final Pins pins;
        private final boolean longApicIds;
        private final boolean synthetic;

        /**
         * @param longApicIds whether the low byte of address_hi is reserved
         * @param synthetic whether there are Hyper-V's interrupts
         */
        Reader(Pins pins, boolean longApicIds, boolean synthetic) {
            this.pins = pins;
            this.longApicIds = longApicIds;
            this.synthetic = synthetic;
        }

        FakeRoutes routes() {
            return routes;
        }

        /** @return the rule that refuses the table, all GSIs being looked at before anything else */
        Optional<Rule> read(ByteBuffer entries, int count) {
            for (int i = 0; i < count; i++) {
                if (Integer.compareUnsigned(gsi(entries, i * Uapi.KvmIrqRoutingEntry.SIZE), MAX_GSI) >= 0) {
                    return Optional.of(Rule.ROUTE_GSI);
                }
            }
            for (int i = 0; i < count; i++) {
                Optional<Rule> refused = add(entries, i * Uapi.KvmIrqRoutingEntry.SIZE);
                if (refused.isPresent()) {
                    return refused;
                }
            }
            return Optional.empty();
        }

        private static int gsi(ByteBuffer entries, int at) {
            return entries.getInt(at + Uapi.KvmIrqRoutingEntry.GSI);
        }

        private Optional<Rule> add(ByteBuffer entries, int at) {
            int type = entries.getInt(at + Uapi.KvmIrqRoutingEntry.TYPE);
            int known = type == Uapi.KVM_IRQ_ROUTING_MSI ? Uapi.KVM_MSI_VALID_DEVID : 0;
            if ((entries.getInt(at + Uapi.KvmIrqRoutingEntry.FLAGS) & ~known) != 0) {
                return Optional.of(Rule.ROUTE_FLAGS);
            }
            return switch (type) {
                case Uapi.KVM_IRQ_ROUTING_MSI -> message(entries, at);
                case Uapi.KVM_IRQ_ROUTING_IRQCHIP -> pin(entries, at);
                case HV_SINT -> synthetic ? place(gsi(entries, at), Target.pin(SINT, 0)) : Optional.of(Rule.ROUTE_TYPE);
                default -> Optional.of(Rule.ROUTE_TYPE);
            };
        }

        private Optional<Rule> message(ByteBuffer entries, int at) {
            int high = entries.getInt(at + Uapi.KvmIrqRoutingEntry.U_MSI_ADDRESS_HI);
            if (longApicIds && (high & 0xff) != 0) {
                return Optional.of(Rule.ROUTE_HIGH_ADDRESS);
            }
            return place(
                    gsi(entries, at),
                    Target.message(
                            entries.getInt(at + Uapi.KvmIrqRoutingEntry.U_MSI_ADDRESS_LO),
                            high,
                            entries.getInt(at + Uapi.KvmIrqRoutingEntry.U_MSI_DATA)));
        }

        private Optional<Rule> pin(ByteBuffer entries, int at) {
            int chip = entries.getInt(at + Uapi.KvmIrqRoutingEntry.U_IRQCHIP_IRQCHIP);
            int pin = entries.getInt(at + Uapi.KvmIrqRoutingEntry.U_IRQCHIP_PIN);
            Optional<Rule> refused = pins.refuses(chip, pin);
            return refused.isPresent() ? refused : place(gsi(entries, at), Target.pin(chip, pin));
        }

        private Optional<Rule> place(int gsi, Target target) {
            for (Target other : routes.of(gsi)) {
                if (other.conflicts(target)) {
                    return Optional.of(Rule.ROUTE_CONFLICT);
                }
            }
            routes.add(gsi, target);
            return Optional.empty();
        }
    }

    private void add(int gsi, Target target) {
        if (gsi >= targets.length) {
            int length = targets.length;
            targets = Arrays.copyOf(targets, Math.min(MAX_GSI, Math.max(gsi + 1, 2 * length)));
            Arrays.fill(targets, length, targets.length, NOWHERE);
        }
        Target[] there = Arrays.copyOf(targets[gsi], targets[gsi].length + 1);
        there[there.length - 1] = target;
        targets[gsi] = there;
        if (target.message() == null && target.chip() == IOAPIC) {
            gsiOfPin[target.pin()] = gsi;
        }
    }

    /** Where a GSI goes; the caller changes nothing. */
    Target[] of(int gsi) {
        return gsi >= 0 && gsi < targets.length ? targets[gsi] : NOWHERE;
    }

    /** What a GSI sends that is one message; null for any other. */
    @Nullable
    Interrupt message(int gsi) {
        Target[] there = of(gsi);
        return there.length == 1 ? there[0].message() : null;
    }

    /** The GSI that hears of a pin's end of interrupt; -1 for none. */
    int gsiOfPin(int pin) {
        return gsiOfPin[pin];
    }
}
