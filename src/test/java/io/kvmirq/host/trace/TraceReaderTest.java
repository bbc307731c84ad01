/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.fake.posting.TracePages;
import io.kvmirq.path.Known;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** Pages of several CPUs and instances as one story. */
class TraceReaderTest {
    private static final EventFormat FORMAT = EventFormat.parse(
                    "name: a\nID: 7\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n")
            .orElseThrow();

    private final TraceReader reader = new TraceReader();
    private final List<String> story = new ArrayList<>();

    /** An instance whose pages a test puts there. */
    private final class Instance implements Tracing {
        private record Recorded(int cpu, ByteBuffer page) {}

        private final List<Recorded> recorded = new ArrayList<>();
        private Optional<String> failure = Optional.empty();

        Instance(String name) {
            reader.add(this, RecordedTracing.PAGES, List.of(FORMAT), new TraceReader.Sink() {
                @Override
                public void event(TraceEvent event) {
                    story.add(name + event.nanos());
                }

                @Override
                public void lost() {
                    story.add(name + "lost");
                }
            });
        }

        /** A CPU passes events at these times. */
        void passed(int cpu, boolean lost, long... times) {
            TracePages pages = new TracePages();
            if (lost) {
                pages.miss();
            }
            for (long time : times) {
                pages.add(
                        time,
                        ByteBuffer.allocate(8)
                                .order(ByteOrder.nativeOrder())
                                .putShort((short) 7)
                                .array());
            }
            pages.pages().forEach(page -> recorded.add(new Recorded(cpu, page)));
        }

        @Override
        public boolean read(Pages pages) throws IOException {
            recorded.forEach(recorded -> pages.page(recorded.cpu, recorded.page));
            recorded.clear();
            if (failure.isPresent()) {
                throw new IOException(failure.get());
            }
            return false;
        }

        @Override
        public Known<EventFormat> choose(String event, String filter) {
            return new Known.Observed<>(FORMAT);
        }

        @Override
        public Known<PageFormat> start() {
            return new Known.Observed<>(RecordedTracing.PAGES);
        }

        @Override
        public Known<Lost> stop() {
            return new Known.Observed<>(new Lost(0, 0));
        }

        @Override
        public void close() {}
    }

    @Test
    void eventsOfAllCpusComeByTheirTimes() {
        Instance first = new Instance("a");
        Instance second = new Instance("b");
        first.passed(0, false, 1, 4, 5);
        first.passed(1, false, 2, 6);
        second.passed(0, false, 3, 7);
        assertThat(reader.end()).isEmpty();
        assertThat(story).containsExactly("a1", "a2", "b3", "a4", "a5", "a6", "b7");
    }

    /** While CPU 1 was read, CPU 0 went on: its events at 3 and 5 are read in the next round. */
    @Test
    void roundDeliversNothingThatAnUnreadEventMayPrecede() {
        Instance only = new Instance("a");
        only.passed(0, false, 1, 2);
        only.passed(1, false, 4, 6);
        reader.round();
        assertThat(story).isEmpty();
        only.passed(0, false, 3, 5, 8);
        reader.round();
        assertThat(story).containsExactly("a1", "a2", "a3", "a4", "a5", "a6");
        reader.end();
        assertThat(story).last().isEqualTo("a8");
    }

    @Test
    void lossIsToldWhereItHappened() {
        Instance only = new Instance("a");
        only.passed(0, false, 1);
        only.passed(0, true, 5);
        only.passed(1, false, 2, 7);
        reader.end();
        assertThat(story).containsExactly("a1", "a2", "alost", "a5", "a7");
    }

    /** Nothing is known after an instance that cannot be read, and the others go on. */
    @Test
    void instanceThatIsGoneIsTold() {
        Instance gone = new Instance("a");
        Instance other = new Instance("b");
        gone.passed(0, false, 1);
        gone.failure = Optional.of("No such device");
        reader.round();
        other.passed(0, false, 2);
        assertThat(reader.end()).contains("No such device");
        assertThat(story).containsExactly("a1", "b2", "alost");
    }
}
