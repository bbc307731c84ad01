/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Controls host devices through VFIO and receives their interrupts. PCI and platform devices share the same classes.
 *
 * <p>A {@link io.kvmirq.vfio.VfioDevice} is opened through a {@link io.kvmirq.vfio.VfioFile}, which is its IOMMU group
 * or its own device file. The device does DMA to the addresses of a {@link io.kvmirq.vfio.DmaSpace}. {@code
 * VfioDevice.open} performs all steps for one device. To open several devices in one group or space, open the file,
 * create the space, and open each device. KVM must get the file before the device is opened. {@link
 * io.kvmirq.vfio.FileHolder} passes the file to KVM, and rejects a file through which a device is open.
 *
 * <p>A {@link io.kvmirq.vfio.DeviceIrq} identifies a device interrupt. To arm the interrupt, pass an eventfd, which the
 * kernel signals when the device interrupts. Arming returns a handle, whose {@code close} disarms the interrupt. Only
 * one of a PCI device's INTx, MSI and MSI-X can be armed at a time. Users see VFIO's index and subindex only in error
 * messages.
 *
 * <p>If VFIO_DEVICE_SET_IRQS returns a positive number, no interrupt was enabled, and the library throws {@link
 * io.kvmirq.vfio.VectorsExhaustedException}. If setting eventfds fails, the kernel also detaches the former eventfds.
 * The library attaches them again, and {@link io.kvmirq.vfio.VectorsDisturbedException} names the affected interrupts.
 * On a kernel that cannot add vectors while others are enabled, {@code growLosingInterrupts} adds vectors but can lose
 * interrupts. VFIO cannot mask MSI and MSI-X, so deassign a vector's irqfd to mask it. The kernel masks INTx at each
 * signal, until a program unmasks it. An armed interrupt keeps its eventfd open.
 *
 * <p>Each device has a lock for its interrupts, which is held during VFIO_DEVICE_SET_IRQS. Each group, container and
 * device file has a lock for opening devices. A group is locked before a container.
 *
 * <p>{@code VfioCalls} and {@code DeviceCalls} make the system calls. This package does not use {@code io.kvmirq.kvm}.
 */
@NullMarked
package io.kvmirq.vfio;

import org.jspecify.annotations.NullMarked;
