/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.gic.VlpiObstacle;
import io.kvmirq.cli.Cli;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.RecordedHost;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** {@code kvmirq decide} reaches every reason on the files of a host. A reason without a case does not compile. */
class DecideReasonsTest {
    private static final String CMDLINE = "proc/cmdline";
    private static final String AMD = "sys/module/kvm_amd/parameters/";
    private static final String INTEL = "sys/module/kvm_intel/parameters/";
    private static final String MESSAGE = "fee01000/41";

    @TempDir
    private static Path temporary;

    /** The directory of each host that was written. */
    private static final Map<RecordedHost, Path> WRITTEN = new IdentityHashMap<>();

    private static final Map<Vendor, RecordedHost> UNCHANGED = new EnumMap<>(Vendor.class);

    /** A host, and the words of the command line after {@code decide --root DIR}. */
    private record Case(RecordedHost host, String words) {}

    private Cli.Ended decide(Case wanted) throws IOException {
        Path root = WRITTEN.get(wanted.host());
        if (root == null) {
            root = Files.createTempDirectory(temporary, "host");
            wanted.host().writeTo(root);
            WRITTEN.put(wanted.host(), root);
        }
        List<String> words = new ArrayList<>(List.of("decide", "--root", root.toString()));
        words.addAll(List.of(wanted.words().split(" ")));
        return Cli.run(words.toArray(String[]::new));
    }

    private static RecordedHost healthy(Vendor vendor) throws IOException {
        return GuestHosts.of(vendor == Vendor.INTEL ? "intel-posted" : "amd-avic");
    }

    /** A host that posts; no test changes it. */
    private static RecordedHost unchanged(Vendor vendor) throws IOException {
        RecordedHost known = UNCHANGED.get(vendor);
        if (known == null) {
            known = healthy(vendor);
            UNCHANGED.put(vendor, known);
        }
        return known;
    }

    private static Case with(RecordedHost host, String words) {
        return new Case(host, "--vcpus 4 --msi " + words);
    }

    /** The case of a reason. For a reason of the other vendor only, a host that posts. */
    private static Case of(PostingObstacle reason, Vendor vendor) throws IOException {
        RecordedHost host = healthy(vendor);
        RecordedHost same = unchanged(vendor);
        boolean intel = vendor == Vendor.INTEL;
        return switch (reason) {
            case NO_REMAPPING ->
                with(
                        host.put(
                                "proc/interrupts",
                                host.tree().text("proc/interrupts").orElse("").replace("IR-", "")),
                        MESSAGE);
            case SWITCHED_OFF -> with(host.put(CMDLINE, "quiet intremap=nopost\n"), MESSAGE);
            case UNIT_CANNOT_POST ->
                with(intel ? host.put("sys/class/iommu/dmar0/intel-iommu/cap", "d2008c22260286\n") : host, MESSAGE);
            case NO_VIRTUAL_APIC ->
                with(intel ? host : host.put("sys/class/iommu/ivhd0/amd-iommu/features", "829d3:0\n"), MESSAGE);
            case NO_APIC_VIRTUALIZATION ->
                with(host.put(intel ? INTEL + "enable_apicv" : AMD + "avic", "N\n"), MESSAGE);
            case DEVICES_NOT_POSTED ->
                with(host.put((intel ? INTEL : AMD) + "enable_device_posted_irqs", "N\n"), MESSAGE);
            case NO_LAPIC_IN_KERNEL -> with(same, MESSAGE + " --without lapics");
            case NO_PRODUCER -> with(same, MESSAGE + " --without producer");
            case NO_CONSUMER -> with(same, MESSAGE + " --without consumer");
            case EVENTFD_TAKEN -> with(same, MESSAGE + " --without own-eventfd");
            case NOT_ONE_MESSAGE -> with(same, MESSAGE + " --without route");
            case NOT_DECODED -> with(same, "1fee01000/41 --32-bit-ids");
            case MODE_NOT_POSTABLE -> with(same, "fee01000/441");
            case NOT_ONE_VCPU -> with(same, "fee09000/41");
            case DOMAIN_NOT_UNMANAGED -> with(same, MESSAGE + " --without vfio-domain");
            case INHIBITED -> with(same, MESSAGE + " --inhibit pit_reinj");
        };
    }

    private static boolean exists(PostingObstacle reason, Vendor vendor) {
        return switch (reason) {
            case UNIT_CANNOT_POST -> vendor == Vendor.INTEL;
            case NO_VIRTUAL_APIC, DOMAIN_NOT_UNMANAGED, INHIBITED -> vendor == Vendor.AMD;
            default -> true;
        };
    }

    @ParameterizedTest
    @EnumSource
    void reasonIsReachedOnTheHostsOfBothVendors(PostingObstacle reason) throws IOException {
        for (Vendor vendor : Vendor.values()) {
            Case wanted = of(reason, vendor);
            String name = Command.label(vendor);
            if (exists(reason, vendor)) {
                assertThat(decide(wanted).exited(ExitCode.FAILED).out())
                        .contains(name + " (Linux ", "): not posted because " + reason.text() + "\n");
                assertThat(decide(new Case(wanted.host(), wanted.words() + " --json"))
                                .out())
                        .contains("\"observed\":true", "\"posted\":false,\"reason\":\"" + Command.label(reason) + "\"");
            } else {
                assertThat(decide(wanted).exited(ExitCode.OK).out())
                        .contains(name + " (Linux ", "): posted to vcpu 1,");
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void inhibitIsSaidWithItsCauseAndCountsWhereTheVendorKnowsIt(InhibitReason reason) throws IOException {
        String words = MESSAGE + " --kernel 7.1 --inhibit " + Command.label(reason);
        Cli.Ended amd = decide(with(unchanged(Vendor.AMD), words)).exited(ExitCode.FAILED);
        assertThat(amd.out()).contains("  here:    " + reason.cause() + "\n", "  do:      " + reason.remedy() + "\n");
        Cli.Ended intel = decide(with(unchanged(Vendor.INTEL), words)).exited(ExitCode.OK);
        assertThat(intel.out().contains("  inhibited: " + reason.cause())).isEqualTo(reason.counts(Vendor.INTEL));
    }

    private static Case of(VlpiObstacle reason) throws IOException {
        RecordedHost gicv4 = GuestHosts.of("gicv4");
        String message = "--msi 8090040/1 --without ";
        return switch (reason) {
            case NO_GICV4 -> new Case(GuestHosts.of("gicv3"), "--msi 8090040/1");
            case NO_DEVICE_ID -> new Case(gicv4, message + "device-id");
            case NO_ITS -> new Case(gicv4, message + "its");
            case UNMAPPED -> new Case(gicv4, message + "mapping");
            case TAKEN -> new Case(gicv4.put("proc/sys/kernel/osrelease", "6.16.1\n"), message + "own-lpi");
        };
    }

    @ParameterizedTest
    @EnumSource
    void reasonIsReachedOnAHostOfArm64(VlpiObstacle reason) throws IOException {
        Case wanted = of(reason);
        assertThat(decide(wanted).exited(ExitCode.FAILED).out())
                .contains(
                        "\narm64 (Linux 6.1",
                        "): no vLPI, because " + reason.text() + "\n",
                        "  do:      " + reason.remedy() + "\n");
        assertThat(decide(new Case(wanted.host(), wanted.words() + " --json")).out())
                .contains("\"arm64\":{\"posted\":false,\"reason\":\"" + Command.label(reason) + "\"");
    }

    @Test
    void pathToAnItsIsThatOfEachHost() throws IOException {
        RecordedHost gicv4 = GuestHosts.of("gicv4");
        for (PostingObstacle row : List.of(
                PostingObstacle.NO_PRODUCER,
                PostingObstacle.NO_CONSUMER,
                PostingObstacle.EVENTFD_TAKEN,
                PostingObstacle.NOT_ONE_MESSAGE)) {
            String words = of(row, Vendor.AMD).words();
            String without = words.substring(words.indexOf("--without"));
            assertThat(decide(new Case(gicv4, "--msi 8090040/1 " + without))
                            .exited(ExitCode.FAILED)
                            .out())
                    .contains("no vLPI, because " + row.text());
        }
    }

    /** Kernels before 6.16 let the later registration take the LPI. */
    @Test
    void lpiOfAnotherInterruptIsTakenBefore616() throws IOException {
        RecordedHost gicv4 = GuestHosts.of("gicv4").put("proc/sys/kernel/osrelease", "6.12.1\n");
        assertThat(decide(new Case(gicv4, "--msi 8090040/1 --without own-lpi"))
                        .exited(ExitCode.OK)
                        .out())
                .isEqualTo("""
                        msi 0x8090040/0x1
                          event 1, for a guest ITS
                        arm64 (Linux 6.12.1, from the host's files): a vLPI, because GICv4 delivers device messages as vLPIs
                        """);
    }

    @Test
    void vectorHashingIsThatOfTheModule() throws IOException {
        String lowestPriorityToTwo = "fee0300c/141";
        RecordedHost host = healthy(Vendor.INTEL);
        assertThat(decide(with(host, lowestPriorityToTwo)).exited(ExitCode.OK).out())
                .contains("posted to vcpu 1");
        RecordedHost without = healthy(Vendor.INTEL).put("sys/module/kvm/parameters/vector_hashing", "N\n");
        assertThat(decide(with(without, lowestPriorityToTwo))
                        .exited(ExitCode.OK)
                        .out())
                .contains("posted to vcpu 0");
    }

    /** The firmware of a guest has no IOMMU to enable. */
    @Test
    void remedyOfAGuestIsNotItsFirmware() throws IOException {
        assertThat(decide(with(RecordedHost.of("nested-pvm"), MESSAGE))
                        .exited(ExitCode.FAILED)
                        .out())
                .contains("  do:      run on bare metal, because this host is a VM and emulated IOMMUs do not post\n");
    }

    @Test
    void hostThatDoesNotShowWhatDecidesIsTold() throws IOException {
        assertThat(decide(with(healthy(Vendor.AMD).remove("proc/cmdline"), MESSAGE)))
                .isEqualTo(new Cli.Ended(
                        ExitCode.COULD_NOT_RUN,
                        "",
                        "kvmirq: the host's files do not show what decides posting: /proc/cmdline cannot be read."
                                + " --vendor assumes that nothing obstructs posting\n"));
        RecordedHost silent = GuestHosts.of("gicv4");
        silent.put(
                "proc/interrupts",
                silent.tree().text("proc/interrupts").orElse("").replace("GICv4-vpe", "GICv3"));
        assertThat(decide(new Case(silent, "--msi 8090040/1"))
                        .exited(ExitCode.COULD_NOT_RUN)
                        .err())
                .contains("only a running VM shows whether the host has a GICv4", "look again while a VM with an ITS");
    }
}
