/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.devices;

import io.kvmirq.HostIrq;
import io.kvmirq.PciAddress;
import io.kvmirq.cli.frame.Columns;
import io.kvmirq.cli.frame.Hex;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.rules.DeviceRules;
import io.kvmirq.diag.rules.VfioOutlook;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.PostingOutlook;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.Known;
import io.kvmirq.path.Link;
import io.kvmirq.text.Foreign;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A device as {@code kvmirq vfio} shows it, in words or as JSON: VFIO's interrupts or refusals, its own flaws, and the
 * host's uses of it. Names come from files, so words are made printable.
 */
record VfioReport(
        HostFacts host,
        Terminal terminal,
        PciDevice device,
        VfioOutlook outlook,
        Link link,
        VfioBinding binding,
        List<HostInterrupts.ArmedVector> armed,
        List<String> uses) {
    private static final int FACT_WIDTH = 10;
    private static final int MOST_NAMED = 4;

    static VfioReport build(HostFacts host, Terminal terminal, PciDevice device) {
        VfioOutlook outlook = VfioOutlook.read(host, device);
        return new VfioReport(
                host,
                terminal,
                device,
                outlook,
                DeviceRules.link(host, device),
                VfioBinding.read(host, device, outlook),
                host.interrupts().map(all -> all.armed(device.address())).orElse(List.of()),
                host.uses(device.address()));
    }

    /** Writes it as members of a document. Values that the host does not show are null. */
    void write(Json json) {
        json.value("address", device.address())
                .value("vendor", Hex.padded(device.vendor(), 16))
                .value("device", Hex.padded(device.device(), 16))
                .value("class", Hex.padded(device.classCode(), 24))
                .value("driver", device.driver())
                .value("driverOverride", device.override())
                .value("group", device.group())
                .objects("groupOthers", device.others(), (object, other) -> object.value("name", other.name())
                        .value("driver", other.driver())
                        .value("blocks", other.blocks()))
                .value("cdev", device.cdev())
                .value("resets", device.resets())
                .value("numaNode", device.numaNode())
                .value("irqs", outlook.irqs())
                .value("armed", armed)
                .value("allocatedHostIrqs", device.messageIrqs())
                .value("uses", uses)
                .value("usable", isUsable())
                .value("link", link)
                .value("refusals", outlook.refusals())
                .value("bind", binding.bind())
                .value("giveBack", binding.giveBack());
    }

    /** Prints a line for each device. */
    static void list(HostFacts host, Terminal terminal, List<VfioReport> devices) {
        List<String> usable = devices.stream()
                .filter(VfioReport::isUsable)
                .map(report -> report.device().address().toString())
                .toList();
        terminal.line(
                terminal.bold(usable.size() + " of " + devices.size() + " PCI devices can be assigned to a guest now"
                        + (usable.isEmpty() ? "" : ": " + Finding.some(usable, MOST_NAMED))));
        if (!usable.isEmpty()) {
            ifHidden(host, terminal, "these");
        }
        terminal.say((host.iommus().isEmpty() ? "" : "IOMMU ")
                + (host.units().known().isEmpty() ? "the IOMMU is " : "")
                + iommus(host));
        terminal.say("posting is " + PostingOutlook.fromHost(host));
        if (devices.isEmpty()) {
            return;
        }
        List<List<String>> table = new ArrayList<>();
        table.add(List.of("address", "id", "class", "group", "driver", "VFIO"));
        for (VfioReport report : devices) {
            String flaws = Stream.concat(
                            report.outlook().refusals().stream().map(refusal -> Finding.id(refusal.cause())),
                            report.flaws().stream())
                    .collect(Collectors.joining(", "));
            table.add(List.of(
                    report.device().address().toString(),
                    report.device().id(),
                    report.classCode(),
                    report.device().group().isPresent()
                            ? String.valueOf(report.device().group().getAsInt())
                            : "-",
                    report.driver(),
                    flaws.isEmpty() ? terminal.good("usable") : flaws));
        }
        Columns.print(table, terminal);
        terminal.say(host.command("vfio BDF") + " explains a device's status");
    }

    void print() {
        terminal.line(headline());
        if (outlook.refusals().isEmpty()) {
            ifHidden(host, terminal, "it");
        }
        fact("device", device.id() + ", class " + classCode());
        fact(
                "driver",
                driver() + device.override().map(name -> ", override " + name).orElse(""));
        fact("IOMMU", (host.units().known().filter(List::isEmpty).isPresent() ? "none" : iommus(host)) + group());
        device.others()
                .forEach(other -> fact(
                        "",
                        "with " + other.name() + ", "
                                + other.driver().map(name -> "driver " + name).orElse("no driver")
                                + (other.blocks() ? ", which blocks the group" : "")));
        device.cdev().ifPresent(name -> fact("file", "/dev/vfio/devices/" + name));
        fact("reset", resets());
        List<String> kept = host.reserved(device);
        if (!kept.isEmpty()) {
            fact("reserved", String.join(", ", kept) + ": VFIO maps no guest memory there");
        }
        device.numaNode().ifPresent(node -> fact("NUMA node", String.valueOf(node)));
        uses.forEach(use -> fact("in use", use + ": the host loses it with the device"));
        irqs();
        terminal.say("posting is " + PostingOutlook.fromHost(host));
        refusals();
        commands("to bind the device:", binding.bind());
        boolean used = outlook.refusals().stream().anyMatch(refusal -> refusal.cause() == VfioOutlook.Obstacle.IN_USE);
        String when = used ? ", once no process has it open" : device.isBoundToVfio() ? "" : " afterwards";
        commands("to return the device to its driver" + when + ":", binding.giveBack());
    }

    /** Why a verdict may be wrong: a process that is not visible may have the devices open. */
    private static void ifHidden(HostFacts host, Terminal terminal, String devices) {
        host.hidesProcesses()
                .or(() -> host.interrupts().isEmpty() ? Optional.of(host.noInterrupts()) : Optional.empty())
                .ifPresent(hidden -> terminal.say("a hidden process may have " + devices + " open: " + hidden.why()));
    }

    /** The verdict in one sentence, for readers who know no link. */
    private String headline() {
        List<VfioOutlook.Refusal> refusals = outlook.refusals();
        String address = device.address() + " ";
        String said = Foreign.printable(link.text());
        if (link.state() == Link.State.BROKEN) {
            return terminal.bad(address + "cannot send interrupts: " + said);
        }
        if (isUsable() || isWithGuest()) {
            boolean doubtful = link.state() == Link.State.DOUBTFUL;
            String verdict = (refusals.isEmpty()
                            ? "can be assigned to a guest"
                            : doubtful ? "is in use: " + guest() : "is in use, with no visible flaw: " + guest())
                    + (doubtful ? ", in doubt: " + said : "");
            return doubtful ? terminal.bold(address + verdict) : terminal.good(address + verdict);
        }
        String more = refusals.size() > 1 ? ", and " + (refusals.size() - 1) + " more below" : "";
        return terminal.bad(address + "cannot be assigned to a guest now: "
                + Foreign.printable(refusals.get(0).text()) + more);
    }

    /** Since Linux 5.15 each device that can be reset shows how. */
    private String resets() {
        if (!device.resets().isEmpty()) {
            return String.join(", ", device.resets());
        }
        boolean shown = host.pciAddresses().stream()
                .flatMap(address -> host.pci(address).stream())
                .anyMatch(device -> !device.resets().isEmpty());
        List<PciDevice> others = onItsBus();
        return !shown
                ? "not shown"
                : others.isEmpty()
                        ? "none: the kernel cannot reset the device, so each guest gets it in the state in which the last"
                                + " guest left it"
                        : "bus only: VFIO resets the whole bus, and only for a program that also owns "
                                + others.stream().map(VfioReport::inGroup).collect(Collectors.joining(", "));
    }

    private static String inGroup(PciDevice other) {
        return other.address()
                + (other.group().isPresent() ? " (group " + other.group().getAsInt() : " (no group")
                + other.driver()
                        .map(name -> ", driver " + Foreign.printable(name))
                        .orElse(", no driver") + ")";
    }

    /** The functions that a reset of the bus resets too. A root bus has none ({@code pci_parent_bus_reset()} in drivers/pci/pci.c). */
    private List<PciDevice> onItsBus() {
        PciAddress own = device.address();
        boolean root = host.files()
                .link("sys/bus/pci/devices/" + own)
                .filter(path ->
                        path.contains("/pci") && path.indexOf('/', path.indexOf("/pci") + 1) == path.lastIndexOf('/'))
                .isPresent();
        return root
                ? List.of()
                : host.pciAddresses().stream()
                        .filter(address ->
                                !address.equals(own) && address.domain() == own.domain() && address.bus() == own.bus())
                        .flatMap(address -> host.pci(address).stream())
                        .toList();
    }

    private String guest() {
        return host.vms().using(device.address()).stream()
                .map(vm -> "guest " + Foreign.printable(vm.name()) + " uses it")
                .findFirst()
                .orElse("a guest uses it");
    }

    private void irqs() {
        terminal.say("interrupts that VFIO"
                + host.kernel().map(release -> " on Linux " + release).orElse("") + " will report");
        List<VfioOutlook.Irqs> all = outlook.irqs();
        for (VfioOutlook.Irqs irqs : all) {
            String count =
                    irqs.count().isPresent() ? String.valueOf(irqs.count().getAsInt()) : "?";
            terminal.say(String.format("  %d %-5s %5s  ", all.indexOf(irqs), irqs.kind(), count)
                    + (irqs.flags().isEmpty()
                            ? "not described: VFIO returns EINVAL"
                            : irqs.flags().stream().map(Enum::name).collect(Collectors.joining(" ")))
                    + irqs.doubt().map(text -> "; " + text).orElse(""));
        }
        if (!device.config().isComplete()) {
            terminal.say("  ? configuration space could not be read in full: run as root, or copy config as root");
        }
        armed.forEach(irq -> terminal.say("  armed: " + irq.kind() + " " + irq.vector() + ", " + irq.irq()));
        List<HostIrq> unarmed = device.messageIrqs().stream()
                .filter(irq -> armed.stream().noneMatch(other -> other.irq().equals(irq)))
                .toList();
        if (!unarmed.isEmpty()) {
            terminal.say("  allocated, but not armed by VFIO: "
                    + unarmed.stream().map(HostIrq::toString).collect(Collectors.joining(", ")));
        }
    }

    private void refusals() {
        List<VfioOutlook.Refusal> refusals = outlook.refusals();
        if (!flaws().isEmpty()) {
            terminal.link(link);
            terminal.remedies(false, link.remedies());
        }
        if (!refusals.isEmpty()) {
            terminal.say("VFIO would refuse the device:");
        }
        for (int i = 0; i < refusals.size(); i++) {
            terminal.say("  " + (i + 1) + "  " + refusals.get(i).text());
            refusals.get(i).remedies().forEach(remedy -> terminal.remedy("     do: ", remedy));
        }
    }

    /** A command for a shell stays whole: a terminal breaks it so that it can be copied. */
    private void commands(String heading, List<String> commands) {
        if (!commands.isEmpty()) {
            terminal.say(heading);
            commands.forEach(command -> terminal.out().println("  " + command));
        }
    }

    private void fact(String name, String text) {
        terminal.fact(name, FACT_WIDTH, text);
    }

    private static String iommus(HostFacts host) {
        return host.units().known().isEmpty()
                ? "not shown"
                : host.iommus().isEmpty() ? "no IOMMU" : String.join(", ", host.iommus());
    }

    private String group() {
        return device.group().isEmpty()
                ? host.group(device) instanceof Known.Unknown ? ", group not shown" : ", no group"
                : ", group " + device.group().getAsInt() + (device.others().isEmpty() ? ", nothing else in it" : "");
    }

    private String classCode() {
        return Hex.padded(device.classCode(), 24);
    }

    private String driver() {
        return device.driver()
                .map(name -> Foreign.printable(name, Columns.WIDEST_COLUMN))
                .orElse(device.unlinked() ? "not shown" : "none");
    }

    /** Whether VFIO takes it, and no rule finds that it sends no interrupt. */
    boolean isUsable() {
        return outlook.refusals().isEmpty() && link.state() != Link.State.BROKEN;
    }

    /** Whether it is in order because a guest has it, and so no other process gets it. */
    boolean isWithGuest() {
        return link.state() != Link.State.BROKEN
                && !outlook.refusals().isEmpty()
                && !host.holders(device).isEmpty()
                && outlook.refusals().stream().allMatch(refusal -> refusal.cause() == VfioOutlook.Obstacle.IN_USE)
                && host.holders(device).stream()
                        .allMatch(pid -> host.vms().all().stream().anyMatch(vm -> vm.pid() == pid));
    }

    /** The reason why a device sends no interrupt, if a rule finds one. */
    static Optional<String> broken(HostFacts host, PciAddress address) {
        return host.pci(address)
                .map(device -> DeviceRules.link(host, device))
                .filter(link -> link.state() == Link.State.BROKEN)
                .map(Link::text);
    }

    /** The names of the flaws of the device itself. */
    List<String> flaws() {
        return link.flaws().stream().map(Flaw::rule).toList();
    }
}
