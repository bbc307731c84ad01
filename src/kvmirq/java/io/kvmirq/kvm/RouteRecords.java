/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.MsiMessage;
import io.kvmirq.Route;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import java.nio.ByteBuffer;

/** Routes encoded as records for a binding. The next table reuses the memory. Not thread-safe. */
final class RouteRecords {
    private static final int FIRST_CAPACITY = 64;

    private ByteBuffer records = Buffers.allocate(FIRST_CAPACITY * KernelBackend.ROUTE_SIZE);
    private int count;

    /** Makes room for {@code routes} records and keeps those below GSI {@code first}. Records are sorted by GSI. */
    void begin(int routes, int first) {
        int bytes = routes * KernelBackend.ROUTE_SIZE;
        if (bytes > records.capacity()) {
            records = Buffers.allocate(Math.max(bytes, 2 * records.capacity()))
                    .put(0, records, 0, count * KernelBackend.ROUTE_SIZE);
        }
        while (count > 0 && records.getInt((count - 1) * KernelBackend.ROUTE_SIZE + KernelBackend.ROUTE_GSI) >= first) {
            count--;
        }
    }

    /** @return the offset of a new record, zero except for its GSI and its type */
    private int add(int gsi, int type) {
        int at = count * KernelBackend.ROUTE_SIZE;
        for (int i = 0; i < KernelBackend.ROUTE_SIZE; i += Long.BYTES) {
            records.putLong(at + i, 0);
        }
        records.putInt(at + KernelBackend.ROUTE_GSI, gsi);
        records.putInt(at + KernelBackend.ROUTE_TYPE, type);
        count++;
        return at;
    }

    void add(int gsi, MsiMessage message) {
        int at = add(gsi, KernelBackend.ROUTE_TYPE_MSI);
        records.putInt(at + KernelBackend.ROUTE_DATA, message.data());
        records.putLong(at + KernelBackend.ROUTE_ADDRESS, message.address());
        if (message.deviceId().isPresent()) {
            records.putInt(at + KernelBackend.ROUTE_FLAGS, KernelBackend.ROUTE_FLAG_DEVID);
            records.putInt(at + KernelBackend.ROUTE_DEVID, message.deviceId().getAsInt());
        }
    }

    /** Adds a route that is not a message. */
    void add(Route route) {
        if (route instanceof Route.Pin pin) {
            int at = add(pin.gsi().number(), KernelBackend.ROUTE_TYPE_IRQCHIP);
            records.putInt(at + KernelBackend.ROUTE_CHIP, pin.chip().id());
            records.putInt(at + KernelBackend.ROUTE_PIN, pin.pin());
        } else if (route instanceof Route.Other other) {
            int at = add(other.gsi().number(), other.type());
            records.putInt(at + KernelBackend.ROUTE_FLAGS, other.flags());
            for (int i = 0; i < other.words().size(); i++) {
                records.putInt(
                        at + KernelBackend.ROUTE_CHIP + i * Integer.BYTES,
                        other.words().get(i));
            }
        }
    }

    boolean hasOther() {
        for (int i = 0; i < count; i++) {
            int type = records.getInt(i * KernelBackend.ROUTE_SIZE + KernelBackend.ROUTE_TYPE);
            if (type != KernelBackend.ROUTE_TYPE_MSI && type != KernelBackend.ROUTE_TYPE_IRQCHIP) {
                return true;
            }
        }
        return false;
    }

    ByteBuffer records() {
        return records;
    }

    int count() {
        return count;
    }
}
