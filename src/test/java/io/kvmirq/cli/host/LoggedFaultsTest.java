/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import io.kvmirq.cli.Cli;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.diag.screens.Doctor;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.KernelLog;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.Hop;
import io.kvmirq.path.Link;
import java.io.IOException;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Faults that only the kernel's log shows. A log loses its oldest lines, so unlike that of another file its absence proves nothing. */
class LoggedFaultsTest {
    private static final double BEGIN = 863_000;
    private static final double SPACE = 4;
    private static final Set<String> OF_LOG = Doctor.rules().stream()
            .filter(rule -> rule.contains("reads /kmsg"))
            .map(rule -> rule.split(" {2,}")[1])
            .filter(rule -> !rule.startsWith("log.")) // LogRulesTest
            .collect(Collectors.toSet());
    private static final Pattern GAVE_UP = Pattern.compile("giving up");

    /** @param within the seconds in which the lines are of now */
    private record Logged(String tree, String rule, int within, List<String> lines) {}

    static List<Logged> logged() throws IOException {
        return Cli.golden(LoggedFaultsTest.class, "logged.txt")
                .lines()
                .filter(line -> !line.startsWith("#"))
                .map(line -> List.of(line.split(" \\| ")))
                .map(cells -> new Logged(
                        cells.get(0),
                        cells.get(1),
                        cells.get(2).equals("long") ? KernelLog.LONG_SECONDS : KernelLog.SHORT_SECONDS,
                        cells.subList(3, cells.size())))
                .toList();
    }

    private static Set<String> rules(Logged logged, String uptime) throws IOException {
        return rules(logged.tree, logged.lines, uptime);
    }

    private static Set<String> rules(String tree, List<String> lines, String uptime) throws IOException {
        return rules(tree, lines, uptime, "");
    }

    private static Set<String> rules(String tree, List<String> lines, String uptime, String more) throws IOException {
        StringBuilder log = new StringBuilder();
        double at = BEGIN;
        for (String line : lines) {
            log.append(String.format(Locale.ROOT, "<3>[%.6f] %s%n", at, line));
            at += SPACE;
        }
        RecordedHost host = PlantedFaultsTest.apply(
                PlantedFaultsTest.host(tree),
                tree,
                "{vmm}task/102/status = State:\tD (disk sleep); {physical}virtfn1 -> ../0000:00:04.0;"
                        + " {physical}virtfn2 -> ../0000:00:02.0; {bridge}aer_dev_correctable = TOTAL_ERR_COR 4128074;"
                        + " {bridge}aer_dev_fatal = TOTAL_ERR_FATAL 0; proc/sys/kernel/split_lock_mitigate = 1" + more);
        host.put(KernelLog.FILE, log.toString());
        host.remove("proc/uptime");
        if (!uptime.isEmpty()) {
            host.put("proc/uptime", uptime + " 1.00\n");
        }
        HostFacts facts = new HostFacts(host.tree());
        return facts.pci(PciAddress.parse(PlantedFaultsTest.device(tree))).stream()
                .flatMap(device -> DeviceChains.read(facts, device).stream())
                .flatMap(chain -> chain.links().stream())
                .flatMap(link -> link.flaws().stream())
                .map(Flaw::rule)
                .filter(OF_LOG::contains)
                .collect(Collectors.toCollection(TreeSet::new));
    }

    @ParameterizedTest
    @MethodSource("logged")
    void recentReportIsAFlawAndAnOldOneIsNot(Logged logged) throws IOException {
        assertThat(rules(logged, String.valueOf(BEGIN + logged.within - 5))).containsExactly(logged.rule);
        assertThat(rules(logged, String.valueOf(BEGIN + logged.within + 9))).isEmpty();
        assertThat(rules(logged, "")).isEmpty();
    }

    /** The device, CPU or thread of the report is another's. */
    @ParameterizedTest
    @MethodSource("logged")
    void reportAboutAnotherAccusesNobody(Logged logged) throws IOException {
        List<String> lines = logged.lines.stream()
                .map(line -> line.replaceAll("00:(01\\.0|02\\.0|03\\.0|1c\\.0)", "07:11.0")
                        .replace("SID 8", "SID 788")
                        .replaceAll("KVM:10(\\d)", "KVM:77$1"))
                .toList();
        String now = String.valueOf(BEGIN + 5);
        assertThat(rules(logged.tree, lines, now))
                .isEqualTo(logged.rule.equals("host-irq.queue-hangs") ? Set.of(logged.rule) : Set.of());
    }

    /** A single one is usual while a guest starts or ends. */
    @Test
    void oneBlockedDmaIsNone() throws IOException {
        for (Logged logged : logged()) {
            if (logged.lines.size() > 1) {
                assertThat(rules(logged.tree, logged.lines.subList(1, 2), String.valueOf(BEGIN + 5)))
                        .isEmpty();
            }
        }
    }

    /** A recovery that succeeded, votes against one of a nonfatal error, and a burst while a device is reset. */
    @Test
    void usualReportsAccuseNobody() throws IOException {
        String now = String.valueOf(BEGIN + 60);
        assertThat(rules(
                        "virtual",
                        List.of(
                                "mlx5_core 0000:00:03.0: poll_health:800:(pid 0): device's health compromised - reached miss count",
                                "mlx5_core 0000:00:03.0: mlx5_health_try_recover:375:(pid 1): health recovery failed",
                                "mlx5_core 0000:00:03.0: mlx5_health_try_recover:380:(pid 1): health recovery succeeded"),
                        now))
                .isEmpty();
        assertThat(rules("behind", List.of("pcieport 0000:00:1c.0: AER: device recovery failed"), now))
                .isEmpty();
        HostFacts burst = new HostFacts(PlantedFaultsTest.host("posted")
                .put("proc/uptime", now + " 1.00\n")
                .put(
                        KernelLog.FILE,
                        ("[" + BEGIN + "] DMAR: [DMA Read NO_PASID] Request device [00:01.0] fault addr 0xfde02000\n")
                                .repeat(10))
                .tree());
        assertThat(DeviceChains.read(
                        burst, burst.pci(PciAddress.parse("0000:00:01.0")).orElseThrow()))
                .allMatch(chain ->
                        chain.links().stream().noneMatch(link -> link.text().contains("blocked DMA")));
    }

    /** Firmware makes stray vectors at each boot of many boards. */
    @Test
    void strayVectorIsARemark() throws IOException {
        HostFacts facts = new HostFacts(PlantedFaultsTest.apply(
                        PlantedFaultsTest.host("remapped"), "remapped", "{irq}effective_affinity_list = 1")
                .put("proc/uptime", BEGIN + 5 + " 1.00\n")
                .put(KernelLog.FILE, "[" + BEGIN + "] __common_interrupt: 1.37 No irq handler for vector\n")
                .tree());
        Link irq = DeviceChains.read(
                        facts, facts.pci(PciAddress.parse("0000:00:02.0")).orElseThrow())
                .get(0)
                .link(Hop.HOST_IRQ)
                .orElseThrow();
        assertThat(irq.isFlawed()).isFalse();
        assertThat(irq.text())
                .contains(
                        "a CPU that it interrupts received a vector without a handler 5 s ago (__common_interrupt: 1.37");
    }

    /** After a restart of the guest, a report from before is not about it. */
    @Test
    void reportFromBeforeTheGuestBeganIsOld() throws IOException {
        String gaveUp = "[" + BEGIN + "] vfio-pci 0000:00:01.0: not ready 65535ms after FLR; giving up\n";
        RecordedHost host = PlantedFaultsTest.host("posted")
                .put("proc/uptime", BEGIN + 60 + " 1.00\n")
                .put(KernelLog.FILE, gaveUp);
        HostFacts before = new HostFacts(host.tree());
        PciAddress device = PciAddress.parse("0000:00:01.0");
        assertThat(before.log().recent(KernelLog.LONG_SECONDS, before.began(device), GAVE_UP, device))
                .hasValueSatisfying(report -> assertThat(report.ago()).isEqualTo("1 min"));
        long began = (long) (BEGIN + 30) * 100;
        host.put("proc/100/stat", "100 (qemu) S 1" + " 0".repeat(17) + " " + began + " 0".repeat(30) + "\n");
        HostFacts after = new HostFacts(host.tree());
        assertThat(after.began(device)).isEqualTo(BEGIN + 30);
        assertThat(after.log().recent(KernelLog.LONG_SECONDS, after.began(device), GAVE_UP, device))
                .isEmpty();
    }

    /** What lasts until the guest ends, however old the message is. */
    @Test
    void messageOfALastingStateStays() throws IOException {
        String refused = "vfio-pci 0000:00:01.0: irq bypass producer (token 00000000a1b2c3d4) registration fails: -16";
        String split = "x86/split lock detection: #AC: CPU 0/KVM/101 took a split_lock trap at address: 0x7f2a";
        for (String now : List.of(String.valueOf(BEGIN + 5), String.valueOf(BEGIN + 500_000))) {
            assertThat(rules("posted", List.of(refused), now)).containsExactly("device.not-bypassed");
            assertThat(rules("posted", List.of(split), now)).containsExactly("vmm.split-locks");
        }
        List<String> others = List.of(refused.replace("01.0", "07.0"), split.replace("/101", "/7101"));
        assertThat(rules("posted", others, String.valueOf(BEGIN + 5))).isEmpty();
    }

    /** A card that answers was put back. */
    @Test
    void cardThatWasPulledDoesNotAnswer() throws IOException {
        String now = String.valueOf(BEGIN + 5);
        List<String> pulled = List.of("pcieport 0000:00:1c.0: pciehp: Slot(3): Card not present");
        assertThat(rules("behind", pulled, now)).isEmpty();
        assertThat(rules("behind", pulled, now, "; {dev}config ones")).containsExactly("bridge.card-gone");
    }

    /** i40e names the virtual function by its number. */
    @Test
    void virtualFunctionThatWasStoppedIsAnother() throws IOException {
        String stopped = "i40e 0000:00:03.0: TX driver issue detected on VF ";
        String now = String.valueOf(BEGIN + 5);
        assertThat(rules("virtual", List.of(stopped + 1), now)).isEmpty();
        assertThat(rules("virtual", List.of(stopped + 20), now)).isEmpty();
    }

    @Test
    void eachRuleIsProvoked() throws IOException {
        assertThat(Stream.concat(
                        logged().stream().map(Logged::rule),
                        Stream.of("device.not-bypassed", "vmm.split-locks", "bridge.card-gone")))
                .containsAll(OF_LOG);
        assertThat(OF_LOG).hasSize(15);
    }
}
