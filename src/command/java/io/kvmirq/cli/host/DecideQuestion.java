/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.Violation;
import io.kvmirq.arch.apic.CompatibilityMsi;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostingHost;
import io.kvmirq.arch.apic.PostingHost.Feature;
import io.kvmirq.arch.apic.PostingObstacle;
import io.kvmirq.arch.apic.Vendor;
import io.kvmirq.arch.apic.model.ApicMessage;
import io.kvmirq.arch.apic.model.Destinations;
import io.kvmirq.arch.apic.model.LapicIds;
import io.kvmirq.arch.apic.model.LocalApic;
import io.kvmirq.arch.apic.model.PostingDecision;
import io.kvmirq.arch.apic.model.PostingIrq;
import io.kvmirq.arch.apic.model.PostingVm;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Hex;
import io.kvmirq.host.KernelBug;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PostingOutlook;
import io.kvmirq.text.Foreign;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.stream.IntStream;
import picocli.CommandLine.ParseResult;

/**
 * A message, the VM that it goes to, and the x86 hosts that decide about it.
 *
 * @param outlook of the only host, if it was read from files
 * @param counted whether the user gave the number of vCPUs
 * @param release of the kernel, as typed or read; empty for the newest
 */
record DecideQuestion(
        MsiMessage message,
        List<PostingHost> hosts,
        Optional<PostingOutlook> outlook,
        PostingVm vm,
        PostingIrq irq,
        int vcpus,
        boolean counted,
        String release) {
    static final String BOTH = "both";

    private static final Gsi GSI = new Gsi(24);
    private static final int FLAT_VCPUS = 8;
    /** 15 clusters of 4. */
    private static final int CLUSTER_VCPUS = 60;

    /** How the guest uses its LAPICs. */
    enum Mode {
        FLAT,
        CLUSTER,
        X2APIC;

        LocalApic lapic(int vcpu) {
            return switch (this) {
                case FLAT -> LapicIds.flat(vcpu, 1 << vcpu % FLAT_VCPUS);
                case CLUSTER -> LapicIds.cluster(vcpu, vcpu / 4, 1 << vcpu % 4);
                case X2APIC -> LapicIds.x2apic(vcpu);
            };
        }
    }

    /** A question for hosts without obstacles to posting. */
    static DecideQuestion ofVendors(ParseResult arguments) {
        String vendor = arguments.matchedOptionValue("--vendor", BOTH);
        LinuxVersion kernel = kernel(arguments, LinuxVersion.NEWEST);
        List<PostingHost> hosts = (vendor.equals(BOTH)
                        ? List.of(Vendor.values())
                        : List.of(named(Vendor.values(), "--vendor", vendor, ", " + BOTH)))
                .stream()
                        .map(PostingHost::of)
                        .map(host -> host.withKernel(kernel))
                        .map(host ->
                                arguments.hasMatchedOption("--x2avic-ext") ? host : host.without(Feature.X2AVIC_EXT))
                        .toList();
        return parse(arguments, hosts, Optional.empty(), true, "");
    }

    /**
     * A question for a host whose files were read.
     *
     * @param posting its {@link HostFacts#posting}
     */
    static DecideQuestion ofHost(ParseResult arguments, HostFacts host, PostingHost posting) {
        boolean hashing = !host.kvm()
                .parameter("kvm", "vector_hashing")
                .known()
                .filter("N"::equals)
                .isPresent();
        return parse(
                arguments,
                List.of(posting.withKernel(kernel(arguments, posting.kernel()))),
                Optional.of(PostingOutlook.fromHost(host)),
                hashing,
                host.stable().orElse(""));
    }

    private static DecideQuestion parse(
            ParseResult arguments,
            List<PostingHost> hosts,
            Optional<PostingOutlook> outlook,
            boolean hashing,
            String release) {
        MsiMessage message = message(arguments);
        if (CompatibilityMsi.BASE_ADDRESS.of(message.address()) != CompatibilityMsi.BASE) {
            throw new IllegalArgumentException(Hex.of(message.address()) + " is not an x86 MSI address:"
                    + " expected 0xfee in bits 31:20; on arm64 see kvmirq decode vgic-its-state and vgic-state");
        }
        int vcpus = arguments.matchedOptionValue("--vcpus", 1);
        if (vcpus < 1 || vcpus > VcpuId.MAX + 1) {
            throw new IllegalArgumentException("--vcpus is " + vcpus + ": expected 1-" + (VcpuId.MAX + 1));
        }
        boolean ids32Bit = arguments.hasMatchedOption("--32-bit-ids");
        Set<MissingPart> missing = missing(arguments);
        PostingVm vm = new PostingVm(
                !missing.contains(MissingPart.LAPICS),
                ids32Bit,
                new Destinations<>(lapics(arguments, vcpus), ids32Bit, !ids32Bit, hashing),
                inhibits(arguments, hosts.get(0).kernel()));
        PostingIrq irq = new PostingIrq(
                !missing.contains(MissingPart.PRODUCER),
                !missing.contains(MissingPart.CONSUMER),
                !missing.contains(MissingPart.OWN_EVENTFD),
                missing.contains(MissingPart.ROUTE) ? List.of() : List.of(new Route.Msi(GSI, message)),
                !missing.contains(MissingPart.VFIO_DOMAIN));
        missing.stream().filter(part -> part.vlpi().isPresent()).findFirst().ifPresent(part -> {
            throw new IllegalArgumentException("--without " + part + " is for arm64 hosts only");
        });
        return new DecideQuestion(
                message,
                hosts,
                outlook,
                vm,
                irq,
                vcpus,
                arguments.hasMatchedOption("--vcpus"),
                arguments.matchedOptionValue("--kernel", release));
    }

    static MsiMessage message(ParseResult arguments) {
        if (!arguments.hasMatchedOption("--msi")) {
            throw new IllegalArgumentException(
                    "--msi is missing: expected --msi ADDRESS/DATA, such as 0xfee01000/0x41");
        }
        String msi = arguments.matchedOptionValue("--msi", "");
        String[] words = msi.split("/", -1);
        if (words.length != 2) {
            throw new IllegalArgumentException(
                    "--msi is " + Foreign.quoted(msi) + ": expected ADDRESS/DATA, such as 0xfee01000/0x41");
        }
        return new MsiMessage(
                Hex.parse(words[0], "the address", Long.SIZE), (int) Hex.parse(words[1], "the data", Integer.SIZE));
    }

    static Set<MissingPart> missing(ParseResult arguments) {
        Set<MissingPart> missing = EnumSet.noneOf(MissingPart.class);
        for (String name : arguments.matchedOptionValue("--without", List.<String>of())) {
            missing.add(named(MissingPart.values(), "--without", name, ""));
        }
        return missing;
    }

    private static List<LocalApic> lapics(ParseResult arguments, int vcpus) {
        String usual = Command.label(vcpus > FLAT_VCPUS ? Mode.X2APIC : Mode.FLAT);
        Mode mode = named(Mode.values(), "--apic", arguments.matchedOptionValue("--apic", usual), "");
        int max = mode == Mode.CLUSTER ? CLUSTER_VCPUS : mode == Mode.FLAT ? ApicMessage.BROADCAST : VcpuId.MAX + 1;
        if (vcpus > max) {
            throw new IllegalArgumentException("--vcpus is " + vcpus + " with --apic " + Command.label(mode)
                    + ": expected 1-" + max + ", or --apic x2apic");
        }
        return IntStream.range(0, vcpus).mapToObj(mode::lapic).toList();
    }

    private static Set<InhibitReason> inhibits(ParseResult arguments, LinuxVersion kernel) {
        Set<InhibitReason> inhibits = EnumSet.noneOf(InhibitReason.class);
        for (String name : arguments.matchedOptionValue("--inhibit", List.<String>of())) {
            InhibitReason reason = named(InhibitReason.values(), "--inhibit", name.replace('-', '_'), "");
            LinuxVersion since = reason.since();
            if (!kernel.isSince(since.major(), since.minor())) {
                throw new IllegalArgumentException(
                        "--inhibit " + name + " is not known to Linux " + kernel + ": expected --kernel " + since);
            }
            inhibits.add(reason);
        }
        return inhibits;
    }

    private static <E extends Enum<E>> E named(E[] all, String what, String text, String more) {
        return Arrays.stream(all)
                .filter(constant -> Command.label(constant).equals(text.toLowerCase(Locale.ROOT)))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(what + " " + Foreign.quoted(text)
                        + " is unknown: expected " + String.join(", ", Command.labels(all)) + more));
    }

    private static LinuxVersion kernel(ParseResult arguments, LinuxVersion usual) {
        if (!arguments.hasMatchedOption("--kernel")) {
            return usual;
        }
        String text = arguments.matchedOptionValue("--kernel", "");
        return LinuxVersion.parse(text)
                .filter(version -> version.isSince(6, 1))
                .orElseThrow(() -> new IllegalArgumentException(
                        "--kernel is " + Foreign.quoted(text) + ": expected 6.1 or newer, such as 6.12"));
    }

    /** The decision of each host. */
    List<PostingDecision> decide() {
        return hosts.stream().map(host -> PostingDecision.decide(host, vm, irq)).toList();
    }

    ApicMessage decoded() {
        return ApicMessage.of(format());
    }

    /** The message in compatibility format. KVM accepts more bits than a device or a LAPIC does. */
    private CompatibilityMsi format() {
        return new CompatibilityMsi(message.address(), message.data());
    }

    /** The rules of the format that the message violates. */
    List<String> strange() {
        return format().violations().stream().map(Violation::toString).toList();
    }

    int destination() {
        return decoded().destination(vm.apicIds32Bit());
    }

    /** The destination vCPUs of the message. */
    List<Integer> meant() {
        return vm.destinations().meant(decoded()).stream()
                .map(LocalApic::vcpuId)
                .toList();
    }

    List<String> bugs(PostingHost host) {
        return host.flaw().isPresent() ? List.of() : KernelBug.affecting(release, Optional.of(host.vendor()));
    }

    /** Whether the only host was read from files. */
    boolean observed() {
        return outlook.isPresent();
    }

    String remedy(PostingHost host, PostingDecision.Unposted unposted) {
        if (host.flaw().equals(Optional.of(unposted.reason()))) {
            return outlook.flatMap(PostingOutlook::remedy).orElse(unposted.remedy());
        }
        return meant().isEmpty() && !counted && unposted.reason() == PostingObstacle.NOT_ONE_VCPU
                ? "set the VM's vCPU count with --vcpus N; 1 is assumed"
                : unposted.remedy();
    }
}
