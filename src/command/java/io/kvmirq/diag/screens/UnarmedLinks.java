/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.HostIrq;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.rules.Fact;
import io.kvmirq.diag.rules.Flaws;
import io.kvmirq.diag.rules.FormClaims.SeenInterrupt;
import io.kvmirq.diag.rules.GuestRules;
import io.kvmirq.diag.rules.GuestRules.Vector;
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
                        : Link.notShown(
                                Hop.HOST_IRQ,
                                "the host has allocated none for the device",
                                "enable an interrupt of the device"));
        links.add(notArmed("VFIO has armed no interrupt of the device"));
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
        String what = "VFIO has not armed "
                + interrupt
                        .id()
                        .hostIrq()
                        .map(irq -> "the vector of host irq " + irq.number() + ", whose number is not shown")
                        .orElseGet(() -> interrupt.id().name());
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
        String driver = !used || device.group().isPresent() && uses.isEmpty()
                ? ""
                : "the host's driver " + device.driver().get() + " has it"
                        + (uses.isEmpty() ? "" : ", " + String.join(", ", uses)) + "; ";
        return Link.of(
                        Hop.HOST_IRQ,
                        first.rule().equals("vfio.not-bound-parent") ? Link.State.IDLE : Link.State.BROKEN,
                        Evidence.observed("/sys/bus/pci/devices/" + device.address()),
                        Optional.empty(),
                        driver
                                + refusals.stream()
                                        .map(VfioOutlook.Refusal::text)
                                        .collect(Collectors.joining("; ")),
                        first.remedies())
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
            return Link.whole(
                    Hop.HOST_IRQ,
                    Evidence.observed(
                            known
                                    ? "/sys/kernel/irq/" + irq.number() + "/hwirq"
                                    : "/sys/bus/pci/devices/" + device.address() + "/msi_irqs"),
                    List.of(irq.number()),
                    "allocated, and no handler of VFIO");
        }
        boolean none = all.stream().anyMatch(one -> one.allocated().isPresent());
        if (irqs.isEmpty() || none) {
            return Link.notShown(
                    Hop.HOST_IRQ,
                    "the host has allocated none for " + interrupt.id().name(),
                    "enable the vector");
        }
        return Link.whole(
                Hop.HOST_IRQ,
                Evidence.inferred(
                        irqs.size() == 1
                                ? "it is the only one in msi_irqs without a handler"
                                : "these are in msi_irqs and have no handler"),
                (irqs.size() == 1 ? "" : "one of ")
                        + Finding.some(irqs.stream().map(HostIrq::number).toList(), MOST_NAMED),
                "allocated");
    }

    /** The link of a VMM that does not run. */
    Optional<Link> brokenVmm() {
        return ofVmm.filter(link -> link.state() == Link.State.BROKEN);
    }

    private Link notArmed(String what) {
        Evidence evidence = Evidence.observed(INTERRUPTS);
        if (host.interrupts().isEmpty()) {
            return unreadable(Hop.DEVICE_VECTOR);
        }
        if (brokenVmm().isPresent()) {
            return Link.notShown(
                    Hop.DEVICE_VECTOR, what + ": its VMM, which could arm it, does not run", "let the VMM run");
        }
        if (!holders.isEmpty()) {
            return vector(what, 0);
        }
        Optional<VmProcess> ofGroup =
                host.vms().ofGroup(device.address()).stream().findFirst();
        if (ofGroup.isPresent()) {
            VmProcess process = ofGroup.get();
            return Link.notShown(
                    Hop.DEVICE_VECTOR,
                    what + ": process " + process.pid() + " (" + process.name() + ") holds its IOMMU group "
                            + device.group().orElse(0) + ", and the kernel does not show whether it uses this device",
                    "ask the VMM for its devices (QEMU: info pci)");
        }
        if (!users.isEmpty()) {
            return Link.notShown(
                    Hop.DEVICE_VECTOR,
                    what + ": " + ofProcess.usedWithoutVm(),
                    "look whether that program uses interrupts of the device");
        }
        Optional<Known.Unknown<Boolean>> hidden = host.hidesProcesses();
        return hidden.isEmpty()
                ? Link.of(
                        Hop.DEVICE_VECTOR,
                        Link.State.IDLE,
                        evidence,
                        Optional.empty(),
                        what + ": no process has the device open",
                        List.of(Remedy.look("start the guest with the device")))
                : Link.notShown(
                        Hop.DEVICE_VECTOR,
                        what + ": no process is seen that has the device open, and "
                                + hidden.get().why(),
                        hidden.get().remedy());
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
        return Link.of(
                Hop.DEVICE_VECTOR,
                Link.State.IDLE,
                Evidence.observed(INTERRUPTS),
                Optional.empty(),
                what + ", and others of the device are armed: the guest masks it or does not use it",
                List.of());
    }

    private Link vector(String what, long came) {
        return Flaws.of(new Vector(new Fact.Facts(host), what, came), GuestRules.VECTOR)
                .orElseThrow();
    }

    private Link unreadable(Hop<?> hop) {
        return Link.notShown(hop, host.noInterrupts());
    }
}
