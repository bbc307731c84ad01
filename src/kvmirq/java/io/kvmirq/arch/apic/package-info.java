/* SPDX-License-Identifier: Apache-2.0 */
/**
 * x86 interrupt structures other than remapping entries: messages in compatibility format, the layouts of IOAPIC
 * entries and LAPIC registers, and the posted-interrupt descriptor (PID). Records are immutable. {@code
 * io.kvmirq.arch.vtd.posting} in module {@code io.kvmirq.fake} models how remapping units and Linux change a live
 * descriptor.
 */
@NotPromised
@NullMarked
package io.kvmirq.arch.apic;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
