/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.DeviceName;
import io.kvmirq.VcpuId;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.ThreadStat;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.mirror.Producer;
import io.kvmirq.vfio.IrqKind;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * The threads of a guest's process, and the numbers by which tracepoints name its parts.
 *
 * <p>Source: {@code kvm_create_vcpu_debugfs()} in virt/kvm/kvm_main.c, {@code show_cpuinfo()} in
 * arch/x86/kernel/cpu/proc.c.
 */
public final class VcpuThreads {
    private static final Pattern VCPU = Pattern.compile("vcpu(\\d{1,4})");
    private static final String NUMBER = "\\d{1,9}";

    private VcpuThreads() {}

    /** The vCPUs by the thread that runs each: from debugfs, or as /proc tells it. */
    static Map<Integer, VcpuId> vcpus(HostFiles files, HostFacts host, VmProcess guest) {
        Map<Integer, VcpuId> vcpus = new TreeMap<>();
        for (String vm : directories(files, host, guest)) {
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
                    .filter(one -> one.thread().isPresent() && one.id() <= VcpuId.MAX)
                    .forEach(one -> vcpus.put(one.thread().getAsInt(), new VcpuId(one.id())));
        }
        return vcpus;
    }

    /**
     * The directories of the guest's VMs in {@code debugfs/kvm}, such as {@code 4711-12}: the thread that made the VM, and
     * the descriptor of the VM.
     */
    static List<String> directories(HostFiles files, HostFacts host, VmProcess guest) {
        return host.debugfsNames("kvm").stream()
                .filter(name -> guest.vms().stream().anyMatch(fd -> name.endsWith("-" + fd)))
                .filter(name -> {
                    String thread = name.substring(0, name.lastIndexOf('-'));
                    return thread.equals(String.valueOf(guest.pid()))
                            || files.list("proc/" + guest.pid() + "/task").contains(thread);
                })
                .toList();
    }

    /**
     * The numbers by which the GA log may name vCPUs of the host's other VMs: their ids, and since Linux 6.17 their
     * indexes. Empty if debugfs does not show each VM.
     */
    static Optional<Set<Integer>> elsewhere(HostFiles files, HostFacts host, VmProcess guest) {
        List<String> own = directories(files, host, guest);
        boolean indexes = host.isSince(6, 17).orElse(true);
        if (own.size() != 1) {
            return Optional.empty();
        }
        Set<Integer> numbers = new HashSet<>();
        for (String name : host.debugfsNames("kvm")) {
            if (name.matches("\\d+-\\d+") && !own.contains(name)) {
                if (host.debugfsNames("kvm/" + name).isEmpty()) {
                    return Optional.empty();
                }
                Set<Integer> ids = ids(host, name);
                numbers.addAll(indexes ? first(ids) : ids);
            }
        }
        return Optional.of(numbers);
    }

    /**
     * Whether the GA log names the guest's vCPUs by their ids: up to Linux 6.16, and later if vCPU 0 is the only one. No
     * file shows in which order several were created.
     */
    static boolean areLoggedById(HostFiles files, HostFacts host, VmProcess guest) {
        Set<Integer> ids = new HashSet<>();
        guest.vcpus().forEach(vcpu -> ids.add(vcpu.id()));
        directories(files, host, guest).forEach(vm -> ids.addAll(ids(host, vm)));
        return !host.isSince(6, 17).orElse(true) || ids.equals(Set.of(0));
    }

    private static Set<Integer> ids(HostFacts host, String vm) {
        return host.debugfsNames("kvm/" + vm).stream()
                .map(VCPU::matcher)
                .filter(Matcher::matches)
                .map(vcpu -> Integer.valueOf(vcpu.group(1)))
                .collect(Collectors.toSet());
    }

    private static Set<Integer> first(Set<Integer> ids) {
        return IntStream.range(0, ids.size()).boxed().collect(Collectors.toSet());
    }

    /** All threads of the process, if it has one VM. */
    static Set<Integer> all(HostFiles files, VmProcess guest) {
        return guest.vms().size() != 1
                ? Set.of()
                : files.list("proc/" + guest.pid() + "/task").stream()
                        .filter(name -> name.matches(NUMBER))
                        .map(Integer::valueOf)
                        .collect(Collectors.toSet());
    }

    /** Whether KVM injects each interrupt of this host's guests itself, because APIC virtualization is off. */
    public static boolean areInjected(HostFiles files) {
        return List.of("kvm_intel/parameters/enable_apicv", "kvm_amd/parameters/avic").stream()
                .flatMap(name -> files.text("sys/module/" + name).stream())
                .anyMatch(value -> value.equals("N") || value.equals("0"));
    }

    static Optional<ThreadStat> stat(HostFiles files, VmProcess guest, int tid) {
        return files.text("proc/" + guest.pid() + "/task/" + tid + "/stat").flatMap(ThreadStat::parse);
    }

    /** The messages of the guest's devices that VFIO has armed, by host irq. */
    static Map<Integer, Producer> producers(HostFacts host, VmProcess guest) {
        Map<Integer, Producer> producers = new HashMap<>();
        guest.devices().forEach(device -> host.interrupts().ifPresent(all -> all.armed(device).stream()
                .filter(one -> one.kind() != IrqKind.INTX)
                .forEach(one -> producers.put(one.irq().number(), producer(device, one)))));
        return producers;
    }

    private static Producer producer(DeviceName device, ArmedVector vector) {
        return new Producer(
                device, vector.kind() == IrqKind.MSI ? Producer.Kind.MSI : Producer.Kind.MSI_X, vector.vector());
    }

    /** The physical APIC ids of the online CPUs. */
    static Map<Integer, Integer> apicIds(HostFiles files) {
        Map<Integer, Integer> ids = new HashMap<>();
        int cpu = -1;
        for (String line : files.text("proc/cpuinfo").orElse("").split("\n")) {
            int colon = line.indexOf(':');
            String value = line.substring(colon + 1).strip();
            String name = line.substring(0, Math.max(0, colon)).strip();
            if (name.equals("processor")) {
                cpu = value.matches(NUMBER) ? Integer.parseInt(value) : -1;
            } else if (name.equals("apicid") && cpu >= 0 && value.matches(NUMBER)) {
                ids.put(cpu, Integer.parseInt(value));
            }
        }
        return ids;
    }
}
