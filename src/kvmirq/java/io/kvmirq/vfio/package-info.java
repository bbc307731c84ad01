/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Devices of the host in user space, and their interrupts; the same for PCI and platform devices.
 *
 * <p>A {@link io.kvmirq.vfio.VfioDevice} is opened through a {@link io.kvmirq.vfio.VfioFile}: its IOMMU group, or its
 * own file. A device uses memory by the addresses of a {@link io.kvmirq.vfio.DmaSpace}. {@code VfioDevice.open} does
 * all steps for one device; several devices of one group or of one space are opened by the steps: file, space, device.
 * KVM must get the file before the device opens. {@link io.kvmirq.vfio.FileHolder} is that step, and refuses a file
 * that is used.
 *
 * <p>An interrupt is named by a {@link io.kvmirq.vfio.DeviceIrq}, and armed with an eventfd, which the kernel signals
 * when the device raises the interrupt. Arming returns a handle; closing the handle disarms the interrupt. A PCI device
 * has one of INTx, MSI and MSI-X armed at a time. VFIO's index and subindex stay in this package and in messages.
 *
 * <p>Rules. A positive result of VFIO_DEVICE_SET_IRQS means that nothing was enabled, see {@link
 * io.kvmirq.vfio.VectorsExhaustedException}. When the kernel refuses a change, it detaches eventfds of armed
 * interrupts. The library attaches them again, and {@link io.kvmirq.vfio.VectorsDisturbedException} names the
 * interrupts that were silent for a moment. Vectors that the kernel cannot add are added only by a method whose name
 * says that interrupts are lost. MSI and MSI-X have no mask in VFIO: deassign the irqfd. INTx masks itself until it is
 * unmasked. An armed interrupt leases its eventfd.
 *
 * <p>Locks: a device has one for its interrupts, held during VFIO_DEVICE_SET_IRQS, as the kernel holds its own. A
 * group, a container and a device file have one each for opening devices; a group's is taken before a container's.
 *
 * <p>{@code VfioCalls} and {@code DeviceCalls} make the calls. This package knows nothing of KVM.
 */
@NullMarked
package io.kvmirq.vfio;

import org.jspecify.annotations.NullMarked;
