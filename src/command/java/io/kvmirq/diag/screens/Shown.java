/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.EventFdId;
import io.kvmirq.diag.rules.LinkRow;
import io.kvmirq.host.facts.HostFacts;
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
        LinkRow row = LinkRow.of(
                "eventfd.signalled",
                eventfds.stream().flatMap(eventfd -> descriptors(host, eventfd)).collect(Collectors.joining()));
        return row.seen(
                        evidence,
                        "id " + listed(eventfds.stream().map(EventFdId::number).map(String::valueOf)))
                .with(Hop.EVENTFD, List.copyOf(eventfds));
    }

    /** The descriptors of an eventfd in the processes of VMs, a clause each; fdinfo has the same id. */
    private static Stream<String> descriptors(HostFacts host, EventFdId eventfd) {
        return host.vms().all().stream().flatMap(vm -> vm.eventfds().stream()
                .filter(file -> file.id().stream().anyMatch(id -> id == eventfd.number()))
                .map(file -> LinkRow.text("eventfd.descriptor", file.fd(), vm.pid())));
    }

    /** The irqfds that took a signal. */
    static Link irqfds(Evidence evidence, String value, List<ProcessId> processes) {
        return LinkRow.of("irqfd.raises").seen(evidence, value).with(Hop.IRQFD, processes);
    }

    /** The GSIs of an irqfd. */
    static Link gsis(Evidence evidence, Collection<? extends Number> gsis) {
        return LinkRow.of("gsi.raised").seen(evidence, gsis);
    }

    /** The vectors of messages. */
    static Link messages(Evidence evidence, Collection<? extends Number> vectors, Stream<String> messages) {
        return vectors(
                evidence, vectors, LinkRow.of("guest-vector.message", messages.collect(Collectors.joining("; "))));
    }

    /** The vectors of a guest on x86. */
    static Link vectors(Evidence evidence, Collection<? extends Number> vectors, LinkRow row) {
        return vectors(
                evidence,
                listed(vectors.stream().map(vector -> "0x" + Long.toHexString(vector.longValue()))),
                vectors,
                row);
    }

    /** The interrupts of a GIC. */
    static Link intids(Evidence evidence, Collection<? extends Number> intids) {
        return vectors(
                evidence,
                "interrupt " + listed(intids.stream().map(String::valueOf)),
                intids,
                LinkRow.of("guest-vector.intid"));
    }

    /** Vectors or INTIDs, only printed if one of them is out of range. */
    static Link vectors(Evidence evidence, String value, Collection<? extends Number> vectors, LinkRow row) {
        List<Long> all =
                vectors.stream().map(Number::longValue).distinct().sorted().toList();
        boolean valid = all.stream().allMatch(number -> number >= 0 && number <= Integer.MAX_VALUE);
        return row.seen(evidence, value)
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
