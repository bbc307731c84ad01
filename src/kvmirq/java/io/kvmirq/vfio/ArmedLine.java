/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.vfio;

import io.kvmirq.IrqKind;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import io.kvmirq.uapi.UapiVfio;
import io.kvmirq.undo.Undo;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * An armed INTx, or a platform device's armed interrupt. The kernel masks a level-triggered line at each signal. Once
 * the guest has served the device, unmask the line with {@link #unmask} or through an eventfd, such as an irqfd's
 * resample eventfd. If the device still asserts the line, unmasking signals the eventfd again. Thread-safe.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="line"}
 */
public final class ArmedLine extends ArmedIrq {
    private static final int MASK = UapiVfio.VFIO_IRQ_SET_ACTION_MASK;
    private static final int UNMASK = UapiVfio.VFIO_IRQ_SET_ACTION_UNMASK;

    /** The eventfds that act on the line, by action. */
    private final Map<Integer, Fd> acting = new TreeMap<>();

    private ArmedLine(Interrupts irqs, int index) {
        super(irqs, index);
    }

    static ArmedLine arm(Interrupts irqs, int index, EventFd event) {
        ArmedLine armed = new ArmedLine(irqs, index);
        try (Undo undo = new Undo()) {
            armed.enable(0, event);
            undo.add(armed);
            if (armed.info().kind() == IrqKind.PLATFORM && armed.info().maskable()) {
                armed.act(UNMASK); // a mask persists when the interrupt is disabled
            }
            undo.keep();
        }
        return armed;
    }

    private void requireMaskable() {
        if (!info().maskable()) {
            throw new UnsupportedOperationException(
                    this + " cannot be masked, because it is edge-triggered: mask by deassigning its irqfd");
        }
    }

    /** Masks the line, so that the kernel does not signal the eventfd until the line is unmasked. Idempotent. */
    public void mask() {
        requireMaskable();
        act(MASK);
    }

    /** Calls {@link #mask} if {@code on} is true. */
    public void maskIf(boolean on) {
        requireMaskable();
        act(MASK, on);
    }

    /** Unmasks the line. An asserted line signals at once. Throws IllegalStateException after {@link #unwire}. */
    public void unmask() {
        requireMaskable();
        synchronized (irqs()) {
            requireEvent();
            act(UNMASK);
        }
    }

    /** Calls {@link #unmask} if {@code on} is true. */
    public void unmaskIf(boolean on) {
        requireMaskable();
        synchronized (irqs()) {
            requireEvent();
            act(UNMASK, on);
        }
    }

    /**
     * Makes the kernel unmask the line at each signal of {@code event}, and at once if its count is not 0. {@code
     * event} replaces the former unmask eventfd. If the former eventfd is signalled during this call, the line is
     * unmasked. This object keeps {@code event} open, because the line could otherwise stay masked once the file is
     * closed.
     *
     * @throws io.kvmirq.KernelException EBUSY if another program has set an unmask eventfd; EINVAL if {@code event} was
     *     adopted and is not an eventfd. After an error, the former eventfd unmasks the line
     * @throws IllegalStateException after {@link #unwire}, or if the kernel refuses both {@code event} and the former
     *     eventfd, so that no eventfd unmasks the line
     * @throws IllegalArgumentException if {@code event} is the eventfd that the line signals
     */
    public void unmaskBy(EventFd event) {
        Objects.requireNonNull(event, "event is null");
        actBy(UNMASK, event);
    }

    /** Detaches the eventfd that {@link #unmaskBy} attached. */
    public void stopUnmaskBy() {
        stopActing(UNMASK);
    }

    /**
     * Makes the kernel mask the line at each signal of {@code event}. Works only for platform devices.
     *
     * @throws io.kvmirq.KernelException as {@link #unmaskBy}
     * @throws UnsupportedOperationException for a PCI device's INTx
     */
    public void maskBy(EventFd event) {
        Objects.requireNonNull(event, "event is null");
        requireMaskableByEventFd();
        actBy(MASK, event);
    }

    /** Detaches the eventfd that {@link #maskBy} attached. */
    public void stopMaskBy() {
        requireMaskableByEventFd();
        stopActing(MASK);
    }

    private void requireMaskableByEventFd() {
        if (info().kind() != IrqKind.PLATFORM) {
            throw new UnsupportedOperationException(
                    this + " cannot be masked by an eventfd, only unmasked: call mask()");
        }
    }

    /** Replaces an eventfd in two calls, because the kernel does not replace it in one. */
    private void actBy(int action, EventFd event) {
        requireMaskable();
        synchronized (irqs()) {
            requireEvent();
            try (Undo undo = new Undo()) {
                Fd next = event.fd();
                undo.step(() -> irqs().calls().hold(event), () -> irqs().calls().letGo(next));
                requireApart(event, numbers(0, 1)[0]);
                @Nullable Fd before = acting.get(action);
                if (before != null) {
                    check(irqs().actBy(action, index(), DeviceCalls.NO_EVENTFD), action, 0, 1);
                }
                int result = irqs().actBy(action, index(), irqs().calls().numberOf(next));
                if (result != 0) {
                    RuntimeException cause = refused(result, action, 0, 1);
                    if (before != null
                            && irqs().actBy(action, index(), irqs().calls().numberOf(before)) != 0) {
                        throw lost(action, "the former eventfd could not be set again either", cause);
                    }
                    throw cause;
                }
                acting.put(action, next);
                undo.keep();
                if (before != null) {
                    boolean missed = true;
                    try {
                        missed = irqs().calls().isSignalled(before);
                    } finally {
                        irqs().calls().letGo(before);
                        if (missed) {
                            act(action);
                        }
                    }
                }
            }
        }
    }

    private RuntimeException lost(int action, String why, RuntimeException cause) {
        irqs().calls().letGo(acting.remove(action));
        String does = action == MASK ? "masks" : "unmasks";
        return new IllegalStateException(
                cause.getMessage() + "; " + why + ": no eventfd " + does + " the line now", cause);
    }

    private void requireApart(EventFd event, int other) {
        Fd asked = irqs().calls().hold(event);
        try {
            if (irqs().calls().numberOf(asked) == other) {
                throw new IllegalArgumentException("eventfd " + other + " cannot be both the trigger of " + this
                        + " and its mask or unmask eventfd: each signal would raise the next one forever; use two"
                        + " eventfds");
            }
        } finally {
            irqs().calls().letGo(asked);
        }
    }

    @Override
    void requireApart(EventFd event) {
        acting.values().forEach(file -> requireApart(event, irqs().calls().numberOf(file)));
    }

    @Override
    void suspend() {
        acting.keySet().forEach(action -> irqs().actBy(action, index(), DeviceCalls.NO_EVENTFD));
    }

    @Override
    void resume() {
        for (Map.Entry<Integer, Fd> entry : List.copyOf(acting.entrySet())) {
            int action = entry.getKey();
            int result = irqs().actBy(action, index(), irqs().calls().numberOf(entry.getValue()));
            if (result != 0) {
                throw lost(action, "the line has its eventfd", refused(result, action, 0, 1));
            }
        }
        if (info().maskable()) {
            act(UNMASK);
        }
    }

    private void stopActing(int action) {
        requireMaskable();
        synchronized (irqs()) {
            requireOpen();
            check(irqs().actBy(action, index(), DeviceCalls.NO_EVENTFD), action, 0, 1);
            irqs().calls().letGo(acting.remove(action));
        }
    }

    @Override
    void disarming() {
        suspend();
        acting.values().forEach(irqs().calls()::letGo);
        acting.clear();
    }
}
