/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.kvmirq.Errno;
import io.kvmirq.KernelException;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;

/** Refusals of the library itself, each with its whole sentence, and those of a kernel. */
public final class Refusals {
    private Refusals() {}

    public static void assertIllegalArgument(ThrowingCallable call, String sentence) {
        assertThatThrownBy(call).isInstanceOf(IllegalArgumentException.class).hasMessage(sentence);
    }

    public static void assertIllegalState(ThrowingCallable call, String sentence) {
        assertThatThrownBy(call).isInstanceOf(IllegalStateException.class).hasMessage(sentence);
    }

    /** A kernel's refusal with this errno. Returns its sentence. */
    public static String refused(Errno expected, ThrowingCallable call) {
        KernelException refusal = catchThrowableOfType(KernelException.class, call);
        assertThat(refusal).as("refusal, expected " + expected).isNotNull();
        assertThat(refusal.errno()).as(refusal.getMessage()).isEqualTo(expected);
        return String.valueOf(refusal.getMessage());
    }
}
