/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.Gsi;
import io.kvmirq.VcpuId;
import io.kvmirq.forward.Userspace;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.irqchip.GuestPic;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.VmListener;
import io.kvmirq.pci.DeviceState;
import io.kvmirq.pci.GuestMessages;
import io.kvmirq.pci.PciFunction;
import io.kvmirq.pci.PciHostBridge;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Supplier;
import java.util.stream.Stream;

/**
 * The parts of a VM that a snapshot saves, under names that the VMM chooses. A restore writes each saved part into the
 * new VM's part with the same name. {@link #reset} resets the parts. Not thread-safe.
 *
 * <p>Each method that adds a part throws IllegalArgumentException, and adds nothing, if the part belongs to another VM
 * or was added before, or if another part has its name.
 *
 * {@snippet class="io.kvmirq.snippets.VmmSnippetsTest" region="snapshot"}
 */
public final class VmParts {
    /** A device's state, and its identity, which must be the same in the snapshot. */
    record Device(Supplier<String> identity, DeviceState state) {}

    final Vm vm;
    final Map<Integer, Vcpu> vcpus = new TreeMap<>();
    final Map<String, EventFd> events = new LinkedHashMap<>();
    /** Irqfds and vectors have the names of their eventfds. */
    final Map<String, Irqfd> irqfds = new LinkedHashMap<>();

    final Map<String, MaskableVector> vectors = new LinkedHashMap<>();
    final Map<String, Device> devices = new LinkedHashMap<>();
    final Map<String, Userspace.Injector> lines = new LinkedHashMap<>();
    private Optional<GuestIoapic> ioapic = Optional.empty();
    private Optional<GuestPic> pic = Optional.empty();
    private Optional<VgicV3> vgic = Optional.empty();
    private final List<Its> units = new ArrayList<>();
    private final Set<Gsi> leftOut = new HashSet<>();
    private Optional<PciHostBridge> bus = Optional.empty();

    /** Creates a list with only the VM's irqchip, timer, GSI routes, interrupt lines and clock. */
    public VmParts(Vm vm) {
        Objects.requireNonNull(vm, "vm is null");
        this.vm = vm;
    }

    private <K, V> void put(Map<K, V> parts, K name, V part) {
        parts.forEach((other, named) -> {
            if (part == named
                    || part instanceof Device first && named instanceof Device two && first.state == two.state) {
                throw new IllegalArgumentException((part instanceof Device device ? device.state : part) + " is named "
                        + other + " already, and would be saved twice: add it once, not as " + name);
            }
        });
        if (Stream.of(parts, events, devices, lines).anyMatch(named -> named.containsKey(name))) {
            throw new IllegalArgumentException("two parts are named " + name + ": each needs a name of its own");
        }
        parts.put(name, part);
    }

    private <T> Optional<T> only(Optional<T> added, T part) {
        if (added.isPresent()) {
            throw new IllegalArgumentException("a second " + part.getClass().getSimpleName() + " of " + vm
                    + " would replace the first among its parts: a VM has one, add it once");
        }
        return Optional.of(part);
    }

    /**
     * Adds the IOAPIC of a VM with a split irqchip. Also add each {@link GuestIoapic#source} that the VMM drives, with
     * {@link #lines}. Omit a {@link io.kvmirq.forward.Forwarding}'s source, because its device asserts the line again.
     */
    public VmParts ioapic(GuestIoapic ofVmm) {
        Objects.requireNonNull(ofVmm, "ofVmm is null").requireOf(vm, List.of());
        ioapic = only(ioapic, ofVmm);
        return this;
    }

    /**
     * Adds a source of lines of a split irqchip's IOAPIC. A restore drives the same lines high again.
     *
     * @param source a {@link GuestIoapic#source} of the IOAPIC that {@link #ioapic} adds
     */
    public VmParts lines(String name, Userspace.Injector source) {
        Objects.requireNonNull(name, "name is null");
        Objects.requireNonNull(source, "source is null").requireOf(vm, List.of());
        put(lines, name, source);
        return this;
    }

    /** Adds the PICs of a VM with a split irqchip. */
    public VmParts pic(GuestPic ofVmm) {
        pic = only(pic, Objects.requireNonNull(ofVmm, "ofVmm is null"));
        return this;
    }

    /** Adds the GICv3 of an arm64 VM. */
    public VmParts vgic(VgicV3 ofVm) {
        requireOurs(Objects.requireNonNull(ofVm, "ofVm is null").isOf(vm.fd()), ofVm);
        vgic = only(vgic, ofVm);
        return this;
    }

    /**
     * Adds an ITS of an arm64 VM. Add the ITSs of the saved and of the new VM in the same order. Save guest memory
     * after the snapshot, because the snapshot writes the ITS's tables to it.
     */
    public VmParts its(Its ofVm) {
        requireOurs(Objects.requireNonNull(ofVm, "ofVm is null").isOf(vm.fd()), ofVm);
        if (units.contains(ofVm)) {
            throw new IllegalArgumentException(ofVm + " is among the parts already: add each ITS once");
        }
        units.add(ofVm);
        return this;
    }

    /** Adds a vCPU by its own id. A snapshot fails unless all vCPUs of the VM were added. */
    public VmParts vcpu(VcpuId id, Vcpu vcpu) {
        Objects.requireNonNull(id, "id is null");
        Objects.requireNonNull(vcpu, "vcpu is null");
        requireOurs(vcpu.isOf(vm.fd()), vcpu);
        if (!vcpu.id().equals(id)) {
            throw new IllegalArgumentException(vcpu + " is named " + id + ": expected its own id, " + vcpu.id());
        }
        put(vcpus, id.number(), vcpu);
        return this;
    }

    /**
     * Adds an eventfd whose count is part of the VM's state: that of an irqfd or ioeventfd (a doorbell), or the
     * resample eventfd of a line that awaits its EOI. The eventfd must belong to the VM's {@code Kernel}.
     */
    public VmParts event(String name, EventFd event) {
        Objects.requireNonNull(event, "event is null");
        Objects.requireNonNull(name, "name is null");
        if (event.fd().kernel() != vm.kernel()) {
            throw new IllegalArgumentException(
                    event + " belongs to another Kernel than " + vm + ": open both from the same Kernel");
        }
        put(events, name, event);
        return this;
    }

    /**
     * Adds an irqfd with its GSI and mask, the count of its eventfd, and the count of its resample eventfd, which
     * becomes the part {@code name + " resample"} unless {@link #event} named it before. Add all irqfds of the VM,
     * except those of added devices and of GSIs that are {@linkplain #leaveOut left out}. Before a restore, the VMM
     * assigns an irqfd with the same name in the new VM, to any GSI. The restore then sets its state.
     */
    public VmParts irqfd(String name, Irqfd irqfd) {
        Objects.requireNonNull(irqfd, "irqfd is null");
        requireOurs(irqfd.isOf(vm), irqfd);
        event(name, irqfd.event());
        try (Undo undo = new Undo()) {
            undo.add(() -> events.remove(name));
            irqfd.resample()
                    .filter(resample -> !events.containsValue(resample))
                    .ifPresent(resample -> event(name + " resample", resample));
            undo.keep();
        }
        irqfds.put(name, irqfd);
        return this;
    }

    /**
     * Adds a vector of an emulated device with its GSI, message and mask, and the count of its eventfd. Before the
     * restore, the VMM creates a vector with the same name in the new VM. The restore then sets its state.
     */
    public VmParts vector(String name, MaskableVector vector) {
        Objects.requireNonNull(vector, "vector is null");
        requireOurs(vector.isOf(vm), vector);
        event(name, vector.event());
        vectors.put(name, vector);
        return this;
    }

    /**
     * Leaves out the irqfds of a GSI. The snapshot does not save these irqfds or their pending signals, and the VMM
     * must assign them again after a restore. Leave out the irqfds of a {@link io.kvmirq.forward.Forwarding} whose
     * device was not added as a part, and the irqfds of a device in another process.
     */
    public VmParts leaveOut(Gsi gsi) {
        Objects.requireNonNull(gsi, "gsi is null");
        leftOut.add(gsi);
        return this;
    }

    /** Adds a device's MSI or MSI-X. For a device with both, call this method twice, with two names. */
    public VmParts messages(String name, VfioDevice device, GuestMessages messages) {
        Objects.requireNonNull(name, "name is null");
        Objects.requireNonNull(device, "device is null");
        Objects.requireNonNull(messages, "messages is null");
        requireOurs(messages.vm() == vm, messages);
        put(devices, name, new Device(() -> ids(device), messages));
        return this;
    }

    /** Vendor and device id: the first four bytes of config space. */
    private static String ids(VfioDevice device) {
        int ids = device.config().getInt(0);
        return String.format("%04x:%04x", ids & 0xffff, ids >>> Short.SIZE);
    }

    /**
     * Adds a function of the guest's PCI bus, with the guest's view of its configuration space, BARs, MSI and MSI-X,
     * and the registers of an emulated function. A host device's registers are not saved. See {@link
     * PciFunction#state}.
     */
    public VmParts device(String name, PciFunction device) {
        Objects.requireNonNull(name, "name is null");
        Objects.requireNonNull(device, "device is null");
        requireOurs(device.vm() == vm, device);
        put(devices, name, new Device(device::identity, device));
        return this;
    }

    /** Adds the guest's PCI bus, which {@link #reset} resets with all its devices. Snapshots do not save it. */
    public VmParts bus(PciHostBridge ofGuest) {
        requireOurs(Objects.requireNonNull(ofGuest, "ofGuest is null"));
        bus = only(bus, ofGuest);
        return this;
    }

    /**
     * Resets the parts in hardware order, as a guest's reset does: devices, interrupt controllers, timer, and the vCPUs
     * with {@link Vcpu#reset}. The vCPUs move to the calling thread. Pending interrupts are dropped, including counts
     * of masked vectors and edge-triggered irqfds. The line of an emulated function goes low. Other lines that their
     * devices still assert stay high, because masking a level-triggered irqfd signals its resample eventfd, so that the
     * device asserts the line again. GSI routes, guest memory, the guest's clock and the masks of irqfds and vectors
     * stay. Pause the vCPUs first, or call this method in the step of {@link io.kvmirq.run.VcpuThreads#reboot}, and
     * make sure that no thread calls {@link io.kvmirq.kvm.X86Vm#setLine} meanwhile. On arm64, GICv3 lines and
     * identification registers stay.
     *
     * @throws IllegalStateException if a vCPU runs, before any change
     * @throws IllegalArgumentException if a vCPU or the GuestIoapic of the VM was not added, before any change
     * @throws UnsupportedOperationException on arm64 without a GICv3, before any change
     * @throws io.kvmirq.KernelException if the kernel refuses a reset value. Then close the VM, which is partly reset
     */
    public void reset() {
        requireEveryChip();
        bus.ifPresent(this::requireOurs);
        VmReset reset = new VmReset(
                vm,
                bus,
                devices.values().stream().map(Device::state).toList(),
                ioapic,
                pic,
                vm.isArm64() ? Optional.of(vgicWords()) : Optional.empty(),
                irqfds.values(),
                vectors.values(),
                vcpus.values());
        vcpus.values().forEach(Vcpu::moveHere);
        reset.apply();
    }

    private void requireOurs(PciHostBridge ofGuest) {
        ofGuest.devices().forEach(device -> requireOurs(device.vm() == vm, device));
    }

    private void requireOurs(boolean isOurs, Object part) {
        if (!isOurs) {
            throw new IllegalArgumentException(
                    part + " is not a part of " + vm + ": it belongs to another VM, whose state this would be");
        }
    }

    String name(EventFd event) {
        return events.entrySet().stream()
                .filter(entry -> entry.getValue() == event)
                .map(Map.Entry::getKey)
                .findFirst()
                .orElseThrow();
    }

    /**
     * Throws IllegalArgumentException if a vCPU or the GuestIoapic of the VM was not added. An adopted VM's are known
     * only if they were created here.
     */
    void requireEveryChip() {
        List<VcpuId> made = new ArrayList<>();
        VmListener listener = new VmListener() {
            @Override
            public void vcpuAdded(VcpuId vcpu) {
                made.add(vcpu);
            }

            @Override
            public void apicIdsWidened() {}
        };
        vm.listeners().add(listener); // which reports the existing vCPUs
        vm.listeners().remove(listener);
        for (VcpuId id : made) {
            requireAdded(vcpus.containsKey(id.number()), id, "vcpu");
        }
        boolean hasIoapic = !vm.isArm64() && vm.x86().hasGuestIoapic();
        requireAdded(!hasIoapic || ioapic.isPresent(), "the GuestIoapic", "ioapic");
    }

    private void requireAdded(boolean isAdded, Object part, String by) {
        if (!isAdded) {
            throw new IllegalArgumentException(part + " of " + vm + " is not among the parts, and a snapshot or reset"
                    + " without it would lose its state: name it with VmParts." + by);
        }
    }

    /**
     * A GSI with an irqfd that was neither added nor left out, and belongs to no added device. Call this while no vCPU
     * runs, because a running guest moves its devices' vectors.
     */
    Optional<String> stray() {
        for (int number = 0; number <= Gsi.MAX; number++) {
            Gsi gsi = new Gsi(number);
            int all = vm.routes().irqfds(gsi);
            long here = all == 0 ? 0 : named(gsi);
            if (all > here && !leftOut.contains(gsi)) {
                return Optional.of(
                        gsi + " of " + vm + " has " + all + " irqfds, of which " + here + " are among the parts");
            }
        }
        return Optional.empty();
    }

    /** @throws IllegalArgumentException if there is a {@linkplain #stray stray} irqfd */
    void requireEveryIrqfd() {
        stray().ifPresent(gsi -> {
            throw new IllegalArgumentException(gsi
                    + ": a restore would lose the interrupts of the others; name each with VmParts.irqfd or vector, or"
                    + " its device with VmParts.device or messages, or use VmParts.leaveOut if the VMM recreates them");
        });
    }

    /** The number of irqfds on a GSI that {@link #irqfd} added. */
    long irqfdsOf(Gsi gsi) {
        return irqfds.values().stream().filter(irqfd -> irqfd.gsi().equals(gsi)).count();
    }

    private long named(Gsi gsi) {
        return irqfdsOf(gsi)
                + vectors.values().stream()
                        .filter(vector -> vector.gsi().equals(gsi))
                        .count()
                + devices.values().stream()
                        .mapToInt(device -> device.state().forwardedTo(gsi))
                        .sum();
    }

    Optional<GuestIoapic> ioapic() {
        return ioapic;
    }

    Optional<GuestPic> pic() {
        return pic;
    }

    Optional<VgicV3> vgic() {
        return vgic;
    }

    /** The registers of the GICv3 and its ITSs. */
    VgicWords vgicWords() {
        VgicV3 saved = vgic.orElseThrow(
                () -> new UnsupportedOperationException("on arm64, a snapshot or reset needs a VM with a GICv3, named"
                        + " with VmParts.vgic; a GICv2 is not supported"));
        return new VgicWords(
                saved, units, vcpus.keySet().stream().map(VcpuId::new).toList());
    }

    Optional<EventFd> event(String name) {
        return Optional.ofNullable(events.get(name));
    }
}
