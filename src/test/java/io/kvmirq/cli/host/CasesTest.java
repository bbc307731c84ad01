/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.cli.Cli;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Hosts with a fault or an oddity that administrators reported, and what is said of them. */
class CasesTest {
    private static final Path CASES = Machine.root().resolve("../shared/cases/admin");

    @TempDir
    @SuppressWarnings("NullAway.Init")
    private static Path temporary;

    /** The case, the command, its exit code, the hop and its state, and words; "none" for a host in order. */
    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            booted-with-pci-nomsi | explain 0000:00:01.0 | 18 | device broken | has pci=nomsi
            booted-without-lpis | explain 0000:00:01.0 | 18 | device broken | has irqchip.gicv3_nolpi
            physical-function-without-driver | explain 0000:00:01.0 | 0 | device doubtful | no driver is bound to the physical function
            acs-override | doctor --check iommu | 0 | none | do not isolate devices (pcie_acs_override)
            two-guests-pinned-to-one-cpu | explain 0000:00:01.0 | 0 | VMM doubtful | (db, vcpu 0) runs there
            another-guest-is-frozen | doctor --check paths | 1 | none | guest db is broken at its VMM
            apic-errors | explain 0000:00:01.0 | 0 | host irq doubtful | have reported 48211 errors (ERR)
            configuration-request-retry | explain 0000:00:01.0 | 18 | device broken | Configuration Request Retry Status
            device-and-vcpus-at-other-nodes | explain 0000:00:01.0 | 0 | host irq doubtful | the device is on node 1
            entry-of-remapping-missing | explain 0000:00:01.0 | 10 | host irq broken | no present IRTE 20
            entry-with-another-source | explain 0000:00:01.0 | 10 | host irq broken | allows source 00:03.0
            harmless-amd-of-linux-5-15 | explain 0000:00:02.0 | 0 | none | nothing visible is broken
            harmless-intx-pending-at-this-moment | explain 0000:00:02.0 | 0 | none | nothing visible is broken
            harmless-vgpu | explain 0000:00:02.0 | 0 | none | the host driver of 0000:00:02.0
            parent-of-a-vgpu-fell-off-the-bus | explain 0000:00:02.0 | 18 | device broken | does not respond
            host-posted-msi | explain 0000:00:01.0 | 17 | none | posts to a host CPU (intremap=posted_msi)
            iommu-reports-faults | explain 0000:00:01.0 | 0 | host irq doubtful | has reported 48211 faults
            iothread-hangs | explain --vm web | 0 | others doubtful | (IO iothread1), which serves virtqueues, sleeps
            irq-thread-starved-by-a-fifo-vcpu | explain 0000:00:01.0 | 0 | host irq doubtful | CPU 1/KVM, priority 99
            one-vector-is-not-posted | explain 0000:00:01.0 | 17 | none | not posted
            vcpus-of-class-idle | explain 0000:00:01.0 | 0 | VMM doubtful | has the class SCHED_IDLE
            vhost-worker-starved | explain --vm web | 0 | others doubtful | vhost worker 2230 is ready to run
            harmless-unplugged-vcpu-on-an-isolated-host | explain 0000:00:01.0 | 0 | none | nothing visible is broken
            lpis-pending-and-not-enabled | explain 0000:00:01.0 | 0 | vCPU doubtful | 5 LPIs of the VM are pending but not enabled
            more-vectors-than-gsi-routes | explain 0000:00:01.0 | 0 | GSI doubtful | VFIO has armed 4101 vectors for the VM
            split-irqchip-serves-a-pin | explain 0000:00:02.0 | 0 | none | with a split irqchip
            avic-inhibited-by-x2apic | explain 0000:00:02.0 | 17 | none | before Linux 6.0, a guest with x2APIC inhibits AVIC
            another-guest-is-frozen | list --all | 0 | none | all 5 interrupts of guest web are posted
            iothread-hangs | explain 0000:00:01.0 | 0 | none | all 5 interrupts of guest web are posted
            guest-capped-by-its-flavour | explain 0000:00:01.0 | 0 | none | slow at times: the control group
            kvmirq-in-a-container | explain 0000:00:01.0 | 0 | none | in its own pid namespace
            kvmirq-in-a-container | explain --all | 3 | none | in its own pid namespace
            kvmirq-in-a-container | explain 0000:00:01.0 --nagios | 3 | none | KVMIRQ UNKNOWN: all 5 interrupts
            kvmirq-in-a-container | list --all --nagios | 3 | none | KVMIRQ UNKNOWN: all 5 interrupts
            kvmirq-in-a-container | doctor --check paths | 3 | none | in its own pid namespace
            kvmirq-in-a-container | vfio 0000:00:01.0 | 1 | none | so a program that is not visible has it open
            locked-down-kernel | explain 0000:00:01.0 | 0 | none | the kernel is locked down (confidentiality)
            harmless-unnamed-threads-on-an-isolated-host | explain 0000:00:01.0 | 0 | none | nothing visible is broken
            device-process-of-crosvm-stopped | vfio 0000:00:01.0 | 1 | none | for guest crosvm (process 2217), with which it shares eventfds; open()
            device-process-of-crosvm-stopped | list --all | 0 | none | 0000:00:01.0
            vmx-off-in-firmware | doctor --check kvm | 1 | none | enable VT-x, or SVM on AMD
            vmx-off-in-firmware | doctor --check posting | 3 | none | so kvm_intel cannot be loaded
            vmm-dumps-core | explain 0000:00:01.0 | 19 | VMM broken | has crashed and is dumping core
            """)
    void caseIsNamed(String name, String command, int code, String flaw, String words) throws Exception {
        Cli.Ended ended = Cli.run((command + " --root " + tree(name)).split(" "));
        ended.exited(code);
        List<String> flaws = ended.out()
                .lines()
                .filter(line -> line.matches("  \\S.* (broken|doubtful) .*"))
                .toList();
        if (flaw.equals("none")) {
            assertThat(flaws).isEmpty();
            assertThat(ended.out()).contains(words);
        } else {
            assertThat(flaws)
                    .anyMatch(line -> line.matches("  " + flaw.replace(" ", " +") + " .*") && line.contains(words));
        }
    }

    /** The host of a case, written for its first command. */
    private static Path tree(String name) throws IOException, InterruptedException {
        assumeTrue(Files.exists(CASES), "needs ../shared/cases/admin, the cases from the field");
        Path host = temporary.resolve(name);
        if (!Files.exists(host)) {
            Path unpacked = temporary.resolve(name + ".part");
            Program.output(List.of(CASES.resolve("tree").toString(), name, unpacked.toString()));
            Files.move(unpacked, host);
        }
        return host;
    }

    /** A remedy fits the other evidence of its host. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "two-guests-pinned-to-one-cpu | explain 0000:00:01.0 | taskset -cp 1 2220 | taskset -cp 0-2",
                "irq-thread-starved-by-a-fifo-vcpu | explain 0000:00:01.0 | or lower the other thread | chrt -f -p 99",
                "vhost-worker-starved | explain --vm web | taskset -cp 1 2230 | 0-1",
                "booted-with-noapic | doctor | remove noapic | opts out of x2APIC"
            })
    void remedyFitsTheOtherEvidence(String name, String command, String advised, String not) throws Exception {
        String out =
                Cli.run((command + " --root " + tree(name)).split(" ")).out().replaceAll("\\s+", " ");
        assertThat(out).contains(advised).doesNotContain(not);
    }
}
