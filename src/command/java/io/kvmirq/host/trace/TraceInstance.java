/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import io.kvmirq.backend.HostFiles;
import io.kvmirq.host.facts.TracingInstances;
import io.kvmirq.path.Known;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A tracing instance of this process: a directory in tracefs with a buffer and events of its own, so that nobody else's
 * tracing changes. By its name another process can remove it if this one was killed ({@link TracingInstances}). For one
 * thread; {@link #close} may come from any.
 *
 * <p>Source: Documentation/trace/ftrace.rst, "Instances"; {@code instance_rmdir()} in kernel/trace/trace.c.
 */
public final class TraceInstance implements Tracing {
    /** Buffer of all CPUs: some thousand events, which a new JVM reads in a tenth of a second. */
    private static final int BUFFER_KB = 128;
    /** Buffer of each CPU: some hundred events. */
    private static final int FEWEST_KB = 16;

    private static final int MOST_TEXT = 2 << 20;
    /** The same for the switches of threads, of which there are thousands in a second: what comes between two rounds. */
    private static final int SCHEDULE_KB = 16384;

    private static final int FEWEST_SCHEDULE_KB = 64;
    private static final int MOST_SCHEDULE_KB = 4096;
    private static final int KB_OF_PAGE = 4;
    /** The first word of an event, and the fields that all events have. */
    private static final int SMALLEST_EVENT = 12;

    private static final String OF_VCPUS = "-vcpus";
    private static final String CPU = "cpu";
    private static final String UNREAD = "entries";
    private static final int MOST_COUNTS = 1 << 10;
    private static final Pattern COUNT = Pattern.compile("(?m)^([a-z ]+): (\\d{1,18})$");
    private static final List<String> OVERWRITTEN = List.of("overrun");
    /** Events that came while others were written, and those that a full buffer refused. */
    private static final List<String> WITHIN = List.of("commit overrun", "dropped events");

    /** A new instance copies the options of the host's tracing, which may record more, or drop the newest events. */
    private static final Map<String, String> OPTIONS =
            Map.of("overwrite", "1", "pause-on-trace", "0", "stacktrace", "0", "userstacktrace", "0");

    /** With this clock the times of CPUs are comparable; with the default clock they are not on every machine. */
    private static final String CLOCK = "mono";

    /** The record of a CPU: its pages, and the counts of its events. */
    private record CpuRecord(FileChannel pages, FileChannel counts) {
        long unread() throws IOException {
            return stats().getOrDefault(UNREAD, 0L);
        }

        /** The counts by their names. */
        Map<String, Long> stats() throws IOException {
            ByteBuffer text = ByteBuffer.allocate(MOST_COUNTS);
            counts.read(text, 0);
            Map<String, Long> stats = new HashMap<>();
            Matcher count = COUNT.matcher(new String(text.array(), 0, text.position(), StandardCharsets.UTF_8));
            while (count.find()) {
                stats.put(count.group(1), Long.parseLong(count.group(2)));
            }
            return stats;
        }
    }

    private final Path directory;
    private final boolean ofThreads;
    /** The records of the CPUs, by their numbers. */
    private final Map<Integer, CpuRecord> records = new TreeMap<>();

    private int pagesOfCpu = 1;
    private Optional<PageFormat> form = Optional.empty();

    private TraceInstance(Path directory, boolean ofThreads) {
        this.directory = directory;
        this.ofThreads = ofThreads;
    }

    /**
     * The place where tracefs is mounted on this machine. Not known if it is not mounted, may not be read, or is empty, as
     * under lockdown for confidentiality.
     */
    public static Known<Path> mounted() {
        return mounted(Path.of("/"));
    }

    /** Source: {@code tracer_init_tracefs()} in kernel/trace/trace.c. */
    static Known<Path> mounted(Path root) {
        Path own = root.resolve("sys/kernel/tracing");
        for (Path path : List.of(own, root.resolve("sys/kernel/debug/tracing"))) {
            if (Files.isDirectory(path.resolve("instances"))) {
                return new Known.Observed<>(path);
            }
        }
        if (Files.isDirectory(own) && !Files.isReadable(own)) {
            return new Known.Unknown<>(own + " cannot be read by this user", "run as root");
        }
        return HostFiles.at(root).text("proc/mounts").orElse("").contains(" " + own + " tracefs ")
                ? new Known.Unknown<>(
                        "tracefs at " + own + " is empty: the kernel's lockdown for confidentiality disables tracing",
                        "boot without lockdown=confidentiality")
                : new Known.Unknown<>("tracefs is not mounted at " + own, "mount -t tracefs none " + own);
    }

    /**
     * Makes the instance of this process, without events.
     *
     * @param tracefs where tracefs is mounted
     */
    public static Known<Tracing> create(Path tracefs) {
        return create(tracefs, Set.of());
    }

    /**
     * Makes the second instance of this process, without events. It records what some threads pass, and what replaces them
     * on their CPUs.
     *
     * @param tracefs where tracefs is mounted
     * @param threads their numbers; none: it is the first instance
     */
    public static Known<Tracing> create(Path tracefs, Set<Integer> threads) {
        Path directory = tracefs.resolve("instances");
        try {
            directory = directory.resolve(
                    TracingInstances.ownName().orElseThrow(() -> new IOException("/proc/self cannot be read"))
                            + (threads.isEmpty() ? "" : OF_VCPUS));
            Files.createDirectory(directory);
        } catch (IOException e) {
            return refused("cannot create " + directory, e);
        }
        TraceInstance instance = new TraceInstance(directory, !threads.isEmpty());
        try {
            instance.write("tracing_on", "0");
            instance.prepare();
            if (!threads.isEmpty()) {
                instance.write(
                        "set_event_pid", threads.stream().map(String::valueOf).collect(Collectors.joining(" ")));
            }
            return new Known.Observed<>(instance);
        } catch (IOException e) {
            instance.close();
            return refused("cannot set up " + directory, e);
        }
    }

    private void prepare() throws IOException {
        for (Map.Entry<String, String> option : OPTIONS.entrySet()) {
            if (Files.exists(directory.resolve("options").resolve(option.getKey()))) {
                write("options/" + option.getKey(), option.getValue());
            }
        }
        int cpus = Math.max(1, names(directory.resolve("per_cpu")).size());
        int kb = ofThreads
                ? Math.min(MOST_SCHEDULE_KB, Math.max(FEWEST_SCHEDULE_KB, SCHEDULE_KB / cpus))
                : Math.max(FEWEST_KB, BUFFER_KB / cpus);
        write("buffer_size_kb", String.valueOf(kb));
        pagesOfCpu = kb / KB_OF_PAGE;
        write("trace_clock", CLOCK);
    }

    /**
     * Removes the instances that kvmirq made and that processes left which are gone.
     *
     * @param tracefs where tracefs is mounted
     * @return a sentence for each, without a full stop
     */
    public static List<String> removeLeft(Path tracefs) {
        List<String> sentences = new ArrayList<>();
        for (String name : names(tracefs.resolve("instances"))) {
            if (!TracingInstances.isLeft(name)) {
                continue;
            }
            Path directory = tracefs.resolve("instances").resolve(name);
            try {
                remove(directory);
                sentences.add("removed " + directory + ", which a killed kvmirq had left");
            } catch (NoSuchFileException e) {
                // Another kvmirq removed it meanwhile.
            } catch (IOException e) {
                sentences.add(directory + " was left by a killed kvmirq and cannot be removed: " + reason(e));
            }
        }
        return sentences;
    }

    private static List<String> names(Path directory) {
        try (Stream<Path> files = Files.list(directory)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        } catch (IOException e) {
            return List.of();
        }
    }

    /** Removing the directory removes its files. */
    private static void remove(Path directory) throws IOException {
        if (TracingInstances.isOurs(directory.getFileName().toString())) {
            Files.delete(directory);
        }
    }

    @Override
    public Known<EventFormat> choose(String event, String filter) {
        Path files = directory.resolve("events").resolve(event);
        if (!Files.isDirectory(files)) {
            return new Known.Unknown<>(
                    "this kernel has no tracepoint " + event.replace('/', ':'),
                    "load KVM's modules, or use a kernel that has it");
        }
        try {
            String text = text(files.resolve("format"), MOST_TEXT);
            Optional<EventFormat> format = EventFormat.parse(text);
            if (format.isEmpty()) {
                return new Known.Unknown<>(
                        files.resolve("format") + " has an unknown format", "report it to kvmirq's authors");
            }
            if (!filter.isEmpty()) {
                filter(event, filter);
            }
            write("events/" + event + "/enable", "1");
            return new Known.Observed<>(format.get());
        } catch (IOException e) {
            return refused("cannot record " + event.replace('/', ':'), e);
        }
    }

    private void filter(String event, String filter) throws IOException {
        try {
            write("events/" + event + "/filter", filter);
        } catch (IOException e) {
            // The file now holds the error message.
            write("events/" + event + "/filter", "0");
        }
    }

    @Override
    public Known<PageFormat> start() {
        Path events = directory.resolve("events");
        try {
            form = PageFormat.parse(
                    text(events.resolve("header_page"), MOST_TEXT), text(events.resolve("header_event"), MOST_TEXT));
            if (form.isEmpty()) {
                return new Known.Unknown<>(
                        events.resolve("header_page") + " has an unknown format", "report it to kvmirq's authors");
            }
            for (String cpu : names(directory.resolve("per_cpu"))) {
                Path files = directory.resolve("per_cpu").resolve(cpu);
                FileChannel pages = FileChannel.open(files.resolve("trace_pipe_raw"));
                records.put(
                        Integer.parseInt(cpu.substring(CPU.length())),
                        new CpuRecord(pages, FileChannel.open(files.resolve("stats"))));
            }
            write("tracing_on", "1");
            return new Known.Observed<>(form.get());
        } catch (IOException e) {
            return refused("cannot record in " + directory, e);
        }
    }

    /**
     * A read of an empty record would wait, so each page is covered by the number of events that are left. A page may
     * have none, but padding.
     */
    @Override
    public boolean read(Pages pages) throws IOException {
        boolean full = false;
        if (form.isPresent()) {
            for (Map.Entry<Integer, CpuRecord> cpu : records.entrySet()) {
                CpuRecord record = cpu.getValue();
                int count = 0;
                for (long events = record.unread(); events > 0 && count < pagesOfCpu; events = record.unread()) {
                    for (long covered = events * SMALLEST_EVENT;
                            covered > 0;
                            covered -= form.get().room()) {
                        pages.page(cpu.getKey(), page(record.pages(), form.get().size()));
                        count++;
                    }
                }
                full |= 2 * count > pagesOfCpu;
            }
        }
        return full;
    }

    private static ByteBuffer page(FileChannel record, int size) throws IOException {
        ByteBuffer page = ByteBuffer.allocate(size).order(ByteOrder.nativeOrder());
        while (page.hasRemaining() && record.read(page) > 0) {
            // the rest of the page
        }
        return page;
    }

    @Override
    public Known<Lost> stop() {
        try {
            write("tracing_on", "0");
            long overwritten = 0;
            long missing = 0;
            for (CpuRecord record : records.values()) {
                Map<String, Long> stats = record.stats();
                overwritten += sum(stats, OVERWRITTEN);
                missing += sum(stats, WITHIN);
            }
            return new Known.Observed<>(new Lost(overwritten, missing));
        } catch (IOException e) {
            return refused("cannot stop recording in " + directory, e);
        }
    }

    private static long sum(Map<String, Long> stats, List<String> names) {
        return names.stream().mapToLong(name -> stats.getOrDefault(name, 0L)).sum();
    }

    @Override
    public void close() {
        try {
            for (CpuRecord record : records.values()) {
                record.pages().close();
                record.counts().close();
            }
            remove(directory);
        } catch (IOException e) {
            // The next run removes it. Until then it records nothing.
            try {
                write("tracing_on", "0");
            } catch (IOException gone) {
                // It is gone.
            }
        }
    }

    private static String text(Path file, int max) throws IOException {
        try (InputStream in = new FileInputStream(file.toFile())) {
            return new String(in.readNBytes(max), StandardCharsets.UTF_8);
        }
    }

    /** The kernel accepts a setting only in one write. */
    private void write(String file, String setting) throws IOException {
        Files.write(
                directory.resolve(file), (setting + "\n").getBytes(StandardCharsets.UTF_8), StandardOpenOption.WRITE);
    }

    private static <T> Known<T> refused(String what, IOException failure) {
        String reason = reason(failure);
        return new Known.Unknown<>(what + ": " + reason, TraceFiles.remedy(reason));
    }

    private static String reason(IOException failure) {
        if (failure instanceof DirectoryNotEmptyException) {
            return "it is not a tracefs instance";
        }
        String reason = failure instanceof FileSystemException of
                ? of.getReason() == null ? of.getClass().getSimpleName() : of.getReason()
                : String.valueOf(failure.getMessage());
        return reason.contains("busy") ? "another process has one of its files open" : reason;
    }
}
