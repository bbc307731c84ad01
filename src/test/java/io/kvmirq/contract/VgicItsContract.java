/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.contract.World.*;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.MsiMessage;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.MsiOutcome;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.jupiter.api.Test;

/**
 * Messages through an ITS that the VMM has programmed as a guest's driver does; an LPI is seen in the pending table:
 * arch/arm64/kvm/vgic/vgic-its.c, GIC architecture (IHI 0069), 5.3.
 */
@ArmContract
class VgicItsContract extends ArmVms {
    private static final long RAM = 0x4000_0000L;
    private static final int RAM_SIZE = 0x6_0000;
    private static final int PROPERTIES = 0;
    private static final int PENDING = 0x1_0000;
    private static final int DEVICES = 0x2_0000;
    private static final int COLLECTIONS = 0x3_0000;
    private static final int COMMANDS = 0x4_0000;
    private static final int EVENTS = 0x5_0000;

    private static final int GICR_CTLR = 0;
    private static final int GICR_PROPBASER = 0x70;
    private static final int GICR_PENDBASER = 0x78;
    private static final int GITS_CTLR = 0;
    private static final int GITS_CBASER = 0x80;
    private static final int GITS_CWRITER = 0x88;
    private static final int GITS_CREADR = 0x90;
    private static final int GITS_BASER = 0x100;

    private static final long VALID = 1L << 63;
    private static final long TYPE_AND_ENTRY = 7L << 56 | 0x1fL << 48;
    private static final long PAGES_OF_64K = 2L << 8;
    private static final int NUMBER_BITS = 14;
    private static final int ENABLED = 0xa0 | 1;

    private static final int DEVICE = 0x10;
    private static final int EVENT = 5;
    private static final int LPI = 8200;
    private static final MsiMessage MESSAGE = MsiMessage.toIts(ITS, DEVICE, EVENT);

    private final Vm vm = vm();
    private final VgicV3 vgic;
    private final Its its;
    private final Mapping ram;
    private int end;

    VgicItsContract(World world) {
        super(world);
        vcpu(vm, 0).initialize();
        vgic = made.add(vm.createVgicV3());
        its = made.add(vm.createIts());
        its.setAddress(ITS);
        vgic.setDistributor(DISTRIBUTOR);
        vgic.setRedistributors(REDISTRIBUTORS);
        vgic.init();
        GuestMemory memory = made.add(vm.addMemory(RAM, RAM_SIZE));
        ram = memory.mapping();
    }

    // As a driver does

    private void enableLpis() {
        placeLpiTables();
        vgic.writeRedistributor(FIRST, GICR_CTLR, 1);
    }

    private void placeLpiTables() {
        ram.putByte(PROPERTIES + LPI - 8192, (byte) ENABLED);
        writeWide(GICR_PROPBASER, RAM + PROPERTIES | NUMBER_BITS - 1);
        writeWide(GICR_PENDBASER, RAM + PENDING);
    }

    private void writeWide(int offset, long value) {
        vgic.writeRedistributor(FIRST, offset, (int) value);
        vgic.writeRedistributor(FIRST, offset + Integer.BYTES, (int) (value >>> Integer.SIZE));
    }

    private void enableIts() {
        for (int i = 0; i < 8; i++) {
            long offset = GITS_BASER + i * (long) Long.BYTES;
            long kind = its.readRegister(offset) & TYPE_AND_ENTRY;
            switch ((int) (kind >>> 56)) {
                case 1 -> its.writeRegister(offset, VALID | kind | PAGES_OF_64K | RAM + DEVICES);
                case 4 -> its.writeRegister(offset, VALID | kind | PAGES_OF_64K | RAM + COLLECTIONS);
                default -> {}
            }
        }
        its.writeRegister(GITS_CBASER, VALID | RAM + COMMANDS | 15);
        its.writeRegister(GITS_CTLR, 1);
    }

    private void command(long... words) {
        ByteBuffer bytes = ByteBuffer.allocate(words.length * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        for (long word : words) {
            bytes.putLong(word);
        }
        ram.put(COMMANDS + end, bytes.array());
        end += bytes.capacity();
        its.writeRegister(GITS_CWRITER, end);
        assertThat(its.readRegister(GITS_CREADR)).as("commands handled").isEqualTo(end);
    }

    /** Device, event and LPI of {@link #MESSAGE}, on the first vCPU. */
    private void map() {
        command(0x9, 0, VALID, 0); // MAPC
        command(0x8 | (long) DEVICE << 32, 7, VALID | RAM + EVENTS, 0); // MAPD
        command(0xa | (long) DEVICE << 32, EVENT | (long) LPI << 32, 0, 0); // MAPTI
    }

    private boolean isPending() {
        vgic.savePendingTables();
        return (ram.getByte(PENDING + LPI / Byte.SIZE) >>> LPI % Byte.SIZE & 1) == 1;
    }

    // Messages

    @Test
    void mappedMessageMakesItsLpiPending() {
        enableLpis();
        enableIts();
        map();
        assertThat(isPending()).isFalse();
        assertThat(vm.signal(MESSAGE)).isEqualTo(MsiOutcome.delivered(1));
        assertThat(isPending()).isTrue();
    }

    @Test
    void messageOfAnUnknownDeviceOrEventIsNotAccepted() {
        enableLpis();
        enableIts();
        map();
        assertThat(vm.signal(MsiMessage.toIts(ITS, DEVICE + 1, EVENT))).isEqualTo(MsiOutcome.NOT_ACCEPTED);
        assertThat(vm.signal(MsiMessage.toIts(ITS, DEVICE, EVENT + 1))).isEqualTo(MsiOutcome.NOT_ACCEPTED);
        assertThat(isPending()).isFalse();
    }

    @Test
    void routedMessageMakesItsLpiPending() {
        enableLpis();
        enableIts();
        map();
        Gsi gsi = vm.routes().add(MESSAGE);
        EventFd event = event();
        Irqfd irqfd = made.add(vm.assignIrqfd(event, gsi));
        event.signal();
        eventually("LPI " + LPI + " is pending", this::isPending);
        assertThat(irqfd.gsi()).isEqualTo(new Gsi(224));
    }

    /** The vCPU's LPIs are off: the message is known and cannot be delivered. */
    @Test
    void messageToAVcpuWithoutLpisIsBusy() {
        placeLpiTables();
        enableIts();
        map();
        refused(Errno.EBUSY, () -> vm.signal(MESSAGE));
    }

    @Test
    void resetForgetsWhatWasMapped() {
        enableLpis();
        enableIts();
        map();
        its.reset();
        assertThat(its.readRegister(GITS_CTLR) & 1).isZero();
        assertThat(its.readRegister(GITS_CBASER)).isZero();
        refused(Errno.EBUSY, () -> vm.signal(MESSAGE));
    }

    @Test
    void commandsWaitUntilTheItsIsEnabled() {
        its.writeRegister(GITS_CBASER, VALID | RAM + COMMANDS | 15);
        its.writeRegister(GITS_CWRITER, 32);
        assertThat(its.readRegister(GITS_CREADR)).isZero();
        assertThat(refused(Errno.EINVAL, () -> its.writeRegister(GITS_CREADR, 0x1_0000)))
                .contains("beyond the ring");
        its.writeRegister(GITS_CREADR, 32);
        assertThat(its.readRegister(GITS_CREADR)).isEqualTo(32);
    }
}
