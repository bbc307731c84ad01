/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.bits;

import io.kvmirq.cli.frame.Terminal;
import java.util.List;
import picocli.CommandLine.Model.OptionSpec;

/** {@code --batch [FILE]} of decode and encode. */
final class BatchFile {
    static final String OPTION = "--batch";

    private BatchFile() {}

    static OptionSpec.Builder option() {
        return OptionSpec.builder(OPTION).description("Read and write JSON lines.");
    }

    /** Decodes or encodes lines of JSON: see {@link InputFile#read}. */
    static int run(FormatLines.Direction direction, List<String> files, Terminal terminal) {
        return InputFile.read(files, terminal, in -> new FormatLines(direction).run(in, terminal.out()));
    }

    /** A full stop, except after a question mark. */
    static String end(IllegalArgumentException e) {
        return String.valueOf(e.getMessage()).endsWith("?") ? "" : ".";
    }
}
