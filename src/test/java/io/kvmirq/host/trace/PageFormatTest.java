/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.trace;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.fake.posting.TracePages;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Pages, word by word as include/linux/ring_buffer.h describes them. */
class PageFormatTest {
    private static final int TYPE = 7;
    private static final int PADDING = 29;
    private static final int EXTEND = 30;
    private static final int STAMP = 31;
    private static final int MISSED = 1 << 31;
    private static final int MISSED_STORED = 1 << 30;
    private static final long BEGIN = 1_000_000_000_000L;

    private static final EventFormat FORMAT = EventFormat.parse("name: a\nID: " + TYPE
                    + "\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;"
                    + "\n\tfield:int value;\toffset:4;\tsize:4;\tsigned:1;\n")
            .orElseThrow();

    /** A page with these words. Their number is the length, in words. */
    private static ByteBuffer page(long begin, int flags, int... words) {
        ByteBuffer page = ByteBuffer.allocate(4096).order(ByteOrder.nativeOrder());
        page.putLong(begin).putLong(flags + words.length * Integer.BYTES);
        for (int word : words) {
            page.putInt(word);
        }
        return page;
    }

    private static int head(int delta, int type) {
        return delta << 5 | type;
    }

    private static List<String> read(ByteBuffer page) {
        List<String> read = new ArrayList<>();
        RecordedTracing.PAGES.read(page, 3, Map.of(TYPE, FORMAT), new PageFormat.Sink() {
            @Override
            public void lost(long nanos) {
                read.add("lost");
            }

            @Override
            public void event(TraceEvent event) {
                read.add(event.nanos() - BEGIN + ":" + event.number("value").orElse(-1));
            }
        });
        return read;
    }

    @Test
    void timesAreCountedFromTheEventBefore() {
        assertThat(read(page(BEGIN, 0, head(0, 2), TYPE, 11, head(100, 2), TYPE, -12)))
                .containsExactly("0:11", "100:-12");
    }

    @Test
    void timeIsExtendedOrSet() {
        long stamp = (BEGIN + (5L << 27) + 9) & (1L << 59) - 1;
        assertThat(read(page(
                        BEGIN,
                        0,
                        head(3, EXTEND),
                        2,
                        head(1, 2),
                        TYPE,
                        11,
                        head((int) (stamp & (1 << 27) - 1), STAMP),
                        (int) (stamp >> 27),
                        head(0, 2),
                        TYPE,
                        12)))
                .containsExactly((2L << 27) + 4 + ":11", (5L << 27) + 9 + ":12");
    }

    /** An absolute time has 59 bits. The others are those of the page. */
    @Test
    void highBitsOfATimeAreThoseOfThePage() {
        long high = BEGIN | 1L << 60;
        assertThat(read(page(high, 0, head(1, STAMP), (int) (BEGIN >> 27), head(0, 2), TYPE, 11)))
                .containsExactly((BEGIN >> 27 << 27) + 1 + (1L << 60) - BEGIN + ":11");
    }

    /** The length in the word behind the first counts itself. */
    @Test
    void longEventHasItsLengthInAWordOfItsOwn() {
        assertThat(read(page(BEGIN, 0, head(5, 0), 12, TYPE, 11, head(1, 2), TYPE, 12)))
                .containsExactly("5:11", "6:12");
        int[] longestShort = new int[1 + 28 + 3];
        System.arraycopy(new int[] {head(5, 28), TYPE, 11}, 0, longestShort, 0, 3);
        System.arraycopy(new int[] {head(1, 2), TYPE, 12}, 0, longestShort, 29, 3);
        assertThat(read(page(BEGIN, 0, longestShort))).containsExactly("5:11", "6:12");
    }

    @Test
    void eventsThatWereDiscardedAndOthersAreLeftOut() {
        assertThat(read(page(
                        BEGIN,
                        0,
                        head(7, PADDING),
                        8,
                        TYPE,
                        head(1, 2),
                        TYPE + 1,
                        10,
                        head(1, 2),
                        TYPE,
                        11,
                        PADDING,
                        1,
                        2)))
                .containsExactly("2:11");
    }

    @ParameterizedTest
    @CsvSource({"-2147483648", "-1073741824"})
    void lostEventsAreToldBeforeTheNext(int flags) {
        assertThat(flags).isIn(MISSED, MISSED | MISSED_STORED);
        assertThat(read(page(BEGIN, flags, head(0, 2), TYPE, 11))).containsExactly("lost", "0:11");
    }

    /** A page that is damaged ends with what it has. */
    @Test
    void restOfADamagedPageIsLost() {
        assertThat(read(page(BEGIN, 0, head(0, 2), TYPE, 11, head(0, 9), TYPE))).containsExactly("0:11", "lost");
        assertThat(read(page(BEGIN, 0, head(0, 2), TYPE, 11, head(0, 0), 2))).containsExactly("0:11", "lost");
        assertThat(read(page(BEGIN, 5000, head(0, 2), TYPE, 11))).containsExactly("lost");
        assertThat(read(ByteBuffer.allocate(16))).containsExactly("lost");
    }

    /** Nothing of a form is typed in: a kernel may place the fields elsewhere, and number the types otherwise. */
    @Test
    void formIsThatOfTheKernel() {
        PageFormat form = PageFormat.parse(
                        "\tfield: u64 timestamp;\toffset:8;\tsize:8;\tsigned:0;\n"
                                + "\tfield: local_t commit;\toffset:16;\tsize:4;\tsigned:1;\n"
                                + "\tfield: char data;\toffset:24;\tsize:1000;\tsigned:0;\n",
                        "type_len : 6 bits\ntime_delta : 26 bits\npadding : type == 60\ntime_extend : type == 61\n"
                                + "time_stamp : type == 62\ndata max type_len  == 59\n")
                .orElseThrow();
        assertThat(form.size()).isEqualTo(1024);
        ByteBuffer page = ByteBuffer.allocate(1024).order(ByteOrder.nativeOrder());
        page.putLong(8, BEGIN).putInt(16, 20).putInt(24, 7 << 6 | 61).putInt(28, 1);
        page.putInt(32, 2 << 6 | 2).putInt(36, TYPE).putInt(40, 11);
        List<Long> times = new ArrayList<>();
        form.read(page, 0, Map.of(TYPE, FORMAT), new PageFormat.Sink() {
            @Override
            public void lost(long nanos) {
                times.add(-1L);
            }

            @Override
            public void event(TraceEvent event) {
                times.add(event.nanos() - BEGIN);
            }
        });
        assertThat(times).containsExactly((1L << 26) + 9);
    }

    @ParameterizedTest
    @CsvSource({
        "timestamp, time",
        "commit, length",
        "char data, char rest",
        "offset:16, offset:8",
        "size:4080, size:4",
        "5 bits, 6 bits",
        "data max, most"
    })
    void otherFormIsNone(String text, String changed) {
        assertThat(PageFormat.parse(
                        TracePages.HEADER_PAGE.replace(text, changed), TracePages.HEADER_EVENT.replace(text, changed)))
                .isEmpty();
    }
}
