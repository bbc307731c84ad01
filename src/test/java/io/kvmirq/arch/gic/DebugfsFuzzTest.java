/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

import static org.assertj.core.api.Assertions.assertThat;

import com.code_intelligence.jazzer.junit.FuzzTest;
import java.nio.charset.StandardCharsets;
import java.util.function.Consumer;

/** Any text is read, or refused by one sentence. As a test it runs over the inputs kept; {@code make fuzz} seeks others. */
class DebugfsFuzzTest {
    private static final String DURATION = "60s";

    private static void read(byte[] text, Consumer<String> parser) {
        try {
            parser.accept(new String(text, StandardCharsets.UTF_8));
        } catch (IllegalArgumentException e) {
            assertThat(e.getMessage()).contains(": expected ");
            assertThat(String.valueOf(e.getMessage()).chars()).noneMatch(Character::isISOControl);
        }
    }

    @FuzzTest(maxDuration = DURATION)
    void vgicState(byte[] text) {
        read(text, VgicState::parse);
    }

    @FuzzTest(maxDuration = DURATION)
    void itsState(byte[] text) {
        read(text, ItsState::parse);
    }
}
