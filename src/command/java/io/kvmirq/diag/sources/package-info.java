/* SPDX-License-Identifier: Apache-2.0 */
/** The guests of a host: their vCPUs, options of VMMs, and the counts of probes. Only a watch writes, to tracefs. */
@NullMarked
package io.kvmirq.diag.sources;

import org.jspecify.annotations.NullMarked;
