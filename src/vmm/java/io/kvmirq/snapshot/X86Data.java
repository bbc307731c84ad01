/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.kvm.IoapicState;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuState;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.kvm.X86Pic;
import io.kvmirq.kvm.X86Pit;
import io.kvmirq.kvm.X86Vm;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Supplier;
import java.util.stream.Stream;

/**
 * The state of an x86 VM without eventfds and devices: chips of the full or split irqchip, lines that the VMM drives
 * high, vCPUs by id.
 */
record X86Data(
        boolean has32BitApicIds,
        boolean hasBroadcastQuirk,
        boolean hasLapics,
        Optional<Chips> chips,
        GuestChips guestChips,
        Optional<X86Pit> pit,
        long clock,
        List<Route> routes,
        List<Gsi> lines,
        Map<Integer, VcpuData> vcpus)
        implements MachineData {
    private static final String MASTER = "picMaster";
    private static final String SLAVE = "picSlave";
    private static final String IOAPIC = "ioapic";

    record Chips(X86Pic master, X86Pic slave, IoapicState ioapic) {}

    // Reading

    /** @param parts the parts of a paused VM whose vCPUs belong to this thread and whose irqfds are masked */
    static X86Data read(VmParts parts) {
        Vm vm = parts.vm;
        Map<Integer, VcpuState> states = new TreeMap<>();
        parts.vcpus.forEach((id, vcpu) -> states.put(id, vcpu.state()));
        boolean hasLapics = hasLapics(parts);
        Map<Integer, VcpuData> vcpus = new TreeMap<>();
        parts.vcpus.forEach(
                (id, vcpu) -> vcpus.put(id, VcpuData.read(vcpu, Objects.requireNonNull(states.get(id)), hasLapics)));
        List<Route> routes = RouteData.read(parts);
        X86Vm x86 = vm.x86();
        List<Gsi> lines =
                routes.stream().map(Route::gsi).distinct().filter(x86::isHigh).toList();
        return new X86Data(
                x86.has32BitApicIds(),
                x86.hasBroadcastQuirk(),
                hasLapics,
                chips(x86),
                GuestChips.read(parts),
                pit(x86),
                x86.clock().toNanos(),
                routes,
                lines,
                vcpus);
    }

    private static <T> Optional<T> unless(Errno missing, Supplier<T> read) {
        try {
            return Optional.of(read.get());
        } catch (KernelException e) {
            if (e.errno().equals(missing)) {
                return Optional.empty();
            }
            throw e;
        }
    }

    static boolean hasLapics(VmParts parts) {
        return parts.vcpus.values().stream()
                .allMatch(vcpu -> unless(Errno.EINVAL, vcpu.x86()::lapic).isPresent());
    }

    static Optional<Chips> chips(X86Vm vm) {
        return unless(Errno.ENXIO, vm::ioapic)
                .map(ioapic -> new Chips(vm.pic(Route.Chip.PIC_MASTER), vm.pic(Route.Chip.PIC_SLAVE), ioapic));
    }

    static Optional<X86Pit> pit(X86Vm vm) {
        return unless(Errno.ENXIO, vm::pit);
    }

    // Restoring

    /** Writes the clock before the vCPUs, because an MSR that starts the guest's clock reads it. */
    @Override
    public void writeVcpus(VmParts parts) {
        parts.vm.x86().setClock(Duration.ofNanos(clock));
        vcpus.forEach((id, data) -> data.write(vcpu(parts, id)));
    }

    static Vcpu vcpu(VmParts parts, int id) {
        return Objects.requireNonNull(parts.vcpus.get(id));
    }

    /**
     * Writes lines before chips, because the chips' state replaces the interrupts that a rising line raises, but the
     * level stays.
     */
    @Override
    public void writeChips(VmParts parts) {
        X86Vm vm = parts.vm.x86();
        lines.forEach(gsi -> vm.setLine(gsi, true));
        chips.ifPresent(known -> {
            vm.setPic(known.slave); // before the master: restoring a PIC samples the slave's output
            vm.setPic(known.master);
            vm.setIoapic(known.ioapic);
        });
        guestChips.write(parts);
    }

    /** Starts the timer. */
    @Override
    public void start(VmParts parts) {
        pit.ifPresent(parts.vm.x86()::setPit);
    }

    @Override
    public void settle(VmParts parts) {
        List<X86Lapic> lapics =
                vcpus.values().stream().flatMap(vcpu -> vcpu.lapic().stream()).toList();
        parts.ioapic().ifPresent(ioapic -> GuestChips.settle(ioapic, lapics));
    }

    // Comparison

    @Override
    public Optional<String> differenceOf(VmParts parts) {
        return read(parts).difference(this);
    }

    /** Fields that differ from the saved state, clocks excepted. */
    Optional<String> difference(X86Data saved) {
        Stream<Optional<String>> ofVcpus = saved.vcpus.entrySet().stream()
                .map(entry -> Objects.requireNonNull(vcpus.get(entry.getKey()))
                        .difference(entry.getValue())
                        .map(text -> new VcpuId(entry.getKey()) + ": " + text));
        return Stream.concat(
                        Stream.of(
                                clock - saved.clock >= 0
                                        ? Optional.<String>empty()
                                        : Optional.of("clock " + clock + ", not " + saved.clock + " or more"),
                                VcpuData.differs("routes", new HashSet<>(routes), new HashSet<>(saved.routes)),
                                VcpuData.differs("lines", lines, saved.lines),
                                chips.flatMap(now -> saved.chips.flatMap(was -> difference(now, was))),
                                guestChips.difference(saved.guestChips)),
                        ofVcpus)
                .flatMap(Optional::stream)
                .findFirst();
    }

    private static Optional<String> difference(Chips now, Chips saved) {
        return now.master
                .difference(saved.master)
                .map("PIC "::concat)
                .or(() -> now.slave.difference(saved.slave).map("second PIC "::concat))
                .or(() -> now.ioapic.difference(saved.ioapic).map("IOAPIC "::concat));
    }

    // The document

    @Override
    public Map<String, Object> tree() {
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("has32BitApicIds", has32BitApicIds);
        tree.put("hasBroadcastQuirk", hasBroadcastQuirk);
        tree.put("hasLapics", hasLapics);
        chips.ifPresent(known -> tree.put(
                "chips",
                new TreeMap<>(Map.of(
                        MASTER, Node.bytes(known.master.bytes()),
                        SLAVE, Node.bytes(known.slave.bytes()),
                        IOAPIC, Node.bytes(known.ioapic.bytes())))));
        tree.put("guestChips", guestChips.tree());
        pit.ifPresent(timer -> tree.put("pit", Node.bytes(timer.bytes())));
        tree.put("clock", clock);
        tree.put("routes", routes.stream().map(RouteData::tree).toList());
        tree.put("lines", lines.stream().map(Gsi::number).toList());
        List<Map<String, Object>> all = new ArrayList<>();
        vcpus.forEach((id, vcpu) -> {
            Map<String, Object> saved = new LinkedHashMap<>();
            saved.put("id", id);
            saved.putAll(vcpu.tree());
            all.add(saved);
        });
        tree.put("vcpus", all);
        return tree;
    }

    static X86Data parse(Node node) {
        Map<Integer, VcpuData> vcpus = new TreeMap<>();
        for (Node vcpu : node.all("vcpus")) {
            if (vcpus.put(vcpu.at("id").integer(0, VcpuId.MAX), VcpuData.parse(vcpu)) != null) {
                throw vcpu.flaw("an id that no earlier vCPU has");
            }
        }
        boolean hasLapics = node.at("hasLapics").flag();
        if (vcpus.values().stream().anyMatch(vcpu -> vcpu.lapic().isPresent() != hasLapics)) {
            throw node.at("vcpus").flaw("a LAPIC of each vCPU if hasLapics is true, and else of none");
        }
        List<Route> routes = RouteData.all(node.at("routes"), false);
        return new X86Data(
                node.at("has32BitApicIds").flag(),
                // A snapshot of an older version lacks this field: the quirk is enabled, as in nearly all VMs.
                node.find("hasBroadcastQuirk").map(Node::flag).orElse(true),
                hasLapics,
                node.find("chips")
                        .map(chips -> new Chips(
                                pic(chips.at(MASTER), Route.Chip.PIC_MASTER),
                                pic(chips.at(SLAVE), Route.Chip.PIC_SLAVE),
                                VcpuData.parse(chips.at(IOAPIC), IoapicState::fromBytes))),
                GuestChips.parse(node.at("guestChips")),
                node.find("pit").map(pit -> VcpuData.parse(pit, X86Pit::fromBytes)),
                node.at("clock").number(Long.MIN_VALUE, Long.MAX_VALUE),
                routes,
                node.all("lines").stream().map(RouteData::gsi).toList(),
                vcpus);
    }

    private static X86Pic pic(Node node, Route.Chip chip) {
        return VcpuData.parse(node, bytes -> X86Pic.fromBytes(chip, bytes));
    }
}
