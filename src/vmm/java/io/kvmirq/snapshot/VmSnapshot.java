/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.Gsi;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.Vm;
import io.kvmirq.pci.DeviceState;
import io.kvmirq.text.Foreign;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/**
 * The state of a paused VM: vCPUs, interrupt controllers, routes, irqfds with their masks and pending counts, lines,
 * clock, the IOAPIC and PICs of a split irqchip, devices' MSI and MSI-X, and the guest's view of the configuration
 * space of each {@link io.kvmirq.pci.PassedThroughDevice}. The VMM itself must save guest memory. A host device's
 * registers are not saved, because no program can read them. Immutable.
 *
 * <p>On arm64 the VM must have a GICv3. Because the tables of ITSs and LPIs are in guest memory, save it after the
 * snapshot, and load it before a restore. A snapshot does not save a pending SError, and fails if a vCPU has a PMU.
 *
 * <p>A VM is paused when no vCPU runs and no thread changes its routes, lines and devices. To pause a vCPU, call {@link
 * io.kvmirq.kvm.Vcpu#kick}. If the kicked vCPU exits for a guest access, complete the access and run the vCPU again
 * until it exits with {@code INTR}, or the access is lost. Devices may signal eventfds meanwhile.
 *
 * <p>Take or restore a snapshot in one platform thread. The vCPUs then belong to this thread, so another thread must
 * call {@link io.kvmirq.kvm.Vcpu#moveHere} before it runs one.
 *
 * {@snippet class="io.kvmirq.snippets.VmmSnippetsTest" region="snapshot"}
 */
public final class VmSnapshot {
    private final MachineData vm;
    private final Map<String, Long> counts;
    private final List<IrqfdData> irqfds;
    private final Map<String, DeviceData> devices;

    private VmSnapshot(
            MachineData vm, Map<String, Long> counts, List<IrqfdData> irqfds, Map<String, DeviceData> devices) {
        this.vm = vm;
        this.counts = counts;
        this.irqfds = irqfds;
        this.devices = devices;
    }

    VmSnapshot(HeldVm held) {
        this(held.vm, new LinkedHashMap<>(held.counts), List.copyOf(held.irqfds), new LinkedHashMap<>(held.devices));
    }

    // Making

    /**
     * Saves a VM without changing its state. Afterwards the VM may continue.
     *
     * @throws IllegalArgumentException if a vCPU, an irqfd or the GuestIoapic of the VM is not among the parts
     * @throws IllegalStateException if a vCPU is running, or has exited in the middle of an instruction
     * @throws UnsupportedOperationException on arm64 if the VM has no GICv3, or if a vCPU has a PMU
     */
    public static VmSnapshot take(VmParts parts) {
        Objects.requireNonNull(parts, "parts is null");
        try (HeldVm held = new HeldVm(parts)) {
            return new VmSnapshot(held);
        }
    }

    // Restoring

    /**
     * Restores this state into another VM. The other VM must have the same irqchip, vCPUs that have the same ids and
     * have never run, parts with the same names, no other irqfds, and the guest's memory. Irqfds and vectors get their
     * saved GSIs and masks. The restore also reads the VM's state back and compares it with the snapshot.
     *
     * <p>A snapshot that does not fit is refused before any change. After any later exception, close the VM. Its
     * irqfds, vectors and routes are then as before, and its devices are reset.
     *
     * @throws IllegalArgumentException if a vCPU or the GuestIoapic of the VM is not among the parts
     * @throws SnapshotException if the snapshot does not fit this VM or this host, or if the restored VM differs from
     *     the snapshot
     * @throws IllegalStateException if a vCPU is running, or has exited in the middle of an instruction; an {@link
     *     io.kvmirq.kvm.MsrRefusedException} if KVM refuses an MSR's value
     * @throws io.kvmirq.KernelException if the kernel refuses any other saved value
     */
    public void restore(VmParts parts) {
        restore(Objects.requireNonNull(parts, "parts is null"), Map.of());
    }

    /** @param signals for each device, its vectors' signals that merge with the saved pending bits */
    void restore(VmParts parts, Map<String, List<Long>> signals) {
        parts.requireEveryChip();
        parts.vcpus.forEach((id, vcpu) -> HeldVm.take(new VcpuId(id), vcpu));
        new Fit(vm, counts.keySet(), irqfds, devices).misfit(parts).ifPresent(reason -> {
            throw new SnapshotException("the snapshot does not fit " + parts.vm + ": " + reason);
        });
        Vm to = parts.vm;
        try (Undo undo = new Undo()) {
            vm.writeVcpus(parts);
            moveVectors(parts, undo);
            List<Runnable> unmasks = moveIrqfds(parts, undo);
            List<Route> before = to.routes().routes();
            undo.step(() -> RouteData.write(parts, vm.routes()), () -> RouteData.write(parts, before));
            vm.writeChips(parts);
            vm.differenceOf(parts).ifPresent(text -> {
                throw new SnapshotException(to + " differs from the snapshot after the restore: " + text);
            });
            vm.start(parts);
            devices.forEach((name, saved) -> {
                DeviceState device = Fit.device(parts, name).state();
                undo.add(device::reset); // also undoes a partial restore
                List<Long> late = signals.getOrDefault(name, List.of());
                if (!late.isEmpty() && !device.isHeld()) {
                    undo.step(device::hold, device::release);
                    unmasks.add(device::release);
                }
                try {
                    device.restore(saved.bytes());
                } catch (IllegalArgumentException e) {
                    throw new SnapshotException(Foreign.quoted(name) + " of the snapshot: " + e.getMessage(), e);
                }
                for (int i = 0; i < late.size(); i++) {
                    HeldVm.signal(device.events().get(i), late.get(i));
                }
            });
            unmasks.forEach(Runnable::run);
            vm.settle(parts);
            counts.forEach((name, count) -> HeldVm.signal(Objects.requireNonNull(parts.events.get(name)), count));
            undo.keep();
        }
    }

    /** Masks the irqfds and moves them to their saved GSIs. Returns the steps that unmask irqfds and vectors again. */
    private List<Runnable> moveIrqfds(VmParts parts, Undo undo) {
        List<Runnable> unmasks = new ArrayList<>();
        for (IrqfdData saved : irqfds) {
            Irqfd irqfd = parts.irqfds.get(saved.event());
            if (irqfd != null) {
                if (!irqfd.isMasked()) {
                    undo.step(irqfd::mask, irqfd::unmask);
                    irqfd.resample().ifPresent(HeldVm::drain); // the mask has signalled it
                }
                Gsi before = irqfd.gsi();
                undo.step(() -> irqfd.moveTo(saved.gsi()), () -> irqfd.moveTo(before));
            }
            if (!saved.masked()) {
                unmasks.add(
                        irqfd == null
                                ? Objects.requireNonNull(parts.vectors.get(saved.event()))::unmask
                                : () -> undo.step(irqfd::unmask, irqfd::mask));
            }
        }
        return unmasks;
    }

    /** Moves the vectors, masked, to their saved GSIs and messages. */
    private void moveVectors(VmParts parts, Undo undo) {
        List<MaskableVector> vectors = new ArrayList<>();
        List<Route.Msi> saved = new ArrayList<>();
        List<Route.Msi> before = new ArrayList<>();
        List<MaskableVector> unmasked = new ArrayList<>();
        for (IrqfdData irqfd : irqfds) {
            MaskableVector vector = parts.vectors.get(irqfd.event());
            if (vector != null) {
                vectors.add(vector);
                saved.add(irqfd.message(vm.routes()).orElseThrow());
                before.add(new Route.Msi(vector.gsi(), vector.message()));
                if (!vector.isMasked()) {
                    unmasked.add(vector);
                }
            }
        }
        undo.step(() -> MaskableVector.moveAll(vectors, saved), () -> {
            MaskableVector.moveAll(vectors, before);
            unmasked.forEach(MaskableVector::unmask);
        });
    }

    // The document

    /** Returns the snapshot as a JSON document, for {@link #parse}. */
    public String text() {
        return Document.write(tree());
    }

    /**
     * Reads a snapshot that {@link #text} wrote.
     *
     * @throws SnapshotException if the text is not a snapshot, was changed, or has a newer version or another
     *     architecture
     */
    public static VmSnapshot parse(String text) {
        return parse(Document.read(text));
    }

    private Map<String, Object> tree() {
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("architecture", vm.architecture());
        tree.putAll(vm.tree());
        List<Map<String, Object>> events = new ArrayList<>();
        counts.forEach((name, count) -> {
            Map<String, Object> event = new LinkedHashMap<>();
            event.put("name", name);
            event.put("count", Node.word(count));
            events.add(event);
        });
        tree.put("events", events);
        tree.put("irqfds", irqfds.stream().map(IrqfdData::tree).toList());
        tree.put(
                "devices",
                devices.entrySet().stream()
                        .map(entry -> entry.getValue().tree(entry.getKey()))
                        .toList());
        return tree;
    }

    static VmSnapshot parse(Node state) {
        Map<String, Long> counts = new LinkedHashMap<>();
        for (Node event : state.all("events")) {
            if (counts.put(event.at("name").text(), event.at("count").word()) != null) {
                throw event.flaw("a name that no earlier eventfd has");
            }
        }
        List<IrqfdData> irqfds = new ArrayList<>();
        Set<String> used = new HashSet<>();
        for (Node irqfd : state.all("irqfds")) {
            IrqfdData data = IrqfdData.parse(irqfd, counts.keySet());
            if (!used.add(data.event())) {
                throw irqfd.flaw("an eventfd that no other irqfd has");
            }
            irqfds.add(data);
        }
        Map<String, DeviceData> devices = new LinkedHashMap<>();
        for (Node device : state.all("devices")) {
            DeviceData data = DeviceData.parse(device);
            if (devices.put(device.at("name").text(), data) != null) {
                throw device.flaw("a name that no earlier device has");
            }
        }
        return new VmSnapshot(MachineData.parse(state), counts, irqfds, devices);
    }

    /** Returns the ids of the saved vCPUs. */
    public List<VcpuId> vcpus() {
        return vm.vcpus().keySet().stream().map(VcpuId::new).toList();
    }

    /** Returns the names of the saved eventfds. */
    public List<String> events() {
        return List.copyOf(counts.keySet());
    }

    @Override
    public String toString() {
        return "snapshot of " + vm.vcpus().size() + " vCPUs, " + irqfds.size() + " irqfds and " + devices.size()
                + " devices";
    }
}
