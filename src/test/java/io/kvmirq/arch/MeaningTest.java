/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class MeaningTest {
    private static final long[] ANY = {};

    @Test
    void numbersOfBitsAreInHexWithRunsJoined() {
        assertThat(Meaning.numbers(0, 0)).isEmpty();
        assertThat(Meaning.numbers(1, 64)).isEqualTo("0x40");
        assertThat(Meaning.numbers(0b1011, 0)).isEqualTo("0x0-0x1, 0x3");
        assertThat(Meaning.numbers(-1, 192)).isEqualTo("0xc0-0xff");
        assertThat(Meaning.numbers(Long.MIN_VALUE | 0b110, 128)).isEqualTo("0x81-0x82, 0xbf");
    }

    @Test
    void wordsAreThoseAtTheValue() {
        Meaning meaning = Meaning.oneOf("no", "yes");
        assertThat(meaning.of(0, ANY)).isEqualTo("no");
        assertThat(meaning.of(1, ANY)).isEqualTo("yes");
        assertThat(meaning.of(2, ANY)).isEqualTo("reserved");
        assertThat(meaning.of(-1, ANY)).isEqualTo("reserved");
        assertThat(Meaning.always("so").of(7, ANY)).isEqualTo("so");
    }
}
