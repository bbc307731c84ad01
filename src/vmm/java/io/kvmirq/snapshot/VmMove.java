/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.snapshot;

import io.kvmirq.undo.Undo;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Moves a guest from a paused VM into another VM, in this or another process. {@link VmParts} names the parts, whose
 * names must be the same in both VMs. Devices may signal the old VM's eventfds during the move.
 *
 * <pre>{@code
 * try (VmMove move = VmMove.from(old.parts())) { // a paused VM, whose irqfds are masked from here on
 *     old.closePassedDevices();
 *     next = new Machine(old.memory());
 *     move.into(next.parts());
 *     next.start(); // the devices signal its eventfds from here on
 * } // moves signals that came meanwhile
 * old.close();
 * }</pre>
 *
 * <p>To move a VM into another process, stop its devices, send {@link #text}, and call {@link VmSnapshot#restore}
 * there. {@link VmSnapshot} describes the saved state and defines a paused VM. Not thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.VmmSnippetsTest" region="move"}
 */
public final class VmMove implements AutoCloseable {
    private static final System.Logger LOGGER = System.getLogger("io.kvmirq");

    private final VmParts from;
    private final HeldVm held;
    private @Nullable VmParts next;
    private boolean closed;

    private VmMove(VmParts from) {
        this.from = from;
        this.held = new HeldVm(from);
    }

    /**
     * Begins to move a paused VM, and masks its irqfds, vectors and devices until {@link #close}. Afterwards, you may
     * close devices that the new VM needs.
     *
     * @throws IllegalArgumentException if a vCPU, an irqfd or the GuestIoapic of the VM is not among the parts
     * @throws IllegalStateException if a vCPU runs, or has exited in the middle of an instruction
     * @throws UnsupportedOperationException on arm64 without a GICv3, or if a vCPU has a PMU
     * @throws io.kvmirq.KernelException if the kernel refuses to read a value. After any exception, the VM is as before
     */
    public static VmMove from(VmParts parts) {
        return new VmMove(Objects.requireNonNull(parts, "parts is null"));
    }

    /**
     * Returns the VM's state for {@link VmSnapshot#parse} in another process. The state includes the signals that came
     * before this call. Later signals stay in the old VM's eventfds, so stop the devices first.
     *
     * @throws IllegalStateException after {@link #into} or {@link #close}
     */
    public String text() {
        requireHeld();
        held.refresh();
        return new VmSnapshot(held).text();
    }

    /**
     * Continues the guest in another VM, as {@link VmSnapshot#restore} does, and moves the signals that came to the old
     * eventfds meanwhile. After an exception, close the new VM. The old VM still has its state, so call {@code into}
     * for another VM, or call {@link #close} and run the old VM again.
     *
     * @throws IllegalArgumentException if the parts are the moving VM's, or lack a vCPU or the GuestIoapic of their VM
     * @throws IllegalStateException after {@link #into} or {@link #close}, or if {@link VmSnapshot#restore} throws it
     * @throws SnapshotException if the new VM or its names do not fit, or if it differs after the restore
     * @throws io.kvmirq.KernelException if the kernel refuses a value
     */
    public void into(VmParts parts) {
        Objects.requireNonNull(parts, "parts is null");
        requireHeld();
        if (parts.vm == from.vm) {
            throw new IllegalArgumentException(
                    parts.vm + " cannot move into itself: build another VM, or close the move to run this one again");
        }
        held.refresh();
        try (Undo undo = new Undo()) {
            Map<String, List<Long>> signals = held.takeSignals(undo);
            new VmSnapshot(held).restore(parts, signals);
            undo.keep();
        }
        next = parts;
        held.keep();
        forwardLate(parts);
    }

    /** Only logs a warning if a signal is refused, because the VM has moved. The signal stays in its old eventfd. */
    private void forwardLate(VmParts to) {
        try {
            held.forward(to);
        } catch (RuntimeException e) {
            LOGGER.log(System.Logger.Level.WARNING, "a late signal of " + from.vm + " did not move to " + to.vm, e);
        }
    }

    private void requireHeld() {
        if (closed || next != null) {
            throw new IllegalStateException(
                    from.vm + (next == null ? " is not moving: its move was closed" : " has moved into " + next.vm));
        }
    }

    /**
     * Ends the move. After {@link #into}, moves the signals that came to the old eventfds since, and the old VM stays
     * masked. Without {@code into}, releases the old VM's interrupts, with all signals in their eventfds, so that the
     * old VM can run again. If the kernel refuses to unmask an interrupt, logs a warning. Idempotent, never fails.
     */
    @Override
    public void close() {
        if (closed) {
            return;
        }
        closed = true;
        if (next != null) {
            forwardLate(next);
            return;
        }
        try {
            held.close();
        } catch (RuntimeException e) {
            LOGGER.log(System.Logger.Level.WARNING, from.vm + " was not moved, and an interrupt stays masked", e);
        }
    }

    @Override
    public String toString() {
        return "move of " + from.vm;
    }
}
