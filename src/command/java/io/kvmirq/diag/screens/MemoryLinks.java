/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.EventFdId;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.diag.rules.Fact;
import io.kvmirq.diag.rules.Flaws;
import io.kvmirq.diag.rules.GuestRules;
import io.kvmirq.diag.sources.KernelPaths.KernelPath;
import io.kvmirq.diag.sources.VcpuThreads;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.memory.HostLpi;
import io.kvmirq.host.memory.KernelIrqfd;
import io.kvmirq.host.memory.PostedVcpu;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Known;
import io.kvmirq.path.Link;
import io.kvmirq.path.ProcessId;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/** The links of a host irq that kernel memory shows: its eventfd, the irqfd of that, and the message of its GSI. For one use. */
final class MemoryLinks implements PathSource {
    static final String NO_IRQFD = "no VM has an irqfd of this eventfd: ";
    private static final String MEMORY = "kernel memory, ";
    private static final int VECTOR = 0xff;
    private static final int DELIVERY = 7 << 8;
    private static final int LOWEST_PRIORITY = 1 << 8;
    private static final int NOT_PHYSICAL = 3 << 2;
    private static final int ID_SHIFT = 12;
    private static final int BROADCAST = 0xff;

    private final HostFacts host;
    private final KernelPath path;
    private final List<Link> links = new ArrayList<>();

    MemoryLinks(HostFacts host, KernelPath path) {
        this.host = host;
        this.path = path;
    }

    @Override
    public List<Link> links(InterruptPath before) {
        // The path of the files goes on to it.
        if (before.link(Hop.EVENTFD).isPresent()) {
            path.eventfd().known().flatMap(one -> one).ifPresent(this::eventfd);
        }
        return links;
    }

    private void eventfd(EventFdId eventfd) {
        links.add(Shown.eventfds(host, Evidence.observed(MEMORY + "irqaction.dev_id"), List.of(eventfd)));
        List<KernelIrqfd> irqfds = path.irqfds().known().orElse(List.of());
        if (path.irqfds().known().isPresent() && irqfds.isEmpty()) {
            links.add(Link.notShown(
                    Hop.IRQFD,
                    NO_IRQFD
                            + (path.staysPosted()
                                    ? "the entry posts the interrupt past it"
                                    : "the VMM reads it and injects the interrupt itself, or it is lost"),
                    GuestRules.BY_VMM));
        }
        if (irqfds.size() == 1) {
            irqfd(irqfds.get(0));
        }
    }

    private void irqfd(KernelIrqfd irqfd) {
        Optional<ProcessId> owner =
                VcpuThreads.guest(host, irqfd.thread()).map(VmProcess::pid).map(ProcessId::new);
        links.add(Link.whole(
                        Hop.IRQFD,
                        Evidence.observed(MEMORY + "kvm_kernel_irqfd.eventfd"),
                        owner.map(ProcessId::toString).orElse("VM of thread " + irqfd.thread()),
                        raised(irqfd))
                .with(Hop.IRQFD, owner.stream().toList()));
        if (irqfd.routes() == 0) {
            Flaws.of(
                            new GuestRules.Probed(
                                    new Fact.Facts(host),
                                    String.valueOf(irqfd.gsi().number()),
                                    MEMORY + "kvm_irq_routing_table.map",
                                    false),
                            GuestRules.ROUTE)
                    .ifPresent(link -> links.add(link.with(Hop.GSI, List.of(irqfd.gsi()))));
            return;
        }
        links.add(Shown.gsis(
                Evidence.observed(MEMORY + "kvm_kernel_irqfd.gsi"),
                List.of(irqfd.gsi().number())));
        irqfd.message().filter(message -> !host.isArm()).ifPresent(this::message);
        path.vlpi().ifPresent(this::vlpi);
    }

    private String raised(KernelIrqfd irqfd) {
        if (path.vlpi().isPresent()) {
            return "the device's messages pass it as vLPIs";
        }
        if (irqfd.producer().isPresent()) {
            return "KVM has paired it with the host irq";
        }
        String itself = "KVM raises the interrupt itself";
        if (path.lpi() instanceof Known.Unknown) {
            return itself + ", unless it is a vLPI, which is not shown";
        }
        return host.isArm() ? itself : itself + ": it is paired with no host irq";
    }

    private void vlpi(HostLpi.Vlpi vlpi) {
        links.add(Shown.vectors(
                Evidence.observed(MEMORY + "its_vlpi_map.vintid"),
                "LPI " + vlpi.id(),
                List.of(vlpi.id()),
                "the kernel's copy of the ITS's entry maps the host's LPI to it"));
        links.add(Link.whole(
                Hop.VCPU,
                Evidence.observed(MEMORY + "its_vlpi_map.vpe"),
                List.of(vlpi.vcpu().number()),
                "the vLPI is of its vPE"));
    }

    private void message(MsiMessage message) {
        links.add(Shown.messages(
                Evidence.observed(MEMORY + "kvm_kernel_irqfd.irq_entry.msi"),
                List.of(message.data() & VECTOR),
                Stream.of(message.toString())));
        long id = message.address() >>> ID_SHIFT & VECTOR;
        boolean toOne = (message.address() & NOT_PHYSICAL) == 0
                && (message.data() & DELIVERY & ~LOWEST_PRIORITY) == 0
                && message.address() >>> Integer.SIZE == 0
                && id != BROADCAST;
        Optional<VcpuId> posted = path.posted().known().flatMap(one -> one).flatMap(PostedVcpu::vcpu);
        if (posted.isPresent()) {
            links.add(Link.whole(
                    Hop.VCPU,
                    Evidence.observed(MEMORY + "the structures of the VM's vCPUs"),
                    List.of(posted.get().number()),
                    "the entry posts to it"));
        } else if (toOne) {
            links.add(Link.whole(
                    Hop.VCPU,
                    Evidence.inferred(
                            "the message is to one physical APIC id, and KVM gives a vCPU the id of its number"),
                    List.of(new VcpuId((int) id).number()),
                    "the message is to its LAPIC"));
        }
    }
}
