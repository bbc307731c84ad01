/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.Finding.Status;
import io.kvmirq.path.Remedy;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The check of files and control groups that QEMU and libvirt use beside KVM and VFIO.
 *
 * <p>Source: {@code virHostValidateQEMU()} in tools/virt-host-validate-qemu.c of libvirt.
 */
public final class SupportChecks {
    private static final List<String> CONTROLLERS = List.of("cpu", "cpuset", "memory", "io");

    private final HostFiles tree;

    public SupportChecks(HostFiles tree) {
        this.tree = tree;
    }

    public Finding support() {
        // Whoever copies /proc/misc copies the names in /dev too: a missing name says nothing without it.
        if (tree.text("proc/misc").isEmpty()) {
            return Finding.unknown(
                    Check.SUPPORT,
                    "not-shown",
                    "/proc/misc cannot be read",
                    "look on the host itself, or capture it again");
        }
        List<String> missing = new ArrayList<>();
        List<Remedy> remedies = new ArrayList<>();
        look("vhost-net", "dev", "vhost_net", "the VMM copies packets of virtio-net itself", missing, remedies);
        look("tun", "dev/net", "tun", "guests have no tap device", missing, remedies);
        look("vhost-vsock", "dev", "vhost_vsock", "guests have no vsock", missing, remedies);
        Optional<List<String>> controllers = controllers();
        controllers.ifPresent(
                all -> CONTROLLERS.stream().filter(one -> !all.contains(one)).forEach(one -> {
                    missing.add("control groups have no controller " + one);
                    remedies.add(Remedy.of(
                            Remedy.Change.KERNEL_PARAMETER,
                            "remove cgroup_disable=" + one + ", or boot a kernel that has the controller"));
                }));
        Finding finding = Finding.of(
                Check.SUPPORT,
                missing.isEmpty() ? Status.PASS : Status.WARN,
                missing.isEmpty() ? "all" : "missing",
                (missing.isEmpty()
                                ? "/dev/vhost-net, /dev/net/tun and /dev/vhost-vsock are there"
                                        + (controllers.isPresent()
                                                ? ", and control groups for " + String.join(", ", CONTROLLERS)
                                                : "")
                                : String.join("; ", missing))
                        + "; encrypted guests: " + encrypted());
        for (Remedy remedy : remedies) {
            finding = finding.with(remedy);
        }
        return finding;
    }

    private void look(
            String name, String directory, String module, String without, List<String> missing, List<Remedy> remedies) {
        if (!tree.list(directory).contains(name)) {
            missing.add("/" + directory + "/" + name + " is missing: " + without);
            remedies.add(Remedy.command("modprobe " + module));
        }
    }

    /** The controllers of version 2, or the enabled ones of version 1. Empty if no file shows them. */
    private Optional<List<String>> controllers() {
        return tree.text("sys/fs/cgroup/cgroup.controllers")
                .map(text -> List.of(text.split("\\s+")))
                .or(() -> tree.text("proc/cgroups").map(text -> text.lines()
                        .filter(line -> line.endsWith("1"))
                        .map(line -> line.split("\\s+", 2)[0].replace("blkio", "io"))
                        .toList()));
    }

    private String encrypted() {
        for (String one : List.of("kvm_amd/parameters/sev", "kvm_intel/parameters/tdx")) {
            if (tree.text("sys/module/" + one).filter(on -> on.matches("[1Y]")).isPresent()) {
                return "yes (" + one.substring(one.lastIndexOf('/') + 1) + ")";
            }
        }
        return "no";
    }
}
