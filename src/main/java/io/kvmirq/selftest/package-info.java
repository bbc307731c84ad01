/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A throw-away guest that proves the interrupt path of this machine.
 *
 * <p>{@link io.kvmirq.selftest.Guest} is a VM with one vCPU that runs {@code src/main/guest/guest.S} on a thread of its
 * own. {@link io.kvmirq.selftest.Scenarios} raise interrupts the way devices do, by signalling eventfds, and count the
 * answers; {@link io.kvmirq.selftest.Selftest} runs them and tells a {@link io.kvmirq.selftest.Journal} each step and
 * what the kernel answered.
 *
 * <p>Start and stop go through the guest, never through signals or sleeps. It exits on a port when its LAPIC is on and is
 * let run when the scenario is ready; an NMI, which ends HLT even with interrupts off, makes it exit on another port, and
 * its thread ends. What must not arrive is not waited for: a later interrupt that must arrive is counted instead.
 */
@NullMarked
package io.kvmirq.selftest;

import org.jspecify.annotations.NullMarked;
