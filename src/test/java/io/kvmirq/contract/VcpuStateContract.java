/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.X86Msr;
import io.kvmirq.backend.Buffers;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.Uapi.KvmVcpuEvents;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * MSRs, FPU, XSAVE, XCRs, events and debug registers are read as {@code VmSnapshot.restore} sets them, or refused:
 * arch/x86/kvm/x86.c.
 */
@Contract
class VcpuStateContract extends KernelSuite {
    private static final long NOWHERE = 8;
    private static final int UNKNOWN_MSR = 0x12345678;
    private static final long NOT_CANONICAL = 1L << 62;
    private static final int MXCSR = 24;
    private static final int FEATURES = 512;
    private static final int XMM0 = 160;

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

    @Test
    void msrsAreReadAsTheyWereSet() {
        assertThat(msr(X86Msr.PAT)).isEqualTo(0x0007_0406_0007_0406L);
        // No PEBS and no BTS on SVM and VMX; a KVM without hardware virtualization has fast strings instead.
        assertThat(msr(X86Msr.MISC_ENABLE)).isIn(0x1800L, 1L);
        X86Msr[] kept = {
            X86Msr.SYSENTER_CS,
            X86Msr.SYSENTER_ESP,
            X86Msr.SYSENTER_EIP,
            X86Msr.STAR,
            X86Msr.LSTAR,
            X86Msr.CSTAR,
            X86Msr.KERNEL_GS_BASE,
            X86Msr.SYSCALL_MASK
        };
        for (X86Msr msr : kept) {
            assertThat(msr(msr)).as(msr.name()).isZero();
            assertThat(setMsr(msr, 0x10 + msr.ordinal())).as(msr.name()).isOne();
        }
        for (X86Msr msr : kept) {
            assertThat(msr(msr)).as(msr.name()).isEqualTo(0x10 + msr.ordinal());
        }
        assertThat(setMsr(X86Msr.SYSENTER_ESP, NOT_CANONICAL)).isOne();
        assertThat(msr(X86Msr.SYSENTER_ESP)).as("the sign of bit 47 or 56").isZero();
        assertThat(setMsr(X86Msr.MTRR_DEF_TYPE, 0x806)).isOne();
        assertThat(msr(X86Msr.MTRR_DEF_TYPE)).isEqualTo(0x806);
        assertThat(setMsr(X86Msr.TSC, 1L << 60)).isOne();
        assertThat(msr(X86Msr.TSC) >= 1L << 60)
                .as("a kvm_pvm's guests read the processor's TSC")
                .isNotEqualTo(world.isPvm());
    }

    @Test
    void msrsStopAtOneThatIsUnknownOrRefused() {
        ByteBuffer some = Structs.msrs(X86Msr.STAR.number(), 5, UNKNOWN_MSR, 6, X86Msr.CSTAR.number(), 7);
        assertThat(set(Uapi.KVM_SET_MSRS, some)).isOne();
        assertThat(msr(X86Msr.STAR)).isEqualTo(5);
        assertThat(msr(X86Msr.CSTAR)).isZero();
        assertThat(set(Uapi.KVM_GET_MSRS, some)).isOne();
        assertThat(some.getLong(Uapi.KvmMsrs.SIZE + Uapi.KvmMsrEntry.SIZE + Uapi.KvmMsrEntry.DATA))
                .as("an unknown one reads 0")
                .isZero();
        some = Structs.msrs(X86Msr.STAR.number(), 8, X86Msr.LSTAR.number(), NOT_CANONICAL, X86Msr.CSTAR.number(), 7);
        assertThat(set(Uapi.KVM_SET_MSRS, some)).isOne();
        assertThat(msr(X86Msr.STAR)).isEqualTo(8);
        assertThat(msr(X86Msr.LSTAR)).isZero();
        assertThat(setMsr(X86Msr.MTRR_DEF_TYPE, 0x100)).isZero();
        assertThat(setMsr(X86Msr.MTRR_DEF_TYPE, 2)).isZero();
        assertThat(setMsr(X86Msr.KERNEL_GS_BASE, NOT_CANONICAL)).isZero();
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

    private ByteBuffer fpu() {
        return get(Uapi.KVM_GET_FPU, Uapi.KvmFpu.SIZE);
    }

    @Test
    void fpuIsReadAsItWasSetWithoutMxcsr() {
        assertThat(fpu().getShort(Uapi.KvmFpu.FCW)).isEqualTo((short) 0x37f);
        ByteBuffer set = Buffers.allocate(Uapi.KvmFpu.SIZE);
        for (int i = 0; i < Uapi.KvmFpu.MXCSR; i++) {
            set.put(i, (byte) (i == Uapi.KvmFpu.FTWX + 1 ? 0 : i));
        }
        assertOk(set(Uapi.KVM_SET_FPU, set.putInt(Uapi.KvmFpu.MXCSR, -1)));
        assertThat(fpu()).isEqualTo(set.putInt(Uapi.KvmFpu.MXCSR, 0));
    }

    @Test
    void xsaveAreaIsReadAsItWasSet() {
        ByteBuffer set = xsave();
        for (int i = 0; i < MXCSR; i++) {
            set.put(i, (byte) i);
        }
        for (int i = XMM0; i < XMM0 + 256; i++) {
            set.put(i, (byte) i);
        }
        set.putInt(MXCSR, 0x1fa0).putLong(FEATURES, 3);
        assertOk(set(Uapi.KVM_SET_XSAVE, set));
        assertThat(xsave()).isEqualTo(set);
        ByteBuffer fpu = fpu();
        assertThat(fpu.getShort(Uapi.KvmFpu.FCW)).isEqualTo((short) 0x100);
        assertThat(fpu.get(Uapi.KvmFpu.XMM)).isEqualTo((byte) XMM0);
    }

    /** A part without its bit in XSTATE_BV is in its initial state, also after KVM_SET_FPU. */
    @Test
    void xsaveAreaHasPartsInTheirInitialState() {
        ByteBuffer set = xsave().putShort(0, (short) 0x17f).putInt(XMM0, 7).putInt(MXCSR, 0x1fa0);
        assertOk(set(Uapi.KVM_SET_XSAVE, set.putLong(FEATURES, 3)));
        assertOk(set(Uapi.KVM_SET_XSAVE, set.putLong(FEATURES, 0)));
        ByteBuffer fpu = fpu();
        assertThat(fpu.getShort(Uapi.KvmFpu.FCW)).as("kept, but not in use").isEqualTo((short) 0x17f);
        assertOk(set(Uapi.KVM_SET_FPU, fpu.putShort(Uapi.KvmFpu.FCW, (short) 0x27f)));
        ByteBuffer read = xsave();
        assertThat(read.getLong(FEATURES)).isZero();
        assertThat(read.getShort(0)).isEqualTo((short) 0x37f);
        assertThat(read.getInt(XMM0)).isZero();
        assertThat(read.getInt(MXCSR)).isEqualTo(0x1f80);
        assertThat(fpu().getShort(Uapi.KvmFpu.FCW)).isEqualTo((short) 0x27f);
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
    void vcpuBeginsWithoutEvents() {
        ByteBuffer none = Buffers.allocate(KvmVcpuEvents.SIZE)
                .putInt(
                        KvmVcpuEvents.FLAGS,
                        Uapi.KVM_VCPUEVENT_VALID_NMI_PENDING
                                | Uapi.KVM_VCPUEVENT_VALID_SHADOW
                                | Uapi.KVM_VCPUEVENT_VALID_SMM);
        assertThat(events()).isEqualTo(none);
    }

    @Test
    void exceptionIsReadAsItWasSet() {
        assertOk(setEvents(events -> events.put(KvmVcpuEvents.EXCEPTION_INJECTED, (byte) 1)
                .put(KvmVcpuEvents.EXCEPTION_NR, (byte) 13)
                .put(KvmVcpuEvents.EXCEPTION_HAS_ERROR_CODE, (byte) 1)
                .putInt(KvmVcpuEvents.EXCEPTION_ERROR_CODE, 0x18)));
        assertThat(events().getLong(0)).isEqualTo(0x18_00_01_0d_01L);
        assertOk(setEvents(events -> events.put(KvmVcpuEvents.EXCEPTION_NR, (byte) 3)));
        assertThat(events().getShort(0)).as("#BP is not reported").isEqualTo((short) 0x0300);
        assertOk(setEvents(events -> events.put(KvmVcpuEvents.EXCEPTION_INJECTED, (byte) 0)
                .put(KvmVcpuEvents.EXCEPTION_PENDING, (byte) 1)
                .put(KvmVcpuEvents.EXCEPTION_NR, (byte) 14)));
        assertThat(events().getInt(0))
                .as("pending needs KVM_CAP_EXCEPTION_PAYLOAD")
                .isEqualTo(0x00_01_0e_00);
    }

    @Test
    void interruptIsReadAsItWasSet() {
        assertOk(setEvents(events ->
                events.put(KvmVcpuEvents.INTERRUPT_INJECTED, (byte) 1).put(KvmVcpuEvents.INTERRUPT_NR, (byte) VECTOR)));
        assertThat(events().getShort(KvmVcpuEvents.INTERRUPT_INJECTED)).isEqualTo((short) (VECTOR << 8 | 1));
        assertThat(pendingVectors()).isEqualTo(1L << VECTOR);
        assertOk(setEvents(events -> events.put(KvmVcpuEvents.INTERRUPT_SOFT, (byte) 1)));
        assertThat(events().getInt(KvmVcpuEvents.INTERRUPT_INJECTED))
                .as("one of an instruction is not reported")
                .isEqualTo(VECTOR << 8);
        assertThat(pendingVectors()).isZero();
    }

    private static final int BITMAP = 280;

    private long pendingVectors() {
        return get(Uapi.KVM_GET_SREGS, Uapi.KvmSregs.SIZE).getLong(BITMAP);
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

    /** KVM_CAP_EXCEPTION_PAYLOAD and KVM_CAP_X86_TRIPLE_FAULT_EVENT, which QEMU enables. */
    @Test
    void vmMayReportPayloadsAndTripleFaults() {
        int vm = world.bareVm();
        vcpu = world.vcpu(vm, 0);
        for (int capability : new int[] {Uapi.KVM_CAP_EXCEPTION_PAYLOAD, Uapi.KVM_CAP_X86_TRIPLE_FAULT_EVENT}) {
            ByteBuffer enable = Buffers.allocate(Uapi.KvmEnableCap.SIZE)
                    .putInt(Uapi.KvmEnableCap.CAP, capability)
                    .putLong(Uapi.KvmEnableCap.ARGS, 1);
            assertOk(libc.ioctl(vm, Uapi.KVM_ENABLE_CAP, enable));
        }
        int flags = Uapi.KVM_VCPUEVENT_VALID_PAYLOAD | Uapi.KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
        assertThat(events().getInt(KvmVcpuEvents.FLAGS) & flags).isEqualTo(flags);
        assertOk(setEvents(events -> events.put(KvmVcpuEvents.EXCEPTION_PENDING, (byte) 1)
                .put(KvmVcpuEvents.EXCEPTION_INJECTED, (byte) 1)
                .put(KvmVcpuEvents.EXCEPTION_NR, (byte) 14)
                .put(KvmVcpuEvents.EXCEPTION_HAS_PAYLOAD, (byte) 1)
                .putLong(KvmVcpuEvents.EXCEPTION_PAYLOAD, 0x1234)
                .put(KvmVcpuEvents.TRIPLE_FAULT_PENDING, (byte) 1)));
        ByteBuffer read = events();
        assertThat(read.getInt(0)).as("pending excludes injected").isEqualTo(0x01_00_0e_00);
        assertThat(read.get(KvmVcpuEvents.EXCEPTION_HAS_PAYLOAD)).isOne();
        assertThat(read.getLong(KvmVcpuEvents.EXCEPTION_PAYLOAD)).isEqualTo(0x1234);
        assertThat(read.get(KvmVcpuEvents.TRIPLE_FAULT_PENDING)).isOne();
        assertErrno(Errno.EINVAL, setEvents(events -> events.put(KvmVcpuEvents.EXCEPTION_NR, (byte) 2)));
    }

    // Debug registers

    @Test
    void debugRegistersAreReadAsTheyWereSet() {
        ByteBuffer registers = get(Uapi.KVM_GET_DEBUGREGS, Uapi.KvmDebugregs.SIZE);
        ByteBuffer first = Buffers.allocate(Uapi.KvmDebugregs.SIZE)
                .putLong(Uapi.KvmDebugregs.DR6, 0xffff0ff0L)
                .putLong(Uapi.KvmDebugregs.DR7, 0x400);
        assertThat(registers).isEqualTo(first);
        for (int i = 0; i < 4; i++) {
            registers.putLong(8 * i, 0x1111_2222_3333_4444L + i);
        }
        registers.putLong(Uapi.KvmDebugregs.DR6, 0xffff0ff1L).putLong(Uapi.KvmDebugregs.DR7, 0x401);
        assertOk(set(Uapi.KVM_SET_DEBUGREGS, registers));
        assertThat(get(Uapi.KVM_GET_DEBUGREGS, Uapi.KvmDebugregs.SIZE)).isEqualTo(registers);
    }

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
