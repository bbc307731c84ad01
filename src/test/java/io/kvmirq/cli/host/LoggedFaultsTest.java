/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.diag.screens.Doctor;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.KernelLog;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.path.Flaw;
import java.io.IOException;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Faults that only the kernel's log shows. A log loses its oldest lines, so unlike that of another file its absence proves nothing. */
class LoggedFaultsTest {
    private static final double BEGIN = 863_000;

    /** @param within the seconds in which the lines are of now */
    private record Logged(String tree, String rule, int within, List<String> lines) {}

    private static Logged logged(String tree, String rule, int within, String... lines) {
        return new Logged(tree, rule, within, List.of(lines));
    }

    static List<Logged> logged() {
        String blocked =
                "vfio-pci 0000:00:02.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x001e address=0xfde02000 flags=0x0020]";
        String dma = "DMAR: [DMA Read NO_PASID] Request device [00:01.0] fault addr 0xfde02000 [fault reason 0x06]";
        String entry = "DMAR: [INTR-REMAP] Request device [00:01.0] fault index 0x15 [fault reason 0x22]";
        return List.of(
                logged(
                        "posted",
                        "function.no-reset",
                        KernelLog.LONG,
                        "vfio-pci 0000:00:01.0: not ready 65535ms after FLR; giving up"),
                logged(
                        "behind",
                        "function.no-recovery",
                        KernelLog.LONG,
                        "pcieport 0000:00:1c.0: AER: device recovery failed"),
                logged(
                        "arm",
                        "function.no-recovery",
                        KernelLog.LONG,
                        "vfio-pci 0000:00:01.0: Unable to change power state from D3cold to D0, device inaccessible"),
                logged(
                        "virtual",
                        "function.given-up",
                        KernelLog.LONG,
                        "mlx5_core 0000:00:03.0: poll_health:800:(pid 0): device's health compromised - reached miss count"),
                logged("remapped", "device.dma-blocked", KernelLog.SHORT, blocked, blocked),
                logged("posted", "device.dma-blocked", KernelLog.SHORT, dma, dma),
                logged(
                        "posted",
                        "device.no-invalidation",
                        KernelLog.LONG,
                        "DMAR: VT-d detected Invalidation Time-out Error: SID 8"),
                logged("posted", "host-irq.entry-faults", KernelLog.SHORT, entry, entry),
                logged(
                        "arm",
                        "host-irq.queue-hangs",
                        KernelLog.SHORT,
                        "arm-smmu-v3 arm-smmu-v3.0.auto: CMD_SYNC timeout at 0x00000c1a [hwprod 0x1, hwcons 0x0]"),
                logged("arm", "host-irq.queue-hangs", KernelLog.SHORT, "ITS queue timeout (65504 65440)"),
                logged("remapped", "host-irq.queue-hangs", KernelLog.SHORT, "AMD-Vi: Completion-Wait loop timed out"),
                logged(
                        "remapped",
                        "host-irq.stray-vector",
                        KernelLog.SHORT,
                        "__common_interrupt: 2.37 No irq handler for vector"),
                logged(
                        "posted",
                        "vmm.lockup",
                        KernelLog.SHORT,
                        "watchdog: BUG: soft lockup - CPU#2 stuck for 52s! [CPU 0/KVM:101]"),
                logged(
                        "intx",
                        "vmm.lockup",
                        KernelLog.SHORT,
                        "INFO: task CPU 1/KVM:102 blocked for more than 120 seconds."));
    }

    private static Set<String> rules(Logged one, String uptime) throws IOException {
        return rules(one.tree, one.lines, uptime);
    }

    private static Set<String> rules(String tree, List<String> lines, String uptime) throws IOException {
        StringBuilder log = new StringBuilder();
        double at = BEGIN;
        for (String line : lines) {
            log.append(String.format(Locale.ROOT, "<3>[%.6f] %s%n", at, line));
            at += 1;
        }
        RecordedHost host = PlantedFaultsTest.apply(
                PlantedFaultsTest.host(tree), tree, tree.equals("remapped") ? "{irq}effective_affinity_list = 2" : "");
        host.put(KernelLog.FILE, log.toString());
        if (!uptime.isEmpty()) {
            host.put("proc/uptime", uptime + " 1.00\n");
        }
        HostFacts facts = new HostFacts(host.tree());
        return facts.pci(PciAddress.parse(PlantedFaultsTest.device(tree))).stream()
                .flatMap(device -> DeviceChains.of(facts, device).stream())
                .flatMap(chain -> chain.links().stream())
                .flatMap(link -> link.flaws().stream())
                .map(Flaw::rule)
                .filter(rule -> ofLog().contains(rule))
                .collect(Collectors.toCollection(TreeSet::new));
    }

    private static Set<String> ofLog() {
        return Doctor.rules().stream()
                .filter(rule -> rule.contains("reads /kmsg"))
                .map(rule -> rule.split(" {2,}")[1])
                .collect(Collectors.toCollection(TreeSet::new));
    }

    @ParameterizedTest
    @MethodSource("logged")
    void recentReportIsAFlawAndAnOldOneIsNot(Logged one) throws IOException {
        assertThat(rules(one, String.valueOf(BEGIN + one.within - 5))).containsExactly(one.rule);
        assertThat(rules(one, String.valueOf(BEGIN + one.within + 5))).isEmpty();
        assertThat(rules(one, "")).isEmpty();
    }

    /** The device, CPU or thread of the report is another's. */
    @ParameterizedTest
    @MethodSource("logged")
    void reportAboutAnotherAccusesNobody(Logged one) throws IOException {
        List<String> lines = one.lines.stream()
                .map(line -> line.replaceAll("00:(01\\.0|02\\.0|03\\.0|1c\\.0)", "07:11.0")
                        .replace("SID 8", "SID 788")
                        .replace(": 2.37", ": 3.37")
                        .replaceAll("KVM:10(\\d)", "KVM:77$1"))
                .toList();
        String now = String.valueOf(BEGIN + 5);
        assertThat(rules(one.tree, lines, now))
                .isEqualTo(one.rule.equals("host-irq.queue-hangs") ? Set.of(one.rule) : Set.of());
    }

    /** A single one is usual while a guest starts or ends. */
    @Test
    void oneBlockedDmaIsNone() throws IOException {
        for (Logged one : logged()) {
            if (one.lines.size() > 1) {
                assertThat(rules(one.tree, one.lines.subList(1, 2), String.valueOf(BEGIN + 5)))
                        .isEmpty();
            }
        }
    }

    @Test
    void eachRuleIsProvoked() {
        assertThat(logged()).extracting(Logged::rule).containsAll(ofLog());
        assertThat(ofLog()).hasSize(9);
    }
}
