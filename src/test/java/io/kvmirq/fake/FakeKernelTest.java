/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.Errno;
import io.kvmirq.backend.Backends;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.libc.LibcBackend;
import io.kvmirq.backend.libc.Uapi;
import org.junit.jupiter.api.Test;

class FakeKernelTest {
    private static KernelBackend fake(Profile profile) {
        FakeKernel kernel = new FakeKernel(profile);
        return LibcBackend.over(kernel, Backends.FAKE, kernel.toString());
    }

    /** What kernels know and the fake does not is never answered as if it were unknown to all. */
    @Test
    void whatIsNotModelledIsRefusedByName() {
        KernelBackend fake = fake(Profile.V6_18);
        int vm = fake.vmCreate(fake.kvmOpen(Buffers.cString("/dev/kvm")), 0);
        int vcpu = fake.libc().ioctl(vm, Uapi.KVM_CREATE_VCPU, 0);
        assertThatThrownBy(() -> fake.libc().ioctl(vm, Uapi.KVM_CREATE_PIT2, 0))
                .isInstanceOf(NotModelledException.class)
                .hasMessage("the fake kernel does not model KVM_CREATE_PIT2");
        assertThatThrownBy(() -> fake.libc().ioctl(vcpu, Uapi.KVM_NMI, 0))
                .hasMessage("the fake kernel does not model KVM_NMI");
        assertThat(fake.libc().ioctl(vm, 0xaeff, 0)).isEqualTo(-Errno.ENOTTY.number());
    }

    /** One eventfd, one irqfd: of the host since 6.17, of each VM before. */
    @Test
    void profilesDifferWhereKernelsDo() {
        assertThat(assignInTwoVms(fake(Profile.V6_18))).isEqualTo(-Errno.EBUSY.number());
        assertThat(assignInTwoVms(fake(Profile.V7_1))).isEqualTo(-Errno.EBUSY.number());
        assertThat(assignInTwoVms(fake(Profile.V6_1))).isZero();
        assertThat(assignInTwoVms(fake(Profile.V6_12))).isZero();
    }

    private static int assignInTwoVms(KernelBackend kernel) {
        int kvm = kernel.kvmOpen(Buffers.cString("/dev/kvm"));
        int event = kernel.eventfdCreate();
        int one = kernel.vmCreate(kvm, 0);
        int other = kernel.vmCreate(kvm, 0);
        assertThat(kernel.irqchipCreate(one)).isZero();
        assertThat(kernel.irqchipCreate(other)).isZero();
        assertThat(kernel.irqfdAssign(one, event, 10)).isZero();
        return kernel.irqfdAssign(other, event, 10);
    }

    /** As POSIX has it, also after holes. */
    @Test
    void descriptorsAreTheLowestFree() {
        KernelBackend fake = fake(Profile.V6_18);
        int first = fake.eventfdCreate();
        int second = fake.eventfdCreate();
        int third = fake.eventfdCreate();
        assertThat(second).isEqualTo(first + 1);
        fake.fdClose(second);
        fake.fdClose(first);
        assertThat(fake.eventfdCreate()).isEqualTo(first);
        assertThat(fake.libc().fcntl(third, Uapi.F_DUPFD_CLOEXEC, third)).isEqualTo(third + 1);
        assertThat(fake.eventfdCreate()).isEqualTo(second);
        assertThat(fake.eventfdCreate()).isEqualTo(third + 2);
    }

    @Test
    void unknownProfileIsOneSentence() {
        assertThatThrownBy(() -> Profile.of("5.4"))
                .hasMessage("profile '5.4' is unknown: expected one of 6.1, 6.12, 6.18, 7.1");
    }
}
