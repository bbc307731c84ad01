/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.Remedy.Takes;
import io.kvmirq.host.facts.PciCapabilities;
import io.kvmirq.host.facts.PciDevice;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.Stream;

/**
 * Checks of the functions that a device depends on: the bridges above it, and the physical function of a virtual one.
 * For one use by one thread.
 *
 * <p>Source: PCI-to-PCI Bridge Architecture Specification 1.2, 3.2; PCI Express Base Specification, 7.5; pci_regs.h.
 */
final class BridgeLooks {
    private static final String DEVICES = DeviceLink.DEVICES;

    /** The word also has the bus above it. */
    private static final int SECONDARY_BUS = 0x18;

    /** Base and limit of the addresses that a bridge passes on. */
    private static final int MEMORY_WINDOW = 0x20;

    private static final int PREFETCHED_WINDOW = 0x24;
    /** The upper halves of the 64-bit base and limit. */
    private static final int PREFETCHED_UPPER = 0x28;

    /** The word has the programming interface above it. */
    private static final int REVISION = 8;

    private static final int SUBTRACTIVE = 1;
    private static final int BRIDGE_CONTROL = 0x3e;
    private static final int SECONDARY_RESET = 1 << 6;

    /** Extended capabilities: Single Root I/O Virtualization, Downstream Port Containment. */
    private static final int VIRTUALIZATION = 0x10;

    private static final int CONTAINMENT = 0x1d;
    private static final int VF_ENABLE = 1;
    private static final int VF_MEMORY = 1 << 3;

    private final HostFiles files;
    private final PciDevice device;
    private final Flaws looks;
    private final FunctionLooks functions;
    /** From the root down, as the path of the device in sysfs names them. */
    private final List<PciAddress> bridges;

    BridgeLooks(HostFiles files, PciDevice device, Flaws looks, FunctionLooks functions) {
        this.files = files;
        this.device = device;
        this.looks = looks;
        this.functions = functions;
        this.bridges = Stream.of(
                        files.link(DEVICES + device.address()).orElse("").split("/"))
                .flatMap(part -> PciDevice.addressOf(part).stream())
                .filter(one -> !one.equals(device.address()))
                .toList();
    }

    /** While SR-IOV is off, a virtual function sends nothing. */
    private void virtualization(PciAddress physical) {
        String directory = DEVICES + physical + "/";
        OptionalInt control = functions.extended(physical, VIRTUALIZATION, 8);
        Remedy again = FunctionLooks.command(
                "stop the guest, then: echo N > /" + directory + "sriov_numvfs", Takes.VMM_RESTART);
        if (looks.text(directory + "sriov_numvfs", text -> text.matches("\\d{1,5}"))
                .filter("0"::equals)
                .isPresent()) {
            looks.broken(
                    directory + "sriov_numvfs",
                    functions.name(physical) + " has no virtual functions any more: sriov_numvfs is 0",
                    again);
        } else if (control.isPresent() && (control.getAsInt() & VF_ENABLE) == 0) {
            looks.broken(
                    directory + "config",
                    functions.name(physical) + " has SR-IOV off (VF Enable is 0): its virtual functions do not answer",
                    again);
        } else if (control.isPresent() && (control.getAsInt() & VF_MEMORY) == 0) {
            looks.broken(
                    directory + "config",
                    functions.name(physical)
                            + " has memory decoding of its virtual functions off (VF MSE is 0): the device's"
                            + " registers cannot be accessed",
                    again);
        }
    }

    /** Checks the bridges above the device. */
    void above() {
        bridges.forEach(this::bridge);
    }

    /** Checks the bridges' counts of fatal errors. */
    void errors() {
        bridges.forEach(bridge -> functions.errors(bridge, "fatal"));
    }

    /** Checks the physical function of a virtual one. */
    void physicalFunction() {
        files.linkName(DEVICES + device.address() + "/physfn")
                .flatMap(PciDevice::addressOf)
                .ifPresent(physical -> {
                    PciCapabilities config = functions.config(physical);
                    if (functions.power(physical, config) && functions.answers(physical, config)) {
                        virtualization(physical);
                    }
                });
    }

    private void bridge(PciAddress of) {
        PciCapabilities config = functions.config(of);
        String file = DEVICES + of + "/config";
        if ((functions.extended(of, CONTAINMENT, 8).orElse(0) & 1) != 0) {
            looks.broken(
                    file,
                    functions.name(of)
                            + " has triggered DPC: it took the link to the device down after an error that cannot be"
                            + " corrected",
                    Remedy.look("dmesg | grep -i -e dpc -e aer"),
                    FunctionLooks.RESET);
            return;
        }
        if (!functions.power(of, config) || !functions.answers(of, config)) {
            return;
        }
        int command = config.word(DeviceLink.COMMAND);
        if ((command & DeviceLink.MASTER) == 0) {
            looks.broken(
                    file,
                    functions.name(of) + " has bus mastering off: it passes no message of the device on",
                    FunctionLooks.command("setpci -s " + of + " COMMAND=4:4", Takes.LIVE));
        } else if ((command & DeviceLink.MEMORY) == 0) {
            looks.broken(
                    file,
                    functions.name(of) + " has memory decoding off: the device's registers cannot be accessed",
                    FunctionLooks.command("setpci -s " + of + " COMMAND=2:2", Takes.LIVE));
        }
        int bus = device.address().requesterId() >> 8;
        int first = config.word(SECONDARY_BUS) >> 8;
        int last = config.word(SECONDARY_BUS + 2) & 0xff;
        if (first != 0 && (bus < first || bus > last)) {
            looks.doubt(
                    file,
                    functions.name(of) + " leads to the buses " + first + " to " + last + ", and the device is on bus "
                            + bus,
                    FunctionLooks.RESET);
        }
        if (!passesMemory(config) && !device.isVirtual()) {
            looks.doubt(
                    file,
                    functions.name(of) + " passes no memory (the limits of its windows are below their bases): the"
                            + " device's registers cannot be accessed",
                    FunctionLooks.RESET);
        }
        int at = config.capability(DeviceLink.EXPRESS);
        boolean slot = at != 0 && (config.word(at + 2) >> 8 & 1) != 0;
        int slots = slot ? config.word(at + 0x14) : 0;
        boolean reports = at != 0 && (config.word(at + 0xc + 2) >> 4 & 1) != 0;
        boolean active = reports && (config.word(at + 0x12) >> 13 & 1) != 0;
        if ((config.word(BRIDGE_CONTROL) & SECONDARY_RESET) != 0) {
            looks.broken(file, functions.name(of) + " holds the bus of the device in reset", FunctionLooks.RESET);
        } else if ((slots & 1 << 1) != 0 && (config.word(at + 0x18) >> 10 & 1) != 0) {
            looks.broken(
                    file, "the slot below " + functions.name(of) + " has its power switched off", FunctionLooks.RESET);
        } else if ((slots & 1 << 6) != 0 && (config.word(at + 0x1a) >> 6 & 1) == 0 && !active) {
            // Some ports detect nothing while their link is up (pciehp_card_present_or_link_active()).
            looks.broken(
                    file,
                    "the slot below " + functions.name(of) + " is empty (Presence Detect State is 0)",
                    FunctionLooks.RESET);
        } else if (reports && !active) {
            looks.broken(file, "the link below " + functions.name(of) + " is down", FunctionLooks.RESET);
        }
    }

    /** Whether a window is open. A bridge with subtractive decoding passes accesses that no other function claims. */
    private static boolean passesMemory(PciCapabilities config) {
        return config.word(MEMORY_WINDOW) >> 4 <= config.word(MEMORY_WINDOW + 2) >> 4
                || bound(config, PREFETCHED_WINDOW, PREFETCHED_UPPER)
                        <= bound(config, PREFETCHED_WINDOW + 2, PREFETCHED_UPPER + 4)
                || config.word(REVISION) >> 8 == SUBTRACTIVE;
    }

    private static long bound(PciCapabilities config, int lower, int upper) {
        boolean wide = (config.word(lower) & 0xf) == 1;
        long high = wide ? (long) config.word(upper + 2) << 16 | config.word(upper) : 0;
        return high << 12 | config.word(lower) >> 4;
    }
}
