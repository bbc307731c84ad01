/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

/** A call of a tape needs something that the tape does not hold; the message names it. */
final class CannotReplayException extends RuntimeException {
    private static final long serialVersionUID = 1;

    CannotReplayException(String what) {
        super("a replay cannot have " + what);
    }
}
