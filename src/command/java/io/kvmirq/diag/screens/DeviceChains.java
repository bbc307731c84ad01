/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import io.kvmirq.HostIrq;
import io.kvmirq.IrqKind;
import io.kvmirq.PciAddress;
import io.kvmirq.diag.rules.DeviceRules;
import io.kvmirq.diag.rules.Fact;
import io.kvmirq.diag.rules.Flaws;
import io.kvmirq.diag.rules.FormClaims.SeenInterrupt;
import io.kvmirq.diag.rules.GuestRules;
import io.kvmirq.diag.rules.GuestRules.Vector;
import io.kvmirq.diag.rules.HostIrqRules;
import io.kvmirq.diag.rules.IntxRemarks;
import io.kvmirq.diag.rules.LinkRow;
import io.kvmirq.diag.rules.MemoryRules;
import io.kvmirq.diag.rules.PostingClaims;
import io.kvmirq.diag.rules.VfioOutlook;
import io.kvmirq.diag.rules.VmmCheck;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.diag.sources.KernelPaths.KernelPath;
import io.kvmirq.diag.sources.VmmOptions;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.KernelBug;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Interrupt;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.path.Link;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * The chains of a device's interrupts, from host files. Host irq, vector and process are observed. VFIO and KVM show
 * neither which eventfd a vector signals, nor irqfds, nor routes: those links are inferred if only one possibility is
 * left, and otherwise not shown. For one use by one thread.
 */
public final class DeviceChains {
    private static final String INTERRUPTS = "/proc/interrupts";
    /** VFIO reports these refusals when the device is opened, so a process that has it open was not refused. */
    private static final Set<VfioOutlook.Obstacle> OF_OPENING =
            EnumSet.of(VfioOutlook.Obstacle.IN_USE, VfioOutlook.Obstacle.NO_FILE, VfioOutlook.Obstacle.NO_PERMISSION);

    private final HostFacts host;
    private final PciDevice device;
    private final KernelPaths memory;
    private final List<ArmedVector> armed;
    private final List<HostIrq> unarmed;
    private final List<VfioOutlook.Refusal> refusals;
    private final List<String> users;
    private final List<VmProcess> holders;
    private final PostingClaims claims;
    private final ProcessLinks ofProcess;
    private final DeviceRules ofDevice;
    private final HostIrqRules.Irqs ofIrq;
    private final Optional<Link> ofVmm;
    private final UnarmedLinks ofUnarmed;
    private final List<SeenInterrupt> interrupts;
    /** Remarks of each message about the line that the device does not use. */
    private final List<String> ofLine;

    private final List<String> ofHost;
    /** Remarks about its guest, and about irqs that VFIO has not armed if it has armed the interrupt. */
    private final List<String> ofGuest;

    private final List<String> remarksOfUnarmed;

    private DeviceChains(HostFacts host, PciDevice device, KernelPaths memory) {
        this.memory = memory;
        this.host = host;
        this.device = device;
        this.armed = host.armed(device.address()).stream()
                .sorted(Comparator.comparing(ArmedVector::kind).thenComparing(ArmedVector::vector))
                .toList();
        Set<HostIrq> used = armed.stream().map(ArmedVector::irq).collect(Collectors.toSet());
        this.unarmed =
                device.messageIrqs().stream().filter(irq -> !used.contains(irq)).toList();
        this.refusals = VfioOutlook.read(host, device).refusals().stream()
                .filter(refusal -> !OF_OPENING.contains(refusal.cause()))
                .toList();
        this.users = host.users(device);
        // A helper process may also hold the VM; the vCPUs are in the VMM.
        this.holders = host.vms().using(device.address()).stream()
                .sorted(Comparator.comparing(process -> process.vcpus().isEmpty()))
                .toList();
        Optional<VmmOptions> options = holders.stream().findFirst().map(VmmOptions::parse);
        this.claims = new PostingClaims(host, device, holders.stream().findFirst(), options, memory);
        this.ofProcess = new ProcessLinks(host, device, users, options, claims.forms(), armed);
        this.ofDevice = DeviceRules.read(host, device);
        this.ofIrq = HostIrqRules.Irqs.read(host, device, holders.stream().findFirst());
        this.ofVmm = holders.stream().findFirst().map(process -> VmmCheck.run(host, process));
        this.ofUnarmed = new UnarmedLinks(host, device, refusals, unarmed, holders, users, ofProcess, ofVmm);
        this.interrupts = interrupts();
        this.ofLine = IntxRemarks.ofMessages(host, device);
        this.ofHost = remarksOfHost();
        this.ofGuest = remarksOfGuest();
        this.remarksOfUnarmed = unarmed.isEmpty() || interrupts.size() != armed.size()
                ? List.of()
                : List.of(LinkRow.text(
                        "remark.not-armed",
                        unarmed.stream().map(HostIrq::toString).collect(Collectors.joining(", "))));
    }

    /**
     * The chains of all interrupts of a device that VFIO has armed, and of those with an allocated host irq that is not
     * armed, in the order of the vectors. One chain without an interrupt if there are none.
     */
    public static List<InterruptPath> read(HostFacts host, PciDevice device) {
        return read(host, device, KernelPaths.none());
    }

    /** The same with what kernel memory shows. */
    public static List<InterruptPath> read(HostFacts host, PciDevice device, KernelPaths memory) {
        DeviceChains all = new DeviceChains(host, device, memory);
        return all.interrupts.isEmpty()
                ? List.of(all.withoutInterrupt())
                : all.interrupts.stream().map(all::chain).toList();
    }

    /**
     * The chain of a removed device that sysfs no longer has, but whose interrupts VFIO has armed. Empty if there is
     * none, or if sysfs lists no device at all, as in a copy of a host without its links.
     */
    public static Optional<InterruptPath> gone(HostFacts host, PciAddress device) {
        List<ArmedVector> armed = host.armed(device);
        if (armed.isEmpty()
                || host.pci(device).isPresent()
                || host.hides(device)
                || host.pciAddresses().isEmpty()) {
            return Optional.empty();
        }
        return Optional.of(InterruptPath.of(
                Interrupt.all(device),
                host.vms().using(device).stream().findFirst().map(VmProcess::asGuest),
                List.of(Flaws.check(
                                new Vector(new Fact.Facts(host), device.toString(), armed.size()), GuestRules.REMOVED)
                        .orElseThrow()),
                List.of(),
                List.of()));
    }

    /** The chain of a guest's device whose files are refused or missing, which hides no other device. */
    public static InterruptPath hidden(HostFacts host, PciAddress device) {
        String vendor = "sys/bus/pci/devices/" + device + "/vendor";
        return InterruptPath.of(
                Interrupt.all(device),
                host.vms().using(device).stream().findFirst().map(VmProcess::asGuest),
                List.of(Link.notShown(Hop.DEVICE, host.sight().missing(host.files(), vendor, Fact.LOOK_AGAIN))),
                List.of(),
                List.of());
    }

    /** All that {@link #gone} has, in the order of the devices. */
    public static List<InterruptPath> gone(HostFacts host) {
        return host.armed().stream()
                .map(ArmedVector::address)
                .distinct()
                .sorted()
                .flatMap(address -> gone(host, address).stream())
                .toList();
    }

    /** The chain of one vector of a device's messages, or of its INTx if it uses that; armed or not. */
    public static InterruptPath read(HostFacts host, PciDevice device, int vector) {
        return read(host, device, vector, KernelPaths.none());
    }

    /** The same with what kernel memory shows. */
    public static InterruptPath read(HostFacts host, PciDevice device, int vector, KernelPaths memory) {
        DeviceChains all = new DeviceChains(host, device, memory);
        return all.interrupts.stream()
                .filter(interrupt -> vector(interrupt) == vector)
                .findFirst()
                .map(all::chain)
                .orElseGet(() -> all.chain(all.unarmed(vector)));
    }

    private IrqKind kind() {
        boolean table = device.config().msixVectors() > 0 || !device.config().isComplete();
        return armed.stream()
                .map(ArmedVector::kind)
                .filter(kind -> kind != IrqKind.INTX)
                .findFirst()
                .orElse(table ? IrqKind.MSIX : IrqKind.MSI);
    }

    /** The armed interrupts, and those with an allocated host irq. */
    private List<SeenInterrupt> interrupts() {
        List<SeenInterrupt> all = new ArrayList<>();
        armed.forEach(vector -> all.add(SeenInterrupt.of(vector)));
        if (!device.isBoundToVfio() || armed.stream().anyMatch(vector -> vector.kind() == IrqKind.INTX)) {
            return all;
        }
        Map<HostIrq, Integer> known = new LinkedHashMap<>();
        unarmed.forEach(irq -> host.vector(irq, device.address()).ifPresent(vector -> known.put(irq, vector)));
        if (known.size() == unarmed.size() || isAllocatedOneByOne()) {
            unarmed.forEach(irq -> all.add(new SeenInterrupt(
                    known.containsKey(irq)
                            ? Interrupt.of(device.address(), kind(), known.get(irq))
                            : Interrupt.of(device.address(), kind(), irq),
                    Optional.empty(),
                    Optional.of(irq))));
        } else {
            Set<Integer> used = armed.stream().map(ArmedVector::vector).collect(Collectors.toSet());
            IntStream.range(0, device.messageIrqs().size())
                    .filter(vector -> !used.contains(vector))
                    .forEach(vector -> all.add(unarmed(vector)));
        }
        // Interrupts without a number are last.
        all.sort(Comparator.comparing(interrupt -> vector(interrupt) & Integer.MAX_VALUE));
        return all;
    }

    private SeenInterrupt unarmed(int vector) {
        return new SeenInterrupt(Interrupt.of(device.address(), kind(), vector), Optional.empty(), Optional.empty());
    }

    /** If VFIO may arm any set of vectors, the position of an irq does not show its vector. */
    private boolean isAllocatedOneByOne() {
        return kind() == IrqKind.MSIX
                && VfioOutlook.read(host, device).irqs().stream()
                        .anyMatch(irqs -> irqs.kind() == VfioOutlook.Kind.MSIX
                                && !irqs.flags().contains(VfioOutlook.Flag.NORESIZE));
    }

    private InterruptPath withoutInterrupt() {
        List<Link> links = new ArrayList<>();
        links.add(ofDevice.idle());
        links.addAll(ofUnarmed.ofDevice());
        return InterruptPath.of(Interrupt.all(device.address()), guest(), links, claims.ofDevice(), ofHost);
    }

    private InterruptPath chain(SeenInterrupt interrupt) {
        Optional<KernelPath> shown = interrupt
                .armed()
                .filter(vector -> vector.kind() != IrqKind.INTX)
                .flatMap(vector -> memory.path(vector.irq()).known());
        List<PathSource> sources = new ArrayList<>();
        sources.add(before -> links(interrupt));
        shown.ifPresent(path -> sources.add(new MemoryLinks(host, path)));
        InterruptPath merged = PathSource.merge(
                host, InterruptPath.of(interrupt.id(), guest(), List.of(), List.of(), remarks(interrupt)), sources);
        Fact.Facts facts = new Fact.Facts(host);
        List<Link> links = shown.map(path -> PathSource.judge(merged, link -> MemoryRules.flawed(facts, path, link)))
                .orElse(merged)
                .links();
        boolean broken = links.get(links.size() - 1).state() == Link.State.BROKEN;
        return merged.with(links, claims.of(interrupt, broken, count(interrupt)), merged.remarks())
                .with(claims.forms().structures(interrupt));
    }

    /** The number of interrupts that the host handled, for any driver. */
    private OptionalLong count(SeenInterrupt interrupt) {
        Optional<Long> count = interrupt.armed().map(ArmedVector::count).or(() -> host.interrupts()
                .flatMap(all -> device.messageIrqs().isEmpty() && vector(interrupt) == 0 && device.irq() > 0
                        ? all.row(device.irq())
                        : all.message(device.address(), vector(interrupt)))
                .map(HostInterrupts.Row::count));
        return count.isPresent() ? OptionalLong.of(count.get()) : OptionalLong.empty();
    }

    /** The number by which VFIO knows an interrupt: 0 for a line, and negative if it is not known. */
    private static int vector(SeenInterrupt interrupt) {
        return interrupt.id().vector().orElse(interrupt.isLine() ? 0 : -1);
    }

    private Optional<InterruptPath.Guest> guest() {
        return holders.stream().findFirst().map(VmProcess::asGuest);
    }

    private List<Link> links(SeenInterrupt interrupt) {
        List<Link> links = new ArrayList<>();
        links.add(
                interrupt.armed().isEmpty()
                        ? ofDevice.idle()
                        : ofDevice.link(interrupt.id().kind().orElseThrow(), vector(interrupt)));
        if (interrupt.armed().isPresent() && !device.isBoundToVfio()) {
            links.add(ofUnarmed.refused());
            ofUnarmed.brokenVmm().ifPresent(links::add);
            return links;
        }
        if (interrupt.armed().isEmpty()) {
            links.addAll(ofUnarmed.of(interrupt, interrupts, count(interrupt)));
            return links;
        }
        ArmedVector vector = interrupt.armed().get();
        links.add(ofIrq.link(vector, claims.forms().of(interrupt).holds().orElse(false)));
        links.add(LinkRow.of("vector.armed")
                .seen(Evidence.observed(INTERRUPTS), interrupt.id().name())
                .with(Hop.DEVICE_VECTOR, List.of(interrupt.id())));
        ofVmm.ifPresent(links::add);
        Optional<Link> exit =
                holders.isEmpty() && users.isEmpty() && host.hidesProcesses().isEmpty()
                        ? VmmCheck.inExit(host)
                        : Optional.empty();
        exit.ifPresent(links::add);
        if (exit.filter(link -> link.state() == Link.State.BROKEN).isPresent()) {
            return links;
        }
        (holders.isEmpty() ? ofProcess.ofNone() : ofProcess.of(holders.get(0), interrupt))
                .stream()
                        .filter(link -> exit.isEmpty() || link.hop() != Hop.VMM)
                        .forEach(links::add);
        return links;
    }

    private List<String> remarks(SeenInterrupt interrupt) {
        List<String> remarks = new ArrayList<>();
        if (interrupt.armed().isPresent()) {
            refusals.stream()
                    .filter(refusal -> device.isBoundToVfio())
                    .forEach(refusal -> remarks.add(LinkRow.text("remark.armed-and-refused", refusal.text())));
            if (interrupt.isLine()) {
                remarks.addAll(IntxRemarks.find(host, device, interrupt.armed().get()));
                holders.stream()
                        .filter(holder -> VmmOptions.parse(holder).split())
                        .forEach(holder -> remarks.add(
                                LinkRow.text(device.config().hasMessages() ? "remark.split-or-msi" : "remark.split")));
            } else {
                remarks.addAll(ofLine);
            }
        }
        remarks.addAll(ofHost);
        remarks.addAll(ofGuest);
        if (interrupt.armed().isPresent()) {
            remarks.addAll(remarksOfUnarmed);
        }
        return remarks;
    }

    private List<String> remarksOfGuest() {
        List<String> remarks = new ArrayList<>();
        for (VmProcess process : holders) {
            if (!process.kvmDevices().contains("kvm-vfio")) {
                remarks.add(LinkRow.text("remark.no-kvm-vfio", process.pid()));
            }
            remarks.addAll(ofProcess.unread(process));
        }
        claims.behindTheHost().ifPresent(remarks::add);
        if (holders.size() > 1) {
            remarks.add(LinkRow.text("remark.holders", holders.size()));
        }
        return remarks;
    }

    private List<String> remarksOfHost() {
        List<String> remarks = new ArrayList<>(host.log()
                .about(
                        device.address(),
                        armed.stream().map(vector -> vector.irq().number()).toList(),
                        holders.stream()
                                .flatMap(holder -> host.threads(holder.pid()).stream())
                                .toList()));
        if (host.posting().flaw().isEmpty() && !armed.isEmpty() && armed.get(0).kind() != IrqKind.INTX) {
            host.posting()
                    .host()
                    .ifPresent(posts ->
                            remarks.addAll(KernelBug.affecting(host.stable().orElse(""), Optional.of(posts.vendor()))));
        }
        if (host.allowsUnsafeInterrupts()) {
            remarks.add(LinkRow.text("remark.unsafe"));
        }
        return remarks;
    }
}
