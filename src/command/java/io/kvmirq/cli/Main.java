/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.cli.bits.DecodeCommand;
import io.kvmirq.cli.bits.EncodeCommand;
import io.kvmirq.cli.devices.ForwardCommand;
import io.kvmirq.cli.devices.VfioCommand;
import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.Commands.Audience;
import io.kvmirq.cli.frame.Commands.Named;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Stdout;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.cli.frame.Version;
import io.kvmirq.cli.host.BackendsCommand;
import io.kvmirq.cli.host.CaptureCommand;
import io.kvmirq.cli.host.DecideCommand;
import io.kvmirq.cli.host.DoctorCommand;
import io.kvmirq.cli.host.ErrnoCommand;
import io.kvmirq.cli.host.ExplainCommand;
import io.kvmirq.cli.host.ListCommand;
import io.kvmirq.cli.selftest.SelftestCommand;
import io.kvmirq.cli.watch.WatchCommand;
import java.util.List;
import java.util.Optional;

/** Entry point. Runs {@code --version}, and most {@code doctor} command lines, without loading the parser. */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) {
        try {
            runProcess(arguments);
        } catch (NoClassDefFoundError e) {
            // Without a free descriptor, or a jar that this user may read. The exception names no cause.
            System.err.println(
                    "kvmirq: could not run: Java cannot load a class (" + e.getMessage()
                            + "): let this user read the files of kvmirq and its libraries, or raise RLIMIT_NOFILE (ulimit -n)");
            System.exit(ExitCode.COULD_NOT_RUN);
        } catch (OutOfMemoryError e) {
            System.err.println("kvmirq: could not run: " + e.getMessage());
            System.exit(ExitCode.COULD_NOT_RUN);
        }
    }

    private static void runProcess(String[] arguments) {
        if (arguments.length == 1 && (arguments[0].equals("--version") || arguments[0].equals("-V"))) {
            System.out.println(Version.line());
            if (System.out.checkError()) {
                System.err.println("kvmirq: cannot write to stdout");
                System.exit(ExitCode.FAILED);
            }
            return;
        }
        Stdout stdout = new Stdout();
        Terminal terminal = Terminal.ofProcess(stdout, System.getenv());
        int code = run(arguments, terminal);
        terminal.out().flush();
        if (stdout.lost().isPresent()) {
            terminal.complain("cannot write to stdout: " + stdout.lost().get());
            code = Math.max(code, ExitCode.FAILED);
        }
        // Returning is faster than System.exit, and no thread of kvmirq keeps the JVM alive.
        if (code != ExitCode.OK) {
            System.exit(code);
        }
    }

    static int run(String[] arguments, Terminal terminal) {
        if (arguments.length > 0 && arguments[0].equals(DoctorCommand.NAME)) {
            Optional<Integer> code = DoctorCommand.withoutParser(arguments, terminal);
            if (code.isPresent()) {
                return code.get();
            }
        }
        return new Commands(commands()).run(arguments, terminal);
    }

    /** All commands but help and completion. */
    static List<Named> commands() {
        return List.of(
                new Named(
                        Audience.ADMINISTRATORS,
                        DoctorCommand.NAME,
                        "Check a host's interrupt path, from /dev/kvm to posting, and print remedies.",
                        new DoctorCommand()),
                new Named(
                        Audience.ADMINISTRATORS,
                        "list",
                        "List this host's guests, or their device interrupts and whether they are posted.",
                        new ListCommand()),
                new Named(
                        Audience.ADMINISTRATORS,
                        "watch",
                        "Watch guest interrupt rates, and changes as they happen.",
                        new WatchCommand()),
                new Named(
                        Audience.ADMINISTRATORS,
                        "explain",
                        "Explain how a device's interrupts reach a guest, and why they are not posted.",
                        new ExplainCommand()),
                new Named(
                        Audience.ADMINISTRATORS,
                        "vfio",
                        "Show a PCI device's interrupts, whether VFIO can use it, and how to bind it.",
                        new VfioCommand()),
                new Named(
                        Audience.ADMINISTRATORS,
                        "capture",
                        "Save the files that kvmirq reads on this host in one archive, without names or"
                                + " addresses.",
                        new CaptureCommand()),
                new Named(Audience.AUTHORS, "errno", "Explain an errno from a KVM or VFIO call.", new ErrnoCommand()),
                new Named(
                        Audience.AUTHORS,
                        "decide",
                        "Predict whether KVM posts an MSI to a vCPU, and if not, why.",
                        new DecideCommand()),
                new Named(
                        Audience.AUTHORS,
                        "decode",
                        "Print the fields of an IRTE, a posted-interrupt descriptor, an MSI or another structure.",
                        new DecodeCommand()),
                new Named(
                        Audience.AUTHORS,
                        "encode",
                        "Print the words of an IRTE, a posted-interrupt descriptor, an MSI or another structure.",
                        new EncodeCommand()),
                new Named(
                        Audience.AUTHORS,
                        "backends",
                        "List which bindings to the kernel work here, and why the others do not.",
                        new BackendsCommand()),
                new Named(
                        Audience.TESTERS,
                        "selftest",
                        "Test this machine's interrupt path with a throwaway guest.",
                        new SelftestCommand()),
                new Named(
                        Audience.TESTERS,
                        "forward",
                        "Test whether a PCI device's interrupts reach a throwaway guest.",
                        new ForwardCommand()));
    }
}
