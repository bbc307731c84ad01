/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.diag.Check;
import io.kvmirq.diag.Finding;
import io.kvmirq.diag.Finding.Status;
import io.kvmirq.diag.rules.LogRules;
import io.kvmirq.diag.rules.Rule;
import io.kvmirq.diag.screens.Doctor;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.KernelLog;
import io.kvmirq.host.facts.RecordedHost;
import java.io.IOException;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Messages of the kernel about a host as a whole. */
class LogRulesTest {
    private static final double BEGIN = 863_000;

    private static Finding finding(String uptime, String... lines) throws IOException {
        StringBuilder log = new StringBuilder("<6>[0.000000] Linux version 7.1.8\n");
        double at = BEGIN;
        for (String line : lines) {
            log.append("<4>[").append(at).append("00000] ").append(line).append('\n');
            at += lines.length > 1 && lines[0].equals(lines[1]) ? 2 : 0;
        }
        return Accusations.finding(
                PlantedFaultsTest.host("posted")
                        .put("proc/uptime", uptime + " 1.00\n")
                        .put(KernelLog.FILE, log.toString())
                        .put("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n")
                        .tree(),
                Check.LOG);
    }

    /** As the kernel prints each, and the seconds after which it is of the past; 0 for never. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "no-remapping | 0 | DMAR-IR: Failed to enable irq remapping. You are vulnerable to irq-injection attacks.",
                "no-remapping | 0 | DMAR-IR: This system BIOS has enabled interrupt remapping on a chipset that contains an erratum making that feature unstable.",
                "unit-broken | 0 | DMAR: [Firmware Bug]: Your BIOS is broken; DMAR reported at address fed90000 returns all ones!",
                "snp | 0 | AMD-Vi: Force to disable Virtual APIC due to SNP",
                "lpis-before-boot | 0 | GICv3: CPU3: Booted with LPIs enabled, memory probably corrupted",
                "no-el2 | 0 | kvm [1]: HYP mode not available",
                "clock | 0 | tsc: Marking TSC unstable due to clocksource watchdog",
                "oops | 0 | Oops: general protection fault, probably for non-canonical address 0xdead000000000122: 0000 [#1] SMP",
                "oops | 0 | Unable to handle kernel NULL pointer dereference at virtual address 0000000000000008",
                "hard-lockup | 600 | watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3",
                "soft-lockup | 600 | watchdog: BUG: soft lockup - CPU#2 stuck for 26s! [kworker/2:1:812]",
                "interrupts-only | 600 | CPU#2 Detect HardIRQ Time exceeds 50%. Most frequent HardIRQs:",
                "rcu-stall | 600 | rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
                "rt-throttled | 3600 | sched: RT throttling activated",
                "vectors-exhausted | 3600 | irq 131: Affinity broken due to vector space exhaustion.",
                "interrupts-lost | 600 | nvme nvme0: I/O tag 12 (100c) QID 3 timeout, completion polled",
                "ga-log | 600 | AMD-Vi: IOMMU GA log restarting",
                "iommu-overflow | 600 | DMAR: VT-d detected Invalidation Queue Error: Reason f",
                "refused | 3600 | audit: type=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"open\" name=\"/dev/vfio/1\" comm=\"qemu-system-x86\"",
                "refused | 3600 | audit: type=1400 audit(1.2:3): avc:  denied  { read } for pid=1 comm=\"qemu-kvm\" path=\"/dev/kvm\" permissive=0",
                "memlock | 3600 | vfio_pin_pages_remote: RLIMIT_MEMLOCK (8388608) exceeded",
                "out-of-memory | 3600 | Out of memory: Killed process 2217 (qemu-system-x86) total-vm:9kB, anon-rss:8kB",
                "memory-failed | 3600 | Memory failure: 0x11a2b3: Sending SIGBUS to qemu-system-x86:2217 due to hardware memory corruption",
                "virtualization-taken | 3600 | kvm: enabling virtualization on CPU1 failed",
                "no-virtual-functions | 3600 | ixgbe 0000:00:05.0: not enough MMIO resources for SR-IOV",
                "no-virtual-functions | 3600 | ixgbe 0000:00:05.0: Failed to enable PCI sriov: -12",
                "crashed | 3600 | dpdk-vduse[1820]: segfault at 10 ip 00007f1 sp 00007f2 error 4 in librte_vhost.so.25.0[7f1+9000]",
                "entry-failed | 3600 | kvm_intel: set kvm_intel.dump_invalid_vmcs=1 to dump internal KVM state.",
                "hugepages | 3600 | HugeTLB: allocating 16 of page size 1.00 GiB failed.  Only allocated 11 hugepages.",
                "connections | 600 | nf_conntrack: nf_conntrack: table full, dropping packet",
                "network-hangs | 600 | ixgbe 0000:00:05.0 ens1f0: NETDEV WATCHDOG: CPU: 0: transmit queue 3 timed out 5120 ms",
                "storage-full | 3600 | device-mapper: thin: 253:4: reached low water mark for data device: no free data space available"
            })
    void messageIsNamedWhileItIsOfNow(String rule, int until, String line) throws IOException {
        Finding now = finding(String.valueOf(BEGIN + 20), line);
        assertThat(now.status()).as(now.text()).isEqualTo(Status.WARN);
        assertThat(now.reason()).isEqualTo(rule);
        assertThat(now.text()).contains(line.substring(0, Math.min(40, line.length())));
        Finding later = finding(String.valueOf(BEGIN + (until == 0 ? 5_000_000 : until + 20)), line);
        assertThat(later.reason()).isEqualTo(until == 0 ? rule : "none");
    }

    /** One or two lines are no finding, three are. */
    @Test
    void burstIsNoneUntilItLasts() throws IOException {
        String now = String.valueOf(BEGIN + 20);
        String hot = "CPU2: Core temperature is above threshold, cpu clock is throttled (total events = 81214)";
        assertThat(finding(now, hot).reason()).isEqualTo("none");
        assertThat(finding(now, hot, hot).reason()).isEqualTo("none"); // of two siblings
        assertThat(finding(now, hot, hot, hot).reason()).isEqualTo("hot");
        String event = "arm-smmu-v3 9050000.smmuv3: event 0x10 received:";
        assertThat(finding(now, event).reason()).isEqualTo("none");
        assertThat(finding(now, event, event).reason()).isEqualTo("none"); // as at a reset
        assertThat(finding(now, event, event, event).reason()).isEqualTo("smmu-events");
        String stray = "__common_interrupt: 2.41 No irq handler for vector";
        assertThat(finding(now, stray, stray).reason()).isEqualTo("none");
        assertThat(finding(now, stray, stray, stray).reason()).isEqualTo("stray-vectors");
    }

    /** Remapping may be on although one I/O APIC is missing, and a clock may be fast although the TSC is unstable. */
    @Test
    void messageThatAnotherFactMustConfirm() throws IOException {
        String missing = "[Firmware Bug]: AMD-Vi: IOAPIC[4] not in IVRS table";
        String now = String.valueOf(BEGIN + 20);
        assertThat(finding(now, missing).reason()).isEqualTo("none");
        assertThat(finding(now, missing, "AMD-Vi: Disabling interrupt remapping")
                        .text())
                .contains("(IVRS) lacks an I/O APIC");
        RecordedHost host = PlantedFaultsTest.host("posted")
                .put("sys/devices/system/clocksource/clocksource0/current_clocksource", "hyperv_clocksource_tsc_page\n")
                .put(KernelLog.FILE, "[0.1] tsc: Marking TSC unstable due to running on Hyper-V\n");
        assertThat(Accusations.finding(host.tree(), Check.LOG).reason()).isEqualTo("none");
    }

    /** An archive says the same, without the names. */
    @Test
    void redactedMessageIsStillOne() throws IOException {
        for (String line : Stream.of(LogRulesTest.class.getDeclaredMethods())
                .filter(method -> method.getName().equals("messageIsNamedWhileItIsOfNow"))
                .map(method -> method.getAnnotation(CsvSource.class).value())
                .flatMap(Stream::of)
                .map(row -> row.split(" \\| ", 3)[2])
                .toList()) {
            String redacted = LogRules.redacted("[" + BEGIN + "] " + line);
            String text = redacted.substring(redacted.indexOf("] ") + 2);
            assertThat(finding(String.valueOf(BEGIN + 20), text).status())
                    .as(text)
                    .isEqualTo(Status.WARN);
        }
        assertThat(
                        LogRules.redacted(
                                "[ 1.5] audit: apparmor=\"DENIED\" profile=\"libvirt-secret\" name=\"/dev/vfio/1\" comm=\"qemu-x\""))
                .isEqualTo("[ 1.5] apparmor=\"DENIED\"-\"/dev/vfio-comm=\"qemu");
    }

    @Test
    void usualMessagesAreNone() throws IOException {
        Finding finding = finding(
                String.valueOf(BEGIN + 5),
                "DMAR: [Firmware Bug]: Your BIOS is broken; bad RMRR [0x000000007b800000-0x000000007fffffff]",
                "DMAR-IR: x2apic is disabled because BIOS sets x2apic opt out bit.",
                "DMAR-IR: Enabled IRQ remapping in xapic mode",
                "kvm_intel: L1TF CPU bug present and SMT on, data leak possible.",
                "kvm [2217]: ignored rdmsr: 0x122 data 0x0",
                "perf: interrupt took too long (2515 > 2500), lowering kernel.perf_event_max_sample_rate to 79500",
                "workqueue: vfio_fops_release hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND",
                "Out of memory: Killed process 812 (firefox) total-vm:9kB, anon-rss:8kB",
                "audit: type=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"open\" name=\"/etc/hosts\" comm=\"cupsd\"",
                "audit: type=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"open\" name=\"/dev/kvm\" comm=\"firefox\"",
                "audit: type=1400 audit(1.2:3): avc:  denied  { read } for comm=\"qemu-kvm\" path=\"/dev/kvm\" permissive=1",
                "sched: DL replenish lagged too much",
                "qemu-aarch64[9]: segfault at 0 ip 0 sp 0 error 4 in qemu-aarch64-static[400000+1]",
                "mce: [Hardware Error]: Machine check events logged",
                "clocksource: Switched to clocksource tsc",
                "firefox[812]: segfault at 10 ip 00007f1 sp 00007f2 error 4 in libxul.so[7f1+9000]",
                "arm-smmu-v3 arm-smmu-v3.0.auto: allocated 65536 entries for evtq",
                "vfio-pci 0000:00:01.0: enabling device (0400 -> 0402)");
        assertThat(finding.status()).as(finding.text()).isEqualTo(Status.PASS);
    }

    /** A host that shows no log is not said to be in order. */
    @Test
    void logThatIsNotShownIsNoneInOrder() throws IOException {
        HostFacts facts = new HostFacts(PlantedFaultsTest.host("posted").tree());
        assertThat(Doctor.examine(facts, EnumSet.of(Check.LOG)).get(0).status()).isEqualTo(Status.UNKNOWN);
        assertThat(Doctor.examine(facts, EnumSet.of(Check.LOG, Check.KVM))).hasSize(1);
    }

    @Test
    void redactedLineKeepsWhatARuleFinds() {
        assertThat(LogRules.redacted("[ 1.5] Out of memory: Killed process 7 (qemu-system-x86) secret"))
                .isEqualTo("[ 1.5] Killed process 7 (qemu-system");
        assertThat(LogRules.redacted("[ 1.5] EXT4-fs error (device secret): failed"))
                .isEqualTo("[ 1.5] -");
    }

    @Test
    void eachMessageIsProvoked() throws Exception {
        Set<String> rules = new TreeSet<>();
        for (String line : List.of(LogRulesTest.class
                .getDeclaredMethod("messageIsNamedWhileItIsOfNow", String.class, int.class, String.class)
                .getAnnotation(CsvSource.class)
                .value())) {
            rules.add("log." + line.substring(0, line.indexOf(' ')));
        }
        rules.addAll(Set.of("log.hot", "log.smmu-events", "log.ioapic-missing", "log.stray-vectors", "log.none"));
        assertThat(Doctor.every().stream().map(Rule::id).filter(id -> id.startsWith("log.")))
                .containsExactlyInAnyOrderElementsOf(rules);
    }
}
