/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import java.io.File;
import java.io.IOException;
import java.io.StringWriter;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.jspecify.annotations.Nullable;

/**
 * Changes the production code, one place at a time, and searches it: the search has to find each change that can lose
 * an interrupt. Run by scripts/search arch.Mutants.
 */
final class Mutants {
    private static final Path ROOT =
            Path.of(System.getProperty("kvmirq.basedir", "")).toAbsolutePath();
    private static final Path LIST = ROOT.resolve("src/test/mutation/posting.txt");
    /** Tests have the vCPUs and guests that only a search plays. */
    private static final List<Path> SOURCES = Stream.of("kvmirq", "fake", "test")
            .map(artifact -> ROOT.resolve("src/" + artifact + "/java/io/kvmirq/arch"))
            .toList();
    /** Of a processor. */
    private static final int SECONDS = 120;

    private static final ThreadMXBean CPU = ManagementFactory.getThreadMXBean();
    /** By the directory of the changed file. */
    private static final Map<String, String> RACES =
            Map.of("amd", "amd.model.AvicRaces", "gic", "gic.model.VgicRaces", "intx", "intx.model.IntxRaces");

    private Mutants() {}

    /**
     * A change.
     *
     * @param file below {@link #SOURCES}
     * @param expected {@code found}, {@code endless} if the changed code spins, or {@code harmless} and why
     */
    record Mutant(String file, String expected, String old, String changed) {
        Verdict expects() {
            return expected.startsWith("harmless")
                    ? Verdict.SURVIVES
                    : expected.equals("endless") ? Verdict.ENDLESS : Verdict.FOUND;
        }

        /** The class of the searches that have to find it, below {@code io.kvmirq.arch}. */
        String races() {
            return RACES.getOrDefault(file.replaceAll("/.*", ""), "vtd.posting.PostedRaces");
        }

        private Path path() {
            return SOURCES.stream()
                    .map(root -> root.resolve(file + ".java"))
                    .filter(Files::exists)
                    .findFirst()
                    .orElseThrow(() -> new IllegalArgumentException("no folder has arch/" + file + ".java"));
        }

        /** The changed class. */
        String source() throws IOException {
            String source = Files.readString(path()).replaceAll("//.*", "").replaceAll("\\s+", " ");
            int at = source.indexOf(old);
            if (at < 0 || source.indexOf(old, at + 1) >= 0) {
                throw new IllegalStateException(file + " does not contain once: " + old);
            }
            return source.replace(old, changed);
        }
    }

    enum Verdict {
        /** The search found an interrupt that is lost. */
        FOUND,
        SURVIVES,
        /** The search was still running after {@link #SECONDS}: it has found nothing. */
        ENDLESS;

        /** @param loss what the search found; empty if it ended without a find; null if it did not end */
        static Verdict of(@Nullable String loss) {
            return loss == null ? ENDLESS : loss.isEmpty() ? SURVIVES : FOUND;
        }
    }

    static List<Mutant> all() throws IOException {
        List<Mutant> all = new ArrayList<>();
        for (String block : Files.readString(LIST).split("\n\n")) {
            String[] lines = block.strip().split("\n");
            if (!lines[0].startsWith("#")) {
                String[] head = lines[0].split(" ", 2);
                all.add(new Mutant(
                        head[0],
                        head[1],
                        lines[1].substring(1).strip(),
                        lines[2].substring(1).strip()));
            }
        }
        return all;
    }

    /** @param arguments parts of the names of the files whose changes are searched; none for all */
    public static void main(String[] arguments) throws IOException {
        Map<Verdict, Integer> counts = new ConcurrentSkipListMap<>();
        List<Mutant> mutants = all().stream()
                .filter(mutant ->
                        arguments.length == 0 || Arrays.stream(arguments).anyMatch(mutant.file()::contains))
                .toList();
        List<String> wrong = mutants.parallelStream()
                .map(mutant -> judge(mutant, counts))
                .filter(text -> !text.isEmpty())
                .toList();
        wrong.forEach(System.out::println);
        System.out.printf(
                "%n%d mutants, %d found, %d survive, %d did not end within %d s; %d not as expected%n",
                mutants.size(),
                counts.getOrDefault(Verdict.FOUND, 0),
                counts.getOrDefault(Verdict.SURVIVES, 0),
                counts.getOrDefault(Verdict.ENDLESS, 0),
                SECONDS,
                wrong.size());
        System.exit(wrong.isEmpty() ? 0 : 1);
    }

    /** @return what is not as expected; empty otherwise */
    private static String judge(Mutant mutant, Map<Verdict, Integer> counts) {
        @Nullable String loss = loss(mutant);
        Verdict verdict = Verdict.of(loss);
        counts.merge(verdict, 1, Integer::sum);
        String line = verdict.name().toLowerCase(Locale.ROOT) + " " + mutant.file() + ": " + mutant.changed();
        System.out.println(line + "\n           instead of " + mutant.old() + "\n           "
                + (verdict == Verdict.FOUND ? loss : mutant.expected()));
        return verdict == mutant.expects() ? "" : "NOT AS EXPECTED: " + line;
    }

    /** @return what the search finds; empty if nothing; null if it does not end */
    private static @Nullable String loss(Mutant mutant) {
        FutureTask<String> search = new FutureTask<>(() -> search(mutant, compiled(mutant)));
        Thread thread = new Thread(null, search, "search", 64 << 20);
        thread.setDaemon(true);
        thread.start();
        try {
            while (true) {
                try {
                    return search.get(1, TimeUnit.SECONDS);
                } catch (TimeoutException e) {
                    // Seconds of the processor: a machine that is busy with other work changes no verdict.
                    if (CPU.getThreadCpuTime(thread.getId()) > TimeUnit.SECONDS.toNanos(SECONDS)) {
                        return null;
                    }
                }
            }
        } catch (ExecutionException | InterruptedException e) {
            throw new IllegalStateException(mutant.toString(), e);
        }
    }

    private static Path compiled(Mutant mutant) throws IOException {
        Path directory = Files.createTempDirectory("kvmirq-mutant");
        Path file = directory.resolve(mutant.file() + ".java");
        Files.createDirectories(file.getParent());
        Files.writeString(file, mutant.source());
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        StringWriter errors = new StringWriter();
        try (StandardJavaFileManager files = compiler.getStandardFileManager(null, null, null)) {
            List<String> options = List.of(
                    "-proc:none", "-nowarn", "-cp", System.getProperty("java.class.path"), "-d", directory.toString());
            if (!compiler.getTask(errors, files, null, options, null, files.getJavaFileObjects(file))
                    .call()) {
                throw new IllegalStateException(mutant + " does not compile: " + errors);
            }
        }
        return directory;
    }

    private static String search(Mutant mutant, Path changed) throws IOException, ReflectiveOperationException {
        List<URL> places = new ArrayList<>(List.of(changed.toUri().toURL()));
        Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
                .map(Mutants::url)
                .forEach(places::add);
        try (URLClassLoader loader = new ChangedFirst(places.toArray(URL[]::new))) {
            Object verdicts = loader.loadClass("io.kvmirq.arch." + mutant.races())
                    .getField("VERDICTS")
                    .get(null);
            return (String) verdicts.getClass().getMethod("loss").invoke(verdicts);
        } finally {
            delete(changed);
        }
    }

    private static void delete(Path directory) throws IOException {
        try (Stream<Path> all = Files.walk(directory)) {
            for (Path path : all.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        }
    }

    private static URL url(String place) {
        try {
            return Path.of(place).toUri().toURL();
        } catch (MalformedURLException e) {
            throw new IllegalArgumentException(place, e);
        }
    }

    /** Loads the models and the search anew. */
    private static final class ChangedFirst extends URLClassLoader {
        private ChangedFirst(URL[] places) {
            super(places, Mutants.class.getClassLoader());
        }

        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            synchronized (getClassLoadingLock(name)) {
                Class<?> loaded = findLoadedClass(name);
                if (loaded == null && (name.startsWith("io.kvmirq.arch.") || name.startsWith("io.kvmirq.explorer."))) {
                    loaded = findClass(name);
                }
                return loaded == null ? super.loadClass(name, resolve) : loaded;
            }
        }
    }
}
