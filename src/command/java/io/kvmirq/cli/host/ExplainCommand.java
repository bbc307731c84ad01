/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.DeviceName;
import io.kvmirq.IrqKind;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.cli.frame.Nagios;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.cli.frame.UnreadableInputException;
import io.kvmirq.diag.Verdict;
import io.kvmirq.diag.rules.VfioOutlook;
import io.kvmirq.diag.screens.Change;
import io.kvmirq.diag.screens.DeviceChains;
import io.kvmirq.diag.screens.GuestRows;
import io.kvmirq.diag.screens.LiveChains;
import io.kvmirq.diag.screens.Look;
import io.kvmirq.diag.screens.MemoryEvidence;
import io.kvmirq.diag.screens.PathsCheck;
import io.kvmirq.diag.sources.Guests;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.diag.sources.Live;
import io.kvmirq.diag.sources.LiveHost;
import io.kvmirq.diag.sources.VcpuWindow;
import io.kvmirq.diag.sources.Vcpus;
import io.kvmirq.host.HostInterrupts.ArmedVector;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.PciDevice;
import io.kvmirq.host.facts.VmProcess;
import io.kvmirq.path.Flaw;
import io.kvmirq.path.InterruptPath;
import io.kvmirq.text.Foreign;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/**
 * {@code kvmirq explain}: explains how a device's interrupt reaches a guest, and why it is not posted. Only {@code
 * --live} writes to the host.
 */
public final class ExplainCommand implements Command {
    private static final String EVIDENCE = "--evidence";

    /** Null for this machine: other commands start faster without its classes. */
    private final @Nullable LiveHost machine;

    /** Watches this machine, if {@code --live} is given. */
    public ExplainCommand() {
        this(null);
    }

    /** @param machine what {@code --live} watches */
    ExplainCommand(@Nullable LiveHost machine) {
        this.machine = machine;
    }

    @Override
    public void describe(Usage usage) {
        usage.description("Says in the first line whether a device's interrupts reach the guest, and whether hardware"
                        + " delivers them (posts) or KVM. Then prints the chain of a vector: device, host irq, device"
                        + " vector, VMM, eventfd, irqfd, GSI, guest vector, vCPU. Each link is ok, broken, doubtful"
                        + " (its evidence is contradictory or proves nothing alone), not used or not shown, with the"
                        + " evidence: observed in a file, inferred (with the reason), or predicted. Then it answers"
                        + " whether host and VM can post it, whether KVM asked for it, whether the entry of the IOMMU"
                        + " (or the LPI on arm64) posts, and whether hardware delivered. For all vectors of a device,"
                        + " prints the chain that breaks first, and the broken links of the others. Reads sysfs, /proc"
                        + " and debugfs, and writes nothing without --live. Run it as root.")
                .footer(footer());
        usage.add(Command.parameter("0", "0..1", "BDF")
                .description("The address of the device, as lspci prints it; or"
                        + " the number of a host irq that VFIO has armed; or the name of a guest, as with --vm."));
        usage.add(Command.parameter("1", "0..1", "VECTOR")
                .description("The number of a vector of MSI or MSI-X (default: all vectors)."));
        usage.add(Command.option("--vm", "NAME|PID", String.class)
                .description("All devices of a guest, by its name or its process, in place of BDF."));
        usage.add(OptionSpec.builder("--all").description("All devices of all guests, in place of BDF."));
        usage.add(OptionSpec.builder("--vcpus")
                .description("With --vm: print the vCPUs of the guest instead of its devices: the phase,"
                        + " the CPU and the counts of each. They need --live; --fake starts a guest"
                        + " named web and watches it."));
        usage.add(OptionSpec.builder("--strict")
                .description("If no link is broken, a link in doubt decides the exit code."));
        usage.add(Nagios.option());
        usage.add(HostSource.twice());
        usage.add(Command.option("--against", "FILE", Path.class)
                .description("With --from: also print the differences from this earlier capture."));
        usage.add(OptionSpec.builder(EVIDENCE)
                .description("Also print each field of kernel memory on the way of an armed vector, beside the value"
                        + " that another structure requires: AGREE, DIFFER, or UNOBSERVABLE with the reason. With --vcpus,"
                        + " those of the posted-interrupt descriptors of Intel."));
        LiveOption.describe(usage);
        MemoryOption.describe(usage);
        HostSource.describe(usage);
        usage.add(Command.json());
    }

    private static String[] footer() {
        List<String> lines = new ArrayList<>(List.of("", "Exit codes, beside 0 to 3 of all commands:"));
        lines.addAll(ExitCode.ofExplain());
        lines.addAll(HostChoice.FILES);
        lines.addAll(List.of(
                "",
                "Example: kvmirq explain 0000:3b:00.0 3",
                "         kvmirq explain web",
                "         kvmirq explain --vm web --live 10",
                "         kvmirq explain --vm web --vcpus --live 10"));
        return lines.toArray(String[]::new);
    }

    /**
     * @param device empty for the devices of guests
     * @param vector empty for all
     * @param irq a host irq in place of device and vector
     * @param guest a guest by name or process; empty for all
     */
    private record Question(
            Optional<PciAddress> device, OptionalInt vector, OptionalInt irq, Optional<String> guest, boolean vcpus) {
        /** The same question, with the device and the vector of a host irq. */
        Question on(HostFacts host) {
            if (irq.isEmpty()) {
                return this;
            }
            ArmedVector one = host.armed().stream()
                    .filter(each -> each.irq().number() == irq.getAsInt())
                    .findFirst()
                    .orElseThrow(() -> new UnreadableInputException("VFIO has armed no host irq " + irq.getAsInt()
                            + ": expected one that " + host.command("list --all") + " shows"));
            return new Question(
                    Optional.of(one.address()),
                    one.kind() == IrqKind.INTX ? OptionalInt.empty() : OptionalInt.of(one.vector()),
                    irq,
                    guest,
                    vcpus);
        }

        List<VmProcess> guests(HostFacts host) {
            if (guest.isPresent()) {
                return HostChoice.guests(host, guest.get());
            }
            return host.vms().all();
        }

        /** @throws UnreadableInputException if no guest is seen and no device is in use */
        void requireSeen(HostFacts host) {
            if (device.isEmpty()
                    && guest.isEmpty()
                    && host.vms().all().isEmpty()
                    && host.armed().isEmpty()) {
                throw new UnreadableInputException("no process is seen that holds a VM" + HostChoice.hidden(host));
            }
        }

        VmProcess onlyGuest(HostFacts host) {
            String name = guest.orElse("");
            List<VmProcess> guests = HostChoice.guests(host, name);
            if (guests.size() > 1) {
                throw new UnreadableInputException("several guests are named " + Foreign.quoted(name)
                        + ": name one by its process, "
                        + guests.stream().map(one -> String.valueOf(one.pid())).collect(Collectors.joining(" or ")));
            }
            return guests.get(0);
        }

        /** The guests on the command line; none for a device, whose interrupts do not pass their other sources. */
        List<VmProcess> sources(HostFacts host) {
            return device.isPresent() ? List.of() : guests(host);
        }

        List<InterruptPath> chains(HostFacts host, KernelPaths memory) {
            if (device.isPresent()) {
                if (vector.isEmpty() || DeviceChains.gone(host, device.get()).isPresent()) {
                    return ExplainCommand.chains(host, device.get(), memory);
                }
                PciDevice one = HostChoice.device(host, device.get());
                checkVector(host, one, vector.getAsInt());
                return List.of(DeviceChains.of(host, one, vector.getAsInt(), memory));
            }
            List<InterruptPath> chains = new ArrayList<>();
            Set<DeviceName> seen = new HashSet<>();
            for (VmProcess process : guests(host)) {
                devices(process)
                        .filter(seen::add) // a helper may hold the VM and the device, too
                        .forEach(address -> chains.addAll(ofGuest(host, address, memory)));
                // No file of a process names a removed device; if the host has one VM, the device belongs to it.
                if (host.vms().all().size() == 1) {
                    DeviceChains.gone(host).stream()
                            .filter(path -> path.interrupt()
                                    .filter(one -> process.devices().contains(one.device()))
                                    .isEmpty())
                            .forEach(chains::add);
                }
            }
            if (guest.isEmpty()) {
                chains.stream().flatMap(chain -> chain.interrupt().stream()).forEach(one -> seen.add(one.device()));
                host.armed().stream()
                        .map(ArmedVector::address)
                        .filter(seen::add)
                        .toList()
                        .forEach(address -> chains.addAll(ofGuest(host, address, memory)));
            }
            return chains;
        }
    }

    @Override
    public int run(ParseResult arguments, Terminal terminal) {
        Question typed = Commands.read(arguments, () -> question(arguments));
        Optional<LiveOption> live = LiveOption.of(arguments, machine);
        HostFiles tree = LiveOption.files(live, arguments);
        if (typed.vcpus() && arguments.hasMatchedOption("--fake")) {
            return Commands.read(arguments, () -> fakeVcpus(typed, arguments, terminal));
        }
        HostFacts host = new HostFacts(tree, terminal.host());
        Question question = typed.on(host);
        if (question.vcpus()) {
            return vcpus(live, host, question.onlyGuest(host), arguments, terminal);
        }
        try (KernelPaths memory = MemoryOption.of(arguments, machine)) {
            return live.isPresent()
                    ? watched(live.get(), host, question, memory, arguments, terminal)
                    : explained(host, question, memory, arguments, terminal);
        }
    }

    private int vcpus(
            Optional<LiveOption> live, HostFacts host, VmProcess guest, ParseResult arguments, Terminal terminal) {
        try (KernelPaths memory = MemoryOption.of(arguments, machine)) {
            ExplainVcpus screen = new ExplainVcpus(
                    host, guest, memory, arguments.hasMatchedOption(EVIDENCE), arguments.hasMatchedOption("--json"));
            if (live.isEmpty()) {
                return screen.print(Vcpus.ofGuest(host, guest), terminal);
            }
            LiveHost watched = live.get().machine();
            return live.get()
                    .run(
                            terminal,
                            () -> VcpuWindow.of(watched, host, guest),
                            window -> screen.print(window.end(new HostFacts(watched.files())), terminal));
        }
    }

    private static int explained(
            HostFacts first, Question question, KernelPaths memory, ParseResult arguments, Terminal terminal) {
        HostFacts host = HostSource.twice(arguments.hasMatchedOption(HostSource.TWICE), first, look -> {
            question.chains(look, KernelPaths.none());
            PathsCheck.ofGuests(look, look.vms().all());
        });
        if (!arguments.hasMatchedOption(Nagios.OPTION)) {
            question.requireSeen(host);
        }
        List<InterruptPath> chains = question.chains(host, memory);
        Optional<List<Change>> changes = Optional.ofNullable(arguments.<Path>matchedOptionValue("--against", null))
                .map(earlier -> Change.between(earlier(earlier, question), chains));
        List<VmProcess> guests = question.sources(host);
        return new Answer(
                        host,
                        chains,
                        PathsCheck.ofGuests(host, guests),
                        GuestRows.of(host, guests),
                        changes,
                        Optional.empty(),
                        memory)
                .print(arguments, terminal);
    }

    /** The chains of an earlier capture. None if it has no such device or guest. */
    private static List<InterruptPath> earlier(Path capture, Question question) {
        try {
            return question.chains(new HostFacts(HostSource.capture(capture)), KernelPaths.none());
        } catch (UnreadableInputException e) {
            return List.of();
        }
    }

    private static int fakeVcpus(Question question, ParseResult arguments, Terminal terminal) {
        try (FakeGuest guest = FakeGuest.of(arguments.matchedOptionValue("--fake", ""))) {
            HostFacts host = new HostFacts(guest.files());
            VmProcess process = question.onlyGuest(host);
            try (VcpuWindow window = VcpuWindow.of(guest, host, process)) {
                window.await(1);
                return new ExplainVcpus(host, process, KernelPaths.none(), false, arguments.hasMatchedOption("--json"))
                        .print(window.end(new HostFacts(guest.files())), terminal);
            }
        } catch (InterruptedException e) {
            throw new IllegalStateException("nobody interrupts a command", e);
        }
    }

    /** Reports a missing device before the watch begins. */
    private static int watched(
            LiveOption live,
            HostFacts host,
            Question question,
            KernelPaths memory,
            ParseResult arguments,
            Terminal terminal) {
        question.requireSeen(host);
        List<VmProcess> guests =
                question.device().isPresent() ? host.vms().of(question.device().get()) : question.guests(host);
        List<PciAddress> devices = question.device().map(List::of).orElseGet(() -> guests.stream()
                .flatMap(ExplainCommand::devices)
                .toList());
        question.device().ifPresent(address -> {
            PciDevice device = HostChoice.device(host, address);
            question.vector().ifPresent(vector -> checkVector(host, device, vector));
        });
        return live.run(host, devices, guests, terminal, seen -> {
            List<InterruptPath> chains = List.of();
            List<VmProcess> sources = List.of();
            try {
                chains = question.chains(seen.host(), memory);
                sources = question.sources(seen.host());
            } catch (UnreadableInputException e) {
                terminal.complain(e.getMessage() + ": it was there when the watch began");
            }
            LiveChains with = LiveChains.of(seen.live(), seen.host());
            return new Answer(
                            seen.host(),
                            chains.stream().map(with::of).toList(),
                            PathsCheck.ofGuests(seen.host(), sources).stream()
                                    .map(with::of)
                                    .toList(),
                            GuestRows.of(seen.host(), sources).stream()
                                    .map(GuestRows::afterWatch)
                                    .toList(),
                            Optional.empty(),
                            Optional.of(seen.live()),
                            memory)
                    .print(arguments, terminal);
        });
    }

    /**
     * @param chains empty if no guest has a device
     * @param guests the paths of the guests on the command line, and of their helpers
     * @param rows of each of these guests
     */
    private record Answer(
            HostFacts host,
            List<InterruptPath> chains,
            List<InterruptPath> guests,
            List<GuestRows> rows,
            Optional<List<Change>> changes,
            Optional<Live> live,
            KernelPaths memory) {
        /** The flaws of the helpers of a device's guest, which the device's interrupts do not pass. */
        private Stream<String> beside() {
            return Guests.of(host).all().stream()
                    .filter(guest -> chains.stream().anyMatch(chain -> chain.guest()
                            .equals(Optional.of(guest.process().asGuest()))))
                    .flatMap(guest -> PathsCheck.paths(host, guest, false).stream())
                    .filter(path -> Look.flaw(path).isPresent())
                    .map(path -> ExplainText.headline(path, "", chains));
        }

        private List<InterruptPath> of(GuestRows one) {
            return guests.stream()
                    .filter(path -> path.guest().equals(Optional.of(one.guest())))
                    .toList();
        }

        /** The paths of a guest that no chain shows; its helpers only if it has virtio or they have a flaw. */
        private List<InterruptPath> shown(GuestRows one) {
            boolean isAlone = chains.stream().noneMatch(chain -> chain.guest().equals(Optional.of(one.guest())));
            return of(one).stream()
                    .filter(path -> isAlone
                            || path.subject() == Flaw.Subject.HELPER
                                    && (one.virtio()
                                            || !path.links().get(0).flaws().isEmpty()))
                    .toList();
        }

        /** Returns the exit code. */
        int print(ParseResult arguments, Terminal terminal) {
            List<InterruptPath> shown =
                    rows.stream().flatMap(one -> shown(one).stream()).toList();
            Verdict verdict = Verdict.of(
                    Stream.concat(chains.stream(), shown.stream()).toList(),
                    List.of(),
                    live.map(Live::stages).orElse(List.of()));
            boolean unseen = !chains.isEmpty() && chains.stream().allMatch(InterruptPath::isUnseen)
                    || arguments.hasMatchedOption("--all")
                            && host.vms().all().isEmpty()
                            && host.hidesProcesses().isPresent();
            int exitCode = ExitCode.of(verdict, arguments.hasMatchedOption("--strict"))
                    .orElse(unseen ? ExitCode.COULD_NOT_RUN : ExitCode.OK);
            if (arguments.hasMatchedOption(Nagios.OPTION)) {
                return new ExplainText(terminal).graded(host, chains, shown, verdict);
            }
            if (arguments.hasMatchedOption("--json")) {
                Json.print(terminal, "explain", host, json -> {
                    json.objects("paths", chains, (to, one) -> to.record(one)
                                    .value("pid", one.guest().map(InterruptPath.Guest::process))
                                    .value("fails", one.fails()))
                            .objects("sources", rows, (to, one) -> to.value("guest", one.guest())
                                    .flag("virtio", one.virtio())
                                    .value("vmm", of(one).get(0).links().get(0))
                                    .value("others", of(one).get(1).links().get(0))
                                    .value("rows", one.rows()));
                    ExplainText.write(
                            json,
                            verdict,
                            Stream.concat(chains.stream(), shown.stream()).toList());
                    changes.ifPresent(all -> json.value("changes", all));
                    live.ifPresent(one -> LiveOption.write(json, one));
                    if (arguments.hasMatchedOption(EVIDENCE)) {
                        json.value("kernelMemory", MemoryEvidence.of(host, chains, memory));
                    }
                    json.number("exitCode", exitCode);
                });
                return exitCode;
            }
            List<String> verdicts = Stream.concat(
                            ExplainText.headlines(chains, shown, verdict).stream(),
                            rows.isEmpty() ? beside() : Stream.of())
                    .toList();
            ByteArrayOutputStream all = new ByteArrayOutputStream();
            print(new ExplainText(terminal.printing(all)), verdicts, verdict, arguments);
            live.ifPresent(one -> LiveOption.print(one, terminal.printing(all)));
            String text = all.toString(StandardCharsets.UTF_8);
            terminal.out().print(text);
            if (terminal.rows() > 0 && text.lines().count() >= terminal.rows()) {
                new ExplainText(terminal).verdicts(verdicts); // the first line has left the screen
            }
            return exitCode;
        }

        private void print(ExplainText text, List<String> verdicts, Verdict verdict, ParseResult arguments) {
            text.verdicts(verdicts);
            if (!chains.isEmpty()) {
                text.print(chains, verdict.counted() ? verdict : Verdict.of(chains, List.of(), List.of()));
            }
            rows.stream().filter(one -> !shown(one).isEmpty()).forEach(one -> text.print(shown(one), one));
            if (arguments.hasMatchedOption(EVIDENCE)) {
                text.memory(MemoryEvidence.of(host, chains, memory));
            }
            changes.ifPresent(text::changes);
        }
    }

    private static Question question(ParseResult arguments) {
        List<String> words = Command.words(arguments);
        Optional<String> first = words.stream().findFirst();
        OptionalInt irq = first.filter(word -> word.matches("\\d{1,9}")).stream()
                .mapToInt(Integer::parseInt)
                .findFirst();
        Optional<String> name = first.filter(word -> irq.isEmpty() && !word.isEmpty() && !word.contains(":"));
        Optional<String> option = Optional.ofNullable(arguments.matchedOptionValue("--vm", null));
        Optional<String> guest = option.or(() -> name);
        boolean vcpus = arguments.hasMatchedOption("--vcpus");
        if (vcpus && guest.isEmpty()) {
            throw new IllegalArgumentException("--vcpus are those of a guest: add --vm NAME");
        }
        boolean all = arguments.hasMatchedOption("--all");
        if (arguments.hasMatchedOption(HostSource.TWICE) && (vcpus || arguments.hasMatchedOption(LiveOption.NAME))) {
            throw new IllegalArgumentException(HostSource.TWICE + " looks at files, and " + LiveOption.NAME
                    + " watches longer: give one of them, and " + HostSource.TWICE + " without --vcpus");
        }
        if (arguments.hasMatchedOption("--against") && (vcpus || !arguments.hasMatchedOption("--from"))) {
            throw new IllegalArgumentException(
                    "--against compares the paths of two captures: add --from, without --vcpus");
        }
        if ((guest.isPresent() || all) && !vcpus && arguments.hasMatchedOption("--fake")) {
            throw new IllegalArgumentException(
                    "a fake host has a guest only while --vcpus watches it: add --vcpus, or name"
                            + " another host by --root or --from");
        }
        if ((words.isEmpty() ? 0 : 1) + (option.isPresent() ? 1 : 0) + (all ? 1 : 0) > 1) {
            throw new IllegalArgumentException("--vm, --all and an address exclude each other: give one of them");
        }
        if (words.isEmpty() && guest.isEmpty() && !all) {
            throw new IllegalArgumentException("expected either the address of a device, such as 0000:3b:00.0, or --vm"
                    + " and the name of a guest: 'kvmirq list --all" + Commands.host(arguments) + "' shows both");
        }
        if (words.size() > 1 && (irq.isPresent() || name.isPresent())) {
            throw new IllegalArgumentException("a vector is one of a device: expected the address of the device before "
                    + Foreign.quoted(words.get(1)) + ", such as 0000:3b:00.0");
        }
        return new Question(
                first.filter(word -> irq.isEmpty() && name.isEmpty()).map(HostChoice::address),
                words.size() > 1 ? OptionalInt.of(vector(words.get(1))) : OptionalInt.empty(),
                irq,
                guest,
                vcpus);
    }

    private static int vector(String typed) {
        if (!typed.matches("\\d{1,4}") || Integer.parseInt(typed) >= MsiMessage.MOST_VECTORS) {
            throw new IllegalArgumentException(
                    Foreign.quoted(typed) + " is not a vector: expected a number from 0 to 2047, such as 3");
        }
        return Integer.parseInt(typed);
    }

    private static Stream<PciAddress> devices(VmProcess process) {
        return Stream.concat(process.devices().stream(), process.mayHave().stream());
    }

    /** A device of a guest whose files are refused does not hide the others. */
    private static List<InterruptPath> ofGuest(HostFacts host, PciAddress address, KernelPaths memory) {
        return host.pci(address).isPresent() || DeviceChains.gone(host, address).isPresent()
                ? chains(host, address, memory)
                : List.of(DeviceChains.hidden(host, address));
    }

    private static List<InterruptPath> chains(HostFacts host, PciAddress address, KernelPaths memory) {
        Optional<InterruptPath> gone = DeviceChains.gone(host, address);
        return gone.map(List::of).orElseGet(() -> DeviceChains.of(host, HostChoice.device(host, address), memory));
    }

    private static void checkVector(HostFacts host, PciDevice device, int vector) {
        List<VfioOutlook.Irqs> messages = VfioOutlook.of(host, device).irqs().stream()
                .filter(irqs -> irqs.kind().compareTo(VfioOutlook.Kind.MSIX) <= 0)
                .toList();
        boolean known = messages.stream().allMatch(irqs -> irqs.count().isPresent());
        if (known && messages.stream().noneMatch(irqs -> vector < irqs.count().orElse(0))) {
            String all = messages.stream()
                    .filter(irqs -> irqs.count().orElse(0) > 0)
                    .map(irqs -> range(irqs.kind(), irqs.count().orElse(0)))
                    .collect(Collectors.joining(", "));
            throw new UnreadableInputException(device.address() + " has no vector " + vector + ": "
                    + (all.isEmpty() ? "it has no interrupt" : "expected " + all));
        }
    }

    private static String range(VfioOutlook.Kind kind, int count) {
        return switch (kind) {
                    case INTX -> IrqKind.INTX.label();
                    case MSI -> IrqKind.MSI.label() + " 0";
                    default -> IrqKind.MSIX.label() + " 0";
                }
                + (count > 1 ? " to " + (count - 1) : "");
    }
}
