/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.devices;

import io.kvmirq.diag.rules.VfioOutlook;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.vfio.VfioGroup;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * Shell commands that bind a device to vfio-pci, and return it to its driver. A shell may run them: of texts from files
 * they contain only an override of one word.
 *
 * @param bind empty if the probe would fail and leave the device without a driver
 * @param giveBack to the host's driver, now or after those of {@code bind}. An override that the host set before stays or
 *     is set again; none if its name is more than a word of a shell
 */
record VfioBinding(List<String> bind, List<String> giveBack) {
    private static final Set<VfioOutlook.Obstacle> IN_VAIN =
            EnumSet.of(VfioOutlook.Obstacle.BRIDGE, VfioOutlook.Obstacle.NO_IOMMU, VfioOutlook.Obstacle.NO_GROUP);

    private static final Pattern WORD = Pattern.compile("[A-Za-z_][A-Za-z0-9_-]*");

    static VfioBinding read(HostFacts host, PciDevice device, VfioOutlook outlook) {
        String sysfs = "/sys/bus/pci/devices/" + device.address();
        String override = sysfs + "/driver_override";
        String unbind = "echo " + device.address() + " > " + sysfs + "/driver/unbind";
        String probe = "echo " + device.address() + " > /sys/bus/pci/drivers_probe";
        Optional<String> before = device.override().filter(name -> !VfioGroup.isDriver(name));
        if (device.isBoundToVfio()) {
            return new VfioBinding(
                    List.of(),
                    before.isPresent() ? List.of(unbind, probe) : List.of("echo > " + override, unbind, probe));
        }
        if (outlook.refusals().stream()
                .anyMatch(refusal ->
                        IN_VAIN.contains(refusal.cause()) || refusal.rule().equals("vfio.not-bound-parent"))) {
            return new VfioBinding(List.of(), List.of());
        }
        List<String> bind = new ArrayList<>();
        if (!host.hasVfioPci()) {
            bind.add("modprobe vfio-pci");
        }
        bind.add("echo vfio-pci > " + override);
        if (device.driver().isPresent()) {
            bind.add(unbind);
        }
        bind.add(probe);
        return new VfioBinding(
                bind,
                before.filter(name -> !WORD.matcher(name).matches()).isPresent()
                        ? List.of()
                        : List.of(
                                "echo " + before.map(name -> name + " ").orElse("") + "> " + override, unbind, probe));
    }
}
