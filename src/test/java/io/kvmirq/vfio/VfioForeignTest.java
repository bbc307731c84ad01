/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import java.util.List;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;

/** A descriptor number or an address of one kernel means something else to another: it is refused before the call. */
class VfioForeignTest {
    private final TestDevice.Fake hardware = TestDevice.fake("6.1");
    private final Kernel kernel = hardware.kernel();
    private final VfioDevice device = VfioDevice.open(kernel, TestDevice.FAKE);
    private final EventFd own = EventFd.create(kernel);
    private final Kernel other = TestDevice.fake("6.1").kernel();
    private final EventFd foreign = EventFd.create(other);

    private static void refuses(ThrowingCallable call) {
        assertThatThrownBy(call)
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("belongs to another Kernel");
    }

    @Test
    void eventFdOfAnotherKernelArmsNothing() {
        hardware.prepare(device);
        refuses(() -> device.msix(0, 1).arm(List.of(foreign)));
        refuses(() -> device.req().arm(foreign));
        ArmedVectors armed = device.msix(0, 1).arm(List.of(own));
        refuses(() -> armed.set(0, foreign));
        refuses(() -> armed.growLosingInterrupts(1, List.of(foreign)));
        assertThat(hardware.device.sendMessage(0)).isTrue();
        assertThat(own.drain()).isEqualTo(1);
    }

    /** The former one stays: nothing was called. */
    @Test
    void eventFdOfAnotherKernelDoesNotUnmask() {
        ArmedLine line = device.intx().arm(own);
        EventFd unmask = EventFd.create(kernel);
        line.unmaskBy(unmask);
        refuses(() -> line.unmaskBy(foreign));
        hardware.device.requestService();
        assertThat(own.drain()).isEqualTo(1);
        unmask.signal();
        assertThat(own.drain()).isEqualTo(1);
    }

    @Test
    void memoryOfAnotherKernelIsNotMapped() {
        try (Mapping.Owner memory = Mapping.anonymous(other, 0x1000)) {
            refuses(() -> device.dma().map(0, memory.mapping()));
        }
    }
}
