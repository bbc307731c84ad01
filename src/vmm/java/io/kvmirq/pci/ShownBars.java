/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/** The BARs of a device that its guest can access, and their registers. The device's lock guards this object. */
final class ShownBars implements BusAddresses.Owner {
    /** The function, for its lock and its name. */
    private final Object device;

    private final int slot;
    private final BusAddresses bus;
    private final List<Bar> bars;
    private final GuestConfig config;
    private final @Nullable GuestMsix msix;
    private final DeviceWarnings warnings;
    /** The place of each shown BAR. */
    private final Map<Bar, BusAddresses.Place> shown = new ConcurrentHashMap<>();

    ShownBars(
            Object device,
            int slot,
            BusAddresses bus,
            List<Bar> bars,
            GuestConfig config,
            @Nullable GuestMsix msix,
            DeviceWarnings warnings) {
        this.device = device;
        this.slot = slot;
        this.bus = bus;
        this.bars = bars;
        this.config = config;
        this.msix = msix;
        this.warnings = warnings;
    }

    /** Hides the BARs that the guest has moved or disabled. */
    void hideMoved() {
        bars.stream().filter(bar -> !isAt(bar, address(bar))).forEach(this::hide);
    }

    void hideAll() {
        bars.forEach(bar -> {
            hide(bar);
            bus.disable(bar);
        });
    }

    @Override
    public void hide(Bar bar) {
        synchronized (device) {
            if (shown.remove(bar) != null) {
                bar.hide();
            }
        }
    }

    private boolean isAt(Bar bar, long address) {
        return config.decodes(bar) && config.address(bar) == address;
    }

    private long address(Bar bar) {
        BusAddresses.Place place = shown.get(bar);
        return place == null ? -1 : place.at();
    }

    /** Reports the enabled BARs to the bus, which shows them when the lock is free. */
    void decode() {
        for (Bar bar : bars) {
            long address = config.address(bar);
            if (config.decodes(bar)) {
                bus.flaw(bar, address)
                        .or(() -> over(bar).map(other -> on(other, this)))
                        .ifPresent(flaw -> warn(bar, address, flaw));
                bus.enable(this, bar, address);
            } else {
                bus.disable(bar);
            }
        }
    }

    private static String on(Bar bar, BusAddresses.Owner of) {
        return "on " + bar + " of " + of + ", which answers there";
    }

    /** The BAR of the same function that answers before this one. */
    private Optional<Bar> over(Bar bar) {
        return bars.stream()
                .takeWhile(other -> other != bar)
                .filter(other -> config.decodes(other)
                        && other.isPorts() == bar.isPorts()
                        && BusAddresses.overlap(config.address(other), other, config.address(bar), bar.size()))
                .findFirst();
    }

    private void warn(Bar bar, long address, String flaw) {
        warnings.add(bar.toString(), bar + " at 0x" + Long.toHexString(address) + " lies " + flaw);
    }

    @Override
    public void show(BusAddresses.Place place) {
        synchronized (device) {
            Bar bar = place.bar();
            Optional<String> flaw = bus.flaw(bar, place.at());
            if (flaw.isPresent() || !isAt(bar, place.at())) {
                flaw.ifPresent(text -> warn(bar, place.at(), text));
                return;
            }
            place.above().stream()
                    .findFirst()
                    .ifPresent(other -> warn(bar, place.at(), on(other.bar(), other.owner())));
            shown.put(bar, place);
            try {
                bar.show(place.at(), place::answers);
            } catch (RuntimeException e) {
                warnings.add("each access of " + bar + " leaves the guest: ", e);
            }
        }
    }

    @Override
    public boolean shows(Bar bar) {
        return shown.containsKey(bar);
    }

    @Override
    public boolean shows(BusAddresses.Place place) {
        return place.equals(shown.get(place.bar()));
    }

    @Override
    public int slot() {
        return slot;
    }

    @Override
    public void tell() {
        warnings.tell();
    }

    @Override
    public String toString() {
        return device.toString();
    }

    /**
     * The BARs that the guest reaches, one bit each. BARs of other functions that overlap them are ignored, because
     * those functions may be restored later, and move.
     */
    int mask() {
        int mask = 0;
        for (Bar bar : bars) {
            boolean isFree =
                    over(bar).isEmpty() && bus.flaw(bar, config.address(bar)).isEmpty();
            mask |= config.decodes(bar) && isFree ? 1 << bar.index() : 0;
        }
        return mask;
    }

    private boolean has(Bar bar, long at, int size) {
        long start = address(bar);
        return start >= 0 && at >= start && at <= start + bar.size() - size;
    }

    private long offset(Bar bar, long at) {
        return at - address(bar);
    }

    private static boolean isIn(Optional<GuestConfig.Place> place, Bar bar, long at) {
        return place.isPresent() && place.get().has(bar, at);
    }

    /** The offset of an access in a shown BAR, except to the MSI-X table and the PBA. Negative for any other access. */
    long plain(Bar bar, long at, int size) {
        long offset = offset(bar, at);
        boolean isMsix = msix != null && (isIn(config.table(), bar, offset) || isIn(config.pending(), bar, offset));
        return has(bar, at, size) && !isMsix ? offset : -1;
    }

    /** Reads a register whose offset is {@link #plain}. Does not need the lock. */
    long readPlain(Bar bar, long offset, int size) {
        return attempt("read", bar, offset, size, () -> bar.read(offset, size));
    }

    /** Makes an access. If it throws, adds a warning and returns all ones. */
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

    /** Reads at a guest-physical address. Returns all ones if the BAR is not shown there. */
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
