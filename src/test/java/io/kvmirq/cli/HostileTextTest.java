/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.PciAddress;
import io.kvmirq.PlatformName;
import io.kvmirq.arch.LinuxVersion;
import io.kvmirq.cli.Cli.Ended;
import io.kvmirq.cli.frame.Json;
import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.snapshot.VmSnapshot;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The same hostile strings for every command and parser: a sentence shows each without its control characters, and cut. */
class HostileTextTest {
    /** More than any sentence of ours, with every list of known names. */
    private static final int LONGEST = 3000;

    /** Each begins with a directory that does not exist, for options that name a file to write. */
    private static final List<String> HOSTILE = Stream.of(
                    "\033[31mred\033]0;title\007",
                    "delete\177",
                    "\u202egnitirw\u200b",
                    "two\nlines\r\u2028three",
                    "half \ud800 of a pair",
                    "x".repeat(46_000),
                    "\uffff\ue000'\"\\")
            .map("/nowhere/"::concat)
            .toList();

    private static final Pattern OPTION = Pattern.compile("(--[a-z][a-z0-9-]*)[= ]<?[A-Z]");
    private static final Pattern COMMAND = Pattern.compile("(?m)^  ([a-z-]+) ");

    private static void assertShown(String given, String text) {
        assertThat(text).as("length of what is said of %.30s", given).hasSizeLessThan(LONGEST);
        text.codePoints().filter(c -> c != '\n').forEach(c -> assertThat(isShown(c))
                .as("character %x in: %s", c, text)
                .isTrue());
        assertThat(text).doesNotContain("No enum constant", "Exception", "\tat ");
    }

    private static boolean isShown(int c) {
        return switch (Character.getType(c)) {
            case Character.CONTROL,
                    Character.FORMAT,
                    Character.SURROGATE,
                    Character.PRIVATE_USE,
                    Character.UNASSIGNED,
                    Character.LINE_SEPARATOR,
                    Character.PARAGRAPH_SEPARATOR -> false;
            default -> true;
        };
    }

    static Stream<String> commands() {
        return COMMAND.matcher(Cli.run("--help").out())
                .results()
                .map(found -> found.group(1))
                .filter(text -> !text.equals("help") && !text.equals("generate-completion"));
    }

    @Test
    void allCommandsAreFound() {
        assertThat(commands()).hasSizeGreaterThanOrEqualTo(12).contains("decode", "list");
    }

    @ParameterizedTest
    @MethodSource("commands")
    void commandShowsIt(String command) {
        TreeSet<String> options = new TreeSet<>();
        Matcher option = OPTION.matcher(Cli.run(command, "--help").out());
        while (option.find()) {
            options.add(option.group(1));
        }
        for (String hostile : HOSTILE) {
            List<List<String>> lines = new ArrayList<>();
            lines.add(List.of(command, hostile));
            lines.add(List.of(command, "--" + hostile));
            lines.add(List.of(command, hostile, hostile));
            options.forEach(name -> lines.add(List.of(command, name + "=" + hostile)));
            options.forEach(name -> lines.add(List.of(command, name + "=" + hostile, hostile)));
            for (List<String> line : lines) {
                Ended ended = Cli.run(line.toArray(String[]::new));
                assertShown(line.get(1), ended.err());
                assertThat(ended.out()).as("output of %.60s", line).doesNotContain(hostile);
            }
        }
    }

    /** The parser's own warnings do not pass the terminal. */
    @Test
    void onlyTheTerminalPrintsIt() {
        PrintStream before = System.err;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        System.setErr(new PrintStream(printed, true, StandardCharsets.UTF_8));
        try {
            Cli.run("explain", "--vm=\033[31m'\"\\", "--vcpus");
        } finally {
            System.setErr(before);
        }
        assertThat(printed.toString(StandardCharsets.UTF_8)).isEmpty();
    }

    private static Map<String, Consumer<String>> parsers() {
        Map<String, Consumer<String>> parsers = new LinkedHashMap<>();
        parsers.put("PciAddress", PciAddress::parse);
        parsers.put("PlatformName", PlatformName::new);
        parsers.put("LinuxVersion", LinuxVersion::parse);
        parsers.put("Profile", Profile::parse);
        parsers.put("switch of a profile", text -> Profile.parse("6.12," + text));
        parsers.put("binding", Kernel::open);
        parsers.put("call of a fault", text -> new Faults().fail(text, 1, Errno.EBUSY));
        parsers.put("VmSnapshot", VmSnapshot::parse);
        parsers.put("schema", text -> VmSnapshot.parse("{\"schema\":" + json(text) + "}"));
        parsers.put("field", text -> VmSnapshot.parse("{\"schema\":\"kvmirq.snapshot/1\"," + json(text) + ":1}"));
        parsers.put("end", text -> VmSnapshot.parse("{}" + json(text)));
        return parsers;
    }

    private static String json(String text) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        Json json = new Json(new PrintStream(out, true, StandardCharsets.UTF_8));
        json.document(document -> document.value("it", text));
        json.flush();
        return out.toString(StandardCharsets.UTF_8).strip().replaceFirst("^\\{\"it\":(.*)\\}$", "$1");
    }

    @Test
    void parserShowsIt() {
        parsers().forEach((name, parser) -> {
            for (String hostile : HOSTILE) {
                try {
                    parser.accept(hostile);
                } catch (RuntimeException e) {
                    assertShown(name, String.valueOf(e.getMessage()));
                }
            }
        });
    }

    @Test
    void jsonIsPrintableAscii() {
        for (String hostile : HOSTILE) {
            assertThat(json(hostile)).matches("[ -~]*").hasSizeGreaterThan(10);
        }
        assertThat(json("\177")).isEqualTo("\"\\u007F\"");
    }
}
