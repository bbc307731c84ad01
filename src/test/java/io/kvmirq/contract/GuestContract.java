/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.selftest.Heard;
import io.kvmirq.selftest.Irqchip;
import io.kvmirq.selftest.Result;
import io.kvmirq.selftest.Scenario;
import io.kvmirq.selftest.Selftest;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The answers of a vCPU that runs: KVM_RUN in arch/x86/kvm/x86.c, and the guest of the self-test. */
@Contract
class GuestContract extends KernelSuite {
    private static final int PAGE = 4096;
    private static final int ROUND_TRIPS = 20;

    /** Interrupts reach the guest, its EOI reaches the resamplefd, its answer the ioeventfd. */
    @ParameterizedTest
    @EnumSource
    void guestAnswersInEveryScenario(Scenario scenario) {
        world.assumeFullIrqchip();
        try (Kernel kernel = Kernel.over(this.kernel)) {
            List<Result> results = new Selftest(kernel, Irqchip.FULL, ROUND_TRIPS, new Heard()).run(List.of(scenario));
            assertThat(results).singleElement().satisfies(result -> {
                assertThat(result.failure()).isEmpty();
                assertThat(result.sent()).isPositive().isEqualTo(result.answered());
            });
        }
    }

    @Test
    void argumentOfRunIsSeenBeforeTheImmediateExit() {
        int vcpu = world.vcpu(world.fullVm(), 0);
        long shared = libc.mmap(PAGE, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_SHARED, vcpu, 0);
        assertOk(shared);
        libc.view(shared, PAGE).put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 1);
        assertErrno(Errno.EINVAL, libc.ioctl(vcpu, Uapi.KVM_RUN, 1));
        assertErrno(Errno.EINTR, libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        assertOk(libc.munmap(shared, PAGE));
    }

    @Test
    void cpuidNeedsRoom() {
        world.assumeX86();
        ByteBuffer header = Buffers.allocate(Uapi.KvmCpuid2.SIZE);
        assertErrno(Errno.E2BIG, libc.ioctl(world.kvm(), Uapi.KVM_GET_SUPPORTED_CPUID, header));
        assertErrno(Errno.EFAULT, libc.ioctl(world.kvm(), Uapi.KVM_GET_SUPPORTED_CPUID, 8));
    }

    /** A vCPU has one set of leaves, 256 at most, and keeps it once it has run. */
    @Test
    void cpuidIsSetBeforeTheFirstRunOrNotChanged() {
        int vcpu = RealModeGuest.answering(world, vm()).vcpu();
        long address = world.map(3 * PAGE, -1);
        ByteBuffer leaves = libc.view(address, 3 * PAGE);
        for (int tooMany : new int[] {257, -1}) {
            leaves.putInt(Uapi.KvmCpuid2.NENT, tooMany);
            assertErrno(Errno.E2BIG, libc.ioctl(vcpu, Uapi.KVM_SET_CPUID2, address));
        }
        leaves.putInt(Uapi.KvmCpuid2.NENT, 1);
        assertErrno(Errno.EINVAL, libc.ioctl(vcpu, Uapi.KVM_SET_CPUID2, address));
        assertOk(libc.ioctl(world.vcpu(vm(), 1), Uapi.KVM_SET_CPUID2, address));
    }

    @Test
    void unmappingNothingSucceedsOnPages() {
        long mapped = libc.mmap(PAGE, Uapi.PROT_READ | Uapi.PROT_WRITE, Uapi.MAP_PRIVATE | Uapi.MAP_ANONYMOUS, -1, 0);
        assertOk(mapped);
        assertErrno(Errno.EINVAL, libc.munmap(mapped + 1, PAGE));
        assertErrno(Errno.EINVAL, libc.munmap(mapped, 0));
        assertOk(libc.munmap(mapped, PAGE - 1));
        assertOk(libc.munmap(mapped, PAGE));
    }
}
