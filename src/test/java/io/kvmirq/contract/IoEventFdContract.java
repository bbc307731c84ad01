/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;

import io.kvmirq.Errno;
import io.kvmirq.backend.KernelBackend;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** KVM_IOEVENTFD: virt/kvm/eventfd.c. */
@Contract
class IoEventFdContract {
    private final World world;
    private final KernelBackend kernel;

    IoEventFdContract(World world) {
        this.world = world;
        this.kernel = world.kernel();
    }

    @AfterEach
    void close() {
        world.closeAll();
    }

    private static final int PIO = KernelBackend.IOEVENTFD_PIO;
    private static final int MATCH = KernelBackend.IOEVENTFD_DATAMATCH;
    private static final long PORT = 0x80;

    private int assign(int vm, int fd, int length, int flags, long data) {
        return kernel.ioeventfdAssign(vm, fd, PORT, length, flags, data);
    }

    private int deassign(int vm, int fd, int length, int flags, long data) {
        return kernel.ioeventfdDeassign(vm, fd, PORT, length, flags, data);
    }

    @Test
    void argumentsAreChecked() {
        int vm = world.bareVm();
        int fd = world.eventfd();
        assertErrno(Errno.EINVAL, assign(vm, -1, 3, PIO, 0));
        assertErrno(Errno.EINVAL, assign(vm, fd, 1, 0x20, 0));
        assertErrno(Errno.EINVAL, assign(vm, fd, 0, PIO | MATCH, 0));
        assertErrno(Errno.EINVAL, kernel.ioeventfdAssign(vm, fd, -1, 1, 0, 0));
        assertErrno(Errno.EBADF, assign(vm, -1, 1, PIO, 0));
        assertErrno(Errno.EINVAL, assign(vm, world.pipeLike(), 1, PIO, 0));
    }

    @Test
    void sameWritesCannotBeTakenTwice() {
        int vm = world.bareVm();
        int fd = world.eventfd();
        assertOk(assign(vm, fd, 1, PIO, 0));
        assertErrno(Errno.EEXIST, assign(vm, fd, 1, PIO, 0));
        assertErrno(Errno.EEXIST, assign(vm, world.eventfd(), 1, PIO, 0));
        assertErrno(Errno.EEXIST, assign(vm, world.eventfd(), 1, PIO | MATCH, 7));
        assertErrno(Errno.EEXIST, assign(vm, world.eventfd(), 0, PIO, 0));
        assertOk(assign(vm, fd, 2, PIO, 0));
        assertOk(kernel.ioeventfdAssign(vm, fd, PORT, 1, 0, 0));
    }

    @Test
    void differentDataAreDifferentWrites() {
        int vm = world.bareVm();
        assertOk(assign(vm, world.eventfd(), 1, PIO | MATCH, 1));
        assertOk(assign(vm, world.eventfd(), 1, PIO | MATCH, 2));
        assertErrno(Errno.EEXIST, assign(vm, world.eventfd(), 1, PIO | MATCH, 2));
    }

    @Test
    void deassignMustNameExactlyWhatWasAssigned() {
        int vm = world.bareVm();
        int fd = world.eventfd();
        assertErrno(Errno.ENOENT, deassign(vm, fd, 1, PIO, 0));
        assertOk(assign(vm, fd, 1, PIO | MATCH, 7));
        assertErrno(Errno.ENOENT, deassign(vm, fd, 1, PIO, 7));
        assertErrno(Errno.ENOENT, deassign(vm, fd, 1, PIO | MATCH, 8));
        assertErrno(Errno.ENOENT, deassign(vm, fd, 3, PIO | MATCH, 7));
        assertErrno(Errno.ENOENT, deassign(vm, world.eventfd(), 1, PIO | MATCH, 7));
        assertErrno(Errno.EBADF, deassign(vm, -1, 1, PIO | MATCH, 7));
        assertOk(deassign(vm, fd, 1, PIO | MATCH, 7));
        assertErrno(Errno.ENOENT, deassign(vm, fd, 1, PIO | MATCH, 7));
    }

    @Test
    void closingTheEventfdRemovesNothing() {
        int vm = world.bareVm();
        int fd = world.eventfd();
        assertOk(assign(vm, fd, 1, PIO, 0));
        world.close(fd);
        assertErrno(Errno.EEXIST, assign(vm, world.eventfd(), 1, PIO, 0));
    }

    @Test
    void sameEventfdMayBeIrqfdToo() {
        int vm = world.fullVm();
        int fd = world.eventfd();
        assertOk(kernel.irqfdAssign(vm, fd, 10));
        assertOk(assign(vm, fd, 1, PIO, 0));
    }

    /** Flag 8, which is s390's: it is taken and nothing ever writes there. */
    @Test
    void channelsAreABusOfTheirOwn() {
        int vm = world.bareVm();
        int fd = world.eventfd();
        assertOk(assign(vm, fd, 1, 0, 0));
        assertOk(assign(vm, fd, 1, 8, 0));
        assertErrno(Errno.EEXIST, assign(vm, fd, 1, 8, 0));
    }
}
