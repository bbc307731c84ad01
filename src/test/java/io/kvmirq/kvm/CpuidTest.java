/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.KernelException;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.testing.AssembledGuest;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.OnBothKernels;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** CPUID of the host, changed for a guest. */
class CpuidTest {
    private static final int APIC_ID = 24;
    private static final String TELLS_ITS_APIC_ID = "mov eax, 1; cpuid; mov eax, ebx; out 0x82, eax";

    private static void on(Kernels kernels, Consumer<Kernel> test) {
        try (Kernel kernel = kernels.open()) {
            test.accept(kernel);
        }
    }

    @OnBothKernels
    void hostsIsWrittenAsItWasRead(Kernels kernels) {
        on(kernels, kernel -> {
            Cpuid host = Cpuid.ofHost(kernel);
            assertThat(host.leaves()).isNotEmpty();
            assertThat(host.leaf(1, 0)).isPresent();
            assertThat(Cpuid.read(host.structure())).isEqualTo(host);
        });
    }

    @OnBothKernels
    void guestOfKvmIsToldOfItsHypervisorAndOfTheDeadlineTimer(Kernels kernels) {
        on(kernels, kernel -> {
            Cpuid host = Cpuid.ofHost(kernel);
            Cpuid.Leaf before = host.leaf(1, 0).orElseThrow();
            Cpuid guest = host.forGuestOfKvm();
            assertThat(guest.leaf(1, 0).orElseThrow().ecx()).isEqualTo(before.ecx() | 1 << 31 | 1 << 24);
            assertThat(guest.with(before).leaves()).containsExactlyInAnyOrderElementsOf(host.leaves());
            assertThatThrownBy(() -> host.without(1).forGuestOfKvm())
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessage("no leaf 1: begin with ofHost");
        });
    }

    @OnBothKernels
    void guestHasAtMost256Leaves(Kernels kernels) {
        on(kernels, kernel -> {
            try (Vm vm = Vm.create(kernel);
                    Vcpu vcpu = vm.createVcpu(new VcpuId(0))) {
                Cpuid many = Cpuid.ofHost(kernel);
                for (int i = 0; many.leaves().size() <= 256; i++) {
                    many = many.with(new Cpuid.Leaf(0x4000_1000 + i, 0, 0, i, 0, 0, 0));
                }
                Cpuid tooMany = many;
                assertThatThrownBy(() -> vcpu.x86().setCpuid(tooMany))
                        .isInstanceOf(KernelException.class)
                        .hasMessageContaining("E2BIG (a vCPU has at most 256 CPUID leaves");
            }
        });
    }

    @ParameterizedTest
    @CsvSource({"0, 1, 0, 1, 0", "3, 4, 2, 4, 1", "2, 3, 2, 4, 1", "300, 512, 9, 0, 1"})
    void vcpuIsACoreOfOnePackage(int id, int vcpus, int bits, int count, int threads) {
        on(Kernels.FAKE, kernel -> {
            Cpuid cpuid = Cpuid.ofHost(kernel)
                    .with(new Cpuid.Leaf(1, 0, 0, 6, 0xabcd1234, 7, 8))
                    .with(new Cpuid.Leaf(0xb, 0, Cpuid.Leaf.INDEXED, 1, 2, 0x100, 77))
                    .forVcpu(id, vcpus);
            int ebx = (id & 0xff) << APIC_ID | count << 16 | 0x1234;
            assertThat(cpuid.leaf(1, 0)).contains(new Cpuid.Leaf(1, 0, 0, 6, ebx, 7, 8 | threads << 28));
            assertThat(cpuid.leaf(0xb, 0)).contains(new Cpuid.Leaf(0xb, 0, 1, 0, 1, 0x100, id));
            assertThat(cpuid.leaf(0xb, 1)).contains(new Cpuid.Leaf(0xb, 1, 1, bits, vcpus, 0x201, id));
            assertThat(cpuid.leaf(0xb, 7)).isEmpty();
        });
    }

    @Test
    void guestReadsItsApicId() {
        on(Kernels.REAL, kernel -> {
            try (Vm vm = Vm.create(kernel)) {
                vm.x86().createIrqchip();
                try (AssembledGuest guest = new AssembledGuest(vm, TELLS_ITS_APIC_ID)) {
                    guest.vcpu.x86().setCpuid(Cpuid.ofHost(kernel).forVcpu(5, 8));
                    assertThat(guest.vcpu.run().data() >>> APIC_ID).isEqualTo(5);
                }
            }
        });
    }

    @OnBothKernels
    void hostCpuidHasTheApicIdOfTheVcpu(Kernels kernels) {
        on(kernels, kernel -> {
            try (Vm vm = Vm.create(kernel);
                    Vcpu first = vm.createVcpu(new VcpuId(0));
                    Vcpu second = vm.createVcpu(new VcpuId(1))) {
                for (Vcpu vcpu : List.of(first, second)) {
                    vcpu.x86().useHostCpuid();
                    Cpuid cpuid = vcpu.x86().cpuid().orElseThrow();
                    assertThat(cpuid.leaf(1, 0).orElseThrow().ebx() >>> APIC_ID)
                            .isEqualTo(vcpu.id().number());
                    assertThat(cpuid.leaves())
                            .filteredOn(leaf -> leaf.function() == 0xb)
                            .allMatch(leaf -> leaf.edx() == vcpu.id().number());
                    assertThat(cpuid.leaves())
                            .hasSameSizeAs(Cpuid.ofHost(kernel).leaves());
                }
            }
        });
    }

    @Test
    void noVcpusIsRefused() {
        on(Kernels.FAKE, kernel -> assertThatThrownBy(() -> Cpuid.ofHost(kernel).forVcpu(-1, 0))
                .hasMessage("vCPU -1 of 0: expected an id of 0 or more, and at least 1 vCPU"));
    }
}
