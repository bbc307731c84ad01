/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.testing.Machine;
import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;

/** Recorded hosts on which guests run: their processes are added, and for some the hardware that they lack. */
public final class GuestHosts {
    /** Takes what is not recorded of a host. */
    @FunctionalInterface
    private interface Change {
        RecordedHost of() throws IOException;
    }

    private static final String QEMU = "/usr/bin/qemu-system-x86_64 -name guest=web,debug-threads=on";
    private static final String SPLIT = QEMU + " -machine q35,kernel-irqchip=split -device vfio-pci,host=00:02.0";
    private static final String INTERRUPTS = "proc/interrupts";
    private static final String CMDLINE = "proc/cmdline";
    private static final int PID = 100;
    /** PF_KTHREAD, PF_NOFREEZE and others of kernel threads; those of threads of programs. */
    private static final long KERNEL = 0x208040;

    private static final long USER = 0x400040;

    private static final Map<String, Change> ALL = new TreeMap<>(Map.ofEntries(
            Map.entry("intel-posted", () -> postedEntries(guest(intelWithPosting(), "01", withPit()))),
            Map.entry("intel-nopost", () -> guest(intelWithPosting(), "01", SPLIT)
                    .put(CMDLINE, "intel_iommu=on intremap=nopost\n")),
            Map.entry("intel-without-pi", () -> guest(intel(), "01", SPLIT)),
            Map.entry("amd-avic", () -> guest(amdWithAvic(), "02", SPLIT)),
            Map.entry("amd-pit", () -> guest(amdWithAvic(), "02", withPit())),
            Map.entry("amd-legacy", () -> guest(amdWithAvic(), "02", SPLIT)
                    .put(CMDLINE, "quiet amd_iommu_intr=legacy\n")),
            Map.entry("nested-without-iommu", GuestHosts::withoutIommu),
            Map.entry("gicv3", () -> guestOfArm(RecordedHost.of("arm64-6.12"))),
            Map.entry("gicv4", GuestHosts::gicv4),
            Map.entry("intx-shared", GuestHosts::intx),
            Map.entry("vhost-kernel-threads", GuestHosts::vhostKernelThreads),
            Map.entry("vhost-tasks", GuestHosts::vhostTasks),
            Map.entry("virtio", GuestHosts::virtio),
            Map.entry("intx-exclusive", GuestHosts::exclusiveIntx),
            Map.entry("group-not-viable", GuestHosts::notViable),
            Map.entry("plain-user", GuestHosts::plainUser)));

    private GuestHosts() {}

    /** The names of all hosts. */
    public static List<String> names() {
        return List.copyOf(ALL.keySet());
    }

    /** The host of this name. */
    public static RecordedHost of(String name) throws IOException {
        return Objects.requireNonNull(ALL.get(name), name).of();
    }

    /** A machine with a PIT in the kernel, in the form in which libvirt starts it. */
    private static String withPit() {
        return QEMU + " -machine pc-q35-9.2,usb=off,kernel_irqchip=on -global kvm-pit.lost_tick_policy=delay"
                + " -device vfio-pci,host=00:02.0";
    }

    private static RecordedHost intel() throws IOException {
        return RecordedHost.of("intel-6.1")
                .put("proc/cpuinfo", "vendor_id\t: GenuineIntel\nflags\t\t: fpu vme cx16 vmx x2apic\n")
                .remove("sys/module/kvm_amd")
                .put("sys/module/kvm_intel/parameters/enable_apicv", "Y\n");
    }

    /** CAP.PI is bit 59. */
    private static RecordedHost intelWithPosting() throws IOException {
        return intel().put("sys/class/iommu/dmar0/intel-iommu/cap", "8d2008c22260286\n");
    }

    /** AMD with GASup and GAM of the virtual APIC mode in EFR, and the module that uses them. */
    private static RecordedHost amdWithAvic() throws IOException {
        return usual(RecordedHost.of("amd-6.12"), "0000:00:02.0")
                .put("sys/class/iommu/ivhd0/amd-iommu/features", "2029d3:0\n")
                .put("sys/module/kvm_amd/parameters/avic", "Y\n");
    }

    /** Adds files that each kernel has, and that are not recorded. An empty list of CPUs has a line end. */
    private static RecordedHost usual(RecordedHost host, String device) {
        List<String> all = new ArrayList<>(List.of(device));
        new HostFacts(host.tree()).boundToVfio().forEach(address -> all.add(address.toString()));
        for (String each : all) {
            String function = "sys/bus/pci/devices/" + each + "/";
            host.put(function + "enable", "1\n")
                    .put(function + "driver_override", "(null)\n")
                    .put(function + "msi_bus", "1\n");
        }
        return host.put("proc/uptime", "90061.20 300.00\n")
                .put("sys/devices/system/cpu/isolated", "\n")
                .put("sys/devices/system/cpu/nohz_full", "(null)\n");
    }

    /** Adds the process of a guest with two vCPUs that has the device in slot {@code slot} of bus 0. */
    public static RecordedHost guest(RecordedHost host, String slot, String commandLine) {
        String path = "proc/" + PID + "/";
        String device = "0000:00:" + slot + ".0";
        host.put(path + "comm", "qemu-system-x86\n").put(path + "cmdline", commandLine.replace(' ', '\0') + "\0");
        host.put(path + "task/101/comm", "CPU 0/KVM\n").put(path + "task/102/comm", "CPU 1/KVM\n");
        String group = "0::/machine.slice/machine-qemu-1-web.scope\n";
        for (int thread = PID; thread <= PID + 2; thread++) {
            String own = thread == PID ? path : path + "task/" + thread + "/";
            host.put(own + "status", status(PID, thread))
                    .put(own + "schedstat", "9000000000 120000000 4000\n")
                    .put(own + "stat", stat(thread, "qemu-system-x86", 'S', USER, 0))
                    .put(own + "wchan", thread == PID ? "do_sys_poll" : "kvm_vcpu_block")
                    .put(own + "cgroup", group);
        }
        String scope = "sys/fs/cgroup/machine.slice/machine-qemu-1-web.scope/";
        usual(host, device)
                .put(path + "limits", "Max open files            1048576              1048576              files\n")
                .put(scope + "cgroup.freeze", "0\n")
                .put(scope + "cpu.weight", "100\n")
                .put(scope + "cpu.idle", "0\n")
                .put(scope + "cgroup.events", "populated 1\nfrozen 0\n")
                .put(scope + "cpu.max", "max 100000\n")
                .put("sys/fs/cgroup/machine.slice/cgroup.freeze", "0\n");
        List<String> targets = List.of(
                "socket:[1]",
                "socket:[2]",
                "/dev/vfio/vfio",
                "/dev/vfio/"
                        + host.tree()
                                .linkName("sys/bus/pci/devices/" + device + "/iommu_group")
                                .orElse("1"),
                "anon_inode:[vfio-device]",
                "anon_inode:kvm-vm",
                "anon_inode:kvm-vfio",
                "anon_inode:kvm-vcpu:0",
                "anon_inode:kvm-vcpu:1");
        for (int fd = 0; fd < targets.size(); fd++) {
            host.link(path + "fd/" + fd, targets.get(fd));
        }
        boolean shows = host.tree().text("proc/version").orElse("").startsWith("Linux version 7.");
        // vfio_device_show_fdinfo() in drivers/vfio/vfio_main.c; Debian's 6.1 and 6.12 do not have it.
        host.put(
                path + "fdinfo/4",
                "pos:\t0\n" + (shows ? "vfio-device-syspath: /sys/devices/pci0000:00/" + device + "\n" : ""));
        eventfds(host, path, 0, 5);
        return host;
    }

    /** As task_state() in fs/proc/array.c prints it. */
    static String status(int pid, int thread) {
        return "Name:\tqemu-system-x86\nState:\tS (sleeping)\nTgid:\t" + pid + "\nPid:\t" + thread
                + "\nTracerPid:\t0\nThreads:\t3\nCpus_allowed_list:\t0-1\n";
    }

    /** Adds eventfds to a process, the first with the descriptor 20, as eventfd_show_fdinfo() in fs/eventfd.c prints them. */
    static void eventfds(RecordedHost host, String process, int from, int to) {
        for (int i = from; i < to; i++) {
            host.link(process + "fd/" + (20 + i), "anon_inode:[eventfd]")
                    .put(
                            process + "fdinfo/" + (20 + i),
                            "pos:\t0\neventfd-count:                0\neventfd-id: " + (i + 1) + "\n");
        }
    }

    private static RecordedHost guestOfArm(RecordedHost host) {
        return guest(host, "01", "/usr/bin/qemu-system-aarch64 -name arm -machine virt,gic-version=3")
                .link("proc/100/fd/9", "anon_inode:kvm-arm-vgic-v3")
                .link("proc/100/fd/10", "anon_inode:kvm-arm-vgic-its");
    }

    private static RecordedHost vhost(RecordedHost host) {
        return host.link("proc/100/fd/40", "/dev/vhost-net")
                .link("proc/100/fd/41", "/dev/vhost-vsock")
                .put("sys/kernel/debug/kvm/100-5/exits", "50000\n")
                .put("sys/kernel/debug/kvm/100-5/irq_injections", "100\n")
                .put("proc/100/task/101/stat", stat(101, "CPU 0/KVM", 'R', USER, 2))
                .put("proc/100/task/102/stat", stat(102, "CPU 1/KVM", 'S', USER, 3));
    }

    /** Before Linux 6.4 the workers of vhost are kernel threads. The name of one thread that is none imitates theirs. */
    private static RecordedHost vhostKernelThreads() throws IOException {
        return vhost(guest(amdWithAvic(), "02", withPit()))
                .put("proc/100/task/102/wchan", "kvm_vcpu_block")
                .put("proc/105/stat", stat(105, "vhost-100", 'S', KERNEL, 6))
                .put("proc/105/status", "Name:\tvhost-100\nCpus_allowed_list:\t4-7\n")
                .put("proc/106/stat", stat(106, "vhost-100", 'S', KERNEL, 1))
                .put("proc/107/stat", stat(107, "kvm-pit/100", 'S', KERNEL, 1))
                .put("proc/108/stat", stat(108, "vhost-100", 'S', USER, 1))
                .put("proc/109/stat", stat(109, "vhost-99", 'S', KERNEL, 1));
    }

    /** Since Linux 6.4 they are threads of the VMM. */
    private static RecordedHost vhostTasks() throws IOException {
        return vhost(guest(amdWithAvic(), "02", SPLIT))
                .put("sys/kernel/debug/kvm/100-5/blocking", "1\n")
                .put("proc/100/task/105/comm", "vhost-100\n")
                .put("proc/100/task/105/stat", stat(105, "vhost-100", 'S', 0x404000, 6))
                .put("proc/100/task/106/comm", "vhost-100\n")
                .put("proc/100/task/106/stat", stat(106, "vhost-100", 'S', USER, 1))
                .put("sys/kernel/debug/kvm/77-9/exits", "1\n");
    }

    /** A guest whose devices are virtio only. */
    private static RecordedHost virtio() throws IOException {
        RecordedHost host = vhostKernelThreads()
                .put(
                        "proc/100/cmdline",
                        (QEMU + " -machine q35,kernel-irqchip=split -device"
                                        + " {\"driver\":\"virtio-net-pci\",\"netdev\":\"n\"} -device virtio-blk-pci,drive=d")
                                .replace(' ', '\0'))
                .remove("proc/107/")
                .link("proc/100/fd/2", "socket:[2]")
                .link("proc/100/fd/3", "socket:[3]")
                .link("proc/100/fd/4", "socket:[4]")
                .link("proc/100/fd/30", "anon_inode:[eventpoll]")
                .put("proc/100/fdinfo/30", "tfd:       20 events:       19 data: 14\n")
                .remove("sys/bus/pci/devices/0000:00:02.0/msi_irqs");
        return withRows(host, true, "");
    }

    /** As {@code do_task_stat()} in fs/proc/array.c prints it. */
    public static String stat(int tid, String name, char state, long flags, int cpu) {
        return tid + " (" + name + ") " + state + " 2 0 0 0 -1 " + flags + " 0".repeat(12) + " 100" + " 0".repeat(16)
                + " " + cpu + " 0".repeat(13) + "\n";
    }

    /** The state of a VGIC that was recorded while a device's five LPIs were vLPIs. */
    private static RecordedHost gicv4() throws IOException {
        RecordedHost host = guestOfArm(RecordedHost.of("arm64-6.12"))
                .put(CMDLINE, "console=ttyAMA0 kvm-arm.vgic_v4_enable=1\n")
                .put("sys/kernel/debug/kvm/100-5/exits", "50000\n")
                .put(
                        "sys/kernel/debug/kvm/100-5/vgic-state",
                        Files.readString(
                                Machine.root().resolve("src/test/resources/io/kvmirq/arch/gic/vgic-state-gicv4.txt")));
        return append(host, "  24:          0          0  GICv4-vpe   0 Edge      vcpu\n");
    }

    private static RecordedHost append(RecordedHost host, String line) {
        return host.put(INTERRUPTS, host.tree().text(INTERRUPTS).orElse("") + "\n" + line);
    }

    /** Rows as {@code ir_tbl_posted_entry_show()} in drivers/iommu/intel/debugfs.c prints them. */
    private static RecordedHost postedEntries(RecordedHost host) {
        StringBuilder text = new StringBuilder("""
                Remapped Interrupt supported on IOMMU: dmar0
                 IR table address:104a00000
                 Entry SrcID   DstID    Vct IRTE_high\t\tIRTE_low
                 0     00:1e.7 00000100 22  000000000004f0f7\t000001000022000d
                ****

                Posted Interrupt supported on IOMMU: dmar0
                 IR table address:104a00000
                 Entry SrcID   PDA_high PDA_low  Vct IRTE_high\t\tIRTE_low
                """);
        for (int i = 0; i < 5; i++) {
            text.append(String.format(
                    " %-5d %02x:%02x.%01x %08x %08x %02x  %016x\t%016x%n",
                    24 + i, 0, 1, 0, 1, 0x4e2a0c0, 0x41 + i, 0x1_0004_0008L, 0x04e2a0c000008001L | 0x41L + i << 16));
        }
        return host.put("sys/kernel/debug/iommu/intel/ir_translation_struct", text.toString());
    }

    /** A guest that is a host itself, and whose machine has no IOMMU. */
    private static RecordedHost withoutIommu() throws IOException {
        RecordedHost host = usual(RecordedHost.of("amd-6.12"), "0000:00:02.0")
                .remove("sys/class/iommu")
                .remove("sys/kernel/iommu_groups")
                .remove("sys/bus/pci/devices/0000:00:02.0/iommu_group")
                .remove("sys/bus/pci/devices/0000:00:02.0/msi_irqs");
        return withRows(host, false, "  22:          4          0   IO-APIC  22-fasteoi   ehci_hcd:usb1");
    }

    /** A device that uses its pin: MSI-X is off. */
    private static RecordedHost withoutMessages(RecordedHost host) {
        String path = "sys/bus/pci/devices/0000:00:02.0/";
        byte[] config = host.tree().bytes(path + "config", 256).orElseThrow();
        config[0xa3] &= 0x7f;
        return host.remove(path + "msi_irqs")
                .putBytes(path + "config", config)
                .put("proc/irq/22/effective_affinity_list", "1\n")
                .put("proc/irq/22/smp_affinity_list", "0-1\n")
                .put("proc/irq/22/spurious", "count 0\nunhandled 0\nlast_unhandled 0 ms\n");
    }

    /** INTx of the device, on a line with a controller of the host. */
    private static RecordedHost intx() throws IOException {
        RecordedHost host = guest(withoutMessages(amdWithAvic()), "02", SPLIT);
        return withRows(
                host,
                true,
                "  22:          4       9001  IR-IO-APIC  22-fasteoi   ehci_hcd:usb1, vfio-intx(0000:00:02.0)");
    }

    /** INTx of the device with nointxmask of vfio-pci, and another device of VFIO on the line. */
    private static RecordedHost exclusiveIntx() throws IOException {
        RecordedHost host = guest(withoutMessages(amdWithAvic()), "02", SPLIT)
                .put("sys/module/vfio_pci/parameters/nointxmask", "Y\n")
                .put("sys/bus/pci/devices/0000:00:03.0/irq", "22\n")
                .link("sys/bus/pci/devices/0000:00:03.0/driver", "../../../bus/pci/drivers/vfio-pci");
        return withRows(host, true, "  22:          4       9001  IR-IO-APIC  22-fasteoi   vfio-intx(0000:00:02.0)");
    }

    private static RecordedHost notViable() throws IOException {
        RecordedHost host = amdWithAvic()
                .remove("sys/bus/pci/devices/0000:00:02.0/msi_irqs")
                .link("sys/kernel/iommu_groups/1/devices/0000:00:02.1", "../../../../devices/pci0000:00/0000:00:02.1")
                .link("sys/bus/pci/devices/0000:00:02.1/driver", "../../../bus/pci/drivers/e1000e");
        return withRows(host, true, "");
    }

    /** Links out of the tree stand for files that may not be read. */
    private static RecordedHost plainUser() throws IOException {
        return amdWithAvic()
                .cut("sys/bus/pci/devices/0000:00:02.0/config", 64)
                .put("proc/100/comm", "qemu-system-x86\n")
                .put("proc/100/stat", stat(100, "qemu-system-x86", 'S', USER, 0))
                .put("proc/101/stat", stat(101, "init", 'S', USER, 0))
                .link("proc/100/fd", "/denied")
                .put("proc/101/comm", "init\n")
                .link("proc/101/fd", "/denied")
                .link("sys/kernel/debug", "/denied");
    }

    /** Replaces the rows of VFIO's handlers. */
    private static RecordedHost withRows(RecordedHost host, boolean remaps, String more) {
        StringBuilder rows = new StringBuilder();
        Arrays.stream(host.tree().text(INTERRUPTS).orElse("").split("\n"))
                .filter(line -> !line.contains("vfio-"))
                .forEach(line ->
                        rows.append(remaps ? line : line.replace("IR-", "")).append('\n'));
        return host.put(INTERRUPTS, rows + more + "\n");
    }
}
