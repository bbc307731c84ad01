/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd;

import io.kvmirq.Vector;
import io.kvmirq.arch.apic.PiDescriptor;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import java.util.Optional;

/**
 * The interrupt-remapping table of a unit: what the unit does with a request, and what Linux does to the entries. Beside
 * each entry Linux keeps the remapped form of it, which host affinity changes even while the entry posts.
 *
 * <p>Every write of an entry is followed by an invalidation of its index: until then a unit may use the entry as it was.
 * The observer sees both, in this order. Linux clears a block of entries with one invalidation, here each has its own.
 *
 * <p>For one thread at a time. Source: VT-d specification 5.1 and 5.2; {@code modify_irte},
 * {@code intel_ir_set_vcpu_affinity} and {@code intel_ir_reconfigure_irte} of Linux 7.1.
 */
public final class RemappingTable {
    /** A table has at most this many entries. */
    public static final int MAX_ENTRIES = 1 << 16;

    /** Where DST holds an xAPIC id. */
    private static final long XAPIC_ID = 0xff00;

    /** Hears what is done to the table. */
    public interface Observer {
        /**
         * An entry was written.
         *
         * @param atOnce in one access of 128 bits, as where an entry is changed from or to one that posts; else low
         *     word first
         */
        void written(int index, long low, long high, boolean atOnce);

        /** What a unit holds of an entry outside memory is void. */
        void invalidated(int index);
    }

    /** What is in memory at a physical address. */
    public interface Descriptors {
        /** Empty where no descriptor can be read. */
        Optional<PiDescriptor> at(long address);
    }

    private final long[] memory;
    private final RemappedIrte[] remapped;
    private final boolean[] postedToVcpu;
    private final UnitCapabilities unit;
    private final boolean extended;
    private final Observer observer;

    /**
     * A table.
     *
     * @param memory two words for each entry, low word first; a power of two entries, 2–65536. What others write there
     *     the unit sees, too
     * @param unit without PI in its capabilities, IM is a reserved bit
     * @param extended EIME, which needs EIM in the capabilities: destinations are x2APIC ids, not xAPIC ids in [15:8]
     */
    public RemappingTable(long[] memory, UnitCapabilities unit, boolean extended, Observer observer) {
        int entries = memory.length / 2;
        if (memory.length < 4 || entries > MAX_ENTRIES || Integer.bitCount(memory.length) != 1) {
            throw new IllegalArgumentException("a table of " + memory.length
                    + " words cannot be: expected two for each entry, and a power of two from 2 to 65536 entries");
        }
        if (extended && !unit.hasX2apicDestinations()) {
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

    /** The entry as a unit reads it. */
    public Irte entry(int index) {
        checkIndex(index);
        return Irte.decode(memory[2 * index], memory[2 * index + 1]);
    }

    /** Whether {@link #post} was the last said of the entry; what others write in memory does not change that. */
    public boolean isPostedToVcpu(int index) {
        checkIndex(index);
        return postedToVcpu[index];
    }

    /**
     * The entry is taken into use, in remapped form.
     *
     * @throws IllegalArgumentException if its IM says that it is of posted form
     */
    public void set(int index, RemappedIrte entry) {
        checkIndex(index);
        if (Irte.isPosted(entry.low())) {
            throw new IllegalArgumentException(
                    "entry " + index + " is of posted form: expected IM, bit 15, to be 0; post it by its own call");
        }
        remapped[index] = entry;
        postedToVcpu[index] = false;
        write(index, entry);
    }

    /**
     * The host moves the interrupt. The remapped form is changed; the entry only if it does not post, so that a host's
     * affinity never ends posting.
     *
     * @param destination DST, 32 bits: an x2APIC id, or an xAPIC id in [15:8]
     */
    public void move(int index, Vector vector, long destination) {
        remapped[index] = remapped(index).moved(vector, destination);
        if (!postedToVcpu[index]) {
            write(index, remapped[index]);
        }
    }

    /** The interrupt is posted from now on; also from one vCPU to another. */
    public void post(int index, long descriptorAddress, Vector guestVector) {
        PostedIrte posted = remapped(index).posted(descriptorAddress, guestVector);
        postedToVcpu[index] = true;
        write(index, posted);
    }

    /** The interrupt is the host's again, where the host last wanted it. */
    public void unpost(int index) {
        RemappedIrte entry = remapped(index);
        postedToVcpu[index] = false;
        write(index, entry);
    }

    /** The entry is out of use. */
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
        boolean atOnce = Irte.isPosted(memory[2 * index]) || Irte.isPosted(entry.low());
        store(index, entry.low(), entry.high(), atOnce);
    }

    private void store(int index, long low, long high, boolean atOnce) {
        memory[2 * index] = low;
        memory[2 * index + 1] = high;
        observer.written(index, low, high, atOnce);
        observer.invalidated(index);
    }

    /**
     * What the unit does with a device's message. Compatibility format is blocked, as Linux has it.
     *
     * @param requester the device's requester id, 16 bits
     */
    public Outcome request(RemappableMsi message, int requester, Descriptors descriptors) {
        int index = message.index();
        if (!message.remappable()) {
            return blocked(FaultReason.COMPATIBILITY_BLOCKED, false);
        }
        if (message.reserved48() != 0) {
            return blocked(FaultReason.RESERVED_IN_REQUEST, false);
        }
        if (index >= remapped.length) {
            return blocked(FaultReason.BEYOND_TABLE, false);
        }
        Irte entry = entry(index);
        Optional<FaultReason> fault = fault(entry, requester);
        if (fault.isPresent()) {
            return blocked(fault.get(), entry.faultDisabled());
        }
        if (entry instanceof RemappedIrte toHost) {
            return new Outcome.Remapped(toHost);
        }
        return post((PostedIrte) entry, descriptors);
    }

    private static Outcome post(PostedIrte entry, Descriptors descriptors) {
        Optional<PiDescriptor> descriptor = descriptors.at(entry.descriptorAddress());
        if (descriptor.isEmpty()) {
            return blocked(FaultReason.DESCRIPTOR_UNREADABLE, entry.faultDisabled());
        }
        if (!descriptor.get().snapshot().violations().isEmpty()) {
            return blocked(FaultReason.RESERVED_IN_DESCRIPTOR, entry.faultDisabled());
        }
        long notification = descriptor.get().post(entry.vector().number(), entry.urgent());
        return new Outcome.Posted(entry, notification == 0 ? Optional.empty() : Optional.of(sent(notification)));
    }

    private static Outcome.Notification sent(long control) {
        return new Outcome.Notification(
                new Vector((int) PostedInterruptDescriptor.NV.of(control)), PostedInterruptDescriptor.NDST.of(control));
    }

    private Optional<FaultReason> fault(Irte entry, int requester) {
        if (!entry.present()) {
            return Optional.of(FaultReason.NOT_PRESENT);
        }
        if (!isWellFormed(entry)) {
            return Optional.of(FaultReason.RESERVED_IN_ENTRY);
        }
        return entry.source().accepts(requester) ? Optional.empty() : Optional.of(FaultReason.WRONG_SOURCE);
    }

    private boolean isWellFormed(Irte entry) {
        if (entry.source().validation() == Source.VALIDATION_RESERVED) {
            return false;
        }
        if (entry instanceof PostedIrte posted) {
            return unit.hasPosting()
                    && posted.reserved2() == 0
                    && posted.reserved12() == 0
                    && posted.reserved24() == 0
                    && posted.reserved84() == 0;
        }
        RemappedIrte toHost = (RemappedIrte) entry;
        return toHost.reserved12() == 0
                && toHost.reserved24() == 0
                && toHost.reserved84() == 0
                && !toHost.mode().isReserved()
                && (extended || (toHost.destination() & ~XAPIC_ID) == 0);
    }

    private static Outcome blocked(FaultReason reason, boolean faultDisabled) {
        return new Outcome.Blocked(reason, !(faultDisabled && reason.isOfEntry()));
    }
}
