/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.tapes;

import io.kvmirq.cli.frame.FileSentence;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.recording.tapes.TapeLine;
import io.kvmirq.recording.tapes.TapeReader;
import io.kvmirq.recording.tapes.TapeText;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Optional;

/** Prints a tape, one line for each call. For one thread. */
final class TapePrinter {
    interface Opening {
        InputStream open() throws IOException;
    }

    /** Buffers; the stream of the terminal flushes every line. */
    private final PrintWriter out;

    private long lines;
    private long calls;

    TapePrinter(Terminal terminal) {
        this.out = new PrintWriter(terminal.out(), false, StandardCharsets.UTF_8);
    }

    /**
     * @return whether the tape is complete, as {@link TapeReader#ended} tells
     * @throws io.kvmirq.recording.tapes.TapeException after the lines before the one that is no line of a tape
     */
    boolean print(Path file, Opening opening) {
        try (TapeReader reader = TapeReader.of(new BufferedInputStream(opening.open()))) {
            TapeText text = new TapeText();
            for (Optional<TapeLine> line = reader.next(); line.isPresent(); line = reader.next()) {
                out.println(text.render(line.get()));
                lines++;
                calls += line.get() instanceof TapeLine.Call ? 1 : 0;
            }
            return reader.ended();
        } catch (IOException e) {
            throw new TapeFileException(FileSentence.cannotRead(file, e), e);
        } finally {
            out.flush();
        }
    }

    void flush() {
        out.flush();
    }

    long lines() {
        return lines;
    }

    /** The number of calls among them; the others say which programs were started. */
    long calls() {
        return calls;
    }
}
