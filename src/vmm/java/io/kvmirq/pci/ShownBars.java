/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/** The BARs of a device that its guest can access, and their registers. The lock of the device guards it. */
final class ShownBars {
    /** The addresses of the bus. */
    interface Bus {
        /** Reserves an address for a BAR. Returns the owner if the address is taken. */
        Optional<String> place(Bar bar, long address);

        void unplace(Bar bar);
    }

    private final Bus bus;
    private final List<Bar> bars;
    private final GuestConfig config;
    private final @Nullable GuestMsix msix;
    private final DeviceWarnings warnings;
    /** The address of each shown BAR. */
    private final Map<Bar, Long> shown = new HashMap<>();

    ShownBars(Bus bus, List<Bar> bars, GuestConfig config, @Nullable GuestMsix msix, DeviceWarnings warnings) {
        this.bus = bus;
        this.bars = bars;
        this.config = config;
        this.msix = msix;
        this.warnings = warnings;
    }

    /** Hides the BARs that the guest has moved or disabled. */
    void hideMoved() {
        for (Bar bar : bars) {
            Long now = shown.get(bar);
            if (now != null && (!config.decodes(bar) || now != config.address(bar))) {
                hide(bar);
            }
        }
    }

    void hideAll() {
        List.copyOf(shown.keySet()).forEach(this::hide);
    }

    private void hide(Bar bar) {
        bar.hide();
        bus.unplace(bar);
        shown.remove(bar);
    }

    /** Shows each BAR that the guest has enabled, if its address is free. */
    void show() {
        bars.forEach(this::show);
    }

    private void show(Bar bar) {
        if (shown.containsKey(bar) || !config.decodes(bar)) {
            return;
        }
        long address = config.address(bar);
        Optional<String> refused = bus.place(bar, address);
        if (refused.isPresent()) {
            warnings.add(
                    bar.toString(),
                    bar + " at 0x" + Long.toHexString(address) + " lies " + refused.get()
                            + ": the guest does not reach it");
            return;
        }
        shown.put(bar, address);
        try {
            bar.show(address);
        } catch (RuntimeException e) {
            warnings.add("each access of " + bar + " leaves the guest: ", e);
        }
    }

    /** The shown BARs, one bit each. */
    int mask() {
        return shown.keySet().stream().mapToInt(bar -> 1 << bar.index()).sum();
    }

    private boolean has(Bar bar, long at, int size) {
        Long start = shown.get(bar);
        return start != null && at >= start && at <= start + bar.size() - size;
    }

    private long offset(Bar bar, long at) {
        return at - shown.getOrDefault(bar, 0L);
    }

    private static boolean isIn(Optional<GuestConfig.Place> place, Bar bar, long at) {
        return place.isPresent() && place.get().has(bar, at);
    }

    /** The offset of an access in a shown BAR, except to the MSI-X table and the PBA; negative for any other access. */
    long plain(Bar bar, long at, int size) {
        long offset = offset(bar, at);
        boolean isMsix = msix != null && (isIn(config.table(), bar, offset) || isIn(config.pending(), bar, offset));
        return has(bar, at, size) && !isMsix ? offset : -1;
    }

    /** Reads a register whose offset is {@link #plain}. Does not need the lock. */
    long readPlain(Bar bar, long offset, int size) {
        return attempt("read", bar, offset, size, () -> bar.read(offset, size));
    }

    /** Makes an access; one that throws is a warning, and reads all ones. */
    private long attempt(String what, Bar bar, long offset, int size, LongSupplier access) {
        try {
            return access.getAsLong();
        } catch (RuntimeException e) {
            warnings.add(
                    bar + what,
                    "register 0x" + Long.toHexString(offset) + " of " + bar + ", " + size + " bytes, cannot be " + what
                            + ": " + DeviceWarnings.text(e));
            return -1;
        }
    }

    /** Writes a register whose offset is {@link #plain}. Does not need the lock. */
    void writePlain(Bar bar, long offset, int size, long value) {
        attempt("written", bar, offset, size, () -> {
            bar.write(offset, size, value);
            return 0;
        });
    }

    /** Reads at a guest-physical address; all ones if the BAR is not shown there. */
    long read(Bar bar, long at, int size) {
        long offset = offset(bar, at);
        return has(bar, at, size) ? attempt("read", bar, offset, size, () -> readRegister(bar, size, offset)) : -1;
    }

    private long readRegister(Bar bar, int size, long at) {
        if (msix != null && isIn(config.table(), bar, at)) {
            return msix.readTable(at - config.table().orElseThrow().area().at(), size);
        }
        if (msix != null && isIn(config.pending(), bar, at)) {
            long ours =
                    msix.readPending(at - config.pending().orElseThrow().area().at(), size);
            return msix.vectors.keepsPending() ? ours : ours | bar.read(at, size);
        }
        return bar.read(at, size);
    }

    /** Writes at a guest-physical address. Has no effect if the BAR is not shown there. */
    void write(Bar bar, long at, int size, long value) {
        if (has(bar, at, size)) {
            long offset = offset(bar, at);
            attempt("written", bar, offset, size, () -> {
                writeRegister(bar, size, offset, value);
                return 0;
            });
        }
    }

    private void writeRegister(Bar bar, int size, long at, long value) {
        if (msix != null && isIn(config.table(), bar, at)) {
            msix.writeTable(at - config.table().orElseThrow().area().at(), size, value);
        } else if (msix == null || !isIn(config.pending(), bar, at)) {
            bar.write(at, size, value);
        }
    }
}
