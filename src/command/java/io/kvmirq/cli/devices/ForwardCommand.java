/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.devices;

import io.kvmirq.Errno;
import io.kvmirq.IrqKind;
import io.kvmirq.KernelException;
import io.kvmirq.PciAddress;
import io.kvmirq.arch.apic.InhibitReason;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.backend.choice.Backends;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.KernelChoice;
import io.kvmirq.cli.frame.KernelReport;
import io.kvmirq.cli.frame.StopHook;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.cli.host.FakeDevices;
import io.kvmirq.cli.host.HostChoice;
import io.kvmirq.diag.rules.VfioOutlook;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.host.PostingFacts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PostingOutlook;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.KernelFacts;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.path.Remedy;
import io.kvmirq.selftest.CouldNotRunException;
import io.kvmirq.selftest.ForwardResult;
import io.kvmirq.selftest.ForwardSelftest;
import io.kvmirq.text.Foreign;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/** {@code kvmirq forward BDF --selftest}: forwards a device's interrupts into a throwaway VM, and triggers each. */
public final class ForwardCommand implements Command {
    private static final List<IrqKind> KINDS = List.of(IrqKind.MSIX, IrqKind.MSI, IrqKind.INTX);
    private static final PostingOutlook LINE = new PostingOutlook(
            Optional.of(false),
            "only MSIs can be posted, and INTx is a line",
            Optional.of("test MSI-X or MSI if the device has them"));

    private static final Pattern VECTORS = Pattern.compile("(\\d{1,4})(?:-(\\d{1,4}))?");

    @Override
    public void describe(Usage usage) {
        usage.description("Forwards a PCI device's interrupts to a throwaway VM, triggers each once, and prints its"
                        + " path: eventfd, GSI, guest vector, whether the guest answered, and how the interrupt was"
                        + " delivered. The device must be bound to vfio-pci. The kernel triggers the interrupts"
                        + " (loopback); the device itself sends none and cannot do DMA. Opening a device resets it,"
                        + " so the test does not open one that is not bound to vfio-pci, that is in an IOMMU group"
                        + " used by host drivers, or that a program has open. At the end, even after Ctrl-C, the test"
                        + " closes everything; the device stays bound to vfio-pci. Needs /dev/kvm and the device's"
                        + " file in /dev/vfio. A fake kernel runs no arm64 guest, so the test checks its VGIC for"
                        + " pending interrupts instead. Exits with 1 if an interrupt was lost or an object left"
                        + " behind, and with 3 if the test could not run.")
                .footer("", "Example: kvmirq forward 0000:3b:00.0 --selftest");
        usage.add(Command.parameter("0", "1", "BDF").required(true).description("Device address, as lspci prints it."));
        usage.add(OptionSpec.builder("--selftest")
                .description("Run the test. Without this option, only print its plan."));
        usage.add(Command.option("--kind", "KIND", String.class)
                .completionCandidates(Command.labels(KINDS.toArray()))
                .description("Interrupt kind: msix, msi or intx (default: the first of these that the device has)."));
        usage.add(Command.option("--vectors", "N[-M]", String.class)
                .description("Test only vector N, or vectors N to M (default: all). They are forwarded 192 at a time,"
                        + " because the guest has 192 device vectors."));
        usage.add(Command.option("--fake", "PROFILE", String.class)
                .completionCandidates(Profile.names())
                .description("Run the test on a fake kernel and its device 0000:3b:00.0 instead: " + Profile.expected()
                        + ". Each line is marked FAKE."));
        usage.add(Command.json());
    }

    /** The kernel and its host files; for a fake, a snapshot of them. */
    private record Target(Kernel kernel, Supplier<HostFiles> files, Set<InhibitReason> inhibits)
            implements AutoCloseable {
        HostFacts host(Terminal terminal) {
            return new HostFacts(files.get(), terminal.host());
        }

        Mirror mirror() {
            Mirror mirror = Mirror.create(new PostingFacts(files.get())
                    .forMirror(kernel.facts().architecture() == KernelFacts.Architecture.ARM64));
            mirror.apply(new Event.Inhibited(inhibits));
            return mirror;
        }

        @Override
        public void close() {
            kernel.close();
        }
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        Optional<String> profile = Optional.ofNullable(arguments.matchedOptionValue("--fake", null));
        boolean json = arguments.hasMatchedOption("--json");
        PciAddress address = Commands.read(
                arguments, () -> HostChoice.address(Command.words(arguments).get(0)));
        ForwardSelftest.Choice choice = Commands.read(
                arguments,
                () -> choice(
                        Optional.ofNullable(arguments.matchedOptionValue("--kind", null)),
                        Optional.ofNullable(arguments.matchedOptionValue("--vectors", null))));
        if (!arguments.hasMatchedOption("--selftest")) {
            return Commands.read(arguments, () -> plan(profile, address, choice, json, terminal));
        }
        Target target = Commands.read(arguments, () -> target(profile));
        String failure;
        try (target) {
            Optional<String> refusal = refusal(target.host(terminal), profile, address, choice);
            if (refusal.isEmpty()) {
                return run(target, address, choice, json, terminal);
            }
            failure = refusal.get();
        } catch (KernelException e) {
            boolean noKvm = e.call().equals("open") && e.operands().equals("/dev/kvm");
            failure = e.getMessage()
                    + (noKvm && e.errno().equals(Errno.ENOENT) ? "; --fake PROFILE runs it on a fake kernel" : "");
        } catch (IllegalArgumentException
                | IllegalStateException
                | UnsupportedOperationException
                | CouldNotRunException e) {
            failure = String.valueOf(e.getMessage());
        }
        terminal.complain(failure);
        if (json) {
            ForwardText.writeRefusal(target.host(terminal), target.kernel, address, failure, terminal);
        }
        return ExitCode.COULD_NOT_RUN;
    }

    private static ForwardSelftest.Choice choice(Optional<String> kind, Optional<String> vectors) {
        Optional<IrqKind> asked = kind.map(text -> KINDS.stream()
                .filter(known -> Command.label(known).equals(text))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(
                        "--kind is " + Foreign.quoted(text) + ": expected msix, msi or intx")));
        if (vectors.isEmpty()) {
            return new ForwardSelftest.Choice(asked, 0, Optional.empty());
        }
        if (asked.filter(IrqKind.INTX::equals).isPresent()) {
            throw new IllegalArgumentException("--vectors is for msix and msi, and INTx is one line: leave it out");
        }
        Matcher matcher = VECTORS.matcher(vectors.get());
        int first = matcher.matches() ? Integer.parseInt(matcher.group(1)) : 0;
        int last = matcher.matches() && matcher.group(2) != null ? Integer.parseInt(matcher.group(2)) : first;
        if (!matcher.matches() || last < first) {
            throw new IllegalArgumentException("--vectors is " + Foreign.quoted(vectors.get())
                    + ": expected a vector or a range, such as 3 or 0-63");
        }
        return new ForwardSelftest.Choice(asked, first, Optional.of(last - first + 1));
    }

    private static Target target(Optional<String> profile) {
        if (profile.isEmpty()) {
            KernelChoice.refused(Backends.ofThisMachine(), "--fake PROFILE").ifPresent(refusal -> {
                throw new IllegalArgumentException(refusal);
            });
            return new Target(Kernel.open(), () -> HostFiles.at(Path.of("/")), Set.of());
        }
        FakeKernel fake = FakeDevices.kernel(profile.get());
        // A host shows the reasons that inhibit AVIC only by the tracepoint kvm_apicv_inhibit_changed.
        Set<InhibitReason> inhibits =
                profile.get().contains("avic-inhibited") ? EnumSet.of(InhibitReason.HYPERV) : Set.of();
        return new Target(fake.open(), fake::hostFiles, inhibits);
    }

    /** Prints the plan of the self-test, from the host's files. */
    private static int plan(
            Optional<String> profile,
            PciAddress address,
            ForwardSelftest.Choice choice,
            boolean json,
            Terminal terminal) {
        HostFacts host = new HostFacts(
                profile.map(FakeDevices::tree).orElseGet(() -> HostFiles.at(Path.of("/"))), terminal.host());
        Optional<VfioOutlook> outlook = outlook(host, address);
        Optional<String> refusal = refusal(host, profile, address, choice);
        refusal.ifPresent(terminal::complain);
        Optional<ForwardText.Planned> interrupts =
                outlook.filter(found -> refusal.isEmpty()).map(device -> interrupts(device, choice));
        PostingOutlook posting =
                interrupts.filter(irqs -> irqs.kind() == IrqKind.INTX).isPresent()
                        ? LINE
                        : PostingOutlook.fromHost(host);
        if (json) {
            ForwardText.writePlan(host, profile.isPresent(), address, interrupts, posting, refusal, terminal);
        } else {
            interrupts.ifPresent(
                    which -> ForwardText.plan(profile.isPresent() ? "FAKE " : "", address, which, posting, terminal));
        }
        return refusal.isEmpty() ? ExitCode.OK : ExitCode.COULD_NOT_RUN;
    }

    private static ForwardText.Planned interrupts(VfioOutlook outlook, ForwardSelftest.Choice choice) {
        IrqKind kind = kind(outlook, choice).orElseThrow();
        OptionalInt inDevice = inDevice(outlook, kind);
        return new ForwardText.Planned(
                kind,
                inDevice,
                choice.first(),
                choice.count().map(OptionalInt::of).orElse(inDevice));
    }

    /** The device is not opened for this. Empty if it does not exist. */
    private static Optional<VfioOutlook> outlook(HostFacts host, PciAddress address) {
        return host.pci(address).map(device -> VfioOutlook.read(host, device));
    }

    /** The reason why the device cannot be tested now. */
    private static Optional<String> refusal(
            HostFacts host, Optional<String> profile, PciAddress address, ForwardSelftest.Choice choice) {
        Optional<VfioOutlook> device = outlook(host, address);
        String vfio = "kvmirq vfio" + profile.map(name -> " --fake " + name).orElse("");
        if (device.isEmpty()) {
            return Optional.of("there is no PCI device " + address + ": '" + vfio + "' lists the devices");
        }
        VfioOutlook outlook = device.get();
        return outlook.refusals().stream()
                .findFirst()
                .map(refusal -> address + " cannot be forwarded: " + refusal.text() + "; "
                        + Remedy.text(refusal.remedies()).orElseThrow()
                        + refusal.remedies().get(0).cost() + ". See " + vfio + " " + address)
                .or(() -> VfioReport.broken(host, address)
                        .map(text -> address + " cannot be forwarded: " + text + ". See " + vfio + " " + address))
                .or(() -> missing(outlook, choice).map(missing -> address + " has " + missing))
                .or(() -> lacksGicV3(host) ? Optional.of(ForwardSelftest.NO_GICV3) : Optional.empty());
    }

    private static boolean lacksGicV3(HostFacts host) {
        return host.interrupts()
                .filter(irqs -> irqs.hasChip("GIC") && !irqs.hasChip("GICv3") && !irqs.hasChip("GICv4"))
                .isPresent();
    }

    /** The chosen interrupts that the device lacks, as far as files show before it is opened. */
    private static Optional<String> missing(VfioOutlook outlook, ForwardSelftest.Choice choice) {
        Optional<IrqKind> kind = kind(outlook, choice);
        if (kind.isEmpty()) {
            return Optional.of("neither MSI-X, MSI nor INTx");
        }
        String label = kind.get().label();
        OptionalInt count = inDevice(outlook, kind.get());
        int end = choice.first() + choice.count().orElse(1);
        if (count.isEmpty() || end <= count.getAsInt()) {
            return Optional.empty();
        }
        return Optional.of(
                count.getAsInt() == 0
                        ? "no " + label
                        : count.getAsInt() + (count.getAsInt() == 1 ? " vector of " : " vectors of ") + label
                                + ", numbered from 0, and no vector " + (end - 1));
    }

    private static Optional<IrqKind> kind(VfioOutlook outlook, ForwardSelftest.Choice choice) {
        return choice.kind().or(() -> KINDS.stream()
                .filter(kind -> inDevice(outlook, kind).orElse(1) > 0)
                .findFirst());
    }

    private static OptionalInt inDevice(VfioOutlook outlook, IrqKind kind) {
        return outlook.irqs().stream()
                .filter(irqs -> irqs.kind().name().equals(kind.name()))
                .map(VfioOutlook.Irqs::count)
                .findFirst()
                .orElseThrow();
    }

    private static int run(
            Target target, PciAddress address, ForwardSelftest.Choice choice, boolean json, Terminal terminal) {
        KernelReport kernel = new KernelReport(target.kernel, terminal);
        ForwardText text = new ForwardText(kernel, terminal);
        ForwardSelftest selftest = new ForwardSelftest(
                target.kernel, address, target::mirror, choice, json ? new ForwardSelftest.Listener() {} : text);
        // Ctrl-C gives the device back, and what was seen is printed, before the JVM ends.
        return StopHook.during(() -> report(target, address, selftest.run(), json, text, terminal), selftest::stop);
    }

    private static int report(
            Target target,
            PciAddress address,
            ForwardResult result,
            boolean json,
            ForwardText text,
            Terminal terminal) {
        List<String> left = new ArrayList<>(result.left());
        target.host(terminal).interrupts().ifPresent(irqs -> irqs.armed(address)
                .forEach(vector -> left.add(vector.irq() + ", which VFIO has armed")));
        if (json) {
            ForwardText.write(target.host(terminal), target.kernel, result, left, terminal);
        } else {
            text.end(result, left);
        }
        return result.passed() && left.isEmpty() ? ExitCode.OK : ExitCode.FAILED;
    }
}
