/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.watch;

import java.io.IOException;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jline.terminal.Attributes;
import org.jline.terminal.Size;
import org.jline.terminal.Terminal;
import org.jline.terminal.TerminalBuilder;
import org.jline.utils.Display;
import org.jline.utils.InfoCmp.Capability;
import org.jline.utils.NonBlockingReader;
import org.jspecify.annotations.Nullable;

/** The terminal of this process while the screen is on it. Any thread may close it; the others are for one. */
final class WatchTerminal implements AutoCloseable {
    private static final int ESCAPE = 27;
    /** How long the rest of an arrow key may take, in milliseconds. */
    private static final int REST = 20;

    private static final int DEFAULT_ROWS = 24;

    private final Terminal terminal;
    private final Display display;
    /** Null until it is drawn. */
    private volatile @Nullable Attributes before;

    private final AtomicBoolean open = new AtomicBoolean(true);
    private volatile boolean interrupted;
    private volatile boolean clear = true;
    private int columns;
    private int rows;

    /** The terminal of this process, which does not change until it is drawn. Empty if its input is another file. */
    static Optional<WatchTerminal> ofProcess() {
        try {
            return Optional.of(new WatchTerminal(
                    TerminalBuilder.builder().system(true).dumb(false).build()));
        } catch (IOException | IllegalStateException e) {
            return Optional.empty();
        }
    }

    WatchTerminal(Terminal terminal) {
        this.terminal = terminal;
        this.display = new Display(terminal, true);
    }

    private void take() {
        before = terminal.enterRawMode();
        terminal.handle(Terminal.Signal.INT, signal -> interrupted = true);
        terminal.handle(Terminal.Signal.WINCH, signal -> clear = true);
        // A shell set other attributes while the process was stopped.
        terminal.handle(Terminal.Signal.CONT, signal -> {
            terminal.enterRawMode();
            clear = true;
        });
        terminal.puts(Capability.enter_ca_mode);
        terminal.puts(Capability.cursor_invisible);
        terminal.flush();
    }

    /** Draws the lines of the screen that changed. */
    void draw(WatchScreen screen) {
        if (!open.get()) {
            return;
        }
        if (before == null) {
            take();
        }
        if (clear) {
            clear = false;
            // JLine runs stty to ask for it, so not each time. A terminal may not know its size.
            Size size = terminal.getSize();
            columns = size.getColumns() < 1 ? io.kvmirq.cli.frame.Terminal.DEFAULT_COLUMNS : size.getColumns();
            rows = size.getRows() < 1 ? DEFAULT_ROWS : size.getRows();
            display.clear();
            display.resize(rows, columns);
        }
        display.update(screen.lines(columns, rows), -1);
    }

    /**
     * Waits for a key.
     *
     * @return the key, with arrows as k and j; q after Ctrl-C or the end of the input; negative if none came
     */
    int key(long millis) {
        try {
            int key = interrupted || !open.get() ? 'q' : terminal.reader().read(Math.max(1, millis));
            if (key == ESCAPE) {
                return afterEscape();
            }
            return interrupted || key == NonBlockingReader.EOF ? 'q' : key;
        } catch (IOException e) {
            return 'q';
        }
    }

    private int afterEscape() throws IOException {
        int next = terminal.reader().read(REST);
        if (next == '[' || next == 'O') {
            int last = terminal.reader().read(REST);
            return last == 'A' ? 'k' : last == 'B' ? 'j' : NonBlockingReader.READ_EXPIRED;
        }
        return NonBlockingReader.READ_EXPIRED;
    }

    /** Whether the size changed, or the process continues after a stop. */
    boolean needsDrawing() {
        return clear;
    }

    @Override
    public void close() {
        Attributes attributes = before;
        if (open.getAndSet(false) && attributes != null) {
            terminal.puts(Capability.cursor_visible);
            terminal.puts(Capability.exit_ca_mode);
            terminal.flush();
            terminal.setAttributes(attributes);
            try {
                terminal.close();
            } catch (IOException e) {
                // It is gone.
            }
        }
    }
}
