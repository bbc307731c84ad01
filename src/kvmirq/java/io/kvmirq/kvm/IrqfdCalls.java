/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import io.kvmirq.Gsi;
import io.kvmirq.KernelException;
import io.kvmirq.Route;
import io.kvmirq.Spi;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.explain.Fact;
import io.kvmirq.explain.KernelCall;
import io.kvmirq.kernel.Calls;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Fd;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * The calls for irqfds of one VM. They use held files, so an irqfd can be deassigned even if its handles were closed.
 */
final class IrqfdCalls extends Calls {
    private final VmCalls vm;

    /** Makes the count of a GSI's irqfds and the lowering of its line one step. */
    private final ReentrantLock lines = new ReentrantLock();

    IrqfdCalls(VmCalls vm) {
        super(vm.vm().kernel());
        this.vm = vm;
    }

    /** Keeps the VM and the files of an irqfd open: all, or none. */
    void hold(Fd event, @Nullable Fd resample) {
        @Nullable Fd first = null;
        @Nullable Fd second = null;
        boolean all = false;
        try {
            first = held(vm.vm());
            second = held(event);
            if (resample != null) {
                held(resample);
            }
            all = true;
        } finally {
            if (!all) {
                letGo(second);
                letGo(first);
            }
        }
    }

    void letGo(@Nullable Fd file) {
        if (file != null) {
            release(file);
        }
    }

    /** Whether releasing this hold closes the eventfd's file, which also ends the irqfd. */
    boolean isLastHold(EventFd event) {
        return holdsLastFile(event.fd());
    }

    /** @param resample null for an edge */
    void assign(EventFd event, @Nullable EventFd resample, Gsi gsi) {
        int raw = number(vm.vm());
        int result = resample == null
                ? backend().irqfdAssign(raw, number(event.fd()), gsi.number())
                : backend().irqfdAssignLevel(raw, number(event.fd()), number(resample.fd()), gsi.number());
        if (result < 0) {
            throw refused(result, event, resample, gsi);
        }
        feeds(event);
        VarHandle.fullFence();
        warnIfDispatched(event);
    }

    private KernelException refused(int result, EventFd event, @Nullable EventFd resample, Gsi gsi) {
        Fact trigger = resample == null ? Fact.EDGE : Fact.LEVEL;
        return failure(
                result,
                resample == null ? KernelCall.IRQFD : KernelCall.IRQFD_LEVEL,
                isAdopted(event) ? vm.known(trigger) : vm.known(trigger, Fact.OWN_EVENTFD),
                () -> "vm=" + number(vm.vm()) + " eventfd=" + number(event.fd())
                        + (resample == null ? "" : " resamplefd=" + number(resample.fd())) + " gsi=" + gsi.number());
    }

    // Mistakes that the kernel accepts

    static EventFd requireResample(EventFd resample, String other) {
        return Objects.requireNonNull(
                resample,
                () -> "resample is null: give the eventfd that is signalled at the guest's EOI, or use " + other
                        + " for an edge");
    }

    void warnOfNoRoute(RouteTable routes, List<Gsi> gsis) {
        if (vm.has(Fact.OWN)) {
            for (Gsi gsi : routes.unrouted(gsis)) {
                vm.warn(
                        "an irqfd of " + vm.vm() + " is on " + gsi,
                        ", which has no route, so that its signals are lost for ever: route the GSI first");
            }
        }
    }

    void warnOfMistakes(RouteTable routes, Gsi gsi, boolean level) {
        warnOfNoRoute(routes, List.of(gsi));
        if (level) {
            warnOfUnseenEnd(routes, gsi);
        } else {
            warnOfIllegalVector(routes, gsi);
        }
    }

    /** The message may be a guest's, so it is no error. */
    private void warnOfIllegalVector(RouteTable routes, Gsi gsi) {
        if (vm.has(Fact.SPLIT_IRQCHIP) || vm.has(Fact.FULL_IRQCHIP)) {
            for (Route route : routes.of(gsi)) {
                if (route instanceof Route.Msi msi && msi.message().hasIllegalVector()) {
                    vm.warn(
                            "an irqfd of " + vm.vm() + " is on " + gsi + ", which raises " + msi.message(),
                            ", whose vector is below 16: a LAPIC reports an error and delivers nothing; devices use"
                                    + " vectors 32 to 255");
                }
            }
        }
    }

    private void warnOfUnseenEnd(RouteTable routes, Gsi gsi) {
        if (routes.of(gsi).stream().anyMatch(Route.Msi.class::isInstance)) {
            vm.warn(
                    "a level irqfd of " + vm.vm() + " is on " + gsi,
                    ", which raises a message, whose end of interrupt KVM does not see, so that its resample eventfd is"
                            + " never signalled: route the GSI to a pin");
        }
    }

    // Many edges, by one call of the binding

    /** Memory for this many edges, at least one. */
    static ByteBuffer records(int count) {
        return Buffers.allocate(count * KernelBackend.IRQFD_SIZE);
    }

    static void put(ByteBuffer records, int i, EventFd event, Gsi gsi) {
        int at = i * KernelBackend.IRQFD_SIZE;
        records.putInt(at + KernelBackend.IRQFD_FD, number(event.fd()));
        records.putInt(at + KernelBackend.IRQFD_GSI, gsi.number());
    }

    /**
     * Returns the number of irqfds assigned before a refusal. The caller calls {@link #feeds} for each, then a full
     * fence.
     */
    int assign(ByteBuffer records, int count) {
        return backend().irqfdsAssign(number(vm.vm()), records, count);
    }

    static void feeds(EventFd event) {
        feedsIrqfd(event, true);
    }

    static void warnIfDispatched(EventFd event) {
        warnIfLoopsWait(event);
    }

    /** @param i the one that was refused, of this eventfd and GSI */
    KernelException refused(ByteBuffer records, int i, EventFd event, Gsi gsi) {
        return refused(records.getInt(i * KernelBackend.IRQFD_SIZE + KernelBackend.IRQFD_FD), event, null, gsi);
    }

    /**
     * Deassigns an irqfd. After the call no interrupt of it is in flight, and the kernel has finished every irqfd of
     * the host whose eventfd was closed before. The kernel accepts any open eventfd. In a process that did not make the
     * VM, the kernel returns EIO and the irqfd stays.
     *
     * @return less than 0 if the irqfd may still be there, for {@link #refusedDeassign}
     */
    int deassign(EventFd event, Gsi gsi) {
        int result = backend().irqfdDeassign(number(vm.vm()), number(event.fd()), gsi.number());
        if (result >= 0) {
            feedsIrqfd(event, false);
        }
        return result;
    }

    /**
     * Whether the line of a level irqfd is lowered before its deassign. On x86 irqfds drive a pin as a source of their
     * own, which no call lowers. An adopted VM may have irqfds that are not counted here.
     */
    boolean lowersLines() {
        return vm.has(Fact.OWN) && vm.isArm64();
    }

    /** Counts a level irqfd of the GSI before its assign, so that no other irqfd lowers the line that it raises. */
    void enterLine(RouteTable table, Gsi gsi) {
        lines.lock();
        try {
            table.live(gsi, 1);
        } finally {
            lines.unlock();
        }
    }

    /** Takes a level irqfd of the GSI from the count before its deassign. Returns whether the line was lowered. */
    boolean leaveLine(RouteTable table, Gsi gsi) {
        lines.lock();
        try {
            return table.live(gsi, -1) == 0 && lower(table, gsi);
        } finally {
            lines.unlock();
        }
    }

    /**
     * arm64: lowers the line of the last level irqfd of a GSI before its deassign. The kernel first removes its EOI
     * notifier, then waits for readers (SRCU), and lowers the line at the end. Until then the guest takes the interrupt
     * of a high line again and again, every 40 us in the lab.
     */
    private boolean lower(RouteTable table, Gsi gsi) {
        List<Route> routes = lowersLines() ? table.of(gsi) : List.of();
        return routes.size() == 1
                && routes.get(0) instanceof Route.Pin pin
                && backend().lineSet(number(vm.vm()), Arm64Vm.word(Spi.FIRST + pin.pin()), 0) >= 0;
    }

    KernelException refusedDeassign(int result, EventFd event, Gsi gsi) {
        return failure(
                result,
                KernelCall.IRQFD_DEASSIGN,
                isAdopted(event) ? vm.known() : vm.known(Fact.OWN_EVENTFD),
                () -> "vm=" + number(vm.vm()) + " eventfd=" + number(event.fd()) + " gsi=" + gsi.number());
    }

    /** Signals an eventfd whose handle may have been closed. */
    void signal(EventFd event) {
        backend().eventfdSignal(number(event.fd()), 1);
    }
}
