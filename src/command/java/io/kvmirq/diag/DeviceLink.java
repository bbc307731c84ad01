/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.Remedy.Change;
import io.kvmirq.diag.Remedy.Takes;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciCapabilities;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.vfio.IrqKind;
import java.util.Optional;

/**
 * The link of the device itself: whether it has power, responds, and may send an interrupt, and whether the bridges
 * above it pass the interrupt on. The masks in the MSI-X table are in a BAR, which is never opened. For one use by one
 * thread.
 *
 * <p>Source: PCI Local Bus Specification 3.0, 6.2 and 6.8; PCI Express Base Specification, 7.5; pci_regs.h.
 */
final class DeviceLink {
    static final String DEVICES = "sys/bus/pci/devices/";

    static final int COMMAND = 4;
    static final int MEMORY = 1 << 1;
    static final int MASTER = 1 << 2;
    private static final int DIS_INTX = 1 << 10;
    private static final int STATUS = 6;
    private static final int INTX_PENDING = 1 << 3;
    private static final int FIRST_BAR = 0x10;
    private static final int AFTER_BARS = 0x28;
    /** The word also has the pin above it. */
    private static final int INTERRUPT_LINE = 0x3c;

    private static final int MSI = 5;
    static final int EXPRESS = 0x10;
    private static final int MSIX = 0x11;
    /** A bridge has the addresses in place of the BARs. */
    private static final int ENHANCED_ALLOCATION = 0x14;

    private static final int MSI_64_BITS = 1 << 7;
    private static final int MSI_MASKS = 1 << 8;
    private static final int MSIX_LAST = 0x7ff;
    private static final int MSIX_ENABLE = 1 << 15;
    private static final int MSIX_MASKED = 1 << 14;

    private static final String BOTH = "MSI and MSI-X of the device are both on: which of them it sends is not defined";

    private static final Remedy DRIVER = Remedy.of(
            Change.COMMAND,
            "unload and load the device's driver in the guest, which sets the bit again",
            "the guest loses the device meanwhile");

    private final HostFiles files;
    private final PciDevice device;
    private final boolean held;
    private final boolean arm;
    /** The step that shows which interrupts are armed; empty if that is shown. */
    private final Optional<String> unarmed;

    private final Flaws looks;
    private final FunctionLooks functions;

    /**
     * @param held whether a process has the device open, or VFIO has armed an interrupt of it; an unused device may
     *     sleep
     */
    DeviceLink(HostFacts host, PciDevice device, boolean held) {
        this.files = host.files();
        this.device = device;
        this.held = held;
        this.arm = host.isArm();
        this.unarmed = host.interrupts().isPresent() ? Optional.empty() : Optional.of(host.forInterrupts());
        this.looks = new Flaws(files);
        this.functions = new FunctionLooks(host, device, held, looks);
        // A device below a bridge that is down does not respond.
        BridgeLooks bridges = new BridgeLooks(files, device, looks, functions);
        if (held) {
            bridges.above();
        }
        PciCapabilities config = device.config();
        if (functions.power(device.address(), config) && functions.answers(device.address(), config)) {
            device(config);
        }
        bridges.physicalFunction();
        functions.errors(device.address(), "fatal");
        functions.errors(device.address(), "nonfatal");
        if (held) {
            bridges.errors();
        }
    }

    /** The link of an interrupt that VFIO has armed. */
    Link of(IrqKind kind, int vector) {
        Flaws own = looks.copy();
        if (!device.config().isGone() && !looks.isBroken()) {
            switch (kind) {
                case INTX -> pin(own, device.config());
                case MSI -> msi(own, device.config(), vector);
                case MSIX -> msix(own, device.config(), vector);
                case ERROR, REQUEST, PLATFORM -> {} // the device itself does not raise these
            }
        }
        return link(own);
    }

    /** The link of a device whose interrupt is not armed. */
    Link idle() {
        Flaws own = looks.copy();
        if (unarmed.isPresent()) {
            own.unseen("/proc/interrupts cannot be read", unarmed.get());
        }
        if (held
                && own.text(path() + "msi_bus", text -> text.matches("[01]"))
                        .filter("0"::equals)
                        .isPresent()) {
            own.broken(
                    path() + "msi_bus",
                    "msi_bus of the device is 0: the kernel gives it no MSI and no MSI-X",
                    FunctionLooks.command(
                            "echo 1 > /" + path() + "msi_bus, then restart the guest", Takes.VMM_RESTART));
        }
        return link(own);
    }

    private Link link(Flaws own) {
        return own.link(
                Hop.DEVICE,
                Evidence.observed("/" + DEVICES + device.address()),
                files.text(path() + "power_state").orElse("PCI function"),
                "");
    }

    private String path() {
        return DEVICES + device.address() + "/";
    }

    // The device

    private void device(PciCapabilities config) {
        if (!device.isVirtual()) {
            int vendor = config.word(0);
            int number = config.word(2);
            if (files.text(path() + "device")
                    .filter(text -> text.matches("0x[0-9a-f]{1,4}"))
                    .isEmpty()) {
                looks.absent(path() + "device");
            } else if (vendor != device.vendor() || number != device.device()) {
                looks.doubt(
                        path() + "config",
                        String.format(
                                "the configuration space names %04x:%04x, and sysfs %04x:%04x: another device answers",
                                vendor, number, device.vendor(), device.device()),
                        FunctionLooks.RESET);
            }
        }
        int at = config.capability(EXPRESS);
        // An endpoint that is not integrated in the root complex.
        // Link Status of a virtual function is reserved.
        if (held
                && !device.isVirtual()
                && at != 0
                && (config.word(at + 2) >> 4 & 0xf) <= 1
                && width(config, at + 0xc) > 0) {
            boolean down = width(config, at + 0x12) == 0
                    || files.text(path() + "current_link_width")
                            .filter("0"::equals)
                            .isPresent();
            if (down) {
                looks.broken(
                        path() + "config",
                        "the PCI Express link of the device is down: its width is 0",
                        FunctionLooks.RESET);
            }
        }
        if (device.isBoundToVfio()
                && looks.text(path() + "driver_override", text -> text.matches("\\(null\\)|[\\w.-]+"))
                        .isPresent()
                && device.override()
                        .filter(only -> !only.equals(device.driver().orElse("")))
                        .isPresent()) {
            looks.doubt(
                    path() + "driver_override",
                    "driver_override names " + device.override().get() + ", and "
                            + device.driver().orElse("no driver") + " is bound: the next probe binds another driver",
                    FunctionLooks.command(
                            "echo " + device.driver().orElse("vfio-pci") + " > /" + path() + "driver_override",
                            Takes.LIVE));
        }
    }

    private static int width(PciCapabilities config, int at) {
        return config.word(at) >> 4 & 0x3f;
    }

    /** Checks the needs of an armed interrupt of any kind. */
    private void registers(Flaws own, PciCapabilities config) {
        if (own.text(path() + "enable", text -> text.matches("\\d{1,9}"))
                .filter("0"::equals)
                .isPresent()) {
            own.doubt(
                    path() + "enable",
                    "the host has disabled the device, though VFIO has armed it",
                    FunctionLooks.RESET);
        }
        if (!config.isReadable()) {
            return;
        }
        boolean memory = false;
        boolean any = false;
        for (int bar = FIRST_BAR; bar < AFTER_BARS; bar += 4) {
            int low = config.word(bar);
            any |= (low | config.word(bar + 2)) != 0;
            memory |= (low & 1) == 0 && (low | config.word(bar + 2)) != 0;
        }
        // The BARs of a virtual function are 0, and its physical function enables its decoding.
        if (!any
                && !device.isVirtual()
                && config.capability(MSIX) != 0
                && config.capability(ENHANCED_ALLOCATION) == 0) {
            own.broken(
                    path() + "config",
                    "all BARs of the device are 0, as after a reset: its registers cannot be accessed",
                    FunctionLooks.RESET);
        }
        if (memory && !device.isVirtual() && (config.word(COMMAND) & MEMORY) == 0) {
            own.broken(
                    path() + "config",
                    "memory decoding of the device is off (COMMAND.Memory is 0): its registers cannot be accessed",
                    DRIVER);
        }
    }

    /** A message is a write to memory by the device. */
    private void message(Flaws own, PciCapabilities config) {
        registers(own, config);
        if (config.isReadable() && (config.word(COMMAND) & MASTER) == 0) {
            own.broken(
                    path() + "config",
                    "bus mastering of the device is off (COMMAND.Bus Master is 0): it sends no message",
                    DRIVER);
        }
    }

    private void msix(Flaws own, PciCapabilities config, int vector) {
        message(own, config);
        int at = config.capability(MSIX);
        int control = config.word(at + 2);
        int size = (control & MSIX_LAST) + 1;
        if (!config.isComplete()) {
            return;
        }
        if (at == 0) {
            own.doubt(path() + "config", "VFIO has armed MSI-X, and the device shows no such capability");
        } else if ((control & MSIX_ENABLE) == 0) {
            own.broken(path() + "config", "MSI-X of the device is off (Enable is 0), though VFIO has armed it", DRIVER);
        } else if ((control & MSIX_MASKED) != 0) {
            own.broken(
                    path() + "config",
                    "the function mask of MSI-X is set in the device: it holds all its vectors back",
                    DRIVER);
        } else if (vector >= size) {
            own.broken(
                    path() + "config",
                    "MSI-X of the device has " + size + (size == 1 ? " vector" : " vectors")
                            + ", and VFIO has armed MSI-X " + vector + ": it is another device, or was changed",
                    FunctionLooks.RESET);
        } else if (isOn(config, MSI, 1)) {
            own.doubt(path() + "config", BOTH, DRIVER);
        } else {
            own.fine("may send MSI-X; the mask of each vector, which is in a BAR, is not looked at");
        }
    }

    private void msi(Flaws own, PciCapabilities config, int vector) {
        message(own, config);
        int at = config.capability(MSI);
        int control = config.word(at + 2);
        if (!config.isComplete()) {
            return;
        }
        int masks = at + ((control & MSI_64_BITS) == 0 ? 0xc : 0x10);
        long high = (control & MSI_64_BITS) == 0 ? 0 : config.word(at + 8) | config.word(at + 10) << 16;
        long address = high << 32 | (long) config.word(at + 6) << 16 | config.word(at + 4);
        if (at == 0) {
            own.doubt(path() + "config", "VFIO has armed MSI, and the device shows no such capability");
        } else if ((control & 1) == 0) {
            own.broken(path() + "config", "MSI of the device is off (Enable is 0), though VFIO has armed it", DRIVER);
        } else if (!HostIrqRules.reachesCpu(arm, address)) {
            own.broken(
                    path() + "config",
                    String.format(
                            "the address of MSI is 0x%x in the device: it writes its messages to memory, and not to a CPU",
                            address),
                    DRIVER);
        } else if (vector >= 1 << (control >> 4 & 7)) {
            own.broken(
                    path() + "config",
                    "MSI of the device sends " + (1 << (control >> 4 & 7))
                            + " vectors (Multiple Message Enable), and VFIO has armed MSI " + vector,
                    DRIVER);
        } else if ((control & MSI_MASKS) != 0 && bit(config, masks, vector)) {
            own.broken(
                    path() + "config",
                    "MSI " + vector + " is masked in the device"
                            + (bit(config, masks + 4, vector) ? ", and one of it is pending" : ""),
                    DRIVER);
        } else if (isOn(config, MSIX, MSIX_ENABLE)) {
            own.doubt(path() + "config", BOTH, DRIVER);
        } else {
            own.fine("may send MSI" + ((control & MSI_MASKS) == 0 ? "" : ", vector " + vector + " is not masked"));
        }
    }

    private static boolean isOn(PciCapabilities config, int capability, int enable) {
        int at = config.capability(capability);
        return at != 0 && (config.word(at + 2) & enable) != 0;
    }

    private static boolean bit(PciCapabilities config, int at, int bit) {
        return (config.word(at + bit / 16 * 2) >> bit % 16 & 1) != 0;
    }

    private void pin(Flaws own, PciCapabilities config) {
        registers(own, config);
        if (!config.isReadable()) {
            return;
        }
        boolean pending = (config.word(STATUS) & INTX_PENDING) != 0;
        if (config.word(INTERRUPT_LINE) >> 8 == 0) {
            own.doubt(
                    path() + "config",
                    "the device has no pin (Interrupt Pin is 0), and VFIO has armed it: another device answers",
                    FunctionLooks.RESET);
        }
        if (isOn(config, MSIX, MSIX_ENABLE) || isOn(config, MSI, 1)) {
            own.broken(
                    path() + "config",
                    "the device sends messages (MSI or MSI-X is on), and VFIO has armed its pin",
                    DRIVER);
        } else if ((config.word(COMMAND) & DIS_INTX) != 0) {
            if (pending) {
                own.broken(
                        path() + "config",
                        "the pin of the device is masked (COMMAND.DisINTx is 1) while an interrupt waits"
                                + " (STATUS.Interrupt is 1): VFIO waits for the guest's EOI, or another program masked it",
                        FunctionLooks.command(
                                "look again: the guest ends it in a moment; if it stays, let the guest's driver handle the"
                                        + " interrupt, or unload and load it",
                                Takes.LIVE));
            } else {
                own.doubt(
                        path() + "config",
                        "the pin of the device is masked (COMMAND.DisINTx is 1): right only while the guest handles an"
                                + " interrupt, or masks it");
            }
        } else {
            own.fine("its pin is not masked" + (pending ? ", and it asserts it" : ""));
        }
        if ((config.word(COMMAND) & MASTER) == 0) {
            own.doubt(path() + "config", "bus mastering of the device is off: it reads and writes no memory", DRIVER);
        }
    }
}
