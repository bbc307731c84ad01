/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What belongs to the processor's interrupt controller: messages in compatibility format, the posted-interrupt
 * descriptor and the table that points to it. Everything is immutable and may be used from any thread.
 */
@NullMarked
package io.kvmirq.arch.apic;

import org.jspecify.annotations.NullMarked;
