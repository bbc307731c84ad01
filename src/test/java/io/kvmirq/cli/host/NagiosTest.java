/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.host.facts.RecordedHost;
import java.nio.file.Path;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** One line and one grade for monitoring. */
class NagiosTest {
    @TempDir
    private Path temporary;

    /** A tree, its fault, the command, the exit code and the begin of the line. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            posted | {dev}power_state = D0 | explain 0000:00:01.0 | 0 | KVMIRQ OK: all 5 interrupts of guest web are posted
            posted | {vmm}task/101/status = State:\\tD (disk sleep) | explain 0000:00:01.0 | 1 | KVMIRQ WARNING: all 5 interrupts of guest web are in doubt at the VMM: the thread of vcpu 0 (101) sleeps
            posted | {dev}config ones | explain 0000:00:01.0 | 2 | KVMIRQ CRITICAL: all 5 interrupts of guest web are lost at the device: the device does not respond
            posted | {dev}config ones | doctor --check paths | 2 | KVMIRQ CRITICAL: paths: 0000:00:01.0 is broken at its device
            posted | {vmm}task/101/status = State:\\tD (disk sleep) | doctor --check paths | 1 | KVMIRQ WARNING: paths:
            posted | proc/interrupts add ERR: 150 | explain --all | 0 | KVMIRQ OK: all 5 interrupts of guest web are in doubt only because of a count since boot, at the host irq: the interrupt controllers have reported 150 errors (ERR) since boot
            posted | proc/interrupts add MCE: 1 | list | 0 | KVMIRQ OK: all 5 interrupts of guest web are in doubt only because of a count since boot, at the host irq: the host has had 1 machine checks (MCE) since boot
            posted | proc/interrupts add MCE: 1 | doctor --check paths | 0 | KVMIRQ OK
            posted | {dev}power_state = D0 | doctor --check remapping | 0 | KVMIRQ OK: remapping
            posted | {dev}config ones | list --all | 2 | KVMIRQ CRITICAL: all 5 interrupts of guest web are lost at the device: the
            posted | {vmm}task/101/status = State:\\tD (disk sleep) | list | 1 | KVMIRQ WARNING: all 5 interrupts of guest web are in doubt
            posted | {dev}power_state = D0 | list | 0 | KVMIRQ OK: all 5 interrupts of guest web are posted
            virtio | proc/100/status = State:\\tT (stopped) | list | 2 | KVMIRQ CRITICAL: guest web is stopped at the VMM
            virtio | proc/100/status = State:\\tS (sleeping) | list | 0 | KVMIRQ OK: no VFIO PCI device
            posted | {dev}config remove | explain 0000:00:01.0 | 0 | KVMIRQ OK: all 5 interrupts of guest web are posted; not fully checked: device
            posted | {dev}config cut 64 | explain 0000:00:01.0 | 3 | KVMIRQ UNKNOWN: all 5 interrupts of guest web are posted; not fully checked: device
            posted | {dev}config cut 64 | list | 3 | KVMIRQ UNKNOWN: all 5 interrupts of guest web are posted; not fully checked: device
            posted | sys/kernel/debug deny; proc/cmdline remove | doctor --check iommu --check posting | 0 | KVMIRQ OK: iommu; not shown: posting
            posted | proc/interrupts remove | doctor --check remapping | 3 | KVMIRQ UNKNOWN: remapping: /proc/interrupts cannot be read
            """)
    void gradeFollowsTheWorst(String tree, String changes, String command, int code, String line) throws Exception {
        RecordedHost host = PlantedFaultsTest.apply(PlantedFaultsTest.host(tree), tree, changes);
        host.writeTo(temporary);
        Cli.Ended ended = Cli.run((command + " --nagios --root " + temporary).split(" "));
        ended.exited(code);
        assertThat(ended.out()).startsWith(line).hasLineCount(1);
    }
}
