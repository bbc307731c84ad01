/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.InterruptVector;
import io.kvmirq.arch.Golden;
import java.io.IOException;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

class PostedInterruptDescriptorTest {
    private static Stream<Golden> golden() throws IOException {
        return Golden.of("pid");
    }

    @ParameterizedTest
    @MethodSource("golden")
    void readsWhatTheKernelWrites(Golden golden) {
        PostedInterruptDescriptor descriptor = PostedInterruptDescriptor.decode(golden.array());
        assertThat(descriptor.bits()).isEqualTo(golden.array());
        assertThat(descriptor.is(PostedInterruptDescriptor.ON)).isEqualTo(golden.bit("on"));
        assertThat(descriptor.is(PostedInterruptDescriptor.SN)).isEqualTo(golden.bit("sn"));
        assertThat(descriptor.get(PostedInterruptDescriptor.NV)).isEqualTo(golden.field("nv"));
        assertThat(descriptor.get(PostedInterruptDescriptor.NDST)).isEqualTo(golden.field("ndst"));
        assertThat(descriptor.control()).isEqualTo(golden.field("derived_control"));
        assertThat(descriptor.violations().isEmpty()).isEqualTo(golden.valid());
    }

    /** By hand, from the manual's figure: byte 32 bits 0 and 1, byte 34, bytes 36–39. */
    @Test
    void controlWordIsWhereTheManualHasIt() {
        PostedInterruptDescriptor descriptor =
                PostedInterruptDescriptor.decode(0, 1L << 1, 0, 0, 0x0000_0025_00f1_0001L, 0, 0, 0);
        assertThat(descriptor.is(PostedInterruptDescriptor.ON)).isTrue();
        assertThat(descriptor.is(PostedInterruptDescriptor.SN)).isFalse();
        assertThat(descriptor.get(PostedInterruptDescriptor.NV)).isEqualTo(0xf1);
        assertThat(descriptor.get(PostedInterruptDescriptor.NDST)).isEqualTo(0x25);
        assertThat(descriptor.isRequested(new InterruptVector(0x41))).isTrue();
        assertThat(descriptor.isRequested(new InterruptVector(0x40))).isFalse();
    }

    @ParameterizedTest
    @CsvSource({"0, 1", "1, 0", "2, 0", "3, 0"})
    void requestThatNobodyAnnouncesIsRemarkedUnlessItIsSuppressed(long control, int remarks) {
        assertThat(PostedInterruptDescriptor.FORMAT.remarks(0, 2, 0, 0, control, 0, 0, 0))
                .hasSize(remarks);
    }

    @Test
    void anyBitsSurvive() {
        SplittableRandom random = new SplittableRandom(1);
        for (int i = 0; i < 1_000_000; i++) {
            long[] words = random.longs(8).toArray();
            assertThat(PostedInterruptDescriptor.decode(words).bits()).isEqualTo(words);
        }
    }

    @Test
    void destinationOfAnXapicIsTheSecondByte() {
        assertThat(PostedInterruptDescriptor.destinationXapic(0x1f)).isEqualTo(0x1f00);
        assertThat(PostedInterruptDescriptor.destinationX2apic(0xffff_fffeL)).isEqualTo(0xffff_fffeL);
        assertThatThrownBy(() -> PostedInterruptDescriptor.destinationXapic(256))
                .hasMessage("xapic id 0x100 does not fit: expected 0-0xff, 8 bits");
        assertThatThrownBy(() -> PostedInterruptDescriptor.destinationX2apic(-1))
                .hasMessage("ndst 0xffffffffffffffff does not fit: expected 0-0xffffffff, 32 bits");
    }

    @Test
    void reservedBitsAreNamedWhereTheyAreSet() {
        assertThat(PostedInterruptDescriptor.decode(0, 0, 0, 0, 1 << 2, 0, 0, 1L << 63)
                        .violations())
                .extracting(violation -> violation.name())
                .containsExactly("rsvd_258_271", "rsvd5");
    }

    @Test
    void otherNumbersOfWordsAreRefused() {
        assertThatThrownBy(() -> PostedInterruptDescriptor.decode(1, 2)).hasMessage("pid is 8 words of 64 bits, not 2");
    }
}
