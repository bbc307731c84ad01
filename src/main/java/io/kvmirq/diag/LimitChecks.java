/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.diag.Finding.Status;
import io.kvmirq.diag.Remedy.Change;
import io.kvmirq.diag.Remedy.Takes;
import io.kvmirq.host.Fact;
import io.kvmirq.host.HostKvm;
import io.kvmirq.host.HostLimits;

/** The check of limits: of this process, which a VMM inherits if it is started from here, and of the host. */
final class LimitChecks {
    /** {@code KVM_MAX_IRQ_ROUTES}. */
    private static final long ROUTES = 4096;
    /** A VMM with a few devices of 64 vectors needs some hundreds. */
    private static final long FEW_FILES = 1024;
    /** What a device with a vector for each queue may take. */
    private static final long FEW_VECTORS = 16;

    private static final int MEBI = 20;

    private final HostLimits limits;

    LimitChecks(HostLimits limits) {
        this.limits = limits;
    }

    Finding limits() {
        Fact<Long> files = limits.openFiles();
        Fact<Long> memory = limits.lockedMemory();
        Fact<Long> vectors = limits.vectorsLeft();
        if (files instanceof Fact.Unknown<Long> unknown) {
            return Finding.unknown(Check.LIMITS, "not-shown", unknown);
        }
        long most = files.known().orElse(0L);
        long locked = memory.known().orElse(HostLimits.UNLIMITED);
        boolean anyMemory = limits.locksAnyMemory().orElse(false) || locked == HostLimits.UNLIMITED;
        long left = vectors.known().orElse(HostLimits.UNLIMITED);
        boolean fewFiles = most <= FEW_FILES;
        boolean fewVectors = left < FEW_VECTORS;
        boolean warns = fewFiles || !anyMemory || fewVectors;
        Finding finding = Finding.of(
                        Check.LIMITS,
                        warns ? Status.WARN : Status.PASS,
                        fewFiles ? "open-files" : !anyMemory ? "locked-memory" : fewVectors ? "vectors" : "enough",
                        "here: " + amount(most) + " open files, "
                                + (anyMemory ? "any" : (locked >> MEBI) + " MiB of") + " locked memory; a VM: " + ROUTES
                                + " GSI routes; the CPU with the fewest vectors left: "
                                + (left == HostLimits.UNLIMITED ? "not shown" : String.valueOf(left)))
                .with("gsiRoutes", ROUTES);
        if (most != HostLimits.UNLIMITED) {
            finding = finding.with("openFiles", most);
        }
        if (locked != HostLimits.UNLIMITED) {
            finding = finding.with("lockedBytes", locked);
        }
        finding = finding.with("locksAnyMemory", anyMemory);
        if (fewFiles) {
            finding = finding.with(Remedy.of(
                    Change.COMMAND,
                    "ulimit -n 65536 before the VMM starts (systemd: LimitNOFILE=): each vector takes an eventfd, and"
                            + " a device may have 2048",
                    Takes.VMM_RESTART,
                    ""));
        }
        if (!anyMemory) {
            finding = finding.with(Remedy.of(
                    Change.COMMAND,
                    "ulimit -l unlimited before the VMM starts (systemd: LimitMEMLOCK=infinity): VFIO pins all of a"
                            + " guest's memory",
                    Takes.VMM_RESTART,
                    "the user can lock all memory of the host"));
        }
        if (vectors instanceof Fact.Unknown<Long> unknown) {
            return finding.with(Remedy.look("vectors: " + unknown.why() + "; " + unknown.remedy()))
                    .withRoot(unknown.remedy().equals(HostKvm.AS_ROOT));
        }
        finding = finding.with("vectorsLeft", left);
        return fewVectors
                ? finding.with(Remedy.of(
                        Change.COMMAND,
                        "spread irqs over more CPUs (smp_affinity, irqbalance), or give devices fewer queues",
                        Takes.LIVE,
                        ""))
                : finding;
    }

    private static String amount(long number) {
        return number == HostLimits.UNLIMITED ? "any number of" : String.valueOf(number);
    }
}
