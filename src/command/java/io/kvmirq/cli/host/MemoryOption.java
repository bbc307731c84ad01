/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import io.kvmirq.cli.frame.Command;
import io.kvmirq.diag.sources.KernelPaths;
import io.kvmirq.diag.sources.LiveHost;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/** The option {@code --no-kernel-memory}: a command does not read this machine's kernel memory. */
public final class MemoryOption {
    private static final String NAME = "--no-kernel-memory";

    private MemoryOption() {}

    /** Adds it. */
    public static void describe(Command.Usage usage) {
        usage.add(OptionSpec.builder(NAME)
                .description("Do not read this machine's kernel memory. Otherwise, as root with CAP_SYS_RAWIO and"
                        + " CAP_SYSLOG, kvmirq reads remapping entries, the eventfds, irqfds and routes of armed"
                        + " vectors, and vCPU LAPICs from /proc/kcore with the kernel's BTF, and writes nothing."));
    }

    /**
     * The memory that a command reads, to be closed.
     *
     * @param machine null for this one
     */
    public static KernelPaths open(ParseResult arguments, @Nullable LiveHost machine) {
        if (arguments.hasMatchedOption(NAME)) {
            return KernelPaths.none();
        }
        if (machine != null) {
            return machine.memory();
        }
        return HostSource.isHere(arguments) ? KernelPaths.ofThisMachine() : KernelPaths.none();
    }
}
