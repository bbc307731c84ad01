/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.VcpuId;
import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Field;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.amd.AvicTables;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.amd.LegacyIrte;
import io.kvmirq.arch.apic.Apic;
import io.kvmirq.arch.apic.ApicvKernel;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.vtd.Irte;
import io.kvmirq.arch.vtd.RemappedIrte;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.diag.sources.KernelPaths.KernelPath;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.memory.HostLpi;
import io.kvmirq.host.memory.KernelIrqfd;
import io.kvmirq.host.memory.KernelVcpu;
import io.kvmirq.host.memory.PostedVcpu;
import io.kvmirq.host.memory.RemappingEntry;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Known;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;

/**
 * A field of kernel memory beside the value that it must have. Immutable.
 *
 * @param hop the hop that it belongs to
 * @param field the field, such as {@code ir_table.base: vector}
 * @param expected the value that another structure requires; empty if nothing tells it
 * @param observed the value in memory; empty if it was not read
 * @param why who writes the field; or the reason why it cannot be compared
 */
public record Drift(Hop<?> hop, String field, Verdict verdict, String expected, String observed, String why) {
    /** The result of a comparison. */
    public enum Verdict {
        /** Both values are the same. */
        AGREE,
        /** They differ. */
        DIFFER,
        /** One of them is not known. */
        UNOBSERVABLE
    }

    private static final String CHANGES_WITH_RUN = "written whenever the vCPU runs or stops";
    private static final String BY_KVM = "its_vlpi_map() and lpi_write_config(), from vgic_irq";
    private static final int XAPIC_SHIFT = 8;
    /** The bits that a posted entry takes from the remapped one: {@code dmar_copy_shared_irte()}. */
    private static final List<BitField> SHARED = List.of(
            Irte.PRESENT,
            Irte.FAULT_DISABLED,
            Irte.AVAILABLE,
            Irte.SOURCE_ID,
            Irte.SOURCE_QUALIFIER,
            Irte.SOURCE_VALIDATION);

    private static Drift compare(Hop<?> hop, String field, String expected, String observed, String writer) {
        return new Drift(
                hop, field, expected.equals(observed) ? Verdict.AGREE : Verdict.DIFFER, expected, observed, writer);
    }

    private static Drift compare(Hop<?> hop, String field, long expected, long observed, String writer) {
        return compare(hop, field, hex(expected), hex(observed), writer);
    }

    /** An address is compared and not shown. */
    private static Drift address(String field, boolean same, String writer) {
        String expected = "the address in the kernel's copy";
        return compare(Hop.HOST_IRQ, field, expected, same ? expected : "another address", writer);
    }

    private static Drift unobservable(Hop<?> hop, String field, String why) {
        return new Drift(hop, field, Verdict.UNOBSERVABLE, "", "", why);
    }

    private static String hex(long number) {
        return "0x" + Long.toHexString(number);
    }

    /** The structure that has the entry of an irq. */
    static String table(RemappingEntry entry) {
        return entry.unit() == Vendor.INTEL ? "ir_table.base" : "irq_remap_table.table";
    }

    /** The comparisons of all fields on the way of a host irq, in the order of the hops. */
    public static List<Drift> find(KernelPath path) {
        Objects.requireNonNull(path, "path is null");
        List<Drift> all = new ArrayList<>();
        List<KernelIrqfd> irqfds = path.irqfds().known().orElse(List.of());
        if (path.entry() instanceof Known.Unknown<Optional<RemappingEntry>> unknown) {
            all.add(unobservable(Hop.HOST_IRQ, "remapping entry", unknown.why()));
        }
        path.entry().known().flatMap(entry -> entry).ifPresent(entry -> entry(path, entry, all));
        if (path.entry().known().isPresent() && path.lpi() instanceof Known.Unknown<?> unknown) {
            all.add(unobservable(Hop.HOST_IRQ, "its_device.event_map", unknown.why()));
        }
        if (path.isLpi()) {
            all.add(unobservable(Hop.HOST_IRQ, "the ITS entry", "no register shows it; its_vlpi_map is the copy"));
        }
        path.vlpi().ifPresent(vlpi -> vlpi(path, vlpi, all));
        if (path.eventfd() instanceof Known.Unknown<?> unknown) {
            all.add(unobservable(Hop.EVENTFD, "irqaction.dev_id", unknown.why()));
        }
        if (path.irqfds() instanceof Known.Unknown<?> unknown) {
            all.add(unobservable(Hop.IRQFD, "kvm.irqfds", unknown.why()));
        }
        irqfds.forEach(irqfd -> irqfd(path, irqfd, all));
        return all;
    }

    /**
     * Host facts that descriptors are compared with, read once for all vCPUs.
     *
     * @param isX2apic whether the host's LAPICs are in x2APIC mode
     * @param ids the APIC ids of CPUs, as of {@link io.kvmirq.host.facts.HostKvm#apicIds}
     */
    public record Cpus(Known<Boolean> isX2apic, Map<Integer, Long> ids, ApicvKernel kernel) {
        public static Cpus read(HostFacts host, KernelPaths memory) {
            return new Cpus(
                    memory.isX2apic(),
                    host.kvm().apicIds(),
                    host.kernel()
                            .flatMap(LinuxVersion::parse)
                            .map(ApicvKernel::of)
                            .orElse(ApicvKernel.UP_TO_6_16));
        }
    }

    /** The comparisons of a vCPU with what KVM has beside it: of its descriptor, with Intel. */
    public static List<Drift> find(KernelVcpu vcpu, Cpus cpus) {
        List<Drift> all = new ArrayList<>();
        String descriptor = "pi_desc of vCPU " + vcpu.vcpu().number() + ": ";
        if (vcpu.posted() instanceof Known.Unknown<?> unknown) {
            all.add(unobservable(Hop.VCPU, descriptor + "all fields", unknown.why()));
        } else if (vcpu.isDisabled()) {
            all.add(unobservable(Hop.VCPU, descriptor + "all fields", "KVM keeps none without APIC virtualization"));
        } else {
            vcpu.posted().known().ifPresent(posted -> posted(posted, descriptor, cpus, all));
        }
        if (vcpu.avicEntry().isPresent()) {
            all.add(unobservable(
                    Hop.VCPU, "avic_physical_id_entry of vCPU " + vcpu.vcpu().number(), CHANGES_WITH_RUN));
        }
        return all;
    }

    private static void posted(KernelVcpu.Posted posted, String descriptor, Cpus cpus, List<Drift> all) {
        long[] words = posted.words().bits();
        long control = posted.words().control();
        for (Field field : PostedInterruptDescriptor.FORMAT.fields()) {
            if (field.description().isReserved() && field.value(words) != 0) {
                all.add(compare(Hop.VCPU, descriptor + field.name(), 0, field.value(words), "nobody"));
            }
        }
        boolean suppressed = PostedInterruptDescriptor.SN.isSet(control);
        all.add(
                posted.requested().isEmpty() || suppressed
                        ? unobservable(Hop.VCPU, descriptor + "ON", "no vector waits in PIR, or SN holds it back")
                        : compare(
                                Hop.VCPU,
                                descriptor + "ON with a vector in PIR",
                                1,
                                PostedInterruptDescriptor.ON.of(control),
                                "the sender, or vmx_vcpu_pi_load() when it clears SN"));
        all.add(compare(
                Hop.VCPU,
                descriptor + "NV",
                posted.isListed() ? Apic.WAKEUP : Apic.NOTIFICATION,
                PostedInterruptDescriptor.NV.of(control),
                "pi_enable_wakeup_handler() with vcpu_vmx.pi_wakeup_list, or vmx_vcpu_pi_load()"));
        all.add(
                posted.isListed() && cpus.kernel() == ApicvKernel.FROM_6_17
                        ? compare(
                                Hop.VCPU,
                                descriptor + "SN",
                                0,
                                PostedInterruptDescriptor.SN.of(control),
                                "vmx_vcpu_pi_put(), unless it puts the vCPU on a wake-up list")
                        : unobservable(
                                Hop.VCPU,
                                descriptor + "SN",
                                "it is 1 while the vCPU is preempted, or since Linux 6.17 outside KVM_RUN"));
        Optional<Long> id = Optional.ofNullable(cpus.ids().get(posted.cpu()));
        all.add(
                id.isEmpty() || cpus.isX2apic().known().isEmpty()
                        ? unobservable(
                                Hop.VCPU,
                                descriptor + "NDST",
                                cpus.isX2apic() instanceof Known.Unknown<?> unknown
                                        ? unknown.why()
                                        : "/proc/cpuinfo does not show the APIC id of CPU " + posted.cpu())
                        : compare(
                                Hop.VCPU,
                                descriptor + "NDST",
                                cpus.isX2apic().known().get() ? id.get() : id.get() << XAPIC_SHIFT,
                                PostedInterruptDescriptor.NDST.of(control),
                                "vmx_vcpu_pi_load(), with kvm_vcpu.cpu"));
    }

    /** The same field, that another look did not show to differ. */
    public Drift passing() {
        return unobservable(hop, field, "KVM changed it between two reads");
    }

    private static void entry(KernelPath path, RemappingEntry entry, List<Drift> all) {
        String table = table(entry) + ": ";
        boolean intel = entry.unit() == Vendor.INTEL;
        if (intel && entry.isPosted()) {
            for (BitField field : SHARED) {
                all.add(compare(
                        Hop.HOST_IRQ,
                        table + field.name(),
                        field.of(word(field, entry.copy().low(), entry.copy().high())),
                        field.of(word(field, entry.low(), entry.high())),
                        "modify_irte(), from intel_ir_data.irte_entry"));
            }
        } else {
            String writer = intel
                    ? "modify_irte(), from intel_ir_data.irte_entry"
                    : "modify_irte_ga() or modify_irte(), from amd_ir_data.entry";
            long[] bits = entry.words(entry.low(), entry.high());
            long[] copy = entry.words(entry.copy().low(), entry.copy().high());
            for (Field field : entry.format().fields()) {
                if (field.isStored() && !entry.changes(field)) {
                    all.add(
                            field.equals(GaIrte.ROOT)
                                    ? address(table + field.name(), field.value(copy) == field.value(bits), writer)
                                    : compare(
                                            Hop.HOST_IRQ,
                                            table + field.name(),
                                            field.value(copy),
                                            field.value(bits),
                                            writer));
                }
            }
        }
        if (entry.isPosted() && !intel) {
            all.add(unobservable(Hop.HOST_IRQ, table + "IsRun, GALogIntr, destination", CHANGES_WITH_RUN));
        }
        if (entry.isPostedToGuest()) {
            posted(path, entry, table, all);
            if (path.posted() instanceof Known.Unknown<Optional<PostedVcpu>> unknown) {
                all.add(unobservable(Hop.HOST_IRQ, table + vcpu(entry), unknown.why()));
            }
            path.posted().known().flatMap(vcpu -> vcpu).ifPresent(vcpu -> vcpu(vcpu, table, all));
        } else if (!entry.isPosted()) {
            entry.target().ifPresent(target -> remapped(entry, target, table, all));
        }
        entry.posts()
                .filter(posts -> !entry.hostPosts())
                .ifPresent(posts -> all.add(compare(
                        Hop.HOST_IRQ,
                        "intel_ir_data.irq_2_iommu.posted_vcpu",
                        String.valueOf(entry.isPostedToGuest()),
                        String.valueOf(posts),
                        "intel_ir_set_vcpu_affinity()")));
        all.add(unobservable(
                Hop.HOST_IRQ, "the IOMMU's IRTE cache", "no register shows it; the kernel invalidates it"));
    }

    private static long word(BitField field, long low, long high) {
        return field.word() == 0 ? low : high;
    }

    private static void remapped(RemappingEntry entry, RemappingEntry.Target target, String table, List<Drift> all) {
        String writer = "the kernel's vector domain: apic_chip_data.hw_irq_cfg";
        all.add(compare(Hop.HOST_IRQ, table + "host vector", target.vector(), entry.vector(), writer));
        long destination;
        if (entry.unit() == Vendor.INTEL) {
            destination = RemappedIrte.DESTINATION.of(entry.low());
            // Without x2APIC, the id is in bits 15:8.
            destination = destination == target.apicId() << XAPIC_SHIFT ? target.apicId() : destination;
        } else if (entry.format() == LegacyIrte.FORMAT) {
            destination = LegacyIrte.DESTINATION.of(entry.low());
        } else {
            destination = GaIrte.DESTINATION.of(entry.low(), entry.high());
        }
        all.add(compare(Hop.HOST_IRQ, table + "host APIC id", target.apicId(), destination, writer));
    }

    private static void posted(KernelPath path, RemappingEntry entry, String table, List<Drift> all) {
        List<KernelIrqfd> irqfds = path.irqfds().known().orElse(List.of());
        String field = table + "guest vector";
        String writer = "KVM, from kvm_kernel_irqfd.irq_entry.msi.data";
        if (path.staysPosted()) {
            BitField form = entry.unit() == Vendor.INTEL ? Irte.POSTED : GaIrte.GUEST_MODE;
            String eventfd = path.eventfd().known().orElseThrow().orElseThrow().toString();
            String remapper = "kvm_arch_irq_bypass_del_producer(), before KVM frees the irqfd";
            all.add(compare(Hop.HOST_IRQ, table + form.name() + " without an irqfd of " + eventfd, 0, 1, remapper));
        } else if (irqfds.size() == 1 && irqfds.get(0).vector().isPresent()) {
            all.add(compare(Hop.HOST_IRQ, field, irqfds.get(0).vector().get(), entry.vector(), writer));
        } else {
            all.add(unobservable(Hop.HOST_IRQ, field, "no irqfd with a single message is seen"));
        }
    }

    private static String vcpu(RemappingEntry entry) {
        return entry.unit() == Vendor.INTEL ? "vCPU of the descriptor" : "vCPU of the backing page";
    }

    private static void vcpu(PostedVcpu posted, String table, List<Drift> all) {
        String field = table + vcpu(posted.entry());
        String observed = text(posted.vcpu());
        if (posted.recorded() instanceof Known.Unknown<Optional<VcpuId>> unknown
                && posted.vcpu().isPresent()) {
            all.add(unobservable(Hop.HOST_IRQ, field, "it is " + observed + "; " + unknown.why()));
        } else {
            Optional<VcpuId> recorded = posted.recorded().known().flatMap(vcpu -> vcpu);
            String expected = posted.vcpu().isEmpty() && recorded.isEmpty() ? "a vCPU of the VM" : text(recorded);
            all.add(compare(Hop.HOST_IRQ, field, expected, observed, "KVM, with " + posted.record()));
        }
        if (posted.vcpu().isEmpty()) {
            return;
        }
        if (posted.entry().unit() == Vendor.INTEL) {
            long nv = PostedInterruptDescriptor.NV.of(posted.state());
            all.add(compare(
                    Hop.HOST_IRQ,
                    "pi_desc.nv",
                    nv == Apic.WAKEUP ? hex(Apic.WAKEUP) : hex(Apic.NOTIFICATION),
                    hex(nv),
                    "vmx_vcpu_pi_load(), or pi_enable_wakeup_handler() while the vCPU is blocked"));
            all.add(unobservable(Hop.HOST_IRQ, "pi_desc: PIR, ON, SN, NDST", CHANGES_WITH_RUN));
        } else if (AvicTables.IS_RUNNING.isSet(posted.state())) {
            all.add(unobservable(Hop.HOST_IRQ, table + "vCPU's IsRun", CHANGES_WITH_RUN));
        } else {
            all.add(compare(
                    Hop.HOST_IRQ,
                    table + "vCPU's IsRun",
                    0,
                    posted.runsInTheTableAlone() ? 1 : 0,
                    "avic_vcpu_put(), with the vCPU's entry in the physical APIC id table"));
        }
    }

    private static void vlpi(KernelPath path, HostLpi.Vlpi vlpi, List<Drift> all) {
        String field = "its_vlpi_map.vm";
        String expected = "the VM of the irqfd";
        String another = "another VM, created by thread " + vlpi.thread();
        all.add(vlpi.ofIrqfd()
                .map(same -> compare(Hop.HOST_IRQ, field, expected, same ? expected : another, BY_KVM))
                .orElseGet(() -> unobservable(Hop.HOST_IRQ, field, "the eventfd has no unique irqfd")));
        vlpi.recorded().ifPresent(record -> {
            String own = "the LPI of " + path.irq();
            String lpi = record.hostIrq()
                    .map(irq -> "the LPI of host irq " + irq)
                    .orElse("LPI " + vlpi.id() + ", which KVM has mapped to no host irq");
            all.add(compare(Hop.HOST_IRQ, "its_vlpi_map.vintid", own, lpi, BY_KVM));
            if (!own.equals(lpi)) {
                return; // the rest is of another LPI
            }
            String vcpu = text(Optional.of(vlpi.vcpu()));
            all.add(compare(Hop.HOST_IRQ, "its_vlpi_map.vpe", text(record.target()), vcpu, BY_KVM));
            all.add(compare(Hop.HOST_IRQ, "its_vlpi_map.properties", record.properties(), vlpi.properties(), BY_KVM));
        });
        if (vlpi.recorded().isEmpty()) {
            all.add(unobservable(Hop.HOST_IRQ, "its_vlpi_map.vintid", "this kernel's KVM keeps the LPIs in a list"));
        }
        all.add(unobservable(Hop.HOST_IRQ, "pending bit of the vLPI", "a resident vPE has it in the redistributor"));
    }

    private static String text(Optional<VcpuId> vcpu) {
        return vcpu.map(found -> "vCPU " + found.number()).orElse("none");
    }

    private static void irqfd(KernelPath path, KernelIrqfd irqfd, List<Drift> all) {
        String none = "none";
        irqfd.producer()
                .ifPresentOrElse(
                        producer -> all.add(compare(
                                Hop.IRQFD,
                                "irq_bypass_producer.irq",
                                String.valueOf(path.irq().number()),
                                String.valueOf(producer.number()),
                                "vfio_msi_set_vector_signal()")),
                        () -> all.add(unobservable(
                                Hop.IRQFD,
                                "irq_bypass_producer.irq",
                                path.isLpi() || path.lpi() instanceof Known.Unknown
                                        ? "KVM on arm64 does not keep it"
                                        : "the irqfd is paired with no host irq")));
        if (irqfd.routes() < 2) {
            all.add(compare(
                    Hop.GSI,
                    "kvm_kernel_irqfd.irq_entry.msi",
                    irqfd.route().map(Object::toString).orElse(none),
                    irqfd.message().map(Object::toString).orElse(none),
                    "irqfd_update(), from the VM's kvm_irq_routing_table"));
        }
    }
}
