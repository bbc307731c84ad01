/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.IrqKind;
import io.kvmirq.KernelException;
import io.kvmirq.MsiMessage;
import io.kvmirq.NotPromised;
import io.kvmirq.arch.intx.DirectEoiDecision;
import io.kvmirq.arch.intx.DirectEoiPolicy;
import io.kvmirq.arch.intx.NotDirect;
import io.kvmirq.events.Events;
import io.kvmirq.host.PostingFacts;
import io.kvmirq.kernel.ClosedHandleException;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.VmListener;
import io.kvmirq.mirror.DeliveryPath;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.DeviceIrq;
import io.kvmirq.vfio.LineIrq;
import io.kvmirq.vfio.MessageIrq;
import io.kvmirq.vfio.MessageIrqs;
import io.kvmirq.vfio.VfioDevice;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.function.IntFunction;
import java.util.stream.Collectors;

/**
 * Forwards one device's interrupts to one guest. Thread-safe.
 *
 * <pre>{@code
 * try (VfioDevice nic = VfioDevice.open(kernel, PciAddress.parse("0000:3b:00.0"), kvmVfio);
 *         Forwarding forwarding = Forwarding.create(vm, nic)) {
 *     List<ForwardedIrq> irqs = forwarding.forwardAll(
 *             nic.msix(0, 64), i -> MsiMessage.to(new VcpuId(i % 4), new InterruptVector(0x30 + i)));
 * }
 * }</pre>
 *
 * <p>A method for several interrupts makes as few KVM_SET_GSI_ROUTING and VFIO_DEVICE_SET_IRQS calls as possible,
 * usually one each, and none if nothing changes. No interrupt is lost, because routes are set up first, then irqfds,
 * then the device's eventfds, and torn down in reverse order. A method that fails changes nothing, except that {@code
 * takeOver} cannot restore replaced eventfds. {@code close} never fails, even after the VM or the device was closed.
 *
 * <p>One lock guards set-up and tear-down, another the delivery of all interrupts. The set-up lock is taken first.
 *
 * {@snippet class="io.kvmirq.snippets.ForwardSnippetsTest" region="forwarding"}
 */
public final class Forwarding implements AutoCloseable {
    private final Vm vm;
    private final VfioDevice device;
    private final Mirror mirror;
    private final Optional<Userspace> userspace;
    private final ForwardingSetup setUp;

    private final Object delivery = new Object();
    private final ForwardedChange change = new ForwardedChange(this);

    private boolean closed;

    private final VmListener vmListener;
    private final Runnable closeListener = this::deviceClosed;

    private Forwarding(Builder builder) {
        this.vm = builder.vm;
        this.device = builder.device;
        this.mirror = builder.mirror.orElseGet(() -> Mirror.create(host()));
        this.userspace = builder.userspace;
        this.setUp = new ForwardingSetup(this);
        this.vmListener = new MirrorListener(mirror);
        if (vm.kernel() != device.fd().kernel()) {
            throw new IllegalArgumentException(
                    vm + " and " + device.name() + " belong to two kernels: open both from one Kernel");
        }
        new ForwardCalls(vm.kernel()).warnOf(warnings());
        try (Undo undo = new Undo()) {
            undo.add(() -> vm.listeners().remove(vmListener));
            vm.listeners().add(vmListener);
            device.addCloseListener(closeListener);
            undo.keep();
        }
    }

    private MirrorHost host() {
        return new PostingFacts(new ForwardCalls(vm.kernel()).hostFiles()).forMirror(vm.isArm64());
    }

    /**
     * Creates a device's forwarding to a VM. No interrupt is forwarded yet.
     *
     * @throws IllegalArgumentException if the VM and the device belong to different {@code Kernel}s
     */
    public static Forwarding create(Vm vm, VfioDevice device) {
        return builder(vm, device).build();
    }

    /** Returns a builder for a forwarding with another mirror, or with a {@link Userspace}. */
    public static Builder builder(Vm vm, VfioDevice device) {
        Objects.requireNonNull(device, "device is null");
        Objects.requireNonNull(vm, "vm is null");
        return new Builder(vm, device);
    }

    /** Builds a forwarding with options. */
    public static final class Builder {
        private final Vm vm;
        private final VfioDevice device;
        private Optional<Mirror> mirror = Optional.empty();
        private Optional<Userspace> userspace = Optional.empty();

        private Builder(Vm vm, VfioDevice device) {
            this.vm = vm;
            this.device = device;
        }

        /**
         * Sets the mirror that predicts how interrupts are delivered. The forwarding reports its steps and the VM's
         * vCPU events to it. Use one mirror for all of a VM's devices. By default, the forwarding creates its own,
         * which reads host files. For vCPUs that this process did not create, report the events to the mirror yourself.
         */
        public Builder mirror(Mirror mirror) {
            Objects.requireNonNull(mirror, "mirror is null");
            this.mirror = Optional.of(mirror);
            return this;
        }

        /**
         * Makes {@code relay} inject the interrupts for which KVM does not accept an irqfd: all interrupts of an x86 VM
         * without an in-kernel irqchip, and lines with a split irqchip. {@link ForwardedIrq#moveTo} can move other
         * interrupts too. A line can interrupt, and the guest can send its EOI, before {@link Forwarding#forward}
         * returns. Report this EOI afterwards. Throws IllegalArgumentException for another VM's injector.
         */
        public Builder userspace(Userspace relay) {
            Objects.requireNonNull(relay, "relay is null").injector().requireOf(vm, List.of());
            userspace = Optional.of(relay);
            return this;
        }

        /** @throws IllegalArgumentException if the VM and the device belong to different {@code Kernel}s */
        public Forwarding build() {
            return new Forwarding(this);
        }
    }

    /** @throws IllegalStateException if the builder has no {@link Userspace} */
    Userspace userspace(DeviceIrq irq) {
        return userspace.orElseThrow(() -> new IllegalStateException(irq
                + " cannot be relayed by this process: pass a Userspace to Forwarding.builder(vm, device).userspace"));
    }

    Optional<Userspace> userspace() {
        return userspace;
    }

    /** The lock that guards how each interrupt is delivered. This object's monitor is taken first. */
    Object delivery() {
        return delivery;
    }

    ForwardedChange change() {
        return change;
    }

    /** The VM that gets the interrupts. */
    public Vm vm() {
        return vm;
    }

    /** The device whose interrupts are forwarded. */
    public VfioDevice device() {
        return device;
    }

    /** The mirror that predicts how the interrupts of this forwarding are delivered. */
    public Mirror mirror() {
        return mirror;
    }

    /** Set-up defects that do not stop interrupts, one sentence each. They are also logged. */
    public List<String> warnings() {
        if (device.isHeld() || device.access() == VfioDevice.Access.ADOPTED) {
            return List.of();
        }
        return List.of("KVM was not given the file of " + device.name() + " before it opened: its interrupts work;"
                + " mediated devices and non-coherent DMA need VfioDevice.open(kernel, name, kvmVfio)");
    }

    // Forward

    /**
     * Forwards an MSI or MSI-X vector to a new GSI, which is routed to {@code message}.
     *
     * @throws RuntimeException as {@link #forwardAll}
     */
    public ForwardedIrq forward(MessageIrq irq, MsiMessage message) {
        Objects.requireNonNull(message, "message is null");
        return forwardAll(Objects.requireNonNull(irq, "irq is null").alone(), i -> message)
                .get(0);
    }

    /**
     * Forwards an MSI or MSI-X vector to a GSI of the caller's choice. If the GSI is already routed to {@code message},
     * the forwarding uses this route, and leaves it in place when it ends.
     *
     * @throws IllegalArgumentException if the GSI has another route or an irqfd
     * @throws RuntimeException as {@link #forwardAll}
     */
    public ForwardedIrq forward(MessageIrq irq, Gsi gsi, MsiMessage message) {
        Objects.requireNonNull(gsi, "gsi is null");
        Objects.requireNonNull(message, "message is null");
        return forward(new ForwardingSetup.Batch(
                        Objects.requireNonNull(irq, "irq is null").alone(),
                        i -> message,
                        Optional.of(List.of(gsi)),
                        Optional.empty(),
                        false,
                        false))
                .get(0);
    }

    /**
     * Forwards MSI or MSI-X vectors, each to a new GSI, with one KVM_SET_GSI_ROUTING and one VFIO_DEVICE_SET_IRQS.
     *
     * <p>Linux before 6.5, and any Linux for MSI or behind an arm64 ITS, cannot add vectors while others are enabled
     * ({@link io.kvmirq.vfio.IrqInfo#noResize}), so the first {@code forwardAll} enables all MSI-X vectors. For MSI, or
     * if the host has too few vectors, a later {@code forwardAll} disables the enabled vectors, enables more, and then
     * signals each former vector once, because interrupts may have been lost.
     *
     * @param messages returns the MSI message for position 0, 1, … of {@code which}. It is called first, without a lock
     * @throws KernelException EINVAL if a vector is already forwarded, or if there is neither an in-kernel irqchip nor
     *     a {@link Userspace}; EBUSY if another program or the user armed the device's interrupts, unless {@link
     *     #takeOver} is used; EMFILE if there are too few descriptors; other errnos if a kernel call fails
     * @throws io.kvmirq.kvm.RoutesExhaustedException if the VM has too few GSIs or routes left
     * @throws io.kvmirq.vfio.VectorsExhaustedException if the host has too few vectors. The exception contains the
     *     number left
     * @throws io.kvmirq.vfio.VectorsDisturbedException if a failed call briefly disabled other vectors
     * @throws IllegalStateException if the kernel cannot add vectors to those of another {@code Forwarding}, or after
     *     {@link #close}
     */
    public List<ForwardedIrq> forwardAll(MessageIrqs which, IntFunction<MsiMessage> messages) {
        Objects.requireNonNull(which, "which is null");
        Objects.requireNonNull(messages, "messages is null");
        return forward(new ForwardingSetup.Batch(which, messages, Optional.empty(), Optional.empty(), false, false));
    }

    /**
     * Forwards vectors masked, as a guest's MSI-X vectors initially are. Signals wait in the eventfds until {@link
     * ForwardedIrq#unmask}, which also assigns the irqfds. Otherwise like {@link #forwardAll}.
     */
    public List<ForwardedIrq> forwardMasked(MessageIrqs which, IntFunction<MsiMessage> messages) {
        Objects.requireNonNull(which, "which is null");
        Objects.requireNonNull(messages, "messages is null");
        return forward(new ForwardingSetup.Batch(which, messages, Optional.empty(), Optional.empty(), false, true));
    }

    /**
     * Forwards vectors that another program, or the device's user, has already armed. One call replaces their eventfds,
     * which are not restored when the forwarding ends. During the replacement, an MSI-X message stays pending in the
     * device, but an MSI message can be lost. Signals in the former eventfds stay there. Close your armed vectors only
     * after the forwarding has ended, because closing them disables all vectors. If you know the eventfds, use {@link
     * #takeOver(MessageIrqs,List,IntFunction)}, which loses no message. Otherwise like {@link #forwardAll}.
     */
    public List<ForwardedIrq> takeOver(MessageIrqs which, IntFunction<MsiMessage> messages) {
        Objects.requireNonNull(which, "which is null");
        Objects.requireNonNull(messages, "messages is null");
        return forward(new ForwardingSetup.Batch(which, messages, Optional.empty(), Optional.empty(), true, false));
    }

    /**
     * Forwards vectors through the eventfds that they already signal. VFIO is not called, so no signal is lost, and
     * pending signals are delivered. When the forwarding ends, the vectors stay armed for their owner to disarm. The
     * forwarding then signals the eventfd of each interrupt that may be pending as a vLPI. Otherwise like {@link
     * #forwardAll}.
     *
     * @param wired each vector's eventfd. It is not checked, so a wrong eventfd raises the wrong interrupt
     */
    public List<ForwardedIrq> takeOver(MessageIrqs which, List<EventFd> wired, IntFunction<MsiMessage> messages) {
        Objects.requireNonNull(which, "which is null");
        Objects.requireNonNull(messages, "messages is null");
        if (Objects.requireNonNull(wired, "wired is null").size() != which.size()) {
            throw new IllegalArgumentException(
                    wired.size() + " eventfds for " + which.size() + " vectors: expected one for each");
        }
        return forward(new ForwardingSetup.Batch(which, messages, Optional.empty(), Optional.of(wired), true, false));
    }

    private List<ForwardedIrq> forward(ForwardingSetup.Batch batch) {
        MsiMessage[] each = new MsiMessage[batch.which().size()];
        for (int i = 0; i < each.length; i++) {
            each[i] = ForwardedChange.message(batch.messages(), i);
        }
        try {
            List<ForwardedIrq> forwarded;
            synchronized (this) {
                requireOpen();
                forwarded = setUp.vectors(batch, List.of(each));
            }
            return started(forwarded);
        } catch (RuntimeException e) {
            throw refused(each.length, e);
        }
    }

    private RuntimeException refused(int interrupts, RuntimeException reason) {
        Object event = Events.begin(Events.Type.FORWARDING_REFUSED);
        if (event != null) {
            long vmNumber = ForwardCalls.number(vm.fd());
            String errno =
                    reason instanceof KernelException failed ? failed.errno().toString() : "";
            String why = String.valueOf(reason.getMessage());
            Events.end(event, vmNumber, device.name().toString(), (long) interrupts, errno, why);
        }
        return reason;
    }

    /** Starts relays. Called without a lock, because if one fails to start, the others' running injections must end. */
    private List<ForwardedIrq> started(List<ForwardedIrq> forwarded) {
        boolean all = false;
        try {
            forwarded.forEach(ForwardedIrq::start);
            all = true;
        } finally {
            if (!all) {
                unforward(forwarded);
            }
        }
        forwarded.forEach(irq -> irq.record(Events.Type.FORWARDING_BEGUN));
        return forwarded;
    }

    /**
     * Forwards a device's line to a GSI that is routed to an irqchip pin. Each interrupt masks a level-triggered line
     * until the guest's EOI. A platform device's edge-triggered line is not masked.
     *
     * @throws KernelException EINVAL if the line is already forwarded, or if there is neither a full in-kernel irqchip
     *     nor a {@link Userspace}; EBUSY if another program or the user armed the line, or VFIO cannot share the host
     *     irq with another driver
     * @throws IllegalStateException while the device's messages are forwarded, or after {@link #close}
     */
    public ForwardedIrq forward(LineIrq irq, Gsi gsi) {
        return forward(irq, gsi, false, Optional.empty());
    }

    /**
     * Forwards a line that another program, or the device's user, has already armed. Its eventfd and unmask eventfd are
     * replaced, and are not restored when the forwarding ends. No interrupt is lost, because the device keeps the line
     * asserted. Otherwise like {@link #forward(LineIrq,Gsi)}.
     */
    public ForwardedIrq takeOver(LineIrq irq, Gsi gsi) {
        return forward(irq, gsi, true, Optional.empty());
    }

    /**
     * Forwards a line with direct EOI: the guest's EOI ends the host interrupt, and the host does not mask the line.
     * This needs a kernel with the ABI of 2014, as the caller asserts by passing {@code abi}, and a platform where an
     * unmasked line harms no other device.
     *
     * @param policy facts about the line that no kernel call returns: its other handlers, whether it is shareable, and
     *     the administrator's assertion. The library fills in the device kind, the trigger mode, and whether the EOI
     *     deactivates the physical interrupt
     * @return the line, whose {@link ForwardedIrq#directEoi} returns the decision and its conflicts
     * @throws IllegalStateException if the policy refuses direct EOI. The message lists the reasons
     * @throws KernelException ENXIO without the ABI of 2014, other errnos as for {@link #forward(LineIrq,Gsi)}
     */
    @NotPromised
    public ForwardedIrq forwardDirect(LineIrq irq, Gsi gsi, Abi2014 abi, DirectEoiPolicy policy) {
        DirectEoiDecision decision = policyOf(irq, policy).decide();
        if (decision instanceof DirectEoiDecision.Refused refused) {
            throw refused(
                    1,
                    new IllegalStateException(irq + " cannot have direct EOI: "
                            + refused.reasons().stream().map(NotDirect::text).collect(Collectors.joining("; "))
                            + ". Use forward, which masks the line until the guest's EOI"));
        }
        return forward(irq, gsi, false, Optional.of(new DirectEoi(abi, decision)));
    }

    private DirectEoiPolicy policyOf(LineIrq irq, DirectEoiPolicy given) {
        DirectEoiPolicy policy = irq.info().kind() == IrqKind.PLATFORM
                ? given.ofPlatformDevice(irq.info().automasked())
                : given.ofPciDevice();
        return policy.withDeactivatingEoi(vm.isArm64());
    }

    private ForwardedIrq forward(LineIrq irq, Gsi gsi, boolean takesOver, Optional<DirectEoi> direct) {
        Objects.requireNonNull(gsi, "gsi is null");
        userspace.ifPresent(relay -> relay.injector().requireOf(vm, List.of(gsi)));
        try {
            ForwardedIrq line;
            synchronized (this) {
                requireOpen();
                line = setUp.line(Objects.requireNonNull(irq, "irq is null"), gsi, takesOver, direct);
            }
            return started(List.of(line)).get(0);
        } catch (RuntimeException e) {
            throw refused(1, e);
        }
    }

    private void requireOpen() {
        if (closed) {
            throw new ClosedHandleException("the forwarding of " + device.name());
        }
    }

    // Change

    /**
     * Masks several interrupts, each like {@link ForwardedIrq#mask}.
     *
     * @param which the interrupts to mask, all from this forwarding, each once
     * @throws KernelException as {@link ForwardedIrq#mask}. No mask is changed then
     * @throws io.kvmirq.kernel.ClosedHandleException if an interrupt is closed. No mask is changed then
     */
    public void mask(List<? extends ForwardedIrq> which) {
        change.mask(which);
    }

    /**
     * Unmasks several interrupts, each like {@link ForwardedIrq#unmask}. If one cannot be unmasked, all that were
     * masked stay masked.
     *
     * @param which the interrupts to unmask, all from this forwarding, each once
     * @throws KernelException as {@link ForwardedIrq#unmask}
     * @throws io.kvmirq.kernel.ClosedHandleException if an interrupt is closed. No interrupt is unmasked then
     */
    public void unmask(List<? extends ForwardedIrq> which) {
        change.unmask(which);
    }

    /**
     * Reroutes several vectors, each like {@link ForwardedIrq#reroute}, with at most one KVM_SET_GSI_ROUTING.
     *
     * @param which the interrupts to reroute, all from this forwarding, each once
     * @param messages returns the MSI message for position 0, 1, … of {@code which}. It is called before any change,
     *     without a lock
     * @throws UnsupportedOperationException if an interrupt is a line
     * @throws KernelException EINVAL if KVM refuses a message. All interrupts then keep their old messages
     * @throws io.kvmirq.kernel.ClosedHandleException if an interrupt is closed. No interrupt is changed then
     */
    public void reroute(List<? extends ForwardedIrq> which, IntFunction<MsiMessage> messages) {
        Objects.requireNonNull(messages, "messages is null");
        change.reroute(which, messages);
    }

    // Look

    /** The interrupts that are forwarded now, sorted by {@link DeviceIrq#number}. */
    public List<ForwardedIrq> irqs() {
        return setUp.irqs();
    }

    /** Called after VFIO has disarmed all of the closed device's interrupts. */
    private void deviceClosed() {
        mirror.apply(irqs().stream()
                .map(irq -> new Event.DeliveryChanged(irq.event().id(), DeliveryPath.CLOSED))
                .toList());
    }

    // End

    /**
     * Ends the forwarding of several interrupts, each like {@link ForwardedIrq#close}, with one KVM_SET_GSI_ROUTING,
     * and one VFIO_DEVICE_SET_IRQS for each range of consecutive numbers. Idempotent, never fails.
     *
     * @param which the interrupts to end, all from this forwarding, each once
     */
    public void close(List<? extends ForwardedIrq> which) {
        change.requireOurs(which);
        unforward(which);
    }

    /**
     * Ends interrupts, starting at the device and ending with the routes. Relays are closed without the lock, because
     * an injector may wait for a thread that waits for the lock. Until then, the interrupts cannot be forwarded again.
     */
    void unforward(List<? extends ForwardedIrq> ended) {
        synchronized (this) {
            ended.forEach(ForwardedIrq::end);
            setUp.tearDown(ended.stream().filter(irq -> !irq.isTornDown()).toList());
        }
        ended.forEach(ForwardedIrq::closeRelay);
        synchronized (this) {
            ended.forEach(setUp::forget);
        }
    }

    /**
     * Ends the forwarding of all interrupts. All vectors together need one VFIO_DEVICE_SET_IRQS and one
     * KVM_SET_GSI_ROUTING. Idempotent, never fails.
     */
    @Override
    public void close() {
        synchronized (this) {
            closed = true;
        }
        unforward(setUp.irqs());
        vm.listeners().remove(vmListener);
        device.removeCloseListener(closeListener);
    }

    @Override
    public String toString() {
        return "forwarding of " + device.name() + " to " + vm;
    }
}
