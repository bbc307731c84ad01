/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Facts of a host, read from {@code /sys}, {@code /proc} and {@code /dev}.
 *
 * <p>A {@link io.kvmirq.backend.HostFiles} gives the files: those of this machine, a copy that came from another
 * machine, or files in memory. {@link io.kvmirq.host.HostFacts} reads facts from it. No device file is ever opened,
 * because opening a VFIO device resets it. So {@link io.kvmirq.host.VfioOutlook} derives from these facts how VFIO will
 * answer: the interrupts that it will report, and the reasons for which it will refuse the device. A fact that a file
 * does not show is absent; it is never guessed.
 */
@NotPromised
@NullMarked
package io.kvmirq.host;

import io.kvmirq.NotPromised;
import org.jspecify.annotations.NullMarked;
