/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.Gsi;
import io.kvmirq.IrqKind;
import io.kvmirq.NotPromised;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.vfio.IrqInfo;
import io.kvmirq.vfio.VfioDevice;
import java.util.List;
import java.util.Objects;

/**
 * The common part of {@link GuestMsi} and {@link GuestMsix}. {@link #state} saves the capability.
 *
 * <p>No value that a guest writes causes an exception. But if the kernel refuses a write's effect, the write throws a
 * {@link io.kvmirq.KernelException} or an exception of {@link io.kvmirq.forward.Forwarding#forwardAll}. The registers
 * keep the value, and the affected vectors stay masked until the next write or {@link #settle} retries.
 *
 * <p>Not thread-safe, so make only one access to a device at a time. If an injector of the forwarding takes a lock, do
 * not hold this lock when you call a method, or the call deadlocks.
 *
 * {@snippet class="io.kvmirq.snippets.VmmSnippetsTest" region="msix"}
 */
public abstract sealed class GuestMessages implements DeviceState permits GuestMsi, GuestMsix {
    final GuestVectors vectors;

    GuestMessages(GuestVectors vectors) {
        this.vectors = vectors;
    }

    static int count(VfioDevice device, IrqKind kind) {
        return Objects.requireNonNull(device, "device is null").info().irqs().stream()
                .filter(irq -> irq.kind() == kind)
                .mapToInt(IrqInfo::count)
                .sum();
    }

    /** The number of vectors that the guest may enable. */
    public final int size() {
        return vectors.count();
    }

    /** Whether the guest has enabled this capability, MSI or MSI-X. */
    public abstract boolean isEnabled();

    @Override
    public final void hold() {
        vectors.hold();
    }

    @Override
    public final void release() {
        vectors.release();
        settle();
    }

    @Override
    public final boolean isHeld() {
        return vectors.isHeld();
    }

    /**
     * Makes the kernel's state match the registers, with as few kernel calls as possible. Call this method after you
     * have removed the cause of an access's exception, or after the device's other interrupts (INTx, MSI or MSI-X) have
     * ended.
     */
    public abstract void settle();

    /** Returns the guest's VM. */
    @NotPromised
    public final Vm vm() {
        return vectors.vm();
    }

    @Override
    public final List<Gsi> gsis() {
        return vectors.gsis();
    }

    @Override
    public final List<EventFd> events() {
        return vectors.events();
    }

    @Override
    public final int forwardedTo(Gsi gsi) {
        Objects.requireNonNull(gsi, "gsi is null");
        return (int) gsis().stream().filter(gsi::equals).count();
    }
}
