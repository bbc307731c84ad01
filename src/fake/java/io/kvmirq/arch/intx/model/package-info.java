/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A model of level-triggered interrupts of devices that VFIO assigns to a guest, from line to EOI. Not exported: any
 * version may change it.
 *
 * <p>An {@link io.kvmirq.arch.intx.model.IntxDevice} asserts a {@link io.kvmirq.arch.intx.model.PhysicalLine}, which
 * any number of devices and up to 64 handlers share. A handler of {@link io.kvmirq.arch.intx.model.VfioIntx} signals
 * the guest. {@code make races} runs tests of this model with a guest's pin and vCPU that the tests define.
 *
 * <p>The line stays asserted until the guest has served the device. Two mechanisms prevent further host interrupts
 * until the device is served:
 *
 * <ul>
 * <li>Auto-mask: the handler masks the device or, without DisINTx, the line. The guest's EOI signals the resamplefd,
 * and VFIO unmasks. If the device still asserts the line, VFIO keeps the device masked and signals the guest again.
 * <li>Direct EOI: the handler never masks. The physical interrupt stays active until the guest's EOI deactivates it.
 * Direct EOI needs a controller that ends an interrupt in two steps, as a GIC does. Until the EOI, no device on the
 * line interrupts the host. {@link io.kvmirq.arch.intx.DirectEoiDecision} says when direct EOI is allowed.
 * </ul>
 *
 * <p>Three orders of steps prevent lost interrupts. A handler masks before it signals. The guest's EOI lowers the
 * resampling source before it signals the resamplefd, so that a device that asserts again raises the source again. The
 * EOI first lets the guest's pin interrupt again, and then reads the pin's sources.
 *
 * <p>The fake kernel models x86 delivery, with the remote IRR of the IOAPIC, in classes of its own. It shares only
 * {@link io.kvmirq.arch.intx.model.PinSources} and {@link io.kvmirq.arch.intx.model.Resampler} with this package.
 *
 * <p>The model keeps its state in {@link io.kvmirq.arch.SharedWords}, so that tests can run accesses in any order. All
 * classes are thread-safe after set-up.
 *
 * <p>Source: drivers/vfio/pci/vfio_pci_intrs.c, virt/kvm/eventfd.c and kernel/irq of Linux 7.1.
 */
@NullMarked
package io.kvmirq.arch.intx.model;

import org.jspecify.annotations.NullMarked;
