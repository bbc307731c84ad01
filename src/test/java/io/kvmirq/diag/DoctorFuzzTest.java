/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import static org.assertj.core.api.Assertions.assertThat;

import com.code_intelligence.jazzer.junit.FuzzTest;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.HostFacts;
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
            "proc/version",
            "proc/config.gz",
            "etc/group",
            "sys/kernel/debug/irq/domains/VECTOR",
            "sys/module/kvm_amd/parameters/avic",
            "sys/class/iommu/ivhd0/amd-iommu/features",
            "proc/7/cmdline");

    /** All files have the same content, after what lets each be parsed further. */
    @FuzzTest(maxDuration = "60s")
    void anyFiles(byte[] bytes) {
        String any = new String(bytes, StandardCharsets.ISO_8859_1);
        Map<String, byte[]> files = new HashMap<>();
        for (String path : FILES) {
            files.put(path, bytes);
        }
        files.put(
                "proc/self/limits",
                ("Max open files " + any + "\nMax locked memory " + any).getBytes(StandardCharsets.UTF_8));
        files.put("proc/cpuinfo", ("x\nvendor_id : AuthenticAMD\nflags : " + any).getBytes(StandardCharsets.UTF_8));
        files.put("sys/kernel/debug/irq/domains/VECTOR", ("| CPU | avl\n" + any).getBytes(StandardCharsets.UTF_8));
        Map<String, String> links = Map.of("proc/7/fd/1", "anon_inode:kvm-vm");
        EnumSet<Check> checks = EnumSet.complementOf(EnumSet.of(Check.BACKENDS));
        List<Finding> findings = Doctor.examine(new HostFacts(HostFiles.of(files, links)), checks);
        assertThat(findings).hasSize(checks.size());
    }
}
