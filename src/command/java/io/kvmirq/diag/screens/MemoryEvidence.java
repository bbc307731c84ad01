/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.HostIrq;
import io.kvmirq.IrqKind;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.Finding.Status;
import io.kvmirq.diag.rules.Drift;
import io.kvmirq.diag.rules.FormClaims.SeenInterrupt;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.diag.sources.KernelPaths.KernelPath;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.facts.HostFacts;
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

/**
 * The fields of kernel memory on the way of an armed vector. Immutable.
 *
 * @param why why memory shows none; empty if it shows them
 */
public record MemoryEvidence(Interrupt interrupt, HostIrq hostIrq, List<Drift> fields, Optional<String> why) {
    private static final String WATCHED = "look while a guest uses a device of VFIO";

    /** The fields of each chain whose vector is armed, or the reason why memory shows none. */
    public static List<MemoryEvidence> of(HostFacts host, List<InterruptPath> chains, KernelPaths memory) {
        Objects.requireNonNull(host, "host is null");
        Objects.requireNonNull(memory, "memory is null");
        List<MemoryEvidence> all = new ArrayList<>();
        for (InterruptPath chain : Objects.requireNonNull(chains, "chains is null")) {
            host.armed().stream()
                    .filter(vector -> chain.interrupt()
                            .equals(Optional.of(SeenInterrupt.of(vector).id())))
                    .forEach(vector ->
                            all.add(of(SeenInterrupt.of(vector).id(), vector.irq(), memory.of(vector.irq()))));
        }
        return all;
    }

    private static MemoryEvidence of(Interrupt interrupt, HostIrq irq, Known<KernelPath> path) {
        return new MemoryEvidence(
                interrupt,
                irq,
                path.known().map(Drift::of).orElse(List.of()),
                path instanceof Known.Unknown<KernelPath> unknown ? Optional.of(unknown.why()) : Optional.empty());
    }

    /** The finding of {@link Check#KERNEL_MEMORY}: what of it can be read here, and whether it is as it must be. */
    public static Finding check(HostFacts host, KernelPaths memory) {
        Objects.requireNonNull(host, "host is null");
        Known<List<KernelIrqfd>> irqfds =
                Objects.requireNonNull(memory, "memory is null").irqfds();
        List<HostIrq> armed = host.armed().stream()
                .filter(one -> one.kind() != IrqKind.INTX)
                .map(ArmedVector::irq)
                .toList();
        List<Drift> fields = new ArrayList<>();
        for (HostIrq irq : armed) {
            Known<KernelPath> path = memory.of(irq);
            if (path instanceof Known.Unknown<KernelPath> unknown) {
                return Finding.unknown(Check.KERNEL_MEMORY, "not-shown", unknown);
            }
            fields.addAll(Drift.of(path.known().orElseThrow()));
        }
        Known<List<KernelVcpu>> vcpus = memory.vcpus(host);
        vcpus.known().orElse(List.of()).forEach(vcpu -> fields.addAll(Drift.of(host, vcpu, memory.isX2apic())));
        List<Drift> differing = of(fields, Drift.Verdict.DIFFER);
        int compared = differing.size() + of(fields, Drift.Verdict.AGREE).size();
        if (compared == 0 && irqfds instanceof Known.Unknown<List<KernelIrqfd>> unknown) {
            return Finding.unknown(Check.KERNEL_MEMORY, "not-shown", unknown);
        }
        String text = armed.size() + " armed vectors of messages, "
                + irqfds.known().map(all -> all.size() + " irqfds").orElse("irqfds not shown")
                + vcpus.known()
                        .filter(all -> !all.isEmpty())
                        .map(all -> ", " + all.size() + " vCPUs")
                        .orElse("")
                + ", " + compared
                + " fields compared, " + differing.size() + " differ";
        String hidden = of(fields, Drift.Verdict.UNOBSERVABLE).stream()
                .map(one -> one.field() + ": " + one.why())
                .distinct()
                .collect(Collectors.joining("; "));
        Finding finding = Finding.of(
                Check.KERNEL_MEMORY,
                differing.isEmpty() ? compared == 0 ? Status.UNKNOWN : Status.PASS : Status.WARN,
                differing.isEmpty()
                        ? compared == 0 ? armed.isEmpty() ? "nothing-armed" : "not-shown" : "agrees"
                        : "differs",
                text + (hidden.isEmpty() ? "" : "; not compared: " + hidden));
        return compared == 0 && armed.isEmpty()
                ? finding.with(Remedy.look(WATCHED))
                : differing.isEmpty()
                        ? finding
                        : finding.with(Remedy.look("kvmirq explain --all --evidence, which names the fields"));
    }

    private static List<Drift> of(List<Drift> fields, Drift.Verdict verdict) {
        return fields.stream().filter(one -> one.verdict() == verdict).toList();
    }
}
