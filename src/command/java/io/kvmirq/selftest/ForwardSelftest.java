/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.selftest;

import io.kvmirq.IrqKind;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.forward.Abi2014;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.KvmDevice;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.IrqInfo;
import io.kvmirq.vfio.MessageIrq;
import io.kvmirq.vfio.MessageIrqs;
import io.kvmirq.vfio.VfioDevice;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.IntFunction;
import java.util.function.Supplier;

/**
 * Forwards a device's interrupts into a throwaway VM, triggers each by VFIO's loopback, and closes everything. The
 * device itself raises none, and no memory of this machine is mapped for it. One thread calls {@link #run}, once. Any
 * thread may call {@link #stop}, for example a shutdown hook.
 */
public final class ForwardSelftest {
    /** The reason why a host cannot run it. */
    public static final String NO_GICV3 =
            "KVM on this host does not support a guest GICv3, and a GICv2 has no ITS, which device messages need; the"
                    + " test needs a host with a GICv3, even for INTx";

    /** Receives each step as it happens, on the thread that runs the test. */
    public interface Listener {
        /** The device is open, and interrupts will be forwarded. */
        default void begin(ForwardPlan plan) {}

        /** An interrupt was triggered, and arrived or was lost. */
        default void answered(ForwardAnswer answer) {}
    }

    /**
     * The interrupts to forward.
     *
     * @param kind INTx, MSI or MSI-X; if empty, the last of these that the device has
     * @param first the first vector
     * @param count how many vectors; if empty, all that follow
     */
    public record Choice(Optional<IrqKind> kind, int first, Optional<Integer> count) {
        /** All vectors of the best kind. */
        public static final Choice ALL = new Choice(Optional.empty(), 0, Optional.empty());
    }

    private static final List<IrqKind> BEST_FIRST = List.of(IrqKind.MSIX, IrqKind.MSI, IrqKind.INTX);
    /** After this many failures the rest is skipped, because each failure takes the whole time limit. */
    private static final int MOST_LOST = 4;

    private static final String STOPPED = "the self-test was stopped";
    private static final long PATIENCE_SECONDS = 20;

    private final Kernel kernel;
    private final PciAddress address;
    private final Supplier<Mirror> mirror;
    private final Choice choice;
    private final Listener journal;
    private final Patience patience;
    private final CountDownLatch ended = new CountDownLatch(1);
    private final List<ForwardAnswer> answers = new ArrayList<>();
    private boolean begun;
    private volatile boolean stopped;

    /** @param mirror of the host, to predict what its hardware does; asked when the VM exists, of which it is told */
    public ForwardSelftest(
            Kernel kernel, PciAddress address, Supplier<Mirror> mirror, Choice choice, Listener journal) {
        this(kernel, address, mirror, choice, journal, Patience.USUAL.time());
    }

    ForwardSelftest(
            Kernel kernel,
            PciAddress address,
            Supplier<Mirror> mirror,
            Choice choice,
            Listener journal,
            Duration patience) {
        this.kernel = kernel;
        this.address = address;
        this.mirror = mirror;
        this.choice = choice;
        this.journal = journal;
        this.patience = new Patience(patience, () -> stopped);
    }

    /**
     * Runs the test. The device is opened, which resets it.
     *
     * @throws KernelException if the kernel gives no VM or not the device; nothing is left open
     * @throws IllegalArgumentException if the device does not have the interrupts that were chosen
     * @throws UnsupportedOperationException if this kernel's VMs cannot take them
     * @throws IllegalStateException after {@link #stop}
     * @throws CouldNotRunException if a limit of this process ended it, or a failure of Java
     */
    public ForwardResult run() {
        kernel.device();
        List<String> before = kernel.openHandles();
        Optional<String> failure = Optional.empty();
        ForwardPlan plan;
        try (Undo undo = new Undo()) {
            undo.add(ended::countDown);
            ForwardTarget target = undo.add(ForwardTarget.create(kernel, mirror, patience));
            begin();
            Optional<KvmVfio> kvmVfio = target.vm().supports(KvmDevice.Type.VFIO)
                    ? Optional.of(undo.add(KvmVfio.create(target.vm())))
                    : Optional.empty();
            // KVM gets the device's file first, where it takes it.
            VfioDevice device = undo.add(
                    kvmVfio.isPresent()
                            ? VfioDevice.open(kernel, address, kvmVfio.get())
                            : VfioDevice.open(kernel, address));
            plan = plan(device, target, kvmVfio.map(Abi2014::probe));
            journal.begin(plan);
            try {
                target.start();
                if (plan.kind() == IrqKind.INTX) {
                    forwardLine(device, target);
                } else {
                    forwardMessages(device, target, plan);
                }
            } catch (RuntimeException | Error e) {
                failure = Optional.of(SelftestFailure.failure(e));
            }
        }
        List<String> left = new ArrayList<>(kernel.openHandles());
        before.forEach(left::remove);
        return new ForwardResult(plan, answers, failure, left);
    }

    private synchronized void begin() {
        begun = true;
        if (stopped) {
            throw new IllegalStateException(STOPPED);
        }
    }

    private void requireGoing() {
        if (stopped) {
            throw new SelftestFailedException(STOPPED);
        }
    }

    private ForwardPlan plan(VfioDevice device, ForwardTarget target, Optional<Abi2014.Probe> abi2014) {
        List<IrqInfo> irqs = device.info().irqs();
        IrqKind kind = choice.kind().orElseGet(() -> BEST_FIRST.stream()
                .filter(candidate -> count(irqs, candidate) > 0)
                .findFirst()
                .orElseThrow(() ->
                        new IllegalArgumentException(address + " has no interrupts: neither MSI-X, MSI nor INTx")));
        int inDevice = count(irqs, kind);
        int count = choice.count().orElse(inDevice - choice.first());
        if (kind == IrqKind.INTX) {
            device.intx();
        } else {
            vectors(device, kind, choice.first(), count);
        }
        return new ForwardPlan(
                address.toString(),
                kind,
                choice.first(),
                count,
                inDevice,
                ForwardTarget.AT_ONCE,
                target.runsGuest(),
                abi2014);
    }

    private static int count(List<IrqInfo> irqs, IrqKind kind) {
        return irqs.stream()
                .filter(irq -> irq.kind() == kind)
                .mapToInt(IrqInfo::count)
                .sum();
    }

    private static MessageIrqs vectors(VfioDevice device, IrqKind kind, int first, int count) {
        return kind == IrqKind.MSIX ? device.msix(first, count) : device.msi(first, count);
    }

    private static Forwarding forwarding(ForwardTarget target, VfioDevice device) {
        return Forwarding.builder(target.vm(), device).mirror(target.mirror()).build();
    }

    private void forwardMessages(VfioDevice device, ForwardTarget target, ForwardPlan plan) {
        int end = plan.first() + plan.count();
        for (int first = plan.first(); first < end; first += plan.atOnce()) {
            MessageIrqs round = vectors(device, plan.kind(), first, Math.min(plan.atOnce(), end - first));
            if (target.runsGuest()) {
                forward(round, target, irq -> note(irq, target.name(irq.irq().number()), arrivals(irq, target)));
            } else {
                List<Long> seen = new ArrayList<>();
                forward(round, target, irq -> {
                    boolean hopeless = Collections.frequency(seen, 0L) >= MOST_LOST;
                    seen.add(hopeless ? 0 : arrivals(irq, target));
                });
                forward(round, target, irq -> note(irq, target.name(irq.irq().number()), seen.remove(0)));
            }
        }
    }

    private long arrivals(ForwardedIrq irq, ForwardTarget target) {
        requireGoing();
        int vector = irq.irq().number();
        return target.arrivals(vector, irq::trigger);
    }

    private void forward(MessageIrqs round, ForwardTarget target, Consumer<ForwardedIrq> use) {
        MessageIrq from = round.get(0);
        try (Undo undo = new Undo()) {
            // The host would allocate all vectors below those of the round, too, if the round enabled MSI-X.
            boolean grows = from.number() > 0 && !from.info().noResize();
            if (grows) {
                MessageIrqs lowest = vectors(from.device(), from.info().kind(), 0, 1);
                undo.add(lowest.armSome(List.of(Optional.empty())));
            }
            Forwarding forwarding = undo.add(forwarding(target, from.device()));
            IntFunction<MsiMessage> messages = i -> target.message(from.number() + i);
            (grows ? forwarding.takeOver(round, messages) : forwarding.forwardAll(round, messages)).forEach(use);
        }
    }

    private void forwardLine(VfioDevice device, ForwardTarget target) {
        try (Forwarding forwarding = forwarding(target, device)) {
            ForwardedIrq irq = forwarding.forward(device.intx(), target.line());
            long arrived = target.lineArrivals(irq::trigger);
            note(irq, target.lineName(), arrived);
            Scenarios.require(arrived <= 1, ForwardTarget.STAYED_HIGH);
        }
    }

    private void note(ForwardedIrq irq, String target, long arrived) {
        requireGoing();
        ForwardAnswer answer = new ForwardAnswer(
                irq.irq().info().kind(),
                irq.irq().number(),
                irq.event().toString(),
                irq.gsi(),
                target,
                arrived,
                irq.mechanism(),
                irq.predicted());
        answers.add(answer);
        journal.answered(answer);
        long lost = answers.stream().filter(result -> result.arrived() == 0).count();
        if (lost == MOST_LOST) {
            throw new SelftestFailedException(MOST_LOST + " vectors did not arrive, so the rest was not tried");
        }
    }

    /** Ends a running test, and returns when nothing of it is left in the kernel. */
    public void stop() {
        synchronized (this) {
            stopped = true;
            if (!begun) {
                return;
            }
        }
        try {
            ended.await(PATIENCE_SECONDS, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
