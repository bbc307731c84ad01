/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.watch;

import java.io.IOError;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jline.terminal.Attributes;
import org.jline.terminal.Size;
import org.jline.terminal.Terminal;
import org.jline.terminal.impl.PosixSysTerminal;
import org.jline.terminal.impl.exec.ExecPty;
import org.jline.terminal.impl.exec.ExecTerminalProvider;
import org.jline.terminal.spi.SystemStream;
import org.jline.utils.Display;
import org.jline.utils.InfoCmp.Capability;
import org.jline.utils.NonBlockingReader;

/**
 * This process's terminal for the screen, without echo and line editing. Any thread may close it; the others are for
 * one.
 */
final class WatchTerminal implements AutoCloseable {
    private static final int ESCAPE = 27;
    /** How long the rest of an arrow key may take, in milliseconds. */
    private static final int KEY_REST_MILLIS = 20;

    private static final int DEFAULT_ROWS = 24;

    private final Terminal terminal;
    private final Display display;
    private final Attributes before;
    private final AtomicBoolean open = new AtomicBoolean(true);
    private volatile boolean drawn;
    private volatile boolean interrupted;
    private volatile boolean clear;
    private int columns;
    private int rows;

    /** The terminal of this process. Empty if its input is another file. */
    static Optional<WatchTerminal> ofProcess() {
        try {
            // JLine's builder runs the program test five times to find out what the launcher and the input tell.
            Terminal terminal = new PosixSysTerminal(
                    "kvmirq",
                    System.getenv("TERM"),
                    ExecPty.current(new ExecTerminalProvider(), SystemStream.Output),
                    StandardCharsets.UTF_8,
                    true,
                    Terminal.SignalHandler.SIG_DFL);
            try {
                return Optional.of(new WatchTerminal(terminal));
            } catch (IOError e) {
                terminal.close();
                return Optional.empty();
            }
        } catch (IOException | IOError e) {
            return Optional.empty();
        }
    }

    WatchTerminal(Terminal terminal) {
        this.terminal = terminal;
        this.display = new Display(terminal, true);
        // Before raw mode: JLine has set the kernel's default, which ends the process without its hooks.
        terminal.handle(Terminal.Signal.INT, signal -> interrupted = true);
        this.before = terminal.enterRawMode();
        // A shell set other attributes while the process was stopped.
        terminal.handle(Terminal.Signal.CONT, signal -> {
            terminal.enterRawMode();
            clear = true;
        });
        terminal.handle(Terminal.Signal.WINCH, signal -> clear = true);
        resize();
    }

    private void resize() {
        // JLine runs stty to ask for it, so not each time. A terminal may not know its size.
        Size size = terminal.getSize();
        columns = size.getColumns() < 1 ? io.kvmirq.cli.frame.Terminal.DEFAULT_COLUMNS : size.getColumns();
        rows = size.getRows() < 1 ? DEFAULT_ROWS : size.getRows();
        display.resize(rows, columns);
    }

    private void take() {
        display.clear();
        terminal.puts(Capability.enter_ca_mode);
        terminal.puts(Capability.cursor_invisible);
        terminal.flush();
    }

    /** Draws the lines of the screen that changed. */
    void draw(WatchScreen screen) {
        if (!open.get() || interrupted) {
            return;
        }
        if (!drawn) {
            drawn = true;
            take();
        }
        if (clear) {
            clear = false;
            display.clear();
            resize();
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
        int next = terminal.reader().read(KEY_REST_MILLIS);
        int last =
                next == '[' || next == 'O' ? terminal.reader().read(KEY_REST_MILLIS) : NonBlockingReader.READ_EXPIRED;
        return last == 'A' ? 'k' : last == 'B' ? 'j' : NonBlockingReader.READ_EXPIRED;
    }

    /** Another program wrote on the terminal: the next {@link #draw} draws all. */
    void redraw() {
        clear = true;
    }

    /** Whether the size changed, or the process continues after a stop. */
    boolean needsDrawing() {
        return clear;
    }

    @Override
    public void close() {
        if (open.getAndSet(false)) {
            if (drawn) {
                terminal.puts(Capability.cursor_visible);
                terminal.puts(Capability.exit_ca_mode);
                terminal.flush();
            }
            terminal.setAttributes(before);
            try {
                terminal.close();
            } catch (IOException e) {
                // It is gone.
            }
        }
    }
}
