/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import static org.assertj.core.api.Assertions.assertThat;

import com.code_intelligence.jazzer.junit.FuzzTest;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/** Formats and traces with any content: events, and no exception. */
class TraceFuzzTest {
    private static final String DURATION = "60s";

    /** Any format file, and its own text as a trace. */
    @FuzzTest(maxDuration = DURATION)
    void eventFormat(byte[] bytes) {
        String text = new String(bytes, StandardCharsets.ISO_8859_1);
        EventFormat.parse("name: a\nprint fmt: \"" + text).ifPresent(format -> {
            format.read(text);
            assertThat(TraceEvent.read("x-1 [000] d.h1. 1.000000: a: " + text, Map.of("a", format)))
                    .hasSizeLessThanOrEqualTo(1);
        });
        EventFormat.parse(text);
    }

    /** Any trace of a known kernel. */
    @FuzzTest(maxDuration = DURATION)
    void trace(byte[] bytes) throws IOException {
        String text = new String(bytes, StandardCharsets.ISO_8859_1);
        for (TraceEvent event : TraceEvent.read(text, RecordedTracing.formats("x86-7.2"))) {
            assertThat(event.cpu()).isNotNegative();
            assertThat(event.tid()).isNotNegative();
            assertThat(text).contains(event.text());
        }
    }
}
