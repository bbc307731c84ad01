/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;

/**
 * Encodes the routes of {@link KernelBackend#routesSet} as {@code struct kvm_irq_routing}. The memory is reused for the
 * next table. Not thread-safe.
 */
final class RoutingTable {
    private ByteBuffer bytes = Buffers.allocate(Uapi.KvmIrqRouting.SIZE);

    /** The encoded table, valid until the next one is encoded. The buffer can be longer than the table. */
    ByteBuffer bytes() {
        return bytes;
    }

    /** @return false if the table does not fit into a buffer */
    boolean encode(ByteBuffer routes, int count) {
        if (count > (Integer.MAX_VALUE - Uapi.KvmIrqRouting.SIZE) / Uapi.KvmIrqRoutingEntry.SIZE) {
            return false;
        }
        ByteBuffer table = zeroed(Uapi.KvmIrqRouting.SIZE + count * Uapi.KvmIrqRoutingEntry.SIZE);
        table.putInt(Uapi.KvmIrqRouting.NR, count);
        for (int i = 0; i < count; i++) {
            encode(
                    routes,
                    i * KernelBackend.ROUTE_SIZE,
                    table,
                    Uapi.KvmIrqRouting.SIZE + i * Uapi.KvmIrqRoutingEntry.SIZE);
        }
        return true;
    }

    private ByteBuffer zeroed(int length) {
        if (length > bytes.capacity()) {
            bytes = Buffers.allocate(length > Integer.MAX_VALUE / 2 ? length : 2 * length);
        } else {
            for (int i = 0; i < length; i += Long.BYTES) {
                bytes.putLong(i, 0);
            }
        }
        return bytes;
    }

    private static void encode(ByteBuffer from, int route, ByteBuffer to, int entry) {
        int type = from.getInt(route + KernelBackend.ROUTE_TYPE);
        to.putInt(entry + Uapi.KvmIrqRoutingEntry.GSI, from.getInt(route + KernelBackend.ROUTE_GSI));
        to.putInt(entry + Uapi.KvmIrqRoutingEntry.TYPE, type);
        to.putInt(entry + Uapi.KvmIrqRoutingEntry.FLAGS, from.getInt(route + KernelBackend.ROUTE_FLAGS));
        if (type == Uapi.KVM_IRQ_ROUTING_IRQCHIP) {
            to.putInt(entry + Uapi.KvmIrqRoutingEntry.U_IRQCHIP_IRQCHIP, from.getInt(route + KernelBackend.ROUTE_CHIP));
            to.putInt(entry + Uapi.KvmIrqRoutingEntry.U_IRQCHIP_PIN, from.getInt(route + KernelBackend.ROUTE_PIN));
        } else if (type != Uapi.KVM_IRQ_ROUTING_MSI) {
            to.put(
                    entry + Uapi.KvmIrqRoutingEntry.U_PAD,
                    from,
                    route + KernelBackend.ROUTE_CHIP,
                    KernelBackend.ROUTE_SIZE - KernelBackend.ROUTE_CHIP);
        } else {
            long address = from.getLong(route + KernelBackend.ROUTE_ADDRESS);
            to.putInt(entry + Uapi.KvmIrqRoutingEntry.U_MSI_ADDRESS_LO, (int) address);
            to.putInt(entry + Uapi.KvmIrqRoutingEntry.U_MSI_ADDRESS_HI, (int) (address >>> 32));
            to.putInt(entry + Uapi.KvmIrqRoutingEntry.U_MSI_DATA, from.getInt(route + KernelBackend.ROUTE_DATA));
            to.putInt(entry + Uapi.KvmIrqRoutingEntry.U_MSI_DEVID, from.getInt(route + KernelBackend.ROUTE_DEVID));
        }
    }
}
