/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.diag.rules.GuestRules;
import io.kvmirq.diag.sources.Guests;
import io.kvmirq.diag.sources.Guests.Guest;
import io.kvmirq.diag.sources.Guests.Vcpus;
import io.kvmirq.diag.sources.Guests.Worker;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.facts.VmProcess.EventfdFile;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Remedy;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * The rows below the path of a guest: sources of its interrupts other than VFIO devices, such as virtio, which vhost or the
 * VMM serves. Files show the threads that serve it, but no queue. Immutable. Texts may contain names from files.
 *
 * @param guest by its name and its process
 * @param virtio whether files show that it has a device of virtio
 */
public record GuestRows(InterruptPath.Guest guest, boolean virtio, List<Row> rows) {
    private static final Pattern VIRTIO =
            Pattern.compile("(?<![-\\w])(?:virtio|vhost-user|vhost-vsock)-[a-z0-9-]{1,24}");

    /**
     * One fact about them.
     *
     * @param evidence the evidence for it; empty if nothing shows it
     * @param text a clause without a full stop; for a fact that is not shown, the reason
     * @param remedies the tools that would show it; empty for a known fact
     */
    public record Row(String name, Optional<Evidence> evidence, String text, List<Remedy> remedies) {
        static Row seen(String name, String file, String text) {
            return new Row(name, Optional.of(Evidence.observed("/" + file)), text, List.of());
        }

        static Row notShown(String name, String why, String remedy) {
            return notShown(name, why, List.of(Remedy.look(remedy)));
        }

        static Row notShown(String name, String why, List<Remedy> remedies) {
            return new Row(name, Optional.empty(), why, remedies);
        }
    }

    /** The same rows without the advice to watch. */
    public GuestRows afterWatch() {
        return new GuestRows(
                guest,
                virtio,
                rows.stream()
                        .map(row ->
                                new Row(row.name(), row.evidence(), row.text(), LiveChains.afterWatch(row.remedies())))
                        .toList());
    }

    /** The rows of the guests of some processes. */
    public static List<GuestRows> read(HostFacts host, List<VmProcess> processes) {
        return Guests.find(host).all().stream()
                .filter(guest -> processes.contains(guest.process()))
                .map(guest -> read(host, guest))
                .toList();
    }

    private static GuestRows read(HostFacts host, Guest guest) {
        VmProcess process = guest.process();
        String path = "proc/" + process.pid() + "/";
        List<Row> rows = new ArrayList<>();
        rows.add(devices(process, path));
        rows.add(vhost(guest, path));
        for (Worker worker : guest.workers()) {
            String thread = worker.ofKernel() ? "proc/" + worker.tid() : path + "task/" + worker.tid();
            rows.add(Row.seen(
                    "worker " + worker.tid(),
                    thread + "/stat",
                    (worker.ofKernel() ? "kernel thread" : "VMM thread") + ", now or last on CPU "
                            + worker.cpu()
                            + worker.allowed()
                                    .map(cpus -> ", allowed on CPU " + cpus)
                                    .orElse("")));
        }
        rows.add(eventfds(process, path));
        rows.add(
                guest.injected().isPresent()
                        ? Row.seen(
                                "injected",
                                "sys/kernel/debug/kvm/*/irq_injections",
                                "KVM injected " + guest.injected().getAsLong()
                                        + " interrupts by software, from all sources; its" + " vCPUs exited "
                                        + guest.exits().orElse(0) + " times")
                        : Row.notShown(
                                "injected",
                                "KVM's counters do not exist",
                                host.forDebugfs(
                                        "ls /sys/kernel/debug/kvm, where names begin with the thread that created the VM")));
        rows.add(vcpus(host, guest.vcpus(), path));
        rows.add(Row.notShown("irqfds", "no file shows KVM's irqfds or routes", GuestRules.BY_VMM));
        rows.add(Row.notShown(
                "queues",
                "only the guest and the VMM know the virtqueues and their vectors",
                List.of(
                        Remedy.look("info virtio-queue-status in QEMU's monitor; /proc/interrupts in the guest"),
                        Remedy.of(
                                Remedy.Change.WATCH,
                                "for MSIs that KVM delivers, run kvmirq explain --vm " + process.pid()
                                        + " --live 10"))));
        boolean virtio =
                rows.get(0).evidence().isPresent() || !guest.vhostFiles().isEmpty();
        return new GuestRows(process.asGuest(), virtio, rows);
    }

    private static Row devices(VmProcess process, String path) {
        TreeSet<String> named = process.arguments().stream()
                .flatMap(word -> VIRTIO.matcher(word).results())
                .map(found -> found.group())
                .collect(Collectors.toCollection(TreeSet::new));
        return named.isEmpty()
                ? Row.notShown(
                        "virtio", "the VMM's command line has no virtio device", "ask the VMM (QEMU: info qtree)")
                : Row.seen("virtio", path + "cmdline", "the command line has " + String.join(", ", named));
    }

    private static Row vhost(Guest guest, String path) {
        Map<String, Long> files = guest.vhostFiles().stream()
                .collect(Collectors.groupingBy(file -> file, TreeMap::new, Collectors.counting()));
        return Row.seen(
                "vhost",
                path + "fd",
                files.isEmpty()
                        ? "no vhost file is open, so the VMM or a vhost-user process serves the devices"
                        : "open: "
                                + files.entrySet().stream()
                                        .map(entry ->
                                                entry.getKey() + (entry.getValue() > 1 ? " ×" + entry.getValue() : ""))
                                        .collect(Collectors.joining(", "))
                                + (guest.workers().isEmpty()
                                        ? "; the VMM has started no worker, or hardware does the work, as with"
                                                + " vhost-vdpa"
                                        : ""));
    }

    private static Row eventfds(VmProcess process, String path) {
        long polled = process.eventfds().stream().filter(EventfdFile::polled).count();
        return Row.seen(
                "eventfds",
                path + "fd",
                process.eventfds().size() + ", including irqfds and ioeventfds; " + polled
                        + " in epoll sets of the process");
    }

    private static Row vcpus(HostFacts host, Vcpus vcpus, String path) {
        return vcpus.notShown() == vcpus.all()
                ? Row.notShown(
                        "vCPUs",
                        "no file shows the threads of " + vcpus.all() + " vCPUs",
                        host.forDebugfs(Guests.NAMES))
                : Row.seen(
                        "vCPUs",
                        path + "task",
                        vcpus.all() + ": " + vcpus.running() + " running, " + vcpus.halted() + " halted, "
                                + vcpus.stopped() + " stopped or outside KVM_RUN"
                                + (vcpus.notShown() > 0 ? ", " + vcpus.notShown() + " not shown" : ""));
    }
}
