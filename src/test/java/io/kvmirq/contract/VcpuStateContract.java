/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.X86Msr;
import io.kvmirq.arch.apic.LapicPage;
import io.kvmirq.backend.Buffers;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmVcpuEvents;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The limits of {@code VmSnapshot.restore} for MSRs, FPU, XSAVE, XCRs, events and debug registers, and values that
 * are not read as they were set: arch/x86/kvm/x86.c. X86StateTest sets and reads the rest on the same kernels.
 */
@ContractPerVendor
class VcpuStateContract extends KernelSuite {
    private static final long NOWHERE = 8;
    private static final int VMX_BASIC = 0x480;
    private static final int UNKNOWN_MSR = 0x12345678;
    private static final long NOT_CANONICAL = 1L << 62;
    private static final int MXCSR = 24;
    private static final int FEATURES = 512;

    private int vcpu;

    @BeforeEach
    void setUp() {
        world.assumeX86();
        vcpu = world.vcpu(world.bareVm(), 0);
    }

    private ByteBuffer get(long request, int size) {
        ByteBuffer structure = Buffers.allocate(size);
        assertOk(world.ioctl(vcpu, request, structure));
        return structure;
    }

    private int set(long request, ByteBuffer structure) {
        return world.ioctl(vcpu, request, structure);
    }

    @ParameterizedTest
    @ValueSource(
            longs = {
                Uapi.KVM_GET_MSRS,
                Uapi.KVM_SET_MSRS,
                Uapi.KVM_GET_FPU,
                Uapi.KVM_SET_FPU,
                Uapi.KVM_GET_XSAVE,
                Uapi.KVM_SET_XSAVE,
                Uapi.KVM_GET_XCRS,
                Uapi.KVM_SET_XCRS,
                Uapi.KVM_GET_VCPU_EVENTS,
                Uapi.KVM_SET_VCPU_EVENTS,
                Uapi.KVM_GET_DEBUGREGS,
                Uapi.KVM_SET_DEBUGREGS
            })
    void structureIsCopied(long request) {
        assertErrno(Errno.EFAULT, libc.ioctl(vcpu, request, NOWHERE));
    }

    // MSRs

    private int setMsr(X86Msr msr, long value) {
        return set(Uapi.KVM_SET_MSRS, Structs.msrs(msr.number(), value));
    }

    private long msr(X86Msr msr) {
        ByteBuffer read = Structs.msrs(msr.number(), -1);
        assertThat(set(Uapi.KVM_GET_MSRS, read)).isOne();
        return read.getLong(Uapi.KvmMsrs.SIZE + Uapi.KvmMsrEntry.DATA);
    }

    @Test
    void kernelListsTheMsrsThatAVmmSaves() {
        int kvm = world.kvm();
        ByteBuffer list = Buffers.allocate(4096);
        assertErrno(Errno.EFAULT, libc.ioctl(kvm, Uapi.KVM_GET_MSR_INDEX_LIST, NOWHERE));
        assertErrno(Errno.E2BIG, world.ioctl(kvm, Uapi.KVM_GET_MSR_INDEX_LIST, list));
        int count = list.getInt(0);
        assertThat(count).isPositive();
        assertErrno(Errno.E2BIG, world.ioctl(kvm, Uapi.KVM_GET_MSR_INDEX_LIST, list.putInt(0, count - 1)));
        assertThat(list.getInt(0)).isEqualTo(count);
        assertThat(list.getInt(4)).isZero();
        assertOk(world.ioctl(kvm, Uapi.KVM_GET_MSR_INDEX_LIST, list.putInt(0, 1000)));
        assertThat(list.getInt(0)).isEqualTo(count);
        List<Integer> numbers = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            numbers.add(list.getInt(4 + 4 * i));
        }
        assertThat(numbers)
                .contains(X86Msr.SYSENTER_EIP.number(), X86Msr.STAR.number(), X86Msr.LSTAR.number())
                .contains(X86Msr.TSC.number(), X86Msr.PAT.number(), X86Msr.MISC_ENABLE.number())
                .contains(X86Msr.TSC_DEADLINE.number());
    }

    /** kvm_intel lists the MSRs of VMX, and refuses them to a vCPU whose CPUID lacks it. */
    @Test
    void listedMsrOfAnAbsentFeatureIsRefused() {
        ByteBuffer list = Buffers.allocate(4096);
        assertOk(world.ioctl(world.kvm(), Uapi.KVM_GET_MSR_INDEX_LIST, list.putInt(0, 1000)));
        assumeTrue(
                IntStream.range(0, list.getInt(0)).anyMatch(i -> list.getInt(4 + 4 * i) == VMX_BASIC),
                "needs kvm_intel, which lists the MSRs of VMX");
        ByteBuffer read = Structs.msrs(X86Msr.LSTAR.number(), -1, VMX_BASIC, -1, X86Msr.CSTAR.number(), -1);
        assertThat(set(Uapi.KVM_GET_MSRS, read)).isOne();
        assertThat(read.getLong(Uapi.KvmMsrs.SIZE + Uapi.KvmMsrEntry.SIZE + Uapi.KvmMsrEntry.DATA))
                .as("since kvm_do_msr_access()")
                .isEqualTo(world.isSince(6, 12) ? 0 : -1);
    }

    @Test
    void msrsStopAtOneThatIsUnknownOrRefused() {
        ByteBuffer buffer = Structs.msrs(X86Msr.STAR.number(), 5, UNKNOWN_MSR, 6, X86Msr.CSTAR.number(), 7);
        assertThat(set(Uapi.KVM_SET_MSRS, buffer)).isOne();
        assertThat(msr(X86Msr.STAR)).isEqualTo(5);
        assertThat(msr(X86Msr.CSTAR)).isZero();
        assertThat(set(Uapi.KVM_GET_MSRS, buffer)).isOne();
        assertThat(buffer.getLong(Uapi.KvmMsrs.SIZE + Uapi.KvmMsrEntry.SIZE + Uapi.KvmMsrEntry.DATA))
                .as("an unknown one reads 0")
                .isZero();
        buffer = Structs.msrs(X86Msr.STAR.number(), 8, X86Msr.LSTAR.number(), NOT_CANONICAL, X86Msr.CSTAR.number(), 7);
        assertThat(set(Uapi.KVM_SET_MSRS, buffer)).isOne();
        assertThat(msr(X86Msr.STAR)).isEqualTo(8);
        assertThat(msr(X86Msr.LSTAR)).isZero();
        assertThat(setMsr(X86Msr.MTRR_DEF_TYPE, 0x100)).isZero();
        assertThat(setMsr(X86Msr.MTRR_DEF_TYPE, 2)).isZero();
        assertThat(setMsr(X86Msr.KERNEL_GS_BASE, NOT_CANONICAL)).isZero();
    }

    /** {@code kvm_apic_set_state()}: without APIC virtualization, the priority is that of the ISR from before. */
    @Test
    void restoredServiceRaisesThePriorityIfApicsAreVirtualized() {
        int served = world.vcpuWithLapic(world.splitVm(), 0);
        assertOk(libc.ioctl(served, Uapi.KVM_SET_LAPIC, world.lapic(served).putInt(LapicPage.ISR_AT + 16, 1)));
        assertThat(world.lapic(served).getInt(LapicPage.PPR_AT)).isEqualTo(world.virtualizesApics() ? 32 : 0);
    }

    @Test
    void segmentOfSysenterHas32BitsInAVmcs() {
        assertThat(setMsr(X86Msr.SYSENTER_CS, 0x7_0406_0007_0406L)).isOne();
        assertThat(msr(X86Msr.SYSENTER_CS)).isEqualTo(world.isIntel() ? 0x7_0406L : 0x7_0406_0007_0406L);
    }

    /** MSR_SMI_COUNT, which a snapshot of the host's MSRs has. */
    @Test
    void registerOfTheProcessorTakesZero() {
        assertThat(set(Uapi.KVM_SET_MSRS, Structs.msrs(0x34, 0))).isOne();
        ByteBuffer read = Structs.msrs(0x34, -1);
        assertThat(set(Uapi.KVM_GET_MSRS, read)).isOne();
        assertThat(read.getLong(Uapi.KvmMsrs.SIZE + Uapi.KvmMsrEntry.DATA)).isZero();
    }

    @Test
    void oneCallTakes255Msrs() {
        for (long request : new long[] {Uapi.KVM_GET_MSRS, Uapi.KVM_SET_MSRS}) {
            ByteBuffer many = Structs.msrs(new long[2 * 255]);
            for (int i = 0; i < 255; i++) {
                many.putInt(Uapi.KvmMsrs.SIZE + i * Uapi.KvmMsrEntry.SIZE, X86Msr.SYSENTER_CS.number());
            }
            assertThat(set(request, many)).isEqualTo(255);
            assertErrno(Errno.E2BIG, set(request, many.putInt(0, 256)));
            assertErrno(Errno.E2BIG, set(request, many.putInt(0, -1)));
            assertThat(set(request, many.putInt(0, 0))).isZero();
            long end = world.pageBeforeNothing() + PAGE - Uapi.KvmMsrs.SIZE;
            libc.view(end, Uapi.KvmMsrs.SIZE).putInt(0, 1);
            assertErrno(Errno.EFAULT, libc.ioctl(vcpu, request, end));
        }
    }

    // FPU and XSAVE

    private ByteBuffer xsave() {
        return get(Uapi.KVM_GET_XSAVE, 4096);
    }

    @Test
    void fpuIsWithoutMxcsr() {
        ByteBuffer fpu = get(Uapi.KVM_GET_FPU, Uapi.KvmFpu.SIZE).putShort(Uapi.KvmFpu.FCW, (short) 0x27f);
        assertOk(set(Uapi.KVM_SET_FPU, fpu.putInt(Uapi.KvmFpu.MXCSR, -1)));
        assertThat(get(Uapi.KVM_GET_FPU, Uapi.KvmFpu.SIZE)).isEqualTo(fpu.putInt(Uapi.KvmFpu.MXCSR, 0));
    }

    @Test
    void xsaveAreaIsChecked() {
        ByteBuffer before = xsave();
        assertErrno(Errno.EINVAL, set(Uapi.KVM_SET_XSAVE, xsave().putLong(FEATURES, 1L << 62)));
        assertErrno(Errno.EINVAL, set(Uapi.KVM_SET_XSAVE, xsave().putLong(FEATURES + 8, 1)));
        assertErrno(Errno.EINVAL, set(Uapi.KVM_SET_XSAVE, xsave().putLong(FEATURES + 56, 1)));
        assertErrno(
                Errno.EINVAL,
                set(Uapi.KVM_SET_XSAVE, xsave().putLong(FEATURES, 2).putInt(MXCSR, -1)));
        assertOk(set(Uapi.KVM_SET_XSAVE, xsave().putLong(FEATURES, 0).putInt(MXCSR, -1)));
        assertThat(xsave()).isEqualTo(before.putLong(FEATURES, 0));
    }

    // XCRs

    private int setXcr0(long value) {
        return set(Uapi.KVM_SET_XCRS, xcrs(1, 0, value));
    }

    private static ByteBuffer xcrs(int count, int number, long value) {
        return Buffers.allocate(Uapi.KvmXcrs.SIZE)
                .putInt(Uapi.KvmXcrs.NR_XCRS, count)
                .putInt(Uapi.KvmXcrs.XCRS, number)
                .putLong(Uapi.KvmXcrs.XCRS + Uapi.KvmXcr.VALUE, value);
    }

    private long xcr0() {
        ByteBuffer xcrs = get(Uapi.KVM_GET_XCRS, Uapi.KvmXcrs.SIZE);
        assertThat(xcrs.getInt(Uapi.KvmXcrs.NR_XCRS)).isOne();
        assertThat(xcrs.getLong(Uapi.KvmXcrs.NR_XCRS + Integer.BYTES)).isZero();
        return xcrs.getLong(Uapi.KvmXcrs.XCRS + Uapi.KvmXcr.VALUE);
    }

    @Test
    void xcr0FollowsTheCpuid() {
        assertThat(xcr0()).isOne();
        assertErrno(Errno.EINVAL, setXcr0(3));
        ByteBuffer cpuid =
                Structs.cpuid(Structs.leaf(0xd, 3)).putInt(Uapi.KvmCpuid2.SIZE + Uapi.KvmCpuidEntry2.FLAGS, 1);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_CPUID2, cpuid));
        assertOk(setXcr0(3));
        assertThat(xcr0()).isEqualTo(3);
        assertErrno(Errno.EINVAL, setXcr0(2));
        assertErrno(Errno.EINVAL, setXcr0(1L << 62 | 1));
        assertThat(xcr0()).isEqualTo(3);
        assertErrno(Errno.EINVAL, set(Uapi.KVM_SET_XCRS, xcrs(17, 1, 0)));
    }

    // Events

    private ByteBuffer events() {
        return get(Uapi.KVM_GET_VCPU_EVENTS, KvmVcpuEvents.SIZE);
    }

    private int setEvents(Consumer<ByteBuffer> change) {
        ByteBuffer events = events();
        change.accept(events);
        return set(Uapi.KVM_SET_VCPU_EVENTS, events);
    }

    @Test
    void softInterruptsAreNotReported() {
        assertOk(setEvents(events ->
                events.put(KvmVcpuEvents.EXCEPTION_INJECTED, (byte) 1).put(KvmVcpuEvents.EXCEPTION_NR, (byte) 3)));
        assertThat(events().getShort(0)).as("#BP").isEqualTo((short) 0x0300);
        assertOk(setEvents(events -> events.putInt(KvmVcpuEvents.INTERRUPT_INJECTED, 1 << 16 | VECTOR << 8 | 1)));
        assertThat(events().getInt(KvmVcpuEvents.INTERRUPT_INJECTED)).isEqualTo(VECTOR << 8);
    }

    @Test
    void nmisAreReadAsTheyWereSet() {
        assertOk(setEvents(events -> events.put(KvmVcpuEvents.NMI_INJECTED, (byte) 1)
                .put(KvmVcpuEvents.NMI_PENDING, (byte) 1)
                .put(KvmVcpuEvents.NMI_MASKED, (byte) 1)));
        assertThat(events().getInt(KvmVcpuEvents.NMI_INJECTED)).isEqualTo(0x01_01_01);
        assertOk(setEvents(events -> events.putInt(KvmVcpuEvents.NMI_INJECTED, 0x05_00)));
        assertThat(events().getInt(KvmVcpuEvents.NMI_INJECTED)).isEqualTo(world.isSince(6, 4) ? 0x02_00 : 0x01_00);
        assertOk(setEvents(
                events -> events.putInt(KvmVcpuEvents.NMI_INJECTED, 0x01_05_00).putInt(KvmVcpuEvents.FLAGS, 0)));
        assertThat(events().getInt(KvmVcpuEvents.NMI_INJECTED))
                .as("the number needs its flag")
                .isIn(0x01_02_00, 0x01_01_00);
    }

    @Test
    void shadowNeedsItsFlag() {
        assertOk(setEvents(
                events -> events.put(KvmVcpuEvents.INTERRUPT_SHADOW, (byte) 1).putInt(KvmVcpuEvents.FLAGS, 0)));
        assertThat(events().get(KvmVcpuEvents.INTERRUPT_SHADOW)).isZero();
        assertOk(setEvents(events -> events.put(KvmVcpuEvents.INTERRUPT_SHADOW, (byte) 1)));
        assertThat(events().get(KvmVcpuEvents.INTERRUPT_SHADOW)).isNotZero();
        assertOk(setEvents(events -> events.put(KvmVcpuEvents.INTERRUPT_SHADOW, (byte) 0)));
        assertThat(events().get(KvmVcpuEvents.INTERRUPT_SHADOW)).isZero();
    }

    @Test
    void initWaitsInALapicOnly() {
        assertOk(setEvents(events -> events.put(KvmVcpuEvents.SMI_LATCHED_INIT, (byte) 1)));
        assertThat(events().get(KvmVcpuEvents.SMI_LATCHED_INIT)).isZero();
        int vm = world.fullVm();
        world.vcpu(vm, 0);
        vcpu = world.vcpu(vm, 1);
        assertOk(setEvents(events -> events.put(KvmVcpuEvents.SMI_LATCHED_INIT, (byte) 1)));
        assertThat(events().get(KvmVcpuEvents.SMI_LATCHED_INIT)).isOne();
        assertOk(setEvents(events -> events.put(KvmVcpuEvents.SMI_LATCHED_INIT, (byte) 0)
                .putInt(KvmVcpuEvents.FLAGS, Uapi.KVM_VCPUEVENT_VALID_SIPI_VECTOR)
                .putInt(KvmVcpuEvents.SIPI_VECTOR, 0x12)));
        assertThat(events().get(KvmVcpuEvents.SMI_LATCHED_INIT)).isOne();
        assertThat(events().getInt(KvmVcpuEvents.SIPI_VECTOR))
                .as("never reported")
                .isZero();
        assertOk(setEvents(events -> events.put(KvmVcpuEvents.SMI_LATCHED_INIT, (byte) 0)));
        assertThat(events().get(KvmVcpuEvents.SMI_LATCHED_INIT)).isZero();
    }

    @Test
    void eventsAreChecked() {
        ByteBuffer before = events();
        for (int flags : new int[] {-1, 0x40, Uapi.KVM_VCPUEVENT_VALID_PAYLOAD}) {
            assertErrno(Errno.EINVAL, setEvents(events -> events.putInt(KvmVcpuEvents.FLAGS, flags)
                    .put(KvmVcpuEvents.NMI_MASKED, (byte) 1)));
        }
        for (int exception : new int[] {2, 32, 255}) {
            assertErrno(Errno.EINVAL, setEvents(events -> events.put(KvmVcpuEvents.EXCEPTION_INJECTED, (byte) 1)
                    .put(KvmVcpuEvents.EXCEPTION_NR, (byte) exception)
                    .put(KvmVcpuEvents.NMI_MASKED, (byte) 1)));
        }
        assertThat(events()).isEqualTo(before);
        assertErrno(Errno.EINVAL, setEvents(events -> events.putInt(
                        KvmVcpuEvents.FLAGS, Uapi.KVM_VCPUEVENT_VALID_TRIPLE_FAULT)
                .put(KvmVcpuEvents.NMI_MASKED, (byte) 1)));
        assertThat(events().get(KvmVcpuEvents.NMI_MASKED))
                .as("it is the last check")
                .isOne();
    }

    // Debug registers

    @Test
    void debugRegistersAreChecked() {
        ByteBuffer before = get(Uapi.KVM_GET_DEBUGREGS, Uapi.KvmDebugregs.SIZE);
        for (int at : new int[] {Uapi.KvmDebugregs.DR6, Uapi.KvmDebugregs.DR7, Uapi.KvmDebugregs.FLAGS}) {
            ByteBuffer wrong =
                    get(Uapi.KVM_GET_DEBUGREGS, Uapi.KvmDebugregs.SIZE).putLong(0, 7);
            assertErrno(Errno.EINVAL, set(Uapi.KVM_SET_DEBUGREGS, wrong.putLong(at, 1L << 32)));
        }
        assertThat(get(Uapi.KVM_GET_DEBUGREGS, Uapi.KvmDebugregs.SIZE)).isEqualTo(before);
    }
}
