/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.screens;

import static org.assertj.core.api.Assertions.assertThat;

import com.code_intelligence.jazzer.junit.FuzzTest;
import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.testing.CpuTime;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Files with any content: findings, and no exception. */
class DoctorFuzzTest {
    private static final List<String> FILES = List.of(
            "proc/self/limits",
            "proc/self/status",
            "proc/cmdline",
            "proc/cpuinfo",
            "proc/interrupts",
            "proc/misc",
            "proc/version",
            "proc/config.gz",
            "etc/group",
            "sys/kernel/debug/irq/domains/VECTOR",
            "sys/module/kvm_amd/parameters/avic",
            "sys/class/iommu/ivhd0/amd-iommu/features",
            "proc/7/cmdline");

    private static final List<String> HOSTS = List.of("intel-posted", "amd-avic", "gicv4");
    private static final List<String> OF_A_GUEST = List.of(
            "proc/interrupts",
            "proc/100/cmdline",
            "proc/100/fdinfo/4",
            "proc/100/fdinfo/20",
            "proc/100/task/101/comm",
            "sys/bus/pci/devices/0000:00:02.0/config",
            "sys/kernel/debug/iommu/intel/ir_translation_struct",
            "sys/kernel/debug/iommu/amd/irqtbl",
            "sys/kernel/debug/irq/irqs/27",
            "sys/kernel/debug/kvm/100-5/vgic-state",
            "sys/kernel/debug/kvm/100-5/vgic-its-state@8080000",
            "sys/kernel/irq/27/hwirq");

    /** All files have the same content, after what lets each be parsed further. */
    @FuzzTest(maxDuration = "60s")
    void anyFiles(byte[] bytes) {
        String text = new String(bytes, StandardCharsets.ISO_8859_1);
        Map<String, byte[]> files = new HashMap<>();
        for (String path : FILES) {
            files.put(path, bytes);
        }
        files.put(
                "proc/self/limits",
                ("Max open files " + text + "\nMax locked memory " + text).getBytes(StandardCharsets.UTF_8));
        files.put("kmsg", ("[1.0] x\n" + text).getBytes(StandardCharsets.UTF_8));
        files.put("proc/cpuinfo", ("x\nvendor_id : AuthenticAMD\nflags : " + text).getBytes(StandardCharsets.UTF_8));
        files.put("sys/kernel/debug/irq/domains/VECTOR", ("| CPU | avl\n" + text).getBytes(StandardCharsets.UTF_8));
        Map<String, String> links = Map.of("proc/7/fd/1", "anon_inode:kvm-vm");
        EnumSet<Check> checks = EnumSet.complementOf(EnumSet.of(Check.BACKENDS, Check.KERNEL_MEMORY));
        CpuTime.within(CpuTime.OF_AN_INPUT, () -> {
            List<Finding> findings = Doctor.examine(new HostFacts(HostFiles.of(files, links)), checks);
            assertThat(findings).hasSize(checks.size());
        });
    }

    /** One file of a guest, its device or their tables has any content: the first byte says which, and on which host. */
    @FuzzTest(maxDuration = "60s")
    void anyFileOfAGuest(byte[] bytes) throws IOException {
        int which = bytes.length == 0 ? 0 : bytes[0] & 0xff;
        String path = OF_A_GUEST.get(which / HOSTS.size() % OF_A_GUEST.size());
        String text =
                new String(bytes, Math.min(1, bytes.length), Math.max(0, bytes.length - 1), StandardCharsets.UTF_8);
        RecordedHost host = GuestHosts.of(HOSTS.get(which % HOSTS.size()));
        host.put(path, path.endsWith("irqtbl") ? "DeviceId 0000:00:02.0\n" + text : text);
        CpuTime.within(CpuTime.OF_AN_INPUT, () -> {
            HostFacts facts = new HostFacts(host.tree());
            for (PciAddress address : facts.pciAddresses()) {
                facts.pci(address).ifPresent(device -> assertThat(DeviceChains.read(facts, device))
                        .isNotEmpty());
            }
            Listing.read(facts, device -> true);
        });
    }
}
