/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Interrupts of the host's devices in a guest: what joins {@link io.kvmirq.vfio} and {@link io.kvmirq.kvm}. No other
 * package sees both.
 *
 * <p>{@link io.kvmirq.forward.Forwarding} joins the interrupts of one device and one VM, by the best {@link
 * io.kvmirq.forward.Mechanism}, and gives a {@link io.kvmirq.forward.ForwardedIrq} for each, whose state says whether
 * an irqfd or a relay delivers it, and whether it is masked. Each change of the state is told to the mirror. {@code
 * Triggers} is the device's half of messages, {@code ForwardedMessage} and {@code ForwardedLine} join the halves.
 * {@link io.kvmirq.forward.KvmVfio} tells KVM which files of VFIO the guest uses. {@link io.kvmirq.forward.Abi2014} is
 * the forwarding proposed in 2014.
 *
 * <p>Rules. An interrupt that is forwarded already is EINVAL; a trigger that is not ours is EBUSY, until it is taken
 * over. Forwarding may fail, and then nothing has changed; its end cannot fail, in whatever order handles are closed.
 * Signals are never without an eventfd, an eventfd never without an irqfd or a reader, and an irqfd never without a
 * route: routes come first and go last. VFIO's index and subindex do not leave this package: to the right there are the
 * VM, an eventfd and a GSI.
 *
 * <p>Where no irqfd can take an interrupt, {@link io.kvmirq.forward.Userspace} names the loop and the injector that
 * relay it: {@code RelayedEdge} a message or an edge, {@code RelayedLine} a line until the guest's EOI.
 *
 * <p>{@code ForwardCalls} makes the calls on the KVM-VFIO device.
 */
@NullMarked
package io.kvmirq.forward;

import org.jspecify.annotations.NullMarked;
