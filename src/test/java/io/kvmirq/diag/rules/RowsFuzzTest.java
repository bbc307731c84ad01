/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag.rules;

import static org.assertj.core.api.Assertions.assertThat;

import com.code_intelligence.jazzer.junit.FuzzTest;
import java.nio.charset.StandardCharsets;

/** Any text is a table of rules, or is refused by a sentence that names the line. */
class RowsFuzzTest {
    @FuzzTest(maxDuration = "60s")
    void rules(byte[] text) {
        try {
            assertThat(new Rows("rules", new String(text, StandardCharsets.UTF_8)))
                    .isNotNull();
        } catch (IllegalArgumentException e) {
            assertThat(e.getMessage()).matches("(?s)rules:\\d+: .+");
        }
    }
}
