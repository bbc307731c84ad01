/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.vfio;

import io.kvmirq.fake.vfio.PciFunction.Msix;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * The BARs of a device. They are memory that keeps written values, with the MSI-X table and the pending bits in it.
 * Source: {@code vfio_pci_bar_rw()} in vfio_pci_rdwr.c, {@code vfio_pci_core_mmap()} in vfio_pci_core.c.
 */
public final class Bars {
    private static final byte MASKED = 1;

    private final PciFunction function;
    /** Null without MSI-X. */
    private final @Nullable Msix msix;
    /** The memory of the BARs that were accessed, by number. */
    private final Map<Integer, ByteBuffer> memory = new TreeMap<>();
    /** The registers that the device itself set, by BAR and offset. A reset restores them. */
    private final Map<Integer, Map<Integer, Integer>> presets = new TreeMap<>();

    Bars(PciFunction function) {
        this.function = function;
        this.msix = function.msix().orElse(null);
    }

    /** @throws IndexOutOfBoundsException if the device has no such BAR */
    public ByteBuffer memory(int bar) {
        ByteBuffer of = memory.get(bar);
        if (of == null) {
            int size = size(bar);
            if (size == 0) {
                throw new IndexOutOfBoundsException("the device has no BAR " + bar);
            }
            of = ByteBuffer.allocateDirect(size).order(ByteOrder.nativeOrder());
            memory.put(bar, of);
            fill(bar, of);
        }
        return of;
    }

    /** Fills a BAR with its content after a reset. */
    private void fill(int bar, ByteBuffer of) {
        presets.getOrDefault(bar, Map.of()).forEach(of::putInt);
        Msix table = tableIn(bar);
        if (table != null) {
            int end = table.controlAt(table.vectors());
            for (int at = table.controlAt(0); at < end; at += Msix.ENTRY) {
                of.put(at, MASKED);
            }
        }
    }

    /** Returns the 32-bit register at an offset of a BAR. Throws IndexOutOfBoundsException if the BAR ends before. */
    public int register(int bar, int at) {
        ByteBuffer of = memory(bar);
        requireRegister(of, bar, at);
        return of.getInt(at);
    }

    private static void requireRegister(ByteBuffer of, int bar, int at) {
        if (at < 0 || at > of.limit() - Integer.BYTES) {
            throw new IndexOutOfBoundsException("offset " + at + " is not a register of BAR " + bar + ", which has "
                    + of.limit() + " bytes: expected 0 to " + (of.limit() - Integer.BYTES));
        }
    }

    /** Sets the value that a register has from this call on, and after each reset. */
    public void preset(int bar, int at, int value) {
        ByteBuffer of = memory(bar);
        requireRegister(of, bar, at);
        of.putInt(at, value);
        presets.computeIfAbsent(bar, number -> new TreeMap<>()).put(at, value);
    }

    /** The size in bytes; 0 if the device has no such BAR. */
    int size(int bar) {
        PciBar of = function.bars().get(bar);
        return of == null ? 0 : of.bytes();
    }

    boolean isPorts(int bar) {
        PciBar of = function.bars().get(bar);
        return of != null && of.kind() == PciBar.Kind.PORTS;
    }

    boolean hasTable(int bar) {
        return tableIn(bar) != null;
    }

    private @Nullable Msix tableIn(int bar) {
        return msix != null && msix.tableBar() == bar ? msix : null;
    }

    boolean isMappable(int bar) {
        return size(bar) != 0 && !isPorts(bar);
    }

    /** The memory behind an mmap of a part of a BAR; empty beyond its end. */
    Optional<ByteBuffer> mapped(int bar, long at, int length) {
        return !isMappable(bar) || at > size(bar) - length
                ? Optional.empty()
                : Optional.of(memory(bar).slice((int) at, length));
    }

    /** Whether VFIO hides a byte, because it is in the MSI-X table. */
    boolean isExcluded(int bar, int at) {
        Msix table = tableIn(bar);
        return table != null && at >= table.tableAt() && at < table.tableAt() + table.tableSize();
    }

    byte read(int bar, int at) {
        return memory(bar).get(at);
    }

    /** Writes a byte, except to the pending bits of MSI-X, which are read-only. */
    void write(int bar, int at, byte value) {
        boolean pending = msix != null
                && msix.pendingBar() == bar
                && at >= msix.pendingAt()
                && at < msix.pendingAt() + msix.pendingSize();
        if (!pending) {
            memory(bar).put(at, value);
        }
    }

    /** Resets all registers to the device's own values or 0, and masks all vectors. */
    void reset() {
        memory.forEach((bar, of) -> {
            for (int at = 0; at < of.capacity(); at += Integer.BYTES) {
                of.putInt(at, 0);
            }
            fill(bar, of);
        });
    }

    // MSI-X

    /** Sets the mask bit of a vector in the MSI-X table. Does nothing without MSI-X. */
    void setMasked(int vector, boolean masked) {
        if (msix != null) {
            memory(msix.tableBar()).put(msix.controlAt(vector), masked ? MASKED : 0);
        }
    }

    boolean isMasked(int vector) {
        return msix != null && (memory(msix.tableBar()).get(msix.controlAt(vector)) & MASKED) != 0;
    }

    void setPending(int vector, boolean pending) {
        if (msix != null) {
            int at = msix.pendingAt() + vector / Byte.SIZE;
            int bit = 1 << vector % Byte.SIZE;
            ByteBuffer of = memory(msix.pendingBar());
            of.put(at, (byte) (pending ? of.get(at) | bit : of.get(at) & ~bit));
        }
    }
}
