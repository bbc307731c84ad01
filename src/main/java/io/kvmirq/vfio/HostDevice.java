/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.DeviceName;
import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.explain.KernelCall;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/** What sysfs says of a device: where VFIO has it, and why VFIO cannot open it. */
record HostDevice(HostFiles files, DeviceName name) {
    /** Drivers that leave DMA to the user, besides those of VFIO ({@code driver_managed_dma} in the kernel). */
    private static final List<String> HARMLESS = List.of("pci-stub", "pcieport");

    private static final String GROUPS = "/sys/kernel/iommu_groups/";

    private String path() {
        return directory() + "/" + name;
    }

    private String directory() {
        return "/sys/bus/" + name.busName() + "/devices";
    }

    /** @throws KernelException ENODEV without such a device, or without an IOMMU for it */
    int group() {
        Optional<Integer> group = files.link(path() + "/iommu_group").map(Integer::valueOf);
        return group.orElseThrow(() -> new KernelException(
                KernelCall.VFIO_GROUP.label(),
                name.toString(),
                Errno.ENODEV,
                files.list(directory()).contains(name.toString())
                        ? "no IOMMU serves this device: enable VT-d, AMD-Vi or the SMMU in firmware, and boot Intel"
                                + " machines with intel_iommu=on"
                        : directory() + " has no such device: it was removed, or is another machine's"));
    }

    /** The device's own file, as in {@code /dev/vfio/devices}; empty where the kernel has none, or no VFIO driver. */
    Optional<String> deviceFile() {
        return files.list(path() + "/vfio-dev").stream()
                .filter(file -> file.startsWith("vfio"))
                .findFirst();
    }

    /** Why the device is in no hand of VFIO, if so. */
    Optional<String> notBound() {
        Optional<String> driver = files.link(path() + "/driver");
        if (driver.filter(HostDevice::isOfVfio).isPresent()) {
            return Optional.empty();
        }
        String wanted = "bind it to vfio-" + name.busName();
        return Optional.of(driver.map(bound -> name + " is bound to the driver " + bound + ": " + wanted + " first")
                .orElse("no driver is bound to " + name + ": " + wanted + " first"));
    }

    private static boolean isOfVfio(String driver) {
        return driver.contains("vfio");
    }

    /** Which devices keep the group from being given to a user, if any does. */
    Optional<String> notViable() {
        String members = GROUPS + group() + "/devices";
        String others = files.list(members).stream()
                .flatMap(member -> files.link(members + "/" + member + "/driver").stream()
                        .filter(driver -> !isOfVfio(driver) && !HARMLESS.contains(driver))
                        .map(driver -> member + " to " + driver))
                .collect(Collectors.joining(", "));
        return others.isEmpty()
                ? Optional.empty()
                : Optional.of("drivers of the host have devices of the same group, " + group() + ": " + others
                        + "; bind each one to vfio-" + name.busName() + " or to no driver");
    }
}
