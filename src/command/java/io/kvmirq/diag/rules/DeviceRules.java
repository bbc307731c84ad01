/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static io.kvmirq.diag.rules.PciFunction.*;
import static io.kvmirq.diag.rules.Rule.broken;
import static io.kvmirq.diag.rules.Rule.doubt;
import static io.kvmirq.diag.rules.Rule.note;

import io.kvmirq.IrqKind;
import io.kvmirq.PciAddress;
import io.kvmirq.diag.rules.Rule.Table;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.path.Evidence;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Link;
import io.kvmirq.path.Remedy;
import io.kvmirq.path.Remedy.Change;
import io.kvmirq.path.Remedy.Takes;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * The rules of the device itself: whether it has power, responds, and may send an interrupt, and whether the bridges
 * above it pass the interrupt on. The masks in the MSI-X table are in a BAR, which is never opened. For one use by one
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

    private static final String BOTH = "MSI and MSI-X of the device are both on: which of them it sends is not defined";
    private static final Remedy DRIVER = Remedy.of(
            Change.COMMAND,
            "unload and load the device's driver in the guest, which sets the bit again",
            "the guest loses the device meanwhile");
    private static final Remedy BOOT = Remedy.of(Change.KERNEL_PARAMETER, "take it away, and boot again");
    private static final Remedy RESET = Remedy.of(
            Change.COMMAND,
            "restart the guest, which resets the device; if that fails, remove and rescan it, or power the slot off and on",
            Takes.VMM_RESTART,
            "the guest loses the device meanwhile");

    // spotless:off: tables
    /** Power is the first, because reading the configuration space of a device in D3cold wakes it. */
    private static final Table<PciFunction> POWER = new Table<>(Hop.DEVICE,
        doubt("function.suspended", RUNTIME, one -> one.held() && one.isAwake() && RUNTIME.in(one).equals("suspended"),
            "runtime power management has suspended %s, which is in use").and(PciFunction.POWER).with(PciFunction::called),
        doubt("function.suspend-failed", RUNTIME, one -> one.isAwake() && RUNTIME.in(one).equals("error"),
            "runtime power management of %s failed").and(PciFunction.POWER).with(PciFunction::called).otherwise(),
        doubt("function.power-unknown", PciFunction.POWER, one -> PciFunction.POWER.in(one).state().equals("error"),
            "the kernel does not know the power state of %s: error", RESET).with(PciFunction::called).otherwise(),
        broken("function.asleep", PciFunction.POWER, one -> one.held() && one.isAsleep(),
            "%s is in %s: in it a device sends no interrupt")
            .with(PciFunction::called, one -> PciFunction.POWER.in(one).state()).remedy(DeviceRules::wake),
        note("function.sleeps", PciFunction.POWER, one -> !one.held() && one.isAsleep(), "%s sleeps, as nothing uses it")
            .with(PciFunction::called));

    private static final Table<PciFunction> ANSWERS = new Table<>(Hop.DEVICE,
        broken("function.retry", CONFIG, one -> one.word(0) == 1 && one.word(2) == 0xffff, "%s answers with Configuration"
            + " Request Retry Status: it is in a reset, or not ready", RESET).with(PciFunction::called),
        broken("function.gone", CONFIG, one -> one.config().isGone(), "%s does not answer: its configuration space reads"
            + " as ones, as of one that fell off the bus, hangs, or has lost its power", RESET).with(PciFunction::called),
        broken("function.zeros", CONFIG, PciFunction::isZero, "the configuration space of %s reads as zeros:"
            + " no device has the vendor 0000, so it is in a reset, or a bridge above it hangs", RESET)
            .with(PciFunction::called).otherwise(),
        note("function.answers", CAPABILITIES, PciFunction::isDevice, "answers").otherwise());

    private static final Table<PciFunction> DEVICE = new Table<>(Hop.DEVICE,
        doubt("device.another-answers", CONFIG, one -> one.word(0) != one.device().vendor()
            || one.word(2) != one.device().device(), "the configuration space names %04x:%04x, and sysfs %04x:%04x: another"
            + " device answers", RESET).with(one -> one.word(0), one -> one.word(2), one -> one.device().vendor(),
            one -> one.device().device()).and(ID).on("no virtual function", one -> !one.isVirtual()),
        broken("device.link-down", CONFIG, one -> one.hasLink() && (one.width(0x12) == 0
            || one.files().text(one.path(DEVICES + "{function}/current_link_width")).filter("0"::equals).isPresent()),
            "the PCI Express link of the device is down: its width is 0", RESET).on("in use", one -> one.held()),
        note("device.link-narrow", CONFIG, one -> one.hasLink() && one.width(0x12) > 0 && one.width(0x12) < one.width(0xc),
            "its link has %d of %d lanes").with(one -> one.width(0x12), one -> one.width(0xc)),
        doubt("device.console", SCREEN, one -> !SCREEN.in(one).isEmpty(), "the console of the host draws on the device (/proc/fb: %s): the kernel keeps its BAR, so no VMM can map it",
            Remedy.of(Change.KERNEL_PARAMETER, "add initcall_blacklist=sysfb_init (before Linux 6.0 video=efifb:off), and boot"
            + " again", "the host has no console on its screen")).with(SCREEN::in).and(FIRST_SCREEN)
            .on("VFIO's", one -> one.device().isBoundToVfio()),
        doubt("device.no-interrupt", CONFIG, one -> one.word(INTERRUPT_LINE) >> 8 != 0 && one.device().irq() == 0
            && one.config().isComplete() && one.config().capability(MSIX) + one.config().capability(PciFunction.MSI) == 0,
            "the device can raise no interrupt: the firmware gave its pin no host irq, and it has neither MSI nor MSI-X",
            Remedy.of(Change.FIRMWARE, "give the slot an interrupt, or move the device to another slot")),
        doubt("device.override", OVERRIDE, one -> one.device().override().filter(only -> !only.equals(one.driver()))
            .isPresent(), "driver_override names %s, and %s is bound: the next probe binds another driver")
            .with(one -> one.device().override().get(), PciFunction::driver).remedy(one -> command("echo " + one.driver()
            + " > /" + one.path(OVERRIDE.file()), Takes.LIVE)).on("VFIO's", one -> one.device().isBoundToVfio()));

    private static final Table<PciFunction> UNARMED = new Table<>(Hop.DEVICE,
        broken("device.no-messages", CMDLINE, one -> CMDLINE.in(one).matches("(.* )?pci=(\\S*,)?nomsi(,.*| .*|)"),
            "the kernel's command line has pci=nomsi: it gives no device MSI or MSI-X", BOOT)
            .on("MSI", one -> one.config().capability(MSIX) + one.config().capability(PciFunction.MSI) > 0),
        broken("device.no-lpis", CMDLINE, one -> CMDLINE.in(one).matches("(.* )?irqchip\\.gicv3_nolpi(=[1yY].*| .*|)"),
            "the kernel's command line has irqchip.gicv3_nolpi: the host has no LPIs, so no device has MSI or MSI-X", BOOT)
            .on("arm64", one -> one.host().isArm()));

    /** Of the device and of each bridge above it. */
    private static final Table<PciFunction> FORBIDDEN = new Table<>(Hop.DEVICE,
        broken("device.msi-forbidden", MSI_ALLOWED, one -> MSI_ALLOWED.in(one).equals("0"),
            "msi_bus of %s is 0: the kernel gives the device no MSI and no MSI-X").with(PciFunction::called).remedy(one ->
            command("echo 1 > /" + one.path(MSI_ALLOWED.file()) + ", then restart the guest", Takes.VMM_RESTART)));

    private static final Table<PciFunction> ARMED = new Table<>(Hop.DEVICE,
        doubt("device.disabled", ENABLED, one -> ENABLED.in(one).equals("0"),
            "the host has disabled the device, though VFIO has armed it", RESET),
        broken("device.no-bar", CONFIG, PciFunction::hasNoBar,
            "all BARs of the device are 0, as after a reset: its registers cannot be accessed", RESET),
        broken("device.memory-off", CONFIG, one -> one.hasMemory() && !one.has(COMMAND, MEMORY),
            "memory decoding of the device is off (COMMAND.Memory is 0): its registers cannot be accessed", DRIVER),
        broken("device.bus-master-off", CONFIG, one -> !one.has(COMMAND, MASTER),
            "bus mastering of the device is off (COMMAND.Bus Master is 0): it sends no message", DRIVER)
            .on("MSI", PciFunction::sends));

    private static final Table<PciFunction> OF_MSIX = new Table<>(Hop.DEVICE,
        doubt("device.no-msix", CAPABILITIES, one -> one.config().capability(MSIX) == 0,
            "VFIO has armed MSI-X, and the device shows no such capability"),
        broken("device.msix-off", CAPABILITIES, one -> (one.of(MSIX, 2) & MSIX_ENABLE) == 0,
            "MSI-X of the device is off (Enable is 0), though VFIO has armed it", DRIVER).otherwise(),
        broken("device.msix-masked", CAPABILITIES, one -> (one.of(MSIX, 2) & MSIX_MASKED) != 0,
            "the function mask of MSI-X is set in the device: it holds all its vectors back", DRIVER).otherwise(),
        broken("device.msix-short", CAPABILITIES, one -> one.vector() >= one.config().msixVectors(), "MSI-X of the device has"
            + " %d vector%s, and VFIO has armed MSI-X %d: it is another device, or was changed", RESET).otherwise()
            .with(one -> one.config().msixVectors(), one -> one.config().msixVectors() == 1 ? "" : "s", one -> one.vector()),
        doubt("device.both-on", CAPABILITIES, one -> (one.of(PciFunction.MSI, 2) & 1) != 0, BOTH, DRIVER).otherwise(),
        note("device.may-send-msix", CAPABILITIES, one -> true,
            "may send MSI-X; the mask of each vector, which is in a BAR, is not looked at").otherwise());

    private static final Table<PciFunction> OF_MSI = new Table<>(Hop.DEVICE,
        doubt("device.no-msi", CAPABILITIES, one -> one.config().capability(PciFunction.MSI) == 0,
            "VFIO has armed MSI, and the device shows no such capability"),
        broken("device.msi-off", CAPABILITIES, one -> (one.of(PciFunction.MSI, 2) & 1) == 0,
            "MSI of the device is off (Enable is 0), though VFIO has armed it", DRIVER).otherwise(),
        broken("device.msi-to-memory", CAPABILITIES, one -> !HostIrqRules.reachesCpu(one.host().isArm(), one.messageAddress()),
            "the address of MSI is 0x%x in the device: it writes its messages to memory, and not to a CPU", DRIVER)
            .with(PciFunction::messageAddress).otherwise(),
        broken("device.msi-short", CAPABILITIES, one -> one.vector() >= one.messages(), "MSI of the device sends %d vectors"
            + " (Multiple Message Enable), and VFIO has armed MSI %d", DRIVER)
            .with(PciFunction::messages, one -> one.vector()).otherwise(),
        broken("device.msi-masked", CAPABILITIES, one -> one.hasMasks() && one.isSet(0), "MSI %d is masked in the device%s",
            DRIVER).with(one -> one.vector(), one -> one.isSet(4) ? ", and one of it is pending" : "").otherwise(),
        doubt("device.both-on-msi", CAPABILITIES, one -> (one.of(MSIX, 2) & MSIX_ENABLE) != 0, BOTH, DRIVER).otherwise(),
        note("device.may-send-msi", CAPABILITIES, one -> true, "may send MSI%s")
            .with(one -> one.hasMasks() ? ", vector " + one.vector() + " is not masked" : "").otherwise());

    private static final Table<PciFunction> OF_PIN = new Table<>(Hop.DEVICE,
        doubt("device.no-pin", CONFIG, one -> one.word(INTERRUPT_LINE) >> 8 == 0,
            "the device has no pin (Interrupt Pin is 0), and VFIO has armed it: another device answers", RESET),
        broken("device.sends-messages", CONFIG, one -> (one.of(MSIX, 2) & MSIX_ENABLE | one.of(PciFunction.MSI, 2) & 1) != 0,
            "the device sends messages (MSI or MSI-X is on), and VFIO has armed its pin", DRIVER),
        note("device.pin-waits", CONFIG, one -> one.has(COMMAND, DIS_INTX) && one.has(STATUS, INTX_PENDING), "its pin is"
            + " masked while an interrupt waits (STATUS.Interrupt is 1): VFIO waits for the guest's EOI, which comes in a"
            + " moment; if it is so again, let the guest's driver handle the interrupt").otherwise(),
        doubt("device.pin-masked", CONFIG, one -> one.has(COMMAND, DIS_INTX), "the pin of the device is masked"
            + " (COMMAND.DisINTx is 1): right only while the guest handles an interrupt, or masks it").otherwise(),
        note("device.pin-on", CONFIG, one -> true, "its pin is not masked%s")
            .with(one -> one.has(STATUS, INTX_PENDING) ? ", and it asserts it" : "").otherwise(),
        doubt("device.no-dma", CONFIG, one -> !one.has(COMMAND, MASTER),
            "bus mastering of the device is off: it reads and writes no memory", DRIVER));

    private static final Table<PciFunction> CONTAINED = new Table<>(Hop.DEVICE,
        broken("bridge.contained", EXTENDED, one -> (one.extended(CONTAINMENT, 8).orElse(0)
            & 1) != 0, "%s has triggered DPC: it took the link to the device down after an error that cannot be corrected",
            Remedy.look("dmesg | grep -i -e dpc -e aer"), RESET).with(PciFunction::called));

    private static final Table<PciFunction> BRIDGE = new Table<>(Hop.DEVICE,
        broken("bridge.bus-master-off", CONFIG, one -> !one.has(COMMAND, MASTER),
            "%s has bus mastering off: it passes no message of the device on").with(PciFunction::called)
            .remedy(one -> command("setpci -s " + one.address() + " COMMAND=4:4", Takes.LIVE)),
        broken("bridge.memory-off", CONFIG, one -> !one.has(COMMAND, MEMORY),
            "%s has memory decoding off: the device's registers cannot be accessed").with(PciFunction::called)
            .remedy(one -> command("setpci -s " + one.address() + " COMMAND=2:2", Takes.LIVE)).otherwise(),
        doubt("bridge.other-buses", CONFIG, one -> one.firstBus() != 0
            && (one.bus() < one.firstBus() || one.bus() > one.lastBus()), "%s leads to the buses %d to %d, and the device is"
            + " on bus %d", RESET).with(PciFunction::called, PciFunction::firstBus, PciFunction::lastBus, PciFunction::bus),
        doubt("bridge.no-window", CONFIG, one -> !one.passesMemory() && !one.isVirtual(), "%s passes no memory (the limits"
            + " of its windows are below their bases): the device's registers cannot be accessed", RESET)
            .with(PciFunction::called),
        broken("bridge.reset", CONFIG, one -> one.has(BRIDGE_CONTROL, SECONDARY_RESET),
            "%s holds the bus of the device in reset", RESET).with(PciFunction::called),
        broken("bridge.slot-off", CONFIG, one -> one.slot(1) && (one.of(EXPRESS, 0x18) >> 10 & 1) != 0,
            "the slot below %s has its power switched off", RESET).with(PciFunction::called).otherwise(),
        // Some ports detect nothing while their link is up (pciehp_card_present_or_link_active()).
        broken("bridge.slot-empty", CONFIG, one -> one.slot(6) && (one.of(EXPRESS, 0x1a) >> 6 & 1) == 0 && !one.isLinkUp(),
            "the slot below %s is empty (Presence Detect State is 0)", RESET).with(PciFunction::called).otherwise(),
        broken("bridge.link-down", CONFIG, one -> one.reportsLink() && !one.isLinkUp(), "the link below %s is down", RESET)
            .with(PciFunction::called).otherwise());

    /** While SR-IOV is off, a virtual function sends nothing. */
    private static final Table<PciFunction> PHYSICAL = new Table<>(Hop.DEVICE,
        doubt("physical-function.no-driver", PciFunction.DRIVER, one -> PciFunction.DRIVER.in(one).isEmpty(), "no driver is bound to %s: it serves the"
            + " mailbox and the link of its virtual functions", Remedy.command("bind the driver of the physical function"))
            .with(PciFunction::called),
        doubt("physical-function.token", PciFunction.DRIVER, one -> PciFunction.DRIVER.in(one).equals("vfio-pci") && !one.held(),
            "%s is bound to vfio-pci: VFIO opens a virtual function of it only with the token of the program that has it",
            Remedy.of(Change.VMM_FLAG, "give the VMM the same token (QEMU: -device vfio-pci,...,vf-token=UUID)"))
            .with(PciFunction::called),
        doubt("physical-function.no-carrier", CARRIER, one -> !CARRIER.in(one).isEmpty(), "the network %s of %s has no carrier: its"
            + " virtual functions get no packet from outside", Remedy.look("look at cable and switch: ethtool of the network"))
            .with(CARRIER::in, PciFunction::called),
        broken("physical-function.no-virtual", VFS, one -> VFS.in(one).equals("0"),
            "%s has no virtual functions any more: sriov_numvfs is 0").with(PciFunction::called).remedy(DeviceRules::again),
        broken("physical-function.virtual-off", CONFIG, one -> (one.extended(VIRTUALIZATION, 8).orElse(VF_ENABLE)
            & VF_ENABLE) == 0, "%s has SR-IOV off (VF Enable is 0): its virtual functions do not answer")
            .with(PciFunction::called).remedy(DeviceRules::again).otherwise(),
        broken("physical-function.memory-off", CONFIG, one -> (one.extended(VIRTUALIZATION, 8).orElse(VF_MEMORY)
            & VF_MEMORY) == 0, "%s has memory decoding of its virtual functions off (VF MSE is 0): the device's registers"
            + " cannot be accessed").with(PciFunction::called).remedy(DeviceRules::again).otherwise());

    /** The counts begin at the boot of the host, so they prove nothing alone. */
    private static final Table<PciFunction> ERRORS = new Table<>(Hop.DEVICE,
        doubt("function.fatal-errors", FATAL, one -> !FATAL.in(one).isEmpty(),
            "%s has reported %s fatal errors (AER) since the host booted", Remedy.look("dmesg | grep -i aer"))
            .with(PciFunction::called, FATAL::in).ever(),
        doubt("device.nonfatal-errors", NONFATAL, one -> !NONFATAL.in(one).isEmpty(),
            "%s has reported %s nonfatal errors (AER) since the host booted", Remedy.look("dmesg | grep -i aer"))
            .with(PciFunction::called, NONFATAL::in).ever().on("the device", PciFunction::isDevice),
        doubt("function.fatal-detected", CONFIG, one -> FATAL.of(one).known().isEmpty() && (one.of(EXPRESS, 0xa) & 4) != 0
            && !one.config().isGone(), "%s has detected a fatal error (Device Status), and has no AER that tells which",
            Remedy.look("dmesg | grep -i pcie")).with(PciFunction::called).ever());
    // spotless:on

    /** The rules of a device, and of the functions that it depends on. */
    public static final List<Table<PciFunction>> TABLES = List.of(
            CONTAINED, POWER, ANSWERS, BRIDGE, DEVICE, PHYSICAL, ERRORS, UNARMED, FORBIDDEN, ARMED, OF_MSIX, OF_MSI,
            OF_PIN);

    private final PciFunction function;
    /** The step that shows which interrupts are armed; empty if that is shown. */
    private final Optional<String> unarmed;

    private final Flaws flaws;

    /** The rules of a device. One that no program holds may sleep. */
    public static DeviceRules of(HostFacts host, PciDevice device) {
        // A VM with the group may use another device of it.
        boolean open = !host.users(device).isEmpty()
                && host.vms().ofGroup(device.address()).isEmpty();
        boolean held = !host.vms().of(device.address()).isEmpty()
                || open
                || !host.armed(device.address()).isEmpty();
        return new DeviceRules(host, device, held);
    }

    /** The link of a device itself, the worst of its interrupts. */
    public static Link link(HostFacts host, PciDevice device) {
        DeviceRules rules = of(host, device);
        List<Link> links = host.armed(device.address()).stream()
                .map(vector -> rules.of(vector.kind(), vector.vector()))
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
        this.function = PciFunction.of(host, device, device.address(), held);
        this.unarmed = host.interrupts().isPresent() ? Optional.empty() : Optional.of(host.forInterrupts());
        this.flaws = new Flaws();
        // A device below one that is down does not respond.
        List<PciFunction> bridges = (held ? flaws.look(function, BRIDGES) : Optional.<List<PciAddress>>empty())
                .orElse(List.of()).stream()
                        .map(one -> PciFunction.of(host, device, one, true))
                        .toList();
        for (PciFunction bridge : bridges) {
            if (!flaws.apply(bridge, CONTAINED).has("bridge.contained")) {
                look(bridge, BRIDGE);
            }
        }
        look(function, DEVICE);
        host.files()
                .linkName(DEVICES + device.address() + "/physfn")
                .flatMap(PciDevice::addressOf)
                .ifPresent(physical -> look(PciFunction.of(host, device, physical, held), PHYSICAL));
        flaws.apply(function, ERRORS);
        bridges.forEach(bridge -> flaws.apply(bridge, ERRORS));
    }

    /** Reads no configuration space that wakes the function, or whose bridge is broken. */
    private void look(PciFunction one, Table<PciFunction> others) {
        flaws.requireSeen(one, POWER_STATE);
        flaws.requireSeen(one, RUNTIME);
        if (!flaws.apply(one, POWER).isBroken()
                && !flaws.apply(one, ANSWERS).isBroken()
                && CONFIG.is(one, any -> true)) {
            flaws.apply(one, others);
        }
    }

    private static Remedy wake(PciFunction one) {
        return command(
                (one.isDevice()
                                ? "let the guest's driver wake the device (in a Linux guest: echo on > its power/control), or"
                                        + " the host: "
                                : "")
                        + "echo on > /" + DEVICES + one.address() + "/power/control",
                Takes.LIVE);
    }

    private static Remedy again(PciFunction physical) {
        return command("stop the guest, then: echo N > /" + physical.path(VFS.file()), Takes.VMM_RESTART);
    }

    private static Remedy command(String text, Takes takes) {
        return Remedy.of(Change.COMMAND, text, takes, "");
    }

    /** The link of an interrupt that VFIO has armed. */
    public Link of(IrqKind kind, int vector) {
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

    /** The link of a device whose interrupt is not armed. */
    public Link idle() {
        Flaws own = flaws.copy();
        unarmed.ifPresent(remedy -> own.unseen("/proc/interrupts cannot be read", remedy));
        own.apply(function, UNARMED).apply(function, FORBIDDEN);
        own.look(function, PciFunction.BRIDGES).stream()
                .flatMap(List::stream)
                .map(one -> PciFunction.of(function.host(), function.device(), one, function.held()))
                .forEach(one -> own.apply(one, FORBIDDEN));
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
