/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import java.nio.ByteBuffer;

/**
 * The primitives of the interrupt path, one kernel call each.
 *
 * <p>Every method returns {@code >= 0} or {@code -errno}, may be called from any thread, allocates nothing and never
 * throws for what the kernel says. File descriptors it makes are O_CLOEXEC. Buffers must be direct, writable, at
 * position 0 and large enough, else {@link IllegalArgumentException} before anything is called. The errnos of each call, in the
 * kernel's order of checks, are documented on the typed objects above ({@code io.kvmirq.kvm}).
 */
public interface KernelBackend {
    /** The name users choose it by: {@code jni}, ... */
    String name();

    /** Where it came from and its ABI, for people. */
    String description();

    /** Whether calls reach the kernel of this machine, and not a fake. */
    default boolean isReal() {
        return libc().isReal();
    }

    /** Everything that is not typed below. */
    Libc libc();

    // fd

    /** close(2), once, whatever it returns: after EINTR the number may already be somebody else's. */
    int fdClose(int fd);

    int fdDup(int fd);

    /** Set in the result of {@link #fdWait}: the first fd is readable, hung up or in error. */
    int READY_FD = 1;
    /** Set in the result of {@link #fdWait}: the wake fd is. */
    int READY_WAKE = 2;

    /**
     * Waits until {@code fd} or {@code wake} (-1: none) is readable.
     *
     * @param timeoutNanos negative: for ever
     * @return READY bits, 0 when the time is over, -EINTR, -EBADF
     */
    int fdWait(int fd, int wake, long timeoutNanos);

    // eventfd

    /** A non-blocking eventfd with count 0. */
    int eventfdCreate();

    int eventfdCreateSemaphore();

    /** Adds {@code count}, unsigned. -EAGAIN above 2^64 - 2, -EINVAL for 2^64 - 1. */
    int eventfdSignal(int fd, long count);

    /**
     * Takes the count.
     *
     * @param count 8 bytes, gets the unsigned count in native order (beside the result: a count can look like an errno)
     * @return 0, or -EAGAIN when the count was 0
     */
    int eventfdDrain(int fd, ByteBuffer count);

    /** The same for an eventfd whose O_NONBLOCK is somebody else's; never blocks. */
    int eventfdDrainForeign(int fd, ByteBuffer count);

    // vm

    /** @param path of the KVM device node, NUL-terminated */
    int kvmOpen(ByteBuffer path);

    int kvmVersion(int kvm);

    int capabilityCheck(int fd, int capability);

    int vmCreate(int kvm, long type);

    // irqchip

    int irqchipCreate(int vm);

    int irqchipCreateSplit(int vm, int pins);

    /** Bytes of an interrupt chip's state. */
    int IRQCHIP_STATE_SIZE = 512;

    /** @param state {@link #IRQCHIP_STATE_SIZE} bytes, the kernel's {@code kvm_pic_state} or {@code kvm_ioapic_state} */
    int irqchipGet(int vm, int chip, ByteBuffer state);

    int irqchipSet(int vm, int chip, ByteBuffer state);

    int x2apicEnable(int vm, long bits);

    // routes

    /** Bytes of one record of {@link #routesSet}: {@code struct kvmirq_route}. */
    int ROUTE_SIZE = 40;

    int ROUTE_GSI = 0;
    int ROUTE_TYPE = 4;
    int ROUTE_FLAGS = 8;
    int ROUTE_CHIP = 12;
    int ROUTE_PIN = 16;
    int ROUTE_DATA = 20;
    int ROUTE_ADDRESS = 24;
    int ROUTE_DEVID = 32;

    int ROUTE_TYPE_IRQCHIP = 1;
    int ROUTE_TYPE_MSI = 2;
    int ROUTE_FLAG_DEVID = 1;

    /**
     * @param routes {@code count} records of {@link #ROUTE_SIZE} bytes in native order
     * @return -EINVAL also for a type other than the two, before the kernel is asked
     */
    int routesSet(int vm, ByteBuffer routes, int count);

    // irqfd

    int irqfdAssign(int vm, int fd, int gsi);

    int irqfdAssignLevel(int vm, int fd, int resample, int gsi);

    int irqfdDeassign(int vm, int fd, int gsi);

    // ioeventfd

    int IOEVENTFD_DATAMATCH = 1;
    int IOEVENTFD_PIO = 2;

    int ioeventfdAssign(int vm, int fd, long address, int length, int flags, long datamatch);

    int ioeventfdDeassign(int vm, int fd, long address, int length, int flags, long datamatch);

    // injection

    int msiSignal(int vm, long address, int data, int flags, int devid);

    int lineSet(int vm, int gsi, int level);

    /** @param status 4 bytes, gets what {@code KVM_IRQ_LINE_STATUS} wrote; -1 there is an answer, not an errno */
    int lineSetStatus(int vm, int gsi, int level, ByteBuffer status);

    // devices

    /** 0 when a device of this type could be made. Makes nothing. */
    int deviceTest(int vm, int type);

    int deviceCreate(int vm, int type);

    int deviceAttrHas(int device, int group, long attribute);

    int deviceVfioAdd(int device, int fd);

    int deviceVfioRemove(int device, int fd);
}
