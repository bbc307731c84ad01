/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class KernelChangeTest {
    @ParameterizedTest
    @CsvSource({
        "5.13, true",
        "5.15.0-91-generic, true",
        "6.1.0-56-amd64, true",
        "10.0.1, true",
        "5.12.19, false",
        "5.12.19-debian, false",
        "5.12.19-arch1-1, false",
        "5.12.19-300.fc34.x86_64, false",
        "5.3.18-24.52-default, ",
        "5.10.0-30-amd64, ",
        "none, ",
        "'', "
    })
    void vendorMayHaveAChangeUnderAnOldNumber(String release, Boolean has) {
        assertThat(KernelChange.COUNT_AFTER_UNHANDLED.isIn(release).orElse(null))
                .isEqualTo(has);
    }

    @ParameterizedTest
    @CsvSource({
        "6.15, true",
        "6.14.9, true",
        "6.14.8, false",
        "6.13.99, false",
        "6.1.141-debian, true",
        "6.1.140-debian, false",
        "6.1.0-56-amd64, ",
        "6.12.31-pve, true",
        "6.12.30-pve, "
    })
    void stableKernelHasItFromItsOwnReleaseOn(String release, Boolean has) {
        assertThat(KernelChange.HIDDEN_PIN_NOT_CONNECTED.isIn(release).orElse(null))
                .isEqualTo(has);
    }
}
