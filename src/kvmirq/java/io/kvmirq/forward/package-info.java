/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Forwards interrupts of the host's devices to a guest: joins {@link io.kvmirq.vfio} and {@link io.kvmirq.kvm}. Of the
 * packages below {@code io.kvmirq.pci}, only this package uses both VFIO and KVM.
 *
 * <p>{@link io.kvmirq.forward.Forwarding} forwards the interrupts of one device to one VM by the best {@link
 * io.kvmirq.forward.Mechanism}, and returns a {@link io.kvmirq.forward.ForwardedIrq} for each interrupt. The state of a
 * forwarded interrupt records whether an irqfd or a relay delivers the interrupt, and whether it is masked. Each change
 * of the state is sent to the mirror. {@code Triggers} attaches eventfds to a device's vectors; {@code
 * ForwardedMessage} and {@code ForwardedLine} join a device's interrupt to KVM. {@link io.kvmirq.forward.KvmVfio} gives
 * KVM the VFIO files that the guest uses. {@link io.kvmirq.forward.Abi2014} forwards a line by the patches of 2014.
 *
 * <p>Rules. Forwarding an interrupt a second time fails with EINVAL. Forwarding an interrupt that another program armed
 * fails with EBUSY, except by {@code takeOver}. A failed forwarding changes nothing. Ending a forwarding cannot fail,
 * in whatever order handles are closed. Each vector signals an eventfd, each eventfd has an irqfd or a reader, and each
 * irqfd has a route: routes are set up first and removed last. VFIO's index and subindex do not leave this package: its
 * calls to KVM need only the VM, an eventfd and a GSI.
 *
 * <p>The loop and the injector of {@link io.kvmirq.forward.Userspace} relay an interrupt for which KVM accepts no
 * irqfd. {@code RelayedEdge} relays a message or an edge, {@code RelayedLine} a line until the guest's EOI.
 *
 * <p>{@code ForwardCalls} makes the calls on the KVM-VFIO device.
 */
@NullMarked
package io.kvmirq.forward;

import org.jspecify.annotations.NullMarked;
