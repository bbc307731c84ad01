/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.vtd.Irte;
import io.kvmirq.arch.vtd.PostedIrte;
import io.kvmirq.arch.vtd.RemappableMsi;
import io.kvmirq.arch.vtd.RemappedIrte;
import io.kvmirq.arch.vtd.Source;
import io.kvmirq.arch.vtd.UnitCapabilities;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The interrupt-remapping table of a VT-d unit. The unit handles requests while Linux changes entries. Linux also
 * stores the remapped form of each entry, and a new affinity of the host irq updates this form even while the entry
 * posts.
 *
 * <p>The unit caches each present entry that it uses, and uses the copy until Linux invalidates the entry's index,
 * which it does after each write. The observer is notified of the write, then of the invalidation. Linux clears a block
 * of entries with one invalidation, but the model needs one for each entry. A real unit can also drop a cached copy
 * earlier.
 *
 * <p>Only one thread may use a table at a time, because Java cannot write an entry with one access. Source: VT-d
 * specification 5.1 and 5.2; {@code modify_irte}, {@code intel_ir_set_vcpu_affinity} and {@code
 * intel_ir_reconfigure_irte} of Linux 7.1.
 */
public final class RemappingTable {
    /** The largest number of entries of a table. */
    public static final int MAX_ENTRIES = 1 << 16;

    /** The bits of DST and of NDST that hold an xAPIC id. */
    private static final long XAPIC_ID = 0xff00;

    /** Receives every change of the remapping table. */
    public interface Observer {
        /**
         * Called after a table entry was written.
         *
         * @param low bits 63:0 of the new entry
         * @param high bits 127:64 of the new entry
         * @param atOnce whether one 128-bit access wrote both words, as Linux does if the old or new entry posts. If
         *     false, the low word was written first
         */
        void written(int index, long low, long high, boolean atOnce);

        /** Called after the unit dropped its cached copy of an entry. */
        void invalidated(int index);
    }

    /** Finds descriptors in memory. */
    public interface Descriptors {
        /** Returns the descriptor at a physical address; empty if no descriptor is there. */
        Optional<PiDescriptor> at(long address);
    }

    private static final int WORDS_OF_ENTRY = Irte.BYTES / Long.BYTES;

    private final SharedWords memory;
    private final int first;
    /** The unit's copy of each entry; P is 0 if it has none. */
    private final SharedWords cache;

    private final int firstCached;
    /** The last decoded entry of each index, for the next request that reads the same words. */
    private final @Nullable Known[] known;

    private final RemappedIrte[] remapped;
    private final boolean[] postedToVcpu;
    private final UnitCapabilities unit;
    private final boolean extended;
    private final Observer observer;

    /**
     * Creates a remapping table in {@code memory}.
     *
     * @param memory two 64-bit words for each entry, low word first; the number of entries is a power of two, 2–65536.
     *     The unit also sees the caller's own writes to {@code memory}, after {@link #invalidate}
     * @param unit the unit's capabilities. Without PI (posting), an entry's IM is a reserved bit
     * @param extended EIME, which is true if destinations are x2APIC ids, not xAPIC ids in bits 15:8
     * @param observer receives every change of the table
     * @throws IllegalArgumentException if {@code memory} has a wrong size, or {@code extended} is set but not EIM
     */
    public RemappingTable(long[] memory, UnitCapabilities unit, boolean extended, Observer observer) {
        this(SharedWords.of(Objects.requireNonNull(memory, "memory is null")), memory.length, unit, extended, observer);
    }

    private RemappingTable(SharedWords memory, int words, UnitCapabilities unit, boolean extended, Observer observer) {
        this(memory, 0, SharedWords.of(new long[words]), 0, checkedEntries(words), unit, extended, observer);
    }

    /** A table in {@code memory} from {@code first}, the unit's copies in {@code cache} from {@code firstCached}. */
    RemappingTable(
            SharedWords memory,
            int first,
            SharedWords cache,
            int firstCached,
            int entries,
            UnitCapabilities unit,
            boolean extended,
            Observer observer) {
        if (extended && !unit.is(UnitCapabilities.EXTENDED)) {
            throw new IllegalArgumentException(
                    "the table cannot be extended: the unit has no EIM, ECAP bit 4; make it for xAPIC ids");
        }
        this.memory = memory;
        this.first = first;
        this.cache = cache;
        this.firstCached = firstCached;
        this.known = new Known[entries];
        this.remapped = new RemappedIrte[entries];
        this.postedToVcpu = new boolean[entries];
        this.unit = unit;
        this.extended = extended;
        this.observer = observer;
    }

    private static int checkedEntries(int words) {
        int entries = words / WORDS_OF_ENTRY;
        if (words < 4 || entries > MAX_ENTRIES || Integer.bitCount(words) != 1) {
            throw new IllegalArgumentException("a table of " + words
                    + " words is invalid: expected two for each entry, and a power of two from 2 to 65536 entries");
        }
        return entries;
    }

    /** Returns EIME, which is true if the entries' destinations are x2APIC ids. */
    public boolean isExtended() {
        return extended;
    }

    /** The entry in memory. */
    public Irte entry(int index) {
        checkIndex(index);
        return Irte.decode(memory.get(at(index)), memory.get(at(index) + 1));
    }

    private int at(int index) {
        return first + WORDS_OF_ENTRY * index;
    }

    /** A decoded entry, with the results that depend on its words alone. */
    private record Known(long low, long high, Irte entry, Source source, Optional<FaultReason> fault) {}

    private Known known(int index, long low, long high) {
        Known last = known[index];
        if (last == null || last.low != low || last.high != high) {
            Irte entry = Irte.decode(low, high);
            last = new Known(low, high, entry, entry.source(), fault(entry));
            known[index] = last;
        }
        return last;
    }

    /** The entry that the unit uses: its copy, or the present entry in memory. */
    private Known used(int index) {
        int at = firstCached + WORDS_OF_ENTRY * index;
        long low = cache.get(at);
        long high = cache.get(at + 1);
        if (!Irte.PRESENT.isSet(low)) {
            low = memory.get(at(index));
            high = memory.get(at(index) + 1);
            if (Irte.PRESENT.isSet(low)) {
                cache.setPair(at, low, high);
            }
        }
        return known(index, low, high);
    }

    /** Drops the unit's cached copy of an entry. Call this method only after your own writes to the table's memory. */
    public void invalidate(int index) {
        checkIndex(index);
        cache.setPair(firstCached + WORDS_OF_ENTRY * index, 0, 0);
        observer.invalidated(index);
    }

    /** Whether {@link #post} was Linux's last change of the entry. The caller's own writes to memory do not count. */
    public boolean isPostedToVcpu(int index) {
        checkIndex(index);
        return postedToVcpu[index];
    }

    /** Writes an entry in remapped form. Throws IllegalArgumentException for too large an index, or if IM is set. */
    public void set(int index, RemappedIrte entry) {
        checkIndex(index);
        if (Irte.POSTED.isSet(entry.low())) {
            throw new IllegalArgumentException(
                    "entry " + index + " is of posted form: expected IM, bit 15, to be 0; post it by its own call");
        }
        remapped[index] = entry;
        postedToVcpu[index] = false;
        write(index, entry);
    }

    /**
     * Changes the host irq's affinity to a vector and DST. While the entry posts, only its stored remapped form
     * changes, so an affinity change never ends posting.
     */
    public void move(int index, InterruptVector vector, long destination) {
        remapped[index] = remapped(index).moved(vector, destination);
        if (!postedToVcpu[index]) {
            write(index, remapped[index]);
        }
    }

    /**
     * Makes the entry post to a vCPU, even if it already posts to another vCPU.
     *
     * @param descriptorAddress the descriptor's physical address, at a 64-byte boundary
     * @throws IllegalStateException if the entry is not in use, or the unit cannot post; the entry is unchanged. If the
     *     unit cannot post, Linux has {@code enable_device_posted_irqs} off and never posts
     * @throws IllegalArgumentException if the address is not at a 64-byte boundary; the entry is unchanged
     */
    public void post(int index, long descriptorAddress, InterruptVector guestVector) {
        PostedIrte posted = remapped(index).posted(descriptorAddress, guestVector);
        if (!unit.is(UnitCapabilities.POSTING)) {
            throw new IllegalStateException(
                    "entry " + index + " cannot post: the unit has no PI, CAP bit 59; leave it remapped");
        }
        postedToVcpu[index] = true;
        write(index, posted);
    }

    /**
     * Makes the entry remap to its last host vector and destination. Throws IllegalStateException for an unused entry.
     */
    public void unpost(int index) {
        RemappedIrte entry = remapped(index);
        postedToVcpu[index] = false;
        write(index, entry);
    }

    /** Clears the entry, so that it is not in use. Throws IllegalStateException for an unused entry. */
    public void clear(int index) {
        remapped(index);
        remapped[index] = null;
        postedToVcpu[index] = false;
        store(index, 0, 0, false);
    }

    private RemappedIrte remapped(int index) {
        checkIndex(index);
        RemappedIrte entry = remapped[index];
        if (entry == null) {
            throw new IllegalStateException("entry " + index + " is not in use: set it first");
        }
        return entry;
    }

    private void checkIndex(int index) {
        if (index < 0 || index >= remapped.length) {
            throw new IllegalArgumentException("entry " + index + " does not exist: expected 0-" + (remapped.length - 1)
                    + ", as the table was created");
        }
    }

    private void write(int index, Irte entry) {
        boolean atOnce = Irte.POSTED.isSet(memory.get(at(index))) || Irte.POSTED.isSet(entry.low());
        store(index, entry.low(), entry.high(), atOnce);
    }

    private void store(int index, long low, long high, boolean atOnce) {
        if (atOnce) {
            memory.setPair(at(index), low, high);
        } else {
            memory.set(at(index), low);
            memory.set(at(index) + 1, high);
        }
        observer.written(index, low, high, atOnce);
        invalidate(index);
    }

    /**
     * Handles a device's MSI. Blocks compatibility format, as Linux configures units to do. For a posted entry, sets
     * PIR and ON and returns the pending notification, which {@link RemappingUnit} also sends.
     *
     * @param requester the device's requester id, 16 bits
     */
    public RemappingOutcome request(RemappableMsi message, int requester, Descriptors descriptors) {
        int index = message.index();
        if (!message.is(RemappableMsi.REMAPPABLE)) {
            return blocked(FaultReason.COMPATIBILITY_BLOCKED, false);
        }
        if (message.is(RemappableMsi.SHV) && message.is(RemappableMsi.RESERVED_48)) {
            return blocked(FaultReason.RESERVED_IN_REQUEST, false);
        }
        if (index >= remapped.length) {
            return blocked(FaultReason.BEYOND_TABLE, false);
        }
        Known used = used(index);
        if (used.fault.isPresent() || !used.source.accepts(requester)) {
            return blocked(used.fault.orElse(FaultReason.WRONG_SOURCE), used.entry.is(Irte.FAULT_DISABLED));
        }
        if (used.entry instanceof RemappedIrte toHost) {
            return new RemappingOutcome.Remapped(toHost);
        }
        return post((PostedIrte) used.entry, descriptors);
    }

    private RemappingOutcome post(PostedIrte entry, Descriptors descriptors) {
        Optional<PiDescriptor> descriptor = descriptors.at(entry.descriptorAddress());
        if (descriptor.isEmpty()) {
            return blocked(FaultReason.DESCRIPTOR_UNREADABLE, entry.is(Irte.FAULT_DISABLED));
        }
        if (!descriptor.get().snapshot().violations().isEmpty()
                || !extended && (descriptor.get().ndst() & ~XAPIC_ID) != 0) {
            return blocked(FaultReason.RESERVED_IN_DESCRIPTOR, entry.is(Irte.FAULT_DISABLED));
        }
        long notification = descriptor.get().post(entry.vector().number(), entry.is(PostedIrte.URGENT));
        return new RemappingOutcome.Posted(
                entry, notification == 0 ? Optional.empty() : Optional.of(sent(notification)));
    }

    private static RemappingOutcome.Notification sent(long control) {
        return new RemappingOutcome.Notification(
                new InterruptVector((int) PostedInterruptDescriptor.NV.of(control)),
                PostedInterruptDescriptor.NDST.of(control));
    }

    private Optional<FaultReason> fault(Irte entry) {
        if (!entry.is(Irte.PRESENT)) {
            return Optional.of(FaultReason.NOT_PRESENT);
        }
        return isWellFormed(entry) ? Optional.empty() : Optional.of(FaultReason.RESERVED_IN_ENTRY);
    }

    private boolean isWellFormed(Irte entry) {
        if (entry.source().validation() == Source.VALIDATION_RESERVED
                || entry.format().hasReservedBits(entry.bits())) {
            return false;
        }
        return entry instanceof RemappedIrte toHost
                ? toHost.isClear12()
                        && !toHost.mode().isReserved()
                        && (extended || (toHost.destination() & ~XAPIC_ID) == 0)
                : unit.is(UnitCapabilities.POSTING);
    }

    private static RemappingOutcome blocked(FaultReason reason, boolean faultDisabled) {
        return new RemappingOutcome.Blocked(reason, !(faultDisabled && reason.isOfEntry()));
    }
}
