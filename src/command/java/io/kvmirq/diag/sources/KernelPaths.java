/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.EventFdId;
import io.kvmirq.HostIrq;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.memory.HostLpi;
import io.kvmirq.host.memory.KernelIrqfd;
import io.kvmirq.host.memory.KernelStructures;
import io.kvmirq.host.memory.KernelVcpu;
import io.kvmirq.host.memory.PostedVcpu;
import io.kvmirq.host.memory.RemappingEntry;
import io.kvmirq.path.Known;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.IntPredicate;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** The paths of host irqs through kernel memory, each read once until {@link #forget}. For use by one thread. */
public final class KernelPaths implements AutoCloseable {
    /**
     * A host irq's path. Immutable.
     *
     * @param entry its remapping entry; empty if no IOMMU remaps it
     * @param eventfd the eventfd that VFIO signals; empty if VFIO has no handler of a message
     * @param irqfds the irqfds of that eventfd, of all VMs
     * @param posted the vCPU that the entry posts to; empty if it posts to no guest
     * @param staysPosted whether the entry posts to a vCPU while no VM has an irqfd of the eventfd, or one that is paired with
     *     the irq. For a moment, this is so while KVM removes an irqfd
     * @param lpi its LPI, and the vLPI that it is mapped to; empty if no ITS raises it
     * @param inhibits the kernel's names of the reasons for which APIC virtualization is inhibited in the irqfd's VM
     */
    public record KernelPath(
            HostIrq irq,
            Known<Optional<RemappingEntry>> entry,
            Known<Optional<EventFdId>> eventfd,
            Known<List<KernelIrqfd>> irqfds,
            Known<Optional<PostedVcpu>> posted,
            boolean staysPosted,
            Known<Optional<HostLpi>> lpi,
            Known<List<String>> inhibits) {
        public boolean isLpi() {
            return lpi.known().filter(Optional::isPresent).isPresent();
        }

        /** The vLPI that its LPI is mapped to, if memory shows it. */
        public Optional<HostLpi.Vlpi> vlpi() {
            return lpi.known().flatMap(lpi -> lpi).flatMap(HostLpi::vlpi);
        }
    }

    /** Looks at what KVM may be changing, after the first one. */
    private static final int LOOKS_AGAIN = 3;

    /**
     * The time between two looks. KVM takes an irqfd off its list, waits for SRCU, and writes the entry then. It exchanges the
     * table of routes, and gives each irqfd a copy of its new one then.
     */
    private static final long CHANGE_NANOS = TimeUnit.MILLISECONDS.toNanos(20);

    private final Supplier<Known<KernelStructures>> open;
    private @Nullable Known<KernelStructures> memory;
    private final Map<HostIrq, KernelPath> paths = new HashMap<>();

    KernelPaths(Supplier<Known<KernelStructures>> open) {
        this.open = open;
    }

    /** Memory that is not read. */
    public static KernelPaths none() {
        return new KernelPaths(() -> new Known.Unknown<>(
                Known.Reason.NOT_ASKED,
                "kernel memory is read only on the host itself, and not with --no-kernel-memory",
                "run kvmirq on the host without that option"));
    }

    /**
     * The memory of a kernel, opened with the first question.
     *
     * @param files of its host
     * @param core such as {@link KernelStructures#CORE}
     */
    public static KernelPaths open(HostFiles files, Path core) {
        Objects.requireNonNull(files, "files is null");
        Objects.requireNonNull(core, "core is null");
        return new KernelPaths(() -> KernelStructures.open(files, core));
    }

    /** The memory of this machine's kernel. */
    public static KernelPaths ofThisMachine() {
        return open(HostFiles.at(Path.of("/")), KernelStructures.CORE);
    }

    private Known<KernelStructures> memory() {
        Known<KernelStructures> opened = memory;
        if (opened == null) {
            opened = open.get();
            memory = opened;
        }
        return opened;
    }

    /** The way of a host irq, or why kernel memory cannot be read. */
    public Known<KernelPath> path(HostIrq irq) {
        Objects.requireNonNull(irq, "irq is null");
        return memory().map(from -> paths.computeIfAbsent(irq, same -> {
            KernelPath path = read(from, irq);
            for (int left = LOOKS_AGAIN; left > 0 && mayPass(path); left--) {
                LockSupport.parkNanos(CHANGE_NANOS);
                path = read(from, irq);
            }
            return path;
        }));
    }

    /** Whether it shows what KVM leaves for a moment while it changes something, or what changed between two reads. */
    private static boolean mayPass(KernelPath path) {
        List<KernelIrqfd> irqfds = path.irqfds.known().orElse(List.of());
        Optional<Integer> posted = path.entry
                .known()
                .flatMap(entry -> entry)
                .filter(RemappingEntry::isPostedToGuest)
                .map(RemappingEntry::vector);
        return path.staysPosted
                || irqfds.stream()
                        .anyMatch(
                                irqfd -> irqfd.routes() < 2 && !irqfd.message().equals(irqfd.route()))
                || irqfds.size() == 1
                        && posted.isPresent()
                        && irqfds.get(0).vector().isPresent()
                        && !posted.equals(irqfds.get(0).vector());
    }

    private static KernelPath read(KernelStructures from, HostIrq irq) {
        Known<Optional<RemappingEntry>> entry = from.entry(irq);
        Known<Optional<EventFdId>> eventfd = from.eventfd(irq);
        Known<List<KernelIrqfd>> irqfds = from.irqfds(irq);
        Optional<RemappingEntry> remapped = entry.known().flatMap(found -> found);
        return new KernelPath(
                irq,
                entry,
                eventfd,
                irqfds,
                from.posted(irq),
                remapped.filter(RemappingEntry::isPostedToGuest).isPresent()
                        && eventfd.known().flatMap(eventFd -> eventFd).isPresent()
                        && irqfds.known().filter(List::isEmpty).isPresent()
                        && from.irqfds()
                                .known()
                                .filter(all -> all.stream()
                                        .noneMatch(irqfd -> irqfd.producer().equals(Optional.of(irq))))
                                .isPresent(),
                entry.then(found -> found.isPresent() ? new Known.Observed<>(Optional.empty()) : from.lpi(irq)),
                remapped.filter(known -> known.unit() == Vendor.AMD).isPresent()
                        ? from.inhibits(irq)
                        : new Known.Unknown<>("no AMD IOMMU remaps it", "none"));
    }

    /** Whether an irqfd, or the entry, of a way that was read is another one by now. Less is read than for the ways. */
    public boolean changed() {
        return paths.values().stream().anyMatch(path -> memory().known()
                .filter(from -> !from.irqfds(path.irq).equals(path.irqfds)
                        || !form(from.entry(path.irq)).equals(form(path.entry)))
                .isPresent());
    }

    /** The part that stays when a vCPU is loaded or put. */
    private static Optional<List<Object>> form(Known<Optional<RemappingEntry>> entry) {
        return entry.known().flatMap(found -> found).map(found -> List.of(found.isPostedToGuest(), found.vector()));
    }

    /** Reads all again that is asked for from now on. */
    public void forget() {
        paths.clear();
    }

    /** The irqfds of all VMs, or why they cannot be read. */
    public Known<List<KernelIrqfd>> irqfds() {
        return memory().then(KernelStructures::irqfds);
    }

    /** The reasons that inhibit APIC virtualization in VMs, by the thread that made them, or why they cannot be read. */
    public Known<Map<Integer, List<String>>> inhibits() {
        return memory().then(KernelStructures::inhibits);
    }

    /**
     * The vCPUs of each VM of an x86 host, or why they cannot be read.
     *
     * @param wanted the threads whose VMs are read
     */
    public Known<List<Known<List<KernelVcpu>>>> vcpus(HostFacts host, IntPredicate wanted) {
        if (host.isArm()) {
            return new Known.Unknown<>(Known.Reason.NOT_ASKED, "arm64 vCPUs are not read from kernel memory", "none");
        }
        return memory().then(from -> from.vcpus(host.kvm().vendor(), wanted));
    }

    /** The vCPUs of a guest with one VM, by their ids, in their order. */
    public Known<Map<VcpuId, KernelVcpu>> vcpus(HostFacts host, VmProcess guest) {
        Known<List<Known<List<KernelVcpu>>>> vms = vcpus(host, thread -> VcpuThreads.has(host, guest.pid(), thread));
        return vms.then(found -> found.size() == 1
                ? found.get(0).map(all -> all.stream()
                        .collect(Collectors.toMap(
                                KernelVcpu::vcpu,
                                vcpu -> vcpu,
                                (first, second) -> first,
                                () -> new TreeMap<>(Comparator.comparingInt(VcpuId::number)))))
                : new Known.Unknown<>(
                        found.isEmpty()
                                ? "kernel memory has no VM that a thread of this process created"
                                : "the process has " + found.size() + " VMs, whose vCPUs have the same numbers",
                        found.isEmpty() ? "none" : "use a VMM with one VM per process"));
    }

    /** Whether the host's LAPICs are in x2APIC mode, or why it cannot be read. */
    public Known<Boolean> isX2apic() {
        return memory().then(KernelStructures::isX2apic);
    }

    @Override
    public void close() {
        if (memory != null) {
            memory.known().ifPresent(KernelStructures::close);
        }
    }
}
