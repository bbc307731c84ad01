/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.memory;

import io.kvmirq.VcpuId;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.vtd.PostedIrte;
import io.kvmirq.path.Known;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.stream.IntStream;

/**
 * VMs' vCPUs, and their parts that hardware posts to.
 *
 * <p>Source: include/linux/kvm_host.h ({@code struct kvm_vcpu}, {@code kvm_get_vcpu()}), arch/x86/include/asm/kvm_host.h
 * ({@code enum kvm_apicv_inhibit}), arch/x86/kvm/lapic.h, svm/svm.h and svm/avic.c ({@code avic_pi_update_irte()}), vmx/vmx.h,
 * vmx/common.h and vmx/posted_intr.c ({@code vmx_pi_update_irte()}).
 */
final class Vcpus {
    /** The kernel's address of physical address 0. */
    static final String DIRECT = "page_offset_base";

    private static final String INHIBITS = "arch.apicv_inhibit_reasons";
    private static final String PREFIX = "APICV_INHIBIT_REASON_";
    /** {@code KVM_MAX_VCPUS}. */
    private static final int MOST_VCPUS = 4096;

    private static final int MOST_LISTED = 1 << 16;
    /** {@code LIST_POISON1}: the next node of one that was taken off a list. */
    private static final long POISON = 0xdead_0000_0000_0100L;
    /** The first register of ISR to the last of IRR. */
    private static final int REGISTERS = LapicPage.ESR_AT - LapicPage.ISR_AT;

    private static final int VECTORS = 256;
    private static final int MOST_TRIES = 5;
    private static final int WORDS = PostedInterruptDescriptor.BYTES / Long.BYTES;
    private static final String OF_TDX = "a TDX VM's vCPUs are not read";
    /** {@code KVM_X86_TDX_VM}: its vCPUs are no {@code vcpu_vmx}. */
    private static final int TDX = 5;

    private static final int PAGE_BITS = 12;
    private static final int ADDRESS_BITS = 52;
    /** The encryption bit of a physical address: CPUID 0x8000001f, EBX bits 5:0. */
    private static final long ENCRYPTED = 1L << 47 | 1L << 51;

    private final KernelMemory memory;
    private final Types types;
    private final Symbols symbols;
    private final Layout vm;
    private final Layout vcpu;
    /** The value of {@link #DIRECT}; 0 until it is read. */
    private long direct;
    /** The address of the vCPU by that of its page or descriptor, for each VM. */
    private final Map<Long, Map<Long, Long>> places = new HashMap<>();

    Vcpus(KernelMemory memory, Types types, Symbols symbols) {
        this.memory = memory;
        this.types = types;
        this.symbols = symbols;
        vm = types.ofModule(Irqfds.KVM, "kvm", INHIBITS, "online_vcpus", "vcpu_array.xa_head", "?arch.vm_type");
        vcpu = types.ofModule(Irqfds.KVM, "kvm_vcpu", "kvm", "vcpu_id", "cpu", "arch.apic", "?arch.apicv_active");
    }

    List<String> inhibits(long of) {
        long reasons = vm.at(memory, of).number(INHIBITS);
        Map<Integer, String> names = types.names(Irqfds.KVM, "kvm_apicv_inhibit");
        List<String> all = new ArrayList<>();
        for (int bit = 0; bit < Long.SIZE; bit++) {
            if ((reasons >>> bit & 1) != 0) {
                String name = names.getOrDefault(bit, PREFIX + bit).substring(PREFIX.length());
                all.add(name.equals("DISABLE") ? "DISABLED" : name); // up to 6.2
            }
        }
        return all;
    }

    /**
     * The vCPU that an entry posts to.
     *
     * @param data of the irq in the kernel: {@code amd_ir_data}
     */
    PostedVcpu of(RemappingEntry entry, long data, Irqfds.Place irqfd) {
        Vendor vendor = entry.unit();
        boolean intel = vendor == Vendor.INTEL;
        Layout.Snapshot owner = vm.at(memory, irqfd.vm());
        if (isTdx(owner, vendor)) {
            throw new Unseen(OF_TDX, "none");
        }
        long address = intel
                ? new PostedIrte(entry.low(), entry.high()).descriptorAddress()
                : (GaIrte.BACKING_PAGE.of(entry.high()) << PAGE_BITS) & ~ENCRYPTED;
        Optional<Layout.Snapshot> found = at(owner, address, vendor);
        Layout record = types.ofModule(Irqfds.KVM, "kvm_kernel_irqfd", "?irq_bypass_vcpu");
        Known<Optional<VcpuId>> recorded;
        if (record.has("irq_bypass_vcpu")) {
            long pointer = record.at(memory, irqfd.irqfd()).number("irq_bypass_vcpu");
            recorded = new Known.Observed<>(
                    pointer == 0 ? Optional.empty() : Optional.of(id(checked(pointer, irqfd.vm()))));
        } else if (intel) {
            recorded = new Known.Unknown<>("this kernel does not record the vCPU", "none");
        } else {
            recorded = new Known.Observed<>(
                    found.filter(snapshot -> lists(snapshot, data)).map(Vcpus::id));
        }
        return new PostedVcpu(
                entry,
                found.map(Vcpus::id),
                recorded,
                record.has("irq_bypass_vcpu")
                        ? "kvm_kernel_irqfd.irq_bypass_vcpu"
                        : intel ? "vmx_pi_update_irte()" : "vcpu_svm.ir_list",
                found.map(snapshot -> state(snapshot, vendor)).orElse(0L));
    }

    static VcpuId id(Layout.Snapshot of) {
        return new VcpuId((int) of.number("vcpu_id"));
    }

    private Layout.Snapshot checked(long address, long owner) {
        return checked(vcpu.at(memory, address), owner);
    }

    /** A vCPU that is one of a VM. */
    static Layout.Snapshot checked(Layout.Snapshot snapshot, long owner) {
        if (snapshot.number("kvm") != owner) {
            throw Unseen.torn("kvm_vcpu.kvm");
        }
        if (snapshot.number("vcpu_id") > VcpuId.MAX) {
            throw Unseen.wrong(
                    "kvm_vcpu.vcpu_id is " + snapshot.number("vcpu_id") + ", expected at most " + VcpuId.MAX);
        }
        return snapshot;
    }

    /**
     * The vCPUs of a VM that have a LAPIC in the kernel, in the order of their creation.
     *
     * @param vendor whose module runs them; empty for another module
     */
    List<KernelVcpu> all(long of, int thread, Optional<Vendor> vendor) {
        Layout.Snapshot owner = vm.at(memory, of);
        if (vendor.isPresent() && isTdx(owner, vendor.get())) {
            throw new Unseen(OF_TDX, "none");
        }
        List<String> inhibits = inhibits(of);
        return members(owner).stream()
                .filter(vcpu -> vcpu.number("arch.apic") != 0)
                .map(vcpu -> whole(vcpu, thread, inhibits, vendor))
                .toList();
    }

    private static boolean isTdx(Layout.Snapshot owner, Vendor vendor) {
        return vendor == Vendor.INTEL && owner.has("arch.vm_type") && owner.number("arch.vm_type") == TDX;
    }

    private KernelVcpu whole(Layout.Snapshot vcpu, int thread, List<String> inhibits, Optional<Vendor> vendor) {
        Layout.Snapshot lapic =
                types.ofModule(Irqfds.KVM, "kvm_lapic", "regs", "?apicv_active").at(memory, vcpu.pointer("arch.apic"));
        boolean active =
                (lapic.has("apicv_active") ? lapic.number("apicv_active") : vcpu.number("arch.apicv_active")) != 0;
        return new KernelVcpu(
                thread,
                id(vcpu),
                active,
                inhibits,
                Unseen.known(() -> page(lapic.pointer("regs"))),
                vendor.equals(Optional.of(Vendor.INTEL)) ? Unseen.known(() -> posted(vcpu)) : Known.none(),
                active && vendor.equals(Optional.of(Vendor.AMD))
                        ? OptionalLong.of(state(vcpu, Vendor.AMD))
                        : OptionalLong.empty());
    }

    private KernelVcpu.Page page(long at) {
        ByteBuffer registers = ByteBuffer.wrap(memory.read(at + LapicPage.ISR_AT, REGISTERS, "kvm_lapic.regs"))
                .order(ByteOrder.LITTLE_ENDIAN);
        return new KernelVcpu.Page(vectors(registers, LapicPage.IRR_AT), vectors(registers, LapicPage.ISR_AT));
    }

    private static List<Integer> vectors(ByteBuffer registers, int first) {
        return IntStream.range(0, VECTORS)
                .filter(vector -> (registers.getInt(first - LapicPage.ISR_AT + vector / Integer.SIZE * LapicPage.STRIDE)
                                        >>> vector % Integer.SIZE
                                & 1)
                        != 0)
                .boxed()
                .toList();
    }

    /** The parts that KVM writes together: NV, SN and NDST, beside the CPU and the list. */
    private record Place(long control, int cpu, boolean isListed) {}

    /** The descriptor between two looks at its place that agree. */
    private KernelVcpu.Posted posted(Layout.Snapshot vcpu) {
        for (int left = MOST_TRIES; left > 0; left--) {
            Place before = place(vcpu);
            Optional<long[]> words = Unseen.known(() -> memory.words(descriptor(vcpu), WORDS, "pi_desc"))
                    .known();
            if (words.isPresent()
                    && before.control == placed(words.get()[PostedInterruptDescriptor.CONTROL])
                    && before.equals(place(vcpu))) {
                return new KernelVcpu.Posted(
                        PostedInterruptDescriptor.decode(words.get()), before.cpu, before.isListed);
            }
        }
        throw Unseen.torn("pi_desc");
    }

    /** The control word without ON, which each interrupt changes. */
    private static long placed(long control) {
        return control & ~PostedInterruptDescriptor.ON.mask();
    }

    private Place place(Layout.Snapshot vcpu) {
        Layout vmx = vmx();
        String member = vmx.has("pi_wakeup_list") ? "pi_wakeup_list" : "vt.pi_wakeup_list";
        if (!vmx.has(member)) {
            throw new Unseen("this kernel has no vcpu_vmx.pi_wakeup_list, which Linux 5.17 introduced", "none");
        }
        long control =
                memory.word(descriptor(vcpu) + PostedInterruptDescriptor.CONTROL * Long.BYTES, "pi_desc.control");
        Layout list = types.layout("list_head", "next", "prev");
        long node = vcpu.address() - vmx.offset("vcpu") + vmx.offset(member);
        long next = list.at(memory, node).number("next");
        boolean isListed = next != POISON && next != node;
        if (isListed
                && list.at(memory, KernelMemory.checked(next, "pi_wakeup_list")).number("prev") != node) {
            throw Unseen.torn("pi_wakeup_list");
        }
        return new Place(
                placed(control),
                (int) checked(vcpu.address(), vcpu.number("kvm")).number("cpu"),
                isListed);
    }

    private Layout vmx() {
        return types.ofModule(
                "kvm_intel", "vcpu_vmx", "vcpu", "?pi_desc", "?pi_wakeup_list", "?vt.pi_desc", "?vt.pi_wakeup_list");
    }

    /** The vCPU that hardware posts to at an address. The vCPUs of a VM are read once, and again if none is there. */
    private Optional<Layout.Snapshot> at(Layout.Snapshot owner, long address, Vendor vendor) {
        Long before = places.getOrDefault(owner.address(), Map.of()).get(address);
        // The memory of an old one may be in other use.
        Optional<Layout.Snapshot> known = before == null
                ? Optional.empty()
                : Unseen.known(() -> checked(before, owner.address())).known().filter(snapshot -> Unseen.known(
                                () -> target(snapshot, vendor))
                        .known()
                        .equals(Optional.of(address)));
        if (known.isPresent()) {
            return known;
        }
        Map<Long, Long> now = new HashMap<>();
        members(owner).forEach(vcpu -> now.put(target(vcpu, vendor), vcpu.address()));
        places.put(owner.address(), now);
        return Optional.ofNullable(now.get(address)).map(at -> vcpu.at(memory, at));
    }

    private List<Layout.Snapshot> members(Layout.Snapshot owner) {
        List<Layout.Snapshot> all = new ArrayList<>();
        long count = owner.number("online_vcpus");
        if (count > MOST_VCPUS) {
            throw Unseen.wrong("kvm.online_vcpus is " + count + ", expected at most " + MOST_VCPUS);
        }
        long head = owner.address() + vm.offset("vcpu_array.xa_head");
        for (int i = 0; i < count; i++) {
            all.add(checked(
                    KernelMemory.checked(
                            IrqTree.inXarray(memory, types, head, i, "kvm.vcpu_array"), "an entry of kvm.vcpu_array"),
                    owner.address()));
        }
        return all;
    }

    /** The physical address that hardware posts to for a vCPU. */
    private long target(Layout.Snapshot of, Vendor vendor) {
        if (vendor == Vendor.INTEL) {
            return physical(descriptor(of));
        }
        return of.number("arch.apic") == 0
                ? -1 // the VM has no LAPICs in the kernel
                : physical(types.ofModule(Irqfds.KVM, "kvm_lapic", "regs")
                        .at(memory, of.pointer("arch.apic"))
                        .pointer("regs"));
    }

    private long physical(long virtual) {
        direct = direct == 0 ? memory.word(symbols.address(DIRECT), DIRECT) : direct;
        long physical = virtual - direct;
        if (physical >>> ADDRESS_BITS != 0) {
            throw Unseen.wrong("what hardware posts to is not in the kernel's memory map");
        }
        return physical;
    }

    private long descriptor(Layout.Snapshot of) {
        Layout vmx = vmx();
        return of.address() - vmx.offset("vcpu") + vmx.offset(vmx.has("pi_desc") ? "pi_desc" : "vt.pi_desc");
    }

    private long state(Layout.Snapshot of, Vendor vendor) {
        if (vendor == Vendor.INTEL) {
            return memory.word(descriptor(of) + PostedInterruptDescriptor.CONTROL * Long.BYTES, "pi_desc.control");
        }
        Layout.Snapshot svm = svm().at(memory, of.address() - svm().offset("vcpu"));
        if (svm.has("avic_physical_id_entry")) {
            return svm.number("avic_physical_id_entry");
        }
        return memory.word(svm.pointer("avic_physical_id_cache"), "vcpu_svm.avic_physical_id_cache");
    }

    private Layout svm() {
        return types.ofModule(
                "kvm_amd", "vcpu_svm", "vcpu", "?avic_physical_id_cache", "?avic_physical_id_entry", "ir_list");
    }

    /** Whether the vCPU's list of entries that KVM writes when it is loaded has an irq. Up to 6.16. */
    private boolean lists(Layout.Snapshot of, long data) {
        Layout element = types.ofModule("kvm_amd", "amd_svm_iommu_ir", "node", "data");
        long head = of.address() - svm().offset("vcpu") + svm().offset("ir_list");
        boolean[] found = {false};
        Irqfds.nodes(
                memory,
                types.layout("list_head", "next", "prev"),
                head,
                MOST_LISTED,
                "vcpu_svm.ir_list",
                node -> found[0] |=
                        element.at(memory, node - element.offset("node")).number("data") == data);
        return found[0];
    }
}
