/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The threads of a VM's vCPUs.
 *
 * <p>{@link io.kvmirq.run.VcpuThreads} runs each vCPU in a thread of its own, passes exits to the VMM's handler, and
 * pauses all vCPUs at once, as a snapshot needs.
 */
@NullMarked
package io.kvmirq.run;

import org.jspecify.annotations.NullMarked;
