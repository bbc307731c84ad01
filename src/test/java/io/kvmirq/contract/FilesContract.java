/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.SystemCall;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Epoll;
import io.kvmirq.uapi.Memfd;
import io.kvmirq.uapi.Uapi;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

/** The answers of each kind of file to requests of another: fs/ioctl.c, fs/read_write.c, arch/x86/kvm/x86.c. */
@Contract
class FilesContract extends KernelSuite {
    private static final long NOWHERE = 8;
    private static final long FIONBIO = 0x5421;

    private static final int DROPPABLE = 8;
    private static final int READY = Epoll.EPOLLIN | Epoll.EPOLLOUT | Epoll.EPOLLRDNORM | Epoll.EPOLLWRNORM;
    /** Whatever RLIMIT_NOFILE is. */
    private static final long TOO_MANY_FILES = (1 << 28) + 1;

    private int attribute(int fd, long request, int group, long attribute) {
        ByteBuffer value = Buffers.allocate(Long.BYTES);
        ByteBuffer structure = Structs.of("kvm_device_attr", 0, group, attribute, libc.addressOf(value));
        int result = libc.ioctl(fd, request, structure);
        value.clear();
        return result;
    }

    /** But for the system's group 1, which kvm_amd has since 6.10 and no other. */
    @Test
    void systemAndVcpusHaveOneAttributeEach() {
        world.assumeX86();
        int kvm = world.kvm();
        int vcpu = world.vcpu(world.bareVm(), 0);
        for (long request : new long[] {Uapi.KVM_GET_DEVICE_ATTR, Uapi.KVM_HAS_DEVICE_ATTR}) {
            for (int fd : new int[] {kvm, vcpu}) {
                assertOk(attribute(fd, request, 0, 0));
                assertErrno(Errno.ENXIO, attribute(fd, request, 0, 3));
                assertErrno(Errno.ENXIO, attribute(fd, request, 2, 0));
                assertErrno(Errno.EFAULT, libc.ioctl(fd, request, NOWHERE));
            }
        }
        assertErrno(Errno.EINVAL, libc.ioctl(kvm, Uapi.KVM_SET_DEVICE_ATTR, NOWHERE));
        assertOk(attribute(vcpu, Uapi.KVM_SET_DEVICE_ATTR, 0, 0));
    }

    /** Group 1: the features of an encrypted guest's state, 0 where the machine encrypts none. */
    @Test
    void systemOfAmdHasAnAttributeOfEncryptedGuestsSince610() {
        world.assumeX86();
        boolean has = world.isSince(6, 10) && world.isAmd();
        for (long request : new long[] {Uapi.KVM_GET_DEVICE_ATTR, Uapi.KVM_HAS_DEVICE_ATTR}) {
            int result = attribute(world.kvm(), request, 1, 0);
            if (has) {
                assertOk(result);
            } else {
                assertErrno(Errno.ENXIO, result);
            }
            assertErrno(Errno.ENXIO, attribute(world.kvm(), request, 1, 1));
        }
    }

    @Test
    void vcpusHaveCapabilitiesToo() {
        world.assumeX86();
        int vcpu = world.vcpu(world.bareVm(), 0);
        assertErrno(Errno.EFAULT, libc.ioctl(vcpu, Uapi.KVM_ENABLE_CAP, NOWHERE));
        assertErrno(Errno.EINVAL, libc.ioctl(vcpu, Uapi.KVM_ENABLE_CAP, Buffers.allocate(Uapi.KvmEnableCap.SIZE)));
    }

    @Test
    void everyFileCanBeMadeNonblocking() {
        for (int fd : new int[] {world.kvm(), world.bareVm(), world.eventfd(), world.epollFd()}) {
            assertErrno(Errno.EFAULT, libc.ioctl(fd, FIONBIO, NOWHERE));
        }
    }

    /** Since 6.9 they have requests of their own. */
    @Test
    void epollSetsKnowNoOtherRequests() {
        Errno unknown = world.isSince(6, 9) ? Errno.EINVAL : Errno.ENOTTY;
        assertErrno(unknown, libc.ioctl(world.epollFd(), Uapi.KVM_CREATE_VM, 0));
    }

    @Test
    void eventfdsTakeEightBytesAndSince69NoMore() {
        ByteBuffer more = Buffers.allocate(16).putLong(0, 5);
        int event = world.eventfd();
        if (world.isSince(6, 9)) {
            assertErrno(Errno.EINVAL, libc.write(event, more));
        } else {
            assertThat(libc.write(event, more)).isEqualTo(8);
            assertThat(world.drain(event)).isEqualTo(5);
        }
    }

    /** Whatever is asked of the files, poll(2) answers the four events of fs/select.c DEFAULT_POLLMASK. */
    @Test
    void filesWithoutPollAreReadyForReadingAndWriting() {
        int vm = world.bareVm();
        for (int fd : new int[] {world.kvm(), vm, world.vcpu(vm, 0)}) {
            assertThat(polled(fd, 0xffff)).isEqualTo(READY);
            assertThat(polled(fd, Epoll.EPOLLOUT)).isEqualTo(Epoll.EPOLLOUT);
            assertThat(polled(fd, 0)).isZero();
        }
        int event = world.eventfd();
        assertThat(polled(event, 0xffff)).isEqualTo(Epoll.EPOLLOUT);
        assertOk(kernel.eventfdSignal(event, 1));
        assertThat(polled(event, 0xffff)).isEqualTo(Epoll.EPOLLIN | Epoll.EPOLLOUT);
    }

    private int polled(int fd, int events) {
        ByteBuffer polled = Structs.of("pollfd", fd, events);
        assertOk(poll(polled, 1, 0, 0));
        return polled.getShort(Uapi.Pollfd.REVENTS) & 0xffff;
    }

    private int poll(ByteBuffer polled, long count, long seconds, long nanos) {
        ByteBuffer limit = Buffers.allocate(Uapi.Timespec.SIZE)
                .putLong(Uapi.Timespec.TV_SEC, seconds)
                .putLong(Uapi.Timespec.TV_NSEC, nanos);
        try {
            return libc.ppoll(libc.addressOf(polled), count, libc.addressOf(limit));
        } finally {
            Reference.reachabilityFence(limit);
            Reference.reachabilityFence(polled);
        }
    }

    @Test
    void timeoutIsCheckedBeforeTheFilesAndTheirNumberBeforeTheirMemory() {
        ByteBuffer polled = Structs.of("pollfd", world.eventfd(), Epoll.EPOLLOUT);
        for (long[] noTime : new long[][] {{-1, 0}, {0, -1}, {0, 1_000_000_000}, {Long.MAX_VALUE, Long.MAX_VALUE}}) {
            assertErrno(Errno.EINVAL, poll(polled, 1, noTime[0], noTime[1]));
            assertErrno(Errno.EINVAL, poll(polled, TOO_MANY_FILES, noTime[0], noTime[1]));
        }
        assertErrno(Errno.EINVAL, libc.ppoll(NOWHERE, TOO_MANY_FILES, 0));
        assertErrno(Errno.EFAULT, libc.ppoll(NOWHERE, 1, 0));
        assertThat(poll(polled, 1, Long.MAX_VALUE, 999_999_999)).isOne();
    }

    @Test
    void readingNothingWithoutWaitingSucceeds() {
        ByteBuffer vector = Buffers.allocate(Uapi.Iovec.SIZE);
        vector.putLong(Uapi.Iovec.IOV_BASE, libc.addressOf(vector));
        assertThat(libc.preadv2(world.eventfd(), libc.addressOf(vector), 1, -1, Uapi.RWF_NOWAIT))
                .isZero();
        assertErrno(Errno.EINVAL, libc.preadv2(world.bareVm(), libc.addressOf(vector), 1, -1, Uapi.RWF_NOWAIT));
        vector.clear();
    }

    /** Offset -1 means read(2). The offset is checked before the descriptor, and the descriptor before the vector. */
    @Test
    void offsetIsCheckedBeforeTheDescriptorAndTheDescriptorBeforeTheVector() {
        ByteBuffer vector = Buffers.allocate(Uapi.Iovec.SIZE + Long.BYTES);
        long at = libc.addressOf(vector);
        vector.putLong(Uapi.Iovec.IOV_BASE, at + Uapi.Iovec.SIZE).putLong(Uapi.Iovec.IOV_LEN, Long.BYTES);
        int event = world.eventfd();
        for (int flags : new int[] {0, Uapi.RWF_NOWAIT}) {
            for (int fd : new int[] {event, world.bareVm(), world.kvm(), -1}) {
                assertErrno(Errno.EINVAL, libc.preadv2(fd, NOWHERE, 1, -2, flags));
                assertErrno(Errno.EINVAL, libc.preadv2(fd, NOWHERE, 1, Long.MIN_VALUE, flags));
            }
            for (long offset : new long[] {0, 8, Long.MAX_VALUE}) {
                assertErrno(Errno.EBADF, libc.preadv2(-1, NOWHERE, 1, offset, flags));
                for (int fd : new int[] {event, world.bareVm(), world.epollFd()}) {
                    assertErrno(Errno.ESPIPE, libc.preadv2(fd, NOWHERE, 1, offset, flags));
                }
            }
            assertErrno(Errno.EFAULT, libc.preadv2(event, NOWHERE, 1, -1, flags));
            assertErrno(Errno.EINVAL, libc.preadv2(event, NOWHERE, 1025, -1, flags));
            assertThat(libc.preadv2(event, NOWHERE, 0, -1, flags)).isZero();
            if (world.isSince(6, 8)) {
                assertErrno(Errno.EINVAL, libc.preadv2(world.kvm(), NOWHERE, 1, 0, flags));
                assertErrno(Errno.EINVAL, libc.preadv2(world.kvm(), NOWHERE, 1, -1, flags));
            }
            libc.write(event, at + Uapi.Iovec.SIZE, one(vector));
            assertThat(libc.preadv2(event, at, 1, -1, flags)).isEqualTo(Long.BYTES);
        }
        vector.clear();
    }

    private static long one(ByteBuffer vector) {
        vector.putLong(Uapi.Iovec.SIZE, 1);
        return Long.BYTES;
    }

    /** {@code import_ubuf()} cuts a length before it looks at the memory; before 6.4 it was cut afterwards. */
    @Test
    void lengthBeyondAllMemoryIsCutInAVector() {
        ByteBuffer vector = Buffers.allocate(Uapi.Iovec.SIZE + Long.BYTES);
        long at = libc.addressOf(vector);
        int event = world.eventfd();
        vector.putLong(Uapi.Iovec.IOV_BASE, at).putLong(Uapi.Iovec.IOV_LEN, Long.MAX_VALUE);
        libc.write(event, at + Uapi.Iovec.SIZE, one(vector));
        assertThat(libc.preadv2(event, at, 1, -1, Uapi.RWF_NOWAIT))
                .isEqualTo(world.isSince(6, 4) ? Long.BYTES : -Errno.EFAULT.number());
        vector.clear();
    }

    @Test
    void duplicateGetsTheLowestFreeNumberFromTheOneAskedFor() {
        int event = world.eventfd();
        int first = world.own(libc.fcntl(event, Uapi.F_DUPFD_CLOEXEC, 3000));
        assertThat(first).isGreaterThanOrEqualTo(3000);
        assertThat(world.own(libc.fcntl(event, Uapi.F_DUPFD_CLOEXEC, first))).isEqualTo(first + 1);
        assertErrno(Errno.EINVAL, libc.fcntl(event, Uapi.F_DUPFD_CLOEXEC, -1));
    }

    /** Only the node, which was opened by name, has them; nothing there can be read either. */
    @Test
    void filesWithoutANameHaveNoPlacesToReadFrom() {
        int vm = world.bareVm();
        ByteBuffer buffer = Buffers.allocate(8);
        for (int fd : new int[] {vm, world.vcpu(vm, 0), world.epollFd()}) {
            assertErrno(Errno.ESPIPE, libc.pread(fd, buffer, 0));
            assertErrno(Errno.ESPIPE, libc.pwrite(fd, buffer, 0));
        }
        int kvm = world.kvm();
        assertErrno(Errno.EINVAL, libc.pread(kvm, buffer, 0));
        assertErrno(Errno.EINVAL, libc.pwrite(kvm, buffer, 0));
    }

    /** None of these files has signals: fs/ioctl.c answers before the file does. */
    @Test
    void everyFileIsAskedForSignalsBeforeItsOwnRequests() {
        ByteBuffer on = Buffers.allocate(Integer.BYTES);
        for (int fd : new int[] {world.kvm(), world.bareVm(), world.eventfd(), world.epollFd()}) {
            assertErrno(Errno.EFAULT, libc.ioctl(fd, Uapi.FIOASYNC, NOWHERE));
            assertOk(libc.ioctl(fd, Uapi.FIOASYNC, libc.addressOf(on.putInt(0, 0))));
            assertErrno(Errno.ENOTTY, libc.ioctl(fd, Uapi.FIOASYNC, libc.addressOf(on.putInt(0, 1))));
            assertOk(libc.ioctl(fd, Uapi.FIOCLEX, 0));
        }
        on.clear();
    }

    @Test
    void accessOfTheNodeIsCheckedBeforeItsOperations() {
        ByteBuffer buffer = Buffers.allocate(8);
        int reads = world.own(libc.open(Buffers.cString("/dev/kvm"), 0));
        assertErrno(Errno.EINVAL, libc.read(reads, buffer));
        assertErrno(Errno.EBADF, libc.write(reads, buffer));
        assertErrno(Errno.EBADF, libc.pwrite(reads, buffer, 0));
        int writes = world.own(libc.open(Buffers.cString("/dev/kvm"), 1));
        assertErrno(Errno.EBADF, libc.read(writes, buffer));
        assertErrno(Errno.EBADF, libc.pread(writes, buffer, 0));
        assertErrno(Errno.EINVAL, libc.write(writes, buffer));
    }

    @Test
    void memoryThatReachesIntoTheKernelIsAFault() {
        int event = world.eventfd();
        ByteBuffer buffer = Buffers.allocate(8);
        long address = libc.addressOf(buffer);
        for (long length : new long[] {-1, Long.MIN_VALUE, Long.MAX_VALUE}) {
            assertErrno(Errno.EFAULT, libc.read(event, address, length));
            assertErrno(Errno.EFAULT, libc.write(event, address, length));
        }
        assertErrno(Errno.EFAULT, libc.write(event, -1, 8));
        buffer.clear();
    }

    @Test
    void everyDescriptorIsClosedOnExec() {
        int vm = world.bareVm();
        for (int fd : new int[] {
            world.kvm(),
            vm,
            world.vcpu(vm, 0),
            world.own(kernel.deviceCreate(vm, Uapi.KVM_DEV_TYPE_VFIO)),
            world.epollFd(),
            world.own(libc.fcntl(vm, Uapi.F_DUPFD_CLOEXEC, 0))
        }) {
            assertThat(libc.fcntl(fd, Uapi.F_GETFD, 0)).isEqualTo(Uapi.FD_CLOEXEC);
        }
    }

    @Test
    void filesAnswerForThemselvesBeforeTheMemoryIsLookedAt() {
        int vm = world.bareVm();
        for (int fd : new int[] {world.kvm(), vm, world.vcpu(vm, 0), world.epollFd()}) {
            for (long[] place : new long[][] {{-1, 8}, {-4096, 0}, {16, -1}}) {
                assertErrno(Errno.EINVAL, libc.read(fd, place[0], place[1]));
                assertErrno(Errno.EINVAL, libc.write(fd, place[0], place[1]));
            }
        }
        assertErrno(Errno.ESPIPE, libc.pread(world.eventfd(), -1, 8, 0));
    }

    private long shared(int fd, long length, long offset) {
        return libc.mmap(length, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_SHARED, fd, offset);
    }

    @Test
    void mappingIsRefusedByOffsetDescriptorLengthKindAndAccessInThisOrder() {
        int vm = world.bareVm();
        int vcpu = world.vcpu(vm, 0);
        int closed = world.eventfd();
        world.close(closed);
        assertErrno(Errno.EINVAL, shared(closed, 0, 1));
        assertErrno(Errno.EBADF, shared(closed, 0, 0));
        for (int fd : new int[] {world.kvm(), vm, vcpu, world.eventfd()}) {
            assertErrno(Errno.EINVAL, shared(fd, PAGE, 1));
            assertErrno(Errno.EINVAL, shared(fd, 0, 0));
            assertErrno(Errno.ENOMEM, shared(fd, -PAGE, 0));
            assertErrno(Errno.ENOMEM, shared(fd, Long.MAX_VALUE, 0));
            assertErrno(Errno.EINVAL, libc.mmap(PAGE, Uapi.PROT_READ, 0, fd, 0));
        }
        assertErrno(Errno.ENODEV, shared(vm, PAGE, 0));
        for (int access : new int[] {0, 1, 3}) {
            assertErrno(Errno.EACCES, shared(world.own(libc.open(Buffers.cString("/dev/kvm"), access)), PAGE, 0));
        }
        int reads = world.own(libc.open(Buffers.cString("/dev/kvm"), 0));
        assertErrno(Errno.ENODEV, libc.mmap(PAGE, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_PRIVATE, reads, 0));
        for (long length : new long[] {-1, -PAGE}) {
            assertErrno(Errno.ENOMEM, libc.mmap(length, Uapi.PROT_READ, Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS, -1, 0));
        }
    }

    /** Besides MAP_SHARED and MAP_PRIVATE, files take MAP_SHARED_VALIDATE, and memory MAP_DROPPABLE since 6.11. */
    @Test
    void kindOfAMappingIsOneThatTheFileHas() {
        int vm = world.bareVm();
        int vcpu = world.vcpu(vm, 0);
        for (int kind = 0; kind <= 15; kind++) {
            for (int fd : new int[] {world.kvm(), vm, vcpu, world.eventfd()}) {
                boolean maps = kind >= 1 && kind <= 3;
                long result = libc.mmap(PAGE, Uapi.PROT_READ, kind, fd, 0);
                if (maps && fd == vcpu) {
                    assertOk(result);
                    assertOk(libc.munmap(result, PAGE));
                } else {
                    assertErrno(maps ? Errno.ENODEV : Errno.EINVAL, result);
                }
            }
            if (kind == 0 || kind > 2 && kind != DROPPABLE) {
                assertErrno(Errno.EINVAL, libc.mmap(PAGE, Uapi.PROT_READ, kind | Uapi.MAP_ANONYMOUS, -1, 0));
            }
        }
    }

    // Files of memory: mm/memfd.c

    private static final int SHRINK = Memfd.F_SEAL_SHRINK;
    private static final int GROW = Memfd.F_SEAL_GROW;
    private static final int SEALABLE = Memfd.MFD_CLOEXEC | Memfd.MFD_ALLOW_SEALING;

    private int memfd(String name, int flags) {
        ByteBuffer text = Buffers.cString(name);
        try {
            return (int) libc.syscall(SystemCall.MEMFD_CREATE, libc.addressOf(text), flags, 0, 0);
        } finally {
            Reference.reachabilityFence(text);
        }
    }

    private long truncate(int fd, long length) {
        return libc.syscall(SystemCall.FTRUNCATE, fd, length, 0, 0);
    }

    @Test
    void memoryFileIsCheckedByFlagsThenByName() {
        String longest = "n".repeat(249);
        world.own(memfd(longest, Memfd.MFD_CLOEXEC));
        assertErrno(Errno.EINVAL, memfd(longest + "n", Memfd.MFD_CLOEXEC));
        assertErrno(Errno.EINVAL, memfd("ram", 1 << 20));
        assertErrno(Errno.EFAULT, libc.syscall(SystemCall.MEMFD_CREATE, 8, SEALABLE, 0, 0));
        assertErrno(Errno.EINVAL, libc.syscall(SystemCall.MEMFD_CREATE, 8, 1 << 20, 0, 0));
        int sealed = memfd("ram", Memfd.MFD_CLOEXEC | Memfd.MFD_NOEXEC_SEAL);
        if (world.isSince(6, 3)) {
            assertThat(libc.fcntl(world.own(sealed), Memfd.F_GET_SEALS, 0)).isEqualTo(Memfd.F_SEAL_EXEC);
        } else {
            assertErrno(Errno.EINVAL, sealed);
        }
    }

    @Test
    void sizeIsThatOfAFileOfMemoryUntilItIsSealed() {
        int fd = world.own(memfd("ram", SEALABLE));
        int closed = world.eventfd();
        world.close(closed);
        assertErrno(Errno.EINVAL, truncate(closed, -1));
        assertErrno(Errno.EBADF, truncate(closed, PAGE));
        assertErrno(Errno.EINVAL, truncate(world.eventfd(), PAGE));
        assertOk(truncate(fd, 2 * PAGE));
        assertOk(truncate(fd, PAGE));
        assertOk(libc.fcntl(fd, Memfd.F_ADD_SEALS, SHRINK));
        assertErrno(Errno.EPERM, truncate(fd, 0));
        assertOk(truncate(fd, 2 * PAGE));
        assertOk(libc.fcntl(fd, Memfd.F_ADD_SEALS, GROW));
        assertErrno(Errno.EPERM, truncate(fd, 3 * PAGE));
        assertOk(truncate(fd, 2 * PAGE));
        assertThat(libc.fcntl(fd, Memfd.F_GET_SEALS, 0)).isEqualTo(SHRINK | GROW);
    }

    @Test
    void sealsAreOfFilesThatAllowThem() {
        assertErrno(Errno.EINVAL, libc.fcntl(world.eventfd(), Memfd.F_ADD_SEALS, SHRINK));
        assertErrno(Errno.EINVAL, libc.fcntl(world.eventfd(), Memfd.F_GET_SEALS, 0));
        int plain = world.own(memfd("ram", Memfd.MFD_CLOEXEC));
        assertThat(libc.fcntl(plain, Memfd.F_GET_SEALS, 0)).isEqualTo(Memfd.F_SEAL_SEAL);
        assertErrno(Errno.EPERM, libc.fcntl(plain, Memfd.F_ADD_SEALS, SHRINK));
        assertErrno(Errno.EINVAL, libc.fcntl(plain, Memfd.F_ADD_SEALS, 1 << 20));
        int ends = world.own(memfd("ram", SEALABLE));
        assertOk(libc.fcntl(ends, Memfd.F_ADD_SEALS, Memfd.F_SEAL_SEAL));
        assertErrno(Errno.EPERM, libc.fcntl(ends, Memfd.F_ADD_SEALS, SHRINK));
    }

    /** A regular file is always ready. */
    @Test
    void memoryFileCannotBeWaitedFor() {
        int fd = world.own(memfd("ram", SEALABLE));
        ByteBuffer event = Buffers.allocate(Epoll.SIZE).putInt(Epoll.EVENTS, Epoll.EPOLLIN);
        try {
            assertErrno(Errno.EPERM, libc.epollCtl(world.epollFd(), Epoll.EPOLL_CTL_ADD, fd, libc.addressOf(event)));
        } finally {
            Reference.reachabilityFence(event);
        }
    }
}
