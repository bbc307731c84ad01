/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Controls devices of the host through VFIO, and gets their interrupts. PCI and platform devices have the same classes.
 *
 * <p>A {@link io.kvmirq.vfio.VfioDevice} is opened through a {@link io.kvmirq.vfio.VfioFile}: the device's IOMMU group,
 * or the device's own file. A device accesses memory at the addresses of a {@link io.kvmirq.vfio.DmaSpace}.
 * {@code VfioDevice.open} does all steps for one device. To open several devices of one group or one space, open the
 * file, create the space, and open each device. KVM must get the file before the device is opened: {@link
 * io.kvmirq.vfio.FileHolder} passes the file to KVM, and refuses a file through which a device is open.
 *
 * <p>A {@link io.kvmirq.vfio.DeviceIrq} identifies an interrupt of a device. An interrupt is armed with an eventfd,
 * which the kernel signals when the device raises the interrupt. Arming returns a handle; closing the handle disarms
 * the interrupt. Only one of INTx, MSI and MSI-X of a PCI device can be armed at a time. Users see VFIO's index and
 * subindex only in error messages.
 *
 * <p>Rules. If VFIO_DEVICE_SET_IRQS returns a positive number, no interrupt is enabled, and the library throws {@link
 * io.kvmirq.vfio.VectorsExhaustedException}. If setting eventfds fails, the kernel detaches eventfds that armed
 * interrupts had before. The library attaches detached eventfds again, and {@link
 * io.kvmirq.vfio.VectorsDisturbedException} names their interrupts. On a kernel that cannot add vectors while others
 * are enabled, {@code growLosingInterrupts} adds vectors but may lose interrupts. VFIO cannot mask MSI and MSI-X: to
 * mask a vector, deassign its irqfd. The kernel masks INTx at each signal, until a program unmasks INTx. An armed
 * interrupt keeps its eventfd open.
 *
 * <p>Locks: each device has a lock for its interrupts, which is held during VFIO_DEVICE_SET_IRQS. Each group, container
 * and device file has a lock for opening devices. A thread locks a group before a container.
 *
 * <p>{@code VfioCalls} and {@code DeviceCalls} make the system calls. This package does not use {@code io.kvmirq.kvm}.
 */
@NullMarked
package io.kvmirq.vfio;

import org.jspecify.annotations.NullMarked;
