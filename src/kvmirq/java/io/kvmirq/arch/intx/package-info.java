/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Decides whether the guest's EOI may end a device's level-triggered interrupt directly. {@link
 * io.kvmirq.arch.intx.DirectEoiPolicy} makes a {@link io.kvmirq.arch.intx.DirectEoiDecision}.
 *
 * <p>Source: the thread "[PATCH 05/10] VFIO: pci: Introduce direct EOI INTx interrupt handler" of May 2017.
 */
@NotPromised
@NullMarked
package io.kvmirq.arch.intx;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
