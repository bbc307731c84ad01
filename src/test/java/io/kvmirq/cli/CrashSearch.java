/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.testing.Machine;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.ZipFile;

/**
 * Kills a command at random moments, runs it once more to its end, and looks for what is left: processes, files of the
 * temporary directory, the cache and the working directory, and tracing instances. The unpacked libraries of the bindings stay, and so do
 * complete files that the command was asked to write.
 *
 * <p>{@code main}: how many kills of each command, the first seed, and the names of commands if not all. It prints a line
 * for each row of {@link #ROWS}. Exit code 1 if anything is left.
 */
final class CrashSearch implements AutoCloseable {
    /** In the environment of each process, so that those that are left are found. */
    private static final String MARK = "KVMIRQ_CRASH_SEARCH";

    private static final Path INSTANCES = Path.of("/sys/kernel/tracing/instances");
    /** In a row, stands for another number in each run. */
    private static final String NUMBER = "{N}";

    /** All commands but help and completion. {@link #NUMBER} is another number in each run. */
    static final List<List<String>> ROWS = List.of(
            List.of("selftest", "--count", "300"),
            List.of("doctor"),
            List.of("backends"),
            List.of("errno", "irqfd", "EBUSY"),
            List.of("capture", "-o", "host-{N}.zip"),
            List.of("decode", "irte.vtd.posted", "0x28ab000000318001", "0x0000000100043b01"),
            List.of("encode", "gatag", "vm_id=1", "vcpu_idx=3"),
            List.of("decide", "--vendor", "both", "--msi", "0xfee01000/0x41", "--vcpus", "4"),
            List.of("list"),
            List.of("list", "--live", "1"),
            List.of("watch", "--count", "3", "--interval", "0.1", "--textfile", "kvmirq-{N}.prom"),
            List.of("explain", "--fake", "7.1", "0000:3b:00.0"),
            List.of("vfio", "--fake", "6.12", "0000:3b:00.0"),
            List.of("forward", "--fake", "vtd-posting", "0000:3b:00.0", "--selftest"));

    private final List<String> program;
    private final Path directory;
    private final String mark;
    private final Random random;
    private int runs;
    /** In the last {@link #kill}: runs that had ended before they were killed. */
    private int ended;

    private static String root(String path) {
        return Machine.root().resolve(path).toString();
    }

    static CrashSearch ofCommand(long seed) throws IOException {
        return new CrashSearch(List.of(root("scripts/kvmirq")), seed);
    }

    /** @param program the start of each command line */
    CrashSearch(List<String> program, long seed) throws IOException {
        this.program = program;
        this.directory = Files.createTempDirectory("crash-search");
        this.mark = directory.getFileName().toString();
        this.random = new Random(seed);
        for (String name : List.of("tmp", "cache", "work")) {
            Files.createDirectory(directory.resolve(name));
        }
    }

    public static void main(String[] arguments) throws Exception {
        int kills = Integer.parseInt(arguments[0]);
        long seed = Long.parseLong(arguments[1]);
        boolean left = false;
        try (CrashSearch search = ofCommand(seed)) {
            System.out.println("killed  ended before  left  command"
                    + (search.seesInstances() ? "" : "   (tracing instances: not looked at, no tracefs)"));
            List<String> names = List.of(arguments).subList(2, arguments.length);
            for (List<String> row : ROWS) {
                if (!names.isEmpty() && !names.contains(row.get(0))) {
                    continue;
                }
                Set<String> found = search.kill(kills, row);
                left |= !found.isEmpty();
                System.out.printf(
                        "%6d %13d %5d  %s%n",
                        kills - search.ended, search.ended, found.size(), row.get(0) + options(row));
                found.forEach(text -> System.out.println("        left: " + text));
            }
        }
        System.exit(left ? 1 : 0);
    }

    private static String options(List<String> row) {
        return row.stream()
                .skip(1)
                .filter(option -> option.startsWith("-"))
                .map(option -> " " + option)
                .collect(Collectors.joining());
    }

    /** Kills a command so many times, and runs it once more. Returns what is left of all these runs. */
    Set<String> kill(int times, List<String> arguments) throws Exception {
        Set<String> before = left();
        long start = System.nanoTime();
        int code = start(arguments).waitFor();
        long whole = System.nanoTime() - start;
        if (code == ExitCode.USAGE) {
            throw new IllegalArgumentException(arguments + " is no command line: it ends with exit code " + code);
        }
        ended = 0;
        for (int i = 0; i < times; i++) {
            Process process = start(arguments);
            // The random moment is what is searched.
            ended += process.waitFor((long) (random.nextDouble() * whole), TimeUnit.NANOSECONDS) ? 1 : 0;
            process.destroyForcibly().waitFor();
        }
        start(arguments).waitFor();
        Set<String> left = left();
        left.removeAll(before);
        return left;
    }

    private Process start(List<String> arguments) throws IOException {
        List<String> command = new ArrayList<>(program);
        String number = Integer.toString(runs++);
        arguments.forEach(argument -> command.add(argument.replace(NUMBER, number)));
        ProcessBuilder builder =
                new ProcessBuilder(command).directory(directory.resolve("work").toFile());
        Map<String, String> environment = builder.environment();
        environment.put(MARK, mark);
        environment.put("XDG_CACHE_HOME", directory.resolve("cache").toString());
        environment.put("TMPDIR", directory.resolve("tmp").toString());
        environment.put("JDK_JAVA_OPTIONS", "-XX:-UsePerfData -Djava.io.tmpdir=" + directory.resolve("tmp"));
        return builder.redirectInput(
                        ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
    }

    private boolean seesInstances() {
        return Files.isReadable(INSTANCES);
    }

    private Set<String> left() throws IOException {
        Set<String> left = new TreeSet<>();
        processes()
                .forEach(pid -> left.add(
                        "process " + pid + " " + read("/proc/" + pid + "/comm").strip()));
        for (Path file : files()) {
            Path name = directory.relativize(file);
            if (!isUnpackedLibrary(name) && !isComplete(file)) {
                left.add(name.toString());
            }
        }
        if (seesInstances()) {
            try (Stream<Path> instances = Files.list(INSTANCES)) {
                instances.forEach(instance -> left.add(instance.toString()));
            }
        }
        return left;
    }

    private static boolean isUnpackedLibrary(Path name) {
        return name.toString().matches("cache/kvmirq/(others/)?libkvmirq-[0-9a-f]+-\\d+\\.so");
    }

    /** A file that the command was asked to write: an archive. */
    private static boolean isComplete(Path file) throws IOException {
        String name = file.getFileName().toString();
        if (name.matches("host-\\d+\\.zip")) {
            try (ZipFile archive = new ZipFile(file.toFile())) {
                return archive.size() > 0;
            } catch (IOException e) {
                return false;
            }
        }
        return false;
    }

    private List<Path> files() throws IOException {
        try (Stream<Path> files = Files.walk(directory)) {
            return files.filter(Files::isRegularFile).toList();
        }
    }

    private List<String> processes() throws IOException {
        try (Stream<Path> processes = Files.list(Path.of("/proc"))) {
            return processes
                    .map(process -> process.getFileName().toString())
                    .filter(name -> name.matches("\\d+"))
                    .filter(pid -> read("/proc/" + pid + "/environ").contains(MARK + "=" + mark + "\0"))
                    .toList();
        }
    }

    private static String read(String file) {
        try {
            return Files.readString(Path.of(file), StandardCharsets.ISO_8859_1);
        } catch (IOException e) {
            return ""; // the process has ended, or is another user's
        }
    }

    @Override
    public void close() throws IOException {
        for (String pid : processes()) {
            ProcessHandle.of(Long.parseLong(pid)).ifPresent(ProcessHandle::destroyForcibly);
        }
        try (Stream<Path> all = Files.walk(directory)) {
            all.sorted(Comparator.reverseOrder()).forEach(file -> {
                try {
                    Files.deleteIfExists(file);
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            });
        }
    }
}
