/* SPDX-License-Identifier: Apache-2.0 */
/**
 * How KVM finds the LAPICs that a message means, and when it posts the message. Not exported: it changes with any
 * version.
 *
 * <p>Records are immutable. Source: arch/x86/kvm/lapic.c, irq.c and the vendors' {@code pi_update_irte} of Linux 7.1.
 */
@NullMarked
package io.kvmirq.arch.apic.model;

import org.jspecify.annotations.NullMarked;
