/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.FileSentence;
import io.kvmirq.cli.frame.UnreadableInputException;
import io.kvmirq.diag.screens.Archive;
import io.kvmirq.fake.Profile;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.text.Foreign;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/** The host that a command examines: this one, a copy of another's files, or a fake kernel's. */
public final class HostSource {
    /** The offset of the magic number in a tar header. */
    private static final int TAR = 257;

    static final String TWICE = "--twice";
    /** Four periods of a quota of the default, in ms. */
    private static final int APART_MILLIS = 400;

    private static final List<String> OPTIONS = List.of("--fake", "--root", "--from");

    private HostSource() {}

    /** Adds the options that select the host. */
    public static void describe(Command.Usage usage) {
        usage.add(Command.option("--fake", "PROFILE", String.class)
                .completionCandidates(Profile.names())
                .description("Read the files of a fake kernel instead: " + Profile.expected() + "."));
        usage.add(Command.option("--root", "DIR", Path.class)
                .description("Read a copy of another machine's files instead. DIR contains them under their paths;"
                        + " 'kvmirq help vfio', 'help doctor' and 'help explain' list them."));
        usage.add(Command.option("--from", "FILE", Path.class)
                .description("Read an archive that kvmirq capture wrote on another machine instead."));
        usage.add(OptionSpec.builder("--config-space")
                .description("As root, keep CAP_SYS_ADMIN, with which sysfs shows the MSI and MSI-X capabilities of"
                        + " devices: configuration space beyond 64 bytes."));
        usage.add(OptionSpec.builder("--no-sandbox")
                .description("As root, keep root's user and all capabilities while reading the files of guests and"
                        + " VMMs. Otherwise, a command that writes no file and does not use --live changes to the"
                        + " user kvmirq or nobody, with only the capabilities that it needs."));
    }

    /** The option of two looks. */
    static OptionSpec.Builder twice() {
        return OptionSpec.builder(TWICE)
                .description("Read twice, 0.4 s apart. A count since boot that changes in between, such as throttled"
                        + " periods or errors (AER), is reported as a current flaw.");
    }

    /** The host, or the second look at it if two are asked for. */
    static HostFacts twice(boolean asked, HostFacts host, Consumer<HostFacts> look) {
        if (!asked) {
            return host;
        }
        look.accept(host);
        try {
            TimeUnit.MILLISECONDS.sleep(APART_MILLIS);
        } catch (InterruptedException e) {
            throw new IllegalStateException("nobody interrupts a command", e);
        }
        return host.again();
    }

    /** Whether the chosen host is this machine. */
    static boolean isHere(ParseResult arguments) {
        return OPTIONS.stream().noneMatch(arguments::hasMatchedOption);
    }

    /**
     * The files of the chosen host, which has PCI devices.
     *
     * @throws IllegalArgumentException if the choice is wrong
     * @throws UnreadableInputException if its files cannot be read
     */
    public static HostFiles parse(ParseResult arguments) {
        return parse(arguments, List.of("sys/bus/pci/devices"));
    }

    /**
     * The files of the chosen host, which may have no PCI, as a guest of Firecracker has none.
     *
     * @throws IllegalArgumentException if the choice is wrong
     * @throws UnreadableInputException if its files cannot be read
     */
    public static HostFiles withoutPci(ParseResult arguments) {
        return parse(arguments, List.of("proc", "sys"));
    }

    /** @param needed directories of which a host has at least one */
    private static HostFiles parse(ParseResult arguments, List<String> needed) {
        List<String> chosen =
                OPTIONS.stream().filter(arguments::hasMatchedOption).toList();
        if (chosen.size() > 1) {
            throw new IllegalArgumentException(
                    String.join(" and ", chosen) + " are mutually exclusive: use one of them");
        }
        if (arguments.hasMatchedOption("--from")) {
            return capture(arguments.matchedOptionValue("--from", Path.of("")));
        }
        if (arguments.hasMatchedOption("--fake")) {
            return FakeDevices.tree(arguments.matchedOptionValue("--fake", ""));
        }
        Path directory = arguments.matchedOptionValue("--root", Path.of("/"));
        return tree(
                directory,
                arguments.hasMatchedOption("--root") ? "--root is " + Foreign.quoted(directory.toString()) : "",
                needed);
    }

    /** @param given how the directory was given; empty for this machine */
    private static HostFiles tree(Path directory, String given, List<String> needed) {
        if (needed.stream().noneMatch(name -> Files.isDirectory(directory.resolve(name)))) {
            throw new UnreadableInputException(
                    !given.isEmpty()
                            ? given + ": "
                                    + (isDenied(directory.resolve(needed.get(0)))
                                            ? "permission denied: run as root, or let this user read the directory"
                                            : "expected a directory with " + String.join(" or ", needed) + " in it")
                            : "/sys is not mounted, or this host has no PCI bus: mount /sys, or name a copy of a host"
                                    + " with --root DIR");
        }
        HostFiles files = HostFiles.at(directory);
        return given.isEmpty() ? new LoggedFiles(files) : files;
    }

    /** Whether this user may not search a directory on the path. */
    private static boolean isDenied(Path directory) {
        try {
            Files.readAttributes(directory, BasicFileAttributes.class);
            return false;
        } catch (AccessDeniedException e) {
            return true;
        } catch (IOException e) {
            return false;
        }
    }

    /**
     * The host of the capture in a file, or of a copy in a directory.
     *
     * @throws UnreadableInputException if it cannot be read, or is none
     */
    static HostFiles capture(Path file) {
        if (Files.isDirectory(file)) {
            return tree(file, FileSentence.shown(file), List.of("proc", "sys"));
        }
        try (InputStream in = Files.newInputStream(file)) {
            return Archive.read(in).tree();
        } catch (IOException e) {
            throw new UnreadableInputException(FileSentence.cannotRead(file, e), e);
        } catch (IllegalArgumentException e) {
            throw new UnreadableInputException(
                    FileSentence.shown(file) + " is not a capture: "
                            + (isTar(file)
                                    ? "it is a tar or gzip archive; unpack it, and name its directory"
                                    : e.getMessage()),
                    e);
        }
    }

    /** Magic numbers of gzip, and of tar in its first header. */
    private static boolean isTar(Path file) {
        try (InputStream in = Files.newInputStream(file)) {
            String head = new String(in.readNBytes(TAR + "ustar".length()), StandardCharsets.ISO_8859_1);
            return head.startsWith("\u001f\u008b") || head.startsWith("ustar", TAR);
        } catch (IOException e) {
            return false;
        }
    }
}
