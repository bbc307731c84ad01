/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.DeviceName;
import io.kvmirq.IrqKind;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.UnreadableInputException;
import io.kvmirq.diag.rules.VfioOutlook;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.diag.screens.PathsCheck;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.text.Foreign;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine.ParseResult;

/**
 * The interrupts that {@code kvmirq explain} is asked for.
 *
 * @param device empty for the devices of guests
 * @param vector empty for all
 * @param irq a host irq in place of device and vector
 * @param guest a guest by name or process; empty for all
 */
record ExplainQuestion(
        Optional<PciAddress> device, OptionalInt vector, OptionalInt irq, Optional<String> guest, boolean vcpus) {
    /** Reads a command line. Throws IllegalArgumentException for options that exclude each other. */
    static ExplainQuestion parse(ParseResult arguments) {
        List<String> words = Command.words(arguments);
        Optional<String> first = words.stream().findFirst();
        OptionalInt irq = first.filter(word -> word.matches("\\d{1,9}")).stream()
                .mapToInt(Integer::parseInt)
                .findFirst();
        Optional<String> name = first.filter(word -> irq.isEmpty() && !word.isEmpty() && !word.contains(":"));
        Optional<String> option = Optional.ofNullable(arguments.matchedOptionValue("--vm", null));
        Optional<String> guest = option.or(() -> name);
        boolean vcpus = arguments.hasMatchedOption("--vcpus");
        if (vcpus && guest.isEmpty()) {
            throw new IllegalArgumentException("--vcpus needs a guest: add --vm NAME");
        }
        boolean all = arguments.hasMatchedOption("--all");
        if (arguments.hasMatchedOption(HostSource.TWICE) && (vcpus || arguments.hasMatchedOption(LiveOption.NAME))) {
            throw new IllegalArgumentException(HostSource.TWICE + " reads files twice, and " + LiveOption.NAME
                    + " watches longer: use one of them, and use " + HostSource.TWICE + " without --vcpus");
        }
        if (arguments.hasMatchedOption("--against") && (vcpus || !arguments.hasMatchedOption("--from"))) {
            throw new IllegalArgumentException("--against compares two captures: add --from, and leave out --vcpus");
        }
        if ((guest.isPresent() || all) && !vcpus && arguments.hasMatchedOption("--fake")) {
            throw new IllegalArgumentException(
                    "a fake host has a guest only while --vcpus watches it: add --vcpus, or choose"
                            + " another host by --root or --from");
        }
        if ((words.isEmpty() ? 0 : 1) + (option.isPresent() ? 1 : 0) + (all ? 1 : 0) > 1) {
            throw new IllegalArgumentException("--vm, --all and an address are mutually exclusive: use one of them");
        }
        if (words.isEmpty() && guest.isEmpty() && !all) {
            throw new IllegalArgumentException("expected a device address, such as 0000:3b:00.0, or --vm"
                    + " and a guest name: 'kvmirq list --all" + Commands.host(arguments) + "' shows both");
        }
        if (words.size() > 1 && (irq.isPresent() || name.isPresent())) {
            throw new IllegalArgumentException("a vector belongs to a device: expected a device address before "
                    + Foreign.quoted(words.get(1)) + ", such as 0000:3b:00.0");
        }
        return new ExplainQuestion(
                first.filter(word -> irq.isEmpty() && name.isEmpty()).map(HostChoice::address),
                words.size() > 1 ? OptionalInt.of(vector(words.get(1))) : OptionalInt.empty(),
                irq,
                guest,
                vcpus);
    }

    /** The same question, with the device and the vector of a host irq. */
    ExplainQuestion on(HostFacts host) {
        if (irq.isEmpty()) {
            return this;
        }
        ArmedVector vector = host.armed().stream()
                .filter(each -> each.irq().number() == irq.getAsInt())
                .findFirst()
                .orElseThrow(() -> new UnreadableInputException("VFIO has armed no host irq " + irq.getAsInt() + ": "
                        + host.command("list --all") + " shows the armed irqs"));
        return new ExplainQuestion(
                Optional.of(vector.address()),
                vector.kind() == IrqKind.INTX ? OptionalInt.empty() : OptionalInt.of(vector.vector()),
                irq,
                guest,
                vcpus);
    }

    List<VmProcess> guests(HostFacts host) {
        if (guest.isPresent()) {
            return HostChoice.guests(host, guest.get());
        }
        return host.vms().all();
    }

    /** The first of two looks: reads all that an answer reads. */
    void readAll(HostFacts host) {
        chains(host, KernelPaths.none());
        PathsCheck.ofGuests(host, host.vms().all());
    }

    /** @throws UnreadableInputException if no guest is seen and no device is in use */
    void requireSeen(HostFacts host) {
        if (device.isEmpty()
                && guest.isEmpty()
                && host.vms().all().isEmpty()
                && host.armed().isEmpty()) {
            throw new UnreadableInputException("no visible process has a VM open" + HostChoice.hidden(host));
        }
    }

    /** @throws UnreadableInputException if the device is missing, or has no such vector */
    void requireVector(HostFacts host) {
        device.ifPresent(address -> {
            PciDevice known = HostChoice.device(host, address);
            vector.ifPresent(number -> checkVector(host, known, number));
        });
    }

    /** The guests on the command line, or those of the device. */
    List<VmProcess> watched(HostFacts host) {
        return device.isPresent() ? host.vms().using(device.get()) : guests(host);
    }

    VmProcess onlyGuest(HostFacts host) {
        String name = guest.orElse("");
        List<VmProcess> guests = HostChoice.guests(host, name);
        if (guests.size() > 1) {
            throw new UnreadableInputException("several guests are named " + Foreign.quoted(name)
                    + ": use a process id instead, "
                    + guests.stream().map(guest -> String.valueOf(guest.pid())).collect(Collectors.joining(" or ")));
        }
        return guests.get(0);
    }

    /** The guests on the command line; none for a device, whose interrupts do not pass their other sources. */
    List<VmProcess> sources(HostFacts host) {
        return device.isPresent() ? List.of() : guests(host);
    }

    List<InterruptPath> chains(HostFacts host, KernelPaths memory) {
        if (device.isPresent()) {
            if (vector.isEmpty() || DeviceChains.gone(host, device.get()).isPresent()) {
                return chains(host, device.get(), memory);
            }
            PciDevice known = HostChoice.device(host, device.get());
            checkVector(host, known, vector.getAsInt());
            return List.of(DeviceChains.read(host, known, vector.getAsInt(), memory));
        }
        List<InterruptPath> chains = new ArrayList<>();
        Set<DeviceName> seen = new HashSet<>();
        for (VmProcess process : guests(host)) {
            devices(process)
                    .filter(seen::add) // a helper may hold the VM and the device, too
                    .forEach(address -> chains.addAll(ofGuest(host, address, memory)));
            // No file of a process names a removed device; if the host has one VM, the device belongs to it.
            if (host.vms().all().size() == 1) {
                DeviceChains.gone(host).stream()
                        .filter(path -> path.interrupt()
                                .filter(interrupt -> process.devices().contains(interrupt.device()))
                                .isEmpty())
                        .forEach(chains::add);
            }
        }
        if (guest.isEmpty()) {
            chains.stream()
                    .flatMap(chain -> chain.interrupt().stream())
                    .forEach(interrupt -> seen.add(interrupt.device()));
            host.armed().stream()
                    .map(ArmedVector::address)
                    .filter(seen::add)
                    .toList()
                    .forEach(address -> chains.addAll(ofGuest(host, address, memory)));
        }
        return chains;
    }

    private static int vector(String typed) {
        if (!typed.matches("\\d{1,4}") || Integer.parseInt(typed) >= MsiMessage.MOST_VECTORS) {
            throw new IllegalArgumentException(
                    Foreign.quoted(typed) + " is not a vector: expected a number from 0 to 2047, such as 3");
        }
        return Integer.parseInt(typed);
    }

    static Stream<PciAddress> devices(VmProcess process) {
        return Stream.concat(process.devices().stream(), process.mayHave().stream());
    }

    /** A device of a guest whose files are refused does not hide the others. */
    private static List<InterruptPath> ofGuest(HostFacts host, PciAddress address, KernelPaths memory) {
        return host.pci(address).isPresent() || DeviceChains.gone(host, address).isPresent()
                ? chains(host, address, memory)
                : List.of(DeviceChains.hidden(host, address));
    }

    private static List<InterruptPath> chains(HostFacts host, PciAddress address, KernelPaths memory) {
        Optional<InterruptPath> gone = DeviceChains.gone(host, address);
        return gone.map(List::of).orElseGet(() -> DeviceChains.read(host, HostChoice.device(host, address), memory));
    }

    private static void checkVector(HostFacts host, PciDevice device, int vector) {
        List<VfioOutlook.Irqs> messages = VfioOutlook.read(host, device).irqs().stream()
                .filter(irqs -> irqs.kind().compareTo(VfioOutlook.Kind.MSIX) <= 0)
                .toList();
        boolean known = messages.stream().allMatch(irqs -> irqs.count().isPresent());
        if (known && messages.stream().noneMatch(irqs -> vector < irqs.count().orElse(0))) {
            String all = messages.stream()
                    .filter(irqs -> irqs.count().orElse(0) > 0)
                    .map(irqs -> range(irqs.kind(), irqs.count().orElse(0)))
                    .collect(Collectors.joining(", "));
            throw new UnreadableInputException(device.address() + " has no vector " + vector + ": "
                    + (all.isEmpty() ? "it has no interrupt" : "expected " + all));
        }
    }

    private static String range(VfioOutlook.Kind kind, int count) {
        return switch (kind) {
                    case INTX -> IrqKind.INTX.label();
                    case MSI -> IrqKind.MSI.label() + " 0";
                    default -> IrqKind.MSIX.label() + " 0";
                }
                + (count > 1 ? " to " + (count - 1) : "");
    }
}
