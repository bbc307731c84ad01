/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

/** A call on a tape needs data that the tape lacks; the message names the data. */
final class CannotReplayException extends RuntimeException {
    private static final long serialVersionUID = 1;

    CannotReplayException(String what) {
        super("a replay cannot have " + what);
    }
}
