/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class CliIT {
    private static final String NOBODY = "65534";
    private static final String ESCAPE = "\033";

    @TempDir
    private Path temporary;

    // Parsing

    @Test
    void versionLoadsNeitherParserNorNativeCode() throws Exception {
        Cli.Ended ended = Cli.jvm(Cli.jar(), "-Xlog:class+load:stdout").execute("--version");
        assertThat(ended.exitCode()).isZero();
        assertThat(ended.out())
                .containsPattern("(?m)^kvmirq \\d+\\.\\d+\\.\\d+\\S* \\(ABI 1\\.\\d+, Java .*, Linux .*\\)$")
                .doesNotContain("picocli.")
                .doesNotContain("io.kvmirq.backend.jni");
    }

    @Test
    void usageErrorLoadsNoNativeCode() throws Exception {
        Cli.Ended ended = Cli.jvm("-Xlog:class+load:stdout").execute("selftest", "--cuont", "3");
        assertThat(ended.exitCode()).isEqualTo(ExitCode.USAGE);
        assertThat(ended.out())
                .doesNotContain("io.kvmirq.backend.jni")
                .doesNotContain("io.kvmirq.backend.library.NativeLibrary");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "selftest --coun 3      | kvmirq: Unknown options: '--coun', '3'. Did you mean --count? See kvmirq"
                        + " selftest --help",
                "selftest --count ten   | kvmirq: Invalid value for option '--count': 'ten' is not a number from 1 to"
                        + " 10000000. See kvmirq selftest --help",
                "selftest --count 0     | kvmirq: Invalid value for option '--count': '0' is not a number from 1 to"
                        + " 10000000. See kvmirq selftest --help",
                "selftest --scenario x  | kvmirq: Invalid value for option '--scenario' (SCENARIO): 'x' is not one of"
                        + " edge, level, many, mask, reroute, guestless. See kvmirq selftest --help",
                "selftest --backend x   | kvmirq: Invalid value for option '--backend': 'x' is not one of auto, jni,"
                        + " ffm, jna, jnr, fake. See kvmirq selftest --help",
                "selftset               | kvmirq: Unmatched argument at index 0: 'selftset'. Did you mean selftest?"
                        + " See kvmirq --help",
                "selftset --help        | kvmirq: Unmatched argument at index 0: 'selftset'. Did you mean selftest?"
                        + " See kvmirq --help",
                "selftest --help --cuont | kvmirq: Unknown option: '--cuont'. See kvmirq selftest" + " --help",
                "selftest more          | kvmirq: Unmatched argument at index 1: 'more'. See kvmirq selftest --help"
            })
    void wrongUsageIsOneSentenceAndExitCode2(String arguments, String sentence) throws Exception {
        Cli.Ended ended = Cli.run(arguments.strip().split(" ", -1));
        assertThat(ended.exitCode()).isEqualTo(ExitCode.USAGE);
        assertThat(ended.err().strip()).isEqualTo(sentence);
        assertThat(ended.out()).isEmpty();
    }

    @Test
    void helpListsCommandsAndExitCodes() throws Exception {
        Cli.Ended ended = Cli.run("--help");
        assertThat(ended.exitCode()).isZero();
        assertThat(ended.out()).contains("selftest", "Exit codes:");
        assertThat(Cli.run("selftest", "--help").out()).contains("--count", "guestless", "--json");
        Cli.Ended nothing = Cli.run();
        assertThat(nothing.exitCode()).isEqualTo(ExitCode.USAGE);
        assertThat(nothing.err()).contains("Usage: kvmirq");
    }

    @Test
    void helpOfACommandIsWhatItsOptionPrints() throws Exception {
        assertThat(Cli.run("help").out())
                .isEqualTo(Cli.run("--help").out())
                .contains("help", "Print the help of a command.");
        assertThat(Cli.run("help", "help").out()).startsWith("Usage: kvmirq help");
        Cli.Ended tape = Cli.run("help", "tape", "true");
        assertThat(tape.exitCode()).isZero();
        assertThat(tape.out())
                .startsWith("Usage: kvmirq tape")
                .isEqualTo(Cli.run("tape", "--help").out());
        Cli.Ended unknown = Cli.run("help", "selftset");
        assertThat(unknown.exitCode()).isEqualTo(ExitCode.USAGE);
        assertThat(unknown.err())
                .isEqualTo("kvmirq: Unmatched argument at index 0: 'selftset'. Did you mean selftest?"
                        + " See kvmirq --help\n");
    }

    @Test
    void helpIsAsWideAsTheTerminal() throws Exception {
        int longestWord = 12;
        String piped = Cli.launcher()
                .with("COLUMNS", "120")
                .execute("selftest", "--help")
                .out();
        assertThat(longest(piped)).isBetween(Terminal.DEFAULT_COLUMNS - longestWord, Terminal.DEFAULT_COLUMNS);
        for (int columns : List.of(60, 120)) {
            String out = Cli.launcher()
                    .onTerminal(columns)
                    .with("NO_COLOR", "1")
                    .execute("selftest", "--help")
                    .out();
            assertThat(longest(out)).as(out).isBetween(columns - longestWord, columns);
        }
    }

    private static int longest(String text) {
        return text.lines()
                .mapToInt(line -> line.codePointCount(0, line.length()))
                .max()
                .orElse(0);
    }

    @Test
    void completionScriptIsValid() throws Exception {
        Cli.Ended ended = Cli.run("generate-completion");
        assertThat(ended.exitCode()).isZero();
        Path script = Files.writeString(temporary.resolve("completion"), ended.out());
        assertThat(new ProcessBuilder("bash", "-n", script.toString()).start().waitFor())
                .isZero();
        assertThat(ended.out()).contains("--scenario");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "selftest --backend fake --scenario guestless --json",
                "--version",
                "decide --reasons",
                "forward --selftest --fake 6.12 0000:3b:00.0 --json"
            })
    void outputThatCannotBeWrittenIsAFailure(String arguments) throws Exception {
        Process process = new ProcessBuilder(
                        "bash", "-c", "\"$0\" " + arguments + " > /dev/full", Machine.root() + "/scripts/kvmirq")
                .start();
        String said = new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).isEqualTo(ExitCode.FAILED);
        assertThat(said).startsWith("kvmirq: cannot write to stdout").hasLineCount(1);
    }

    @Test
    void readerThatLeavesIsNoError() throws Exception {
        Process process = new ProcessBuilder(
                        "bash", "-c", "\"$0\" selftest --help | head -1", Machine.root() + "/scripts/kvmirq")
                .redirectErrorStream(true)
                .start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(said.lines()).singleElement().asString().startsWith("Usage: kvmirq selftest");
    }

    @Test
    void javaThatIsNotThereIsToldSo() throws Exception {
        Cli.Ended ended = Cli.launcher().with("JAVA", "/nonexistent/java").execute("--version");
        assertThat(ended.exitCode()).isEqualTo(ExitCode.COULD_NOT_RUN);
        assertThat(ended.err()).startsWith("kvmirq: /nonexistent/java cannot be run: install Java 17 or newer");
    }

    @Test
    void unknownBackendInTheEnvironmentIsAUsageError() throws Exception {
        Cli.Ended ended = Cli.launcher().with("KVMIRQ_BACKEND", "x").execute("selftest");
        assertThat(ended.exitCode()).isEqualTo(ExitCode.USAGE);
        assertThat(ended.err()).contains("$KVMIRQ_BACKEND: 'x' is not one of auto, jni, ffm, jna, jnr, fake");
    }

    @Test
    void helpIsUtf8InAnyLocale() throws Exception {
        assertThat(Cli.launcher()
                        .with("LC_ALL", "C")
                        .execute("selftest", "--help")
                        .out())
                .contains("eventfd → irqfd", "1–10000000");
    }

    // The self-test

    @Test
    @RealKvm(fullIrqchip = true)
    void selftestPassesAndExplains() throws Exception {
        Cli.Ended ended = Cli.run("selftest", "--count", "100");
        assertThat(ended.exitCode()).as(ended.out()).isZero();
        assertThat(ended.out())
                .contains("sent 100, answered 100, lost 0", "6 of 6 scenarios passed on the real kernel")
                .doesNotContain(ESCAPE);
        assertThat(ended.err()).isEmpty();
    }

    @ParameterizedTest
    @MethodSource("jdks")
    @RealKvm
    void everyJdkHereRunsItWithoutAWarning(Path jdk) throws Exception {
        Cli.Ended ended =
                Cli.launcher().with("JAVA", jdk.resolve("bin/java").toString()).execute("selftest", "--count", "10");
        assertThat(ended.exitCode()).as(ended.out()).isZero();
        assertThat(ended.err()).isEmpty();
        assertThat(ended.out()).doesNotContain("WARNING");
    }

    private static Stream<Path> jdks() throws Exception {
        Process process = new ProcessBuilder(Machine.root() + "/scripts/jdks").start();
        return new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8)
                .lines()
                .map(Path::of);
    }

    @Test
    @RealKvm(fullIrqchip = true)
    void jsonIsOneDocument() throws Exception {
        Cli.Ended ended = Cli.run("selftest", "--json", "--count", "50", "--scenario", "edge", "--scenario", "many");
        assertThat(ended.exitCode()).isZero();
        List<String> names = new ArrayList<>();
        List<String> fields = new ArrayList<>();
        try (JsonParser parser = new JsonFactory().createParser(ended.out())) {
            for (JsonToken token = parser.nextToken(); token != null; token = parser.nextToken()) {
                if (token == JsonToken.FIELD_NAME) {
                    fields.add(parser.currentName());
                } else if ("name".equals(parser.currentName()) && token == JsonToken.VALUE_STRING) {
                    names.add(parser.getText());
                }
            }
        }
        assertThat(names).containsExactly("edge", "many");
        assertThat(fields)
                .startsWith("schema", "kernel")
                .contains("backend", "scenarios", "passed", "sent", "answered", "lost", "latencyNanos", "p50", "max");
        assertThat(ended.out())
                .startsWith("{\"schema\":\"kvmirq.selftest/1\",\"kernel\":\"real\",")
                .contains(
                        "\"backend\":\"jni\",\"irqchip\":\"full\"",
                        "\"passed\":true,\"sent\":50,\"answered\":50,\"lost\":0");
    }

    @Test
    @RealKvm
    void colourIsForTerminalsThatWantIt() throws Exception {
        String[] arguments = {"selftest", "--scenario", "guestless"};
        Cli onTerminal = Cli.jvm("-Dkvmirq.terminal=true").with("TERM", "xterm");
        assertThat(onTerminal.execute(arguments).out()).contains(ESCAPE);
        assertThat(onTerminal.with("NO_COLOR", "1").execute(arguments).out()).doesNotContain(ESCAPE);
    }

    // Progress

    private static final String[] LONG_ENOUGH = {"selftest", "--backend", "fake", "--scenario", "edge", "--count"};

    private static String[] rounds(String count) {
        return Stream.concat(Stream.of(LONG_ENOUGH), Stream.of(count)).toArray(String[]::new);
    }

    /** The launcher reports a terminal of 70 columns. The run is stopped when its progress line was seen. */
    @Test
    void longRunShowsOnATerminalHowFarItIs() throws Exception {
        Process process = Cli.jvm("-Dkvmirq.progress=70", "-Xlog:class+load:file=" + temporary + "/loaded")
                .start(rounds("10000000"));
        StringBuilder seen = new StringBuilder();
        try (InputStream err = process.getErrorStream()) {
            for (int c = err.read(); c >= 0 && seen.indexOf("/10000000") < 0; c = err.read()) {
                seen.append((char) c);
            }
        } finally {
            process.destroyForcibly().waitFor();
        }
        assertThat(seen.toString()).startsWith("\redge").contains("%", "/10000000");
        assertThat(Files.readString(temporary.resolve("loaded")))
                .contains("me.tongfei.")
                .doesNotContain("org.jline.terminal.Terminal ");
    }

    @Test
    void progressIsForTerminalsAndLongRuns() throws Exception {
        Cli.Ended piped =
                Cli.jvm("-Xlog:class+load:file=" + temporary + "/loaded").execute(rounds("20000"));
        assertThat(piped.err()).isEmpty();
        Cli.Ended quick = Cli.jvm("-Dkvmirq.progress=70", "-Xlog:class+load:file=" + temporary + "/quick")
                .execute("selftest", "--backend", "fake", "--count", "10");
        assertThat(quick.err()).isEmpty();
        assertThat(Files.readString(temporary.resolve("loaded"))).doesNotContain("me.tongfei.");
        assertThat(Files.readString(temporary.resolve("quick"))).doesNotContain("me.tongfei.");
    }

    @Test
    void launcherSaysWhetherStandardErrorIsATerminal() throws Exception {
        Path java = temporary.resolve("java");
        Files.writeString(java, "#!/bin/sh\necho \"$@\"\n");
        Files.setPosixFilePermissions(java, PosixFilePermissions.fromString("rwxr-xr-x"));
        Cli cli = Cli.launcher().with("JAVA", java.toString());
        assertThat(cli.execute("races").out()).doesNotContain("kvmirq.progress", "kvmirq.columns");
        assertThat(cli.onTerminal(90).execute("races").out()).contains("-Dkvmirq.progress=90", "-Dkvmirq.columns=90");
    }

    // Bindings

    private static Path withoutOurLibrary(Path directory) throws IOException {
        Path jar = Files.copy(Cli.jar(), directory.resolve("without.jar"));
        try (FileSystem zip = FileSystems.newFileSystem(jar, Map.of());
                Stream<Path> natives = Files.walk(zip.getPath("META-INF/native"))) {
            for (Path each : natives.filter(Files::isRegularFile).toList()) {
                Files.delete(each);
            }
        }
        return jar;
    }

    /** From the jar alone: where no library of ours is, another binding serves. */
    @ParameterizedTest
    @ValueSource(strings = {"jna", "jnr"})
    @RealKvm(fullIrqchip = true)
    void withoutOurLibraryOthersServe(String backend) throws Exception {
        Cli.Ended ended = Cli.jvm(withoutOurLibrary(temporary), "-Djava.library.path=/nonexistent")
                .execute("selftest", "--backend", backend, "--count", "100");
        assertThat(ended.exitCode()).as(ended.out() + ended.err()).isZero();
        assertThat(ended.out()).contains("through " + backend, "6 of 6 scenarios passed");
    }

    /** The files that other bindings unpack lie in our private directory, whole, and are mended when they changed. */
    @Test
    @RealKvm
    void otherBindingsUnpackIntoThePrivateDirectory() throws Exception {
        Path cache = temporary.resolve("cache");
        Path others = cache.resolve("others");
        Cli jnr = Cli.jvm("-Dkvmirq.cache=" + cache, "-Djava.io.tmpdir=/nonexistent");
        assertThat(jnr.execute("selftest", "--backend", "jnr", "--scenario", "guestless")
                        .exitCode())
                .isZero();
        try (Stream<Path> files = Files.list(others)) {
            assertThat(files).singleElement().satisfies(file -> Files.write(file, new byte[] {1, 2, 3}));
        }
        assertThat(jnr.execute("selftest", "--backend", "jnr", "--scenario", "guestless")
                        .exitCode())
                .isZero();
        assertThat(jnr.execute("selftest", "--backend", "jna", "--scenario", "guestless")
                        .exitCode())
                .isZero();
    }

    @Test
    @RealKvm
    void autoWithoutOurLibraryTakesTheNextThatWorks() throws Exception {
        Cli.Ended ended = Cli.jvm(withoutOurLibrary(temporary), "-Djava.library.path=/nonexistent")
                .execute("selftest", "--count", "10", "--json");
        assertThat(ended.exitCode()).as(ended.err()).isZero();
        assertThat(ended.out()).containsPattern("\"backend\":\"(ffm|jna)\"");
    }

    /** On this JDK in this process. */
    @ParameterizedTest
    @MethodSource("jdksAndBackends")
    @RealKvm(fullIrqchip = true)
    void everyBindingPassesEveryScenario(Path jdk, String backend) throws Exception {
        String[] arguments = {"selftest", "--backend", backend, "--count", "100"};
        Cli.Ended ended = Files.isSameFile(jdk, Path.of(System.getProperty("java.home")))
                ? Cli.run(arguments)
                : Cli.launcher()
                        .with("JAVA", jdk.resolve("bin/java").toString())
                        .execute(arguments);
        assertThat(ended.exitCode()).as(ended.out() + ended.err()).isZero();
        assertThat(ended.out()).contains("6 of 6 scenarios passed on the real kernel");
    }

    private static Stream<Arguments> jdksAndBackends() throws Exception {
        return jdks().flatMap(jdk -> Stream.of("jni", "ffm", "jna", "jnr")
                .filter(backend -> !backend.equals("ffm") || feature(jdk) >= 22)
                .map(backend -> Arguments.of(jdk, backend)));
    }

    private static int feature(Path jdk) {
        try {
            String release = Files.readString(jdk.resolve("release"));
            return Integer.parseInt(release.replaceAll("(?s).*JAVA_VERSION=\"(\\d+).*", "$1"));
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    @Test
    void backendsSaysWhyEachIsUsableOrNot() throws Exception {
        String out = Cli.run("backends").out();
        assertThat(out.lines().filter(line -> line.matches("(jni|ffm|jna|jnr) .*")))
                .hasSize(4);
        assertThat(out).contains("jni  usable ", "jna  usable    JNA 5.");
        assertThat(Cli.run("backends", "--json").out())
                .startsWith("{\"schema\":\"kvmirq.backends/1\",\"backends\":[{\"name\":\"jni\",\"usable\":true");
    }

    @Test
    @RealKvm
    void classesOfUnusedBindingsAreNotLoaded() throws Exception {
        Cli.Ended ended = Cli.jvm("-Xlog:class+load:stdout").execute("selftest", "--scenario", "guestless");
        assertThat(ended.exitCode()).isZero();
        assertThat(ended.out())
                .contains("io.kvmirq.backend.jni.JniBackend")
                .doesNotContain("com.sun.jna.")
                .doesNotContain("jnr.ffi.")
                .doesNotContain("io.kvmirq.backend.libc.LibcBackend")
                .doesNotContain("io.kvmirq.backend.libc.FfmLibc");
        String jna = Cli.jvm("-Xlog:class+load:stdout")
                .execute("selftest", "--scenario", "guestless", "--backend", "jna")
                .out();
        assertThat(jna)
                .contains("com.sun.jna.Native")
                .doesNotContain("io.kvmirq.backend.jni.JniBackend")
                .doesNotContain("jnr.ffi.");
    }

    // What can be missing

    @Test
    void hiddenLibraryListsThePlacesLookedAt() throws Exception {
        Cli.Ended ended = Cli.jvm(withoutOurLibrary(temporary), "-Djava.library.path=/nonexistent/a:/nonexistent/b")
                .execute("backends");
        assertThat(ended.exitCode()).as(ended.err()).isZero();
        assertThat(ended.out())
                .contains("jni  unusable  no usable libkvmirq.so; looked at:")
                .contains("/nonexistent/a/libkvmirq.so: not there", "/nonexistent/b/libkvmirq.so: not there")
                .contains("in the jar: not there");
    }

    @Test
    @RealKvm
    void selftestWithoutTheLibraryAskedForCannotLook() throws Exception {
        Cli.Ended ended = Cli.jvm(withoutOurLibrary(temporary), "-Djava.library.path=/nonexistent")
                .execute("selftest", "--backend", "jni");
        assertThat(ended.exitCode()).isEqualTo(ExitCode.COULD_NOT_RUN);
        assertThat(ended.err()).startsWith("kvmirq: backend jni cannot be used: no usable libkvmirq.so; looked at:");
    }

    @Test
    void userWithoutAccessIsToldWhy() throws Exception {
        Machine.assumeRoot("to become nobody");
        Machine.assumeProgram("setpriv");
        Machine.assumeKvmClosedToOthers();
        Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxr-xr-x"));
        Path jar = Files.copy(Cli.jar(), temporary.resolve("kvmirq.jar"));
        Path home = Files.createDirectory(temporary.resolve("home"));
        Files.setAttribute(home, "unix:uid", Integer.valueOf(NOBODY));
        Cli.Ended ended = Cli.jvm(jar, "-Dkvmirq.cache=" + home.resolve("cache"))
                .under("setpriv", "--reuid=" + NOBODY, "--regid=" + NOBODY, "--clear-groups")
                .execute("selftest");
        assertThat(ended.exitCode()).isEqualTo(ExitCode.COULD_NOT_RUN);
        assertThat(ended.err().strip())
                .startsWith("kvmirq: open /dev/kvm: EACCES (")
                .containsAnyOf("join group ", "run as that user, or let a group in with chgrp kvm /dev/kvm");
        assertThat(ended.out()).isEmpty();
    }

    private static Cli withoutDevice(Cli cli) throws Exception {
        String hide = Machine.root() + "/scripts/without-kvm";
        Machine.assumeSucceeds(hide, "true");
        return cli.under(hide);
    }

    /** A backend chosen by no means, by option, by property and by environment. */
    private static Cli choosing(String means, String backend) {
        return switch (means) {
            case "property" -> Cli.jvm("-Dkvmirq.backend=" + backend);
            case "environment" -> Cli.launcher().with("KVMIRQ_BACKEND", backend);
            default -> Cli.launcher();
        };
    }

    private static String[] selftest(String means, String backend, String... more) {
        Stream<String> option = means.equals("option") ? Stream.of("--backend", backend) : Stream.of();
        return Stream.of(Stream.of("selftest"), option, Stream.of(more))
                .flatMap(words -> words)
                .toArray(String[]::new);
    }

    @ParameterizedTest
    @CsvSource({
        "nothing,",
        "option,auto",
        "property,auto",
        "environment,auto",
        "option,jni",
        "property,jni",
        "environment,jni"
    })
    void withoutKvmTheExitCodeIs3UnlessTheFakeWasAskedFor(String means, @Nullable String named) throws Exception {
        String backend = named == null ? "" : named;
        Cli.Ended ended = withoutDevice(choosing(means, backend)).execute(selftest(means, backend, "--json"));
        assertThat(ended.exitCode()).isEqualTo(ExitCode.COULD_NOT_RUN);
        assertThat(ended.err())
                .startsWith("kvmirq: open /dev/kvm: ENOENT (no KVM here: load kvm_intel or kvm_amd")
                .endsWith("; --backend fake runs the same on a fake kernel\n");
        assertThat(ended.err().lines()).hasSize(1);
        assertThat(ended.out()).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(strings = {"option", "property", "environment"})
    void withoutKvmTheFakeRunsWhenAskedForAndEveryLineSaysSo(String means) throws Exception {
        Cli.Ended ended = withoutDevice(choosing(means, "fake")).execute(selftest(means, "fake", "--count", "100"));
        assertThat(ended.exitCode()).as(ended.out() + ended.err()).isZero();
        assertThat(ended.err()).isEmpty();
        assertThat(ended.out().lines()).allMatch(line -> line.startsWith("FAKE"));
        assertThat(ended.out()).contains("FAKE 6 of 6 scenarios passed on the fake kernel 6.18");
    }

    // Tapes that cannot be written

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "/nonexistent/x | 3 | the directory /nonexistent does not exist; make it with mkdir -p, or name"
                        + " another file",
                "/dev           | 3 | it is a directory; name a file in it, such as /dev/kvmirq.tape",
                "/dev/null      | 3 | it is not a regular file; name another file",
                "/dev/null/x    | 3 | Not a directory; name another file"
            })
    void tapeThatCannotBeWrittenIsOneSentence(String file, int exitCode, String why) throws Exception {
        Cli.Ended ended =
                Cli.run("selftest", "--backend", "fake", "--scenario", "guestless", "--json", "--record", file);
        assertThat(ended.err()).isEqualTo("kvmirq: cannot write " + file + ": " + why + "\n");
        assertThat(ended.exitCode()).isEqualTo(exitCode);
        assertThat(ended.out().isEmpty()).isEqualTo(exitCode == ExitCode.COULD_NOT_RUN);
    }

    @Test
    void fullDiskIsOneSentence() throws Exception {
        Machine.assumeSucceeds("unshare", "--mount", "true");
        Path disk = Files.createDirectory(temporary.resolve("disk"));
        String mounted = "mount -t tmpfs -o size=4k none " + disk + " && exec \"$@\"";
        Path tape = disk.resolve("tape");
        Cli.Ended ended = Cli.launcher()
                .under("unshare", "--mount", "sh", "-c", mounted, "sh")
                .execute("selftest", "--backend", "fake", "--scenario", "edge", "--json", "--record", tape.toString());
        assertThat(ended.err())
                .isEqualTo("kvmirq: cannot write " + tape
                        + ": the disk is full; free space there, or name a file on another disk\n");
        assertThat(ended.exitCode()).isEqualTo(ExitCode.FAILED);
        assertThat(ended.out()).isNotEmpty();
    }

    @Test
    void tapeInADirectoryOfOthersIsOneSentence() throws Exception {
        Machine.assumeRoot("to become nobody");
        Machine.assumeProgram("setpriv");
        Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxr-xr-x"));
        Path jar = Files.copy(Cli.jar(), temporary.resolve("kvmirq.jar"));
        Path tape = temporary.resolve("tape");
        Cli.Ended ended = Cli.jvm(jar)
                .under("setpriv", "--reuid=" + NOBODY, "--regid=" + NOBODY, "--clear-groups")
                .execute("selftest", "--backend", "fake", "--scenario", "guestless", "--record", tape.toString());
        assertThat(ended.err())
                .isEqualTo("kvmirq: cannot write " + tape
                        + ": permission denied; name a file in a directory that you may write to\n");
        assertThat(ended.exitCode()).isEqualTo(ExitCode.COULD_NOT_RUN);
        assertThat(ended.out()).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.1", "6.12", "6.18", "7.1"})
    void fakePassesOnRequestForEachProfile(String profile) throws Exception {
        Cli.Ended ended = Cli.run("selftest", "--backend", "fake", "--profile", profile, "--count", "200");
        assertThat(ended.exitCode()).as(ended.out() + ended.err()).isZero();
        assertThat(ended.out()).contains("FAKE 6 of 6 scenarios passed on the fake kernel " + profile);
    }

    @ParameterizedTest
    @ValueSource(strings = {"6.1", "6.12", "6.18", "7.1"})
    void fakePassesWithTheSplitIrqchipForEachProfile(String profile) throws Exception {
        Cli.Ended ended =
                Cli.run("selftest", "--backend", "fake", "--profile", profile, "--irqchip", "split", "--count", "50");
        assertThat(ended.exitCode()).as(ended.out() + ended.err()).isZero();
        assertThat(ended.out())
                .contains("FAKE 5 of 6 scenarios passed, 1 skipped on the fake kernel " + profile)
                .contains("no pins in the kernel");
    }

    /** No guest runs: each interrupt is seen in the pending state, and the lines say so. */
    @ParameterizedTest
    @ValueSource(strings = {"6.1,arm64", "6.12,arm64"})
    void fakeOfArm64SeesInterruptsInThePendingState(String profile) throws Exception {
        String[] arguments = {"selftest", "--backend", "fake", "--profile", profile, "--count", "50"};
        Cli.Ended ended = Cli.run(arguments);
        assertThat(ended.exitCode()).as(ended.out() + ended.err()).isZero();
        assertThat(ended.out())
                .contains("FAKE 6 of 6 scenarios passed in the pending state, no guest ran, on the fake kernel "
                        + profile)
                .contains("sent 50, seen pending 50, lost 0; no guest ran")
                .doesNotContain("answered");
        Cli.Ended json =
                Cli.run(Stream.concat(Stream.of(arguments), Stream.of("--json")).toArray(String[]::new));
        assertThat(json.exitCode()).isZero();
        assertThat(json.out())
                .contains("\"irqchip\":\"vgic\",\"guestRan\":false", "{\"name\":\"edge\",\"passed\":true,\"sent\":50,");
        Cli.Ended refused = Cli.run(Stream.concat(Stream.of(arguments), Stream.of("--irqchip", "full"))
                .toArray(String[]::new));
        assertThat(refused.exitCode()).isEqualTo(ExitCode.USAGE);
        assertThat(refused.out()).isEmpty();
        assertThat(refused.err())
                .isEqualTo("kvmirq: --irqchip full is for x86, and this kernel is arm64: leave it out, or take vgic\n");
    }

    /** Without CONFIG_KVM_IOAPIC there is but the split one, and full is refused by the kernel itself. */
    @Test
    void kernelWithoutPinsIsTestedWithTheSplitIrqchip() throws Exception {
        String[] split = {"selftest", "--backend", "fake", "--profile", "6.18,split", "--count", "50"};
        assertThat(Cli.run(split).out()).contains("FAKE 5 of 6 scenarios passed, 1 skipped");
        Cli.Ended refused = Cli.run("selftest", "--backend", "fake", "--profile", "6.18,split", "--irqchip", "full");
        assertThat(refused.exitCode()).isEqualTo(ExitCode.FAILED);
        assertThat(refused.out()).contains("FAKE 0 of 6 scenarios passed").contains("ENOTTY");
    }

    /** The summary names the inferred rules: a pass that uses them proves less. */
    @Test
    void fakeSaysHowFarItCanBeBelieved() throws Exception {
        assertThat(Cli.run("selftest", "--backend", "fake", "--count", "5").out())
                .containsPattern("FAKE used \\d+ rules of the fake: \\d+ measured on x86 6\\.18.*; none inferred");
        assertThat(Cli.run("selftest", "--backend", "fake", "--profile", "6.1", "--count", "5")
                        .out())
                .containsPattern("rules of the fake: \\d+ measured on x86 6\\.18, \\d+ lab");
        assertThat(Cli.run("selftest", "--backend", "fake", "--count", "5", "--json")
                        .out())
                .contains("\"kernel\":\"fake\"", "\"inferredRules\":[");
    }

    @Test
    @RealKvm
    void splitIrqchipPassesOnTheRealKernel() throws Exception {
        Cli.Ended ended = Cli.run("selftest", "--irqchip", "split", "--count", "50");
        assertThat(ended.out()).contains("5 of 6 scenarios passed, 1 skipped on the real kernel");
    }

    /** A scenario that was skipped is neither passed nor failed, and a self-test of none proves nothing. */
    @Test
    void selftestThatSkippedAllIsNoSuccess() throws Exception {
        String[] level = {"selftest", "--backend", "fake", "--irqchip", "split", "--scenario", "level"};
        Cli.Ended text = Cli.run(level);
        assertThat(text.exitCode()).isEqualTo(ExitCode.FAILED);
        assertThat(text.out()).contains("FAKE 0 of 1 scenarios passed, 1 skipped");
        Cli.Ended json =
                Cli.run(Stream.concat(Stream.of(level), Stream.of("--json")).toArray(String[]::new));
        assertThat(json.exitCode()).isEqualTo(ExitCode.FAILED);
        assertThat(json.out())
                .contains("\"irqchip\":\"split\"", "\"passed\":false", "\"skipped\":\"a split irqchip has no pins")
                .doesNotContain("\"failure\"");
    }

    @Test
    void unknownProfileIsAUsageError() throws Exception {
        assertThat(Cli.run("selftest", "--backend", "fake", "--profile", "5.4").err())
                .contains("profile '5.4' is unknown: expected one of 6.1, 6.12, 6.18, 7.1");
        assertThat(Cli.run("selftest", "--profile", "6.1").err())
                .contains("--profile is for the fake kernel: add --backend fake");
        assertThat(Cli.run("selftest", "--backend", "fake", "--profile", "6.1,split")
                        .err())
                .contains("profile '6.1,split' contradicts itself");
    }

    // Endings

    private static void readUntil(Process process, String text) throws IOException {
        BufferedReader out = process.inputReader(StandardCharsets.UTF_8);
        for (String line = out.readLine(); line != null; line = out.readLine()) {
            if (line.contains(text)) {
                return;
            }
        }
        throw new AssertionError("the command ended before it said '" + text + "'");
    }

    @Test
    @RealKvm
    void interruptStopsTheGuestAndExits130() throws Exception {
        // A test run in the background of a shell has SIGINT ignored, and would hand that on.
        Process process = Cli.launcher()
                .under("env", "--default-signal=INT")
                .start("selftest", "--count", "10000000", "--scenario", "edge");
        readUntil(process, "boot the guest");
        assertThat(new ProcessBuilder("bash", "-c", "kill -INT " + process.pid())
                        .start()
                        .waitFor())
                .isZero();
        assertThat(process.waitFor(30, TimeUnit.SECONDS))
                .as("ended after SIGINT")
                .isTrue();
        assertThat(process.exitValue()).isEqualTo(Cli.ENDED_BY_SIGINT);
        assertThat(new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8))
                .isEmpty();
    }

    /** At many moments of its life: no process stays, and at most one unfinished file, which the next start removes. */
    @Test
    @RealKvm
    void killLeavesAtMostAFileThatTheNextStartRemoves() throws Exception {
        Path cache = temporary.resolve("cache");
        String option = "-Dkvmirq.cache=" + cache;
        for (int millis = 20; millis <= 400; millis += 20) {
            Process process = Cli.jvm(option).start("selftest", "--count", "10000000");
            process.waitFor(millis, TimeUnit.MILLISECONDS);
            process.destroyForcibly().waitFor();
            assertThat(processesWith(option)).isEmpty();
            assertThat(unfinished(cache)).hasSizeLessThanOrEqualTo(1);
            forgetFinished(cache);
        }
        Files.createDirectories(cache);
        Files.setPosixFilePermissions(cache, PosixFilePermissions.fromString("rwx------"));
        Files.createFile(cache.resolve("libkvmirq0.tmp"));
        Cli.Ended ended = Cli.jvm(option).execute("selftest", "--scenario", "guestless");
        assertThat(ended.exitCode()).as(ended.err()).isZero();
        assertThat(unfinished(cache)).isEmpty();
    }

    private static List<ProcessHandle> processesWith(String argument) {
        return ProcessHandle.allProcesses()
                .filter(process -> process.info().commandLine().orElse("").contains(argument))
                .toList();
    }

    /** So that each start writes the library anew. */
    private static void forgetFinished(Path cache) throws IOException {
        if (Files.exists(cache)) {
            try (Stream<Path> files = Files.list(cache)) {
                for (Path file :
                        files.filter(file -> file.toString().endsWith(".so")).toList()) {
                    Files.delete(file);
                }
            }
        }
    }

    private static List<Path> unfinished(Path cache) throws IOException {
        if (!Files.exists(cache)) {
            return List.of();
        }
        try (Stream<Path> files = Files.list(cache)) {
            return files.filter(file -> file.toString().endsWith(".tmp")).toList();
        }
    }

    // kvmirq errno

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "irqfd EBUSY                 | maybe in another VM",
                "KVM_SIGNAL_MSI -1           | not a question of permission",
                "has_device_attr ENXIO       | no such group or attribute",
                "irqfd EINVAL level split    | resampling needs the full in-kernel irqchip",
                "set-irqs ENOTTY             | MSI and MSI-X have no MASK and UNMASK",
                "routes-set EIO              | belongs to another process",
                "get-device-attr EPERM       | nothing to get",
                "ioeventfd-deassign ENOENT   | an irqfd's deassign says 0",
                "irqfd-deassign 0            | does not say that anything was assigned"
            })
    void errnoAnswersAsAnExpertWould(String arguments, String expected) throws Exception {
        Cli.Ended ended = Cli.run(("errno " + arguments).split(" +", -1));
        assertThat(ended.exitCode()).as(ended.err()).isZero();
        assertThat(ended.out().lines().skip(1).findFirst())
                .hasValueSatisfying(first -> assertThat(first).contains(expected));
    }

    @Test
    void errnoSaysWhatItDoesNotKnowAndWhatItDoesNotUnderstand() throws Exception {
        Cli.Ended nothing = Cli.run("errno", "irqfd", "EXDEV");
        assertThat(nothing.exitCode()).isEqualTo(ExitCode.FAILED);
        assertThat(nothing.out()).contains("no cause is known");
        assertThat(Cli.run("errno", "irqfd").err()).contains("expected a call and an errno");
        assertThat(Cli.run("errno", "irqfd", "EFOO").err()).contains("'EFOO' is not an errno");
        assertThat(Cli.run("errno", "frob", "EIO").err()).contains("call 'frob' is unknown");
        assertThat(Cli.run("errno", "irqfd", "EIO", "full", "split").err())
                .contains("'split' and 'full' exclude each other");
        assertThat(Cli.run("errno", "irqfd", "EBUSY", "--json").out())
                .startsWith("{\"schema\":\"kvmirq.errno/1\",\"call\":\"irqfd assign\",\"errno\":\"EBUSY\"");
    }
}
