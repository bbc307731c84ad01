/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.posting;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.apic.PostedInterruptDescriptor;
import io.kvmirq.arch.vtd.posting.PiDescriptor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The states at rest of a descriptor on VT-d in which no one takes a request of PIR any more. */
class StuckRequestsTest {
    private static final int VECTOR = 0x31;

    private static PiDescriptor descriptor(boolean on, boolean sn) {
        long[] words = new long[PiDescriptor.WORDS];
        words[VECTOR / Long.SIZE] = 1L << VECTOR;
        words[PostedInterruptDescriptor.CONTROL] =
                PostedInterruptDescriptor.SN.put(PostedInterruptDescriptor.ON.put(0, on ? 1 : 0), sn ? 1 : 0);
        return PiDescriptor.over(SharedWords.of(words), 0);
    }

    @ParameterizedTest
    @CsvSource({
        // ON, SN, loaded, in the guest, stuck
        "true, false, false, false, false",
        "false, true, false, false, false",
        "true, true, false, false, false",
        "true, false, true, false, false",
        "false, false, false, false, true",
        "false, false, true, false, true",
        "false, true, true, false, true",
        "true, true, true, false, true",
        "true, false, true, true, true",
        "false, false, true, true, true"
    })
    void requestIsStuckIfNothingTellsOfIt(boolean on, boolean sn, boolean loaded, boolean inGuest, boolean stuck) {
        assertThat(VtdMachine.isStuck(descriptor(on, sn), VECTOR, loaded, inGuest))
                .isEqualTo(stuck);
    }

    @Test
    void vectorThatIsNotRequestedIsNotStuck() {
        assertThat(VtdMachine.isStuck(descriptor(false, false), VECTOR + 1, true, true))
                .isFalse();
    }
}
