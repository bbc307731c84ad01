/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.host.KernelChange;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciCapabilities;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.path.Remedy;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.IntSupplier;

/**
 * Predicted results of VFIO calls for a PCI function, derived from host facts. No device is opened.
 *
 * <p>Source: {@code vfio_pci_get_irq_count()} and {@code vfio_pci_ioctl_get_irq_info()} in
 * drivers/vfio/pci/vfio_pci_core.c, {@code vfio_config_init()} in vfio_pci_config.c.
 *
 * @param irqs the interrupts that VFIO_DEVICE_GET_IRQ_INFO will report, by index
 * @param refusals the reasons why VFIO would refuse the device now, in the order of the calls. Empty if it would not
 */
public record VfioOutlook(List<Irqs> irqs, List<Refusal> refusals) {
    /** The kinds of interrupts of a PCI device, in the order of VFIO's indexes. */
    public enum Kind {
        /** The interrupt pin. */
        INTX,
        /** MSI. */
        MSI,
        /** MSI-X. */
        MSIX,
        /** An error that the device cannot correct. */
        ERR,
        /** The host wants the device back. */
        REQ
    }

    /** The flags that VFIO reports of an index, in the order of their bits. */
    public enum Flag {
        /** The interrupt may have an eventfd as its trigger. */
        EVENTFD,
        /** It may be masked. */
        MASKABLE,
        /** The kernel masks it when it triggers. */
        AUTOMASKED,
        /** Vectors cannot be added while others are armed. */
        NORESIZE
    }

    /**
     * The interrupts of an index; no count if the configuration space could not be read.
     *
     * @param doubt the other possible result, if the release of the kernel does not tell which one it has
     */
    public record Irqs(Kind kind, OptionalInt count, Set<Flag> flags, Optional<String> doubt) {}

    /** The reasons why VFIO refuses a device. */
    public enum Obstacle {
        /** The function is a bridge. */
        BRIDGE,
        /** No IOMMU is in use. */
        NO_IOMMU,
        /** The function is behind no IOMMU. */
        NO_GROUP,
        /** The module vfio-pci is not loaded. */
        NO_MODULE,
        /** No driver of VFIO is bound to the function. */
        NOT_BOUND,
        /** A driver of the host uses another device of the IOMMU group. */
        GROUP_NOT_VIABLE,
        /** The IOMMU does not remap interrupts. */
        NO_REMAPPING,
        /** The firmware has reserved memory for the group at fixed addresses. */
        RESERVED_REGION,
        /** Others have the line of its pin, which VFIO requests exclusively. */
        INTX_BUSY,
        /** The file of the group is not in {@code /dev/vfio}. */
        NO_FILE,
        /** This process may not open the file of the group. */
        NO_PERMISSION,
        /** A process has opened the file of the group already. */
        IN_USE
    }

    /**
     * A refusal.
     *
     * @param rule its name
     * @param text a sentence with the names of devices and drivers
     */
    public record Refusal(Obstacle cause, String rule, String text, List<Remedy> remedies) {}

    /** Predicts VFIO's results on {@code host} for {@code device}. */
    public static VfioOutlook read(HostFacts host, PciDevice device) {
        return new VfioOutlook(irqs(host, device), VfioRules.refusals(host, device));
    }

    // Interrupts

    private static List<Irqs> irqs(HostFacts host, PciDevice device) {
        PciCapabilities config = device.config();
        OptionalInt msix = ifComplete(config, config::msixVectors);
        // Since 6.5, and on x86 only: the ITS of Linux 6.12 still allocates all vectors at once.
        // pci_msix_can_alloc_dyn() returns false without the capability.
        boolean mayGrow = !host.isArm() && msix.orElse(1) != 0;
        boolean grows = host.has(KernelChange.DYNAMIC_MSIX).orElse(false) && mayGrow;
        OptionalInt pins = intx(host, device);
        return List.of(
                new Irqs(
                        Kind.INTX,
                        pins,
                        EnumSet.of(Flag.EVENTFD, Flag.MASKABLE, Flag.AUTOMASKED),
                        doubt(host, hidesPin(device), "6.15, which reports 0 for a line that is not connected")
                                .filter(reason -> pins.orElse(0) != 0 && !isConnected(device))),
                fixed(Kind.MSI, ifComplete(config, config::msiVectors)),
                new Irqs(
                        Kind.MSIX,
                        msix,
                        grows ? EnumSet.of(Flag.EVENTFD) : EnumSet.of(Flag.EVENTFD, Flag.NORESIZE),
                        doubt(host, KernelChange.DYNAMIC_MSIX, "6.5, which leaves NORESIZE out")
                                .filter(reason -> mayGrow)),
                errors(ifComplete(config, () -> config.isExpress() ? 1 : 0)),
                fixed(Kind.REQ, OptionalInt.of(1)));
    }

    private static Irqs fixed(Kind kind, OptionalInt count) {
        return new Irqs(kind, count, EnumSet.of(Flag.EVENTFD, Flag.NORESIZE), Optional.empty());
    }

    /** The result that a vendor's kernel of an older number may have, or one without a number. */
    private static Optional<String> doubt(HostFacts host, KernelChange has, String change) {
        return host.has(has).isPresent()
                ? Optional.empty()
                : Optional.of("doubtful: the vendor may have backported the change from Linux " + change);
    }

    /** Without PCI Express VFIO does not describe the index, and returns EINVAL. */
    private static Irqs errors(OptionalInt count) {
        return count.orElse(1) == 0 ? new Irqs(Kind.ERR, count, Set.of(), Optional.empty()) : fixed(Kind.ERR, count);
    }

    private static OptionalInt ifComplete(PciCapabilities config, IntSupplier count) {
        return config.isComplete() ? OptionalInt.of(count.getAsInt()) : OptionalInt.empty();
    }

    /** A newer kernel's VFIO hides a pin whose line is not connected to the host. */
    private static OptionalInt intx(HostFacts host, PciDevice device) {
        boolean hidden = device.isVirtual()
                || isIntxBroken(device)
                || !isConnected(device) && host.has(hidesPin(device)).orElse(false);
        OptionalInt pin = device.config().interruptPin();
        return pin.isEmpty() ? pin : OptionalInt.of(pin.getAsInt() == 0 || hidden ? 0 : 1);
    }

    private static KernelChange hidesPin(PciDevice device) {
        return device.irq() == 0 ? KernelChange.HIDDEN_PIN_WITHOUT_IRQ : KernelChange.HIDDEN_PIN_NOT_CONNECTED;
    }

    private static boolean isConnected(PciDevice device) {
        return device.irq() != 0 && device.irq() <= Integer.MAX_VALUE;
    }

    /** {@code vfio_pci_nointx()}: Intel's X710 and X550 families. */
    private static boolean isIntxBroken(PciDevice device) {
        int id = device.device();
        return device.vendor() == 0x8086
                && (id == 0x1563
                        || id == 0x1572
                        || id == 0x1574
                        || id == 0x1580
                        || id == 0x1581
                        || id >= 0x1583 && id <= 0x158b
                        || id >= 0x37d0 && id <= 0x37d2);
    }
}
