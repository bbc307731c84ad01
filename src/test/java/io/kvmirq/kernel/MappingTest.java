/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.KernelException;
import io.kvmirq.testing.RealKvm;
import org.junit.jupiter.api.Test;

@RealKvm
class MappingTest {
    @Test
    void unmappedMemoryIsRefusedNotTouched() {
        try (Kernel kernel = Kernel.open()) {
            Mapping mapping = Mapping.anonymous(kernel, 4096);
            mapping.putInt(8, 0x12345678);
            assertThat(mapping.getInt(8)).isEqualTo(0x12345678);
            mapping.close();
            mapping.close();
            assertThatThrownBy(() -> mapping.getInt(8)).isInstanceOf(ClosedHandleException.class);
        }
    }

    @Test
    void outsideOfItIsRefused() {
        try (Kernel kernel = Kernel.open();
                Mapping mapping = Mapping.anonymous(kernel, 4096)) {
            assertThatThrownBy(() -> mapping.getInt(4096)).isInstanceOf(IndexOutOfBoundsException.class);
            assertThatThrownBy(() -> mapping.putByte(-1, (byte) 0)).isInstanceOf(IndexOutOfBoundsException.class);
        }
    }

    @Test
    void emptyMappingIsTheKernelsToRefuse() {
        try (Kernel kernel = Kernel.open()) {
            assertThatThrownBy(() -> Mapping.anonymous(kernel, 0))
                    .isInstanceOf(KernelException.class)
                    .hasMessageStartingWith("mmap memory length=0: EINVAL (a mapping has at least one page");
        }
    }
}
