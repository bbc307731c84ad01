/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.contract;

import static io.kvmirq.arch.gic.model.EmulatedIts.*;
import static io.kvmirq.contract.World.*;
import static io.kvmirq.testing.Refusals.refused;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.Errno;
import io.kvmirq.MsiMessage;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.gic.InterruptId;
import io.kvmirq.arch.gic.ItsCommand;
import io.kvmirq.arch.gic.model.DistributorRegister;
import io.kvmirq.arch.gic.model.RedistributorRegister;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.MsiOutcome;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.testing.GuestGic;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * An ITS that the VMM sets up as a guest's driver does, through the registers and tables by which a guest is restored:
 * no guest runs. Source: Documentation/virt/kvm/devices/arm-vgic-its.rst, arch/arm64/kvm/vgic/vgic-its.c.
 */
@ArmContract
class ItsContract extends ArmVms {
    private static final int DEVICE = 0x10;
    private static final int EVENT = 3;
    private static final int LPI = 8200;
    private static final int COLLECTION = 1;

    // In guest memory
    private static final long MEMORY = 0x4000_0000L;
    private static final int RING = 0;
    private static final int DEVICES = 0x1_0000;
    private static final int COLLECTIONS = 0x2_0000;
    private static final int PROPERTIES = 0x3_0000;
    private static final int PENDING = 0x4_0000;
    private static final int EVENTS = 0x5_0000;
    private static final int SECOND_PENDING = 0x6_0000;
    private static final int SIZE = 0x8_0000;

    private static final long VALID = 1L << 63;
    private static final int ENABLE = 1;
    /** GICD_CTLR.EnableGrp1. */
    private static final int DISTRIBUTOR_ON = 2;

    private Vm vm;
    private VgicV3 vgic;
    private Its service;
    private Mapping memory;
    private int end;

    @SuppressWarnings("NullAway.Init")
    ItsContract(World world) {
        super(world);
    }

    @BeforeEach
    void setUp() {
        setUp(FIRST);
    }

    private void setUp(VcpuId... vcpus) {
        vm = vm();
        for (VcpuId vcpu : vcpus) {
            vcpu(vm, vcpu.number()).arm64().initialize();
        }
        vgic = made.add(vm.arm64().createVgicV3());
        vgic.setDistributor(DISTRIBUTOR);
        vgic.setRedistributors(REDISTRIBUTORS);
        vgic.init();
        service = made.add(vm.arm64().createIts());
        service.setAddress(ITS);
        service.init();
        memory = made.add(vm.addMemory(MEMORY, SIZE)).mapping();
        for (VcpuId vcpu : vcpus) {
            GuestGic.write(vgic, vcpu, RedistributorRegister.GICR_PROPBASER, MEMORY + PROPERTIES | 15);
            GuestGic.write(vgic, vcpu, RedistributorRegister.GICR_PENDBASER, MEMORY + PENDING);
            vgic.writeRedistributor(vcpu, RedistributorRegister.GICR_CTLR.offset(), ENABLE);
        }
        enable();
    }

    private void enable() {
        service.writeRegister(CBASER, VALID | MEMORY + RING);
        service.writeRegister(BASER_DEVICES, VALID | MEMORY + DEVICES);
        service.writeRegister(BASER_COLLECTIONS, VALID | MEMORY + COLLECTIONS);
        service.writeRegister(CTLR, ENABLE);
        end = 0;
    }

    private void put(int offset, long value) {
        memory.put(
                offset,
                ByteBuffer.allocate(Long.BYTES)
                        .order(ByteOrder.LITTLE_ENDIAN)
                        .putLong(value)
                        .array());
    }

    private void send(long... words) {
        memory.put(RING + end, ItsCommand.bytes(words));
        end += ItsCommand.SIZE;
        service.writeRegister(CWRITER, end);
    }

    private void map() {
        send(ItsCommand.mapDevice(DEVICE, 5, MEMORY + EVENTS));
        send(ItsCommand.mapCollection(COLLECTION, 0));
        send(ItsCommand.mapEvent(DEVICE, EVENT, LPI, COLLECTION));
    }

    private static MsiMessage message(int device, int event) {
        return MsiMessage.toIts(ITS, device, event);
    }

    /** The pending bit of the LPI in the guest's table. */
    private boolean isPending() {
        return isPendingIn(PENDING);
    }

    @Test
    void messageMakesTheLpiPending() {
        map();
        assertThat(isPending()).isFalse();
        assertThat(vm.signal(message(DEVICE, EVENT))).isEqualTo(new MsiOutcome(1));
        assertThat(isPending()).isTrue();
        send(ItsCommand.CLEAR.ofEvent(DEVICE, EVENT));
        assertThat(isPending()).isFalse();
        send(ItsCommand.INT.ofEvent(DEVICE, EVENT));
        assertThat(isPending()).isTrue();
    }

    @Test
    void messageOfAnUnmappedEventIsNotAccepted() {
        map();
        assertThat(vm.signal(message(DEVICE, EVENT + 1))).isEqualTo(MsiOutcome.NOT_ACCEPTED);
        assertThat(vm.signal(message(DEVICE + 1, EVENT))).isEqualTo(MsiOutcome.NOT_ACCEPTED);
        send(ItsCommand.DISCARD.ofEvent(DEVICE, EVENT));
        assertThat(vm.signal(message(DEVICE, EVENT))).isEqualTo(MsiOutcome.NOT_ACCEPTED);
    }

    @Test
    void signalOfAnIrqfdWithARouteMakesTheLpiPending() {
        map();
        EventFd event = event();
        made.add(vm.assignIrqfd(event, vm.routes().add(message(DEVICE, EVENT))));
        event.signal();
        eventually("LPI " + LPI + " is pending", this::isPending);
    }

    @Test
    void messageIsRefusedWhileItsOrLpisAreDisabled() {
        map();
        vgic.writeRedistributor(FIRST, RedistributorRegister.GICR_CTLR.offset(), 0);
        refused(Errno.EBUSY, () -> vm.signal(message(DEVICE, EVENT)));
        vgic.writeRedistributor(FIRST, RedistributorRegister.GICR_CTLR.offset(), ENABLE);
        service.writeRegister(CTLR, 0);
        refused(Errno.EBUSY, () -> vm.signal(message(DEVICE, EVENT)));
        assertThat(isPending()).isFalse();
    }

    @Test
    void commandsAreTakenInOrder() {
        map();
        assertThat(service.readRegister(CREADR)).isEqualTo(3 * ItsCommand.SIZE);
        assertThat(service.readRegister(CTLR)).isEqualTo(1L << 31 | ENABLE);
        assertThat(service.readRegister(TYPER)).isEqualTo(0x1ef71);
        assertThat(service.readRegister(IIDR)).isEqualTo(0x4b00043bL);
    }

    @Test
    void savedTablesAreRestored() {
        map();
        vm.signal(message(DEVICE, EVENT));
        service.saveTables();
        assertThat(isPending()).isTrue();
        assertThat(memory.getLong(DEVICES + DEVICE * Long.BYTES)).isEqualTo(VALID | MEMORY + EVENTS >>> 8 << 5 | 4);
        assertThat(memory.getLong(EVENTS + EVENT * Long.BYTES)).isEqualTo((long) LPI << 16 | COLLECTION);
        assertThat(memory.getLong(COLLECTIONS)).isEqualTo(VALID | COLLECTION);
        service.reset();
        enable();
        assertThat(vm.signal(message(DEVICE, EVENT))).isEqualTo(MsiOutcome.NOT_ACCEPTED);
        service.reset();
        enable();
        service.restoreTables();
        assertThat(isPending()).as("as it was saved").isTrue();
        assertThat(vm.signal(message(DEVICE, EVENT))).isEqualTo(new MsiOutcome(1));
    }

    /** {@code vgic_its_alloc_device()} appends to the list in which {@code find_its_device()} takes the first. */
    @Test
    void deviceOfARestoreStandsBehindTheOneThatIsMapped() {
        map();
        service.saveTables();
        service.writeRegister(CTLR, 0);
        service.writeRegister(BASER_COLLECTIONS, 0);
        service.writeRegister(BASER_COLLECTIONS, VALID | MEMORY + COLLECTIONS);
        service.restoreTables();
        service.writeRegister(CTLR, ENABLE);
        assertThat(vm.signal(message(DEVICE, EVENT)))
                .as("the event of the old one has lost its collection")
                .isEqualTo(MsiOutcome.NOT_ACCEPTED);
        long[] unmap = ItsCommand.mapDevice(DEVICE, 5, MEMORY + EVENTS);
        unmap[ItsCommand.VALID.word()] = ItsCommand.VALID.put(unmap[ItsCommand.VALID.word()], 0);
        send(unmap);
        assertThat(vm.signal(message(DEVICE, EVENT))).as("the restored one").isEqualTo(new MsiOutcome(1));
    }

    /** The kernel still delivers an event that it delivered since the first restore: it remembers where to. */
    @Test
    void tablesAreRestoredOnce() {
        map();
        service.saveTables();
        service.reset();
        enable();
        service.restoreTables();
        refused(Errno.EEXIST, service::restoreTables);
        assertThat(vm.signal(message(DEVICE, EVENT))).as("nothing is left").isEqualTo(MsiOutcome.NOT_ACCEPTED);
    }

    @Test
    void resetForgetsWhatWasMapped() {
        map();
        service.reset();
        assertThat(service.readRegister(CTLR) & ENABLE).isZero();
        assertThat(service.readRegister(CBASER)).isZero();
        refused(Errno.EBUSY, () -> vm.signal(message(DEVICE, EVENT)));
    }

    @Test
    void commandsWaitUntilTheItsIsEnabled() {
        service.writeRegister(CTLR, 0);
        map();
        assertThat(service.readRegister(CREADR)).isZero();
        service.writeRegister(CTLR, ENABLE);
        assertThat(service.readRegister(CREADR)).isEqualTo(3 * ItsCommand.SIZE);
    }

    /** Commands that were written and not handled are forgotten. */
    @Test
    void newRingIsEmpty() {
        map();
        service.writeRegister(CTLR, 0);
        service.writeRegister(CWRITER, 0);
        assertThat(service.readRegister(CREADR)).isEqualTo(3 * ItsCommand.SIZE);
        service.writeRegister(CBASER, VALID | MEMORY + RING);
        assertThat(service.readRegister(CREADR)).isZero();
        service.writeRegister(CWRITER, ItsCommand.SIZE);
        service.writeRegister(CBASER, VALID | MEMORY + RING);
        assertThat(service.readRegister(CWRITER)).isZero();
    }

    @Test
    void discardClearsWhatWasSaved() {
        map();
        service.saveTables();
        send(ItsCommand.DISCARD.ofEvent(DEVICE, EVENT));
        assertThat(memory.getLong(EVENTS + EVENT * Long.BYTES)).isZero();
    }

    /** GICR_PENDBASER.PTZ says that the pending table is zero: it is not read, whichever half is written first. */
    @Test
    void pendingTableThatIsZeroIsNotRead() {
        map();
        int control = RedistributorRegister.GICR_CTLR.offset();
        int base = RedistributorRegister.GICR_PENDBASER.offset();
        vgic.writeRedistributor(FIRST, control, 0);
        memory.putByte(PENDING + LPI / Byte.SIZE, (byte) (1 << LPI % Byte.SIZE));
        vgic.writeRedistributor(FIRST, base + Integer.BYTES, 1 << 30);
        vgic.writeRedistributor(FIRST, base, (int) (MEMORY + PENDING));
        vgic.writeRedistributor(FIRST, control, ENABLE);
        assertThat(isPending()).isFalse();
        vgic.writeRedistributor(FIRST, control, 0);
        memory.putByte(PENDING + LPI / Byte.SIZE, (byte) (1 << LPI % Byte.SIZE));
        GuestGic.write(vgic, FIRST, RedistributorRegister.GICR_PENDBASER, MEMORY + PENDING);
        vgic.writeRedistributor(FIRST, control, ENABLE);
        assertThat(isPending()).as("read without PTZ").isTrue();
    }

    /** Before 6.7 a collection's target is the index of a vCPU, since then its id. */
    @Test
    void targetOfACollectionIsAVcpusIndexThenItsId() {
        setUp(FIRST, new VcpuId(5));
        send(ItsCommand.mapDevice(DEVICE, 5, MEMORY + EVENTS));
        send(ItsCommand.mapCollection(1, 1));
        send(ItsCommand.mapCollection(2, 5));
        send(ItsCommand.mapEvent(DEVICE, 1, LPI, 1));
        send(ItsCommand.mapEvent(DEVICE, 2, LPI + 1, 2));
        boolean byId = world.isSince(6, 7);
        assertThat(vm.signal(message(DEVICE, byId ? 2 : 1))).isEqualTo(new MsiOutcome(1));
        assertThat(vm.signal(message(DEVICE, byId ? 1 : 2))).isEqualTo(MsiOutcome.NOT_ACCEPTED);
    }

    @Test
    void newItsResetsThePropertyTable() {
        vgic.writeRedistributor(FIRST, RedistributorRegister.GICR_CTLR.offset(), 0);
        made.add(vm.arm64().createIts());
        assertThat(vgic.readRedistributor(FIRST, RedistributorRegister.GICR_PROPBASER.offset()))
                .isEqualTo(1 << 10 | 3 << 7);
    }

    @Test
    void registersOfTheRingAreChecked() {
        assertThat(refused(Errno.EBUSY, () -> service.writeRegister(CREADR, 0)))
                .contains("GITS_CREADR cannot be set while the ITS is enabled");
        service.writeRegister(CTLR, 0);
        assertThat(refused(Errno.EINVAL, () -> service.writeRegister(CREADR, 0x1000)))
                .endsWith("EINVAL (GITS_CREADR is beyond the command queue)");
        assertThat(refused(Errno.EINVAL, () -> service.writeRegister(IIDR, 1 << 12)))
                .endsWith("EINVAL (GITS_IIDR names a version of the tables that this kernel does not have)");
    }

    @Test
    void collectionOfAVcpuThatDoesNotExistIsRefused() {
        map();
        service.reset();
        enable();
        put(COLLECTIONS, VALID | 7L << 16 | COLLECTION);
        refused(Errno.EINVAL, service::restoreTables);
    }

    @Test
    void pendingTableOutsideMemoryIsAFault() {
        map();
        vgic.writeRedistributor(FIRST, RedistributorRegister.GICR_CTLR.offset(), 0);
        GuestGic.write(vgic, FIRST, RedistributorRegister.GICR_PENDBASER, MEMORY + 0x100_0000);
        assertThat(refused(Errno.EFAULT, vgic::savePendingTables))
                .endsWith("EFAULT (a vCPU's pending table lies outside guest memory)");
    }

    // LPIs that are in the list of a vCPU

    /** So that LPIs are queued: the distributor and the LPI are enabled. */
    private void enableDelivery() {
        vgic.writeDistributor(DistributorRegister.GICD_CTLR.offset(), DISTRIBUTOR_ON);
        memory.putByte(PROPERTIES + LPI - InterruptId.FIRST_LPI, (byte) 0xa1);
    }

    private void signal() {
        assertThat(vm.signal(message(DEVICE, EVENT))).isEqualTo(new MsiOutcome(1));
    }

    /** {@code vgic_queue_irq_unlock()} takes a reference, so that the LPI outlives its event. */
    @Test
    void lpiInAListStaysPendingWithoutItsEvent() {
        enableDelivery();
        map();
        signal();
        send(ItsCommand.DISCARD.ofEvent(DEVICE, EVENT));
        assertThat(isPending()).as("discarded").isTrue();
        send(ItsCommand.mapEvent(DEVICE, EVENT, LPI, COLLECTION));
        assertThat(isPending()).as("mapped again").isTrue();
        send(ItsCommand.mapDevice(DEVICE, 5, MEMORY + EVENTS));
        assertThat(isPending()).as("the device is mapped again").isTrue();
        service.reset();
        assertThat(isPending()).as("the ITS is reset").isTrue();
    }

    /** Then no list has it, and it is gone with its event. */
    @Test
    void lpiThatIsNotQueuedIsGoneWithItsEvent() {
        memory.putByte(PROPERTIES + LPI - InterruptId.FIRST_LPI, (byte) 0xa1);
        map();
        signal();
        send(ItsCommand.DISCARD.ofEvent(DEVICE, EVENT));
        send(ItsCommand.mapEvent(DEVICE, EVENT, LPI, COLLECTION));
        assertThat(isPending()).as("the distributor was disabled").isFalse();
        enableDelivery();
        signal();
        vgic.writeRedistributor(FIRST, RedistributorRegister.GICR_CTLR.offset(), 0);
        send(ItsCommand.DISCARD.ofEvent(DEVICE, EVENT));
        assertThat(isPending()).as("the vCPU's list was flushed").isFalse();
    }

    private boolean isPendingIn(int table) {
        return isPendingIn(table, LPI);
    }

    private boolean isPendingIn(int table, int lpi) {
        vgic.savePendingTables();
        return (memory.getByte(table + lpi / Byte.SIZE) >>> lpi % Byte.SIZE & 1) != 0;
    }

    private void setUpTwo() {
        setUp(FIRST, SECOND);
        vgic.writeRedistributor(SECOND, RedistributorRegister.GICR_CTLR.offset(), 0);
        GuestGic.write(vgic, SECOND, RedistributorRegister.GICR_PENDBASER, MEMORY + SECOND_PENDING);
        vgic.writeRedistributor(SECOND, RedistributorRegister.GICR_CTLR.offset(), ENABLE);
        enableDelivery();
        map();
        send(ItsCommand.mapCollection(COLLECTION + 1, 1));
    }

    /** The LPI that {@code vgic_add_lpi()} finds keeps its target. */
    @Test
    void lpiInAListKeepsItsVcpuWhenItIsMappedToAnother() {
        setUpTwo();
        signal();
        send(ItsCommand.DISCARD.ofEvent(DEVICE, EVENT));
        send(ItsCommand.mapEvent(DEVICE, EVENT, LPI, COLLECTION + 1));
        assertThat(isPendingIn(PENDING)).isTrue();
        assertThat(isPendingIn(SECOND_PENDING)).isFalse();
    }

    /** MOVALL moves LPIs, not collections; {@code vgic_its_resolve_lpi()} asks the collection's vCPU. */
    @Test
    void vcpuOfTheCollectionDecidesWhetherMessagesAreTaken() {
        setUpTwo();
        long[] moveAll = {0x0e, 0, 0, 0};
        moveAll[ItsCommand.SECOND_TARGET.word()] = ItsCommand.SECOND_TARGET.put(0, 1);
        send(moveAll);
        vgic.writeRedistributor(SECOND, RedistributorRegister.GICR_CTLR.offset(), 0);
        signal();
        vgic.writeRedistributor(SECOND, RedistributorRegister.GICR_CTLR.offset(), ENABLE);
        vgic.writeRedistributor(FIRST, RedistributorRegister.GICR_CTLR.offset(), 0);
        refused(Errno.EBUSY, () -> vm.signal(message(DEVICE, EVENT)));
    }

    /** Only an LPI that is enabled joins a list, and so outlives its event. */
    @Test
    void invallIsForTheLpisOfOneVcpu() {
        setUpTwo();
        send(ItsCommand.mapEvent(DEVICE, EVENT + 1, LPI + 1, COLLECTION + 1));
        memory.putByte(PROPERTIES + LPI - InterruptId.FIRST_LPI, (byte) 0xa0);
        memory.putByte(PROPERTIES + LPI + 1 - InterruptId.FIRST_LPI, (byte) 0xa1);
        long[] all = {0x0d, 0, 0, 0};
        all[ItsCommand.COLLECTION.word()] = ItsCommand.COLLECTION.put(0, COLLECTION);
        send(all);
        signal();
        assertThat(vm.signal(message(DEVICE, EVENT + 1))).isEqualTo(new MsiOutcome(1));
        send(ItsCommand.DISCARD.ofEvent(DEVICE, EVENT));
        send(ItsCommand.DISCARD.ofEvent(DEVICE, EVENT + 1));
        assertThat(isPendingIn(PENDING)).as("disabled by INVALL").isFalse();
        assertThat(isPendingIn(SECOND_PENDING, LPI + 1)).as("not enabled").isFalse();
        all[ItsCommand.COLLECTION.word()] = ItsCommand.COLLECTION.put(0, COLLECTION + 1);
        send(ItsCommand.mapEvent(DEVICE, EVENT + 1, LPI + 1, COLLECTION + 1));
        send(all);
        vm.signal(message(DEVICE, EVENT + 1));
        send(ItsCommand.DISCARD.ofEvent(DEVICE, EVENT + 1));
        assertThat(isPendingIn(SECOND_PENDING, LPI + 1)).as("enabled").isTrue();
    }

    /** MOVI changes the target: the old vCPU has the LPI in its list until it leaves its guest. */
    @Test
    void pendingLpiThatIsMovedIsSavedForItsNewVcpu() {
        setUpTwo();
        signal();
        long[] move = ItsCommand.MOVI.ofEvent(DEVICE, EVENT);
        move[ItsCommand.COLLECTION.word()] = ItsCommand.COLLECTION.put(0, COLLECTION + 1);
        send(move);
        assertThat(isPendingIn(SECOND_PENDING)).isTrue();
        assertThat(isPendingIn(PENDING)).isFalse();
        vgic.writeRedistributor(SECOND, RedistributorRegister.GICR_CTLR.offset(), 0);
        send(ItsCommand.DISCARD.ofEvent(DEVICE, EVENT));
        memory.putByte(SECOND_PENDING + LPI / Byte.SIZE, (byte) 0);
        assertThat(isPendingIn(SECOND_PENDING))
                .as("not in the list of the new one")
                .isTrue();
        memory.putByte(SECOND_PENDING + LPI / Byte.SIZE, (byte) 0);
        vgic.writeRedistributor(FIRST, RedistributorRegister.GICR_CTLR.offset(), 0);
        assertThat(isPendingIn(SECOND_PENDING))
                .as("the list of the old one was flushed")
                .isFalse();
    }
}
