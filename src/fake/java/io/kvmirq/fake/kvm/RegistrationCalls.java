/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

import io.kvmirq.explain.Answer;
import io.kvmirq.explain.InterruptAnswer;
import io.kvmirq.explain.IrqfdAnswer;
import io.kvmirq.fake.file.EventFile;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.Objects;
import java.util.Optional;

/**
 * VM ioctls that are common to all architectures: routes, irqfds and ioeventfds. Source: {@code kvm_vm_ioctl()} in
 * virt/kvm/kvm_main.c, virt/kvm/eventfd.c.
 */
final class RegistrationCalls {
    private static final int IOEVENTFD_FLAGS = 0x1f;

    private final KernelOfFile host;
    private final VmInterrupts vm;

    RegistrationCalls(VmInterrupts vm) {
        this.host = vm.host();
        this.vm = vm;
    }

    // Routes

    /** @param argument the user address of the header; the entries follow it */
    int setRouting(ByteBuffer header, long argument) {
        Optional<Answer> none = vm.refusesRoutes();
        if (none.isPresent()) {
            return host.refuse(none.get());
        }
        int count = header.getInt(Uapi.KvmIrqRouting.NR);
        if (count < 0 || count > FakeRoutes.MAX_ROUTES) {
            return host.refuse(InterruptAnswer.ROUTES_TOO_MANY);
        }
        if (header.getInt(Uapi.KvmIrqRouting.FLAGS) != 0) {
            return host.refuse(InterruptAnswer.ROUTES_FLAGS);
        }
        return host.copied(
                argument + Uapi.KvmIrqRouting.SIZE,
                count * Uapi.KvmIrqRoutingEntry.SIZE,
                entries -> replaceRoutes(entries, count));
    }

    private int replaceRoutes(ByteBuffer entries, int count) {
        FakeRoutes.Reader reader = new FakeRoutes.Reader(vm);
        Optional<Answer> refused = reader.read(entries, count);
        host.note(InterruptAnswer.ROUTES_REPLACED);
        if (refused.isEmpty()) {
            vm.setRoutes(reader.routes());
        }
        return host.refuse(refused);
    }

    // irqfds

    int irqfd(ByteBuffer irqfd) {
        int flags = irqfd.getInt(Uapi.KvmIrqfd.FLAGS);
        if ((flags & ~(Uapi.KVM_IRQFD_FLAG_DEASSIGN | Uapi.KVM_IRQFD_FLAG_RESAMPLE)) != 0) {
            return host.refuse(IrqfdAnswer.IRQFD_FLAGS);
        }
        int gsi = irqfd.getInt(Uapi.KvmIrqfd.GSI);
        int fd = irqfd.getInt(Uapi.KvmIrqfd.FD);
        if ((flags & Uapi.KVM_IRQFD_FLAG_DEASSIGN) != 0) {
            int refused = refuseIrqfd(fd);
            if (refused == 0) {
                vm.deassign(eventfd(fd), gsi);
            }
            return refused;
        }
        boolean resample = (flags & Uapi.KVM_IRQFD_FLAG_RESAMPLE) != 0;
        Optional<Answer> refusal = vm.refusesIrqfd(resample);
        return refusal.isPresent()
                ? host.refuse(refusal.get())
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
        EventFile event = eventfd(fd);
        FakeIrqfd irqfd = new FakeIrqfd(vm, event, gsi, resample ? Optional.of(eventfd(resampleFd)) : Optional.empty());
        vm.joinResampler(irqfd);
        Optional<Answer> busy = vm.refusesBusy(event);
        if (busy.isPresent()) {
            vm.leaveResampler(irqfd);
            return host.refuse(busy.get());
        }
        vm.add(irqfd);
        return 0;
    }

    private int refuseIrqfd(int fd) {
        return refuseEventfd(fd, IrqfdAnswer.IRQFD_FD, IrqfdAnswer.IRQFD_NOT_AN_EVENTFD);
    }

    private int refuseEventfd(int fd, Answer open, Answer eventfd) {
        FakeFile file = host.file(fd);
        if (file == null) {
            return host.refuse(open);
        }
        return file instanceof EventFile ? 0 : host.refuse(eventfd);
    }

    /** The eventfd of a checked descriptor. */
    private EventFile eventfd(int fd) {
        return (EventFile) Objects.requireNonNull(host.file(fd));
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
                return host.refuse(IrqfdAnswer.IOEVENTFD_ARGUMENTS);
            }
        }
        int refused = refuseEventfd(fd, IrqfdAnswer.IOEVENTFD_FD, IrqfdAnswer.IOEVENTFD_NOT_AN_EVENTFD);
        if (refused < 0) {
            return refused;
        }
        FakeIoEventFd ioEventFd = new FakeIoEventFd(
                eventfd(fd),
                FakeIoEventFd.Bus.of(flags),
                address,
                length,
                !match,
                match ? argument.getLong(Uapi.KvmIoeventfd.DATAMATCH) : 0);
        if (!assign) {
            return vm.ioEventFds().remove(ioEventFd) ? 0 : host.refuse(IrqfdAnswer.IOEVENTFD_NONE);
        }
        if (vm.ioEventFds().stream().anyMatch(ioEventFd::collides)) {
            return host.refuse(IrqfdAnswer.IOEVENTFD_COLLIDES);
        }
        vm.ioEventFds().add(ioEventFd);
        return 0;
    }
}
