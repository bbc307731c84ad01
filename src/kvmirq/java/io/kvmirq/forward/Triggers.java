/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.IrqKind;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.vfio.Armed;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.MessageIrq;
import io.kvmirq.vfio.MessageIrqs;
import io.kvmirq.vfio.VectorsExhaustedException;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.WeakHashMap;
import org.jspecify.annotations.Nullable;

/** The device's half of forwarded messages, each vector's eventfd. Guarded by the {@link Forwarding}'s lock. */
final class Triggers {

    /** The owner of each enabled vector. */
    private enum Owner {
        /** The forwarding enabled the vectors, and disables them when the last one ends. */
        US,
        /** Another program enabled the vectors through its own descriptor. */
        OTHER_PROGRAM,
        /** The user armed the vectors through our device handle, and must close them. */
        USER
    }

    /** The vectors that forwardings in this process use. */
    private static final Set<Armed> FORWARDED =
            Collections.synchronizedSet(Collections.newSetFromMap(new WeakHashMap<>()));

    private Owner owner = Owner.US;
    private @Nullable ArmedVectors armed;
    /** The vectors that trigger our eventfds. Sized for all vectors, so that updates do not allocate. */
    private final BitSet wired = new BitSet(MsiMessage.MOST_VECTORS);

    boolean isOurs(Armed other) {
        return armed == other;
    }

    /** Whether a forwarding in this process uses these interrupts. */
    static boolean isForwarded(Armed other) {
        return FORWARDED.contains(other);
    }

    /** The armed vectors, or null if there are none or their user has closed them. */
    private @Nullable ArmedVectors stillArmed() {
        ArmedVectors now = armed;
        if (now != null && now.isClosed()) {
            forget(now);
        }
        return armed;
    }

    private void forget(ArmedVectors ended) {
        FORWARDED.remove(ended);
        armed = null;
        owner = Owner.US;
        wired.clear();
    }

    /** Whether a vector is not enabled and the kernel cannot add it without first disabling all enabled vectors. */
    private static boolean isBeyond(ArmedVectors now, MessageIrq last) {
        return last.info().noResize() && last.number() >= now.enabled();
    }

    /** Throws IllegalStateException, before any change, if the kernel cannot add vectors to another owner's. */
    void requireRoom(MessageIrqs irqs) {
        ArmedVectors now = stillArmed();
        MessageIrq last = irqs.get(irqs.size() - 1);
        if (now != null && owner != Owner.US && isBeyond(now, last)) {
            throw new IllegalStateException(last + " is beyond the " + now.enabled()
                    + " vectors that are enabled, and this kernel cannot add to them without disabling what another"
                    + " one enabled: enable all vectors there");
        }
    }

    /** Attaches eventfds to vectors. After a failure, {@link #disarm} undoes this. */
    void arm(MessageIrqs irqs, List<EventFd> events, boolean enabledElsewhere) {
        int first = irqs.get(0).number();
        ArmedVectors now = armed;
        if (now == null) {
            Optional<Armed> users = irqs.get(0).inTheWay();
            if (users.isPresent()) {
                now = (ArmedVectors) users.get();
                now.set(first, events);
                owner = Owner.USER;
            } else {
                now = enabledElsewhere ? irqs.arm(events) : enabled(irqs, events);
                owner = enabledElsewhere ? Owner.OTHER_PROGRAM : Owner.US;
            }
            armed = now;
        } else if (isBeyond(now, irqs.get(irqs.size() - 1))) {
            grow(now, first, events);
        } else {
            now.set(first, events);
        }
        wired.set(first, first + irqs.size());
        FORWARDED.add(now);
    }

    /**
     * Enables vectors. If the kernel cannot add vectors later, enables all MSI-X vectors at once, or only the requested
     * ones if that fails. Never enables more MSI vectors than requested, because the device would use each of them.
     */
    private static ArmedVectors enabled(MessageIrqs irqs, List<EventFd> events) {
        MessageIrq first = irqs.get(0);
        int all = first.info().count();
        if (first.info().kind() == IrqKind.MSIX && first.info().noResize() && irqs.size() < all) {
            List<Optional<EventFd>> eventfds = new ArrayList<>(Collections.nCopies(all, Optional.empty()));
            for (int i = 0; i < events.size(); i++) {
                eventfds.set(first.number() + i, Optional.of(events.get(i)));
            }
            try {
                return first.device().msix(0, all).armSome(eventfds);
            } catch (VectorsExhaustedException | KernelException e) {
                return irqs.arm(events);
            }
        }
        return irqs.arm(events);
    }

    /** Enables more vectors, and signals each former vector once, because interrupts raised in between are lost. */
    private static void grow(ArmedVectors now, int first, List<EventFd> events) {
        int before = now.enabled();
        try {
            now.growLosingInterrupts(first, events);
        } finally {
            TearDown.quietly(() -> now.trigger(0, before));
        }
    }

    /**
     * Detaches the vectors' eventfds with one call if these are all vectors, otherwise with one call for each
     * consecutive range. Skips vectors that their user has closed. Never fails. After an Error, another call does the
     * rest.
     */
    void disarm(Iterable<MessageIrq> irqs) {
        ArmedVectors now = stillArmed();
        if (now == null) {
            return;
        }
        BitSet ended = new BitSet();
        irqs.forEach(irq -> ended.set(irq.number()));
        ended.and(wired);
        if (ended.isEmpty()) {
            return;
        }
        boolean all = ended.equals(wired);
        if (all && owner == Owner.US) {
            now.close();
        } else if (all && owner == Owner.OTHER_PROGRAM) {
            now.closeLeavingOthers();
        } else {
            unwire(now, ended);
        }
        wired.andNot(ended);
        if (all) {
            forget(now);
        }
    }

    private static void unwire(ArmedVectors now, BitSet vectors) {
        for (int first = vectors.nextSetBit(0); first >= 0; ) {
            int from = first;
            int end = vectors.nextClearBit(from);
            TearDown.quietly(() -> now.unwire(from, end - from));
            first = vectors.nextSetBit(end);
        }
    }
}
