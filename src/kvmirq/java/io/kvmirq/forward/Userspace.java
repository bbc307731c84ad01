/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.NotPromised;
import io.kvmirq.Spi;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kvm.Vm;
import java.util.List;
import java.util.Objects;

/**
 * The event loop and injector through which this process injects interrupts for which KVM does not accept an irqfd. The
 * loop runs in a VMM thread, reads the eventfds and calls the injector.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="userspace"}
 *
 * @param loop reads the eventfds. Interrupts arrive only while the VMM runs the loop
 * @param injector injects the interrupts whose eventfds were signalled
 */
public record Userspace(EventLoop loop, Injector injector) {
    public Userspace {
        Objects.requireNonNull(injector, "injector is null");
        Objects.requireNonNull(loop, "loop is null");
    }

    /**
     * Injects interrupts into the guest's interrupt controllers. It is called in the loop's thread, and for lines also
     * in a thread that calls endOfInterrupt, mask, moveTo or close. The library holds no lock during the call, so the
     * injector may take the VMM's locks, and read and change forwarded interrupts. If it throws in the loop, the
     * exception is logged. A message is then lost, whereas a line's injection is retried a few times.
     *
     * <p>An interrupt's {@code mask}, {@code reroute}, {@code moveTo} and {@code close}, and {@code close} of its
     * {@link Forwarding} or the {@link EventLoop}, wait for an injection in another thread, so no injection runs after
     * they return. If the injector itself calls one of them, its current injection is its last. Call them without a
     * lock that the injector takes. While you hold such a lock, call {@link ForwardedIrq#beginMask}. Neither this call
     * nor a later {@code reroute} waits. Two injectors deadlock if each masks the line that the other injects.
     */
    public interface Injector {
        /** Delivers an MSI message to the guest, as the device's memory write would. */
        void message(MsiMessage message);

        /** Sets an IOAPIC, PIC or GIC line high or low. An edge is two calls, high and then low. */
        void line(Gsi gsi, boolean high);

        /**
         * Raises a device's level-triggered line until the guest's EOI, which lowers it. An interrupt controller that
         * overrides this must lower the line at the EOI, under its own lock, so that a guest that has served the device
         * never finds the line high after its EOI. Whenever it lowers the line, including in {@link #line}, it must
         * then call {@code ended} once. If the method throws, the line may be high, and {@code ended} may still be
         * called.
         *
         * <p>The default calls {@link #line}, and the VMM must call {@link ForwardedIrq#endOfInterrupt} at the EOI.
         *
         * @param ended unmasks the device, which raises the line again if it still asserts it. Call it without a lock,
         *     in any thread, because it may call the injector
         * @return whether {@code ended} will be called. If not, the line stays high until {@link #line} lowers it
         */
        default boolean raiseUntilEoi(Gsi gsi, Runnable ended) {
            line(gsi, true);
            return false;
        }

        /**
         * Throws IllegalArgumentException if this injector is known to inject into another VM or to lack one of these
         * lines.
         */
        @NotPromised
        default void requireOf(Vm vm, List<Gsi> lines) {}
    }

    /** Creates a relay for a VMM that emulates all interrupt controllers or only an IOAPIC. */
    public static Userspace of(EventLoop loop, Injector injector) {
        return new Userspace(loop, injector);
    }

    /**
     * Creates a relay that injects into the in-kernel interrupt controllers of {@code vm}. Messages need in-kernel
     * LAPICs, or an ITS on arm64. Lines need a full in-kernel irqchip. On arm64, GSI n drives SPI n + 32. As in
     * hardware, interrupts that the guest does not accept are dropped.
     */
    public static Userspace into(Vm vm, EventLoop loop) {
        Objects.requireNonNull(loop, "loop is null");
        Objects.requireNonNull(vm, "vm is null");
        return new Userspace(loop, new Injector() {
            @Override
            public void message(MsiMessage message) {
                vm.signal(message);
            }

            @Override
            public void line(Gsi gsi, boolean high) {
                if (vm.isArm64()) {
                    vm.arm64().setSpi(new Spi(Spi.FIRST + gsi.number()), high);
                } else {
                    vm.x86().setLine(gsi, high);
                }
            }

            @Override
            public void requireOf(Vm other, List<Gsi> lines) {
                if (other != vm) {
                    throw new IllegalArgumentException("an injector into " + vm + " cannot interrupt " + other
                            + ": create one with Userspace.into for this VM");
                }
            }
        });
    }
}
