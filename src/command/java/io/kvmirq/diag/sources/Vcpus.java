/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.VcpuId;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Hop;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Known;
import io.kvmirq.path.Link;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;

/**
 * The vCPUs of a guest: the phase of each, the fields of the posting hardware that follow from it, and the interrupts
 * posted to it. Immutable. Texts may contain names from files.
 *
 * @param guest by name and number of its process
 * @param watched the length of the watch; empty if there was none
 * @param vcpus by their ids
 * @param lost how many events did not fit into the buffer
 * @param unassignable the number of KVM's events that no field assigns to this guest, by their name and the reason
 * @param missing facts that could not be watched, and tools that would show them
 * @param notes a sentence each
 */
public record Vcpus(
        String guest,
        Optional<Duration> watched,
        List<One> vcpus,
        long lost,
        Map<String, Long> unassignable,
        List<Known.Unknown<?>> missing,
        List<String> notes) {
    public Vcpus {
        vcpus = List.copyOf(vcpus);
        unassignable = new TreeMap<>(unassignable);
        missing = List.copyOf(missing);
        notes = List.copyOf(notes);
    }

    /**
     * A vCPU.
     *
     * @param thread the number of the thread that runs it
     * @param irqs the interrupts posted to it
     */
    public record One(VcpuId id, OptionalInt thread, List<Field> fields, List<Irq> irqs) {
        public One {
            fields = List.copyOf(fields);
            irqs = List.copyOf(irqs);
        }
    }

    /**
     * A field of a vCPU.
     *
     * @param value empty if it is not known
     * @param evidence how it is known; empty if it is not
     * @param why it is not known, a clause without a full stop; empty if it is
     */
    public record Field(String name, Optional<String> value, Optional<Evidence> evidence, String why) {
        static Field of(String name, String value, Evidence evidence) {
            return new Field(name, Optional.of(value), Optional.of(evidence), "");
        }

        static Field unknown(String name, String why) {
            return new Field(name, Optional.empty(), Optional.empty(), why);
        }
    }

    /**
     * An interrupt posted to a vCPU, such as {@code 0000:3b:00.0 MSI-X 3 (gsi 24, vector 0x41)}.
     *
     * @param later the prediction for its entry now, and for its next update, if a fact since the last write changes it
     */
    public record Irq(String text, Evidence evidence, List<String> later) {
        public Irq {
            later = List.copyOf(later);
        }
    }

    /** Whether the phase of a vCPU is known. */
    public boolean knowsAPhase() {
        return vcpus.stream().anyMatch(one -> one.fields().stream()
                .anyMatch(field ->
                        field.name().equals(VcpuFields.PHASE) && field.value().isPresent()));
    }

    private static final String NOT_WATCHED = "no file shows the phase of a vCPU: add --live SECONDS";

    /**
     * The vCPUs of a guest that is not watched: no file shows their schedule. The chains name the interrupts posted to
     * them.
     */
    public static Vcpus ofGuest(HostFiles files, HostFacts host, VmProcess guest, List<InterruptPath> chains) {
        Map<Integer, List<Irq>> irqs = irqs(chains);
        Map<Integer, Integer> tids = new HashMap<>();
        VcpuThreads.vcpus(files, host, guest).forEach((tid, vcpu) -> tids.put(vcpu.number(), tid));
        guest.vcpus().forEach(one -> irqs.putIfAbsent(one.id(), List.of()));
        tids.keySet().forEach(vcpu -> irqs.putIfAbsent(vcpu, List.of()));
        List<One> vcpus = new ArrayList<>();
        irqs.forEach((vcpu, follow) -> {
            if (vcpu > VcpuId.MAX) {
                return;
            }
            List<Field> fields = new ArrayList<>(List.of(Field.unknown(VcpuFields.PHASE, NOT_WATCHED)));
            Optional<Integer> tid = Optional.ofNullable(tids.get(vcpu));
            tid.flatMap(one -> VcpuThreads.stat(files, guest, one))
                    .ifPresent(stat -> fields.add(Field.of(
                            VcpuFields.CPU,
                            stat.cpu() + ", now or last",
                            Evidence.observed("/proc/" + guest.pid() + "/task/" + tid.get() + "/stat"))));
            vcpus.add(new One(new VcpuId(vcpu), tid.map(OptionalInt::of).orElse(OptionalInt.empty()), fields, follow));
        });
        return of(guest.name() + " (process " + guest.pid() + ")", vcpus);
    }

    private static Vcpus of(String guest, List<One> vcpus) {
        return new Vcpus(guest, Optional.empty(), vcpus, 0, Map.of(), List.of(), List.of());
    }

    private static Map<Integer, List<Irq>> irqs(List<InterruptPath> chains) {
        Map<Integer, List<Irq>> irqs = new TreeMap<>();
        for (InterruptPath chain : chains) {
            chain.link(Hop.VCPU)
                    .filter(link -> link.state() == Link.State.WHOLE)
                    .ifPresent(link -> {
                        List<VcpuId> to = link.numbers(VcpuId.class);
                        if (to.size() == 1) {
                            irqs.computeIfAbsent(to.get(0).number(), any -> new ArrayList<>())
                                    .add(new Irq(
                                            chain.device() + " " + chain.interrupt(),
                                            link.evidence().orElseThrow(),
                                            List.of()));
                        }
                    });
        }
        return irqs;
    }
}
