/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectMethod;

import java.io.IOException;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.platform.launcher.Launcher;
import org.junit.platform.launcher.TagFilter;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * {@code main}: runs tests without Maven, one class after the other, and prints a line for each class. Properties:
 *
 * <ul>
 *   <li>{@code kvmirq.test.queue}: a directory in which each process claims its next class, so that several processes share
 *       the classes. The file {@code order} in it lists the classes.
 *   <li>{@code kvmirq.test.tags}: a JUnit tag expression; tests without these tags do not run.
 *   <li>{@code kvmirq.test.stalled}: seconds after which the stacks of all threads are printed and the process ends, if
 *       no test started or ended and neither this process nor a descendant worked ({@link Stall}), 180 by default.
 * </ul>
 */
final class Tests {
    private static final Pattern TEST_CLASS = Pattern.compile("[A-Za-z0-9]+(Test|Contract|IT)\\.class");

    private static final int FAILED = 1;
    static final int NO_SUCH_TEST = 2;

    private Tests() {}

    /**
     * Runs or lists tests.
     *
     * @param arguments {@code --list} or nothing, then packages, classes or methods: {@code io.kvmirq.kvm},
     *     {@code IrqfdTest}, {@code Vfio*Test}, {@code IrqfdTest.closesOnce}, {@code io.kvmirq.IrqfdTest#closes}. Classes and
     *     methods may be globs. Nothing means all tests
     */
    public static void main(String[] arguments) throws IOException {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        List<String> names = new ArrayList<>(List.of(arguments));
        boolean list = names.remove("--list");
        @Nullable String queue = System.getProperty("kvmirq.test.queue");
        if (queue != null) {
            // Names of classes, each of which exists.
            List<Selected> order = Files.readAllLines(Path.of(queue, "order")).stream()
                    .map(type -> new Selected(type, ""))
                    .toList();
            System.exit(run(order, queue, out) ? 0 : FAILED);
        }
        List<String> all = all();
        List<Selected> selected = select(names, all);
        if (list) {
            out.println(selected.size() + " classes; make try T=IrqfdTest runs one, T='Vfio*Contract' several,"
                    + " T=IrqfdTest.METHOD a method");
            selected.forEach(test -> out.println(test.name()));
        }
        for (String name : names) {
            if (select(List.of(name), all).isEmpty()) {
                out.println("no test class or method is named '" + name + "'; without a name all classes are listed");
                System.exit(NO_SUCH_TEST);
            }
        }
        System.exit(list || run(selected, null, out) ? 0 : FAILED);
    }

    /**
     * Tests to run in one go.
     *
     * @param method a glob; empty for all methods
     */
    record Selected(String type, String method) {
        String name() {
            return method.isEmpty() ? type : type + "." + method;
        }
    }

    private static boolean run(List<Selected> selected, @Nullable String queue, PrintStream out) throws IOException {
        Progress progress = new Progress(out, Integer.getInteger("kvmirq.test.stalled", 180));
        progress.watch();
        Launcher launcher = LauncherFactory.create();
        for (Selected tests : selected) {
            if (queue == null || claim(Path.of(queue, tests.name()))) {
                LauncherDiscoveryRequestBuilder request = LauncherDiscoveryRequestBuilder.request();
                @Nullable String tags = System.getProperty("kvmirq.test.tags");
                if (tags != null) {
                    request.filters(TagFilter.includeTags(tags));
                }
                methods(tests).forEach(method -> request.selectors(selectMethod(tests.type() + "#" + method)));
                if (tests.method().isEmpty()) {
                    request.selectors(selectClass(tests.type()));
                }
                progress.of(tests.type());
                launcher.execute(request.build(), progress);
                progress.end();
            }
        }
        // Another process may have taken all classes.
        return queue == null ? progress.succeeded() : !progress.anyFailed();
    }

    private static boolean claim(Path file) throws IOException {
        try {
            Files.createFile(file);
            return true;
        } catch (FileAlreadyExistsException e) {
            return false;
        }
    }

    /** The test classes beside this one, by name. */
    private static List<String> all() throws IOException {
        Path classes = Path.of(URI.create(
                Tests.class.getProtectionDomain().getCodeSource().getLocation().toString()));
        try (Stream<Path> files = Files.walk(classes)) {
            return files.filter(file ->
                            TEST_CLASS.matcher(file.getFileName().toString()).matches())
                    .map(file -> classes.relativize(file)
                            .toString()
                            .replace('/', '.')
                            .replaceFirst("\\.class$", ""))
                    .filter(name -> !name.endsWith(".Contract") && !name.endsWith(".VfioContract"))
                    .sorted()
                    .toList();
        }
    }

    /** The tests of {@code all} that the names mean, in the order of the names. */
    static List<Selected> select(List<String> names, List<String> all) {
        if (names.isEmpty()) {
            return all.stream().map(type -> new Selected(type, "")).toList();
        }
        return names.stream()
                .flatMap(name -> all.stream().flatMap(type -> select(name, type)))
                .distinct()
                .toList();
    }

    private static Stream<Selected> select(String name, String type) {
        String simple = type.substring(type.lastIndexOf('.') + 1);
        if (type.startsWith(name + ".") || glob(name, type) || glob(name, simple)) {
            return Stream.of(new Selected(type, ""));
        }
        int end = Math.max(name.indexOf('#'), name.lastIndexOf('.'));
        if (end < 0) {
            return Stream.empty();
        }
        String typeName = name.substring(0, end);
        Selected method = new Selected(type, name.substring(end + 1));
        return (glob(typeName, type) || glob(typeName, simple))
                        && !methods(method).isEmpty()
                ? Stream.of(method)
                : Stream.empty();
    }

    private static boolean glob(String pattern, String name) {
        return name.matches(Pattern.quote(pattern).replace("*", "\\E.*\\Q"));
    }

    /** The methods that a glob means, with the types of their parameters as JUnit writes them. */
    private static List<String> methods(Selected tests) {
        if (tests.method().isEmpty()) {
            return List.of();
        }
        Class<?> type;
        try {
            type = Class.forName(tests.type(), false, Tests.class.getClassLoader());
        } catch (ClassNotFoundException e) {
            throw new IllegalStateException(e);
        }
        return Stream.<Class<?>>iterate(type, next -> next != Object.class, Class::getSuperclass)
                .flatMap(next -> Arrays.stream(next.getDeclaredMethods()))
                .filter(method -> method.getAnnotations().length > 0 && glob(tests.method(), method.getName()))
                .map(method -> method.getName()
                        + "("
                        + String.join(
                                ",",
                                Arrays.stream(method.getParameterTypes())
                                        .map(Class::getName)
                                        .toList())
                        + ")")
                .distinct()
                .toList();
    }

    /** The line of a class, such as {@code   12.3 s  IrqfdContract: 267 passed}. */
    static String line(double seconds, String name, int passed, int failed, int skipped) {
        return String.format(Locale.ROOT, "%6.1f s  %s: %d passed", seconds, name, passed)
                + (failed == 0 ? "" : ", " + failed + " failed")
                + (skipped == 0 ? "" : ", " + skipped + " skipped");
    }
}
