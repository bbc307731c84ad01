/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.fake.file.Build;
import io.kvmirq.fake.file.Hardware;
import io.kvmirq.fake.file.MessageHostIrq;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Files in /proc and /sys that show a host's kernel and PCI devices.
 *
 * <p>Source: Documentation/ABI/testing/sysfs-bus-pci in Linux.
 */
public final class DeviceFiles {
    /** The major number of VFIO device files, which a real kernel allocates. */
    private static final int MAJOR = 253;

    private static final String INTERRUPTS = "proc/interrupts";
    private static final String DEVICES = "sys/bus/pci/devices/";

    private final Map<String, byte[]> files = new HashMap<>();
    private final Map<String, String> links = new HashMap<>();
    private final boolean arm64;
    private final String gic;
    private final StringBuilder interrupts = new StringBuilder();
    private final StringBuilder limits = new StringBuilder();

    /**
     * Creates the files of a host with a remapping IOMMU and vfio-pci, and without PCI devices. {@code hardware} has
     * files of IOMMU and processors, and rows of /proc/interrupts; it is empty if only the IOMMU's name is known.
     */
    public DeviceFiles(Build build, Map<String, String> hardware) {
        text("proc/version", "Linux version " + build.major() + "." + build.minor() + ".0-fake");
        this.arm64 = build.arm64();
        this.gic = build.hardware() == Hardware.GICV2 ? "GICv2" : "GICv3";
        interrupts
                .append("     CPU0\n  1:  0  ")
                .append(arm64 ? gic : "IR-IO-APIC")
                .append("  2-edge  timer\n");
        if (hardware.isEmpty()) {
            text("sys/class/iommu/" + (arm64 ? "smmu3.0x0000000009050000" : "ivhd0") + "/uevent", "");
        }
        hardware.forEach(this::text);
        interrupts.append(hardware.getOrDefault(INTERRUPTS, ""));
        text("sys/bus/pci/drivers/vfio-pci/new_id", "");
    }

    public Map<String, byte[]> files() {
        if (!limits.isEmpty()) {
            text("proc/self/limits", limits.toString());
        }
        files.put(INTERRUPTS, interrupts.toString().getBytes(StandardCharsets.UTF_8));
        return files;
    }

    public Map<String, String> links() {
        return links;
    }

    /** Adds a parameter of the module vfio-pci. */
    void addParameter(String name, boolean on) {
        text("sys/module/vfio_pci/parameters/" + name, on ? "Y" : "N");
    }

    /** Adds the file of /proc that shows the limit of open descriptors. */
    public void addFileLimit(int limit) {
        addLimit("Max open files", limit, "files");
    }

    private void addLimit(String name, long limit, String unit) {
        limits.append(String.format("%-25s %-20s %-20s %s\n", name, limit, limit, unit));
    }

    /** Adds the limit of locked memory of a process without CAP_IPC_LOCK, and the locked bytes. */
    void addLockLimit(long limit, long locked) {
        addLimit("Max locked memory", limit, "bytes");
        text("proc/self/status", "VmLck:\t" + locked / 1024 + " kB\nVmPin:\t" + locked / 1024 + " kB\nCapEff:\t0");
    }

    /** {@code irq} is the host irq of the interrupt pin, {@code config} the configuration space. */
    void add(PciFunction function, int irq, byte[] config) {
        String path = DEVICES + function.address() + "/";
        text(path + "vendor", String.format("0x%04x", function.ids() & 0xffff));
        text(path + "device", String.format("0x%04x", function.ids() >>> 16));
        text(path + "class", "0xff0000");
        text(path + "irq", Integer.toString(function.intx() ? irq : 0));
        if (function.resets()) {
            text(path + "reset_method", "flr");
        }
        files.put(path + "config", config);
    }

    /** Adds an interrupt line of PCI devices, if it has handlers. */
    void addLine(PciLine line, List<String> handlers) {
        if (!handlers.isEmpty()) {
            String chip = arm64 ? gic + "  " + line.physicalId() + " Level" : "IR-IO-APIC  " + line.irq() + "-fasteoi";
            interrupts.append(
                    String.format("%3d:  %d  %s  %s\n", line.irq(), line.count(), chip, String.join(", ", handlers)));
        }
    }

    /** Adds an interrupt with {@code mode} {@code msi} or {@code msix}; {@code handled}: VFIO has a handler. */
    void addIrq(String device, String mode, int vector, MessageHostIrq irq, boolean handled) {
        text(DEVICES + device + "/msi_irqs/" + irq.number(), mode);
        String chip = (arm64 ? "ITS-PCI-" : "IR-PCI-") + mode.toUpperCase(Locale.ROOT) + "-" + device;
        interrupts.append(String.format("%3d:  %d  %s  %d-edge", irq.number(), irq.count(), chip, vector));
        interrupts.append(handled ? String.format("  vfio-%s[%d](%s)\n", mode, vector, device) : "\n");
    }

    /** Adds a device's own file (cdev). */
    void addCdev(FakeVfioDevice device) {
        String path = "sys/bus/" + device.bus() + "/devices/" + device.name() + "/vfio-dev/vfio" + device.index();
        text(path + "/dev", MAJOR + ":" + device.index());
    }

    /** Adds a device, its bound driver and its group. */
    void addMember(VfioGroup group, String bus, String name, String driver) {
        String device = "sys/bus/" + bus + "/devices/" + name;
        links.put(device + "/iommu_group", "../../../kernel/iommu_groups/" + group.number());
        links.put(device + "/driver", "../../../bus/" + bus + "/drivers/" + driver);
        links.put("sys/kernel/iommu_groups/" + group.number() + "/devices/" + name, "../../../../" + device);
    }

    private void text(String path, String text) {
        files.put(path, (text + "\n").getBytes(StandardCharsets.UTF_8));
    }
}
