/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.NotModelledException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * The BARs of a device: memory that keeps what is written, whether or not the device decodes its addresses; source:
 * {@code vfio_pci_bar_rw()} in vfio_pci_rdwr.c, {@code vfio_pci_core_mmap()} in vfio_pci_core.c.
 */
public final class Bars {
    private final Map<Integer, ByteBuffer> bars = new TreeMap<>();

    Bars(Map<Integer, Integer> sizes) {
        sizes.forEach(
                (bar, bytes) -> bars.put(bar, ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())));
    }

    /** @throws IndexOutOfBoundsException if the device has no such BAR */
    public ByteBuffer memory(int bar) {
        if (!bars.containsKey(bar)) {
            throw new IndexOutOfBoundsException("the device has no BAR " + bar);
        }
        return bars.get(bar);
    }

    /** In bytes; 0 if the device has no such BAR. */
    int size(int bar) {
        ByteBuffer memory = bars.get(bar);
        return memory == null ? 0 : memory.capacity();
    }

    /** A mapping of a part of a BAR; empty beyond its end. */
    Optional<ByteBuffer> mapped(int bar, long at, int length) {
        return at > size(bar) - length
                ? Optional.empty()
                : Optional.of(memory(bar).slice((int) at, length));
    }

    byte read(int bar, long at) {
        return memory(bar).get((int) at);
    }

    void write(int bar, long at, byte value) {
        memory(bar).put((int) at, value);
    }

    void requireInside(int bar, long at, long length) {
        if (length > size(bar) - at) {
            throw new NotModelledException("an access across the end of a BAR");
        }
    }
}
