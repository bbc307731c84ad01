/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.GuestAssembler.asm;
import static io.kvmirq.testing.Structs.leaf;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.backend.Buffers;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The mode of a LAPIC, its reset and its timer, as a VMM sets them: arch/x86/kvm/lapic.c. */
@Contract
class LapicModeContract extends KernelSuite {
    private static final int APIC_BASE = 272;
    private static final long ADDRESS = 0xfee00000L;
    private static final long ENABLED = 1 << 11;
    private static final long X2APIC = 1 << 10;
    private static final long BOOT = 1 << 8;
    private static final int ID = 0x20;
    private static final int VERSION = 0x30;
    private static final int TPR = 0x80;
    private static final int PPR = 0xa0;
    private static final int LDR = 0xd0;
    private static final int SVR = 0xf0;
    private static final int ISR = 0x100;
    private static final int COMMAND = 0x300;
    private static final int UPPER_COMMAND = 0x304;
    private static final int SECOND_COMMAND = 0x310;
    /** The first entry of the local vector table is the timer's. */
    private static final int LOCAL_TABLE = 0x320;

    private static final int INITIAL_COUNT = 0x380;
    private static final int CURRENT_COUNT = 0x390;
    private static final int MASKED_TIMER = 0x10031;
    private static final int PERIODIC = 1 << 17;
    private static final int MOST = Integer.MAX_VALUE;
    private static final int NMI = 0x400;
    private static final int INIT = 0x500;
    private static final int X2APIC_FEATURE = 1 << 21;
    private static final int ADDRESS_LEAVES = 0x8000_0000;
    private static final int ADDRESS_LEAF = 0x8000_0008;

    private int vm;
    private int vcpu;

    @BeforeEach
    void setUp() {
        world.assumeX86();
        vm = world.splitVm();
        world.vcpu(vm, 0);
        vcpu = world.vcpuWithLapic(vm, 1);
    }

    private int setBase(long base) {
        return libc.ioctl(vcpu, Uapi.KVM_SET_SREGS, world.segments(vcpu).putLong(APIC_BASE, base));
    }

    private int setCpuid(int number, int eax, int ecx) {
        return world.setCpuid(vcpu, leaf(number, eax, 0, ecx));
    }

    private int signal(int destination, int data) {
        return kernel.msiSignal(vm, MSI_ADDRESS | destination << 12, data, 0, 0);
    }

    private int signal(int destination) {
        return signal(destination, NMI);
    }

    private int lapic(int at) {
        return world.lapic(vcpu).getInt(at);
    }

    // The base

    @Test
    void lapicThatIsOffTakesNoMessage() {
        assertThat(signal(1)).isOne();
        assertThat(signal(0xff)).isEqualTo(2);
        assertOk(setBase(ADDRESS));
        assertThat(world.segments(vcpu).getLong(APIC_BASE)).isEqualTo(ADDRESS);
        assertThat(signal(1)).isZero();
        assertThat(signal(0xff)).isOne();
        assertThat(lapic(ID)).isEqualTo(1 << 24);
        assertOk(setBase(ADDRESS | ENABLED));
        assertThat(signal(1)).isOne();
    }

    @Test
    void lapicGetsItsIdBackWhenItIsSwitchedOn() {
        assertOk(libc.ioctl(
                vcpu, Uapi.KVM_SET_LAPIC, world.lapic(vcpu).putInt(ID, 7 << 24).putInt(LDR, 2 << 24)));
        assertThat(signal(7)).isOne();
        assertOk(setBase(ADDRESS));
        assertThat(lapic(ID)).isEqualTo(7 << 24);
        assertOk(setBase(ADDRESS | ENABLED));
        assertThat(lapic(ID)).isEqualTo(1 << 24);
        assertThat(lapic(LDR)).isEqualTo(2 << 24);
        assertThat(signal(7)).isZero();
        assertThat(signal(1)).isOne();
    }

    @Test
    void idsOfX2apicModeGoWithTheModeAndTheLogicalIdStays() {
        assertOk(setCpuid(1, 0, X2APIC_FEATURE));
        assertOk(setBase(ADDRESS | ENABLED | X2APIC));
        assertThat(lapic(LDR)).isEqualTo(2);
        assertOk(setBase(ADDRESS | ENABLED));
        assertThat(lapic(ID)).as("before 6.3 that of x2APIC mode").isEqualTo(world.isSince(6, 3) ? 1 << 24 : 1);
        assertThat(lapic(LDR)).isEqualTo(2);
        assertOk(setBase(ADDRESS | ENABLED | X2APIC));
        assertOk(setBase(ADDRESS));
        assertThat(lapic(ID)).as("the register of x2APIC mode").isOne();
        assertThat(signal(1)).isZero();
        assertErrno(Errno.EINVAL, setBase(ADDRESS | X2APIC));
        assertOk(setBase(ADDRESS | ENABLED | X2APIC));
        assertThat(lapic(ID)).isEqualTo(1 << 24);
        assertThat(signal(1)).isOne();
    }

    private void restoreId(int id, int spurious) {
        ByteBuffer state = world.lapic(vcpu).putInt(ID, id << 24).putInt(SVR, spurious);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_LAPIC, state));
    }

    /**
     * Before 6.3 a message to the restored id finds it too, once SVR enables the LAPIC: LDR, which is made of that id,
     * then counts as a physical id.
     */
    @Test
    void messageFindsAVcpuInX2apicModeByTheIdOfTheVcpu() {
        assertOk(setCpuid(1, 0, X2APIC_FEATURE));
        assertOk(setBase(ADDRESS | ENABLED | X2APIC));
        restoreId(7, 0xff);
        assertThat(lapic(ID)).isEqualTo((world.isSince(6, 12) ? 1 : 7) << 24);
        assertThat(signal(1)).isOne();
        assertThat(signal(7)).isZero();
        restoreId(7, 0x1ff);
        assertThat(signal(1)).isOne();
        assertThat(signal(7)).isEqualTo(world.isSince(6, 3) ? 0 : 1);
        restoreId(0x23, 0x1ff);
        assertThat(signal(0x23)).isEqualTo(world.isSince(6, 3) ? 0 : 1);
    }

    /** SVR is set before the id is checked. */
    @Test
    void idOf32BitsInX2apicModeIsThatOfTheVcpu() {
        assertOk(kernel.x2apicEnable(vm, Uapi.KVM_X2APIC_API_USE_32BIT_IDS));
        assertOk(setCpuid(1, 0, X2APIC_FEATURE));
        assertOk(setBase(ADDRESS | ENABLED | X2APIC));
        ByteBuffer state = world.lapic(vcpu).putInt(ID, 7).putInt(SVR, 0xff).putInt(TPR, 0x20);
        assertErrno(Errno.EINVAL, libc.ioctl(vcpu, Uapi.KVM_SET_LAPIC, state));
        assertThat(lapic(ID)).isOne();
        assertThat(lapic(SVR)).isEqualTo(0xff);
        assertThat(lapic(TPR)).isZero();
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_LAPIC, state.putInt(ID, 1)));
        assertThat(lapic(TPR)).isEqualTo(0x20);
    }

    /** Before 6.12 another id can be set as one of 8 bits. */
    @Test
    void lapicWithAnotherIdIsNotReadOnceIdsHave32Bits() {
        assertOk(setCpuid(1, 0, X2APIC_FEATURE));
        assertOk(setBase(ADDRESS | ENABLED | X2APIC));
        restoreId(7, 0xff);
        assertOk(kernel.x2apicEnable(vm, Uapi.KVM_X2APIC_API_USE_32BIT_IDS));
        ByteBuffer state = Buffers.allocate(Uapi.KvmLapicState.SIZE);
        int expected = world.isSince(6, 12) ? 0 : -Errno.EINVAL.number();
        assertThat(libc.ioctl(vcpu, Uapi.KVM_GET_LAPIC, state)).isEqualTo(expected);
    }

    @Test
    void baseAndBootBitAreKept() {
        assertOk(setBase(0xfec10000L | ENABLED | BOOT));
        assertThat(world.segments(vcpu).getLong(APIC_BASE)).isEqualTo(0xfec10000L | ENABLED | BOOT);
        assertThat(signal(1)).isOne();
        assertOk(setBase(ADDRESS | ENABLED));
        assertThat(world.segments(vcpu).getLong(APIC_BASE)).isEqualTo(ADDRESS | ENABLED);
    }

    /** A guest has 36 address bits, unless its CPUID has the leaf that counts them. */
    @Test
    void baseIsAnAddressOfTheGuest() {
        assertErrno(Errno.EINVAL, setBase(1L << 36 | ENABLED));
        assertOk(setBase(1L << 35 | ENABLED));
        assertOk(world.setCpuid(vcpu, leaf(ADDRESS_LEAVES, ADDRESS_LEAF), leaf(ADDRESS_LEAF, 40)));
        assertOk(setBase(1L << 39 | ENABLED));
        assertErrno(Errno.EINVAL, setBase(1L << 40 | ENABLED));
        assertOk(world.setCpuid(vcpu, leaf(ADDRESS_LEAVES, ADDRESS_LEAF - 1), leaf(ADDRESS_LEAF, 40)));
        assertErrno(Errno.EINVAL, setBase(1L << 38 | ENABLED));
    }

    /** Since 6.13. */
    @Test
    void baseThatIsThereIsNotChecked() {
        assertOk(setCpuid(1, 0, X2APIC_FEATURE));
        assertOk(setBase(ADDRESS | ENABLED | X2APIC));
        assertOk(setCpuid(1, 0, 0));
        int unchanged = setBase(ADDRESS | ENABLED | X2APIC);
        assertThat(unchanged).isEqualTo(world.isSince(6, 13) ? 0 : -Errno.EINVAL.number());
        assertErrno(Errno.EINVAL, setBase(ADDRESS | ENABLED | X2APIC | BOOT));
        assertOk(setBase(ADDRESS | ENABLED));
        assertErrno(Errno.EINVAL, setBase(ADDRESS | ENABLED | X2APIC));
    }

    // The state of a boot vCPU

    private int state() {
        ByteBuffer state = Buffers.allocate(Uapi.KvmMpState.SIZE);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_GET_MP_STATE, state));
        return state.getInt(0);
    }

    private void setState(int state) {
        assertOk(libc.ioctl(
                vcpu,
                Uapi.KVM_SET_MP_STATE,
                Buffers.allocate(Uapi.KvmMpState.SIZE).putInt(0, state)));
    }

    @Test
    void bootVcpuAtItsResetBecomesRunnable() {
        int other = vcpu;
        vcpu = world.vcpu(world.fullVm(), 0);
        for (int state :
                new int[] {Uapi.KVM_MP_STATE_HALTED, Uapi.KVM_MP_STATE_INIT_RECEIVED, Uapi.KVM_MP_STATE_UNINITIALIZED
                }) {
            setState(state);
            assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_SREGS, world.segments(vcpu)));
            assertThat(state()).isEqualTo(Uapi.KVM_MP_STATE_RUNNABLE);
        }
        setState(Uapi.KVM_MP_STATE_HALTED);
        assertOk(libc.ioctl(
                vcpu, Uapi.KVM_SET_SREGS, world.segments(vcpu).putShort(Uapi.KvmSregs.CS_SELECTOR, (short) 0xe000)));
        assertThat(state()).isEqualTo(Uapi.KVM_MP_STATE_HALTED);
        vcpu = other;
        setState(Uapi.KVM_MP_STATE_HALTED);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_SREGS, world.segments(vcpu)));
        assertThat(state()).isEqualTo(Uapi.KVM_MP_STATE_HALTED);
        assertOk(setBase(ADDRESS | ENABLED | BOOT));
        assertThat(state()).as("by its bit").isEqualTo(Uapi.KVM_MP_STATE_RUNNABLE);
        assertThat(signal(1, INIT)).isOne();
        assertThat(state()).as("also after INIT").isEqualTo(Uapi.KVM_MP_STATE_RUNNABLE);
    }

    // Version

    /** With the split irqchip, x2APIC adds a bit to it. A CPUID without leaf 1 leaves it as it is. */
    @Test
    void versionFollowsLeaf1OfTheCpuid() {
        assertThat(lapic(VERSION)).isEqualTo(0x50014);
        assertOk(setCpuid(1, 0, X2APIC_FEATURE));
        assertThat(lapic(VERSION)).isEqualTo(0x1050014);
        assertOk(setCpuid(0, 1, 0));
        assertThat(lapic(VERSION)).isEqualTo(0x1050014);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_LAPIC, world.lapic(vcpu)));
        assertThat(lapic(VERSION)).as("computed anew").isEqualTo(0x50014);
        assertOk(setCpuid(1, 0, X2APIC_FEATURE));
        assertOk(setCpuid(1, 0, 0));
        assertThat(lapic(VERSION)).isEqualTo(0x50014);
    }

    // The command

    private void setCommand() {
        ByteBuffer lapic = world.lapic(vcpu)
                .putInt(COMMAND, 0x4031)
                .putInt(UPPER_COMMAND, 5)
                .putInt(SECOND_COMMAND, 3);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_LAPIC, lapic));
        assertThat(lapic(COMMAND)).isEqualTo(0x4031);
    }

    /** Two registers of 32 bits in xAPIC mode. Only AMD splits them in x2APIC mode, too. */
    @Test
    void commandHas64BitsInX2apicMode() {
        setCommand();
        assertThat(lapic(UPPER_COMMAND)).as("no register").isEqualTo(5);
        assertThat(lapic(SECOND_COMMAND)).isEqualTo(3);
        assertOk(setCpuid(1, 0, X2APIC_FEATURE));
        assertOk(setBase(ADDRESS | ENABLED | X2APIC));
        boolean split = world.isAmd();
        assertThat(lapic(SECOND_COMMAND)).as("the upper half").isEqualTo(split ? 3 : 5);
        setCommand();
        assertThat(lapic(UPPER_COMMAND)).isEqualTo(split ? 5 : 3);
        assertThat(lapic(SECOND_COMMAND)).isEqualTo(3);
    }

    /** The entry of KVM_GET_MSRS; its data was -1. */
    private long msr(int number, int result) {
        ByteBuffer read = Structs.msrs(number, -1);
        assertThat(libc.ioctl(vcpu, Uapi.KVM_GET_MSRS, read)).isEqualTo(result);
        return read.getLong(Uapi.KvmMsrs.SIZE + Uapi.KvmMsrEntry.DATA);
    }

    @Test
    void msrsOfX2apicModeAreTheRegisters() {
        setCommand();
        long none = world.isSince(6, 12) ? 0 : -1;
        assertThat(msr(0x830, 0)).as("xAPIC mode").isEqualTo(none);
        assertOk(setCpuid(1, 0, X2APIC_FEATURE));
        assertOk(setBase(ADDRESS | ENABLED | X2APIC));
        setCommand();
        assertThat(msr(0x830, 1)).as("ICR").isEqualTo(0x3_0000_4031L);
        assertThat(msr(0x802, 1)).as("ID").isOne();
        assertThat(msr(0x803, 1)).as("version").isEqualTo(lapic(0x30));
        assertThat(msr(0x80d, 1)).as("LDR").isEqualTo(2);
        assertThat(msr(0x80f, 1)).as("SVR").isEqualTo(lapic(SVR));
        assertThat(msr(0x837, 1)).as("LVT error").isEqualTo(0x10000);
        assertOk(libc.ioctl(
                vcpu, Uapi.KVM_SET_LAPIC, world.lapic(vcpu).putInt(0x80, 0x25).putInt(0x230, 0x80000000)));
        assertThat(msr(0x808, 1)).as("TPR").isEqualTo(0x25);
        assertThat(msr(0x80a, 1)).as("PPR").isEqualTo(0x25);
        assertThat(msr(0x823, 1)).as("IRR").isEqualTo(0x80000000L);
        for (int number : new int[] {0x800, 0x80b, 0x80e, 0x831, 0x83a, 0x83f, 0x8ff}) {
            assertThat(msr(number, 0)).as("0x%x", number).isEqualTo(none);
        }
    }

    /** Before 6.12. Messages find the vCPU by its own id all the same. */
    @Test
    void msrOfTheIdTellsWhatWasRestored() {
        assertOk(setCpuid(1, 0, X2APIC_FEATURE));
        assertOk(setBase(ADDRESS | ENABLED | X2APIC));
        restoreId(7, 0xff);
        assertThat(msr(0x802, 1)).isEqualTo(world.isSince(6, 12) ? 1 : 7);
        assertThat(signal(1)).isOne();
    }

    @Test
    void initClearsTheCommandOfItsMode() {
        assertOk(setCpuid(1, 0, X2APIC_FEATURE));
        assertOk(setBase(ADDRESS | ENABLED | X2APIC));
        setCommand();
        assertThat(signal(1, INIT)).isOne();
        assertThat(state()).isEqualTo(Uapi.KVM_MP_STATE_INIT_RECEIVED);
        assertThat(lapic(COMMAND)).isZero();
        assertThat(lapic(UPPER_COMMAND)).isZero();
        assertThat(lapic(SECOND_COMMAND)).isEqualTo(world.isAmd() ? 3 : 0);
        assertOk(setBase(ADDRESS | ENABLED));
        assertThat(lapic(SECOND_COMMAND)).as("the register was not reset").isEqualTo(3);
    }

    // The guest

    private static final int FS = 3 * 24;
    private static final int VECTOR = 0x31;

    /** A segment register of real mode has a base above 1 MiB as long as the guest does not load it. */
    @Test
    void guestEndsAnInterruptInThePageOfItsLapic() {
        vm = world.fullVm();
        RealModeGuest guest = new RealModeGuest(world, vm, asm("out 0x82, al; sti; loop: jmp loop"));
        guest.handle(VECTOR, asm("out 0x83, al; xor eax, eax; mov fs:[0xb0], eax; out 0x80, al; iret"));
        vcpu = guest.vcpu();
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_LAPIC, world.lapic(vcpu).putInt(SVR, 0x1ff)));
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_SREGS, world.segments(vcpu).putLong(FS, ADDRESS)));
        guest.runTo(RealModeGuest.READY);
        for (int i = 0; i < 2; i++) {
            assertThat(signal(0, VECTOR)).isOne();
            guest.answer();
            assertThat(lapic(ISR + VECTOR / 32 * 16)).isZero();
        }
    }

    // The timer

    private int currentCount(int local, int initial, int set) {
        ByteBuffer lapic = world.lapic(vcpu)
                .putInt(LOCAL_TABLE, MASKED_TIMER | local)
                .putInt(INITIAL_COUNT, initial)
                .putInt(CURRENT_COUNT, set);
        assertOk(libc.ioctl(vcpu, Uapi.KVM_SET_LAPIC, lapic));
        return lapic(CURRENT_COUNT);
    }

    /** The timer's least divider is 2, so a count is 2 ns. */
    @Test
    void timerCountsFromTheCountThatIsSet() {
        assertThat(currentCount(0, 0, 5)).as("it is off").isZero();
        assertThat(currentCount(0, MOST, 0)).as("it has ended").isZero();
        assertThat(currentCount(0, MOST, MOST / 2)).isBetween(MOST / 4, MOST / 2 - 1);
        assertThat(currentCount(0, MOST / 2, MOST)).as("the whole count").isBetween(MOST / 4, MOST / 2 - 1);
        assertThat(currentCount(PERIODIC, MOST, 0)).as("no mode of this CPUID").isZero();
        assertOk(setCpuid(1, 0, 0));
        assertThat(currentCount(PERIODIC, MOST, 0)).as("it begins again").isBetween(MOST / 2, MOST - 1);
        int count = lapic(CURRENT_COUNT);
        World.eventually("it counts", () -> lapic(CURRENT_COUNT) < count);
    }
}
