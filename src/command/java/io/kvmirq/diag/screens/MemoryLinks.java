/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.EventFdId;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.diag.rules.Fact;
import io.kvmirq.diag.rules.Flaws;
import io.kvmirq.diag.rules.GuestRules;
import io.kvmirq.diag.rules.LinkRow;
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
            path.eventfd().known().flatMap(eventFd -> eventFd).ifPresent(this::eventfd);
        }
        return links;
    }

    private void eventfd(EventFdId eventfd) {
        links.add(Shown.eventfds(host, Evidence.observed(MEMORY + "irqaction.dev_id"), List.of(eventfd)));
        List<KernelIrqfd> irqfds = path.irqfds().known().orElse(List.of());
        if (path.irqfds().known().isPresent() && irqfds.isEmpty()) {
            links.add(LinkRow.of(path.staysPosted() ? "irqfd.posted-past" : "irqfd.none")
                    .unseen());
        }
        if (irqfds.size() == 1) {
            irqfd(irqfds.get(0));
        }
    }

    private void irqfd(KernelIrqfd irqfd) {
        Optional<ProcessId> owner =
                VcpuThreads.guest(host, irqfd.thread()).map(VmProcess::pid).map(ProcessId::new);
        links.add(LinkRow.of(raised(irqfd))
                .seen(
                        Evidence.observed(MEMORY + "kvm_kernel_irqfd.eventfd"),
                        owner.map(ProcessId::toString).orElse("VM of thread " + irqfd.thread()))
                .with(Hop.IRQFD, owner.stream().toList()));
        if (irqfd.routes() == 0) {
            Flaws.check(
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
            return "irqfd.vlpi";
        }
        if (irqfd.producer().isPresent()) {
            return "irqfd.paired";
        }
        if (path.lpi() instanceof Known.Unknown) {
            return "irqfd.perhaps-vlpi";
        }
        return host.isArm() ? "irqfd.itself" : "irqfd.unpaired";
    }

    private void vlpi(HostLpi.Vlpi vlpi) {
        links.add(Shown.vectors(
                Evidence.observed(MEMORY + "its_vlpi_map.vintid"),
                "LPI " + vlpi.id(),
                List.of(vlpi.id()),
                LinkRow.of("guest-vector.mapped")));
        links.add(LinkRow.of("vcpu.vpe")
                .seen(
                        Evidence.observed(MEMORY + "its_vlpi_map.vpe"),
                        List.of(vlpi.vcpu().number())));
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
        Optional<VcpuId> posted = path.posted().known().flatMap(vcpu -> vcpu).flatMap(PostedVcpu::vcpu);
        if (posted.isPresent()) {
            links.add(LinkRow.of("vcpu.posted")
                    .seen(
                            Evidence.observed(MEMORY + "the VM's vCPU structures"),
                            List.of(posted.get().number())));
        } else if (toOne) {
            links.add(LinkRow.of("vcpu.message")
                    .seen(
                            Evidence.inferred(
                                    "the message has one physical APIC id as destination, and KVM uses a vCPU's number"
                                            + " as its APIC id"),
                            List.of(new VcpuId((int) id).number())));
        }
    }
}
