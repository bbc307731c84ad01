/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.bits;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.arch.Violation;
import io.kvmirq.arch.amd.GaIrte;
import io.kvmirq.arch.amd.GaTag;
import io.kvmirq.arch.apic.CompatibilityMsi;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
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
import io.kvmirq.arch.vtd.PostedIrte;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Hex;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Terminal;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq decide}: says whether KVM posts a message to a vCPU, and if not, why. Asks no kernel. */
public final class DecideCommand implements Command {
    private static final int FLAT_VCPUS = 8;
    /** 15 clusters of 4. */
    private static final int CLUSTER_VCPUS = 60;

    private static final Gsi GSI = new Gsi(24);
    private static final long EXAMPLE_ADDRESS = 0x1_0000_0000L;
    private static final int PAGE = 4096;

    @Override
    public String name() {
        return "decide";
    }

    @Override
    public String summary() {
        return "Say whether KVM posts an MSI to a vCPU, and if not, why.";
    }

    @Override
    public void describe(Usage usage) {
        usage.spec()
                .usageMessage()
                .description(
                        "Takes the message that a guest wrote into its MSI or MSI-X table, and decides as KVM does on"
                                + " a host where everything else is in order: which vCPUs are meant, whether the IOMMU"
                                + " posts to one of them, and the entry that it gets. Asks no kernel. Exit code 1 when the"
                                + " message is not posted. For x86 only: on arm64, kvmirq decode vgic-state shows what is"
                                + " forwarded.")
                .footer("", "Example: kvmirq decide --vendor amd --msi 0xfee01000/0x41 --vcpus 4");
        usage.add(Command.option("--msi", "ADDRESS/DATA", String.class).description("The message, two hex numbers."));
        usage.add(Command.option("--vendor", "VENDOR", String.class)
                .completionCandidates(Command.labels(Vendor.values()))
                .description("intel or amd. Without it, both are shown."));
        usage.add(Command.option("--vcpus", "N", Integer.class)
                .description("The number of vCPUs of the VM, 1-4096; 1 if it is not given."));
        usage.add(Command.option("--apic", "MODE", String.class)
                .completionCandidates(Command.labels(Mode.values()))
                .description(
                        "How the guest uses its LAPICs: flat, cluster or x2apic. Without it, flat for up to 8 vCPUs,"
                                + " else x2apic."));
        usage.add(OptionSpec.builder("--32-bit-ids").description("The VMM has enabled KVM_X2APIC_API_USE_32BIT_IDS."));
        usage.add(OptionSpec.builder("--no-vector-hashing")
                .description("The module kvm was loaded with vector_hashing=N."));
        usage.add(Command.option("--inhibit", "REASON", List.class)
                .auxiliaryTypes(String.class)
                .completionCandidates(Command.labels(InhibitReason.values()))
                .description(
                        "APIC virtualization is inhibited: a name as the tracepoint prints it, such as pit_reinj."));
        usage.add(OptionSpec.builder("--x2avic-ext")
                .description("AMD: the processor has X2AVIC_EXT, so that vCPU ids above 511 are served."));
        usage.add(Command.option("--kernel", "VERSION", String.class)
                .description("The version of Linux, 6.1 or newer, such as 6.12; " + LinuxVersion.NEWEST
                        + " if it is not given."));
        usage.add(OptionSpec.builder("--reasons")
                .description("Only list all possible reasons, in the order in which KVM finds them."));
        usage.add(Command.json());
    }

    private static <E extends Enum<E>> E named(Class<E> type, String what, String text) {
        return Arrays.stream(type.getEnumConstants())
                .filter(one -> Command.label(one).equals(text.toLowerCase(Locale.ROOT)))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(what + " " + Hex.quoted(text) + " is unknown: expected "
                        + String.join(", ", Command.labels(type.getEnumConstants()))));
    }

    private enum Mode {
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

    /** @param counted whether the user said how many vCPUs there are */
    private record Question(MsiMessage message, List<PostingHost> hosts, PostingVm vm, int vcpus, boolean counted) {}

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        Question question;
        try {
            if (arguments.hasMatchedOption("--reasons")) {
                if (arguments.matchedOptions().size() > 1) {
                    throw new IllegalArgumentException(
                            "--reasons lists all possible reasons: expected no other option beside it");
                }
                printReasons(terminal);
                return ExitCode.OK;
            }
            question = question(arguments);
        } catch (IllegalArgumentException e) {
            terminal.complain(e.getMessage() + ". See kvmirq decide --help");
            return ExitCode.USAGE;
        }
        List<PostingDecision> decisions = question.hosts().stream()
                .map(host ->
                        PostingDecision.of(host, question.vm(), PostingIrq.of(new Route.Msi(GSI, question.message()))))
                .toList();
        if (arguments.hasMatchedOption("--json")) {
            write(question, decisions, terminal);
        } else {
            print(question, decisions, terminal);
        }
        boolean posted = decisions.stream().allMatch(PostingDecision.Posted.class::isInstance);
        return posted ? ExitCode.OK : ExitCode.FAILED;
    }

    private static Question question(ParseResult arguments) {
        if (!arguments.hasMatchedOption("--msi")) {
            throw new IllegalArgumentException(
                    "--msi is missing: expected --msi ADDRESS/DATA, such as 0xfee01000/0x41");
        }
        String msi = arguments.matchedOptionValue("--msi", "");
        String[] words = msi.split("/", -1);
        if (words.length != 2) {
            throw new IllegalArgumentException(
                    "--msi is " + Hex.quoted(msi) + ": expected ADDRESS/DATA, such as 0xfee01000/0x41");
        }
        MsiMessage message = new MsiMessage(
                Hex.parse(words[0], "the address", Long.SIZE), (int) Hex.parse(words[1], "the data", Integer.SIZE));
        if (CompatibilityMsi.BASE_ADDRESS.of(message.address()) != CompatibilityMsi.BASE) {
            throw new IllegalArgumentException(Hex.of(message.address()) + " is not the address of an MSI of x86:"
                    + " expected 0xfee in bits 31:20; on arm64 see kvmirq decode vgic-its-state and vgic-state");
        }
        int vcpus = arguments.matchedOptionValue("--vcpus", 1);
        if (vcpus < 1 || vcpus > VcpuId.MAX + 1) {
            throw new IllegalArgumentException("--vcpus is " + vcpus + ": expected 1-" + (VcpuId.MAX + 1));
        }
        String usual = Command.label(vcpus > FLAT_VCPUS ? Mode.X2APIC : Mode.FLAT);
        Mode mode = named(Mode.class, "--apic", arguments.matchedOptionValue("--apic", usual));
        boolean ids32Bit = arguments.hasMatchedOption("--32-bit-ids");
        int most = mode == Mode.CLUSTER ? CLUSTER_VCPUS : mode == Mode.FLAT ? ApicMessage.BROADCAST : VcpuId.MAX + 1;
        if (vcpus > most) {
            throw new IllegalArgumentException("--vcpus is " + vcpus + " with --apic " + Command.label(mode)
                    + ": expected 1-" + most + ", or --apic x2apic");
        }
        List<LocalApic> lapics = IntStream.range(0, vcpus).mapToObj(mode::lapic).toList();
        LinuxVersion kernel = kernel(arguments.matchedOptionValue("--kernel", LinuxVersion.NEWEST.toString()));
        Set<InhibitReason> inhibits = EnumSet.noneOf(InhibitReason.class);
        for (String name : arguments.matchedOptionValue("--inhibit", List.<String>of())) {
            InhibitReason reason = named(InhibitReason.class, "--inhibit", name);
            LinuxVersion since = reason.since();
            if (!kernel.isSince(since.major(), since.minor())) {
                throw new IllegalArgumentException(
                        "--inhibit " + name + " is not known to Linux " + kernel + ": expected --kernel " + since);
            }
            inhibits.add(reason);
        }
        boolean hashing = !arguments.hasMatchedOption("--no-vector-hashing");
        PostingVm vm =
                new PostingVm(true, ids32Bit, new Destinations<>(lapics, ids32Bit, !ids32Bit, hashing), inhibits);
        List<Vendor> vendors = arguments.hasMatchedOption("--vendor")
                ? List.of(named(Vendor.class, "--vendor", arguments.matchedOptionValue("--vendor", "")))
                : List.of(Vendor.values());
        List<PostingHost> hosts = vendors.stream()
                .map(PostingHost::of)
                .map(host -> host.withKernel(kernel))
                .map(host -> arguments.hasMatchedOption("--x2avic-ext") ? host : host.without(Feature.X2AVIC_EXT))
                .toList();
        return new Question(message, hosts, vm, vcpus, arguments.hasMatchedOption("--vcpus"));
    }

    private static LinuxVersion kernel(String text) {
        return LinuxVersion.of(text)
                .filter(version -> version.isSince(6, 1))
                .orElseThrow(() -> new IllegalArgumentException(
                        "--kernel is " + Hex.quoted(text) + ": expected 6.1 or newer, such as 6.12"));
    }

    private static ApicMessage decoded(Question question) {
        return ApicMessage.of(new CompatibilityMsi(
                question.message().address(), question.message().data()));
    }

    private static int destination(Question question, ApicMessage message) {
        return message.destination(question.vm().apicIds32Bit());
    }

    private static String meant(Question question) {
        List<? extends LocalApic> meant = question.vm().destinations().meant(decoded(question));
        return meant.isEmpty()
                ? "no vCPU"
                : meant.stream().map(lapic -> "vcpu " + lapic.vcpuId()).collect(Collectors.joining(", "));
    }

    private static String remedy(Question question, PostingDecision.Unposted unposted) {
        boolean none = question.vm().destinations().meant(decoded(question)).isEmpty();
        return none && !question.counted()
                ? "say with --vcpus N how many vCPUs the VM has: 1 is assumed"
                : unposted.remedy();
    }

    /** The violations of the message format. KVM accepts them; a device or a LAPIC does something else. */
    private static List<String> remarks(Question question) {
        CompatibilityMsi message = new CompatibilityMsi(
                question.message().address(), question.message().data());
        return message.violations().stream().map(Violation::toString).toList();
    }

    private static void print(Question question, List<PostingDecision> decisions, Terminal terminal) {
        ApicMessage message = decoded(question);
        terminal.out().println(terminal.bold(question.message().toString()));
        terminal.out()
                .println("  " + (message.logical() ? "logical" : "physical") + " destination "
                        + Hex.of(Integer.toUnsignedLong(destination(question, message)))
                        + (message.redirectionHint() ? " with redirection hint" : "") + ", " + message.mode()
                        + ", vector " + Hex.of(message.vector()) + (message.level() ? ", level" : ""));
        int vcpus = question.vcpus();
        terminal.out().println("  means " + meant(question) + ", of " + vcpus + (vcpus == 1 ? " vCPU" : " vCPUs"));
        remarks(question).forEach(remark -> terminal.out().println("  strange: " + remark));
        for (int i = 0; i < decisions.size(); i++) {
            Vendor vendor = question.hosts().get(i).vendor();
            if (decisions.get(i) instanceof PostingDecision.Posted posted) {
                terminal.out()
                        .println(Command.label(vendor) + ": " + terminal.good("posted") + " to " + posted.vcpu()
                                + ", vector " + Hex.of(posted.vector().number()));
                terminal.out().println("  entry    " + entry(vendor, posted));
                terminal.out().println("           with an example of an address; kvmirq decode shows each field");
                posted.inhibits().forEach(reason -> terminal.out()
                        .println("  inhibited: " + reason.cause()
                                + "; the entry stays posted, and software takes the vector to the guest"));
            } else if (decisions.get(i) instanceof PostingDecision.Unposted unposted) {
                PostingObstacle reason = unposted.reason();
                terminal.out()
                        .println(Command.label(vendor) + ": " + terminal.bad("not posted") + ": " + reason.text());
                terminal.out().println("  here:    " + unposted.detail());
                terminal.out().println("  decided: " + reason.decidedBy());
                terminal.out().println("  see:     " + reason.seen());
                terminal.out().println("  do:      " + remedy(question, unposted));
                terminal.out()
                        .println(
                                "  entry    remapped, as the host set it up: the host's interrupt signals the eventfd");
            }
        }
    }

    /** The entry of a vCPU that does not run, with an example of an address and without the device's source id. */
    private static String entry(Vendor vendor, PostingDecision.Posted posted) {
        int vcpu = posted.vcpu().number();
        int vector = posted.vector().number();
        if (vendor == Vendor.INTEL) {
            long descriptor = EXAMPLE_ADDRESS + (long) vcpu * PostedInterruptDescriptor.BYTES;
            return new PostedIrte(PostedIrte.lowWord(descriptor, vector), PostedIrte.highWord(descriptor, 0, 0, 0))
                    .toString();
        }
        long page = EXAMPLE_ADDRESS + (long) vcpu * PAGE;
        long tag = GaTag.VM.with(1) | GaTag.VCPU.with(vcpu);
        return GaIrte.GUEST.text(GaIrte.guestLow(tag, false), GaIrte.guestHigh(page, vector));
    }

    private static void printReasons(Terminal terminal) {
        for (PostingObstacle reason : PostingObstacle.values()) {
            terminal.out().println(terminal.bold(Command.label(reason)) + ": " + reason.text());
            terminal.out().println("  decided: " + reason.decidedBy());
            terminal.out().println("  see:     " + reason.seen());
            terminal.out().println("  do:      " + reason.remedy());
        }
    }

    private static void write(Question question, List<PostingDecision> decisions, Terminal terminal) {
        ApicMessage message = decoded(question);
        Json.print(terminal, "kvmirq.decide/2", json -> {
            json.object("message", one -> one.text(
                                    "address", Hex.of(question.message().address()))
                            .text(
                                    "data",
                                    Hex.of(Integer.toUnsignedLong(
                                            question.message().data())))
                            .number("destination", Integer.toUnsignedLong(destination(question, message)))
                            .flag("logical", message.logical())
                            .flag("redirectionHint", message.redirectionHint())
                            .text("deliveryMode", message.mode().toString())
                            .number("vector", message.vector())
                            .flag("level", message.level()))
                    .number("vcpus", question.vcpus())
                    .numbers(
                            "means",
                            question.vm().destinations().meant(decoded(question)).stream()
                                    .map(LocalApic::vcpuId)
                                    .toList())
                    .texts("strange", remarks(question));
            for (int i = 0; i < decisions.size(); i++) {
                Vendor vendor = question.hosts().get(i).vendor();
                PostingDecision decision = decisions.get(i);
                json.object(Command.label(vendor), one -> write(question, vendor, decision, one));
            }
        });
    }

    private static void write(Question question, Vendor vendor, PostingDecision decision, Json json) {
        if (decision instanceof PostingDecision.Posted posted) {
            json.flag("posted", true)
                    .number("vcpu", posted.vcpu().number())
                    .number("vector", posted.vector().number())
                    .texts(
                            "inhibits",
                            posted.inhibits().stream().map(Command::label).toList())
                    .object("entryWithExampleAddress", one -> {
                        List<String> words = List.of(entry(vendor, posted).split(" "));
                        one.text("kind", words.get(0)).texts("words", words.subList(1, words.size()));
                    });
        } else if (decision instanceof PostingDecision.Unposted unposted) {
            json.flag("posted", false)
                    .text("reason", Command.label(unposted.reason()))
                    .text("text", unposted.reason().text())
                    .text("detail", unposted.detail())
                    .text("decided", unposted.reason().decidedBy())
                    .text("see", unposted.reason().seen())
                    .text("do", remedy(question, unposted));
        }
    }
}
