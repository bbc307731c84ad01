/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

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

    private record Segment(long address, long length, long offset) {}

    private static final int ENTRY = 16;
    private static final int AMD_ENTRIES = 512;
    private static final int INTEL_ENTRIES = 1 << 16;
    private static final int SID = 0xffff;
    private static final String AMD_MODE = "amd_iommu_guest_ir";
    private static final String AMD_SEGMENTS = "amd_iommu_pci_seg_list";
    private static final String INTEL_UNITS = "dmar_drhd_units";
    private static final Set<String> SYMBOLS = Set.of(AMD_MODE, AMD_SEGMENTS, INTEL_UNITS);

    private final FileChannel memory;
    private final Map<String, Long> symbols = symbols();
    private final List<Segment> segments = new ArrayList<>();
    private final boolean later;

    private KernelIrtes(FileChannel memory, boolean later) throws IOException {
        this.memory = memory;
        this.later = later;
        ByteBuffer header = read(0, 64);
        int count = header.getShort(0x38) & 0xffff;
        ByteBuffer programs = read(header.getLong(0x20), count * 56);
        for (int at = 0; at < count * 56; at += 56) {
            if (programs.getInt(at) == 1) {
                segments.add(new Segment(
                        programs.getLong(at + 0x10), programs.getLong(at + 0x28), programs.getLong(at + 8)));
            }
        }
    }

    /** Empty where the kernel's memory cannot be read, or its structures are not known. */
    static Optional<KernelIrtes> ofThisMachine() throws IOException {
        String release = Files.readString(Path.of("/proc/sys/kernel/osrelease"));
        Path core = Path.of("/proc/kcore");
        boolean known = release.startsWith("6.1.") || release.startsWith("6.12.");
        return known && Files.isReadable(core)
                ? Optional.of(new KernelIrtes(FileChannel.open(core), release.startsWith("6.12.")))
                : Optional.empty();
    }

    private ByteBuffer read(long position, int length) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
        while (bytes.hasRemaining() && memory.read(bytes, position + bytes.position()) > 0) {
            // the rest
        }
        return bytes;
    }

    private ByteBuffer at(long address, int length) throws IOException {
        for (Segment segment : segments) {
            if (Long.compareUnsigned(address, segment.address) >= 0
                    && Long.compareUnsigned(address + length, segment.address + segment.length) <= 0) {
                return read(segment.offset + (address - segment.address), length);
            }
        }
        throw new IOException("the kernel's memory at 0x" + Long.toHexString(address) + " is not shown");
    }

    private long word(long address) throws IOException {
        return at(address, Long.BYTES).getLong(0);
    }

    private Optional<Long> symbol(String name) {
        return Optional.ofNullable(symbols.get(name));
    }

    /** There are more than a hundred thousand. */
    private static Map<String, Long> symbols() throws IOException {
        try (Stream<String> lines = Files.lines(Path.of("/proc/kallsyms"))) {
            return lines.filter(line -> SYMBOLS.stream().anyMatch(line::endsWith))
                    .map(line -> line.split(" ", 3))
                    .filter(parts -> SYMBOLS.contains(parts[2]))
                    .collect(Collectors.toMap(
                            parts -> parts[2],
                            parts -> Long.parseUnsignedLong(parts[0], 16),
                            (first, second) -> first));
        }
    }

    /** Whether AMD's IOMMU is in guest mode: {@code AMD_IOMMU_GUEST_IR_VAPIC}. */
    boolean isVapic() throws IOException {
        Optional<Long> mode = symbol(AMD_MODE);
        Optional<Long> list = symbol(AMD_SEGMENTS);
        boolean present = list.isPresent() && word(list.get()) != list.get();
        return present && mode.isPresent() && at(mode.get(), Integer.BYTES).getInt(0) == 2;
    }

    /** The present entries of a device. */
    List<Entry> of(int requester) throws IOException {
        List<Entry> found = new ArrayList<>();
        Optional<Long> amd = symbol(AMD_SEGMENTS);
        if (amd.isPresent()) {
            for (long seg = word(amd.get()); seg != amd.get() && seg != 0; seg = word(seg)) {
                long table = word(word(seg + 0x38) + (long) requester * Long.BYTES);
                if (table != 0) {
                    add(found, word(table + Long.BYTES), AMD_ENTRIES, -1);
                }
            }
        }
        Optional<Long> intel = symbol(INTEL_UNITS);
        if (intel.isPresent()) {
            for (long unit = word(intel.get()); unit != intel.get() && unit != 0; unit = word(unit)) {
                long iommu = word(unit + (later ? 0x38 : 0x30));
                long table = iommu == 0 ? 0 : word(iommu + (later ? 0x150 : 0x128));
                if (table != 0) {
                    add(found, word(table), INTEL_ENTRIES, requester);
                }
            }
        }
        return found;
    }

    private void add(List<Entry> found, long base, int entries, int requester) throws IOException {
        ByteBuffer table = at(base, entries * ENTRY);
        for (int at = 0; at < entries * ENTRY; at += ENTRY) {
            Entry entry = new Entry(table.getLong(at), table.getLong(at + Long.BYTES));
            if ((entry.low & 1) != 0 && (requester < 0 || (entry.high & SID) == requester)) {
                found.add(entry);
            }
        }
    }
}
