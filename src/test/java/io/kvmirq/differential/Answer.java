/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import io.kvmirq.Errno;
import java.nio.ByteBuffer;

/** The answer of a kernel: a result or {@code -errno}, and the bytes it wrote that matter. */
record Answer(long result, ByteBuffer output) {
    private static final ByteBuffer NOTHING = ByteBuffer.allocate(0);
    private static final int MAX_ERRNO = 4095;

    static Answer of(long result) {
        return new Answer(result, NOTHING);
    }

    /** {@code output} is copied; it counts only when the call succeeded. */
    static Answer of(long result, ByteBuffer output, int length) {
        return result < 0
                ? of(result)
                : new Answer(
                        result,
                        ByteBuffer.allocate(length).put(0, output, 0, length).order(output.order()));
    }

    boolean isError() {
        return result < 0 && result >= -MAX_ERRNO;
    }

    /** How this differs from another answer to the same call. */
    String difference(Answer other) {
        if (result != other.result || output.limit() != other.output.limit()) {
            return text() + " and " + other.text();
        }
        int at = output.mismatch(other.output);
        return "byte 0x%x is 0x%x and 0x%x".formatted(at, output.get(at), other.output.get(at));
    }

    /** The result, or the errno's name. */
    String text() {
        return isError() ? new Errno((int) -result).toString() : Long.toString(result);
    }
}
