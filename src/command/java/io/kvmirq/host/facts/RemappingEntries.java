/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.HostIrq;
import io.kvmirq.PciAddress;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.amd.LegacyIrte;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.vtd.Irte;
import io.kvmirq.path.Known;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Interrupt remapping entries, as debugfs shows them. No file is written, so AMD's file helps only if it already shows
 * the device.
 *
 * <p>Source: {@code ir_translation_struct_show()} in drivers/iommu/intel/debugfs.c, {@code set_msi_sid()} in
 * irq_remapping.c; {@code dump_128_irte()} in drivers/iommu/amd/debugfs.c; {@code irq_debug_show_data()} in
 * kernel/irq/debugfs.c.
 */
public final class RemappingEntries {
    private static final String DEBUGFS = "/sys/kernel/debug/";
    private static final String INTEL = "iommu/intel/ir_translation_struct";
    private static final String AMD = "iommu/amd/irqtbl";
    private static final String DEVID = DEBUGFS + "iommu/amd/devid";
    private static final String SHOWS_EACH_IRQ = "boot a kernel with CONFIG_GENERIC_IRQ_DEBUGFS";
    /** Index, source, words of the destination, vector, high and low word. */
    private static final Pattern INTEL_ROW =
            Pattern.compile("\\s*(\\d{1,5})\\s+([0-9a-f]{2}:[0-9a-f]{2}\\.[0-9a-f])(?:\\s+[0-9a-f]{8}){1,2}"
                    + "\\s+[0-9a-f]{2}\\s+([0-9a-f]{16})\\s+([0-9a-f]{16})\\s*");

    private static final String NO_UNIT = "none";
    private static final String INTEL_UNIT = " supported on IOMMU: ";
    private static final Pattern AMD_ROW =
            Pattern.compile("\\s*IRT\\[(\\d{4,5})\\]\\s+([0-9a-f]{16})\\s+([0-9a-f]{16})\\s*");
    /** The unit, the number of the message, and the chip; farther below, the vector of the CPU. */
    private static final Pattern INTEL_IRQ = Pattern.compile(
            "domain: +INTEL-IR-(\\d{1,4})(?:-\\S*)?\\s+hwirq: +0x([0-9a-f]{1,12})"
                    + "(?:\\s+chip: +(INTEL-IR\\S*)(?:.*\\n\\s*Vector: +(\\d{1,3})\\n)?)?",
            Pattern.DOTALL);

    private static final int INDEX_SHIFT = 16;
    private static final int INDEX_MASK = 0xffff;
    private static final int AMD_INDEX_MASK = 0x7ff;
    /** The last line of Intel's file: without it a part is missing. */
    private static final String END = "****";

    /** An entry: its place in the table of its unit or, on AMD, of its device, and whether it posts to a guest. */
    public record Entry(int index, boolean posted, long low, long high) {
        /** The entry's fields on Intel. */
        public Irte irte() {
            return Irte.decode(low, high);
        }

        /** The layout of its form. debugfs shows AMD's entries of 128 bits alone. */
        public Format format(Vendor unit) {
            return unit == Vendor.INTEL ? irte().format() : posted ? GaIrte.GUEST : GaIrte.REMAPPED;
        }
    }

    /** The place of an irq's entry, and the entry if it is present. */
    public record Slot(int index, Optional<Entry> entry) {}

    /** An irq of Intel's domain in debugfs. */
    private record Irq(String unit, int index, boolean posts, int vector) {
        Key key() {
            return new Key(unit, String.valueOf(index));
        }

        /**
         * Linux 6.11 and newer post messages to descriptors of host CPUs with intremap=posted_msi: such an entry has the
         * irq's own vector. Source: intel_ir_reconfigure_irte_posted().
         */
        Entry toGuest(Entry entry) {
            boolean own = posts && entry.irte().vector().number() == vector;
            return own ? new Entry(entry.index, false, entry.low, entry.high) : entry;
        }
    }

    /** A unit, and the source of requests or the index in its table. */
    private record Key(String unit, String place) {}

    private final HostFacts host;
    private volatile @Nullable Known<Map<Key, List<Entry>>> intel;
    private final Map<Integer, Optional<Irq>> irqs = new ConcurrentHashMap<>();

    RemappingEntries(HostFacts host) {
        this.host = host;
    }

    /** The entries that may belong to an interrupt: one if the kernel shows its index, else all of its device. */
    public Known<List<Entry>> of(Vendor vendor, PciAddress device, Optional<HostIrq> irq) {
        return vendor == Vendor.INTEL ? ofIntel(device, irq) : ofAmd(device);
    }

    /** A function without its PCI domain, as a unit knows the source of requests. */
    public static String source(PciAddress device) {
        String text = device.toString();
        return text.substring(text.indexOf(':') + 1);
    }

    /** The entry of an irq on Intel; empty if debugfs does not show the irq or the whole table of its unit. */
    public Optional<Slot> slot(HostIrq irq) {
        Map<Key, List<Entry>> table = intel().known().orElse(Map.of());
        return irq(irq).filter(found -> table.containsKey(new Key(found.unit, END)))
                .map(found -> new Slot(
                        found.index,
                        table.getOrDefault(found.key(), List.of()).stream()
                                .findFirst()
                                .map(found::toGuest)));
    }

    /**
     * The entry of a message on AMD, whose data has the index ({@code fill_msi_msg()}); empty if debugfs shows no entry of
     * the device.
     */
    public Optional<Slot> slot(PciAddress device, int data) {
        int index = data & AMD_INDEX_MASK;
        return ofAmd(device)
                .known()
                .map(all -> new Slot(
                        index,
                        all.stream()
                                .filter(entry -> entry.index == index && LegacyIrte.VALID.isSet(entry.low))
                                .findFirst()));
    }

    private Known<Map<Key, List<Entry>>> intel() {
        Known<Map<Key, List<Entry>>> table = intel;
        if (table == null) {
            table = host.debugfs(INTEL, "boot a kernel with CONFIG_INTEL_IOMMU_DEBUGFS")
                    .map(RemappingEntries::intel);
            intel = table;
        }
        return table;
    }

    private Known<List<Entry>> ofIntel(PciAddress device, Optional<HostIrq> irq) {
        Known<Map<Key, List<Entry>>> table = intel();
        Optional<Irq> shown = irq.flatMap(this::irq);
        if (shown.isPresent()) {
            return found(
                            table,
                            shown.get().key(),
                            "debugfs shows no IRTE of the device",
                            "look again while the guest runs")
                    .map(all -> all.stream().map(shown.get()::toGuest).toList());
        }
        if (host.files().text("proc/cmdline").orElse("").contains("posted_msi")) {
            return new Known.Unknown<>(
                    "with intremap=posted_msi, the host also has posted entries, and debugfs does not show their irqs",
                    SHOWS_EACH_IRQ);
        }
        String source = source(device);
        Optional<String> unit = host.iommu(device);
        if (table.known().isPresent()
                && unit.isEmpty()
                && host.pciAddresses().stream().anyMatch(address -> address.domain() != device.domain())) {
            return new Known.Unknown<>(
                    DEBUGFS + INTEL + " shows no PCI domain, and sysfs does not show the unit of the device",
                    SHOWS_EACH_IRQ + ", which shows each irq's IRTE");
        }
        return found(
                table,
                new Key(unit.orElse(""), source),
                "debugfs shows no entry with source id " + source
                        + "; behind a PCI bridge, the source id is the bridge's",
                "look again while the guest runs, or " + SHOWS_EACH_IRQ + ", which shows each irq's IRTE");
    }

    private static Known<List<Entry>> found(Known<Map<Key, List<Entry>>> table, Key key, String why, String remedy) {
        Known<List<Entry>> found = table.map(all -> all.getOrDefault(key, List.of()));
        return found.known().filter(List::isEmpty).isPresent() ? new Known.Unknown<>(why, remedy) : found;
    }

    /** The entries by unit and source, by source in any unit, and by unit and index; none at the end of a whole unit. */
    private static Map<Key, List<Entry>> intel(String text) {
        Map<Key, List<Entry>> entries = new HashMap<>();
        String unit = NO_UNIT;
        for (String line : HostKvm.lines(text)) {
            int named = line.indexOf(INTEL_UNIT);
            if (named >= 0) {
                unit = line.substring(named + INTEL_UNIT.length()).strip();
                if (text.stripTrailing().endsWith(END)) {
                    entries.put(new Key(unit, END), List.of());
                }
                continue;
            }
            Matcher row = INTEL_ROW.matcher(line);
            if (row.matches()) {
                int index = Integer.parseInt(row.group(1));
                long low = HexFormat.fromHexDigitsToLong(row.group(4));
                Entry entry =
                        new Entry(index, Irte.POSTED.isSet(low), low, HexFormat.fromHexDigitsToLong(row.group(3)));
                for (Key key : List.of(
                        new Key(unit, row.group(2)), new Key("", row.group(2)), new Key(unit, String.valueOf(index)))) {
                    List<Entry> known = entries.computeIfAbsent(key, same -> new ArrayList<>());
                    if (known.size() < INDEX_MASK) {
                        known.add(entry);
                    }
                }
            }
        }
        return entries;
    }

    private Known<List<Entry>> ofAmd(PciAddress device) {
        Known<String> table = host.debugfs(
                AMD, "boot Linux 6.17 or newer with CONFIG_AMD_IOMMU_DEBUGFS, then run echo " + device + " > " + DEVID);
        if (table.known()
                .filter(text -> !text.stripLeading().startsWith("DeviceId " + device))
                .isPresent()) {
            return new Known.Unknown<>(
                    DEBUGFS + AMD + " does not show this device",
                    "run echo " + device + " > " + DEVID + ", and look again");
        }
        Known<List<Entry>> entries = table.map(RemappingEntries::amd);
        return entries.known().filter(List::isEmpty).isPresent()
                ? new Known.Unknown<>("debugfs shows no IRTE of the device", "look again while the guest runs")
                : entries;
    }

    private static List<Entry> amd(String text) {
        return text.lines()
                .map(AMD_ROW::matcher)
                .filter(Matcher::matches)
                .map(row -> {
                    long low = HexFormat.fromHexDigitsToLong(row.group(3));
                    return new Entry(
                            Integer.parseInt(row.group(1)),
                            GaIrte.GUEST_MODE.isSet(low),
                            low,
                            HexFormat.fromHexDigitsToLong(row.group(2)));
                })
                .toList();
    }

    /**
     * A host irq of Intel's domain; {@code dmar0} has the domain {@code INTEL-IR-0}. Its number is the first entry of the
     * device's message and, for MSI of several vectors, its place behind it. AMD shows no index: {@code
     * irq_remapping_alloc()} in drivers/iommu/amd/iommu.c counts hwirqs within one allocation, so all vectors of MSI-X have
     * the same.
     */
    private Optional<Irq> irq(HostIrq irq) {
        return host.hasNoIrqDebugfs() ? Optional.empty() : irqs.computeIfAbsent(irq.number(), this::irq);
    }

    private Optional<Irq> irq(int number) {
        Matcher shown = INTEL_IRQ.matcher(
                host.debugfs("irq/irqs/" + number, SHOWS_EACH_IRQ).known().orElse(""));
        if (!shown.find()) {
            return Optional.empty();
        }
        long id = HexFormat.fromHexDigitsToLong(shown.group(2));
        int index = (int) ((id >> INDEX_SHIFT) + id & INDEX_MASK);
        int vector = shown.group(4) == null ? -1 : Integer.parseInt(shown.group(4));
        return Optional.of(new Irq(
                "dmar" + shown.group(1), index, String.valueOf(shown.group(3)).endsWith("POST"), vector));
    }
}
