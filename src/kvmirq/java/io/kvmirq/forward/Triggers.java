/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.vfio.Armed;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.IrqKind;
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

/** The device's half of forwarded messages: which eventfd each vector triggers. Its {@link Forwarding} has the lock. */
final class Triggers {

    /** The owner of each enabled vector. */
    private enum Owner {
        /** Forwarding enabled them, and disables them with the last one. */
        US,
        /** Another program enabled them through its descriptor of the device. */
        OTHER_PROGRAM,
        /** They were armed through the handle of our device by its user, who closes what he armed. */
        USER
    }

    /** The vectors that forwardings of this process have enabled, so that no forwarding takes over another's. */
    private static final Set<Armed> FORWARDED =
            Collections.synchronizedSet(Collections.newSetFromMap(new WeakHashMap<>()));

    private Owner owner = Owner.US;
    private @Nullable ArmedVectors armed;
    /** The numbers of the vectors that trigger our eventfds. Made with room for all, so that no arming fails after it. */
    private final BitSet wired = new BitSet(MsiMessage.MOST_VECTORS);

    boolean isOurs(Armed other) {
        return armed == other;
    }

    /** Whether some forwarding enabled it. */
    static boolean isForwarded(Armed other) {
        return FORWARDED.contains(other);
    }

    /** Its user closed what he had armed: then nothing of ours is left of it. */
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

    /** Whether the kernel adds none of these to the vectors that are enabled: it enables all of them anew. */
    private static boolean isBeyond(ArmedVectors now, MessageIrq last) {
        return last.info().noResize() && last.number() >= now.enabled();
    }

    /**
     * Throws IllegalStateException if the kernel adds no vectors to those of another one, before anything is touched.
     */
    void requireRoom(MessageIrqs irqs) {
        ArmedVectors now = stillArmed();
        MessageIrq last = irqs.get(irqs.size() - 1);
        if (now != null && owner != Owner.US && isBeyond(now, last)) {
            throw new IllegalStateException(last + " is beyond the " + now.enabled()
                    + " vectors that are enabled, and this kernel adds none to them without disabling what another"
                    + " one enabled: enable all vectors there");
        }
    }

    /** Makes vectors trigger eventfds, in one call. After a failure {@link #disarm} takes what it did back. */
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
     * Enables vectors. Where the kernel adds none later, it enables all of MSI-X at once, or those alone if the host has
     * too few. A device with MSI would use each vector that is enabled, so that no more are than were asked for.
     */
    private static ArmedVectors enabled(MessageIrqs irqs, List<EventFd> events) {
        MessageIrq first = irqs.get(0);
        int all = first.info().count();
        if (first.info().kind() == IrqKind.MSIX && first.info().noResize() && irqs.size() < all) {
            List<Optional<EventFd>> some = new ArrayList<>(Collections.nCopies(all, Optional.empty()));
            for (int i = 0; i < events.size(); i++) {
                some.set(first.number() + i, Optional.of(events.get(i)));
            }
            try {
                return first.device().msix(0, all).armSome(some);
            } catch (VectorsExhaustedException | KernelException e) {
                return irqs.arm(events);
            }
        }
        return irqs.arm(events);
    }

    /** Signals each enabled vector once, because interrupts raised while vectors were disabled are lost. */
    private static void grow(ArmedVectors now, int first, List<EventFd> events) {
        int before = now.enabled();
        try {
            now.growLosingInterrupts(first, events);
        } finally {
            TearDown.quietly(() -> now.trigger(0, before));
        }
    }

    /**
     * These vectors trigger nothing any more: by one call if they are all, else one for those that are consecutive. A
     * vector whose user closed it does not count. Never fails; after an Error, calling it again does the rest.
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
