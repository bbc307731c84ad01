/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A small guest that tests the interrupt path of this machine.
 *
 * <p>{@link io.kvmirq.selftest.Guest} is a VM with one vCPU, which runs {@code src/fake/guest/guest.S} on a thread of
 * its own. {@link io.kvmirq.selftest.Scenarios} signal eventfds, as devices do, and count the answers. {@link
 * io.kvmirq.selftest.Selftest} runs the scenarios and reports each step to a {@link
 * io.kvmirq.selftest.SelftestListener}.
 *
 * <p>{@link io.kvmirq.selftest.ForwardSelftest} forwards the interrupts of one real device into such a guest, or into a
 * VGIC of arm64 ({@code ForwardTarget}), and lets VFIO trigger each.
 *
 * <p>The guest is started and stopped without signals and without sleeps. When its LAPIC is enabled, the guest writes
 * to a port and waits. To stop it, an NMI ends HLT, even with interrupts disabled; the NMI handler writes to another
 * port and the thread ends. To show that an interrupt does not arrive, a scenario sends another one after it and
 * counts.
 */
@NullMarked
package io.kvmirq.selftest;

import org.jspecify.annotations.NullMarked;
