/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The local APIC's side of x86 interrupts: messages in compatibility format, the layouts of IOAPIC entries and LAPIC
 * registers, the posted-interrupt descriptor (PID), and what Linux does to it.
 *
 * <p>A sender sets the bit of the vector in PIR and then sets ON in the {@link io.kvmirq.arch.apic.PiDescriptor}. The
 * sender that changes ON from 0 to 1 has to notify the vCPU. A receiver clears ON and then takes PIR. So each request is
 * taken, or ON is set after it. SN is the exception: while SN is set, a unit sets PIR without ON. The vCPU that clears SN
 * sets ON for the requests that it finds.
 *
 * <p>Records are immutable. {@link io.kvmirq.arch.apic.PiDescriptor}, {@link io.kvmirq.arch.apic.PostedVcpu} and {@link
 * io.kvmirq.arch.apic.PostedVm} are safe for use by many threads.
 */
@NullMarked
package io.kvmirq.arch.apic;

import org.jspecify.annotations.NullMarked;
