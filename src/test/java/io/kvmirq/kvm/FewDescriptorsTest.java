/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.testing.JavaProcess;
import io.kvmirq.testing.Machine;
import io.kvmirq.testing.RealKvm;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** RLIMIT_NOFILE is reached in the middle of a batch of 4000 vectors. */
class FewDescriptorsTest {
    private static final Pattern REFUSAL = Pattern.compile(
            "eventfd create (\\d+) of 4000: EMFILE \\(RLIMIT_NOFILE of this process is 2048, and this needs (\\d+):"
                    + " raise it before starting the process, ulimit -n \\2 or more, systemd LimitNOFILE=\\)");

    @RealKvm(fullIrqchip = true)
    @ParameterizedTest
    @ValueSource(strings = {"jni", "jna"})
    void batchBeyondTheLimitIsUndoneAndSaysWhatIsNeeded(String backend) throws IOException, InterruptedException {
        Machine.assumeSucceeds("prlimit", "--nofile=5000:", "true");
        Process user = JavaProcess.start(List.of(), FewDescriptorsUser.class, backend);
        List<String> said = new String(user.getInputStream().readAllBytes(), StandardCharsets.UTF_8)
                .lines()
                .toList();
        assertThat(said).hasSize(3);
        Matcher refusal = REFUSAL.matcher(said.get(0));
        assertThat(refusal.matches()).as(said.get(0)).isTrue();
        int made = Integer.parseInt(refusal.group(1)) - 1;
        assertThat(Integer.parseInt(refusal.group(2)))
                .as("2048 and those that were not made")
                .isEqualTo(FewDescriptorsUser.LIMIT + FewDescriptorsUser.VECTORS - made);
        assertThat(said.subList(1, 3)).containsExactly("0 descriptors and 0 commits of routes more", "attached");
        assertThat(user.waitFor()).isZero();
    }
}
