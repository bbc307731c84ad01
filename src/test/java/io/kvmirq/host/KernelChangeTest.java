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
        "5.3.18-24.52-default, ",
        "5.10.0-30-amd64, ",
        "none, ",
        "'', "
    })
    void vendorMayHaveAChangeUnderAnOldNumber(String release, Boolean has) {
        assertThat(KernelChange.COUNT_AFTER_UNHANDLED.isIn(release).orElse(null))
                .isEqualTo(has);
    }
}
