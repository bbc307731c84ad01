/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.posting;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

/**
 * The pages of {@code trace_pipe_raw} of one CPU. Not thread-safe.
 *
 * <p>Source: {@code struct buffer_data_page} in kernel/trace/ring_buffer.c, {@code struct ring_buffer_event} in
 * include/linux/ring_buffer.h.
 */
public final class TracePages {
    /** The text of the tracefs file {@code events/header_page}. */
    public static final String HEADER_PAGE = """
            \tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
            \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
            \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;
            \tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;
            """;

    /** The text of the tracefs file {@code events/header_event}. */
    public static final String HEADER_EVENT = """
            # compressed entry header
            \ttype_len    :    5 bits
            \ttime_delta  :   27 bits
            \tarray       :   32 bits

            \tpadding     : type == 29
            \ttime_extend : type == 30
            \ttime_stamp  : type == 31
            \tdata max type_len  == 28
            """;

    private static final int COMMIT = 8;
    private static final int DATA = 16;
    private static final int SIZE = 4096;
    private static final int TYPE_BITS = 5;
    private static final int DELTA_BITS = 27;
    private static final int EXTEND = 30;
    private static final int MOST_WORDS = 28;
    private static final long MISSED = 1L << 31;

    private final List<ByteBuffer> pages = new ArrayList<>();
    private long last;
    private boolean missed;

    /** Notes that events were lost here: the next added event begins a new page, with the flag of lost events. */
    public void miss() {
        missed = true;
    }

    /** Adds an event of at most a few hundred bytes. */
    public void add(long nanos, byte[] event) {
        int words = (event.length + Integer.BYTES - 1) / Integer.BYTES;
        ByteBuffer page = missed || pages.isEmpty() ? newPage(nanos) : pages.get(pages.size() - 1);
        if (page.remaining() < (words + 4) * Integer.BYTES) {
            page = newPage(nanos);
        }
        long delta = nanos - last;
        last = nanos;
        if (delta >>> DELTA_BITS != 0) {
            page.putInt((int) (delta & (1L << DELTA_BITS) - 1) << TYPE_BITS | EXTEND);
            page.putInt((int) (delta >>> DELTA_BITS));
            delta = 0;
        }
        page.putInt((int) delta << TYPE_BITS | (words <= MOST_WORDS ? words : 0));
        if (words > MOST_WORDS) {
            page.putInt((words + 1) * Integer.BYTES);
        }
        int end = page.position() + words * Integer.BYTES;
        page.put(event).position(end);
        page.putLong(COMMIT, page.getLong(COMMIT) & MISSED | end - DATA);
    }

    private ByteBuffer newPage(long nanos) {
        ByteBuffer page = ByteBuffer.allocate(SIZE).order(ByteOrder.nativeOrder());
        page.putLong(0, nanos).putLong(COMMIT, missed ? MISSED : 0).position(DATA);
        missed = false;
        last = nanos;
        pages.add(page);
        return page;
    }

    public List<ByteBuffer> pages() {
        return List.copyOf(pages);
    }
}
