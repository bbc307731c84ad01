/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Event;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** Masks or reroutes several of a forwarding's interrupts with as few kernel calls as possible, or moves one. */
final class ForwardedChange {
    private final Forwarding forwarding;

    ForwardedChange(Forwarding forwarding) {
        this.forwarding = forwarding;
    }

    /** @throws IllegalArgumentException if an interrupt belongs to another forwarding, or occurs twice */
    void requireOurs(List<? extends ForwardedIrq> which) {
        Objects.requireNonNull(which, "which is null");
        Set<ForwardedIrq> seen = new HashSet<>();
        for (ForwardedIrq irq : which) {
            if (irq.forwarding() != forwarding) {
                throw new IllegalArgumentException(
                        irq + " is not of the " + forwarding + ": change it with the forwarding that created it");
            }
            if (!seen.add(irq)) {
                throw new IllegalArgumentException(irq + " is listed twice: list each interrupt once");
            }
        }
    }

    // Masks

    void mask(List<? extends ForwardedIrq> which) {
        requireOurs(which);
        List<RelayedIrq> relays = new ArrayList<>(which.size());
        List<ForwardedIrq> masked = new ArrayList<>(which.size());
        boolean done = false;
        synchronized (forwarding.delivery()) {
            which.forEach(ForwardedIrq::requireOpen);
            try {
                for (ForwardedIrq irq : which) {
                    if (!irq.isMasked()) {
                        masked.add(irq);
                    }
                    RelayedIrq relay = irq.masked();
                    if (relay != null) {
                        relays.add(relay);
                    }
                }
                done = true;
            } finally {
                if (!done) {
                    masked.forEach(irq -> TearDown.quietly(irq::unmask));
                }
            }
        }
        relays.forEach(RelayedIrq::settle);
    }

    void unmask(List<? extends ForwardedIrq> which) {
        requireOurs(which);
        List<ForwardedIrq> unmasked = new ArrayList<>(which.size());
        boolean done = false;
        synchronized (forwarding.delivery()) {
            which.forEach(ForwardedIrq::requireOpen);
            try {
                for (ForwardedIrq irq : which) {
                    if (irq.isMasked()) {
                        irq.unmask();
                        unmasked.add(irq);
                    }
                }
                done = true;
            } finally {
                if (!done) {
                    // A mask() would wait for an injector.
                    unmasked.forEach(irq -> TearDown.quietly(irq::masked));
                }
            }
        }
    }

    // Routes

    /** The caller's message for the vector at position {@code i}. */
    static MsiMessage message(IntFunction<MsiMessage> messages, int i) {
        MsiMessage message = messages.apply(i);
        if (message == null) {
            throw new NullPointerException("messages returned null for vector " + i + ": return the message to send");
        }
        return message;
    }

    /**
     * Reroutes interrupts. On x86, their irqfds stay assigned. On arm64, changing a route unmaps the LPI's vLPI, and
     * only assigning the irqfd again maps another. So the irqfds are deassigned during the change, and signals stay in
     * their eventfds.
     *
     * @param messages called without a lock
     */
    void reroute(List<? extends ForwardedIrq> which, IntFunction<MsiMessage> messages) {
        requireOurs(which);
        List<ForwardedMessage> irqs = which.stream().map(ForwardedIrq::rerouted).toList();
        List<MsiMessage> newMessages = IntStream.range(0, irqs.size())
                .mapToObj(i -> message(messages, i))
                .toList();
        List<RelayedIrq> relays = new ArrayList<>(irqs.size());
        synchronized (forwarding.delivery()) {
            irqs.forEach(ForwardedIrq::requireOpen);
            reroute(irqs, newMessages, relays);
        }
        relays.forEach(RelayedIrq::settle);
    }

    private void reroute(List<ForwardedMessage> irqs, List<MsiMessage> to, List<RelayedIrq> relays) {
        int[] changed = IntStream.range(0, irqs.size())
                .filter(i -> !to.get(i).equals(irqs.get(i).now()))
                .toArray();
        List<Route> routes = new ArrayList<>(changed.length);
        for (int i : changed) {
            irqs.get(i).gsi().ifPresent(gsi -> routes.add(new Route.Msi(gsi, to.get(i))));
        }
        Vm vm = forwarding.vm();
        try (Holds holds = new Holds(changed.length);
                Undo room = new Undo()) {
            for (int i : changed) {
                ForwardedMessage irq = irqs.get(i);
                if (vm.isArm64() && !irq.isMasked() && !irq.isRelayed()) {
                    holds.begin(irq);
                    irq.tell(ForwardedEvents.irqfdIsGone(irq));
                }
            }
            if (!routes.isEmpty()) {
                vm.routes().change(edit -> {
                    routes.forEach(route -> edit.replace(route.gsi(), ((Route.Msi) route).message()));
                    return edit;
                });
                forwarding.mirror().apply(Event.RoutesCommitted.of(routes.toArray(Route[]::new)));
            }
            for (int i : changed) {
                irqs.get(i).become(to.get(i));
            }
            room.keep();
        }
        for (ForwardedMessage irq : irqs) {
            RelayedIrq relay = irq.relay();
            if (relay != null && !irq.isMasked()) { // a masked interrupt stays held by its mask
                relays.add(relay);
            }
        }
    }

    // Moves

    /** Moves the injection of an interrupt into this process if the kernel injects it. */
    void moveToUserspace(ForwardedIrq irq) {
        synchronized (forwarding.delivery()) {
            irq.requireOpen();
            if (irq.isRelayed()) {
                return;
            }
            Userspace userspace = forwarding.userspace(irq.irq());
            boolean masked = irq.isMasked();
            RelayedIrq relay;
            try (Hold hold = new Hold(irq, null);
                    Undo undo = new Undo()) {
                if (!masked) {
                    hold.begin();
                }
                undo.add(irq::moved);
                irq.leaveKernel(undo);
                relay = undo.add(irq.relayed(userspace));
                if (!masked) {
                    relay.release();
                }
                undo.keep();
                hold.keep();
            }
            irq.relay(relay);
            irq.tellDelivery();
            irq.moved();
        }
    }

    /** Moves the injection of an interrupt into the kernel if this process injects it. */
    void moveToKernel(ForwardedIrq irq) {
        try (Hold hold = heldRelay(irq)) {
            if (hold == null) {
                return;
            }
            RelayedIrq relay = Objects.requireNonNull(hold.relay());
            relay.settle();
            if (takeFrom(irq, relay, hold)) {
                relay.close();
                irq.moved();
            }
        }
    }

    private @Nullable Hold heldRelay(ForwardedIrq irq) {
        synchronized (forwarding.delivery()) {
            irq.requireOpen();
            RelayedIrq relay = irq.relay();
            return relay == null ? null : Hold.begun(irq, relay);
        }
    }

    /** @return false if another thread has moved the interrupt away from {@code relay} */
    private boolean takeFrom(ForwardedIrq irq, RelayedIrq relay, Hold hold) {
        synchronized (forwarding.delivery()) {
            irq.requireOpen();
            if (irq.relay() != relay) {
                return false;
            }
            try (Undo undo = new Undo()) {
                undo.add(irq::moved);
                Irqfd kept = irq.irqfd();
                Irqfd assigned = kept == null ? irq.maskedIrqfd() : kept;
                irq.irqfd(assigned);
                if (!irq.isMasked()) {
                    undo.step(assigned::unmask, () -> TearDown.quietly(assigned::mask));
                }
                irq.enterKernel();
                undo.keep();
                hold.keep();
            }
            relay.leave(); // before another thread sees the interrupt in the kernel and moves it back
            irq.tell(ForwardedEvents.routed(irq));
            irq.relay(null);
            irq.tellDelivery();
            return true;
        }
    }

    /**
     * Holds an interrupt back during a change that may throw, until {@link #close}. If that fails, the interrupt stays
     * masked, and an unmask retries.
     */
    static final class Hold implements AutoCloseable {
        private final ForwardedIrq irq;
        private final @Nullable RelayedIrq relay;
        private boolean ends;

        /** @param relay the relay, or null for an irqfd */
        Hold(ForwardedIrq irq, @Nullable RelayedIrq relay) {
            this.irq = irq;
            this.relay = relay;
        }

        /** @param relay the relay, or null for an irqfd */
        static Hold begun(ForwardedIrq irq, @Nullable RelayedIrq relay) {
            try (Undo undo = new Undo()) {
                Hold hold = undo.add(new Hold(irq, relay));
                hold.begin();
                undo.keep();
                return hold;
            }
        }

        /** The held relay, or null for an irqfd. */
        @Nullable
        RelayedIrq relay() {
            return relay;
        }

        void begin() {
            ends = true;
            if (relay == null) {
                irq.holdBack();
            } else {
                Irqfd left = irq.irqfd();
                if (left != null) {
                    left.mask(); // an earlier move may have failed to undo this
                }
                relay.hold();
            }
        }

        /** Keeps the interrupt masked after a successful change. */
        void keep() {
            ends = false;
        }

        @Override
        public void close() {
            synchronized (irq.lock()) {
                if (!ends || irq.relay() != relay || irq.isEnded()) {
                    return;
                }
                if (irq.isMasked()) {
                    Objects.requireNonNull(relay).release(); // the mask's own hold stays
                    return;
                }
                boolean resumed = false;
                try {
                    irq.resume();
                    resumed = true;
                } finally {
                    if (!resumed) {
                        irq.stayMasked();
                    }
                }
            }
        }
    }

    /** Holds several interrupts back. Closing ends all holds even if one fails, and throws that failure. */
    private static final class Holds implements AutoCloseable {
        private final List<Hold> begun;

        Holds(int most) {
            begun = new ArrayList<>(most);
        }

        void begin(ForwardedIrq irq) {
            Hold hold = new Hold(irq, null);
            begun.add(hold);
            hold.begin();
        }

        @Override
        public void close() {
            for (int i = 0; i < begun.size(); i++) {
                boolean ended = false;
                try {
                    begun.get(i).close();
                    ended = true;
                } finally {
                    if (!ended) {
                        begun.subList(i + 1, begun.size()).forEach(hold -> TearDown.quietly(hold::close));
                    }
                }
            }
        }
    }
}
