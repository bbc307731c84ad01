/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.watch;

import io.kvmirq.diag.screens.Watcher;
import io.kvmirq.diag.screens.Watcher.Row;
import io.kvmirq.text.Foreign;
import java.time.LocalTime;
import java.time.format.DateTimeFormatter;
import java.time.temporal.ChronoUnit;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import org.jline.utils.AttributedString;
import org.jline.utils.AttributedStringBuilder;
import org.jline.utils.AttributedStyle;

/** The screen of {@code kvmirq watch}: its lines for a size, and what keys change. For one thread. */
final class WatchScreen {
    /** The keys, for the help of the command and of the screen. */
    static final List<String> KEYS = List.of(
            "q  quit",
            "s  sort by rate, name or CPU",
            "/  filter rows by a word; Enter keeps the filter",
            "p  pause or resume",
            "up, down  select a row (also k, j)",
            "Enter  show or hide a guest's vectors",
            "e  show or hide all guests' vectors",
            "c  rates by CPU",
            "h  this help");

    private static final int LATEST = 100;
    private static final int UP = 'k';
    private static final int DOWN = 'j';
    private static final int DELETE = 0x7f;
    private static final int BACKSPACE = 8;
    /** Most hosts have no other. */
    private static final String DOMAIN = "0000:";

    private static final String BARS = "▁▂▃▄▅▆▇█";

    private enum Order {
        RATE,
        NAME,
        CPU
    }

    private final boolean styled;
    private final String title;
    private final Deque<String> changes = new ArrayDeque<>();
    private final Set<Integer> open = new HashSet<>();
    private Watcher.Tick tick;
    private Order order = Order.RATE;
    private String filter = "";
    private boolean typing;
    private boolean all;
    private boolean paused;
    private boolean help;
    private boolean byCpu;
    private boolean quits;
    private int selected;
    private int unreadable;

    /** @param styled whether colours may be used */
    WatchScreen(String title, boolean styled, boolean all, Watcher.Tick tick) {
        this.title = title;
        this.styled = styled;
        this.all = all;
        this.tick = tick;
        tick.scan().ifPresent(scan -> unreadable = scan.unreadable());
    }

    /** Takes a tick; while the screen is paused, only its changes. */
    void take(Watcher.Tick next, LocalTime time) {
        for (Watcher.Event event : next.events()) {
            changes.addFirst(
                    DateTimeFormatter.ISO_LOCAL_TIME.format(time.truncatedTo(ChronoUnit.SECONDS)) + " " + text(event));
            if (changes.size() > LATEST) {
                changes.removeLast();
            }
        }
        next.scan().ifPresent(scan -> unreadable = scan.unreadable());
        tick = paused ? tick : next;
    }

    /** A change in one line. */
    static String text(Watcher.Event event) {
        String subject = List.of(event.guest(), event.device(), event.interrupt()).stream()
                .filter(word -> !word.isEmpty())
                .collect(Collectors.joining(" "));
        return Foreign.printable(event.what() + " " + subject + ": " + event.text());
    }

    /** Handles a key. */
    void key(int key) {
        if (typing) {
            if (key == '\r' || key == '\n') {
                typing = false;
            } else if (key == DELETE || key == BACKSPACE) {
                filter = filter.isEmpty() ? filter : filter.substring(0, filter.length() - 1);
            } else if (key >= ' ') {
                filter += Character.toString(key);
            }
            return;
        }
        switch (key) {
            case 'q' -> quits = true;
            case 's' -> order = order == Order.RATE ? Order.NAME : order == Order.NAME ? Order.CPU : Order.RATE;
            case '/' -> {
                typing = true;
                filter = "";
            }
            case 'p', ' ' -> paused = !paused;
            case UP -> selected = Math.max(0, selected - 1);
            case DOWN -> selected = Math.min(Math.max(0, rows().size() - 1), selected + 1);
            case '\r', '\n' -> toggle();
            case 'e' -> {
                all = !all;
                open.clear();
            }
            case 'c' -> byCpu = !byCpu;
            case 'h', '?' -> help = !help;
            default -> {
                // Other keys do nothing.
            }
        }
    }

    boolean quits() {
        return quits;
    }

    private void toggle() {
        List<Row> rows = rows();
        if (selected < rows.size()) {
            int pid = rows.get(selected).pid();
            if (!open.remove(pid)) {
                open.add(pid);
            }
        }
    }

    /** The rows that are shown, in their order: guests, each followed by its vectors if they are open. */
    private List<Row> rows() {
        Comparator<Row> by =
                switch (order) {
                    case RATE ->
                        Comparator.comparingDouble((Row row) -> row.rate() + Math.max(0, row.injected()))
                                .reversed();
                    case NAME -> Comparator.comparing((Row row) -> row.guest() + row.device());
                    case CPU -> Comparator.comparingInt(Row::cpu);
                };
        List<Row> shown = new ArrayList<>();
        List<Row> guests = tick.rows().stream().filter(Row::isGuest).sorted(by).toList();
        for (Row guest : guests) {
            List<Row> own = tick.rows().stream()
                    .filter(row -> !row.isGuest() && row.pid() == guest.pid() && matches(row))
                    .sorted(by)
                    .toList();
            if (matches(guest) || !own.isEmpty()) {
                shown.add(guest);
                boolean opens = (all || guests.size() == 1) != open.contains(guest.pid());
                shown.addAll(opens ? own : List.of());
            }
        }
        tick.rows().stream()
                .filter(row -> !row.isGuest() && row.pid() == 0 && matches(row))
                .sorted(by)
                .forEach(shown::add);
        return shown;
    }

    private boolean matches(Row row) {
        String words = row.guest() + " " + row.device() + " " + row.interrupt() + " " + row.flaw();
        return words.toLowerCase(Locale.ROOT).contains(filter.toLowerCase(Locale.ROOT));
    }

    // Lines

    /** The lines of the screen: {@code height} or fewer, none wider than {@code width}. */
    List<AttributedString> lines(int width, int height) {
        List<AttributedString> lines = new ArrayList<>();
        lines.add(head(width));
        if (height > 4) {
            lines.add(cut(totals(), width, AttributedStyle.DEFAULT));
        }
        int footer = height > 3 ? 1 : 0;
        int changeRows = height > 12 ? Math.min(Math.max(1, changes.size()), height / 3) : 0;
        int bottom = height - footer - (changeRows > 0 ? changeRows + 1 : 0);
        if (help) {
            KEYS.forEach(key -> lines.add(cut(key, width, AttributedStyle.DEFAULT)));
        } else if (byCpu) {
            cpus().forEach(line -> lines.add(cut(line, width, AttributedStyle.DEFAULT)));
        } else {
            table(lines, width, Math.max(0, bottom - lines.size()));
        }
        while (lines.size() > bottom) {
            lines.remove(lines.size() - 1);
        }
        fill(lines, bottom);
        if (changeRows > 0) {
            lines.add(cut(changes.isEmpty() ? "no change yet" : "changes", width, style(AttributedStyle.BOLD)));
            changes.stream().limit(changeRows).forEach(line -> lines.add(cut(line, width, AttributedStyle.DEFAULT)));
            fill(lines, height - footer);
        }
        if (footer > 0) {
            lines.add(cut(
                    typing
                            ? "/" + Foreign.printable(filter) + "_"
                            : "q quit  s sort  / filter  p pause  Enter open  c CPUs  h help",
                    width,
                    style(AttributedStyle.DEFAULT.faint())));
        }
        return lines;
    }

    private static void fill(List<AttributedString> lines, int height) {
        while (lines.size() < height) {
            lines.add(AttributedString.EMPTY);
        }
    }

    /** The whole table, without changes and keys. */
    List<String> table(int width) {
        List<AttributedString> lines =
                new ArrayList<>(List.of(head(width), cut(totals(), width, AttributedStyle.DEFAULT)));
        selected = 0;
        table(lines, width, Integer.MAX_VALUE);
        return lines.stream().map(line -> line.toString().stripTrailing()).toList();
    }

    private AttributedString head(int width) {
        long guests = tick.rows().stream().filter(Row::isGuest).count();
        long vectors = tick.rows().size() - guests;
        String text = title + "  " + guests + (guests == 1 ? " guest, " : " guests, ") + vectors
                + (vectors == 1 ? " vector" : " vectors")
                + "  by " + order.name().toLowerCase(Locale.ROOT)
                + (filter.isEmpty() ? "" : "  /" + Foreign.printable(filter))
                + (paused ? "  PAUSED" : "");
        return cut(text, width, style(AttributedStyle.BOLD));
    }

    private String totals() {
        StringBuilder text = new StringBuilder("host irqs " + number(sum(Row::rate)) + "/s  injected "
                + number(sum(Row::injected)) + "/s  exits " + number(sum(Row::exits)) + "/s");
        tick.totals().forEach((name, rate) -> {
            if (rate > 0 || name.startsWith("P")) {
                text.append("  " + name + " " + number(rate) + "/s");
            }
        });
        return text.toString();
    }

    /** Negative if no file shows it. */
    private double sum(ToDoubleFunction<Row> of) {
        return tick.rows().stream()
                .filter(row -> row.isGuest() || row.pid() == 0)
                .mapToDouble(of)
                .filter(rate -> rate >= 0)
                .reduce(Double::sum)
                .orElse(tick.rows().isEmpty() ? 0 : -1);
    }

    private List<String> cpus() {
        List<String> lines = new ArrayList<>(List.of(" CPU  host irqs/s"));
        tick.cpus().entrySet().stream()
                .sorted(Map.Entry.<Integer, Double>comparingByValue().reversed())
                .forEach(entry -> lines.add(right("" + entry.getKey(), 4) + right(number(entry.getValue()), 13)));
        return lines;
    }

    private void table(List<AttributedString> lines, int width, int body) {
        int name = Math.max(18, Math.min(36, width * 3 / 10));
        boolean cpu = width >= 56;
        int minute = width >= 100 ? 16 : width >= 72 ? 12 : 0;
        boolean counters = width >= 100;
        lines.add(cut(
                pad("guest, vector", name) + right("irqs/s", 9) + (counters ? "  injected     exits" : "")
                        + (cpu ? "   CPU" : "") + "  posted" + (minute > 0 ? "  " + pad("last minute", minute) : "")
                        + "  flaw or reason not posted",
                width,
                style(AttributedStyle.DEFAULT.underline())));
        List<Row> rows = rows();
        if (rows.isEmpty()) {
            String hidden = unreadable == 0
                    ? ""
                    : "; run as root to read " + unreadable + (unreadable == 1 ? " more process" : " more processes");
            String none = filter.isEmpty() ? "no guest is visible" : "no row matches";
            lines.add(cut(none + hidden, width, AttributedStyle.DEFAULT));
        }
        selected = Math.max(0, Math.min(selected, rows.size() - 1));
        int visible = Math.max(1, body - 1);
        int from = Math.max(0, selected - visible + 1);
        for (int i = from; i < Math.min((long) rows.size(), (long) from + visible); i++) {
            Row row = rows.get(i);
            AttributedStringBuilder line = new AttributedStringBuilder();
            AttributedStyle plain = i == selected && styled ? AttributedStyle.INVERSE : AttributedStyle.DEFAULT;
            line.styled(row.isGuest() ? style(plain.bold()) : plain, pad(label(row), name));
            line.styled(plain, right(number(row.rate()), 9));
            if (counters) {
                line.styled(plain, right(number(row.injected()), 10) + right(number(row.exits()), 10));
            }
            if (cpu) {
                cell(line, row, "cpu", right(row.cpu() < 0 ? "-" : "" + row.cpu(), 6), plain);
            }
            cell(line, row, "posted", right(row.posted().isEmpty() ? "-" : row.posted(), 8), plain);
            if (minute > 0) {
                line.styled(plain, "  " + pad(sparkline(List.copyOf(row.history()), minute), minute));
            }
            String last = row.flaw().isEmpty() ? stages(row) : row.flaw();
            cell(line, row, "flaw", "  " + Foreign.printable(last, Math.max(20, width)), plain);
            lines.add(line.toAttributedString().columnSubSequence(0, width));
        }
    }

    /** A cell that changed has a star, and with colours another colour. */
    private void cell(AttributedStringBuilder line, Row row, String cell, String text, AttributedStyle plain) {
        boolean marked = row.marked().contains(cell);
        String shown = !marked ? text : text.startsWith(" ") ? text.replaceFirst(" (?=\\S)", "*") : "*" + text;
        line.styled(marked ? style(plain.bold().foreground(AttributedStyle.YELLOW)) : plain, shown);
    }

    private static String label(Row row) {
        return row.isGuest()
                ? Foreign.printable(row.guest()) + " (" + row.pid() + ")"
                : "  " + (row.device().startsWith(DOMAIN) ? row.device().substring(DOMAIN.length()) : row.device())
                        + " " + row.interrupt();
    }

    private static String stages(Row row) {
        return row.stages().stream()
                .map(stage -> stage.label() + " " + stage.counted())
                .collect(Collectors.joining(", "));
    }

    private AttributedStyle style(AttributedStyle style) {
        return styled ? style : AttributedStyle.DEFAULT;
    }

    private static AttributedString cut(String text, int width, AttributedStyle style) {
        return new AttributedString(text, style).columnSubSequence(0, width);
    }

    private static String pad(String text, int width) {
        return text.length() > width ? text.substring(0, width - 1) + "~" : text + " ".repeat(width - text.length());
    }

    /** A Formatter would delay the first screen by milliseconds. */
    private static String right(String text, int width) {
        return " ".repeat(Math.max(0, width - text.length())) + text;
    }

    /** A rate in at most eight characters; a dash for one that no file shows. */
    static String number(double rate) {
        if (rate < 0) {
            return "-";
        }
        long tenths = Math.round(rate * 10);
        return rate >= 1e7
                ? Math.round(rate / 1e6) + "M"
                : rate >= 1e5
                        ? Math.round(rate / 1e3) + "k"
                        : rate >= 100 ? "" + Math.round(rate) : tenths / 10 + "." + tenths % 10;
    }

    /** All rates as bars, the highest for the greatest rate. If there are more than bars, a bar has the greatest of some. */
    static String sparkline(List<Double> rates, int width) {
        double max = Math.max(
                Double.MIN_NORMAL,
                rates.stream().mapToDouble(rate -> rate).max().orElse(0));
        int each = (rates.size() + width - 1) / width;
        StringBuilder bars = new StringBuilder();
        for (int end = rates.size(); end > 0; end -= each) {
            double rate = Collections.max(rates.subList(Math.max(0, end - each), end));
            bars.append(BARS.charAt((int) Math.ceil(rate / max * (BARS.length() - 1))));
        }
        return bars.reverse().toString();
    }
}
