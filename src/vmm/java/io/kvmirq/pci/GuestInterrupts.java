/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.Gsi;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.vfio.VfioDevice;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import java.util.function.BiConsumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * INTx, MSI and MSI-X of a passed-through device: at most one of them is forwarded. For whoever holds the lock of the
 * device.
 */
final class GuestInterrupts {
    private static final int ENABLE = 1 << 15;

    private final Forwarding forwarding;
    private final VfioDevice device;
    private final Optional<Gsi> gsi;
    private final List<Bar> bars;
    private final GuestConfig config;
    private final @Nullable GuestMsix msix;
    /** Takes a step, and makes a sentence of what it throws. */
    private final BiConsumer<String, Runnable> attempts;

    private @Nullable ForwardedIrq line;
    /** Whether the host holds interrupts back. */
    private boolean held;

    GuestInterrupts(
            Forwarding forwarding,
            VfioDevice device,
            Optional<Gsi> gsi,
            List<Bar> bars,
            GuestConfig config,
            @Nullable GuestMsix msix,
            BiConsumer<String, Runnable> attempts) {
        this.forwarding = forwarding;
        this.device = device;
        this.gsi = gsi;
        this.bars = bars;
        this.config = config;
        this.msix = msix;
        this.attempts = attempts;
    }

    private void attempt(String what, Runnable step) {
        attempts.accept(what, step);
    }

    private Stream<GuestMessages> messages() {
        return Stream.concat(Stream.ofNullable(msix), config.msi().stream());
    }

    List<Gsi> gsis() {
        return messages().flatMap(one -> one.gsis().stream()).toList();
    }

    int forwardedTo(Gsi one) {
        int lines = line != null && gsi.orElseThrow().equals(one) ? 1 : 0;
        return lines + messages().mapToInt(kind -> kind.forwardedTo(one)).sum();
    }

    /** After a write to the configuration space. INTx ends first; of MSI and MSI-X the later waits for the other's end. */
    void written(int at, int size, int value) {
        if (msix != null && config.isMessageControl(at, size)) {
            if ((config.messageControl() & ENABLE) != 0) {
                endLine();
            }
            attempt("MSI-X: ", () -> msix.writeMessageControl(config.messageControl()));
            showMessageControl();
            config.msi().ifPresent(msi -> attempt("MSI: ", msi::settle));
        }
        if (config.isMsi(at, size)) {
            if (config.willEnableMsi(at, size, value)) {
                endLine();
            }
            attempt("MSI: ", () -> config.writeMsi(at, size, value));
            if (msix != null) {
                attempt("MSI-X: ", msix::settle);
            }
        }
        settleLine();
    }

    /** The guest reads what MSI-X made of it. */
    void showMessageControl() {
        if (msix != null) {
            config.setMessageControl(msix.messageControl());
        }
    }

    /** A line that is to be forwarded while interrupts are held is so when they are released: the device asserts it. */
    private void settleLine() {
        boolean messages = msix != null && msix.isEnabled()
                || config.msi().filter(GuestMsi::isEnabled).isPresent();
        boolean wanted = gsi.isPresent()
                && !messages
                && (config.command() & GuestConfig.INTX_OFF) == 0
                && bars.stream().anyMatch(config::decodes);
        if (!wanted) {
            endLine();
        } else if (line == null && !held) {
            attempt("INTx: ", () -> line = forwarding.forward(device.intx(), gsi.orElseThrow()));
        }
    }

    private void endLine() {
        if (line != null) {
            line.close();
            line = null;
        }
    }

    // Steps of the host

    /** If the kernel refuses it, all are as they were before the hold. */
    void hold() {
        held = true;
        boolean done = false;
        try {
            messages().forEach(one -> hold(one::hold));
            ForwardedIrq forwarded = line;
            if (forwarded != null) {
                hold(forwarded::mask);
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
            attempt("its interrupts cannot be held: ", () -> {
                throw gone;
            });
        }
    }

    void release() {
        held = false;
        messages().forEach(one -> attempt("its interrupts cannot be released: ", one::release));
        ForwardedIrq forwarded = line;
        if (forwarded != null) {
            attempt("INTx: ", forwarded::unmask);
        }
        settleLine();
    }

    boolean isHeld() {
        return held;
    }

    /** Ends all; {@link #showMessageControl} follows when the device is reset. */
    void reset() {
        if (msix != null) {
            attempt("MSI-X: ", msix::reset);
        }
        config.msi().ifPresent(msi -> attempt("MSI: ", msi::reset));
        endLine();
    }

    // Save and restore

    List<byte[]> states() {
        return messages().map(GuestMessages::state).toList();
    }

    /** Reads what {@link #states} gave, each with its length before it. */
    void restore(ByteBuffer state) {
        messages().forEach(one -> {
            byte[] part = new byte[Math.max(0, Math.min(state.getInt(), state.remaining()))];
            state.get(part);
            one.restore(part);
        });
        showMessageControl();
        written(GuestConfig.COMMAND, Short.BYTES, 0); // INTx
    }
}
