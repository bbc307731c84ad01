/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.sources.KernelHelpers.Named;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.ThreadStat;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Known;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * A host's VMs, and their interrupt sources. Immutable. Texts may contain names from files.
 *
 * <p>Source: {@code kvm_create_vm_debugfs()} and {@code kvm_vcpu_block()} in virt/kvm/kvm_main.c; {@code blocking} in
 * include/linux/kvm_types.h, since Linux 5.15; {@code proc_pid_wchan()} in fs/proc/base.c.
 *
 * @param all in the order of their processes
 * @param notes unusual facts, and remedies that would show more; a sentence each
 */
public record Guests(List<Guest> all, List<String> notes) {
    /** The change that shows the thread of each vCPU without debugfs. */
    public static final String NAMES = "give vCPU threads names (QEMU: -name NAME,debug-threads=on)";

    private static final String AS_MAKER = "\\d{1,9}-\\d{1,9}";
    private static final Pattern HALT = Pattern.compile("kvm_.*(block|halt).*");
    private static final Pattern NUMBER = Pattern.compile("\\d{1,18}");
    private static final String VHOST = "/dev/vhost-";

    /**
     * A process that holds a VM.
     *
     * @param vectors how many vectors of its PCI devices VFIO has armed
     * @param vhostFiles the devices of vhost that it has open, such as {@code /dev/vhost-net}; one for each descriptor
     * @param workers the threads that the kernel runs for these
     * @param helpers other threads that the kernel runs for the VM, such as {@code kvm-pit 4720}
     * @param exits exits of all vCPUs. Empty if debugfs does not show them
     * @param injected interrupts that KVM injected by software; empty on arm64 too
     */
    public record Guest(
            VmProcess process,
            Vcpus vcpus,
            int vectors,
            List<String> vhostFiles,
            List<Worker> workers,
            List<String> helpers,
            OptionalLong exits,
            OptionalLong injected) {}

    /**
     * The counts of a guest's vCPUs by state. No file shows the state of the rest.
     *
     * @param running those whose threads can run
     * @param halted those that wait in KVM for an interrupt
     * @param stopped those whose threads are stopped or traced, or wait outside KVM_RUN
     */
    public record Vcpus(int all, int running, int halted, int stopped) {
        /** The number of vCPUs that no file shows. */
        public int notShown() {
            return Math.max(0, all - running - halted - stopped);
        }
    }

    /**
     * A vhost worker.
     *
     * @param cpu the CPU that it is on, or was on last
     * @param allowed the CPUs that it may run on, such as {@code 0-3}; empty if they are not shown
     * @param ofKernel whether it is a kernel thread, as before Linux 6.4, and not a thread of the VMM
     */
    public record Worker(int tid, int cpu, Optional<String> allowed, boolean ofKernel) {}

    /** Reads the files of a host. */
    public static Guests find(HostFacts host) {
        return new Reader(host).guests();
    }

    /** For one use by one thread. */
    private static final class Reader {
        private final HostFiles files;
        private final HostFacts host;
        private final List<Named> kernelThreads;
        private final List<String> notes = new ArrayList<>();
        private final Set<String> made = new HashSet<>();
        private final Map<PciAddress, Integer> armed = new HashMap<>();

        Reader(HostFacts host) {
            this.files = host.files();
            this.host = host;
            this.kernelThreads = new ArrayList<>(KernelHelpers.ofHost(files));
            host.armed().forEach(vector -> armed.merge(vector.address(), 1, Integer::sum));
        }

        Guests guests() {
            List<Guest> all = host.vms().all().stream().map(this::guest).toList();
            Optional<Known.Unknown<Boolean>> hidden = host.hidesProcesses();
            hidden.ifPresent(why -> notes.add(why.why() + ", so guests may be missing: " + why.remedy()));
            Set<PciAddress> held = all.stream()
                    .flatMap(guest -> guest.process().devices().stream())
                    .collect(Collectors.toSet());
            TreeSet<PciAddress> without = new TreeSet<>(armed.keySet());
            without.removeAll(held);
            if (!without.isEmpty()) {
                notes.add(without.size() + (without.size() == 1 ? " device has" : " devices have")
                        + " armed vectors but no visible guest (the first is " + without.first()
                        + "); " + host.command("list --all") + " lists them");
            }
            orphans(hidden.isEmpty());
            return new Guests(all, notes);
        }

        private Guest guest(VmProcess process) {
            List<String> vhostFiles = new ArrayList<>();
            String descriptors = "proc/" + process.pid() + "/fd";
            for (String fd : files.list(descriptors)) {
                files.link(descriptors + "/" + fd)
                        .filter(target -> target.startsWith(VHOST))
                        .ifPresent(vhostFiles::add);
            }
            List<String> directories = VcpuThreads.directories(host, process);
            made.addAll(directories);
            if (directories.isEmpty() && !vmDirectories().isEmpty()) {
                notes.add(
                        "process " + process.pid() + " (" + process.name()
                                + ") has a VM open but did not create it, so it is not a VMM, or the VMM passed it the VM's file");
            }
            List<Worker> workers = new ArrayList<>();
            List<String> helpers = new ArrayList<>();
            for (Named named : helpersOf(process)) {
                boolean ofKernel = named.stat().isOfKernel();
                String why = ofKernel || named.stat().isWorker()
                        ? named.kind().equals("vhost") && vhostFiles.isEmpty()
                                ? "the process has no vhost file open"
                                : ""
                        : "the kernel did not start it";
                if (!why.isEmpty()) {
                    notes.add("thread " + named.tid() + " is named "
                            + named.stat().name()
                            + " but is not a helper of process " + process.pid() + " ("
                            + process.name() + "): " + why);
                } else if (named.kind().equals("vhost")) {
                    String path = ofKernel ? "proc/" + named.tid() : "proc/" + process.pid() + "/task/" + named.tid();
                    workers.add(
                            new Worker(named.tid(), named.stat().cpu(), KernelHelpers.allowed(files, path), ofKernel));
                } else {
                    helpers.add(named.kind() + " " + named.tid());
                }
            }
            return new Guest(
                    process,
                    vcpus(process, directories),
                    process.devices().stream()
                            .mapToInt(device -> armed.getOrDefault(device, 0))
                            .sum(),
                    vhostFiles,
                    workers,
                    helpers,
                    sum(directories, "exits"),
                    sum(directories, "irq_injections"));
        }

        /**
         * Collects the kernel threads that are named after a thread of the process, and the process's own worker
         * threads.
         */
        private List<Named> helpersOf(VmProcess process) {
            List<Named> found = new ArrayList<>();
            if (!kernelThreads.isEmpty()) {
                List<String> own = files.list("proc/" + process.pid() + "/task");
                kernelThreads.removeIf(
                        thread -> (thread.owner() == process.pid() || own.contains(String.valueOf(thread.owner())))
                                && found.add(thread));
            }
            found.addAll(KernelHelpers.ofProcess(files, process));
            return found;
        }

        private Vcpus vcpus(VmProcess process, List<String> directories) {
            int running = 0;
            int halted = 0;
            int stopped = 0;
            int asleep = 0;
            for (int tid : VcpuThreads.vcpus(host, process).keySet()) {
                char state = VcpuThreads.stat(files, process, tid)
                        .map(ThreadStat::state)
                        .orElse('?');
                if (state == 'R') {
                    running++;
                } else if (state == 'T' || state == 't') {
                    stopped++;
                } else if (state == 'S') {
                    String place = files.text("proc/" + process.pid() + "/task/" + tid + "/wchan")
                            .filter(text -> !text.isEmpty() && !text.equals("0"))
                            .orElse("");
                    if (HALT.matcher(place).matches()) {
                        halted++;
                    } else if (place.isEmpty()) {
                        asleep++;
                    } else {
                        stopped++;
                    }
                }
            }
            OptionalLong blocking = sum(directories, "blocking");
            if (blocking.isPresent()) {
                int waiting = (int) Math.max(0, Math.min(asleep, blocking.getAsLong() - halted));
                halted += waiting;
                stopped += asleep - waiting;
            }
            return new Vcpus(process.vcpus().size(), running, halted, stopped);
        }

        private OptionalLong sum(List<String> directories, String statistic) {
            OptionalLong sum = OptionalLong.empty();
            for (String directory : directories) {
                Optional<Long> number = files.text(VmProcess.DEBUGFS + directory + "/" + statistic)
                        .filter(text -> NUMBER.matcher(text).matches())
                        .map(Long::valueOf);
                if (number.isPresent()) {
                    sum = OptionalLong.of(sum.orElse(0) + number.get());
                }
            }
            return sum;
        }

        private List<String> vmDirectories() {
            return host.debugfsNames("kvm").stream()
                    .filter(name -> name.matches(AS_MAKER))
                    .toList();
        }

        /** @param all whether the descriptors of all processes were read */
        private void orphans(boolean all) {
            for (String directory : all ? vmDirectories() : List.<String>of()) {
                if (!made.contains(directory)) {
                    String maker = directory.substring(0, directory.indexOf('-'));
                    notes.add(
                            "VM " + directory + " in debugfs is an orphan: thread " + maker
                                    + ", which created it, no longer has it open, and the VM lives until its last file is closed");
                }
            }
            for (Named thread : kernelThreads) {
                if (thread.stat().isOfKernel()) {
                    notes.add("kernel thread " + thread.tid() + " ("
                            + thread.stat().name() + ") "
                            + (files.list("proc/" + thread.owner() + "/task").isEmpty()
                                    ? "is an orphan, because thread " + thread.owner() + ", which it serves, is gone"
                                    : "serves process " + thread.owner() + ", which is not known to hold a VM"));
                }
            }
        }
    }
}
