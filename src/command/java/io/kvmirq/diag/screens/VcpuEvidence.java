/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.VcpuId;
import io.kvmirq.diag.rules.Drift;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.memory.KernelVcpu;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * A vCPU's fields in kernel memory, beside the values that they must have. Immutable.
 *
 * @param thread the thread that made its VM
 */
public record VcpuEvidence(int thread, VcpuId vcpu, List<Drift> fields) {
    /** Looks at a vCPU whose fields differ. While KVM loads or puts a vCPU, they do for a moment. */
    private static final int LOOKS_AT_DIFFERENCE = 3;

    private static final long BETWEEN_NANOS = TimeUnit.MILLISECONDS.toNanos(20);

    /** The fields of vCPUs of a host. One that differs does so in each of several looks. */
    public static List<VcpuEvidence> compare(HostFacts host, KernelPaths memory, Collection<KernelVcpu> vcpus) {
        Objects.requireNonNull(host, "host is null");
        Drift.Cpus cpus = Drift.Cpus.read(host, Objects.requireNonNull(memory, "memory is null"));
        List<VcpuEvidence> all = new ArrayList<>();
        for (KernelVcpu vcpu : Objects.requireNonNull(vcpus, "vcpus is null")) {
            List<Drift> fields = Drift.find(vcpu, cpus);
            for (int left = LOOKS_AT_DIFFERENCE; left > 1 && fields.stream().anyMatch(VcpuEvidence::differs); left--) {
                LockSupport.parkNanos(BETWEEN_NANOS);
                fields = lasting(fields, again(host, memory, vcpu, cpus));
            }
            all.add(new VcpuEvidence(vcpu.thread(), vcpu.vcpu(), fields));
        }
        return all;
    }

    boolean differs() {
        return fields.stream().anyMatch(VcpuEvidence::differs);
    }

    private static boolean differs(Drift field) {
        return field.verdict() == Drift.Verdict.DIFFER;
    }

    private static List<Drift> again(HostFacts host, KernelPaths memory, KernelVcpu vcpu, Drift.Cpus cpus) {
        return memory.vcpus(host, thread -> thread == vcpu.thread()).known().orElse(List.of()).stream()
                .flatMap(vm -> vm.known().orElse(List.of()).stream())
                .filter(now -> now.vcpu().equals(vcpu.vcpu()))
                .findFirst()
                .map(now -> Drift.find(now, cpus))
                .orElse(List.of());
    }

    private static List<Drift> lasting(List<Drift> before, List<Drift> now) {
        return before.stream()
                .map(field -> !differs(field)
                                || now.stream()
                                        .anyMatch(other -> differs(other)
                                                && other.field().equals(field.field())
                                                && other.observed().equals(field.observed()))
                        ? field
                        : field.passing())
                .toList();
    }
}
