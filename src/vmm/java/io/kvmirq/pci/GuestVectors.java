/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.HeldMessage;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.function.IntFunction;
import java.util.stream.IntStream;

/**
 * The vectors of a guest's MSI or MSI-X, and which of them are forwarded. A vector is forwarded from the first time
 * that it opens until {@link #end}, but the first vector from the first {@link #become} on. Not thread-safe.
 */
final class GuestVectors {
    private final VectorSource source;
    /** Vectors that are connected. */
    private final BitSet forwarded = new BitSet();
    /** Vectors that are forwarded and not masked. */
    private final BitSet open = new BitSet();
    /** Vectors that were pending when forwarding ended. Empty if the source keeps them pending. */
    private final BitSet kept = new BitSet();
    /** Vectors for which the mirror got Held, and no Released since. */
    private final BitSet reportedHeld = new BitSet();
    /** Whether the host holds all vectors, so that none is open. */
    private boolean held;

    GuestVectors(VectorSource source) {
        this.source = source;
    }

    int count() {
        return source.count();
    }

    Vm vm() {
        return source.vm();
    }

    List<EventFd> events() {
        return source.events();
    }

    /** False if a pending bit may be in the device's own registers, as for a vector that was never open. */
    boolean keepsPending() {
        return source.keepsPending();
    }

    boolean isOpen(int vector) {
        return open.get(vector);
    }

    boolean isPending(int vector) {
        return kept.get(vector) || source.isPending(vector) && !isOfOther();
    }

    /** The vectors with a pending message, here or in another capability over the same vectors. */
    BitSet waiting() {
        BitSet waiting = (BitSet) kept.clone();
        IntStream.range(0, count()).filter(source::isPending).forEach(waiting::set);
        return waiting;
    }

    /** Whether another kind of the device's interrupts is in use, so that none of these vectors can be connected. */
    private boolean isOfOther() {
        return forwarded.isEmpty() && source.isBusy();
    }

    /**
     * Masks vectors first, then forwards, reroutes and unmasks those that must be open. After a failure, vectors that
     * are not open yet stay masked, and the next call retries. Does nothing while another kind of the device's
     * interrupts is forwarded. Opens no vector while the host holds all.
     *
     * @param registers the vectors that must be open
     * @param min the number of vectors that are always forwarded, at least 1, so that the device keeps pending
     *     messages
     * @param messages the message of a vector; called for those in {@code registers} and for the first {@code min}
     */
    void become(BitSet registers, int min, IntFunction<MsiMessage> messages) {
        if (isOfOther()) {
            return;
        }
        BitSet wanted = held ? new BitSet() : registers;
        BitSet masked = (BitSet) open.clone();
        masked.andNot(wanted);
        if (!masked.isEmpty()) {
            source.mask(masked);
            open.andNot(masked);
        }
        BitSet needed = (BitSet) wanted.clone();
        if (!source.keepsPending()) {
            needed.set(0, min);
        }
        forward(needed, messages);
        reroute(wanted, messages);
        BitSet opened = (BitSet) wanted.clone();
        opened.andNot(open);
        // Before the unmask: with messages that the device sent meanwhile it is one interrupt, like one pending bit
        BitSet owed = (BitSet) opened.clone();
        owed.and(kept);
        owed.stream().forEach(vector -> {
            source.signal(vector);
            kept.clear(vector);
        });
        if (!opened.isEmpty()) {
            source.unmask(opened);
            open.or(opened);
            tellReleased(opened);
        }
    }

    private void tellHeld(int vector, HeldMessage message) {
        reportedHeld.set(vector);
        source.held(vector, message);
    }

    private void tellReleased(BitSet which) {
        BitSet released = (BitSet) reportedHeld.clone();
        released.and(which);
        reportedHeld.andNot(which);
        released.stream().forEach(source::released);
    }

    private void forward(BitSet needed, IntFunction<MsiMessage> messages) {
        BitSet fresh = (BitSet) needed.clone();
        fresh.andNot(forwarded);
        for (int first = fresh.nextSetBit(0); first >= 0; first = fresh.nextSetBit(first)) {
            int from = first;
            int count = fresh.nextClearBit(from) - from;
            source.connect(from, count, messages);
            forwarded.set(from, from + count);
            first = from + count;
        }
    }

    private void reroute(BitSet wanted, IntFunction<MsiMessage> messages) {
        BitSet moved = new BitSet();
        List<MsiMessage> to = new ArrayList<>();
        wanted.stream().forEach(vector -> {
            MsiMessage message = messages.apply(vector);
            if (!source.message(vector).equals(Optional.of(message))) {
                moved.set(vector);
                to.add(message);
            }
        });
        if (!moved.isEmpty()) {
            source.reroute(moved, to);
        }
    }

    /** Ends the forwarding of all vectors, and keeps their pending bits here and in the mirror. */
    void end() {
        kept.or(source.disconnect(forwarded));
        reportedHeld.or(kept);
        forwarded.clear();
        open.clear();
    }

    /** Marks the first vectors as pending, because the device may have lost messages. */
    void owe(int count) {
        IntStream.range(0, count).forEach(vector -> keep(vector, HeldMessage.POSSIBLE));
    }

    private void keep(int vector, HeldMessage message) {
        kept.set(vector);
        tellHeld(vector, message);
    }

    /** Masks all vectors until {@link #release} and the next {@link #become}. If it throws, no vector is held. */
    void hold() {
        if (!open.isEmpty()) {
            source.mask(open);
            open.clear();
        }
        held = true;
    }

    void release() {
        held = false;
    }

    boolean isHeld() {
        return held;
    }

    List<Gsi> gsis() {
        return forwarded.stream()
                .boxed()
                .flatMap(vector -> source.gsi(vector).stream())
                .toList();
    }

    /**
     * Marks vectors of a saved state as pending. If MSI and MSI-X share vectors, both have saved the same pending
     * messages. Only the capability in use restores them or, if neither is in use, the one restored last.
     */
    void keep(BitSet pending) {
        Objects.checkFromToIndex(0, pending.length(), count());
        if (!source.keepsPending()) {
            HeldMessage message = source.vm().isArm64() ? HeldMessage.POSSIBLE : HeldMessage.KNOWN;
            pending.stream().forEach(vector -> keep(vector, message));
        } else if (!isOfOther()) {
            pending.stream().forEach(source::signal);
        }
    }

    /** Clears all pending bits, except those of another capability in use. */
    void forget() {
        kept.clear();
        if (!isOfOther()) {
            source.forget();
        }
        tellReleased((BitSet) reportedHeld.clone());
    }
}
