/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.Gsi;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.kernel.EventFd;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** A function's INTx, MSI and MSI-X, of which at most one is in use. The function's lock guards this object. */
final class GuestInterrupts {
    private static final int ENABLE = 1 << 15;

    private final Optional<Gsi> gsi;
    /** Forwards the line to its GSI. */
    private final Function<Gsi, ForwardedIrq> lines;

    /** The wire of an emulated function's pin. */
    private final @Nullable Wire wire;

    private final List<Bar> bars;
    private final GuestConfig config;
    private final @Nullable GuestMsix msix;
    private final DeviceWarnings warnings;

    private @Nullable ForwardedIrq line;
    /** Whether the host holds interrupts back. */
    private boolean held;

    GuestInterrupts(
            Optional<Gsi> gsi,
            Function<Gsi, ForwardedIrq> lines,
            @Nullable Wire wire,
            List<Bar> bars,
            GuestConfig config,
            @Nullable GuestMsix msix,
            DeviceWarnings warnings) {
        this.gsi = gsi;
        this.lines = lines;
        this.wire = wire;
        this.bars = bars;
        this.config = config;
        this.msix = msix;
        this.warnings = warnings;
    }

    private Stream<GuestMessages> messages() {
        return Stream.concat(Stream.ofNullable(msix), config.msi().stream());
    }

    List<Gsi> gsis() {
        return messages().flatMap(kind -> kind.gsis().stream()).toList();
    }

    /** The vectors' eventfds. MSI and MSI-X may share vectors. */
    List<EventFd> events() {
        return messages().flatMap(kind -> kind.events().stream()).distinct().toList();
    }

    int forwardedTo(Gsi target) {
        int lines = line != null && gsi.orElseThrow().equals(target) ? 1 : 0;
        return lines + messages().mapToInt(kind -> kind.forwardedTo(target)).sum();
    }

    /**
     * Called after a write to the configuration space. INTx ends first. If MSI and MSI-X are both enabled, the second
     * one waits until the first ends.
     */
    void written(int at, int size, int value) {
        if (msix != null && config.isMessageControl(at, size)) {
            if ((config.messageControl() & ENABLE) != 0) {
                endLine();
            }
            warnings.attempt("MSI-X: ", () -> msix.writeMessageControl(config.messageControl()));
            showMessageControl();
            config.msi().ifPresent(msi -> warnings.attempt("MSI: ", msi::settle));
        }
        if (config.isMsi(at, size)) {
            if (config.willEnableMsi(at, size, value)) {
                endLine();
            }
            warnings.attempt("MSI: ", () -> config.writeMsi(at, size, value));
            if (msix != null) {
                warnings.attempt("MSI-X: ", msix::settle);
            }
        }
        settleLine();
    }

    /** Updates Message Control of MSI-X in the guest's configuration space. */
    void showMessageControl() {
        if (msix != null) {
            config.setMessageControl(msix.messageControl());
        }
    }

    /**
     * Forwards or ends INTx as the registers require, or sets the level of an emulated function's pin. While interrupts
     * are held, forwarding waits for the release, because the device keeps its line asserted.
     */
    void settleLine() {
        boolean messages = msix != null && msix.isEnabled()
                || config.msi().filter(GuestMsi::isEnabled).isPresent();
        boolean wanted = gsi.isPresent()
                && !messages
                && (config.command() & GuestConfig.INTX_OFF) == 0
                && (wire != null || bars.stream().anyMatch(config::decodes));
        if (wire != null) {
            wire.set(this, wanted && !held && config.isAsserted());
        } else if (!wanted) {
            endLine();
        } else if (line == null && !held) {
            warnings.attempt("INTx: ", () -> line = lines.apply(gsi.orElseThrow()));
        }
    }

    /** Drives the wire of an emulated function's pin, without the lock. */
    void drive() {
        if (wire != null) {
            wire.drive();
        }
    }

    private void endLine() {
        if (wire != null) {
            wire.set(this, false);
        }
        if (line != null) {
            line.close();
            line = null;
        }
    }

    // Steps of the host

    /** Holds all interrupts, or none if the kernel refuses one. */
    void hold() {
        held = true;
        boolean done = false;
        try {
            messages().forEach(kind -> hold(kind::hold));
            ForwardedIrq forwarded = line;
            if (forwarded != null) {
                hold(forwarded::mask);
            }
            if (wire != null) {
                settleLine();
            }
            done = true;
        } finally {
            if (!done) {
                release();
            }
        }
    }

    private void hold(Runnable step) {
        try {
            step.run();
        } catch (IllegalStateException gone) {
            warnings.attempt("its interrupts cannot be held: ", () -> {
                throw gone;
            });
        }
    }

    void release() {
        held = false;
        messages().forEach(kind -> warnings.attempt("its interrupts cannot be released: ", kind::release));
        ForwardedIrq forwarded = line;
        if (forwarded != null) {
            warnings.attempt("INTx: ", forwarded::unmask);
        }
        settleLine();
    }

    boolean isHeld() {
        return held;
    }

    /** Ends all interrupts. The caller must call {@link #showMessageControl} after it has reset the device. */
    void reset() {
        if (msix != null) {
            warnings.attempt("MSI-X: ", msix::reset);
        }
        config.msi().ifPresent(msi -> warnings.attempt("MSI: ", msi::reset));
        endLine();
    }

    /** Clears the pending bits of all vectors. */
    void forget() {
        messages().forEach(kind -> kind.vectors.forget());
    }

    // Save and restore

    List<byte[]> states() {
        return messages().map(GuestMessages::state).toList();
    }

    /** Restores the states from {@link #states}, each preceded by its length. */
    void restore(ByteBuffer state) {
        messages().forEach(kind -> {
            byte[] part = new byte[Math.max(0, Math.min(state.getInt(), state.remaining()))];
            state.get(part);
            kind.restore(part);
        });
        showMessageControl();
        written(GuestConfig.COMMAND, Short.BYTES, 0); // INTx
    }
}
