/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Vector;
import io.kvmirq.arch.Golden;
import java.io.IOException;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class PostedInterruptDescriptorTest {
    private static Stream<Golden> golden() throws IOException {
        return Golden.of("pid");
    }

    @ParameterizedTest
    @MethodSource("golden")
    void readsWhatTheKernelWrites(Golden golden) {
        PostedInterruptDescriptor descriptor = PostedInterruptDescriptor.decode(golden.array());
        assertThat(descriptor.words()).isEqualTo(golden.array());
        assertThat(descriptor.on()).isEqualTo(golden.bit("on"));
        assertThat(descriptor.sn()).isEqualTo(golden.bit("sn"));
        assertThat(descriptor.nv().number()).isEqualTo((int) golden.field("nv"));
        assertThat(descriptor.ndst()).isEqualTo(golden.field("ndst"));
        assertThat(descriptor.control()).isEqualTo(golden.field("derived_control"));
        assertThat(descriptor.violations().isEmpty()).isEqualTo(golden.valid());
    }

    /** By hand, from the manual's figure: byte 32 bits 0 and 1, byte 34, bytes 36–39. */
    @Test
    void controlWordIsWhereTheManualHasIt() {
        PostedInterruptDescriptor descriptor =
                PostedInterruptDescriptor.decode(0, 1L << 1, 0, 0, 0x0000_0025_00f1_0001L, 0, 0, 0);
        assertThat(descriptor.on()).isTrue();
        assertThat(descriptor.sn()).isFalse();
        assertThat(descriptor.nv()).isEqualTo(new Vector(0xf1));
        assertThat(descriptor.ndst()).isEqualTo(0x25);
        assertThat(descriptor.isRequested(new Vector(0x41))).isTrue();
        assertThat(descriptor.isRequested(new Vector(0x40))).isFalse();
    }

    @Test
    void anyBitsSurvive() {
        SplittableRandom random = new SplittableRandom(1);
        for (int i = 0; i < 1_000_000; i++) {
            long[] words = random.longs(8).toArray();
            assertThat(PostedInterruptDescriptor.decode(words).words()).isEqualTo(words);
        }
    }

    @Test
    void destinationOfAnXapicIsTheSecondByte() {
        assertThat(PostedInterruptDescriptor.destinationXapic(0x1f)).isEqualTo(0x1f00);
        assertThat(PostedInterruptDescriptor.destinationX2apic(0xffff_fffeL)).isEqualTo(0xffff_fffeL);
        assertThatThrownBy(() -> PostedInterruptDescriptor.destinationXapic(256))
                .hasMessage("xapic id 0x100 does not fit: expected 0–0xff, 8 bits");
        assertThatThrownBy(() -> PostedInterruptDescriptor.destinationX2apic(-1))
                .hasMessage("ndst 0xffffffffffffffff does not fit: expected 0–0xffffffff, 32 bits");
    }

    @Test
    void reservedBitsAreNamedWhereTheyAreSet() {
        assertThat(PostedInterruptDescriptor.decode(0, 0, 0, 0, 1 << 2, 0, 0, 1L << 63)
                        .violations())
                .extracting(violation -> violation.name())
                .containsExactly("rsvd_258_271", "rsvd5");
    }

    @Test
    void componentsThatDoNotFitAreRefused() {
        assertThatThrownBy(() -> new PostedInterruptDescriptor(
                        0, 0, 0, 0, false, false, 0, new Vector(0xf2), 0, 1L << 32, 0, 0, 0))
                .hasMessage("ndst 0x100000000 does not fit: expected 0–0xffffffff, 32 bits");
        assertThatThrownBy(() -> PostedInterruptDescriptor.decode(1, 2)).hasMessage("pid is 8 words of 64 bits, not 2");
    }
}
