/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ArmRegisterTest {
    @ParameterizedTest
    @ValueSource(longs = {0, 1, -1, Integer.MIN_VALUE, 0xffff_ffffL})
    void registerOf32BitsTakesSignedAndUnsignedNumbers(long value) {
        assertThat(ArmRegister.FPCR.encode(value).getInt(0)).isEqualTo((int) value);
    }

    @ParameterizedTest
    @ValueSource(longs = {0x1_0000_0000L, Integer.MIN_VALUE - 1L, Long.MAX_VALUE})
    void widerNumberIsRefused(long value) {
        assertThatThrownBy(() -> ArmRegister.FPCR.encode(value))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("0x" + Long.toHexString(value) + " does not fit into FPCR, which has 4 bytes");
        assertThat(ArmRegister.PC.encode(value).getLong(0)).isEqualTo(value);
    }

    @Test
    void vectorRegisterNeedsBytes() {
        assertThatThrownBy(() -> ArmRegister.v(0).encode(0))
                .hasMessage("V0 has 16 bytes: use armRegisterBytes and setArmRegisterBytes");
        assertThatThrownBy(() -> ArmRegister.v(0).encode(new byte[8])).hasMessage("8 bytes for V0: expected 16");
    }
}
