/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.assertj.core.api.ThrowableAssert.ThrowingCallable;

/** Refusals of the library itself, each with its whole sentence. */
public final class Refusals {
    private Refusals() {}

    public static void assertIllegalArgument(ThrowingCallable call, String sentence) {
        assertThatThrownBy(call).isInstanceOf(IllegalArgumentException.class).hasMessage(sentence);
    }

    public static void assertIllegalState(ThrowingCallable call, String sentence) {
        assertThatThrownBy(call).isInstanceOf(IllegalStateException.class).hasMessage(sentence);
    }
}
