/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.HostIrq;
import io.kvmirq.PciAddress;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.vtd.Irte;
import io.kvmirq.path.Known;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The entries of interrupt remapping, as debugfs shows them. No file is written, so AMD's file helps only if it already
 * shows the device.
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
    private static final Pattern INTEL_DOMAIN = Pattern.compile("INTEL-IR-(\\d{1,4})(-.*)?");
    private static final Pattern NUMBER = Pattern.compile("0x([0-9a-f]{1,12})");
    private static final int INDEX_SHIFT = 16;
    private static final int INDEX_MASK = 0xffff;

    /** An entry: its place in the table of its unit or, on AMD, of its device, and whether it posts. */
    public record Entry(int index, boolean posted) {}

    /** A unit, and the source of requests or the index in its table. */
    private record Key(String unit, String place) {}

    private final HostFacts host;
    private volatile @Nullable Known<Map<Key, List<Entry>>> intel;

    RemappingEntries(HostFacts host) {
        this.host = host;
    }

    /** The entries that may belong to an interrupt: one if the kernel shows its index, else all of its device. */
    public Known<List<Entry>> of(Vendor vendor, PciAddress device, Optional<HostIrq> irq) {
        return vendor == Vendor.INTEL ? ofIntel(device, irq) : ofAmd(device);
    }

    private Known<List<Entry>> ofIntel(PciAddress device, Optional<HostIrq> irq) {
        Known<Map<Key, List<Entry>>> table = intel;
        if (table == null) {
            table = host.debugfs(INTEL, "boot a kernel with CONFIG_INTEL_IOMMU_DEBUGFS")
                    .map(RemappingEntries::intel);
            intel = table;
        }
        Optional<Key> place = irq.flatMap(this::place);
        if (place.isPresent()) {
            return found(table, place.get(), "debugfs shows no entry of it", "look again while the guest runs");
        }
        String source = device.toString().substring(device.toString().indexOf(':') + 1);
        Optional<String> unit = host.iommu(device);
        if (table.known().isPresent()
                && unit.isEmpty()
                && host.pciAddresses().stream().anyMatch(one -> one.domain() != device.domain())) {
            return new Known.Unknown<>(
                    DEBUGFS + INTEL + " names no PCI domain, and sysfs does not show the unit of the device",
                    SHOWS_EACH_IRQ + ", which shows the entry of each irq");
        }
        return found(
                table,
                new Key(unit.orElse(""), source),
                "debugfs shows no entry with the source " + source + "; behind a PCI bridge, an entry names the bridge",
                "look again while the guest runs, or " + SHOWS_EACH_IRQ + ", which shows the entry of each irq");
    }

    private static Known<List<Entry>> found(Known<Map<Key, List<Entry>>> table, Key key, String why, String remedy) {
        Known<List<Entry>> found = table.map(all -> all.getOrDefault(key, List.of()));
        return found.known().filter(List::isEmpty).isPresent() ? new Known.Unknown<>(why, remedy) : found;
    }

    /** The entries by unit and source, by source in any unit, and by unit and index. */
    private static Map<Key, List<Entry>> intel(String text) {
        Map<Key, List<Entry>> entries = new HashMap<>();
        String unit = NO_UNIT;
        for (String line : HostKvm.lines(text)) {
            int named = line.indexOf(INTEL_UNIT);
            if (named >= 0) {
                unit = line.substring(named + INTEL_UNIT.length()).strip();
                continue;
            }
            Matcher row = INTEL_ROW.matcher(line);
            if (row.matches()) {
                int index = Integer.parseInt(row.group(1));
                Entry entry = new Entry(index, Irte.POSTED.isSet(HexFormat.fromHexDigitsToLong(row.group(4))));
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
                AMD,
                "boot a kernel of 6.17 or newer with CONFIG_AMD_IOMMU_DEBUGFS, then: echo " + device + " > " + DEVID);
        if (table.known()
                .filter(text -> !text.stripLeading().startsWith("DeviceId " + device))
                .isPresent()) {
            return new Known.Unknown<>(
                    DEBUGFS + AMD + " does not show this device",
                    "echo " + device + " > " + DEVID + ", and look again");
        }
        Known<List<Entry>> entries = table.map(RemappingEntries::amd);
        return entries.known().filter(List::isEmpty).isPresent()
                ? new Known.Unknown<>("debugfs shows no entry of it", "look again while the guest runs")
                : entries;
    }

    private static List<Entry> amd(String text) {
        return text.lines()
                .map(AMD_ROW::matcher)
                .filter(Matcher::matches)
                .map(row -> new Entry(
                        Integer.parseInt(row.group(1)),
                        GaIrte.GUEST_MODE.isSet(HexFormat.fromHexDigitsToLong(row.group(3)))))
                .toList();
    }

    /**
     * The unit and index of a host irq's entry on Intel; {@code dmar0} has the domain {@code INTEL-IR-0}. AMD shows no
     * index: {@code irq_remapping_alloc()} in drivers/iommu/amd/iommu.c counts hwirqs within one allocation, so all
     * vectors of MSI-X have the same.
     */
    private Optional<Key> place(HostIrq irq) {
        @Nullable String unit = null;
        for (String line : HostKvm.lines(
                host.debugfs("irq/irqs/" + irq.number(), SHOWS_EACH_IRQ).known().orElse(""))) {
            String[] words = line.strip().split(":\\s*", 2);
            if (words.length == 2 && words[0].equals("domain")) {
                Matcher domain = INTEL_DOMAIN.matcher(words[1].strip());
                unit = domain.matches() ? "dmar" + domain.group(1) : null;
            } else if (unit != null && words.length == 2 && words[0].equals("hwirq")) {
                Matcher number = NUMBER.matcher(words[1].strip().toLowerCase(Locale.ROOT));
                if (number.matches()) {
                    long id = HexFormat.fromHexDigitsToLong(number.group(1));
                    return Optional.of(new Key(unit, String.valueOf(id >> INDEX_SHIFT & INDEX_MASK)));
                }
            }
        }
        return Optional.empty();
    }
}
