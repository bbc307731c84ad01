/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

/** A call of a tape needs something that its recorder could not see. The replay leaves the call out and names it. */
final class LackingException extends RuntimeException {
    private static final long serialVersionUID = 1;

    LackingException(String what) {
        super("the tape lacks " + what);
    }
}
