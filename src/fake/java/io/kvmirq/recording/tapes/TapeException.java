/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.tapes;

import io.kvmirq.text.Foreign;

/** The input is not a tape, or it is cut. The message names line and field. */
public final class TapeException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final boolean cut;

    TapeException(long line, String flaw) {
        super("tape line " + line + ": " + Foreign.shown(flaw));
        this.cut = false;
    }

    TapeException(long line, String flaw, Throwable cause) {
        this(line, flaw, cause, false);
    }

    TapeException(long line, String flaw, Throwable cause, boolean cut) {
        super("tape line " + line + ": " + Foreign.shown(flaw), cause);
        this.cut = cut;
    }

    /** Whether the tape ends within its last line, for example because a disk was full. Earlier lines are complete. */
    public boolean isCut() {
        return cut;
    }
}
