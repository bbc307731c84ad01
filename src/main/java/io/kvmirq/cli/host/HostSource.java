/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.cli.frame.Command;
import io.kvmirq.cli.frame.Hex;
import io.kvmirq.fake.Profile;
import java.nio.file.Files;
import java.nio.file.Path;
import picocli.CommandLine.ParseResult;

/** The host that a command looks at: this one, a copy of another's files, or that of a fake kernel. */
public final class HostSource {
    private HostSource() {}

    /** Adds the options that choose it. */
    public static void describe(Command.Usage usage) {
        usage.add(Command.option("--fake", "PROFILE", String.class)
                .completionCandidates(Profile.names())
                .description("Show the devices of a fake kernel instead, such as 6.1 or 7.1."));
        usage.add(Command.option("--root", "DIR", Path.class)
                .description("Read a copy of another machine's files instead; see below."));
    }

    /**
     * The files of the chosen host.
     *
     * @throws IllegalArgumentException if the choice is wrong
     */
    public static HostFiles of(ParseResult arguments) {
        boolean fake = arguments.hasMatchedOption("--fake");
        boolean root = arguments.hasMatchedOption("--root");
        if (fake && root) {
            throw new IllegalArgumentException("--fake and --root exclude each other: give one of them");
        }
        if (fake) {
            return FakeDevices.tree(arguments.matchedOptionValue("--fake", ""));
        }
        Path directory = arguments.matchedOptionValue("--root", Path.of("/"));
        if (!Files.isDirectory(directory.resolve("sys/bus/pci/devices"))) {
            throw new IllegalArgumentException(
                    (root ? "--root is " + Hex.quoted(directory.toString()) : "/sys is not mounted")
                            + ": expected a directory with sys/bus/pci/devices in it");
        }
        return HostFiles.of(directory);
    }
}
