/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import io.kvmirq.HostIrq;
import io.kvmirq.IrqKind;
import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.vfio.DeviceIrq;
import io.kvmirq.vfio.HostIrqs;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A host's irqs, as {@code /proc/interrupts} lists them.
 *
 * <p>Source: {@code show_interrupts()} in kernel/irq/proc.c; VFIO's handlers: drivers/vfio/pci/vfio_pci_intrs.c.
 */
public final class HostInterrupts implements HostIrqs {
    private static final int MOST_DIGITS = 9;
    /** {@code "%10u "} */
    private static final int COUNT_WIDTH = 11;

    private static final byte[] VFIO = {'v', 'f', 'i', 'o', '-'};
    private static final int ID_SHIFT = 11;
    private static final int DOMAIN_SHIFT = 27;
    /** The size of a piece, which holds several lines even on the largest machines. */
    private static final int PIECE = 1 << 20;
    /** The longest accepted text, 11 times 4096 irqs on 1024 CPUs. A copied file can be sparse, or grow while read. */
    static final long LONGEST_FILE = 1L << 29;

    private static final int MEBI = 20;
    /** The maximum number of handlers. A line with more does not come from the kernel. */
    private static final int MOST_HANDLERS = 256;

    /**
     * A host irq whose VFIO handler signals an eventfd when the device interrupts.
     *
     * @param address the device's PCI address
     * @param kind INTx, MSI or MSI-X
     * @param vector the MSI or MSI-X vector, or 0 for INTx
     * @param chip the interrupt controller's name
     * @param count the number of interrupts handled, over all CPUs
     * @param sharers the names of other drivers' handlers for the same irq
     */
    public record ArmedVector(
            HostIrq irq, PciAddress address, IrqKind kind, int vector, String chip, long count, List<String> sharers) {
        public ArmedVector {
            Objects.requireNonNull(irq, "irq is null");
            Objects.requireNonNull(address, "address is null");
            Objects.requireNonNull(kind, "kind is null");
            Objects.requireNonNull(chip, "chip is null");
            Objects.requireNonNull(sharers, "sharers is null");
            sharers = List.copyOf(sharers);
        }
    }

    /** An irq's row: interrupt controller, count over all CPUs, and comma-separated handler names. */
    public record Row(HostIrq irq, String chip, long count, String handlers) {
        public Row {
            Objects.requireNonNull(irq, "irq is null");
            Objects.requireNonNull(chip, "chip is null");
            Objects.requireNonNull(handlers, "handlers is null");
        }
    }

    /** The pattern of hardware number and trigger, before the handlers. Loaded when the first device is looked up. */
    private static final class Hardware {
        static final Pattern ROW = Pattern.compile("\\s*(\\d{1,18})(?:-\\S+|\\s+(?:Level|Edge)(?=\\s|$))?\\s*(.*)");
    }

    /** Loaded with the first VFIO handler. */
    private static final class Action {
        static final Pattern BETWEEN = Pattern.compile(", ");
        static final Pattern NAME = Pattern.compile("vfio-(intx|msix?)(?:\\[(\\d{1,4})])?\\(([0-9a-f:.]+)\\)");
    }

    private final List<ArmedVector> armed = new ArrayList<>();
    private final Map<PciAddress, List<ArmedVector>> armedByDevice = new HashMap<>();
    private final List<String> chips = new ArrayList<>();
    private final List<Row> rows = new ArrayList<>();
    private final List<byte[]> kept = new ArrayList<>();
    private long length;
    /** All rows, parsed when a caller first needs an irq that VFIO does not handle. */
    private volatile @Nullable List<Row> all;

    private final Map<String, Long> named = new HashMap<>();
    /** The width of a line's counts, computed from the first line. Negative before that. */
    private int width = -1;

    /** Parses the text of {@code /proc/interrupts}. Lines of an unknown form are ignored. */
    public HostInterrupts(String text) {
        this(text.getBytes(StandardCharsets.UTF_8));
    }

    /** Parses the bytes as read, because on big hosts the text is too long for a second copy. */
    HostInterrupts(byte[] text) {
        keep(text);
    }

    private HostInterrupts() {}

    /**
     * Reads chunks of whole lines. A line longer than a chunk cannot come from the kernel, and is skipped.
     *
     * @throws UncheckedIOException if there are more than {@link #LONGEST_FILE} bytes
     * @throws IOException if reading fails or there is no row, as in a copy made by tar, which copies 0 bytes of files
     *     in /proc
     */
    static HostInterrupts read(InputStream in) throws IOException {
        HostInterrupts all = new HostInterrupts();
        byte[] piece = new byte[PIECE];
        int filled = 0;
        boolean inLongLine = false;
        long total = 0;
        for (int read = in.read(piece); read >= 0; read = in.read(piece, filled, PIECE - filled)) {
            filled += read;
            total += read;
            if (total > LONGEST_FILE) {
                String text = "/proc/interrupts is longer than " + (LONGEST_FILE >> MEBI)
                        + " MiB, or grows while it is read: expected a copy of the kernel's file; copy it again";
                throw new UncheckedIOException(text, new IOException(text));
            }
            int end = filled;
            while (end > 0 && piece[end - 1] != '\n') {
                end--;
            }
            if (end > 0 || filled == PIECE) {
                int begin = 0;
                while (inLongLine && begin < end) {
                    inLongLine = piece[begin++] != '\n';
                }
                all.keep(Arrays.copyOfRange(piece, begin, end));
                inLongLine |= end == 0;
                filled = end == 0 ? 0 : filled - end;
                System.arraycopy(piece, end, piece, 0, filled);
            }
        }
        all.keep(Arrays.copyOf(piece, inLongLine ? 0 : filled));
        if (all.chips.isEmpty() && all.named.isEmpty()) {
            throw new IOException("/proc/interrupts has no row");
        }
        return all;
    }

    /** Keeps the text to parse other drivers' rows later, or parses them at once if the text is too long. */
    private void keep(byte[] text) {
        boolean keeps = length + text.length <= HostFiles.LONGEST_TEXT;
        if (keeps) {
            kept.add(text);
            length += text.length;
        }
        add(text, !keeps);
    }

    /** @param whole whether to read the counts of all irqs */
    private void add(byte[] text, boolean whole) {
        if (width < 0) {
            width = COUNT_WIDTH * cpus(text);
        }
        int begin = 0;
        while (begin < text.length) {
            int counted = afterCounts(text, begin, width);
            int end = counted;
            while (end < text.length && text[end] != '\n') {
                end++;
            }
            if (whole || counted == begin || !readChip(text, counted, end)) {
                readLine(text, begin, end);
            }
            begin = end + 1;
        }
    }

    /** The number of words in the first line, one for each CPU. */
    private static int cpus(byte[] text) {
        int cpus = 0;
        for (int i = 1; i < text.length && text[i] != '\n'; i++) {
            cpus += !isSpace(text[i]) && isSpace(text[i - 1]) ? 1 : 0;
        }
        return cpus;
    }

    /**
     * The end of a numbered irq's counts if they are in the kernel's columns, {@code "%10u "} for each CPU, otherwise
     * the start of the line. This skips the counts of irqs that no caller needs.
     */
    private static int afterCounts(byte[] text, int begin, int width) {
        int at = spaces(text, begin, text.length);
        while (at < text.length && isDigit(text[at])) {
            at++;
        }
        int counts = at + 2;
        if (at == begin || !isDigit(text[at - 1]) || counts + width > text.length || text[at] != ':') {
            return begin;
        }
        // With millions of bytes, a method call for each would dominate the time.
        for (int space = counts + COUNT_WIDTH - 1; space < counts + width; space += COUNT_WIDTH) {
            byte digit = text[space - 1];
            if (text[space] != ' ' || digit < '0' || digit > '9') {
                return begin;
            }
        }
        return width == 0 ? begin : counts + width;
    }

    /** Reads the chip of an irq without a VFIO handler. Returns false if the whole line must be parsed. */
    private boolean readChip(byte[] text, int counted, int end) {
        int word = spaces(text, counted, end);
        if (word == end || isDigit(text[word])) {
            return false;
        }
        for (int i = word; i + VFIO.length <= end; i++) {
            if (text[i] == VFIO[0] && Arrays.equals(text, i, i + VFIO.length, VFIO, 0, VFIO.length)) {
                return false;
            }
        }
        int after = word;
        while (after < end && !isSpace(text[after])) {
            after++;
        }
        String chip = text(text, word, after);
        if (chips.isEmpty() || !chips.get(chips.size() - 1).equals(chip)) {
            chips.add(chip);
        }
        return true;
    }

    /**
     * Parses a line, which has a number or name, a colon, a count for each CPU, the chip and the rest. A regular
     * expression would recurse for each of perhaps thousands of CPUs.
     */
    private void readLine(byte[] line, int begin, int end) {
        int first = spaces(line, begin, end);
        int colon = first;
        while (colon < end && line[colon] != ':') {
            colon++;
        }
        if (colon == end || colon == first || colon - first > MOST_DIGITS) {
            return;
        }
        long count = 0;
        int at = colon + 1;
        int word;
        while (true) {
            word = spaces(line, at, end);
            if (word == end && at > colon + 1) {
                break; // a row such as ERR has no description
            }
            if (word == at || word == end) {
                return;
            }
            long value = 0;
            for (at = word; at < end && isDigit(line[at]); at++) {
                value = value * 10 + line[at] - '0';
            }
            // A longer number is not a kernel count.
            boolean isCount = at > word && (at == end || isSpace(line[at]));
            if (!isCount) {
                break;
            }
            count += at - word > MOST_DIGITS + 1 ? 0 : value;
        }
        String name = text(line, first, colon);
        for (int i = first; i < colon; i++) {
            if (!isDigit(line[i])) {
                named.put(name, count);
                return;
            }
        }
        if (word == end) {
            return; // no chip
        }
        while (at < end && !isSpace(line[at])) {
            at++;
        }
        String chip = text(line, word, at);
        chips.add(chip);
        HostIrq irq = new HostIrq(Integer.parseInt(name));
        String rest = text(line, at, end);
        rows.add(new Row(irq, chip, count, rest));
        read(irq, chip, count, rest);
    }

    private static String text(byte[] line, int begin, int end) {
        return new String(line, begin, end - begin, StandardCharsets.UTF_8);
    }

    private static int spaces(byte[] line, int from, int end) {
        int at = from;
        while (at < end && isSpace(line[at])) {
            at++;
        }
        return at;
    }

    private static boolean isDigit(byte c) {
        return c >= '0' && c <= '9';
    }

    private static boolean isSpace(byte c) {
        return c == ' ' || c == '\t';
    }

    private void read(HostIrq irq, String chip, long count, String rest) {
        if (!rest.contains("vfio-")) {
            return;
        }
        List<String> handlers = handlers(rest);
        Matcher action = Action.NAME.matcher(rest);
        for (int i = 0; i < MOST_HANDLERS && action.find(); i++) {
            try {
                int vector = action.group(2) == null ? 0 : Integer.parseInt(action.group(2));
                IrqKind kind = IrqKind.valueOf(action.group(1).toUpperCase(Locale.ROOT));
                PciAddress address = PciAddress.parse(action.group(3));
                ArmedVector found =
                        new ArmedVector(irq, address, kind, vector, chip, count, others(handlers, action.group()));
                armed.add(found);
                armedByDevice
                        .computeIfAbsent(address, first -> new ArrayList<>())
                        .add(found);
            } catch (IllegalArgumentException e) {
                // The handler's name only looks like VFIO's.
            }
        }
    }

    /** A line's comma-separated handlers, the first of which follows the trigger, such as {@code 22-fasteoi}. */
    private static List<String> handlers(String rest) {
        String[] handlers = Action.BETWEEN.split(rest.strip(), MOST_HANDLERS + 1);
        handlers[0] = handlers[0].substring(Math.max(handlers[0].lastIndexOf(' '), handlers[0].lastIndexOf('\t')) + 1);
        return List.of(handlers).subList(0, Math.min(handlers.length, MOST_HANDLERS));
    }

    private static List<String> others(List<String> handlers, String own) {
        List<String> others = new ArrayList<>();
        for (String name : handlers) {
            if (!name.equals(own)) {
                others.add(name);
            }
        }
        return others;
    }

    /** The vectors and lines that VFIO has armed, in the file's order. */
    public List<ArmedVector> armed() {
        return Collections.unmodifiableList(armed);
    }

    /**
     * The count over all CPUs in a row with a name instead of an irq number, such as {@code PIN} (posted-interrupt
     * notifications outside guest mode) and {@code PIW} (wake-ups of blocked vCPUs). Empty if no row has this name.
     */
    public OptionalLong count(String row) {
        Objects.requireNonNull(row, "row is null");
        Long count = named.get(row);
        return count == null ? OptionalLong.empty() : OptionalLong.of(count);
    }

    /** The vectors and lines that VFIO has armed for a device, in the file's order. */
    public List<ArmedVector> armed(PciAddress address) {
        Objects.requireNonNull(address, "address is null");
        return Collections.unmodifiableList(armedByDevice.getOrDefault(address, List.of()));
    }

    /**
     * The irq of a device's MSI or MSI-X vector, whether VFIO or another driver armed it. Since Linux 6.2, the row's
     * chip ends in the device's name, and its hwirq is the vector. Before, {@code pci_msi_domain_calc_hwirq()} computes
     * the hwirq from the device and the vector.
     */
    public Optional<Row> message(PciAddress address, int vector) {
        long old = (long) address.domain() << DOMAIN_SHIFT | (long) address.requesterId() << ID_SHIFT | vector;
        for (Row row : rows()) {
            boolean own = row.chip().endsWith("-" + address);
            if (own || row.chip().endsWith("MSI") || row.chip().endsWith("MSIX")) {
                Matcher hardware = Hardware.ROW.matcher(row.handlers());
                if (hardware.matches() && Long.parseLong(hardware.group(1)) == (own ? vector : old)) {
                    return Optional.of(new Row(row.irq(), row.chip(), row.count(), hardware.group(2)));
                }
            }
        }
        return Optional.empty();
    }

    /** The rows with an irq number. Their {@link Row#handlers} begin with the hardware number and the trigger mode. */
    public List<Row> rows() {
        List<Row> before = all;
        if (before == null) {
            HostInterrupts whole = new HostInterrupts();
            kept.forEach(text -> whole.add(text, true));
            // Lines that are not in columns have been read already.
            before =
                    Stream.concat(whole.rows.stream(), rows.stream()).distinct().toList();
            all = before;
        }
        return before;
    }

    /** The row of the irq with this number, such as a device pin's irq. */
    public Optional<Row> row(long number) {
        for (Row row : rows()) {
            if (row.irq().number() == number) {
                Matcher hardware = Hardware.ROW.matcher(row.handlers());
                return Optional.of(
                        hardware.matches() ? new Row(row.irq(), row.chip(), row.count(), hardware.group(2)) : row);
            }
        }
        return Optional.empty();
    }

    /** The names of an irq's handlers. Empty if it has none, or {@code /proc/interrupts} does not list the irq. */
    public List<String> handlers(HostIrq irq) {
        return row(irq.number()).stream()
                .flatMap(row -> Stream.of(row.handlers().strip().split(", ", MOST_HANDLERS)))
                .filter(name -> !name.isEmpty())
                .toList();
    }

    /** The host irq of an interrupt that VFIO armed. Empty for platform, error and request interrupts. */
    @Override
    public Optional<HostIrq> of(DeviceIrq irq) {
        Objects.requireNonNull(irq, "irq is null");
        return armed.stream()
                .filter(vector -> vector.address().equals(irq.device().name())
                        && vector.kind() == irq.info().kind()
                        && vector.vector() == irq.number())
                .map(ArmedVector::irq)
                .findFirst();
    }

    /** Whether an interrupt controller's name begins with {@code prefix}. On x86, {@code IR-} means remapping. */
    public boolean hasChip(String prefix) {
        Objects.requireNonNull(prefix, "prefix is null");
        for (String chip : chips) {
            if (chip.startsWith(prefix)) {
                return true;
            }
        }
        return false;
    }
}
