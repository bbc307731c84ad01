/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Models how KVM finds the LAPICs that match a message's destination, and when it posts the message. The package is not
 * exported and may change in any version.
 *
 * <p>Records are immutable. Source: arch/x86/kvm/lapic.c, irq.c and the vendors' {@code pi_update_irte} of Linux 7.1.
 */
@NullMarked
package io.kvmirq.arch.apic.model;

import org.jspecify.annotations.NullMarked;
