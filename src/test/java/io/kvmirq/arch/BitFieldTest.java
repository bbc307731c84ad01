/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class BitFieldTest {
    @ParameterizedTest
    @CsvSource({"0, 1, 0, 0", "0, 64, 63, 0", "63, 1, 63, 0", "64, 64, 127, 1", "80, 2, 81, 1", "272, 8, 279, 4"})
    void liesInOneWord(int low, int width, int high, int word) {
        BitField field = new BitField("f", low, width);
        assertThat(field.high()).isEqualTo(high);
        assertThat(field.word()).isEqualTo(word);
        assertThat(Long.bitCount(field.mask())).isEqualTo(width);
        assertThat(field.of(field.mask())).isEqualTo(field.max());
    }

    @ParameterizedTest
    @CsvSource({"-1, 1", "0, 0", "0, 65", "63, 2", "1, 64", "120, 9"})
    void doesNotLieInOneWord(int low, int width) {
        assertThatThrownBy(() -> new BitField("f", low, width))
                .hasMessage("field f of " + width + " bits from bit " + low + " does not lie in one 64-bit word");
    }

    @Test
    void bitHasOneValueBesideZero() {
        assertThat(BitField.reserved("b", 257, 1)).isEqualTo(BitField.bit("b", 257, Description.RESERVED));
        assertThat(new BitField("b", 257, 1).with(1)).isEqualTo(2);
        assertThatThrownBy(() -> new BitField("b", 257, 1).with(2))
                .hasMessage("b 0x2 does not fit: expected 0-0x1, 1 bit");
    }
}
