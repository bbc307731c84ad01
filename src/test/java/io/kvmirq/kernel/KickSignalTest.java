/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The signal that ends runs: a real-time one that nothing handles or ignores. */
class KickSignalTest {
    @AfterEach
    void clear() {
        System.clearProperty(KickSignal.PROPERTY);
    }

    @Test
    void highestWithoutHandlerIsTaken() {
        assertThat(KickSignal.free(List.of())).isEqualTo(64);
        assertThat(KickSignal.free(List.of("SigIgn:\t8000000000000000", "SigCgt:\t4000000000000000")))
                .isEqualTo(62);
        assertThat(KickSignal.free(List.of("SigCgt:\tfffffffc00000000", "SigIgn:\t0000000000000000")))
                .isEqualTo(34);
    }

    @Test
    void processThatHandlesAllIsTold() {
        assertThatThrownBy(() -> KickSignal.free(List.of("SigCgt:\tfffffffe00000000")))
                .isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("-Dkvmirq.vcpu.signal=N");
    }

    @Test
    void userNamesOne() {
        System.setProperty(KickSignal.PROPERTY, "40");
        assertThat(KickSignal.choose()).isEqualTo(40);
    }

    @ParameterizedTest
    @ValueSource(strings = {"9", "33", "65", "x", "-40", "340"})
    void otherSignalIsRefused(String text) {
        System.setProperty(KickSignal.PROPERTY, text);
        assertThatThrownBy(KickSignal::choose)
                .isInstanceOf(IllegalStateException.class)
                .hasMessage("-Dkvmirq.vcpu.signal=" + text + " is not a real-time signal: expected 34 to 64");
    }
}
