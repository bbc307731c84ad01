/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.sources;

import io.kvmirq.backend.HostFiles;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * How much each row of {@code /proc/interrupts} grows between two reads. The file stays open, its bytes are compared with
 * those before, and only counts that changed are parsed: a read that changes nothing makes no object. For one thread.
 *
 * <p>Source: {@code show_interrupts()} in kernel/irq/proc.c: after its name and a colon a row has {@code "%10u "} for each
 * CPU that is online. {@code kstat_irqs_cpu()}: a count has 32 bits and wraps.
 */
public final class InterruptTicks implements AutoCloseable {
    private static final String FILE = "proc/interrupts";
    /** {@code "%10u "} */
    private static final int CELL = 11;

    private static final int PIECE = 1 << 18;
    /** As the most that a parser of this file takes: see {@code HostInterrupts}. */
    private static final int LONGEST_FILE = 1 << 29;

    private static final long WRAP_COUNT = 1L << 32;

    private final Optional<HostFiles.Kept> file;
    private final ByteBuffer piece = ByteBuffer.allocateDirect(PIECE);
    private ByteBuffer text = ByteBuffer.allocateDirect(PIECE);
    private int length;

    // One element per row, in file order.
    private List<String> names = List.of();
    private final Map<String, Integer> places = new HashMap<>();
    private int[] begins = {};
    private int[] counts = {};
    /** The bytes of the counts: of all columns, or of one in a row such as ERR; 0 if they are not in columns. */
    private int[] widths = {};

    private long[] totals = {};
    private long[] grew = {};
    private long[] max = {};
    private int[] busiest = {};
    private int columns;
    private boolean again;
    private int[] cpus = {};
    private long[] byCpu = {};

    /** Places of changed cells, as row * columns + column, and their values before. */
    private int[] cells = new int[64];

    private long[] before = new long[64];
    private int changed;
    /** Whether the rows are others, or their texts. */
    private boolean other = true;

    /** Opens the file. */
    public InterruptTicks(HostFiles files) {
        file = files.keep(FILE);
    }

    /**
     * Reads it again.
     *
     * @return whether the rows are those of the read before. If not, {@link #names} are others
     */
    public boolean read() {
        Arrays.fill(grew, 0);
        Arrays.fill(max, 0);
        Arrays.fill(byCpu, 0);
        changed = 0;
        other = false;
        int position = 0;
        while (file.isPresent() && position < LONGEST_FILE) {
            piece.clear();
            int count = file.get().read(piece, position);
            if (count <= 0) {
                break;
            }
            take(position, count);
            position += count;
        }
        again = false;
        other |= position != length;
        length = position;
        if (other) {
            index();
        } else {
            for (int i = 0; i < changed; i++) {
                grow(cells[i], before[i]);
            }
        }
        return !other;
    }

    /** Compares a piece, remembers what changed, and copies the piece. */
    private void take(int position, int count) {
        if (position + count > length) {
            other = true;
        }
        boolean same = !other;
        for (int at = 0; at < count && !other; ) {
            int differs = text.slice(position + at, count - at).mismatch(piece.slice(at, count - at));
            same &= differs < 0;
            at = differs < 0 ? count : remember(position + at + differs) - position;
        }
        if (same && !other) {
            return;
        }
        if (position + count > text.capacity()) {
            ByteBuffer longer = ByteBuffer.allocateDirect(Math.max(text.capacity() * 2, position + count));
            longer.put(text.clear());
            text = longer;
        }
        text.put(position, piece, 0, count);
    }

    /** Remembers the value of a cell before it is overwritten, and returns the place behind the cell. */
    private int remember(int at) {
        int found = Arrays.binarySearch(begins, at);
        int row = found < 0 ? -found - 2 : found;
        int into = row < 0 ? -1 : at - counts[row];
        if (into < 0 || into >= widths[row]) {
            other = true;
            return at;
        }
        int cell = row * columns + into / CELL;
        int place = counts[row] + into / CELL * CELL;
        // A cell on two pieces is compared twice.
        if (changed == 0 || cells[changed - 1] != cell) {
            if (changed == cells.length) {
                cells = Arrays.copyOf(cells, 2 * changed);
                before = Arrays.copyOf(before, 2 * changed);
            }
            before[changed] = value(place);
            cells[changed++] = cell;
        }
        return place + CELL;
    }

    private void grow(int cell, long then) {
        int row = cell / columns;
        int column = cell % columns;
        long now = value(counts[row] + column * CELL);
        long more = now - then;
        if (more < 0 && -more > WRAP_COUNT / 2) {
            more += WRAP_COUNT;
        }
        // One that falls otherwise was reset.
        more = Math.max(0, more);
        totals[row] += now - then;
        grew[row] += more;
        byCpu[column] += Character.isDigit(names.get(row).charAt(0)) ? more : 0;
        if (more > max[row]) {
            max[row] = more;
            busiest[row] = cpus[column];
        }
    }

    /** The number in a cell. */
    private long value(int place) {
        long value = 0;
        for (int i = place; i < place + CELL && i < length; i++) {
            int digit = text.get(i) - '0';
            value = digit >= 0 && digit <= 9 ? value * 10 + digit : value;
        }
        return value;
    }

    // Rows that are others than before

    private void index() {
        Map<String, Long> then = new HashMap<>();
        for (int row = 0; row < names.size(); row++) {
            then.put(names.get(row), totals[row]);
        }
        int[] cpusBefore = cpus;
        String head = ascii(0, end(0, '\n'));
        cpus = Arrays.stream(head.strip().split("\\s+"))
                .filter(word -> word.matches("CPU\\d{1,6}"))
                .mapToInt(word -> Integer.parseInt(word.substring("CPU".length())))
                .toArray();
        columns = cpus.length;
        again = cpusBefore.length > 0 && !Arrays.equals(cpus, cpusBefore);
        byCpu = new long[columns];
        List<String> all = new ArrayList<>();
        List<Integer> starts = new ArrayList<>();
        for (int at = end(0, '\n') + 1; at < length; at = end(at, '\n') + 1) {
            int colon = colon(at);
            if (colon > 0) {
                all.add(ascii(at, colon).strip());
                starts.add(at);
            }
        }
        names = all;
        places.clear();
        begins = starts.stream().mapToInt(Integer::intValue).toArray();
        counts = new int[begins.length];
        widths = new int[begins.length];
        totals = new long[begins.length];
        grew = new long[begins.length];
        max = new long[begins.length];
        busiest = new int[begins.length];
        Arrays.fill(busiest, -1);
        for (int row = 0; row < begins.length; row++) {
            places.put(names.get(row), row);
            counts[row] = colon(begins[row]) + 2;
            while (widths[row] < columns * CELL && isCell(counts[row] + widths[row])) {
                widths[row] += CELL;
                totals[row] += value(counts[row] + widths[row] - CELL);
            }
            long old = then.getOrDefault(names.get(row), cpusBefore.length == 0 ? totals[row] : 0L);
            grew[row] = again ? 0 : Math.max(0, totals[row] - old);
        }
    }

    /** Whether a count, and a space or the end of the line, are here. */
    private boolean isCell(int place) {
        int last = place + CELL - 1;
        return last < length && text.get(last) <= ' ' && text.get(last - 1) >= '0' && text.get(last - 1) <= '9';
    }

    /** The colon of a row, or -1. */
    private int colon(int begin) {
        int at = end(begin, ':');
        return at < length && text.get(at) == ':' ? at : -1;
    }

    /** The next byte that is {@code last}, or the end of the line. */
    private int end(int begin, char last) {
        int at = begin;
        while (at < length && text.get(at) != '\n' && text.get(at) != last) {
            at++;
        }
        return at;
    }

    private String ascii(int begin, int end) {
        byte[] bytes = new byte[end - begin];
        text.get(begin, bytes);
        return new String(bytes, StandardCharsets.UTF_8);
    }

    // Results of the last read

    /** The rows: numbers of host irqs, and names such as {@code PIN}. Empty if the file cannot be read. */
    public List<String> names() {
        return names;
    }

    /** Whether other CPUs are online than at the read before. Then the counts begin again, and no row grew. */
    public boolean beginsAgain() {
        return again;
    }

    /** How much a row grew on all CPUs; 0 if there is no such row. */
    public long grew(String name) {
        Integer row = places.get(name);
        return row == null ? 0 : grew[row];
    }

    /** The CPU on which a row last grew most, or -1. */
    public int busiest(String name) {
        Integer row = places.get(name);
        return row == null ? -1 : busiest[row];
    }

    /** How much all host irqs grew on each CPU that handled some. */
    public Map<Integer, Long> grewByCpu() {
        Map<Integer, Long> sums = new HashMap<>();
        for (int column = 0; column < columns; column++) {
            if (byCpu[column] > 0) {
                sums.put(cpus[column], byCpu[column]);
            }
        }
        return sums;
    }

    /** The counts that were parsed by the last read; 0 if none changed. */
    public int parsed() {
        return changed;
    }

    @Override
    public void close() {
        file.ifPresent(HostFiles.Kept::close);
    }
}
