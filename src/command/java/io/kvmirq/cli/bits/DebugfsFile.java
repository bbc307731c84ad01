/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.bits;

import io.kvmirq.arch.gic.debugfs.ItsState;
import io.kvmirq.arch.gic.debugfs.VgicState;
import io.kvmirq.cli.frame.FileSentence;
import io.kvmirq.cli.frame.Terminal;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** Kinds of {@code kvmirq decode} that are debugfs files. */
final class DebugfsFile {
    static final String VGIC = "vgic-state";
    static final String ITS = "vgic-its-state";
    static final List<String> KINDS = List.of(VGIC, ITS);

    /** More bytes than a file of 512 vCPUs and 65536 LPIs has. */
    private static final int MOST_BYTES = 16 << 20;

    private DebugfsFile() {}

    /**
     * Prints the content of a file. A file that cannot be read, is not of its kind, or lacks SPIs prints one sentence
     * to stderr.
     *
     * @param words the kind and the file, which may be {@code -} for standard input
     * @throws IllegalArgumentException unless there are two words
     */
    static int run(List<String> words, boolean json, Terminal terminal) {
        String kind = words.get(0);
        if (words.size() != 2) {
            throw new IllegalArgumentException(kind + " is a debugfs file: expected its name, such as "
                    + FileSentence.DEBUGFS + "/kvm/TID-FD/" + kind + ", or - for standard input");
        }
        return InputFile.read(words.subList(1, 2), terminal, in -> {
            try {
                print(kind, in, json, terminal);
            } catch (IllegalArgumentException e) {
                throw new IOException(e.getMessage(), e);
            }
        });
    }

    /** @throws IllegalArgumentException if the text is not that of the file, or is cut off; nothing was printed */
    static void print(String kind, InputStream in, boolean json, Terminal terminal) throws IOException {
        byte[] bytes = in.readNBytes(MOST_BYTES + 1);
        if (bytes.length > MOST_BYTES) {
            throw new IllegalArgumentException(
                    kind + " has more than " + MOST_BYTES + " bytes: expected a debugfs file");
        }
        String text = new String(bytes, StandardCharsets.UTF_8);
        DebugfsReport report = new DebugfsReport(terminal);
        if (kind.equals(ITS)) {
            ItsState its = ItsState.parse(text);
            if (json) {
                report.write(its);
            } else {
                report.print(its);
            }
            return;
        }
        VgicState vgic = VgicState.parse(text);
        if (vgic.isInitialized() && !vgic.hasAllSpis()) {
            throw new IllegalArgumentException(
                    "vgic-state does not list all of its " + vgic.spis() + " SPIs: expected the whole file");
        }
        if (json) {
            report.write(vgic);
        } else {
            report.print(vgic);
        }
    }
}
