/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.NotPromised;

/**
 * The physical APIC id of an x86 host CPU, {@code apicid} in {@code /proc/cpuinfo}, as in PID.NDST and an AMD
 * guest-mode entry's destination. This is not the CPU number ({@code processor} in {@code /proc/cpuinfo}) that
 * tracepoints and {@code taskset} show, which can differ on a host with several threads or sockets.
 *
 * @param number the id, 0 or more
 */
@NotPromised
public record HostApicId(int number) {
    public HostApicId {
        if (number < 0) {
            throw new IllegalArgumentException("APIC id " + number + ": expected 0 or more, as /proc/cpuinfo shows it");
        }
    }

    @Override
    public String toString() {
        return "APIC id " + number;
    }
}
