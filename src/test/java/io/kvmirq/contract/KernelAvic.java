/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import io.kvmirq.VcpuId;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.trace.Btf;
import io.kvmirq.path.Known;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;

/**
 * The physical APIC id table of the only VM of this machine, in the memory of a kernel whose KVM uses AVIC.
 *
 * <p>Source: {@code avic_vcpu_load()} and {@code avic_vcpu_put()} in arch/x86/kvm/svm/avic.c; AMD64 APM volume 2,
 * "Physical APIC ID Table"; {@code struct kvm_svm} and {@code struct kvm}, whose offsets BTF has.
 */
final class KernelAvic {
    /** An entry: whether the vCPU runs, and the physical APIC id of the CPU that it was loaded on last. */
    record Entry(boolean isRunning, int apicId) {}

    private static final String VMS = "vm_list";
    private static final String PAGES = "vmemmap_base";
    private static final String DIRECT = "page_offset_base";
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
    static Optional<KernelAvic> ofThisMachine() throws IOException {
        Optional<KernelMemory> memory = KernelMemory.ofThisMachine(Set.of(VMS, PAGES, DIRECT));
        Optional<Long> place = offset("kvm_amd", "kvm_svm", "avic_physical_id_table_page");
        Optional<Long> link = offset("kvm", "kvm", VMS);
        if (memory.isEmpty() || place.isEmpty() || link.isEmpty()) {
            return Optional.empty();
        }
        KernelMemory kernel = memory.get();
        long list = kernel.symbol(VMS).orElseThrow();
        long first = kernel.word(list);
        if (first == list || kernel.word(first) != list) {
            throw new IOException("expected one VM on this machine");
        }
        long page = kernel.word(first - link.get() + place.get());
        if (page == 0) {
            return Optional.empty();
        }
        long number = (page - kernel.word(kernel.symbol(PAGES).orElseThrow())) / PAGE_STRUCT;
        return Optional.of(
                new KernelAvic(kernel, kernel.word(kernel.symbol(DIRECT).orElseThrow()) + number * PAGE));
    }

    private static Optional<Long> offset(String module, String structure, String member) {
        Known<Btf> types = Btf.of(HostFiles.of(Path.of("/")), module);
        return types.then(btf -> btf.member(Btf.Kind.STRUCT, structure, member))
                .known()
                .map(Btf.Member::offset);
    }

    /** Empty if the entry is not valid: KVM has not loaded the vCPU with AVIC. */
    Optional<Entry> of(VcpuId vcpu) throws IOException {
        long entry = memory.word(table + (long) vcpu.number() * Long.BYTES);
        return entry >>> VALID == 0
                ? Optional.empty()
                : Optional.of(new Entry((entry >>> IS_RUNNING & 1) != 0, (int) (entry & APIC_ID)));
    }
}
