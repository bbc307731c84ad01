/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.HostIrq;
import io.kvmirq.IrqKind;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.Finding.Status;
import io.kvmirq.diag.rules.Drift;
import io.kvmirq.diag.rules.FormClaims.SeenInterrupt;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.diag.sources.KernelPaths.KernelPath;
import io.kvmirq.diag.sources.VcpuThreads;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.memory.KernelIrqfd;
import io.kvmirq.host.memory.KernelVcpu;
import io.kvmirq.path.Interrupt;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Known;
import io.kvmirq.path.Remedy;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Kernel memory fields on an armed vector's path. Immutable.
 *
 * @param why why memory shows none; empty if it shows them
 */
public record MemoryEvidence(Interrupt interrupt, HostIrq hostIrq, List<Drift> fields, Optional<String> why) {
    private static final String WATCHED = "look while a guest uses a VFIO device";

    /** The fields of each chain whose vector is armed, or the reason why memory shows none. */
    public static List<MemoryEvidence> compare(HostFacts host, List<InterruptPath> chains, KernelPaths memory) {
        Objects.requireNonNull(host, "host is null");
        Objects.requireNonNull(memory, "memory is null");
        List<MemoryEvidence> all = new ArrayList<>();
        for (InterruptPath chain : Objects.requireNonNull(chains, "chains is null")) {
            host.armed().stream()
                    .filter(vector -> chain.interrupt()
                            .equals(Optional.of(SeenInterrupt.of(vector).id())))
                    .forEach(vector ->
                            all.add(compare(SeenInterrupt.of(vector).id(), vector.irq(), memory.path(vector.irq()))));
        }
        return all;
    }

    private static MemoryEvidence compare(Interrupt interrupt, HostIrq irq, Known<KernelPath> path) {
        return new MemoryEvidence(
                interrupt,
                irq,
                path.known().map(Drift::find).orElse(List.of()),
                path instanceof Known.Unknown<KernelPath> unknown ? Optional.of(unknown.why()) : Optional.empty());
    }

    /** The finding of {@link Check#KERNEL_MEMORY}: what of it can be read here, and whether it is as it must be. */
    public static Finding check(HostFacts host, KernelPaths memory) {
        Objects.requireNonNull(host, "host is null");
        Known<List<KernelIrqfd>> irqfds =
                Objects.requireNonNull(memory, "memory is null").irqfds();
        List<HostIrq> armed = host.armed().stream()
                .filter(vector -> vector.kind() != IrqKind.INTX)
                .map(ArmedVector::irq)
                .toList();
        List<Drift> fields = new ArrayList<>();
        for (HostIrq irq : armed) {
            Known<KernelPath> path = memory.path(irq);
            if (path instanceof Known.Unknown<KernelPath> unknown) {
                return Finding.unknown(Check.KERNEL_MEMORY, "not-shown", unknown);
            }
            fields.addAll(Drift.find(path.known().orElseThrow()));
        }
        // Only kvm_intel keeps what can be compared.
        Known<List<Known<List<KernelVcpu>>>> vms = host.kvm().vendor().equals(Optional.of(Vendor.INTEL))
                ? memory.vcpus(host, thread -> true)
                : new Known.Observed<>(List.of());
        List<VcpuEvidence> vcpus = VcpuEvidence.compare(
                host,
                memory,
                vms.known().orElse(List.of()).stream()
                        .flatMap(vm -> vm.known().orElse(List.of()).stream())
                        .toList());
        List<Drift> all = Stream.concat(fields.stream(), vcpus.stream().flatMap(vcpu -> vcpu.fields().stream()))
                .toList();
        int differing = with(all, Drift.Verdict.DIFFER).size();
        int compared = differing + with(all, Drift.Verdict.AGREE).size();
        if (compared == 0 && irqfds instanceof Known.Unknown<List<KernelIrqfd>> unknown) {
            return Finding.unknown(Check.KERNEL_MEMORY, "not-shown", unknown);
        }
        String text = armed.size() + " armed MSI vectors, "
                + irqfds.known().map(found -> found.size() + " irqfds").orElse("irqfds not shown")
                + (vcpus.isEmpty() ? "" : ", " + vcpus.size() + " vCPUs") + ", " + compared + " fields compared, "
                + differing + " differ";
        Optional<VcpuEvidence> wrong =
                vcpus.stream().filter(VcpuEvidence::differs).findFirst();
        Optional<VmProcess> guest = wrong.flatMap(vcpu -> VcpuThreads.guest(host, vcpu.thread()));
        text += wrong.map(vcpu -> "; the first in "
                        + guest.map(Object::toString).orElse("a VM") + " is "
                        + with(vcpu.fields(), Drift.Verdict.DIFFER).get(0).field())
                .orElse("");
        String hidden = Stream.concat(
                        with(fields, Drift.Verdict.UNOBSERVABLE).stream()
                                .map(field -> field.field() + " (" + field.why() + ")"),
                        unseen(vms))
                .distinct()
                .collect(Collectors.joining(", "));
        Finding finding = Finding.of(
                Check.KERNEL_MEMORY,
                differing == 0 ? compared == 0 ? Status.UNKNOWN : Status.PASS : Status.WARN,
                differing == 0 ? compared == 0 ? armed.isEmpty() ? "nothing-armed" : "not-shown" : "agrees" : "differs",
                text + (hidden.isEmpty() ? "" : "; not compared: " + hidden));
        if (differing > 0) {
            String of =
                    guest.map(process -> "--vm " + process.pid() + " --vcpus").orElse("--all");
            return finding.with(Remedy.look("run kvmirq explain " + of + " --evidence, which prints the fields"));
        }
        return compared == 0 && armed.isEmpty() ? finding.with(Remedy.look(WATCHED)) : finding;
    }

    /** Why vCPUs are not compared, for each VM. */
    private static Stream<String> unseen(Known<List<Known<List<KernelVcpu>>>> vms) {
        return Stream.concat(Stream.of(vms), vms.known().orElse(List.of()).stream())
                .filter(Known.Unknown.class::isInstance)
                .map(vm -> "vCPUs (" + ((Known.Unknown<?>) vm).why() + ")");
    }

    private static List<Drift> with(List<Drift> fields, Drift.Verdict verdict) {
        return fields.stream().filter(field -> field.verdict() == verdict).toList();
    }
}
