/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.EventFdId;
import io.kvmirq.HostIrq;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.path.Known;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.IntPredicate;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The structures of the running kernel that an interrupt passes, read from its memory. Nothing is written. Each answer is what
 * was there when it was asked for. For use by one thread.
 */
public final class KernelStructures implements AutoCloseable {
    /** The memory of this machine's kernel. */
    public static final Path CORE = Path.of("/proc/kcore");

    private static final String X2APIC = "x2apic_mode";
    private static final int MOST_TRIES = 5;

    private final KernelMemory memory;
    private final Types types;
    private final Symbols symbols;
    private @Nullable IrqChain chain;
    private @Nullable Irqfds irqfds;
    private @Nullable Vcpus vcpus;
    private @Nullable Lpis lpis;

    private KernelStructures(HostFiles files, KernelMemory memory) {
        this.memory = memory;
        symbols = Symbols.read(
                files,
                Set.of(
                        IrqTree.RADIX,
                        IrqTree.MAPLE,
                        IrqChain.HANDLER,
                        IrqChain.MODE,
                        Irqfds.VMS,
                        Vcpus.DIRECT,
                        X2APIC));
        types = new Types(files);
    }

    /**
     * Opens the memory of a kernel.
     *
     * @param files of its host: symbols and BTF
     * @param core its memory, such as {@link #CORE}
     * @return it, to be closed, or why it cannot be read
     */
    public static Known<KernelStructures> open(HostFiles files, Path core) {
        Objects.requireNonNull(files, "files is null");
        Objects.requireNonNull(core, "core is null");
        return open(files, () -> KernelMemory.open(core));
    }

    static Known<KernelStructures> open(HostFiles files, Supplier<KernelMemory> open) {
        return Unseen.known(() -> {
            KernelMemory memory = open.get();
            try {
                return new KernelStructures(files, memory);
            } catch (Unseen e) {
                memory.close();
                throw e;
            }
        });
    }

    /** The entry of a host irq in the table of its IOMMU; empty if none remaps it. */
    public Known<Optional<RemappingEntry>> entry(HostIrq irq) {
        Objects.requireNonNull(irq, "irq is null");
        return Unseen.known(() -> chain().entry(irq));
    }

    /** The LPI of a host irq, and the vLPI that it is mapped to; empty if no ITS raises the irq. */
    public Known<Optional<HostLpi>> lpi(HostIrq irq) {
        Objects.requireNonNull(irq, "irq is null");
        return Unseen.known(() -> Unseen.steady("the vLPI of " + irq, () -> chain().ofIts(irq).stream()
                .mapToObj(at ->
                        lpis().of(irq, at, () -> Unseen.known(() -> irqfd(irq).vm())))
                .findFirst()));
    }

    /** The eventfd that VFIO signals for a message; empty if the irq has another handler, or none. */
    public Known<Optional<EventFdId>> eventfd(HostIrq irq) {
        Objects.requireNonNull(irq, "irq is null");
        return Unseen.known(() -> chain().trigger(irq).stream()
                .mapToObj(trigger -> IrqChain.id(memory, types, trigger))
                .findFirst());
    }

    /** The irqfds, of all VMs, with the eventfd that VFIO signals for a message. */
    public Known<List<KernelIrqfd>> irqfds(HostIrq irq) {
        Objects.requireNonNull(irq, "irq is null");
        return Unseen.known(() -> {
            OptionalLong trigger = chain().trigger(irq);
            return trigger.isEmpty() ? List.of() : vms().of(trigger.getAsLong());
        });
    }

    /** The vCPU that the entry of a host irq posts to, with the entry; empty if the entry posts to no guest. */
    public Known<Optional<PostedVcpu>> posted(HostIrq irq) {
        Objects.requireNonNull(irq, "irq is null");
        return Unseen.known(() -> {
            Optional<PostedVcpu> found = readPosted(irq);
            // A vCPU that is put and loaded between two reads seems to run in one of them.
            for (int left = MOST_TRIES;
                    left > 0 && found.filter(PostedVcpu::runsInTheTableAlone).isPresent();
                    left--) {
                found = readPosted(irq);
            }
            return found;
        });
    }

    private Optional<PostedVcpu> readPosted(HostIrq irq) {
        Optional<RemappingEntry> before = chain().entry(irq).filter(RemappingEntry::isPostedToGuest);
        if (before.isEmpty()) {
            return Optional.empty();
        }
        PostedVcpu found = vcpus().of(before.get(), chain().own(irq), irqfd(irq));
        RemappingEntry after =
                chain().entry(irq).filter(before.get()::isSame).orElseThrow(() -> Unseen.torn("the entry of " + irq));
        // If the vCPU was not running when the first entry was read, the second one tells nothing of it.
        return Optional.of(new PostedVcpu(
                found.runsInTheTableAlone() ? after : found.entry(),
                found.vcpu(),
                found.recorded(),
                found.record(),
                found.state()));
    }

    /**
     * The reasons for which KVM inhibits APIC virtualization in the VM that a message goes to, by the names of newer kernels
     * without their common beginning, such as {@code PIT_REINJ}.
     */
    public Known<List<String>> inhibits(HostIrq irq) {
        Objects.requireNonNull(irq, "irq is null");
        return Unseen.known(() -> vcpus().inhibits(irqfd(irq).vm()));
    }

    /** The same of all VMs, by the thread that made them; a thread may have made several. */
    public Known<Map<Integer, List<String>>> inhibits() {
        return Unseen.known(() -> {
            Map<Integer, List<String>> all = new TreeMap<>();
            vms().vms(owner -> all.merge(
                    Irqfds.thread(owner), vcpus().inhibits(owner.address()), (functions, other) -> Stream.concat(
                                    functions.stream(), other.stream())
                            .distinct()
                            .toList()));
            return all;
        });
    }

    private Irqfds.Place irqfd(HostIrq irq) {
        OptionalLong trigger = chain().trigger(irq);
        return (trigger.isEmpty() ? Optional.<Irqfds.Place>empty() : vms().only(trigger.getAsLong()))
                .orElseThrow(() -> new Unseen(irq + " has no unique irqfd", "look while a VM uses its device"));
    }

    /**
     * The vCPUs of VMs that have their LAPICs in the kernel, of the newest VM first.
     *
     * @param vendor whose module runs them; empty for another module
     * @param wanted the threads whose VMs are read
     */
    public Known<List<Known<List<KernelVcpu>>>> vcpus(Optional<Vendor> vendor, IntPredicate wanted) {
        Objects.requireNonNull(vendor, "vendor is null");
        Objects.requireNonNull(wanted, "wanted is null");
        return Unseen.known(() -> {
            List<Known<List<KernelVcpu>>> all = new ArrayList<>();
            vms().vms(owner -> {
                int thread = Irqfds.thread(owner);
                if (wanted.test(thread)) {
                    all.add(Unseen.known(() -> vcpus().all(owner.address(), thread, vendor)));
                }
            });
            return all;
        });
    }

    /** Whether the LAPICs of an x86 host are in x2APIC mode. */
    public Known<Boolean> isX2apic() {
        return Unseen.known(() -> memory.half(symbols.address(X2APIC), X2APIC) != 0);
    }

    /** The irqfds of all VMs, those of the newest VM first. */
    public Known<List<KernelIrqfd>> irqfds() {
        return Unseen.known(() -> vms().all());
    }

    /** Whether the kernel's driver of AMD's IOMMU may put entries into guest mode. Also true without such an IOMMU. */
    public Known<Boolean> isVapic() {
        return Unseen.known(() -> chain().isVapic());
    }

    private IrqChain chain() {
        IrqChain opened = chain;
        if (opened == null) {
            opened = new IrqChain(memory, types, symbols);
            chain = opened;
        }
        return opened;
    }

    private Irqfds vms() {
        Irqfds opened = irqfds;
        if (opened == null) {
            opened = new Irqfds(memory, types, symbols);
            irqfds = opened;
        }
        return opened;
    }

    private Lpis lpis() {
        Lpis opened = lpis;
        if (opened == null) {
            opened = new Lpis(memory, types);
            lpis = opened;
        }
        return opened;
    }

    private Vcpus vcpus() {
        Vcpus opened = vcpus;
        if (opened == null) {
            opened = new Vcpus(memory, types, symbols);
            vcpus = opened;
        }
        return opened;
    }

    @Override
    public void close() {
        memory.close();
    }
}
