/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.bits;

import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.FileSentence;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.text.Foreign;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;

/** A file that a user names, or standard input. */
final class InputFile {
    private InputFile() {}

    @FunctionalInterface
    interface Use {
        /** @throws IllegalArgumentException if the input is malformed */
        void of(InputStream in) throws IOException;
    }

    /**
     * Reads one file, or standard input if none is named. IllegalArgumentException for several files, and from {@code
     * use}.
     */
    static int read(List<String> files, Terminal terminal, Use use) {
        if (files.size() > 1) {
            throw new IllegalArgumentException("argument " + Foreign.quoted(files.get(1))
                    + " is unexpected: expected one FILE, or none for standard input");
        }
        boolean standardInput = files.isEmpty() || files.get(0).equals("-");
        try (InputStream in = standardInput ? System.in : Files.newInputStream(Path.of(files.get(0)))) {
            use.of(in);
            return ExitCode.OK;
        } catch (InvalidPathException e) {
            terminal.complain("cannot read " + Foreign.quoted(files.get(0)) + ": " + e.getReason());
        } catch (IOException e) {
            terminal.complain(
                    standardInput
                            ? "cannot read standard input: " + e.getMessage()
                            : FileSentence.cannotRead(Path.of(files.get(0)), e));
        }
        return ExitCode.COULD_NOT_RUN;
    }
}
