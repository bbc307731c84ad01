/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.pci;

import io.kvmirq.Gsi;
import io.kvmirq.Spi;
import io.kvmirq.forward.Userspace;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kvm.Vm;
import java.util.HashSet;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * A GSI's wire, which is high while any emulated function's pin is high. KVM has one level for all of user space, so
 * the bus joins the pins. Thread-safe.
 *
 * <p>A change is recorded by {@link #set}, under the function's lock. {@link #drive} passes it on without a lock,
 * because the driver may be the VMM's. A thread that finds another one in the driver does not wait for it: it lowers a
 * high wire at once, so that the guest's EOI finds it low, and leaves a rise to the last thread in the driver. That
 * thread drives the wire again if calls overlapped, because their order is not known.
 */
final class Wire {
    private final Object receiver;
    private final Gsi gsi;
    private final Consumer<Boolean> driver;
    private final Set<Object> high = new HashSet<>();
    private int calls;
    /** The level of the call that began last. */
    private boolean driven;
    /** Whether the wire is known to have this level, because no call overlapped or failed. */
    private boolean known;

    private Wire(Object receiver, Gsi gsi, Consumer<Boolean> driver) {
        this.receiver = receiver;
        this.gsi = gsi;
        this.driver = driver;
    }

    static Wire of(Vm vm, Gsi gsi) {
        Spi spi = vm.isArm64() ? new Spi(Spi.FIRST + gsi.number()) : null;
        return new Wire(vm, gsi, level -> {
            try {
                if (spi == null) {
                    vm.x86().setLine(gsi, level);
                } else {
                    vm.arm64().setSpi(spi, level);
                }
            } catch (ClosedHandleException e) {
                if (level) {
                    throw e;
                } // else the wire has gone with the VM
            }
        });
    }

    static Wire of(Userspace.Injector injector, Gsi gsi) {
        return new Wire(injector, gsi, level -> injector.line(gsi, level));
    }

    boolean isSame(Wire other) {
        return receiver == other.receiver && gsi.equals(other.gsi);
    }

    /** Records the level of a pin. {@link #drive} must follow. */
    synchronized void set(Object pin, boolean isHigh) {
        if (isHigh) {
            high.add(pin);
        } else {
            high.remove(pin);
        }
    }

    /** The level to drive now. Empty if the wire has it, or if a thread in the driver will drive it. */
    private synchronized Optional<Boolean> begin() {
        boolean level = !high.isEmpty();
        if (calls > 0 ? level || !driven : known && driven == level) {
            return Optional.empty();
        }
        known = calls == 0;
        driven = level;
        calls++;
        return Optional.of(level);
    }

    private synchronized void end() {
        calls--;
    }

    private synchronized void forget() {
        known = false;
    }

    /** Drives the wire as recorded. If the driver throws, the next change tries again. */
    void drive() {
        @Nullable Throwable failure = null;
        for (Optional<Boolean> level = begin(); level.isPresent(); level = begin()) {
            try {
                driver.accept(level.get());
            } catch (RuntimeException | Error e) {
                failure = e;
            } finally {
                end();
            }
        }
        if (failure != null) {
            forget();
            if (failure instanceof Error error) {
                throw error;
            }
            throw (RuntimeException) Objects.requireNonNull(failure);
        }
    }
}
