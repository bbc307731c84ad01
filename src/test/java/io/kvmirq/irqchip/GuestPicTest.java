/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.irqchip;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The accesses of Linux to the PICs. */
class GuestPicTest {
    private final GuestPic pic = new GuestPic();

    /** {@code probe_8259A()}: without it Linux uses no line of the PICs at all. */
    @Test
    void masksKeepTheirValue() {
        pic.write(0xa1, 0xff);
        pic.write(0x21, 0xfb);
        assertThat(pic.read(0x21)).isEqualTo(0xfb);
        assertThat(pic.read(0xa1)).isEqualTo(0xff);
    }

    @ParameterizedTest
    @ValueSource(ints = {0x11, 0x13, 0x10})
    void wordsOfAnInitializationAreNoMasks(int first) {
        pic.write(0x21, 0xff);
        pic.write(0x20, first);
        int words = first == 0x11 ? 3 : 2;
        for (int i = 0; i < words; i++) {
            pic.write(0x21, 0x30 + i);
            assertThat(pic.read(0x21)).isZero();
        }
        pic.write(0x21, 0x7e);
        assertThat(pic.read(0x21)).isEqualTo(0x7e);
    }

    @Test
    void endOfInterruptChangesNothing() {
        pic.write(0x21, 0xfb);
        pic.write(0x20, 0x20);
        assertThat(pic.read(0x21)).isEqualTo(0xfb);
        assertThat(pic.read(0x20)).isZero();
    }

    @Test
    void edgeAndLevelKeepTheirValue() {
        pic.write(0x4d0, 0x08);
        pic.write(0x4d1, 0x10c);
        assertThat(pic.read(0x4d0)).isEqualTo(0x08);
        assertThat(pic.read(0x4d1)).isEqualTo(0x0c);
    }

    @Test
    void otherPortsAreRefused() {
        assertThat(IntStream.range(0, 0x10000).filter(GuestPic::isPort))
                .containsExactly(0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1);
        assertThatThrownBy(() -> pic.read(0x22)).hasMessage("port 0x22 is not a PIC port: call isPort first");
    }
}
