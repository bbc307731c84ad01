/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.diag.Finding.Status;
import io.kvmirq.diag.Remedy.Change;
import io.kvmirq.host.facts.Fact;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.HostIoUring;
import java.util.Optional;

/** The check of io_uring, by which event loops may wait for doorbells. Without it they use epoll. */
final class IoUringCheck {
    private static final String EPOLL = "; event loops wait with epoll, which takes longer";

    private final HostFacts host;
    private final HostIoUring ring;

    IoUringCheck(HostFacts host) {
        this.host = host;
        this.ring = host.ioUring();
    }

    Finding ioUring() {
        Optional<String> disabled = ring.disabled();
        Finding finding = disabled.isPresent() ? allowed(disabled.get()) : withoutSysctl();
        finding = disabled.isPresent() ? finding.with("disabled", disabled.get()) : finding;
        if (finding.status() == Status.PASS && ring.isFiltered()) {
            return Finding.unknown(
                    Check.IO_URING,
                    "filtered",
                    "this process has a filter of system calls (Seccomp in /proc/self/status), which may forbid"
                            + " io_uring",
                    "EventLoop.refusedIoUring() of a program that runs there says it");
        }
        return finding;
    }

    private Finding allowed(String disabled) {
        boolean forAll = disabled.equals("2");
        if (forAll || disabled.equals("1") && !ring.isPrivileged()) {
            Finding finding = Finding.warn(
                    Check.IO_URING,
                    forAll ? "forbidden" : "forbidden-to-user",
                    "kernel.io_uring_disabled is " + disabled + ": "
                            + (forAll
                                    ? "no process may use io_uring"
                                    : "only root and the group kernel.io_uring_group may use io_uring")
                            + EPOLL);
            return forAll
                    ? finding.with(Remedy.of(
                            Change.COMMAND,
                            "sysctl kernel.io_uring_disabled=1 lets root use it",
                            "more of the kernel is reachable for root's programs"))
                    : finding.with(Remedy.of(
                            Change.COMMAND,
                            "sysctl kernel.io_uring_group=GID, of a group that the VMM's user has",
                            "more of the kernel is reachable for programs of the group"));
        }
        return available();
    }

    /** Before Linux 6.6, or a copy of a host. */
    private Finding withoutSysctl() {
        Fact<Boolean> built = host.kvm().isBuilt("IO_URING");
        if (!built.known().orElse(true)) {
            return Finding.warn(Check.IO_URING, "not-built", "this kernel is built without io_uring" + EPOLL)
                    .with(Remedy.of(Change.KERNEL, "build it with CONFIG_IO_URING=y"));
        }
        if (!host.isSince(6, 1).orElse(true)) {
            return tooOld();
        }
        boolean hasSysctl = host.isSince(6, 6).orElse(true);
        if (built instanceof Fact.Unknown<Boolean> || hasSysctl) {
            String remedy = built instanceof Fact.Unknown<Boolean> unknown
                    ? unknown.remedy()
                    : "cat /proc/sys/kernel/io_uring_disabled, on that machine";
            return Finding.unknown(
                    Check.IO_URING,
                    "not-shown",
                    hasSysctl
                            ? "/proc/sys/kernel/io_uring_disabled does not exist; the kernel may have no io_uring"
                            : "the kernel may be built without io_uring",
                    remedy);
        }
        return available();
    }

    private static Finding tooOld() {
        return Finding.warn(
                        Check.IO_URING, "too-old", "the io_uring of this kernel is too old: it needs Linux 6.1" + EPOLL)
                .with(Remedy.of(Change.KERNEL, "boot Linux 6.1 or newer"));
    }

    private static Finding available() {
        return Finding.pass(Check.IO_URING, "available", "event loops may wait with io_uring");
    }
}
