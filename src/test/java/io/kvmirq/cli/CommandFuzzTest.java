/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.code_intelligence.jazzer.junit.FuzzTest;
import io.kvmirq.cli.frame.ExitCode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** Any command line ends with a code, and with a sentence if it is wrong. */
class CommandFuzzTest {
    private static final List<String> COMMANDS =
            List.of("list", "explain", "doctor", "vfio", "decide", "decode", "encode", "errno", "forward", "help");
    /** The beginnings of options that write a file, set probes, or do not end. */
    private static final List<String> LEFT_OUT = List.of("--l", "--te", "--o", "-o", "--i", "--se", "@");

    /** The first byte says which command; the words are lines. */
    @FuzzTest(maxDuration = "60s")
    void commandLine(byte[] bytes) {
        int which = bytes.length == 0 ? 0 : (bytes[0] & 0xff) % COMMANDS.size();
        List<String> words = new ArrayList<>(List.of(COMMANDS.get(which)));
        if (!COMMANDS.get(which).matches("errno|help|decode|encode|decide")) {
            words.addAll(List.of("--fake", "vtd-posting"));
        }
        new String(bytes, Math.min(1, bytes.length), Math.max(0, bytes.length - 1), StandardCharsets.UTF_8)
                .lines()
                .filter(word -> LEFT_OUT.stream().noneMatch(word::startsWith))
                .forEach(words::add);
        Cli.Ended ended = Cli.run(words.toArray(String[]::new));
        assertThat(ended.err()).doesNotContain("\tat ");
        if (ended.exitCode() == ExitCode.USAGE) {
            assertThat(ended.err()).startsWith("kvmirq");
        }
    }
}
