/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.frame.Commands;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.testing.Machine;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;

/** The command: {@link #run} in this process, {@link #launcher} and {@link #jvm} as a process of its own. */
public final class Cli {
    /** How the command ended. A document about a host has the published schema. */
    public record Ended(int exitCode, String out, String err) {
        public Ended {
            if (out.startsWith("{\"schema\":2,")) {
                assertThat(Schema.PUBLISHED.flaws(out)).isEmpty();
            }
        }

        /** Asserts the exit code; what was printed tells why it is another. */
        public Ended exited(int expected) {
            assertThat(exitCode).as(out + err).isEqualTo(expected);
            return this;
        }
    }

    /** Exit codes of a process that a signal ended: 128 and its number. */
    public static final int ENDED_BY_SIGINT = 128 + 2;

    public static final int ENDED_BY_SIGTERM = 128 + 15;

    /** The lines of its terminal. */
    static final int ROWS = 24;

    /** User id of nobody in Debian. */
    public static final int NOBODY = 65534;

    private final List<String> before = new ArrayList<>();
    private final Map<String, String> environment = new HashMap<>();
    /** Terminal width; 0 without a terminal. */
    private int columns;

    /**
     * Runs the command in this process. Use {@link #launcher} where the process is the subject: its exit, signals,
     * environment, start-up and installed layout.
     */
    public static Ended run(String... arguments) {
        return run(Terminal.DEFAULT_COLUMNS, arguments);
    }

    /** As {@link #run(String...)}, with help of that many columns. */
    static Ended run(int columns, String... arguments) {
        return run(columns, 0, 0, arguments);
    }

    /** As {@link #run(String...)}, on a terminal of that many columns. */
    public static Ended onTerminal(int columns, String... arguments) {
        return run(columns, columns, 0, arguments);
    }

    /** On a terminal with some rows, 200 columns wide. */
    public static Ended onRows(int rows, String... arguments) {
        return run(200, 200, rows, arguments);
    }

    private static Ended run(int columns, int wrapColumns, int rows, String... arguments) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        Terminal terminal = new Terminal(utf8(out), utf8(err), false, columns, 0, wrapColumns, rows, "");
        int code = Main.run(arguments, terminal);
        // A hint repeats --root, which is a temporary directory.
        int root = List.of(arguments).indexOf("--root") + 1;
        String repeated = root > 0 && root < arguments.length ? " --root " + arguments[root] + "'" : "''";
        String said = printed(out).replaceAll("\"(time|version)\":\"[^\"]*\"", "\"$1\":\"...\"");
        return new Ended(code, said.replace(repeated, "'"), printed(err).replace(repeated, "'"));
    }

    /** Runs one of some commands, such as those of a recorded host. */
    public static Ended run(int columns, List<Commands.Named> commands, String... arguments) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        int code = new Commands(commands).run(arguments, new Terminal(utf8(out), utf8(err), false, columns, 0));
        return new Ended(code, printed(out), printed(err));
    }

    private static String printed(ByteArrayOutputStream stream) {
        return stream.toString(StandardCharsets.UTF_8);
    }

    /** The content of a resource beside a test: the output that the command must print, letter by letter. */
    public static String golden(Class<?> test, String name) throws IOException {
        try (InputStream in = Objects.requireNonNull(test.getResourceAsStream(name), name)) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        }
    }

    private static PrintStream utf8(OutputStream stream) {
        return new PrintStream(stream, true, StandardCharsets.UTF_8);
    }

    public static Cli launcher() {
        return launcher(Machine.root().resolve("scripts/kvmirq"));
    }

    /** The launcher of an installed command. */
    static Cli launcher(Path program) {
        Cli cli = new Cli();
        cli.before.add(program.toString());
        return cli;
    }

    /** A JVM with options and the class path of this one. */
    public static Cli jvm(String... options) {
        Cli cli = of(options);
        cli.before.addAll(List.of("-cp", System.getProperty("java.class.path"), Main.class.getName()));
        return cli;
    }

    /** A JVM with options that starts a jar. */
    public static Cli jvm(Path jar, String... options) {
        Cli cli = of(options);
        cli.before.addAll(List.of("-jar", jar.toString()));
        return cli;
    }

    private static Cli of(String... options) {
        Cli cli = new Cli();
        cli.before.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        cli.before.add("--enable-native-access=ALL-UNNAMED");
        // Such a JVM is short.
        cli.before.addAll(List.of("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"));
        cli.before.addAll(List.of(options));
        return cli;
    }

    /** The jar of the command; skips the test where it is older than the classes. */
    public static Path jar() {
        return Machine.jar();
    }

    public Cli with(String variable, String value) {
        environment.put(variable, value);
        return this;
    }

    /** Runs under another program, such as {@code setpriv}. */
    public Cli under(String... program) {
        before.addAll(0, List.of(program));
        return this;
    }

    /** Runs as a user without rights. Needs root and the program setpriv. */
    public Cli asNobody() {
        return under("setpriv", "--reuid=" + NOBODY, "--regid=" + NOBODY, "--clear-groups");
    }

    /** Runs with a terminal as standard output and standard error, which are then one. */
    public Cli onTerminal(int columns) {
        Machine.assumeProgram("script");
        this.columns = columns;
        return with("SHELL", "/bin/sh").with("TERM", "xterm");
    }

    private ProcessBuilder builder(String... arguments) {
        List<String> command = new ArrayList<>(before);
        command.addAll(List.of(arguments));
        if (columns > 0) {
            String words = command.stream()
                    .map(word -> " '" + word.replace("'", "'\\''") + "'")
                    .collect(Collectors.joining());
            String size = "stty rows " + ROWS + " cols " + columns;
            command = List.of("script", "-qec", size + " -onlcr; exec" + words, "/dev/null");
        }
        ProcessBuilder builder = new ProcessBuilder(command);
        builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
        builder.environment().remove("KVMIRQ_BACKEND");
        builder.environment().putAll(environment);
        return builder;
    }

    public Process start(String... arguments) throws IOException {
        return builder(arguments).start();
    }

    public Ended execute(String... arguments) throws IOException, InterruptedException {
        Path err = Files.createTempFile("kvmirq-test", ".err");
        try {
            Process process = builder(arguments).redirectError(err.toFile()).start();
            process.getOutputStream().close();
            String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            process.waitFor();
            return new Ended(process.exitValue(), out, Files.readString(err));
        } finally {
            Files.delete(err);
        }
    }
}
