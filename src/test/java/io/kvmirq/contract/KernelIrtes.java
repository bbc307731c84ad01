/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * The remapping entries of the running kernel, read from its memory. The offsets are those of Debian's 6.1 and 6.12,
 * from their BTF: {@code struct amd_iommu_pci_seg}, {@code irq_remap_table}, {@code dmar_drhd_unit}, {@code
 * intel_iommu}, {@code ir_table}.
 */
final class KernelIrtes {
    /** An entry of 128 bits. */
    record Entry(long low, long high) {
        @Override
        public String toString() {
            return String.format("%016x_%016x", high, low);
        }
    }

    private static final int ENTRY = 16;
    private static final int AMD_ENTRIES = 512;
    private static final int INTEL_ENTRIES = 1 << 16;
    private static final int SID = 0xffff;
    private static final String AMD_MODE = "amd_iommu_guest_ir";
    private static final String AMD_SEGMENTS = "amd_iommu_pci_seg_list";
    private static final String INTEL_UNITS = "dmar_drhd_units";
    private static final Set<String> SYMBOLS = Set.of(AMD_MODE, AMD_SEGMENTS, INTEL_UNITS);

    private final KernelMemory memory;
    private final boolean later;

    private KernelIrtes(KernelMemory memory, boolean later) {
        this.memory = memory;
        this.later = later;
    }

    /** Empty where the kernel's memory cannot be read, or its structures are not known. */
    static Optional<KernelIrtes> ofThisMachine() throws IOException {
        String release = Files.readString(Path.of("/proc/sys/kernel/osrelease"));
        boolean known = release.startsWith("6.1.") || release.startsWith("6.12.");
        return known
                ? KernelMemory.ofThisMachine(SYMBOLS)
                        .map(memory -> new KernelIrtes(memory, release.startsWith("6.12.")))
                : Optional.empty();
    }

    /** Whether AMD's IOMMU is in guest mode: {@code AMD_IOMMU_GUEST_IR_VAPIC}. */
    boolean isVapic() throws IOException {
        Optional<Long> mode = memory.symbol(AMD_MODE);
        Optional<Long> list = memory.symbol(AMD_SEGMENTS);
        boolean present = list.isPresent() && memory.word(list.get()) != list.get();
        return present
                && mode.isPresent()
                && memory.at(mode.get(), Integer.BYTES).getInt(0) == 2;
    }

    /** The present entries of a device. */
    List<Entry> of(int requester) throws IOException {
        List<Entry> found = new ArrayList<>();
        Optional<Long> amd = memory.symbol(AMD_SEGMENTS);
        if (amd.isPresent()) {
            for (long seg = memory.word(amd.get()); seg != amd.get() && seg != 0; seg = memory.word(seg)) {
                long table = memory.word(memory.word(seg + 0x38) + (long) requester * Long.BYTES);
                if (table != 0) {
                    add(found, memory.word(table + Long.BYTES), AMD_ENTRIES, -1);
                }
            }
        }
        Optional<Long> intel = memory.symbol(INTEL_UNITS);
        if (intel.isPresent()) {
            for (long unit = memory.word(intel.get()); unit != intel.get() && unit != 0; unit = memory.word(unit)) {
                long iommu = memory.word(unit + (later ? 0x38 : 0x30));
                long table = iommu == 0 ? 0 : memory.word(iommu + (later ? 0x150 : 0x128));
                if (table != 0) {
                    add(found, memory.word(table), INTEL_ENTRIES, requester);
                }
            }
        }
        return found;
    }

    private void add(List<Entry> found, long base, int entries, int requester) throws IOException {
        ByteBuffer table = memory.at(base, entries * ENTRY);
        for (int at = 0; at < entries * ENTRY; at += ENTRY) {
            Entry entry = new Entry(table.getLong(at), table.getLong(at + Long.BYTES));
            if ((entry.low & 1) != 0 && (requester < 0 || (entry.high & SID) == requester)) {
                found.add(entry);
            }
        }
    }
}
