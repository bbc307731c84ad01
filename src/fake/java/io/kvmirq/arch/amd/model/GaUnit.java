/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.amd.model;

import static io.kvmirq.arch.amd.GaIrte.DESTINATION;
import static io.kvmirq.arch.amd.GaIrte.DESTINATION_HIGH;
import static io.kvmirq.arch.amd.GaIrte.DESTINATION_LOW;
import static io.kvmirq.arch.amd.GaIrte.GA_LOG_INTR;
import static io.kvmirq.arch.amd.GaIrte.GA_TAG;
import static io.kvmirq.arch.amd.GaIrte.GUEST_MODE;
import static io.kvmirq.arch.amd.GaIrte.IS_RUN;
import static io.kvmirq.arch.amd.GaIrte.VECTOR;
import static io.kvmirq.arch.amd.LegacyIrte.INT_TYPE;
import static io.kvmirq.arch.amd.LegacyIrte.LOGICAL;
import static io.kvmirq.arch.amd.LegacyIrte.VALID;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.amd.GaLog;

/**
 * An AMD IOMMU: a table of remapping entries of 128 bits, the unit's cached copies of these entries, and the GA log.
 * The unit handles requests of devices, while Linux changes entries.
 *
 * <p>A spinlock for each entry makes 128-bit accesses atomic: cmpxchg16b by Linux, and reads by the IOMMU. The unit
 * does not cache Destination, IsRun and GATag, so a change of them needs no invalidation. Linux also changes GALogIntr
 * without an invalidation. Of GALogIntr and all other fields the unit may use the cached copy until Linux invalidates
 * the entry. An invalidation waits until the unit has handled its current request.
 *
 * <p>Any number of threads may use the unit after all its entries are set. A request allocates no Java object. Source:
 * {@code drivers/iommu/amd/iommu.c} of Linux 7.1; AMD I/O Virtualization Technology specification, Guest Virtual APIC.
 */
public class GaUnit {
    /** For {@link #update}: the vCPU does not run. */
    static final long NO_CPU = -1;

    /** The lock of the unit: it handles one request at a time. */
    static final int REQUEST = 0;

    static final int TABLE = 1;

    // The words of an entry.
    /** The lock that models 128-bit accesses. */
    static final int ATOMIC = 0;

    static final int LOW = 1;
    static final int HIGH = 2;
    static final int CACHED_LOW = 3;
    static final int CACHED_HIGH = 4;
    /** The remapped form of the entry, of which Linux keeps a copy. */
    static final int HOST_LOW = 5;

    static final int HOST_HIGH = 6;
    /** The guest mode form for a vCPU that does not run, of which Linux keeps a copy. */
    static final int GUEST_LOW = 7;

    static final int GUEST_HIGH = 8;
    static final int REQUESTER = 9;
    /** Whether the device's domain is of the type UNMANAGED. */
    static final int UNMANAGED = 10;

    static final int ENTRY_WORDS = 11;

    private static final int LOW_BITS = 24;
    private static final int PAGE_BITS = 12;

    public enum Outcome {
        /** The unit dropped the request: the entry is not valid, or its address is no backing page. */
        BLOCKED,
        /** The unit interrupted the host. KVM then delivers the guest's interrupt by software. */
        REMAPPED,
        /** The unit set the vector in the IRR, and rang the doorbell of the CPU in Destination. */
        DOORBELL,
        /** The unit set the vector in the IRR, and wrote an entry to the GA log. */
        LOGGED,
        /** The unit set the vector in the IRR, but the GA log was full: no vCPU is woken. */
        OVERFLOW,
        /** The unit set the vector in the IRR and did no more: the vCPU finds the vector at its next entry. */
        SILENT
    }

    /**
     * The sizes and features of an AMD IOMMU.
     *
     * @param logEntries the number of entries of the GA log, 2 or more; Linux uses 512. One entry always stays free
     * @param logVector the host vector of the GA log's interrupt, which the unit sends to CPU 0
     * @param vapic whether entries may have guest mode: GAM of the control register is set
     * @param caches whether the unit caches entries: IRTCacheDis is clear
     */
    public record Setup(int entries, int logEntries, int logVector, boolean vapic, boolean caches) {}

    private final AvicHost avic;
    private final SharedWords words;
    private final int base;
    private final Setup setup;
    private final GaLogRing log;

    /** Creates a unit whose table has no valid entry. */
    public GaUnit(AvicHost avic, Setup setup) {
        this(avic, SharedWords.of(new long[words(setup)]), 0, setup);
    }

    GaUnit(AvicHost avic, SharedWords words, int base, Setup setup) {
        this.avic = avic;
        this.words = words;
        this.base = base;
        this.setup = setup;
        GaLogRing made = new GaLogRing(avic, words, base + TABLE + setup.entries() * ENTRY_WORDS, setup);
        this.log = made;
        avic.host().handle(setup.logVector(), cpu -> made.handle());
    }

    static int words(Setup setup) {
        return TABLE + setup.entries() * ENTRY_WORDS + GaLogRing.words(setup.logEntries());
    }

    int at(int entry, int word) {
        return base + TABLE + entry * ENTRY_WORDS + word;
    }

    int request() {
        return base + REQUEST;
    }

    GaLogRing log() {
        return log;
    }

    private long get(int entry, int word) {
        return words.get(at(entry, word));
    }

    private void set(int entry, int word, long value) {
        words.set(at(entry, word), value);
    }

    int checked(int entry) {
        if (entry < 0 || entry >= setup.entries()) {
            throw new IllegalArgumentException("entry " + entry + " does not exist: expected 0-" + (setup.entries() - 1)
                    + ", as the table was created");
        }
        return entry;
    }

    private void lock(int entry) {
        words.lock(at(entry, ATOMIC));
    }

    private void unlock(int entry) {
        words.unlock(at(entry, ATOMIC));
    }

    /**
     * Makes an entry valid, in remapped form. {@code unmanaged}: whether the device's DMA domain is UNMANAGED, as with
     * VFIO. Throws IllegalArgumentException if the entry does not exist or is in guest mode.
     */
    public void set(int entry, long low, long high, int requester, boolean unmanaged) {
        checked(entry);
        if (GUEST_MODE.isSet(low)) {
            throw new IllegalArgumentException("entry " + entry + " is in guest mode: expected bit 7 to be 0");
        }
        set(entry, HOST_LOW, low);
        set(entry, HOST_HIGH, high);
        set(entry, REQUESTER, GaLog.DEVICE.of(GaLog.DEVICE.with(requester)));
        set(entry, UNMANAGED, unmanaged ? 1 : 0);
        lock(entry);
        set(entry, LOW, low);
        set(entry, HIGH, high);
        unlock(entry);
        invalidate(entry);
    }

    /** Bits 63:0 of the entry in memory. */
    public long low(int entry) {
        return get(checked(entry), LOW);
    }

    /** Bits 127:64 of the entry in memory. */
    public long high(int entry) {
        return get(checked(entry), HIGH);
    }

    boolean isVapic() {
        return setup.vapic();
    }

    /** {@code use_vapic} of the device, which is set only with GUEST_IR_VAPIC and in a domain of type UNMANAGED. */
    boolean usesVapic(int entry) {
        return setup.vapic() && get(entry, UNMANAGED) != 0;
    }

    /** Does what {@code amd_ir_set_vcpu_affinity} does for a vCPU, and then {@link #update}. */
    void post(int entry, AvicVcpu vcpu, int vector, boolean guestMode, long cpu, boolean logs) {
        lock(entry);
        set(entry, GUEST_LOW, GaIrte.guestLow(vcpu.gaTag(), false));
        set(entry, GUEST_HIGH, GaIrte.guestHigh(vcpu.page(), vector));
        if (guestMode) {
            writeGuest(entry, cpu, logs);
        } else {
            writeHost(entry);
        }
        unlock(entry);
        invalidate(entry);
    }

    /** {@code amd_iommu_activate_guest_mode}. */
    void activate(int entry, long cpu, boolean logs) {
        lock(entry);
        writeGuest(entry, cpu, logs);
        unlock(entry);
        invalidate(entry);
    }

    /** {@code amd_iommu_deactivate_guest_mode}. */
    void deactivate(int entry) {
        lock(entry);
        writeHost(entry);
        unlock(entry);
        invalidate(entry);
    }

    /**
     * {@code amd_iommu_update_ga}, without an invalidation: the vCPU runs on the CPU with this APIC id, or on {@link
     * #NO_CPU}, which leaves Destination as it is. An entry that is not in guest mode stays as it is.
     */
    void update(int entry, long cpu, boolean logs) {
        lock(entry);
        long low = get(entry, LOW);
        if (GUEST_MODE.isSet(low)) {
            write(entry, low, get(entry, HIGH), cpu, logs);
        }
        unlock(entry);
    }

    /** Writes the guest mode form. Valid stays. */
    private void writeGuest(int entry, long cpu, boolean logs) {
        long low = VALID.put(get(entry, GUEST_LOW), VALID.of(get(entry, LOW)));
        write(entry, low, get(entry, GUEST_HIGH), cpu, logs);
    }

    private void write(int entry, long low, long high, long cpu, boolean logs) {
        long flags = GA_LOG_INTR.put(IS_RUN.put(low, cpu == NO_CPU ? 0 : 1), logs ? 1 : 0);
        if (cpu == NO_CPU) {
            set(entry, LOW, flags);
            set(entry, HIGH, high);
        } else {
            set(entry, LOW, DESTINATION_LOW.put(flags, cpu & DESTINATION_LOW.max()));
            set(entry, HIGH, DESTINATION_HIGH.put(high, cpu >>> LOW_BITS));
        }
    }

    /**
     * Writes the remapped form. Valid stays. NoFault and RqEOI are lost: Linux writes fields of {@code irq_cfg} only.
     */
    private void writeHost(int entry) {
        long low = get(entry, LOW);
        if (GUEST_MODE.isSet(low)) {
            long host = get(entry, HOST_LOW) & (INT_TYPE.mask() | LOGICAL.mask() | DESTINATION_LOW.mask());
            set(entry, LOW, VALID.put(host, VALID.of(low)));
            set(entry, HIGH, get(entry, HOST_HIGH) & (VECTOR.mask() | DESTINATION_HIGH.mask()));
        }
    }

    /** Invalidates cached entries. Waits for the current request. */
    private void invalidate(int entry) {
        if (setup.caches()) {
            words.lock(request());
            set(entry, CACHED_LOW, 0);
            words.unlock(request());
        }
    }

    /** Handles a device's interrupt request, which names the remapping entry by its index. */
    public Outcome request(int entry) {
        checked(entry);
        words.lock(request());
        fetch(entry);
        long low = get(entry, CACHED_LOW);
        long high = get(entry, CACHED_HIGH);
        Outcome outcome;
        if (!VALID.isSet(low)) {
            outcome = Outcome.BLOCKED;
        } else if (!GUEST_MODE.isSet(low)) {
            outcome = Outcome.REMAPPED;
        } else {
            AvicVcpu vcpu = avic.withPage(GaIrte.ROOT.of(high) << PAGE_BITS);
            outcome = vcpu == null ? Outcome.BLOCKED : post(entry, vcpu, (int) VECTOR.of(high), low);
        }
        words.unlock(request());
        return outcome;
    }

    /** Fetches an entry into the cache, if it is valid. */
    private void fetch(int entry) {
        if (!setup.caches() || !VALID.isSet(get(entry, CACHED_LOW))) {
            lock(entry);
            long low = get(entry, LOW);
            long high = get(entry, HIGH);
            unlock(entry);
            set(entry, CACHED_LOW, low);
            set(entry, CACHED_HIGH, high);
        }
    }

    /** Sets the IRR before IsRun is read. Partner: the vCPU clears IsRun before its last read of the IRR. */
    Outcome post(int entry, AvicVcpu vcpu, int vector, long cached) {
        vcpu.request(vector);
        return notify(entry, cached);
    }

    /** @param cached bits 63:0 of the entry in the unit's cache */
    Outcome notify(int entry, long cached) {
        lock(entry);
        long low = get(entry, LOW);
        long high = get(entry, HIGH);
        unlock(entry);
        if (IS_RUN.isSet(low)) {
            avic.host().interrupt(DESTINATION.of(low, high), AvicHost.DOORBELL);
            return Outcome.DOORBELL;
        }
        if (!GA_LOG_INTR.isSet(low)) { // read together with IsRun
            return Outcome.SILENT;
        }
        return log.append(GA_TAG.of(low), (int) get(entry, REQUESTER)) ? Outcome.LOGGED : Outcome.OVERFLOW;
    }
}
