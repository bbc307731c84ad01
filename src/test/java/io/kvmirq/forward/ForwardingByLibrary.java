/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.VlpiKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kvm.Vm;
import io.kvmirq.mirror.Event;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.testing.GuestIts;
import io.kvmirq.testing.MessageGuest;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.MessageIrqs;
import io.kvmirq.vfio.VfioDevice;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/** The library's operations. */
final class ForwardingByLibrary implements Way {
    /** Whose triggers the device has. */
    enum Triggers implements LostSearch.Maker {
        /** Forwarding makes them. */
        OURS,
        /** The user has wired the device, and lends the eventfds. */
        LENT,
        /** The user has wired the device, and forwarding replaces his eventfds. */
        REPLACED;

        @Override
        public Way make(Vm vm, VfioDevice device, int vectors) {
            return knowing(Knowledge.NOTHING).make(vm, device, vectors);
        }

        LostSearch.Maker knowing(Knowledge knowledge) {
            return (vm, device, vectors) -> new ForwardingByLibrary(vm, device, vectors, this, knowledge.mirror());
        }
    }

    /** The host that its mirror is told of. */
    enum Knowledge {
        NOTHING,
        /** A GICv3 host. */
        NO_GICV4,
        /** A GICv4 host. */
        HOST,
        /** Also the tables of the guest's ITS. */
        GUEST;

        private boolean isOf(String profile) {
            return switch (this) {
                case NOTHING -> true;
                case NO_GICV4 -> profile.equals("gicv3");
                case HOST, GUEST -> profile.equals("gicv4");
            };
        }

        private Mirror mirror() {
            if (this == NOTHING) {
                return Mirror.create(MirrorHost.unknown("not told"));
            }
            Mirror mirror = Mirror.create(MirrorHost.arm64(this != NO_GICV4, VlpiKernel.BY_HOST_IRQ));
            if (this == GUEST) {
                mirror.apply(new Event.IrqchipCreated(Event.Irqchip.VGIC));
                mirror.apply(new Event.ItsAdded(GuestIts.ITS));
                for (int i = 0; i < GuestIts.EVENTS; i++) {
                    mirror.apply(new Event.EventMapped(
                            GuestIts.ITS, GuestIts.DEVICE, i, GuestIts.lpi(i), new VcpuId(i % MessageGuest.VCPUS)));
                }
            }
            return mirror;
        }
    }

    /** A search of the library's operations. What the mirror knows makes a difference where a vLPI may be pending. */
    record Kind(String profile, Triggers triggers, Knowledge knowledge) {
        static Stream<Kind> all() {
            return LostSearch.PROFILES.stream().flatMap(profile -> Arrays.stream(Knowledge.values())
                    .filter(knowledge -> knowledge.isOf(profile))
                    .flatMap(knowledge ->
                            Arrays.stream(Triggers.values()).map(triggers -> new Kind(profile, triggers, knowledge))));
        }

        /** Whether an interrupt may arrive twice, as {@link ForwardedIrq#mask} says: it may be a vLPI. */
        boolean mayComeTwice() {
            return knowledge != Knowledge.NO_GICV4 && Profile.parse(profile).isArm64();
        }

        LostSearch.Maker maker() {
            return triggers.knowing(knowledge);
        }
    }

    private final Vm vm;
    private final VfioDevice device;
    private final Triggers triggers;
    private final List<EventFd> users = new ArrayList<>();
    private final ForwardedIrq[] irqs;
    private final EventLoop loop;
    private final Mirror mirror;
    private Forwarding forwarding;

    private ForwardingByLibrary(Vm vm, VfioDevice device, int vectors, Triggers triggers, Mirror mirror) {
        this.vm = vm;
        this.mirror = mirror;
        this.device = device;
        this.triggers = triggers;
        this.irqs = new ForwardedIrq[vectors];
        this.loop = EventLoop.create(vm.kernel());
        this.forwarding = forwarding();
        if (triggers != Triggers.OURS) {
            IntStream.range(0, vectors).forEach(i -> users.add(EventFd.create(vm.kernel())));
            device.msix(0, vectors).arm(users);
        }
    }

    private Forwarding forwarding() {
        return Forwarding.builder(vm, device)
                .userspace(Userspace.into(vm, loop))
                .mirror(mirror)
                .build();
    }

    @Override
    public void forward(int first, int count, IntFunction<MsiMessage> messages) {
        MessageIrqs which = device.msix(first, count);
        List<ForwardedIrq> forwarded =
                switch (triggers) {
                    case OURS -> forwarding.forwardAll(which, messages);
                    case LENT -> forwarding.takeOver(which, users.subList(first, first + count), messages);
                    case REPLACED -> forwarding.takeOver(which, messages);
                };
        for (int i = 0; i < count; i++) {
            irqs[first + i] = forwarded.get(i);
        }
    }

    /** Gives a vector back to the user. */
    private void giveBack(int first, int count) {
        if (triggers == Triggers.REPLACED) {
            ArmedVectors armed =
                    (ArmedVectors) device.msix().get(first).inTheWay().orElseThrow();
            armed.set(first, users.subList(first, first + count));
        }
    }

    @Override
    public void end(int irq) {
        irqs[irq].close();
        giveBack(irq, 1);
    }

    @Override
    public void endAll() {
        forwarding.close();
        giveBack(0, irqs.length);
        forwarding = forwarding();
    }

    @Override
    public void mask(int irq) {
        irqs[irq].mask();
    }

    @Override
    public void unmask(int irq) {
        irqs[irq].unmask();
    }

    @Override
    public void reroute(int irq, MsiMessage message) {
        irqs[irq].reroute(message);
    }

    private List<ForwardedIrq> of(List<Integer> numbers) {
        return numbers.stream().map(irq -> irqs[irq]).toList();
    }

    @Override
    public void mask(List<Integer> numbers) {
        forwarding.mask(of(numbers));
    }

    @Override
    public void unmask(List<Integer> numbers) {
        forwarding.unmask(of(numbers));
    }

    @Override
    public void reroute(List<Integer> numbers, List<MsiMessage> messages) {
        forwarding.reroute(of(numbers), messages::get);
    }

    @Override
    public void move(int irq) {
        irqs[irq].moveTo(isHere(irq) ? Mechanism.IRQFD : Mechanism.USERSPACE);
    }

    /** Whether this process injects it. */
    private boolean isHere(int irq) {
        return irqs[irq].mechanism() == Mechanism.USERSPACE;
    }

    @Override
    public boolean undoes() {
        return true;
    }

    @Override
    public boolean isMasked(int irq) {
        return irqs[irq].isMasked();
    }

    @Override
    public void runLoop() {
        loop.pollNanos(0);
    }

    @Override
    public boolean heldBackAtEnd(int irq) {
        return irqs[irq].isPending();
    }

    @Override
    public boolean signalsAnew(int irq) {
        irqs[irq].event().signal();
        return true;
    }

    @Override
    public boolean keepsPendingVlpis() {
        return true;
    }

    @Override
    public boolean formerUserTook(int irq) {
        return triggers == Triggers.REPLACED && users.get(irq).drain() != 0;
    }

    @Override
    public void close() {
        forwarding.close();
        loop.close();
        users.forEach(EventFd::close);
    }
}
