/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.vtd.posting;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.vcpu.HostCpus;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class NotificationTest {
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void goesToTheProcessorOfNdstAndMovesTheRequestsOfTheGuestThere(boolean x2apic) {
        PostedVm vm = new PostedVm(new HostCpus(0x10, 0x12, 0x14, 0x20), 3, x2apic);
        for (int i = 0; i < 3; i++) {
            vm.vcpu(i).thread().load(i + 1);
            vm.vcpu(i).thread().enter();
        }
        assertThat(vm.vcpu(1).post(0x31, false)).isTrue();
        for (int cpu = 0; cpu < 4; cpu++) {
            assertThat(vm.host().cpu(cpu).isInterrupted()).isEqualTo(cpu == 2);
            vm.host().cpu(cpu).takeInterrupt();
        }
        assertThat(vm.vcpu(0).hasInterrupt()).isFalse();
        assertThat(vm.vcpu(1).isInIrr(0x31)).isTrue();
        assertThat(vm.vcpu(1).descriptor().hasRequests()).isFalse();
    }

    @Test
    void leavesTheRequestsOfGuestsOnOtherCpus() {
        PostedVm vm = new PostedVm(new HostCpus(0x10, 0x12), 2, true);
        for (int i = 0; i < 2; i++) {
            vm.vcpu(i).thread().load(i);
            vm.vcpu(i).thread().enter();
            assertThat(vm.vcpu(i).post(0x31, false)).isTrue();
        }
        vm.host().cpu(1).takeInterrupt();
        assertThat(vm.vcpu(1).isInIrr(0x31)).isTrue();
        assertThat(vm.vcpu(0).isInIrr(0x31)).isFalse();
        assertThat(vm.vcpu(0).descriptor().isOn()).isTrue();
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
