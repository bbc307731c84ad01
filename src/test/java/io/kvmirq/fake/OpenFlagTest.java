/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import io.kvmirq.Errno;
import io.kvmirq.NotModelledException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.uapi.Uapi;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The numbers are those of the kernel's headers. One architecture's O_LARGEFILE is the other's O_NOFOLLOW. */
class OpenFlagTest {
    @ParameterizedTest
    @CsvSource({"6.12, 0100000, 0400000, 040000", "'6.12,arm64', 0400000, 0100000, 0200000"})
    void architectureHasItsNumbers(String profile, String largeFile, String noFollow, String direct) {
        Libc libc = new FakeKernel(Profile.parse(profile)).libc();
        int large = Integer.parseInt(largeFile, 8);
        int kvm = libc.open(Buffers.cString("/dev/kvm"), Uapi.O_RDWR | large);
        assertThat(libc.fcntl(kvm, Uapi.F_GETFL, 0)).isEqualTo(Uapi.O_RDWR | large);
        assertThat(libc.fcntl(libc.open(Buffers.cString("/dev/kvm"), 0), Uapi.F_GETFL, 0))
                .isEqualTo(large);
        assertThat(libc.fcntl(kvm, Uapi.F_SETFL, Integer.parseInt(direct, 8))).isEqualTo(-Errno.EINVAL.number());
        assertThatExceptionOfType(NotModelledException.class)
                .isThrownBy(() -> libc.open(Buffers.cString("/dev/kvm"), Integer.parseInt(noFollow, 8)))
                .withMessage("the fake kernel does not model open with flags 0"
                        + Integer.toOctalString(Integer.parseInt(noFollow, 8)));
    }
}
