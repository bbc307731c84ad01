/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.arch.gic.model;

import static io.kvmirq.arch.gic.model.GuestTables.COLLECTIONS;
import static io.kvmirq.arch.gic.model.GuestTables.DEVICES;
import static io.kvmirq.arch.gic.model.GuestTables.SIZE;
import static io.kvmirq.arch.gic.model.GuestTables.with;
import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.arch.gic.ItsCommand;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The tables that an ITS saves and restores. */
class ItsImageTest extends ItsSetUp {
    private static final long INDIRECT = 1L << 62;
    private static final int PAGE = 0x1_0000;
    /** Pages of the second level, each for 8192 devices. */
    private static final int LOW_DEVICES = 0x8_0000;

    private static final int HIGH_DEVICES = 0xa_0000;
    private static final int HIGH_DEVICE = 8192 + DEVICE + 1;

    private void setTable(int offset, long value) {
        service.write(EmulatedIts.CTLR, 0);
        service.write(offset, value);
        service.write(EmulatedIts.CTLR, EmulatedIts.ENABLED);
    }

    /** The same tables, and nothing mapped, as after a start of the VMM. */
    private void restart() {
        service.reset();
        ram.enable(lpis, VCPUS, service);
    }

    private void useTwoLevels() {
        memory.putLong(DEVICES, EmulatedIts.VALID | LOW_DEVICES);
        memory.putLong(DEVICES + 8, EmulatedIts.VALID | HIGH_DEVICES);
        setTable(EmulatedIts.BASER_DEVICES, EmulatedIts.VALID | INDIRECT | DEVICES);
    }

    @Test
    void savedTablesRestoreTheTranslations() {
        map();
        mapEvent(DEVICE, 7, LPI + 7, COLLECTION);
        mapDevice(DEVICE + 5, 2);
        mapEvent(DEVICE + 5, 3, LPI + 3, 40);
        assertThat(service.save()).isEmpty();
        assertThat(memory.getLong(DEVICES + DEVICE * 8))
                .isEqualTo(1L << 63 | 5L << 49 | GuestTables.events(DEVICE) >> 3 | 4);
        assertThat(memory.getLong(GuestTables.events(DEVICE) + 8))
                .as("event 1, 6 before the next")
                .isEqualTo(6L << 48 | (long) LPI << 16 | 3);
        assertThat(memory.getLong(COLLECTIONS)).isEqualTo(1L << 63 | 1L << 16 | COLLECTION);
        assertThat(memory.getLong(COLLECTIONS + 8)).as("no vCPU yet").isEqualTo(1L << 63 | 0xffff_ffffL << 16 | 40);
        EmulatedIts other = new EmulatedIts(lpis);
        ram.enable(lpis, VCPUS, other);
        assertThat(other.restore()).isEmpty();
        assertThat(other.lpi(DEVICE, 1)).hasValue(LPI);
        assertThat(other.lpi(DEVICE, 7)).hasValue(LPI + 7);
        assertThat(other.lpi(DEVICE, 2)).isEmpty();
        assertThat(other.lpi(DEVICE + 5, 3)).as("no vCPU yet").isEmpty();
        assertThat(other.restore()).contains(EmulatedIts.TableFault.EXISTS);
    }

    @Test
    void failedRestoreLeavesNothing() {
        map();
        service.save();
        assertThat(service.restore()).contains(EmulatedIts.TableFault.EXISTS);
        assertThat(service.message(DEVICE, 1)).isEqualTo(EmulatedIts.Outcome.UNMAPPED);
        service.reset();
        ram.enable(lpis, VCPUS, service);
        memory.putLong(GuestTables.events(DEVICE) + 16, (long) LPI << 16 | 9); // a collection that is not
        memory.putLong(GuestTables.events(DEVICE) + 8, 1L << 48 | (long) LPI << 16 | COLLECTION);
        assertThat(service.restore()).contains(EmulatedIts.TableFault.CONTRADICTION);
        mapCollection(COLLECTION, 1, true);
        assertThat(service.lpi(DEVICE, 1)).as("the device is unmapped").isEmpty();
        assertThat(lpis.vcpu(LPI)).isEmpty();
    }

    @Test
    void collectionBeyondItsTableIsNotRestored() {
        memory.putLong(COLLECTIONS, 1L << 63 | 0x2000);
        assertThat(service.restore()).contains(EmulatedIts.TableFault.CONTRADICTION);
    }

    @Test
    void eventWithoutACollectionIsNotSaved() {
        map();
        mapCollection(COLLECTION, 1, false);
        assertThat(service.save()).contains(EmulatedIts.TableFault.LOST_COLLECTION);
    }

    /** A restore after it must not bring them back. */
    @Test
    void discardAndUnmapClearWhatWasSaved() {
        map();
        service.save();
        onEvent(ItsCommand.DISCARD, 1);
        assertThat(memory.getLong(GuestTables.events(DEVICE) + 8)).isZero();
        command(ItsCommand.MAPD, with(ItsCommand.DEVICE, DEVICE));
        assertThat(memory.getLong(DEVICES + DEVICE * 8)).isZero();
    }

    @Test
    void tableOfTwoLevelsIsRestoredPageByPage() {
        useTwoLevels();
        map();
        mapDevice(HIGH_DEVICE, 5);
        mapEvent(HIGH_DEVICE, 0, 8192, COLLECTION);
        assertThat(service.save()).isEmpty();
        assertThat(memory.getLong(LOW_DEVICES + DEVICE * 8) >>> 49 & 0x3fff)
                .as("the next device is 8193 further")
                .isEqualTo(8193);
        restart();
        useTwoLevels();
        assertThat(service.restore()).isEmpty();
        assertThat(service.lpi(DEVICE, 1)).hasValue(LPI);
        assertThat(service.lpi(HIGH_DEVICE, 0)).hasValue(8192);
    }

    @Test
    void faultInAPageOfTheSecondLevelEndsTheRestore() {
        useTwoLevels();
        map();
        service.save();
        restart();
        useTwoLevels();
        memory.putLong(GuestTables.events(DEVICE) + 8, 8191L << 16 | COLLECTION); // no LPI
        assertThat(service.restore()).contains(EmulatedIts.TableFault.CONTRADICTION);
    }

    /** Page 8 of the second level is of devices from 65536 on. */
    @Test
    void deviceBeyondTheIdsIsNotRestored() {
        useTwoLevels();
        memory.putLong(DEVICES + 8 * 8, EmulatedIts.VALID | HIGH_DEVICES);
        memory.putLong(HIGH_DEVICES, EmulatedIts.VALID);
        memory.putLong(DEVICES + 8, 0);
        assertThat(service.restore()).contains(EmulatedIts.TableFault.CONTRADICTION);
    }

    @ParameterizedTest
    @ValueSource(longs = {0, INDIRECT})
    void tableWithoutDevicesIsReadToItsEndAndNotFurther(long levels) {
        mapCollection(COLLECTION, 1, true);
        service.save();
        restart();
        setTable(EmulatedIts.BASER_DEVICES, EmulatedIts.VALID | levels | DEVICES);
        memory.putLong(
                GuestTables.RING,
                EmulatedIts.VALID); // what a level after the table would be, at the address of its entry
        assertThat(service.restore()).isEmpty();
    }

    @Test
    void devicesKeepTheirEvents() {
        map();
        service.save();
        restart();
        assertThat(service.restore()).isEmpty();
        mapEvent(DEVICE, 31, LPI + 31, COLLECTION);
        assertThat(service.lpi(DEVICE, 31)).as("5 bits of events").hasValue(LPI + 31);
        mapEvent(DEVICE, 32, LPI + 32, COLLECTION);
        assertThat(service.lpi(DEVICE, 32)).isEmpty();
    }

    @Test
    void eventsBeyondTheDeviceAreNotRead() {
        mapDevice(DEVICE, 1);
        service.save();
        restart();
        memory.putLong(GuestTables.events(DEVICE) + 16, (long) LPI << 16 | COLLECTION);
        assertThat(service.restore()).isEmpty();
    }

    /** Events before the fault are unmapped, too. */
    @Test
    void faultOfALaterDeviceUnmapsTheEarlier() {
        map();
        mapDevice(DEVICE + 1, 5);
        mapEvent(DEVICE + 1, 0, LPI + 1, COLLECTION);
        service.save();
        restart();
        memory.putLong(GuestTables.events(DEVICE + 1), (long) LPI + 1 << 16 | 9); // a collection that is not
        assertThat(service.restore()).contains(EmulatedIts.TableFault.CONTRADICTION);
        assertThat(lpis.vcpu(LPI)).isEmpty();
        assertThat(lpis.vcpu(LPI + 1)).isEmpty();
        assertThat(service.save()).isEmpty();
        assertThat(memory.getLong(COLLECTIONS)).as("no collection is left").isZero();
    }

    @Test
    void collectionOfAVcpuThatDoesNotExistIsNotRestored() {
        memory.putLong(COLLECTIONS, EmulatedIts.VALID | (long) VCPUS << 16 | COLLECTION);
        assertThat(service.restore()).contains(EmulatedIts.TableFault.CONTRADICTION);
    }

    /** 8192 collections fill 64 KiB: nothing is written or read after them. */
    @Test
    void fullTableOfCollectionsHasNoEnd() {
        for (int collection = 0; collection < PAGE / 8; collection++) {
            mapCollection(collection, collection % VCPUS, true);
        }
        long next = EmulatedIts.VALID | COLLECTION;
        memory.putLong(COLLECTIONS + PAGE, next);
        assertThat(service.save()).isEmpty();
        assertThat(memory.getLong(COLLECTIONS + PAGE)).isEqualTo(next);
        restart();
        assertThat(service.restore()).isEmpty();
    }

    @Test
    void collectionsEndWithAnEntryThatIsNotValid() {
        mapCollection(COLLECTION, 1, true);
        memory.putLong(COLLECTIONS + 8, -1);
        assertThat(service.save()).isEmpty();
        assertThat(memory.getLong(COLLECTIONS + 8)).isZero();
    }

    /** A device, an event, a collection, and the end of the collections. */
    @ParameterizedTest
    @ValueSource(ints = {DEVICES + DEVICE * 8, 0x9_0800 + 8, COLLECTIONS, COLLECTIONS + 8})
    void tableThatCannotBeWrittenIsNotSaved(int address) {
        map();
        ram.readOnly = address;
        assertThat(service.save()).contains(EmulatedIts.TableFault.NO_MEMORY);
    }

    @Test
    void deviceWhoseTableHasNoPlaceForItIsNotSaved() {
        map();
        setTable(EmulatedIts.BASER_DEVICES, EmulatedIts.VALID | INDIRECT | DEVICES);
        assertThat(service.save()).contains(EmulatedIts.TableFault.CONTRADICTION);
    }

    @ParameterizedTest
    @CsvSource({"0x100, 0", "0x100, 0x4000000000000000", "0x108, 0"})
    void tableOutsideMemoryIsNotRestored(String register, String levels) {
        setTable(Integer.decode(register), EmulatedIts.VALID | Long.decode(levels) | SIZE);
        assertThat(service.restore()).contains(EmulatedIts.TableFault.NO_MEMORY);
        mapDevice(DEVICE, 5);
        mapCollection(COLLECTION, 1, true);
        mapEvent(DEVICE, 1, LPI, COLLECTION);
        assertThat(service.lpi(DEVICE, 1)).isEmpty();
    }

    @Test
    void eventWhoseLpiHasNoPropertiesIsNotRestored() {
        map();
        service.save();
        restart();
        for (int vcpu = 0; vcpu < VCPUS; vcpu++) {
            lpis.enable(vcpu, false);
            lpis.setPropertyBase(vcpu, SIZE | 15);
        }
        assertThat(service.restore()).contains(EmulatedIts.TableFault.NO_MEMORY);
    }

    /** An event that is not mapped names no collection, and ends none. */
    @Test
    void refusedEventLeavesTheCollectionsAsTheyWere() {
        mapDevice(DEVICE, 5);
        mapCollection(COLLECTION, 1, true);
        for (int vcpu = 0; vcpu < VCPUS; vcpu++) {
            lpis.enable(vcpu, false);
            lpis.setPropertyBase(vcpu, SIZE | 15);
        }
        mapEvent(DEVICE, 1, LPI, COLLECTION);
        mapEvent(DEVICE, 2, LPI, COLLECTION + 1);
        assertThat(service.save()).isEmpty();
        assertThat(memory.getLong(COLLECTIONS)).isEqualTo(EmulatedIts.VALID | 1 << 16 | COLLECTION);
        assertThat(memory.getLong(COLLECTIONS + 8)).isZero();
    }

    /** Bits 51:48 of an address are bits 15:12 of the register. */
    @Test
    void addressOfATableHas52Bits() {
        assertThat(ItsTable.address(EmulatedIts.VALID | 0x1234_5678_9000L)).isEqualTo(0x9_1234_5678_0000L);
    }
}
