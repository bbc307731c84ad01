/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import io.kvmirq.HostIrq;
import io.kvmirq.IrqKind;
import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.amd.AvicTables;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.vtd.Irte;
import io.kvmirq.arch.vtd.PostedIrte;
import io.kvmirq.diag.sources.GuestLpis;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.diag.sources.KernelPaths.KernelPath;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.RemappingEntries;
import io.kvmirq.host.facts.RemappingEntries.Entry;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.memory.HostLpi;
import io.kvmirq.host.memory.PostedVcpu;
import io.kvmirq.host.memory.RemappingEntry;
import io.kvmirq.path.Claim;
import io.kvmirq.path.Claim.Question;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.FieldValue;
import io.kvmirq.path.HardwareFields;
import io.kvmirq.path.Hop;
import io.kvmirq.path.HopValue;
import io.kvmirq.path.Interrupt;
import io.kvmirq.path.Known;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.Stream;

/**
 * The current form of a device's interrupt entries: in the IOMMU on x86, in the guest's ITS on arm64. For one use by
 * one thread.
 */
public final class FormClaims {
    /**
     * An interrupt, and what the host's files show of it.
     *
     * @param armed empty if VFIO has not armed it
     * @param allocated the host irq of an unarmed interrupt, if it is known
     */
    public record SeenInterrupt(Interrupt id, Optional<ArmedVector> armed, Optional<HostIrq> allocated) {
        /** An interrupt that VFIO has armed. */
        public static SeenInterrupt of(ArmedVector armed) {
            return new SeenInterrupt(
                    Interrupt.of(armed.address(), armed.kind(), armed.vector()), Optional.of(armed), Optional.empty());
        }

        /** Whether the interrupt is a device's line. */
        public boolean isLine() {
            return id.kind().filter(IrqKind.INTX::equals).isPresent();
        }
    }

    private static final String TO_HOST = " posts to a host CPU (intremap=posted_msi) instead of the guest";

    /** Addresses in the host's memory, which are never printed. */
    private static final Set<BitField> ADDRESSES =
            Set.of(PostedIrte.ADDRESS_LOW, PostedIrte.ADDRESS_HIGH, GaIrte.ROOT, AvicTables.BACKING_PAGE);

    private static final Evidence ITS = Evidence.observed("kernel memory, its_device.event_map");
    private static final String COPY = "the kernel's copy of the ITS entry";
    private static final Claim TO_CPU = Claim.of(Question.FORM, false, ITS, COPY + " names a host CPU");

    private final HostFacts host;
    private final PciDevice device;
    private final Optional<VmProcess> process;
    private final KernelPaths memory;
    private final Optional<Known<GuestLpis>> its;

    public FormClaims(HostFacts host, PciDevice device, Optional<VmProcess> process, KernelPaths memory) {
        this.memory = memory;
        this.host = host;
        this.device = device;
        this.process = process;
        this.its = host.isArm() ? process.map(found -> GuestLpis.read(host, found)) : Optional.empty();
    }

    /** Whether the entry of an interrupt names a vCPU (posted), or its LPI is a vLPI. */
    public Claim of(SeenInterrupt interrupt) {
        if (host.isArm()) {
            Optional<KernelPath> path = interrupt
                    .armed()
                    .flatMap(vector -> memory.path(vector.irq()).known())
                    .filter(KernelPath::isLpi);
            if (path.isPresent()) {
                return path.get().vlpi().map(this::inMemory).orElse(TO_CPU);
            }
            return its.map(this::ofVlpis)
                    .orElseGet(() -> Claim.unknown(
                            Question.FORM,
                            "no visible VM uses the device",
                            host.hidesProcesses().map(Known.Unknown::remedy).orElse("look while the VM runs")));
        }
        Optional<Claim> seen = interrupt
                .armed()
                .flatMap(vector -> memory.path(vector.irq()).known())
                .flatMap(path -> path.entry().known())
                .flatMap(entry -> entry)
                .map(entry -> inMemory(interrupt, entry));
        if (seen.isPresent()) {
            return seen.get();
        }
        Optional<Vendor> vendor = host.posting().vendor();
        if (vendor.isEmpty()) {
            return Claim.unknown(
                    Question.FORM,
                    "/proc/cpuinfo names no Intel or AMD processor, and only these post interrupts on x86",
                    "a copy of a host needs its proc/cpuinfo; otherwise not possible");
        }
        Known<List<Entry>> fact = host.remapping()
                .of(vendor.get(), device.address(), interrupt.armed().map(ArmedVector::irq));
        if (fact instanceof Known.Unknown<List<Entry>> unknown) {
            return Claim.unknown(Question.FORM, unknown.why(), unknown.remedy());
        }
        return ofEntries(vendor.get(), fact.known().orElse(List.of()));
    }

    /** The structures that post an interrupt, as far as kernel memory or debugfs shows them. */
    public List<HopValue<?>> structures(SeenInterrupt interrupt) {
        if (interrupt.armed().isEmpty()) {
            return List.of();
        }
        Optional<KernelPath> path =
                interrupt.armed().flatMap(vector -> memory.path(vector.irq()).known());
        List<HopValue<?>> values = new ArrayList<>();
        path.flatMap(found -> found.entry().known())
                .flatMap(entry -> entry)
                .map(entry -> observed(entry.format(), entry.words(entry.low(), entry.high())))
                .or(() -> host.posting().vendor().flatMap(unit -> inDebugfs(interrupt)
                        .map(entry -> observed(entry.format(unit), entry.low(), entry.high()))))
                .ifPresent(entry -> values.add(new HopValue<>(Hop.IRTE, new Known.Observed<>(entry))));
        path.flatMap(found -> found.posted().known())
                .flatMap(vcpu -> vcpu)
                .filter(posted -> posted.vcpu().isPresent())
                .ifPresent(posted -> values.add(ofVcpu(posted)));
        path.flatMap(KernelPath::vlpi)
                .ifPresent(vlpi -> values.add(new HopValue<>(
                        Hop.VLPI,
                        new Known.Observed<>(new HardwareFields(
                                "its_vlpi_map",
                                List.of(
                                        field("vintid", vlpi.id()),
                                        field("vpe", vlpi.index()),
                                        field("properties", vlpi.properties())))))));
        return values;
    }

    /** The fields of a structure, without reserved bits and addresses. */
    private static HardwareFields observed(Format format, long... words) {
        return new HardwareFields(
                format.title(),
                format.fields().stream()
                        .filter(field ->
                                field.isStored() && !field.description().isReserved() && !ADDRESSES.contains(field))
                        .map(field -> field(field.name(), field.value(words)))
                        .toList());
    }

    private static FieldValue field(String name, long value) {
        return new FieldValue(name, new Known.Observed<>(value));
    }

    private static HopValue<HardwareFields> ofVcpu(PostedVcpu posted) {
        if (posted.entry().unit() == Vendor.AMD) {
            return new HopValue<>(Hop.AVIC_ENTRY, new Known.Observed<>(observed(AvicTables.PHYSICAL, posted.state())));
        }
        long control = posted.state();
        return new HopValue<>(
                Hop.PID,
                new Known.Observed<>(new HardwareFields(
                        PostedInterruptDescriptor.FORMAT.title(),
                        Stream.of(
                                        PostedInterruptDescriptor.ON,
                                        PostedInterruptDescriptor.SN,
                                        PostedInterruptDescriptor.NV,
                                        PostedInterruptDescriptor.NDST)
                                .map(bits -> field(bits.name(), bits.of(control)))
                                .toList())));
    }

    /** The entry of an interrupt; empty if debugfs shows several that may be its own. */
    private Optional<Entry> inDebugfs(SeenInterrupt interrupt) {
        Optional<Vendor> vendor = host.posting().vendor();
        return vendor.filter(unit -> host.armed(device.address()).size() == 1)
                .flatMap(unit -> host.remapping()
                        .of(unit, device.address(), interrupt.armed().map(ArmedVector::irq))
                        .known())
                .filter(entries -> entries.size() == 1)
                .map(entries -> entries.get(0))
                .or(() -> vendor.filter(Vendor.INTEL::equals)
                        .flatMap(unit -> interrupt.armed())
                        .flatMap(vector -> host.remapping().slot(vector.irq()))
                        .flatMap(RemappingEntries.Slot::entry));
    }

    private Claim inMemory(SeenInterrupt interrupt, RemappingEntry entry) {
        boolean toGuest = entry.isPostedToGuest();
        boolean denied =
                inDebugfs(interrupt).filter(other -> other.posted() != toGuest).isPresent();
        return Claim.of(
                Question.FORM,
                toGuest,
                Evidence.observed("kernel memory, " + Drift.table(entry)),
                "the IRTE"
                        + (toGuest
                                ? " names a vCPU (posted form)"
                                : entry.isPosted() ? TO_HOST : " names a host CPU (remapped form)")
                        + (denied ? ", which debugfs does not show" : ""));
    }

    private Claim inMemory(HostLpi.Vlpi vlpi) {
        List<OptionalInt> names = List.of(OptionalInt.of(vlpi.vcpu().number()), OptionalInt.of(vlpi.index()));
        boolean denied = its.flatMap(Known::known)
                .filter(guest -> guest.vlpis().stream()
                        .noneMatch(known -> known.id() == vlpi.id() && names.contains(known.target())))
                .isPresent();
        String what = " names vLPI " + vlpi.id() + " of vCPU " + vlpi.vcpu().number() + " (posted)";
        return Claim.of(Question.FORM, true, ITS, COPY + what + (denied ? ", which vgic-state does not show" : ""));
    }

    private static Claim ofEntries(Vendor vendor, List<Entry> own) {
        long posted = own.stream().filter(Entry::posted).count();
        Evidence evidence = Evidence.observed("debugfs of the IOMMU");
        if (posted == own.size() || posted == 0) {
            return Claim.of(
                    Question.FORM,
                    posted > 0,
                    evidence,
                    (own.size() == 1 ? "the IRTE" : "each of the device's " + own.size() + " IRTEs")
                            + (posted == 0
                                    ? form(vendor, own)
                                    : own.size() == 1 ? " names a vCPU (posted form)" : " is in posted form"));
        }
        return Claim.unknown(
                Question.FORM,
                posted + " of the device's " + own.size() + " IRTEs " + (posted == 1 ? "is" : "are")
                        + " in posted form",
                vendor == Vendor.INTEL
                        ? "boot a kernel with CONFIG_GENERIC_IRQ_DEBUGFS, which shows each irq's IRTE"
                        : "watch the tracepoint kvm_pi_irte_update, which names each IRTE's host irq");
    }

    private static String form(Vendor vendor, List<Entry> own) {
        return vendor == Vendor.INTEL && own.stream().allMatch(entry -> Irte.POSTED.isSet(entry.low()))
                ? TO_HOST
                : " names a host CPU (remapped form)";
    }

    /** The armed vectors of all devices of the VM, because a vLPI may belong to any of them. */
    private int armed() {
        return process.stream()
                .flatMap(process -> process.devices().stream())
                .mapToInt(address ->
                        host.interrupts().map(all -> all.armed(address).size()).orElse(0))
                .sum();
    }

    private Claim ofVlpis(Known<GuestLpis> fact) {
        if (fact instanceof Known.Unknown<GuestLpis> unknown) {
            return Claim.unknown(Question.FORM, unknown.why(), unknown.remedy());
        }
        GuestLpis guest = fact.known().orElseThrow();
        Evidence evidence = Evidence.observed("vgic-state");
        int vlpis = guest.vlpis().size();
        if (vlpis == 0) {
            return Claim.of(Question.FORM, false, evidence, "no LPI of the VM is a vLPI (H=1)");
        }
        int armed = armed();
        return vlpis >= armed && armed > 0
                ? Claim.of(
                        Question.FORM,
                        true,
                        Evidence.inferred("vgic-state does not name the device of an LPI"),
                        vlpis + " LPIs of the VM are vLPIs (H=1), as many as its devices have armed vectors")
                : Claim.unknown(
                        Question.FORM,
                        vlpis + " LPIs of the VM are vLPIs, and its devices have " + armed + " armed vectors",
                        GuestRules.BY_VMM);
    }

    /** The vLPI of a vector, if its VM has one device and the ITS shows events. */
    public Optional<GuestLpis.Lpi> vlpi(SeenInterrupt interrupt, int armed) {
        return own(armed).stream()
                .filter(lpi -> interrupt.id().vector().isPresent()
                        && lpi.event().equals(interrupt.id().vector()))
                .findFirst();
    }

    /** The target vCPU of all vLPIs of the device. Empty if they have several, or if others may be among them. */
    public OptionalInt commonTarget(int armed) {
        List<OptionalInt> targets =
                own(armed).stream().map(GuestLpis.Lpi::target).distinct().toList();
        return targets.size() == 1 ? targets.get(0) : OptionalInt.empty();
    }

    /** The vLPIs of the device: those of the VM, if it has no other device. */
    private List<GuestLpis.Lpi> own(int armed) {
        boolean alone = process.filter(process -> process.devices().size() == 1).isPresent();
        return its.flatMap(Known::known)
                .map(GuestLpis::vlpis)
                .filter(all -> alone && all.size() == armed)
                .orElse(List.of());
    }
}
