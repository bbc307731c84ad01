/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.UnreadableInputException;
import io.kvmirq.diag.rules.Fact;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Known;
import io.kvmirq.text.Foreign;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import picocli.CommandLine.ParseResult;

/** Finds the device or the guest that a user names on a host. */
public final class HostChoice {
    private static final String DEVICES = "sys/bus/pci/devices";
    private static final int MOST_SUGGESTED = 3;
    private static final int BUS_SHIFT = 8;
    private static final int FUNCTIONS = 1 << 16;

    /** The files that a copy of a host needs, for the help. */
    static final List<String> FILES = List.of(
            "",
            "DIR contains the files that 'kvmirq help vfio' lists, and"
                    + " proc/*/{comm,cmdline,fd,fdinfo,task}, sys/kernel/debug/{kvm,iommu,irq/irqs}. Missing"
                    + " files are reported as not shown.");

    private HostChoice() {}

    /** @throws IllegalArgumentException if it is not an address */
    public static PciAddress address(String typed) {
        try {
            return PciAddress.parse(typed);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(
                    Foreign.quoted(typed)
                            + " is not a PCI address: expected DOMAIN:BUS:DEVICE.FUNCTION, such as 0000:3b:00.0",
                    e);
        }
    }

    /** The address that {@code --device} names; empty without the option. Another word is a usage error. */
    public static Optional<PciAddress> device(ParseResult arguments) {
        return Commands.read(
                arguments, () -> Optional.ofNullable(arguments.<String>matchedOptionValue("--device", null))
                        .map(HostChoice::address));
    }

    /** The device at an address. The sentence of a refusal has the closest ones. */
    public static PciDevice device(HostFacts host, PciAddress address) {
        Optional<PciDevice> device = host.pci(address);
        if (device.isPresent()) {
            return device.get();
        }
        if (host.hides(address)) {
            throw new UnreadableInputException("sysfs lists PCI device " + address + ", but not its vendor and device"
                    + " ids (/sys/bus/pci/devices/" + address + "/vendor): " + Fact.LOOK_AGAIN);
        }
        requireListed(host, address);
        List<PciAddress> closest = host.pciAddresses().stream()
                .filter(listed -> listed.domain() == address.domain()
                        && listed.requesterId() >> BUS_SHIFT == address.requesterId() >> BUS_SHIFT)
                .sorted(Comparator.comparingLong(listed -> Math.abs(number(listed) - number(address))))
                .limit(MOST_SUGGESTED)
                .toList();
        String names = closest.stream().map(PciAddress::toString).collect(Collectors.joining(", "));
        throw new UnreadableInputException("there is no PCI device " + address
                + (closest.isEmpty()
                        ? ""
                        : "; the closest on its bus " + (closest.size() == 1 ? "is " : "are ") + names)
                + ": " + host.command("vfio") + " lists the devices");
    }

    /** Refuses to say that a device is missing where PCI devices may not be listed. */
    public static void requireListed(HostFacts host, PciAddress address) {
        if (host.pciAddresses().isEmpty() && host.files().reading(DEVICES) == HostFiles.Reading.DENIED) {
            Known.Unknown<?> why = host.sight().refused(DEVICES);
            throw new UnreadableInputException(
                    "cannot tell whether PCI device " + address + " exists: " + why.why() + ": " + why.remedy());
        }
    }

    private static long number(PciAddress address) {
        return (long) address.domain() * FUNCTIONS + address.requesterId();
    }

    static UnreadableInputException withoutDevice(HostFacts host, String guest) {
        return new UnreadableInputException("guest " + Foreign.quoted(guest) + " has no VFIO PCI device: "
                + host.command("explain --vm NAME") + " shows its other interrupts");
    }

    /** Whether a guest has a name, or is a process of that number. */
    public static boolean isNamed(VmProcess guest, String nameOrPid) {
        return guest.name().equals(nameOrPid) || String.valueOf(guest.pid()).equals(nameOrPid);
    }

    /** Why guests may be hidden, after a semicolon; empty if each is seen. */
    static String hidden(HostFacts host) {
        return host.hidesProcesses()
                .map(hidden -> "; " + hidden.why() + ": " + hidden.remedy())
                .orElse("");
    }

    /**
     * The guests of a name, or of a process.
     *
     * @throws UnreadableInputException if none is seen; the message lists the guests
     */
    public static List<VmProcess> guests(HostFacts host, String nameOrPid) {
        List<VmProcess> found = host.vms().all().stream()
                .filter(process -> isNamed(process, nameOrPid))
                .toList();
        Optional<VmProcess> process = found.stream()
                .filter(guest -> String.valueOf(guest.pid()).equals(nameOrPid))
                .findFirst();
        if (process.isPresent()) {
            return List.of(process.get()); // another one may have the number as its name
        }
        if (!found.isEmpty()) {
            return found;
        }
        String known = host.vms().all().stream()
                .map(guest -> Foreign.quoted(guest.name()) + " (process " + guest.pid() + ")")
                .collect(Collectors.joining(", "));
        throw new UnreadableInputException("no guest " + Foreign.quoted(nameOrPid) + " is visible: "
                + (known.isEmpty() ? "no process has a VM open" : "use one of " + known + ", or a process id")
                + hidden(host));
    }
}
