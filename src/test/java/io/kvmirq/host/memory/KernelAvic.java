/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.VcpuId;
import io.kvmirq.backend.HostFiles;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;

/**
 * The physical APIC id table of the only VM of this machine, in the memory of a kernel whose KVM uses AVIC.
 *
 * <p>Source: {@code avic_vcpu_load()} and {@code avic_vcpu_put()} in arch/x86/kvm/svm/avic.c; AMD64 APM volume 2,
 * "Physical APIC ID Table"; {@code struct kvm_svm} and {@code struct kvm}, whose offsets BTF has.
 */
public final class KernelAvic {
    /** An entry: whether the vCPU runs, and the physical APIC id of the CPU that it was loaded on last. */
    public record Entry(boolean isRunning, int apicId) {}

    private static final String PAGES = "vmemmap_base";
    private static final String DIRECT = "page_offset_base";
    private static final String TABLE = "avic_physical_id_table_page";
    private static final int PAGE_STRUCT = 64;
    private static final int PAGE = 4096;
    private static final int IS_RUNNING = 62;
    private static final int VALID = 63;
    private static final int APIC_ID = 0xfff;

    private final KernelMemory memory;
    private final long table;

    private KernelAvic(KernelMemory memory, long table) {
        this.memory = memory;
        this.table = table;
    }

    /** Empty where the memory cannot be read, the structures are others, or KVM has no AVIC. */
    public static Optional<KernelAvic> ofThisMachine() {
        return Unseen.known(KernelAvic::found).known().flatMap(avic -> avic);
    }

    private static Optional<KernelAvic> found() {
        HostFiles files = HostFiles.at(Path.of("/"));
        Types types = new Types(files);
        Layout svm = types.ofModule("kvm_amd", "kvm_svm", TABLE);
        Layout vm = types.ofModule("kvm", "kvm", Irqfds.VMS);
        Symbols symbols = Symbols.read(files, Set.of(Irqfds.VMS, PAGES, DIRECT));
        KernelMemory memory = KernelMemory.open(KernelStructures.CORE);
        long list = symbols.address(Irqfds.VMS);
        long first = memory.word(list, Irqfds.VMS);
        if (first == list || memory.word(first, Irqfds.VMS) != list) {
            throw new IllegalStateException("expected one VM on this machine");
        }
        long page = svm.at(memory, first - vm.offset(Irqfds.VMS)).number(TABLE);
        if (page == 0) {
            return Optional.empty();
        }
        long number = (page - memory.word(symbols.address(PAGES), PAGES)) / PAGE_STRUCT;
        return Optional.of(new KernelAvic(memory, memory.word(symbols.address(DIRECT), DIRECT) + number * PAGE));
    }

    /** Empty if the entry is not valid: KVM has not loaded the vCPU with AVIC. */
    public Optional<Entry> of(VcpuId vcpu) {
        long entry = memory.word(table + (long) vcpu.number() * Long.BYTES, "an entry of the physical APIC id table");
        return entry >>> VALID == 0
                ? Optional.empty()
                : Optional.of(new Entry((entry >>> IS_RUNNING & 1) != 0, (int) (entry & APIC_ID)));
    }
}
