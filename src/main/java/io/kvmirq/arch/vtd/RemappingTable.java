/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import io.kvmirq.Vector;
import io.kvmirq.arch.apic.PiDescriptor;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import java.util.Optional;

/**
 * The interrupt-remapping table of a unit: the unit handles requests, and Linux changes entries. Linux also keeps the
 * remapped form of each entry. A change of host affinity changes that form even while the entry posts.
 *
 * <p>After each write of an entry its index is invalidated. Until then a unit may use the old entry. The observer sees the
 * write, then the invalidation. Linux clears a block of entries with one invalidation; here each entry has its own.
 *
 * <p>For use by one thread at a time. Source: VT-d specification 5.1 and 5.2; {@code modify_irte},
 * {@code intel_ir_set_vcpu_affinity} and {@code intel_ir_reconfigure_irte} of Linux 7.1.
 */
public final class RemappingTable {
    /** The largest number of entries. */
    public static final int MAX_ENTRIES = 1 << 16;

    /** The bits of DST that hold an xAPIC id. */
    private static final long XAPIC_ID = 0xff00;

    /** Is told of every change of the table. */
    public interface Observer {
        /**
         * An entry was written.
         *
         * @param index of the entry
         * @param low bits 63:0
         * @param high bits 127:64
         * @param atOnce whether one access of 128 bits wrote both words, as if the old or the new entry posts. Otherwise
         *     the low word was first
         */
        void written(int index, long low, long high, boolean atOnce);

        /** The unit forgets its cached copy of an entry. */
        void invalidated(int index);
    }

    /** Finds descriptors in memory. */
    public interface Descriptors {
        /** The descriptor at a physical address. Empty if none can be read. */
        Optional<PiDescriptor> at(long address);
    }

    private final long[] memory;
    private final RemappedIrte[] remapped;
    private final boolean[] postedToVcpu;
    private final UnitCapabilities unit;
    private final boolean extended;
    private final Observer observer;

    /**
     * A table in memory.
     *
     * @param memory two words for each entry, low word first; a power of two entries, 2–65536. The unit also sees what
     *     the caller writes there
     * @param unit the capabilities. Without PI, IM is a reserved bit
     * @param extended EIME: destinations are x2APIC ids, not xAPIC ids in bits 15:8
     * @param observer is told of every change
     * @throws IllegalArgumentException if the table has no such size, or is extended and the unit has no EIM
     */
    public RemappingTable(long[] memory, UnitCapabilities unit, boolean extended, Observer observer) {
        int entries = memory.length / 2;
        if (memory.length < 4 || entries > MAX_ENTRIES || Integer.bitCount(memory.length) != 1) {
            throw new IllegalArgumentException("a table of " + memory.length
                    + " words cannot be: expected two for each entry, and a power of two from 2 to 65536 entries");
        }
        if (extended && !unit.is(UnitCapabilities.EXTENDED)) {
            throw new IllegalArgumentException(
                    "the table cannot be extended: the unit has no EIM, ECAP bit 4; make it for xAPIC ids");
        }
        this.memory = memory;
        this.remapped = new RemappedIrte[entries];
        this.postedToVcpu = new boolean[entries];
        this.unit = unit;
        this.extended = extended;
        this.observer = observer;
    }

    /** The entry in memory. */
    public Irte entry(int index) {
        checkIndex(index);
        return Irte.decode(memory[2 * index], memory[2 * index + 1]);
    }

    /** Whether {@link #post} was the last change by Linux. What the caller writes into memory does not count. */
    public boolean isPostedToVcpu(int index) {
        checkIndex(index);
        return postedToVcpu[index];
    }

    /**
     * Puts an entry into use, in remapped form.
     *
     * @throws IllegalArgumentException if there is no such entry, or IM says that it is in posted form
     */
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
     * The affinity of the host irq changes. The remapped form changes. The entry changes only if it does not post, so
     * that host affinity never ends posting.
     *
     * @param vector of the host
     * @param destination DST, 32 bits: an x2APIC id, or an xAPIC id in [15:8]
     */
    public void move(int index, Vector vector, long destination) {
        remapped[index] = remapped(index).moved(vector, destination);
        if (!postedToVcpu[index]) {
            write(index, remapped[index]);
        }
    }

    /**
     * Makes the entry post, to its first vCPU or to another.
     *
     * @param descriptorAddress physical, at a 64-byte boundary
     * @throws IllegalStateException if the entry is not in use
     */
    public void post(int index, long descriptorAddress, Vector guestVector) {
        PostedIrte posted = remapped(index).posted(descriptorAddress, guestVector);
        postedToVcpu[index] = true;
        write(index, posted);
    }

    /**
     * Makes the entry remap again, to the last vector and destination of the host irq.
     *
     * @throws IllegalStateException if the entry is not in use
     */
    public void unpost(int index) {
        RemappedIrte entry = remapped(index);
        postedToVcpu[index] = false;
        write(index, entry);
    }

    /**
     * Takes the entry out of use.
     *
     * @throws IllegalStateException if it is not in use
     */
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
            throw new IllegalArgumentException("entry " + index + " does not exist: expected 0–" + (remapped.length - 1)
                    + ", as the table was made");
        }
    }

    private void write(int index, Irte entry) {
        boolean atOnce = Irte.POSTED.isSet(memory[2 * index]) || Irte.POSTED.isSet(entry.low());
        store(index, entry.low(), entry.high(), atOnce);
    }

    private void store(int index, long low, long high, boolean atOnce) {
        memory[2 * index] = low;
        memory[2 * index + 1] = high;
        observer.written(index, low, high, atOnce);
        observer.invalidated(index);
    }

    /**
     * The unit handles a device's message. It blocks compatibility format, as Linux configures it.
     *
     * @param requester the device's requester id, 16 bits
     */
    public Outcome request(RemappableMsi message, int requester, Descriptors descriptors) {
        int index = message.index();
        if (!message.is(RemappableMsi.REMAPPABLE)) {
            return blocked(FaultReason.COMPATIBILITY_BLOCKED, false);
        }
        if (message.is(RemappableMsi.RESERVED_48)) {
            return blocked(FaultReason.RESERVED_IN_REQUEST, false);
        }
        if (index >= remapped.length) {
            return blocked(FaultReason.BEYOND_TABLE, false);
        }
        Irte entry = entry(index);
        Optional<FaultReason> fault = fault(entry, requester);
        if (fault.isPresent()) {
            return blocked(fault.get(), entry.is(Irte.FAULT_DISABLED));
        }
        if (entry instanceof RemappedIrte toHost) {
            return new Outcome.Remapped(toHost);
        }
        return post((PostedIrte) entry, descriptors);
    }

    private static Outcome post(PostedIrte entry, Descriptors descriptors) {
        Optional<PiDescriptor> descriptor = descriptors.at(entry.descriptorAddress());
        if (descriptor.isEmpty()) {
            return blocked(FaultReason.DESCRIPTOR_UNREADABLE, entry.is(Irte.FAULT_DISABLED));
        }
        if (!descriptor.get().snapshot().violations().isEmpty()) {
            return blocked(FaultReason.RESERVED_IN_DESCRIPTOR, entry.is(Irte.FAULT_DISABLED));
        }
        long notification = descriptor.get().post(entry.vector().number(), entry.is(PostedIrte.URGENT));
        return new Outcome.Posted(entry, notification == 0 ? Optional.empty() : Optional.of(sent(notification)));
    }

    private static Outcome.Notification sent(long control) {
        return new Outcome.Notification(
                new Vector((int) PostedInterruptDescriptor.NV.of(control)), PostedInterruptDescriptor.NDST.of(control));
    }

    private Optional<FaultReason> fault(Irte entry, int requester) {
        if (!entry.is(Irte.PRESENT)) {
            return Optional.of(FaultReason.NOT_PRESENT);
        }
        if (!isWellFormed(entry)) {
            return Optional.of(FaultReason.RESERVED_IN_ENTRY);
        }
        return entry.source().accepts(requester) ? Optional.empty() : Optional.of(FaultReason.WRONG_SOURCE);
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

    private static Outcome blocked(FaultReason reason, boolean faultDisabled) {
        return new Outcome.Blocked(reason, !(faultDisabled && reason.isOfEntry()));
    }
}
