/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.backend.libc.Uapi;
import java.nio.ByteBuffer;
import java.util.Optional;

/**
 * The calls on a VM that are the same on every architecture: routes, irqfds and ioeventfds. Source: {@code
 * kvm_vm_ioctl()} in virt/kvm/kvm_main.c, virt/kvm/eventfd.c.
 */
final class RegistrationCalls {
    private static final int IOEVENTFD_FLAGS = 0x1f;

    private final FakeKernel kernel;
    private final VmInterrupts vm;

    RegistrationCalls(VmInterrupts vm) {
        this.kernel = vm.kernel();
        this.vm = vm;
    }

    // Routes

    /** @param argument where the header was copied from; the entries follow it there */
    int setRouting(ByteBuffer header, long argument) {
        Optional<Rule> none = vm.refusesRoutes();
        if (none.isPresent()) {
            return kernel.refuse(none.get());
        }
        int count = header.getInt(Uapi.KvmIrqRouting.NR);
        if (count < 0 || count > FakeRoutes.MAX_ROUTES) {
            return kernel.refuse(Rule.ROUTES_TOO_MANY);
        }
        if (header.getInt(Uapi.KvmIrqRouting.FLAGS) != 0) {
            return kernel.refuse(Rule.ROUTES_FLAGS);
        }
        ByteBuffer entries =
                kernel.memory().copyIn(argument + Uapi.KvmIrqRouting.SIZE, count * Uapi.KvmIrqRoutingEntry.SIZE);
        if (entries == null) {
            return kernel.refuse(Rule.FAULT);
        }
        FakeRoutes.Reader reader = vm.routesReader();
        Optional<Rule> refused = reader.read(entries, count);
        kernel.note(Rule.ROUTES_REPLACED);
        if (refused.isPresent()) {
            return kernel.refuse(refused.get());
        }
        vm.setRoutes(reader.routes());
        return 0;
    }

    // irqfds

    int irqfd(ByteBuffer irqfd) {
        int flags = irqfd.getInt(Uapi.KvmIrqfd.FLAGS);
        if ((flags & ~(Uapi.KVM_IRQFD_FLAG_DEASSIGN | Uapi.KVM_IRQFD_FLAG_RESAMPLE)) != 0) {
            return kernel.refuse(Rule.IRQFD_FLAGS);
        }
        int gsi = irqfd.getInt(Uapi.KvmIrqfd.GSI);
        int fd = irqfd.getInt(Uapi.KvmIrqfd.FD);
        if ((flags & Uapi.KVM_IRQFD_FLAG_DEASSIGN) != 0) {
            int refused = refuseIrqfd(fd);
            if (refused == 0) {
                vm.deassign(kernel.eventfd(fd), gsi);
            }
            return refused;
        }
        boolean resample = (flags & Uapi.KVM_IRQFD_FLAG_RESAMPLE) != 0;
        Optional<Rule> any = vm.refusesIrqfd(resample);
        return any.isPresent()
                ? kernel.refuse(any.get())
                : assign(fd, gsi, resample, irqfd.getInt(Uapi.KvmIrqfd.RESAMPLEFD));
    }

    private int assign(int fd, int gsi, boolean resample, int resampleFd) {
        int refused = refuseIrqfd(fd);
        if (refused == 0 && resample) {
            refused = refuseIrqfd(resampleFd);
        }
        if (refused < 0) {
            return refused;
        }
        EventFile event = kernel.eventfd(fd);
        Optional<Rule> busy = event.busyFor(vm);
        if (busy.isPresent()) {
            if (resample) {
                vm.resamplerGone(gsi);
            }
            return kernel.refuse(busy.get());
        }
        vm.add(new FakeIrqfd(vm, event, gsi, resample ? Optional.of(kernel.eventfd(resampleFd)) : Optional.empty()));
        return 0;
    }

    private int refuseIrqfd(int fd) {
        return refuseEventfd(fd, Rule.IRQFD_FD, Rule.IRQFD_NOT_AN_EVENTFD);
    }

    private int refuseEventfd(int fd, Rule open, Rule eventfd) {
        FakeFile file = kernel.file(fd);
        if (file == null) {
            return kernel.refuse(open);
        }
        return file instanceof EventFile ? 0 : kernel.refuse(eventfd);
    }

    // ioeventfds

    int ioeventfd(ByteBuffer argument) {
        int flags = argument.getInt(Uapi.KvmIoeventfd.FLAGS);
        int length = argument.getInt(Uapi.KvmIoeventfd.LEN);
        long address = argument.getLong(Uapi.KvmIoeventfd.ADDR);
        int fd = argument.getInt(Uapi.KvmIoeventfd.FD);
        boolean match = (flags & Uapi.KVM_IOEVENTFD_FLAG_DATAMATCH) != 0;
        boolean assign = (flags & Uapi.KVM_IOEVENTFD_FLAG_DEASSIGN) == 0;
        if (assign) {
            boolean lengthKnown = length == 0 || length == 1 || length == 2 || length == 4 || length == 8;
            boolean wraps = Long.compareUnsigned(address + length, address) < 0;
            if (!lengthKnown || wraps || (flags & ~IOEVENTFD_FLAGS) != 0 || length == 0 && match) {
                return kernel.refuse(Rule.IOEVENTFD_ARGUMENTS);
            }
        }
        int refused = refuseEventfd(fd, Rule.IOEVENTFD_FD, Rule.IOEVENTFD_NOT_AN_EVENTFD);
        if (refused < 0) {
            return refused;
        }
        FakeIoEventFd one = new FakeIoEventFd(
                kernel.eventfd(fd),
                FakeIoEventFd.Bus.of(flags),
                address,
                length,
                !match,
                match ? argument.getLong(Uapi.KvmIoeventfd.DATAMATCH) : 0);
        if (!assign) {
            return vm.ioEventFds().remove(one) ? 0 : kernel.refuse(Rule.IOEVENTFD_NONE);
        }
        if (vm.ioEventFds().stream().anyMatch(one::collides)) {
            return kernel.refuse(Rule.IOEVENTFD_COLLIDES);
        }
        vm.ioEventFds().add(one);
        return 0;
    }
}
