/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.frame.ExitCode;
import io.kvmirq.cli.frame.Terminal;
import io.kvmirq.testing.Machine;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** How the command reads its arguments, and what it says of itself. */
class UsageIT {
    @TempDir
    private Path temporary;

    @Test
    void versionLoadsNeitherParserNorNativeCode() throws Exception {
        Cli.Ended ended = Cli.jvm(Cli.jar(), "-Xlog:class+load:stdout").execute("--version");
        assertThat(ended.exitCode()).isZero();
        assertThat(ended.out())
                .containsPattern("(?m)^kvmirq \\d+\\.\\d+\\.\\d+\\S* \\(ABI \\d+, Java .*, Linux .*\\)$")
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
                "selftest --coun 3      | kvmirq: Unknown option: '--coun'. Did you mean --count? See kvmirq"
                        + " selftest --help",
                "selftest --count ten   | kvmirq: Invalid value for option '--count': 'ten' is not a number from 1 to"
                        + " 10000000. See kvmirq selftest --help",
                "selftest --count 0     | kvmirq: Invalid value for option '--count': '0' is not a number from 1 to"
                        + " 10000000. See kvmirq selftest --help",
                "selftest --scenario x  | kvmirq: Invalid value for option '--scenario' (SCENARIO): 'x' is not one of"
                        + " edge, level, many, mask, reroute, guestless. See kvmirq selftest --help",
                "selftest --backend x   | kvmirq: Invalid value for option '--backend': 'x' is not one of auto, jni,"
                        + " ffm, jna, jnr, fake. See kvmirq selftest --help",
                "selftset               | kvmirq: there is no command 'selftset'. Did you mean selftest?"
                        + " See kvmirq --help",
                "selftset --help        | kvmirq: there is no command 'selftset'. Did you mean selftest?"
                        + " See kvmirq --help",
                "selftest --help --cuont | kvmirq: Unknown option: '--cuont'. See kvmirq selftest" + " --help",
                "selftest more          | kvmirq: argument 'more' is unexpected. See kvmirq selftest --help"
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
        assertThat(ended.out())
                .contains("For host and VMM testers:\n  selftest ", "Exit codes:", "\n   10  explain: the");
        assertThat(Cli.run("selftest", "--help").out()).contains("--count", "guestless", "--json");
    }

    @Test
    void everyCommandIsOnAPage() throws Exception {
        StringBuilder pages = new StringBuilder();
        try (DirectoryStream<Path> files =
                Files.newDirectoryStream(Machine.root().resolve("src/docs"), "*.md")) {
            for (Path file : files) {
                pages.append(Files.readString(file));
            }
        }
        assertThat(Main.commands())
                .allSatisfy(command -> assertThat(pages).containsPattern("kvmirq " + command.name() + "[` \\n]"));
    }

    @Test
    void withoutACommandFiveLinesLeadOn() throws Exception {
        Cli.Ended ended = Cli.run();
        assertThat(ended.exitCode()).isEqualTo(ExitCode.USAGE);
        assertThat(ended.out()).isEmpty();
        assertThat(ended.err().lines())
                .hasSize(5)
                .allMatch(line -> line.length() <= Terminal.DEFAULT_COLUMNS)
                .last()
                .asString()
                .contains("kvmirq help ");
        String help = Cli.run("help").out();
        assertThat(Pattern.compile("(?m)^ {2}kvmirq (\\w+)")
                        .matcher(ended.err())
                        .results())
                .hasSize(4)
                .allSatisfy(command -> assertThat(help).contains("\n  " + command.group(1) + " "));
    }

    @ParameterizedTest
    @ValueSource(strings = {"tape -- true", "replay x", "fault KVM_IRQFD=EINVAL -- true", "fault-walk -- true"})
    void commandThatIsNoneIsRefused(String words) throws Exception {
        Cli.Ended ended = Cli.run(words.split(" "));
        assertThat(ended.exitCode()).isEqualTo(ExitCode.USAGE);
        assertThat(ended.err()).startsWith("kvmirq: there is no command '" + words.split(" ")[0] + "'.");
    }

    @Test
    void optionThatIsNoneIsRefused() throws Exception {
        Cli.Ended ended = Cli.run("explain", "--tape", "x");
        assertThat(ended.exitCode()).isEqualTo(ExitCode.USAGE);
        assertThat(ended.err()).contains("--tape").endsWith("See kvmirq explain --help\n");
    }

    @Test
    void helpOfACommandIsWhatItsOptionPrints() throws Exception {
        assertThat(Cli.run("help").out())
                .isEqualTo(Cli.run("--help").out())
                .contains("help", "Print a command's help.");
        assertThat(Cli.run("help", "help").out()).startsWith("Usage: kvmirq help");
        Cli.Ended list = Cli.run("help", "list", "true");
        assertThat(list.exitCode()).isZero();
        assertThat(list.out())
                .startsWith("Usage: kvmirq list")
                .isEqualTo(Cli.run("list", "--help").out());
        Cli.Ended unknown = Cli.run("help", "selftset");
        assertThat(unknown.exitCode()).isEqualTo(ExitCode.USAGE);
        assertThat(unknown.err())
                .isEqualTo("kvmirq: there is no command 'selftset'. Did you mean selftest?" + " See kvmirq --help\n");
    }

    /** An address, a file's name or JSON stays whole. */
    @Test
    void helpBreaksLinesAtSpacesOnly() throws Exception {
        assertThat(Cli.run("forward", "--help").out()).containsPattern("\\s0000:3b:00\\.0\\s");
        assertThat(Cli.run("doctor", "--help").out()).contains("proc/{modules,self/limits,self/status,config.gz}");
        assertThat(Cli.run("encode", "--help").out())
                .contains("{\"kind\":\"gatag\",\"fields\":{\"vm_id\":\"0x1\",\"vcpu_idx\":\"0x1\"}}");
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
        for (String backend : List.of("x", "fake")) {
            Cli.Ended ended = Cli.launcher().with("KVMIRQ_BACKEND", backend).execute("selftest");
            assertThat(ended.exitCode()).isEqualTo(ExitCode.USAGE);
            assertThat(ended.err())
                    .contains("$KVMIRQ_BACKEND: '" + backend
                            + "' is not one of auto, jni, ffm, jna, jnr; --backend fake selects the fake kernel");
        }
    }

    @Test
    void helpIsUtf8InAnyLocale() throws Exception {
        assertThat(Cli.launcher()
                        .with("LC_ALL", "C")
                        .execute("selftest", "--help")
                        .out())
                .contains("eventfd → irqfd", "1-10000000");
    }

    @ParameterizedTest
    @ValueSource(strings = {"decide --vendor both --msi 0xfee01000/0x41 --vcpus"})
    void wordThatIsNoNumberIsToldOfWithoutJavasTypes(String command) {
        List<String> words = new ArrayList<>(List.of(command.split(" ")));
        words.add("x");
        Cli.Ended ended = Cli.run(words.toArray(String[]::new)).exited(ExitCode.USAGE);
        assertThat(ended.err()).contains("': 'x' is not a whole number of at most 9 digits. See kvmirq ");
    }
}
