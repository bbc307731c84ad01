/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Saves the state of a paused VM as one document, and restores this state into another VM.
 *
 * <p>{@link io.kvmirq.snapshot.VmParts} lists the parts of a VM by name. {@link io.kvmirq.snapshot.VmSnapshot#take} reads
 * the parts, and {@link io.kvmirq.snapshot.VmSnapshot#restore} writes them into another VM and reads them back. {@link
 * io.kvmirq.snapshot.VmMove} does both, and moves signals that come meanwhile. A pending interrupt is in one place at a
 * time: in the count of an eventfd, in an interrupt controller, in a LAPIC, or in a vCPU's event state. A snapshot
 * first masks the irqfds, so that no interrupt moves from one place to another while they are read one after the other.
 * Masking an irqfd waits until earlier signals of its eventfd have reached the interrupt controllers. A restore writes
 * vCPUs first, then controllers, then eventfds.
 *
 * <p>A snapshot does not contain guest memory, nested guests, the registers of host devices, or emulated devices other
 * than {@link io.kvmirq.pci.EmulatedFunction}.
 */
@NullMarked
package io.kvmirq.snapshot;

import org.jspecify.annotations.NullMarked;
