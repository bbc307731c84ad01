/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Vm;
import io.kvmirq.vfio.VfioDevice;

/** Orders that look right. Each differs from {@link ForwardingByHand} in one step. */
enum NaiveOrder implements LostSearch.Maker {
    /** cloud-hypervisor's PR 795: the irqfd takes the signal, and finds no route. */
    MASK_BY_REMOVING_THE_ROUTE(
            "mask by removing the route",
            (vm, device, vectors) -> new ForwardingByHand(vm, device, vectors) {
                @Override
                void mask(Part part) {
                    vm.routes().remove(part.gsi);
                }

                @Override
                void unmask(int irq, Part part) {
                    vm.routes().replace(part.gsi, part.message);
                }

                @Override
                void reroute(int irq, Part part, MsiMessage message) {
                    if (!vm.routes().of(part.gsi).isEmpty()) {
                        super.reroute(irq, part, message);
                    }
                }
            },
            true),
    /** KVM_SET_GSI_ROUTING replaces the whole table, so that one call is enough. */
    REROUTE_IN_TWO_COMMITS(
            "reroute by removing the route, then adding it",
            (vm, device, vectors) -> new ForwardingByHand(vm, device, vectors) {
                @Override
                void reroute(int irq, Part part, MsiMessage message) {
                    vm.routes().remove(part.gsi);
                    vm.routes().replace(part.gsi, message);
                }
            },
            true),
    REROUTE_BY_SETTING_UP_AGAIN(
            "tear down and set up in place of a reroute",
            (vm, device, vectors) -> new ForwardingByHand(vm, device, vectors) {
                @Override
                void reroute(int irq, Part part, MsiMessage message) {
                    boolean masked = part.masked;
                    end(irq);
                    forward(irq, 1, i -> message);
                    if (masked) {
                        mask(irq);
                    }
                }
            },
            true),
    /** The signals that the former eventfd counted stay there. */
    UNMASK_WITH_A_FRESH_EVENTFD(
            "unmask with a fresh eventfd",
            (vm, device, vectors) -> new ForwardingByHand(vm, device, vectors) {
                @Override
                void unmask(int irq, Part part) {
                    part.irqfd.close();
                    EventFd former = part.event;
                    part.event = EventFd.create(vm.kernel());
                    part.irqfd = vm.assignIrqfd(part.event, part.gsi);
                    trigger(irq, part.event);
                    former.close();
                }
            },
            true),
    READ_WHILE_MASKED(
            "read the eventfd of a masked interrupt, and not write it back",
            (vm, device, vectors) -> new ForwardingByHand(vm, device, vectors) {
                @Override
                void mask(Part part) {
                    super.mask(part);
                    part.event.drain();
                }
            },
            true),
    DEVICE_BEFORE_IRQFD_BEFORE_ROUTE(
            "the device first, then the irqfd, then the route",
            (vm, device, vectors) -> new ForwardingByHand(vm, device, vectors) {
                @Override
                Part forward(int irq, EventFd event, MsiMessage message) {
                    trigger(irq, event);
                    Gsi gsi = unrouted(vm, message);
                    Irqfd irqfd = vm.assignIrqfd(event, gsi);
                    vm.routes().replace(gsi, message);
                    return new Part(event, irqfd, gsi, message);
                }
            },
            true),
    ROUTE_ENDS_FIRST(
            "tear down from the route to the device",
            (vm, device, vectors) -> new ForwardingByHand(vm, device, vectors) {
                @Override
                void end(int irq, Part part) {
                    vm.routes().remove(part.gsi);
                    part.irqfd.close();
                    unwire(irq);
                    part.event.close();
                }
            },
            true),
    /** The relay reads what came in, and forgets that nothing reads from then on until the irqfd is there. */
    BACK_FROM_USER_SPACE_BY_EMPTYING(
            "back from user space by emptying the eventfd before the irqfd",
            (vm, device, vectors) -> new ForwardingByHand(vm, device, vectors) {
                @Override
                void move(Part part) {
                    part.irqfd.mask();
                    relay(part);
                    part.event.drain();
                    part.irqfd.unmask();
                }
            },
            true),
    /**
     * Loses nothing: until the device is armed nothing signals the eventfd, and that comes last. It loses what waits in
     * an eventfd that is wired already.
     */
    IRQFD_BEFORE_ROUTE(
            "the irqfd before the route, the device last",
            (vm, device, vectors) -> new ForwardingByHand(vm, device, vectors) {
                @Override
                Part forward(int irq, EventFd event, MsiMessage message) {
                    Gsi gsi = unrouted(vm, message);
                    Irqfd irqfd = vm.assignIrqfd(event, gsi);
                    vm.routes().replace(gsi, message);
                    trigger(irq, event);
                    return new Part(event, irqfd, gsi, message);
                }
            },
            false),
    /**
     * Loses nothing: while the irqfd is there it takes each signal before a read can, and what comes after it stays for
     * the next read. But it sends an interrupt twice: what an irqfd found in the eventfd when it was assigned stays
     * there until it is deassigned, and the read takes that.
     */
    READ_BEFORE_DEASSIGN(
            "read the eventfd, then deassign the irqfd",
            (vm, device, vectors) -> new ForwardingByHand(vm, device, vectors) {
                @Override
                void move(Part part) {
                    relay(part);
                    part.irqfd.mask();
                    relay(part);
                    part.irqfd.unmask();
                }
            },
            false);

    private final String label;

    @SuppressWarnings("ImmutableEnumChecker") // No lambda of these has a state.
    private final LostSearch.Maker maker;

    private final boolean loses;

    NaiveOrder(String label, LostSearch.Maker maker, boolean loses) {
        this.label = label;
        this.maker = maker;
        this.loses = loses;
    }

    boolean loses() {
        return loses;
    }

    @Override
    public Way make(Vm vm, VfioDevice device, int vectors) {
        return maker.make(vm, device, vectors);
    }

    @Override
    public String toString() {
        return label;
    }

    /** A GSI that has no route yet. */
    private static Gsi unrouted(Vm vm, MsiMessage message) {
        Gsi gsi = vm.routes().add(message);
        vm.routes().remove(gsi);
        return gsi;
    }
}
