/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.Vm;
import io.kvmirq.pci.GuestMessages;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * What belongs to a VM, by names that its VMM chooses: a part of one VM and a part of another with the same name stand
 * for each other. For one thread.
 */
public final class VmParts {
    /** A device of the host, and its MSI or MSI-X as the guest sees it. */
    record Device(VfioDevice device, GuestMessages messages) {
        /** Vendor and device id, as config space begins. */
        String ids() {
            int ids = device.config().getInt(0);
            return String.format("%04x:%04x", ids & 0xffff, ids >>> Short.SIZE);
        }
    }

    private final Vm vm;
    private final Map<Integer, Vcpu> vcpus = new TreeMap<>();
    private final Map<String, EventFd> events = new LinkedHashMap<>();
    private final List<Irqfd> irqfds = new ArrayList<>();
    private final Map<String, Device> devices = new LinkedHashMap<>();

    /** The VM itself: its irqchip, timer, routes, lines and clock. */
    public VmParts(Vm vm) {
        this.vm = vm;
    }

    private static <K, V> void put(Map<K, V> parts, K name, V part) {
        if (parts.putIfAbsent(name, part) != null) {
            throw new IllegalArgumentException("two parts are named " + name + ": each needs a name of its own");
        }
    }

    /**
     * A vCPU. Name all of them.
     *
     * @throws IllegalArgumentException if the id was given before
     */
    public VmParts vcpu(VcpuId id, Vcpu vcpu) {
        put(vcpus, id.number(), vcpu);
        return this;
    }

    /**
     * An eventfd whose count belongs to the VM: of an irqfd, of a device's line that waits for its EOI, of a doorbell.
     *
     * @throws IllegalArgumentException if the name was given before
     */
    public VmParts event(String name, EventFd event) {
        put(events, name, event);
        return this;
    }

    /**
     * An irqfd to save; a restore makes them. Name its eventfds first.
     *
     * @throws IllegalArgumentException if one of its eventfds has no name
     */
    public VmParts irqfd(Irqfd irqfd) {
        name(irqfd.event());
        irqfd.resample().ifPresent(this::name);
        irqfds.add(irqfd);
        return this;
    }

    /**
     * A device whose MSI or MSI-X is emulated. One with both has two names.
     *
     * @throws IllegalArgumentException if the name was given before
     */
    public VmParts messages(String name, VfioDevice device, GuestMessages messages) {
        put(devices, name, new Device(device, messages));
        return this;
    }

    String name(EventFd event) {
        return events.entrySet().stream()
                .filter(entry -> entry.getValue() == event)
                .map(Map.Entry::getKey)
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(
                        event + " has no name: name it with VmParts.event before its irqfd"));
    }

    Vm vm() {
        return vm;
    }

    /** By id. */
    Map<Integer, Vcpu> vcpus() {
        return vcpus;
    }

    Map<String, EventFd> events() {
        return events;
    }

    Optional<EventFd> event(String name) {
        return Optional.ofNullable(events.get(name));
    }

    List<Irqfd> irqfds() {
        return irqfds;
    }

    Map<String, Device> devices() {
        return devices;
    }
}
