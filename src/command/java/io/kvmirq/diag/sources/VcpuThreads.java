/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.VcpuId;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.HostKvm;
import io.kvmirq.host.facts.ThreadStat;
import io.kvmirq.host.facts.VmProcess;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The threads of a guest's vCPUs.
 *
 * <p>Source: {@code kvm_create_vcpu_debugfs()} in virt/kvm/kvm_main.c.
 */
public final class VcpuThreads {
    private static final Pattern VCPU = Pattern.compile("vcpu(\\d{1,4})");
    private static final String NUMBER = "\\d{1,9}";

    private VcpuThreads() {}

    /** Whether a thread belongs to a process. */
    public static boolean has(HostFacts host, int pid, int thread) {
        return pid == thread || host.files().list("proc/" + pid + "/task").contains(String.valueOf(thread));
    }

    /** The process of a thread that made a VM; empty if it does not hold a VM any more. */
    public static Optional<VmProcess> guest(HostFacts host, int thread) {
        return host.vms().all().stream()
                .filter(guest -> has(host, guest.pid(), thread))
                .findFirst();
    }

    /** The vCPUs by the thread that runs each: from debugfs, or as /proc tells it. */
    static Map<Integer, VcpuId> vcpus(HostFacts host, VmProcess guest) {
        Map<Integer, VcpuId> vcpus = new TreeMap<>();
        for (String vm : directories(host, guest)) {
            for (String name : host.debugfsNames("kvm/" + vm)) {
                Matcher vcpu = VCPU.matcher(name);
                if (vcpu.matches() && Integer.parseInt(vcpu.group(1)) <= VcpuId.MAX) {
                    host.debugfs("kvm/" + vm + "/" + name + "/pid", "none")
                            .known()
                            .filter(text -> text.matches(NUMBER) && !text.equals("0"))
                            .ifPresent(tid ->
                                    vcpus.put(Integer.parseInt(tid), new VcpuId(Integer.parseInt(vcpu.group(1)))));
                }
            }
        }
        if (vcpus.isEmpty()) {
            guest.vcpus().stream()
                    .filter(vcpu -> vcpu.thread().isPresent() && vcpu.id() <= VcpuId.MAX)
                    .forEach(vcpu -> vcpus.put(vcpu.thread().getAsInt(), new VcpuId(vcpu.id())));
        }
        return vcpus;
    }

    /**
     * The directories of the guest's VMs in {@code debugfs/kvm}, such as {@code 4711-12}: the thread that made the VM, and
     * the descriptor of the VM.
     */
    public static List<String> directories(HostFacts host, VmProcess guest) {
        return host.debugfsNames("kvm").stream()
                .filter(name -> guest.vms().stream().anyMatch(fd -> name.endsWith("-" + fd)))
                .filter(name -> {
                    String thread = name.substring(0, name.lastIndexOf('-'));
                    return thread.equals(String.valueOf(guest.pid()))
                            || host.files()
                                    .list("proc/" + guest.pid() + "/task")
                                    .contains(thread);
                })
                .toList();
    }

    /** Whether KVM injects each interrupt of this host's guests itself, because APIC virtualization is off. */
    public static boolean areInjected(HostFiles files) {
        return HostKvm.APIC_PARAMETERS.stream()
                .flatMap(of -> files.text("sys/module/" + of.getKey() + "/parameters/" + of.getValue()).stream())
                .anyMatch(value -> value.equals("N") || value.equals("0"));
    }

    static Optional<ThreadStat> stat(HostFiles files, VmProcess guest, int tid) {
        return files.text("proc/" + guest.pid() + "/task/" + tid + "/stat").flatMap(ThreadStat::parse);
    }
}
