/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.HostIrq;
import io.kvmirq.PciAddress;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.vtd.Irte;
import io.kvmirq.host.Fact;
import io.kvmirq.host.HostFacts;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The entries of interrupt remapping of a device, as debugfs shows them. Nothing is written, so the file of AMD is of use
 * only while it shows this device.
 *
 * <p>Source: {@code ir_tbl_posted_entry_show()} and {@code ir_tbl_remap_entry_show()} in
 * drivers/iommu/intel/debugfs.c; {@code dump_128_irte()} in drivers/iommu/amd/debugfs.c; {@code
 * irq_debug_show_data()} in kernel/irq/debugfs.c.
 *
 * @param index its place in the table
 * @param posted whether it has the posted form
 */
record EntryForm(int index, boolean posted) {
    private static final String INTEL = "iommu/intel/ir_translation_struct";
    private static final String AMD = "iommu/amd/irqtbl";
    /** Index, source, words of the destination, vector, high and low word. */
    private static final Pattern INTEL_ROW =
            Pattern.compile("\\s*(\\d{1,5})\\s+([0-9a-f]{2}:[0-9a-f]{2}\\.[0-9a-f])(?:\\s+[0-9a-f]{8}){1,2}"
                    + "\\s+[0-9a-f]{2}\\s+([0-9a-f]{16})\\s+([0-9a-f]{16})\\s*");

    private static final Pattern AMD_ROW =
            Pattern.compile("\\s*IRT\\[(\\d{4,5})\\]\\s+([0-9a-f]{16})\\s+([0-9a-f]{16})\\s*");
    private static final Pattern NUMBER = Pattern.compile("0x([0-9a-f]{1,12})");
    private static final int INDEX_SHIFT = 16;
    private static final int INDEX_MASK = 0xffff;

    /** The present entries of a device. */
    static Fact<List<EntryForm>> of(HostFacts host, Vendor vendor, PciAddress device) {
        if (vendor == Vendor.INTEL) {
            return device.domain() != 0
                    ? new Fact.Unknown<>("/sys/kernel/debug/" + INTEL + " names no PCI domain", "none")
                    : host.debugfs(INTEL, "boot a kernel with CONFIG_INTEL_IOMMU_DEBUGFS")
                            .map(text -> intel(text, device));
        }
        Fact<String> table = host.debugfs(
                AMD,
                "boot a kernel of 6.17 or newer with CONFIG_AMD_IOMMU_DEBUGFS, then: echo " + device
                        + " > /sys/kernel/debug/iommu/amd/devid");
        boolean other = table.known()
                .filter(text -> !text.stripLeading().startsWith("DeviceId " + device))
                .isPresent();
        return other
                ? new Fact.Unknown<>(
                        "/sys/kernel/debug/" + AMD + " does not show this device",
                        "echo " + device + " > /sys/kernel/debug/iommu/amd/devid, and look again")
                : table.map(EntryForm::amd);
    }

    private static List<EntryForm> intel(String text, PciAddress device) {
        String source = device.toString().substring(device.toString().indexOf(':') + 1);
        List<EntryForm> entries = new ArrayList<>();
        text.lines().map(INTEL_ROW::matcher).filter(Matcher::matches).forEach(row -> {
            if (row.group(2).equals(source)) {
                entries.add(new EntryForm(
                        Integer.parseInt(row.group(1)),
                        Irte.POSTED.isSet(HexFormat.fromHexDigitsToLong(row.group(4)))));
            }
        });
        return entries;
    }

    private static List<EntryForm> amd(String text) {
        return text.lines()
                .map(AMD_ROW::matcher)
                .filter(Matcher::matches)
                .map(row -> new EntryForm(
                        Integer.parseInt(row.group(1)),
                        GaIrte.GUEST_MODE.isSet(HexFormat.fromHexDigitsToLong(row.group(3)))))
                .toList();
    }

    /**
     * The index of a host irq's entry. Empty if the kernel does not show it, as on AMD: {@code irq_remapping_alloc()} in
     * drivers/iommu/amd/iommu.c counts hwirqs within one allocation, so all vectors of MSI-X have the same.
     */
    static OptionalInt indexOf(HostFacts host, HostIrq irq) {
        boolean remapping = false;
        for (String line : host.debugfs("irq/irqs/" + irq.number(), "boot a kernel with CONFIG_GENERIC_IRQ_DEBUGFS")
                .known()
                .orElse("")
                .lines()
                .toList()) {
            String[] words = line.strip().split(":\\s*", 2);
            if (words.length == 2 && words[0].equals("domain")) {
                remapping = words[1].startsWith("INTEL-IR");
            } else if (remapping && words.length == 2 && words[0].equals("hwirq")) {
                Matcher number = NUMBER.matcher(words[1].strip().toLowerCase(Locale.ROOT));
                if (number.matches()) {
                    long id = HexFormat.fromHexDigitsToLong(number.group(1));
                    return OptionalInt.of((int) (id >> INDEX_SHIFT) & INDEX_MASK);
                }
            }
        }
        return OptionalInt.empty();
    }
}
