/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.recording.replay;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Programs of other people, recorded by {@code kvmirq tape -o} on real KVM, do the same on the fake to their end. Linux
 * 6.18 had QEMU 7.2 with a q35 machine and three irqchips, kvmtool, and four of the kernel's selftests; Linux 6.1 had QEMU
 * with two VFIO devices.
 */
class ForeignTapesTest {
    static List<Path> tapes() {
        return ForeignTapes.all();
    }

    @ParameterizedTest
    @MethodSource("tapes")
    void tapeReplaysToItsEnd(Path tape) throws IOException {
        ForeignTapes.Row row = ForeignTapes.replay(tape);
        assertThat(row.end()).isEmpty();
        assertThat(row.diverged()).isFalse();
    }

    /** Passing over is for what the fake does not model: little is left of it. */
    @Test
    void fewCallsArePassedOver() throws IOException {
        long calls = 0;
        long passedOver = 0;
        for (Path tape : tapes()) {
            ForeignTapes.Row row = ForeignTapes.replay(tape);
            assertThat(row.same()).as(row.name()).isPositive();
            calls += row.calls();
            passedOver += row.passedOver();
        }
        assertThat(calls).isGreaterThan(30_000);
        assertThat(passedOver).isLessThan(300);
    }
}
