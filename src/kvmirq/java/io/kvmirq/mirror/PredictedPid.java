/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import java.util.Objects;
import java.util.OptionalInt;

/**
 * The posted-interrupt descriptor fields that depend on the vCPU's schedule. PID.ON and PIR change with each interrupt
 * and are not predicted.
 *
 * @param nv PID.NV, the notification vector, 0xf1 (wake-up) while the vCPU sleeps, otherwise 0xf2. Up to Linux 6.16, a
 *     vCPU that is preempted while it goes to sleep also has 0xf1, but no event distinguishes this vCPU from other
 *     preempted vCPUs
 * @param sn PID.SN, true if the vCPU is preempted or, since Linux 6.17, in user space
 * @param cpu the physical APIC id in PID.NDST, of the CPU on which the vCPU was last loaded, empty if unknown
 */
public record PredictedPid(int nv, boolean sn, OptionalInt cpu) {
    public PredictedPid {
        Objects.requireNonNull(cpu, "cpu is null");
    }
}
