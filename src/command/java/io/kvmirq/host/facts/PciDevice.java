/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.HostIrq;
import io.kvmirq.PciAddress;
import io.kvmirq.vfio.VfioGroup;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * A PCI function, as sysfs shows it.
 *
 * @param classCode base class, subclass and programming interface, 24 bits
 * @param driver the name of the driver that is bound to it
 * @param unlinked whether no link names its driver though VFIO has armed its interrupts: the kernel removes the link when
 *     an unbind begins, which waits until the device is closed ({@code __device_release_driver()} in drivers/base/dd.c)
 * @param override the only driver that may bind to it, set in {@code driver_override}
 * @param cdev the name of its file in {@code /dev/vfio/devices}. The kernel has such files if it has iommufd
 * @param config its configuration space
 * @param irq the host irq of its interrupt pin; 0 if it has none. While MSI is enabled, the irq of MSI
 * @param messageIrqs the host irqs that are allocated to its MSI or MSI-X, armed or not
 * @param isVirtual whether it is a virtual function (SR-IOV)
 * @param resets the methods of resetting it, best first
 * @param numaNode its NUMA node, if the host has several
 */
public record PciDevice(
        PciAddress address,
        int vendor,
        int device,
        int classCode,
        Optional<String> driver,
        boolean unlinked,
        Optional<String> override,
        OptionalInt group,
        List<Member> others,
        Optional<String> cdev,
        PciCapabilities config,
        long irq,
        List<HostIrq> messageIrqs,
        boolean isVirtual,
        List<String> resets,
        OptionalInt numaNode) {
    /** Another device of an IOMMU group, by its name in sysfs, with the driver that is bound to it. */
    public record Member(String name, Optional<String> driver) {
        /** Whether VFIO cannot use the group while this driver is bound: see {@link VfioGroup#isBlockedBy}. */
        public boolean blocks() {
            return driver.filter(VfioGroup::isBlockedBy).isPresent();
        }
    }

    /** The address that a name in sysfs is; empty for another name. */
    public static Optional<PciAddress> addressOf(String name) {
        try {
            return Optional.of(PciAddress.parse(name));
        } catch (IllegalArgumentException e) {
            return Optional.empty();
        }
    }

    /** Vendor and device id, such as {@code 8086:10d3}. */
    public String id() {
        return String.format("%04x:%04x", vendor, device);
    }

    /** Whether a driver of VFIO is bound to it. */
    public boolean isBoundToVfio() {
        return unlinked || driver.filter(VfioGroup::isDriver).isPresent();
    }

    /** Whether it is a bridge: of its configuration space, or of its class. No guest gets a bridge. */
    public boolean isBridge() {
        return config.isBridge() || classCode >>> 16 == 6;
    }
}
