/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class ThreadStatTest {
    @Test
    void capabilityIsOneBitOfTheEffectiveOnes() {
        String status = "Name:\tvmm\nCapPrm:\t00000000ffffffff\nCapEff:\t0000000000004000\n";
        assertThat(ThreadStat.hasCapability(status, 14)).hasValue(true);
        assertThat(ThreadStat.hasCapability(status, 13)).hasValue(false);
        assertThat(ThreadStat.hasCapability(status, 15)).hasValue(false);
        assertThat(ThreadStat.hasCapability("CapEff:\t4000g\n", 14)).isEmpty();
        assertThat(ThreadStat.hasCapability("Name:\tvmm\n", 14)).isEmpty();
    }

    /** The first thread of a process stays as a zombie until the others have ended. */
    @Test
    void zombieWithOtherThreadsIsExiting() {
        String zombie = "7 (vmm) Z 0 0 0 0 0 4" + " 0".repeat(10);
        String rest = " 0".repeat(33);
        assertThat(ThreadStat.parse(zombie + " 2" + rest).orElseThrow().isExiting())
                .isTrue();
        assertThat(ThreadStat.parse(zombie + " 1" + rest).orElseThrow().isExiting())
                .isFalse();
    }
}
