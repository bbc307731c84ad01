/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.VcpuId;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.Vcpus.Field;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;

/**
 * The vCPUs of a guest that is not watched: no file shows their schedule. The chains name the interrupts posted to
 * them.
 */
public final class VcpuChains {
    private static final String NOT_WATCHED = "no file shows the phase of a vCPU: add --live SECONDS";

    private VcpuChains() {}

    /** The vCPUs of a process. */
    public static Vcpus ofGuest(HostFiles files, HostFacts host, VmProcess guest, List<Chain> chains) {
        Map<Integer, List<Vcpus.Irq>> irqs = irqs(chains);
        Map<Integer, Integer> tids = new HashMap<>();
        VcpuThreads.vcpus(files, host, guest).forEach((tid, vcpu) -> tids.put(vcpu.number(), tid));
        guest.vcpus().forEach(one -> irqs.putIfAbsent(one.id(), List.of()));
        tids.keySet().forEach(vcpu -> irqs.putIfAbsent(vcpu, List.of()));
        List<Vcpus.One> vcpus = new ArrayList<>();
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
            vcpus.add(new Vcpus.One(
                    new VcpuId(vcpu), tid.map(OptionalInt::of).orElse(OptionalInt.empty()), fields, follow));
        });
        return of(guest.name() + " (process " + guest.pid() + ")", vcpus);
    }

    private static Vcpus of(String guest, List<Vcpus.One> vcpus) {
        return new Vcpus(guest, Optional.empty(), vcpus, 0, Map.of(), List.of(), List.of());
    }

    private static Map<Integer, List<Vcpus.Irq>> irqs(List<Chain> chains) {
        Map<Integer, List<Vcpus.Irq>> irqs = new TreeMap<>();
        for (Chain chain : chains) {
            chain.link(Hop.VCPU)
                    .filter(link -> link.state() == Link.State.WHOLE)
                    .ifPresent(link -> {
                        if (link.numbers().size() == 1 && link.numbers().get(0) <= VcpuId.MAX) {
                            irqs.computeIfAbsent(Math.toIntExact(link.numbers().get(0)), any -> new ArrayList<>())
                                    .add(new Vcpus.Irq(
                                            chain.device() + " " + chain.interrupt(),
                                            link.evidence().orElseThrow(),
                                            List.of()));
                        }
                    });
        }
        return irqs;
    }
}
