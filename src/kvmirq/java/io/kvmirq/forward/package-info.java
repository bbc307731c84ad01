/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Forwards host device interrupts ({@link io.kvmirq.vfio}) to a guest ({@link io.kvmirq.kvm}). Only this package and
 * packages that use it, such as {@code io.kvmirq.pci}, use both VFIO and KVM.
 *
 * <p>{@link io.kvmirq.forward.Forwarding} forwards one device's interrupts to one VM through the best {@link
 * io.kvmirq.forward.Mechanism}, and returns a {@link io.kvmirq.forward.ForwardedIrq} for each. A {@code ForwardedIrq}
 * records whether an irqfd or this process injects the interrupt, and whether it is masked, and reports each change to
 * the mirror. {@code Triggers} makes a device's vectors signal eventfds, which {@code ForwardedMessage} and {@code
 * ForwardedLine} connect to KVM. {@link io.kvmirq.forward.KvmVfio} passes the VFIO files that the guest uses to KVM.
 * {@link io.kvmirq.forward.Abi2014} forwards a line with the ABI of 2014.
 *
 * <p>Forwarding an interrupt a second time fails with EINVAL, and forwarding one that another program armed fails with
 * EBUSY, unless {@code takeOver} is used. If forwarding fails, nothing has changed. Ending a forwarding cannot fail, in
 * whatever order handles are closed. Each vector signals an eventfd, each eventfd has an irqfd or a reader, and each
 * irqfd has a route. Routes are set up first and removed last. VFIO's interrupt indices are never passed to KVM, except
 * by the ABI of 2014, because an irqfd needs only the VM, an eventfd and a GSI.
 *
 * <p>If KVM does not accept an irqfd, the loop of {@link io.kvmirq.forward.Userspace} reads the eventfd and calls the
 * injector. {@code RelayedEdge} does so for a message or an edge-triggered line, and {@code RelayedLine} for a
 * level-triggered line, which stays high until the guest's EOI.
 *
 * <p>{@code ForwardCalls} makes the system calls on KVM-VFIO.
 */
@NullMarked
package io.kvmirq.forward;

import org.jspecify.annotations.NullMarked;
