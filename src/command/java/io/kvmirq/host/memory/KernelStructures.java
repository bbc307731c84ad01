/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.EventFdId;
import io.kvmirq.HostIrq;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.path.Known;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The structures of the running kernel that an interrupt passes, read from its memory. Nothing is written. Each answer is what
 * was there when it was asked for. For use by one thread.
 */
public final class KernelStructures implements AutoCloseable {
    /** The memory of this machine's kernel. */
    public static final Path CORE = Path.of("/proc/kcore");

    private final KernelMemory memory;
    private final Types types;
    private final Symbols symbols;
    private @Nullable IrqChain chain;
    private @Nullable Irqfds irqfds;

    private KernelStructures(HostFiles files, KernelMemory memory) {
        this.memory = memory;
        symbols = Symbols.of(files, Set.of(IrqTree.RADIX, IrqTree.MAPLE, IrqChain.HANDLER, IrqChain.MODE, Irqfds.VMS));
        types = new Types(files);
    }

    /**
     * Opens the memory of a kernel.
     *
     * @param files of its host: symbols and BTF
     * @param core its memory, such as {@link #CORE}
     * @return it, to be closed, or why it cannot be read
     */
    public static Known<KernelStructures> of(HostFiles files, Path core) {
        Objects.requireNonNull(files, "files is null");
        Objects.requireNonNull(core, "core is null");
        return of(files, () -> KernelMemory.open(core));
    }

    static Known<KernelStructures> of(HostFiles files, Supplier<KernelMemory> open) {
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

    /** The eventfd that VFIO signals for a message; empty if the irq has another handler, or none. */
    public Known<Optional<EventFdId>> eventfd(HostIrq irq) {
        Objects.requireNonNull(irq, "irq is null");
        return Unseen.known(
                () -> chain().trigger(irq).stream().mapToObj(chain()::id).findFirst());
    }

    /** The irqfds, of all VMs, with the eventfd that VFIO signals for a message. */
    public Known<List<KernelIrqfd>> irqfds(HostIrq irq) {
        Objects.requireNonNull(irq, "irq is null");
        return Unseen.known(() -> {
            OptionalLong trigger = chain().trigger(irq);
            return trigger.isEmpty() ? List.of() : vms().of(trigger.getAsLong());
        });
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
        IrqChain one = chain;
        if (one == null) {
            one = new IrqChain(memory, types, symbols);
            chain = one;
        }
        return one;
    }

    private Irqfds vms() {
        Irqfds one = irqfds;
        if (one == null) {
            one = new Irqfds(memory, types, symbols);
            irqfds = one;
        }
        return one;
    }

    @Override
    public void close() {
        memory.close();
    }
}
