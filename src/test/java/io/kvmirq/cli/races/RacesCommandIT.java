/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.races;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import java.util.List;
import org.junit.jupiter.api.Test;

/** {@code kvmirq races}, as a process. */
class RacesCommandIT {
    @Test
    void listsWhatItCanPlay() throws Exception {
        Cli.Ended ended = Cli.run("races").exited(0);
        assertThat(ended.out())
                .startsWith("lost-interrupt-2019  ")
                .contains(
                        "\nir-list-2016         ",
                        "\nintx-starvation      ",
                        "\nintx-exclusive       ",
                        "\nvgic-late-maintenance  ")
                .hasLineCount(5);
    }

    private static List<String> lines(Cli.Ended ended) {
        return ended.out()
                .lines()
                .map(line -> line.strip().replaceAll(" +", " "))
                .toList();
    }

    /** The demonstration succeeds, with these lines among its own, and ends none with a space. */
    private static Cli.Ended plays(String race, String... shown) throws Exception {
        Cli.Ended ended = Cli.run("races", race).exited(0);
        assertThat(lines(ended)).containsSubsequence(shown);
        assertThat(ended.out().lines()).noneMatch(line -> line.endsWith(" "));
        return ended;
    }

    @Test
    void lostInterruptIsShownBesideTheRepair() throws Exception {
        Cli.Ended ended = plays(
                "lost-interrupt-2019",
                "vcpu is preempted: sets SN 0 1 {} {} 0 1 {} {}",
                "device posts 0x41: sets PIR, not ON (SN is 1) 0 1 {0x41} {} not notified"
                        + " 0 1 {0x41} {} not notified",
                "vcpu runs again: clears SN 0 0 {0x41} {} 0 0 {0x41} {}",
                "vcpu sets ON if PIR is not empty 1 0 {0x41} {} <- the repair",
                "vcpu enters the guest: syncs if ON 0 0 {0x41} {} ON clear: no sync 0 0 {} {0x41} 0x41 taken",
                "guest 0x41 stays in PIR: LOST has 0x41 in its IRR: KEPT");
        List<String> lines = lines(ended);
        assertThat(ended.out().replaceAll("\\s+", " "))
                .doesNotContain("for ever", "nobody")
                .contains("no entry takes 0x41, however often", "posts again, finds ON clear and notifies");
        assertThat(lines).filteredOn(line -> line.startsWith("loses ")).hasSize(3);
        assertThat(lines).filteredOn(line -> line.startsWith("keeps ")).hasSize(3);
        assertThat(lines).filteredOn(line -> line.startsWith("late ")).hasSize(1);
    }

    @Test
    void entryOnTwoListsIsShownBesideTheRepair() throws Exception {
        List<String> lines = lines(plays(
                "ir-list-2016",
                "guest moves the interrupt to vCPU 1 1 0 0 1 on lists 0, 1 1 0 0 1 on list 1",
                "vcpu 0 is preempted: updates its list 1 0 0 0 wrong vCPU 1 0 0 1 list empty",
                "device requests 0x41: sets it in vCPU 1's IRR 1 0 0 0 silent 1 0 0 1 logged",
                "vcpu 0 runs again: updates its list 1 1 0 0 wrong CPU 1 0 0 1 list empty",
                "vcpu 1 sleeps for ever: LOST awake: KEPT"));
        assertThat(lines).filteredOn(line -> line.startsWith("loses ")).hasSize(5);
        assertThat(lines).filteredOn(line -> line.startsWith("keeps ")).hasSize(1);
    }

    @Test
    void starvationIsShownBesideTheAutomaticMask() throws Exception {
        List<String> lines = lines(plays(
                "intx-starvation",
                "host takes the line: A's VM is signalled 1 1 0 0 0 handlers run 0 0 1 0 0 handlers run",
                "host takes the line: B's VM is signalled 1 1 0 0 0 no interrupt 0 0 1 1 0 handlers run",
                "B's VM serves B and ends the interrupt 1 1 0 0 0 nothing 0 0 1 0 1 served",
                "B 0 of 1000 served: STARVED 1000 of 1000 served: KEPT",
                "in every 10th round 100 1000",
                "never 0 1000"));
        assertThat(lines).filteredOn(line -> line.startsWith("no ")).hasSize(3);
        assertThat(lines).filteredOn(line -> line.startsWith("yes ")).hasSize(2);
        assertThat(lines).filteredOn(line -> line.startsWith("trust ")).hasSize(1);
        assertThat(lines).filteredOn(line -> line.startsWith("against: ")).hasSize(6);
        assertThat(lines).filteredOn(line -> line.startsWith("breaks: ")).hasSize(7);
    }

    @Test
    void conflictsOfAnExclusiveLineAreShownBesideTheSharedOne() throws Exception {
        Cli.Ended ended = plays(
                "intx-exclusive",
                "Two VMs race for the line:",
                "B's VM boots: enables INTx 1 EBUSY 2 granted",
                "A VM loses the line while it uses MSI:",
                "A's VM changes to MSI 0 the line is free 0 the line is free",
                "A's VM reboots: enables INTx 1 EBUSY 2 granted",
                "A's VM 0 of 1 served: FAILS 1 of 1 served: RUNS",
                "A VM has two devices on the line:",
                "A's VM enables INTx of a second device 1 EBUSY 2 granted",
                "A's VM 1 of 2 served: FAILS 2 of 2 served: RUNS",
                "The way out: both VMs fall back to a shared line:",
                "B's VM falls back: requests to share 1 EBUSY 2 has the line",
                "A's VM falls back: frees, requests to share 1 granted 2 granted",
                "B's VM falls back: requests to share 2 granted 2 has the line",
                "both 2 of 2 served: RUNS 2 of 2 served: RUNS");
        List<String> lines = lines(ended);
        assertThat(lines).filteredOn(line -> line.contains("served: FAILS")).hasSize(3);
        assertThat(lines).anyMatch(line -> line.startsWith("3 of 3 conflicts fail with an exclusive line."));
        assertThat(ended.out()).doesNotContain("\n\n\n");
    }

    @Test
    void lateMaintenanceInterruptIsShownBesideTheLock() throws Exception {
        Cli.Ended ended = plays(
                "vgic-late-maintenance",
                "guest ends SPI 34, its line is high ended 0 EISR 0x1 ended 0 EISR 0x1",
                "cpu late maintenance interrupt empty 1 SPI 34 pending ended 1 waits: interrupts off",
                "vcpu clears its flag: all is queued empty 0 ended 0",
                "cpu takes the interrupt that waited empty 0 none pending 0 exit, queue, entry",
                "guest waits for an interrupt (WFI) empty 0 flag clear: sleeps pending 1 flag set: awake",
                "vcpu sleeps: LOST until another interrupt has SPI 34 in LR0: KEPT");
        List<String> lines = lines(ended);
        assertThat(lines).filteredOn(line -> line.startsWith("loses ")).hasSize(3);
        assertThat(lines).filteredOn(line -> line.startsWith("waits ")).hasSize(1);
        assertThat(lines).filteredOn(line -> line.startsWith("keeps ")).hasSize(4);
    }

    @Test
    void unknownRaceIsRefused() throws Exception {
        Cli.Ended ended = Cli.run("races", "lost-interrupt-2016").exited(ExitCode.USAGE);
        assertThat(ended.out()).isEmpty();
        assertThat(ended.err())
                .isEqualTo("kvmirq: race 'lost-interrupt-2016' is unknown: expected one of lost-interrupt-2019,"
                        + " ir-list-2016, intx-starvation, intx-exclusive, vgic-late-maintenance. See kvmirq races"
                        + " --help\n");
    }
}
