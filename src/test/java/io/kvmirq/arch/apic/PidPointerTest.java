/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.arch.Golden;
import io.kvmirq.arch.Violation;
import java.io.IOException;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class PidPointerTest {
    @Test
    void entryIsReadAsTheKernelWritesIt() throws IOException {
        Golden golden = Golden.named("pidtab-01");
        PidPointer pointer = PidPointer.decode(golden.array()[0]);
        assertThat(pointer).isEqualTo(new PidPointer(true, 0, golden.field("pid_phys")));
        assertThat(pointer.word()).isEqualTo(golden.array()[0]);
        assertThat(pointer.violations()).isEmpty();
    }

    @Test
    void anyBitsSurvive() {
        SplittableRandom random = new SplittableRandom(1);
        for (int i = 0; i < 1_000_000; i++) {
            long word = random.nextLong();
            if (PidPointer.decode(word).word() != word) {
                throw new AssertionError(String.format("0x%016x came back otherwise", word));
            }
        }
    }

    @Test
    void reservedBitsCountWhereTheEntryIsValid() {
        assertThat(PidPointer.decode(0x1021).violations())
                .extracting(Violation::toString)
                .containsExactly("rsvd_1_5: reserved bits 5:1 are 0x10 and not 0");
        assertThat(PidPointer.decode(0x1020).violations()).isEmpty();
    }

    @Test
    void addressIsAtABoundary() {
        assertThatThrownBy(() -> new PidPointer(true, 0, 0x1020))
                .hasMessage("descriptor address 0x1020 is not at a 64-byte boundary: expected its low 6 bits to be 0");
    }
}
