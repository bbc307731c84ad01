/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.EventFdId;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.facts.VmProcess.EventfdFile;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.GuestVector;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Link;
import io.kvmirq.path.ProcessId;
import java.util.Collection;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The links that interrupts pass, with the sentences that all sources of a hop have. */
final class Shown {
    private Shown() {}

    /** The eventfds that VFIO's handler signals. */
    static Link eventfds(HostFacts host, Evidence evidence, Collection<EventFdId> eventfds) {
        return Link.whole(
                        Hop.EVENTFD,
                        evidence,
                        "id " + listed(eventfds.stream().map(EventFdId::number).map(String::valueOf)),
                        "the handler signals it"
                                + eventfds.stream()
                                        .map(eventfd -> descriptors(host, eventfd))
                                        .collect(Collectors.joining()))
                .with(Hop.EVENTFD, List.copyOf(eventfds));
    }

    /** The descriptors of an eventfd in the processes of VMs, as a clause; fdinfo has the same id. */
    private static String descriptors(HostFacts host, EventFdId eventfd) {
        StringBuilder text = new StringBuilder();
        for (VmProcess vm : host.vms().all()) {
            for (EventfdFile file : vm.eventfds()) {
                if (file.id().isPresent() && file.id().getAsInt() == eventfd.number()) {
                    text.append("; descriptor ")
                            .append(file.fd())
                            .append(" of process ")
                            .append(vm.pid());
                }
            }
        }
        return text.toString();
    }

    /** The irqfds that took a signal. */
    static Link irqfds(Evidence evidence, String value, List<ProcessId> processes) {
        return Link.whole(Hop.IRQFD, evidence, value, "KVM raises the interrupt itself, so it is not posted")
                .with(Hop.IRQFD, processes);
    }

    /** The GSIs of an irqfd. */
    static Link gsis(Evidence evidence, Collection<? extends Number> gsis) {
        return Link.whole(Hop.GSI, evidence, gsis, "the irqfd raises it");
    }

    /** The vectors of messages. */
    static Link messages(Evidence evidence, Collection<? extends Number> vectors, Stream<String> messages) {
        return vectors(evidence, vectors, "the message: " + messages.collect(Collectors.joining("; ")));
    }

    /** The vectors of a guest on x86. */
    static Link vectors(Evidence evidence, Collection<? extends Number> vectors, String clause) {
        return vectors(
                evidence,
                listed(vectors.stream().map(vector -> "0x" + Long.toHexString(vector.longValue()))),
                vectors,
                clause);
    }

    /** The interrupts of a GIC. */
    static Link intids(Evidence evidence, Collection<? extends Number> intids) {
        return vectors(
                evidence, "interrupt " + listed(intids.stream().map(String::valueOf)), intids, "the VM's GIC has it");
    }

    /** Vectors or INTIDs, only printed if one of them is out of range. */
    static Link vectors(Evidence evidence, String value, Collection<? extends Number> vectors, String clause) {
        List<Long> all =
                vectors.stream().map(Number::longValue).distinct().sorted().toList();
        boolean valid = all.stream().allMatch(number -> number >= 0 && number <= Integer.MAX_VALUE);
        return Link.whole(Hop.GUEST_VECTOR, evidence, value, clause)
                .with(
                        Hop.GUEST_VECTOR,
                        valid
                                ? all.stream()
                                        .map(number -> new GuestVector(number.intValue()))
                                        .toList()
                                : List.of());
    }

    private static String listed(Stream<String> names) {
        return names.distinct().collect(Collectors.joining(", "));
    }
}
