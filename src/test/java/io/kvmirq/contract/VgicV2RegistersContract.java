/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.arch.gic.model.DistributorRegister.*;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.Ppi;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.model.DistributorRegister;
import io.kvmirq.kvm.VgicV2;
import io.kvmirq.kvm.Vm;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** The registers of a VGICv2 as a VMM saves and restores them: arch/arm64/kvm/vgic/vgic-mmio-v2.c, vgic-mmio.c. */
@GicV2Contract
class VgicV2RegistersContract extends GicV2Vms {
    private static final Spi SPI = new Spi(42);
    private static final int SGIS = 0xffff;
    /** GICD_SGIR. */
    private static final int SEND = 0xf00;
    /** GICD_CPENDSGIR. */
    private static final int TAKE_BACK = 0xf10;
    /** GICD_SPENDSGIR. */
    private static final int SOURCES = 0xf20;

    private static final int GICC_CTLR = 0;
    private static final int GICC_PMR = 4;
    private static final int GICC_BPR = 8;
    private static final int GICC_ABPR = 0x1c;
    private static final int GICC_APR = 0xd0;
    private static final int GICC_IIDR = 0xfc;

    private final Vm vm = vm();
    private final VgicV2 vgic = readyGicV2(vm, 2);

    VgicV2RegistersContract(World world) {
        super(world);
    }

    private int read(VcpuId vcpu, DistributorRegister register) {
        return vgic.readDistributor(vcpu, register.offset());
    }

    /** The word of SPIs 32–63. */
    private int spis(DistributorRegister register) {
        return vgic.readDistributor(register.offset() + Integer.BYTES);
    }

    private void writeSpis(DistributorRegister register, int value) {
        vgic.writeDistributor(register.offset() + Integer.BYTES, value);
    }

    // The distributor

    @Test
    void groupsAreWritableOnceTheIdentificationIsRestored() {
        assertThat(spis(GICD_IGROUPR)).isZero();
        writeSpis(GICD_IGROUPR, 5);
        assertThat(spis(GICD_IGROUPR)).isZero();
        int implementer = read(FIRST, GICD_IIDR);
        assertThat(implementer).isEqualTo(0x4b00_343b);
        assertThat(refused(Errno.EINVAL, () -> vgic.writeDistributor(GICD_IIDR.offset(), implementer ^ 1)))
                .contains("restored with another VGIC's value");
        vgic.writeDistributor(GICD_IIDR.offset(), implementer);
        writeSpis(GICD_IGROUPR, 5);
        assertThat(spis(GICD_IGROUPR)).isEqualTo(5);
    }

    /** SGIs are enabled from the start. */
    @Test
    void privateInterruptsAreOfOneVcpu() {
        assertThat(read(FIRST, GICD_ISENABLER)).isEqualTo(SGIS);
        vgic.writeDistributor(SECOND, GICD_ISENABLER.offset(), 1 << 23);
        vgic.writeDistributor(SECOND, GICD_ICENABLER.offset(), 0xff);
        assertThat(read(SECOND, GICD_ISENABLER)).isEqualTo(1 << 23 | 0xff00);
        assertThat(read(SECOND, GICD_ICENABLER)).isEqualTo(1 << 23 | 0xff00);
        assertThat(read(FIRST, GICD_ISENABLER)).isEqualTo(SGIS);
        vgic.writeDistributor(SECOND, GICD_IPRIORITYR.offset() + 20, 0xffa7_0801);
        assertThat(vgic.readDistributor(SECOND, GICD_IPRIORITYR.offset() + 20)).isEqualTo(0xf8a0_0800);
        assertThat(vgic.readDistributor(FIRST, GICD_IPRIORITYR.offset() + 20)).isZero();
        vgic.writeDistributor(SECOND, GICD_ISACTIVER.offset(), 1 << 23);
        assertThat(read(SECOND, GICD_ICACTIVER)).isEqualTo(1 << 23);
        assertThat(read(FIRST, GICD_ISACTIVER)).isZero();
    }

    @Test
    void targetsAreVcpusOfTheVm() {
        int offset = GICD_ITARGETSR.offset();
        assertThat(vgic.readDistributor(FIRST, offset)).isEqualTo(0x0101_0101);
        assertThat(vgic.readDistributor(SECOND, offset + 28)).isEqualTo(0x0202_0202);
        vgic.writeDistributor(SECOND, offset, -1);
        assertThat(vgic.readDistributor(SECOND, offset)).as("read-only").isEqualTo(0x0202_0202);
        assertThat(vgic.readDistributor(offset + 40)).as("no target").isZero();
        vgic.writeDistributor(offset + 40, 0xff02_0401);
        assertThat(vgic.readDistributor(SECOND, offset + 40)).isEqualTo(0x0302_0001);
    }

    @Test
    void configurationOfSpisIsWritable() {
        int offset = GICD_ICFGR.offset();
        assertThat(vgic.readDistributor(offset)).isEqualTo(0xaaaa_aaaa);
        assertThat(vgic.readDistributor(offset + 4)).isZero();
        vgic.writeDistributor(offset, 0);
        vgic.writeDistributor(offset + 4, -1);
        assertThat(vgic.readDistributor(offset)).as("SGIs").isEqualTo(0xaaaa_aaaa);
        assertThat(vgic.readDistributor(offset + 4)).as("PPIs").isZero();
        int edge = vgic.readDistributor(offset + 8);
        vgic.makeLevel(SPI);
        assertThat(vgic.readDistributor(offset + 8)).isEqualTo(edge & ~(2 << 20));
        vgic.makeEdge(SPI);
        assertThat(vgic.readDistributor(offset + 8)).isEqualTo(edge);
        assertThat(edge).isEqualTo(0xaaaa_aaaa);
    }

    // SGIs

    /** GICD_SGIR, written as a vCPU, sends as that vCPU. */
    @Test
    void sgiHasItsSource() {
        vgic.writeDistributor(SECOND, SEND, 0b01 << 16 | 5);
        assertThat(vgic.readDistributor(SEND)).isZero();
        assertThat(read(FIRST, GICD_ISPENDR)).isEqualTo(1 << 5);
        assertThat(read(SECOND, GICD_ISPENDR)).isZero();
        assertThat(vgic.readDistributor(SOURCES + 4)).isEqualTo(1 << 1 + 8);
        assertThat(vgic.readDistributor(TAKE_BACK + 4)).isEqualTo(1 << 1 + 8);
        vgic.writeDistributor(SEND, 0b11 << 16 | 5);
        assertThat(vgic.readDistributor(SOURCES + 4)).as("two sources").isEqualTo(0b11 << 8);
        vgic.writeDistributor(TAKE_BACK + 4, 0b01 << 8);
        assertThat(read(FIRST, GICD_ISPENDR)).isEqualTo(1 << 5);
        vgic.writeDistributor(TAKE_BACK + 4, 0xff << 8);
        assertThat(read(FIRST, GICD_ISPENDR)).isZero();
        assertThat(read(SECOND, GICD_ISPENDR)).isEqualTo(1 << 5);
    }

    @Test
    void sgiGoesToTheOthersOrToItself() {
        vgic.writeDistributor(SECOND, SEND, 1 << 24 | 0b10 << 16 | 3);
        assertThat(read(FIRST, GICD_ISPENDR)).isEqualTo(1 << 3);
        assertThat(read(SECOND, GICD_ISPENDR)).isZero();
        vgic.writeDistributor(SECOND, SEND, 2 << 24 | 0b01 << 16 | 4);
        assertThat(read(FIRST, GICD_ISPENDR)).isEqualTo(1 << 3);
        assertThat(read(SECOND, GICD_ISPENDR)).isEqualTo(1 << 4);
        vgic.writeDistributor(SECOND, SEND, 3 << 24 | 0b11 << 16 | 6);
        assertThat(read(FIRST, GICD_ISPENDR)).as("reserved").isEqualTo(1 << 3);
    }

    @Test
    void sourcesOfAnSgiAreRestored() {
        vgic.writeDistributor(SECOND, SOURCES, 0b10 << 16);
        vgic.writeDistributor(SECOND, SOURCES, 0b01 << 16);
        assertThat(vgic.readDistributor(SECOND, SOURCES)).isEqualTo(0b11 << 16);
        assertThat(read(SECOND, GICD_ISPENDR)).isEqualTo(1 << 2);
        assertThat(vgic.readDistributor(FIRST, SOURCES)).isZero();
    }

    /** Which vCPU sent it cannot be said there. */
    @Test
    void pendingBitOfAnSgiIsOfTheVcpuItself() {
        vgic.writeDistributor(SECOND, GICD_ISPENDR.offset(), 1 << 7);
        assertThat(read(SECOND, GICD_ISPENDR)).isEqualTo(1 << 7);
        assertThat(vgic.readDistributor(SECOND, SOURCES + 4)).isEqualTo(0b10 << 24);
        vgic.writeDistributor(SECOND, SOURCES + 4, 0b01 << 24);
        vgic.writeDistributor(SECOND, GICD_ICPENDR.offset(), 1 << 7);
        assertThat(read(SECOND, GICD_ISPENDR)).isZero();
        assertThat(vgic.readDistributor(SECOND, SOURCES + 4)).as("all sources").isZero();
    }

    // CPU interfaces

    /** The priority mask is that of GICH_VMCR: bits 7:3 of the guest's GICC_PMR. */
    @Test
    void cpuInterfaceKeepsWhatTheHardwareHas() {
        for (int offset = 0; offset < 0x100; offset += 4) {
            vgic.writeCpuInterface(SECOND, offset, -1);
        }
        assertThat(vgic.readCpuInterface(SECOND, GICC_CTLR)).isEqualTo(0x21f);
        assertThat(vgic.readCpuInterface(SECOND, GICC_PMR)).isEqualTo(0x1f);
        assertThat(vgic.readCpuInterface(SECOND, GICC_BPR)).isEqualTo(7);
        assertThat(vgic.readCpuInterface(SECOND, GICC_ABPR)).isEqualTo(7);
        assertThat(vgic.readCpuInterface(SECOND, GICC_APR)).isEqualTo(-1);
        assertThat(vgic.readCpuInterface(SECOND, GICC_APR + 4)).isZero();
        assertThat(vgic.readCpuInterface(SECOND, GICC_IIDR)).isEqualTo(0x04b2_043b);
        assertThat(vgic.readCpuInterface(FIRST, GICC_PMR)).isZero();
        vgic.writeCpuInterface(SECOND, GICC_PMR, 0xf0);
        assertThat(vgic.readCpuInterface(SECOND, GICC_PMR)).as("bits 4:0").isEqualTo(0x10);
    }

    // Save and restore

    /** All registers with state, in the order in which a VMM restores them. */
    private static Map<Long, Integer> saved(VgicV2 from) {
        Map<Long, Integer> state = new TreeMap<>();
        for (VcpuId vcpu : new VcpuId[] {FIRST, SECOND}) {
            for (int offset = 0; offset < 0x1000; offset += 4) {
                state.put((long) vcpu.number() << 32 | offset, from.readDistributor(vcpu, offset));
            }
            for (int offset = 0; offset < 0x100; offset += 4) {
                state.put((long) vcpu.number() << 32 | 0x1_0000 | offset, from.readCpuInterface(vcpu, offset));
            }
        }
        return state;
    }

    private static Map<Long, Integer> changes(Map<Long, Integer> before, Map<Long, Integer> now) {
        Map<Long, Integer> changed = new TreeMap<>(now);
        changed.entrySet().removeAll(before.entrySet());
        return changed;
    }

    /** Registers that clear are not restored. */
    private static boolean isRestored(int offset) {
        boolean clears = offset >= GICD_ICENABLER.offset() && offset < GICD_ISPENDR.offset()
                || offset >= GICD_ICPENDR.offset() && offset < GICD_ISACTIVER.offset()
                || offset >= GICD_ICACTIVER.offset() && offset < GICD_IPRIORITYR.offset()
                || offset >= TAKE_BACK && offset < SOURCES;
        return !clears;
    }

    /** GICD_ISPENDR before GICD_SPENDSGIR adds the vCPU itself as a source of its SGIs: one too many. */
    @Test
    void stateIsSavedAndRestored() {
        vgic.writeDistributor(GICD_CTLR.offset(), 1);
        vgic.writeDistributor(GICD_IIDR.offset(), read(FIRST, GICD_IIDR));
        writeSpis(GICD_IGROUPR, 0xf0f0_f0f0);
        writeSpis(GICD_ISENABLER, 0x1234_5678);
        writeSpis(GICD_ISACTIVER, 0xff);
        vgic.makeLevel(SPI);
        vm.arm64().setSpi(new Spi(45), true);
        vm.arm64().setPpi(SECOND, new Ppi(23), true);
        vgic.writeDistributor(SECOND, SEND, 0b11 << 16 | 5);
        vgic.writeDistributor(GICD_IPRIORITYR.offset() + 32, 0x8888_8888);
        vgic.writeDistributor(GICD_ITARGETSR.offset() + 32, 0x0101_0202);
        vgic.writeCpuInterface(FIRST, GICC_CTLR, 1);
        vgic.writeCpuInterface(FIRST, GICC_PMR, 0x1e);
        vgic.writeCpuInterface(SECOND, GICC_APR, 0x10);
        Map<Long, Integer> state = saved(vgic);
        VgicV2 other = readyGicV2(vm(), 2);
        state.forEach((attribute, value) -> {
            VcpuId vcpu = new VcpuId((int) (attribute >> 32));
            int offset = (int) (attribute & 0xffff);
            if ((attribute & 0x1_0000) != 0) {
                other.writeCpuInterface(vcpu, offset, value);
            } else if (isRestored(offset)) {
                other.writeDistributor(vcpu, offset, value);
            }
        });
        // vCPU 1 sent SGI 5 to both.
        assertThat(changes(state, saved(other)))
                .containsExactlyInAnyOrderEntriesOf(Map.of(TAKE_BACK + 4L, 0b11 << 8, SOURCES + 4L, 0b11 << 8));
        other.writeDistributor(TAKE_BACK + 4, 0b01 << 8);
        assertThat(changes(state, saved(other))).isEmpty();
    }
}
