/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.HostIrq;
import io.kvmirq.IrqKind;
import io.kvmirq.PciAddress;
import io.kvmirq.arch.intx.DirectEoiPolicy;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.path.Known;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * A PCI function's interrupt line, as host files show it: its other users, and whether vfio-pci requests it shareable
 * or exclusively. Immutable.
 *
 * <p>vfio-pci requests a line shareable if the device has DisINTx and the module parameter {@code nointxmask} is off.
 * Otherwise it masks at the interrupt controller and requests the line exclusively. Both are decided when the device is
 * opened; the parameter is read when the module is loaded, so a later write to its file has no effect since Linux 5.15.
 *
 * <p>Source: {@code vfio_pci_core_enable()} in drivers/vfio/pci/vfio_pci_core.c, {@code vfio_intx_enable()} in
 * vfio_pci_intrs.c, {@code pci_intx_mask_supported()} in drivers/pci/pci.c.
 *
 * @param irq the host irq of the line
 * @param armed whether VFIO has its handler on the line for this function
 * @param handlers the names of the other handlers on the line
 * @param neighbours other PCI functions whose pin sysfs shows on the line, with or without a handler
 * @param nointxmask the module parameter of vfio-pci
 * @param disIntx why the function has DisINTx, a clause without a full stop
 * @param broken whether Linux lists its DisINTx as broken; Intel's X710, whose pin VFIO hides, is left out
 */
public record IntxLine(
        Known<HostIrq> irq,
        boolean armed,
        Known<List<String>> handlers,
        List<PciDevice> neighbours,
        Known<Boolean> nointxmask,
        Known<String> disIntx,
        boolean broken) {
    /** VFIO's request for a line. */
    public enum Request {
        /** Others may have handlers on the line: {@code IRQF_SHARED}. */
        SHAREABLE,
        /** No other handler may be on the line: each other request gets EBUSY. */
        EXCLUSIVE
    }

    /** VFIO's request for the line; {@code why} is the files and their content, as a clause. */
    public record Requested(Request request, String why) {}

    /** Reads the line of a function from the files of its host. */
    public static IntxLine read(HostFacts host, PciDevice device) {
        Optional<ArmedVector> armed = host.interrupts().stream()
                .flatMap(all -> all.armed(device.address()).stream())
                .filter(vector -> vector.kind() == IrqKind.INTX)
                .findFirst();
        Known<HostIrq> irq = armed.<Known<HostIrq>>map(vector -> new Known.Observed<>(vector.irq()))
                .orElseGet(() -> pin(device));
        Known<List<String>> handlers = irq.then(line -> host.handlers(line)).map(all -> without(all, device));
        return new IntxLine(
                irq,
                armed.isPresent(),
                handlers,
                irq.known()
                        .map(line -> neighbours(host, device.address(), line))
                        .orElse(List.of()),
                host.nointxmask(),
                disIntx(device.config()),
                isBroken(device));
    }

    /** The devices that Linux marks {@code broken_intx_masking}: drivers/pci/quirks.c of 6.12. */
    private static boolean isBroken(PciDevice device) {
        int id = device.device();
        return switch (device.vendor()) {
            case 0x15b3 -> // mellanox_broken_intx_devs: up to ConnectX-3
                Set.of(0x6340, 0x634a, 0x6354, 0x6368, 0x6372, 0x6732, 0x673c, 0x6746, 0x6750, 0x675a, 0x6764, 0x676e)
                                .contains(id)
                        || id == 0x1003
                        || id == 0x1007;
            case 0x1425 -> id == 0x0030;
            case 0x1814 -> id == 0x0601;
            case 0x1b7c -> id == 0x0004;
            case 0x10ec -> id == 0x8169;
            default -> false;
        };
    }

    /** {@code irq_show()} in drivers/pci/pci-sysfs.c. */
    private static Known<HostIrq> pin(PciDevice device) {
        String irq = "/sys/bus/pci/devices/" + device.address() + "/irq";
        if (device.config().interruptPin().orElse(1) == 0) {
            return new Known.Unknown<>("the device has no interrupt pin", "none");
        }
        if (device.irq() == 0 || device.irq() > Integer.MAX_VALUE) {
            return new Known.Unknown<>(irq + " shows no irq for its pin", "none");
        }
        HostIrq shown = new HostIrq((int) device.irq());
        return device.messageIrqs().contains(shown)
                ? new Known.Unknown<>(
                        irq + " shows the MSI irq instead of the pin's because the device uses MSI",
                        "look before the guest enables MSI")
                : new Known.Observed<>(shown);
    }

    private static List<String> without(List<String> handlers, PciDevice device) {
        String own = "vfio-intx(" + device.address() + ")";
        return handlers.stream().filter(name -> !name.equals(own)).toList();
    }

    private static List<PciDevice> neighbours(HostFacts host, PciAddress address, HostIrq line) {
        return host.pciAddresses().stream()
                .filter(other -> !other.equals(address))
                .flatMap(other -> host.pci(other).stream())
                .filter(other -> pin(other).known().equals(Optional.of(line)))
                .toList();
    }

    /** A device without DisINTx ignores the bit and reads 0, and so does one that is not masked now. */
    private static Known<String> disIntx(PciCapabilities config) {
        if (!config.isReadable()) {
            return new Known.Unknown<>(
                    "the device's configuration space cannot be read", "run kvmirq on the host itself");
        }
        if (config.isIntxDisabled()) {
            return new Known.Observed<>("the device's COMMAND.DisINTx reads 1");
        }
        if (config.isExpress()) {
            return new Known.Observed<>("PCI Express devices have DisINTx, except those that Linux lists as broken");
        }
        String zero = "the device's COMMAND.DisINTx reads 0, as it does without DisINTx and while INTx is not masked";
        return config.isComplete()
                ? new Known.Unknown<>(zero, "look while the guest masks INTx or uses MSI")
                : new Known.Unknown<>(
                        zero + ", and only root sees whether this is a PCI Express device", "run as root");
    }

    /** The way in which VFIO requested the line, or will request it; else the reason why files do not show it. */
    public Known<Requested> requested() {
        int others = handlers.known().map(List::size).orElse(0);
        if (armed && others > 0) {
            return new Known.Observed<>(new Requested(Request.SHAREABLE, "it has other handlers besides VFIO's"));
        }
        if (broken) {
            return new Known.Observed<>(new Requested(Request.EXCLUSIVE, "Linux lists the device's DisINTx as broken"));
        }
        return nointxmask.then(on -> on
                ? new Known.Observed<>(new Requested(Request.EXCLUSIVE, "nointxmask of vfio-pci is Y"))
                : disIntx.map(why -> new Requested(Request.SHAREABLE, "nointxmask of vfio-pci is N, and " + why)));
    }

    /**
     * The traits of the line that decide on direct EOI, for {@code Forwarding.forwardDirect}; else why
     * the files do not show them. They assert nothing.
     */
    public Known<DirectEoiPolicy> policy() {
        return handlers.then(others -> requested()
                .map(made -> made.request() == Request.SHAREABLE
                        ? DirectEoiPolicy.shared(others.size())
                        : new DirectEoiPolicy(DirectEoiPolicy.exclusive().traits(), others.size())));
    }
}
