/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static io.kvmirq.testing.Structs.leaf;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The limits of setting segment registers by {@code Vcpu}, the changes of registers by INIT and {@code Vcpu.run},
 * and reads that {@code Vcpu.run} answers: arch/x86/kvm/x86.c. X86RegistersTest sets and reads the registers on the
 * same kernels.
 */
@Contract
class RegistersContract extends KernelSuite {
    private static final int SEGMENT = 24;
    private static final int LONG_CODE = 19;
    private static final int GDT = 192;
    private static final int IDT = 208;
    private static final int CR0 = 224;
    private static final int CR2 = 232;
    private static final int CR3 = 240;
    private static final int EFER = 264;
    private static final int APIC_BASE = 272;
    private static final long PAGING = 1L << 31;
    private static final long NOT_WRITE_THROUGH = 1 << 29;
    private static final long LONG_MODE_ACTIVE = 1 << 10;
    private static final long X2APIC = 1 << 10;
    private static final long ENABLED = 1 << 11;
    private static final int RAX = 0;
    private static final int RDX = 24;

    private int vm;
    private int vcpu;

    @BeforeEach
    void setUp() {
        world.assumeX86();
        vm = world.bareVm();
        vcpu = world.vcpu(vm, 0);
    }

    private ByteBuffer registers() {
        ByteBuffer registers = Buffers.allocate(Uapi.KvmRegs.SIZE);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_GET_REGS, registers));
        return registers;
    }

    private int setSegments(Consumer<ByteBuffer> change) {
        ByteBuffer segments = world.segments(vcpu);
        change.accept(segments);
        return libc.ioctl(vcpu, Uapi.KVM_SET_SREGS, segments);
    }

    /** A vCPU takes messages when its state is asked for. */
    private int stateAfter(int data) {
        assertThat(kernel.msiSignal(vm, MSI_ADDRESS | 1 << 12, data, 0, 0)).isOne();
        ByteBuffer state = Buffers.allocate(Uapi.KvmMpState.SIZE);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_GET_MP_STATE, state));
        return state.getInt(Uapi.KvmMpState.MP_STATE);
    }

    /** As a restored vCPU gets it; the guest sets it by its MSR. */
    @Test
    void modeOfTheLapicIsASystemRegister() {
        int vm = world.fullVm();
        world.vcpu(vm, 0);
        vcpu = world.vcpu(vm, 1);
        assertOk(world.setCpuid(vcpu, leaf(1, 0, 0, 1 << 21, 1 << 9)));
        assertThat(world.lapic(vcpu).getInt(0xd0)).as("logical id").isZero();
        assertOk(setSegments(segments -> segments.putLong(APIC_BASE, segments.getLong(APIC_BASE) | X2APIC)));
        assertThat(world.segments(vcpu).getLong(APIC_BASE) & X2APIC).isNotZero();
        assertThat(world.lapic(vcpu).getInt(0xd0)).as("logical id").isEqualTo(2);
        assertThat(world.lapic(vcpu).getInt(0x20) >>> 24).isOne();
    }

    /** Only the bits of the caches stay, and the base of the LAPIC. RDX is the signature of the guest's CPUID. */
    @Test
    void initResetsTheRegistersAndAStartUpMessageSetsItsPage() {
        vm = world.splitVm();
        assertOk(world.vcpu(vm, 0));
        vcpu = world.vcpuWithLapic(vm, 1);
        ByteBuffer general = registers();
        ByteBuffer system = world.segments(vcpu);
        assertOk(world.setCpuid(vcpu, leaf(1, 0x12345)));
        ByteBuffer other = Buffers.allocate(Uapi.KvmRegs.SIZE).putLong(Uapi.KvmRegs.RFLAGS, 0x200);
        for (int at = 0; at <= Uapi.KvmRegs.RIP; at += Long.BYTES) {
            other.putLong(at, 0x500);
        }
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_REGS, other));
        assertOk(setSegments(segments -> segments.putLong(Uapi.KvmSregs.CS_BASE, 0x2000)
                .putShort(Uapi.KvmSregs.CS_SELECTOR, (short) 0x200)
                .putLong(SEGMENT, 0x3000)
                .putLong(GDT, 0x4000)
                .putLong(IDT, 0x5000)
                .putLong(CR0, 0x10 | 1 << 16)
                .putLong(CR2, 0x6000)
                .putLong(CR3, 0x7000)
                .putLong(Uapi.KvmSregs.CR8, 5)));
        assertThat(stateAfter(0x500)).isEqualTo(Uapi.KVM_MP_STATE_INIT_RECEIVED);
        assertThat(registers()).isEqualTo(general.putLong(RDX, 0x12345));
        assertThat(world.segments(vcpu)).isEqualTo(system.putLong(CR0, 0x10));
        assertThat(stateAfter(0x612)).isEqualTo(Uapi.KVM_MP_STATE_RUNNABLE);
        assertThat(registers()).isEqualTo(general.putLong(Uapi.KvmRegs.RIP, 0));
        assertThat(world.segments(vcpu))
                .isEqualTo(system.putLong(Uapi.KvmSregs.CS_BASE, 0x12000)
                        .putShort(Uapi.KvmSregs.CS_SELECTOR, (short) 0x1200));
    }

    @Test
    void x2apicModeFollowsTheCpuidAlsoWithoutLapic() {
        long x2apic = 0xfee00100L | ENABLED | X2APIC;
        assertErrno(Errno.EINVAL, setSegments(segments -> segments.putLong(APIC_BASE, x2apic)));
        assertOk(world.setCpuid(vcpu, leaf(1, 0, 0, 1 << 21)));
        assertOk(setSegments(segments -> segments.putLong(APIC_BASE, x2apic)));
        assertThat(world.segments(vcpu).getLong(APIC_BASE)).isEqualTo(x2apic);
    }

    @Test
    void contradictionsAreRefusedAndChangeNothing() {
        ByteBuffer before = world.segments(vcpu);
        assertErrno(Errno.EINVAL, setSegments(segments -> segments.putLong(CR0, PAGING)));
        assertErrno(Errno.EINVAL, setSegments(segments -> segments.putLong(CR0, NOT_WRITE_THROUGH)));
        assertErrno(Errno.EINVAL, setSegments(segments -> segments.putLong(CR0, 1L << 32)));
        assertErrno(Errno.EINVAL, setSegments(segments -> segments.putLong(EFER, LONG_MODE_ACTIVE)));
        assertErrno(Errno.EINVAL, setSegments(segments -> segments.put(LONG_CODE, (byte) 1)));
        assertErrno(Errno.EINVAL, setSegments(segments -> segments.putLong(APIC_BASE, 0xfee00901L)));
        assertErrno(Errno.EINVAL, setSegments(segments -> segments.putLong(APIC_BASE, 0xfee00100L | X2APIC)));
        assertErrno(Errno.EINVAL, setSegments(segments -> segments.putLong(APIC_BASE, 1L << 62 | ENABLED)));
        assertThat(world.segments(vcpu)).isEqualTo(before);
    }

    /** A VMM that resets its guest at an OUT: the next run skips nothing. */
    @Test
    void ripThatTheVmmSetsAtAnOutStays() {
        RealModeGuest guest = new RealModeGuest(world, world.fullVm(), asm("nop; out 0x82, al; nop; out 0x83, al"));
        vcpu = guest.vcpu();
        long start = registers().getLong(Uapi.KvmRegs.RIP);
        guest.runTo(RealModeGuest.READY);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_REGS, registers().putLong(Uapi.KvmRegs.RIP, start)));
        shared().put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 1);
        assertErrno(Errno.EINTR, libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        assertThat(registers().getLong(Uapi.KvmRegs.RIP)).isEqualTo(start);
        shared().put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 0);
        guest.runTo(RealModeGuest.READY);
        guest.runTo(RealModeGuest.IN_SERVICE);
    }

    /** A read of a port and one of an address, of each size, whose rest of EAX stays. */
    @ParameterizedTest
    @CsvSource({
        "e444, IO, 1",
        "e544, IO, 2",
        "66e544, IO, 4",
        "a000f8, MMIO, 1",
        "a100f8, MMIO, 2",
        "66a100f8, MMIO, 4",
    })
    void readOfAGuestTakesTheAnswerAtTheNextRun(String code, String exit, int size) {
        RealModeGuest guest = new RealModeGuest(world, world.fullVm(), code + asm("out 0x82, al; hlt"));
        vcpu = guest.vcpu();
        long start = registers().getLong(Uapi.KvmRegs.RIP);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_REGS, registers().putLong(RAX, 0x11223344)));
        ByteBuffer run = shared();
        assertOk(libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        int at = Uapi.KvmRun.MMIO_DATA;
        if (exit.equals("IO")) {
            assertThat(run.getInt(Uapi.KvmRun.EXIT_REASON)).isEqualTo(Uapi.KVM_EXIT_IO);
            assertThat(run.get(Uapi.KvmRun.IO_DIRECTION)).isZero();
            assertThat(run.get(Uapi.KvmRun.IO_SIZE)).isEqualTo((byte) size);
            assertThat(run.getInt(Uapi.KvmRun.IO_COUNT)).isEqualTo(1);
            at = (int) run.getLong(Uapi.KvmRun.IO_DATA_OFFSET);
        } else {
            assertThat(run.getInt(Uapi.KvmRun.EXIT_REASON)).isEqualTo(Uapi.KVM_EXIT_MMIO);
            assertThat(run.getLong(Uapi.KvmRun.MMIO_PHYS_ADDR)).isEqualTo(RealModeGuest.NO_MEMORY);
            assertThat(run.get(Uapi.KvmRun.MMIO_IS_WRITE)).isZero();
            assertThat(run.getInt(Uapi.KvmRun.MMIO_LEN)).isEqualTo(size);
        }
        assertThat(registers().getLong(Uapi.KvmRegs.RIP)).isEqualTo(start);
        run.putInt(at, 0xa1a2a3a4);
        run.put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 1);
        assertErrno(Errno.EINTR, libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        assertThat(registers().getLong(Uapi.KvmRegs.RIP)).isEqualTo(start + code.length() / 2);
        long mask = (1L << Byte.SIZE * size) - 1;
        assertThat(registers().getLong(RAX)).isEqualTo(0x11223344L & ~mask | 0xa1a2a3a4L & mask);
        run.put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 0);
        guest.runTo(RealModeGuest.READY);
        assertThat(guest.written()).isEqualTo(0xa4);
    }

    /** What the vCPU shares with its VMM. */
    private ByteBuffer shared() {
        int size = libc.ioctl(world.kvm(), Uapi.KVM_GET_VCPU_MMAP_SIZE, 0);
        return libc.view(world.map(size, vcpu), size);
    }

    private void leaveAtOnce(ByteBuffer run) {
        assertErrno(Errno.EINTR, libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
        assertThat(run.getLong(Uapi.KvmRun.CR8)).isEqualTo(world.segments(vcpu).getLong(Uapi.KvmSregs.CR8));
        assertThat(run.getLong(Uapi.KvmRun.APIC_BASE))
                .isEqualTo(world.segments(vcpu).getLong(APIC_BASE));
    }

    @Test
    void taskPriorityOfKvmRunCountsWithoutALapicAlone() {
        for (int vm : new int[] {world.splitVm(), world.fullVm()}) {
            vcpu = world.vcpu(vm, 0);
            ByteBuffer run = shared().put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 1).putLong(Uapi.KvmRun.CR8, 0x10);
            assertOk(setSegments(segments -> segments.putLong(Uapi.KvmSregs.CR8, 5)));
            leaveAtOnce(run);
            assertThat(run.getLong(Uapi.KvmRun.CR8)).isEqualTo(5);
        }
        vcpu = world.vcpu(world.bareVm(), 0);
        shared().putLong(Uapi.KvmRun.CR8, 0x10);
        assertErrno(Errno.EINVAL, libc.ioctl(vcpu, Uapi.KVM_RUN, 0));
    }

    /** With a PIC in the kernel the VMM need not wait; else the interrupt flag decides, and LINT0 of a LAPIC. */
    @Test
    void kvmRunShowsWhetherAnInterruptOfThePicWouldBeTaken() {
        assertReady(vcpu, 0, 1);
        assertReady(world.vcpu(world.fullVm(), 0), 1, 1);
        int split = world.splitVm();
        assertReady(world.vcpu(split, 0), 0, 1);
        assertReady(world.vcpu(split, 1), 0, 0);
    }

    private void assertReady(int of, int masked, int unmasked) {
        vcpu = of;
        ByteBuffer run = shared().put(Uapi.KvmRun.IMMEDIATE_EXIT, (byte) 1);
        for (int on = 0; on < 2; on++) {
            assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_REGS, registers().putLong(Uapi.KvmRegs.RFLAGS, 0x200 * on)));
            leaveAtOnce(run);
            assertThat(run.get(Uapi.KvmRun.IF_FLAG)).isEqualTo((byte) on);
            assertThat(run.get(Uapi.KvmRun.READY_FOR_INTERRUPT_INJECTION))
                    .isEqualTo((byte) (on == 0 ? masked : unmasked));
        }
    }
}
