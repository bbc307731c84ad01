/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.EventFdId;
import io.kvmirq.HostIrq;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.vtd.Irte;
import io.kvmirq.host.memory.RemappingEntry.Target;
import io.kvmirq.host.memory.RemappingEntry.Words;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.stream.Stream;

/**
 * The kernel's data of a host irq: its descriptor, its handler, and the chain of its domains, of which one belongs to an
 * IOMMU and one allocates the vector of a CPU.
 *
 * <p>Source: include/linux/irqdesc.h and irq.h; drivers/iommu/intel/irq_remapping.c ({@code intel_ir_data}, {@code
 * modify_irte()}), drivers/iommu/amd/iommu.c ({@code modify_irte_ga()}) and amd_iommu_types.h; arch/x86/kernel/apic/vector.c
 * ({@code apic_chip_data}).
 */
final class IrqChain {
    static final String HANDLER = "vfio_msihandler";
    static final String MODE = "amd_iommu_guest_ir";

    /** More domains than a message passes: device, PCI, remapping, vector. */
    private static final int MOST_DOMAINS = 8;

    private static final int LONGEST_NAME = 32;
    private static final int ENTRY_128 = 16;
    private static final int INTEL_ENTRIES = 1 << 16;
    /** {@code MAX_IRQS_PER_TABLE_2K}. */
    private static final int AMD_ENTRIES = 2048;

    private static final int VAPIC = 2;

    private final KernelMemory memory;
    private final Types types;
    private final Symbols symbols;
    private final IrqTree tree;
    private final Layout desc;
    private final Layout data;

    IrqChain(KernelMemory memory, Types types, Symbols symbols) {
        this.memory = memory;
        this.types = types;
        this.symbols = symbols;
        tree = new IrqTree(memory, types, symbols);
        desc = types.layout("irq_desc", "irq_data.irq", "irq_data", "action");
        data = types.layout("irq_data", "irq", "chip", "parent_data", "chip_data");
    }

    private Layout.Snapshot descriptor(HostIrq irq) {
        Layout.Snapshot found = desc.at(memory, tree.find(irq));
        if (found.number("irq_data.irq") != irq.number()) {
            throw Unseen.torn("the descriptor of " + irq);
        }
        return found;
    }

    /** The eventfd that VFIO's handler of a message signals; empty if the irq has another handler, or none. */
    OptionalLong trigger(HostIrq irq) {
        Layout action = types.layout("irqaction", "handler", "dev_id", "irq");
        long handler = symbols.address(HANDLER);
        Layout.Snapshot of = descriptor(irq);
        if (of.number("action") == 0) {
            return OptionalLong.empty();
        }
        Layout.Snapshot first = action.at(memory, of.pointer("action"));
        if (first.number("irq") != irq.number()) {
            throw Unseen.torn("the handler of " + irq);
        }
        return first.number("handler") == handler ? OptionalLong.of(first.pointer("dev_id")) : OptionalLong.empty();
    }

    /** The id of an eventfd. */
    static EventFdId id(KernelMemory memory, Types types, long eventfd) {
        return new EventFdId(
                (int) types.layout("eventfd_ctx", "id").at(memory, eventfd).number("id"));
    }

    /** Whether AMD's IOMMU may have entries in guest mode: {@code AMD_IOMMU_GUEST_IR_VAPIC}. */
    boolean isVapic() {
        return mode() == VAPIC;
    }

    private int mode() {
        return (int) memory.half(symbols.address(MODE), MODE);
    }

    /** The data of an irq's domains: the address of what the IOMMU's has, and the allocation of the vectors'. */
    private record Domains(Vendor unit, long own, Optional<Target> target) {}

    /** The entry of an irq. Empty if no IOMMU remaps it. */
    Optional<RemappingEntry> entry(HostIrq irq) {
        return domains(irq)
                .map(all -> all.unit == Vendor.INTEL ? intel(all.own, all.target) : amd(all.own, all.target));
    }

    /** The address of the kernel's data of an irq that an IOMMU remaps, such as {@code amd_ir_data}. */
    long own(HostIrq irq) {
        return domains(irq).orElseThrow(() -> Unseen.torn("the chain of domains of " + irq)).own;
    }

    private Optional<Domains> domains(HostIrq irq) {
        Map<String, Layout.Snapshot> chips = chips(irq);
        Optional<Target> target = Optional.ofNullable(chips.get("APIC"))
                .filter(of -> of.number("chip_data") != 0)
                .map(of -> target(of.pointer("chip_data")));
        return chips.entrySet().stream()
                .filter(entry ->
                        entry.getKey().startsWith("INTEL-IR") || entry.getKey().equals("AMD-IR"))
                .map(entry -> new Domains(
                        entry.getKey().equals("AMD-IR") ? Vendor.AMD : Vendor.INTEL,
                        entry.getValue().pointer("chip_data"),
                        target))
                .findFirst();
    }

    /** The address of the data of an LPI's domain; empty if no ITS raises the irq. */
    OptionalLong ofIts(HostIrq irq) {
        return Stream.ofNullable(chips(irq).get("ITS"))
                .mapToLong(Layout.Snapshot::address)
                .findFirst();
    }

    /** The data of an irq's domains, by the names of their chips. */
    private Map<String, Layout.Snapshot> chips(HostIrq irq) {
        long at = descriptor(irq).address() + desc.offset("irq_data");
        Map<String, Layout.Snapshot> chips = new HashMap<>();
        for (int left = MOST_DOMAINS; at != 0; left--) {
            if (left == 0) {
                throw Unseen.wrong("the chain of domains of " + irq + " has more than " + MOST_DOMAINS);
            }
            Layout.Snapshot here = data.at(memory, at);
            if (here.number("irq") != irq.number()) {
                throw Unseen.torn("the chain of domains of " + irq);
            }
            chips.put(here.number("chip") == 0 ? "" : chip(here.pointer("chip")), here);
            at = here.number("parent_data");
        }
        return chips;
    }

    private String chip(long chip) {
        long name = types.layout("irq_chip", "name").at(memory, chip).number("name");
        if (name >= 0) {
            throw Unseen.wrong("irq_chip.name is not a kernel address");
        }
        byte[] text = memory.read(name, LONGEST_NAME, "irq_chip.name");
        int end = 0;
        while (end < text.length && text[end] != 0) {
            end++;
        }
        return new String(Arrays.copyOf(text, end), StandardCharsets.ISO_8859_1);
    }

    private Target target(long chipData) {
        Layout.Snapshot of = types.layout("apic_chip_data", "hw_irq_cfg.vector", "hw_irq_cfg.dest_apicid")
                .at(memory, chipData);
        return new Target((int) of.number("hw_irq_cfg.vector"), of.number("hw_irq_cfg.dest_apicid"));
    }

    private RemappingEntry intel(long chipData, Optional<Target> target) {
        Layout.Snapshot of = types.layout(
                        "intel_ir_data",
                        "irq_2_iommu.iommu",
                        "irq_2_iommu.irte_index",
                        "irq_2_iommu.sub_handle",
                        "?irq_2_iommu.posted_vcpu",
                        "?irq_2_iommu.posted_msi",
                        "irte_entry")
                .at(memory, chipData);
        int index = (int) (of.number("irq_2_iommu.irte_index") + of.number("irq_2_iommu.sub_handle"));
        if (index >= INTEL_ENTRIES) {
            throw Unseen.wrong("irq_2_iommu.irte_index is " + index + ", expected less than " + INTEL_ENTRIES);
        }
        long table = types.layout("intel_iommu", "ir_table")
                .at(memory, of.pointer("irq_2_iommu.iommu"))
                .pointer("ir_table");
        long base = types.layout("ir_table", "base").at(memory, table).pointer("base");
        long[] words = memory.words(base + (long) index * ENTRY_128, 2, "an entry of ir_table.base");
        return new RemappingEntry(
                Vendor.INTEL,
                index,
                (int) Irte.SOURCE_ID.of(words[1]),
                2 * Long.SIZE,
                words[0],
                words[1],
                new Words(of.word("irte_entry", 0), of.word("irte_entry", 1)),
                of.has("irq_2_iommu.posted_vcpu")
                        ? Optional.of(of.number("irq_2_iommu.posted_vcpu") != 0)
                        : Optional.empty(),
                of.has("irq_2_iommu.posted_msi") && of.number("irq_2_iommu.posted_msi") != 0,
                target);
    }

    private RemappingEntry amd(long chipData, Optional<Target> target) {
        Layout.Snapshot of = types.layout("amd_ir_data", "iommu", "irq_2_irte.devid", "irq_2_irte.index", "entry")
                .at(memory, chipData);
        int device = (int) of.number("irq_2_irte.devid");
        int index = (int) of.number("irq_2_irte.index");
        long segment = types.layout("amd_iommu", "pci_seg")
                .at(memory, of.pointer("iommu"))
                .pointer("pci_seg");
        Layout.Snapshot tables = types.layout("amd_iommu_pci_seg", "last_bdf", "irq_lookup_table")
                .at(memory, segment);
        if (index >= AMD_ENTRIES || device > tables.number("last_bdf")) {
            throw Unseen.wrong("amd_ir_data.irq_2_irte has device " + device + " and index " + index
                    + ", expected at most " + tables.number("last_bdf") + " and less than " + AMD_ENTRIES);
        }
        long table = KernelMemory.checked(
                memory.word(
                        tables.pointer("irq_lookup_table") + (long) device * Long.BYTES,
                        "amd_iommu_pci_seg.irq_lookup_table"),
                "an element of amd_iommu_pci_seg.irq_lookup_table");
        long base = types.layout("irq_remap_table", "table").at(memory, table).pointer("table");
        boolean wide = mode() > 0;
        Words entry = words(base + (long) index * (wide ? ENTRY_128 : Integer.BYTES), wide, "irq_remap_table.table");
        return new RemappingEntry(
                Vendor.AMD,
                index,
                device,
                wide ? 2 * Long.SIZE : Integer.SIZE,
                entry.low(),
                entry.high(),
                words(of.pointer("entry"), wide, "amd_ir_data.entry"),
                Optional.empty(),
                false,
                target);
    }

    private Words words(long address, boolean wide, String what) {
        if (wide) {
            long[] words = memory.words(address, 2, what);
            return new Words(words[0], words[1]);
        }
        return new Words(memory.half(address, what), 0);
    }
}
