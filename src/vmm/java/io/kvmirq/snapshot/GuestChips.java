/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.arch.apic.IoapicEntry;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.irqchip.GuestPic;
import io.kvmirq.kvm.X86Lapic;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Function;

/** The VMM's chips of a split irqchip: {@link GuestIoapic#state} and {@link GuestPic#state} in hex. */
record GuestChips(Optional<String> ioapic, Optional<String> pic, Map<String, List<Gsi>> lines) {
    private static final int ISR = 0x100;
    private static final int IRR = 0x200;
    private static final int REGISTER = 16;
    /** The lowest delivery mode without an EOI. Higher modes have none either. */
    private static final int SMI = 2;

    static GuestChips read(VmParts parts) {
        Map<String, List<Gsi>> lines = new LinkedHashMap<>();
        parts.lines.forEach((name, source) -> lines.put(
                name,
                parts.ioapic()
                        .orElseThrow(() -> new IllegalArgumentException(
                                "the lines " + name + " have no IOAPIC: name it with VmParts.ioapic"))
                        .driven(source)));
        return new GuestChips(
                parts.ioapic().map(GuestIoapic::state).map(Node::bytes),
                parts.pic().map(GuestPic::state).map(Node::bytes),
                lines);
    }

    /** Whether the VM has the same chips, judged by the sizes of their states. */
    boolean fits(VmParts parts) {
        Function<String, Integer> size = String::length;
        GuestChips here = read(parts);
        return ioapic.map(size).equals(here.ioapic.map(size)) && pic.map(size).equals(here.pic.map(size));
    }

    /** Drives the lines first, while the new IOAPIC masks all pins. */
    void write(VmParts parts) {
        lines.forEach((name, high) -> high.forEach(
                gsi -> Objects.requireNonNull(parts.lines.get(name)).line(gsi, true)));
        parts.ioapic().ifPresent(to -> to.restore(Node.ofHex(ioapic.orElseThrow())));
        parts.pic().ifPresent(to -> to.restore(Node.ofHex(pic.orElseThrow())));
    }

    /**
     * Lets lines interrupt. If a vCPU is kicked between an EOI and the KVM_EXIT_IOAPIC_EOI that reports it, the exit is
     * lost with the old VM, so a pin that awaits an EOI gets it here if no LAPIC has its interrupt.
     */
    static void settle(GuestIoapic ioapic, List<X86Lapic> lapics) {
        for (int pin = 0; pin < ioapic.pins(); pin++) {
            long entry = ioapic.entry(pin);
            int vector = (int) IoapicEntry.VECTOR.of(entry);
            if (IoapicEntry.REMOTE_IRR.isSet(entry)
                    && IoapicEntry.MODE.of(entry) < SMI
                    && lapics.stream().noneMatch(lapic -> has(lapic, vector))) {
                ioapic.endOfInterrupt(new InterruptVector(vector));
            }
        }
        ioapic.settle();
    }

    private static boolean has(X86Lapic lapic, int vector) {
        int word = vector / Integer.SIZE * REGISTER;
        return ((lapic.get(ISR + word) | lapic.get(IRR + word)) >>> vector % Integer.SIZE & 1) != 0;
    }

    /** Fields that differ from the saved state. */
    Optional<String> difference(GuestChips saved) {
        return VcpuData.differs("IOAPIC of the VMM", ioapic, saved.ioapic)
                .or(() -> VcpuData.differs("PICs of the VMM", pic, saved.pic))
                .or(() -> VcpuData.differs("lines of the VMM", lines, saved.lines));
    }

    Map<String, Object> tree() {
        Map<String, Object> tree = new LinkedHashMap<>();
        ioapic.ifPresent(hex -> tree.put("ioapic", hex));
        pic.ifPresent(hex -> tree.put("pic", hex));
        List<Map<String, Object>> sources = new ArrayList<>();
        lines.forEach((name, high) -> {
            Map<String, Object> source = new LinkedHashMap<>();
            source.put("name", name);
            source.put("high", high.stream().map(Gsi::number).toList());
            sources.add(source);
        });
        if (!sources.isEmpty()) {
            tree.put("lines", sources);
        }
        return tree;
    }

    static GuestChips parse(Node node) {
        Map<String, List<Gsi>> lines = new LinkedHashMap<>();
        for (Node source : node.find("lines").map(Node::all).orElse(List.of())) {
            List<Gsi> high = source.all("high").stream().map(RouteData::gsi).toList();
            if (lines.put(source.at("name").text(), high) != null) {
                throw source.flaw("a name that no earlier source of lines has");
            }
        }
        return new GuestChips(
                node.find("ioapic").map(Node::bytes).map(Node::bytes),
                node.find("pic").map(Node::bytes).map(Node::bytes),
                lines);
    }
}
