/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class KernelChangeTest {
    @ParameterizedTest
    @CsvSource({
        "6.0, true",
        "6.1.0-56-amd64, true",
        "10.0.1, true",
        "5.19.17, false",
        "5.14.0-503.el9.x86_64, ",
        "5.10.0-30-amd64, ",
        "none, ",
        "'', "
    })
    void vendorMayHaveAChangeUnderAnOldNumber(String release, Boolean has) {
        assertThat(KernelChange.UNHANDLED_RESET.isIn(release).orElse(null)).isEqualTo(has);
    }
}
