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
import java.io.PrintStream;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/** Prints a tape, one line for each call. For one thread. */
final class TapePrinter {
    interface Opening {
        InputStream open() throws IOException;
    }

    /** The number of lines between two checks whether stdout is still open. */
    private static final int UNASKED_LINES = 1 << 10;

    private final PrintStream terminal;
    /** A buffered stream, because the terminal's stream flushes every line. */
    private final PrintWriter out;

    private long lines;
    private long calls;

    TapePrinter(Terminal terminal) {
        this.terminal = terminal.out();
        this.out = new PrintWriter(terminal.out(), false, StandardCharsets.UTF_8);
    }

    /** As {@link #print}, for a whole file. Ends when stdout is closed, as by head. */
    boolean show(Path file) {
        return print(file, () -> Files.newInputStream(file), true);
    }

    /**
     * @return whether the tape is complete, as {@link TapeReader#ended} tells
     * @throws io.kvmirq.recording.tapes.TapeException at the first line that is not one of a tape; earlier lines are
     *     printed
     */
    boolean print(Path file, Opening opening) {
        return print(file, opening, false);
    }

    private boolean print(Path file, Opening opening, boolean untilClosed) {
        try (TapeReader reader = TapeReader.of(new BufferedInputStream(opening.open()))) {
            TapeText text = new TapeText();
            for (Optional<TapeLine> line = reader.next(); line.isPresent(); line = reader.next()) {
                out.println(text.render(line.get()));
                lines++;
                calls += line.get() instanceof TapeLine.Call ? 1 : 0;
                if (untilClosed && lines % UNASKED_LINES == 0 && terminal.checkError()) {
                    return true;
                }
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

    /** The number of calls among the lines; the other lines name started programs. */
    long calls() {
        return calls;
    }
}
