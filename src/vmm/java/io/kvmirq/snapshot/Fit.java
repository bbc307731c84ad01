/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.Gsi;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.kvm.Cpuid;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.X86Msrs;
import io.kvmirq.kvm.X86Vm;
import io.kvmirq.pci.GuestMessages;
import io.kvmirq.text.Foreign;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Supplier;
import java.util.stream.Stream;

/** Checks whether a VM and its host meet a snapshot's requirements, without changing anything. */
record Fit(MachineData machine, Set<String> events, List<IrqfdData> irqfds, Map<String, DeviceData> devices) {
    static VmParts.Device device(VmParts parts, String name) {
        return Objects.requireNonNull(parts.devices.get(name));
    }

    private static Optional<String> unless(boolean fits, String reason) {
        return fits ? Optional.empty() : Optional.of(reason);
    }

    /** The reason why the snapshot does not fit. Empty if none is known. */
    Optional<String> misfit(VmParts parts) {
        String here = parts.vm.isArm64() ? MachineData.ARM : MachineData.X86;
        return Stream.<Supplier<Optional<String>>>of(
                        () -> unless(
                                here.equals(machine.architecture()),
                                "it is of " + machine.architecture() + ", but this VM is of " + here),
                        () -> unless(
                                parts.vcpus.keySet().equals(machine.vcpus().keySet()),
                                "it has the vCPUs " + machine.vcpus().keySet() + ", but this VM has "
                                        + parts.vcpus.keySet()),
                        () -> machine instanceof X86Data vm
                                ? misfitOfChips(vm, parts)
                                        .or(() -> misfitOfNames(
                                                "source of lines",
                                                vm.guestChips().lines().keySet(),
                                                parts.lines.keySet()))
                                : Optional.empty(),
                        () -> misfitOfNames("eventfd", events, parts.events.keySet()),
                        () -> misfitOfVectors(parts),
                        () -> misfitOfIrqfds(parts),
                        () -> misfitOfNames("device", devices.keySet(), parts.devices.keySet()),
                        () -> devices.entrySet().stream()
                                .flatMap(entry -> misfitOfDevice(entry.getKey(), entry.getValue(), parts).stream())
                                .findFirst(),
                        () -> misfitOfRoutes(parts),
                        () -> misfitOfGsis(parts),
                        () -> machine instanceof X86Data vm
                                ? misfitOfVcpus(vm, parts)
                                : ((ArmData) machine).misfit(parts))
                .map(Supplier::get)
                .flatMap(Optional::stream)
                .findFirst();
    }

    private static Optional<String> misfitOfChips(X86Data vm, VmParts parts) {
        X86Vm x86 = parts.vm.x86();
        return Stream.of(
                        unless(
                                vm.hasLapics() == X86Data.hasLapics(parts)
                                        && vm.chips().isPresent()
                                                == X86Data.chips(x86).isPresent(),
                                "its VM has another irqchip: full, split or none"),
                        unless(
                                vm.guestChips().fits(parts),
                                "only one of the two has this IOAPIC or these PICs of the VMM (VmParts.ioapic and pic)"),
                        unless(
                                vm.pit().isPresent() == X86Data.pit(x86).isPresent(),
                                "only one of the two has a timer (createPit)"),
                        unless(
                                vm.has32BitApicIds() == x86.has32BitApicIds(),
                                "only one of the two has 32-bit APIC ids (use32BitApicIds)"),
                        unless(
                                vm.hasBroadcastQuirk() == x86.hasBroadcastQuirk(),
                                "only one of the two takes destination 255 as vCPU 255 (disableBroadcastQuirk)"))
                .flatMap(Optional::stream)
                .findFirst();
    }

    private static Optional<String> misfitOfNames(String what, Set<String> saved, Set<String> here) {
        return saved.stream()
                .filter(name -> !here.contains(name))
                .findFirst()
                .map(name -> "it has the " + what + " " + Foreign.quoted(name) + ", which is not among " + here)
                .or(() -> here.stream()
                        .filter(name -> !saved.contains(name))
                        .findFirst()
                        .map(name -> "it lacks the " + what + " " + Foreign.quoted(name) + " of this VM: give both VMs"
                                + " parts with the same names"));
    }

    /** A saved irqfd becomes an irqfd with a resample eventfd of the same name, or a vector, which has none. */
    private Optional<String> misfitOfIrqfds(VmParts parts) {
        Set<String> all = new TreeSet<>();
        Set<String> here = new TreeSet<>(parts.vectors.keySet());
        irqfds.forEach(irqfd -> all.add(irqfd.event()));
        here.addAll(parts.irqfds.keySet());
        return misfitOfNames("irqfd", all, here).or(() -> irqfds.stream()
                .filter(irqfd -> {
                    Irqfd to = parts.irqfds.get(irqfd.event());
                    return to != null && !to.resample().map(parts::name).equals(irqfd.resample());
                })
                .findFirst()
                .map(irqfd -> "its irqfd " + Foreign.quoted(irqfd.event()) + " has "
                        + irqfd.resample()
                                .map(Foreign::quoted)
                                .map("the resample eventfd "::concat)
                                .orElse("no resample eventfd")
                        + ", unlike this VM's " + parts.irqfds.get(irqfd.event())));
    }

    private static Optional<String> misfitOfDevice(String name, DeviceData saved, VmParts parts) {
        VmParts.Device here = device(parts, name);
        String ids = here.identity().get();
        String size = here.state() instanceof GuestMessages messages
                ? "has another number of vectors than " + messages.size() + ", or "
                : "";
        return unless(
                        saved.ids().equals(ids),
                        "its " + Foreign.quoted(name) + " is a device " + Foreign.shown(saved.ids())
                                + ", but here it is " + ids)
                .or(() -> unless(
                        saved.bytes().length == here.state().state().length,
                        "its " + Foreign.quoted(name) + " " + size + "is not of the same kind"));
    }

    private Stream<IrqfdData> ofVectors(VmParts parts) {
        return irqfds.stream().filter(irqfd -> parts.vectors.containsKey(irqfd.event()));
    }

    private Optional<String> misfitOfVectors(VmParts parts) {
        return parts.vectors.keySet().stream()
                .filter(events::contains)
                .filter(name -> ofVectors(parts)
                        .noneMatch(irqfd -> irqfd.event().equals(name)
                                && irqfd.message(machine.routes()).isPresent()))
                .findFirst()
                .map(name -> "its eventfd " + Foreign.quoted(name)
                        + " raises no message by an edge-triggered irqfd, but here it belongs to a vector");
    }

    private Optional<String> misfitOfRoutes(VmParts parts) {
        return machine.routes().stream()
                .filter(route ->
                        route instanceof Route.Other other && !parts.vm.routes().supports(other))
                .findFirst()
                .map(route -> "its route " + route + " is of a type that this kernel does not support");
    }

    /** This VM's irqfds and vectors do not occupy their GSIs, because the restore moves them. */
    private Optional<String> misfitOfGsis(VmParts parts) {
        List<Gsi> left = Stream.concat(
                        parts.vectors.values().stream().map(MaskableVector::gsi),
                        parts.irqfds.values().stream().map(Irqfd::gsi))
                .toList();
        Optional<String> stray = parts.stray();
        if (stray.isPresent()) {
            return stray.map(text -> text + ": close the others before the restore, or name them in both VMs");
        }
        return Stream.concat(
                        machine.routes().stream().map(Route::gsi),
                        irqfds.stream().map(IrqfdData::gsi))
                .filter(gsi -> parts.vm.routes().irqfds(gsi) > Collections.frequency(left, gsi))
                .findFirst()
                .map(gsi -> gsi + " of it has an irqfd here already: close it before the restore");
    }

    private static Optional<String> misfitOfVcpus(X86Data vm, VmParts parts) {
        Cpuid host = Cpuid.ofHost(parts.vm.kernel());
        X86Msrs known = X86Msrs.ofHost(parts.vm.kernel());
        return vm.vcpus().entrySet().stream()
                .flatMap(entry -> entry
                        .getValue()
                        .misfit(X86Data.vcpu(parts, entry.getKey()), host, known)
                        .map(text -> new VcpuId(entry.getKey()) + " has " + text)
                        .stream())
                .findFirst();
    }
}
