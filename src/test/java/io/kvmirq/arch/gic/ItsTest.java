/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic;

import static io.kvmirq.arch.gic.GuestTables.COLLECTIONS;
import static io.kvmirq.arch.gic.GuestTables.DEVICES;
import static io.kvmirq.arch.gic.GuestTables.PENDING;
import static io.kvmirq.arch.gic.GuestTables.PROPERTIES;
import static io.kvmirq.arch.gic.GuestTables.RING;
import static io.kvmirq.arch.gic.GuestTables.SIZE;
import static io.kvmirq.arch.gic.GuestTables.with;
import static org.assertj.core.api.Assertions.assertThat;

import java.nio.ByteBuffer;
import java.util.OptionalInt;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** An ITS with its ring and its tables in a memory of 1 MiB. */
class ItsTest {
    private static final int DEVICE = 8;
    private static final int LPI = 8200;
    private static final int COLLECTION = 3;
    private static final int VCPUS = 2;

    private final GuestTables ram = new GuestTables();
    private final ByteBuffer memory = ram.memory;
    private final Lpis lpis = new Lpis(
            target -> target >= 0 && target < VCPUS ? OptionalInt.of(target) : OptionalInt.empty(), ram, () -> true);
    private final Its its = new Its(lpis);

    @BeforeEach
    void enable() {
        ram.enable(lpis, VCPUS, its);
    }

    private void command(ItsCommand command, GuestTables.With... fields) {
        ram.command(its, command, fields);
    }

    private void mapDevice(int device, int bits) {
        ram.mapDevice(its, device, bits);
    }

    private void mapCollection(int collection, int vcpu, boolean valid) {
        ram.mapCollection(its, collection, vcpu, valid);
    }

    private void mapEvent(int device, int event, int lpi, int collection) {
        ram.mapEvent(its, device, event, lpi, collection);
    }

    private void onEvent(ItsCommand command, int event) {
        command(command, with(ItsCommand.DEVICE, DEVICE), with(ItsCommand.EVENT, event));
    }

    /** Event 1 of the device is the LPI at vCPU 1. */
    private void map() {
        mapDevice(DEVICE, 5);
        mapCollection(COLLECTION, 1, true);
        mapEvent(DEVICE, 1, LPI, COLLECTION);
    }

    @Test
    void messageMakesTheLpiPending() {
        map();
        assertThat(lpis.vcpu(LPI)).hasValue(1);
        assertThat(lpis.isPending(LPI)).isFalse();
        assertThat(its.lpi(DEVICE, 1)).hasValue(LPI);
        assertThat(its.message(DEVICE, 1)).isEqualTo(Its.Outcome.PENDING);
        assertThat(lpis.isPending(LPI)).isTrue();
    }

    @Test
    void unknownMessagesAreDropped() {
        map();
        assertThat(its.message(DEVICE + 1, 1)).isEqualTo(Its.Outcome.UNMAPPED);
        assertThat(its.message(DEVICE, 2)).isEqualTo(Its.Outcome.UNMAPPED);
        assertThat(its.lpi(DEVICE, 2)).isEmpty();
    }

    @Test
    void disabledItsOrRedistributorIsBusy() {
        map();
        lpis.enable(1, false);
        assertThat(its.message(DEVICE, 1)).isEqualTo(Its.Outcome.DISABLED);
        lpis.enable(1, true);
        its.write(Its.CTLR, 0);
        assertThat(its.message(DEVICE, 1)).isEqualTo(Its.Outcome.DISABLED);
        assertThat(lpis.isPending(LPI)).isFalse();
    }

    @Test
    void itsWithoutTablesIsNotEnabled() {
        Its other = new Its(lpis);
        other.write(Its.CTLR, Its.ENABLED);
        assertThat(other.read(Its.CTLR) & Its.ENABLED).isZero();
    }

    @Test
    void commandsWaitWhileTheItsIsDisabled() {
        its.write(Its.CTLR, 0);
        mapDevice(DEVICE, 5);
        assertThat(its.read(Its.CTLR)).isZero();
        assertThat(its.read(Its.CREADR)).isZero();
        its.write(Its.CTLR, Its.ENABLED);
        assertThat(its.read(Its.CREADR)).isEqualTo(ItsCommand.SIZE);
        assertThat(its.read(Its.CTLR)).isEqualTo(1L << 31 | Its.ENABLED);
    }

    @Test
    void ringGoesRound() {
        for (int i = 0; i < 0x1000 / ItsCommand.SIZE; i++) {
            command(ItsCommand.SYNC);
        }
        assertThat(its.read(Its.CREADR)).isZero();
        map();
        assertThat(its.message(DEVICE, 1)).isEqualTo(Its.Outcome.PENDING);
        its.write(Its.CWRITER, 0x1000);
        assertThat(its.read(Its.CWRITER)).isEqualTo(ram.end());
    }

    @Test
    void eventMovesToAnotherCollection() {
        map();
        mapCollection(4, 0, true);
        command(
                ItsCommand.MOVI,
                with(ItsCommand.DEVICE, DEVICE),
                with(ItsCommand.EVENT, 1),
                with(ItsCommand.COLLECTION, 4));
        assertThat(lpis.vcpu(LPI)).hasValue(0);
        command(
                ItsCommand.MOVI,
                with(ItsCommand.DEVICE, DEVICE),
                with(ItsCommand.EVENT, 1),
                with(ItsCommand.COLLECTION, 5));
        assertThat(lpis.vcpu(LPI)).hasValue(0);
    }

    @Test
    void collectionMovesAllItsLpis() {
        map();
        mapCollection(COLLECTION, 0, true);
        assertThat(lpis.vcpu(LPI)).hasValue(0);
        command(ItsCommand.MOVALL, with(ItsCommand.TARGET, 0), with(ItsCommand.SECOND_TARGET, 1));
        assertThat(lpis.vcpu(LPI)).hasValue(1);
        mapCollection(COLLECTION, VCPUS, true);
        assertThat(lpis.vcpu(LPI)).hasValue(1);
    }

    @Test
    void unmappedCollectionTakesNoMessages() {
        map();
        mapCollection(COLLECTION, 1, false);
        assertThat(its.message(DEVICE, 1)).isEqualTo(Its.Outcome.UNMAPPED);
        mapCollection(COLLECTION, 1, true);
        assertThat(its.message(DEVICE, 1))
                .as("the event has forgotten its collection")
                .isEqualTo(Its.Outcome.UNMAPPED);
    }

    @Test
    void eventMayNameACollectionThatIsMappedLater() {
        mapDevice(DEVICE, 5);
        mapEvent(DEVICE, 1, LPI, COLLECTION);
        assertThat(lpis.vcpu(LPI)).isEmpty();
        assertThat(its.message(DEVICE, 1)).isEqualTo(Its.Outcome.UNMAPPED);
        mapCollection(COLLECTION, 0, true);
        assertThat(its.message(DEVICE, 1)).isEqualTo(Its.Outcome.PENDING);
        assertThat(lpis.vcpu(LPI)).hasValue(0);
    }

    @Test
    void discardForgetsTheEventAndTheLpi() {
        map();
        its.message(DEVICE, 1);
        onEvent(ItsCommand.DISCARD, 1);
        assertThat(its.message(DEVICE, 1)).isEqualTo(Its.Outcome.UNMAPPED);
        assertThat(lpis.isPending(LPI)).isFalse();
        assertThat(lpis.vcpu(LPI)).isEmpty();
    }

    @Test
    void mappedTwiceKeepsTheFirstLpi() {
        map();
        mapEvent(DEVICE, 1, LPI + 1, COLLECTION);
        assertThat(its.lpi(DEVICE, 1)).hasValue(LPI);
        mapDevice(DEVICE, 5);
        assertThat(its.lpi(DEVICE, 1)).as("MAPD forgets the events").isEmpty();
    }

    @Test
    void twoEventsMayBeOneLpi() {
        map();
        mapEvent(DEVICE, 2, LPI, COLLECTION);
        its.message(DEVICE, 2);
        onEvent(ItsCommand.DISCARD, 1);
        assertThat(lpis.isPending(LPI)).isTrue();
    }

    @Test
    void intAndClearSetAndClearPending() {
        map();
        onEvent(ItsCommand.INT, 1);
        assertThat(lpis.isPending(LPI)).isTrue();
        onEvent(ItsCommand.CLEAR, 1);
        assertThat(lpis.isPending(LPI)).isFalse();
    }

    @Test
    void invalidationReadsThePropertiesAgain() {
        memory.put(PROPERTIES + LPI - 8192, (byte) 0xa1);
        map();
        assertThat(lpis.priority(LPI)).isEqualTo(0xa0);
        assertThat(lpis.isEnabledByGuest(LPI)).isTrue();
        memory.put(PROPERTIES + LPI - 8192, (byte) 0x52);
        assertThat(lpis.isEnabledByGuest(LPI)).isTrue();
        onEvent(ItsCommand.INV, 1);
        assertThat(lpis.isEnabledByGuest(LPI)).isFalse();
        assertThat(lpis.priority(LPI)).isEqualTo(0x50);
        memory.put(PROPERTIES + LPI - 8192, (byte) 0x01);
        command(ItsCommand.INVALL, with(ItsCommand.COLLECTION, COLLECTION));
        assertThat(lpis.isEnabledByGuest(LPI)).isTrue();
    }

    @Test
    void ownNumberOfTheEventIsTheLpi() {
        mapDevice(DEVICE, 16);
        mapCollection(COLLECTION, 1, true);
        command(
                ItsCommand.MAPI,
                with(ItsCommand.DEVICE, DEVICE),
                with(ItsCommand.EVENT, 9000),
                with(ItsCommand.COLLECTION, COLLECTION));
        assertThat(its.lpi(DEVICE, 9000)).hasValue(9000);
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 8191, 65536})
    void idOutOfRangeIsNotMapped(int lpi) {
        mapDevice(DEVICE, 5);
        mapCollection(COLLECTION, 1, true);
        mapEvent(DEVICE, 1, lpi, COLLECTION);
        assertThat(its.lpi(DEVICE, 1)).isEmpty();
    }

    @Test
    void rangesOfDeviceAndEventAreChecked() {
        mapDevice(0x1_0000, 5);
        mapDevice(0x2000, 5); // beyond the one page of the table
        mapDevice(DEVICE, 17);
        mapCollection(COLLECTION, 1, true);
        for (int device : new int[] {0x1_0000, 0x2000, DEVICE}) {
            mapEvent(device, 1, LPI, COLLECTION);
            assertThat(its.lpi(device, 1)).isEmpty();
        }
        mapDevice(DEVICE, 5);
        mapEvent(DEVICE, 32, LPI, COLLECTION);
        assertThat(its.lpi(DEVICE, 32)).isEmpty();
        mapEvent(DEVICE, 31, LPI, COLLECTION);
        assertThat(its.lpi(DEVICE, 31)).hasValue(LPI);
    }

    @Test
    void tableOfTwoLevelsHasToBeValid() {
        its.write(Its.CTLR, 0);
        its.write(Its.BASER_DEVICES, Its.VALID | 1L << 62 | DEVICES);
        its.write(Its.CTLR, Its.ENABLED);
        map();
        assertThat(its.lpi(DEVICE, 1)).isEmpty();
        memory.putLong(DEVICES, Its.VALID | 0x8_0000);
        map();
        assertThat(its.lpi(DEVICE, 1)).hasValue(LPI);
        assertThat(its.read(Its.BASER_COLLECTIONS) & 1L << 62).isZero();
    }

    @Test
    void pendingBitsComeFromTheTableAndGoBack() {
        int at = PENDING + 0x1_0000 + LPI / 8;
        memory.put(at, (byte) (1 << LPI % 8 | 0x80));
        map();
        assertThat(lpis.isPending(LPI)).isTrue();
        assertThat(memory.get(at)).as("the bit is taken").isEqualTo((byte) 0x80);
        assertThat(lpis.savePending()).isTrue();
        assertThat(memory.get(at)).isEqualTo((byte) (1 << LPI % 8 | 0x80));
        onEvent(ItsCommand.CLEAR, 1);
        assertThat(lpis.savePending()).isTrue();
        assertThat(memory.get(at)).isEqualTo((byte) 0x80);
    }

    @Test
    void enablingLpisReadsTheTable() {
        map();
        lpis.enable(1, false);
        memory.put(PENDING + 0x1_0000 + LPI / 8, (byte) (1 << LPI % 8));
        lpis.enable(1, true);
        assertThat(lpis.isPending(LPI)).isTrue();
        lpis.enable(1, false);
        assertThat(lpis.isPending(LPI)).as("stays pending").isTrue();
        lpis.setPendingBase(1, 1L << 62 | PENDING);
        memory.put(PENDING + LPI / 8, (byte) 0);
        lpis.enable(1, true);
        assertThat(lpis.isPending(LPI)).as("PTZ: the table is not read").isTrue();
        assertThat(lpis.pendingBase(1) & 1L << 62).as("PTZ reads as 0").isZero();
    }

    @Test
    void tablesOutsideMemoryAreNotRead() {
        lpis.enable(1, false);
        lpis.setPendingBase(1, SIZE);
        lpis.enable(1, true);
        map();
        assertThat(its.lpi(DEVICE, 1)).isEmpty();
        assertThat(lpis.vcpu(LPI)).isEmpty();
    }

    @Test
    void registersReadAsKvmSanitizesThem() {
        assertThat(its.read(Its.TYPER)).isEqualTo(0x1ef71);
        assertThat(its.read(Its.IIDR)).isEqualTo(0x4b00043bL);
        assertThat(its.read(Its.CBASER)).isEqualTo(Its.VALID | 3L << 59 | RING);
        its.write(Its.CBASER, 0);
        assertThat(its.read(Its.CBASER)).as("read-only while enabled").isEqualTo(Its.VALID | 3L << 59 | RING);
        assertThat(its.read(Its.BASER_DEVICES))
                .isEqualTo(Its.VALID | 3L << 59 | 1L << 56 | 7L << 48 | DEVICES | 2 << 8);
        assertThat(its.read(Its.BASER_COLLECTIONS))
                .isEqualTo(Its.VALID | 3L << 59 | 4L << 56 | 7L << 48 | COLLECTIONS | 2 << 8);
        assertThat(its.read(0x110)).isZero();
        assertThat(lpis.propertyBase()).isEqualTo(PROPERTIES | 15 | 3 << 7);
    }

    @Test
    void savedTablesRestoreTheTranslations() {
        map();
        mapEvent(DEVICE, 7, LPI + 7, COLLECTION);
        mapDevice(DEVICE + 5, 2);
        mapEvent(DEVICE + 5, 3, LPI + 3, 40);
        assertThat(its.save()).isEmpty();
        assertThat(memory.getLong(DEVICES + DEVICE * 8))
                .isEqualTo(1L << 63 | 5L << 49 | GuestTables.events(DEVICE) >> 3 | 4);
        assertThat(memory.getLong(GuestTables.events(DEVICE) + 8))
                .as("event 1, 6 before the next")
                .isEqualTo(6L << 48 | (long) LPI << 16 | 3);
        assertThat(memory.getLong(COLLECTIONS)).isEqualTo(1L << 63 | 1L << 16 | COLLECTION);
        assertThat(memory.getLong(COLLECTIONS + 8)).as("no vCPU yet").isEqualTo(1L << 63 | 0xffff_ffffL << 16 | 40);
        Its other = new Its(lpis);
        ram.enable(lpis, VCPUS, other);
        assertThat(other.restore()).isEmpty();
        assertThat(other.lpi(DEVICE, 1)).hasValue(LPI);
        assertThat(other.lpi(DEVICE, 7)).hasValue(LPI + 7);
        assertThat(other.lpi(DEVICE, 2)).isEmpty();
        assertThat(other.lpi(DEVICE + 5, 3)).as("no vCPU yet").isEmpty();
        assertThat(other.restore()).contains(Its.TableFault.EXISTS);
    }

    /** A restore after it must not bring them back. */
    @Test
    void discardAndUnmapClearWhatWasSaved() {
        map();
        its.save();
        onEvent(ItsCommand.DISCARD, 1);
        assertThat(memory.getLong(GuestTables.events(DEVICE) + 8)).isZero();
        command(ItsCommand.MAPD, with(ItsCommand.DEVICE, DEVICE));
        assertThat(memory.getLong(DEVICES + DEVICE * 8)).isZero();
    }

    @Test
    void failedRestoreLeavesNothing() {
        map();
        its.save();
        assertThat(its.restore()).contains(Its.TableFault.EXISTS);
        assertThat(its.message(DEVICE, 1)).isEqualTo(Its.Outcome.UNMAPPED);
        its.reset();
        ram.enable(lpis, VCPUS, its);
        memory.putLong(GuestTables.events(DEVICE) + 16, (long) LPI << 16 | 9); // a collection that is not
        memory.putLong(GuestTables.events(DEVICE) + 8, 1L << 48 | (long) LPI << 16 | COLLECTION);
        assertThat(its.restore()).contains(Its.TableFault.CONTRADICTION);
        mapCollection(COLLECTION, 1, true);
        assertThat(its.lpi(DEVICE, 1)).as("the device is unmapped").isEmpty();
        assertThat(lpis.vcpu(LPI)).isEmpty();
    }

    @Test
    void collectionBeyondItsTableIsNotRestored() {
        memory.putLong(COLLECTIONS, 1L << 63 | 0x2000);
        assertThat(its.restore()).contains(Its.TableFault.CONTRADICTION);
    }

    @Test
    void eventWithoutACollectionIsNotSaved() {
        map();
        mapCollection(COLLECTION, 1, false);
        assertThat(its.save()).contains(Its.TableFault.LOST_COLLECTION);
    }

    @Test
    void eventWhoseEntryIsNotMemoryIsNotMapped() {
        mapCollection(COLLECTION, 1, true);
        ram.command(its, ItsCommand.mapDevice(DEVICE, 5, SIZE - 0x100));
        mapEvent(DEVICE, 31, LPI, COLLECTION);
        assertThat(its.lpi(DEVICE, 31)).hasValue(LPI);
        ram.command(its, ItsCommand.mapDevice(DEVICE, 5, SIZE));
        mapEvent(DEVICE, 0, LPI, COLLECTION);
        assertThat(its.lpi(DEVICE, 0)).isEmpty();
    }

    @Test
    void newItsForgetsThePropertyTable() {
        assertThat(new Lpis(target -> OptionalInt.empty(), ram, () -> true).propertyBase())
                .isZero();
        lpis.enable(0, false);
        lpis.setPropertyBase(0, PROPERTIES);
        Its second = new Its(lpis);
        assertThat(second.read(Its.CTLR)).isEqualTo(1L << 31);
        assertThat(lpis.propertyBase()).isEqualTo(1 << 10 | 3 << 7);
    }

    @ParameterizedTest
    @CsvSource({
        "0x30000, 0x8000000000020003, CONTRADICTION", // a collection of vCPU 2
        "0x90800, 0x0000000000010003, CONTRADICTION", // an id that is no LPI
        "0x90800, 0x0000000020080004, CONTRADICTION", // collection 4
        "0x90800, 0x0020000020080003, CONTRADICTION", // the next event is event 32
        "0x20040, 0x80000000fffffe04, NO_MEMORY"
    })
    void tablesThatContradictThemselvesAreRefused(String at, String value, Its.TableFault fault) {
        map();
        its.save();
        its.reset();
        memory.putLong(Integer.decode(at), Long.parseUnsignedLong(value.substring(2), 16));
        ram.enable(lpis, VCPUS, its);
        assertThat(its.restore()).contains(fault);
        assertThat(its.lpi(DEVICE, 1)).isEmpty();
    }

    @Test
    void tablesOfTwoLevelsAreSavedAndRestored() {
        its.write(Its.CTLR, 0);
        its.write(Its.BASER_DEVICES, Its.VALID | 1L << 62 | DEVICES);
        its.write(Its.CTLR, Its.ENABLED);
        memory.putLong(DEVICES + 8, Its.VALID | 0x8_0000);
        mapDevice(0x2003, 5);
        mapCollection(COLLECTION, 1, true);
        mapEvent(0x2003, 1, LPI, COLLECTION);
        assertThat(its.save()).isEmpty();
        assertThat(memory.getLong(0x8_0000 + 3 * 8)).isEqualTo(1L << 63 | GuestTables.events(0x2003) >> 3 | 4);
        long devices = its.read(Its.BASER_DEVICES);
        its.reset();
        ram.enable(lpis, VCPUS, its);
        its.write(Its.CTLR, 0);
        its.write(Its.BASER_DEVICES, devices);
        its.write(Its.CTLR, Its.ENABLED);
        assertThat(its.restore()).isEmpty();
        assertThat(its.lpi(0x2003, 1)).hasValue(LPI);
    }

    @Test
    void resetItsIsEmpty() {
        map();
        its.reset();
        assertThat(its.read(Its.CTLR)).isEqualTo(1L << 31);
        assertThat(its.read(Its.CBASER)).isZero();
        assertThat(its.read(Its.BASER_DEVICES) & Its.VALID).isZero();
        assertThat(its.read(Its.BASER_COLLECTIONS) & Its.VALID).isZero();
        assertThat(lpis.vcpu(LPI)).isEmpty();
    }

    @Test
    void vmmIsRefusedWhereAGuestWouldBeIgnored() {
        assertThat(its.write(Its.CREADR, 0)).contains(Its.Refusal.ENABLED);
        its.write(Its.CTLR, 0);
        assertThat(its.write(Its.CREADR, 0x1000)).contains(Its.Refusal.BEYOND_RING);
        assertThat(its.write(Its.CREADR, 0x20)).isEmpty();
        assertThat(its.write(Its.IIDR, 1 << 12)).contains(Its.Refusal.VERSION);
        assertThat(its.write(Its.IIDR, 0)).isEmpty();
    }

    @Test
    void invalidTableForgetsEverything() {
        map();
        its.write(Its.CTLR, 0);
        its.write(Its.BASER_DEVICES, 0);
        its.write(Its.BASER_DEVICES, Its.VALID | DEVICES);
        its.write(Its.CTLR, Its.ENABLED);
        assertThat(its.lpi(DEVICE, 1)).isEmpty();
        assertThat(lpis.vcpu(LPI)).isEmpty();
    }
}
