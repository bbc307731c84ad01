/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.uapi.Epoll;
import io.kvmirq.uapi.Memfd;
import io.kvmirq.uapi.Uapi;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** Memory of the caller that a call may read and not write, or that ends within what a call writes: lib/usercopy.c. */
@Contract
class CallerMemoryContract extends KernelSuite {
    private static final long KERNEL = -4096;

    private long page(int protection) {
        return world.map(PAGE, protection, -1);
    }

    private int epollWith(int event, int... more) {
        int epoll = world.epollFd();
        add(epoll, event);
        for (int fd : more) {
            add(epoll, fd);
        }
        return epoll;
    }

    private void add(int epoll, int fd) {
        ByteBuffer event =
                Buffers.allocate(Epoll.SIZE).putInt(Epoll.EVENTS, Epoll.EPOLLIN).putLong(Epoll.DATA, -2);
        assertOk(libc.epollCtl(epoll, Epoll.EPOLL_CTL_ADD, fd, libc.addressOf(event)));
        Reference.reachabilityFence(event);
    }

    private int signalled() {
        int event = world.eventfd();
        assertOk(kernel.eventfdSignal(event, COUNT));
        return event;
    }

    private static final long COUNT = 0x0807060504030201L;

    // Memory that cannot be written

    @Test
    void readOnlyMemoryIsReadAndNotWritten() {
        long constant = page(Uapi.PROT_READ);
        int event = signalled();
        assertThat(libc.write(event, constant, 8)).isEqualTo(8);
        assertErrno(Errno.EFAULT, libc.read(event, constant, 8));
        assertThat(world.drain(event)).as("the count was taken all the same").isZero();
        assertErrno(Errno.EAGAIN, libc.read(event, constant, 8));
        int epoll = epollWith(signalled());
        assertErrno(Errno.EFAULT, libc.epollWait(epoll, constant, 1, 0));
        ByteBuffer room = Buffers.allocate(Epoll.SIZE);
        assertThat(libc.epollWait(epoll, libc.addressOf(room), 1, 0)).isOne();
        room.clear();
        assertThat(libc.ppoll(0, 0, constant)).isZero();
    }

    /** Also for a file that is left out, as its events are written too. */
    @Test
    void filesToPollAreReadAndTheirEventsWritten() {
        ByteBuffer name = Buffers.cString("polled");
        int file =
                world.own((int) libc.syscall(SystemCall.MEMFD_CREATE, libc.addressOf(name), Memfd.MFD_CLOEXEC, 0, 0));
        assertOk(libc.syscall(SystemCall.FTRUNCATE, file, PAGE, 0, 0));
        libc.view(world.map(PAGE, file), PAGE).putInt(Uapi.Pollfd.FD, -1);
        ByteBuffer none = Buffers.allocate(Uapi.Timespec.SIZE);
        assertErrno(Errno.EFAULT, libc.ppoll(world.map(PAGE, Uapi.PROT_READ, file), 1, libc.addressOf(none)));
        assertThat(libc.ppoll(world.map(PAGE, file), 1, libc.addressOf(none))).isZero();
        Reference.reachabilityFence(name);
        Reference.reachabilityFence(none);
    }

    @Test
    void answersOfRequestsAreNotWrittenToReadOnlyMemory() {
        world.assumeX86();
        long constant = page(Uapi.PROT_READ);
        int vm = world.splitVm();
        int vcpu = world.vcpu(vm, 0);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_MP_STATE, constant));
        assertErrno(Errno.EFAULT, libc.ioctl(vcpu, Uapi.KVM_GET_MP_STATE, constant));
        assertErrno(Errno.EFAULT, libc.ioctl(vcpu, Uapi.KVM_GET_LAPIC, constant));
        assertErrno(Errno.EFAULT, libc.ioctl(vcpu, Uapi.KVM_GET_REGS, constant));
        assertErrno(Errno.EFAULT, libc.ioctl(world.kvm(), Uapi.KVM_GET_MSR_INDEX_LIST, constant));
    }

    @Test
    void memoryWithoutAccessIsNeitherReadNorWritten() {
        long closed = page(0);
        int event = signalled();
        assertErrno(Errno.EFAULT, libc.write(event, closed, 8));
        assertErrno(Errno.EFAULT, libc.ioctl(event, Uapi.FIONBIO, closed));
        assertErrno(Errno.EFAULT, libc.read(event, closed, 8));
        int written = signalled();
        long writable = page(Uapi.PROT_WRITE);
        assertThat(libc.read(written, writable, 8)).isEqualTo(8);
        assertThat(libc.write(written, writable, 8))
                .as("what can be written can be read")
                .isEqualTo(8);
        assertThat(world.drain(written)).isEqualTo(COUNT);
    }

    /** {@code import_iovec()} looks at the addresses, then fs/eventfd.c at the length and the count. */
    @Test
    void vectorThatReachesIntoTheKernelIsAFaultBeforeAnythingElse() {
        int empty = world.eventfd();
        for (long length : new long[] {0, 4, 8}) {
            assertErrno(Errno.EFAULT, readNow(empty, KERNEL, length));
        }
        assertErrno(Errno.EINVAL, readNow(empty, 0, -1));
        assertErrno(Errno.EINVAL, readNow(empty, 0, 4));
        assertErrno(Errno.EAGAIN, readNow(empty, 0, 8));
        assertErrno(Errno.EFAULT, readNow(signalled(), 0, 8));
        assertErrno(world.isSince(6, 8) ? Errno.EINVAL : Errno.EFAULT, readNow(world.bareVm(), KERNEL, 8));
    }

    private long readNow(int fd, long base, long length) {
        ByteBuffer vector = Buffers.allocate(Uapi.Iovec.SIZE)
                .putLong(Uapi.Iovec.IOV_BASE, base)
                .putLong(Uapi.Iovec.IOV_LEN, length);
        try {
            return libc.preadv2(fd, libc.addressOf(vector), 1, -1, Uapi.RWF_NOWAIT);
        } finally {
            Reference.reachabilityFence(vector);
        }
    }
}
