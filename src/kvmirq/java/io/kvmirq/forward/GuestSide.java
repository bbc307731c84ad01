/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** The guest's side of a batch of messages: eventfds, routes and irqfds, or relays in this process. */
record GuestSide(ForwardChecks checks, Optional<Userspace> userspace) {
    private Vm vm() {
        return checks.vm();
    }

    /** @throws KernelException EMFILE when there are too few descriptors */
    List<EventFd> events(int count, Undo undo) {
        try {
            List<EventFd> events = EventFd.createAll(vm().kernel(), count);
            undo.add(() -> events.forEach(EventFd::close));
            return events;
        } catch (KernelException e) {
            throw new KernelException(
                    "forward",
                    "eventfd " + e.operands() + " for " + checks.device().name(),
                    e.errno(),
                    e.likelyCause());
        }
    }

    /** The guest's halves of a batch: either irqfds or relays; the other list is empty. */
    record Halves(List<Irqfd> irqfds, List<RelayedEdge> relays) {
        GuestHalf half(int i) {
            return irqfds.isEmpty()
                    ? new GuestHalf.Relayed(relays.get(i), null)
                    : new GuestHalf.InKernel(irqfds.get(i));
        }
    }

    /**
     * Creates the guest's halves: routes in one commit and then an irqfd each, or relays if KVM refuses irqfds and
     * there is a {@link Userspace}.
     *
     * @param gsis the GSIs chosen by the caller; empty to allocate them
     * @param routes whether this method routes the GSIs
     * @param masked whether the irqfds are assigned only when they are unmasked
     */
    Halves halves(
            List<EventFd> events,
            List<MsiMessage> messages,
            Optional<List<Gsi>> gsis,
            boolean routes,
            boolean masked,
            Undo undo) {
        try (Undo inKernel = new Undo()) {
            List<Gsi> routed = routes ? route(gsis, messages) : gsis.orElseThrow();
            if (routes) {
                inKernel.add(() -> unroute(routed));
            }
            List<Irqfd> irqfds = masked ? vm().maskedIrqfds(events, routed) : vm().assignIrqfds(events, routed);
            inKernel.add(() -> Irqfd.closeAll(irqfds));
            inKernel.moveTo(undo);
            return new Halves(irqfds, List.of());
        } catch (KernelException e) {
            if (userspace.isEmpty() || !e.errno().equals(Errno.EINVAL) || checks.takesIrqfds()) {
                throw e;
            }
        }
        List<RelayedEdge> relays = new ArrayList<>();
        for (int i = 0; i < events.size(); i++) {
            relays.add(undo.add(RelayedEdge.message(userspace.get(), events.get(i), messages.get(i))));
        }
        return new Halves(List.of(), relays);
    }

    private List<Gsi> route(Optional<List<Gsi>> gsis, List<MsiMessage> messages) {
        return vm().routes().change(edit -> {
            if (gsis.isEmpty()) {
                Gsi[] added = new Gsi[messages.size()];
                for (int i = 0; i < added.length; i++) {
                    added[i] = edit.add(messages.get(i));
                }
                return List.of(added);
            }
            for (int i = 0; i < messages.size(); i++) {
                edit.replace(gsis.get().get(i), messages.get(i));
            }
            return gsis.get();
        });
    }

    /** Removes the routes, in one commit. Never fails. */
    void unroute(List<Gsi> gsis) {
        if (!gsis.isEmpty() && !vm().fd().isClosed()) {
            TearDown.quietly(() -> vm().routes().change(edit -> {
                gsis.forEach(edit::remove);
                return gsis;
            }));
        }
    }
}
