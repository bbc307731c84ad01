/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.Finding.Status;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.HostKvm;
import io.kvmirq.host.facts.HostLimits;
import io.kvmirq.host.facts.Sight;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.facts.VmProcesses;
import io.kvmirq.path.Known;
import io.kvmirq.path.Remedy;
import io.kvmirq.path.Remedy.Change;
import io.kvmirq.path.Remedy.Takes;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Checks the limits of running VMMs, or else of this process, which a VMM started from here inherits; and the host's.
 */
public final class LimitChecks {
    /** {@code KVM_MAX_IRQ_ROUTES}. */
    private static final long ROUTES = 4096;
    /** A VMM with a few devices of 64 vectors needs several hundred descriptors. */
    private static final long FEW_FILES = 1024;
    /** The default limit of systemd, which is too small to pin a guest. */
    private static final long USUAL_BYTES = 8 << 20;
    /** A device with a vector for each queue may take more. */
    private static final long FEW_VECTORS = 16;

    private static final int MEBI = 20;
    private static final int KIBI = 10;
    private static final int MOST_VMMS = 4;

    private final HostLimits limits;
    private final VmProcesses vms;
    private final Sight sight;

    public LimitChecks(HostFacts host) {
        this.limits = host.limits();
        this.vms = host.vms();
        this.sight = host.sight();
    }

    /**
     * The limits of a process.
     *
     * @param locked the bytes that it may lock; unlimited also for a privileged process
     * @param isShown whether the limit of memory is known; if not, no limit is assumed
     */
    private record Limits(long files, long locked, boolean isShown) {
        /** Empty if they are not shown. */
        static Optional<Limits> of(HostLimits limits) {
            Optional<Long> files = limits.openFiles().known();
            if (files.isEmpty()) {
                return Optional.empty();
            }
            Optional<Long> bytes = limits.lockedMemory().known();
            boolean unlimited = limits.locksAnyMemory().orElse(false);
            return Optional.of(new Limits(
                    files.get(),
                    unlimited ? HostLimits.UNLIMITED : bytes.orElse(HostLimits.UNLIMITED),
                    unlimited || bytes.isPresent()));
        }

        boolean fewFiles() {
            return files <= FEW_FILES;
        }

        boolean anyMemory() {
            return locked == HostLimits.UNLIMITED;
        }

        @Override
        public String toString() {
            String memory = anyMemory()
                    ? "unlimited"
                    : (locked >> MEBI > 0 ? (locked >> MEBI) + " MiB of" : (locked >> KIBI) + " KiB of");
            return amount(files) + " open files, " + (isShown ? memory + " locked memory" : "locked memory not shown");
        }
    }

    public Finding limits() {
        Finding finding = ofVmms();
        for (VmProcess vm : vms.all()) {
            for (HostLimits.Use use : limits.of(vm).usedUp()) {
                finding = finding.whose(
                                "used-up",
                                vm.name() + " (process " + vm.pid() + ") uses " + use.used() + " of " + use.max() + " "
                                        + use.of() + ", so the next vector or device will fail; " + finding.text())
                        .as(Status.WARN)
                        .with(Remedy.command(
                                "raise the limit (prlimit --nofile= or --memlock= --pid " + vm.pid() + ")"));
            }
        }
        for (HostLimits.Use use : limits.ofHost()) {
            if (use.isNearlyUsed()) {
                finding = finding.whose(
                                "host",
                                "the host uses " + use.used() + " of " + use.max() + " " + use.of()
                                        + ", so VMMs may soon get no more; " + finding.text())
                        .as(Status.WARN)
                        .with(Remedy.look("check who uses them (lsof, ps -eLf), or raise the limit with sysctl"));
            }
        }
        return finding;
    }

    private Finding ofVmms() {
        List<String> vmms = new ArrayList<>();
        boolean fewFiles = false;
        boolean littleMemory = false;
        for (VmProcess vm : vms.all()) {
            Optional<Limits> of = Limits.of(limits.of(vm));
            if (of.isPresent()) {
                vmms.add(vm.name() + " (process " + vm.pid() + "): " + of.get());
                fewFiles |= of.get().fewFiles();
                // libvirt raises the limit when it gives a device to the guest, not before.
                littleMemory |= !vm.devices().isEmpty() && of.get().locked() <= USUAL_BYTES;
            }
        }
        Optional<Limits> here = Limits.of(limits);
        if (vmms.isEmpty()) {
            if (here.isEmpty()) {
                return Finding.unknown(Check.LIMITS, "not-shown", (Known.Unknown<Long>) limits.openFiles());
            }
            fewFiles = here.get().fewFiles();
            littleMemory = !here.get().anyMemory();
        }
        Known<Long> vectors = limits.vectorsLeft();
        long left = vectors.known().orElse(HostLimits.UNLIMITED);
        boolean fewVectors = left < FEW_VECTORS;
        boolean warns = fewFiles || littleMemory || fewVectors;
        boolean isShown = !vmms.isEmpty() || here.get().isShown();
        String who = vmms.isEmpty()
                ? "this shell: " + here.get() + " (a VMM run as a service has that service's limits)"
                : String.join("; ", vmms.subList(0, Math.min(vmms.size(), MOST_VMMS)))
                        + (vmms.size() > MOST_VMMS ? "; and " + (vmms.size() - MOST_VMMS) + " more" : "");
        Finding finding = Finding.of(
                        Check.LIMITS,
                        warns ? Status.WARN : isShown ? Status.PASS : Status.UNKNOWN,
                        fewFiles
                                ? "open-files"
                                : littleMemory
                                        ? "locked-memory"
                                        : fewVectors ? "vectors" : isShown ? "enough" : "not-shown",
                        who + "; a VM may have " + ROUTES + " GSI routes; "
                                + (left == HostLimits.UNLIMITED
                                        ? "free vectors are not shown"
                                        : "each CPU has at least " + left + " free vectors"))
                .with("gsiRoutes", ROUTES);
        if (here.isPresent()) {
            finding = of(finding, here.get());
        }
        finding = finding.with("vmms", vmms);
        if (fewFiles) {
            finding = finding.with(Remedy.of(
                    Change.COMMAND,
                    "ulimit -n 65536 before the VMM starts (systemd: LimitNOFILE=; libvirt: max_files in qemu.conf),"
                            + " because each vector needs an eventfd, and a device may have 2048",
                    Takes.VMM_RESTART,
                    ""));
        }
        if (littleMemory) {
            finding = finding.with(Remedy.of(
                    Change.COMMAND,
                    "ulimit -l unlimited before the VMM starts (systemd: LimitMEMLOCK=infinity; libvirt: <memtune>"
                            + " <hard_limit>), because VFIO pins all of a guest's memory",
                    Takes.VMM_RESTART,
                    "the user can lock all host memory"));
        }
        if (vms.unreadable() > 0 && vms.all().isEmpty()) {
            finding = finding.with(Remedy.look(sight.toSeeProcesses()
                            + (sight.seesEveryUser()
                                    ? ", because a VMM may be hidden"
                                    : ", because only root sees other users' VMMs")))
                    .withRoot(!sight.seesEveryUser());
        }
        if (vectors instanceof Known.Unknown<Long> unknown) {
            return finding.with(Remedy.look(unknown.remedy() + " (" + unknown.why() + ")"))
                    .withRoot(unknown.remedy().equals(HostKvm.AS_ROOT));
        }
        finding = finding.with("vectorsLeft", left);
        return fewVectors
                ? finding.with(Remedy.command(
                        "spread irqs over more CPUs (smp_affinity, irqbalance), or give devices fewer queues"))
                : finding;
    }

    /** Adds the limits of this process. */
    private Finding of(Finding finding, Limits here) {
        Finding with = here.files() == HostLimits.UNLIMITED ? finding : finding.with("openFiles", here.files());
        long bytes = limits.lockedMemory().known().orElse(HostLimits.UNLIMITED);
        with = bytes == HostLimits.UNLIMITED ? with : with.with("lockedBytes", bytes);
        if (limits.lockedMemory() instanceof Known.Unknown<Long> unknown && !here.isShown()) {
            return with.with(Remedy.look(unknown.remedy() + " (" + unknown.why() + ")"));
        }
        return with.with("locksAnyMemory", here.anyMemory());
    }

    private static String amount(long number) {
        return number == HostLimits.UNLIMITED ? "unlimited" : String.valueOf(number);
    }
}
