/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.mirror;

import io.kvmirq.NotPromised;

/**
 * The physical APIC id of a CPU of an x86 host, {@code apicid} in {@code /proc/cpuinfo}: PID.NDST and the destination
 * of an AMD guest-mode entry hold this id. The id is not the CPU number ({@code processor} in {@code /proc/cpuinfo})
 * that tracepoints and {@code taskset} show: id and number differ on a host with several threads or sockets.
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
