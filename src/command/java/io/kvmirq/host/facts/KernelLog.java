/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.PciAddress;
import io.kvmirq.backend.HostFiles;
import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Collection;
import java.util.Deque;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * The lines of the kernel's log that report faults, errors and hung tasks. They show what happened, and not what is: recent ones
 * are evidence of now, and older ones are only quoted. The file {@code kmsg} of a copied host holds records as of {@code /dev/kmsg}, or the output of
 * dmesg. Immutable.
 *
 * <p>Source: Documentation/ABI/testing/dev-kmsg; {@code dmar_fault_do_one()} in drivers/iommu/intel/dmar.c, {@code
 * iommu_print_event()} in drivers/iommu/amd/iommu.c, {@code __report_bad_irq()} in kernel/irq/spurious.c, {@code
 * check_hung_task()} in kernel/hung_task.c, {@code aer_print_error()} in drivers/pci/pcie/aer.c,
 * {@code qi_check_fault()} in drivers/iommu/intel/dmar.c, {@code vfio_bar_restore()} in drivers/vfio/pci/vfio_pci_config.c.
 */
public final class KernelLog {
    /** The file in a copy of a host. */
    public static final String FILE = "kmsg";

    private static final long MOST_BYTES = 128L << 20;
    private static final int LONGEST_LINE = 1024;
    private static final int MOST_LINES = 10_000;
    private static final int SHOWN = 4;
    private static final double MICROS = 1e6;
    /** A record with its time in microseconds, or a line of dmesg with its time in seconds. */
    private static final Pattern LINE = Pattern.compile(
            "(?:\\d{1,9},\\d{1,18},(\\d{1,15}),[^;]{0,40};|(?:<\\d{1,4}>)?\\[ {0,9}(\\d{1,10}\\.\\d{1,9})\\] )(.*)");

    private static final Pattern REPORT = Pattern.compile(
            "(?i)fault|nobody cared|flags mismatch|blocked for more than|\\bAER\\b"
                    + "|error|IO_PAGE_FAULT|INVALID_DEVICE_REQUEST|registration fails|rejecting|not ready|stuck|link is down|failed|unable to|inaccessible|time(?:d )?out|lockup|stall|overflow|restarting|exceeded|throttling|recovery|giving up|compromised|fallen off|No irq handler");
    /** An IOMMU that lost faults, commands or events of all its devices. */
    private static final String LOSS =
            "|^(?:arm-smmu|AMD-Vi|DMAR).*(?:overflow|(?i:time)(?:d |-)out|restarting)|^sched: RT throttling";
    /** The device of a time-out, by its requester id; 0 from an IOMMU that does not tell it. */
    private static final Pattern SOURCE_ID = Pattern.compile("Time-out Error: SID (?!0$)([0-9a-f]{1,4})$");

    private static final Pattern UPTIME = Pattern.compile("(\\d{1,12}\\.\\d{1,4}) ");
    private static final int HEX = 16;

    /** The kernel writes other bytes than printable ones as \x1b. */
    private static final Pattern ESCAPE =
            Pattern.compile("(?:\\\\x1b|\\e)\\[[0-9;]{0,20}[A-Za-z]?|\\\\x[0-9a-f]{2}|\\p{Cntrl}");

    /** Seconds in which a fault is one of now. */
    public static final int SHORT = 600;
    /** Seconds in which a state that only an administrator ends is assumed to last. */
    public static final int LONG = 3600;

    private static final int MINUTE = 60;

    private record Line(double seconds, String text) {}

    /**
     * Recent reports of a kind.
     *
     * @param ago the time since the last one, in words
     * @param text of the last one
     */
    public record Recent(int count, String ago, String text) {}

    private final List<Line> lines;
    /** The seconds since the boot; negative if they are not known. */
    private final double now;

    private KernelLog(Collection<Line> lines, double now) {
        this.lines = List.copyOf(lines);
        this.now = now;
    }

    /** Reads the last lines; none if the host shows no log. */
    static KernelLog of(HostFiles tree) {
        Deque<Line> kept = new ArrayDeque<>();
        try (InputStream file = tree.open(FILE).orElseGet(InputStream::nullInputStream)) {
            InputStream in = new BufferedInputStream(file);
            ByteArrayOutputStream line = new ByteArrayOutputStream();
            int one = 0;
            for (long at = 0; one >= 0 && at < MOST_BYTES; at++) {
                one = in.read();
                if (one >= 0 && one != '\n') {
                    if (line.size() < LONGEST_LINE) {
                        line.write(one);
                    }
                } else {
                    keep(kept, line.toString(StandardCharsets.UTF_8));
                    line.reset();
                }
            }
        } catch (IOException e) {
            // The lines until now are shown.
        }
        String uptime = tree.text("proc/uptime").orElse("");
        Matcher seconds = UPTIME.matcher(uptime);
        return new KernelLog(kept, seconds.lookingAt() ? Double.parseDouble(seconds.group(1)) : -1);
    }

    /** Those of the last seconds in which a pattern is found. Empty if there are none, or if the time since the boot is not known. */
    public Optional<Recent> recent(int within, Pattern kind) {
        List<Line> found = lines.stream()
                .filter(line -> line.seconds > now - within && line.seconds <= now + 1)
                .filter(line -> kind.matcher(line.text).find())
                .toList();
        if (found.isEmpty()) {
            return Optional.empty();
        }
        Line last = found.get(found.size() - 1);
        long seconds = Math.max(0, Math.round(now - last.seconds));
        return Optional.of(
                new Recent(found.size(), seconds < MINUTE ? seconds + " s" : seconds / MINUTE + " min", last.text));
    }

    /** Those about a device, by its address or its requester id. */
    public Optional<Recent> recent(int within, String kind, PciAddress device) {
        String brief = device.toString().substring(device.toString().indexOf(':') + 1);
        String name = "(?<![\\w:])(?:" + Pattern.quote(device.toString())
                + (device.domain() == 0 ? "|" + Pattern.quote(brief) : "") + ")(?!\\w)";
        String id = String.format(Locale.ROOT, "SID %x$", device.requesterId());
        return recent(within, Pattern.compile("(?s)(?=.*(?:" + name + "|" + id + "))(?=.*(?:" + kind + "))"));
    }

    private static void keep(Deque<Line> kept, String text) {
        Matcher line = LINE.matcher(text);
        if (REPORT.matcher(text).find() && line.matches()) {
            double seconds =
                    line.group(1) != null ? Long.parseLong(line.group(1)) / MICROS : Double.parseDouble(line.group(2));
            kept.add(new Line(seconds, ESCAPE.matcher(line.group(3)).replaceAll("")));
            if (kept.size() > MOST_LINES) {
                kept.remove();
            }
        }
    }

    /** All reports, as dmesg prints them: what a capture has of the log. */
    public String text() {
        return lines.stream()
                .map(line -> String.format(Locale.ROOT, "[%12.6f] %s\n", line.seconds, line.text))
                .collect(Collectors.joining());
    }

    /**
     * The last reports about a device, with their times; each text once.
     *
     * @param irqs its host irqs
     * @param threads of its VMM
     */
    public List<String> about(PciAddress device, Collection<Integer> irqs, Collection<String> threads) {
        String brief = device.toString().substring(device.toString().indexOf(':') + 1);
        Pattern subject = Pattern.compile("(?<![\\w:])" + Pattern.quote(device.toString()) + "(?!\\w)"
                + (device.domain() == 0 ? "|(?:\\[|device=)" + Pattern.quote(brief) + "(?!\\w)" : "")
                + LOSS + irqs.stream().map(irq -> "|\\birq " + irq + "\\b").collect(Collectors.joining())
                + threads.stream()
                        .map(tid -> "|:" + Pattern.quote(tid) + "(?: blocked|\\])|\\(" + Pattern.quote(tid) + "\\)")
                        .collect(Collectors.joining()));
        Deque<String> last = new ArrayDeque<>();
        for (Line line : lines) {
            // A log has thousands of lines and a host hundreds of devices: most lines have none of these words.
            boolean isNear = line.text.contains(brief)
                    || line.text.matches("(?:arm-smmu|AMD-Vi|DMAR|sched:).*")
                    || !irqs.isEmpty() && line.text.contains("irq ")
                    || !threads.isEmpty()
                            && (line.text.contains(" blocked")
                                    || line.text.contains("lockup")
                                    || line.text.contains("("));
            Matcher sid = SOURCE_ID.matcher(line.text);
            boolean isOfAnother = sid.find() && Integer.parseInt(sid.group(1), HEX) != device.requesterId();
            if (isNear && !isOfAnother && subject.matcher(line.text).find()) {
                last.removeIf(one -> one.endsWith(": " + line.text));
                last.add(String.format(
                        Locale.ROOT, "the kernel's log, %.3f s after the boot: %s", line.seconds, line.text));
                if (last.size() > SHOWN) {
                    last.remove();
                }
            }
        }
        return List.copyOf(last);
    }
}
