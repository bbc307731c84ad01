/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend.libc;

import io.kvmirq.Errno;
import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.backend.Pool;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiVfio;
import java.nio.ByteBuffer;
import java.util.Set;
import java.util.function.Supplier;

/**
 * The kernel calls of the interrupt path, encoded in Java from {@link Uapi} and made through any {@link Libc}.
 * Thread-safe.
 *
 * <p>Each call encodes its argument in the calling thread's reused {@link Scratch}, and writes every byte of the
 * structure, padding included, so tests can compare the bytes of two calls.
 */
public final class LibcBackend implements KernelBackend {
    private static final Set<String> GENERIC_IOCTL_ENCODING = Set.of("amd64", "aarch64", "riscv64");
    private static final int EINVAL = -Errno.EINVAL.number();

    private final String name;
    private final String description;
    private final Libc libc;
    private final PerThread<Scratch> scratches;
    private final EventCount counts;
    private final VfioIrqs vfio;
    /** Keeps few, because a table for 4096 routes can hold 390 KB of direct memory. */
    private final Pool<RoutingTable> tables = new Pool<>(new MakingTable(), 8);

    private LibcBackend(String name, String description, Libc libc) {
        this.name = name;
        this.description = description;
        this.libc = libc;
        this.scratches = new PerThread<>(new MakingScratch(libc));
        this.counts = new EventCount(libc, scratches);
        this.vfio = new VfioIrqs(libc, scratches);
    }

    private record MakingScratch(Libc libc) implements Supplier<Scratch> {
        @Override
        public Scratch get() {
            return new Scratch(libc);
        }
    }

    private static final class MakingTable implements Supplier<RoutingTable> {
        @Override
        public RoutingTable get() {
            return new RoutingTable();
        }
    }

    /** Throws BackendUnavailableException unless the architecture is x86-64, arm64 or RISC-V. */
    public static LibcBackend over(Libc libc, String name, String description) {
        return over(libc, name, description, System.getProperty("os.arch", ""));
    }

    static LibcBackend over(Libc libc, String name, String description, String architecture) {
        if (!GENERIC_IOCTL_ENCODING.contains(architecture)) {
            throw new BackendUnavailableException("ioctl numbers of architecture " + architecture
                    + " are unknown: expected one of " + GENERIC_IOCTL_ENCODING);
        }
        return new LibcBackend(name, description, libc);
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public String description() {
        return description;
    }

    @Override
    public Libc libc() {
        return libc;
    }

    /** Makes a call that only reads its argument, then releases the argument. */
    private int ioctl(int fd, long request, Scratch argument) {
        try {
            return libc.ioctl(fd, request, argument.address());
        } finally {
            scratches.done(argument);
        }
    }

    // fd

    @Override
    public int fdClose(int fd) {
        return libc.close(fd);
    }

    @Override
    public int fdDup(int fd) {
        return libc.fcntl(fd, Uapi.F_DUPFD_CLOEXEC, 0);
    }

    @Override
    public int fdWait(int fd, int wake, long timeoutNanos) {
        Scratch scratch = scratches.getOwn();
        try {
            return Poll.untilReadable(libc, scratch, fd, wake, timeoutNanos);
        } finally {
            scratches.done(scratch);
        }
    }

    // eventfd

    @Override
    public int eventfdCreate() {
        return libc.eventfd(0, Uapi.O_CLOEXEC | Uapi.O_NONBLOCK);
    }

    @Override
    public int eventfdCreateSemaphore() {
        return libc.eventfd(0, Uapi.O_CLOEXEC | Uapi.O_NONBLOCK | Uapi.EFD_SEMAPHORE);
    }

    @Override
    public int eventfdSignal(int fd, long count) {
        return counts.signal(fd, count);
    }

    @Override
    public int eventfdDrain(int fd, ByteBuffer count) {
        return counts.drain(fd, count, false);
    }

    @Override
    public int eventfdDrainForeign(int fd, ByteBuffer count) {
        return counts.drain(fd, count, true);
    }

    // vm

    @Override
    public int kvmOpen(ByteBuffer path) {
        return libc.open(path, Uapi.O_RDWR | Uapi.O_CLOEXEC);
    }

    @Override
    public int kvmVersion(int kvm) {
        return libc.ioctl(kvm, Uapi.KVM_GET_API_VERSION, 0);
    }

    @Override
    public int capabilityCheck(int fd, int capability) {
        return libc.ioctl(fd, Uapi.KVM_CHECK_EXTENSION, Integer.toUnsignedLong(capability));
    }

    @Override
    public int vmCreate(int kvm, long type) {
        return libc.ioctl(kvm, Uapi.KVM_CREATE_VM, type);
    }

    // irqchip

    @Override
    public int irqchipCreate(int vm) {
        return libc.ioctl(vm, Uapi.KVM_CREATE_IRQCHIP, 0);
    }

    @Override
    public int irqchipGet(int vm, int chip, ByteBuffer state) {
        ByteBuffer to = Buffers.writable(state, IRQCHIP_STATE_SIZE);
        Scratch scratch = irqchip(chip);
        try {
            int result = libc.ioctl(vm, Uapi.KVM_GET_IRQCHIP, scratch.address());
            if (result >= 0) {
                scratch.copyTo(to, Uapi.KvmIrqchip.CHIP, IRQCHIP_STATE_SIZE);
            }
            return result;
        } finally {
            scratches.done(scratch);
        }
    }

    @Override
    public int irqchipSet(int vm, int chip, ByteBuffer state) {
        ByteBuffer from = Buffers.readable(state, IRQCHIP_STATE_SIZE);
        Scratch scratch = irqchip(chip);
        scratch.copyFrom(from, Uapi.KvmIrqchip.CHIP, IRQCHIP_STATE_SIZE);
        return ioctl(vm, Uapi.KVM_SET_IRQCHIP, scratch);
    }

    private Scratch irqchip(int chip) {
        Scratch scratch = scratches.get();
        scratch.zero(Uapi.KvmIrqchip.SIZE);
        scratch.putInt(Uapi.KvmIrqchip.CHIP_ID, chip);
        return scratch;
    }

    // routes

    @Override
    public int routesSet(int vm, ByteBuffer routes, int count) {
        ByteBuffer from = Buffers.routes(routes, count);
        RoutingTable table = tables.take();
        try {
            return table.encode(from, count) ? libc.ioctl(vm, Uapi.KVM_SET_GSI_ROUTING, table.bytes()) : EINVAL;
        } finally {
            tables.giveBack(table);
        }
    }

    // irqfd

    @Override
    public int irqfdAssign(int vm, int fd, int gsi) {
        return irqfd(vm, fd, gsi, 0, 0);
    }

    @Override
    public int irqfdAssignLevel(int vm, int fd, int resample, int gsi) {
        return irqfd(vm, fd, gsi, Uapi.KVM_IRQFD_FLAG_RESAMPLE, resample);
    }

    @Override
    public int irqfdDeassign(int vm, int fd, int gsi) {
        return irqfd(vm, fd, gsi, Uapi.KVM_IRQFD_FLAG_DEASSIGN, 0);
    }

    private int irqfd(int vm, int fd, int gsi, int flags, int resample) {
        Scratch scratch = scratches.get();
        scratch.zero(Uapi.KvmIrqfd.SIZE);
        scratch.putInt(Uapi.KvmIrqfd.FD, fd);
        scratch.putInt(Uapi.KvmIrqfd.GSI, gsi);
        scratch.putInt(Uapi.KvmIrqfd.FLAGS, flags);
        scratch.putInt(Uapi.KvmIrqfd.RESAMPLEFD, resample);
        return ioctl(vm, Uapi.KVM_IRQFD, scratch);
    }

    // ioeventfd

    @Override
    public int ioeventfdAssign(int vm, int fd, long address, int length, int flags, long datamatch) {
        return ioeventfd(vm, fd, address, length, flags & ~Uapi.KVM_IOEVENTFD_FLAG_DEASSIGN, datamatch);
    }

    @Override
    public int ioeventfdDeassign(int vm, int fd, long address, int length, int flags, long datamatch) {
        return ioeventfd(vm, fd, address, length, flags | Uapi.KVM_IOEVENTFD_FLAG_DEASSIGN, datamatch);
    }

    private int ioeventfd(int vm, int fd, long address, int length, int flags, long datamatch) {
        Scratch scratch = scratches.get();
        scratch.zero(Uapi.KvmIoeventfd.SIZE);
        scratch.putLong(Uapi.KvmIoeventfd.DATAMATCH, datamatch);
        scratch.putLong(Uapi.KvmIoeventfd.ADDR, address);
        scratch.putInt(Uapi.KvmIoeventfd.LEN, length);
        scratch.putInt(Uapi.KvmIoeventfd.FD, fd);
        scratch.putInt(Uapi.KvmIoeventfd.FLAGS, flags);
        return ioctl(vm, Uapi.KVM_IOEVENTFD, scratch);
    }

    // injection

    @Override
    public int msiSignal(int vm, long address, int data, int flags, int devid) {
        Scratch scratch = scratches.get();
        scratch.zero(Uapi.KvmMsi.SIZE);
        scratch.putInt(Uapi.KvmMsi.ADDRESS_LO, (int) address);
        scratch.putInt(Uapi.KvmMsi.ADDRESS_HI, (int) (address >>> 32));
        scratch.putInt(Uapi.KvmMsi.DATA, data);
        scratch.putInt(Uapi.KvmMsi.FLAGS, flags);
        scratch.putInt(Uapi.KvmMsi.DEVID, devid);
        return ioctl(vm, Uapi.KVM_SIGNAL_MSI, scratch);
    }

    @Override
    public int lineSet(int vm, int gsi, int level) {
        return ioctl(vm, Uapi.KVM_IRQ_LINE, line(gsi, level));
    }

    @Override
    public int lineSetStatus(int vm, int gsi, int level, ByteBuffer status) {
        ByteBuffer to = Buffers.writable(status, Integer.BYTES);
        Scratch scratch = line(gsi, level);
        try {
            int result = libc.ioctl(vm, Uapi.KVM_IRQ_LINE_STATUS, scratch.address());
            if (result >= 0) {
                Buffers.put(to, 0, scratch.getInt(Uapi.KvmIrqLevel.IRQ));
            }
            return result;
        } finally {
            scratches.done(scratch);
        }
    }

    private Scratch line(int gsi, int level) {
        Scratch scratch = scratches.get();
        scratch.putInt(Uapi.KvmIrqLevel.IRQ, gsi);
        scratch.putInt(Uapi.KvmIrqLevel.LEVEL, level == 0 ? 0 : 1);
        return scratch;
    }

    // devices

    @Override
    public int deviceTest(int vm, int type) {
        return ioctl(vm, Uapi.KVM_CREATE_DEVICE, device(type, Uapi.KVM_CREATE_DEVICE_TEST));
    }

    @Override
    public int deviceCreate(int vm, int type) {
        Scratch scratch = device(type, 0);
        try {
            int result = libc.ioctl(vm, Uapi.KVM_CREATE_DEVICE, scratch.address());
            return result < 0 ? result : scratch.getInt(Uapi.KvmCreateDevice.FD);
        } finally {
            scratches.done(scratch);
        }
    }

    private Scratch device(int type, int flags) {
        Scratch scratch = scratches.get();
        scratch.putInt(Uapi.KvmCreateDevice.TYPE, type);
        scratch.putInt(Uapi.KvmCreateDevice.FD, 0);
        scratch.putInt(Uapi.KvmCreateDevice.FLAGS, flags);
        return scratch;
    }

    @Override
    public int deviceAttrHas(int device, int group, long attribute) {
        return ioctl(device, Uapi.KVM_HAS_DEVICE_ATTR, attribute(group, attribute, 0));
    }

    @Override
    public int deviceVfioAdd(int device, int fd) {
        return vfioFile(device, Uapi.KVM_DEV_VFIO_FILE_ADD, fd);
    }

    @Override
    public int deviceVfioRemove(int device, int fd) {
        return vfioFile(device, Uapi.KVM_DEV_VFIO_FILE_DEL, fd);
    }

    private int vfioFile(int device, int attribute, int fd) {
        int valueAt = Uapi.KvmDeviceAttr.SIZE;
        Scratch scratch = attribute(Uapi.KVM_DEV_VFIO_FILE, attribute, 0);
        scratch.putInt(valueAt, fd);
        scratch.putLong(Uapi.KvmDeviceAttr.ADDR, scratch.address() + valueAt);
        return ioctl(device, Uapi.KVM_SET_DEVICE_ATTR, scratch);
    }

    private Scratch attribute(int group, long attribute, long address) {
        Scratch scratch = scratches.get();
        scratch.putInt(Uapi.KvmDeviceAttr.FLAGS, 0);
        scratch.putInt(Uapi.KvmDeviceAttr.GROUP, group);
        scratch.putLong(Uapi.KvmDeviceAttr.ATTR, attribute);
        scratch.putLong(Uapi.KvmDeviceAttr.ADDR, address);
        return scratch;
    }

    // VFIO

    @Override
    public int vfioIrqInfo(int device, int index, ByteBuffer info) {
        return vfio.info(device, index, info);
    }

    @Override
    public int vfioIrqsSet(int device, int flags, int index, int start, int count, ByteBuffer set) {
        return vfio.set(device, flags, index, start, count, set);
    }

    @Override
    public int vfioDeviceReset(int device) {
        return libc.ioctl(device, UapiVfio.VFIO_DEVICE_RESET, 0);
    }
}
