/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.KernelException;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.X86SystemRegisters.Segment;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.OnBothKernels;
import java.util.HexFormat;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** General, segment and control registers of a vCPU. */
class X86RegistersTest {
    private static final int SIZE = 0x10000;
    private static final int CODE = 0x1000;
    private static final int TABLES = 0x4000;
    private static final int PAGE = 0x1000;
    private static final long PRESENT = 3;
    private static final long LARGE = 1 << 7;
    private static final long PROTECTED = 1;
    private static final long PAGING = 1L << 31;
    private static final long PAE = 1 << 5;
    private static final long LONG_MODE = 1 << 8 | 1 << 10;

    private Kernel kernel;
    private Vm vm;
    private GuestMemory memory;
    private Vcpu vcpu;

    private void open(Kernels kernels) {
        kernel = kernels.open();
        vm = Vm.create(kernel);
        vm.x86().createIrqchip();
        memory = vm.addMemory(0, SIZE);
        vcpu = vm.createVcpu(new VcpuId(0));
    }

    @AfterEach
    void close() {
        if (vcpu != null) {
            vcpu.close();
            memory.close();
            vm.close();
            kernel.close();
        }
    }

    @OnBothKernels
    void generalRegistersAreKept(Kernels kernels) {
        open(kernels);
        X86Registers registers = new X86Registers();
        for (X86Registers.Name name : X86Registers.Name.values()) {
            registers.set(name, name == X86Registers.Name.RFLAGS ? 0x202 : 0x1234_0000L + name.ordinal());
        }
        registers.set(X86Registers.Name.RIP, 0x1000);
        vcpu.x86().setRegisters(registers);
        assertThat(vcpu.x86().registers()).hasToString(registers.toString());
        assertThat(registers.toString())
                .startsWith("RAX=0x12340000 RBX=0x12340001 ")
                .endsWith("RIP=0x1000 RFLAGS=0x202");
    }

    /** Intel SDM vol. 3, table 9-1: where a processor begins. */
    @OnBothKernels
    void vcpuBeginsAsAfterReset(Kernels kernels) {
        open(kernels);
        X86SystemRegisters system = vcpu.x86().systemRegisters();
        assertThat(system.segment(Segment.CS)).isEqualTo(new X86Segment(0xffff0000L, 0xffff, 0xf000, 0x9b));
        assertThat(system.segment(Segment.DS)).isEqualTo(new X86Segment(0, 0xffff, 0, 0x93));
        assertThat(system.get(X86SystemRegisters.Name.CR0)).isEqualTo(0x60000010L);
        assertThat(system.get(X86SystemRegisters.Name.APIC_BASE)).isEqualTo(0xfee00900L);
    }

    @OnBothKernels
    void segmentsAreKept(Kernels kernels) {
        open(kernels);
        X86Segment data = new X86Segment(0x2000, 0xffff, 0x203, 0xf3); // DPL 3
        vcpu.x86().setSystemRegisters(vcpu.x86().systemRegisters().setSegment(Segment.ES, data));
        assertThat(vcpu.x86().systemRegisters().segment(Segment.ES)).isEqualTo(data);
        assertThat(vcpu.x86().systemRegisters().segment(Segment.FS)).isNotEqualTo(data);
    }

    @OnBothKernels
    void contradictionIsRefused(Kernels kernels) {
        open(kernels);
        X86SystemRegisters wrong = vcpu.x86().systemRegisters().set(X86SystemRegisters.Name.CR0, PAGING);
        assertThatThrownBy(() -> vcpu.x86().setSystemRegisters(wrong))
                .isInstanceOf(KernelException.class)
                .hasMessageContaining("EINVAL (the control registers contradict each other");
    }

    /** Pages of 2 MiB; code of 64 bits writes R15, of which no other mode has all bits. */
    @Test
    void guestRunsIn64Bits() {
        open(Kernels.REAL);
        Mapping bytes = memory.mapping();
        put(bytes, TABLES, TABLES + PAGE | PRESENT);
        put(bytes, TABLES + PAGE, TABLES + 2 * PAGE | PRESENT);
        put(bytes, TABLES + 2 * PAGE, LARGE | PRESENT);
        // mov %r15, %rax; shr $32, %rax; out %eax, $0x82
        bytes.put(CODE, HexFormat.of().parseHex("4c89f848c1e820e782"));
        X86SystemRegisters system = vcpu.x86()
                .systemRegisters()
                .set(X86SystemRegisters.Name.CR3, TABLES)
                .set(X86SystemRegisters.Name.CR4, PAE)
                .set(X86SystemRegisters.Name.CR0, PAGING | PROTECTED)
                .set(X86SystemRegisters.Name.EFER, LONG_MODE)
                .setSegment(Segment.CS, new X86Segment(0, -1, 8, X86Segment.CODE_64));
        for (Segment name : new Segment[] {Segment.DS, Segment.ES, Segment.SS}) {
            system.setSegment(name, new X86Segment(0, -1, 16, X86Segment.DATA_32));
        }
        vcpu.x86().setSystemRegisters(system);
        vcpu.x86()
                .setRegisters(new X86Registers()
                        .set(X86Registers.Name.RIP, CODE)
                        .set(X86Registers.Name.R15, 0x89ab_cdef_0000_0000L));
        VcpuExit exit = vcpu.run();
        assertThat(exit.port()).isEqualTo(0x82);
        assertThat(exit.data()).isEqualTo(0x89ab_cdefL);
    }

    private static void put(Mapping bytes, int at, long value) {
        bytes.putInt(at, (int) value);
        bytes.putInt(at + Integer.BYTES, (int) (value >>> Integer.SIZE));
    }

    @ParameterizedTest
    @ValueSource(ints = {-1, 0x10000})
    void selectorHas16Bits(int selector) {
        assertThatThrownBy(() -> new X86Segment(0, 0, selector, 0))
                .hasMessage("selector " + selector + ": expected 0 to 65535");
    }

    @Test
    void accessHasNoOtherBits() {
        assertThatThrownBy(() -> new X86Segment(0, 0, 0, 0x100)).hasMessageContaining("access 0x100 has bits");
    }

    @OnBothKernels
    void capabilitiesAreAsked(Kernels kernels) {
        open(kernels);
        assertThat(vm.capability(32)).as("KVM_CAP_IRQFD").isPositive();
        assertThat(vm.capability(60_000)).isZero();
    }
}
