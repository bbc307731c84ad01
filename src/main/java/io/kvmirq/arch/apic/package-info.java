/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The processor's side of x86 interrupts: messages in compatibility format, and the posted-interrupt descriptor (PID)
 * with what Linux does to it.
 *
 * <p>Senders write to a vCPU's {@link io.kvmirq.arch.apic.PiDescriptor}: the bit of the vector in PIR, then ON, and
 * whoever turns ON from 0 to 1 owes the vCPU a notification. Receivers turn ON off first and take PIR after, so that a
 * request is either taken or has ON set behind it. SN breaks that for devices: while it is set a unit requests without
 * ON, and whoever clears SN owes ON to the requests that are there.
 *
 * <p>What is a record here is immutable; {@link io.kvmirq.arch.apic.SharedWords} and what lives in them are for many
 * threads.
 */
@NullMarked
package io.kvmirq.arch.apic;

import org.jspecify.annotations.NullMarked;
