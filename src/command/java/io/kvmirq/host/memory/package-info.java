/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The structures of the running kernel, read from {@code /proc/kcore}: the remapping entry or the vLPI of a host irq, the
 * irqfds of all VMs, and the vCPUs that entries post to.
 *
 * <p>Nothing is locked and nothing is written, so memory may change under a walk. Each structure is read twice, and what
 * differs is read again. Offsets come from BTF alone; what BTF lacks (types of global variables, tags of tree nodes) is a
 * constant with a check of its own: an irq descriptor knows its number, a list node its predecessor, an irqfd and a vCPU
 * their VM. Each pointer is checked for range and alignment, and each walk has a limit. No address leaves this package.
 */
@NullMarked
package io.kvmirq.host.memory;

import org.jspecify.annotations.NullMarked;
