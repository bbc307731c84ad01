/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import static org.assertj.core.api.Assertions.assertThat;

import com.code_intelligence.jazzer.junit.FuzzTest;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;

/** Formats, pages and BTF with any content: events, answers, and no exception. */
class TraceFuzzTest {
    private static final String DURATION = "60s";
    private static final Map<Integer, EventFormat> FORMATS = new HashMap<>();

    @BeforeAll
    static void readFormats() throws IOException {
        RecordedTracing.formats("x86-6.18-pvm").values().forEach(format -> FORMATS.put(format.id(), format));
    }

    /** Reads a page. Every field of an event is in it, and times do not matter. */
    private static void read(PageFormat form, byte[] bytes, Map<Integer, EventFormat> formats) {
        ByteBuffer page = ByteBuffer.wrap(Arrays.copyOf(bytes, Math.min(form.size(), 1 << 16)))
                .order(ByteOrder.nativeOrder());
        int[] events = new int[1];
        form.read(page, 1, formats, new PageFormat.Sink() {
            @Override
            public void lost(long nanos) {}

            @Override
            public void event(TraceEvent event) {
                events[0]++;
                assertThat(formats)
                        .containsKey((int) event.number("common_type").orElseThrow());
                event.number("prev_state");
                event.flags("prev_state");
            }
        });
        assertThat(events[0]).isLessThanOrEqualTo(page.capacity() / Integer.BYTES);
    }

    /** Any files of formats. */
    @FuzzTest(maxDuration = DURATION)
    void eventFormat(byte[] bytes) {
        String text = new String(bytes, StandardCharsets.ISO_8859_1);
        EventFormat.parse(text).ifPresent(format -> read(RecordedTracing.PAGES, bytes, Map.of(format.id(), format)));
        PageFormat.parse(text, text).ifPresent(form -> read(form, bytes, Map.of()));
    }

    /** Any page of a known kernel. */
    @FuzzTest(maxDuration = DURATION)
    void trace(byte[] bytes) {
        read(RecordedTracing.PAGES, bytes, FORMATS);
    }

    /** Any BTF of a module, and its own types in the kernel's place. */
    @FuzzTest(maxDuration = DURATION)
    void btf(byte[] bytes) throws IOException {
        Btf.parse(bytes).known().ifPresent(BtfTest::ask);
        Btf kernel = Btf.parse(BtfTest.bytes("kernel.btf")).known().orElseThrow();
        Btf.parse(kernel, bytes).known().ifPresent(BtfTest::ask);
    }
}
