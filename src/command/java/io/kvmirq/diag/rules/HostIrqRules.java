/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.Rule.rule;
import static java.util.stream.Collectors.groupingBy;
import static java.util.stream.Collectors.joining;
import static java.util.stream.Collectors.mapping;
import static java.util.stream.Collectors.toList;

import io.kvmirq.HostIrq;
import io.kvmirq.IrqKind;
import io.kvmirq.PciAddress;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.amd.LegacyIrte;
import io.kvmirq.arch.apic.CompatibilityMsi;
import io.kvmirq.arch.vtd.Irte;
import io.kvmirq.arch.vtd.PostedIrte;
import io.kvmirq.arch.vtd.RemappableMsi;
import io.kvmirq.arch.vtd.RemappedIrte;
import io.kvmirq.arch.vtd.Source;
import io.kvmirq.diag.rules.Rule.Table;
import io.kvmirq.diag.sources.CpuList;
import io.kvmirq.diag.sources.Guests;
import io.kvmirq.diag.sources.KernelHelpers;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.HostInterrupts.Row;
import io.kvmirq.host.KernelChange;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.HostKvm;
import io.kvmirq.host.facts.IntxLine;
import io.kvmirq.host.facts.KernelLog;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.RemappingEntries;
import io.kvmirq.host.facts.RemappingEntries.Entry;
import io.kvmirq.host.facts.RemappingEntries.Slot;
import io.kvmirq.host.facts.ThreadStat;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.host.facts.VmProcess.VcpuFile;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Known;
import io.kvmirq.path.Link;
import io.kvmirq.path.Remedy;
import java.util.BitSet;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Rules for a host irq that VFIO has armed: whether the kernel has disabled it, and which CPU it interrupts.
 *
 * <p>Source: {@code note_interrupt()} in kernel/irq/spurious.c, {@code irq_spurious_proc_show()} in kernel/irq/proc.c,
 * {@code irq_debug_show()} in kernel/irq/debugfs.c, Documentation/core-api/irq/irq-affinity.rst.
 */
public final class HostIrqRules {
    private static final String CPUS = "sys/devices/system/cpu/";
    /** The limit of unhandled interrupts of 100 000, above which {@code note_interrupt()} disables the line. */
    private static final long MOST_UNHANDLED = 99_900;
    /** A smaller number means a few stray interrupts of a shared line. */
    private static final long MANY_UNHANDLED = 1_000;
    /** Interrupts a second of one irq from which they are called a storm. */
    public static final long STORM_RATE = 100_000;

    /** A few faults come from the firmware's own devices while the host boots. */
    private static final long MANY_FAULTS = 1_000;

    private static final long MANY_ERRORS = 100;
    private static final int MOST_VCPUS = 1024;
    /** The CPUs of a cluster of x2APIC; xAPIC has its mask in bits 15:8. */
    private static final int CLUSTER_MASK = 0xffff;

    private static final String DEBUGFS = "sys/kernel/debug/irq/irqs";
    private static final String INTEL = "sys/kernel/debug/iommu/intel";
    private static final String IRTES = INTEL + "/ir_translation_struct";
    /** {@code msi_domain_debug_show()} in kernel/irq/msi.c. */
    private static final Pattern ADDRESS =
            Pattern.compile("address_hi: 0x([0-9a-f]{8})\\s+address_lo: 0x([0-9a-f]{8})\\s+msg_data: +0x([0-9a-f]{8})");
    /** The depth of disables is not 0. */
    private static final Pattern DEPTH = Pattern.compile("(?m)^ddepth:\\s+[1-9]");

    /**
     * The irqs of a device.
     *
     * @param pinned the CPUs to which all vCPUs are pinned: no CPU if one may run anywhere, or no thread is known
     * @param pins whether a file shows where vCPUs may run
     */
    public record Irqs(
            HostFacts host, PciDevice device, Set<HostIrq> messages, Known<BitSet> pinned, Known<Boolean> pins) {
        public static Irqs read(HostFacts host, PciDevice device, Optional<VmProcess> vmm) {
            return new Irqs(
                    host,
                    device,
                    Set.copyOf(device.messageIrqs()),
                    vmm.map(process -> HostIrqRules.pinned(host, process))
                            .orElseGet(() -> host.hidesProcesses().isPresent()
                                    ? HostIrqRules.notSeen(host)
                                    : new Known.Observed<>(new BitSet())),
                    HostIrqRules.pins(host, vmm));
        }

        /**
         * The link of one of them.
         *
         * @param posted whether its entry is posted; then the CPU of the host irq is not checked
         */
        public Link link(ArmedVector vector, boolean posted) {
            Irq irq = new Irq(new Fact.Facts(host), this, vector, posted);
            Flaws flaws = new Flaws();
            flaws.apply(irq, STATE);
            if (!posted) {
                flaws.requireSeen(irq, ASKED);
                flaws.requireSeen(irq, EFFECTIVE);
            }
            flaws.apply(irq, CPU).apply(irq, OTHERS).apply(irq, COUNTS).apply(irq, LOGGED);
            return flaws.link(
                            Hop.HOST_IRQ,
                            Evidence.observed("/proc/interrupts"),
                            String.valueOf(vector.irq().number()),
                            "chip " + vector.chip() + ", handled "
                                    + (vector.count() == 1 ? "once" : vector.count() + " times") + " by the host")
                    .with(Hop.HOST_IRQ, List.of(vector.irq()));
        }
    }

    /** An irq in debugfs: flags such as {@code IRQD_ACTIVATED}, and the address of its message, if it is shown. */
    private record Shown(Set<String> flags, boolean isDeep, OptionalLong message, int data) {
        static Optional<Shown> parse(String text) {
            Matcher address = ADDRESS.matcher(text);
            boolean isMessage = address.find();
            OptionalLong message = isMessage
                    ? OptionalLong.of(Long.parseUnsignedLong(address.group(1) + address.group(2), 16))
                    : OptionalLong.empty();
            int data = isMessage ? Integer.parseUnsignedInt(address.group(3), 16) : 0;
            Set<String> flags = new HashSet<>(List.of(text.split("\\s+")));
            return text.contains("ddepth:")
                    ? Optional.of(new Shown(flags, DEPTH.matcher(text).find(), message, data))
                    : Optional.empty();
        }
    }

    /** The counts of unhandled interrupts. */
    private record Unhandled(long count, long unhandled, long last) {
        private static final Pattern FORM =
                Pattern.compile("count (\\d{1,18})\\s+unhandled (\\d{1,18})\\s+last_unhandled (\\d{1,18}) ms");

        static Optional<Unhandled> parse(String text) {
            Matcher form = FORM.matcher(text);
            return form.lookingAt()
                    ? Optional.of(new Unhandled(
                            Long.parseLong(form.group(1)),
                            Long.parseLong(form.group(2)),
                            Long.parseLong(form.group(3))))
                    : Optional.empty();
        }
    }

    private record Handler(String pid, ThreadStat stat) {
        char state() {
            return stat.state();
        }
    }

    record Irq(Fact.Facts facts, Irqs of, ArmedVector vector, boolean posted) implements Fact.Subject {
        /** When its guest began, in seconds after the boot. */
        double began() {
            return host().began(device().address());
        }

        /** A CPU that it interrupts received a vector that has no handler. */
        Optional<KernelLog.Recent> strayVector() {
            return EFFECTIVE.of(this).known().flatMap(cpus -> host().log()
                    .recent(
                            KernelLog.SHORT_SECONDS,
                            began(),
                            Pattern.compile("\\b("
                                    + cpus.stream().mapToObj(String::valueOf).collect(joining("|"))
                                    + ")\\.\\d+ No irq handler for vector")));
        }

        PciDevice device() {
            return of.device();
        }

        @Override
        public String name(String word) {
            return switch (word) {
                case "irq" -> number();
                case "device" -> device().address().toString();
                case "node" -> String.valueOf(device().numaNode().orElse(0));
                case "used" -> EFFECTIVE.of(this).known().isPresent() ? "effective" : "smp";
                case "handler" -> HANDLER.in(this).pid();
                default -> throw new IllegalArgumentException(word);
            };
        }

        String number() {
            return String.valueOf(vector.irq().number());
        }

        boolean isPin() {
            return vector.kind() == IrqKind.INTX;
        }

        boolean isMessage() {
            return !isPin();
        }

        boolean has(String flag) {
            return SHOWN.is(this, shown -> shown.flags().contains(flag));
        }

        boolean isSpurious() {
            return has("IRQS_SPURIOUS_DISABLED");
        }

        boolean isDisabled() {
            return SHOWN.is(this, shown -> shown.isDeep() || shown.flags().contains("IRQD_IRQ_DISABLED"));
        }

        /** Nothing in debugfs shows that it is disabled. */
        boolean isOn() {
            return !isSpurious() && !isDisabled();
        }

        int index() {
            return ENTRY.in(this).index();
        }

        /** The irqs of the device, by the indices of their entries. */
        Map<Integer, List<Integer>> indices() {
            List<ArmedVector> all = host().armed(device().address());
            return host().once("indices of " + device().address(), () -> all.stream()
                    .flatMap(vector ->
                            host().remapping().slot(vector.irq()).stream().map(slot -> Map.entry(slot.index(), vector)))
                    .collect(groupingBy(
                            Map.Entry::getKey,
                            mapping(entry -> entry.getValue().irq().number(), toList()))));
        }

        int node() {
            return device().numaNode().orElse(0);
        }

        boolean isFarFromVcpus() {
            return !pinned().isEmpty() && !pinned().intersects(NEAR.in(this));
        }

        Irte irte() {
            return ENTRY.in(this).entry().orElseThrow().irte();
        }

        /** Whether its message is not remapped. */
        boolean isCompatible() {
            OptionalLong message = SHOWN.in(this).message();
            return message.isPresent() && !RemappableMsi.REMAPPABLE.isSet(message.getAsLong());
        }

        /** The entry that its message names. Of several messages of MSI, debugfs shows the first. */
        int handle() {
            Shown shown = SHOWN.in(this);
            return shown.message().isEmpty() || vector.kind() == IrqKind.MSI
                    ? index()
                    : new RemappableMsi((int) shown.message().getAsLong(), shown.data()).index();
        }

        /**
         * Whether an entry accepts the device. A source of another bus may be that of a bridge above it, and a device of
         * another domain than 0 may send as its controller. Source: {@code set_msi_sid()}.
         */
        boolean mayUse(Irte entry) {
            Source source = entry.source();
            return !isMessage()
                    || device().address().domain() != 0
                    || source.id() >> Byte.SIZE != device().address().bus()
                    || source.accepts(device().address().requesterId());
        }

        String source() {
            int id = irte().source().id();
            return RemappingEntries.source(new PciAddress(0, id >> Byte.SIZE, id >> 3 & 0x1f, id & 7));
        }

        /** Whether a remapped entry sends to one CPU, and no CPU has its id. xAPIC has the id in bits 15:8. */
        boolean hasNoCpu() {
            return ENTRY.in(this).entry().isPresent()
                    && irte() instanceof RemappedIrte irte
                    && !RemappedIrte.LOGICAL.isSet(irte.low())
                    && !APIC_IDS.in(this).contains(irte.destination())
                    && !APIC_IDS.in(this).contains(irte.destination() >>> Byte.SIZE);
        }

        long destination() {
            return ((RemappedIrte) irte()).destination();
        }

        Known<Slot> amdSlot() {
            return Fact.of(SHOWN.of(this)
                    .known()
                    .filter(shown -> shown.message().isPresent() && vector.kind() == IrqKind.MSIX)
                    .flatMap(shown -> host().remapping().slot(device().address(), shown.data())));
        }

        long amdDestination() {
            Entry entry = AMD.in(this).entry().orElseThrow();
            return GaIrte.DESTINATION.of(entry.low(), entry.high());
        }

        boolean hasNoCpuOnAmd() {
            Optional<Entry> entry =
                    AMD.in(this).entry().filter(found -> !found.posted() && !LegacyIrte.LOGICAL.isSet(found.low()));
            return entry.isPresent() && !APIC_IDS.in(this).contains(amdDestination());
        }

        boolean reachesCpu() {
            OptionalLong message = SHOWN.in(this).message();
            return message.isEmpty() || HostIrqRules.reachesCpu(host().isArm(), message.getAsLong());
        }

        long unhandled() {
            return SPURIOUS.in(this).unhandled();
        }

        /**
         * Both counts are reset when it is disabled, and when a driver requests it again; since Linux 5.13 also when most
         * were handled. The flags in debugfs decide, where they are shown.
         */
        boolean isReset() {
            Unhandled now = SPURIOUS.in(this);
            return now.count() == 0
                    && now.unhandled() == 0
                    && now.last() > 0
                    && vector.count() >= MOST_UNHANDLED
                    && !has("istate:");
        }

        /** The device that asserts the line. */
        Optional<PciDevice> asserts() {
            return Stream.concat(Stream.of(device()), IntxLine.read(host(), device()).neighbours().stream())
                    .filter(device -> device.config().isIntxAsserted())
                    .findFirst();
        }

        /** Whether it interrupts a CPU that is online, and KVM gets it. */
        boolean isOnCpu() {
            return !posted && USED.is(this, used -> ONLINE.is(this, used::intersects));
        }

        boolean isOnlyOn(BitSet cpus) {
            return EFFECTIVE.is(this, used -> CpuList.contains(cpus, used));
        }

        boolean isFarFrom(BitSet cpus) {
            return EFFECTIVE.is(this, used -> !cpus.isEmpty() && !cpus.intersects(used));
        }

        BitSet pinned() {
            return of.pinned().known().orElseGet(BitSet::new);
        }

        /** The CPUs that the kernel keeps free of other work. */
        BitSet quiet() {
            BitSet quiet =
                    (BitSet) ISOLATED.of(this).known().orElseGet(BitSet::new).clone();
            NOHZ.of(this).known().ifPresent(quiet::or);
            return quiet;
        }

        BitSet housekeeping() {
            BitSet rest = (BitSet) ONLINE.in(this).clone();
            rest.andNot(quiet());
            return rest;
        }

        String cpu() {
            return CpuList.name(USED.in(this));
        }

        /** Moves the irq, unless these CPUs have too few vectors for all that should leave: the kernel answers ENOSPC. */
        Remedy affine(BitSet cpus) {
            long wanted = quiet().isEmpty() ? 1 : leaving();
            Optional<Long> left = host().limits()
                    .vectorsLeftByCpu()
                    .known()
                    .map(all -> cpus.stream()
                            .mapToLong(cpu -> all.getOrDefault(cpu, 0L))
                            .sum())
                    .filter(free -> !cpus.isEmpty() && free < wanted);
            if (left.isPresent()) {
                return Rows.remedy("@too-few-cpus", CpuList.name(cpus), left.get(), wanted);
            }
            return cpus.isEmpty() ? Rows.remedy("@no-cpu") : Rows.remedy("@move", CpuList.list(cpus), number());
        }

        /** Goes around a thread of the highest priority on a CPU. */
        Remedy lower(int cpu) {
            BitSet others = ONLINE.is(this, value -> true) ? housekeeping() : new BitSet();
            others.clear(cpu);
            return others.isEmpty()
                    ? Rows.remedy("@lower-other")
                    : Rows.remedy("@lower", CpuList.list(others), number());
        }

        /** How many irqs of VFIO are only on CPUs that the kernel keeps free of other work. */
        private long leaving() {
            return host().once("irqs on quiet CPUs", () -> host().armed().stream()
                    .map(armed -> new Irq(new Fact.Facts(host()), of, armed, posted))
                    .filter(irq -> irq.isMessage() && irq.isOnlyOn(quiet()))
                    .count());
        }

        Remedy enable() {
            return Rows.remedy(!isPin() ? "@request" : of.device().config().hasMessages() ? "@line-or-msi" : "@line");
        }

        long aSecond() {
            return vector.count() / UPTIME.in(this);
        }
    }

    // spotless:off: a table
    private static final Fact<Irq, Shown> IN_DEBUGFS =
        Fact.text(DEBUGFS + "/{irq}", irq -> !irq.files().list(DEBUGFS).isEmpty(), Shown::parse);
    private static final Fact<Irq, Shown> SHOWN =
        new Fact<>(IN_DEBUGFS.file(), irq -> irq.host().hasNoIrqDebugfs() ? Known.none() : IN_DEBUGFS.read().apply(irq));
    private static final Fact<Irq, Slot> ENTRY = new Fact<>(IRTES, irq -> Fact.of(irq.host().remapping().slot(irq.vector.irq())));
    /** Whether the IOMMU remaps, as its entry shows, or the chips of other messages of PCI. */
    private static final Fact<Irq, Boolean> REMAPS = new Fact<>("proc/interrupts", irq -> ENTRY.is(irq, value -> true)
        || irq.device().address().domain() == 0 && irq.vector.chip().startsWith("PCI-MSI") && irq.host().interrupts().stream()
        .flatMap(all -> all.rows().stream()).anyMatch(row -> row.chip().startsWith("IR-PCI-MSI"))
        ? new Known.Observed<>(true) : Known.none());
    /** A kernel with CONFIG_INTEL_IOMMU_DEBUGFS has several files there. */
    private static final Fact<Irq, String> UNITS = Fact.text(IRTES, irq -> !irq.files().list(INTEL).isEmpty(),
        Fact.form(text -> text.contains(" supported on IOMMU: ")));
    private static final Fact<Irq, String> UNIT_OFF = new Fact<>(IRTES, irq -> Fact.of(irq.host().iommu(irq.device().address())
        .filter(unit -> unit.startsWith("dmar"))).then(unit -> UNITS.of(irq).then(text -> Fact.of(Optional.of(unit).filter(name ->
        text.contains(" supported on IOMMU: " + name + "\nInterrupt Remapping is not enabled"))))));
    /** Another irq of the device that has the same entry. */
    private static final Fact<Irq, String> SHARED = new Fact<>(IRTES, irq -> ENTRY.of(irq).then(own -> Fact.of(irq.indices()
        .getOrDefault(own.index(), List.of()).stream().filter(other -> other != irq.vector.irq().number()).map(String::valueOf)
        .findFirst())));
    private static final Fact<Irq, Slot> AMD = new Fact<>("sys/kernel/debug/iommu/amd/irqtbl", Irq::amdSlot);
    private static final Fact<Irq, Set<Long>> APIC_IDS = new Fact<>("proc/cpuinfo", irq -> irq.host().once("apicid", () -> apicIds(irq)));
    private static final Fact<Irq, Unhandled> SPURIOUS = Fact.text("proc/irq/{irq}/spurious", Unhandled::parse);
    private static final Fact<Irq, BitSet> ASKED = Fact.text("proc/irq/{irq}/smp_affinity_list", CpuList::parse);
    private static final Fact<Irq, BitSet> EFFECTIVE = Fact.text("proc/irq/{irq}/effective_affinity_list", CpuList::parse);
    private static final Fact<Irq, BitSet> USED = new Fact<>("proc/irq/{irq}/{used}_affinity_list", irq ->
        EFFECTIVE.is(irq, value -> true) ? EFFECTIVE.of(irq) : ASKED.is(irq, value -> true) ? ASKED.of(irq) : Known.none());
    private static final Fact<Irq, BitSet> ONLINE = Fact.text(CPUS + "online", CpuList::parse);
    private static final Fact<Irq, BitSet> ISOLATED = Fact.isolated();
    private static final Fact<Irq, BitSet> NOHZ =
        Fact.cpus(CPUS + "nohz_full", irq -> irq.files().text("proc/cmdline").orElse("").contains("nohz_full="));
    /** The place of vCPUs, which only an irq on CPUs without other work needs. */
    private static final Fact<Irq, Boolean> PINS = new Fact<>("proc/PID/task/TID/status", irq ->
        ISOLATED.is(irq, irq::isOnlyOn) || NOHZ.is(irq, irq::isOnlyOn) ? irq.of.pins() : Known.none());
    private static final Fact<Irq, BitSet> PINNED = new Fact<>("proc/PID/task/TID/status", irq -> irq.of.pinned());
    private static final Fact<Irq, String> NUMA = Fact.text(PciFunction.DEVICES + "{device}/numa_node",
        irq -> !irq.files().list("sys/devices/system/node").isEmpty(), Fact.form(text -> text.matches("-?\\d{1,5}")));
    private static final Fact<Irq, BitSet> NEAR = Fact.text("sys/devices/system/node/node{node}/cpulist",
        irq -> irq.device().numaNode().isPresent(), CpuList::parse);
    private static final Fact<Irq, Irq> MESSAGES = Fact.seen(PciFunction.DEVICES + "{device}/msi_irqs");
    private static final Fact<Irq, String> LINE =
        Fact.text(PciFunction.DEVICES + "{device}/irq", Fact.form(text -> text.matches("\\d{1,9}")));
    private static final Fact<Irq, Irq> COUNT = Fact.seen("proc/interrupts");
    private static final Fact<Irq, Long> UPTIME = Fact.text("proc/uptime", text -> Optional.of(text)
        .filter(uptime -> uptime.matches("\\d{1,10}\\.\\d\\d .*")).map(uptime -> Long.parseLong(uptime.split("\\.")[0])));
    private static final Fact<Irq, String> CMDLINE = Fact.commandLine();
    private static final Fact<Irq, String> VERSION =
        Fact.text("proc/version", Fact.form(text -> text.startsWith("Linux version ")));
    /** Fault interrupts of the device's unit on Intel; of all units on AMD (its event log irq) and with an SMMU. */
    private static final Fact<Irq, Long> FAULTS = new Fact<>("proc/interrupts", irq -> handled(irq, irq.host()
        .iommu(irq.device().address()).filter(unit -> unit.startsWith("dmar")).map(Pattern::quote)
        .orElse("(?:AMD-Vi\\d+-Evt|arm-smmu\\S*-evtq|arm-smmu-context-fault)")));
    private static final Fact<Irq, Long> GLOBAL =
        new Fact<>("proc/interrupts", irq -> handled(irq, "arm-smmu\\S*(?:-gerror| global fault)"));
    private static final Fact<Irq, Long> ERRORS = new Fact<>("proc/interrupts", irq -> count(irq, "ERR", "Err"));
    private static final Fact<Irq, Long> SPURIOUS_VECTORS = new Fact<>("proc/interrupts", irq -> count(irq, "SPU"));
    private static final Fact<Irq, Long> MISROUTED = new Fact<>("proc/interrupts", irq -> count(irq, "MIS"));
    private static final Fact<Irq, Long> THERMAL = new Fact<>("proc/interrupts", irq -> count(irq, "TRM"));
    private static final Fact<Irq, Long> DEFERRED = new Fact<>("proc/interrupts", irq -> count(irq, "DFR"));
    private static final Fact<Irq, Long> THRESHOLD = new Fact<>("proc/interrupts", irq -> count(irq, "THR"));
    private static final Fact<Irq, Long> MACHINE_CHECKS = new Fact<>("proc/interrupts", irq -> count(irq, "MCE"));
    private static final Fact<Irq, Handler> HANDLER = new Fact<>("proc/{handler}/stat", HostIrqRules::handler);
    private static final Fact<Irq, String> ABOVE = new Fact<>("proc/{handler}/stat", irq -> HANDLER.of(irq).known()
        .map(own -> VmThread.above(irq.host(), own.stat())).orElseGet(Known::none));
    // spotless:on

    /** Words that keep the kernel from the tables of ACPI, or from the I/O APIC. */
    private static final Pattern PIC =
            Pattern.compile("(?<!\\S)(noapic|nolapic|acpi=(off|noirq)|pci=(\\S+,)?(noacpi|biosirq))(?![^\\s,])");

    // spotless:off: a table
    private static final Table<Irq> STATE = new Table<>(
        rule("host-irq.message-to-memory", SHOWN, irq -> irq.isMessage() && !irq.reachesCpu())
            .with(irq -> SHOWN.in(irq).message().orElse(0)).remedy(Irq::enable),
        rule("host-irq.compatibility", SHOWN, Irq::isCompatible).and(REMAPS).remedy(Irq::enable)
            .on("x86", irq -> irq.isMessage() && !irq.host().isArm()),
        rule("host-irq.another-entry", SHOWN, irq -> irq.handle() != irq.index()).and(ENTRY).with(Irq::handle, Irq::index)
            .remedy(Irq::enable).on("Intel", Irq::isMessage).otherwise(),
        rule("host-irq.unit-off", UNIT_OFF, irq -> true).with(UNIT_OFF::in).remedy(Irq::enable).on("Intel", Irq::isMessage)
            .otherwise(),
        rule("host-irq.no-entry", ENTRY, irq -> ENTRY.in(irq).entry().isEmpty()).with(Irq::index).remedy(Irq::enable)
            .on("Intel", irq -> true).otherwise(),
        rule("host-irq.entry-source", ENTRY, irq -> !irq.mayUse(irq.irte()))
            .with(Irq::index, Irq::source, irq -> RemappingEntries.source(irq.device().address())).remedy(Irq::enable)
            .on("Intel", irq -> true).otherwise(),
        rule("host-irq.entry-shared", SHARED, irq -> true).and(ENTRY).with(Irq::index, SHARED::in).remedy(Irq::enable)
            .on("Intel", Irq::isMessage).otherwise(),
        rule("host-irq.entry-level", ENTRY,
            irq -> irq.irte() instanceof RemappedIrte irte && RemappedIrte.LEVEL.isSet(irte.low())).with(Irq::index)
            .on("Intel", irq -> true).otherwise(),
        rule("host-irq.entry-mode", ENTRY,
            irq -> irq.irte() instanceof RemappedIrte irte && irq.isMessage() && !irte.mode().hasVector())
            .with(Irq::index, irq -> ((RemappedIrte) irq.irte()).mode()).remedy(Irq::enable).on("Intel", irq -> true)
            .otherwise(),
        rule("host-irq.entry-vector", ENTRY, irq -> irq.irte().vector().number() < 16)
            .with(Irq::index, irq -> irq.irte().vector().number()).remedy(Irq::enable).on("Intel", irq -> true).otherwise(),
        rule("host-irq.entry-descriptor", ENTRY,
            irq -> irq.irte() instanceof PostedIrte irte && PostedIrte.ADDRESS.of(irte.low(), irte.high()) == 0)
            .with(Irq::index).remedy(Irq::enable).on("Intel", irq -> true).otherwise(),
        rule("host-irq.entry-to-none", ENTRY,
            irq -> irq.irte() instanceof RemappedIrte irte && RemappedIrte.LOGICAL.isSet(irte.low())
            && (irte.destination() & CLUSTER_MASK) == 0).with(Irq::index, Irq::destination)
            .remedy(irq -> irq.affine(ONLINE.in(irq))).on("Intel", irq -> true).otherwise(),
        rule("host-irq.entry-to-no-cpu", ENTRY, Irq::hasNoCpu).and(APIC_IDS).with(Irq::index, Irq::destination)
            .remedy(irq -> irq.affine(ONLINE.in(irq))).on("Intel", irq -> true).otherwise(),
        rule("host-irq.no-amd-entry", AMD, irq -> AMD.in(irq).entry().isEmpty()).with(irq -> AMD.in(irq).index())
            .remedy(Irq::enable).on("AMD", irq -> true).otherwise(),
        rule("host-irq.amd-entry-to-no-cpu", AMD, Irq::hasNoCpuOnAmd).and(APIC_IDS)
            .with(irq -> AMD.in(irq).index(), Irq::amdDestination).remedy(irq -> irq.affine(ONLINE.in(irq)))
            .on("AMD", irq -> true).otherwise(),
        rule("host-irq.nobody-cared", SHOWN, Irq::isSpurious).with(Irq::number).remedy(Irq::enable),
        rule("host-irq.line-disabled", SHOWN, irq -> irq.isDisabled() && !irq.isSpurious()).on("INTx", Irq::isPin),
        rule("host-irq.disabled", SHOWN, irq -> irq.isDisabled() && !irq.isSpurious()).on("MSI", Irq::isMessage)
            .remedy(Irq::enable),
        rule("host-irq.kept-pending", SHOWN, irq -> irq.has("IRQS_PENDING") && irq.isOn()).on("MSI", Irq::isMessage),
        rule("host-irq.shut-down", SHOWN, irq -> irq.has("IRQD_MANAGED_SHUTDOWN") && !irq.isSpurious())
            .fill(Irq::number),
        rule("host-irq.not-started", SHOWN, irq -> irq.has("IRQD_ACTIVATED") && !irq.has("IRQD_IRQ_STARTED") && irq.isOn())
            .otherwise(),
        rule("host-irq.masked", SHOWN, irq -> irq.has("IRQD_IRQ_MASKED") && irq.isOn()).on("MSI", Irq::isMessage)
            .otherwise(),
        rule("host-irq.affinity-waits", SHOWN,
            irq -> irq.has("IRQD_AFFINITY_SET") && !irq.isSpurious() && irq.has("IRQD_SETAFFINITY_PENDING")),
        rule("host-irq.unhandled-limit", SPURIOUS, irq -> irq.unhandled() > MOST_UNHANDLED).with(Irq::number)
            .remedy(Irq::enable).on("", Irq::isOn),
        rule("host-irq.unhandled", SPURIOUS,
            irq -> irq.unhandled() >= MANY_UNHANDLED && irq.unhandled() * 2 > SPURIOUS.in(irq).count())
            .with(Irq::unhandled, irq -> SPURIOUS.in(irq).count()).remedy(Irq::enable).on("", Irq::isOn).otherwise(),
        rule("host-irq.unhandled-line", SPURIOUS,
            irq -> irq.isReset() && (irq.asserts().isPresent()
            || !irq.host().has(KernelChange.COUNT_AFTER_UNHANDLED).orElse(true)))
            .with(Irq::number, irq -> irq.asserts().map(device -> "; " + device.address() + " asserts the line").orElse(""))
            .remedy(Irq::enable).on("INTx", irq -> irq.isPin() && irq.isOn()).otherwise(),
        rule("host-irq.unhandled-before", SPURIOUS, Irq::isReset).on("", Irq::isOn).otherwise());

    private static final Table<Irq> CPU = new Table<>(
        rule("host-irq.cpu-offline", USED, irq -> !irq.isOnCpu()).and(ONLINE).with(Irq::cpu)
            .remedy(irq -> irq.affine(ONLINE.in(irq))).on("not posted", irq -> !irq.posted),
        rule("host-irq.affinity-ignored", EFFECTIVE, irq -> !ASKED.in(irq).intersects(EFFECTIVE.in(irq))).and(ASKED)
            .with(Irq::cpu, irq -> CpuList.name(ASKED.in(irq))).on("not posted", Irq::isOnCpu),
        // Administrators use both: an irq on the CPU of a pinned vCPU, and irqs kept away from isolated vCPUs.
        rule("host-irq.cpu-isolated", ISOLATED, irq -> irq.isOnlyOn(ISOLATED.in(irq)) && !irq.isOnlyOn(irq.pinned()))
            .and(PINS).and(PINNED).with(Irq::cpu).remedy(irq -> irq.affine(irq.housekeeping()))
            .on("not posted", Irq::isOnCpu),
        rule("host-irq.cpu-nohz-full", NOHZ, irq -> irq.isOnlyOn(NOHZ.in(irq)) && !irq.isOnlyOn(irq.pinned())).and(PINS)
            .and(PINNED).with(Irq::cpu).otherwise().remedy(irq -> irq.affine(irq.housekeeping())).on("not posted", Irq::isOnCpu),
        rule("host-irq.far-from-vcpus", USED,
            irq -> !irq.pinned().isEmpty() && !irq.pinned().intersects(USED.in(irq))
            && !CpuList.contains(irq.quiet(), irq.pinned())).and(PINNED).with(Irq::cpu, irq -> CpuList.name(irq.pinned()))
            .remedy(irq -> irq.affine(irq.pinned())).on("not posted", Irq::isOnCpu),
        rule("host-irq.vcpus-far-from-device", NUMA, irq -> irq.isFarFromVcpus()).and(PINNED).and(NEAR)
            .with(Irq::node, irq -> CpuList.name(NEAR.in(irq)), irq -> CpuList.name(irq.pinned()))
            .fill(irq -> CpuList.name(NEAR.in(irq))),
        rule("host-irq.far-from-device", USED, irq -> irq.pinned().isEmpty() && irq.isFarFrom(NEAR.in(irq))).and(NUMA)
            .and(NEAR).and(PINNED).with(Irq::cpu, Irq::node, irq -> CpuList.name(NEAR.in(irq)))
            .remedy(irq -> irq.affine(NEAR.in(irq))).on("not posted", Irq::isOnCpu));

    private static final Table<Irq> OTHERS = new Table<>(
        rule("host-irq.not-of-device", MESSAGES,
            irq -> !irq.of.messages().isEmpty() && !irq.of.messages().contains(irq.vector.irq())).on("MSI", Irq::isMessage),
        rule("host-irq.not-of-pin", LINE, irq -> irq.device().irq() > 0 && irq.device().irq() != irq.vector.irq().number())
            .with(irq -> irq.device().irq()).on("INTx", Irq::isPin),
        rule("host-irq.storm", COUNT, irq -> UPTIME.in(irq) > 0 && irq.aSecond() >= STORM_RATE).and(UPTIME).with(Irq::aSecond),
        rule("host-irq.polled", CMDLINE, irq -> CMDLINE.in(irq).matches("(.* )?irq(poll|fixup)(.*)?"))
            .fill(irq -> option(CMDLINE.in(irq), "irq(poll|fixup)")).on("INTx", Irq::isPin),
        rule("host-irq.pic", CMDLINE, irq -> PIC.matcher(CMDLINE.in(irq)).find())
            .with(irq -> PIC.matcher(CMDLINE.in(irq)).results().findFirst().orElseThrow().group())
            .fill(irq -> option(CMDLINE.in(irq), "noapic|nolapic|acpi=(?:off|noirq)|noacpi|biosirq")).on("INTx", Irq::isPin),
        rule("host-irq.never-disabled", CMDLINE, irq -> CMDLINE.in(irq).matches("(.* )?noirqdebug(.*)?"))
            .on("INTx", Irq::isPin),
        rule("host-irq.threaded", CMDLINE, irq -> CMDLINE.in(irq).contains("threadirqs")),
        rule("host-irq.handler-starved", ABOVE, irq -> true).and(HANDLER)
            .with(irq -> HANDLER.in(irq).pid(), irq -> HANDLER.in(irq).stat().priority(),
            irq -> HANDLER.in(irq).stat().cpu(), ABOVE::in)
            .remedy(irq -> ABOVE.in(irq).endsWith("priority 99") ? irq.lower(HANDLER.in(irq).stat().cpu())
            : Rows.remedy("@raise", HANDLER.in(irq).pid())),
        rule("host-irq.handler-hangs", HANDLER, irq -> HANDLER.in(irq).state() == 'D').with(irq -> HANDLER.in(irq).pid())
            .fill(irq -> HANDLER.in(irq).pid()),
        rule("host-irq.handler-stopped", HANDLER, irq -> "TtZX".indexOf(HANDLER.in(irq).state()) >= 0)
            .with(irq -> HANDLER.in(irq).pid(), irq -> HANDLER.in(irq).state()).fill(irq -> HANDLER.in(irq).pid()));

    /** Counts of the host, or of the IOMMU of several devices, since it booted. */
    private static final Table<Irq> COUNTS = new Table<>(
        rule("host-irq.iommu-faults", FAULTS, irq -> FAULTS.in(irq) >= MANY_FAULTS).with(FAULTS::in).counting(irq -> irq.host().iommu(irq.device().address()).orElse(""), FAULTS::in),
        rule("host-irq.smmu-errors", GLOBAL, irq -> GLOBAL.in(irq) >= MANY_ERRORS).with(GLOBAL::in).counting(GLOBAL::in),
        rule("host-irq.apic-errors", ERRORS, irq -> ERRORS.in(irq) >= MANY_ERRORS)
            .with(ERRORS::in, irq -> irq.host().isArm() ? "Err" : "ERR").counting(ERRORS::in),
        rule("host-irq.spurious-vectors", SPURIOUS_VECTORS, irq -> SPURIOUS_VECTORS.in(irq) >= MANY_FAULTS)
            .with(SPURIOUS_VECTORS::in).counting(SPURIOUS_VECTORS::in),
        rule("host-irq.misrouted", MISROUTED, irq -> MISROUTED.in(irq) >= MANY_ERRORS).with(MISROUTED::in).counting(MISROUTED::in)
            .on("INTx", Irq::isPin),
        rule("host-irq.machine-checks", MACHINE_CHECKS, irq -> MACHINE_CHECKS.in(irq) > 0).with(MACHINE_CHECKS::in).counting(MACHINE_CHECKS::in),
        rule("host-irq.deferred-errors", DEFERRED, irq -> DEFERRED.in(irq) > 0).with(DEFERRED::in).counting(DEFERRED::in),
        rule("host-irq.threshold-errors", THRESHOLD, irq -> THRESHOLD.in(irq) > 0).with(THRESHOLD::in).counting(THRESHOLD::in),
        rule("host-irq.hot", THERMAL, irq -> THERMAL.in(irq) >= MANY_FAULTS).with(THERMAL::in));
    /** Messages of VT-d, and of AMD-Vi with EVENT_FLAG_I. */
    private static final Pattern BLOCKED_INTERRUPT =
        Pattern.compile("\\[INTR-REMAP\\]|IO_PAGE_FAULT .*flags=0x\\w{0,8}[89a-f]\\]");
    private static final Pattern LOST_COMMAND =
        Pattern.compile("CMD_SYNC timeout|ITS queue timeout|AMD-Vi: Completion-Wait loop timed out");
    private static final Fact<Irq, KernelLog.Recent> ENTRY_FAULTS = new Fact<>(KernelLog.FILE, irq -> Fact.of(irq.host().log()
        .recent(KernelLog.SHORT_SECONDS, irq.began(), BLOCKED_INTERRUPT, irq.device().address())));
    /** {@code arm_smmu_cmdq_issue_cmdlist()}, {@code its_wait_for_range_completion()}, {@code iommu_completion_wait()}. */
    private static final Fact<Irq, KernelLog.Recent> QUEUE = new Fact<>(KernelLog.FILE, irq -> Fact.of(irq.host().log()
        .recent(KernelLog.SHORT_SECONDS, 0, LOST_COMMAND)));
    private static final Fact<Irq, KernelLog.Recent> STRAY = new Fact<>(KernelLog.FILE, irq -> Fact.of(irq.strayVector()));

    private static final Table<Irq> LOGGED = new Table<>(
        rule("host-irq.entry-faults", ENTRY_FAULTS, irq -> ENTRY_FAULTS.in(irq).isLasting())
            .with(irq -> ENTRY_FAULTS.in(irq).count(), irq -> ENTRY_FAULTS.in(irq).ago(), irq -> ENTRY_FAULTS.in(irq).text()),
        rule("host-irq.queue-hangs", QUEUE, irq -> true).with(irq -> QUEUE.in(irq).ago(), irq -> QUEUE.in(irq).text()),
        rule("host-irq.stray-vector", STRAY, irq -> true).with(irq -> STRAY.in(irq).ago(), irq -> STRAY.in(irq).text())
            .on("not posted", irq -> !irq.posted()));
    // spotless:on

    /** The rules of a host irq. */
    public static final List<Table<Irq>> TABLES = List.of(STATE, CPU, OTHERS, COUNTS, LOGGED);

    private HostIrqRules() {}

    /** The word of a command line that has an option of this form: {@code nomsi from pci=realloc,nomsi} if it has others. */
    static String option(String line, String form) {
        for (String word : line.split(" ")) {
            List<String> values = List.of(word.substring(word.indexOf('=') + 1).split(","));
            Optional<String> value =
                    values.stream().filter(text -> text.matches(form)).findFirst();
            if (word.matches("(?:" + form + ")(=.*)?") || value.isPresent()) {
                return values.size() == 1 ? word : value.get() + " from " + word;
            }
        }
        return form;
    }

    /** Whether a message to the address is an interrupt. On arm64 only 0 is certainly not the address of an ITS. */
    static boolean reachesCpu(boolean arm, long address) {
        return arm ? address != 0 : address >> 20 == CompatibilityMsi.BASE;
    }

    /** The count of the first of these rows that /proc/interrupts has. */
    private static Known<Long> count(Irq irq, String... rows) {
        return irq.host().interrupts().stream()
                .flatMap(all -> Stream.of(rows).map(all::count))
                .filter(OptionalLong::isPresent)
                .findFirst()
                .<Known<Long>>map(count -> new Known.Observed<>(count.getAsLong()))
                .orElseGet(Known::none);
    }

    /** The count of all irqs whose last handler has a name of this form. */
    private static Known<Long> handled(Irq irq, String form) {
        return irq.host().once(form, () -> {
            Pattern last = Pattern.compile("(?:^|.*[ ,])" + form + "\\s*");
            List<Long> counts = irq.host().interrupts().map(HostInterrupts::rows).orElse(List.of()).stream()
                    .filter(row -> last.matcher(row.handlers()).matches())
                    .map(Row::count)
                    .toList();
            return counts.isEmpty()
                    ? Known.none()
                    : new Known.Observed<>(
                            counts.stream().mapToLong(count -> count).sum());
        });
    }

    /** The ids of online CPUs, if each has its own: some hypervisors show their guests 0 for all. */
    private static Known<Set<Long>> apicIds(Irq irq) {
        Set<Long> ids = Set.copyOf(irq.host().kvm().apicIds().values());
        return ids.isEmpty() ? Known.none() : new Known.Observed<>(ids);
    }

    private static Known<Boolean> pins(HostFacts host, Optional<VmProcess> vmm) {
        if (vmm.isEmpty()) {
            return notSeen(host);
        }
        boolean known = vmm.get().vcpus().stream()
                .anyMatch(vcpu -> vmm.get().thread(host.files(), vcpu).isPresent());
        return known || vmm.get().vcpus().isEmpty()
                ? new Known.Observed<>(true)
                : host.notInDebugfs("the CPUs of vCPUs (no file shows their threads)", Guests.NAMES);
    }

    private static <T> Known<T> notSeen(HostFacts host) {
        Optional<Known.Unknown<Boolean>> hidden = host.hidesProcesses();
        return new Known.Unknown<>(
                hidden.map(Known.Unknown::reason).orElse(Known.Reason.NOT_SHOWN),
                "the VMM's CPUs (the VMM is not visible)",
                hidden.map(Known.Unknown::remedy).orElse("look while it runs"));
    }

    private static Known<BitSet> pinned(HostFacts host, VmProcess process) {
        Optional<BitSet> online = host.files().text(CPUS + "online").flatMap(CpuList::parse);
        List<String> threads = host.threads(process.pid());
        BitSet all = new BitSet();
        for (VcpuFile vcpu : process.vcpus().subList(0, Math.min(process.vcpus().size(), MOST_VCPUS))) {
            OptionalInt thread = process.thread(host.files(), vcpu);
            if (thread.isPresent() && !threads.isEmpty() && !threads.contains(String.valueOf(thread.getAsInt()))) {
                continue; // an unplugged vCPU, see VmmRules
            }
            if (thread.isEmpty() && process.isParked(host.files(), vcpu)) {
                continue;
            }
            Optional<BitSet> allowed = thread.isEmpty()
                    ? Optional.empty()
                    : KernelHelpers.allowed(host.files(), "proc/" + process.pid() + "/task/" + thread.getAsInt())
                            .flatMap(CpuList::parse);
            // Many VMMs name none of these threads.
            if (allowed.isEmpty()
                    && process.vcpus().stream().anyMatch(other -> process.thread(host.files(), other)
                            .isPresent())) {
                return host.notInDebugfs("the CPUs that vcpu " + vcpu.id() + " may run on", Guests.NAMES);
            }
            if (allowed.isPresent() && online.isEmpty()) {
                return Fact.missing(host.files(), CPUS + "online");
            }
            if (allowed.isEmpty() || CpuList.contains(allowed.get(), online.get())) {
                return new Known.Observed<>(new BitSet());
            }
            all.or(allowed.get());
        }
        return new Known.Observed<>(all);
    }

    /** With threadirqs, or a kernel of PREEMPT_RT, the handler is a thread of the kernel. */
    private static Known<Handler> handler(Irq irq) {
        if (!CMDLINE.is(irq, text -> text.contains("threadirqs"))
                && !VERSION.is(irq, text -> text.contains("PREEMPT_RT"))) {
            return CMDLINE.of(irq).then(value -> VERSION.of(irq)).then(value -> Known.none());
        }
        for (String pid : irq.files().list("proc")) {
            Optional<ThreadStat> stat = pid.matches("\\d{1,9}")
                    ? irq.files().text("proc/" + pid + "/stat").flatMap(ThreadStat::parse)
                    : Optional.empty();
            if (stat.filter(thread -> thread.name().startsWith("irq/" + irq.number() + "-"))
                    .isPresent()) {
                return new Known.Observed<>(new Handler(pid, stat.get()));
            }
        }
        return new Known.Unknown<>(Known.Reason.HIDDEN, "its handler's thread (no file shows it)", HostKvm.AS_ROOT);
    }
}
