/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Devices of the host that user space controls through VFIO, and their interrupts. PCI and platform devices have the
 * same classes.
 *
 * <p>A {@link io.kvmirq.vfio.VfioDevice} is opened through a {@link io.kvmirq.vfio.VfioFile}: its IOMMU group, or its
 * own file. A device accesses memory at the addresses of a {@link io.kvmirq.vfio.DmaSpace}. {@code VfioDevice.open}
 * does all steps for one device. To open several devices of one group or one space, open the file, create the space,
 * and open each device. KVM must be given the file before the device opens: {@link io.kvmirq.vfio.FileHolder} does
 * that, and refuses a file through which a device is open.
 *
 * <p>A {@link io.kvmirq.vfio.DeviceIrq} names an interrupt. An interrupt is armed with an eventfd, which the kernel
 * signals when the device raises the interrupt. Arming returns a handle; closing the handle disarms the interrupt. Only
 * INTx, MSI or MSI-X of a PCI device can be armed at a time. VFIO's index and subindex stay in this package and in
 * messages.
 *
 * <p>Rules. A positive result of VFIO_DEVICE_SET_IRQS means that nothing was enabled, see {@link
 * io.kvmirq.vfio.VectorsExhaustedException}. When the kernel refuses a change, it detaches eventfds of armed
 * interrupts. The library attaches them again, and {@link io.kvmirq.vfio.VectorsDisturbedException} names the
 * interrupts that had no eventfd for a moment. On a kernel that cannot add vectors to enabled ones, only {@code
 * growLosingInterrupts} adds some, because interrupts may be lost. MSI and MSI-X have no mask in VFIO: deassign the
 * irqfd. The kernel masks INTx when it signals, until it is unmasked. An armed interrupt leases its eventfd.
 *
 * <p>Locks: each device has a lock for its interrupts, which is held during VFIO_DEVICE_SET_IRQS. Each group, container
 * and device file has a lock for opening devices. A group's lock is taken before a container's.
 *
 * <p>{@code VfioCalls} and {@code DeviceCalls} make the calls. This package knows nothing of KVM.
 */
@NullMarked
package io.kvmirq.vfio;

import org.jspecify.annotations.NullMarked;
