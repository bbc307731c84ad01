/* SPDX-License-Identifier: Apache-2.0 */
/** A small x86 CPU for the vCPUs of the fake kernel: its registers, and the instructions of real mode. Not for users. */
@NullMarked
package io.kvmirq.fake.x86.cpu;

import org.jspecify.annotations.NullMarked;
