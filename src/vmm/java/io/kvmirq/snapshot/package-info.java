/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The state of a paused VM as one document, and a VM made from it.
 *
 * <p>{@link io.kvmirq.snapshot.VmParts} names what belongs to a VM. {@link io.kvmirq.snapshot.VmSnapshot#of} reads it,
 * {@link io.kvmirq.snapshot.VmSnapshot#restore} makes another VM's parts the same and reads them back. A pending interrupt
 * is in one place at a time: in the count of an eventfd, in an interrupt controller, in a LAPIC, or on its way into a
 * vCPU. Irqfds are masked first, so that it stays in its place while the places are read one after the other: a mask
 * waits for what is on its way from an eventfd to the controllers. A restore fills the places in reverse: vCPUs,
 * controllers, eventfds.
 *
 * <p>Guest memory, emulated devices of a VMM, the registers of the host's devices and nested guests are not in a snapshot.
 */
@NullMarked
package io.kvmirq.snapshot;

import org.jspecify.annotations.NullMarked;
