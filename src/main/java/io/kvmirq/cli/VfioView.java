/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.host.HostFacts;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.host.PciDevice;
import io.kvmirq.host.VfioOutlook;
import java.util.ArrayList;
import java.util.List;

/**
 * What {@code kvmirq vfio} shows of a device.
 *
 * @param device the device
 * @param outlook how VFIO will answer
 * @param armed the irqs that VFIO has armed
 */
record VfioView(PciDevice device, VfioOutlook outlook, List<HostInterrupts.Armed> armed) {
    static VfioView of(HostFacts host, PciDevice device) {
        return new VfioView(
                device,
                VfioOutlook.of(host, device),
                host.interrupts().map(irqs -> irqs.armed(device.address())).orElse(List.of()));
    }

    private String sysfs() {
        return "/sys/bus/pci/devices/" + device.address();
    }

    /** The commands that bind it to vfio-pci. They hold no text from files, so a shell may run them. */
    List<String> bind(HostFacts host) {
        List<String> commands = new ArrayList<>();
        if (device.isBoundToVfio()) {
            return commands;
        }
        if (!host.hasVfioPci()) {
            commands.add("modprobe vfio-pci");
        }
        commands.add("echo vfio-pci > " + sysfs() + "/driver_override");
        if (device.driver().isPresent()) {
            commands.add(unbind());
        }
        commands.add(probe());
        return commands;
    }

    /** The commands that give it back to the host's driver. */
    List<String> giveBack() {
        return List.of("echo > " + sysfs() + "/driver_override", unbind(), probe());
    }

    private String unbind() {
        return "echo " + device.address() + " > " + sysfs() + "/driver/unbind";
    }

    private String probe() {
        return "echo " + device.address() + " > /sys/bus/pci/drivers_probe";
    }
}
