/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.assertErrno;
import static io.kvmirq.contract.World.assertOk;
import static io.kvmirq.testing.Refusals.assertIllegalArgument;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvmirq.Errno;
import io.kvmirq.Ppi;
import io.kvmirq.backend.Buffers;
import io.kvmirq.backend.Libc;
import io.kvmirq.kvm.Arm64Vcpu;
import io.kvmirq.kvm.ArmRegister;
import io.kvmirq.kvm.ArmTimer;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.VcpuState;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Numbers;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Registers, features and state of a vCPU of arm64, and exits of its guest: arch/arm64/kvm/guest.c, arm.c, psci.c. */
@ArmContract
class ArmVcpuContract extends ArmVms {
    private static final long NOWHERE = 8;
    private static final long RAM = 0x4000_0000;
    private static final int RESET_STATE = 0x3c5;
    private static final Ppi TIMER = new Ppi(20);
    private static final Ppi PMU = new Ppi(23);
    /** The capabilities of KVM for these features. */
    private static final int SVE = 170;

    private static final int PMU_V3 = 126;

    private final Libc libc = world.kernel().libc();
    private final Vm vm = vm();

    ArmVcpuContract(World world) {
        super(world);
    }

    private Vcpu initialized(Arm64Vcpu.Feature... features) {
        Vcpu vcpu = vcpu(vm, 0);
        vcpu.arm64().initialize(features);
        return vcpu;
    }

    private void assumeHas(int capability, String name) {
        assumeTrue(vm.capability(capability) > 0, "needs " + name + ", which this host does not have");
    }

    /** Memory follows the VMM's mappings, slots can be deleted and joined, and internal errors come with data. */
    @ParameterizedTest
    @ValueSource(ints = {16, 21, 30, 40})
    void capabilityThatVmmsRequireIsThere(int capability) {
        assertThat(vm.capability(capability)).isOne();
    }

    @Test
    void resetVcpuIsAsAfterItsInitialisation() {
        Vcpu vcpu = vcpu(vm, 0);
        assertThatThrownBy(vcpu::reset)
                .isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("call initialize first");
        vcpu.arm64().initialize(Arm64Vcpu.Feature.PSCI_0_2, Arm64Vcpu.Feature.POWER_OFF);
        for (int i = 0; i < 2; i++) {
            vcpu.arm64().setRegister(ArmRegister.x(3), 7);
            vcpu.arm64().setRegister(ArmRegister.PC, RAM);
            vcpu.setState(VcpuState.RUNNABLE);
            vcpu.reset();
            assertThat(vcpu.state()).isEqualTo(VcpuState.STOPPED);
            assertThat(vcpu.arm64().register(ArmRegister.x(3))).isZero();
            assertThat(vcpu.arm64().register(ArmRegister.PC)).isZero();
        }
    }

    // Registers

    private static Stream<ArmRegister> coreRegisters() {
        return Stream.concat(
                IntStream.rangeClosed(0, 30).mapToObj(ArmRegister::x),
                Stream.of(
                        ArmRegister.SP,
                        ArmRegister.PC,
                        ArmRegister.PSTATE,
                        ArmRegister.SP_EL1,
                        ArmRegister.ELR_EL1,
                        ArmRegister.SPSR_EL1,
                        ArmRegister.FPSR,
                        ArmRegister.FPCR));
    }

    @Test
    void registersAreThoseOfAResetAndKeepWhatTheyGet() {
        Vcpu vcpu = initialized();
        assertThat(vcpu.arm64().register(ArmRegister.PSTATE)).isEqualTo(RESET_STATE);
        assertThat(vcpu.arm64().register(ArmRegister.PC)).isZero();
        assertThat(vcpu.arm64().register(ArmRegister.x(30))).isZero();
        long value = 0x1234_5678_9abc_def0L;
        for (ArmRegister register : coreRegisters().toList()) {
            if (!register.equals(ArmRegister.PSTATE)) {
                long kept = value;
                if (register.size() == Integer.BYTES) {
                    kept &= 0xffff_ffffL;
                    assertIllegalArgument(
                            () -> vcpu.arm64().setRegister(register, 0x1_0000_0000L),
                            "0x100000000 does not fit into " + register + ", which has 4 bytes");
                }
                vcpu.arm64().setRegister(register, kept);
                assertThat(vcpu.arm64().register(register))
                        .as(register.toString())
                        .isEqualTo(kept);
                value++;
            }
        }
        byte[] vector = new byte[16];
        vector[15] = 1;
        vcpu.arm64().setRegisterBytes(ArmRegister.v(31), vector);
        assertThat(vcpu.arm64().registerBytes(ArmRegister.v(31))).isEqualTo(vector);
        assertThat(vcpu.arm64().registerBytes(ArmRegister.v(30))).containsOnly(0);
        List<ArmRegister> system = List.of(ArmRegister.SP_EL1, ArmRegister.ELR_EL1, ArmRegister.SPSR_EL1);
        List<Long> before = system.stream().map(vcpu.arm64()::register).toList();
        vcpu.arm64().initialize();
        assertThat(system.stream().map(vcpu.arm64()::register).toList())
                .as("after a reset")
                .isEqualTo(before);
        assertThat(vcpu.arm64().register(ArmRegister.x(7))).as("after a reset").isZero();
        assertThat(vcpu.arm64().registerBytes(ArmRegister.v(31)))
                .as("after a reset")
                .containsOnly(0);
        assertThat(vcpu.arm64().register(ArmRegister.PSTATE)).isEqualTo(RESET_STATE);
    }

    @Test
    void affinityIsTheIdOfTheVcpu() {
        Vcpu vcpu = vcpu(vm, 0x123);
        vcpu.arm64().initialize();
        assertThat(vcpu.arm64().register(ArmRegister.MPIDR_EL1)).isEqualTo(0x8000_1203L);
    }

    @Test
    void listHasTheRegistersOfTheVcpu() {
        List<ArmRegister> registers = initialized().arm64().registers();
        assertThat(registers)
                .doesNotHaveDuplicates()
                .containsAll(coreRegisters().toList());
        assertThat(registers)
                .contains(ArmRegister.v(0), ArmRegister.v(31), ArmRegister.MPIDR_EL1, ArmRegister.SCTLR_EL1);
    }

    @Test
    void listWithoutRoomTellsHowMany() {
        Vcpu vcpu = initialized();
        int number = Numbers.of(vcpu.fd());
        ByteBuffer list = Buffers.allocate(Uapi.KvmRegList.SIZE + Long.BYTES).putLong(Uapi.KvmRegList.N, 1);
        assertErrno(Errno.E2BIG, libc.ioctl(number, Uapi.KVM_GET_REG_LIST, list));
        assertThat(list.getLong(Uapi.KvmRegList.N))
                .isEqualTo(vcpu.arm64().registers().size());
        assertErrno(Errno.EFAULT, libc.ioctl(number, Uapi.KVM_GET_REG_LIST, NOWHERE));
    }

    @Test
    void registersNeedAnInitializedVcpu() {
        Vcpu vcpu = vcpu(vm, 0);
        assertThat(refused(Errno.ENOEXEC, () -> vcpu.arm64().register(ArmRegister.PC)))
                .startsWith("register get vcpu 0 (fd ")
                .endsWith(" PC: ENOEXEC (the vCPU was not initialized)");
        refused(Errno.ENOEXEC, () -> vcpu.arm64().setRegister(ArmRegister.PC, 0));
        refused(Errno.ENOEXEC, vcpu.arm64()::registers);
        refused(Errno.ENOEXEC, vcpu.arm64()::finalizeSve);
        refused(Errno.ENOEXEC, vcpu::run);
    }

    private static ArmRegister other(long kindAndNumber) {
        return new ArmRegister(UapiArm64.KVM_REG_ARM64 | kindAndNumber);
    }

    @Test
    void unknownRegistersAreRefused() {
        Vcpu vcpu = initialized();
        long core = UapiArm64.KVM_REG_SIZE_U64 | UapiArm64.KVM_REG_ARM_CORE;
        for (ArmRegister register : List.of(
                other(core | 216), other(core | 0xffff), other(core | 214), ArmRegister.system(3, 7, 15, 15, 7))) {
            assertThat(refused(Errno.ENOENT, () -> vcpu.arm64().register(register)))
                    .contains("no such register");
            refused(Errno.ENOENT, () -> vcpu.arm64().setRegister(register, 0));
        }
        for (ArmRegister register : List.of(
                other(core | 1),
                other(core | 82),
                other(core | 84),
                other(UapiArm64.KVM_REG_SIZE_U32 | UapiArm64.KVM_REG_ARM_CORE | 64),
                new ArmRegister(0x7030_0000_0010_0040L))) {
            refused(Errno.EINVAL, () -> vcpu.arm64().register(register));
            refused(Errno.EINVAL, () -> vcpu.arm64().setRegister(register, 0));
        }
    }

    @Test
    void valueIsCopiedFromAndToTheVmm() {
        int vcpu = Numbers.of(initialized().fd());
        ByteBuffer oneReg = Buffers.allocate(Uapi.KvmOneReg.SIZE)
                .putLong(Uapi.KvmOneReg.ID, ArmRegister.PC.id())
                .putLong(Uapi.KvmOneReg.ADDR, NOWHERE);
        for (long request : new long[] {Uapi.KVM_GET_ONE_REG, Uapi.KVM_SET_ONE_REG}) {
            assertErrno(Errno.EFAULT, libc.ioctl(vcpu, request, NOWHERE));
            assertErrno(Errno.EFAULT, libc.ioctl(vcpu, request, oneReg));
        }
    }

    /** An unknown core register is refused before its value is read. */
    @Test
    void valueIsReadBeforeASystemRegisterIsLookedFor() {
        int vcpu = Numbers.of(initialized().fd());
        ByteBuffer oneReg = Buffers.allocate(Uapi.KvmOneReg.SIZE)
                .putLong(Uapi.KvmOneReg.ID, ArmRegister.system(3, 7, 15, 15, 7).id())
                .putLong(Uapi.KvmOneReg.ADDR, NOWHERE);
        assertErrno(Errno.EFAULT, libc.ioctl(vcpu, Uapi.KVM_SET_ONE_REG, oneReg));
        assertErrno(Errno.ENOENT, libc.ioctl(vcpu, Uapi.KVM_GET_ONE_REG, oneReg));
        oneReg.putLong(
                Uapi.KvmOneReg.ID,
                UapiArm64.KVM_REG_ARM64 | UapiArm64.KVM_REG_SIZE_U64 | UapiArm64.KVM_REG_ARM_CORE | 216);
        assertErrno(Errno.ENOENT, libc.ioctl(vcpu, Uapi.KVM_SET_ONE_REG, oneReg));
    }

    @Test
    void pstateHasAModeOfTheVcpu() {
        Vcpu vcpu = initialized();
        for (int mode : new int[] {0, 4, 5}) {
            vcpu.arm64().setRegister(ArmRegister.PSTATE, 0x3c0 | mode);
            assertThat(vcpu.arm64().register(ArmRegister.PSTATE)).isEqualTo(0x3c0 | mode);
        }
        for (int mode : new int[] {9, 0xd, 0x11, 0x13, 0x1f, 1}) {
            assertThat(refused(Errno.EINVAL, () -> vcpu.arm64().setRegister(ArmRegister.PSTATE, 0x3c0 | mode)))
                    .contains("PSTATE");
        }
        assertThat(vcpu.arm64().register(ArmRegister.PSTATE)).isEqualTo(0x3c5);
    }

    @Test
    void sizeOfARegisterIsChecked() {
        Vcpu vcpu = initialized();
        assertIllegalArgument(
                () -> vcpu.arm64().register(ArmRegister.v(3)),
                "V3 has 16 bytes: use armRegisterBytes and setArmRegisterBytes");
        assertThatThrownBy(() -> vcpu.arm64().setRegister(ArmRegister.v(3), 0))
                .hasMessageStartingWith("V3 has 16 bytes");
        assertIllegalArgument(
                () -> vcpu.arm64().setRegisterBytes(ArmRegister.x(3), new byte[4]), "4 bytes for X3: expected 8");
    }

    // Features

    private int finish(Vcpu vcpu, int feature) {
        return libc.ioctl(
                Numbers.of(vcpu.fd()),
                UapiArm64.KVM_ARM_VCPU_FINALIZE,
                Buffers.allocate(Integer.BYTES).putInt(0, feature));
    }

    @Test
    void onlySveIsMadeFinal() {
        Vcpu vcpu = initialized();
        assertThat(refused(Errno.EINVAL, vcpu.arm64()::finalizeSve)).startsWith("vcpu finalize vcpu 0 (fd ");
        assertErrno(Errno.EINVAL, finish(vcpu, UapiArm64.KVM_ARM_VCPU_PSCI_0_2));
        assertErrno(Errno.EINVAL, finish(vcpu, -1));
        assertErrno(Errno.EFAULT, libc.ioctl(Numbers.of(vcpu.fd()), UapiArm64.KVM_ARM_VCPU_FINALIZE, NOWHERE));
    }

    @Test
    void sveIsMadeFinalOnce() {
        assumeHas(SVE, "SVE");
        Vcpu vcpu = initialized(Arm64Vcpu.Feature.SVE);
        assertThat(refused(Errno.EPERM, vcpu.arm64()::registers)).contains("the vCPU has SVE, which is not finalized");
        refused(Errno.EPERM, vcpu::run);
        vcpu.arm64().setRegister(ArmRegister.PC, RAM);
        vcpu.arm64().finalizeSve();
        assertThat(refused(Errno.EPERM, vcpu.arm64()::finalizeSve)).contains("SVE is finalized already");
        assertThat(vcpu.arm64().register(ArmRegister.PC)).isEqualTo(RAM);
        assertThat(vcpu.arm64().registers()).doesNotContain(ArmRegister.v(0)).hasSizeGreaterThan(50);
        refused(Errno.EINVAL, () -> vcpu.arm64().registerBytes(ArmRegister.v(0)));
    }

    // State

    private int state(Vcpu vcpu) {
        ByteBuffer state = Buffers.allocate(Uapi.KvmMpState.SIZE);
        assertOk(libc.ioctl(Numbers.of(vcpu.fd()), Uapi.KVM_GET_MP_STATE, state));
        return state.getInt(Uapi.KvmMpState.MP_STATE);
    }

    private int setState(Vcpu vcpu, int state) {
        return libc.ioctl(
                Numbers.of(vcpu.fd()),
                Uapi.KVM_SET_MP_STATE,
                Buffers.allocate(Uapi.KvmMpState.SIZE).putInt(Uapi.KvmMpState.MP_STATE, state));
    }

    @Test
    void vcpuIsRunnableOrStopped() {
        assertThat(vm.capability(14)).as("KVM_CAP_MP_STATE").isEqualTo(1);
        Vcpu vcpu = vcpu(vm, 0);
        assertThat(state(vcpu)).as("before its initialisation").isEqualTo(Uapi.KVM_MP_STATE_RUNNABLE);
        vcpu.arm64().initialize(Arm64Vcpu.Feature.POWER_OFF);
        assertThat(state(vcpu)).isEqualTo(Uapi.KVM_MP_STATE_STOPPED);
        for (int state : new int[] {Uapi.KVM_MP_STATE_RUNNABLE, 10, Uapi.KVM_MP_STATE_STOPPED}) {
            assertOk(setState(vcpu, state));
            assertThat(state(vcpu)).isEqualTo(state);
        }
        for (int state : new int[] {
            Uapi.KVM_MP_STATE_UNINITIALIZED, Uapi.KVM_MP_STATE_HALTED, Uapi.KVM_MP_STATE_AP_RESET_HOLD, 11, -1
        }) {
            assertErrno(Errno.EINVAL, setState(vcpu, state));
        }
        assertErrno(Errno.EFAULT, libc.ioctl(Numbers.of(vcpu.fd()), Uapi.KVM_SET_MP_STATE, NOWHERE));
        assertThat(state(vcpu)).isEqualTo(Uapi.KVM_MP_STATE_STOPPED);
    }

    @Test
    void runOfAStoppedVcpuEndsByAKick() {
        Vcpu vcpu = initialized(Arm64Vcpu.Feature.PSCI_0_2, Arm64Vcpu.Feature.POWER_OFF);
        vcpu.kick();
        assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.INTR);
        assertThat(state(vcpu)).isEqualTo(Uapi.KVM_MP_STATE_STOPPED);
    }

    // Timers and PMU

    private int attribute(Vcpu vcpu, long request, int group, int attribute, int value) {
        ByteBuffer number = Buffers.allocate(Integer.BYTES).putInt(0, value);
        ByteBuffer structure = Buffers.allocate(Uapi.KvmDeviceAttr.SIZE)
                .putInt(Uapi.KvmDeviceAttr.GROUP, group)
                .putLong(Uapi.KvmDeviceAttr.ATTR, attribute)
                .putLong(Uapi.KvmDeviceAttr.ADDR, libc.addressOf(number));
        int result = libc.ioctl(Numbers.of(vcpu.fd()), request, structure);
        Reference.reachabilityFence(number);
        return result;
    }

    private int setTimer(Vcpu vcpu, int timer, int interrupt) {
        return attribute(vcpu, Uapi.KVM_SET_DEVICE_ATTR, UapiArm64.KVM_ARM_VCPU_TIMER_CTRL, timer, interrupt);
    }

    @Test
    void timersOfAllVcpusRaiseTheChosenInterrupts() {
        Vcpu first = initialized();
        Vcpu second = vcpu(vm, 1);
        second.arm64().initialize();
        assertThat(first.arm64().timerInterrupt(ArmTimer.VIRTUAL)).isEqualTo(new Ppi(27));
        assertThat(first.arm64().timerInterrupt(ArmTimer.PHYSICAL)).isEqualTo(new Ppi(30));
        assertThat(refused(Errno.EINVAL, () -> first.arm64().setTimerInterrupt(ArmTimer.VIRTUAL, TIMER)))
                .startsWith("vcpu timer interrupt vcpu 0 (fd ")
                .endsWith(" VIRTUAL ppi 20: EINVAL (the VM has no VGIC)");
        made.add(vm.arm64().createVgicV3());
        first.arm64().setTimerInterrupt(ArmTimer.VIRTUAL, TIMER);
        assertThat(first.arm64().timerInterrupt(ArmTimer.VIRTUAL)).isEqualTo(TIMER);
        assertThat(second.arm64().timerInterrupt(ArmTimer.VIRTUAL)).isEqualTo(TIMER);
        assertThat(second.arm64().timerInterrupt(ArmTimer.PHYSICAL)).isEqualTo(new Ppi(30));
        for (int number : new int[] {15, 32, 0, -1}) {
            assertErrno(Errno.EINVAL, setTimer(first, 1, number));
        }
        for (int attribute : new int[] {4, -1}) {
            assertErrno(Errno.ENXIO, setTimer(first, attribute, 20));
            assertErrno(
                    Errno.ENXIO,
                    attribute(first, Uapi.KVM_HAS_DEVICE_ATTR, UapiArm64.KVM_ARM_VCPU_TIMER_CTRL, attribute, 0));
        }
        assertOk(attribute(first, Uapi.KVM_HAS_DEVICE_ATTR, UapiArm64.KVM_ARM_VCPU_TIMER_CTRL, 0, 0));
    }

    @Test
    void timersAreFixedOnceAVcpuHasRun() {
        VgicV3 vgic = vgic(vm);
        Vcpu vcpu = made.add(vm.createVcpu(SECOND));
        vcpu.arm64().initialize();
        vgic.setDistributor(DISTRIBUTOR);
        vgic.setRedistributors(REDISTRIBUTORS);
        vgic.init();
        vcpu.arm64().setTimerInterrupt(ArmTimer.VIRTUAL, TIMER);
        vcpu.kick();
        assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.INTR);
        assertThat(refused(Errno.EBUSY, () -> vcpu.arm64().setTimerInterrupt(ArmTimer.VIRTUAL, new Ppi(21))))
                .contains("a vCPU of the VM has run");
        assertThat(vcpu.arm64().timerInterrupt(ArmTimer.VIRTUAL)).isEqualTo(TIMER);
    }

    @Test
    void vcpuWithoutPmuHasNoneToCreate() {
        Vcpu vcpu = initialized();
        made.add(vm.arm64().createVgicV3());
        assertThat(refused(Errno.ENODEV, () -> vcpu.arm64().createPmu(PMU))).startsWith("vcpu pmu vcpu 0 (fd ");
        assertErrno(Errno.ENXIO, attribute(vcpu, Uapi.KVM_HAS_DEVICE_ATTR, UapiArm64.KVM_ARM_VCPU_PMU_V3_CTRL, 0, 0));
    }

    private int setPmu(Vcpu vcpu, int attribute, int value) {
        return attribute(vcpu, Uapi.KVM_SET_DEVICE_ATTR, UapiArm64.KVM_ARM_VCPU_PMU_V3_CTRL, attribute, value);
    }

    @Test
    void pmuIsCreatedOnceWithItsInterrupt() {
        assumeHas(PMU_V3, "a PMU");
        Vcpu vcpu = initialized(Arm64Vcpu.Feature.PMU_V3);
        assertThat(refused(Errno.EINVAL, () -> vcpu.arm64().createPmu(PMU))).contains("the VM has no VGIC");
        VgicV3 vgic = made.add(vm.arm64().createVgicV3());
        vgic.setDistributor(DISTRIBUTOR);
        vgic.setRedistributors(REDISTRIBUTORS);
        assertErrno(Errno.EINVAL, setPmu(vcpu, UapiArm64.KVM_ARM_VCPU_PMU_V3_IRQ, 15));
        assertErrno(Errno.ENODEV, setPmu(vcpu, UapiArm64.KVM_ARM_VCPU_PMU_V3_INIT, 0));
        vgic.init();
        assertErrno(Errno.ENXIO, setPmu(vcpu, UapiArm64.KVM_ARM_VCPU_PMU_V3_INIT, 0));
        vcpu.arm64().createPmu(PMU);
        assertThat(refused(Errno.EBUSY, () -> vcpu.arm64().createPmu(PMU)))
                .contains("the PMU already has an interrupt");
    }

    // Exits of a guest's code, which only a real kernel runs

    private Vcpu guest(int... code) {
        assumeTrue(world.kernel().isReal(), "needs a real kernel: the fake runs no guest of arm64");
        GuestMemory memory = made.add(vm.addMemory(RAM, World.PAGE));
        for (int i = 0; i < code.length; i++) {
            memory.mapping().putInt(i * Integer.BYTES, code[i]);
        }
        Vcpu vcpu = initialized(Arm64Vcpu.Feature.PSCI_0_2);
        vcpu.arm64().setRegister(ArmRegister.PC, RAM);
        return vcpu;
    }

    @Test
    void readsAreAnsweredInTheSizeOfTheAccess() {
        Vcpu vcpu = guest(
                0xd2a14001, // mov x1, #0x0a000000
                0x39400020, // ldrb w0, [x1]
                0xb9000420, // str w0, [x1, #4]
                0xf9400423, // ldr x3, [x1, #8]
                0xf9000823); // str x3, [x1, #16]
        VcpuExit exit = vcpu.run();
        assertThat(exit).hasToString("MMIO at 0xa000000, 1 bytes read");
        exit.answer(0x80);
        assertThat(vcpu.run()).hasToString("MMIO at 0xa000004, 4 bytes written");
        assertThat(exit.data()).isEqualTo(0x80);
        assertThat(vcpu.run()).hasToString("MMIO at 0xa000008, 8 bytes read");
        exit.answer(0x1234_5678_9abc_def0L);
        assertThat(vcpu.run()).hasToString("MMIO at 0xa000010, 8 bytes written");
        assertThat(exit.data()).isEqualTo(0x1234_5678_9abc_def0L);
        assertThat(vcpu.arm64().register(ArmRegister.x(3))).isEqualTo(0x1234_5678_9abc_def0L);
    }

    @Test
    void guestTurnsTheMachineOff() {
        Vcpu vcpu = guest(0x52800100, 0x72b08000, 0xd4000002, 0x14000000); // PSCI SYSTEM_OFF
        assertThat(vcpu.run().systemEvent()).isEqualTo(1);
        assertThat(state(vcpu)).isEqualTo(Uapi.KVM_MP_STATE_STOPPED);
    }

    @Test
    void guestResetsTheMachine() {
        Vcpu vcpu = guest(0x52800120, 0x72b08000, 0xd4000002, 0x14000000); // PSCI SYSTEM_RESET
        assertThat(vcpu.run().systemEvent()).isEqualTo(2);
        assertThat(state(vcpu)).isEqualTo(Uapi.KVM_MP_STATE_STOPPED);
        vcpu.arm64().initialize(Arm64Vcpu.Feature.PSCI_0_2);
        assertThat(state(vcpu)).isEqualTo(Uapi.KVM_MP_STATE_RUNNABLE);
    }
}
