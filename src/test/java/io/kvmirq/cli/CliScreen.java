/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.Program;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;

/** The command on a pseudo-terminal, whose screen is what an xterm shows: as much of one as JLine uses. For one thread. */
public final class CliScreen implements AutoCloseable {
    private static final Pattern NEXT = Pattern.compile("\033\\[([?\\d;]*)([@-~])|\033[^\\[]|[^\033]", Pattern.DOTALL);

    private final Process process;
    private final Reader reader;
    private final StringBuilder unread = new StringBuilder();
    private char[][] cells = {};
    private int columns;
    private int row;
    private int column;

    /** Starts the command, on a terminal of 24 lines. */
    public static CliScreen of(Cli cli, int columns, String... arguments) throws IOException {
        return new CliScreen(cli.onTerminal(columns).start(arguments), columns);
    }

    private CliScreen(Process process, int columns) {
        this.process = process;
        this.reader = new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8);
        begin(columns, Cli.ROWS);
    }

    /** The process of the command, below that of the terminal. */
    public ProcessHandle java() {
        return process.descendants()
                .filter(descendant -> descendant.info().command().orElse("").endsWith("/java"))
                .findFirst()
                .orElseThrow();
    }

    public void type(String keys) throws IOException {
        process.getOutputStream().write(keys.getBytes(StandardCharsets.UTF_8));
        process.getOutputStream().flush();
    }

    /** Gives the terminal another size, for which the command draws all again. */
    public void resize(int columns, int rows) throws IOException, InterruptedException {
        Path terminal = Path.of("/proc/" + java().pid() + "/fd/0").toRealPath();
        Program.output(List.of("stty", "-F", terminal.toString(), "cols", "" + columns, "rows", "" + rows));
        begin(columns, rows);
    }

    private void begin(int columns, int rows) {
        this.columns = columns;
        cells = new char[rows][columns];
        clear(0, 0);
        row = 0;
        column = 0;
    }

    /** The lines of the screen. */
    public List<String> lines() {
        return Arrays.stream(cells)
                .map(line -> new String(line).stripTrailing())
                .toList();
    }

    /** Waits until a line of the screen has a text. */
    public void await(String text) throws IOException {
        await(lines -> lines.stream().anyMatch(line -> line.contains(text)));
    }

    /** Waits until the screen is as it is wanted. */
    public void await(Predicate<List<String>> wanted) throws IOException {
        char[] piece = new char[4096];
        while (!wanted.test(lines())) {
            int count = reader.read(piece);
            assertThat(count).as(() -> String.join("\n", lines())).isPositive();
            take(new String(piece, 0, count));
        }
    }

    /** Waits for the end, and returns the exit code. */
    public int end() throws IOException, InterruptedException {
        reader.transferTo(Writer.nullWriter());
        return process.waitFor();
    }

    @Override
    public void close() {
        process.descendants().forEach(ProcessHandle::destroyForcibly);
        process.destroyForcibly().onExit().join();
    }

    private void take(String piece) {
        unread.append(piece);
        Matcher next = NEXT.matcher(unread);
        int begin = 0;
        while (next.region(begin, unread.length()).lookingAt()) {
            begin = next.end();
            if (next.group(2) != null) {
                control(next.group(2).charAt(0), next.group(1));
            } else if (next.group().length() == 1) {
                put(next.group().charAt(0));
            }
        }
        unread.delete(0, begin);
    }

    private void put(char letter) {
        switch (letter) {
            case '\r' -> column = 0;
            case '\b' -> move(0, -1);
            case '\n' -> newLine();
            default -> {
                // After the last column, the next character is on the next line.
                if (column == columns) {
                    column = 0;
                    newLine();
                }
                cells[row][column++] = letter;
            }
        }
    }

    private void newLine() {
        if (row + 1 < cells.length) {
            row++;
        } else {
            shift(0, 1);
        }
    }

    private void move(int down, int right) {
        row = Math.max(0, Math.min(cells.length - 1, row + down));
        column = Math.max(0, Math.min(columns - 1, Math.min(columns - 1, column) + right));
    }

    private void control(char what, String parameters) {
        int[] all = Pattern.compile("\\d+")
                .matcher(parameters)
                .results()
                .mapToInt(result -> Integer.parseInt(result.group()))
                .toArray();
        int count = all.length > 0 ? all[0] : 1;
        switch (what) {
            case 'A' -> move(-count, 0);
            case 'B' -> move(count, 0);
            case 'C' -> move(0, count);
            case 'D' -> move(0, -count);
            case 'H' -> {
                row = 0;
                column = 0;
                move(count - 1, all.length > 1 ? all[1] - 1 : 0);
            }
            case 'J' -> clear(parameters.equals("2") ? 0 : row, parameters.equals("2") ? 0 : column);
            case 'K' -> Arrays.fill(cells[row], column, columns, ' ');
            case 'L' -> shift(row, -count);
            case 'M' -> shift(row, count);
            case 'P', '@' -> {
                String line = new String(cells[row]);
                int from = Math.min(columns, column + (what == 'P' ? count : 0));
                String blanks = " ".repeat(count);
                String now = line.substring(0, column) + (what == 'P' ? "" : blanks) + line.substring(from) + blanks;
                cells[row] = now.substring(0, columns).toCharArray();
            }
            // The alternative screen begins empty, and the one below is of no interest.
            case 'h', 'l' -> {
                if (parameters.equals("?1049")) {
                    begin(columns, cells.length);
                }
            }
            default -> assertThat("mtr").as("a sequence of xterm").contains("" + what);
        }
    }

    /** Clears the screen from a place. */
    private void clear(int fromRow, int fromColumn) {
        for (int i = fromRow; i < cells.length; i++) {
            Arrays.fill(cells[i], i == fromRow ? fromColumn : 0, columns, ' ');
        }
    }

    /** Moves the lines from {@code first} on up, or down if {@code by} is negative. */
    private void shift(int first, int by) {
        char[][] old = cells.clone();
        IntStream.range(first, cells.length).forEach(i -> {
            int from = i + by;
            boolean is = from >= first && from < cells.length;
            cells[i] = is ? old[from] : " ".repeat(columns).toCharArray();
        });
    }
}
