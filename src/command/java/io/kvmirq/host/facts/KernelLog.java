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
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Kernel log lines that report faults, errors and hung tasks. They show what happened, and not what is: recent ones are
 * evidence of now, and older ones are only quoted. The file {@code kmsg} of a copied host holds records as of {@code
 * /dev/kmsg}, or the output of dmesg. Thread-safe.
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
                    + "|error|IO_PAGE_FAULT|INVALID_DEVICE_REQUEST|registration fails|rejecting|not ready|stuck|link is down|failed|unable to|inaccessible|time(?:d )?out|lockup|stall|overflow|restarting|exceeded|throttling|recovery|giving up|fallen off|No irq handler"
                    + "|throttled|split_lock|unstable|Killed process|Oops|BUG: |denied|Booted with LPIs|not in IVRS|Virtual APIC|DMAR-IR"
                    + "|Disabling interrupt remapping|reported at address|RLIMIT_MEMLOCK|NETDEV WATCHDOG|out-of-(?:meta)?data|is broken|vector space|completion polled|lost interrupt|HardIRQ|EDAC|SIGBUS"
                    + "|HYP mode|Correctable|\\bMDD\\b|health|no free data space|no space left|request to user|request channel|irq bypass|can't reserve|exceeds|Xid|not enough MMIO|segfault|protection fault|arm-smmu-v3 \\S+ event|dump_invalid|table full|Card not present|aer_status|\\bVF \\d");
    /** An IOMMU that lost faults, commands or events of all its devices. */
    private static final String IOMMU_LOSS =
            "|^(?:arm-smmu|AMD-Vi|DMAR).*(?:overflow|(?i:time)(?:d |-)out|restarting)|^sched: RT throttling";
    /** The device of a time-out, by its requester id; 0 from an IOMMU that does not tell it. */
    private static final Pattern SOURCE_ID = Pattern.compile("Time-out Error: SID (?!0$)([0-9a-f]{1,4})$");

    private static final Pattern UPTIME = Pattern.compile("(\\d{1,12}\\.\\d{1,4}) ");
    private static final int HEX = 16;

    /** The kernel writes other bytes than printable ones as \x1b. */
    private static final Pattern ESCAPE =
            Pattern.compile("(?:\\\\x1b|\\e)\\[[0-9;]{0,20}[A-Za-z]?|\\\\x[0-9a-f]{2}|\\p{Cntrl}");

    /** Seconds in which a fault is one of now. */
    public static final int SHORT_SECONDS = 600;
    /** Seconds in which a state that only an administrator ends is assumed to last. */
    public static final int LONG_SECONDS = 3600;
    /** For a state that lasts until the next boot. */
    public static final int BOOT_SECONDS = Integer.MAX_VALUE;

    private static final int MINUTE = 60;

    private record Line(double seconds, String text) {}

    /**
     * Recent reports of a kind. The kernel prints only some of many, so there were at least as many.
     *
     * @param seconds between the first one and the last one
     * @param ago the time since the last one, in words
     * @param text of the last one
     */
    public record Recent(int count, double seconds, String ago, String text) {
        /** Whether they are more than one burst, as a device may cause when it is reset. */
        public boolean isLasting() {
            return seconds >= BURST_SECONDS;
        }
    }

    private static final double BURST_SECONDS = 3;

    private final List<Line> lines;
    /** The newest line, whatever it says; empty if no log is shown. */
    private final Optional<Line> newest;
    /** Lines of the last hour; none if the time is not known. */
    private final List<Line> recent;
    /** The seconds since the boot. The log and the uptime have two clocks: one is not corrected, and stands in a suspend. */
    private final double now;

    private final Map<List<Object>, Optional<Recent>> asked = new ConcurrentHashMap<>();

    private KernelLog(Collection<Line> lines, Optional<Line> newest, OptionalDouble uptime) {
        this.lines = List.copyOf(lines);
        this.newest = newest;
        this.now = lines.stream().mapToDouble(line -> line.seconds).reduce(uptime.orElse(0), Math::max);
        this.recent = uptime.isEmpty()
                ? List.of()
                : lines.stream()
                        .filter(line -> line.seconds > now - LONG_SECONDS)
                        .toList();
    }

    /** Reads the last lines; none if the host shows no log. */
    static KernelLog read(HostFiles tree) {
        Deque<Line> kept = new ArrayDeque<>();
        Optional<Line> newest = Optional.empty();
        try (InputStream file = tree.open(FILE).orElseGet(InputStream::nullInputStream)) {
            InputStream in = new BufferedInputStream(file);
            ByteArrayOutputStream line = new ByteArrayOutputStream();
            int octet = 0;
            for (long at = 0; octet >= 0 && at < MOST_BYTES; at++) {
                octet = in.read();
                if (octet >= 0 && octet != '\n') {
                    if (line.size() < LONGEST_LINE) {
                        line.write(octet);
                    }
                } else {
                    Optional<Line> read = line(line.toString(StandardCharsets.UTF_8));
                    read.filter(found -> REPORT.matcher(found.text).find()).ifPresent(report -> keep(kept, report));
                    newest = read.isPresent() ? read : newest;
                    line.reset();
                }
            }
        } catch (IOException e) {
            // The lines until now are shown.
        }
        String uptime = tree.text("proc/uptime").orElse("");
        Matcher seconds = UPTIME.matcher(uptime);
        return new KernelLog(
                kept,
                newest,
                seconds.lookingAt() ? OptionalDouble.of(Double.parseDouble(seconds.group(1))) : OptionalDouble.empty());
    }

    /**
     * Reports of the last {@code within} seconds.
     *
     * @param since seconds after the boot before which a report is not counted, such as one from before a guest began
     */
    public Optional<Recent> recent(int within, double since, Pattern kind) {
        return recent(within, since, kind, Optional.empty());
    }

    /** Lines about a device, found by its address or its requester id. */
    public Optional<Recent> recent(int within, double since, Pattern kind, PciAddress device) {
        return recent(within, since, kind, Optional.of(device));
    }

    /** Each vector of a device asks for the same ones. */
    private Optional<Recent> recent(int within, double since, Pattern kind, Optional<PciAddress> device) {
        return asked.computeIfAbsent(
                List.of(within, since, kind.pattern(), device),
                key -> find(within > LONG_SECONDS ? lines : recent, Math.max(now - within, since), kind, device));
    }

    private Optional<Recent> find(List<Line> of, double since, Pattern kind, Optional<PciAddress> device) {
        List<String> names = device.map(KernelLog::names).orElse(List.of());
        String source = device.filter(known -> known.domain() == 0)
                .map(known -> String.format(Locale.ROOT, "SID %x", known.requesterId()))
                .orElse("");
        Line first = null;
        Line last = null;
        int count = 0;
        for (Line line : of) {
            if (line.seconds < since || device.isPresent() && !mentions(line.text, names, source)) {
                continue;
            }
            if (kind.matcher(line.text).find()) {
                first = first == null ? line : first;
                last = line;
                count++;
            } else if (device.isPresent() && line.text.contains("recovery succe")) {
                first = null;
                last = null;
                count = 0;
            }
        }
        if (first == null || last == null) {
            return Optional.empty();
        }
        long seconds = Math.max(0, Math.round(now - last.seconds));
        return Optional.of(new Recent(
                count,
                last.seconds - first.seconds,
                seconds < MINUTE ? seconds + " s" : seconds / MINUTE + " min",
                last.text));
    }

    /** An IOMMU names a device without its segment. */
    private static List<String> names(PciAddress device) {
        String whole = device.toString();
        return device.domain() == 0 ? List.of(whole, whole.substring(whole.indexOf(':') + 1)) : List.of(whole);
    }

    /** @param source the requester id of the device, by which an IOMMU names it; empty if it has a segment */
    private static boolean mentions(String text, List<String> names, String source) {
        for (String name : names) {
            if (has(text, name)) {
                return true;
            }
        }
        // NVIDIA's driver names a function 0 without its number.
        return !source.isEmpty() && text.endsWith(source)
                || names.get(0).endsWith(".0")
                        && text.contains(
                                "(PCI:" + names.get(0).substring(0, names.get(0).length() - 2) + ")");
    }

    private static boolean has(String text, String name) {
        for (int at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + 1)) {
            int end = at + name.length();
            boolean begins = at == 0 || !isPart(text.charAt(at - 1)) && text.charAt(at - 1) != ':';
            if (begins && (end == text.length() || !isPart(text.charAt(end)))) {
                return true;
            }
        }
        return false;
    }

    private static boolean isPart(char letter) {
        return Character.isLetterOrDigit(letter) || letter == '_';
    }

    private static Optional<Line> line(String text) {
        Matcher line = LINE.matcher(text);
        if (!line.matches()) {
            return Optional.empty();
        }
        double seconds =
                line.group(1) != null ? Long.parseLong(line.group(1)) / MICROS : Double.parseDouble(line.group(2));
        return Optional.of(new Line(seconds, ESCAPE.matcher(line.group(3)).replaceAll("")));
    }

    private static void keep(Deque<Line> kept, Line report) {
        kept.add(report);
        if (kept.size() > MOST_LINES) {
            kept.remove();
        }
    }

    /** Whether the host shows a log at all. */
    public boolean isShown() {
        return newest.isPresent();
    }

    /** All reports and the newest line, as dmesg prints them: what a capture has of the log. */
    public String text() {
        return Stream.concat(lines.stream(), newest.filter(line -> !lines.contains(line)).stream())
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
                + IOMMU_LOSS
                + irqs.stream().map(irq -> "|\\birq " + irq + "\\b").collect(Collectors.joining())
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
                last.removeIf(kept -> kept.endsWith(": " + line.text));
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
