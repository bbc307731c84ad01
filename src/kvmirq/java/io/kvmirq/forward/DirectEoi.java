/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.forward;

import io.kvmirq.arch.intx.DirectEoiDecision;

/** A line's direct EOI, with the ABI that forwards the line and the decision that allowed it. */
record DirectEoi(Abi2014 abi, DirectEoiDecision decision) {}
