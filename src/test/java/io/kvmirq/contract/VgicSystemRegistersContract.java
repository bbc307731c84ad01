/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.arch.gic.model.CpuInterfaceRegister.*;
import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.model.CpuInterfaceRegister;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.Numbers;
import io.kvmirq.testing.Structs;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.uapi.UapiArm64;
import java.nio.ByteBuffer;
import java.util.EnumSet;
import org.junit.jupiter.api.Test;

/**
 * The system registers of a VGICv3's CPU interfaces as a VMM saves and restores them: arch/arm64/kvm/vgic-sys-reg-v3.c.
 * The features of the host are read from ICC_CTLR_EL1.
 */
@ArmContract
class VgicSystemRegistersContract extends ArmVms {
    private static final VcpuId MISSING = new VcpuId(2);
    /** ICC_IAR1_EL1, which nobody saves. */
    private static final int ACKNOWLEDGE = VgicV3.systemRegister(3, 0, 12, 12, 0);
    /** ICH_VMCR_EL2, of a vCPU with EL2. */
    private static final int OF_HYPERVISOR = VgicV3.systemRegister(3, 4, 12, 11, 7);

    // Fields of ICC_CTLR_EL1
    private static final long COMMON_POINT = 1;
    private static final long END_MODE = 1 << 1;
    private static final int PRIORITY_BITS = 8;
    private static final int ID_BITS = 11;
    private static final long SERRORS = 1 << 14;
    private static final long THIRD_LEVEL = 1 << 15;
    private static final long WIDEST = 7;

    private static final long NOWHERE = 8;

    private final VgicV3 vgic = vgicOfTwo(vm());

    VgicSystemRegistersContract(World world) {
        super(world);
        vgic.init();
    }

    private long read(CpuInterfaceRegister register) {
        return vgic.readSystemRegister(SECOND, register.id());
    }

    private void write(CpuInterfaceRegister register, long value) {
        vgic.writeSystemRegister(SECOND, register.id(), value);
    }

    private static long priorityBits(long control) {
        return control >>> PRIORITY_BITS & WIDEST;
    }

    @Test
    void interfaceIsOffAtFirst() {
        for (CpuInterfaceRegister register : EnumSet.of(
                ICC_PMR_EL1,
                ICC_BPR0_EL1,
                ICC_BPR1_EL1,
                ICC_AP0R0_EL1,
                ICC_AP1R0_EL1,
                ICC_IGRPEN0_EL1,
                ICC_IGRPEN1_EL1)) {
            assertThat(read(register)).as(register.name()).isZero();
        }
        assertThat(read(ICC_CTLR_EL1) & (COMMON_POINT | END_MODE)).isZero();
        assertThat(read(ICC_SRE_EL1)).isEqualTo(7);
    }

    @Test
    void registerKeepsTheBitsThatItHas() {
        write(ICC_PMR_EL1, -1);
        write(ICC_BPR0_EL1, 0x15);
        write(ICC_BPR1_EL1, 0x1a);
        write(ICC_AP0R0_EL1, 0x1_8000_0001L);
        write(ICC_AP1R0_EL1, 0x1_4000_0000L);
        write(ICC_IGRPEN0_EL1, 2);
        write(ICC_IGRPEN1_EL1, 3);
        assertThat(read(ICC_PMR_EL1)).isEqualTo(0xff);
        assertThat(read(ICC_BPR0_EL1)).isEqualTo(5);
        assertThat(read(ICC_BPR1_EL1)).isEqualTo(2);
        assertThat(read(ICC_AP0R0_EL1)).isEqualTo(0x8000_0001L);
        assertThat(read(ICC_AP1R0_EL1)).isEqualTo(0x4000_0000);
        assertThat(read(ICC_IGRPEN0_EL1)).isZero();
        assertThat(read(ICC_IGRPEN1_EL1)).isEqualTo(1);
        assertThat(vgic.readSystemRegister(FIRST, ICC_PMR_EL1.id()))
                .as("of another vCPU")
                .isZero();
    }

    @Test
    void controlSaysWhatTheHostHas() {
        long control = read(ICC_CTLR_EL1);
        write(ICC_CTLR_EL1, control | 1 << 6 | 1L << 40);
        assertThat(read(ICC_CTLR_EL1)).isEqualTo(control);
        for (long other : new long[] {
            control ^ SERRORS, control ^ THIRD_LEVEL, control | WIDEST << PRIORITY_BITS, control | WIDEST << ID_BITS
        }) {
            assertThat(refused(Errno.EINVAL, () -> write(ICC_CTLR_EL1, other | END_MODE)))
                    .contains("cannot have that register or value");
            assertThat(read(ICC_CTLR_EL1)).isEqualTo(control);
        }
    }

    @Test
    void systemRegistersCannotBeTurnedOff() {
        write(ICC_SRE_EL1, 1);
        write(ICC_SRE_EL1, -1);
        refused(Errno.EINVAL, () -> write(ICC_SRE_EL1, 6));
        assertThat(read(ICC_SRE_EL1)).isEqualTo(7);
    }

    @Test
    void activePrioritiesAreThoseOfTheHostsPriorityBits() {
        long bits = priorityBits(read(ICC_CTLR_EL1)) + 1;
        int last = bits == 7 ? 3 : bits == 6 ? 1 : 0;
        for (int i = 0; i <= 3; i++) {
            for (int first : new int[] {ICC_AP0R0_EL1.id(), ICC_AP1R0_EL1.id()}) {
                int register = first + i;
                if (i <= last) {
                    vgic.writeSystemRegister(SECOND, register, 1);
                    assertThat(vgic.readSystemRegister(SECOND, register)).isEqualTo(1);
                } else {
                    refused(Errno.EINVAL, () -> vgic.writeSystemRegister(SECOND, register, 0));
                    refused(Errno.EINVAL, () -> vgic.readSystemRegister(SECOND, register));
                }
            }
        }
    }

    @Test
    void otherRegistersDoNotExist() {
        for (int id : new int[] {ACKNOWLEDGE, OF_HYPERVISOR, 0}) {
            assertThat(refused(Errno.ENOENT, () -> vgic.readSystemRegister(SECOND, id)))
                    .contains("no system register with that id");
            refused(Errno.ENOENT, () -> vgic.writeSystemRegister(SECOND, id, 0));
        }
    }

    // The order of checks

    private static long attribute(VcpuId vcpu, int id) {
        return (long) vcpu.number() << Integer.SIZE | id;
    }

    private int has(VgicV3 of, VcpuId vcpu, int id) {
        return world.kernel()
                .deviceAttrHas(Numbers.of(of.fd()), UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, attribute(vcpu, id));
    }

    /** The value is at an address that is none. */
    private int access(VgicV3 of, long request, long attribute) {
        try (var device = of.fd().lease()) {
            int group = UapiArm64.KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS;
            ByteBuffer structure = Structs.of("kvm_device_attr", 0, group, attribute, NOWHERE);
            return world.kernel().libc().ioctl(device.number(), request, structure);
        }
    }

    @Test
    void registersExistBeforeInitAndAreAccessibleAfterIt() {
        Vm other = vm();
        vcpu(other, 0).arm64().initialize();
        VgicV3 early = made.add(other.arm64().createVgicV3());
        for (CpuInterfaceRegister register : CpuInterfaceRegister.values()) {
            assertOk(has(early, FIRST, register.id()));
        }
        assertErrno(Errno.ENXIO, has(early, FIRST, ACKNOWLEDGE));
        assertErrno(Errno.ENXIO, has(early, FIRST, OF_HYPERVISOR));
        assertErrno(Errno.EINVAL, has(early, SECOND, ACKNOWLEDGE));
        for (int id : new int[] {ICC_PMR_EL1.id(), ACKNOWLEDGE}) {
            for (long request : new long[] {Uapi.KVM_GET_DEVICE_ATTR, Uapi.KVM_SET_DEVICE_ATTR}) {
                assertErrno(Errno.EBUSY, access(early, request, attribute(FIRST, id)));
                assertErrno(Errno.EINVAL, access(early, request, attribute(SECOND, id)));
            }
        }
    }

    @Test
    void valueIsCopiedInBeforeTheRegisterIsFound() {
        assertErrno(Errno.EFAULT, access(vgic, Uapi.KVM_SET_DEVICE_ATTR, attribute(FIRST, ACKNOWLEDGE)));
        assertErrno(Errno.ENOENT, access(vgic, Uapi.KVM_GET_DEVICE_ATTR, attribute(FIRST, ACKNOWLEDGE)));
        assertErrno(Errno.EFAULT, access(vgic, Uapi.KVM_GET_DEVICE_ATTR, attribute(FIRST, ICC_PMR_EL1.id())));
        assertErrno(Errno.EINVAL, access(vgic, Uapi.KVM_SET_DEVICE_ATTR, attribute(MISSING, ICC_PMR_EL1.id())));
        assertOk(has(vgic, FIRST, ICC_PMR_EL1.id() | 0x7 << 16));
    }
}
