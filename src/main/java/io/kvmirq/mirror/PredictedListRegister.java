/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

/**
 * How an interrupt looks in a list register of arm64, when KVM delivers it.
 *
 * @param intid the guest's interrupt: an SPI, 32–1019, or an LPI, 8192 or more
 * @param hw LR.HW: whether the guest's EOI ends a physical interrupt
 * @param eoi LR.EOI: whether the guest's EOI raises a maintenance interrupt
 */
public record PredictedListRegister(int intid, boolean hw, boolean eoi) {}
