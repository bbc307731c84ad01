/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.Golden;
import io.kvmirq.arch.Violation;
import java.io.IOException;
import org.junit.jupiter.api.Test;

class PidPointerTest {
    @Test
    void entryIsReadAsTheKernelWritesIt() throws IOException {
        Golden golden = Golden.named("pidtab-01");
        PidPointer pointer = new PidPointer(golden.array()[0]);
        assertThat(pointer.is(PidPointer.VALID)).isTrue();
        assertThat(pointer.get(PidPointer.ADDRESS)).isEqualTo(golden.field("pid_phys"));
        assertThat(pointer).hasToString("pid.pointer 0x" + Long.toHexString(pointer.word()));
        assertThat(pointer.violations()).isEmpty();
    }

    @Test
    void reservedBitsCountWhereTheEntryIsValid() {
        assertThat(new PidPointer(0x1021).violations())
                .extracting(Violation::toString)
                .containsExactly("rsvd_1_5: reserved bits 5:1 are 0x10 and not 0");
        assertThat(new PidPointer(0x1020).violations()).isEmpty();
    }
}
