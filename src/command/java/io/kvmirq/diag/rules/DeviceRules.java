/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.PciFunction.*;
import static io.kvmirq.diag.rules.Rule.rule;

import io.kvmirq.IrqKind;
import io.kvmirq.PciAddress;
import io.kvmirq.diag.rules.Rule.Table;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.KernelLog;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Known;
import io.kvmirq.path.Link;
import io.kvmirq.path.Remedy;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Rules for the device itself: whether it has power, responds, and may send an interrupt, and whether the bridges above
 * it pass the interrupt on. The masks in the MSI-X table are in a BAR, which is never opened. For one use by one
 * thread.
 */
public final class DeviceRules {
    private static final int COMMAND = 4;
    private static final int MEMORY = 1 << 1;
    private static final int MASTER = 1 << 2;
    private static final int DIS_INTX = 1 << 10;
    private static final int STATUS = 6;
    private static final int INTX_PENDING = 1 << 3;
    /** The word also has the pin above it. */
    private static final int INTERRUPT_LINE = 0x3c;

    private static final int MSIX_ENABLE = 1 << 15;
    private static final int MSIX_MASKED = 1 << 14;
    private static final int BRIDGE_CONTROL = 0x3e;
    private static final int SECONDARY_RESET = 1 << 6;
    private static final int VF_ENABLE = 1;
    private static final int VF_MEMORY = 1 << 3;

    // spotless:off: tables
    /** Power is the first, because reading the configuration space of a device in D3cold wakes it. */
    private static final Table<PciFunction> POWER = new Table<>(
        rule("function.suspended", RUNTIME, function -> function.held() && function.isAwake() && RUNTIME.in(function).equals("suspended"))
            .and(PciFunction.POWER).with(PciFunction::called),
        rule("function.suspend-failed", RUNTIME, function -> function.isAwake() && RUNTIME.in(function).equals("error"))
            .and(PciFunction.POWER).with(PciFunction::called).otherwise(),
        rule("function.power-unknown", PciFunction.POWER, function -> PciFunction.POWER.in(function).state().equals("error"))
            .with(PciFunction::called).otherwise(),
        rule("function.asleep", PciFunction.POWER, function -> function.held() && function.isAsleep())
            .with(PciFunction::called, function -> PciFunction.POWER.in(function).state()).remedy(DeviceRules::wake),
        rule("function.sleeps", PciFunction.POWER, function -> !function.held() && function.isAsleep()).with(PciFunction::called));

    private static final Table<PciFunction> ANSWERS = new Table<>(
        rule("function.retry", CONFIG, function -> function.config().isNotReady()).with(PciFunction::called),
        rule("function.gone", CONFIG, function -> function.config().isGone()).with(PciFunction::called),
        rule("function.zeros", CONFIG, PciFunction::isZero).with(PciFunction::called).otherwise(),
        rule("function.answers", CAPABILITIES, PciFunction::isDevice).otherwise());

    private static final Table<PciFunction> DEVICE = new Table<>(
        rule("device.another-answers", CONFIG,
            function -> function.word(0) != function.device().vendor() || function.word(2) != function.device().device())
            .with(function -> function.word(0), function -> function.word(2), function -> function.device().vendor(), function -> function.device().device())
            .and(ID).on("no virtual function", function -> !function.isVirtual()),
        rule("device.link-down", CONFIG,
            function -> function.hasLink() && (function.width(0x12) == 0
            || function.files().text(function.path(DEVICES + "{function}/current_link_width")).filter("0"::equals).isPresent()))
            .on("in use", function -> function.held()),
        rule("device.link-narrow", CONFIG, function -> function.hasLink() && function.width(0x12) > 0 && function.width(0x12) < function.width(0xc))
            .with(function -> function.width(0x12), function -> function.width(0xc)),
        rule("device.link-degraded", LANES, function -> true).with(LANES::in).on("in use", function -> function.held()),
        rule("device.console", SCREEN, function -> !SCREEN.in(function).isEmpty()).with(SCREEN::in).and(FIRST_SCREEN)
            .on("VFIO's", function -> function.device().isBoundToVfio()),
        rule("device.bar-held", HOLDERS, function -> !HOLDERS.in(function).isEmpty() && !SCREEN.is(function, screen -> !screen.isEmpty()))
            .with(HOLDERS::in).remedies(DeviceRules::release).on("VFIO's", function -> function.device().isBoundToVfio()),
        rule("device.bar-unset", UNSET, function -> !UNSET.in(function).isEmpty()).with(UNSET::in)
            .on("VFIO's", function -> function.device().isBoundToVfio()),
        rule("device.no-interrupt", CONFIG,
            function -> function.word(INTERRUPT_LINE) >> 8 != 0 && function.hasNoLine() && function.config().isComplete()
            && function.config().capability(MSIX) + function.config().capability(PciFunction.MSI) == 0),
        rule("device.override", OVERRIDE,
            function -> !function.device().unlinked()
            && function.device().override().filter(only -> !only.equals(function.driver())).isPresent())
            .with(function -> function.device().override().get(), PciFunction::driver)
            .fill(function -> function.driver(), function -> function.path(OVERRIDE.file())).on("VFIO's", function -> function.device().isBoundToVfio()));

    private static final Table<PciFunction> UNARMED = new Table<>(
        rule("device.no-messages", CMDLINE, function -> CMDLINE.in(function).matches("(.* )?pci=(\\S*,)?nomsi(,.*| .*|)"))
            .fill(function -> HostIrqRules.option(CMDLINE.in(function), "nomsi")).on("MSI", function -> function.config().capability(MSIX) + function.config().capability(PciFunction.MSI) > 0),
        rule("device.no-lpis", CMDLINE, function -> CMDLINE.in(function).matches("(.* )?irqchip\\.gicv3_nolpi(=[1yY].*| .*|)"))
            .fill(function -> HostIrqRules.option(CMDLINE.in(function), "irqchip\\.gicv3_nolpi")).on("arm64", function -> function.host().isArm()));

    /** Applies to the device and to each bridge above it. */
    private static final Table<PciFunction> FORBIDDEN = new Table<>(
        rule("device.msi-forbidden", MSI_ALLOWED, function -> MSI_ALLOWED.in(function).equals("0")).with(PciFunction::called)
            .fill(function -> function.path(MSI_ALLOWED.file())));

    private static final Table<PciFunction> ARMED = new Table<>(
        rule("device.disabled", ENABLED, function -> ENABLED.in(function).equals("0")),
        rule("device.no-bar", CONFIG, PciFunction::hasNoBar),
        rule("device.memory-off", CONFIG, function -> function.hasMemory() && !function.has(COMMAND, MEMORY)),
        rule("device.bus-master-off", CONFIG, function -> !function.has(COMMAND, MASTER)).on("MSI", PciFunction::sends));

    private static final Table<PciFunction> OF_MSIX = new Table<>(
        rule("device.no-msix", CAPABILITIES, function -> function.config().capability(MSIX) == 0),
        rule("device.msix-off", CAPABILITIES, function -> (function.register(MSIX, 2) & MSIX_ENABLE) == 0).otherwise(),
        rule("device.msix-masked", CAPABILITIES, function -> (function.register(MSIX, 2) & MSIX_MASKED) != 0).otherwise(),
        rule("device.msix-short", CAPABILITIES, function -> function.vector() >= function.config().msixVectors()).otherwise()
            .with(function -> function.config().msixVectors(), function -> function.config().msixVectors() == 1 ? "" : "s", function -> function.vector()),
        rule("device.both-on", CAPABILITIES, function -> (function.register(PciFunction.MSI, 2) & 1) != 0).otherwise(),
        rule("device.may-send-msix", CAPABILITIES, function -> true).otherwise());

    private static final Table<PciFunction> OF_MSI = new Table<>(
        rule("device.no-msi", CAPABILITIES, function -> function.config().capability(PciFunction.MSI) == 0),
        rule("device.msi-off", CAPABILITIES, function -> (function.register(PciFunction.MSI, 2) & 1) == 0).otherwise(),
        rule("device.msi-to-memory", CAPABILITIES,
            function -> !HostIrqRules.reachesCpu(function.host().isArm(), function.messageAddress())).with(PciFunction::messageAddress)
            .otherwise(),
        rule("device.msi-short", CAPABILITIES, function -> function.vector() >= function.messages())
            .with(PciFunction::messages, function -> function.vector()).otherwise(),
        rule("device.msi-masked", CAPABILITIES, function -> function.hasMasks() && function.isSet(0))
            .with(function -> function.vector(), function -> function.isSet(4) ? ", and is pending" : "").otherwise(),
        rule("device.both-on-msi", CAPABILITIES, function -> (function.register(MSIX, 2) & MSIX_ENABLE) != 0).otherwise(),
        rule("device.may-send-msi", CAPABILITIES, function -> true)
            .with(function -> function.hasMasks() ? ", vector " + function.vector() + " is not masked" : "").otherwise());

    private static final Table<PciFunction> OF_PIN = new Table<>(
        rule("device.no-pin", CONFIG, function -> function.word(INTERRUPT_LINE) >> 8 == 0),
        rule("device.sends-messages", CONFIG, function -> (function.register(MSIX, 2) & MSIX_ENABLE | function.register(PciFunction.MSI, 2) & 1) != 0),
        rule("device.pin-waits", CONFIG, function -> function.has(COMMAND, DIS_INTX) && function.has(STATUS, INTX_PENDING)).otherwise(),
        rule("device.pin-masked", CONFIG, function -> function.has(COMMAND, DIS_INTX)).otherwise(),
        rule("device.pin-on", CONFIG, function -> true).with(function -> function.has(STATUS, INTX_PENDING) ? ", asserted" : "")
            .otherwise(),
        rule("device.no-dma", CONFIG, function -> !function.has(COMMAND, MASTER)));

    private static final Table<PciFunction> CONTAINED = new Table<>(
        rule("bridge.contained", EXTENDED, function -> (function.extended(CONTAINMENT, 8).orElse(0) & 1) != 0)
            .with(PciFunction::called));

    private static final Table<PciFunction> BRIDGE = new Table<>(
        rule("bridge.bus-master-off", CONFIG, function -> !function.has(COMMAND, MASTER)).with(PciFunction::called)
            .fill(function -> function.address()),
        rule("bridge.memory-off", CONFIG, function -> !function.has(COMMAND, MEMORY)).with(PciFunction::called)
            .fill(function -> function.address()).otherwise(),
        rule("bridge.other-buses", CONFIG,
            function -> function.firstBus() != 0 && (function.bus() < function.firstBus() || function.bus() > function.lastBus()))
            .with(PciFunction::called, PciFunction::firstBus, PciFunction::lastBus, PciFunction::bus),
        rule("bridge.no-window", CONFIG, function -> !function.passesMemory() && !function.isVirtual()).with(PciFunction::called),
        rule("bridge.reset", CONFIG, function -> function.has(BRIDGE_CONTROL, SECONDARY_RESET)).with(PciFunction::called),
        rule("bridge.slot-off", CONFIG, function -> function.slot(1) && (function.register(EXPRESS, 0x18) >> 10 & 1) != 0)
            .with(PciFunction::called).otherwise(),
        // Some ports detect nothing while their link is up (pciehp_card_present_or_link_active()).
        rule("bridge.slot-empty", CONFIG, function -> function.slot(6) && (function.register(EXPRESS, 0x1a) >> 6 & 1) == 0 && !function.isLinkUp())
            .with(PciFunction::called).otherwise(),
        rule("bridge.link-down", CONFIG, function -> function.reportsLink() && !function.isLinkUp()).with(PciFunction::called).otherwise());

    private static final Fact<PciFunction, KernelLog.Recent> NO_RESET = logged(KernelLog.LONG_SECONDS, "not ready \\d{1,9}ms after [^;]{1,40}; giving up");
    private static final Fact<PciFunction, KernelLog.Recent> NO_RECOVERY =
        logged(KernelLog.LONG_SECONDS, "subordinate device reset failed|Unable to change power state .{1,40} device inaccessible");
    private static final Fact<PciFunction, KernelLog.Recent> BLOCKED =
        logged(KernelLog.SHORT_SECONDS, "IO_PAGE_FAULT .*flags=0x\\w{0,8}[0-7]\\]|INVALID_DEVICE_REQUEST|event: F_\\w{1,30} client|\\[DMA [^]]{1,40}\\]");
    private static final Fact<PciFunction, KernelLog.Recent> NO_INVALIDATION =
        logged(KernelLog.LONG_SECONDS, "Time-out Error: SID|IOTLB_INV_TIMEOUT");
    /** mlx5, ice, i40e, bnxt, qed, NVIDIA, whose errors 79, 119, 120, 143 and 154 are those of its bus and firmware. */
    private static final Fact<PciFunction, KernelLog.Recent> GIVEN_UP = logged(
        KernelLog.LONG_SECONDS, "health recovery (failed|flow aborted)|health compromised|Fatal error \\d+ detected|[Rr]ebuild failed|unload and reload"
            + "|fallen off the bus|[Ff]irmware (hang|assert|has crashed|not responding)|FW (hang|assert)|Xid .*: (79|119|120|143|154),(?!.*\\(None\\)$)");
    private static final Fact<PciFunction, KernelLog.Recent> UNCORRECTED =
        logged(KernelLog.LONG_SECONDS, "severity=Uncorrect|AER: (Multiple )?Uncorrect|AER: aer_uncor_severity:");
    private static final Fact<PciFunction, KernelLog.Recent> PULLED =
        logged(KernelLog.LONG_SECONDS, "pciehp: Slot\\([^)]{1,20}\\): (Card not present|Power fault)");
    private static final Fact<PciFunction, KernelLog.Recent> WANTED =
        logged(KernelLog.LONG_SECONDS, "Relaying device request to user|No device request channel registered");
    private static final Fact<PciFunction, KernelLog.Recent> NO_BYPASS =
        logged(KernelLog.BOOT_SECONDS, "irq bypass (producer|consumer) .{1,60} fails");
    private static final Fact<PciFunction, KernelLog.Recent> CORRECTS =
        logged(KernelLog.SHORT_SECONDS, "Correctable error|[Cc]orrected error|severity=Correct");
    private static final Fact<PciFunction, KernelLog.Recent> STOPPED = new Fact<>(KernelLog.FILE, function ->
        Fact.of(function.virtualNumber()).then(number -> Fact.of(function.host().log().recent(KernelLog.LONG_SECONDS,
        function.host().began(function.device().address()), Pattern.compile("(issue detected on|MDD event\\w* on|Malicious .{1,80}|MDD.{1,80}) VF " + number
        + "\\b"), function.address()))));

    /** An older report is only quoted. A burst is usual while a device is reset. */
    private static final Table<PciFunction> LOGGED = new Table<>(
        reported("function.no-reset", NO_RESET),
        reported("function.no-recovery", NO_RECOVERY).otherwise(),
        reported("function.given-up", GIVEN_UP).otherwise(),
        reported("function.error-reported", UNCORRECTED).otherwise(),
        rule("bridge.card-gone", PULLED, function -> function.device().config().isGone())
            .with(PciFunction::called, function -> PULLED.in(function).ago(), function -> PULLED.in(function).text())
            .on("bridges", function -> !function.isDevice()),
        reported("physical-function.stopped-it", STOPPED)
            .on("physical functions", function -> !function.isDevice()),
        rule("device.wanted-back", WANTED, function -> true)
            .with(function -> WANTED.in(function).ago(), function -> WANTED.in(function).text()).on("the device", PciFunction::isDevice),
        rule("device.not-bypassed", NO_BYPASS, function -> true)
            .with(function -> NO_BYPASS.in(function).text()).on("the device", PciFunction::isDevice),
        rule("device.dma-blocked", BLOCKED, function -> BLOCKED.in(function).isLasting())
            .with(function -> BLOCKED.in(function).count(), function -> BLOCKED.in(function).ago(), function -> BLOCKED.in(function).text())
            .on("the device", PciFunction::isDevice),
        rule("device.no-invalidation", NO_INVALIDATION, function -> true)
            .with(function -> NO_INVALIDATION.in(function).ago(), function -> NO_INVALIDATION.in(function).text())
            .on("the device", PciFunction::isDevice));

    /** A device of which guests have parts: whatever breaks it breaks its parts. */
    static final Fact<PciFunction, Link> PARENT = new Fact<>(PciFunction.CONFIG.file(), function ->
        CONFIG.of(function).then(capabilities -> new DeviceRules(function.host(), function.device(), true).parent()));

    /** While SR-IOV is off, a virtual function sends nothing. */
    private static final Table<PciFunction> PHYSICAL = new Table<>(
        rule("physical-function.no-driver", PciFunction.DRIVER, function -> PciFunction.DRIVER.in(function).isEmpty())
            .with(PciFunction::called),
        rule("physical-function.token", PciFunction.DRIVER,
            function -> PciFunction.DRIVER.in(function).equals("vfio-pci") && !function.held()).with(PciFunction::called),
        rule("physical-function.no-carrier", CARRIER, function -> !CARRIER.in(function).isEmpty())
            .with(CARRIER::in, PciFunction::called),
        rule("physical-function.no-virtual", VFS, function -> VFS.in(function).equals("0")).with(PciFunction::called)
            .fill(function -> function.path(VFS.file()), DeviceRules::virtualFunctions, function -> function.path(VFS.file())),
        rule("physical-function.virtual-off", CONFIG,
            function -> (function.extended(VIRTUALIZATION, 8).orElse(VF_ENABLE) & VF_ENABLE) == 0).with(PciFunction::called)
            .fill(function -> function.path(VFS.file()), DeviceRules::virtualFunctions, function -> function.path(VFS.file())).otherwise(),
        rule("physical-function.memory-off", CONFIG,
            function -> (function.extended(VIRTUALIZATION, 8).orElse(VF_MEMORY) & VF_MEMORY) == 0).with(PciFunction::called)
            .fill(function -> function.path(VFS.file()), DeviceRules::virtualFunctions, function -> function.path(VFS.file())).otherwise());

    /** The counts begin at the boot of the host, so they prove nothing alone. */
    private static final Table<PciFunction> ERRORS = new Table<>(
        rule("function.fatal-errors", FATAL, function -> !FATAL.in(function).isEmpty()).with(PciFunction::called, FATAL::in)
            .counting(FATAL::in),
        rule("device.nonfatal-errors", NONFATAL, function -> !NONFATAL.in(function).isEmpty()).with(PciFunction::called, NONFATAL::in)
            .counting(NONFATAL::in)
            .on("the device", PciFunction::isDevice),
        rule("function.corrects", CORRECTS, PciFunction::isCorrecting)
            .and(CORRECTED).with(PciFunction::called, CORRECTED::in, function -> CORRECTS.in(function).ago()),
        rule("function.corrected", CORRECTED, PciFunction::isCorrecting)
            .with(PciFunction::called, CORRECTED::in).counting(CORRECTED::in).otherwise(),
        rule("function.fatal-detected", CONFIG,
            function -> FATAL.of(function).known().isEmpty() && (function.register(EXPRESS, 0xa) & 4) != 0 && !function.config().isGone())
            .with(PciFunction::called));
    // spotless:on

    /** The rules of a device, and of the functions that it depends on. */
    public static final List<Table<PciFunction>> TABLES = List.of(
            CONTAINED, POWER, ANSWERS, BRIDGE, DEVICE, PHYSICAL, ERRORS, LOGGED, UNARMED, FORBIDDEN, ARMED, OF_MSIX,
            OF_MSI, OF_PIN);

    private final PciFunction function;
    /** The step that shows which interrupts are armed; empty if that is shown. */
    private final Optional<Known.Unknown<Boolean>> unarmed;

    private final Flaws flaws;

    /** The rules of a device. One that no program holds may sleep. */
    public static DeviceRules read(HostFacts host, PciDevice device) {
        // A VM with the group may use another device of it.
        boolean open = !host.users(device).isEmpty()
                && host.vms().ofGroup(device.address()).isEmpty();
        boolean held = !host.vms().using(device.address()).isEmpty()
                || open
                || !host.armed(device.address()).isEmpty();
        return new DeviceRules(host, device, held);
    }

    /** The link of a device itself, the worst of its interrupts. */
    public static Link link(HostFacts host, PciDevice device) {
        DeviceRules rules = read(host, device);
        List<Link> links = host.armed(device.address()).stream()
                .map(vector -> rules.link(vector.kind(), vector.vector()))
                .toList();
        return Stream.of(Link.State.BROKEN, Link.State.DOUBTFUL, Link.State.NOT_SHOWN)
                .flatMap(state -> links.stream().filter(link -> link.state() == state))
                .findFirst()
                .orElseGet(() -> links.isEmpty() ? rules.idle() : links.get(0));
    }

    /**
     * @param held whether a process has the device open, or VFIO has armed an interrupt of it; an unused device may
     *     sleep
     */
    private DeviceRules(HostFacts host, PciDevice device, boolean held) {
        this.function = PciFunction.read(host, device, device.address(), held);
        this.unarmed = host.interrupts().isPresent() ? Optional.empty() : Optional.of(host.noInterrupts());
        this.flaws = new Flaws();
        // A device below one that is down does not respond.
        List<PciFunction> bridges = (held ? flaws.ask(function, BRIDGES) : Optional.<List<PciAddress>>empty())
                .orElse(List.of()).stream()
                        .map(address -> PciFunction.read(host, device, address, true))
                        .toList();
        for (PciFunction bridge : bridges) {
            if (!flaws.apply(bridge, CONTAINED).has("bridge.contained")) {
                check(bridge, BRIDGE);
            }
        }
        check(function, DEVICE);
        flaws.requireSeen(function, DRIVER_LINK);
        host.files()
                .linkName(DEVICES + device.address() + "/physfn")
                .flatMap(PciDevice::addressOf)
                .map(physical -> PciFunction.read(host, device, physical, held))
                .ifPresent(physical -> {
                    check(physical, PHYSICAL);
                    flaws.apply(physical, LOGGED);
                });
        flaws.apply(function, ERRORS);
        bridges.forEach(bridge -> flaws.apply(bridge, ERRORS));
        if (held) {
            flaws.apply(function, LOGGED);
            bridges.forEach(bridge -> flaws.apply(bridge, LOGGED));
        }
    }

    /** A report of the kernel's log about the function. */
    private static Fact<PciFunction, KernelLog.Recent> logged(int within, String kind) {
        Pattern pattern = Pattern.compile(kind);
        return new Fact<>(
                KernelLog.FILE,
                function -> Fact.of(function.host()
                        .log()
                        .recent(
                                within,
                                function.host().began(function.device().address()),
                                pattern,
                                function.address())));
    }

    /** Reads no configuration space that wakes the function, or whose bridge is broken. */
    private void check(PciFunction function, Table<PciFunction> others) {
        flaws.requireSeen(function, POWER_STATE);
        flaws.requireSeen(function, RUNTIME);
        if (!flaws.apply(function, POWER).isBroken()
                && !flaws.apply(function, ANSWERS).isBroken()
                && CONFIG.is(function, value -> true)) {
            flaws.apply(function, others);
        }
    }

    /** A rule of a function that holds while a report is of now. */
    private static Rule<PciFunction> reported(String id, Fact<PciFunction, KernelLog.Recent> report) {
        return rule(id, report, function -> true)
                .with(PciFunction::called, function -> report.in(function).ago(), function -> report.in(function)
                        .text());
    }

    private static List<Remedy> release(PciFunction function) {
        String holders = HOLDERS.in(function);
        return holders.contains("simple")
                ? List.of(Rows.remedy("@unbind-screen"), Rows.remedy("@no-screen"))
                : holders.contains("fb") ? List.of(Rows.remedy("@no-screen")) : List.of(Rows.remedy("@holder"));
    }

    /** How many virtual functions a physical function has or had: those that sysfs shows, if it has none now. */
    private static long virtualFunctions(PciFunction function) {
        long seen = function.files().list("sys/bus/pci/devices").stream()
                .filter(name -> function.files()
                        .linkName(DEVICES + name + "/physfn")
                        .filter(function.address().toString()::equals)
                        .isPresent())
                .count();
        return VFS.of(function)
                .known()
                .map(Long::valueOf)
                .filter(count -> count > 0)
                .orElse(seen);
    }

    private static Remedy wake(PciFunction function) {
        return Rows.remedy(function.isDevice() ? "@wake" : "@wake-bridge", function.address());
    }

    /** The link of an interrupt that VFIO has armed. */
    public Link link(IrqKind kind, int vector) {
        Flaws own = flaws.copy();
        PciFunction armed = function.armed(kind, vector);
        if (!own.isBroken() && !function.config().isGone()) {
            switch (kind) {
                case INTX -> own.apply(armed, ARMED).apply(armed, OF_PIN);
                case MSI -> own.apply(armed, ARMED).apply(armed, OF_MSI);
                case MSIX -> own.apply(armed, ARMED).apply(armed, OF_MSIX);
                case ERROR, REQUEST, PLATFORM -> {} // the device itself does not raise these
            }
        }
        return link(own);
    }

    /** The link of a device that its driver uses for parts of it. */
    private Known<Link> parent() {
        Flaws own = flaws.copy();
        PciFunction used = function.armed(IrqKind.MSIX, 0);
        own.apply(used, ARMED);
        Link link = link(own);
        return link.isFlawed() ? new Known.Observed<>(link) : own.incomplete();
    }

    /** The link of a device whose interrupt is not armed. */
    public Link idle() {
        Flaws own = flaws.copy();
        unarmed.ifPresent(own::unseen);
        own.apply(function, UNARMED).apply(function, FORBIDDEN);
        own.ask(function, PciFunction.BRIDGES).stream()
                .flatMap(List::stream)
                .map(address -> PciFunction.read(function.host(), function.device(), address, function.held()))
                .forEach(function -> own.apply(function, FORBIDDEN));
        return link(own);
    }

    private Link link(Flaws own) {
        return own.link(
                Hop.DEVICE,
                Evidence.observed("/" + DEVICES + function.address()),
                function.files().text(function.path(POWER_STATE.file())).orElse("PCI function"),
                "");
    }
}
