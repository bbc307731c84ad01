/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

class BuffersTest {
    @Test
    void whatHasNoAddressOrNoRoomIsRefused() {
        assertThatThrownBy(() -> Buffers.readable(null, 8)).hasMessageContaining("buffer is null");
        assertThatThrownBy(() -> Buffers.readable(ByteBuffer.allocate(8), 8)).hasMessageContaining("on the Java heap");
        assertThatThrownBy(() -> Buffers.readable(Buffers.allocate(7), 8))
                .hasMessage("buffer has 7 bytes: this call needs at least 8");
        assertThatThrownBy(() -> Buffers.readable(Buffers.allocate(16).position(8), 8))
                .hasMessageContaining("is at position 8");
        assertThatThrownBy(() -> Buffers.writable(Buffers.allocate(8).asReadOnlyBuffer(), 8))
                .hasMessageContaining("read-only");
        assertThat(Buffers.readable(Buffers.allocate(8).asReadOnlyBuffer(), 8)).isNotNull();
    }

    @Test
    void ioctlArgumentIsAsLargeAsItsRequestSays() {
        assertThatThrownBy(() -> Buffers.ioctlArgument(Uapi.KVM_GET_LAPIC, Buffers.allocate(1023)))
                .hasMessage("buffer has 1023 bytes: this call needs at least 1024");
        assertThatThrownBy(() -> Buffers.ioctlArgument(
                        Uapi.KVM_GET_LAPIC, Buffers.allocate(1024).asReadOnlyBuffer()))
                .hasMessageContaining("read-only");
        assertThat(Buffers.ioctlArgument(
                        Uapi.KVM_SET_LAPIC, Buffers.allocate(1024).asReadOnlyBuffer()))
                .isNotNull();
    }

    @Test
    void elementsCountedInsideAreRoomToo() {
        ByteBuffer cpuid = Buffers.allocate(8).putInt(0, 256);
        assertThatThrownBy(() -> Buffers.ioctlArgument(Uapi.KVM_GET_SUPPORTED_CPUID, cpuid))
                .hasMessage("buffer has 8 bytes: this call needs at least 10248");
        ByteBuffer routes = Buffers.allocate(8 + 48).putInt(0, 2);
        assertThatThrownBy(() -> Buffers.ioctlArgument(Uapi.KVM_SET_GSI_ROUTING, routes))
                .hasMessageContaining("at least 104");
        ByteBuffer argsz = Buffers.allocate(16).putInt(0, 20);
        assertThatThrownBy(() -> Buffers.ioctlArgument(UapiVfio.VFIO_DEVICE_GET_IRQ_INFO, argsz))
                .hasMessageContaining("at least 20");
        assertThatThrownBy(() -> Buffers.ioctlArgument(
                        UapiVfio.VFIO_DEVICE_GET_IRQ_INFO, argsz.putInt(0, 16).asReadOnlyBuffer()))
                .hasMessageContaining("read-only");
    }

    @Test
    void pathEndsInNul() {
        assertThat(Buffers.cStringIn(Buffers.cString("/dev/kvm")).limit()).isEqualTo(9);
        assertThatThrownBy(() -> Buffers.cStringIn(Buffers.allocate(1).put(0, (byte) 'x')))
                .hasMessage("path of 1 bytes does not end in NUL");
        assertThatThrownBy(() -> Buffers.cString("/dev\0/kvm"))
                .hasMessage("the text '/dev?/kvm' has a NUL at 4, where the kernel would truncate it: remove it");
    }

    @Test
    void routesAreCounted() {
        assertThatThrownBy(() -> Buffers.routes(Buffers.allocate(79), 2)).hasMessageContaining("at least 80");
        assertThatThrownBy(() -> Buffers.routes(Buffers.allocate(80), -1)).hasMessageContaining("negative");
    }
}
