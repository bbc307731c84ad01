/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import io.kvmirq.cli.Cli;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.Recorded;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The exit code and a checksum of the JSON of four commands on hosts with planted faults and on harmless hosts. A
 * changed sentence changes a checksum. {@code target/outputs.txt} has each value of the documents: compare it with
 * that of the commit before to see the sentence.
 */
class OutputsTest {
    /** No guest has the device. */
    private static final Pattern HOSTS_OWN = Pattern.compile("^[^,]*, (host|nodriver),|^driver unbound,");

    private static final Set<String> OF_THE_RUN = Set.of("/time", "/version");

    @TempDir
    @SuppressWarnings("NullAway.Init")
    private Path directory;

    /** Whether explain finds a link broken and doctor grades the host as whole. */
    private static boolean differ(String line) {
        return line.matches(".*, explain 1[0-689] .*, doctor 0 .*")
                && !HOSTS_OWN.matcher(line).find();
    }

    /** The line of a host in the record. Adds each value of the documents. */
    private String line(PlantedFaultsTest.Fault fault, List<String> values) throws IOException {
        RecordedHost host =
                PlantedFaultsTest.apply(PlantedFaultsTest.host(fault.tree()), fault.tree(), fault.changes());
        String from = host.archive(directory).toString();
        String device = PlantedFaultsTest.device(fault.tree());
        StringBuilder line = new StringBuilder(fault.toString());
        for (String command : List.of("explain " + device, "vfio " + device, "list --all", "doctor")) {
            Cli.Ended ended = Cli.run((command + " --json --from " + from).split(" "));
            String name = fault + ": " + command.split(" ")[0] + " ";
            List<String> said =
                    new ArrayList<>(List.of(name + "says " + ended.err().strip()));
            try (JsonParser json = new JsonFactory().createParser(ended.out())) {
                for (JsonToken token = json.nextToken(); token != null; token = json.nextToken()) {
                    String at = json.getParsingContext().pathAsPointer(false).toString();
                    if (token.isScalarValue() && !OF_THE_RUN.contains(at)) {
                        said.add(name + at + " " + token + " " + json.getText().replace("\n", "\\n"));
                    }
                }
            }
            said.replaceAll(text -> text.replace(from, "ARCHIVE"));
            CRC32 sum = new CRC32();
            sum.update(String.join("\n", said).getBytes(StandardCharsets.UTF_8));
            line.append(String.format(", %s %d %08x", command.split(" ")[0], ended.exitCode(), sum.getValue()));
            values.addAll(said);
        }
        return line.toString();
    }

    @Test
    void everyCommandSaysTheSameOfEveryHost() throws IOException {
        Set<String> mechanisms = new HashSet<>();
        List<PlantedFaultsTest.Fault> hosts = Stream.concat(PlantedFaultsTest.harmless(), PlantedFaultsTest.faults())
                .filter(fault -> mechanisms.add(fault.changes().isEmpty() ? fault.toString() : fault.mechanism()))
                .toList();
        List<String> values = new ArrayList<>();
        List<String> lines = new ArrayList<>();
        for (PlantedFaultsTest.Fault host : hosts) {
            lines.add(line(host, values));
        }
        assertThat(lines).filteredOn(OutputsTest::differ).isEmpty();
        Files.write(Machine.root().resolve("target/outputs.txt"), values);
        Recorded.compare(
                "src/test/resources/io/kvmirq/cli/host/outputs.txt",
                lines,
                "so a command says something else (target/outputs.txt)",
                OutputsTest.class);
    }
}
