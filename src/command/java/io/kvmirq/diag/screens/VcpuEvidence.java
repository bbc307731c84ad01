/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.VcpuId;
import io.kvmirq.diag.rules.Drift;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.diag.sources.VcpuThreads;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.memory.KernelVcpu;
import io.kvmirq.path.Known;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * The fields of a vCPU in kernel memory, beside the values that they must have. Immutable.
 *
 * @param guest the process whose thread made the VM; empty if it is not seen
 */
public record VcpuEvidence(Optional<VmProcess> guest, VcpuId vcpu, List<Drift> fields) {
    /** Looks at a vCPU whose fields differ. While KVM loads or puts a vCPU, they do for a moment. */
    private static final int LOOKS = 3;

    private static final long BETWEEN_NANOS = TimeUnit.MILLISECONDS.toNanos(20);

    /** The fields of vCPUs. One that differs does so in each of several looks. */
    static List<VcpuEvidence> of(HostFacts host, KernelPaths memory, List<KernelVcpu> vcpus) {
        Drift.Cpus cpus = Drift.Cpus.of(host, memory);
        List<VcpuEvidence> all = new ArrayList<>();
        for (KernelVcpu vcpu : vcpus) {
            List<Drift> fields = Drift.of(vcpu, cpus);
            for (int left = LOOKS; left > 1 && fields.stream().anyMatch(VcpuEvidence::differs); left--) {
                LockSupport.parkNanos(BETWEEN_NANOS);
                fields = lasting(fields, again(host, memory, vcpu, cpus));
            }
            all.add(new VcpuEvidence(
                    host.vms().all().stream()
                            .filter(guest -> VcpuThreads.has(host, guest.pid(), vcpu.thread()))
                            .findFirst(),
                    vcpu.vcpu(),
                    fields));
        }
        return all;
    }

    /** The fields of the vCPUs of a guest, or why memory shows none. */
    public static Known<List<VcpuEvidence>> of(HostFacts host, KernelPaths memory, VmProcess guest) {
        Objects.requireNonNull(host, "host is null");
        Objects.requireNonNull(guest, "guest is null");
        return Objects.requireNonNull(memory, "memory is null")
                .vcpus(host, guest)
                .map(all -> of(
                        host,
                        memory,
                        all.values().stream()
                                .sorted((first, second) -> Integer.compare(
                                        first.vcpu().number(), second.vcpu().number()))
                                .toList()));
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
                .map(now -> Drift.of(now, cpus))
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
