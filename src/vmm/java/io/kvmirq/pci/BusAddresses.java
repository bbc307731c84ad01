/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vm;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * The addresses of a bus, and the BARs that answer there. If BARs overlap, the BAR in the lowest slot answers, and
 * within a function the BAR with the lowest index, whatever the order of writes. Thread-safe.
 *
 * <p>Locks. A function changes its own addresses under its lock, and hides the BARs that have moved. Then {@link
 * #settle} moves the doorbells and mapped parts of all functions. It locks one function after the other, so the caller
 * must not hold any function's lock. This object's monitor is the innermost lock.
 */
final class BusAddresses {
    private static final long FIRST_PORT = 0xc000;
    private static final long PORTS_END = 0x10000;

    private final long hole;
    private final long holeEnd;
    /** The addresses that firmware would give the BARs. */
    private final Map<Bar, Long> homes = new HashMap<>();
    /** BARs that the guest has enabled, in the order in which they answer. */
    private final List<Place> enabled = new ArrayList<>();

    /** The window's ports that a BAR has or had. */
    private final BitSet ports = new BitSet();

    private final ReentrantLock settling = new ReentrantLock();

    /** The BARs of a function. Its methods take the function's lock if they need it. */
    interface Owner {
        int slot();

        /** Whether the guest reaches a BAR. */
        boolean shows(Bar bar);

        /** Whether the guest reaches a BAR at exactly this place. */
        boolean shows(Place place);

        void hide(Bar bar);

        /** Shows a BAR, unless the guest has moved it meanwhile. */
        void show(Place place);

        /** Reports warnings. */
        void tell();
    }

    /** A BAR at an address, except where one of {@code above} answers first. */
    record Place(Owner owner, Bar bar, long at, List<Place> above) {
        boolean overlaps(boolean ports, long from, long length) {
            return bar.isPorts() == ports && overlap(at, bar, from, length);
        }

        /** Whether the BAR answers at each of these addresses, which belong to it. */
        boolean answers(long from, long length) {
            return above.stream().noneMatch(place -> place.overlaps(bar.isPorts(), from, length));
        }
    }

    static boolean overlap(long at, Bar bar, long from, long length) {
        return from < at + bar.size() && at < from + length;
    }

    BusAddresses(long hole, long holeEnd) {
        this.hole = hole;
        this.holeEnd = holeEnd;
    }

    /** Assigns a BAR an address that no other BAR has. */
    synchronized long home(Object device, Bar bar) {
        long at = (bar.isPorts() ? FIRST_PORT : hole) + bar.size() - 1 & -bar.size();
        while (isHome(bar, at)) {
            at += bar.size();
        }
        if (at > end(bar) - bar.size()) {
            throw new IllegalArgumentException(device + " has a BAR of " + bar.size()
                    + " bytes, which does not fit on the bus: "
                    + (bar.isPorts()
                            ? "all BARs of ports share 0xc000 to 0xffff, use fewer or smaller ones"
                            : "make the hole larger"));
        }
        homes.put(bar, at);
        keepPorts(bar, at);
        return at;
    }

    /** Releases the ports that BARs had, because after a guest reset each BAR is at home. */
    synchronized void resetPorts() {
        ports.clear();
        homes.forEach(this::keepPorts);
    }

    private void keepPorts(Bar bar, long at) {
        if (bar.isPorts() && at >= FIRST_PORT) {
            ports.set((int) at, (int) (at + bar.size()));
        }
    }

    private boolean isHome(Bar bar, long at) {
        return homes.entrySet().stream()
                .anyMatch(home -> home.getKey().isPorts() == bar.isPorts()
                        && overlap(home.getValue(), home.getKey(), at, bar.size()));
    }

    private long first(Bar bar) {
        return bar.isPorts() ? 0 : hole;
    }

    private long end(Bar bar) {
        return bar.isPorts() ? PORTS_END : holeEnd;
    }

    private boolean isInside(Bar bar, long at) {
        return at >= first(bar) && at <= end(bar) - bar.size();
    }

    /** Whether a BAR answers at a port, or has answered there and the port is in the window. */
    boolean isPort(long at, int size) {
        synchronized (this) {
            if (at < PORTS_END && ports.get((int) at)) {
                return true;
            }
        }
        return at(true, at, size) != null;
    }

    boolean inHole(long at) {
        return at >= hole && at < holeEnd;
    }

    /** The reason why a BAR cannot answer at an address, regardless of other BARs. */
    synchronized Optional<String> flaw(Bar bar, long at) {
        if (!isInside(bar, at)) {
            return Optional.of("outside of the hole for BARs, 0x" + Long.toHexString(first(bar)) + " to 0x"
                    + Long.toHexString(end(bar) - 1) + ": the guest does not reach it");
        }
        return !bar.isPorts() && hasMemory(bar.vm(), at, at + bar.size())
                ? Optional.of(
                        "on guest memory, which must be outside of the hole for BARs: the guest does not reach it")
                : Optional.empty();
    }

    /** Whether guest memory other than the mapped parts of BARs is in a range. */
    synchronized boolean hasMemory(Vm vm, long from, long end) {
        long at = from;
        List<GuestMemory> parts = homes.keySet().stream()
                .flatMap(bar -> bar.mapped().stream())
                .sorted(Comparator.comparingLong(GuestMemory::guestAddress))
                .toList();
        for (GuestMemory part : parts) {
            long start = part.guestAddress();
            if (start < end && start > at && vm.hasMemory(at, start - at)) {
                return true;
            }
            at = start < end ? Math.max(at, start + part.mapping().length()) : at;
        }
        return at < end && vm.hasMemory(at, end - at);
    }

    /** Records that the guest enabled a BAR. {@link #settle} must follow. A BAR outside the hole does not answer. */
    synchronized void enable(Owner owner, Bar bar, long at) {
        disable(bar);
        if (isInside(bar, at)) {
            enabled.add(new Place(owner, bar, at, List.of()));
            keepPorts(bar, at);
        }
        enabled.sort(Comparator.comparingInt((Place place) -> place.owner.slot())
                .thenComparingInt(place -> place.bar.index()));
    }

    synchronized void disable(Bar bar) {
        enabled.removeIf(place -> place.bar == bar);
    }

    synchronized void detach(List<Bar> bars) {
        bars.forEach(homes::remove);
        bars.forEach(this::disable);
    }

    private synchronized List<Place> answering() {
        List<Place> answering = new ArrayList<>();
        for (Place place : enabled) {
            List<Place> above = enabled.subList(0, answering.size()).stream()
                    .filter(other -> other.overlaps(place.bar.isPorts(), place.at, place.bar.size()))
                    .toList();
            answering.add(new Place(place.owner, place.bar, place.at, above));
        }
        return answering;
    }

    /** Moves doorbells and mapped parts. Hides all that must move before it shows any. */
    void settle() {
        List<Place> moved;
        settling.lock();
        try {
            moved = answering().stream()
                    .filter(place -> !place.owner.shows(place))
                    .toList();
            moved.forEach(place -> place.owner.hide(place.bar));
            moved.forEach(place -> place.owner.show(place));
        } finally {
            settling.unlock();
        }
        moved.forEach(place -> place.owner.tell());
    }

    private synchronized @Nullable Place find(boolean ports, long from, int size) {
        return enabled.stream()
                .filter(place -> place.overlaps(ports, from, size))
                .findFirst()
                .orElse(null);
    }

    /** The BAR that answers an access. */
    @Nullable
    Place at(boolean ports, long from, int size) {
        Place place = find(ports, from, size);
        if (place != null && !place.owner.shows(place.bar)) {
            settle(); // guest memory over it may be gone, or another thread is moving it
        }
        return place;
    }
}
