/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.kvm;

import static io.kvmirq.testing.Refusals.assertIllegalState;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.mockito.ArgumentMatchers.any;
import static org.mockito.ArgumentMatchers.anyInt;
import static org.mockito.ArgumentMatchers.anyLong;
import static org.mockito.Mockito.clearInvocations;
import static org.mockito.Mockito.mock;
import static org.mockito.Mockito.never;
import static org.mockito.Mockito.times;
import static org.mockito.Mockito.verify;
import static org.mockito.Mockito.when;

import io.kvmirq.Gsi;
import io.kvmirq.Ppi;
import io.kvmirq.Route;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.model.CpuInterfaceRegister;
import io.kvmirq.arch.gic.model.DistributorRegister;
import io.kvmirq.arch.gic.model.RedistributorRegister;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.KernelFacts.Architecture;
import io.kvmirq.kernel.Ownership;
import io.kvmirq.testing.Kernels;
import io.kvmirq.testing.OnBothKernels;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;

/** The attributes that calls become, which the contract cannot see on a fake without GICv2 and tables; and x86. */
class VgicTest {
    private static final int INTERRUPTS = 64;

    private final List<String> calls = new ArrayList<>();
    /** Type of the VM made last. */
    private long type = -1;

    private final KernelBackend backend = arm64();
    private final Kernel kernel = Kernel.over(backend);
    private final Vm vm = Vm.create(kernel);

    /** Succeeds at everything, and notes attributes as group:attribute:value. */
    private KernelBackend arm64() {
        KernelBackend backend = mock(KernelBackend.class);
        Libc libc = mock(Libc.class);
        List<ByteBuffer> values = new ArrayList<>();
        when(backend.libc()).thenReturn(libc);
        when(backend.kvmVersion(anyInt())).thenReturn(12);
        when(backend.capabilityCheck(anyInt(), anyInt()))
                .thenAnswer(call -> call.getArgument(1, Integer.class) == 165 ? 36 : 0);
        when(backend.vmCreate(anyInt(), anyLong())).thenAnswer(call -> {
            type = call.getArgument(1, Long.class);
            return 4;
        });
        when(backend.deviceCreate(anyInt(), anyInt())).thenReturn(5);
        when(backend.lineSet(anyInt(), anyInt(), anyInt())).thenAnswer(call -> {
            calls.add("line 0x" + Integer.toHexString(call.getArgument(1)) + "=" + call.getArgument(2));
            return 0;
        });
        when(libc.addressOf(any())).thenAnswer(call -> {
            values.add(call.getArgument(0));
            return (long) values.size() - 1;
        });
        when(libc.ioctl(anyInt(), anyLong(), any(ByteBuffer.class))).thenAnswer(call -> {
            ByteBuffer attribute = call.getArgument(2);
            boolean get = call.getArgument(1, Long.class) == Uapi.KVM_GET_DEVICE_ATTR;
            ByteBuffer value = values.get((int) attribute.getLong(Uapi.KvmDeviceAttr.ADDR));
            calls.add((get ? "get " : "set ") + attribute.getInt(Uapi.KvmDeviceAttr.GROUP) + ":0x"
                    + Long.toHexString(attribute.getLong(Uapi.KvmDeviceAttr.ATTR)) + ":0x"
                    + Long.toHexString(value.getLong(0)));
            boolean counts = attribute.getInt(Uapi.KvmDeviceAttr.GROUP) == UapiArm64.KVM_DEV_ARM_VGIC_GRP_NR_IRQS;
            value.putLong(0, counts ? INTERRUPTS : 0x1234_5678_9abc_def0L);
            return 0;
        });
        return backend;
    }

    @Test
    void vmIsAsLargeAsASmallHostAllows() {
        assertThat(type).isEqualTo(36);
        Vm.create(kernel, 32).close();
        assertThat(type).isEqualTo(32);
        assertThatThrownBy(() -> Vm.create(kernel, 40))
                .hasMessage("guest addresses of 40 bits are not possible: expected 32-36 on this host");
    }

    @Test
    void adoptedVmIsAskedItselfAndOnce() {
        try (Kernel jailed = Kernel.over(backend, Path.of("/nowhere/kvm"));
                Vm adopted = Vm.adopt(jailed, 9, Ownership.BORROWED, List.of(), new Gsi(224))) {
            clearInvocations(backend);
            adopted.arm64().setSpi(new Spi(42), true);
            adopted.arm64().setSpi(new Spi(42), false);
        }
        verify(backend, never()).kvmOpen(any());
        verify(backend, times(1)).capabilityCheck(9, UapiArm64.KVM_CAP_ARM_VM_IPA_SIZE);
    }

    @Test
    void placesOfAGicV2() {
        VgicV2 vgic = vm.arm64().createVgicV2();
        vgic.setDistributor(0x800_1000L);
        vgic.setCpuInterface(0x801_0000L);
        assertThat(vgic.distributor()).hasValue(0x1234_5678_9abc_def0L);
        assertThat(vgic.cpuInterface()).isPresent();
        assertThat(calls)
                .containsExactly("set 0:0x0:0x8001000", "set 0:0x1:0x8010000", "get 0:0x0:0x0", "get 0:0x1:0x0");
        assertThatThrownBy(() -> vgic.setCpuInterface(0x801_0800L))
                .hasMessage("CPU interface 0x8010800 is invalid: expected a guest physical address that is a"
                        + " multiple of 0x1000");
    }

    /** Two packages that may not use each other name the same registers and numbers. */
    @Test
    void registersAndNumbersAreThoseOfTheGic() {
        VgicV3 vgic = vm.arm64().createVgicV3();
        vgic.isLatched(new Spi(32));
        vgic.makeEdge(new Spi(32));
        assertThat(calls)
                .contains(
                        "get 1:0x" + Integer.toHexString(DistributorRegister.GICD_ISPENDR.offset() + 4) + ":0x0",
                        "get 1:0x" + Integer.toHexString(DistributorRegister.GICD_ICFGR.offset() + 8) + ":0x0");
        assertThat(VgicV3.systemRegister(3, 0, 4, 6, 0)).isEqualTo(CpuInterfaceRegister.ICC_PMR_EL1.id());
        assertThat(VgicV3.systemRegister(3, 0, 12, 12, 7)).isEqualTo(CpuInterfaceRegister.ICC_IGRPEN1_EL1.id());
        assertThat(VgicV3.REDISTRIBUTOR_SIZE).isEqualTo(2 * RedistributorRegister.PRIVATE_FRAME);
        assertThat(InterruptId.FIRST_PPI).isEqualTo(Ppi.FIRST);
        assertThat(InterruptId.FIRST_SPI).isEqualTo(Spi.FIRST).isEqualTo(Ppi.LAST + 1);
        assertThat(InterruptId.FIRST_SPECIAL).isEqualTo(Spi.LAST + 1);
    }

    /** The kernel would initialise it in each of these calls, and set the default routes once more. */
    @Test
    void gicV2IsInitialisedBeforeItsLinesAndRegistersAreUsed() {
        Vcpu vcpu = vm.createVcpu(new VcpuId(0));
        VgicV2 vgic = vm.arm64().createVgicV2();
        Spi spi = new Spi(42);
        for (ThrowingCallable early : List.<ThrowingCallable>of(
                () -> vm.arm64().setSpi(spi, true),
                () -> vm.arm64().setPpi(new VcpuId(0), new Ppi(27), true),
                () -> vgic.readDistributor(0x200),
                () -> vgic.writeDistributor(0x200, 1),
                () -> vgic.readDistributor(new VcpuId(1), 0x200),
                () -> vgic.readCpuInterface(new VcpuId(1), 4),
                vcpu::run,
                () -> vgic.makeLevel(spi))) {
            assertIllegalState(
                    early,
                    "this GICv2 is not initialized: call init first, else the kernel does, and resets the" + " routes");
        }
        assertThat(calls).isEmpty();
        vgic.init();
        vm.arm64().setSpi(spi, true);
        assertThat(calls).containsExactly("set 4:0x0:0x0", "get 3:0x0:0x0", "line 0x100002a=1");
        assertThat(vm.routes().routes()).hasSize(INTERRUPTS - Spi.FIRST);
    }

    @Test
    void adoptedGicV2IsTheVmmsToInitialise() {
        VgicV2 vgic = vm.arm64().adoptVgicV2(77, Ownership.BORROWED);
        vm.arm64().setSpi(new Spi(42), true);
        vgic.makeEdge(new Spi(42));
        vgic.init();
        assertThat(vm.routes().routes()).isEmpty();
    }

    @Test
    void registersOfARedistributorAreNamedByAffinity() {
        VgicV3 vgic = vm.arm64().createVgicV3();
        assertThat(vgic.readRedistributor(new VcpuId(0), 0x10)).isEqualTo(0x9abc_def0);
        vgic.writeRedistributor(new VcpuId(17), 0x1_0080, -1);
        vgic.isHigh(new VcpuId(0x1ff), new Ppi(31));
        assertThat(calls)
                .containsExactly("get 5:0x10:0x0", "set 5:0x10100010080:0xffffffff", "get 7:0x1f0f00000000:0x0");
    }

    /** Documentation/virt/kvm/devices/arm-vgic.rst: the vCPU in bits 39:32. */
    @Test
    void registersOfAGicV2AreNamedByVcpu() {
        VgicV2 vgic = vm.arm64().createVgicV2();
        vgic.init();
        calls.clear();
        assertThat(vgic.readDistributor(new VcpuId(3), 0x200)).isEqualTo(0x9abc_def0);
        vgic.writeDistributor(new VcpuId(255), 0xf20, -1);
        vgic.readCpuInterface(new VcpuId(1), 4);
        vgic.writeCpuInterface(new VcpuId(7), 0x1ffc, 0xf0);
        assertThat(calls)
                .containsExactly(
                        "get 1:0x300000200:0x0",
                        "set 1:0xff00000f20:0xffffffff",
                        "get 2:0x100000004:0x0",
                        "set 2:0x700001ffc:0xf0");
        assertThatThrownBy(() -> vgic.readCpuInterface(new VcpuId(0), 0x2000))
                .hasMessage("CPU interface offset 0x2000 is invalid: expected a multiple of 4 below 0x2000");
        assertThatThrownBy(() -> vgic.writeDistributor(new VcpuId(256), 0, 0))
                .hasMessage("vcpu 256 is invalid: expected 0-255 with a GICv2");
    }

    /** Documentation/virt/kvm/devices/arm-vgic-v3.rst: the affinity in bits 63:32, the instruction in bits 15:0. */
    @Test
    void systemRegistersHave64Bits() {
        VgicV3 vgic = vm.arm64().createVgicV3();
        int priorityMask = VgicV3.systemRegister(3, 0, 4, 6, 0);
        assertThat(priorityMask).isEqualTo(0xc230);
        assertThat(VgicV3.systemRegister(3, 7, 15, 15, 7)).isEqualTo(0xffff);
        assertThat(VgicV3.systemRegister(0, 1, 2, 3, 4)).isEqualTo(1 << 11 | 2 << 7 | 3 << 3 | 4);
        assertThat(vgic.readSystemRegister(new VcpuId(0), priorityMask)).isEqualTo(0x1234_5678_9abc_def0L);
        vgic.writeSystemRegister(new VcpuId(17), 0xffff, 0x8000_0000_0000_00f8L);
        assertThat(calls).containsExactly("get 6:0xc230:0x0", "set 6:0x1010000ffff:0x80000000000000f8");
        for (int id : new int[] {-1, 0x1_0000}) {
            assertThatThrownBy(() -> vgic.readSystemRegister(new VcpuId(0), id))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageEndingWith("expected 0-0xffff, as systemRegister returns it");
        }
        assertThatThrownBy(() -> VgicV3.systemRegister(4, 0, 0, 0, 0)).isInstanceOf(IllegalArgumentException.class);
        assertThatThrownBy(() -> VgicV3.systemRegister(3, 0, 0, 0, 8)).isInstanceOf(IllegalArgumentException.class);
        assertThatThrownBy(() -> VgicV3.systemRegister(3, 0, -1, 0, 0))
                .hasMessage("system register 3, 0, -1, 0, 0 is invalid: expected op0 0-3, op1 and op2 0-7, CRn and"
                        + " CRm 0-15");
    }

    @Test
    void linesOf32InterruptsAreOneAttribute() {
        VgicV3 vgic = vm.arm64().createVgicV3();
        assertThat(vgic.readLines(new VcpuId(1), 0)).isEqualTo(0x9abc_def0);
        vgic.writeLines(new VcpuId(0), 992, 1);
        assertThat(calls).containsExactly("get 7:0x100000000:0x0", "set 7:0x3e0:0x1");
        for (int first : new int[] {-32, 1, 1024}) {
            assertThatThrownBy(() -> vgic.readLines(new VcpuId(0), first))
                    .hasMessage("lines of 32 interrupts from " + first + " are not possible: expected a multiple of 32,"
                            + " 0-992");
        }
    }

    @Test
    void tablesAndReset() {
        vm.arm64().createVgicV3().savePendingTables();
        Its service = vm.arm64().createIts();
        service.saveTables();
        service.restoreTables();
        service.reset();
        service.writeRegister(0x80, 0x8765_4321_0000_0001L);
        assertThat(service.readRegister(8)).isEqualTo(0x1234_5678_9abc_def0L);
        assertThat(calls)
                .containsExactly(
                        "set 4:0x3:0x0",
                        "set 4:0x1:0x0",
                        "set 4:0x2:0x0",
                        "set 4:0x4:0x0",
                        "set 8:0x80:0x8765432100000001",
                        "get 8:0x8:0x0");
    }

    @Test
    void lineIsNamedByKindVcpuAndNumber() {
        vm.arm64().setSpi(new Spi(1019), true);
        vm.arm64().setPpi(new VcpuId(0x1ff), new Ppi(16), false);
        assertThat(calls).containsExactly("line 0x10003fb=1", "line 0x12ff0010=0");
    }

    // x86

    @OnBothKernels
    void x86SaysSo(Kernels kernels) {
        try (Kernel x86 = kernels.open()) {
            assertThat(x86.facts().architecture()).isEqualTo(Architecture.X86_64);
            assertThat(x86.facts().guestAddressBits()).isEmpty();
        }
    }

    @OnBothKernels
    void lineOfAnSpiWouldBeAGsiOfX86(Kernels kernels) {
        try (Kernel x86 = kernels.open();
                Vm vm = Vm.create(x86)) {
            assertThatThrownBy(vm::arm64)
                    .isInstanceOf(UnsupportedOperationException.class)
                    .hasMessage(vm + " is x86_64 and has no arm64 parts: call Vm.x86()");
            assertThatThrownBy(() -> vm.createDevice(KvmDevice.Type.ITS))
                    .isInstanceOf(UnsupportedOperationException.class);
            assertThat(vm.supports(KvmDevice.Type.VGIC_V3)).isFalse();
            // Chip 0 is the VGIC on arm64 and the master PIC on x86.
            assertThatThrownBy(
                            () -> vm.routes().change(edit -> edit.add(new Route.Pin(new Gsi(3), Route.Chip.VGIC, 3))))
                    .hasMessage(vm + " has no VGIC pins: arm64 has them");
            assertThatThrownBy(() -> Vm.create(x86, 40))
                    .hasMessage(
                            "this kernel is x86_64 and does not support a guest address size: call Vm.create without"
                                    + " one");
            try (Vcpu vcpu = vm.createVcpu(new VcpuId(0))) {
                assertThatThrownBy(vcpu::arm64)
                        .isInstanceOf(UnsupportedOperationException.class)
                        .hasMessage(vcpu + " is x86_64 and has no arm64 parts: call Vcpu.x86()");
            }
        }
    }
}
