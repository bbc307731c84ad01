/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.RecordedHost;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The screens of administrators on a healthy host, on faulty ones and on one with many vectors. */
class ScreensTest {
    private static final List<String> SCREENS = List.of(
            "list",
            "list --all",
            "explain --all",
            "doctor",
            "vfio",
            "vfio 0000:00:01.0",
            "vfio 0000:00:02.0",
            "decide --msi 0xfee01000/0x41");

    private static final List<String> OF_NO_HOST = List.of(
            "forward --fake amd-avic 0000:3b:00.0 --selftest --vectors 0-2",
            "forward --fake vtd 0000:3b:00.0",
            "explain --vm web --vcpus --fake vtd-posting",
            "decide --vendor both --msi 0xfee01000/0x41 --vcpus 4",
            "decide --reasons",
            "errno irqfd EINVAL");

    /** For a shell: a terminal breaks it so that it can be copied. */
    private static final String SHELL = "  (echo|modprobe) .*";

    @TempDir
    private Path temporary;

    static Stream<String> hosts() {
        return Stream.of("healthy", "faulty", "unposted", "many");
    }

    private static RecordedHost host(String name) throws IOException {
        return switch (name) {
            case "healthy" -> GuestHosts.of("intel-posted");
            case "faulty" ->
                PlantedFaultsTest.apply(
                        PlantedFaultsTest.host("remapped"),
                        "remapped",
                        "{vmm}task/102/stat = 102 (CPU 1/KVM) T 1 100; {vmm}status swap S\\t(sleeping) T\\t(stopped)");
            case "many" -> {
                RecordedHost host = GuestHosts.of("amd-pit");
                String rows = IntStream.range(5, 200)
                        .mapToObj(at -> (1000 + at) + ": 1 1 IR-PCI-MSIX-0000:00:02.0 " + at + "-edge vfio-msix[" + at
                                + "](0000:00:02.0)\n")
                        .collect(Collectors.joining());
                yield host.put(
                        "proc/interrupts", host.tree().text("proc/interrupts").orElseThrow() + rows);
            }
            default -> GuestHosts.of("amd-pit");
        };
    }

    private Map<String, List<String>> screens(int columns, String name) throws IOException {
        String from = host(name).archive(temporary).toString();
        return SCREENS.stream().collect(Collectors.toMap(screen -> screen, screen -> {
            List<String> words = new ArrayList<>(Arrays.asList(screen.split(" ")));
            words.addAll(List.of("--from", from));
            Cli.Ended ended = Cli.onTerminal(columns, words.toArray(String[]::new));
            assertThat(ended.err()).as(screen).isEmpty();
            return ended.out().replace(from, "A").lines().toList();
        }));
    }

    @ParameterizedTest
    @ValueSource(ints = {60, 80, 200})
    void noLineIsCutInAWord(int columns) throws IOException {
        for (String name : hosts().toList()) {
            screens(columns, name)
                    .forEach((screen, lines) -> assertBroken(screen + " of the host " + name, lines, columns));
        }
        for (String screen : OF_NO_HOST) {
            assertBroken(
                    screen,
                    Cli.onTerminal(columns, screen.split(" ")).out().lines().toList(),
                    columns);
        }
    }

    private static void assertBroken(String screen, List<String> lines, int columns) {
        assertThat(lines)
                .as(screen)
                .isNotEmpty()
                .allMatch(line -> line.length() <= columns || !line.strip().contains(" ") || line.matches(SHELL))
                .noneMatch(line -> line.endsWith("..."));
    }

    /** The table of guests is 66 columns wide, of which 7 are between others. */
    @Test
    void columnsMoveTogetherOnANarrowTerminal() throws IOException {
        assertThat(screens(66, "healthy").get("list").get(1))
                .isEqualTo("guest  process  vCPUs  running  halted  stopped  vectors  eventfds");
        assertThat(screens(60, "healthy").get("list").subList(1, 3))
                .containsExactly(
                        "guest process vCPUs running halted stopped vectors eventfds",
                        "web   100     2     0       2      0       5       5");
    }

    /** A head and rows: no column has only dashes. */
    @ParameterizedTest
    @MethodSource("hosts")
    void noColumnIsEmptyAndTheVerdictIsFirst(String name) throws IOException {
        Map<String, List<String>> screens = screens(1000, name);
        for (String screen : List.of("list", "list --all", "vfio")) {
            List<String> lines = screens.get(screen);
            assertThat(lines.get(0)).as(screen).matches(".*( are | is | can be assigned ).*");
            int head = IntStream.range(0, lines.size())
                    .filter(at -> lines.get(at).matches("(guest|host irq|address) .*"))
                    .findFirst()
                    .orElseThrow();
            List<List<String>> rows = lines.subList(head, lines.size()).stream()
                    .map(line -> List.of(line.split(" {2,}")))
                    .filter(cells -> cells.size() > 4)
                    .toList();
            for (int column = 0; column < rows.get(1).size(); column++) {
                int at = column;
                assertThat(rows.subList(1, rows.size()))
                        .as(screen + ", " + rows.get(0).get(at))
                        .anyMatch(cells -> !cells.get(at).equals("-"));
            }
        }
    }
}
