/* SPDX-License-Identifier: Apache-2.0 */
/**
 * vCPU threads.
 *
 * <p>{@link io.kvmirq.run.VcpuThreads} runs each vCPU in its own thread, passes exits to the VMM's handler, and can
 * pause all vCPUs, for example for a snapshot.
 */
@NullMarked
package io.kvmirq.run;

import org.jspecify.annotations.NullMarked;
