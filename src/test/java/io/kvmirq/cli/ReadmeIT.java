/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.selftest.Scenario;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** What the README shows is what happens. */
class ReadmeIT {
    private static final Path ROOT = Machine.root();

    private static String readme() throws IOException {
        return Files.readString(ROOT.resolve("README.md"));
    }

    private static String block(String language) throws IOException {
        Matcher block =
                Pattern.compile("```" + language + "\n(.*?)```", Pattern.DOTALL).matcher(readme());
        assertThat(block.find()).isTrue();
        return block.group(1);
    }

    @Test
    @RealKvm(fullIrqchip = true)
    void libraryExampleIsTheFileThatRuns() throws Exception {
        assertThat(runExample("FirstInterrupt")).isEqualTo("gsi 24 raised vector 0x31 on vcpu 0");
    }

    @Test
    void fakeExampleIsTheFileThatRuns() throws Exception {
        assertThat(runExample("LateWorker"))
                .matches("gsi 5 is high: false\ngsi 5 is high: true\n\\d+ rules of the fake were used");
    }

    @Test
    void exampleOfArm64IsTheFileThatRuns() throws Exception {
        assertThat(runExample("PendingSpi")).isEqualTo("gsi 10 latched spi 42: true");
    }

    @Test
    void exampleOfAnItsIsTheFileThatRuns() throws Exception {
        assertThat(runExample("PendingLpi")).isEqualTo("gsi 96 made LPI 8200 pending: true");
    }

    @Test
    void exampleOfDirectEoiIsTheFileThatRuns() throws Exception {
        assertThat(runExample("DirectEoi").lines())
                .hasSize(3)
                .anyMatch(line -> line.startsWith("exclusive: yes, but [of two VMs"))
                .anyMatch(line -> line.startsWith("shared: no, [other handlers have the line"))
                .contains("shared, asserted safe: yes, in spite of [SHARED, SHAREABLE]");
    }

    @Test
    void exampleOfVfioIsTheFileThatRuns() throws Exception {
        assertThat(runExample("DeviceToGuest"))
                .isEqualTo("MSI-X 3 of 0000:3b:00.0 → gsi 27 (bypass): true\n"
                        + "2 routing commits, 1 change of the device, vector 0x80: true");
    }

    @Test
    void postingExampleIsTheFileThatRuns() throws Exception {
        assertThat(runExample("PostedRequest"))
                .isEqualTo("entry 3 is 0x0000000000043b000000000400220009\n"
                        + "entry 3 is 0x0000000100043b000000004000418001\n"
                        + "woken\n0x41 is in the IRR");
    }

    /** What the README shows of it is all of it. */
    private static String runExample(String name) throws Exception {
        Path file = ROOT.resolve("src/examples/" + name + ".java");
        assertThat(readme()).contains("```java\n" + Files.readString(file).replaceFirst("^/\\*.*\\*/\n", "") + "```");
        Process process = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "--enable-native-access=ALL-UNNAMED",
                        "-cp",
                        Cli.jar().toString(),
                        file.toString())
                .redirectErrorStream(true)
                .start();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).as(out).isZero();
        return out.strip();
    }

    @Test
    @RealKvm
    void everyCommandShownWorks() throws Exception {
        List<String> commands = readme().lines()
                .filter(line -> line.startsWith("    scripts/kvmirq "))
                .map(line -> line.strip().substring("scripts/kvmirq ".length()))
                .toList();
        assertThat(commands).hasSizeGreaterThan(3);
        for (String command : commands) {
            assertThat(Cli.run(command.split(" ", -1)).exitCode()).as(command).isZero();
        }
    }

    /** Line by line, but for numbers: the same steps with the same answers. */
    @Test
    @RealKvm(fullIrqchip = true)
    void outputShownIsWhatIsPrinted() throws Exception {
        String shown = block("");
        String printed = Cli.run("selftest").out();
        List<String> lines = printed.lines().map(ReadmeIT::shape).toList();
        assertThat(shown.lines().map(ReadmeIT::shape).filter(line -> !line.startsWith("real kernel")))
                .allSatisfy(line -> assertThat(lines).contains(line));
        for (Scenario scenario : Scenario.values()) {
            assertThat(printed).contains(scenario.way());
        }
    }

    @Test
    void structureShownIsWhatIsPrinted() throws Exception {
        assertThat(block("text"))
                .isEqualTo(shell(block("text").lines().findFirst().orElseThrow().substring(2)));
    }

    @Test
    void deviceShownIsWhatIsPrinted() throws Exception {
        Matcher block = Pattern.compile("```console\n(.*?)```", Pattern.DOTALL).matcher(readme());
        List<String> shown = new ArrayList<>();
        while (block.find()) {
            shown.add(block.group(1));
        }
        assertThat(shown).hasSize(3).allSatisfy(text -> assertThat(text)
                .isEqualTo(shell(text.lines().findFirst().orElseThrow().substring(2))));
    }

    @Test
    void lineShownIsWhatIsWritten() throws Exception {
        String[] lines = block("sh").split("\n# ");
        assertThat(shell(lines[0]).substring(lines[0].length() + 3)).isEqualTo(lines[1]);
    }

    /** As it looks in a terminal. */
    private static String shell(String command) throws Exception {
        Process process = new ProcessBuilder("bash", "-c", command)
                .directory(ROOT.toFile())
                .redirectErrorStream(true)
                .start();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).as(out).isZero();
        return "$ " + command + "\n" + out;
    }

    private static String shape(String line) {
        return line.replaceAll("[0-9a-f]*[0-9][0-9a-f.]*", "#").replaceAll(" +", " ");
    }

    /** Coordinates with the version that the pom gives them; what only the command needs is in its jar. */
    @Test
    void optionalDependenciesAreThoseOfThePom() throws IOException {
        String pom = Files.readString(ROOT.resolve("pom.xml"));
        Matcher dependency = Pattern.compile("<groupId>([^<]*)</groupId>\\s*<artifactId>([^<]*)</artifactId>"
                        + "\\s*<version>\\$\\{([^}]*)}</version>\\s*<optional>true</optional>")
                .matcher(pom);
        List<String> optional = new ArrayList<>();
        while (dependency.find()) {
            Matcher version =
                    Pattern.compile("<" + dependency.group(3) + ">([^<]*)<").matcher(pom);
            assertThat(version.find()).isTrue();
            optional.add(dependency.group(1) + ":" + dependency.group(2) + ":" + version.group(1));
        }
        optional.removeIf(coordinates -> OF_THE_COMMAND.stream().anyMatch(coordinates::startsWith));
        assertThat(readme().lines()
                        .filter(line -> line.matches("\\| `[^`:]+:[^`:]+:[^`]+` .*"))
                        .map(line -> line.split("`", -1)[1]))
                .containsExactlyInAnyOrderElementsOf(optional);
    }

    private static final List<String> OF_THE_COMMAND = List.of("info.picocli:", "me.tongfei:");

    /** Between the launcher and the command, and not for users. */
    private static final List<String> OF_THE_LAUNCHER =
            List.of("kvmirq.terminal", "kvmirq.columns", "kvmirq.progress", "kvmirq.lc_all");

    @Test
    void propertiesAndLoggerAreNamed() throws IOException {
        Pattern name = Pattern.compile("\"(kvmirq\\.[a-z._]+)\"");
        Set<String> properties = new TreeSet<>();
        Set<String> loggers = new TreeSet<>();
        try (Stream<Path> files = Files.walk(ROOT.resolve("src/main"))) {
            for (Path file :
                    files.filter(path -> path.toString().endsWith(".java")).toList()) {
                String source = Files.readString(file);
                if (source.contains("System.getProperty")
                        || source.contains("Integer.getInteger")
                        || source.contains("Boolean.getBoolean")
                        || source.contains(" PROPERTY = ")
                        || source.contains(" PROFILE = ")) {
                    name.matcher(source).results().map(found -> found.group(1)).forEach(properties::add);
                }
                Pattern.compile("getLogger\\(\"([^\"]*)\"")
                        .matcher(source)
                        .results()
                        .map(found -> found.group(1))
                        .forEach(loggers::add);
            }
        }
        properties.removeAll(OF_THE_LAUNCHER);
        assertThat(properties).contains("kvmirq.backend", "kvmirq.cache").allSatisfy(property -> assertThat(readme())
                .contains("| `" + property + "`"));
        assertThat(loggers).isNotEmpty().allSatisfy(logger -> assertThat(readme())
                .contains("`System.Logger` named `" + logger + "`"));
    }

    @Test
    void targetsShownExist() throws IOException {
        String makefile = Files.readString(ROOT.resolve("Makefile"));
        Matcher target = Pattern.compile("make ([a-z-]+)").matcher(readme());
        while (target.find()) {
            assertThat(makefile).containsPattern("(?m)^" + target.group(1) + ":");
        }
    }
}
