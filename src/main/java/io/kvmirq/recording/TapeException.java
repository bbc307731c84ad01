/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording;

/** What was read is not a tape, or not a whole one; the message names line and field. */
public final class TapeException extends RuntimeException {
    private static final long serialVersionUID = 1;

    TapeException(long line, String flaw) {
        super("tape line " + line + ": " + Names.printable(flaw));
    }

    TapeException(long line, String flaw, Throwable cause) {
        super("tape line " + line + ": " + Names.printable(flaw), cause);
    }
}
