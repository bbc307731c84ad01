/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.arch.gic.model.DistributorRegister.*;
import static io.kvmirq.arch.gic.model.RedistributorRegister.*;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.Ppi;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.model.DistributorRegister;
import io.kvmirq.arch.gic.model.RegisterFields;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.GuestGic;
import io.kvmirq.uapi.UapiArm64;
import org.junit.jupiter.api.Test;

/** The registers of a VGICv3 as a VMM saves and restores them: arch/arm64/kvm/vgic/vgic-mmio-v3.c, vgic-mmio.c. */
@ArmContract
class VgicRegistersContract extends ArmVms {
    private static final Spi SPI = new Spi(42);
    /** GICD_CTLR of a disabled distributor: affinity routing, one security state. */
    private static final int DISABLED = 0x50;
    /** GICR_TYPER.Last. */
    private static final int LAST = 0x10;

    private final Vm vm = vm();
    private final VgicV3 vgic = vgicOfTwo(vm);

    VgicRegistersContract(World world) {
        super(world);
        vgic.setRedistributors(REDISTRIBUTORS);
        vgic.init();
    }

    private static int privateWord(DistributorRegister register) {
        return PRIVATE_FRAME + register.offset();
    }

    // The distributor

    @Test
    void distributorIsDisabledUntilItIsEnabled() {
        assertThat(vgic.readDistributor(GICD_CTLR.offset())).isEqualTo(DISABLED);
        vm.arm64().setSpi(SPI, true);
        assertThat(vgic.isLatched(SPI)).as("pending all the same").isTrue();
        GuestGic.enable(vgic);
        assertThat(vgic.readDistributor(GICD_CTLR.offset())).isEqualTo(DISABLED | 2);
        GuestGic.disable(vgic);
        assertThat(vgic.readDistributor(GICD_CTLR.offset())).isEqualTo(DISABLED);
    }

    @Test
    void identificationIsRestoredAsItWasRead() {
        int implementer = vgic.readDistributor(GICD_IIDR.offset());
        assertThat(implementer).isEqualTo(0x4b00_343b);
        vgic.writeDistributor(GICD_IIDR.offset(), implementer);
        assertThat(refused(Errno.EINVAL, () -> vgic.writeDistributor(GICD_IIDR.offset(), 0)))
                .contains("restored with another VGIC's value");
        int type = vgic.readDistributor(GICD_TYPER2.offset());
        vgic.writeDistributor(GICD_TYPER2.offset(), type);
        refused(
                world.isSince(6, 17) ? Errno.EBUSY : Errno.EINVAL,
                () -> vgic.writeDistributor(GICD_TYPER2.offset(), type ^ 1));
        vgic.writeDistributor(GICD_TYPER.offset(), 0);
        assertThat(vgic.readDistributor(GICD_TYPER.offset())).isEqualTo(0x48_0007);
        assertThat(vgic.readDistributor(RegisterFields.PIDR2)).isEqualTo(0x3b);
        assertThat(vgic.readDistributor(GICD_IDREGS.offset())).isZero();
    }

    /** A guest of an older kernel finds what it has found there: no GICR_CTLR.IR and CES. */
    @Test
    void olderRevisionIsRestored() {
        int own = vgic.readDistributor(GICD_IIDR.offset());
        assertThat(vgic.readRedistributor(FIRST, GICR_CTLR.offset())).isEqualTo(0b110);
        vgic.writeDistributor(GICD_IIDR.offset(), withRevision(own, 2));
        assertThat(vgic.readDistributor(GICD_IIDR.offset())).isEqualTo(withRevision(own, 2));
        assertThat(vgic.readRedistributor(FIRST, GICR_CTLR.offset())).isZero();
        assertThat(vgic.readRedistributor(FIRST, GICR_IIDR.offset())).isEqualTo(0x4b00_043b);
        refused(Errno.EINVAL, () -> vgic.writeDistributor(GICD_IIDR.offset(), withRevision(own, 4)));
        refused(Errno.EINVAL, () -> vgic.writeDistributor(GICD_IIDR.offset(), withRevision(own, 0)));
        assertThat(vgic.readDistributor(GICD_IIDR.offset())).isEqualTo(withRevision(own, 2));
        vgic.writeDistributor(GICD_IIDR.offset(), own);
        assertThat(vgic.readRedistributor(FIRST, GICR_CTLR.offset())).isEqualTo(0b110);
    }

    private static int withRevision(int implementer, int revision) {
        return (int) RegisterFields.IIDR_REVISION.put(implementer, revision);
    }

    @Test
    void groupIsWritten() {
        int offset = GuestGic.word(GICD_IGROUPR, SPI);
        assertThat(vgic.readDistributor(offset)).as("all in group 1").isEqualTo(-1);
        vgic.writeDistributor(offset, 5);
        assertThat(vgic.readDistributor(offset)).isEqualTo(5);
    }

    @Test
    void activeStateIsRestored() {
        int bit = GuestGic.bit(SPI);
        vgic.writeDistributor(GuestGic.word(GICD_ISACTIVER, SPI), bit | 1);
        assertThat(vgic.readDistributor(GuestGic.word(GICD_ISACTIVER, SPI))).isEqualTo(bit | 1);
        vgic.writeDistributor(GuestGic.word(GICD_ICACTIVER, SPI), bit);
        assertThat(vgic.readDistributor(GuestGic.word(GICD_ICACTIVER, SPI))).isEqualTo(1);
    }

    // Redistributors

    @Test
    void redistributorSaysWhoseItIs() {
        int type = GICR_TYPER.offset();
        assertThat(vgic.readRedistributor(FIRST, type)).isZero();
        assertThat(vgic.readRedistributor(FIRST, type + Integer.BYTES)).isZero();
        assertThat(vgic.readRedistributor(SECOND, type)).isEqualTo(1 << 8 | LAST);
        assertThat(vgic.readRedistributor(SECOND, type + Integer.BYTES))
                .as("affinity")
                .isEqualTo(1);
        made.add(vm.arm64().createIts());
        assertThat(vgic.readRedistributor(SECOND, type)).as("with LPIs").isEqualTo(1 << 8 | LAST | 1);
        vgic.writeRedistributor(FIRST, type, -1);
        assertThat(vgic.readRedistributor(FIRST, type)).isEqualTo(1);
        assertThat(vgic.readRedistributor(FIRST, GICR_IIDR.offset())).isEqualTo(0x4b00_043b);
        assertThat(vgic.readRedistributor(FIRST, GICR_STATUSR.offset())).isZero();
        assertThat(vgic.readRedistributor(FIRST, RegisterFields.PIDR2)).isEqualTo(0x3b);
    }

    @Test
    void lastRedistributorIsThatOfItsRegion() {
        Vm regions = vm();
        for (int id = 0; id < 3; id++) {
            vcpu(regions, id).arm64().initialize();
        }
        VgicV3 adjacent = made.add(regions.arm64().createVgicV3());
        adjacent.addRedistributors(0, REDISTRIBUTORS, 1);
        adjacent.addRedistributors(1, REDISTRIBUTORS + VgicV3.REDISTRIBUTOR_SIZE, 1);
        adjacent.addRedistributors(2, 0x2000_0000L, 2);
        adjacent.init();
        int type = GICR_TYPER.offset();
        assertThat(adjacent.readRedistributor(FIRST, type))
                .as("a region follows")
                .isZero();
        assertThat(adjacent.readRedistributor(SECOND, type)).isEqualTo(1 << 8 | LAST);
        assertThat(adjacent.readRedistributor(new VcpuId(2), type)).isEqualTo(2 << 8 | LAST);
    }

    @Test
    void privateRegistersAreOfOneVcpu() {
        int enable = privateWord(GICD_ISENABLER);
        int before = vgic.readRedistributor(FIRST, enable);
        Ppi ppi = new Ppi(23);
        vgic.writeRedistributor(SECOND, enable, 1 << ppi.number());
        assertThat(vgic.readRedistributor(SECOND, enable)).isEqualTo(before | 1 << ppi.number());
        assertThat(vgic.readRedistributor(FIRST, enable)).isEqualTo(before);
        int priority = privateWord(GICD_IPRIORITYR) + 20;
        vgic.writeRedistributor(SECOND, priority, 0xa0b0_c0d0);
        assertThat(vgic.readRedistributor(SECOND, priority)).isEqualTo(0xa0b0_c0d0);
        assertThat(vgic.readRedistributor(FIRST, priority)).isZero();
        vgic.writeRedistributor(SECOND, privateWord(GICD_ISACTIVER), 1 << ppi.number());
        assertThat(vgic.readRedistributor(SECOND, privateWord(GICD_ISACTIVER))).isEqualTo(1 << ppi.number());
        assertThat(vgic.readRedistributor(FIRST, privateWord(GICD_ISACTIVER))).isZero();
        vgic.writeRedistributor(FIRST, privateWord(GICD_IGROUPR), 0);
        assertThat(vgic.readRedistributor(SECOND, privateWord(GICD_IGROUPR))).isEqualTo(-1);
        assertThat(vgic.readDistributor(GICD_IGROUPR.offset()))
                .as("not in the distributor")
                .isZero();
    }

    @Test
    void lpisAreEnabledOnlyWithAnIts() {
        int control = GICR_CTLR.offset();
        int before = vgic.readRedistributor(FIRST, control);
        vgic.writeRedistributor(FIRST, control, 1);
        assertThat(vgic.readRedistributor(FIRST, control)).isEqualTo(before);
        made.add(vm.arm64().createIts());
        vgic.writeRedistributor(FIRST, control, 1);
        assertThat(vgic.readRedistributor(FIRST, control)).isEqualTo(before | 1);
    }

    @Test
    void registersOfRedistributorsThatExist() {
        try (var device = vgic.fd().lease()) {
            for (int exists : new int[] {
                0, 4, 8, 0xc, 0x14, 0x70, 0x7c, 0xa0, 0xb4, 0xc0, 0xffe8, 0x1_0080, 0x1_0400, 0x1_041c, 0x1_0c04,
                0x1_0d00, 0x1_0e00
            }) {
                assertThat(has(device.number(), exists))
                        .as("0x" + Integer.toHexString(exists))
                        .isZero();
            }
            for (int missing :
                    new int[] {0x2, 0x10, 0x18, 0x80, 0xc4, 0x1_0000, 0x1_0084, 0x1_0420, 0x1_0800, 0x1_6000}) {
                assertThat(has(device.number(), missing))
                        .as("0x" + Integer.toHexString(missing))
                        .isEqualTo(-Errno.ENXIO.number());
            }
        }
        assertThat(vgic.readRedistributor(FIRST, 0x1_6000)).isZero();
        vgic.writeRedistributor(FIRST, 0x1_6000, 1);
        vgic.writeRedistributor(FIRST, GICR_NSACR.offset(), -1);
        assertThat(vgic.readRedistributor(FIRST, GICR_NSACR.offset())).isZero();
    }

    private int has(int device, int offset) {
        return world.kernel().deviceAttrHas(device, UapiArm64.KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, offset);
    }
}
