/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.VcpuId;
import io.kvmirq.X86Msr;
import io.kvmirq.backend.Buffers;
import io.kvmirq.fake.FakeExit;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.VcpuExit.Reason;
import io.kvmirq.testing.AssembledGuest;
import io.kvmirq.testing.Kernels;
import io.kvmirq.uapi.Uapi;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Exits beyond ports and addresses, with their data. */
class VcpuExitDataTest {
    private static final int MSR = 0x12345;

    @ParameterizedTest
    @CsvSource({
        "3, HYPERCALL",
        "4, DEBUG",
        "7, INTERRUPT_WINDOW",
        "12, TPR_ACCESS",
        "27, HYPERV",
        "29, MSR_READ",
        "30, MSR_WRITE",
        "33, BUS_LOCK",
        "34, XEN",
        "37, NOTIFY",
        "39, MEMORY_FAULT",
        "38, OTHER"
    })
    void exitHasItsNameAndItsWords(int number, Reason reason) {
        FakeKernel fake = new FakeKernel(Profile.V6_18);
        fake.vcpu(0).exits(FakeExit.unknown(number, 11, 22, 33, 44));
        try (Kernel kernel = fake.open();
                Vm vm = Vm.create(kernel);
                Vcpu vcpu = vm.createVcpu(new VcpuId(0))) {
            VcpuExit exit = vcpu.run();
            assertThat(exit.reason()).isEqualTo(reason);
            assertThat(exit.number()).isEqualTo(number);
            assertThat(exit.word(0)).isEqualTo(11);
            assertThat(exit.word(3)).isEqualTo(44);
            exit.setWord(3, 55);
            assertThat(exit.word(3)).isEqualTo(55);
            assertThatThrownBy(() -> exit.word(32)).isInstanceOf(IndexOutOfBoundsException.class);
            assertThatThrownBy(exit::port)
                    .hasMessageContaining("expected IO: call only methods that its reason supports");
        }
    }

    /** The kernel returns an errno beside this exit: EFAULT, or EHWPOISON for a page with a hardware error. */
    @Test
    void memoryFaultIsAnExitDespiteItsErrno() {
        FakeKernel fake = new FakeKernel(Profile.V6_18);
        fake.vcpu(0).exits(FakeExit.unknown(Uapi.KVM_EXIT_MEMORY_FAULT, 0, 0x1000, 0x2000));
        Faults faults = new Faults();
        faults.fail("KVM_RUN", 2, Errno.EHWPOISON);
        try (Kernel kernel = Kernel.over(faults.over(fake.backend()));
                Vm vm = Vm.create(kernel);
                Vcpu vcpu = vm.createVcpu(new VcpuId(0))) {
            for (int i = 0; i < 2; i++) {
                VcpuExit exit = vcpu.run();
                assertThat(exit.reason()).isEqualTo(Reason.MEMORY_FAULT);
                assertThat(exit.word(1)).isEqualTo(0x1000);
            }
        }
    }

    /** The page still has the exit before: only a memory fault comes with an errno. */
    @ParameterizedTest
    @ValueSource(ints = {Uapi.KVM_EXIT_HYPERCALL, Uapi.KVM_EXIT_HLT, Uapi.KVM_EXIT_SHUTDOWN})
    void errnoAfterAnotherExitIsThrown(int before) {
        FakeKernel fake = new FakeKernel(Profile.V6_18);
        fake.vcpu(0).exits(FakeExit.unknown(before, 0, 0x1000, 0x2000));
        for (Errno errno : List.of(Errno.EFAULT, Errno.EHWPOISON)) {
            Faults faults = new Faults();
            faults.fail("KVM_RUN", 2, errno);
            try (Kernel kernel = Kernel.over(faults.over(fake.backend()));
                    Vm vm = Vm.create(kernel);
                    Vcpu vcpu = vm.createVcpu(new VcpuId(0))) {
                vcpu.run();
                assertThatThrownBy(vcpu::run).hasMessageContaining(": " + errno);
            }
        }
    }

    @Test
    void hypercallHasItsArgumentsAndGetsAResult() {
        FakeKernel fake = new FakeKernel(Profile.V6_18);
        fake.vcpu(0).exits(FakeExit.unknown(Uapi.KVM_EXIT_HYPERCALL, 12, 0x1000, 2, 3, 4, 5, 6));
        try (Kernel kernel = fake.open();
                Vm vm = Vm.create(kernel);
                Vcpu vcpu = vm.createVcpu(new VcpuId(0))) {
            VcpuExit exit = vcpu.run();
            assertThat(exit.hypercall()).isEqualTo(12);
            assertThat(exit.argument(0)).isEqualTo(0x1000);
            assertThat(exit.argument(5)).isEqualTo(6);
            exit.answerHypercall(-1000);
            assertThat(exit.word(7)).isEqualTo(-1000);
            assertThat(exit).hasToString("HYPERCALL 12");
        }
    }

    /**
     * The guest reads an MSR that KVM does not know, writes the value to another one, and reads one without an answer: the
     * #GP of real mode is vector 13.
     */
    @Test
    void guestsMsrIsAnsweredOrRefused() {
        try (Kernel kernel = Kernels.REAL.open();
                Vm vm = Vm.create(kernel)) {
            assumeTrue(
                    vm.capability(Uapi.KVM_CAP_X86_USER_SPACE_MSR) > 0,
                    "this KVM passes on no MSR (KVM_CAP_X86_USER_SPACE_MSR)");
            vm.enableCapability(Uapi.KVM_CAP_X86_USER_SPACE_MSR, Uapi.KVM_MSR_EXIT_REASON_UNKNOWN);
            vm.x86().createIrqchip();
            try (AssembledGuest guest = new AssembledGuest(vm, "mov ecx, 0x12345; rdmsr; inc ecx; wrmsr; rdmsr")
                    .handle(13, "out 0xe1, al")) {
                Vcpu vcpu = guest.vcpu;
                VcpuExit exit = vcpu.run();
                assertThat(exit).hasToString("MSR_READ of 0x12345");
                assertThat(exit.msr()).isEqualTo(MSR);
                exit.answerMsr(0x1122334455667788L);
                exit = vcpu.run();
                assertThat(exit.reason()).isEqualTo(Reason.MSR_WRITE);
                assertThat(exit.msr()).isEqualTo(MSR + 1);
                assertThat(exit.msrValue()).isEqualTo(0x1122334455667788L);
                exit.acceptMsr();
                assertThat(vcpu.run().reason()).isEqualTo(Reason.MSR_READ);
                exit = vcpu.run(); // without an answer
                assertThat(exit.reason()).isEqualTo(Reason.IO);
                assertThat(exit.port()).isEqualTo(0xe1);
            }
        }
    }

    @Test
    void filteredMsrIsTheVmms() {
        try (Kernel kernel = Kernels.REAL.open();
                Vm vm = Vm.create(kernel)) {
            assumeTrue(vm.capability(Uapi.KVM_CAP_X86_MSR_FILTER) > 0, "this KVM filters no MSR");
            vm.enableCapability(Uapi.KVM_CAP_X86_USER_SPACE_MSR, Uapi.KVM_MSR_EXIT_REASON_FILTER);
            ByteBuffer denied = Buffers.allocate(Long.BYTES);
            int range = Uapi.KvmMsrFilter.RANGES;
            ByteBuffer filter = Buffers.allocate(Uapi.KvmMsrFilter.SIZE)
                    .putInt(Uapi.KvmMsrFilter.FLAGS, Uapi.KVM_MSR_FILTER_DEFAULT_ALLOW)
                    .putInt(range + Uapi.KvmMsrFilterRange.FLAGS, Uapi.KVM_MSR_FILTER_READ | Uapi.KVM_MSR_FILTER_WRITE)
                    .putInt(range + Uapi.KvmMsrFilterRange.NMSRS, 1)
                    .putInt(range + Uapi.KvmMsrFilterRange.BASE, X86Msr.TSC.number())
                    .putLong(
                            range + Uapi.KvmMsrFilterRange.BITMAP, kernel.libc().addressOf(denied));
            vm.fd().ioctl(Uapi.KVM_X86_SET_MSR_FILTER, filter);
            Reference.reachabilityFence(denied);
            vm.x86().createIrqchip();
            try (AssembledGuest guest = new AssembledGuest(vm, "mov ecx, 0x10; rdmsr; inc ecx; rdmsr; out 0xe1, al")) {
                Vcpu vcpu = guest.vcpu;
                VcpuExit exit = vcpu.run();
                assertThat(exit).hasToString("MSR_READ of 0x10");
                exit.answerMsr(1);
                assertThat(vcpu.run().reason()).as("0x11 is allowed").isEqualTo(Reason.IO);
            }
        }
    }
}
