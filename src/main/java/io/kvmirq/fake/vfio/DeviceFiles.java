/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.fake.file.Build;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/**
 * The files in which a host shows its kernel and its PCI devices, by path. The links among them are not here.
 *
 * <p>Source: Documentation/ABI/testing/sysfs-bus-pci in Linux; for the capabilities, include/uapi/linux/pci_regs.h.
 */
public final class DeviceFiles {
    private static final String DEVICES = "/sys/bus/pci/devices/";

    /** QEMU's PCI test device. */
    private static final int[] VENDOR_AND_DEVICE = {0x36, 0x1b, 0x05, 0x00};

    private static final int CONFIG_BYTES = 256;
    private static final int STATUS = 6;
    private static final int HAS_CAPABILITIES = 1 << 4;
    private static final int FIRST_CAPABILITY = 0x34;
    private static final int INTERRUPT_PIN = 0x3d;

    private static final int MSI = 5;
    private static final int EXPRESS = 0x10;
    private static final int MSIX = 0x11;

    private final Map<String, byte[]> files = new HashMap<>();

    /** The files of a host without PCI devices. It has an IOMMU that remaps interrupts, and the module vfio-pci. */
    public DeviceFiles(Build build) {
        text("/proc/version", "Linux version " + build.major() + "." + build.minor() + ".0-fake");
        text("/proc/interrupts", "     CPU0\n  0:  0  IR-IO-APIC  2-edge  timer");
        text("/sys/class/iommu/ivhd0/amd-iommu/cap", "0");
        text("/sys/bus/pci/drivers/vfio-pci/new_id", "");
    }

    /** The content of each file. */
    public Map<String, byte[]> content() {
        return files;
    }

    void add(PciFunction function) {
        String path = DEVICES + function.address() + "/";
        text(path + "vendor", "0x1b36");
        text(path + "device", "0x0005");
        text(path + "class", "0x00ff00");
        text(path + "irq", function.intx() ? "11" : "0");
        if (function.resets()) {
            text(path + "reset_method", "flr");
        }
        files.put(path + "config", config(function));
    }

    private static byte[] config(PciFunction function) {
        byte[] config = new byte[CONFIG_BYTES];
        for (int i = 0; i < VENDOR_AND_DEVICE.length; i++) {
            config[i] = (byte) VENDOR_AND_DEVICE[i];
        }
        config[INTERRUPT_PIN] = (byte) (function.intx() ? 1 : 0);
        int at = 0x40;
        int link = FIRST_CAPABILITY;
        if (function.express()) {
            link = capability(config, link, at, EXPRESS, 2);
            at += 0x40;
        }
        if (function.msi() != 0) {
            link = capability(config, link, at, MSI, Integer.numberOfTrailingZeros(function.msi()) << 1);
            at += 0x20;
        }
        if (function.msix() != 0) {
            capability(config, link, at, MSIX, function.msix() - 1);
        }
        return config;
    }

    /** Adds a capability with its first word; returns where the next one is to be linked. */
    private static int capability(byte[] config, int link, int at, int id, int word) {
        config[STATUS] |= HAS_CAPABILITIES;
        config[link] = (byte) at;
        config[at] = (byte) id;
        config[at + 2] = (byte) word;
        config[at + 3] = (byte) (word >>> Byte.SIZE);
        return at + 1;
    }

    private void text(String path, String text) {
        files.put(path, (text + "\n").getBytes(StandardCharsets.UTF_8));
    }
}
