/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.uapi.Uapi.KvmIrqRouting;
import io.kvmirq.uapi.Uapi.KvmIrqRoutingEntry;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** The bytes of a table, whose memory is used again. */
class RoutingTableTest {
    private final RoutingTable table = new RoutingTable();

    private static ByteBuffer message() {
        ByteBuffer route = Buffers.allocate(KernelBackend.ROUTE_SIZE);
        route.putInt(KernelBackend.ROUTE_TYPE, KernelBackend.ROUTE_TYPE_MSI);
        route.putInt(KernelBackend.ROUTE_GSI, 24);
        route.putInt(KernelBackend.ROUTE_FLAGS, KernelBackend.ROUTE_FLAG_DEVID);
        route.putLong(KernelBackend.ROUTE_ADDRESS, 0x1234_5678_fee0_1000L);
        route.putInt(KernelBackend.ROUTE_DATA, 0x41);
        return route.putInt(KernelBackend.ROUTE_DEVID, 0x1c0);
    }

    @Test
    void messageHasItsAddressAndDevice() {
        assertThat(table.encode(message(), 1)).isTrue();
        ByteBuffer bytes = table.bytes();
        assertThat(bytes.getInt(KvmIrqRouting.SIZE + KvmIrqRoutingEntry.U_MSI_ADDRESS_LO))
                .isEqualTo(0xfee0_1000);
        assertThat(bytes.getInt(KvmIrqRouting.SIZE + KvmIrqRoutingEntry.U_MSI_ADDRESS_HI))
                .isEqualTo(0x1234_5678);
        assertThat(bytes.getInt(KvmIrqRouting.SIZE + KvmIrqRoutingEntry.U_MSI_DEVID))
                .isEqualTo(0x1c0);
    }

    @Test
    void pinKeepsNothingOfTheMessageBefore() {
        ByteBuffer pin = Buffers.allocate(KernelBackend.ROUTE_SIZE);
        pin.putInt(KernelBackend.ROUTE_TYPE, KernelBackend.ROUTE_TYPE_IRQCHIP);
        table.encode(pin, 1);
        ByteBuffer fresh = ByteBuffer.wrap(new byte[KvmIrqRouting.SIZE + KvmIrqRoutingEntry.SIZE]);
        fresh.put(table.bytes().slice(0, fresh.capacity())).rewind();
        table.encode(message(), 1);
        table.encode(pin, 1);
        assertThat(table.bytes().slice(0, fresh.capacity())).isEqualTo(fresh);
    }
}
