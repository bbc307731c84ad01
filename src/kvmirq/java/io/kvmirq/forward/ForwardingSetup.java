/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.DeviceIrq;
import io.kvmirq.vfio.LineIrq;
import io.kvmirq.vfio.MessageIrq;
import io.kvmirq.vfio.MessageIrqs;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.function.IntFunction;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Sets up and tears down a {@link Forwarding}'s interrupts. Its lock guards all methods except {@link #irqs}. */
final class ForwardingSetup {
    private final Forwarding owner;
    private final Triggers triggers = new Triggers();
    private final ForwardChecks checks;
    private final ForwardedIrqs<ForwardedIrq> irqs = new ForwardedIrqs<>();
    /** The numbers of vectors that another owner wired to their eventfds. */
    private final BitSet wired = new BitSet();

    ForwardingSetup(Forwarding owner) {
        this.owner = owner;
        checks = new ForwardChecks(owner.vm(), owner.device(), triggers);
    }

    /** The forwarded interrupts, sorted by number. */
    List<ForwardedIrq> irqs() {
        return irqs.all();
    }

    /** Vectors to forward in one call. */
    record Batch(
            MessageIrqs which,
            IntFunction<MsiMessage> messages,
            Optional<List<Gsi>> gsis,
            Optional<List<EventFd>> wired,
            boolean takesOver,
            boolean masked) {}

    /** Forwards a batch of vectors with a message each. Sets up routes first, then irqfds, and the device last. */
    List<ForwardedIrq> vectors(Batch batch, List<MsiMessage> messages) {
        MessageIrqs which = batch.which;
        int count = which.size();
        MessageIrq first = which.get(0);
        requireForwardable(first);
        if (irqs.hasAny(first, count)) {
            which.forEach(this::requireForwardable);
        }
        irqs.requireOneKind(first);
        boolean enabledElsewhere = checks.isEnabledElsewhere(first, batch.takesOver, !wired.isEmpty());
        triggers.requireRoom(which);
        boolean routed =
                batch.gsis.map(gsis -> checks.areRouted(gsis, messages)).orElse(false);
        if (batch.gsis.isEmpty()) {
            owner.vm().routes().requireFree(count);
        }
        try (Undo undo = new Undo()) {
            List<EventFd> events = batch.wired.orElseGet(() -> events(count, undo));
            Readers readers = readers(events, messages, batch.gsis, !routed, batch.masked, undo);
            if (batch.wired.isEmpty()) {
                undo.add(() -> triggers.disarm(which));
                triggers.arm(which, events, enabledElsewhere);
            }
            List<ForwardedIrq> forwarded = new ArrayList<>(count);
            undo.add(() -> forwarded.forEach(this::forget));
            for (int i = 0; i < count; i++) {
                forwarded.add(new ForwardedMessage(
                        owner, first, i, messages.get(i), readers.irqfd(i), readers.relay(i), routed, batch.masked));
            }
            wired.set(first.number(), first.number() + count, batch.wired.isPresent());
            irqs.add(first, forwarded);
            List<ForwardedIrq> begun = Collections.unmodifiableList(forwarded);
            owner.mirror()
                    .apply(
                            readers.relays().isEmpty()
                                    ? List.of(ForwardedEvents.begun(which, readers.irqfds(), messages, batch.masked))
                                    : begun.stream()
                                            .flatMap(irq -> ForwardedEvents.begun(irq).stream())
                                            .toList());
            undo.keep();
            return begun;
        }
    }

    /** Forwards a line. */
    ForwardedIrq line(LineIrq irq, Gsi gsi, boolean takesOver, Optional<DirectEoi> direct) {
        requireForwardable(irq);
        irqs.requireOneKind(irq);
        checks.isEnabledElsewhere(irq, takesOver, false);
        if (owner.userspace().isEmpty()) {
            checks.requireRoute(gsi, irq);
        }
        try (Undo undo = new Undo()) {
            ForwardedIrq line = undo.add(new ForwardedLine(owner, checks, irq, gsi, takesOver, direct));
            irqs.add(irq, List.of(line));
            owner.mirror().apply(ForwardedEvents.begun(line));
            undo.keep();
            return line;
        }
    }

    private void requireForwardable(DeviceIrq irq) {
        checks.requireOpen(irq);
        irqs.requireNew(irq);
    }

    /** @throws KernelException EMFILE when there are too few descriptors */
    private List<EventFd> events(int count, Undo undo) {
        try {
            List<EventFd> events = EventFd.createAll(owner.vm().kernel(), count);
            undo.add(() -> events.forEach(EventFd::close));
            return events;
        } catch (KernelException e) {
            throw new KernelException(
                    "forward",
                    "eventfd " + e.operands() + " for " + owner.device().name(),
                    e.errno(),
                    e.likelyCause());
        }
    }

    /** The readers of a batch's eventfds. One of the lists is empty. */
    private record Readers(List<Irqfd> irqfds, List<RelayedEdge> relays) {
        @Nullable
        Irqfd irqfd(int i) {
            return irqfds.isEmpty() ? null : irqfds.get(i);
        }

        @Nullable
        RelayedEdge relay(int i) {
            return relays.isEmpty() ? null : relays.get(i);
        }
    }

    /**
     * Creates the readers of the eventfds: irqfds, after one commit of all routes, or relays if KVM refuses irqfds and
     * there is a {@link Userspace}.
     *
     * @param gsis the GSIs chosen by the caller, or empty to allocate them
     * @param routes whether this method routes the GSIs
     * @param masked whether the irqfds are not assigned until they are unmasked
     */
    private Readers readers(
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
            List<Irqfd> irqfds = masked
                    ? owner.vm().maskedIrqfds(events, routed)
                    : owner.vm().assignIrqfds(events, routed);
            inKernel.add(() -> Irqfd.closeAll(irqfds));
            inKernel.moveTo(undo);
            return new Readers(irqfds, List.of());
        } catch (KernelException e) {
            if (owner.userspace().isEmpty() || !e.errno().equals(Errno.EINVAL) || checks.takesIrqfds()) {
                throw e;
            }
        }
        List<RelayedEdge> relays = new ArrayList<>();
        for (int i = 0; i < events.size(); i++) {
            relays.add(undo.add(RelayedEdge.message(owner.userspace().get(), events.get(i), messages.get(i))));
        }
        return new Readers(List.of(), relays);
    }

    private List<Gsi> route(Optional<List<Gsi>> gsis, List<MsiMessage> messages) {
        return owner.vm().routes().change(edit -> {
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

    /** Removes the GSIs' routes in one commit. Never fails. */
    private void unroute(List<Gsi> gsis) {
        if (!gsis.isEmpty() && !owner.vm().fd().isClosed()) {
            TearDown.quietly(() -> owner.vm().routes().change(edit -> {
                gsis.forEach(edit::remove);
                return gsis;
            }));
        }
    }

    /** Removes an interrupt from the list after it has been torn down and its relay closed. Idempotent. */
    void forget(ForwardedIrq irq) {
        if (irqs.of(irq.irq()) == irq) {
            wired.clear(irq.irq().number());
            irqs.remove(irq.irq());
        }
    }

    /**
     * Tears down everything but the relays. After an Error, the next call starts again from the first step. Routes are
     * removed last, because a freed GSI may be allocated at once.
     */
    void tearDown(List<? extends ForwardedIrq> ended) {
        List<ForwardedMessage> messages = new ArrayList<>();
        for (ForwardedIrq irq : ended) {
            if (irq instanceof ForwardedMessage message) {
                messages.add(message);
            } else if (irq instanceof ForwardedLine line) {
                line.tearDown();
            }
        }
        messages.forEach(ForwardedMessage::holdBackAtEnd);
        List<ForwardedMessage> ours = messages.stream()
                .filter(message -> !wired.get(message.irq().number()))
                .toList();
        triggers.disarm(ours.stream().map(ForwardedMessage::irq).toList());
        ours.forEach(message -> TearDown.quietly(message::keepPending));
        messages.stream().filter(message -> wired.get(message.irq().number())).forEach(ForwardedMessage::leaveToOwner);
        ours.forEach(message -> message.event().close()); // this ends the irqfd too, and costs less than deassigning it
        Irqfd.closeAll(messages.stream()
                .flatMap(message -> Stream.ofNullable(message.irqfd()))
                .toList());
        messages.forEach(ForwardedMessage::restoreRoute);
        owner.mirror()
                .apply(ended.stream()
                        .flatMap(irq -> ForwardedEvents.ended(irq).stream())
                        .toList());
        unroute(messages.stream()
                .flatMap(message -> message.ownRoute().stream())
                .toList());
        ended.forEach(ForwardedIrq::tornDown);
    }
}
