/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.devices;

import io.kvmirq.HostIrq;
import io.kvmirq.cli.frame.Columns;
import io.kvmirq.cli.frame.Hex;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.rules.VfioOutlook;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.PostingOutlook;
import io.kvmirq.path.Known;
import io.kvmirq.path.Link;
import io.kvmirq.text.Foreign;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Prints the output of {@code kvmirq vfio} as text. Names come from files, so they are made printable. */
record VfioText(HostFacts host, Terminal terminal) {
    private static final int FACTS = 10;
    private static final int NAMED = 4;

    void list(List<VfioView> devices) {
        List<String> usable = devices.stream()
                .filter(VfioView::isUsable)
                .map(one -> one.device().address().toString())
                .toList();
        terminal.line(terminal.bold(usable.size() + " of " + devices.size() + " PCI devices can be given to a guest now"
                + (usable.isEmpty() ? "" : ": " + Finding.some(usable, NAMED))));
        if (!usable.isEmpty()) {
            ifHidden("these");
        }
        line((host.iommus().isEmpty() ? "" : "IOMMU ")
                + (host.units().known().isEmpty() ? "the IOMMU is " : "")
                + iommus());
        line("posting is " + PostingOutlook.of(host));
        if (devices.isEmpty()) {
            return;
        }
        List<List<String>> table = new ArrayList<>();
        table.add(List.of("address", "id", "class", "group", "driver", "VFIO"));
        for (VfioView one : devices) {
            PciDevice device = one.device();
            String flaws = Stream.concat(
                            one.outlook().refusals().stream().map(refusal -> Finding.id(refusal.cause())),
                            one.flaws().stream())
                    .collect(Collectors.joining(", "));
            table.add(List.of(
                    device.address().toString(),
                    id(device),
                    classCode(device),
                    number(device.group()),
                    driver(device),
                    flaws.isEmpty() ? terminal.good("usable") : flaws));
        }
        Columns.print(table, terminal);
        line(host.command("vfio BDF") + " explains the word of a device");
    }

    void print(VfioView one) {
        PciDevice device = one.device();
        terminal.line(headline(one));
        if (one.outlook().refusals().isEmpty()) {
            ifHidden("it");
        }
        fact("device", id(device) + ", class " + classCode(device));
        fact(
                "driver",
                driver(device)
                        + device.override().map(name -> ", override " + name).orElse(""));
        fact("IOMMU", (host.units().known().filter(List::isEmpty).isPresent() ? "none" : iommus()) + group(device));
        device.others()
                .forEach(other -> fact(
                        "",
                        "with " + other.name() + ", "
                                + other.driver().map(name -> "driver " + name).orElse("no driver")
                                + (other.blocks() ? ", which blocks the group" : "")));
        device.cdev().ifPresent(name -> fact("file", "/dev/vfio/devices/" + name));
        fact("reset", resets(device));
        List<String> kept = one.reserved(host);
        if (!kept.isEmpty()) {
            fact("reserved", String.join(", ", kept) + ": VFIO maps no memory of a guest there");
        }
        device.numaNode().ifPresent(node -> fact("NUMA node", String.valueOf(node)));
        one.uses().forEach(use -> fact("in use", use + ": the host loses it with the device"));
        irqs(one);
        line("posting is " + PostingOutlook.of(host));
        refusals(one);
        commands("to bind it:", one.bind(host));
        boolean used =
                one.outlook().refusals().stream().anyMatch(refusal -> refusal.cause() == VfioOutlook.Obstacle.IN_USE);
        String when = used ? "once no process has it open, " : device.isBoundToVfio() ? "" : "afterwards, ";
        commands(when + "to give it back:", one.giveBack(host));
    }

    /** Why a verdict may be wrong: a process that is not visible may have the devices open. */
    private void ifHidden(String devices) {
        host.hidesProcesses()
                .or(() -> host.interrupts().isEmpty() ? Optional.of(host.noInterrupts()) : Optional.empty())
                .ifPresent(hidden -> line("if no hidden process has " + devices + " open: " + hidden.why()));
    }

    /** The verdict in one sentence, for readers who know no link. */
    private String headline(VfioView one) {
        List<VfioOutlook.Refusal> refusals = one.outlook().refusals();
        String address = one.device().address() + " ";
        String link = Foreign.printable(one.link().text());
        if (one.link().state() == Link.State.BROKEN) {
            return terminal.bad(address + "sends no interrupt: " + link);
        }
        if (one.isUsable() || one.isWithGuest(host)) {
            boolean doubtful = one.link().state() == Link.State.DOUBTFUL;
            String verdict = (refusals.isEmpty()
                            ? "can be given to a guest"
                            : doubtful ? "is in use: " + guest(one) : "is in order: " + guest(one))
                    + (doubtful ? ", in doubt: " + link : "");
            return doubtful ? terminal.bold(address + verdict) : terminal.good(address + verdict);
        }
        String more = refusals.size() > 1 ? ", and " + (refusals.size() - 1) + " more below" : "";
        return terminal.bad(address + "cannot be given to a guest now: "
                + Foreign.printable(refusals.get(0).text()) + more);
    }

    /** Since Linux 5.15 each device that can be reset shows how. */
    private String resets(PciDevice device) {
        if (!device.resets().isEmpty()) {
            return String.join(", ", device.resets());
        }
        boolean shown = host.pciAddresses().stream()
                .flatMap(one -> host.pci(one).stream())
                .anyMatch(one -> !one.resets().isEmpty());
        return shown
                ? "none: the kernel has no way to reset it, so the next guest gets it as the last one left it"
                : "not shown";
    }

    private String guest(VfioView one) {
        return host.vms().of(one.device().address()).stream()
                .map(vm -> "guest " + Foreign.printable(vm.name()) + " has it")
                .findFirst()
                .orElse("a guest has it");
    }

    private void irqs(VfioView one) {
        line("interrupts that VFIO"
                + host.kernel().map(release -> " of Linux " + release).orElse("") + " will report");
        List<VfioOutlook.Irqs> all = one.outlook().irqs();
        for (VfioOutlook.Irqs irqs : all) {
            String count =
                    irqs.count().isPresent() ? String.valueOf(irqs.count().getAsInt()) : "?";
            line(String.format("  %d %-5s %5s  ", all.indexOf(irqs), irqs.kind(), count)
                    + (irqs.flags().isEmpty()
                            ? "not described: VFIO answers EINVAL"
                            : irqs.flags().stream().map(Enum::name).collect(Collectors.joining(" ")))
                    + irqs.doubt().map(text -> "; " + text).orElse(""));
        }
        if (!one.device().config().isComplete()) {
            line(
                    "  ? needs root, or in a copy a config that root read: the configuration space could not be read whole");
        }
        List<HostInterrupts.ArmedVector> armed = one.armed();
        armed.forEach(irq -> line("  armed: " + irq.kind() + " " + irq.vector() + ", " + irq.irq()));
        List<HostIrq> unarmed = one.device().messageIrqs().stream()
                .filter(irq -> armed.stream().noneMatch(other -> other.irq().equals(irq)))
                .toList();
        if (!unarmed.isEmpty()) {
            line("  allocated, not armed by VFIO: "
                    + unarmed.stream().map(HostIrq::toString).collect(Collectors.joining(", ")));
        }
    }

    private void refusals(VfioView one) {
        List<VfioOutlook.Refusal> refusals = one.outlook().refusals();
        if (!one.flaws().isEmpty()) {
            terminal.link(one.link());
            terminal.remedies(false, one.link().remedies());
        }
        if (!refusals.isEmpty()) {
            line("VFIO would refuse it:");
        }
        for (int i = 0; i < refusals.size(); i++) {
            line("  " + (i + 1) + "  " + refusals.get(i).text());
            refusals.get(i).remedies().forEach(remedy -> terminal.remedy("     do: ", remedy));
        }
    }

    /** A command for a shell stays whole: a terminal breaks it so that it can be copied. */
    private void commands(String heading, List<String> commands) {
        if (!commands.isEmpty()) {
            line(heading);
            commands.forEach(command -> terminal.out().println("  " + command));
        }
    }

    private void fact(String name, String text) {
        terminal.fact(name, FACTS, text);
    }

    private void line(String text) {
        terminal.line(Foreign.printable(text));
    }

    private String iommus() {
        return host.units().known().isEmpty()
                ? "not shown"
                : host.iommus().isEmpty() ? "no IOMMU" : String.join(", ", host.iommus());
    }

    private String group(PciDevice device) {
        return device.group().isEmpty()
                ? host.group(device) instanceof Known.Unknown ? ", group not shown" : ", no group"
                : ", group " + device.group().getAsInt() + (device.others().isEmpty() ? ", nothing else in it" : "");
    }

    private static String id(PciDevice device) {
        return String.format("%04x:%04x", device.vendor(), device.device());
    }

    private static String classCode(PciDevice device) {
        return Hex.padded(device.classCode(), 24);
    }

    private static String number(OptionalInt number) {
        return number.isPresent() ? String.valueOf(number.getAsInt()) : "-";
    }

    private static String driver(PciDevice device) {
        return device.driver()
                .map(name -> Foreign.printable(name, Columns.WIDEST))
                .orElse(device.unlinked() ? "not shown" : "none");
    }
}
