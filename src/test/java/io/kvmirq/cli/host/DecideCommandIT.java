/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.ExitCode;
import java.util.Locale;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** {@code kvmirq decide}, as a process. */
class DecideCommandIT {
    private static Cli.Ended decide(String... arguments) throws Exception {
        String[] all = new String[arguments.length + 1];
        all[0] = "decide";
        System.arraycopy(arguments, 0, all, 1, arguments.length);
        return Cli.run(all);
    }

    @Test
    void postableMessageIsShownWithTheEntryOfEachVendor() throws Exception {
        Cli.Ended ended = decide("--vendor", "both", "--msi", "0xfee01000/0x41", "--vcpus", "4")
                .exited(0);
        assertThat(ended.out())
                .contains(
                        "physical destination 0x1, fixed, vector 0x41",
                        "targets vcpu 1, of 4 vCPUs",
                        "intel: posted to vcpu 1, vector 0x41",
                        "amd: posted to vcpu 1, vector 0x41");
        String words = ended.out()
                .lines()
                .filter(line -> line.contains("irte.vtd.posted"))
                .findFirst()
                .orElseThrow()
                .replaceAll(".*(irte.vtd.posted \\S+ \\S+).*", "$1");
        Cli.Ended decoded = Cli.run(("decode " + words).split(" ")).exited(0);
        assertThat(decoded.out()).contains("0x41").doesNotContain("violation:");
    }

    /** Five messages that neither vendor posts, each for a reason of its own or a destination of its own. */
    @ParameterizedTest
    @CsvSource({
        "0xfee01000/0x441, the delivery mode is NMI",
        "0xfee01000/0x241, the delivery mode is SMI",
        "0xfeeff000/0x41, 'physical destination 0xff matches vCPUs 0, 1, 2, 3'",
        "0xfee09000/0x41, physical destination 0x9 matches no vCPU",
        "0xfee03004/0x41, 'logical destination 0x3 matches vCPUs 0, 1'"
    })
    void otherMessagesAreToldWithTheirReason(String msi, String detail) throws Exception {
        Cli.Ended ended =
                decide("--vendor", "both", "--msi", msi, "--vcpus", "4").exited(ExitCode.FAILED);
        assertThat(ended.out()).contains("intel: not posted", "amd: not posted", "here:    " + detail, "see:", "do:");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "0xfee01000/0x41 | set the VM's vCPU count with --vcpus N; 1 is assumed",
                "0xfee09000/0x41 --vcpus 4 | have the guest direct the vector to an existing vCPU",
                "0xfeeff000/0x41 --vcpus 4 | have the guest direct the vector to one of them, as irqbalance does",
                "0xfee00000/0x41 --inhibit pit_reinj --inhibit hyperv | offer the guest the hint \"deprecating AutoEOI\""
                        + " (QEMU: hv-apicv); KVM_REINJECT_CONTROL 0 ends this (QEMU: -global"
                        + " kvm-pit.lost_tick_policy=discard)"
            })
    void remedyIsThatOfTheCase(String line, String remedy) throws Exception {
        String[] words = ("--vendor amd --msi " + line).split(" ");
        assertThat(decide(words).exited(ExitCode.FAILED).out()).contains("  do:      " + remedy + "\n");
    }

    @ParameterizedTest
    @CsvSource({"0xfee00000/0x5, vector 0x5 is below 0x10", "0xfee00010/0x41, it is of remappable format"})
    void messagesThatCannotWorkAreRemarkedOn(String msi, String remark) throws Exception {
        assertThat(decide("--vendor", "both", "--msi", msi).out()).contains("strange: ", remark);
    }

    @Test
    void inhibitRevertsOnAmdOnly() throws Exception {
        Cli.Ended ended =
                decide("--vendor", "both", "--msi", "fee01000/41", "--vcpus", "2", "--inhibit", "hyperv", "--json");
        assertThat(ended.out())
                .contains("\"intel\":{\"posted\":true", "\"amd\":{\"posted\":false,\"reason\":\"inhibited\"");
    }

    /** With 9 vCPUs two LAPICs of the flat model have one logical id, and KVM remaps on AMD. */
    @ParameterizedTest
    @CsvSource({
        "flat, 9, 7.1, 1, logical LAPIC ids are not unique",
        "flat, 8, 7.1, 0, posted to vcpu 0",
        "flat, 9, 6.1, 0, posted to vcpu 0",
        "x2apic, 600, 7.1, 1, a vCPU id exceeds the AVIC table",
        "x2apic, 600, 7.1 --x2avic-ext, 0, posted to vcpu 0",
        "x2apic, 600, 6.17 --x2avic-ext, 1, a vCPU id exceeds the AVIC table",
        "x2apic, 512, 6.1, 0, posted to vcpu 0"
    })
    void idsThatAvicCannotServeAreRemapped(String mode, String vcpus, String kernel, int code, String said)
            throws Exception {
        String line = "--vendor amd --msi 0xfee00000/0x41 --apic " + mode + " --vcpus " + vcpus + " --kernel " + kernel;
        assertThat(decide(line.split(" ")).exited(code).out()).contains(said);
    }

    @Test
    void jsonHasFieldsAndNoCommand() throws Exception {
        assertThat(decide("--msi", "fee01000/41", "--vcpus", "2", "--json", "--vendor", "intel")
                        .exited(0)
                        .out())
                .isEqualTo("{\"schema\":\"kvmirq.decide/2\",\"message\":{\"address\":\"0xfee01000\",\"data\":\"0x41\","
                        + "\"destination\":1,\"logical\":false,\"redirectionHint\":false,\"deliveryMode\":\"fixed\","
                        + "\"vector\":65,\"level\":false},\"vcpus\":2,\"means\":[1],\"strange\":[],\"observed\":false,"
                        + "\"intel\":{\"posted\":true,\"vcpu\":1,\"vector\":65,\"inhibits\":[],"
                        + "\"entryWithExampleAddress\":{\"kind\":\"irte.vtd.posted\","
                        + "\"words\":[\"0x4000418001\",\"0x100000000\"]},\"notes\":[]}}\n");
    }

    @Test
    void kernelWithABugOfPostingIsNamed() throws Exception {
        String question = "--vendor intel --msi fee01000/41 --vcpus 2 --kernel ";
        assertThat(decide((question + "6.12.69").split(" ")).exited(0).out())
                .contains(
                        "  note:    Linux from 6.7 on and before 6.12.70 has a known bug (b4d37cdb77a0, CVE-2026-23198)");
        assertThat(decide((question + "6.12.70").split(" ")).exited(0).out()).doesNotContain("note:");
    }

    @Test
    void reasonsAreListedInTheirOrder() throws Exception {
        Cli.Ended ended = decide("--reasons").exited(0);
        assertThat(ended.out().lines().filter(line -> !line.startsWith(" ")))
                .hasSize(PostingObstacle.values().length)
                .first()
                .asString()
                .startsWith(PostingObstacle.NO_REMAPPING.name().toLowerCase(Locale.ROOT) + ": ");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "--msi foo | --msi is 'foo': expected ADDRESS/DATA",
                "--msi 1/2/3 | --msi is '1/2/3': expected ADDRESS/DATA",
                "--vendor both --msi 0x8090040/0x1 | 0x8090040 is not an x86 MSI address: expected 0xfee in bits"
                        + " 31:20; on"
                        + " arm64 see",
                "--vendor both --msi 0x1000/0x41 --json | 0x1000 is not an x86 MSI address",
                "--msi xyz/41 | the address is 'xyz': expected 1 to 16 hex digits",
                "--vendor both --msi fee01000/41 --vcpus 0 | --vcpus is 0: expected 1-4096",
                "--vendor both --msi fee01000/41 --vcpus 300 --apic flat | --vcpus is 300 with --apic flat: expected 1-255",
                "--vendor both --msi fee01000/41 --vcpus 61 --apic cluster | --vcpus is 61 with --apic cluster: expected 1-60",
                "--msi fee01000/41 --vendor via | --vendor 'via' is unknown: expected intel, amd, both",
                "--vendor both --msi fee01000/41 --inhibit frob | --inhibit 'frob' is unknown: expected disabled, hyperv",
                "--vendor both --msi fee01000/41 --kernel 5.10 | --kernel is '5.10': expected 6.1 or newer, such as 6.12",
                "--vendor both --msi fee01000/41 --kernel six | --kernel is 'six': expected 6.1 or newer, such as 6.12",
                "--vendor both --msi fee01000/41 --kernel 6.12 --inhibit physical_id_too_big | --inhibit physical_id_too_big is not"
                        + " known to Linux 6.12: expected --kernel 6.17",
                "--vendor amd --msi fee01000/41 --without frob | --without 'frob' is unknown: expected lapics, producer",
                "--vendor amd --msi fee01000/41 --without its | --without its is for arm64 hosts only",
                "--vendor amd --msi fee01000/41 --root /x | --vendor and --root /x are mutually exclusive",
                "--fake gicv4 --msi 8090040/1 --without lapics | --without lapics is for x86 hosts only",
                "--fake gicv4 --msi 8090040/1 --vcpus 2 | --vcpus is for x86 only, and the host is arm64",
                "--fake vtd-posting --msi fee01000/41 --vcpus 0 | --vcpus is 0: expected 1-4096",
                "--vcpus 2 | --msi is missing: expected --msi ADDRESS/DATA",
                "--reasons --json | --reasons lists all possible reasons: expected no other option"
            })
    void badInputIsOneSentence(String arguments, String sentence) throws Exception {
        Cli.Ended ended = decide(arguments.split(" ")).exited(ExitCode.USAGE);
        assertThat(ended.err()).startsWith("kvmirq: " + sentence).hasLineCount(1);
    }
}
