/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.backend;

import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;

/**
 * One method for each kernel call of the interrupt path.
 *
 * <p>Every method returns {@code >= 0} or {@code -errno}, never throws for an errno, and does not allocate. Any thread
 * may call any method. New file descriptors are O_CLOEXEC. Buffers must be direct, writable, at position 0 and large
 * enough, or the method throws {@link IllegalArgumentException} before it calls the kernel. Records are in native
 * order, whatever the buffer's order. Closing a buffer's arena during the call would make the kernel use freed memory.
 * The methods of {@code io.kvmirq.kvm} document each call's errnos, in the order of the kernel's checks.
 *
 * <p>The interface is stable for callers, but not for implementers: a new method may have a default that does not suit
 * your implementation.
 */
public interface KernelBackend {
    /** The name that selects the backend, such as {@code jni}. */
    String name();

    /** The binding's library and ABI, for error messages. */
    String description();

    /** Whether calls reach this machine's kernel and not a fake. */
    default boolean isReal() {
        return libc().isReal();
    }

    /** Raw system calls, for everything that has no method here. */
    Libc libc();

    // fd

    /** close(2). Do not retry a failed close, even after EINTR, because {@code fd} may be another file by then. */
    int fdClose(int fd);

    /** fcntl(2) with F_DUPFD_CLOEXEC. Returns a new descriptor of the same file. */
    int fdDup(int fd);

    /** Bit in the result of {@link #fdWait}: {@code fd} is readable, hung up or in error. */
    int READY_FD = 1;
    /** Bit in the result of {@link #fdWait}: {@code wake} is readable, hung up or in error. */
    int READY_WAKE = 2;

    /**
     * Waits until {@code fd} or {@code wake} is readable. A {@code wake} of -1 is ignored.
     *
     * @param timeoutNanos the timeout. A negative value waits without limit
     * @return {@link #READY_FD}, {@link #READY_WAKE} or both, 0 after the timeout, -EINTR or -EBADF
     */
    int fdWait(int fd, int wake, long timeoutNanos);

    // eventfd

    /** Creates a non-blocking eventfd with count 0. */
    int eventfdCreate();

    /**
     * Creates {@code count} eventfds like {@link #eventfdCreate}. A binding may create them in one native call.
     *
     * @param numbers receives {@code count} descriptors, in native order
     * @return the number of new eventfds, which stay open. If one cannot be created, its element is -errno
     */
    default int eventfdsCreate(ByteBuffer numbers, int count) {
        Buffers.results(numbers, Integer.BYTES, count);
        for (int i = 0; i < count; i++) {
            int result = eventfdCreate();
            numbers.putInt(i * Integer.BYTES, result);
            if (result < 0) {
                return i;
            }
        }
        return count;
    }

    /** Creates a non-blocking eventfd with count 0 and EFD_SEMAPHORE, so that each read subtracts 1. */
    int eventfdCreateSemaphore();

    /**
     * Adds the unsigned {@code count}. Returns -EAGAIN if the sum exceeds 2^64 - 2, -EINVAL if {@code count} is 2^64 -
     * 1.
     */
    int eventfdSignal(int fd, long count);

    /**
     * Reads the count and resets it to 0, or subtracts 1 with EFD_SEMAPHORE.
     *
     * @param count 8 bytes that receive the unsigned count in native order. A returned count could look like -errno
     * @return 0, or -EAGAIN if the count was 0
     */
    int eventfdDrain(int fd, ByteBuffer count);

    /** Drains another program's eventfd like {@link #eventfdDrain}, but never blocks, even without O_NONBLOCK. */
    int eventfdDrainForeign(int fd, ByteBuffer count);

    // vm

    /** Opens the KVM device node. {@code path} is NUL-terminated. */
    int kvmOpen(ByteBuffer path);

    /** KVM_GET_API_VERSION. Returns KVM's API version, 12. */
    int kvmVersion(int kvm);

    /** KVM_CHECK_EXTENSION on the KVM device or a VM. Returns 0 if KVM does not support the capability. */
    int capabilityCheck(int fd, int capability);

    /** KVM_CREATE_VM. Returns the new VM's descriptor. {@code type} 0 is the architecture's default. */
    int vmCreate(int kvm, long type);

    // irqchip

    /** KVM_CREATE_IRQCHIP. Creates the PIC, IOAPIC and LAPICs in the kernel. */
    int irqchipCreate(int vm);

    /** KVM_CAP_SPLIT_IRQCHIP. KVM emulates the LAPICs, and the VMM emulates an IOAPIC with {@code pins} pins. */
    default int irqchipCreateSplit(int vm, int pins) {
        return Argument.enable(libc(), vm, Uapi.KVM_CAP_SPLIT_IRQCHIP, Integer.toUnsignedLong(pins));
    }

    /** The size of an interrupt chip's state in bytes. */
    int IRQCHIP_STATE_SIZE = 512;

    /** KVM_GET_IRQCHIP. Stores {@link #IRQCHIP_STATE_SIZE} bytes, {@code kvm_pic_state} or {@code kvm_ioapic_state}. */
    int irqchipGet(int vm, int chip, ByteBuffer state);

    /** KVM_SET_IRQCHIP. Sets a chip to {@code state}, which has the layout of {@link #irqchipGet}. */
    int irqchipSet(int vm, int chip, ByteBuffer state);

    /** KVM_CAP_X2APIC_API with {@code KVM_X2APIC_API_*} bits. */
    default int x2apicEnable(int vm, long bits) {
        return Argument.enable(libc(), vm, Uapi.KVM_CAP_X2APIC_API, bits);
    }

    // routes

    /** The record size of {@link #routesSet} in bytes, {@code struct kvmirq_route}. */
    int ROUTE_SIZE = Buffers.ROUTE_SIZE;

    /** Offset of the GSI in a route record, 4 bytes. */
    int ROUTE_GSI = 0;
    /**
     * Offset of the route's type, 4 bytes: {@link #ROUTE_TYPE_IRQCHIP}, {@link #ROUTE_TYPE_MSI}, or another KVM type.
     * For another type, 28 bytes of the union in {@code kvm_irq_routing_entry} begin at {@link #ROUTE_CHIP}.
     */
    int ROUTE_TYPE = 4;
    /** Offset of the flags in a route record, 4 bytes. An MSI route has 0 or {@link #ROUTE_FLAG_DEVID}. */
    int ROUTE_FLAGS = 8;
    /** Offset of the chip in an irqchip route's record, 4 bytes. */
    int ROUTE_CHIP = 12;
    /** Offset of the pin in an irqchip route's record, 4 bytes. */
    int ROUTE_PIN = 16;
    /** Offset of the MSI data in a route record, 4 bytes. */
    int ROUTE_DATA = 20;
    /** Offset of the MSI address in a route record, 8 bytes. */
    int ROUTE_ADDRESS = 24;
    /** Offset of the device id in a route record, 4 bytes, used with {@link #ROUTE_FLAG_DEVID}. */
    int ROUTE_DEVID = 32;

    /** The route ends at a pin of an interrupt chip. */
    int ROUTE_TYPE_IRQCHIP = 1;
    /** The route sends an MSI message. */
    int ROUTE_TYPE_MSI = 2;
    /** Flag: the record holds a device id. */
    int ROUTE_FLAG_DEVID = 1;

    /** KVM_SET_GSI_ROUTING. {@code routes} holds {@code count} records of {@link #ROUTE_SIZE} bytes in native order. */
    int routesSet(int vm, ByteBuffer routes, int count);

    // irqfd

    /** KVM_IRQFD. Each signal of the eventfd raises an edge on the GSI. */
    int irqfdAssign(int vm, int fd, int gsi);

    /** The record size of {@link #irqfdsAssign} in bytes. */
    int IRQFD_SIZE = 2 * Integer.BYTES;

    /** Offset of the eventfd in an irqfd record, 4 bytes. */
    int IRQFD_FD = 0;

    /** Offset of the GSI in an irqfd record, 4 bytes. */
    int IRQFD_GSI = Integer.BYTES;

    /**
     * Assigns {@code count} irqfds like {@link #irqfdAssign}. A binding may assign them in one native call.
     *
     * @param irqfds {@code count} records of {@link #IRQFD_SIZE} bytes in native order
     * @return the number of new irqfds, which stay assigned. The record of an irqfd that fails holds -errno in place of
     *     the eventfd
     */
    default int irqfdsAssign(int vm, ByteBuffer irqfds, int count) {
        Buffers.results(irqfds, IRQFD_SIZE, count);
        for (int i = 0; i < count; i++) {
            int at = i * IRQFD_SIZE;
            int result = irqfdAssign(vm, irqfds.getInt(at + IRQFD_FD), irqfds.getInt(at + IRQFD_GSI));
            if (result < 0) {
                irqfds.putInt(at + IRQFD_FD, result);
                return i;
            }
        }
        return count;
    }

    /** KVM_IRQFD with RESAMPLE. A signal raises the GSI, and the guest's EOI lowers it and signals {@code resample}. */
    int irqfdAssignLevel(int vm, int fd, int resample, int gsi);

    /** KVM_IRQFD with DEASSIGN. Returns once KVM has delivered the earlier signals. */
    int irqfdDeassign(int vm, int fd, int gsi);

    // ioeventfd

    /** Flag: only a write of the value {@code datamatch} matches. */
    int IOEVENTFD_DATAMATCH = 1;
    /** Flag: the address is an I/O port. */
    int IOEVENTFD_PIO = 2;

    /** KVM_IOEVENTFD. A matching guest write signals the eventfd without an exit to user space. */
    int ioeventfdAssign(int vm, int fd, long address, int length, int flags, long datamatch);

    /**
     * KVM_IOEVENTFD with DEASSIGN. Removes the ioeventfd that {@link #ioeventfdAssign} assigned with the same
     * arguments.
     */
    int ioeventfdDeassign(int vm, int fd, long address, int length, int flags, long datamatch);

    // injection

    /**
     * KVM_SIGNAL_MSI. Returns the number of LAPICs that accepted the MSI, or -1, which is also -EPERM, if none matched.
     */
    int msiSignal(int vm, long address, int data, int flags, int devid);

    /** KVM_IRQ_LINE. Drives a GSI high (1) or low (0). */
    int lineSet(int vm, int gsi, int level);

    /** KVM_IRQ_LINE_STATUS. Stores KVM's 4-byte status in {@code status}, where -1 is not an errno. */
    int lineSetStatus(int vm, int gsi, int level, ByteBuffer status);

    // devices

    /** KVM_CREATE_DEVICE_TEST. Returns 0 if KVM supports this device type, without creating a device. */
    int deviceTest(int vm, int type);

    /** KVM_CREATE_DEVICE. Returns the new device's descriptor. */
    int deviceCreate(int vm, int type);

    /** KVM_HAS_DEVICE_ATTR. Returns 0 if the device supports the attribute, otherwise -ENXIO. */
    int deviceAttrHas(int device, int group, long attribute);

    /** KVM_DEV_VFIO_FILE_ADD on a KVM-VFIO device. {@code fd} is a VFIO group or device. */
    int deviceVfioAdd(int device, int fd);

    /** KVM_DEV_VFIO_FILE_DEL on a KVM-VFIO device. */
    int deviceVfioRemove(int device, int fd);

    // VFIO: unless device is a VFIO device, the result is -ENOTTY (-EINVAL from /dev/kvm and a vCPU)

    /** The record size of {@link #vfioIrqInfo} in bytes, {@code struct kvmirq_vfio_irq}. */
    int VFIO_IRQ_SIZE = 8;

    /** Offset of the flags {@code VFIO_IRQ_INFO_*} in the record, 4 bytes. */
    int VFIO_IRQ_FLAGS = 0;
    /** Offset of the number of interrupts, 4 bytes, unsigned. It is 0 if the index has none. */
    int VFIO_IRQ_COUNT = 4;

    /**
     * VFIO_DEVICE_GET_IRQ_INFO. Reads an index's flags and number of interrupts.
     *
     * @param index the bus driver's kind of interrupt, such as {@code VFIO_PCI_MSIX_IRQ_INDEX}
     * @param info {@link #VFIO_IRQ_SIZE} bytes that receive the record, or stay unchanged after an error
     * @return 0, or -EINVAL if the device does not have the index
     */
    int vfioIrqInfo(int device, int index, ByteBuffer info);

    /** The size of the header that {@link #vfioIrqsSet} writes into its buffer, in front of the data. */
    int VFIO_IRQS_HEADER_SIZE = 20;

    /**
     * VFIO_DEVICE_SET_IRQS on {@code count} interrupts of an index, starting at {@code start}. Both are unsigned.
     *
     * <p>If the kernel rejects the arguments, nothing changes. If it cannot set a vector, it detaches the eventfds of
     * all vectors from {@code start} up to that vector, including eventfds from earlier calls.
     *
     * @param flags one {@code VFIO_IRQ_SET_DATA_*} and one {@code VFIO_IRQ_SET_ACTION_*}
     * @param set {@link #VFIO_IRQS_HEADER_SIZE} bytes, then the data in native order: {@code count} bytes for BOOL,
     *     {@code count} 4-byte descriptors for EVENTFD, where -1 means no eventfd, and nothing for NONE. The call
     *     writes the header, so no other thread may use the buffer during the call
     * @return 0; if the kernel enabled nothing, the positive number of available vectors; -EINVAL if the device lacks
     *     the index, range or data type, another of INTx, MSI and MSI-X is enabled, or a descriptor is not an eventfd;
     *     -ENOTTY if this index lacks the action; -EBADF if a descriptor is not open; -EBUSY if the line has an unmask
     *     eventfd or its host irq is used; -ENOSPC or -ENOMEM if the host has no vectors left
     */
    int vfioIrqsSet(int device, int flags, int index, int start, int count, ByteBuffer set);

    /** VFIO_DEVICE_RESET. Returns -EINVAL if the device cannot be reset alone, -EAGAIN if device or bus is locked. */
    int vfioDeviceReset(int device);
}
