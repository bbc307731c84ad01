/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The threads of a VM's vCPUs.
 *
 * <p>{@link io.kvmirq.run.VcpuThreads} runs each vCPU in a thread of its own, passes exits to the author's function, and
 * pauses all of them at once, as a snapshot needs it.
 */
@NullMarked
package io.kvmirq.run;

import org.jspecify.annotations.NullMarked;
