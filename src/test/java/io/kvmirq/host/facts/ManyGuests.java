/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import java.io.IOException;
import java.util.Arrays;
import java.util.Locale;

/** A host with many guests, each with two vCPUs and a device of MSI-X of its own, in the form of the host amd-avic. */
public final class ManyGuests {
    private static final String DEVICES = "sys/bus/pci/devices/";
    private static final String MODEL = DEVICES + "0000:00:02.0/";
    private static final int FIRST_IRQ = 1000;
    private static final int FIRST_PID = 10_000;
    private static final int PIDS = 100;
    private static final int MSIX = 0x11;

    private ManyGuests() {}

    /** @param vectors the armed ones of each guest, at most 2048 */
    public static RecordedHost of(int guests, int vectors) throws IOException {
        RecordedHost host = GuestHosts.of("amd-avic");
        StringBuilder interrupts = new StringBuilder("           CPU0       CPU1\n");
        for (int guest = 0; guest < guests; guest++) {
            String device = String.format(Locale.ROOT, "0000:%02x:%02x.0", 0x20 + guest / 32, guest % 32);
            int group = 100 + guest;
            device(host, device, group, vectors);
            process(host, FIRST_PID + PIDS * guest, device, group, "guest" + guest, vectors);
            for (int vector = 0; vector < vectors; vector++) {
                int irq = FIRST_IRQ + guest * vectors + vector;
                interrupts.append(String.format(
                        Locale.ROOT,
                        "%4d: %10d %10d  IR-PCI-MSIX-%s %4d-edge      vfio-msix[%d](%s)%n",
                        irq,
                        17,
                        4,
                        device,
                        vector,
                        vector,
                        device));
                host.put(DEVICES + device + "/msi_irqs/" + irq, "msix\n")
                        .put("proc/irq/" + irq + "/spurious", "count 21\nunhandled 0\nlast_unhandled 0 ms\n")
                        .put("proc/irq/" + irq + "/smp_affinity_list", "0-1\n")
                        .put("proc/irq/" + irq + "/effective_affinity_list", vector % 2 + "\n");
            }
        }
        return host.remove("proc/100/").put("proc/interrupts", interrupts.toString());
    }

    private static void device(RecordedHost host, String device, int group, int vectors) {
        String path = DEVICES + device + "/";
        for (String name : new String[] {
            "vendor",
            "device",
            "class",
            "irq",
            "numa_node",
            "power_state",
            "power/runtime_status",
            "enable",
            "msi_bus",
            "driver_override"
        }) {
            host.tree().text(MODEL + name).ifPresent(text -> host.put(path + name, text));
        }
        byte[] config = Arrays.copyOf(host.tree().bytes(MODEL + "config", 4096).orElseThrow(), 4096);
        int at = config[0x34] & 0xff;
        while (config[at] != MSIX) {
            at = config[at + 1] & 0xff;
        }
        config[at + 2] = (byte) (vectors - 1);
        config[at + 3] = (byte) (0x80 | vectors - 1 >> 8);
        host.putBytes(path + "config", config)
                .link(path + "driver", "../../../bus/pci/drivers/vfio-pci")
                .link(path + "iommu_group", "../../../kernel/iommu_groups/" + group)
                .link("sys/kernel/iommu_groups/" + group + "/devices/" + device, "../../../../devices/" + device)
                .put("dev/vfio/" + group, "");
    }

    private static void process(RecordedHost host, int pid, String device, int group, String name, int eventfds) {
        String path = "proc/" + pid + "/";
        host.copy("proc/100/", path);
        for (int thread = 1; thread <= 2; thread++) {
            String model = path + "task/" + (100 + thread) + "/";
            String own = path + "task/" + (pid + thread) + "/";
            host.copy(model, own).remove(model).put(own + "status", GuestHosts.status(pid, pid + thread));
        }
        host.put(path + "status", GuestHosts.status(pid, pid));
        host.put(
                        path + "cmdline",
                        ("/usr/bin/qemu-system-x86_64 -name guest=" + name + ",debug-threads=on -machine"
                                        + " q35,kernel-irqchip=split -device vfio-pci,host=" + device)
                                .replace(' ', '\0'))
                .link(path + "fd/3", "/dev/vfio/" + group);
        GuestHosts.eventfds(host, path, 5, eventfds);
    }
}
