/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.differential;

import static org.assertj.core.api.Assertions.assertThatCode;

import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.testing.Choices;
import io.kvmirq.uapi.Uapi;
import org.junit.jupiter.api.Test;

class ValuesTest {
    /** Draws enough that each of some dozens of values comes many times. */
    private static final int DRAWS = 5000;

    /** A call that the fake refuses by name would end a search. */
    @Test
    void everyRequestDrawnIsModelled() {
        KernelBackend fake = new FakeKernel(Profile.V7_1).backend();
        int kvm = fake.kvmOpen(Buffers.cString("/dev/kvm"));
        int vm = fake.vmCreate(kvm, 0);
        int vcpu = fake.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, 0);
        Values values = new Values(Choices.of(0));
        for (int i = 0; i < DRAWS; i++) {
            long request = values.request();
            for (int fd : new int[] {kvm, vm, vcpu}) {
                assertThatCode(() -> fake.libc().ioctl(fd, request, Side.NOWHERE))
                        .as("0x%x", request)
                        .doesNotThrowAnyException();
            }
        }
    }
}
