/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.devices;

import io.kvmirq.HostIrq;
import io.kvmirq.cli.frame.Hex;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.rules.VfioOutlook;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.PostingOutlook;
import io.kvmirq.path.Link;
import io.kvmirq.text.Foreign;
import java.io.PrintStream;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Prints the output of {@code kvmirq vfio} as text. Names come from files, so they are made printable. */
final class VfioText {
    private VfioText() {}

    static void list(HostFacts host, List<VfioView> devices, Terminal terminal) {
        PrintStream out = terminal.out();
        out.println(iommus(host));
        posting(host, out);
        if (devices.isEmpty()) {
            out.println("no PCI device");
            return;
        }
        out.println(terminal.bold(
                String.format("%-13s %-10s %-9s %-6s %-16s %s", "address", "id", "class", "group", "driver", "VFIO")));
        for (VfioView one : devices) {
            PciDevice device = one.device();
            String flaws = Stream.concat(
                            one.outlook().refusals().stream().map(refusal -> Finding.id(refusal.cause())),
                            one.flaws().stream())
                    .collect(Collectors.joining(", "));
            out.println(String.format(
                            "%-13s %-10s %-9s %-6s %-16s ",
                            device.address(), id(device), classCode(device), number(device.group()), driver(device))
                    + (flaws.isEmpty() ? terminal.good("usable") : flaws));
        }
    }

    static void print(HostFacts host, VfioView one, Terminal terminal) {
        PciDevice device = one.device();
        PrintStream out = terminal.out();
        terminal.line(headline(host, one, terminal));
        line(out, "device", id(device) + ", class " + classCode(device));
        line(
                out,
                "driver",
                driver(device)
                        + device.override()
                                .map(name -> ", override " + printable(name))
                                .orElse(""));
        line(out, "IOMMU", (host.iommus().isEmpty() ? "none" : iommus(host)) + group(device));
        device.others()
                .forEach(other -> line(
                        out,
                        "",
                        "with " + printable(other.name()) + ", "
                                + other.driver()
                                        .map(name -> "driver " + printable(name))
                                        .orElse("no driver")
                                + (other.blocks() ? ", which blocks the group" : "")));
        device.cdev().ifPresent(name -> line(out, "file", "/dev/vfio/devices/" + printable(name)));
        line(out, "reset", resets(host, device));
        List<String> kept = one.reserved(host);
        if (!kept.isEmpty()) {
            line(out, "reserved", String.join(", ", kept) + ": VFIO maps no memory of a guest there");
        }
        device.numaNode().ifPresent(node -> line(out, "NUMA node", String.valueOf(node)));
        one.uses().forEach(use -> line(out, "in use", printable(use) + ": the host loses it with the device"));
        irqs(host, one, out);
        posting(host, out);
        refusals(one, terminal);
        commands(out, "to bind it:", one.bind(host));
        boolean used =
                one.outlook().refusals().stream().anyMatch(refusal -> refusal.cause() == VfioOutlook.Obstacle.IN_USE);
        String when = used ? "once no process has it open, " : device.isBoundToVfio() ? "" : "afterwards, ";
        commands(out, when + "to give it back:", one.giveBack(host));
    }

    /** The verdict in one sentence, for readers who know no link. */
    private static String headline(HostFacts host, VfioView one, Terminal terminal) {
        List<VfioOutlook.Refusal> refusals = one.outlook().refusals();
        String address = one.device().address() + " ";
        if (one.link().state() == Link.State.BROKEN) {
            return terminal.bad(
                    address + "sends no interrupt: " + printable(one.link().text()));
        }
        if (one.isUsable() || one.isWithGuest(host)) {
            boolean doubtful = one.link().state() == Link.State.DOUBTFUL;
            String verdict = (refusals.isEmpty()
                            ? "can be given to a guest"
                            : doubtful
                                    ? "is in use: " + printable(guests(host, one))
                                    : "is in order: " + printable(guests(host, one)))
                    + (doubtful ? ", in doubt: " + printable(one.link().text()) : "");
            return doubtful ? terminal.bold(address + verdict) : terminal.good(address + verdict);
        }
        String more = refusals.size() > 1 ? ", and " + (refusals.size() - 1) + " more below" : "";
        return terminal.bad(address + "cannot be given to a guest now: "
                + printable(refusals.get(0).text()) + more);
    }

    /** Since Linux 5.15 each device that can be reset shows how. */
    private static String resets(HostFacts host, PciDevice device) {
        if (!device.resets().isEmpty()) {
            return printable(String.join(", ", device.resets()));
        }
        boolean shown = host.pciAddresses().stream()
                .flatMap(one -> host.pci(one).stream())
                .anyMatch(one -> !one.resets().isEmpty());
        return shown
                ? "none: the kernel has no way to reset it, so the next guest gets it as the last one left it"
                : "not shown";
    }

    private static String guests(HostFacts host, VfioView one) {
        return host.vms().of(one.device().address()).stream()
                .map(vm -> "guest " + vm.name() + " has it")
                .findFirst()
                .orElse("a guest has it");
    }

    private static void posting(HostFacts host, PrintStream out) {
        out.println("posting is " + printable(PostingOutlook.of(host).toString()));
    }

    private static void irqs(HostFacts host, VfioView one, PrintStream out) {
        String kernel =
                host.kernel().map(release -> " of Linux " + printable(release)).orElse("");
        out.println("interrupts that VFIO" + kernel + " will report");
        for (VfioOutlook.Irqs irqs : one.outlook().irqs()) {
            String count =
                    irqs.count().isPresent() ? String.valueOf(irqs.count().getAsInt()) : "?";
            out.println(String.format("  %d %-5s %5s  ", irqs.kind().index(), irqs.kind(), count)
                    + (irqs.flags().isEmpty()
                            ? "not described: VFIO answers EINVAL"
                            : irqs.flags().stream().map(Enum::name).collect(Collectors.joining(" "))));
        }
        if (!one.device().config().isComplete()) {
            out.println(
                    "  ? needs root, or in a copy a config that root read: the configuration space could not be read whole");
        }
        List<HostInterrupts.ArmedVector> armed = one.armed();
        armed.forEach(irq -> out.println("  armed: " + irq.kind() + " " + irq.vector() + ", " + irq.irq()));
        List<HostIrq> unarmed = one.device().messageIrqs().stream()
                .filter(irq -> armed.stream().noneMatch(other -> other.irq().equals(irq)))
                .toList();
        if (!unarmed.isEmpty()) {
            out.println("  allocated, not armed by VFIO: "
                    + unarmed.stream().map(HostIrq::toString).collect(Collectors.joining(", ")));
        }
    }

    private static void refusals(VfioView one, Terminal terminal) {
        List<VfioOutlook.Refusal> refusals = one.outlook().refusals();
        if (!one.flaws().isEmpty()) {
            terminal.line(
                    terminal.bad("its interrupts are " + one.link().state().label() + ": ")
                            + printable(one.link().text()));
            one.link()
                    .remedies()
                    .forEach(remedy -> terminal.line("     do: " + printable(remedy.text()) + remedy.cost()));
        }
        if (!refusals.isEmpty()) {
            terminal.line("VFIO would refuse it:");
        }
        for (int i = 0; i < refusals.size(); i++) {
            terminal.line("  " + (i + 1) + "  " + printable(refusals.get(i).text()));
            String risk = refusals.get(i).risk();
            terminal.line("     do: " + printable(refusals.get(i).remedy())
                    + (risk.isEmpty() ? "" : " (risk: " + risk + ")"));
        }
    }

    private static void commands(PrintStream out, String heading, List<String> commands) {
        if (!commands.isEmpty()) {
            out.println(heading);
            commands.forEach(command -> out.println("  " + command));
        }
    }

    private static void line(PrintStream out, String name, String text) {
        out.println(String.format("  %-10s ", name) + text);
    }

    private static String iommus(HostFacts host) {
        return host.iommus().isEmpty() ? "no IOMMU" : printable(String.join(", ", host.iommus()));
    }

    private static String group(PciDevice device) {
        return device.group().isEmpty()
                ? ", no group"
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
        return device.driver().map(VfioText::printable).orElse("none");
    }

    private static String printable(String text) {
        return Foreign.printable(text, 200);
    }
}
