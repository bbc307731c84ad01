/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.KernelException;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.RealKvm;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.jupiter.api.AutoClose;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@RealKvm
class MappingTest {
    @AutoClose
    private final Kernel kernel = Kernel.open();

    @Test
    void unmappedMemoryIsRefusedNotTouched() {
        Mapping.Owner owner = Mapping.anonymous(kernel, 4096);
        Mapping mapping = owner.mapping();
        mapping.putInt(8, 0x12345678);
        assertThat(mapping.getInt(8)).isEqualTo(0x12345678);
        owner.close();
        owner.close();
        assertThatThrownBy(() -> mapping.getInt(8)).isInstanceOf(ClosedHandleException.class);
    }

    @Test
    void outsideOfItIsRefused() {
        try (Mapping.Owner owner = Mapping.anonymous(kernel, 4096)) {
            Mapping mapping = owner.mapping();
            String beyond = " is outside of the mapping of memory, which has 4096 bytes";
            assertThatThrownBy(() -> mapping.getInt(4096))
                    .isInstanceOf(IndexOutOfBoundsException.class)
                    .hasMessage("offset 4096, length 4" + beyond);
            assertThatThrownBy(() -> mapping.getLong(4089)).hasMessage("offset 4089, length 8" + beyond);
            assertThatThrownBy(() -> mapping.putByte(-1, (byte) 0))
                    .isInstanceOf(IndexOutOfBoundsException.class)
                    .hasMessage("offset -1, length 1" + beyond);
            assertThatThrownBy(() -> mapping.put(4095, new byte[2])).hasMessage("offset 4095, length 2" + beyond);
            mapping.put(4095, new byte[] {7});
            assertThat(mapping.getByte(4095)).isEqualTo((byte) 7);
        }
    }

    @Test
    void intOffItsAlignmentIsRefused() {
        try (Mapping.Owner owner = Mapping.anonymous(kernel, 4096)) {
            Mapping mapping = owner.mapping();
            assertIllegalArgument(() -> mapping.getInt(2), "offset 2 is not a multiple of 4, as a volatile int needs");
            assertThatThrownBy(() -> mapping.putInt(7, 0)).isInstanceOf(IllegalArgumentException.class);
        }
    }

    @Test
    void emptyMappingIsTheKernelsToRefuse() {
        assertThatThrownBy(() -> Mapping.anonymous(kernel, 0))
                .isInstanceOf(KernelException.class)
                .hasMessageStartingWith("mmap memory length=0: EINVAL (")
                .hasMessageContaining("a mapping has at least one page");
    }

    /** Pages that nobody touches cost nothing. */
    @ParameterizedTest
    @EnumSource
    void memoryMayBeLargerThanABuffer(Kernels on) {
        long gib = 1L << 30;
        try (Kernel opened = on.open();
                Mapping.Owner owner = Mapping.anonymous(opened, 5 * gib)) {
            Mapping mapping = owner.mapping();
            assertThat(mapping.length()).isEqualTo(5 * gib);
            for (long at : new long[] {0, gib - 4, gib, 3 * gib + 8, 5 * gib - 4}) {
                mapping.putInt(at, (int) (at >>> 2 | 1));
            }
            for (long at : new long[] {0, gib - 4, gib, 3 * gib + 8, 5 * gib - 4}) {
                assertThat(mapping.getInt(at)).isEqualTo((int) (at >>> 2 | 1));
            }
            byte[] content = {1, 2, 3, 4, 5, 6, 7, 8, 9};
            mapping.put(2 * gib - 4, content);
            ByteBuffer read = ByteBuffer.allocate(content.length);
            mapping.get(2 * gib - 4, read);
            assertThat(read.array()).isEqualTo(content);
            assertThat(mapping.getLong(2 * gib - 4))
                    .isEqualTo(ByteBuffer.wrap(content)
                            .order(ByteOrder.nativeOrder())
                            .getLong());
            assertThat(mapping.getShort(2 * gib - 1))
                    .isEqualTo(ByteBuffer.wrap(content, 3, 2)
                            .order(ByteOrder.nativeOrder())
                            .getShort());
            assertThatThrownBy(() -> mapping.get(5 * gib - 8, ByteBuffer.allocate(9)))
                    .isInstanceOf(IndexOutOfBoundsException.class);
        }
    }
}
