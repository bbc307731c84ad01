/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.explain.Answer;
import io.kvmirq.explain.InterruptAnswer;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Optional;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/**
 * A VM's table of GSI routes, immutable once it is in use. Looking up a GSI allocates nothing. Source: {@code
 * kvm_set_irq_routing()} in virt/kvm/irqchip.c, {@code kvm_set_routing_entry()} in arch/x86/kvm/irq.c.
 */
public final class FakeRoutes {
    public static final int MAX_GSI = 4096;
    static final int MAX_ROUTES = 4096;

    /** The number that stands for Hyper-V's synthetic interrupts as a chip; the fake drops the interrupts. */
    public static final int SINT = -1;

    private static final Target[] NOWHERE = {};

    /** The target of a GSI route: an MSI message, or a pin of a chip. */
    public record Target(@Nullable Object message, int chip, int pin) {
        public static Target pin(int chip, int pin) {
            return new Target(null, chip, pin);
        }

        boolean conflicts(Target other) {
            boolean pins = message == null && other.message == null && chip != SINT && other.chip != SINT;
            return !pins || chip == other.chip;
        }
    }

    private Target[][] targets = {};
    /** The last GSI routed to each chip and pin, which gets the EOI notification; -1 for none. */
    private int[][] gsiOfPin = {};

    public FakeRoutes() {}

    /** A modifiable copy. */
    private FakeRoutes(FakeRoutes from) {
        targets = from.targets.clone();
        gsiOfPin = from.gsiOfPin.clone();
        Arrays.setAll(gsiOfPin, chip -> gsiOfPin[chip].clone());
    }

    /** A VM's default routes to pins, parsed only once: most tables begin with them. Immutable once in use. */
    public static final class Pins {
        private static final Pins NONE = new Pins(0);

        private final FakeRoutes routes = new FakeRoutes();
        private final ByteBuffer entries;

        public Pins(int count) {
            entries = ByteBuffer.allocate(count * Uapi.KvmIrqRoutingEntry.SIZE).order(ByteOrder.nativeOrder());
        }

        public FakeRoutes routes() {
            return routes;
        }

        public void add(int gsi, int chip, int pin) {
            routes.add(gsi, Target.pin(chip, pin));
            ByteBuffer entry = entries.slice().order(entries.order());
            entry.putInt(Uapi.KvmIrqRoutingEntry.GSI, gsi)
                    .putInt(Uapi.KvmIrqRoutingEntry.TYPE, Uapi.KVM_IRQ_ROUTING_IRQCHIP)
                    .putInt(Uapi.KvmIrqRoutingEntry.U_IRQCHIP_IRQCHIP, chip)
                    .putInt(Uapi.KvmIrqRoutingEntry.U_IRQCHIP_PIN, pin);
            entries.position(entries.position() + Uapi.KvmIrqRoutingEntry.SIZE);
        }

        private boolean begins(ByteBuffer table) {
            int length = entries.capacity();
            return table.capacity() >= length && table.slice(0, length).equals(entries.slice(0, length));
        }
    }

    /** The routes that an architecture accepts. */
    public interface Entries {
        Optional<Answer> refusesPin(int chip, int pin);

        default Optional<Answer> refusesMessage(Object message) {
            return Optional.empty();
        }

        /** Returns the MSI message of a route; {@code device} is empty if the route has no device id. */
        Object message(long address, int data, OptionalInt device);

        /** Returns the default routes, which need no check and with which most tables begin. */
        default Pins known() {
            return Pins.NONE;
        }

        /** Whether the kernel supports routes to Hyper-V's synthetic interrupts. */
        default boolean hasSynthetic() {
            return false;
        }
    }

    static final class Reader {
        private static final int HV_SINT = 4;

        private FakeRoutes routes = new FakeRoutes();
        private final Entries allowed;

        Reader(Entries allowed) {
            this.allowed = allowed;
        }

        FakeRoutes routes() {
            return routes;
        }

        /** @return the rule that refuses the table; empty for none. All GSIs are checked before the other fields. */
        Optional<Answer> read(ByteBuffer entries, int count) {
            for (int i = 0; i < count; i++) {
                int gsi = entries.getInt(i * Uapi.KvmIrqRoutingEntry.SIZE + Uapi.KvmIrqRoutingEntry.GSI);
                if (Integer.compareUnsigned(gsi, MAX_GSI) >= 0) {
                    return Optional.of(InterruptAnswer.ROUTE_GSI);
                }
            }
            Pins known = allowed.known();
            int first = 0;
            if (known.begins(entries)) {
                routes = new FakeRoutes(known.routes);
                first = known.entries.capacity() / Uapi.KvmIrqRoutingEntry.SIZE;
            }
            for (int i = first; i < count; i++) {
                Optional<Answer> refused = add(entries, i * Uapi.KvmIrqRoutingEntry.SIZE);
                if (refused.isPresent()) {
                    return refused;
                }
            }
            return Optional.empty();
        }

        private Optional<Answer> add(ByteBuffer entries, int at) {
            int gsi = entries.getInt(at + Uapi.KvmIrqRoutingEntry.GSI);
            int type = entries.getInt(at + Uapi.KvmIrqRoutingEntry.TYPE);
            int known = type == Uapi.KVM_IRQ_ROUTING_MSI ? Uapi.KVM_MSI_VALID_DEVID : 0;
            if ((entries.getInt(at + Uapi.KvmIrqRoutingEntry.FLAGS) & ~known) != 0) {
                return Optional.of(InterruptAnswer.ROUTE_FLAGS);
            }
            return switch (type) {
                case Uapi.KVM_IRQ_ROUTING_MSI -> message(gsi, entries, at);
                case Uapi.KVM_IRQ_ROUTING_IRQCHIP -> pin(gsi, entries, at);
                case HV_SINT ->
                    allowed.hasSynthetic()
                            ? place(gsi, new Target(null, SINT, 0))
                            : Optional.of(InterruptAnswer.ROUTE_TYPE);
                default -> Optional.of(InterruptAnswer.ROUTE_TYPE);
            };
        }

        private Optional<Answer> message(int gsi, ByteBuffer entries, int at) {
            boolean hasDevice = (entries.getInt(at + Uapi.KvmIrqRoutingEntry.FLAGS) & Uapi.KVM_MSI_VALID_DEVID) != 0;
            Object message = allowed.message(
                    address(
                            entries.getInt(at + Uapi.KvmIrqRoutingEntry.U_MSI_ADDRESS_LO),
                            entries.getInt(at + Uapi.KvmIrqRoutingEntry.U_MSI_ADDRESS_HI)),
                    entries.getInt(at + Uapi.KvmIrqRoutingEntry.U_MSI_DATA),
                    hasDevice
                            ? OptionalInt.of(entries.getInt(at + Uapi.KvmIrqRoutingEntry.U_MSI_DEVID))
                            : OptionalInt.empty());
            Optional<Answer> refused = allowed.refusesMessage(message);
            return refused.isPresent() ? refused : place(gsi, new Target(message, 0, 0));
        }

        private Optional<Answer> pin(int gsi, ByteBuffer entries, int at) {
            int chip = entries.getInt(at + Uapi.KvmIrqRoutingEntry.U_IRQCHIP_IRQCHIP);
            int pin = entries.getInt(at + Uapi.KvmIrqRoutingEntry.U_IRQCHIP_PIN);
            Optional<Answer> refused = allowed.refusesPin(chip, pin);
            return refused.isPresent() ? refused : place(gsi, new Target(null, chip, pin));
        }

        private Optional<Answer> place(int gsi, Target target) {
            return routes.add(gsi, target) ? Optional.empty() : Optional.of(InterruptAnswer.ROUTE_CONFLICT);
        }
    }

    public static long address(int low, int high) {
        return (long) high << Integer.SIZE | Integer.toUnsignedLong(low);
    }

    /** Adds a route to a table that is not in use. Returns false if it conflicts with another route of the GSI. */
    public boolean add(int gsi, Target target) {
        if (gsi >= targets.length) {
            int length = targets.length;
            targets = Arrays.copyOf(targets, Math.min(MAX_GSI, Math.max(gsi + 1, 2 * length)));
            Arrays.fill(targets, length, targets.length, NOWHERE);
        }
        for (Target other : targets[gsi]) {
            if (other.conflicts(target)) {
                return false;
            }
        }
        Target[] there = Arrays.copyOf(targets[gsi], targets[gsi].length + 1);
        there[there.length - 1] = target;
        targets[gsi] = there;
        if (target.message == null && target.chip != SINT) {
            hear(target.chip, target.pin, gsi);
        }
        return true;
    }

    private void hear(int chip, int pin, int gsi) {
        while (chip >= gsiOfPin.length) {
            gsiOfPin = Arrays.copyOf(gsiOfPin, gsiOfPin.length + 1);
            gsiOfPin[gsiOfPin.length - 1] = new int[0];
        }
        int length = gsiOfPin[chip].length;
        if (pin >= length) {
            gsiOfPin[chip] = Arrays.copyOf(gsiOfPin[chip], Math.max(pin + 1, 2 * length));
            Arrays.fill(gsiOfPin[chip], length, gsiOfPin[chip].length, -1);
        }
        gsiOfPin[chip][pin] = gsi;
    }

    /** Returns the targets of a GSI; do not modify the array. */
    public Target[] of(int gsi) {
        return gsi >= 0 && gsi < targets.length ? targets[gsi] : NOWHERE;
    }

    /** Returns the MSI message of a GSI if a message is the GSI's only target, else null. */
    public @Nullable Object message(int gsi) {
        Target[] there = of(gsi);
        return there.length == 1 ? there[0].message() : null;
    }

    /** Returns the GSI whose irqfds are notified of a pin's EOI; -1 for none. */
    public int gsiOfPin(int chip, int pin) {
        return chip < gsiOfPin.length && pin < gsiOfPin[chip].length ? gsiOfPin[chip][pin] : -1;
    }
}
