/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.PciAddress;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** Reports of the kernel's log about a device. */
class KernelLogTest {
    private static final PciAddress DEVICE = PciAddress.parse("0000:00:01.0");

    private static final Pattern NO_RESET = Pattern.compile("not ready \\d{1,9}ms after [^;]{1,40}; giving up");

    private static List<String> about(String log) {
        HostFacts host =
                new HostFacts(new RecordedHost().put(KernelLog.FILE, log).tree());
        return host.log().about(DEVICE, List.of(27), List.of("2219"));
    }

    @Test
    void reportsAreQuotedWithTheirTime() {
        assertThat(
                        about(
                                "4,901,100200300,-;DMAR: [INTR-REMAP] Request device [00:01.0] fault index 0x14 [fault reason 0x26]\n"
                                        + " SUBSYSTEM=pci\n"
                                        + "6,902,100200400,-;vfio-pci 0000:00:01.0: enabling device\n"
                                        + "4,903,200000000,-,caller=T1;irq 27: nobody cared (try booting with the \"irqpoll\" option)\n"
                                        + "3,904,300000000,-;INFO: task CPU 0/KVM:2219 blocked for more than 120 seconds.\n"
                                        + "3,905,300000000,-;irq 271: nobody cared\n"
                                        + "3,906,300000000,-;pcieport 0000:00:1c.0: AER: Corrected error received: 0000:00:01.07\n"))
                .containsExactly(
                        "the kernel's log, 100.200 s after the boot: DMAR: [INTR-REMAP] Request device [00:01.0] fault index"
                                + " 0x14 [fault reason 0x26]",
                        "the kernel's log, 200.000 s after the boot: irq 27: nobody cared (try booting with the \"irqpoll\""
                                + " option)",
                        "the kernel's log, 300.000 s after the boot: INFO: task CPU 0/KVM:2219 blocked for more than 120"
                                + " seconds.");
    }

    @Test
    void resetsOfADeviceAndTimeoutsOfItsIommuAreReports() {
        assertThat(about("6,907,400000000,-;vfio-pci 0000:00:01.0: vfio_bar_restore: reset recovery - restoring BARs\n"
                        + "6,908,400000000,-;vfio-pci 0000:00:02.0: vfio_bar_restore: reset recovery - restoring BARs\n"
                        + "3,909,500000000,-;DMAR: VT-d detected Invalidation Time-out Error: SID 100\n"
                        + "3,910,500000000,-;DMAR: VT-d detected Invalidation Time-out Error: SID 8\n"
                        + "3,911,600000000,-;DMAR: VT-d detected Invalidation Time-out Error: SID 0\n"))
                .containsExactly(
                        "the kernel's log, 400.000 s after the boot: vfio-pci 0000:00:01.0: vfio_bar_restore: reset recovery -"
                                + " restoring BARs",
                        "the kernel's log, 500.000 s after the boot: DMAR: VT-d detected Invalidation Time-out Error: SID 8",
                        "the kernel's log, 600.000 s after the boot: DMAR: VT-d detected Invalidation Time-out Error: SID 0");
    }

    /** Each vector of each device asks. */
    @Test
    void longLinesOfAFullLogAreAskedOnce() {
        String line = "[%d.0] vfio-pci 0000:07:11.0: error " + "not ready 1ms after 0000:00:01.0 ".repeat(30) + "\n";
        StringBuilder log = new StringBuilder();
        for (int i = 0; i < 10_000; i++) {
            log.append(String.format(line, i / 10));
        }
        HostFacts host = new HostFacts(new RecordedHost()
                .put(KernelLog.FILE, log.toString())
                .put("proc/uptime", "1000.0 1.0\n")
                .tree());
        for (int i = 0; i < 100_000; i++) {
            assertThat(host.log().recent(KernelLog.LONG_SECONDS, 0, NO_RESET, DEVICE))
                    .isEmpty();
        }
        assertThat(host.log().recent(KernelLog.LONG_SECONDS, 0, Pattern.compile("error"), DEVICE))
                .hasValueSatisfying(report -> assertThat(report.count()).isEqualTo(10_000));
    }

    @Test
    void outputOfDmesgIsReadAndEscapesAreRemoved() {
        assertThat(about(
                        "<4>[   12.500000] \u001b[31mvfio-pci 0000:00:01.0: \\x1b[1mnot ready\u0007 1023ms after bus reset\n"
                                + "[   13.500000] AMD-Vi: Event logged [IO_PAGE_FAULT device=00:01.0 domain=0x0001]\n"))
                .containsExactly(
                        "the kernel's log, 12.500 s after the boot: vfio-pci 0000:00:01.0: not ready 1023ms after bus reset",
                        "the kernel's log, 13.500 s after the boot: AMD-Vi: Event logged [IO_PAGE_FAULT device=00:01.0"
                                + " domain=0x0001]");
    }

    @Test
    void ofManyReportsTheLastAreShownEachOnce() {
        StringBuilder log = new StringBuilder("x".repeat(1 << 16)).append('\n');
        for (int i = 0; i < 20_000; i++) {
            log.append("4,1,")
                    .append(1_000_000 + i)
                    .append(",-;error ")
                    .append(i / 2 % 6)
                    .append(" of 0000:00:01.0\n");
        }
        assertThat(about(log.toString()))
                .extracting(line -> line.replaceAll(".* 1[.]020 s.*: error", "error"))
                .containsExactly(
                        "error 0 of 0000:00:01.0",
                        "error 1 of 0000:00:01.0",
                        "error 2 of 0000:00:01.0",
                        "error 3 of 0000:00:01.0");
        assertThat(about("no form 0000:00:01.0 error")).isEmpty();
        assertThat(new HostFacts(new RecordedHost().tree()).log().about(DEVICE, List.of(), List.of()))
                .isEmpty();
    }
}
