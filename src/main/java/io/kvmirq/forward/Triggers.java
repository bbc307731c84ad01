/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.kernel.EventFd;
import io.kvmirq.vfio.Armed;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.MessageIrq;
import io.kvmirq.vfio.MessageIrqs;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.WeakHashMap;

/** The device's half of forwarded messages: which eventfd each vector triggers. Its {@link Forwarding} has the lock. */
final class Triggers {
    /** Whose the enabled vectors are. */
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
    private Optional<ArmedVectors> armed = Optional.empty();
    /** The numbers of the vectors that trigger our eventfds. */
    private final Set<Integer> wired = new HashSet<>();

    boolean isOurs(Armed other) {
        return armed.isPresent() && armed.get() == other;
    }

    /** Whether some forwarding enabled it. */
    static boolean isForwarded(Armed other) {
        return FORWARDED.contains(other);
    }

    /** Its user closed what he had armed: then nothing of ours is left of it. */
    private void forgetClosed() {
        if (armed.isPresent() && armed.get().isClosed()) {
            armed = Optional.empty();
            owner = Owner.US;
            wired.clear();
        }
    }

    /**
     * Refuses vectors that cannot be added to those that are enabled, before anything is touched.
     *
     * @throws IllegalStateException if the kernel adds none
     */
    void requireRoom(MessageIrqs irqs) {
        forgetClosed();
        int last = irqs.get(irqs.size() - 1).number();
        armed.ifPresent(now -> {
            if (irqs.get(0).info().noResize() && last >= now.enabled()) {
                throw new IllegalStateException(irqs.get(irqs.size() - 1) + " is beyond the " + now.enabled()
                        + " vectors that are enabled, and this kernel adds none to them without losing interrupts:"
                        + " forward all vectors at once, or close the forwarding first");
            }
        });
    }

    /** Makes vectors trigger eventfds, in one call. */
    void arm(MessageIrqs irqs, List<EventFd> events, boolean enabledElsewhere) {
        if (armed.isEmpty()) {
            Optional<Armed> users = irqs.get(0).inTheWay();
            if (users.isPresent()) {
                ArmedVectors theirs = (ArmedVectors) users.get();
                theirs.set(irqs.get(0).number(), events);
                armed = Optional.of(theirs);
                owner = Owner.USER;
            } else {
                armed = Optional.of(irqs.arm(events));
                owner = enabledElsewhere ? Owner.OTHER_PROGRAM : Owner.US;
            }
        } else {
            armed.get().set(irqs.get(0).number(), events);
        }
        irqs.forEach(irq -> wired.add(irq.number()));
        armed.ifPresent(FORWARDED::add);
    }

    /**
     * These vectors trigger nothing any more: by one call if they are all, else one for those that are consecutive. A
     * vector whose user closed it does not count. Never fails.
     */
    void disarm(List<MessageIrq> irqs) {
        if (irqs.isEmpty()) {
            return;
        }
        forgetClosed();
        if (armed.isEmpty()) {
            return;
        }
        ArmedVectors now = armed.get();
        List<Integer> ended = irqs.stream()
                .map(MessageIrq::number)
                .filter(wired::remove)
                .sorted()
                .toList();
        if (ended.isEmpty()) {
            return;
        }
        if (wired.isEmpty() && owner == Owner.US) {
            now.close();
        } else if (wired.isEmpty() && owner == Owner.OTHER_PROGRAM) {
            now.closeLeavingOthers();
        } else {
            unwire(now, ended);
        }
        if (wired.isEmpty()) {
            FORWARDED.remove(now);
            armed = Optional.empty();
            owner = Owner.US;
        }
    }

    private static void unwire(ArmedVectors now, List<Integer> vectors) {
        int first = 0;
        for (int i = 1; i <= vectors.size(); i++) {
            if (i == vectors.size() || vectors.get(i) != vectors.get(i - 1) + 1) {
                int from = vectors.get(first);
                int many = i - first;
                TearDown.quietly(() -> now.unwire(from, many));
                first = i;
            }
        }
    }
}
