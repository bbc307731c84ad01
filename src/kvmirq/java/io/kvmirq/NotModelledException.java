/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq;

import java.util.Objects;

/** A call needs a feature that the fake kernel does not model. The message names the feature. */
public final class NotModelledException extends UnsupportedOperationException {
    private static final long serialVersionUID = 1;

    /** @param what the feature that the fake kernel lacks, for the message */
    public NotModelledException(String what) {
        super("the fake kernel does not model " + what);
        Objects.requireNonNull(what, "what is null");
    }

    private NotModelledException(String message, StackTraceElement... trace) {
        super(message);
        setStackTrace(trace);
    }

    /**
     * Copies this exception, including its stack trace, with a message that also names a place in the guest, such as
     * {@code RIP 0x1000 of vcpu 0}.
     */
    public NotModelledException at(String place) {
        Objects.requireNonNull(place, "place is null");
        return new NotModelledException(getMessage() + " (at " + place + ")", getStackTrace());
    }
}
