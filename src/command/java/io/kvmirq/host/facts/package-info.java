/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Facts of a host's devices, modules and processes, read from {@code /sys}, {@code /proc} and {@code /dev}.
 *
 * <p>{@link io.kvmirq.host.facts.HostFacts} reads them. No device file is ever opened, because opening a VFIO device
 * resets it. So {@code VfioOutlook} derives VFIO's results from these facts: the interrupts that
 * it will report, and the reasons why it would refuse the device. A fact that a file does not show is absent; it is
 * never guessed.
 */
@NullMarked
package io.kvmirq.host.facts;

import org.jspecify.annotations.NullMarked;
