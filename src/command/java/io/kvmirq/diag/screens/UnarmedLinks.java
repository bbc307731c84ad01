/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.HostIrq;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.rules.Fact;
import io.kvmirq.diag.rules.Flaws;
import io.kvmirq.diag.rules.FormClaims.SeenInterrupt;
import io.kvmirq.diag.rules.GuestRules;
import io.kvmirq.diag.rules.GuestRules.Vector;
import io.kvmirq.diag.rules.LinkRow;
import io.kvmirq.diag.rules.VfioOutlook;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Known;
import io.kvmirq.path.Link;
import io.kvmirq.path.Remedy;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The links of an interrupt that VFIO has not armed: why the device cannot be assigned, the host irq that is left for it, or
 * why no program uses it.
 *
 * @param refusals of VFIO, except those that a process which has the device open did not get
 * @param irqs allocated for messages of the device, without a handler of VFIO
 * @param holders the processes that hold a VM and the device
 * @param users the processes that have the device, with or without a VM
 */
record UnarmedLinks(
        HostFacts host,
        PciDevice device,
        List<VfioOutlook.Refusal> refusals,
        List<HostIrq> irqs,
        List<VmProcess> holders,
        List<String> users,
        ProcessLinks ofProcess,
        Optional<Link> ofVmm) {
    private static final String INTERRUPTS = "/proc/interrupts";
    private static final int MOST_NAMED = 8;

    /** The links of a device without an interrupt. */
    List<Link> ofDevice() {
        if (!refusals.isEmpty()) {
            return List.of(refused());
        }
        List<Link> links = new ArrayList<>();
        links.add(
                host.interrupts().isEmpty()
                        ? unreadable(Hop.HOST_IRQ)
                        : LinkRow.of("irq.none-of-device").unseen());
        links.add(notArmed(LinkRow.text("vector.none-armed")));
        ofVmm.filter(Link::isFlawed).ifPresent(links::add);
        return links;
    }

    /**
     * The links of one interrupt.
     *
     * @param all interrupts of the device
     * @param handled how often the host handled it
     */
    List<Link> of(SeenInterrupt interrupt, List<SeenInterrupt> all, OptionalLong handled) {
        if (!refusals.isEmpty()) {
            return List.of(refused());
        }
        List<Link> links = new ArrayList<>();
        links.add(irq(interrupt, all));
        String what = interrupt
                .id()
                .hostIrq()
                .map(irq -> LinkRow.text("vector.unarmed-irq", irq.number()))
                .orElseGet(() -> LinkRow.text("vector.unarmed", interrupt.id().name()));
        links.add(host.armed(device.address()).isEmpty() ? notArmed(what) : unused(what, interrupt, handled));
        brokenVmm().ifPresent(links::add);
        return links;
    }

    /** The host irq of a device that VFIO does not take. */
    Link refused() {
        VfioOutlook.Refusal first = refusals.get(0);
        boolean used = !device.isBoundToVfio() && device.driver().isPresent();
        List<String> uses = used ? host.uses(device.address()) : List.of();
        // A refusal because of a missing driver is reported elsewhere.
        Stream<String> driver = !used || device.group().isPresent() && uses.isEmpty()
                ? Stream.of()
                : Stream.of(Stream.concat(
                                Stream.of(LinkRow.text(
                                        "irq.driver", device.driver().get())),
                                uses.stream())
                        .collect(Collectors.joining(", ")));
        String text = Stream.concat(driver, refusals.stream().map(VfioOutlook.Refusal::text))
                .collect(Collectors.joining("; "));
        return LinkRow.of(first.rule().equals("vfio.not-bound-parent") ? "irq.refused-part" : "irq.refused", text)
                .seen(Evidence.observed("/sys/bus/pci/devices/" + device.address()))
                .with(first.remedies())
                .flawed(refusals.stream()
                        .map(refusal -> new Flaw(
                                refusal.rule(), Flaw.Subject.DEVICE, Flaw.Weight.BROKEN, Flaw.Span.NOW, refusal.text()))
                        .toList());
    }

    private Link irq(SeenInterrupt interrupt, List<SeenInterrupt> all) {
        if (host.interrupts().isEmpty()) {
            return unreadable(Hop.HOST_IRQ);
        }
        if (interrupt.allocated().isPresent()) {
            HostIrq irq = interrupt.allocated().get();
            boolean known = interrupt.id().vector().isPresent();
            return LinkRow.of("irq.allocated")
                    .seen(
                            Evidence.observed(
                                    known
                                            ? "/sys/kernel/irq/" + irq.number() + "/hwirq"
                                            : "/sys/bus/pci/devices/" + device.address() + "/msi_irqs"),
                            List.of(irq.number()));
        }
        boolean none = all.stream().anyMatch(seen -> seen.allocated().isPresent());
        if (irqs.isEmpty() || none) {
            return LinkRow.of("irq.none-of-vector", interrupt.id().name()).unseen();
        }
        return LinkRow.of("irq.one-of")
                .seen(
                        Evidence.inferred(
                                irqs.size() == 1
                                        ? "the only irq in msi_irqs without a handler"
                                        : "the irqs in msi_irqs without a handler"),
                        (irqs.size() == 1 ? "" : "one of ")
                                + Finding.some(
                                        irqs.stream().map(HostIrq::number).toList(), MOST_NAMED));
    }

    /** The link of a VMM that does not run. */
    Optional<Link> brokenVmm() {
        return ofVmm.filter(link -> link.state() == Link.State.BROKEN);
    }

    private Link notArmed(String what) {
        if (host.interrupts().isEmpty()) {
            return unreadable(Hop.DEVICE_VECTOR);
        }
        if (brokenVmm().isPresent()) {
            return LinkRow.of("vector.vmm-down", what).unseen();
        }
        if (!holders.isEmpty()) {
            return vector(what, 0);
        }
        Optional<VmProcess> ofGroup =
                host.vms().ofGroup(device.address()).stream().findFirst();
        if (ofGroup.isPresent()) {
            VmProcess process = ofGroup.get();
            return LinkRow.of(
                            "vector.group-held",
                            what,
                            process.pid(),
                            process.name(),
                            device.group().orElse(0))
                    .unseen();
        }
        if (!users.isEmpty()) {
            return LinkRow.of("vector.no-vm", what, ofProcess.usedWithoutVm()).unseen();
        }
        Optional<Known.Unknown<Boolean>> hidden = host.hidesProcesses();
        return hidden.isEmpty()
                ? LinkRow.of("vector.not-open", what).seen(Evidence.observed(INTERRUPTS))
                : LinkRow.of("vector.hidden", what, hidden.get().why())
                        .unseen()
                        .with(List.of(Remedy.look(hidden.get().remedy())));
    }

    /**
     * A driver may enable only some of a device's vectors. The irq of a vector that was never raised has no row with a
     * count: {@code show_interrupts()} in kernel/irq/proc.c leaves out an irq without a handler and without a count.
     */
    private Link unused(String what, SeenInterrupt interrupt, OptionalLong handled) {
        long came = interrupt
                .allocated()
                .flatMap(irq -> host.interrupts().flatMap(all -> all.row(irq.number())))
                .map(HostInterrupts.Row::count)
                .orElseGet(() -> handled.orElse(0));
        if (came > 0 && brokenVmm().isEmpty()) {
            return vector(what, came);
        }
        return LinkRow.of("vector.masked", what).seen(Evidence.observed(INTERRUPTS));
    }

    private Link vector(String what, long came) {
        return Flaws.check(new Vector(new Fact.Facts(host), what, came), GuestRules.VECTOR)
                .orElseThrow();
    }

    private Link unreadable(Hop<?> hop) {
        return Link.notShown(hop, host.noInterrupts());
    }
}
