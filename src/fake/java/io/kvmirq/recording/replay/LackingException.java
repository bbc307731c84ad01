/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

/** A call on a tape needs data that its recorder could not see. The replay skips the call and reports it. */
final class LackingException extends RuntimeException {
    private static final long serialVersionUID = 1;

    LackingException(String what) {
        super("the tape lacks " + what);
    }
}
