/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.apic;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class NotificationTest {
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void goesToTheProcessorOfNdstAndMovesTheRequestsOfTheGuestThere(boolean x2apic) {
        PostedVm vm = new PostedVm(4, 3, x2apic);
        for (int i = 0; i < 3; i++) {
            vm.vcpu(i).load(i + 1);
            vm.vcpu(i).enter();
        }
        assertThat(vm.vcpu(1).post(0x31, false)).isTrue();
        for (int cpu = 0; cpu < 4; cpu++) {
            assertThat(vm.isInterrupted(cpu)).isEqualTo(cpu == 2);
            vm.takeInterrupt(cpu);
        }
        assertThat(vm.vcpu(0).hasInterrupt()).isFalse();
        assertThat(vm.vcpu(1).isInIrr(0x31)).isTrue();
        assertThat(vm.vcpu(1).descriptor().hasRequests()).isFalse();
    }

    @Test
    void isMadeUpForWhereItWasSuppressed() {
        PiDescriptor pid = PiDescriptor.over(new long[PiDescriptor.WORDS]);
        pid.put();
        assertThat(pid.post(0x31, false)).isZero();
        pid.load(5);
        assertThat(pid.isOn()).isTrue();
        assertThat(pid.isSuppressed()).isFalse();
    }
}
